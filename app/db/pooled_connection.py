"""A connection of the pool, and the statements that are prepared on it."""

import asyncio
import math
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any

import asyncpg
from asyncpg import protocol
from asyncpg.prepared_stmt import PreparedStatement

NO_TIMEOUT: Any = protocol.NO_TIMEOUT  # the pool has one timer for all: a timer for each statement costs 4 us
Rows = list[asyncpg.Record]


class PooledConnection:
    """An asyncpg connection, its prepared statements, and the lease under which a task has it."""

    __slots__ = ("_prepares", "_statements", "connection", "deadline", "is_late", "since", "task")

    def __init__(self, connection: asyncpg.Connection, *, prepares: bool) -> None:
        """Take a connection; `prepares` is false where a pooler may change the server behind it at any time."""
        self.connection = connection
        self.since = 0.0  # when it was last leased or given back
        self.task: asyncio.Task[Any] | None = None  # that has the lease
        self.deadline = math.inf  # of the lease, a time of the event loop
        self.is_late = False  # whether the lease has expired
        self._prepares = prepares
        self._statements: dict[str, PreparedStatement] = {}

    def fetch(self, sql: str, arguments: list[object]) -> Awaitable[Rows]:
        """Run a statement, prepared the first time. Raises what asyncpg does."""
        statement = self._statements.get(sql)
        if statement is None:
            return self._fetch_first(sql, arguments)
        return statement.fetch(*arguments, timeout=NO_TIMEOUT)

    async def fetch_many(self, sql: str, calls: list[list[object]]) -> Rows:
        """Run a statement with each list of arguments, in one transaction, and return all rows in order.

        Raises what asyncpg does, which sends up to 128 KiB of arguments in one write, and the rest without a timeout.
        """
        statement = self._statements.get(sql) or await self._prepare(sql)
        return await statement.fetchmany(calls, timeout=NO_TIMEOUT)

    async def _fetch_first(self, sql: str, arguments: list[object]) -> Rows:
        if self._prepares:
            return await (await self._prepare(sql)).fetch(*arguments, timeout=NO_TIMEOUT)
        # asyncpg prepares it without a name, in one breath with executing it, as poolers need it.
        return await self.connection.fetch(sql, *arguments)

    async def _prepare(self, sql: str) -> PreparedStatement:
        statement = self._statements[sql] = await self.connection.prepare(sql, timeout=NO_TIMEOUT)
        return statement

    async def close(self, seconds: float) -> None:
        """Have the server end what was cancelled, and close the connection; cut it after so many seconds."""
        with suppress(Exception):
            await self.connection.close(timeout=seconds)

    def forget_statements(self) -> None:
        """Prepare all statements anew, since a table has changed."""
        self._statements.clear()

    def expire(self) -> None:
        """Cancel what the task waits for; asyncpg then asks the server to end the statement."""
        if self.task is not None and not self.is_late:
            self.is_late = True
            self.task.cancel()

    def has_expired(self, error: BaseException) -> bool:
        """Tell whether an exception comes from `expire`, and the task was not cancelled otherwise. To be asked once."""
        if not self.is_late or self.task is None:
            return False
        return not self.task.uncancel() and isinstance(error, asyncio.CancelledError)
