"""The statements about one task. Each is for an owner, and a transaction by itself or in a group commit.

What is not the owner's is not found: the statement asks for the owner's rows alone, and were that forgotten, PostgreSQL
would show it no others.

A change raises its owner's revision and keeps the row of it until it is committed: so the changes of one owner become
visible in the order of their numbers, and the number is the task's version.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import asyncpg
from msgspec import UNSET

from app.auth.jwt import User as Owner
from app.db.engine import database
from app.db.statements import SET_RLS_OWNER, Statement, columns_of
from app.tasks.bodies import FITS, GIVEN, NEW_VALUES, changes_of, merges
from app.tasks.bounded import SHORT_TEXTS
from app.tasks.change import Change
from app.tasks.failures import PreconditionFailed, TaskNotFound
from app.tasks.fields import FIELDS
from app.tasks.idempotency import ChangeStatement, execute
from app.tasks.in_list import execute_whole, put_list_id
from app.tasks.revisions import NEXT_REVISION, NEXT_REVISION_ROW, RAISED_AT
from app.tasks.structs import (
    Task,
    TaskContent,
    TaskPatch,
    check_fits,
    is_too_long,
    too_long,
)
from app.web.envelopes import encode
from app.web.failures import Unavailable

COLUMNS, SHORT_COLUMNS = columns_of(Task), columns_of(Task, **SHORT_TEXTS)
ID_AND_VERSION = '"tasks"."id", "tasks"."version"'
OWNED_BY_CALLER = f'{SET_RLS_OWNER} AND "tasks"."user_id" = :owner AND "tasks"."deleted_at" IS NULL'
THAT_TASK = f'{OWNED_BY_CALLER} AND "tasks"."id" = :task_id'
# An array is sent as text: asyncpg would have to ask each new connection what arrays are.
UNLESS_CHANGED = '(:versions::text IS NULL OR ("tasks"."version" = ANY(:versions::text::bigint[])) = :wanted::boolean)'


def update(
    values: dict[str, str],
    where: str = f"{THAT_TASK} AND {UNLESS_CHANGED}",
    given: str | None = None,
    *,
    source: str = "",
    returns_task: bool = True,
) -> ChangeStatement:
    """Return a change of the owner's tasks that a condition holds for, by the SQL of each column.

    Its rows are the tasks as they are after it; their ids and versions alone, where the tasks are not asked for.
    `given` is a common table expression, and `source` a row, that the values and the condition may refer to.
    """
    stamps = {"version": NEXT_REVISION, "updated_at": RAISED_AT, "changed_by": ":by"}
    assignments = ", ".join(f'"{column}" = {value}' for column, value in (values | stamps).items())
    returned = COLUMNS if returns_task else ID_AND_VERSION
    changed = f'UPDATE "tasks" SET {assignments} {source} WHERE {where} RETURNING {returned}'
    return ChangeStatement(changed, *filter(None, (given, NEXT_REVISION_ROW)), grouped=True, returns_task=returns_task)


GET = Statement(f'SELECT {COLUMNS} FROM "tasks" WHERE {THAT_TASK}')
EXTRA = Statement(f'SELECT "extra" FROM "tasks" WHERE {THAT_TASK}')
VERSION = Statement(f'SELECT "version" FROM "tasks" WHERE {THAT_TASK}')
# A change by a body that has only what every client sends, and by any other.
COMMON_FIELDS = [field for field in FIELDS if field.is_common]
FIELD_NAMES = ", ".join(['"uid"', *(f'"{field.name}"' for field in FIELDS)])
PATCH = update(
    {field.name: field.assigned(f":{field.name}::{field.sql}", f":{field.is_set}::boolean") for field in COMMON_FIELDS}
)
PATCH_WHOLE = update(
    NEW_VALUES,
    f"{THAT_TASK} AND {UNLESS_CHANGED} AND {FITS}",
    source=f'FROM json_to_record(:content::text::json) AS "change" ({GIVEN})',
)
COMPLETE = update({"completed": 'coalesce(:completed::boolean, NOT "completed")'})
UNCHANGED = ChangeStatement(f'SELECT {COLUMNS} FROM "tasks" WHERE {THAT_TASK} AND {UNLESS_CHANGED}', returns_task=True)
DELETE = update({"deleted_at": "clock_timestamp()"}, returns_task=False)
# It asks for the new revision, so that PostgreSQL raises it before it looks for the row.
DELETE_FOR_GOOD = ChangeStatement(
    f"""
    DELETE FROM "tasks" WHERE {THAT_TASK} AND {UNLESS_CHANGED} AND {NEXT_REVISION} IS NOT NULL
    RETURNING "tasks"."id", {NEXT_REVISION} AS "version"
    """,
    NEXT_REVISION_ROW,
)


PATCH_ATTEMPTS = 20  # of a change that hangs on what the task is
NOTHING = TaskPatch()
PARAMETERS = [(field.name, field.is_set) for field in COMMON_FIELDS]


def values_of(content: TaskContent | TaskPatch) -> dict[str, Any]:
    """Return what a body with common fields alone binds: null for what is to stay as it is."""
    values: dict[str, Any] = {}
    for name, is_set in PARAMETERS:
        value = getattr(content, name)
        values[is_set] = value is not UNSET
        values[name] = None if value is UNSET else value
    return values


async def find(statement: Statement, owner: Owner, task_id: int) -> asyncpg.Record:
    """Return what a statement reads of one of the owner's tasks. Raises TaskNotFound."""
    rows = await database.fetch(statement, owner=owner.id, task_id=task_id)
    if not rows:
        raise TaskNotFound
    return rows[0]


