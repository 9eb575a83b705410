"""Expired rows are removed in the background, little by little: keys of requests after a day, deleted tasks when their
time in the trash is up, histories of tasks that are gone, and all rows of users who have deleted their account.

Each worker looks once an hour, and as soon as it has itself deleted what may leave more to remove; so a database that
nobody uses may sleep. Rows that cannot be removed are skipped, and keep no others from being removed.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import TypeAlias

from app.db.errors import DatabaseUnavailable
from app.db.statements import Statement
from app.tasks import removal
from app.tasks.removal import array, step

logger = logging.getLogger(__name__)

FIRST_SECONDS = (2.0, 20.0)  # after the start: at random, so that workers do not come together
SECONDS_BETWEEN = (1800.0, 5400.0)
MOST_FAILURES = 100  # of one kind at one look

Remove: TypeAlias = Callable[[str], Awaitable[int]]  # of those keys; returns how many it has removed


class CleanupJob:
    """Finds expired rows of one kind, and removes them."""

    def __init__(self, name: str, find: Statement, remove: Statement | Remove, **values: object) -> None:
        self._name = name
        self._find = partial(step, find, **values)
        self._remove = partial(_count, remove, **values) if isinstance(remove, Statement) else remove
        self._skipped: list[str] = []  # keys of rows that could not be removed, until all others are
        self._failures = 0

    async def run(self) -> None:
        """Remove all such rows. Raises DatabaseUnavailable."""
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
        """Remove the rows; where that fails, a half and then the other, down to the single rows that fail."""
        try:
            removed = await self._remove(array(keys))
        except DatabaseUnavailable:
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


async def _count(statement: Statement, keys: str, **values: object) -> int:
    return (await step(statement, keys=keys, **values))[0][0]


_waiting: set[asyncio.Event] = set()


def wake() -> None:
    """Let the cleanup of this process begin now."""
    for each in _waiting:
        each.set()


async def remove_user(user: str, seconds: float) -> None:
    """Remove a user who has deleted the account, or leave what takes longer than that to the cleanup."""
    try:
        async with asyncio.timeout(seconds):
            if await removal.forget_user(user):
                return
    except Exception as error:
        if not isinstance(error, TimeoutError):
            _warn(error)
    wake()


async def run(trash_days: int) -> None:
    """Remove expired rows until cancelled. What fails is tried again the next time."""
    jobs = (
        CleanupJob("keys of requests", removal.FIND_KEYS, removal.REMOVE_KEYS),
        CleanupJob("tasks in the trash", removal.FIND_TRASH, removal.REMOVE_TRASH, days=trash_days),
        CleanupJob("lists in the trash", removal.FIND_LISTS, removal.REMOVE_LISTS, days=trash_days),
        CleanupJob("users who have left", removal.FIND_USERS, removal.forget_users),
        CleanupJob("histories of tasks that are gone", removal.FIND_HISTORIES, removal.forget_histories),
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
            for job in jobs:
                try:
                    await job.run()
                except DatabaseUnavailable:  # the pool has logged it
                    break
                except Exception as error:
                    _warn(error)
    finally:
        _waiting.discard(woken)


def _warn(error: Exception) -> None:
    # Only the type: the text of such an error may quote rows.
    logger.warning("Could not remove expired rows (%s); trying again later.", type(error).__name__)
