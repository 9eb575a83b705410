"""Several statements, of which the later depend on what the earlier found: one transaction, and one deadline."""

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg

from app.db.pool import STALE, Pool
from app.db.pooled_connection import PooledConnection, Rows
from app.db.statements import Statement

# Is told the SQL of each statement, and awaits what comes of it.
Observer: TypeAlias = Callable[[str, Awaitable[Any]], Awaitable[Any]]


class Transaction:
    """An open transaction."""

    def __init__(self, pooled: PooledConnection, timeout: float, observer: Observer | None) -> None:
        self.pooled = pooled
        self._timeout = timeout
        self._observer = observer
        self.is_renewable = True  # unless a request decides how often

    def renew(self) -> None:
        """Give what follows the time of one statement anew: for what changes any number of rows, in short parts."""
        if self.is_renewable:
            self.pooled.deadline = asyncio.get_running_loop().time() + self._timeout

    async def fetch(self, statement: Statement, **values: Any) -> Rows:
        """Run one statement in one round trip and return its rows. Raises what asyncpg does."""
        running = self.pooled.fetch(statement.sql, statement.bind(values))
        try:
            return await (running if self._observer is None else self._observer(statement.sql, running))
        except STALE as error:  # the next transaction prepares it anew
            self.pooled.forget_statements()
            raise asyncpg.InterfaceError("a table has changed") from error


@asynccontextmanager
async def transaction(
    pool: Pool, *, keep: bool = True, until: float = math.inf, observer: Observer | None = None
) -> AsyncGenerator[Transaction]:
    """Begin a transaction, and commit it in the end; or roll it back where it is not to be kept.

    An exception inside rolls it back too, in the background. All of it together has the time of one statement: the
    pool's timeout, or until that time of the event loop. Raises what `Pool.run` does.
    """
    async with pool.leased(until) as pooled:
        await pooled.connection.execute("BEGIN")
        yield Transaction(pooled, pool.timeout, observer)
        if pooled.is_late:
            raise TimeoutError  # which something inside has taken for its own
        await pooled.connection.execute("COMMIT" if keep else "ROLLBACK")
