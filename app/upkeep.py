"""What is over goes away by itself: keys of requests after a day, and deleted tasks when their time in the trash is up.

Each worker looks once an hour: nothing waits for it, and a server that sleeps while nobody asks may go on sleeping. It
takes little at a time, passes over what somebody holds, another worker for one, and pauses; so nobody waits for it.
"""

import asyncio
import logging
import random
from typing import Any

from piccolo.querystring import QueryString

from app.database import database
from app.failures import Unavailable
from app.statements import Param, Statement
from app.tasks import once

logger = logging.getLogger(__name__)

FIRST_SECONDS = (30.0, 300.0)  # after the start: at random, so that workers do not come together
SECONDS_BETWEEN = (1800.0, 5400.0)
AT_ONCE = 1000  # rows
SECONDS_TO_PAUSE = 0.2

DAYS = Param("days")
# For all owners, as the staff are: until the statement ends.
AS_STAFF = QueryString("(SELECT set_config('tasks.staff', 'on', true)) IS NOT NULL")


def _removal(table: str, key: str, since: str, age: QueryString) -> Statement:
    """Return what removes rows that are as old as that, the oldest first, and tells how many there were."""
    return Statement(
        QueryString(
            f"""
            WITH "gone" AS (
                DELETE FROM "{table}" WHERE {{}} AND ({key}) IN (
                    SELECT {key} FROM "{table}" WHERE {{}} AND "{since}" <= now() - {{}}
                    ORDER BY "{since}" LIMIT {AT_ONCE} FOR UPDATE SKIP LOCKED
                ) RETURNING 1
            ) SELECT count(*) FROM "gone"
            """,
            AS_STAFF,
            AS_STAFF,
            age,
        )
    )


KEYS = _removal("idempotency_keys", '"user_id", "key"', "created_at", QueryString(f"interval '{once.HOURS} hours'"))
TRASH = _removal("tasks", '"id"', "deleted_at", QueryString("make_interval(days => {}::integer)", DAYS))


async def run(trash_days: int) -> None:
    """Look after things until cancelled. Whatever fails is tried again the next time."""
    pause = FIRST_SECONDS
    while True:
        await asyncio.sleep(random.uniform(*pause))  # noqa: S311 # chance is all that is wanted
        pause = SECONDS_BETWEEN
        try:
            await _remove("keys of requests", KEYS)
            await _remove("tasks in the trash", TRASH, days=trash_days)
        except Unavailable:
            pass  # told where it was noticed
        except Exception as error:
            # Only the kind: the text of such an error may quote rows.
            logger.warning("Could not remove what is over (%s); trying again later.", type(error).__name__)


async def _remove(what: str, removal: Statement, **values: Any) -> None:
    total = 0
    while count := (await database.fetch(removal, **values))[0][0]:
        total += count
        if count < AT_ONCE:
            break
        await asyncio.sleep(SECONDS_TO_PAUSE)
    if total:
        logger.info("Removed %d %s.", total, what)
