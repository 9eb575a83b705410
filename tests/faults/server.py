"""A PostgreSQL of the test's own, on a port of the loopback, that it may stop, start and crash."""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from app.db.embedded import EmbeddedPostgres
from tests import forkserver
from tests.live.conftest import free_port

Mode = Literal["smart", "fast", "immediate"]


class Postgres:
    """A cluster in a folder of its own; `url` leads to it where it runs. Nothing of its durability is turned off."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}/postgres"
        self._made = EmbeddedPostgres(folder)
        self._made.start()
        self._made.stop()

    def start(self) -> None:
        """Return when it takes connections."""
        options = f"-h 127.0.0.1 -p {self.port} -k {self._made.cluster}"
        self._pg_ctl("start", f"--options={options}")

    def stop(self, mode: Mode = "fast") -> None:
        """`immediate` is a crash: what was committed is recovered from the log when it starts."""
        self._pg_ctl("stop", f"--mode={mode}")

    async def restart(self, mode: Mode = "fast", *, seconds_down: float = 0) -> None:
        """Be gone for so long, and back."""
        await asyncio.to_thread(self.stop, mode)
        await asyncio.sleep(seconds_down)
        await asyncio.to_thread(self.start)

    def migrate(self) -> None:
        """Make the tables. Takes two seconds."""
        code, _, told = forkserver.run(["app", "migrate"], self.environment())
        assert code == 0, told

    def environment(self) -> dict[str, str]:
        """What a process needs to use it."""
        return {**os.environ, "DATABASE_URL": self.url}

    def is_running(self) -> bool:
        return (self._made.cluster / "postmaster.pid").exists()

    def _pg_ctl(self, action: str, *arguments: str) -> None:
        self._made._run("pg_ctl", action, "--wait", f"--pgdata={self._made.cluster}", *arguments)


@contextmanager
def postgres_of_our_own(*, migrated: bool = True) -> Iterator[Postgres]:
    """A running server, with our tables if `migrated`."""
    # Not pytest's folder: each pytest that starts closes that to other users, and the database is one.
    with tempfile.TemporaryDirectory(prefix="tasks-tests-", ignore_cleanup_errors=True) as folder:
        postgres = Postgres(Path(folder))
        postgres.start()
        try:
            if migrated:
                postgres.migrate()
            yield postgres
        finally:
            if postgres.is_running():
                postgres.stop("immediate")
