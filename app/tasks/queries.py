"""Every question we ask of the task table. All of them are asked for an owner.

Each is one statement, so there is no transaction to keep; changes that come at once share one (`app/groups.py`). What
is not the owner's is not found: the statement asks for the owner's rows alone, and were that forgotten, PostgreSQL
would show it no others.

A change raises its owner's revision and keeps the row of it until it is committed: so the changes of one owner become
visible in the order of their numbers, and the number is the task's version.
"""

from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec
from piccolo.columns.combination import WhereRaw
from piccolo.custom_types import Combinable
from piccolo.querystring import QueryString

from app import owners
from app.auth.tokens import User as Owner
from app.database import database
from app.failures import InvalidToken
from app.statements import Param, Statement, as_owner, columns_of
from app.tables import Task as TaskTable
from app.tasks.failures import LimitReached, PreconditionFailed, TaskNotFound
from app.tasks.keys import Key
from app.tasks.once import ChangeStatement, once
from app.tasks.structs import Task, TaskContent, TaskPatch
from app.tasks.versions import ANYWAY, Condition, etag

OWNER, TASK_ID, BY = Param("owner"), Param("task_id"), Param("by")
TITLE, DESCRIPTION, COMPLETED = Param("title"), Param("description"), Param("completed")
DESCRIBES, VERSIONS, WANTED = Param("describes"), Param("versions"), Param("wanted")

MAX_TASKS = Param("max_tasks")

COLUMNS = columns_of(Task)
ID_AND_VERSION = QueryString('"id", "version"')
FOR_THEM = as_owner(OWNER)
THEIR_OWN = FOR_THEM & (TaskTable.user_id == OWNER) & TaskTable.deleted_at.is_null()
THAT_ONE = THEIR_OWN & (TaskTable.id == TASK_ID)
# An array travels as text: asyncpg would have to ask each new connection what arrays are.
UNLESS_CHANGED = WhereRaw(
    '({}::text IS NULL OR ("tasks"."version" = ANY({}::text::bigint[])) = {}::boolean)', VERSIONS, VERSIONS, WANTED
)
REVISION = QueryString('(SELECT "revision" FROM "raised")')
# Later than each change of the owner's before it, by a millisecond at least, and not when the statement began, which
# may have waited: who asks for what is later than what they have must find it. Null where there was nothing to raise.
RAISED_AT = QueryString('(SELECT "at" FROM "raised")')
# Also where there is nothing to change, which a change finds out behind it: to look twice costs more than a number.
STAMP = """greatest(clock_timestamp(), "stamped" + interval '1 millisecond')::timestamptz(3)"""
RAISE = f"""
    "raised" AS (
        UPDATE "revisions" SET "revision" = "revision" + 1, "epoch" = DEFAULT, "stamped" = {STAMP}{{}}
        WHERE {{{{}}}} AND "user_id" = {{{{}}}}{{}}
        RETURNING "revision", "stamped" AS "at"
    )
"""
RAISED = QueryString(RAISE.format("", ""), FOR_THEM.querystring, OWNER)
# The same for a task that is added, as long as there are fewer than MAX_TASKS, or that is 0.
RAISED_FOR_ANOTHER = QueryString(
    RAISE.format(', "stored" = "stored" + 1', ' AND ({}::bigint = 0 OR "stored" < {}::bigint)'),
    FOR_THEM.querystring,
    OWNER,
    MAX_TASKS,
    MAX_TASKS,
)
# Where there was nothing to raise, a trigger finds out whether this is the owner's first task, or one too many.
ADDS_ANOTHER = QueryString(
    """(EXISTS (SELECT 1 FROM "raised") OR (SELECT set_config('tasks.max_tasks', ({}::bigint)::text, true)) <> '')""",
    MAX_TASKS,
)


def update(
    values: dict[Any, Any],
    where: Combinable = THAT_ONE & UNLESS_CHANGED,
    given: QueryString | None = None,
    *,
    returns_task: bool = True,
) -> ChangeStatement:
    """Return a change of the owner's tasks that a condition holds for.

    Its rows are the tasks as they are after it; their ids and versions alone, where the tasks are not asked for.
    `given` is a common table expression that the values and the condition may refer to.
    """
    values |= {TaskTable.version: REVISION, TaskTable.updated_at: RAISED_AT, TaskTable.changed_by: BY}
    query = TaskTable.update(values).where(where)
    changed = QueryString("{} RETURNING {}", query.querystrings[0], COLUMNS if returns_task else ID_AND_VERSION)
    return ChangeStatement(changed, *filter(None, (given, RAISED)), travels=True, returns_task=returns_task)


