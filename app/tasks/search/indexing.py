"""The indexes of an owner's tasks, brought up to date for the requests that need them, in bounded steps.

An index says up to which of the owner's revisions it is right. A list compares the two in one snapshot, so none is ever
taken from an index that lacks a change. A round goes through the tasks in their order, looks at those that have changed
since the last round, and indexes anew those whose text is another. How far it has come is stored with each step: after
a worker was killed, another goes on from there. A lease keeps two workers from indexing the same concurrently. What a
worker stores whose lease has expired does no harm: an earlier version of a task never replaces a later one.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from typing import NamedTuple, TypeVar

import asyncpg
import msgspec

from app.db.engine import database
from app.db.errors import DatabaseUnavailable
from app.tasks.failures import IndexNotReady
from app.tasks.search import index_queries, titles, words
from app.tasks.search.index_queries import PENDING, STORE, TITLES
from app.web.envelopes import encode

logger = logging.getLogger(__name__)
T = TypeVar("T")

SECONDS_TO_WAIT = 2.5  # of a request, before it is told to ask again
SECONDS_BETWEEN_CLAIMS = 0.1  # at an index that another worker brings up to date
SECONDS_BETWEEN_YIELDS = 0.002  # to the event loop
STEPS_UNPACED = 8  # after which an owner's rounds leave the database as much time as they take
FIRST_ROWS, MORE_ROWS = 2_000, 20_000  # that a step looks at: where none is indexed, and where most are


class Position(NamedTuple):
    """What a round is about, and how far it has come."""

    indexed: int
    target: int
    at: str
    at_id: int


class Work:
    """An index that requests wait for, or that a round has begun to bring up to date."""

    def __init__(self, owner: str, kind: str) -> None:
        self.owner = owner
        self.kind = kind
        self.waiting: dict[asyncio.Future[None], int] = {}  # and for which revision
        self.position: Position | None = None
        self.steps = 0
        self.not_before = 0.0

    def reached(self, revision: int) -> None:
        """Let the requests go on that wait for this revision or an earlier one."""
        for waiter, wanted in [*self.waiting.items()]:
            if wanted <= revision and not waiter.done():
                waiter.set_result(None)
                del self.waiting[waiter]

    def failed(self) -> None:
        """Have the requests that wait fail."""
        for waiter in self.waiting:
            if not waiter.done():
                waiter.set_exception(IndexNotReady())
        self.waiting.clear()


class Indexer:
    """Brings indexes up to date in this process: one step at a time, the owners in turns."""

    def __init__(self) -> None:
        self._worker = random.getrandbits(62)
        self._works: dict[tuple[str, str], Work] = {}  # by owner and kind
        self._turns: deque[Work] = deque()
        self._arrived = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def bring_up_to_date(self, owner: str, kind: str, revision: int) -> None:
        """Return when the index has all changes up to a revision.

        Raises IndexNotReady where that takes longer than a request may wait; it goes on all the same.
        """
        work = self._works.get((owner, kind))
        if work is None:
            work = self._works[owner, kind] = Work(owner, kind)
            self._turns.appendleft(work)  # most have little to do, and those who have much need not wait for long
        waiter = asyncio.get_running_loop().create_future()
        work.waiting[waiter] = revision
        self._arrived.set()
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run())
        try:
            async with asyncio.timeout(SECONDS_TO_WAIT):
                await waiter
        except TimeoutError:
            raise IndexNotReady from None
        finally:
            work.waiting.pop(waiter, None)

    async def close(self) -> None:
        """Stop, wherever it is: another process goes on from there."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
        for work in self._works.values():
            work.failed()
        self._works.clear()
        self._turns.clear()

    async def _run(self) -> None:
        while self._turns:
            work = self._turns.popleft()
            began = time.monotonic()
            if work.not_before <= began and await self._is_done(work):
                del self._works[work.owner, work.kind]
                continue
            self._turns.append(work)
            taken = time.monotonic() - began
            if work.not_before <= began:
                work.not_before = began + taken * (2 if work.steps > STEPS_UNPACED else 1)
            pause = min(each.not_before for each in self._turns) - time.monotonic()
            if pause > 0:
                self._arrived.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._arrived.wait()

    async def _is_done(self, work: Work) -> bool:
        """Do one step. Where it fails, the requests that wait do too."""
        try:
            return await self._step(work)
        except asyncpg.LockNotAvailableError:
            work.not_before = time.monotonic() + SECONDS_BETWEEN_CLAIMS  # one of the tasks is being deleted for good
            return False
        except DatabaseUnavailable:
            pass  # told where it was noticed
        except Exception as error:
            # Only the kind: the text of such an error may quote rows.
            logger.warning("Could not bring the %s of tasks up to date (%s).", work.kind, type(error).__name__)
        work.failed()
        return True

    async def _step(self, work: Work) -> bool:
        about = {"owner": work.owner, "kind": work.kind, "worker": self._worker}
        if work.position is None:
            claim = (await database.fetch_beside(index_queries.CLAIM, **about))[0]
            if claim["target"] is None:  # it is up to date, or another worker is at it
                work.reached(2**63 if claim["revision"] is None else claim["indexed"])
                work.not_before = time.monotonic() + SECONDS_BETWEEN_CLAIMS
                return not work.waiting
            work.position = Position(*claim[2:])
        position = work.position
        place = {"indexed": position.indexed, "index_at": position.at, "index_at_id": position.at_id}
        rows = FIRST_ROWS if position.indexed < 0 else MORE_ROWS
        found = await database.fetch_beside(PENDING[work.kind], owner=work.owner, look_at=rows, **place)
        head = found[0]
        entries = await _in_steps(_entries(work, found))
        ended = bool(head["ended"])
        place = {"index_at": head["at"], "index_at_id": head["at_id"]}
        values = {"entries": encode(entries).decode(), "ended": ended}
        stored = await database.fetch_beside(STORE[work.kind], **about, **place, **values)
        work.steps += 1
        if stored and not ended:
            work.position = position._replace(at=head["at"], at_id=head["at_id"])
            return False
        work.position = None
        if stored:  # else our lease has expired, and another worker has gone on
            work.reached(position.target)
        return not work.waiting


def _entries(work: Work, found: Sequence[asyncpg.Record]) -> Generator[None, None, list[dict[str, object]]]:
    """Return what is to be stored of these rows."""
    entries: list[dict[str, object]] = []
    for row in found:
        if row["id"] is None:
            continue
        if work.kind == TITLES:
            content = titles.key(work.owner, row["title"])
        else:
            labels: list[str] = msgspec.json.decode(row["labels"])
            content = yield from words.vector(work.owner, row["title"], row["description"], labels)
        entries.append({"id": row["id"], "version": row["version"], "text_hash": row["text_hash"], "content": content})
        yield
    return entries


async def _in_steps(steps: Generator[None, None, T]) -> T:
    """Return what the steps return, and let other requests go on between them."""
    until = time.monotonic() + SECONDS_BETWEEN_YIELDS
    while True:
        try:
            next(steps)
        except StopIteration as done:
            return done.value
        if time.monotonic() > until:
            await asyncio.sleep(0)
            until = time.monotonic() + SECONDS_BETWEEN_YIELDS


indexer = Indexer()
