"""First starts of the service that are killed at some moment, and what the next start finds."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from app.config.settings import ROOT
from tests.live.conftest import free_port

PARTS = ("app", "piccolo_migrations", "piccolo_conf.py")
END_SECONDS = 60


class Project:
    """The project in a folder of its own, on the embedded database there, or on that of `url`."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder = folder
        self._env = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "JWT_SECRET")}
        self._env |= {"PORT": f"{free_port()}", "LOG_FORMAT": "json"}
        if url:
            self._env |= {"DATABASE_URL": url, "JWT_SECRET": "x" * 32}

    def start(self, *command: str) -> "subprocess.Popen[str]":
        """Start a command in a session of its own, as from a terminal: Ctrl-C is for all that it starts."""
        return subprocess.Popen(
            [sys.executable, "-m", "app", *command], cwd=self.folder, env=self._env, start_new_session=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def migrate(self) -> "subprocess.CompletedProcess[str]":
        """Migrate, as each start does. The exit code is not 0 where the database is stuck."""
        process = self.start("migrate")
        told = process.communicate(timeout=END_SECONDS)[0]
        return subprocess.CompletedProcess(["migrate"], process.returncode, told)

    def postmasters(self) -> list[psutil.Process]:
        """The embedded server, which is in nobody's process group."""
        found = []
        for each in psutil.process_iter(["cmdline"]):
            words = each.info["cmdline"] or []
            if words and words[0].endswith("postgres") and str(self.folder / ".data") in " ".join(words):
                found.append(each)
        return found


class FirstStart:
    """`python -m app serve --migrate`, until `end`."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.process = project.start("serve", "--migrate")

    def migrators(self) -> list[psutil.Process]:
        """What it has started to migrate."""
        found = []
        with suppress(psutil.NoSuchProcess):
            for each in psutil.Process(self.process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    if "app.db.migrator" in each.cmdline():
                        found.append(each)
        return found

    def signal(self, number: int) -> None:
        """Send it to all of its processes."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def end(self) -> None:
        """End whatever still runs."""
        self.signal(signal.SIGTERM)
        try:
            self.process.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
            self.process.communicate()


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _everything(start: FirstStart) -> None:
    start.signal(signal.SIGKILL)
    _kill(start.project.postmasters())


# What may happen to it; the last two only to an embedded server.
KILLS: dict[str, Callable[[FirstStart], None]] = {
    "the service is killed": lambda start: start.process.kill(),
    "what migrates is killed": lambda start: _kill(start.migrators()),
    "both are killed": lambda start: start.signal(signal.SIGKILL),
    "Ctrl-C": lambda start: start.signal(signal.SIGINT),
    "the service is told to stop": lambda start: start.process.terminate(),
    "all are told to stop": lambda start: start.signal(signal.SIGTERM),
    "PostgreSQL is killed": lambda start: _kill(start.project.postmasters()),
    "everything is killed": _everything,
}


@contextmanager
def cloned() -> Iterator[Path]:
    """The folder of the project as somebody has just cloned it, without data."""
    with tempfile.TemporaryDirectory(prefix="tasks-tests-", ignore_cleanup_errors=True) as name:
        for part in PARTS:
            Path(name, part).symlink_to(ROOT / part)
        yield Path(name)


def killed(project: Project, how: str, after: float) -> "subprocess.CompletedProcess[str]":
    """Start for the first time, do that to it after so many seconds, and start once more."""
    start = FirstStart(project)
    try:
        time.sleep(after)
        KILLS[how](start)
        return project.migrate()
    finally:
        start.end()
