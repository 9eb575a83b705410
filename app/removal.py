"""What there is no use for is removed in steps: each statement takes so few rows and bytes that nobody waits for it.

Each of them passes over what somebody holds, another worker for one, and may be killed at any moment: what is still
there is found again.
"""

import asyncio
from collections.abc import Iterable
from time import monotonic
from typing import Any

import asyncpg
from piccolo.querystring import QueryString

from app.database import database
from app.statements import Param, Statement
from app.tasks.once import HOURS

MANY, MANY_BYTES = 1000, 16 * 2**20  # that one statement removes: rows, and bytes of their texts as they are stored
LEAST_PAUSE, PAUSE = 0.01, 1.0  # after each: in seconds, and as a share of the time that it has taken

KEYS, SKIPPED, DAYS, USER = Param("keys"), Param("skipped"), Param("days"), Param("user")
# For all owners, as the staff are: until the statement ends.
AS_STAFF = QueryString("(SELECT set_config('tasks.staff', 'on', true)) IS NOT NULL")
# Where rows lie is what they are named by. Between two statements another may come to lie there; so each says again
# which it is about.
THOSE = QueryString("ctid = ANY ({}::text::tid[])", KEYS)

EXPIRED_KEY = QueryString(f"\"created_at\" <= now() - interval '{HOURS} hours'")
EXPIRED_TASK = QueryString('"deleted_at" <= now() - make_interval(days => {}::integer)', DAYS)


def _find(table: str, text: str, order: str, condition: QueryString) -> Statement:
    """Return what finds rows, and the bytes of a text of theirs as they are stored, without reading it."""
    return Statement(
        QueryString(
            f"""
            SELECT ctid::text, coalesce(pg_column_size({text}), 0) FROM "{table}"
            WHERE {{}} AND {{}} AND ctid <> ALL ({{}}::text::tid[]) ORDER BY {order} LIMIT {MANY}
            """,
            AS_STAFF,
            condition,
            SKIPPED,
        )
    )


def _remove(table: str, condition: QueryString, *before: QueryString) -> Statement:
    """Return what removes those rows that nobody holds, and tells how many."""
    return Statement(
        QueryString(
            f"""
            WITH {"{}, " * len(before)} "gone" AS (
                DELETE FROM "{table}" WHERE {{}} AND {{}} AND ctid = ANY (ARRAY(
                    SELECT ctid FROM "{table}" WHERE {{}} AND {{}} FOR UPDATE SKIP LOCKED
                )) RETURNING 1
            ) SELECT count(*) FROM "gone"
            """,
            *before,
            AS_STAFF,
            condition,
            AS_STAFF,
            THOSE,
        )
    )


FIND_KEYS = _find("idempotency_keys", '"answer"', '"created_at"', EXPIRED_KEY)
REMOVE_KEYS = _remove("idempotency_keys", EXPIRED_KEY)
FIND_TRASH = _find("tasks", '"description"', '"deleted_at"', EXPIRED_TASK)
# Changes take their owner's revision first, and their task then. So does this, or one might wait for the other.
REMOVE_TRASH = _remove(
    "tasks",
    QueryString('{} AND "user_id" IN (SELECT "user_id" FROM "held")', EXPIRED_TASK),
    QueryString(
        """
        "held" AS MATERIALIZED (
            SELECT "user_id" FROM "revisions" WHERE {} AND "user_id" IN (SELECT "user_id" FROM "tasks" WHERE {} AND {})
            FOR NO KEY UPDATE SKIP LOCKED
        )
        """,
        AS_STAFF,
        AS_STAFF,
        THOSE,
    ),
)
FIND_HISTORIES = _find("old_versions", "''", '"task_id"', QueryString("true"))
FORGET_HISTORIES = _remove(
    "old_versions",
    QueryString(
        """
        NOT EXISTS (
            SELECT 1 FROM "task_versions" AS v WHERE v."task_id" = "old_versions"."task_id" AND v."version" < "below"
        )
        """
    ),
)
FIND_USERS = _find("leaving_users", "''", '"since"', QueryString("true"))
NAME_USERS = Statement(QueryString('SELECT "user_id" FROM "leaving_users" WHERE {} AND {}', AS_STAFF, THOSE))


