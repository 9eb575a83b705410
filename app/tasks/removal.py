"""Rows are removed in steps: each statement takes so few rows and bytes that no request waits long for it.

It skips rows that another transaction has locked, such as another worker's. A step may be killed at any moment: the
rows that are left are found again.
"""

import asyncio
from collections.abc import Iterable
from time import monotonic

import asyncpg

from app.auth.idempotency import KEY_HAS_EXPIRED
from app.db.engine import database
from app.db.statements import Statement

MANY, MANY_BYTES = 1000, 16 * 2**20  # that one statement removes: rows, and bytes of their texts as they are stored
LEAST_PAUSE, PAUSE = 0.01, 1.0  # after each: in seconds, and as a share of the time that it has taken

# For all owners, as the staff are: until the statement ends.
SET_RLS_STAFF = "(SELECT set_config('tasks.staff', 'on', true)) IS NOT NULL"
# Rows are named by their ctid. Between two statements another row may get it; so each repeats the condition.
THOSE = "ctid = ANY (:keys::text::tid[])"

HAS_EXPIRED = '"deleted_at" <= now() - make_interval(days => :days::integer)'


def _find(table: str, text: str, order: str, condition: str) -> Statement:
    """Return the statement that finds rows, and the bytes of a text of each as it is stored, without reading it."""
    return Statement(
        f"""
        SELECT ctid::text, coalesce(pg_column_size({text}), 0) FROM "{table}"
        WHERE {SET_RLS_STAFF} AND {condition} AND ctid <> ALL (:skipped::text::tid[]) ORDER BY {order} LIMIT {MANY}
        """
    )


def _remove(table: str, condition: str, *before: str) -> Statement:
    """Return the statement that removes those rows that are not locked, and counts them."""
    gone = f"""
        "gone" AS (
            DELETE FROM "{table}" WHERE {SET_RLS_STAFF} AND {condition} AND ctid = ANY (ARRAY(
                SELECT ctid FROM "{table}" WHERE {SET_RLS_STAFF} AND {THOSE} FOR UPDATE SKIP LOCKED
            )) RETURNING 1
        )
    """
    return Statement(f'WITH {", ".join([*before, gone])} SELECT count(*) FROM "gone"')


FIND_KEYS = _find("idempotency_keys", '"answer"', '"created_at"', KEY_HAS_EXPIRED)
REMOVE_KEYS = _remove("idempotency_keys", KEY_HAS_EXPIRED)
FIND_TRASH = _find("tasks", '"description"', '"deleted_at"', HAS_EXPIRED)
# Changes take their owner's revision first, and their task then. So does this, or one might wait for the other.
REMOVE_TRASH = _remove(
    "tasks",
    f'{HAS_EXPIRED} AND "user_id" IN (SELECT "user_id" FROM "held")',
    f"""
    "held" AS MATERIALIZED (
        SELECT "user_id" FROM "revisions"
        WHERE {SET_RLS_STAFF} AND "user_id" IN (SELECT "user_id" FROM "tasks" WHERE {SET_RLS_STAFF} AND {THOSE})
        FOR NO KEY UPDATE SKIP LOCKED
    )
    """,
)
FIND_LISTS = _find("task_lists", '"name"', '"deleted_at"', HAS_EXPIRED)
# Those tasks that are in one of the lists after all leave it first. The locks are taken in the same order.
REMOVE_LISTS = Statement(
    f"""
    WITH "held" AS MATERIALIZED (
        SELECT "user_id" FROM "revisions"
        WHERE {SET_RLS_STAFF} AND "user_id" IN (SELECT "user_id" FROM "task_lists" WHERE {SET_RLS_STAFF} AND {THOSE})
        FOR NO KEY UPDATE SKIP LOCKED
    ), "those" AS MATERIALIZED (
        SELECT "id" FROM "task_lists" WHERE {SET_RLS_STAFF} AND {HAS_EXPIRED} AND {THOSE}
            AND "user_id" IN (SELECT "user_id" FROM "held") FOR UPDATE SKIP LOCKED
    ), "unlinked" AS (
        UPDATE "tasks" SET "list_id" = NULL
        WHERE {SET_RLS_STAFF} AND ("user_id", "list_id") IN (
            SELECT "user_id", "id" FROM "task_lists" WHERE {SET_RLS_STAFF} AND "id" IN (SELECT "id" FROM "those")
        )
    ), "gone" AS (
        DELETE FROM "task_lists" WHERE {SET_RLS_STAFF} AND "id" IN (SELECT "id" FROM "those") RETURNING 1
    ) SELECT count(*) FROM "gone"
    """
)
FIND_HISTORIES = _find("old_versions", "''", '"task_id"', "true")
FORGET_HISTORIES = _remove(
    "old_versions",
    """
    NOT EXISTS (
        SELECT 1 FROM "task_versions" AS v WHERE v."task_id" = "old_versions"."task_id" AND v."version" < "below"
    )
    """,
)
FIND_USERS = _find("leaving_users", "''", '"since"', "true")
NAME_USERS = Statement(f'SELECT "user_id" FROM "leaving_users" WHERE {SET_RLS_STAFF} AND {THOSE}')


