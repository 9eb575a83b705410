"""The indexes of an owner's tasks, brought up to date behind the requests that need them, in bounded steps.

An index says up to which of the owner's revisions it is right. A list compares the two in one snapshot, so none is ever
taken from an index that lacks a change. A round goes through the tasks in their order, looks at those that have changed
since the last one, and works out anew those whose text is another. How far it has come is stored with each step:
whoever goes on after a worker was killed begins there. A lease keeps two workers from doing the same index at once.
What a worker stores whose lease has run out does no harm: an earlier version of a task never replaces a later one.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any, NamedTuple

import asyncpg

from app.database import database
from app.envelopes import encode
from app.failures import Unavailable
from app.tasks import index_queries, titles, words
from app.tasks.failures import IndexNotReady
from app.tasks.index_queries import PENDING, STORE, TITLES

logger = logging.getLogger(__name__)

SECONDS_TO_WAIT = 2.5  # of a request, before it is told to ask again
SECONDS_BETWEEN_LOOKS = 0.1  # at an index that another worker brings up to date
SECONDS_AT_ONCE = 0.002  # of the event loop
STEPS_UNPACED = 8  # after which an owner's rounds leave the database as much time as they take
FIRST_ROWS, MORE_ROWS = 2_000, 20_000  # that a step looks at: where none is indexed, and where most are

Key = tuple[str, str]  # an owner and the kind of an index


class Position(NamedTuple):
    """What a round is about, and how far it has come."""

    indexed: int
    target: int
    at: str
    at_id: int


class Work:
    """An index that somebody waits for, or that a round has begun to bring up to date."""

    def __init__(self, owner: str, kind: str) -> None:
        """Begin with nobody waiting."""
        self.owner = owner
        self.kind = kind
        self.waiting: dict[asyncio.Future[None], int] = {}  # and for which revision
        self.position: Position | None = None
        self.steps = 0
        self.not_before = 0.0

    def reached(self, revision: int) -> None:
        """Tell those who wait for this revision or an earlier one."""
        for waiter, wanted in [*self.waiting.items()]:
            if wanted <= revision and not waiter.done():
                waiter.set_result(None)
                del self.waiting[waiter]

    def failed(self) -> None:
        """Send everybody away who waits."""
        for waiter in self.waiting:
            if not waiter.done():
                waiter.set_exception(IndexNotReady())
        self.waiting.clear()


class Indexer:
    """Brings indexes up to date in this process: one step at a time, the owners in turns."""

    def __init__(self) -> None:
        """Begin with nothing to do."""
        self._worker = random.getrandbits(62)
        self._works: dict[Key, Work] = {}
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
        """Do one step. Whatever goes wrong, those who wait are told to ask again."""
        try:
            return await self._step(work)
        except asyncpg.LockNotAvailableError:
            work.not_before = time.monotonic() + SECONDS_BETWEEN_LOOKS  # one of the tasks is being deleted for good
            return False
        except Unavailable:
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
                work.not_before = time.monotonic() + SECONDS_BETWEEN_LOOKS
                return not work.waiting
            work.position = Position(*claim[2:])
        position = work.position
        place = {"indexed": position.indexed, "index_at": position.at, "index_at_id": position.at_id}
        rows = FIRST_ROWS if position.indexed < 0 else MORE_ROWS
        found = await database.fetch_beside(PENDING[work.kind], owner=work.owner, look_at=rows, **place)
        head = found[0]
        entries = [entry async for entry in _entries(work, found)]
        ended = bool(head["ended"])
        place = {"index_at": head["at"], "index_at_id": head["at_id"]}
        values = {"entries": encode(entries).decode(), "ended": ended}
        stored = await database.fetch_beside(STORE[work.kind], **about, **place, **values)
        work.steps += 1
        work.position = None
        if not stored:
            return not work.waiting  # our lease ran out, and another worker has gone on
        if ended:
            work.reached(position.target)
            return not work.waiting
        work.position = position._replace(at=head["at"], at_id=head["at_id"])
        return False


async def _entries(work: Work, found: list[asyncpg.Record]) -> AsyncIterator[dict[str, Any]]:
    """Work out what is to be stored, and let others go first from time to time."""
    until = time.monotonic() + SECONDS_AT_ONCE
    for row in found:
        if row["id"] is None:
            continue
        entry = {"id": row["id"], "version": row["version"], "text_hash": row["text_hash"]}
        if work.kind == TITLES:
            entry["content"] = titles.key(work.owner, row["title"])
        else:
            building = words.vector(work.owner, row["title"], row["description"])
            while "content" not in entry:
                try:
                    next(building)
                except StopIteration as built:
                    entry["content"] = built.value
                if time.monotonic() > until:
                    await asyncio.sleep(0)
                    until = time.monotonic() + SECONDS_AT_ONCE
        yield entry
        if time.monotonic() > until:
            await asyncio.sleep(0)
            until = time.monotonic() + SECONDS_AT_ONCE


indexer = Indexer()