def _some(table: str, text: str, source: QueryString) -> Statement:
    """Return what removes some rows of a source, as many as one statement should: it tells how many, and `is_more`.

    Others may remove the same rows meanwhile, and then it is none. There are no more where it has seen none.
    """
    return Statement(
        QueryString(
            f"""
            WITH "few" AS MATERIALIZED (
                SELECT r.ctid AS "at", coalesce(pg_column_size(r.{text}), 0) AS "size" FROM {{}} LIMIT {MANY}
            ), "gone" AS (
                DELETE FROM "{table}" WHERE {{}} AND ctid = ANY (ARRAY(
                    SELECT "at" FROM (
                        SELECT "at", sum("size") OVER (ROWS UNBOUNDED PRECEDING) - "size" AS "before" FROM "few"
                    ) AS "sized" WHERE "before" <= {MANY_BYTES}
                )) RETURNING 1
            ) SELECT (SELECT count(*) FROM "gone") AS "count", EXISTS (SELECT 1 FROM "few") AS "is_more"
            """,
            source,
            AS_STAFF,
        )
    )


OLD_VERSIONS = _some(
    "task_versions",
    '"description"',
    QueryString(
        """
        (SELECT * FROM "old_versions" WHERE {}) AS q CROSS JOIN LATERAL (
            SELECT ctid, v."description" FROM "task_versions" AS v
            WHERE {} AND v."task_id" = q."task_id" AND v."version" < q."below"
        ) AS r
        """,
        THOSE,
        AS_STAFF,
    ),
)
VERSIONS = _some(
    "task_versions",
    '"description"',
    QueryString('"task_versions" AS r WHERE {} AND r."task_id" = ANY ({}::text::bigint[])', AS_STAFF, KEYS),
)
TASKS = Statement(
    QueryString(
        f"""
        SELECT "id" FROM (
            SELECT "id", sum("size") OVER (ROWS UNBOUNDED PRECEDING) - "size" AS "before" FROM (
                (SELECT "id", coalesce(pg_column_size("description"), 0) AS "size" FROM "tasks"
                 WHERE {{}} AND "user_id" = {{}} AND "deleted_at" IS NULL LIMIT {MANY})
                UNION ALL
                (SELECT "id", coalesce(pg_column_size("description"), 0) FROM "tasks"
                 WHERE {{}} AND "user_id" = {{}} AND "deleted_at" IS NOT NULL LIMIT {MANY})
            ) AS "few" LIMIT {MANY}
        ) AS "sized" WHERE "before" <= {MANY_BYTES}
        """,
        AS_STAFF,
        USER,
        AS_STAFF,
        USER,
    )
)
REMOVE_TASKS = Statement(
    QueryString(
        """
        WITH "gone" AS (
            DELETE FROM "tasks" WHERE {} AND "id" = ANY (ARRAY(
                SELECT "id" FROM "tasks" WHERE {} AND "id" = ANY ({}::text::bigint[]) FOR UPDATE SKIP LOCKED
            )) RETURNING 1
        ) SELECT count(*) FROM "gone"
        """,
        AS_STAFF,
        AS_STAFF,
        KEYS,
    )
)
KEYS_OF_USER = _some(
    "idempotency_keys",
    '"answer"',
    QueryString('"idempotency_keys" AS r WHERE {} AND r."user_id" = {}', AS_STAFF, USER),
)
# The rest goes with the row, which nothing is left to refer to but what is short.
REMOVE_USER = Statement(
    QueryString(
        'DELETE FROM "user" WHERE {} AND "id" IN (SELECT "user_id" FROM "leaving_users" WHERE "user_id" = {})',
        AS_STAFF,
        USER,
    )
)


async def step(statement: Statement, **values: Any) -> list[asyncpg.Record]:
    """Run one statement, pause, and return its rows. Raises what `Database.fetch` does."""
    began = monotonic()
    rows = await database.fetch(statement, **values)
    await asyncio.sleep(max(LEAST_PAUSE, PAUSE * (monotonic() - began)))
    return rows


async def forget_histories(keys: str) -> int:
    """Remove the histories that these rows of `old_versions` name. Returns how many of the rows went with them."""
    while (await step(OLD_VERSIONS, keys=keys))[0]["is_more"]:
        pass
    return (await step(FORGET_HISTORIES, keys=keys))[0][0]


async def forget_users(keys: str) -> int:
    """Remove the users whom these rows of `leaving_users` name. Returns how many are gone."""
    return sum([await forget_user(row["user_id"]) for row in await step(NAME_USERS, keys=keys)])


async def forget_user(user: str) -> bool:
    """Remove a user who is leaving, and whatever there is of theirs, unless somebody else is at it."""
    while found := await step(TASKS, user=user):
        ids = array(row["id"] for row in found)
        while (await step(VERSIONS, keys=ids))[0]["is_more"]:
            pass
        if not (await step(REMOVE_TASKS, keys=ids))[0][0]:
            return False
    while (await step(KEYS_OF_USER, user=user))[0]["is_more"]:
        pass
    await step(REMOVE_USER, user=user)
    return True


def array(those: Iterable[Any]) -> str:
    """Return numbers, or places of rows, as PostgreSQL writes an array."""
    return "{" + ",".join(f'"{each}"' for each in those) + "}"
