"""The statements about the history of a task: its states, a page at a time; and to bring one of them back.

A trigger keeps what each change replaces, in the statement of the change; what there is now, the task itself tells
(`app/tasks/past_versions.py`). Of a task's history, the oldest goes once there is more of it than HISTORY_VERSIONS.
"""

from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec

from app.auth.jwt import User as Owner
from app.db.engine import database
from app.db.statements import SET_RLS_OWNER, STAMP, Statement
from app.tasks.bounded import SHORT_DESCRIPTION, TOO_LONG, inline, within_bytes
from app.tasks.change import Change
from app.tasks.failures import PreconditionFailed, TaskNotFound
from app.tasks.fields import FIELDS
from app.tasks.history.diff import HistoryData, HistoryPage, changes
from app.tasks.idempotency import execute
from app.tasks.in_list import check_that_it_was_the_list
from app.tasks.label_names import LabelName, key_of
from app.tasks.past_versions import KEPT_EACH_TIME, KEPT_IF_REPLACED, PAST_OF_CALLER, as_it_was, kept
from app.tasks.queries import THAT_TASK, UNLESS_CHANGED, get_task, update
from app.tasks.structs import Task
from app.web.envelopes import encode
from app.web.failures import Invalid, Unavailable

PAST_OF_TASK = f'{PAST_OF_CALLER} AND "task_versions"."task_id" = :task_id'
COLUMN = '"{0.name}"'


def _told(text: str, other: str, is_told: str) -> str:
    """Return the columns of a state: each field, and of each text whether it is told. `{0}` is the field."""
    fields = [f'{(text if each.kept else other).format(each)} AS "{each.name}"' for each in FIELDS]
    return ", ".join([*fields, *(f'{is_told.format(each)} AS "tells_{each.name}"' for each in KEPT_IF_REPLACED)])


# First the texts as the page's latest state has them; then one row for each state, with the texts that the change after
# it replaced. No row where there is no such task.
STATES = f"""
    SELECT NULL::bigint AS "version", NULL AS "at", NULL AS "changed_by",
        {_told(as_it_was("{0.name}", COLUMN), "NULL::{0.sql}", "true")},
        NULL::boolean AS "is_deleted", 0 AS "ordinal"
    FROM "now" {kept(f'{PAST_OF_TASK} AND "task_versions"."version" >= :before')}
    UNION ALL
    SELECT "version", {STAMP.format('"changed_at"')}, "changed_by", {_told(COLUMN, COLUMN, '"tells_{0.name}"')},
        "deleted_at" IS NOT NULL, "ordinal"
    FROM (SELECT 1 FROM "now") AS "it" CROSS JOIN LATERAL (
        SELECT "version", "updated_at" AS "changed_at", "changed_by", {_told("NULL", COLUMN, "false")},
            "deleted_at", 0 AS "ordinal"
        FROM "now" WHERE "version" < :before
        UNION ALL
        (SELECT "version", "changed_at", "changed_by", {_told(COLUMN, COLUMN, "{0.kept}")}, "deleted_at", "ordinal"
         FROM "task_versions" WHERE {PAST_OF_TASK} AND "version" < :before
         ORDER BY "version" DESC LIMIT :limit)
    ) AS "states"
    ORDER BY "version" DESC NULLS FIRST LIMIT :limit + 1
"""


def _history(description: str, states: str, more: str) -> Statement:
    told = _told("{0.on_the_wire}", "{0.on_the_wire}", '"tells_{0.name}"')
    told = told.replace('"description" AS', f"{description} AS")
    return Statement(
        f"""
        WITH "now" AS (SELECT * FROM "tasks" WHERE {THAT_TASK})
        SELECT "version", "at", "changed_by", {told}, "is_deleted", "ordinal", {more} AS "more"
        FROM {states} AS "states"
        """
    )