GET = Statement(TaskTable.select(COLUMNS).where(THAT_ONE))
FIRST_AT = QueryString("coalesce({}, statement_timestamp())", RAISED_AT)  # which the trigger sees to
CREATE = ChangeStatement(
    QueryString(
        """
        INSERT INTO "tasks" ("user_id", "title", "description", "completed", "version", "changed_by",
            "created_at", "updated_at")
        SELECT {}, {}, {}, coalesce({}::boolean, false), {}, {}, {}, {} WHERE {} AND {} RETURNING {}
        """,
        OWNER,
        TITLE,
        DESCRIPTION,
        COMPLETED,
        REVISION,
        BY,
        FIRST_AT,
        FIRST_AT,
        FOR_THEM.querystring,
        ADDS_ANOTHER,
        COLUMNS,
    ),
    RAISED_FOR_ANOTHER,
    travels=True,
    returns_task=True,
)
PATCH = update(
    {
        TaskTable.title: QueryString('coalesce({}::text, "title")', TITLE),
        TaskTable.description: QueryString(
            'CASE WHEN {}::boolean THEN {} ELSE "description" END', DESCRIBES, DESCRIPTION
        ),
        TaskTable.completed: QueryString('coalesce({}::boolean, "completed")', COMPLETED),
    }
)
COMPLETE = update({TaskTable.completed: QueryString('coalesce({}::boolean, NOT "completed")', COMPLETED)})
UNCHANGED = ChangeStatement(
    TaskTable.select(COLUMNS).where(THAT_ONE & UNLESS_CHANGED).querystrings[0], returns_task=True
)
DELETE = update({TaskTable.deleted_at: QueryString("clock_timestamp()")}, returns_task=False)
# It asks for the new revision, so that PostgreSQL raises it before it looks for the row.
DELETE_FOR_GOOD = ChangeStatement(
    QueryString(
        'DELETE FROM "tasks" WHERE {} AND {} IS NOT NULL RETURNING {}',
        (THAT_ONE & UNLESS_CHANGED).querystring,
        REVISION,
        ID_AND_VERSION,
    ),
    RAISED,
)


async def get_task(owner: Owner, task_id: int) -> Task:
    """Raises TaskNotFound."""
    rows = await database.fetch(GET, owner=owner.id, task_id=task_id)
    if not rows:
        raise TaskNotFound
    return Task(*rows[0])


async def create_task(owner: Owner, content: TaskContent, key: Key | None = None, max_tasks: int = 0) -> Task:
    """Store a new task and return it. An owner whom the database has not seen yet is added first.

    Raises InvalidToken where the owner is unknown and may not be added; LimitReached where `max_tasks` are stored, and
    it is not 0; KeyReused, and TaskNotFound for one that was stored with this key and is gone for good.
    """
    values = {"title": content.title, "description": content.description, "completed": _or_none(content.completed)}
    values |= {"by": owner.by, "max_tasks": max_tasks}
    made = await (owners.store(CREATE, owner, **values) if key is None else once(CREATE, key, owner, **values))
    if not made:
        raise LimitReached(max_tasks)
    return Task(*made[0])


async def replace_task(
    owner: Owner, task_id: int, content: TaskContent, condition: Condition = ANYWAY, key: Key | None = None
) -> Task:
    """Set title and description, and what else is named. Raises TaskNotFound, PreconditionFailed, KeyReused."""
    values = {"title": content.title, "description": content.description, "completed": _or_none(content.completed)}
    return Task(*await change(PATCH, owner, task_id, condition, key, describes=True, **values))


async def patch_task(
    owner: Owner, task_id: int, patch: TaskPatch, condition: Condition = ANYWAY, key: Key | None = None
) -> Task:
    """Set what the patch names, and leave the rest; one that names nothing changes nothing.

    Raises TaskNotFound, PreconditionFailed, KeyReused.
    """
    if patch == TaskPatch():
        return Task(*await change(UNCHANGED, owner, task_id, condition, key))
    values = {
        "title": _or_none(patch.title),
        "describes": patch.description is not msgspec.UNSET,
        "description": _or_none(patch.description),
        "completed": _or_none(patch.completed),
    }
    return Task(*await change(PATCH, owner, task_id, condition, key, **values))


async def complete_task(
    owner: Owner,
    task_id: int,
    completed: bool | None = None,
    condition: Condition = ANYWAY,
    key: Key | None = None,
) -> Task:
    """Set `completed`, or turn it round, in one statement: two flips at once are two flips.

    Raises TaskNotFound, PreconditionFailed, KeyReused.
    """
    return Task(*await change(COMPLETE, owner, task_id, condition, key, completed=completed))


async def delete_task(
    owner: Owner, task_id: int, condition: Condition = ANYWAY, key: Key | None = None, *, for_good: bool = False
) -> None:
    """Move it to the trash, or let nothing be left of it. Raises TaskNotFound, PreconditionFailed, KeyReused."""
    await change(DELETE_FOR_GOOD if for_good else DELETE, owner, task_id, condition, key)


async def change(
    change: ChangeStatement, owner: Owner, task_id: int, condition: Condition, key: Key | None = None, **values: Any
) -> Sequence[Any]:
    """Change one of the owner's tasks, and return its row. Raises TaskNotFound, PreconditionFailed, KeyReused."""
    rows = await attempt(change, owner, task_id, condition, key, **values)
    if not rows:
        if condition.versions is None:
            raise TaskNotFound
        raise failed(await get_task(owner, task_id))
    return rows[0]


async def attempt(
    change: ChangeStatement, owner: Owner, task_id: int, condition: Condition, key: Key | None = None, **values: Any
) -> Sequence[Any]:
    """Do what changes one task. Returns no row where it is not there, or not what the condition wants.

    Raises InvalidToken where the owner has deleted their account, and what `once` does.
    """
    values |= {"task_id": task_id, "by": owner.by, "versions": condition.as_array(), "wanted": condition.wanted}
    if key is not None:
        return await once(change, key, owner, **values)
    try:
        return await database.change(change, owner=owner.id, **values)
    except asyncpg.ForeignKeyViolationError as error:
        raise (InvalidToken() if owners.is_leaving(error) else error) from None


def failed(current: Task) -> PreconditionFailed:
    """Return what a caller is told who takes the task for another version of it."""
    return PreconditionFailed(current, etag(current.version))


def _or_none(value: Any) -> Any:
    return None if value is msgspec.UNSET else value
