"""The connection pool: connections that keep their prepared statements, the last used first.

asyncpg's own pool wraps a connection in a proxy, takes a future for it and resets it each time that it hands one out,
which costs as much as a small query.

Every lease has a deadline. At the deadline the pool cancels the statement, and its task gets TimeoutError. A connection
whose statement was cancelled is leased again when its server has answered; a silent one is closed.
"""

import asyncio
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from app.db.pooled_connection import PooledConnection, Rows
from app.db.waiters import Waiters

IDLE_SECONDS = 300.0  # after which a connection that nobody needs is closed
MAX_WAITERS = 50  # for each connection; at 10 ms a statement, the last of them waits for half a second

Connect = Callable[..., Awaitable[asyncpg.Connection]]
STALE = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)  # a table has changed


class Pool:
    """Connections, leased to one task at a time. No task waits for one without a limit, and the queue has one too."""

    def __init__(self, connect: Connect, *, min_size: int, max_size: int, timeout: float, prepares: bool) -> None:
        """Connect to nothing yet. A task has `timeout` seconds for waiting and for its statement together.

        `prepares` is false where a pooler is at the other end.
        """
        self._connect, self.prepares = connect, prepares
        self.timeout = timeout
        self.margin = min(timeout / 10, 0.5)  # seconds before a deadline when a statement is cancelled
        self.max_size, self._min_size = max_size, min_size
        self._loop = asyncio.get_running_loop()
        self._all: set[PooledConnection] = set()
        self._connecting = 0
        self._idle: list[PooledConnection] = []
        self._leased: set[PooledConnection] = set()
        self.waiters = Waiters(MAX_WAITERS * max_size, self.give_back)
        self._watching: asyncio.TimerHandle | None = None
        self._trimming: asyncio.TimerHandle | None = None
        self._background: set[asyncio.Task[None]] = set()
        self._closed: asyncio.Future[None] | None = None

    async def open(self) -> None:
        """Make the connections that there are at least. Raises what asyncpg does, and TimeoutError."""
        for _ in range(self._min_size):
            self._idle.append(await self._new(self._loop.time() + self.timeout))
        self._trim()

    async def run(self, sql: str, arguments: list[Any], *, are_many: bool = False, until: float = math.inf) -> Rows:
        """Run one statement and return its rows. Raises what asyncpg does, Overloaded, and TimeoutError.

        Many are lists of arguments: it is run with each, in one transaction. `until` is a time of the event loop, and
        the deadline where it is sooner than `timeout` from now.
        """
        pooled = self._begin(self._take_idle(), until) or await self.lease(until)
        fetch = pooled.fetch_many if are_many else pooled.fetch
        try:
            try:
                rows = await fetch(sql, arguments)
            except STALE:
                pooled.forget_statements()
                rows = await fetch(sql, arguments)
        except BaseException as error:
            await self.abort(pooled, error)
            raise
        self.give_back(pooled)
        return rows

    async def lease(self, until: float = math.inf) -> PooledConnection:
        """Return a connection, to `give_back` or to `abort`. Raises as `run` does."""
        until = min(until, self._loop.time() + self.timeout)
        pooled = self._take_idle() or await self._wait(until)
        self._begin(pooled, until)
        return pooled

    @asynccontextmanager
    async def leased(self, until: float = math.inf) -> AsyncGenerator[PooledConnection]:
        """Have a connection for a transaction, which is rolled back where something is raised. Raises as `run` does."""
        pooled = await self.lease(until)
        try:
            yield pooled
        except BaseException as error:
            await self.abort(pooled, error, "ROLLBACK")
            raise
        self.give_back(pooled)

    @asynccontextmanager
    async def acquired(self) -> AsyncGenerator[asyncpg.Connection]:
        """Have a connection without a deadline, for Piccolo. Raises as `run` does."""
        async with self.leased() as pooled:
            pooled.deadline = math.inf
            yield pooled.connection

    def give_back(self, pooled: PooledConnection) -> None:
        """Take a connection back, whose statements have ended."""
        self._leased.discard(pooled)
        if self._closed is not None or pooled.connection.is_closed():
            self._discard(pooled)
        elif not self.waiters.serve(pooled):
            pooled.since = self._loop.time()
            self._idle.append(pooled)

    async def abort(self, pooled: PooledConnection, error: BaseException, sql: str = "SELECT 1") -> None:
        """Take a connection back, on which something was raised; where need be, when `sql` has run.

        Raises TimeoutError where the deadline has passed: then the server was asked to end the statement.
        """
        has_expired = pooled.has_expired(error)
        if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            pooled.connection.terminate()  # no primary (any more): the next connection looks for it
        is_ended = isinstance(error, asyncpg.PostgresError)  # by the server
        if pooled.connection.is_closed() or (is_ended and not pooled.connection.is_in_transaction()):
            self.give_back(pooled)
        else:
            self._leased.discard(pooled)
            recovery = self._spawn(self._recover(pooled, sql))
            if has_expired:
                await asyncio.wait({recovery})
        if has_expired:
            raise TimeoutError from error

    def get_size(self) -> int:
        return len(self._all)

    def get_idle_size(self) -> int:
        return len(self._idle)

    async def close(self) -> None:
        """Close every connection; waits for those that are leased."""
        self._closed = self._loop.create_future()
        if self._trimming is not None:
            self._trimming.cancel()
        self._close_idle(math.inf)
        if self._all:
            await self._closed
        if self._background:
            await asyncio.wait(self._background)

    def terminate(self) -> None:
        """Cut every connection."""
        for pooled in self._all:
            pooled.connection.terminate()
        for task in self._background:
            task.cancel()

    def _begin(self, pooled: PooledConnection | None, until: float) -> PooledConnection | None:
        """Lease a connection, if there is one, to the current task."""
        if pooled is not None:
            pooled.since = now = self._loop.time()
            pooled.deadline = min(until, now + self.timeout)
            pooled.task = asyncio.current_task(self._loop)
            pooled.is_late = False
            self._leased.add(pooled)
            self._watch()
        return pooled

    def _take_idle(self) -> PooledConnection | None:
        while self._idle:
            pooled = self._idle.pop()
            if not pooled.connection.is_closed():
                return pooled
            self._discard(pooled)
        return None

    async def _wait(self, until: float) -> PooledConnection:
        """Return a new connection, or the next that is given back."""
        while True:
            is_full = len(self._all) + self._connecting >= self.max_size
            if is_full:
                self._watch()
            pooled = await (self.waiters.wait(until) if is_full else self._new(until))
            if pooled := pooled or self._take_idle():
                return pooled

    async def _new(self, until: float) -> PooledConnection:
        self._connecting += 1
        try:
            async with asyncio.timeout_at(until):
                connection = await self._connect(timeout=until - self._loop.time())
        except BaseException:
            self.waiters.serve(None)
            raise
        finally:
            self._connecting -= 1
        pooled = PooledConnection(connection, prepares=self.prepares)
        self._all.add(pooled)
        return pooled

    def _watch(self) -> None:
        if self._watching is None:
            self._watching = self._loop.call_later(self.margin / 2, self._look)

    def _look(self) -> None:
        """Cancel what has taken too long. One timer for all: one for each would cost as much as sending them."""
        self._watching = None
        soon = self._loop.time() + self.margin  # the next look might be too late
        for pooled in self._leased:
            if pooled.deadline <= soon:
                pooled.expire()
        self.waiters.expire(soon)
        if self._leased or self.waiters:
            self._watch()

    async def _recover(self, pooled: PooledConnection, sql: str) -> None:
        """Have a connection leased again when its server has ended what was cancelled, and has run this."""
        try:
            async with asyncio.timeout(self.margin if pooled.is_late else self.timeout):
                await pooled.connection.execute(sql)
        except TimeoutError:
            self._discard(pooled)
            # Its server is silent. What has not been heard of since then is no better.
            self._close_idle(pooled.since)
        except Exception:
            self._discard(pooled)
        else:
            self.give_back(pooled)

    def _discard(self, pooled: PooledConnection) -> None:
        """Close a connection in the background: its server may have to be asked to end a statement."""
        self._all.discard(pooled)
        if not pooled.connection.is_closed():
            self._spawn(pooled.close(self.timeout))
        self.waiters.serve(None)
        if self._closed is not None and not self._all and not self._closed.done():
            self._closed.set_result(None)

    def _close_idle(self, since: float, most: int | None = None) -> None:
        """Close those that nobody has used since then."""
        for pooled in [each for each in self._idle if each.since <= since][:most]:
            self._idle.remove(pooled)
            self._discard(pooled)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def _trim(self) -> None:
        """Close the connections that nobody has needed for a while, but the least that there are."""
        self._close_idle(self._loop.time() - IDLE_SECONDS, max(0, len(self._all) - self._min_size))
        self._trimming = self._loop.call_later(IDLE_SECONDS / 5, self._trim)
