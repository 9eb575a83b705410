"""What the fork server starts is what `python -m` starts."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.config.settings import ROOT
from tests import forkserver
from tests.live.conftest import free_port

SETTINGS = {"JWT_SECRET": "s" * 32, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nothing", "LOG_FORMAT": "json"}


def shell(*words: str, **env: str) -> tuple[int, str, str]:
    command = [sys.executable, "-m", *words]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["app", "--help"],
        ["app", "nothing"],
        ["app", "token", " "],
        ["app", "migrate"],
        ["app", "admin-user", "grace"],
    ],
)
def test_a_command_prints_says_and_returns_the_same(words: list[str]) -> None:
    assert forkserver.run(words, {**os.environ, **SETTINGS}) == shell(*words, **SETTINGS)


def test_it_has_the_environment_and_the_input_that_it_is_given() -> None:
    code, printed, told = forkserver.run(["app", "serve"], {**os.environ, **SETTINGS, "PORT": "http"})
    assert (code, printed) == (1, "")
    assert told == "PORT is 'http', but must be a whole number from 1 to 65535.\n"
    asked = forkserver.run(["app", "migration", "\n"], {**os.environ, **SETTINGS}, "an input that nobody reads")
    assert asked == (1, "", "The name of a migration is one line, and not blank.\n")


def test_it_ends_by_signals_in_a_session_of_its_own(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def started() -> forkserver.Process:
        log.write_text("")
        with Path(os.devnull).open("r+") as null, log.open("w") as err:
            env = {**os.environ, **SETTINGS, "PORT": f"{free_port()}"}
            return forkserver.start(["app", "serve"], env, null.fileno(), null.fileno(), err.fileno())

    def wait_for(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    process = started()
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    assert os.getsid(process.pid) == process.pid
    wait_for(lambda: "Application startup complete" in log.read_text())
    process.terminate()
    assert (process.wait(10), process.poll(), process.returncode) == (0, 0, 0)

    process = started()
    process.kill()
    assert process.wait(10) == -signal.SIGKILL
    process.terminate()  # of whom there is none


def test_what_it_imports_beforehand_reads_no_setting() -> None:
    modules = ", ".join(forkserver.PRELOADED)
    program = f"import {modules}, sys; from app.config import settings; print(settings.current.cache_info().misses)"
    program += "; print('prometheus_client' in sys.modules, 'opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "0\nFalse False\n"
