"""Statements of which the later hang on what the earlier found: one transaction, and one limit for all of them."""

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from app.lane import Lane
from app.lanes import Pool
from app.statements import Statement

STALE = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)


class SteppedPool(Pool):
    """A pool whose connections can be taken for a whole transaction."""

    @asynccontextmanager
    async def transaction(self, *, keep: bool = True, until: float = math.inf) -> AsyncGenerator["Steps"]:
        """Begin a transaction, and commit it in the end; or take all of it back where it is not to be kept.

        Whatever is raised inside takes it back too, behind the back of whoever raised it. It may take `patience`
        seconds in all, or until that time of the event loop. Raises what `run` does.
        """
        lane = await self._lane(until - self._loop.time())
        lane.deadline = min(lane.deadline, until)
        self._watch(lane)
        try:
            await lane.connection.execute("BEGIN")
            yield Steps(self, lane)
            if lane.is_late:
                raise TimeoutError  # while nothing is lost yet
            await lane.connection.execute("COMMIT" if keep else "ROLLBACK")
        except BaseException as error:
            if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                lane.connection.terminate()  # no primary (any more): the next connection looks for it
            task = self._loop.create_task(self._undo(lane))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)
            raise
        self._give_back(lane)
        if lane.is_late:
            raise TimeoutError  # a commit that is told not to wait for a replica any more looks like any other

    async def step(self, lane: Lane, sql: str, arguments: list[Any]) -> list[asyncpg.Record]:
        """Run one statement of a transaction. Raises what asyncpg does."""
        if not self.prepares:
            return await lane.connection.fetch(sql, *arguments, timeout=2 * self.patience)  # we are first
        try:
            return await lane.fetch(sql, arguments)
        except STALE as error:  # its table has changed since: the next transaction prepares it anew
            lane.prepared.clear()
            raise asyncpg.InterfaceError("a table has changed") from error

    async def _undo(self, lane: Lane) -> None:
        """Take a transaction back, once the server has heard that its statement is not wanted any more."""
        try:
            await lane.connection.execute("ROLLBACK")
        except Exception:
            lane.connection.terminate()  # which takes it back as well
        finally:
            self._give_back(lane)


class Steps:
    """A transaction, to the one who is in it."""

    def __init__(self, pool: SteppedPool, lane: Lane) -> None:
        """Take the connection that it is on."""
        self._pool = pool
        self._lane = lane

    async def fetch(self, statement: Statement, **values: Any) -> list[asyncpg.Record]:
        """Run one statement in one round trip and return its rows. Raises what asyncpg does."""
        return await self._pool.step(self._lane, statement.sql, statement.bind(values))
