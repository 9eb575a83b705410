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
from typing import TypeAlias

from app.db.errors import Overloaded
from app.db.pool import MAX_WAITERS, Pool

LIMIT = 2  # statements in flight, for each owner; fewer where that would be all connections
FEW = 8  # requests of one owner that may wait, however many of others do
LONG_READS = 3  # of all owners at a time, and one of each: connections and memory are left to all else

Turn: TypeAlias = "asyncio.Future[None]"


class OwnerQueue:
    """A semaphore for each owner who has a statement in flight. An owner without one costs nothing."""

    def __init__(self, limit: int, most: int, timeout: float, margin: float) -> None:
        """Let an owner have so many statements in flight, and `most` requests waiting for `timeout` seconds in all.

        A request that has no turn `margin` seconds before that fails. While all owners together have twice as many
        waiting, only those are let in of whom fewer than FEW wait.
        """
        self.limit = limit
        self.timeout = timeout
        self.margin = margin
        self._loop = asyncio.get_running_loop()
        self._most = most
        self._in_flight: dict[str, int] = {}
        self._turns: dict[str, dict[Turn, None]] = {}  # in order; of owners whose limit is reached
        self._requests: dict[str, int] = {}  # that wait, by owner
        self._total = 0

    def get_waiting_size(self) -> int:
        return sum(map(len, self._turns.values()))

    def try_acquire(self, owner: str) -> bool:
        """Take one of the owner's places, if there is one."""
        count = self._in_flight.get(owner, 0)
        if count >= self.limit:
            return False
        self._in_flight[owner] = count + 1
        return True

    @classmethod
    def before(cls, pool: Pool) -> "OwnerQueue":
        """Return the queue before a pool. No owner has all connections, but as many waiters as if it were so."""
        limit = max(1, min(LIMIT, pool.max_size - 1))
        return cls(limit, (1 + MAX_WAITERS) * pool.max_size - limit, pool.timeout, pool.margin)

    async def turn(self, owner: str) -> float:
        """Take one of the owner's places, in turn, and return the deadline. Raises Overloaded, TimeoutError."""
        if self.try_acquire(owner):
            return math.inf
        until = self._loop.time() + self.timeout
        self.join(owner)
        try:
            await self.acquire(owner, until - self.margin)
        finally:
            self.quit(owner)
        return until

    async def acquire(self, owner: str, until: float) -> None:
        """Take one of the owner's places, in turn. Raises TimeoutError at that time of the event loop."""
        if self.try_acquire(owner):
            return
        turn = self.queue(owner)
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

    def queue(self, owner: str) -> Turn:
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
        """Count one more request of the owner that waits. Raises Overloaded where there are too many."""
        count = self._requests.get(owner, 0)
        if count >= self._most or (count >= FEW and self._total >= 2 * self._most):
            raise Overloaded("the queue of an owner is full")
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


class LongReads:
    """Turns of statements that read much: one of each owner at a time, and LONG_READS of all."""

    def __init__(self, owners: OwnerQueue) -> None:
        self._owners = owners
        self._of_owner = OwnerQueue(1, 0, owners.timeout, owners.margin)
        self._of_all = OwnerQueue(LONG_READS, 0, owners.timeout, owners.margin)

    @asynccontextmanager
    async def turn(self, owner: str) -> AsyncGenerator[float]:
        """Have one of the owner's places, in turn, and its deadline. Raises Overloaded, TimeoutError.

        The place that all share is taken last: a statement that has one waits for nothing of one owner's.
        """
        until = asyncio.get_running_loop().time() + self._owners.timeout
        due = until - self._owners.margin
        self._owners.join(owner)
        try:
            async with self._of_owner.place(owner, due), self._owners.place(owner, due), self._of_all.place("", due):
                yield until
        finally:
            self._owners.quit(owner)

    def get_waiting_size(self) -> int:
        return self._of_owner.get_waiting_size() + self._of_all.get_waiting_size()
