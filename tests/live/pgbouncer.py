"""A PgBouncer in transaction mode that a test may stop and start."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from tests.conftest import needs

PORT = 6432  # a name for the socket, no more

CONFIGURATION = """
[databases]
* = {server}
[pgbouncer]
unix_socket_dir = {folder}
listen_port = {port}
auth_type = any
pool_mode = transaction
{settings}
"""


class PgBouncer:
    """One of them, in front of the server at `url`; stopped at first. `settings` are lines of its configuration."""

    def __init__(self, url: str, *settings: str) -> None:
        program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        needs(program, "PgBouncer")
        behind = urlsplit(url)
        options = parse_qs(behind.query)
        host = options["host"][0] if "host" in options else behind.hostname or ""
        server = f"host='{host}' port={behind.port or 5432} user='{unquote(behind.username or '')}'"
        if behind.password:
            server += f" password='{unquote(behind.password)}'"

        self.folder = Path(tempfile.mkdtemp(prefix="tasks-tests-"))
        self.host = f"{quote(str(self.folder), safe='')}:{PORT}"  # as it stands in a URL
        self._log = self.folder / "log"
        self._socket = self.folder / f".s.PGSQL.{PORT}"
        self._command = [program or "", str(self.folder / "pgbouncer.ini")]
        text = CONFIGURATION.format(server=server, folder=self.folder, port=PORT, settings="\n".join(settings))
        Path(self._command[1]).write_text(text)
        # It refuses to run as root. The embedded server's socket is for its own user alone.
        self._somebody: dict[str, Any] = {}
        if os.geteuid() == 0:
            owner = Path(host).stat().st_uid if host.startswith("/") else 0
            user = pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")
            os.chown(self.folder, user.pw_uid, user.pw_gid)
            self._somebody = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self._running: subprocess.Popen[bytes] | None = None

    def url(self, url: str) -> str:
        """The way to the database of `url` through it."""
        return f"postgresql://somebody@{self.host}{urlsplit(url).path}"

    def start(self) -> None:
        with self._log.open("a") as output:
            self._running = subprocess.Popen(self._command, stdout=output, stderr=subprocess.STDOUT, **self._somebody)
        deadline = time.monotonic() + 20
        while not self._listens():
            assert self._running.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.01)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop it at once: SIGTERM does not wait for what is being asked."""
        if self._running:
            self._running.send_signal(number)
            self._running.wait(20)
            self._running = None

    def end(self) -> None:
        self.stop()
        shutil.rmtree(self.folder)

    def _listens(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe, suppress(OSError):
            probe.connect(str(self._socket))
            return True
        return False
