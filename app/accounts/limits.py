"""Five failed logins for an email address lock it for fifteen minutes: exactly, over all processes.

An attempt is counted before its password is looked at, in one statement that the database takes one after the
other; so of fifty guesses at once five are made. The others wait for those, because one of the five may be right:
then nothing has failed. A second limit, by the address on the network, makes it slow work to lock others out.
"""

import asyncio
import math
from datetime import datetime
from itertools import chain, repeat
from typing import NamedTuple

from piccolo.querystring import QueryString

from app.addresses import address_key
from app.database import database
from app.failures import TooManyRequests
from app.statements import Param, Statement

FAILURES_PER_EMAIL = 5
FAILURES_PER_ADDRESS = 100
TOO_MANY = "Too many failed logins. Try again later."
WINDOW = "interval '15 minutes'"
LOCK = "interval '15 minutes'"
SECONDS_TO_DECIDE = 10.0  # An attempt that is undecided for longer never will be: its process has died.
PAUSES = (0.02, 0.04, 0.08, 0.16, 0.3)  # seconds between two looks at what is undecided
SWEPT_AT_ONCE = 1000

KEY, LIMIT, STAMP = Param("key"), Param("limit"), Param("stamp")

NOW = "statement_timestamp()"
RECENT = f"""ARRAY(
    SELECT "at" FROM unnest(r."recent_attempts") AS "at"
    WHERE "at" > {NOW} - {WINDOW} AND r."last_attempt" > {NOW} - {WINDOW} ORDER BY "at"
)"""
COUNT = Statement(
    QueryString(
        f"""
        INSERT INTO "rate_limits" AS r ("email", "failed_attempts", "last_attempt", "created_at", "recent_attempts")
        VALUES ({{}}, 1, {NOW}, {NOW}, ARRAY[{NOW}])
        ON CONFLICT ("email") DO UPDATE SET
            "failed_attempts" = cardinality({RECENT}) + 1,
            "last_attempt" = {NOW},
            "recent_attempts" = array_append({RECENT}, {NOW}),
            "locked_until" = NULL
        WHERE coalesce(r."locked_until", '-infinity') <= {NOW} AND cardinality({RECENT}) < {{}}::int
        RETURNING "last_attempt"
        """,
        KEY,
        LIMIT,
    )
)
LOOK = Statement(
    QueryString(
        """
        SELECT extract(epoch FROM "locked_until" - clock_timestamp())::float8,
            extract(epoch FROM now() - "last_attempt")::float8
        FROM "rate_limits" WHERE "email" = {}
        """,  # by now: it may have been locked since the statement began, and for no longer than that from then on
        KEY,
    )
)
FAIL = Statement(
    QueryString(
        f"""
        INSERT INTO "rate_limits" AS r ("email", "failed_attempts", "last_attempt", "created_at", "recent_attempts")
        VALUES ({{}}, 1, {{}}::timestamptz, {NOW}, ARRAY[{{}}::timestamptz])
        ON CONFLICT ("email") DO UPDATE SET ("failed_attempts", "last_attempt", "recent_attempts", "locked_until") = (
            SELECT cardinality("all"), greatest(r."last_attempt", {{}}::timestamptz), "all",
                   CASE WHEN cardinality("all") >= {{}}::int THEN {NOW} + {LOCK} ELSE r."locked_until" END
            FROM (
                SELECT CASE WHEN {{}}::timestamptz = ANY({RECENT}) THEN {RECENT}
                            ELSE array_append({RECENT}, {{}}::timestamptz) END AS "all"
            ) AS "attempts"
        )
        """,
        KEY,
        STAMP,
        STAMP,
        STAMP,
        LIMIT,
        STAMP,
        STAMP,
    )
)
TAKE_BACK = Statement(
    QueryString(
        """
        UPDATE "rate_limits" SET
            "recent_attempts" = array_remove("recent_attempts", {}::timestamptz),
            "failed_attempts" = cardinality(array_remove("recent_attempts", {}::timestamptz))
        WHERE "email" = {}
        """,
        STAMP,
        STAMP,
        KEY,
    )
)
DROP_IF_EMPTY = Statement(
    QueryString(
        """
        DELETE FROM "rate_limits"
        WHERE "email" = {} AND cardinality("recent_attempts") = 0 AND coalesce("locked_until", '-infinity') < now()
        """,
        KEY,
    )
)
ABANDON = Statement(
    QueryString(
        f"""
        UPDATE "rate_limits" SET "locked_until" = "last_attempt" + {LOCK}
        WHERE "email" = {{}} AND "last_attempt" < now() - interval '{SECONDS_TO_DECIDE} seconds'
        """,
        KEY,
    )
)
CLEAR = Statement(QueryString('DELETE FROM "rate_limits" WHERE "email" = {}', KEY))
SWEEP = Statement(
    QueryString(
        f"""
        DELETE FROM "rate_limits" WHERE "email" IN (
            SELECT "email" FROM "rate_limits"
            WHERE "last_attempt" < now() - {WINDOW} AND coalesce("locked_until", '-infinity') < now()
            LIMIT {SWEPT_AT_ONCE} FOR UPDATE SKIP LOCKED
        )
        """
    )
)


