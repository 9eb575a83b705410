"""The service as a process of its own, on a real socket: started, waited for, listened to, stopped."""

import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen, TimeoutExpired
from typing import IO, Any, Literal

import httpx
import pytest

from app.config.settings import ROOT
from tests import forkserver
from tests.live.chromium import chromium as chromium

START_SECONDS = 30
STOP_SECONDS = 10
LAST_WORDS = 60  # lines of a service that a failed test shows


class Served:
    """A running service. `url` is where, `process` is what, and `log()` is what it has said."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> None:
        self.port = int(env["PORT"])
        self.url = f"http://{env['HOST']}:{self.port}"
        self.workers = int(env["WORKERS"])
        # A file: whoever listens to a pipe has to keep up, and what is not read is lost.
        descriptor, name = tempfile.mkstemp(prefix="tasks-log-")
        self._log = Path(name)
        self._size = 0  # of what has been read
        self._reading = threading.Lock()
        self._lines: list[str] = []
        self._begun = b""
        with os.fdopen(descriptor) as log:
            self.process = start(command, env, cwd, log)

    def log(self) -> list[str]:
        """The lines on stderr so far; of a service that has ended, all of them."""
        with self._reading:
            if self._log.exists():
                with self._log.open("rb") as log:
                    log.seek(self._size)
                    more = log.read()
                self._size += len(more)
                *lines, self._begun = (self._begun + more).split(b"\n")
                self._lines += [line.decode() for line in lines]
            return [*self._lines]

    def tidy_up(self) -> None:
        """Keep what it has said in memory alone."""
        self.log()
        self._log.unlink()

    def pids(self) -> list[int]:
        """The processes that have begun to serve, the newest last; some of them may have ended."""
        told = [re.search(r"Started server process \[(\d+)\]", line) for line in self.log()]
        return [int(each[1]) for each in told if each]

    def wait(self, path: str) -> None:
        """Wait until `path` is 200 and every worker has started."""
        deadline = time.monotonic() + START_SECONDS
        while not self._answers(path):
            if self.process.poll() is not None:
                pytest.fail("\n".join(["The service has ended:", *self.log()]))
            if time.monotonic() > deadline:
                pytest.fail("\n".join(["The service does not come:", *self.log()]))
            time.sleep(0.02)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send the signal, and return the exit code. Fails where the service is still there after 10 s."""
        self.process.send_signal(number)
        try:
            return self.process.wait(STOP_SECONDS)
        except TimeoutExpired:
            self.kill()
            pytest.fail("\n".join([f"{number.name} did not stop the service:", *self.log()]))

    def kill(self) -> None:
        """End the service and all its workers without asking."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)

    def _answers(self, path: str) -> bool:
        try:
            if httpx.get(self.url + path, timeout=2).status_code != 200:
                return False
        except httpx.TransportError:
            return False
        started = sum("Application startup complete" in line for line in self.log())
        return self.workers == 1 or started >= self.workers


def start(command: Sequence[str], env: Mapping[str, str], cwd: Path, log: IO[str]) -> Popen[bytes] | forkserver.Process:
    """Start `python -m *command` in a session of its own: Ctrl-C on the tests is not for it, and `kill` reaches it all.

    The fork server does it where it can: it has the code of this folder, and cannot load it again.
    """
    with Path(os.devnull).open("r+") as null:
        if command[0] in forkserver.MODULES and cwd == ROOT and "--reload" not in command:
            return forkserver.start(command, env, null.fileno(), null.fileno(), log.fileno())
        words = [sys.executable, "-m", *command]
        return Popen(words, env=env, cwd=cwd, stdin=null, stdout=null, stderr=log, start_new_session=True)


Serve = Callable[..., Served]
UP: list[Served] = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failed test what the services have said that it may have been about."""
    report = yield
    if report.failed:
        report.sections += [(f"What was said on {each.url}", "\n".join(each.log()[-LAST_WORDS:])) for each in UP]
    return report


@contextmanager
def serving() -> Iterator[Serve]:
    """A function that starts services. Those that still run in the end are stopped, and must exit with 0."""
    running: list[Served] = []

    def serve(
        env: Mapping[str, str | None] | None = None,
        workers: int = 1,
        wait: Literal["ready", "live"] | None = "ready",
        cwd: Path = ROOT,
        arguments: Sequence[str] = (),
        module: Sequence[str] = ("app", "serve"),
    ) -> Served:
        """Start `python -m app serve` in our environment, changed by `env`: None takes a variable away."""
        port = str(free_port())
        place = {"HOST": "127.0.0.1", "PORT": port, "UVICORN_PORT": port, "WORKERS": str(workers)}
        changed = {**os.environ, **place, **(env or {})}
        whole = {name: value for name, value in changed.items() if value is not None}
        running.append(Served([*module, *arguments], whole, cwd))
        UP.append(running[-1])
        if wait is not None:
            running[-1].wait(f"/health/{wait}")
        return running[-1]

    try:
        yield serve
    finally:
        try:
            codes = [service.stop() for service in running if service.process.poll() is None]
        finally:
            for service in running:
                UP.remove(service)
                service.tidy_up()
    assert not any(codes), codes


def free_port() -> int:
    """A port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def unused_port() -> int:
    return free_port()


@pytest.fixture
def serve(database_url: str) -> Iterator[Serve]:
    """Start services for one test, on the database of this run if `env` names no other."""
    with serving() as serve:
        yield serve


@pytest.fixture(scope="class")
def serve_for_class(database_url: str) -> Iterator[Serve]:
    """Start services for the tests of a class."""
    with serving() as serve:
        yield serve


@pytest.fixture(scope="module")
def serve_for_module(database_url: str) -> Iterator[Serve]:
    """Start services for the tests of a module."""
    with serving() as serve:
        yield serve


@pytest.fixture(scope="session")
def service(database_url: str) -> Iterator[Any]:
    """One service for all tests that only talk to it: JSON logs, one worker, on the database of this run."""
    with serving() as serve:
        yield serve()
