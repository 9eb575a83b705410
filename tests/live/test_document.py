"""The document is the behaviour: what it promises is asked of a running server, in requests that nobody thought of."""

from pathlib import Path
from typing import Any

import pytest

from tests.live.explorer import explore

pytestmark = pytest.mark.slow

PHASES = ("examples", "coverage", "fuzzing", "stateful")


def test_every_answer_to_requests_made_up_from_the_document_is_as_documented(service: Any, tmp_path: Path) -> None:
    found = explore(service.url, seed=1, examples=10, folder=tmp_path)

    assert found.failures == [], found.said
    assert found.phases == dict.fromkeys(PHASES, "success"), found.said
    assert found.cases > 400
    assert not [line for line in service.log() if '"level":"ERROR"' in line]
