"""Changes that come at once travel together: one way to PostgreSQL, one transaction, and one commit for all of them.

While few come, each goes by itself, at once. Where many come, whoever finds one of their kind under way waits until it
is back, for some milliseconds at most, and goes with all who have come meanwhile. Each is a statement of its own that
finds what those before it have done; none of them is answered before all are committed. Where PostgreSQL refuses one,
it takes all of them back, and each goes by itself. What is large always does.

A group locks what belongs to several owners, one after the other. All groups do that in the same order of owners, so
no two of them wait for each other.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import asyncpg

from app.owner_queue import OwnerQueue, OwnersPool
from app.statements import Statement

FEW = 3  # of a kind, which go side by side; to wait for each other would cost them more than it saves
MOST = 64  # in a group
PATIENCE_SECONDS = 0.005  # after which those that are not back keep nobody waiting

# Bytes of one change, and of a group. asyncpg sends up to 128 KiB in one write, with what ends the transaction. Of more
# than that PostgreSQL would keep the locks until the rest came, without a limit, and nobody be told if it never did.
LARGE, FULL = 16_000, 100_000
BYTES_AROUND = 100  # the arguments of one change, at most

Rows = Sequence[Any]  # each of them a sequence, or an asyncpg.Record


class GroupingPool(OwnersPool):
    """A pool that lets changes travel together. An owner's changes in a group are one statement in flight."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what asyncpg's takes."""
        super().__init__(*args, **kwargs)
        self._kinds: dict[Statement, _Kind] = {}

    async def change(self, statement: Statement, owner: str, arguments: list[Any]) -> Rows:
        """Run a change that can be sent with others of its kind, and return its rows. Raises what `run` does."""
        kind = self._kinds.get(statement)
        if kind is None:
            kind = self._kinds[statement] = _Kind(super().run, self.owners, self.margin, statement)
        if kind.are_few and self.owners.try_acquire(owner):
            return await kind.go_alone(owner, arguments, math.inf)
        if (size := _size(arguments)) > LARGE:
            return await kind.go_alone(owner, arguments, await self.turn(owner))
        self.owners.join(owner)
        until, rows = self._loop.time() + self.patience, self._loop.create_future()
        try:
            return await kind.go_with_others(_Member(owner, arguments, size, until, rows))
        finally:
            self.owners.quit(owner)

    def get_waiting_size(self) -> int:
        """Return how many wait for a connection, for their owner's turn, or for others to go with."""
        return super().get_waiting_size() + sum(kind.get_waiting_size() for kind in self._kinds.values())


class _Member(NamedTuple):
    """One change, and who waits for what it returns."""

    owner: str
    arguments: list[Any]
    size: int  # in bytes, at most
    until: float  # of the event loop's time: then it is too late
    rows: "asyncio.Future[Rows]"

    def tell(self, rows: Rows) -> None:
        if not self.rows.done():
            self.rows.set_result(rows)

    def fail(self, error: Exception) -> None:
        if not self.rows.done():
            self.rows.set_exception(error)
            self.rows.exception()  # or asyncio complains, where whoever waits is cancelled in this moment


