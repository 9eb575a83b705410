"""Group commit: changes that are asked for concurrently share a round trip, a transaction, and a commit.

While there are few, each is a transaction of its own, and nothing waits. While there are many, a change waits for those
of the same statement that are under way, for some milliseconds at most; then all that wait are one group of writes.
Each is a statement of its own in it, which finds what those before it have done, and is answered when all are
committed. Where PostgreSQL refuses one, it rolls all of them back, and each is sent by itself. A large one always is.

A group locks what belongs to several owners, one after the other. All groups do that in the same order of owners, so
no two of them wait for each other.
"""

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import asyncpg

from app.db.owner_queue import OwnerQueue
from app.db.pool import Pool
from app.db.statements import Statement

FEW = 3  # of a statement, that run side by side; to wait for each other would cost them more than it saves
MAX_GROUP = 64  # writes
MAX_DELAY_SECONDS = 0.005  # for which those that are under way are waited for

# Bytes of one write, and of a group. asyncpg sends up to 128 KiB in one piece, with what ends the transaction. Of more
# than that PostgreSQL would keep the locks until the rest came, without a limit, and nobody be told if it never did.
LARGE, FULL = 16_000, 100_000
BYTES_AROUND = 100  # the arguments of one write, at most

ReturnedRows = Sequence[Any]  # each of them a sequence, or an asyncpg.Record


class PendingWrite(NamedTuple):
    """One change, and the future of the rows that it returns."""

    owner: str
    arguments: list[object]
    size: int  # in bytes, at most
    until: float  # its deadline, a time of the event loop
    rows: "asyncio.Future[ReturnedRows]"

    def succeed(self, rows: ReturnedRows) -> None:
        """Return these."""
        if not self.rows.done():
            self.rows.set_result(rows)

    def fail(self, error: Exception) -> None:
        """Raise this."""
        if not self.rows.done():
            self.rows.set_exception(error)
            self.rows.exception()  # or asyncio complains, where the task that waits is cancelled in this moment


