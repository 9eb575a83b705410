"""A fork server: it has imported the application, and starts `python -m app …` by a fork: 0.1 s instead of 0.6 s.

All else is as `python -m` has it: the environment, the arguments, the standard streams, a session of its own, the way
the interpreter ends, and the exit code. `tests/live/test_serve.py` has services that a shell could have started.
"""

import asyncio
import atexit
import gc
import importlib
import inspect
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

ROOT = Path(__file__).parent.parent
MODULES = ("app", "app.db.migrator", "tests.faults.observed")  # what it can start

# Not what reads the environment when it is imported: metrics and tracing.
PRELOADED = (
    *("app.main", "app.server.serve", "app.server.http1.connection", "app.db.migrations", "uvloop"),
    *("piccolo.apps.migrations.commands.forwards", "piccolo.apps.migrations.commands.backwards"),
)
_COVERAGE = "COVERAGE_PROCESS_CONFIG"  # coverage sets it for the processes that it measures
_NUMBER = struct.Struct("i")
_lock = threading.Lock()
_running: list[tuple[subprocess.Popen[bytes], socket.socket]] = []


class Process:
    """A process that was forked, with the methods of `subprocess.Popen`."""

    def __init__(self, words: Sequence[str], status: int) -> None:
        self.args = words
        self.returncode: int | None = None
        [self.pid] = _NUMBER.unpack(os.read(status, _NUMBER.size))
        self._status = status
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit code, or None while the process runs."""
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code. Raises `subprocess.TimeoutExpired` after so many seconds."""
        code = self._wait(timeout)
        if code is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _wait(self, timeout: float | None) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
                [self.returncode] = _NUMBER.unpack(os.read(self._status, _NUMBER.size))
                os.close(self._status)
            return self.returncode


def start(words: Sequence[str], env: Mapping[str, str], stdin: int, stdout: int, stderr: int) -> Process:
    """Start `python -m *words` in this environment, on copies of these descriptors."""
    status, theirs = os.pipe()
    with TemporaryFile() as file:
        file.write(json.dumps([[*words], {**env}]).encode())
        file.flush()
        with _lock:
            socket.send_fds(_server(), [b"+"], [stdin, stdout, stderr, file.fileno(), theirs])
    os.close(theirs)
    return Process(words, status)


def run(words: Sequence[str], env: Mapping[str, str], text: str = "", timeout: float = 60) -> tuple[int, str, str]:
    """Run `python -m *words` to its end. Return its exit code, and what it has printed and said on stderr."""
    with TemporaryFile() as stdin, TemporaryFile() as stdout, TemporaryFile() as stderr:
        stdin.write(text.encode())
        stdin.seek(0)
        process = start(words, env, stdin.fileno(), stdout.fileno(), stderr.fileno())
        try:
            code = process.wait(timeout)
        finally:
            process.kill()
        stdout.seek(0)
        stderr.seek(0)
        return code, stdout.read().decode(), stderr.read().decode()


def command(*words: str, text: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m app *words` to its end, in our environment changed by `env`."""
    return subprocess.CompletedProcess(words, *run(["app", *words], {**os.environ, **env}, text))


class _Running:
    """A process that was forked, with what `app/db/migrations.py` asks of one of asyncio's."""

    def __init__(self, words: Sequence[str], env: Mapping[str, str]) -> None:
        self._printed, self._told = TemporaryFile(), TemporaryFile()  # noqa: SIM115
        with Path(os.devnull).open() as null:
            self._process = start(words, env, null.fileno(), self._printed.fileno(), self._told.fileno())

    @property
    def returncode(self) -> int | None:
        return self._process.poll()

    def terminate(self) -> None:
        self._process.terminate()

    async def wait(self) -> int:
        while (code := self.returncode) is None:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return code

    async def communicate(self) -> tuple[bytes, bytes]:
        await self.wait()
        return self._read(self._printed), self._read(self._told)

    @staticmethod
    def _read(file: IO[bytes]) -> bytes:
        with file:
            file.seek(0)
            return file.read()


async def start_process(program: str, *words: str, cwd: Path, env: Mapping[str, str], **streams: Any) -> Any:
    """Do what `asyncio.create_subprocess_exec` does, by a fork where that can be."""
    if words[0] == "-m" and words[1] in MODULES and cwd == ROOT:
        return _Running(words[1:], env)
    return await asyncio.create_subprocess_exec(program, *words, cwd=cwd, env=env, **streams)


def _server() -> socket.socket:
    """Start the fork server, once. It ends with the process that uses it."""
    if not _running:
        ours, theirs = socket.socketpair()
        preloaded = [*PRELOADED, *(["coverage"] if _COVERAGE in os.environ else [])]
        command = [sys.executable, "-m", "tests.forkserver", f"{theirs.fileno()}", *preloaded]
        # It is not measured itself. What it forks begins to be.
        env = {name: value for name, value in os.environ.items() if name != _COVERAGE}
        with theirs:
            where = {"cwd": ROOT, "env": env, "pass_fds": [theirs.fileno()], "stdin": subprocess.DEVNULL}
            _running.append((subprocess.Popen(command, start_new_session=True, **where), ours))
        atexit.register(_end)
    return _running[0][1]


def _end() -> None:
    server, control = _running.pop()
    control.close()
    server.wait()


def _serve(control: socket.socket) -> tuple[list[str], dict[str, str]] | None:
    """Fork for each request. Return None at the end, and in a process that was asked for what it shall be."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    gc.freeze()  # a process that looks for garbage among these copies the memory of them all
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 1, 5)
        if not message:
            return None
        if os.fork() == 0:
            control.close()
            return _watched(*descriptors)
        for each in descriptors:
            os.close(each)


def _watched(stdin: int, stdout: int, stderr: int, wish: int, status: int) -> tuple[list[str], dict[str, str]]:
    """Fork once more, to tell with which code the process has ended, and return in that process."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, each in enumerate((stdin, stdout, stderr)):
        os.dup2(each, number)
        os.close(each)
    if pid := os.fork():
        os.closerange(0, 3)
        try:
            os.write(status, _NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
        finally:
            os._exit(0)
    os.setsid()
    os.write(status, _NUMBER.pack(os.getpid()))
    os.close(status)
    with os.fdopen(wish, "rb") as file:
        file.seek(0)
        words, env = json.load(file)
    return words, env


def _become(words: list[str], env: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(env)
    if _COVERAGE in env:
        importlib.import_module("coverage").process_startup()
    tempfile.tempdir = None  # looked for once, in another environment
    sys.argv = words
    runpy.run_module(words[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for name in sys.argv[2:]:
        importlib.import_module(name)
    inspect.stack()  # finds the module of each file, once: coverage asks for them in each process
    if (asked := _serve(socket.socket(fileno=int(sys.argv[1])))) is not None:
        _become(*asked)