class _Kind:
    """All changes that are one statement."""

    def __init__(
        self, run: Callable[..., Awaitable[Any]], owners: OwnerQueue, margin: float, statement: Statement
    ) -> None:
        """Take the way to the server, whose turn it is, and the statement."""
        self.waiting: list[_Member] = []
        self._held: dict[str, list[_Member]] = {}  # of owners whose turn it is not
        self._run, self._owners, self._margin = run, owners, margin
        self._alone, self._together = statement.sql, statement.together
        self._loop = asyncio.get_running_loop()
        self._under_way = 0  # changes that went alone, and groups
        self._size = 0  # of all that wait
        self._last = 0  # how many were in the last group, which says how many come at once
        self._groups: set[asyncio.Task[None]] = set()  # the event loop itself would forget them
        self._leaving: asyncio.TimerHandle | None = None

    def get_waiting_size(self) -> int:
        """Return how many wait for others, or for their owner's turn."""
        return len(self.waiting) + sum(map(len, self._held.values()))

    @property
    def are_few(self) -> bool:
        """Tell whether who comes now goes alone."""
        return self._under_way < (1 if self._last > FEW else FEW)

    async def go_alone(self, owner: str, arguments: list[Any], until: float) -> Rows:
        """Go at once, in the place of the owner's that is taken. Raises what `Pool.run` does."""
        self._under_way += 1
        try:
            return await self._run(self._alone, arguments, until=until)
        finally:
            self._owners.release(owner)
            self._come_back()

    async def go_with_others(self, member: _Member) -> Rows:
        """Wait, and go with all who come meanwhile. Raises what `Pool.run` does."""
        if self._size + member.size > FULL:
            self._leave()
        self.waiting.append(member)
        self._size += member.size
        if len(self.waiting) >= MOST:
            self._leave()
        elif self._leaving is None:
            self._leaving = self._loop.call_later(PATIENCE_SECONDS, self._leave)
        return await member.rows

    def _come_back(self) -> None:
        self._under_way -= 1
        if self.waiting:
            self._leave()

    def _leave(self) -> None:
        if self._leaving is not None:
            self._leaving.cancel()
            self._leaving = None
        there = sorted((each for each in self.waiting if not each.rows.done()), key=_owner)
        self.waiting, self._size = [], 0
        self._last = len(there)
        group: list[_Member] = []
        owners: set[str] = set()
        for each in there:
            if each.owner in owners or self._owners.try_acquire(each.owner):
                owners.add(each.owner)
                group.append(each)
            else:
                self._hold(each)
        self._send(group, owners)

    def _hold(self, member: _Member) -> None:
        """Keep a change until it is its owner's turn, for as long as it has time."""
        timer = self._loop.call_at(member.until - self._margin, member.fail, TimeoutError())
        member.rows.add_done_callback(lambda _: timer.cancel())
        if member.owner in self._held:
            self._held[member.owner].append(member)
        else:
            self._hold_all(member.owner, [member])

    def _hold_all(self, owner: str, members: list[_Member]) -> None:
        self._held[owner] = members
        self._owners.turn(owner).add_done_callback(lambda _: self._leave_in_turn(owner))

    def _leave_in_turn(self, owner: str) -> None:
        """Send together what an owner has held, now that a place is taken for it."""
        held = deque(each for each in self._held.pop(owner) if not each.rows.done())
        group: list[_Member] = []
        size = 0
        while held and len(group) < MOST and (size := size + held[0].size) <= FULL:
            group.append(held.popleft())
        if held:
            self._hold_all(owner, [*held])
        if group:
            self._send(group, {owner})
        else:
            self._owners.release(owner)

    def _send(self, group: list[_Member], owners: set[str]) -> None:
        if group:
            self._under_way += 1
            task = self._loop.create_task(self._travel(group, owners))
            self._groups.add(task)
            task.add_done_callback(self._groups.discard)

    async def _travel(self, group: list[_Member], owners: set[str]) -> None:
        try:
            try:
                await (self._send_together(group) if len(group) > 1 else self._send_alone(group[0]))
            finally:
                for owner in owners:
                    self._owners.release(owner)
        except Exception as error:
            if _has_taken_back(error):
                await asyncio.gather(*(self._send_in_turn(each) for each in group if not each.rows.done()))
            for each in group:
                each.fail(error)
        finally:
            self._come_back()

    async def _send_together(self, group: list[_Member]) -> None:
        found: list[list[Sequence[Any]]] = [[] for _ in group]
        calls = [[*each.arguments, place] for place, each in enumerate(group)]
        for *row, place in await self._run(self._together, calls, are_many=True):
            found[place].append(row)
        for each, rows in zip(group, found, strict=True):
            each.tell(rows)

    async def _send_alone(self, member: _Member) -> None:
        try:
            member.tell(await self._run(self._alone, member.arguments, until=member.until))
        except Exception as error:
            member.fail(error)

    async def _send_in_turn(self, member: _Member) -> None:
        try:
            await self._owners.acquire(member.owner, member.until - self._margin)
        except TimeoutError as error:
            member.fail(error)
            return
        try:
            if not member.rows.done():
                await self._send_alone(member)
        finally:
            self._owners.release(member.owner)


def _has_taken_back(error: Exception) -> bool:
    """Tell whether the server has taken all of it back, and goes on: alone, each of them need not come to the same.

    What breaks off in any other way may have been committed all the same. A cancelled wait for a replica is no error to
    the server; and where we have cancelled the statement, it is a TimeoutError to us.
    """
    if isinstance(error, asyncpg.DataError):  # which asyncpg also raises itself, and has it taken back
        return True
    is_refused = isinstance(error, asyncpg.PostgresError) and getattr(error, "severity_en", None) == "ERROR"
    return is_refused and not isinstance(error, asyncpg.StatementCompletionUnknownError)


def _size(arguments: list[Any]) -> int:
    texts = [each for each in arguments if isinstance(each, str)]
    return BYTES_AROUND + sum(len(each) if each.isascii() else 4 * len(each) for each in texts)


def _owner(member: _Member) -> str:
    return member.owner
