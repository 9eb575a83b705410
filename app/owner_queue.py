"""At most two statements of an owner are in flight in a worker; the owner's other statements wait here, in order.

A change waits for its owner's revision in PostgreSQL, and so do all changes of that owner after it. Without a limit
they would hold every connection of the pool while they wait, and nobody else would be served. Here they wait in the
event loop, where waiting costs a future. Two, not one: while one is on its way back, the next is at the server.

A transaction counts as one statement for its whole length. Inside of one, nothing else of its owner may be asked for:
two transactions that did so would wait for each other.
"""

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg

from app.lanes import CROWD, Crowded
from app.steps import SteppedPool, Steps

LIMIT = 2  # statements in flight, for each owner; fewer where that would be all connections
FEW = 8  # requests of one owner that may wait, however many of others do
LONG_READS = 3  # of all owners at a time, and one of each: connections and memory are left to all else

Turn: TypeAlias = "asyncio.Future[None]"


class OwnerQueue:
    """A semaphore for each owner who has a statement in flight. An owner without one costs nothing."""

    def __init__(self, limit: int, most: int) -> None:
        """Let an owner have so many statements in flight, and `most` requests waiting.

        While all owners together have twice as many waiting, only those are let in of whom fewer than FEW wait.
        """
        self._loop = asyncio.get_running_loop()
        self._limit = limit
        self._most = most
        self._in_flight: dict[str, int] = {}
        self._turns: dict[str, dict[Turn, None]] = {}  # in order; of owners whose limit is reached
        self._requests: dict[str, int] = {}  # that wait, by owner
        self._total = 0

    def get_waiting_size(self) -> int:
        """Return how many wait for a turn."""
        return sum(map(len, self._turns.values()))

    def try_acquire(self, owner: str) -> bool:
        """Take one of the owner's places, if there is one."""
        count = self._in_flight.get(owner, 0)
        if count >= self._limit:
            return False
        self._in_flight[owner] = count + 1
        return True

    async def acquire(self, owner: str, until: float) -> None:
        """Take one of the owner's places, in turn. Raises TimeoutError at that time of the event loop."""
        if self.try_acquire(owner):
            return
        turn = self.turn(owner)
        timer = self._loop.call_at(until, _expire, turn)
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self.release(owner)  # the place came in the moment that its taker was cancelled
            raise
        finally:
            timer.cancel()
            self._forget(owner, turn)

    def turn(self, owner: str) -> Turn:
        """Queue for a place of an owner who has none left. It is taken when the future is done."""
        turn: Turn = self._loop.create_future()
        self._turns.setdefault(owner, {})[turn] = None
        return turn

    def release(self, owner: str) -> None:
        """Give a place back: to the owner's next turn, if there is one."""
        while turns := self._turns.get(owner):
            turn = next(iter(turns))
            self._forget(owner, turn)
            if not turn.done():
                turn.set_result(None)
                return
        count = self._in_flight[owner]
        if count > 1:
            self._in_flight[owner] = count - 1
        else:
            del self._in_flight[owner]

    @asynccontextmanager
    async def place(self, owner: str, until: float) -> AsyncGenerator[None]:
        """Have one of the owner's places, in turn. Raises TimeoutError at that time of the event loop."""
        await self.acquire(owner, until)
        try:
            yield
        finally:
            self.release(owner)

    def join(self, owner: str) -> None:
        """Count one more request of the owner that waits. Raises Crowded where there are too many."""
        count = self._requests.get(owner, 0)
        if count >= self._most or (count >= FEW and self._total >= 2 * self._most):
            raise Crowded("too many wait")
        self._requests[owner] = count + 1
        self._total += 1

    def quit(self, owner: str) -> None:
        """Count one less."""
        self._total -= 1
        self._requests[owner] -= 1
        if not self._requests[owner]:
            del self._requests[owner]

    def _forget(self, owner: str, turn: Turn) -> None:
        turns = self._turns.get(owner)
        if turns is not None:
            turns.pop(turn, None)
            if not turns:
                del self._turns[owner]


def _expire(turn: Turn) -> None:
    if not turn.done():
        turn.set_exception(TimeoutError())


class OwnersPool(SteppedPool):
    """A pool in which each owner has two statements in flight: who runs one takes a place, and releases it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what asyncpg's takes."""
        super().__init__(*args, **kwargs)
        size = self.get_max_size()
        limit = max(1, min(LIMIT, size - 1))
        most = (1 + CROWD) * size - limit  # as many as if the owner had all connections
        self.owners = OwnerQueue(limit, most)
        self._long_reads_of = OwnerQueue(1, most)
        self._long_reads = OwnerQueue(LONG_READS, most)

    @asynccontextmanager
    async def transaction(
        self, *, owner: str | None = None, keep: bool = True, until: float = math.inf
    ) -> AsyncGenerator[Steps]:
        """Begin a transaction, in its owner's turn if it has one. Raises what `SteppedPool.transaction` does."""
        if owner is not None:
            until = await self.turn(owner)
        try:
            async with super().transaction(keep=keep, until=until) as steps:
                yield steps
        finally:
            if owner is not None:
                self.owners.release(owner)

    async def turn(self, owner: str) -> float:
        """Take one of the owner's places, in turn; returns until when there is time. Raises Crowded, TimeoutError."""
        if self.owners.try_acquire(owner):
            return math.inf
        until = self._loop.time() + self.patience
        self.owners.join(owner)
        try:
            await self.owners.acquire(owner, until - self.margin)
        finally:
            self.owners.quit(owner)
        return until

    async def run_long(self, sql: str, arguments: list[Any], owner: str) -> list[asyncpg.Record]:
        """Run a statement that reads much: one of each owner at a time, and LONG_READS of all. Raises what `run` does.

        The place that all share is taken last: a statement that has one waits for nothing of one owner's.
        """
        until = self._loop.time() + self.patience
        due = until - self.margin
        self.owners.join(owner)
        try:
            async with (
                self._long_reads_of.place(owner, due),
                self.owners.place(owner, due),
                self._long_reads.place("", due),
            ):
                return await self.run(sql, arguments, until=until)
        finally:
            self.owners.quit(owner)

    def get_waiting_size(self) -> int:
        """Return how many wait for a connection, or for their owner's turn, or to read much."""
        queues = self.owners, self._long_reads_of, self._long_reads
        return super().get_waiting_size() + sum(queue.get_waiting_size() for queue in queues)
