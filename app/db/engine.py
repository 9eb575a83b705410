"""The database, as the rest of the service uses it: opened in the background, asked with a deadline, closed.

What is not answered within `DATABASE_TIMEOUT` raises an exception that clients see as a 503 (`app/web/errors.py`).
"""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from app.config.settings import Settings
from app.db import connect, migrations, user_table
from app.db.errors import DatabaseUnavailable
from app.db.group_commit import GroupCommit
from app.db.owner_queue import LongReads, OwnerQueue
from app.db.pool import Pool
from app.db.pooled_connection import Rows
from app.db.readiness import ReadinessProbe
from app.db.statements import Statement
from app.db.transaction import Observer, Transaction, transaction

logger = logging.getLogger(__name__)
T = TypeVar("T")

SECONDS_TO_CLOSE = 1
SECONDS_UNTIL_READY = 1.0  # for a database that is there, before the service listens without it


class Database:
    """Sends statements to PostgreSQL. A service calls `open`, and can send some as soon as the database is there."""

    owners: OwnerQueue
    long_reads: LongReads

    def __init__(self) -> None:
        self.ready = False
        self.users_are_ours: bool | None = None  # whether we made their table; None until the database is known
        self._pool: Pool | None = None
        self._timeout = 5.0
        self._observer: Observer | None = None
        self._groups: dict[Statement, GroupCommit] | None = None  # None: where changes are not grouped
        self._probe: ReadinessProbe | None = None
        self._opening: asyncio.Task[None] | None = None
        self._heard = asyncio.Event()  # that it is ready, or that it is not there (yet)

    @property
    def pool(self) -> Pool:
        """The connections. Raises DatabaseUnavailable where there is no migrated database."""
        if not self.ready or self._pool is None:
            raise DatabaseUnavailable
        return self._pool

    async def open(self, settings: Settings, observer: Observer | None = None) -> None:
        """Begin to connect, and return immediately: a service listens before its database is there.

        The observer is told the SQL of each statement, and awaits it.
        """
        self._observer = observer
        self._timeout = settings.database_timeout
        self._heard = asyncio.Event()
        self._probe = ReadinessProbe(settings)
        self._opening = asyncio.create_task(self._open(settings))

    async def close(self) -> None:
        """Give every connection back; the ones still busy after the timeout, or a second, are cut."""
        self.ready = False
        with suppress(TimeoutError):
            async with asyncio.timeout(min(self._timeout, SECONDS_TO_CLOSE)):
                await self._close()
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    async def _close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        if self._probe is not None:
            await self._probe.close()
        if self._pool is not None:
            await self._pool.close()

    def use(self, pool: Pool, *, group_commit: bool = True) -> None:
        """Send statements to this pool from now on."""
        self._pool = pool
        self.owners = OwnerQueue.before(pool)
        self.long_reads = LongReads(self.owners)
        self._groups = {} if group_commit and pool.prepares else None
        self.ready = True

    def sizes(self) -> tuple[int, ...]:
        """Return how many connections there are, are idle, and may be, and how many statements wait.

        Nothing where there is no migrated database.
        """
        if not self.ready:
            return ()
        return self.pool.get_size(), self.pool.get_idle_size(), self.pool.max_size, self.get_waiting_size()

    def get_waiting_size(self) -> int:
        """Return how many statements wait: for a connection, for their owner's turn, or for a group commit."""
        queues = self.owners, self.long_reads, *(self._groups or {}).values()
        return len(self.pool.waiters) + sum(queue.get_waiting_size() for queue in queues)

    async def fetch(self, statement: Statement, **values: Any) -> Rows:
        """Run one statement in one round trip and return its rows.

        Raises DatabaseUnavailable where there is no migrated database, and what `Pool.run` raises.
        """
        pool, owner = self.pool, values.get("owner")
        # Here, and not in a coroutine of the queue's, which would cost as much as a header.
        until = math.inf if owner is None or self.owners.try_acquire(owner) else await self.owners.turn(owner)
        try:
            return await self._observed(statement, pool.run(statement.sql, statement.bind(values), until=until))
        finally:
            if owner is not None:
                self.owners.release(owner)

    async def fetch_long(self, statement: Statement, **values: Any) -> Rows:
        """As `fetch`, for what reads much of an owner's: few of these run at a time."""
        pool = self.pool
        async with self.long_reads.turn(values["owner"]) as until:
            return await self._observed(statement, pool.run(statement.sql, statement.bind(values), until=until))

    async def fetch_beside(self, statement: Statement, **values: Any) -> Rows:
        """As `fetch`, in no owner's turn: for the one task that works for all owners, and waits for none of them."""
        return await self._observed(statement, self.pool.run(statement.sql, statement.bind(values)))

    async def change(self, statement: Statement, **values: Any) -> Sequence[Any]:
        """Run one statement that changes what is `owner`'s, alone or in a group commit. Raises what `fetch` does."""
        pool = self.pool
        if self._groups is None or statement.group_sql is None:
            return await self.fetch(statement, **values)
        group = self._groups.get(statement)
        if group is None:
            group = self._groups[statement] = GroupCommit(pool, self.owners, statement)
        return await self._observed(statement, group.write(values["owner"], statement.bind(values)))

    def _observed(self, statement: Statement, running: Awaitable[T]) -> Awaitable[T]:
        return running if self._observer is None else self._observer(statement.sql, running)

    @asynccontextmanager
    async def begin(self, owner: str | None = None, *, keep: bool = True) -> AsyncGenerator[Transaction]:
        """Begin a transaction, in its owner's turn if it has one; it is rolled back where it is not to be kept.

        An exception inside rolls it back too. Nothing else of the owner's may be asked for inside. Raises what `fetch`
        does.
        """
        pool = self.pool
        until = math.inf if owner is None else await self.owners.turn(owner)
        try:
            async with transaction(pool, keep=keep, until=until, observer=self._observer) as it:
                yield it
        finally:
            if owner is not None:
                self.owners.release(owner)

    async def fetch_all(self, *each: tuple[Statement, dict[str, Any]]) -> list[Rows]:
        """Run statements one after the other in one transaction; returns the rows of each. Raises as `fetch`."""
        async with self.begin(each[0][1].get("owner")) as together:
            return [await together.fetch(statement, **values) for statement, values in each]

    async def is_ready(self) -> bool:
        """Tell whether the primary is there, migrated, and answers now. Takes a second at most, and no connection."""
        if not self.ready or self._probe is None:
            return False
        with suppress(*connect.CONNECT_ERRORS):
            await self._probe.check()
            return True
        return False

    async def wait_until_ready(self) -> None:
        """Wait until it is ready, or turns out not to be there; for a second at most.

        A worker that takes the place of another takes no requests that it would have to answer with 503.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(SECONDS_UNTIL_READY):
                await self._heard.wait()

    async def _open(self, settings: Settings) -> None:
        heard, told = self._heard, False
        while lacking := await connect.until_it_works(migrations.lacks, settings, heard):
            if not told:
                logger.warning(lacking)
                told = True
            heard.set()
            await asyncio.sleep(0.5)
        # Not before: a migration makes the role that the pool's connections take on.
        pool = self._pool = await connect.until_it_works(connect.open_pool, settings, heard)
        has_rls, ours = await connect.until_it_works(lambda _: connect.begin(pool, settings), settings, heard)
        if not has_rls:
            logger.warning("Row-level security does not hold for the login of DATABASE_URL: see docs/isolation.md.")
        self.users_are_ours = ours
        logger.info(user_table.told(settings.accounts, ours=ours))
        self.use(pool, group_commit=settings.group_commit)
        heard.set()
        logger.info("The database is ready.")


database = Database()
