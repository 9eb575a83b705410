"""Expired rows are removed in the background, little by little: keys of requests after a day, deleted tasks when their
time in the trash is up, histories of tasks that are gone, and whatever is left of users who have deleted their account.

Each worker looks once an hour, and as soon as it has itself deleted what may leave more to remove; so a database that
nobody uses may sleep. What cannot be removed is passed over, and keeps nothing else from being removed.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

from app import removal
from app.failures import Unavailable
from app.removal import array, step
from app.statements import Statement

logger = logging.getLogger(__name__)

FIRST_SECONDS = (2.0, 20.0)  # after the start: at random, so that workers do not come together
SECONDS_BETWEEN = (1800.0, 5400.0)
MOST_FAILURES = 100  # of one kind at one look

Remove: TypeAlias = Callable[[str], Awaitable[int]]  # of those keys; returns how many it has removed


class Leftovers:
    """One kind of what is to be removed."""

    def __init__(self, name: str, find: Statement, remove: Statement | Remove, **values: Any) -> None:
        """Take its name, what finds the keys of the next, and what removes those that are named."""
        self._name = name
        self._find = partial(step, find, **values)
        self._remove = partial(_count, remove, **values) if isinstance(remove, Statement) else remove
        self._skipped: list[str] = []  # what could not be removed, until all else is
        self._failures = 0

    async def look(self) -> None:
        """Remove what there is. Raises Unavailable."""
        total = self._failures = 0
        while found := [row[0] for row in await self._find(skipped=array(self._skipped))]:
            total += await self._try(found)
            if self._failures >= MOST_FAILURES:
                break
        else:
            self._skipped.clear()
        if total:
            logger.info("Removed %d %s.", total, self._name)

    async def _try(self, keys: list[str]) -> int:
        """Remove them all, or where that fails, a half and then the other, down to those which it is that fail."""
        try:
            removed = await self._remove(array(keys))
        except Unavailable:
            raise
        except Exception as error:
            self._failures += 1
            if len(keys) > 1:
                half = len(keys) // 2
                is_enough = self._failures >= MOST_FAILURES
                return 0 if is_enough else await self._try(keys[:half]) + await self._try(keys[half:])
            _warn(error)
            removed = 0
        if removed < len(keys):
            self._skipped += keys
        return removed


async def _count(statement: Statement, keys: str, **values: Any) -> int:
    return (await step(statement, keys=keys, **values))[0][0]


_waiting: set[asyncio.Event] = set()


def wake() -> None:
    """Have the cleanup look as soon as it can: there may be more to remove than there was time for."""
    for each in _waiting:
        each.set()


async def remove_user(user: str, seconds: float) -> None:
    """Remove a user who is leaving, or leave what takes longer than that to the cleanup."""
    try:
        async with asyncio.timeout(seconds):
            if await removal.forget_user(user):
                return
    except Exception as error:
        if not isinstance(error, TimeoutError):
            _warn(error)
    wake()


async def run(trash_days: int) -> None:
    """Look after things until cancelled. Whatever fails is tried again the next time."""
    all_kinds = (
        Leftovers("keys of requests", removal.FIND_KEYS, removal.REMOVE_KEYS),
        Leftovers("tasks in the trash", removal.FIND_TRASH, removal.REMOVE_TRASH, days=trash_days),
        Leftovers("users who have left", removal.FIND_USERS, removal.forget_users),
        Leftovers("histories of tasks that are gone", removal.FIND_HISTORIES, removal.forget_histories),
    )
    pause, woken = FIRST_SECONDS, asyncio.Event()
    _waiting.add(woken)
    try:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(random.uniform(*pause)):  # noqa: S311 # chance is all that is wanted
                    await woken.wait()
            woken.clear()
            pause = SECONDS_BETWEEN
            with suppress(Unavailable):  # told where it was noticed
                for kind in all_kinds:
                    await _look(kind)
    finally:
        _waiting.discard(woken)


async def _look(kind: Leftovers) -> None:
    try:
        await kind.look()
    except Unavailable:
        raise
    except Exception as error:
        _warn(error)


def _warn(error: Exception) -> None:
    # Only the kind: the text of such an error may quote rows.
    logger.warning("Could not remove what is over (%s); trying again later.", type(error).__name__)
