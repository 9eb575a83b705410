"""`just test` runs the fast tests, which have one of each kind; `just test-all` runs all of them."""

import importlib
import subprocess
import sys
from typing import Any

import pytest

from app.config.settings import ROOT

# One of each kind that has to be among the fast ones.
FAST = {
    "an application on the real PostgreSQL": "tests.tasks.test_controller.TestCreate",
    "a service on a socket": "tests.live.test_protocol.test_http_1_0_needs_no_host",
    "two workers": "tests.live.test_serve.TestTwoWorkers",
    "a browser": "tests.live.test_browser.test_a_frontend_at_an_allowed_origin_does_all_that_the_contract_says",
    "a server of somebody else's": "tests.live.test_serve.test_any_server_can_serve_the_application",
    "a shutdown under load": (
        "tests.live.test_stop.TestStopping.test_under_load_it_is_gone_soon_and_nobody_who_was_heard_goes_without_an_answer"
    ),
    "a fault of the database": "tests.live.test_faults.TestExhaustedPool",
    "a PgBouncer": "tests.db.test_connect.TestPgBouncer",
    "an embedded PostgreSQL": "tests.db.test_embedded.TestOneProcess",
    "a command": "tests.test_cli.TestToken",
    "a page of the documentation": "tests.live.test_documentation.test_every_command_is_answered_as_the_page_says",
    "the isolation of two users": "tests.tasks.test_isolation.test_with_neither_the_walk_notices",
    "a message that can be read in two ways": (
        "tests.live.test_smuggling.test_an_ambiguous_message_is_400_or_closed_and_nothing_behind_it_is_done"
    ),
}
SLOW = "tests/live/test_scaling.py"  # all of its tests are slow


def marks(of: Any) -> list[str]:
    found = getattr(of, "pytestmark", [])
    return [mark.name for mark in (found if isinstance(found, list) else [found])]


@pytest.mark.parametrize("name", FAST.values(), ids=FAST)
def test_one_of_each_kind_is_fast(name: str) -> None:
    *parts, last = name.split(".")
    depth = next(number for number, part in enumerate(parts) if part.startswith("test_"))
    it = importlib.import_module(".".join(parts[: depth + 1]))
    for each in [*parts[depth + 1 :], last]:
        assert "slow" not in marks(it)
        it = getattr(it, each)
    assert "slow" not in marks(it)


def collected(*arguments: str) -> int:
    command = [sys.executable, "-m", "pytest", "--collect-only", "--quiet", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode in (0, pytest.ExitCode.NO_TESTS_COLLECTED), done.stdout
    return sum("::" in line for line in done.stdout.splitlines())


@pytest.mark.slow
def test_a_slow_test_runs_where_it_is_asked_for() -> None:
    every = collected(SLOW)
    assert every > 0
    assert collected(f"{SLOW}::TestPgBouncer") == 1
    assert collected("tests/live", "--ignore-glob=*/test_[!s]*", "--all") > every
    assert collected("tests/live", "--ignore-glob=*/test_[!s]*", "-k", "test_scaling") == 0
    assert collected("tests/live", "--ignore-glob=*/test_[!s]*", "-k", "test_scaling", "-m", "slow") == every
