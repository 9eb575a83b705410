"""The history of a task: what was done to it, when and by whom; and how to bring a state of it back.

A trigger keeps what each change replaces, in the statement of the change; what there is now, the task itself tells
(`app/tasks/states.py`). Of a task's history, the oldest goes once there is more of it than HISTORY_VERSIONS.
"""

import re
from typing import Any, ClassVar, NamedTuple, TypeAlias

import msgspec
from litestar import Controller, Request
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody
from piccolo.columns.combination import WhereRaw
from piccolo.querystring import QueryString

from app.auth.middleware import CurrentUser
from app.auth.tokens import User as Owner
from app.bodies import check_body, check_body_headers
from app.database import database
from app.failures import Invalid
from app.handlers import UNREAD, IsHead, Reply, get, post
from app.openapi import failures
from app.query import pairs
from app.statements import STAMP, Param, Statement
from app.tables import Task as TaskTable
from app.tables import TaskVersion
from app.tasks.bounded import DESCRIPTION, TOO_LONG, inline, within_bytes
from app.tasks.changes import HistoryData, HistoryPage, Version, changes
from app.tasks.conditions import IfMatch, tagged
from app.tasks.controller import CHANGE, DEPENDENCIES, check_task_id
from app.tasks.failures import TaskNotFound
from app.tasks.keys import IdempotencyKey, Key, replayed
from app.tasks.queries import (
    FOR_THEM,
    OWNER,
    TASK_ID,
    THAT_ONE,
    UNLESS_CHANGED,
    attempt,
    failed,
    get_task,
    update,
)
from app.tasks.states import kept, version_of
from app.tasks.structs import Task, TaskData
from app.tasks.versions import ANYWAY, Condition

MAX_LIMIT = 200  # changes on a page
MAX_VERSION = 2**53 - 1
RANGES = {"limit": (1, MAX_LIMIT), "before": (0, MAX_VERSION)}
NUMBER = re.compile(r"0|[1-9][0-9]{0,15}")

BEFORE, LIMIT, THEN = Param("before"), Param("limit"), Param("then")
ITS_PAST = FOR_THEM & (TaskVersion.user_id == OWNER) & (TaskVersion.task_id == TASK_ID)
LATER = QueryString('{} AND "task_versions"."version" >= {}', ITS_PAST.querystring, BEFORE)
SINCE_THEN = QueryString('{} AND "task_versions"."version" >= {}', ITS_PAST.querystring, THEN)
KEPT = '"version", "changed_at", "changed_by", "title", "description", "completed", "deleted_at", "keeps_description"'

# First the texts as the page's latest state has them; then one row for each state, with the texts that the change after
# it replaced. No row where there is no such task.
STATES = QueryString(
    f"""
    SELECT NULL::bigint AS "version", NULL AS "at", NULL AS "changed_by",
        CASE WHEN "titled"."is_kept" THEN "titled"."text" ELSE "title" END AS "title",
        CASE WHEN "told"."is_kept" THEN "told"."text" ELSE "description" END AS "description",
        NULL::boolean AS "completed", NULL::boolean AS "is_deleted", true AS "keeps_description", 0 AS "ordinal"
    FROM "now" LEFT JOIN LATERAL ({{}}) AS "titled" ON true LEFT JOIN LATERAL ({{}}) AS "told" ON true
    UNION ALL
    SELECT "version", {STAMP.format('"changed_at"')}, "changed_by", "title", "description", "completed",
        "deleted_at" IS NOT NULL, "keeps_description", "ordinal"
    FROM (SELECT 1 FROM "now") AS "it" CROSS JOIN LATERAL (
        SELECT "version", "updated_at" AS "changed_at", "changed_by", NULL AS "title", NULL AS "description",
            "completed", "deleted_at", false AS "keeps_description", 0 AS "ordinal"
        FROM "now" WHERE "version" < {{}}
        UNION ALL
        (SELECT {KEPT}, "ordinal" FROM "task_versions" WHERE {{}} AND "version" < {{}}
         ORDER BY "version" DESC LIMIT {{}})
    ) AS "states"
    ORDER BY "version" DESC NULLS FIRST LIMIT {{}} + 1
    """,
    kept("title", LATER),
    kept("description", LATER),
    BEFORE,
    ITS_PAST.querystring,
    BEFORE,
    LIMIT,
    LIMIT,
)


def _history(description: QueryString, states: QueryString, more: str) -> Statement:
    return Statement(
        QueryString(
            f"""
            WITH "now" AS (SELECT * FROM "tasks" WHERE {{}})
            SELECT "version", "at", "changed_by", "title", {{}} AS "description", "completed", "is_deleted",
                "keeps_description", "ordinal", {more} AS "more" FROM {{}} AS "states"
            """,
            THAT_ONE.querystring,
            description,
            states,
        )
    )