async def get_task(owner: Owner, task_id: int) -> Task:
    """Raises TaskNotFound."""
    return Task(*await find(GET, owner, task_id))


async def get_version(owner: Owner, task_id: int) -> int:
    """Return the version of a task, of which nothing else is read. Raises TaskNotFound."""
    return (await find(VERSION, owner, task_id))[0]


async def update_task(change: Change, task_id: int, content: TaskContent | TaskPatch) -> Task:
    """Set what a body names, and leave the rest; a patch that names nothing changes nothing.

    Raises Invalid for what the task cannot have; TaskNotFound, PreconditionFailed, KeyReused; and Unavailable where it
    is changed each time between the statement and the look at why it was not.
    """
    if content == NOTHING:
        return Task(*await execute_on(UNCHANGED, change, task_id))
    if content.is_common and not is_too_long(content.description):
        return Task(*await execute_on(PATCH, change, task_id, **values_of(content)))
    await put_list_id(change.owner, content)
    for _ in range(PATCH_ATTEMPTS):
        extra = await _extra_of(change.owner, task_id) if merges(content) else None
        text = encode(changes_of(content, extra)).decode()
        rows = await execute_whole(PATCH_WHOLE, change, task_id=task_id, content=text)
        if rows:
            return Task(*rows[0])
        await _check_refused(change, task_id, content)
    raise Unavailable


async def _extra_of(owner: Owner, task_id: int) -> str | None:
    rows = await database.fetch(EXTRA, owner=owner.id, task_id=task_id)
    return rows[0]["extra"] if rows else None


async def _check_refused(change: Change, task_id: int, content: TaskContent | TaskPatch) -> None:
    """Raise why a body was not taken; nothing where the task has changed since, so that it may be by now."""
    rows = await database.fetch(GET, owner=change.owner.id, task_id=task_id)
    if is_too_long(content.description) and (not rows or rows[0]["description"] != content.description):
        raise too_long()
    if not rows:
        raise TaskNotFound
    task = Task(*rows[0])
    if not change.condition.allows(task.version):
        raise PreconditionFailed(task)
    check_fits(content, task)


async def complete_task(change: Change, task_id: int, completed: bool | None = None) -> Task:
    """Set `completed`, or toggle it, in one statement: two concurrent toggles are two.

    Raises TaskNotFound, PreconditionFailed, KeyReused.
    """
    return Task(*await execute_on(COMPLETE, change, task_id, completed=completed))


async def delete_task(change: Change, task_id: int, *, for_good: bool = False) -> int:
    """Move it to the trash, or delete it for good, and return the owner's revision.

    Raises TaskNotFound, PreconditionFailed, KeyReused.
    """
    return (await execute_on(DELETE_FOR_GOOD if for_good else DELETE, change, task_id))[1]


async def execute_on(
    statement: ChangeStatement,
    change: Change,
    task_id: int,
    current: Callable[[Owner, int], Awaitable[Task]] = get_task,
    **values: object,
) -> Sequence[Any]:
    """Change one of the owner's tasks, which `current` finds, and return its row.

    Raises TaskNotFound, PreconditionFailed, and what `execute` does.
    """
    rows = await execute(statement, change, task_id=task_id, **values)
    if not rows:
        if change.condition.versions is None:
            raise TaskNotFound
        raise PreconditionFailed(await current(change.owner, task_id))
    return rows[0]
