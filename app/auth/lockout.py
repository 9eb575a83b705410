"""Account lockout: five failed logins for an email address within fifteen minutes lock it for fifteen.

Exactly five, in all processes together. An attempt is counted before its password is looked at, in one statement that
the database takes one after the other; so of fifty concurrent guesses five are made. The others wait for those, because
one of the five may be right: then nothing has failed. A second limit, by the address on the network, makes it slow work
to lock others out.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from datetime import datetime
from itertools import chain, repeat
from typing import NamedTuple, TypeVar

from app.db.engine import database
from app.db.statements import Statement
from app.web.failures import TooManyRequests

T = TypeVar("T")

MAX_FAILURES = 5
TOO_MANY = "Too many failed logins. Try again later."
WINDOW = "interval '15 minutes'"
LOCK_TIME = "interval '15 minutes'"
SECONDS_TO_DECIDE = 10  # An attempt that is undecided for longer never will be: its process has died.
PAUSES = (0.02, 0.04, 0.08, 0.16, 0.3)  # seconds between two looks at what is undecided
MAX_REMOVED = 1000  # expired rows, after each attempt

# No two attempts under one key have the same stamp.
UNIQUE_STAMP = """greatest(statement_timestamp(), r."last_attempt" + interval '1 microsecond')"""
RECENT = f"""ARRAY(
    SELECT "at" FROM unnest(r."recent_attempts") AS "at" WHERE "at" > statement_timestamp() - {WINDOW} ORDER BY "at"
)"""
# The lock of attempts whose process has died, as if they had failed when they were counted.
ABANDONED = f"""CASE
    WHEN r."last_attempt" < now() - interval '{SECONDS_TO_DECIDE} seconds' AND cardinality({RECENT}) >= :limit::int
    THEN r."last_attempt" + {LOCK_TIME} END"""
# Returns the stamp of the attempt, if it was counted; or else for how many seconds the key is locked, if it is. That is
# seen as of when the statement began: what has been locked since then, the next look finds.
COUNT_ATTEMPT = Statement(
    f"""
    WITH "counted" AS (
        INSERT INTO "rate_limits" AS r ("email", "failed_attempts", "last_attempt", "recent_attempts")
        VALUES (:key, 1, statement_timestamp(), ARRAY[statement_timestamp()])
        ON CONFLICT ("email") DO UPDATE SET
            "failed_attempts" = cardinality({RECENT}) + 1, "recent_attempts" = {RECENT} || {UNIQUE_STAMP},
            "last_attempt" = {UNIQUE_STAMP}, "locked_until" = NULL
        WHERE coalesce(r."locked_until", '-infinity') <= statement_timestamp() AND cardinality({RECENT}) < :limit::int
        RETURNING "last_attempt"
    )
    SELECT (SELECT "last_attempt" FROM "counted"), (
        SELECT extract(epoch FROM greatest(r."locked_until", {ABANDONED}) - clock_timestamp())::float8
        FROM "rate_limits" AS r WHERE "email" = :key
    )
    """
)
LOCK_IF_FULL = Statement(
    f"""
    UPDATE "rate_limits" AS r SET "locked_until" = statement_timestamp() + {LOCK_TIME}
    WHERE "email" = :key AND cardinality({RECENT}) >= :limit::int
    """
)
UNCOUNT = Statement(
    """
    UPDATE "rate_limits" SET
        "recent_attempts" = array_remove("recent_attempts", :stamp::timestamptz),
        "failed_attempts" = cardinality(array_remove("recent_attempts", :stamp))
    WHERE "email" = :key
    """
)
# What was cleared, what was uncounted and has nothing else to count, and expired rows.
REMOVE = Statement(
    f"""
    DELETE FROM "rate_limits" WHERE "email" IN (
        SELECT :cleared::text UNION ALL SELECT * FROM (
            SELECT "email" FROM "rate_limits"
            WHERE ("last_attempt" < now() - {WINDOW} OR ("email" = ANY(:uncounted) AND "recent_attempts" = '{{}}'))
            AND coalesce("locked_until", '-infinity') < now()
            LIMIT {MAX_REMOVED} FOR UPDATE SKIP LOCKED
        ) AS "expired"
    )
    """
)


class Limit(NamedTuple):
    """What attempts are counted by, and how many may fail within the window."""

    key: str
    failures: int = MAX_FAILURES


async def attempt(verify: Callable[[], Awaitable[T | None]], account: Limit, network: Limit | None = None) -> T | None:
    """Return what `verify` returns; None stands for a wrong password, which counts as a failure.

    After a right one nothing counts any more for the account, and this attempt not for the network. Raises
    TooManyRequests where a limit is reached, and what `verify` does: then it was no attempt.
    """
    counted = await _count_under(account, network)
    try:
        found = await verify()
    except Exception:
        with suppress(Exception):  # where that fails too, the limits count it after a while
            await _remove(counted)
        raise
    if found is None:
        for limit in counted:
            await database.fetch(LOCK_IF_FULL, key=limit.key, limit=limit.failures)
        await _remove({})
    else:
        del counted[account]
        await _remove(counted, cleared=account)
    return found


async def _count_under(account: Limit, network: Limit | None) -> dict[Limit, datetime]:
    """Count an attempt, as soon as no more are undecided than may fail; returns the stamps under which it counts."""
    counted: dict[Limit, datetime] = {}
    if network is not None:
        if (stamp := await _count(network)) is None:
            raise TooManyRequests(1, TOO_MANY)  # so many are undecided that nobody can tell yet whether they fail
        counted[network] = stamp
    pauses = chain(PAUSES, repeat(PAUSES[-1]))
    try:
        while (stamp := await _count(account)) is None:  # noqa: ASYNC110 # others may decide it
            await asyncio.sleep(next(pauses))
    except BaseException:
        await _remove(counted)
        raise
    return {**counted, account: stamp}


async def _count(limit: Limit) -> datetime | None:
    """Count one more. Returns None where too many are undecided. Raises TooManyRequests where the key is locked."""
    [(stamp, seconds)] = await database.fetch(COUNT_ATTEMPT, key=limit.key, limit=limit.failures)
    if stamp is None and seconds is not None and seconds > 0:
        raise TooManyRequests(math.ceil(seconds), TOO_MANY)
    return stamp


async def _remove(uncounted: Mapping[Limit, datetime], cleared: Limit | None = None) -> None:
    for limit, stamp in uncounted.items():
        await database.fetch(UNCOUNT, key=limit.key, stamp=stamp)
    keys = [limit.key for limit in uncounted]
    await database.fetch(REMOVE, cleared=cleared and cleared.key, uncounted=keys)
