"""One connection, and what it has prepared: the way that a statement takes to PostgreSQL."""

import math
from typing import Any

import asyncpg
from asyncpg.protocol import NO_TIMEOUT  # which the pool watches: a timer for each costs as much as sending it


class Lane:
    """A connection on loan, and what it has prepared."""

    __slots__ = ("connection", "deadline", "is_late", "on_loan", "prepared", "since")

    def __init__(self, on_loan: Any) -> None:
        """Take what asyncpg's pool has handed out."""
        self.on_loan = on_loan
        self.connection: Any = on_loan._con  # the proxy looks its every attribute up
        self.prepared: dict[str, Any] = {}
        self.since = 0.0  # when it was last taken or given back
        self.deadline = math.inf  # of somebody who has waited for it
        self.is_late = False

    async def fetch(self, sql: str, arguments: list[Any]) -> list[asyncpg.Record]:
        """Run a statement, prepared the first time. Raises what asyncpg does.

        `PreparedStatement.fetch` does the same by way of six more calls, which cost as much as two headers.
        """
        prepared = self.prepared.get(sql) or await self._prepare(sql)
        execute = self.connection._protocol.bind_execute
        rows, _, _ = await execute(prepared._state, arguments, "", 0, True, NO_TIMEOUT)
        return rows

    async def fetch_many(self, sql: str, calls: list[list[Any]]) -> list[asyncpg.Record]:
        """Run a statement with each of many lists of arguments, all in one transaction, and return all rows in order.

        Raises what asyncpg does. More than 128 KiB of arguments would be sent in several pieces, for the rest of which
        it waits without a limit.
        """
        prepared = self.prepared.get(sql) or await self._prepare(sql)
        return await self.connection._protocol.bind_execute_many(prepared._state, calls, "", NO_TIMEOUT, True)

    async def _prepare(self, sql: str) -> Any:
        prepared = self.prepared[sql] = await self.connection.prepare(sql, timeout=NO_TIMEOUT)
        return prepared

    def hurry(self) -> None:
        """Have its server end the statement. That may come too late, and meet another: so it is the lane's last."""
        self.is_late = True
        self.connection._cancel_current_command(self.connection._loop.create_future())

    def give_up(self) -> None:
        """Cut the connection. Whoever waits for it is told so at once."""
        self.is_late = True
        self.connection.give_up()
