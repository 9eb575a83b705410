"""Piccolo's engine, for the admin and for migrations: on the service's pool, or on new connections without one.

What Piccolo asks is for the staff: as who we log in as, and for all owners. Each transaction says so, until it ends: no
state of a session, which a pooler would hand on. The same goes for the schema of DATABASE_SCHEMA.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Literal

import asyncpg
from piccolo.engine.postgres import PostgresEngine, PostgresTransaction

from app.config import settings
from app.db import connect, search_path
from app.db.engine import Database, database

AS_STAFF = "SELECT set_config('role', 'none', true), set_config('tasks.staff', 'on', true)"


class StaffTransaction(PostgresTransaction):
    """A transaction of Piccolo's. Its connection is given back however the transaction ends."""

    engine: "PiccoloEngine"
    connection: asyncpg.Connection
    _parent: "StaffTransaction | None"

    async def __aenter__(self) -> "StaffTransaction":
        """Begin, for the staff; inside of another transaction, return that."""
        if self._parent is not None:
            return self._parent
        async with AsyncExitStack() as entered:
            self.connection = await entered.enter_async_context(self.engine.connection())
            self.transaction = self.connection.transaction()
            entered.push_async_exit(self._end)
            await self.begin()
            entered.callback(self.engine.current_transaction.reset, self.engine.current_transaction.set(self))
            self._entered = entered.pop_all()
        return self

    async def begin(self) -> None:
        """Begin, and say for whom."""
        await self.transaction.start()
        schema = None if self.engine.pool else settings.current().database_schema  # the pool's connections know it
        await self.connection.execute(AS_STAFF if schema is None else f"{AS_STAFF}, {search_path.set_local(schema)}")

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        """Commit, or roll back where something was raised."""
        if self._parent is None:
            await self._entered.__aexit__(kind, error, traceback)
        return False

    async def _end(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is None:
            if not (self._committed or self._rolled_back):
                await self.commit()
        elif self.connection.is_in_transaction() and not self.connection.is_closed():
            # What led here tells more than that a connection is cut.
            with suppress(OSError, asyncpg.InterfaceError, asyncpg.InternalClientError):
                await self.rollback()


class PiccoloEngine(PostgresEngine):
    """The engine of all tables. In a command of Piccolo's each query has its own connection."""

    def __init__(self, database: Database) -> None:
        """Connect to nothing: Piccolo's own engine would, at import."""
        self._database = database
        super().__init__(config={}, extensions=())

    @property
    def pool(self) -> Any:
        """The service's pool, while it is open."""
        return self._database.pool if self._database.ready else None

    @pool.setter
    def pool(self, _: None) -> None:  # pyright: ignore[reportIncompatibleVariableOverride] # a variable of Piccolo's
        """Piccolo begins with none."""

    async def check_version(self) -> None:
        """Leave the server alone until somebody asks for something."""

    async def prep_database(self) -> None:
        """Create no extensions: we need none."""

    async def get_new_connection(self) -> asyncpg.Connection:
        """Open a connection outside the pool."""
        return await connect.connect(settings.current())

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[asyncpg.Connection]:
        """Have a connection without a deadline. Raises what `Pool.run` or asyncpg does."""
        if self._database.ready:
            async with self._database.pool.acquired() as connection:
                yield connection
        else:
            async with connect.connected(settings.current()) as connection:
                yield connection

    def transaction(self, allow_nested: bool = True) -> StaffTransaction:
        """Return a transaction, to enter."""
        return StaffTransaction(self, allow_nested)

    async def _run_in_pool(self, query: str, args: Sequence[Any] | None = None) -> list[asyncpg.Record]:
        async with self.transaction() as staff:
            return await staff.connection.fetch(query, *(args or ()))

    _run_in_new_connection = _run_in_pool


engine = PiccoloEngine(database)
