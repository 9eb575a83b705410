"""Changes that come at once travel together: one way to PostgreSQL, one transaction, and one commit for all of them.

While few come, each goes by itself, at once. Where many come, whoever finds one of their kind under way waits until it
is back, for some milliseconds at most, and goes with all who have come meanwhile. Each is a statement of its own that
finds what those before it have done; none of them is answered before all are committed. Where PostgreSQL refuses one,
it takes all of them back, and each goes by itself. What is large always does.

A group locks what belongs to several owners, one after the other. All groups do that in the same order of owners, so
no two of them wait for each other.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

import asyncpg

from app.lanes import CROWD, Crowded
from app.statements import Statement
from app.steps import SteppedPool

FEW = 3  # of a kind, which go side by side; to wait for each other would cost them more than it saves
MOST = 64  # in a group
PATIENCE_SECONDS = 0.005  # after which those that are not back keep nobody waiting

# Bytes of one change, and of a group. asyncpg sends up to 128 KiB in one write, with what ends the transaction. Of more
# than that PostgreSQL would keep the locks until the rest came, without a limit, and nobody be told if it never did.
LARGE, FULL = 16_000, 100_000
BYTES_AROUND = 100  # the arguments of one change, at most

Rows = Sequence[Any]  # each of them a sequence, or an asyncpg.Record


class GroupingPool(SteppedPool):
    """A pool that lets changes travel together."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what asyncpg's takes."""
        super().__init__(*args, **kwargs)
        self._kinds: dict[Statement, _Kind] = {}
        self._in_groups = 0  # changes that wait for others, or are under way with them

    async def change(self, statement: Statement, owner: str, arguments: list[Any]) -> Rows:
        """Run a change of what is an owner's, alone or in a group, and return its rows. Raises what `run` does."""
        if statement.together is None or not self.prepares:
            return await super().run(statement.sql, arguments)
        kind = self._kinds.get(statement)
        if kind is None:
            kind = self._kinds[statement] = _Kind(super().run, statement)
        if kind.are_few or (size := _size(arguments)) > LARGE:
            return await kind.go_alone(arguments)
        if self._in_groups >= CROWD * self.get_max_size():
            raise Crowded("too many wait")
        self._in_groups += 1
        try:
            return await kind.go_with_others(self._member(owner, arguments, size))
        finally:
            self._in_groups -= 1

    def _member(self, owner: str, arguments: list[Any], size: int) -> "_Member":
        return _Member(owner, arguments, size, self._loop.time() + self.patience, self._loop.create_future())

    def get_waiting_size(self) -> int:
        """Return how many wait for a connection, or for others to go with."""
        return super().get_waiting_size() + sum(len(kind.waiting) for kind in self._kinds.values())


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

    def __init__(self, run: Callable[..., Awaitable[Any]], statement: Statement) -> None:
        """Take the way to the server, and the statement."""
        self.waiting: list[_Member] = []
        self._run = run
        self._alone, self._together = statement.sql, statement.together
        self._loop = asyncio.get_running_loop()
        self._under_way = 0  # changes that went alone, and groups
        self._size = 0  # of all that wait
        self._last = 0  # how many were in the last group, which says how many come at once
        self._groups: set[asyncio.Task[None]] = set()  # the event loop itself would forget them
        self._leaving: asyncio.TimerHandle | None = None

    @property
    def are_few(self) -> bool:
        """Tell whether who comes now goes alone."""
        return self._under_way < (1 if self._last > FEW else FEW)

    async def go_alone(self, arguments: list[Any]) -> Rows:
        """Go at once. Raises what `Pool.run` does."""
        self._under_way += 1
        try:
            return await self._run(self._alone, arguments)
        finally:
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
        group = sorted((each for each in self.waiting if not each.rows.done()), key=_owner)
        self.waiting, self._size = [], 0
        self._last = len(group)
        if group:
            self._under_way += 1
            task = self._loop.create_task(self._travel(group))
            self._groups.add(task)
            task.add_done_callback(self._groups.discard)

    async def _travel(self, group: list[_Member]) -> None:
        try:
            await (self._send_together(group) if len(group) > 1 else self._send_alone(group[0]))
        except Exception as error:
            if _has_taken_back(error):
                await asyncio.gather(*(self._send_alone(each) for each in group if not each.rows.done()))
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