HISTORY = _history(DESCRIPTION, QueryString("({})", STATES), "false")
# A change is told by two states, and the first row.
LONG_HISTORY = _history(QueryString('"description"'), within_bytes(STATES, least=3), '"more"')
COUNT_OF_FIELDS = 9  # of what `changes` takes
STATE = QueryString(
    """
    SELECT CASE WHEN "titled"."is_kept" THEN "titled"."text" ELSE "title" END AS "title",
        CASE WHEN "told"."is_kept" THEN "told"."text" ELSE "description" END AS "description", "was_completed"
    FROM (SELECT "title", "description" FROM "tasks" WHERE {}) AS "now"
    CROSS JOIN (
        SELECT "completed" AS "was_completed" FROM "tasks" WHERE {} AND "version" = {}
        UNION ALL
        SELECT "completed" FROM "task_versions" WHERE {} AND "version" = {}
    ) AS "it" LEFT JOIN LATERAL ({}) AS "titled" ON true LEFT JOIN LATERAL ({}) AS "told" ON true
    """,
    THAT_ONE.querystring,
    THAT_ONE.querystring,
    THEN,
    ITS_PAST.querystring,
    THEN,
    kept("title", SINCE_THEN),
    kept("description", SINCE_THEN),
)
THAT_STATE = Statement(STATE)
REVERT = update(
    {
        TaskTable.title: QueryString('(SELECT "title" FROM "then")'),
        TaskTable.description: QueryString('(SELECT "description" FROM "then")'),
        TaskTable.completed: QueryString('(SELECT "was_completed" FROM "then")'),
    },
    THAT_ONE & UNLESS_CHANGED & WhereRaw('EXISTS (SELECT 1 FROM "then")'),
    QueryString('"then" AS ({})', STATE),
)


class Window(NamedTuple):
    """Which changes are asked for."""

    limit: int = 50
    before: int = MAX_VERSION + 1


class TaskReversion(msgspec.Struct, frozen=True):
    """The version of the task that is to be brought back."""

    version: Version


InWindow: TypeAlias = NamedDependency[Window]


def window(request: Request[Any, Any, Any]) -> Window:
    """Return which changes the query asks for. Raises Invalid, naming the parameter."""
    given: dict[str, int] = {}
    for name, value in pairs(request.scope["query_string"], RANGES):
        least, most = RANGES[name]
        if not NUMBER.fullmatch(value) or not least <= int(value) <= most:
            raise Invalid(name, f"{name} must be a whole number from {least} to {most}")
        given[name] = int(value)
    return Window(**given)


class HistoryController(Controller):
    """What was done to one of the caller's tasks."""

    path = "/api/tasks"
    tags: ClassVar = ["History"]
    guards: ClassVar = [check_task_id]
    dependencies: ClassVar = DEPENDENCIES | {"wanted": Provide(window, sync_to_thread=False)}
    security: ClassVar = [{"bearer": []}]

    @get(
        "/{task_id:str}/history",
        guards=[check_body],
        operation_id="getTaskHistory",
        reads_query=True,
        summary="List the changes of a task",
        responses=failures(401, 404, 413, 415, 429, 503),
    )
    async def history(
        self, user: CurrentUser, task_id: FromPath[int], wanted: InWindow, is_head: IsHead
    ) -> Reply[HistoryData]:
        """The last one first. A task that is in the trash is not found."""
        if is_head:
            await version_of(user, task_id)
            return Reply(UNREAD, [])
        return Reply(await history_of(user, task_id, wanted), [])

    @post(
        "/{task_id:str}/revert",
        guards=[check_body_headers],
        status_code=200,
        operation_id="revertTask",
        summary="Bring an earlier version of a task back",
        responses=failures(*CHANGE),
    )
    async def revert(
        self,
        user: CurrentUser,
        task_id: FromPath[int],
        condition: IfMatch,
        key: IdempotencyKey,
        data: JSONBody[TaskReversion],
    ) -> Reply[TaskData]:
        """Its title, its description and whether it was completed, as a new version."""
        task = await revert_task(user, task_id, data.version, condition, key)
        return tagged(TaskData(task), task.version, b"", *replayed(key))


async def history_of(owner: Owner, task_id: int, wanted: Window) -> HistoryData:
    """Return changes of a task, the last one first. Raises TaskNotFound."""
    # One state more than changes: the last change on the page led on from it.
    values = {"before": wanted.before, "limit": wanted.limit + 1, "inline": inline(wanted.limit + 2)}
    rows = await database.fetch(HISTORY, owner=owner.id, task_id=task_id, **values)
    if TOO_LONG in [row["description"] for row in rows]:
        rows = await database.fetch_long(LONG_HISTORY, owner=owner.id, task_id=task_id, **values)
    if not rows:
        raise TaskNotFound
    # Of the last one it is not known what it led on from, where the page ends for its length or for its limit.
    told = changes(row[:COUNT_OF_FIELDS] for row in rows)
    shown = told[:-1] if rows[-1]["more"] or len(told) > wanted.limit else told
    return HistoryData(shown, HistoryPage(shown[-1].version if len(shown) < len(told) else None))


async def revert_task(
    owner: Owner, task_id: int, version: int, condition: Condition = ANYWAY, key: Key | None = None
) -> Task:
    """Give the task the content that it had in a version.

    Raises TaskNotFound, Invalid, PreconditionFailed, KeyReused.
    """
    rows = await attempt(REVERT, owner, task_id, condition, key, then=version)
    if not rows:
        current = await get_task(owner, task_id)
        if not await database.fetch(THAT_STATE, owner=owner.id, task_id=task_id, then=version):
            raise Invalid("version", "The task has no such version")
        if condition.versions is None:
            raise TaskNotFound  # it was in the trash, and has come back since
        raise failed(current)
    return Task(*rows[0])
