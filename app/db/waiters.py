"""The tasks that wait for a connection: first come, first served, each until its deadline."""

import asyncio
from collections import deque
from collections.abc import Callable

from app.db.errors import Overloaded
from app.db.pooled_connection import PooledConnection

Waiter = asyncio.Future[PooledConnection | None]


class Waiters:
    """A queue with an end. What comes to the first of them is a connection, or None: the place of one that is gone."""

    def __init__(self, most: int, give_back: Callable[[PooledConnection], object]) -> None:
        """Let so many wait. `give_back` takes a connection that comes to a task in the moment that it is cancelled."""
        self._most = most
        self._give_back = give_back
        self._loop = asyncio.get_running_loop()
        self._queue: deque[tuple[Waiter, float]] = deque()

    def __len__(self) -> int:
        return sum(not waiter.done() for waiter, _ in self._queue)

    def __bool__(self) -> bool:
        """Tell whether there may be any."""
        return bool(self._queue)

    async def wait(self, deadline: float) -> PooledConnection | None:
        """Return what comes. Raises Overloaded, and TimeoutError as soon as `expire` finds the deadline passed."""
        if len(self._queue) >= self._most:
            raise Overloaded("the queue for a connection is full")
        waiter: Waiter = self._loop.create_future()
        self._queue.append((waiter, deadline))
        try:
            return await waiter
        except BaseException:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._give_back(pooled) if (pooled := waiter.result()) else self.serve(None)
            raise

    def serve(self, pooled: PooledConnection | None) -> bool:
        """Give the first a connection, or the place of one. Returns whether there is any."""
        while self._queue:
            waiter, _ = self._queue.popleft()
            if not waiter.done():
                waiter.set_result(pooled)
                return True
        return False

    def expire(self, now: float) -> None:
        """Raise TimeoutError where the deadline has passed."""
        for waiter, deadline in self._queue:
            if deadline <= now and not waiter.done():
                waiter.set_exception(TimeoutError())
        while self._queue and self._queue[0][0].done():
            self._queue.popleft()