class GroupCommit:
    """The changes by one statement. An owner's writes in a group are one of the owner's statements in flight."""

    def __init__(self, pool: Pool, owners: OwnerQueue, statement: Statement) -> None:
        """Take a statement that has a form for groups, `group_sql`."""
        self._pool, self._owners = pool, owners
        self._statement = statement
        self._loop = asyncio.get_running_loop()
        self._pending: list[PendingWrite] = []
        self._held: dict[str, list[PendingWrite]] = {}  # of owners whose turn it is not
        self._in_flight = 0  # single writes, and groups
        self._size = 0  # of all that are pending
        self._last = 0  # how many were in the last group, which says how many there are at a time
        self._groups: set[asyncio.Task[None]] = set()  # the event loop itself would forget them
        self._timer: asyncio.TimerHandle | None = None

    def get_waiting_size(self) -> int:
        """Return how many wait for a group, or for their owner's turn."""
        return len(self._pending) + sum(map(len, self._held.values()))

    @property
    def is_idle(self) -> bool:
        """Tell whether there are so few that the next is sent by itself."""
        return self._in_flight < (1 if self._last > FEW else FEW)

    async def write(self, owner: str, arguments: list[object]) -> ReturnedRows:
        """Run the statement, by itself or in a group, and return its rows. Raises what `Pool.run` does."""
        if self.is_idle and self._owners.try_acquire(owner):
            return await self._write_alone(owner, arguments, math.inf)
        if (size := _size(arguments)) > LARGE:
            return await self._write_alone(owner, arguments, await self._owners.turn(owner))
        self._owners.join(owner)
        try:
            until = self._loop.time() + self._pool.timeout
            return await self._add(PendingWrite(owner, arguments, size, until, self._loop.create_future()))
        finally:
            self._owners.quit(owner)

    async def _write_alone(self, owner: str, arguments: list[object], until: float) -> ReturnedRows:
        """Send one in the place of the owner's that is taken."""
        self._in_flight += 1
        try:
            return await self._pool.run(self._statement.sql, arguments, until=until)
        finally:
            self._owners.release(owner)
            self._land()

    def _add(self, write: PendingWrite) -> "asyncio.Future[ReturnedRows]":
        if self._size + write.size > FULL:
            self._flush()
        self._pending.append(write)
        self._size += write.size
        if len(self._pending) >= MAX_GROUP:
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(MAX_DELAY_SECONDS, self._flush)
        return write.rows

    def _land(self) -> None:
        self._in_flight -= 1
        if self._pending:
            self._flush()

    def _flush(self) -> None:
        """Send what is pending, but for the writes of owners who have no place left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pending = sorted((each for each in self._pending if not each.rows.done()), key=attrgetter("owner"))
        self._pending, self._size = [], 0
        self._last = len(pending)
        group: list[PendingWrite] = []
        owners: set[str] = set()
        for each in pending:
            if each.owner in owners or self._owners.try_acquire(each.owner):
                owners.add(each.owner)
                group.append(each)
            else:
                self._hold(each)
        self._send(group, owners)

    def _hold(self, write: PendingWrite) -> None:
        """Keep a write until its owner's turn, or its deadline."""
        timer = self._loop.call_at(write.until - self._pool.margin, write.fail, TimeoutError())
        write.rows.add_done_callback(lambda _: timer.cancel())
        if write.owner in self._held:
            self._held[write.owner].append(write)
        else:
            self._hold_all(write.owner, [write])

    def _hold_all(self, owner: str, writes: list[PendingWrite]) -> None:
        self._held[owner] = writes
        self._owners.queue(owner).add_done_callback(lambda _: self._send_held(owner))

    def _send_held(self, owner: str) -> None:
        """Send as one group what is held of an owner, now that a place is taken for it."""
        held = deque(each for each in self._held.pop(owner) if not each.rows.done())
        group: list[PendingWrite] = []
        size = 0
        while held and len(group) < MAX_GROUP and (size := size + held[0].size) <= FULL:
            group.append(held.popleft())
        if held:
            self._hold_all(owner, [*held])
        if group:
            self._send(group, {owner})
        else:
            self._owners.release(owner)

    def _send(self, group: list[PendingWrite], owners: set[str]) -> None:
        if group:
            self._in_flight += 1
            task = self._loop.create_task(self._commit(group, owners))
            self._groups.add(task)
            task.add_done_callback(self._groups.discard)

    async def _commit(self, group: list[PendingWrite], owners: set[str]) -> None:
        try:
            try:
                await (self._run_together(group) if len(group) > 1 else self._run_alone(group[0]))
            finally:
                for owner in owners:
                    self._owners.release(owner)
        except Exception as error:
            if _is_rolled_back(error):
                await asyncio.gather(*(self._run_in_turn(each) for each in group if not each.rows.done()))
            for each in group:
                each.fail(error)
        finally:
            self._land()

    async def _run_together(self, group: list[PendingWrite]) -> None:
        found: list[list[Sequence[Any]]] = [[] for _ in group]
        calls = [[*each.arguments, place] for place, each in enumerate(group)]
        row: list[Any]
        place: int
        for *row, place in await self._pool.run(self._statement.group_sql or "", calls, are_many=True):
            found[place].append(row)
        for each, rows in zip(group, found, strict=True):
            each.succeed(rows)

    async def _run_alone(self, write: PendingWrite) -> None:
        try:
            write.succeed(await self._pool.run(self._statement.sql, write.arguments, until=write.until))
        except Exception as error:
            write.fail(error)

    async def _run_in_turn(self, write: PendingWrite) -> None:
        try:
            async with self._owners.place(write.owner, write.until - self._pool.margin):
                if not write.rows.done():
                    await self._run_alone(write)
        except TimeoutError as error:  # of the turn
            write.fail(error)


def _is_rolled_back(error: Exception) -> bool:
    """Tell whether the server has rolled all of it back, and goes on: by itself each of them may succeed.

    What breaks off in any other way may have been committed all the same, such as a commit that waits for a replica in
    vain. Where the pool has cancelled the statement, it is a TimeoutError.
    """
    if isinstance(error, asyncpg.DataError):  # which asyncpg also raises itself, and has it rolled back
        return True
    is_refused = isinstance(error, asyncpg.PostgresError) and getattr(error, "severity_en", None) == "ERROR"
    return is_refused and not isinstance(error, asyncpg.StatementCompletionUnknownError)


def _size(arguments: list[object]) -> int:
    texts = [each for each in arguments if isinstance(each, str)]
    return BYTES_AROUND + sum(len(each) if each.isascii() else 4 * len(each) for each in texts)
