"""The pool: connections that keep the statements they have prepared, the last used first.

asyncpg's own pool wraps a connection in a proxy, takes a future for it and resets it, each time that it hands one
out, which costs as much as a small query. Here a connection stays on loan from it, as a lane for our own
statements, and is handed back when it fails or when nobody has needed it for a while.
"""

import asyncio
import math
from collections import deque
from contextlib import suppress
from typing import Any

import asyncpg

from app.lane import Lane

SECONDS_KEPT = 300.0  # for which a lane that nobody needs stays open
CROWD = 50  # waiting for each connection; at 10 ms a statement, the last of them waits for half a second


class Crowded(asyncpg.InterfaceError):
    """So many wait for a connection that whoever comes now would wait too long."""


class Pool(asyncpg.Pool):
    """A pool that nobody can wait for without a limit, Piccolo included, and no more than there is time for."""

    patience: float
    prepares: bool

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what asyncpg's takes."""
        super().__init__(*args, **kwargs)
        self._idle: list[Lane] = []
        self._lanes = 0
        self._waiting: deque[tuple[asyncio.Future[Lane | None], float]] = deque()
        self._busy: set[Lane] = set()
        self._watching: asyncio.TimerHandle | None = None
        self._lent: dict[int, Lane] = {}
        self._returning: set[asyncio.Task[None]] = set()
        self._trimming: asyncio.TimerHandle | None = None
        self._ends = False

    async def run(
        self, sql: str, arguments: list[Any], *, are_many: bool = False, until: float = math.inf
    ) -> list[asyncpg.Record]:
        """Run one statement and return its rows. Raises what asyncpg does, Crowded, and TimeoutError.

        Many are lists of arguments: it is run with each of them, in one transaction. `until` is the time of the event
        loop at which whoever waits for it has no time left, where that is sooner than `patience` from now.
        """
        lane = self._idle.pop() if self._idle else await self._lane(until - self._loop.time())
        if lane.connection.is_closed():
            self._retire(lane)
            lane = await self._lane(until - self._loop.time())
        if until < lane.deadline:
            lane.deadline = until
        self._watch(lane)
        try:
            rows = await self._fetch(lane, sql, arguments, are_many)
        except asyncpg.PostgresError as error:
            if isinstance(error, asyncpg.ReadOnlySQLTransactionError):
                lane.connection.terminate()  # no primary (any more): the next connection looks for it
            self._give_back(lane)  # the server has ended it, and the connection is as it was
            if lane.is_late:
                raise TimeoutError from error
            raise
        except BaseException:
            lane.connection.unfinished = True
            self._retire(lane)
            raise
        self._give_back(lane)
        if lane.is_late:
            raise TimeoutError  # a commit that is told not to wait for a replica any more looks like any other
        return rows

    @property
    def margin(self) -> float:
        """Seconds before its deadline when whatever still waits is given up: an answer takes a moment too."""
        return min(self.patience / 10, 0.5)

    def get_idle_size(self) -> int:
        """Return how many connections nobody is using."""
        return super().get_idle_size() + len(self._idle)

    def get_waiting_size(self) -> int:
        """Return how many wait for a connection."""
        return sum(not turn.done() for turn, _ in self._waiting)

    def acquire(self, *, timeout: float | None = None) -> Any:
        """Return a loan, to await or to enter: at most `timeout` seconds of waiting, or `patience`."""
        return super().acquire(timeout=timeout or self.patience)

    async def _acquire(self, timeout: float | None) -> Any:  # noqa: ASYNC109 # asyncpg's
        lane = await self._lane(timeout)
        self._lent[id(lane.on_loan)] = lane
        return lane.on_loan

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 # asyncpg's
        """Take a borrowed connection back. What was done with it is not known, so it goes back to asyncpg's pool."""
        lane = self._lent.pop(id(connection), None)
        if lane is not None:
            await asyncio.shield(self._retire(lane))

    async def close(self) -> None:
        """Close every connection; waits for those that are busy."""
        self._ends = True
        if self._trimming:
            self._trimming.cancel()
        while self._idle:
            self._retire(self._idle.pop())
        await super().close()

    async def _fetch(self, lane: Lane, sql: str, arguments: list[Any], are_many: bool) -> list[asyncpg.Record]:
        if not self.prepares:
            return await lane.connection.fetch(sql, *arguments, timeout=2 * self.patience)  # we are first
        fetch = lane.fetch_many if are_many else lane.fetch
        try:
            return await fetch(sql, arguments)
        except (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError):  # its table has changed since
            lane.prepared.clear()
            return await fetch(sql, arguments)

    async def _lane(self, seconds: float | None = None) -> Lane:
        """Return a lane: a free one, a new one, or the next that somebody gives back. Raises TimeoutError."""
        deadline = self._loop.time() + min(seconds or self.patience, self.patience)
        while True:
            while self._idle:
                lane = self._idle.pop()
                if not lane.connection.is_closed():
                    return lane
                self._retire(lane)
            is_full = self._lanes >= self.get_max_size()
            lane = await (self._next(deadline) if is_full else self._new_lane(deadline - self._loop.time()))
            if lane:
                lane.deadline = deadline
                return lane

    async def _new_lane(self, seconds: float) -> Lane:
        self._lanes += 1
        try:
            lane = Lane(await super()._acquire(seconds))
        except BaseException:
            self._lanes -= 1
            self._tell_the_next(None)
            raise
        if self._trimming is None:
            self._trim()
        return lane

    async def _next(self, deadline: float) -> Lane | None:
        """Wait for a lane, or for the place of one that has gone. Raises Crowded, TimeoutError."""
        if len(self._waiting) >= CROWD * self.get_max_size():
            raise Crowded("too many wait")
        turn: asyncio.Future[Lane | None] = self._loop.create_future()
        self._waiting.append((turn, deadline))
        self._keep_watching()
        try:
            return await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                # It came in the moment that its taker was cancelled: a lane, or the place of one.
                self._give_back(lane) if (lane := turn.result()) else self._tell_the_next(None)
            raise

    def _watch(self, lane: Lane) -> None:
        lane.since = self._loop.time()
        self._busy.add(lane)
        self._keep_watching()

    def _keep_watching(self) -> None:
        if self._watching is None:
            self._watching = self._loop.call_later(self.margin / 2, self._look)

    def _look(self) -> None:
        """Give up what has taken too long. One timer for all: one for each would cost as much as sending them."""
        self._watching = None
        now = self._loop.time()
        soon = now + self.margin  # the next look might be too late
        for lane in self._busy:
            if lane.since + self.patience <= now:
                lane.give_up()
                # What was not heard of since then is no better. Whoever takes it next sees that it is closed.
                for other in self._idle:
                    if other.since < lane.since:
                        other.give_up()
            elif lane.deadline <= soon and not lane.is_late:
                lane.hurry()
        for turn, deadline in self._waiting:
            if deadline <= soon and not turn.done():
                turn.set_exception(TimeoutError())
        while self._waiting and self._waiting[0][0].done():
            self._waiting.popleft()
        if self._busy or self._waiting:
            self._keep_watching()

    def _give_back(self, lane: Lane) -> None:
        self._busy.discard(lane)
        lane.deadline = math.inf
        if lane.is_late:
            lane.connection.terminate()
        if self._ends or lane.connection.is_closed():
            self._retire(lane)
        elif not self._tell_the_next(lane):
            lane.since = self._loop.time()
            self._idle.append(lane)

    def _tell_the_next(self, lane: Lane | None) -> bool:
        while self._waiting:
            turn, _ = self._waiting.popleft()
            if not turn.done():
                turn.set_result(lane)
                return True
        return False

    def _retire(self, lane: Lane) -> asyncio.Task[None]:
        """Hand a lane back to asyncpg's pool, behind everybody's back: it may have to cancel a statement first."""
        self._busy.discard(lane)
        task = self._loop.create_task(self._hand_back(lane))
        self._returning.add(task)
        task.add_done_callback(self._returning.discard)
        return task

    async def _hand_back(self, lane: Lane) -> None:
        try:
            with suppress(Exception):
                await super().release(lane.on_loan, timeout=self.patience)
        finally:
            self._lanes -= 1
            self._tell_the_next(None)

    def _trim(self) -> None:
        """Hand the lanes back that nobody needs, now and from time to time."""
        needed = [lane for lane in self._idle if lane.since + SECONDS_KEPT > self._loop.time()]
        for lane in self._idle:
            if lane not in needed:
                self._retire(lane)
        self._idle = needed
        self._trimming = self._loop.call_later(SECONDS_KEPT / 5, self._trim)
