"""Every question we ask of the task table. All of them are asked for an owner.

Each is one statement, so one round trip and no transaction to keep. What is not the owner's is not found: the
statement asks for the owner's rows alone, and were that forgotten, PostgreSQL would show it no others.
"""

from typing import Any

import asyncpg
from piccolo.querystring import QueryString

from app import owners
from app.auth.tokens import User as Owner
from app.database import database
from app.failures import TaskNotFound
from app.statements import Param, Statement, as_owner, columns_of
from app.tables import Task as TaskTable
from app.tasks.structs import Task, TaskContent

OWNER, TASK_ID, TITLE, DESCRIPTION = Param("owner"), Param("task_id"), Param("title"), Param("description")

COLUMNS = columns_of(Task)
FOR_THEM = as_owner(OWNER)
THEIR_OWN = FOR_THEM & (TaskTable.user_id == OWNER)
THAT_ONE = THEIR_OWN & (TaskTable.id == TASK_ID)


def _returning(query: Any) -> QueryString:
    return QueryString("{} RETURNING {}", query.querystrings[0], COLUMNS)


LIST = Statement(
    TaskTable.select(COLUMNS).where(THEIR_OWN).order_by(TaskTable.created_at, TaskTable.id, ascending=False)
)
GET = Statement(TaskTable.select(COLUMNS).where(THAT_ONE))
CREATE = Statement(
    QueryString(
        'INSERT INTO "tasks" ("user_id", "title", "description") SELECT {}, {}, {} WHERE {} RETURNING {}',
        OWNER,
        TITLE,
        DESCRIPTION,
        FOR_THEM.querystring,
        COLUMNS,
    )
)
REPLACE = Statement(
    _returning(TaskTable.update({TaskTable.title: TITLE, TaskTable.description: DESCRIPTION}).where(THAT_ONE))
)
FLIP = Statement(_returning(TaskTable.update({TaskTable.completed: QueryString('NOT "completed"')}).where(THAT_ONE)))
DELETE = Statement(TaskTable.delete().where(THAT_ONE).returning(TaskTable.id))


async def list_tasks(owner: Owner) -> list[Task]:
    """Return all tasks of the owner, newest first; of two made at the same moment, the higher id first."""
    return [Task(*row) for row in await database.fetch(LIST, owner=owner.id)]


async def get_task(owner: Owner, task_id: int) -> Task:
    """Raises TaskNotFound."""
    return _the_one(await database.fetch(GET, owner=owner.id, task_id=task_id))


async def create_task(owner: Owner, content: TaskContent) -> Task:
    """Store a new task and return it. An owner whom the database has not seen yet is added first.

    Raises InvalidToken where the owner is unknown and may not be added.
    """
    return _the_one(await owners.store(CREATE, owner, title=content.title, description=content.description))


async def replace_task(owner: Owner, task_id: int, content: TaskContent) -> Task:
    """Set title and description, and leave `completed`. Raises TaskNotFound."""
    values = {"title": content.title, "description": content.description}
    return _the_one(await database.fetch(REPLACE, owner=owner.id, task_id=task_id, **values))


async def flip_task(owner: Owner, task_id: int) -> Task:
    """Turn `completed` round, in one statement: two flips at once are two flips. Raises TaskNotFound."""
    return _the_one(await database.fetch(FLIP, owner=owner.id, task_id=task_id))


async def delete_task(owner: Owner, task_id: int) -> None:
    """Raises TaskNotFound."""
    if not await database.fetch(DELETE, owner=owner.id, task_id=task_id):
        raise TaskNotFound


def _the_one(rows: list[asyncpg.Record]) -> Task:
    if not rows:
        raise TaskNotFound
    return Task(*rows[0])
