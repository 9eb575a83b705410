"""The database as the rest of the house sees it: opened in the background, asked with a limit, closed.

Piccolo's engine and our own statements share one pool. Nothing here waits for ever: whoever cannot be
served within `DATABASE_TIMEOUT` gets Unavailable, which clients see as a 503.
"""

import asyncio
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import chain, repeat
from typing import Any, TypeVar

import asyncpg
from piccolo.engine.postgres import PostgresEngine, PostgresTransaction

from app import embedded, migrations, pool, settings, user_table
from app.as_staff import StaffTransaction, fetch_as_staff
from app.connection_errors import explain
from app.failures import Unavailable
from app.pulse import Pulse
from app.statements import Statement
from app.steps import Steps

logger = logging.getLogger(__name__)
T = TypeVar("T")
Attempt = Callable[[settings.Settings], Awaitable[T]]

SECONDS_BETWEEN_ATTEMPTS = (0.1, 0.2)  # then twice a second
SECONDS_TO_CLOSE = 1
HEAD_START_SECONDS = 1.0  # for a database that is there, before the service listens without it


class Database(PostgresEngine):
    """Piccolo's engine, and the way our own statements take.

    A service calls `open` and has a pool from then on; in a command of Piccolo's each query has its own connection.
    """

    pool: Any  # asyncpg's, once it is open

    def __init__(self) -> None:
        """Connect to nothing: Piccolo's own engine would, at import."""
        super().__init__(config={}, extensions=())
        self.ready = False
        self.users_are_ours: bool | None = None  # whether we made their table; None until the database is known
        self._timeout = 5.0
        self._pulse: Pulse | None = None
        self._opening: asyncio.Task[None] | None = None
        self._heard = asyncio.Event()  # that it is ready, or that it is not there (yet)
        self._ours: embedded.EmbeddedPostgres | None = None
        self._reviving: asyncio.Task[None] | None = None

    async def check_version(self) -> None:
        """Leave the server alone until somebody asks for something."""

    async def prep_database(self) -> None:
        """Create no extensions: we need none."""

    async def get_new_connection(self) -> asyncpg.Connection:
        """Open a connection outside the pool, as Piccolo's commands do for each query."""
        return await pool.connect(settings.current())

    def transaction(self, allow_nested: bool = True) -> PostgresTransaction:
        """Return a transaction of Piccolo's, to enter."""
        return StaffTransaction(self, allow_nested)

    async def _run_in_pool(self, query: str, args: Sequence[Any] | None = None) -> list[asyncpg.Record]:
        async with self.pool.acquire() as connection:
            return await fetch_as_staff(connection, query, args or (), self.pool)

    async def _run_in_new_connection(self, query: str, args: Sequence[Any] | None = None) -> list[asyncpg.Record]:
        connection = await self.get_new_connection()
        try:
            return await fetch_as_staff(connection, query, args or (), None)
        finally:
            await connection.close()

    async def open(self, chosen: settings.Settings) -> None:
        """Begin to connect, and return at once: a service listens before its database is there."""
        self._timeout = chosen.database_timeout
        self._heard = asyncio.Event()
        self._pulse = Pulse(chosen)
        self._opening = asyncio.create_task(self._open(chosen))

    async def close(self) -> None:
        """Give every connection back; the ones still busy after the timeout, or a second, are cut."""
        self.ready = False
        closing = asyncio.create_task(self._close())
        await asyncio.wait({closing}, timeout=min(self._timeout, SECONDS_TO_CLOSE))
        closing.add_done_callback(_look_at)
        closing.cancel()
        if self.pool is not None:
            self.pool.terminate()
            self.pool = None

    async def _close(self) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait({self._opening})
        if self._pulse is not None:
            await self._pulse.close()
        if self.pool is not None:
            await self.pool.close()

    async def fetch(self, statement: Statement, **values: Any) -> list[asyncpg.Record]:
        """Run one statement in one round trip and return its rows.

        Raises Unavailable where there is no migrated database, and what asyncpg and the pool raise.
        """
        if not self.ready:
            raise Unavailable
        pool, owner = self.pool, values.get("owner")
        # Here, and not in a coroutine of the pool's, which would cost as much as a header.
        until = math.inf if owner is None or pool.owners.try_acquire(owner) else await pool.turn(owner)
        try:
            return await pool.run(statement.sql, statement.bind(values), until=until)
        except OSError:
            self._revive()
            raise
        finally:
            if owner is not None:
                pool.owners.release(owner)

    async def fetch_long(self, statement: Statement, **values: Any) -> list[asyncpg.Record]:
        """As `fetch`, for what reads much of an owner's: few of these run at a time."""
        with self._watched() as pool:
            return await pool.run_long(statement.sql, statement.bind(values), values["owner"])

    async def fetch_beside(self, statement: Statement, **values: Any) -> list[asyncpg.Record]:
        """As `fetch`, in no owner's turn: for the one task that works for all owners, and waits for none of them."""
        with self._watched() as pool:
            return await pool.run(statement.sql, statement.bind(values))

    async def change(self, statement: Statement, **values: Any) -> Sequence[Any]:
        """Run one statement that changes what is `owner`'s, alone or in a group. Raises what `fetch` does."""
        if not self.ready:
            raise Unavailable
        if statement.together is None or not self.pool.prepares:
            return await self.fetch(statement, **values)
        try:
            return await self.pool.change(statement, values["owner"], statement.bind(values))
        except OSError:
            self._revive()
            raise

    @asynccontextmanager
    async def stepwise(self, owner: str | None = None, *, keep: bool = True) -> AsyncGenerator[Steps]:
        """Begin a transaction for statements that hang on each other; it is taken back where it is not to be kept.

        Whatever is raised inside takes it back too. Nothing else of the owner's may be asked for inside.
        """
        with self._watched() as pool:
            async with pool.transaction(owner=owner, keep=keep) as steps:
                yield steps

    async def fetch_all(self, *steps: tuple[Statement, dict[str, Any]]) -> list[list[asyncpg.Record]]:
        """Run statements one after the other in one transaction; returns the rows of each. Raises as `fetch`."""
        async with self.stepwise(steps[0][1].get("owner")) as together:
            return [await together.fetch(statement, **values) for statement, values in steps]

    async def answers(self) -> bool:
        """Tell whether the primary is there, migrated, and answers now. Takes a second at most, and no connection."""
        if not self.ready or self._pulse is None:
            return False
        with suppress(*pool.TROUBLE), self._watched():
            await self._pulse.check()
            return True
        return False

    @contextmanager
    def _watched(self) -> Generator[Any]:
        if not self.ready:
            raise Unavailable
        try:
            yield self.pool
        except OSError:
            self._revive()
            raise

    def _revive(self) -> None:
        """See to a server of our own that cannot be reached, behind the request that found out."""
        if self._ours and (self._reviving is None or self._reviving.done()):
            self._reviving = asyncio.create_task(asyncio.to_thread(self._ours.revive))
            self._reviving.add_done_callback(_look_at)

    async def head_start(self) -> None:
        """Wait until it is ready, or turns out not to be there; for a second at most.

        A worker that takes the place of another takes no requests that it would have to answer with 503.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(HEAD_START_SECONDS):
                await self._heard.wait()

    async def _open(self, chosen: settings.Settings) -> None:
        self._ours = embedded.server(chosen.data_dir) if chosen.database_url is None else None
        heard = self._heard
        told = False
        while lacking := await _until_it_works(migrations.lacks, chosen, heard):
            if not told:
                logger.warning(lacking)
                told = True
            heard.set()
            await asyncio.sleep(0.5)
        # Not before: a migration makes the role that the pool's connections take on.
        self.pool = await _until_it_works(pool.open_pool, chosen, heard)
        about = await _until_it_works(lambda _: pool.begin(self.pool, chosen), chosen, heard)
        if not about["is_walled"]:
            logger.warning("Row-level security does not hold for the login of DATABASE_URL: see docs/isolation.md.")
        self.users_are_ours = about["is_ours"]
        logger.info(user_table.told(chosen.accounts, ours=about["is_ours"]))
        self.ready = True
        heard.set()
        logger.info("The database is ready.")


async def _until_it_works(attempt: Attempt[T], chosen: settings.Settings, heard: asyncio.Event) -> T:
    """Try, and try again with growing pauses, for as long as it takes. Says once that it has to."""
    pauses = chain(SECONDS_BETWEEN_ATTEMPTS, repeat(0.5))
    told = False
    while True:
        try:
            return await attempt(chosen)
        except Exception as error:
            # Whatever it is: this runs behind everybody's back, so nobody else would hear of it.
            if not told:
                logger.warning("%s Trying on.", explain(error, chosen).replace("\n", " "))
                told = True
                heard.set()
        await asyncio.sleep(next(pauses))


def _look_at(query: "asyncio.Future[Any]") -> None:
    """Look at the outcome that nobody waits for any more, or asyncio complains that nobody did."""
    if not query.cancelled():
        query.exception()


database = Database()