class Limit(NamedTuple):
    """What attempts are counted by, and how many may fail within the window."""

    key: str
    failures: int


class Counted(NamedTuple):
    """One attempt under one limit."""

    key: str
    limit: int
    at: datetime


class Attempt(NamedTuple):
    """A login that has been counted, and is not decided yet."""

    email: Counted
    address: Counted | None


async def begin(email: str, address: str | None) -> Attempt:
    """Count an attempt. Raises TooManyRequests where the email or the address on the network is locked."""
    return await begin_under(Limit(email, FAILURES_PER_EMAIL), Limit(address_key(address), FAILURES_PER_ADDRESS))


async def begin_under(name: Limit, network: Limit | None) -> Attempt:
    """Count an attempt under one limit or two. Raises TooManyRequests where one of them is reached."""
    by_network = await _count(*network) if network else None
    if network and by_network is None:
        raise TooManyRequests(1, TOO_MANY)  # so many at once that nobody can tell yet whether they fail
    pauses = chain(PAUSES, repeat(PAUSES[-1]))
    try:
        while not (by_name := await _count(*name)):  # noqa: ASYNC110 # others may decide it
            await asyncio.sleep(next(pauses))
    except BaseException:
        await _take_back(by_network)
        raise
    return Attempt(by_name, by_network)


async def failed(attempt: Attempt) -> None:
    """The password was wrong: the attempt goes on to count, and locks what it is the last under the limit of."""
    for each in filter(None, attempt):
        await database.fetch(FAIL, key=each.key, stamp=each.at, limit=each.limit)
    await database.fetch(SWEEP)


async def succeeded(attempt: Attempt) -> None:
    """The password was right: nothing counts any more for this email, and this attempt for no address."""
    await database.fetch(CLEAR, key=attempt.email.key)
    await _take_back(attempt.address)
    await database.fetch(SWEEP)


async def take_back(attempt: Attempt) -> None:
    """The password was not looked at, so this was no attempt."""
    for each in attempt:
        await _take_back(each)


async def _count(key: str, limit: int) -> Counted | None:
    """Count one more. Returns None where too many are undecided. Raises TooManyRequests where the key is locked."""
    if rows := await database.fetch(COUNT, key=key, limit=limit):
        return Counted(key, limit, rows[0][0])
    rows = await database.fetch(LOOK, key=key)
    locked, age = rows[0] if rows else (None, 0.0)
    if locked is not None and locked > 0:
        raise TooManyRequests(math.ceil(locked), TOO_MANY)
    if age > SECONDS_TO_DECIDE:
        await database.fetch(ABANDON, key=key)
    return None


async def _take_back(counted: Counted | None) -> None:
    if counted is None:
        return
    await database.fetch(TAKE_BACK, key=counted.key, stamp=counted.at)
    await database.fetch(DROP_IF_EMPTY, key=counted.key)
