"""JavaScript's Temporal (a polyfill from npm) says the same of when a task is due, around each change of the clocks."""

import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.tasks import zones
from app.tasks.zones import due_at
from tests.live.tools import from_npm
from tests.tasks.test_zones import ZONES, transitions

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).with_name("temporal")


def about(name: str) -> dict[str, Any]:
    """What Temporal is asked of a zone: moments beside each transition, and local times around it."""
    zone = zones._zone(name)
    assert zone
    moments: list[datetime] = [datetime(2020, 1, 1, tzinfo=UTC)]
    locals_: list[str] = []
    for moment in transitions(zone):
        moments += [moment - timedelta(minutes=1), moment]
        before = (moment - timedelta(minutes=1)).astimezone(zone).replace(tzinfo=None)
        locals_ += [f"{before + timedelta(minutes=1 + minutes):%Y-%m-%dT%H:%M}" for minutes in range(-150, 151, 15)]
    return {
        "zone": name,
        "moments": [f"{each:%Y-%m-%dT%H:%M:%SZ}" for each in moments],
        "offsets": [int((each.astimezone(zone).utcoffset() or timedelta()).total_seconds()) for each in moments],
        "locals": locals_,
    }


def test_temporal_says_the_same() -> None:
    asked = [about(name) for name in ZONES]
    script = from_npm(SOURCE) / "compare.mjs"
    done = subprocess.run(
        ["node", script], input=json.dumps(asked), capture_output=True, text=True, timeout=60, check=True
    )
    compared = 0
    other_rules: set[str] = set()
    for each, told in zip(asked, json.loads(done.stdout), strict=True):
        if told["offsets"] != each["offsets"]:  # Node has its own version of the database of time zones
            other_rules.add(each["zone"])
            continue
        for local, instant in zip(each["locals"], told["instants"], strict=True):
            assert due_at(*local.split("T"), each["zone"]) == instant, (each["zone"], local)
            compared += 1
    assert len(other_rules) <= 3, other_rules
    assert compared > 8_000