HISTORY = _history(SHORT_DESCRIPTION, f"({STATES})", "false")
# A change is told by two states, and the first row.
LONG_HISTORY = _history('"description"', within_bytes(STATES, least=3), '"more"')
OTHERS = ", ".join(f'"{each.name}"' for each in KEPT_EACH_TIME)
THEN = ", ".join(
    f'{as_it_was(each.name, COLUMN.format(each)) if each.kept else COLUMN.format(each)} AS "{each.name}"'
    for each in FIELDS
)
CONTENT = f"""
    SELECT {THEN}
    FROM (SELECT {", ".join(COLUMN.format(each) for each in KEPT_IF_REPLACED)} FROM "tasks" WHERE {THAT_TASK}) AS "now"
    CROSS JOIN (
        SELECT {OTHERS} FROM "tasks" WHERE {THAT_TASK} AND "version" = :then
        UNION ALL
        SELECT {OTHERS} FROM "task_versions" WHERE {PAST_OF_TASK} AND "version" = :then
    ) AS "it" {kept(f'{PAST_OF_TASK} AND "task_versions"."version" >= :then')}
"""
THAT_STATE = Statement(CONTENT)
# The list that it was in, if that takes tasks, or the task is in it now; else the inbox.
LIST_OF_THEN = """
    CASE WHEN (SELECT "list_id" FROM "then") = "tasks"."list_id" THEN "tasks"."list_id"
    ELSE (SELECT "id" FROM "list_of_then") END
"""
LOSABLE = ("list_id",)  # fields that refer to what may be gone
REFERRED = Statement(
    f"""
    SELECT {", ".join(f'"{name}"' for name in LOSABLE)} FROM "task_versions"
    WHERE {PAST_OF_TASK} AND "task_versions"."version" = :then
    """
)
REVERT_ATTEMPTS = 5  # where a list that took tasks when the statement began takes none any more
REVERT = update(
    {field.name: f'(SELECT "{field.name}" FROM "then")' for field in FIELDS}
    | {"list_id": LIST_OF_THEN, "labels": ":labels::text::jsonb"},
    f'{THAT_TASK} AND {UNLESS_CHANGED} AND EXISTS (SELECT 1 FROM "then")',
    f"""
    "then" AS ({CONTENT}), "list_of_then" AS (
        SELECT "id" FROM "task_lists" WHERE {SET_RLS_OWNER} AND "task_lists"."user_id" = :owner
            AND "task_lists"."id" = (SELECT "list_id" FROM "then") AND "deleted_at" IS NULL AND "archived_at" IS NULL
    )
    """,
)


async def history_of(owner: Owner, task_id: int, before: int, limit: int) -> HistoryData:
    """Return up to so many changes of a task before a version, the last one first. Raises TaskNotFound."""
    # One state more than changes: the last change on the page led on from it.
    values = {"owner": owner.id, "task_id": task_id, "before": before, "limit": limit + 1, "inline": inline(limit + 2)}
    rows = await database.fetch(HISTORY, **values)
    if TOO_LONG in [row["description"] for row in rows]:
        rows = await database.fetch_long(LONG_HISTORY, **values)
    if not rows:
        raise TaskNotFound
    # Of the last one it is not known what it led on from, where the page ends for its length or for its limit.
    told = changes(rows)
    shown = told[:-1] if rows[-1]["more"] or len(told) > limit else told
    return HistoryData(shown, HistoryPage(shown[-1].version if len(shown) < len(told) else None))


async def _revert(change: Change, **values: object) -> Sequence[Any]:
    """Raises what `execute` does, and Unavailable."""
    for _ in range(REVERT_ATTEMPTS):
        try:
            return await execute(REVERT, change, **values)
        except asyncpg.CheckViolationError as error:
            check_that_it_was_the_list(error)
    raise Unavailable


async def lost_in(owner: Owner, task: Task, version: int) -> list[str]:
    """Return the fields of a task that has been reverted which could not have again what they had in that version."""
    if None not in (getattr(task, name) for name in LOSABLE):
        return []
    then = await database.fetch(REFERRED, owner=owner.id, task_id=task.id, then=version)
    return [name for name in LOSABLE if then and then[0][name] is not None and getattr(task, name) is None]


async def revert_task(change: Change, task_id: int, version: int) -> Task:
    """Give the task the content that it had in a version.

    A label that it had, and that there is none of by now, is made anew. Raises TaskNotFound, Invalid,
    PreconditionFailed, KeyReused, LabelLimitReached.
    """
    owner = change.owner
    labels = await _labels_in(owner, task_id, version)
    rows = await _revert(change, task_id=task_id, then=version, labels=labels)
    if not rows:
        current = await get_task(owner, task_id)
        if not await database.fetch(THAT_STATE, owner=owner.id, task_id=task_id, then=version):
            raise Invalid("version", "The task has no such version")
        if change.condition.versions is None:
            raise TaskNotFound  # it was in the trash, and has come back since
        raise PreconditionFailed(current)
    return Task(*rows[0])


async def _labels_in(owner: Owner, task_id: int, version: int) -> str:
    """Return the labels of a task in a version, which stay what they were, as `tasks_label` reads them."""
    rows = await database.fetch(THAT_STATE, owner=owner.id, task_id=task_id, then=version)
    names = msgspec.json.decode(rows[0]["labels"], type=list[str]) if rows else []
    return encode([LabelName(key_of(name), name) for name in names]).decode()
