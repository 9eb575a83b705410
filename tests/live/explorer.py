"""Schemathesis against a running service: every check, in every phase, from the document that the service serves."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from app.config.settings import ROOT
from tests.conftest import token, unmeasured

CONFIG = Path(__file__).with_name("schemathesis.toml")


class Explored(NamedTuple):
    """What came of it: how many requests were made up and sent, what is wrong, and what was said about it."""

    cases: int
    phases: dict[str, str]
    failures: list[Any]
    said: str


def explore(url: str, *, seed: int, examples: int, folder: Path) -> Explored:
    """Make up requests, up to so many examples for each operation, and hold the answers against the document."""
    report = folder / "report.json"
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", f"{CONFIG}"]
    command += ["run", f"{url}/openapi.json", "--checks", "all"]
    command += ["--seed", f"{seed}", "--max-examples", f"{examples}", "--continue-on-failure"]
    command += ["--header", f"Authorization: Bearer {token('ada')}"]
    command += ["--report", "json", "--report-json-path", f"{report}"]
    env = {**unmeasured(), "SCHEMATHESIS_HOOKS": "tests.live.formats", "PYTHONPATH": f"{ROOT}"}
    done = subprocess.run(command, env=env, cwd=folder, capture_output=True, text=True, check=False)
    found = json.loads(report.read_text())
    phases = {name: phase["status"] for name, phase in found["phases"].items()}
    failures = [*found["failures"], *found["errors"]]
    return Explored(found["test_cases"]["generated"], phases, failures, done.stdout + done.stderr)
