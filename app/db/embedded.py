"""The PostgreSQL that comes with us: made on first use, shared by our processes, stopped by the last one.

Who uses it is counted with a lock that the kernel drops when a process ends, however it ends. So the last
process to leave knows that it is the last, even if others were killed.
"""

import atexit
import hashlib
import os
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import fasteners  # pyright: ignore[reportMissingTypeStubs] # it comes without types

from app.db.server_user import BIN, let_through, server_user

PORT = 5432  # a name for the socket, no more; said aloud, or PGPORT would be asked
DRAFT = "postgres.draft-"  # and more, for the folder of a cluster that is being made
OTHERS_SECONDS = 20  # for a server that somebody else began to start or to stop
LONGEST_SOCKET_DIR = 89  # bytes; with the socket's own name, macOS allows 103 and Linux 107

# Of our own environment, PostgreSQL gets this and no more: the rest holds secrets, and variables like PGDATA.
ENVIRONMENT = ("HOME", "LD_LIBRARY_PATH", "PATH", "TMPDIR")

CONFIGURATION = """
# Written by the Tasks API when it made this cluster.
listen_addresses = ''
unix_socket_permissions = 0700
max_connections = 200
timezone = 'UTC'
# What people wrote stays out of the log: no row contents, no statements.
log_error_verbosity = terse
log_min_error_statement = panic
"""


def psql(*arguments: str, **environment: str) -> int:
    """Open the psql that comes with the server, and return its exit status."""
    # Ctrl+C is psql's, which stops a query with it. Were it ours too, we would kill psql.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.call([str(BIN / "psql"), *arguments], env={**os.environ, **environment})  # noqa: S603
    finally:
        signal.signal(signal.SIGINT, before)


@cache
def server(data_dir: Path) -> "EmbeddedPostgres":
    """Return this process's one handle on the server that lives in `data_dir`."""
    return EmbeddedPostgres(data_dir)