def _some(table: str, text: str, source: str) -> Statement:
    """Return the statement that removes as many rows of a source as one should: it tells `count` and `is_more`.

    Where another worker removes the same rows meanwhile, it counts none; there are no more where it has seen none.
    """
    return Statement(
        f"""
        WITH "few" AS MATERIALIZED (
            SELECT r.ctid AS "at", coalesce(pg_column_size(r.{text}), 0) AS "size" FROM {source} LIMIT {MANY}
        ), "gone" AS (
            DELETE FROM "{table}" WHERE {SET_RLS_STAFF} AND ctid = ANY (ARRAY(
                SELECT "at" FROM (
                    SELECT "at", sum("size") OVER (ROWS UNBOUNDED PRECEDING) - "size" AS "before" FROM "few"
                ) AS "sized" WHERE "before" <= {MANY_BYTES}
            )) RETURNING 1
        ) SELECT (SELECT count(*) FROM "gone") AS "count", EXISTS (SELECT 1 FROM "few") AS "is_more"
        """
    )


OLD_VERSIONS = _some(
    "task_versions",
    '"description"',
    f"""
    (SELECT * FROM "old_versions" WHERE {THOSE}) AS q CROSS JOIN LATERAL (
        SELECT ctid, v."description" FROM "task_versions" AS v
        WHERE {SET_RLS_STAFF} AND v."task_id" = q."task_id" AND v."version" < q."below"
    ) AS r
    """,
)
VERSIONS_OF_TASKS = _some(
    "task_versions",
    '"description"',
    f'"task_versions" AS r WHERE {SET_RLS_STAFF} AND r."task_id" = ANY (:keys::text::bigint[])',
)
TASKS_OF_USER = Statement(
    f"""
    SELECT "id" FROM (
        SELECT "id", sum("size") OVER (ROWS UNBOUNDED PRECEDING) - "size" AS "before" FROM (
            (SELECT "id", coalesce(pg_column_size("description"), 0) AS "size" FROM "tasks"
             WHERE {SET_RLS_STAFF} AND "user_id" = :user AND "deleted_at" IS NULL LIMIT {MANY})
            UNION ALL
            (SELECT "id", coalesce(pg_column_size("description"), 0) FROM "tasks"
             WHERE {SET_RLS_STAFF} AND "user_id" = :user AND "deleted_at" IS NOT NULL LIMIT {MANY})
        ) AS "few" LIMIT {MANY}
    ) AS "sized" WHERE "before" <= {MANY_BYTES}
    """
)
REMOVE_TASKS = Statement(
    f"""
    WITH "gone" AS (
        DELETE FROM "tasks" WHERE {SET_RLS_STAFF} AND "id" = ANY (ARRAY(
            SELECT "id" FROM "tasks" WHERE {SET_RLS_STAFF} AND "id" = ANY (:keys::text::bigint[])
            FOR UPDATE SKIP LOCKED
        )) RETURNING 1
    ) SELECT count(*) FROM "gone"
    """
)
KEYS_OF_USER = _some(
    "idempotency_keys", '"answer"', f'"idempotency_keys" AS r WHERE {SET_RLS_STAFF} AND r."user_id" = :user'
)


def _histories_of_user(kind: str) -> Statement:
    """Return the statement for the histories of a user's lists or labels, which are as long as a task's at most."""
    theirs = f'SELECT "id" FROM "task_{kind}s" WHERE {SET_RLS_STAFF} AND "user_id" = :user'
    table = f"task_{kind}_versions"
    return _some(table, '"name"', f'"{table}" AS r WHERE {SET_RLS_STAFF} AND r."{kind}_id" IN ({theirs})')


HISTORIES_OF_LISTS, HISTORIES_OF_LABELS = _histories_of_user("list"), _histories_of_user("label")
# The rest goes with the row, which nothing is left to refer to but what is short.
REMOVE_USER = Statement(
    f"""
    DELETE FROM "user"
    WHERE {SET_RLS_STAFF} AND "id" IN (SELECT "user_id" FROM "leaving_users" WHERE "user_id" = :user)
    """
)


async def step(statement: Statement, **values: object) -> list[asyncpg.Record]:
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
    """Remove a user who has deleted the account, with all rows. Returns False where another worker is at it."""
    while found := await step(TASKS_OF_USER, user=user):
        ids = array(row["id"] for row in found)
        while (await step(VERSIONS_OF_TASKS, keys=ids))[0]["is_more"]:
            pass
        if not (await step(REMOVE_TASKS, keys=ids))[0][0]:
            return False
    for statement in (KEYS_OF_USER, HISTORIES_OF_LISTS, HISTORIES_OF_LABELS):
        while (await step(statement, user=user))[0]["is_more"]:
            pass
    await step(REMOVE_USER, user=user)
    return True


def array(values: Iterable[int | str]) -> str:
    """Return numbers or ctids as PostgreSQL writes an array."""
    return "{" + ",".join(f'"{each}"' for each in values) + "}"
