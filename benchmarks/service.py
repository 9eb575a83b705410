"""A contender as a running process."""

import http.client
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from benchmarks import measure
from benchmarks.lineup import Contender
from benchmarks.workloads import SECRET, token

START_SECONDS = 30
STOP_SECONDS = 15
LOG_SECONDS = 2  # until a line that is kept in a buffer has to be in the file
SOMEBODY = 2001

# What a contender, our own service above all, is not to take from our environment or from a .env.
SETTINGS = {
    "ACCOUNTS": "",
    "BETTER_AUTH_SECRET": "",
    "DATABASE_POOL_MAX": "10",
    "DATABASE_POOL_MIN": "1",
    "DATABASE_TIMEOUT": "5",
    "FORWARDED_ALLOW_IPS": "",
    "FRONTEND_URL": "http://localhost:3000",
    "HOST": "127.0.0.1",
    "JWT_ISSUERS": "",
    "JWT_SECRET": SECRET,
    "LOG_FORMAT": "json",
    "NODE_ENV": "production",
    "PYTHONDONTWRITEBYTECODE": "",  # or everybody in Python compiles at each start
    "PROVISION_USERS": "",
    "WORKERS": "1",
}


class NotServing(Exception):
    """A contender did not start, or has ended. The message says what it said."""


class Service:
    """A started contender, alone on its core where there are cores to choose from."""

    def __init__(
        self, contender: Contender, database_url: str, log: Path, *, workers: int = 1, pinned: bool = True
    ) -> None:
        """Start it, and wait until it serves. Raises NotServing."""
        self.contender = contender
        self.port = _free_port()
        self._log = log
        place = {"PORT": str(self.port), "UVICORN_PORT": str(self.port), "WORKERS": str(workers)}
        environment = {**os.environ, **SETTINGS, **contender.settings, **place, "DATABASE_URL": database_url}
        log.write_text("")
        began = time.monotonic()
        # A file that is appended to, as a supervisor would have it.
        with log.open("a") as out, measure.on_the_servers_core() if pinned else measure.on_all_cores():
            self._process = subprocess.Popen(  # noqa: S603
                contender.command,
                cwd=contender.folder,
                env=environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.pid = self._process.pid
        try:
            self._wait(began + START_SECONDS)
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.monotonic() - began
        self.megabytes_at_rest = measure.megabytes(self.pid)

    def stop(self) -> None:
        """End it, all of it."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self.pid, signal.SIGKILL)
                self._process.wait(STOP_SECONDS)

    def forget_log(self) -> None:
        """Empty the log: that of a whole run would be gigabytes."""
        os.truncate(self._log, 0)

    def lines_missing(self, requests: int) -> int:
        """Return how many of so many requests have no line in the log, a moment after the last of them."""
        deadline = time.monotonic() + LOG_SECONDS
        while (missing := requests - self._log.read_bytes().count(b"\n")) > 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        return max(missing, 0)

    def _wait(self, deadline: float) -> None:
        headers = {"Authorization": f"Bearer {token(SOMEBODY)}"}
        while True:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("GET", self.contender.ready, headers=headers)
                status = connection.getresponse().status
            except (OSError, http.client.HTTPException):
                status = 0
            finally:
                connection.close()
            if status == 200:
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise NotServing(f"it does not serve (status {status})\n{self._log.read_text().strip()[-500:]}")
            time.sleep(0.01)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