class EmbeddedPostgres:
    """A PostgreSQL 18 cluster in `data_dir/postgres`, on a unix socket that only its user may use."""

    def __init__(self, data_dir: Path) -> None:
        """Touch no file yet; `start` does."""
        self.cluster = data_dir / "postgres"
        self._one_at_a_time = fasteners.InterProcessLock(data_dir / "postgres.lock")
        self._users = fasteners.InterProcessReaderWriterLock(data_dir / "postgres.users")
        self._in_this_process = threading.Lock()
        self._holding = False
        # Not in `start`, which may be called on any thread: signals are the main thread's business.
        _leave_by_atexit_on_signals()

    def start(self) -> dict[str, Any]:
        """Make sure that it runs until this process leaves, and return asyncpg's arguments to connect.

        Blocks: 0.6 s the first time, 0.1 s later, nothing from then on, unless it has died under us. Raises OSError
        and subprocess.CalledProcessError where PostgreSQL does not start; `postgres.log` beside it tells why.
        """
        with self._in_this_process:
            if not self._holding:
                self._hold()
            self._launch()
            return {"host": str(self._socket_dir()), "port": PORT, "user": "postgres", "database": "postgres"}

    def revive(self) -> None:
        """Start it again where it has died under us. Raises subprocess.CalledProcessError where that fails."""
        with self._in_this_process, self._one_at_a_time:
            if self._holding:
                self._launch()

    def stop(self) -> None:
        """Leave; the last process to leave stops the server. Harmless where it was never started."""
        with self._in_this_process:
            if not self._holding:
                return
            self._holding = False
            atexit.unregister(self.stop)
            with self._one_at_a_time:
                self._users.release_read_lock()
                try:
                    if self._users.acquire_write_lock(blocking=False) and self._is_running():
                        self._run("pg_ctl", "stop", "--mode=fast", "--wait", f"--pgdata={self.cluster}")
                finally:
                    self._users.release_write_lock()  # closes its file, too, where it was not ours

    def psql(self, *arguments: str, **environment: str) -> int:
        """Start the server if need be, open psql on it, and return psql's exit status."""
        where = (f"--host={self.start()['host']}", f"--port={PORT}", "--username=postgres", "--dbname=postgres")
        return psql(*where, *arguments, **environment)

    def _hold(self) -> None:
        self.cluster.parent.mkdir(exist_ok=True)
        with self._one_at_a_time:
            self._users.acquire_read_lock()
            try:
                # By a start that was killed. Also where there is a cluster: initdb itself may have gone on for a while.
                for abandoned in self.cluster.parent.glob(f"{DRAFT}*"):
                    shutil.rmtree(abandoned, ignore_errors=True)
                if not self.cluster.exists():
                    self._make()
                self._launch()
            except BaseException:
                self._users.release_read_lock()
                raise
        self._holding = True
        atexit.register(self.stop)

    def _make(self) -> None:
        """Run initdb beside the final place and move the result there: a half-made cluster is never used."""
        draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=self.cluster.parent))
        try:
            self._own(draft)
            users = ("--auth=trust", "--username=postgres", "--encoding=UTF8")
            locale = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
            self._run("initdb", f"--pgdata={draft}", *users, *locale)
            with (draft / "postgresql.conf").open("a") as file:
                file.write(CONFIGURATION)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)  # who tries again each second would fill the disk
            raise
        draft.rename(self.cluster)

    def _launch(self) -> None:
        """Start it unless it is there; or wait for it where somebody was killed who began to start or to stop it."""
        # Where the socket lies is told each time: the folder may have been moved since the last start.
        options = f"--options={shlex.join(['-k', str(self._socket_dir())])}"
        deadline = time.monotonic() + OTHERS_SECONDS
        pid_file = self.cluster / "postmaster.pid"
        while not self._is_ready():
            was_there = pid_file.exists()  # and may be gone when pg_ctl has failed for it
            try:
                self._run("pg_ctl", "start", "--wait", f"--pgdata={self.cluster}", f"--log={self._log()}", options)
            except subprocess.CalledProcessError:
                if time.monotonic() > deadline or not (was_there or pid_file.exists()):
                    raise
                time.sleep(0.1)

    def _is_ready(self) -> bool:
        with suppress(OSError, IndexError):
            told = (self.cluster / "postmaster.pid").read_text().split()
            return told[-1] in ("ready", "standby") and self._is_running()
        return False

    def _is_running(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._socket_dir() / f".s.PGSQL.{PORT}"))
            except OSError:
                return False
        return True

    def _socket_dir(self) -> Path:
        """The cluster itself, unless its path is longer than a socket's may be, or reads like a list of hosts."""
        if len(os.fsencode(self.cluster)) <= LONGEST_SOCKET_DIR and "," not in str(self.cluster):
            return self.cluster
        name = hashlib.sha256(os.fsencode(self.cluster)).hexdigest()[:16]
        place = Path(tempfile.gettempdir()) / f"tasks-api-{os.geteuid()}-{name}"
        with suppress(FileExistsError):
            place.mkdir(mode=0o700)
        # Anybody may make folders there, and the owner of the socket's folder could play the server.
        found, user = place.lstat(), server_user()
        owners = {os.geteuid(), user.pw_uid if user else os.geteuid()}
        if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners:
            raise PermissionError(f"{place} belongs to somebody else")
        self._own(place)
        return place

    def _own(self, path: Path) -> None:
        """As root, hand `path` to the user that the server runs as: PostgreSQL refuses to run as root."""
        if user := server_user():
            os.chown(path, user.pw_uid, user.pw_gid)
            let_through(path)

    def _log(self) -> Path:
        log = self.cluster.with_name("postgres.log")
        log.touch(mode=0o600)
        self._own(log)
        return log

    def _run(self, command: str, *arguments: str) -> None:
        user = server_user()
        with self._log().open("ab") as log:
            subprocess.run(  # noqa: S603
                [str(BIN / command), *arguments],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.cluster.parent,
                env={name: os.environ[name] for name in ENVIRONMENT if name in os.environ},
                user=user and user.pw_uid,
                group=user and user.pw_gid,
                extra_groups=user and [],
            )


def _leave_by_atexit_on_signals() -> None:
    """SIGTERM and SIGHUP end a process without its atexit calls; where nobody else handles them, we do."""
    may = threading.current_thread() is threading.main_thread()  # others must not, says Python
    for number in (signal.SIGTERM, signal.SIGHUP):
        if may and signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _exit)


def _exit(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
