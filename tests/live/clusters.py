"""PostgreSQL servers on the loopback that a test may stop, freeze and promote: a primary, and replicas of it."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.db import embedded
from tests import forkserver
from tests.live.conftest import free_port

# A commit is acknowledged when a replica has it on its disk, too. Told at the start of one server, and not in its
# files: whoever is promoted has the same files, and would wait for a replica that it has not.
SYNCHRONOUS = ("synchronous_commit=on", "synchronous_standby_names=*")


class Cluster:
    """One server, stopped at first. It is the primary unless it was made by `replica`."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.port = port or free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.folder = folder
        self._server = embedded.EmbeddedPostgres(folder)
        folder.mkdir(exist_ok=True)

    def make(self) -> "Cluster":
        """Run initdb."""
        self._server._make()
        return self

    def replica(self, folder: Path, port: int | None = None) -> "Cluster":
        """Copy this server, which has to run, into `folder`, in place of what is there, as one that follows it."""
        copy = Cluster(folder, port)
        shutil.rmtree(copy._server.cluster, ignore_errors=True)
        copy._server.cluster.mkdir(mode=0o700)
        copy._server._own(copy._server.cluster)
        where = (f"--pgdata={copy._server.cluster}", "--host=127.0.0.1", f"--port={self.port}", "--username=postgres")
        copy._server._run("pg_basebackup", *where, "--write-recovery-conf", "--checkpoint=fast")
        return copy

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://postgres@{self.host}/{database}"

    def start(self, *settings: str) -> "Cluster":
        """Start it, with settings like `wal_level=logical` for as long as it runs."""
        options = f"-h 127.0.0.1 -p {self.port} -k {self._server.cluster}"
        more = "".join(f" -c {setting}" for setting in settings)
        self._server._run("pg_ctl", "start", "--wait", self._data(), f"--options={options}{more}")
        return self

    def stop(self, mode: str = "fast") -> None:
        """Stop it: `fast` tells everybody, `immediate` nobody."""
        self._server._run("pg_ctl", "stop", "--wait", f"--mode={mode}", self._data())

    def promote(self) -> None:
        """Make a primary of a replica."""
        self._server._run("pg_ctl", "promote", "--wait", self._data())

    def wait_for_replica(self) -> None:
        """Acknowledge from now on only what a replica has, too."""
        for setting in SYNCHRONOUS:
            name, value = setting.split("=")
            command(self.url(), "psql", text=f"ALTER SYSTEM SET {name} = '{value}';\nSELECT pg_reload_conf();\n")

    def freeze(self) -> None:
        """Leave it as a machine that is switched off leaves it: it takes no part any more, and hangs up on nobody."""
        for pid in self._processes():
            os.kill(pid, signal.SIGSTOP)

    def end(self) -> None:
        """Stop it, whatever state it is in."""
        if self._server._is_running() or (self._server.cluster / "postmaster.pid").exists():
            for pid in self._processes():
                os.kill(pid, signal.SIGCONT)
            self.stop("immediate")

    def _processes(self) -> list[int]:
        """The postmaster first: stopped, it starts no others."""
        postmaster = int((self._server.cluster / "postmaster.pid").read_text().split()[0])
        children = subprocess.run(["pgrep", "-P", f"{postmaster}"], capture_output=True, text=True, check=True).stdout
        return [postmaster, *map(int, children.split())]

    def _data(self) -> str:
        return f"--pgdata={self._server.cluster}"


class Pair:
    """A primary, and a replica that has everything on its disk that the primary has acknowledged."""

    def __init__(self, primary: Cluster, replica: Cluster) -> None:
        self.primary = primary
        self.replica = replica
        self.url = url_of(primary.host, replica.host)

    def swap(self) -> None:
        """Make a replica of the primary that was, after the other has been promoted."""
        lost = self.primary
        self.primary, self.replica = self.replica, self.replica.replica(lost.folder, lost.port).start()
        self.primary.wait_for_replica()


def url_of(*hosts: str) -> str:
    """The URL of a service whose primary is one of these."""
    return f"postgresql://postgres@{','.join(hosts)}/postgres?target_session_attrs=read-write"


@contextmanager
def migrated_cluster() -> Iterator[Cluster]:
    """A running server with our tables. Takes four seconds."""
    # Not pytest's folder: each pytest that starts closes that to other users, and the database is one.
    with tempfile.TemporaryDirectory(prefix="tasks-tests-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder)).make().start()
        try:
            command(cluster.url(), "migrate")
            yield cluster
        finally:
            cluster.end()


@contextmanager
def pair_like(cluster: Cluster) -> Iterator[Pair]:
    """A primary with the tables and rows of a server that runs, and its replica. Takes two seconds."""
    with tempfile.TemporaryDirectory(prefix="tasks-tests-", ignore_cleanup_errors=True) as folder:
        primary = cluster.replica(Path(folder, "one")).start()
        primary.promote()
        replica = primary.replica(Path(folder, "two")).start()
        primary.stop()
        primary.start(*SYNCHRONOUS)
        pair = Pair(primary, replica)
        try:
            yield pair
        finally:
            pair.replica.end()
            pair.primary.end()


def command(url: str, *words: str, text: str | None = None) -> str:
    """What `python -m app` prints on the database at `url`, told `text`."""
    code, printed, told = forkserver.run(["app", *words], {**os.environ, "DATABASE_URL": url}, text or "")
    assert code == 0, told
    return printed
