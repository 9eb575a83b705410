"""Changes of tasks whose description is longer than a new one may be: there are some from before that was bounded.

A client that sends back what it was given must not be refused for it. So such a description is taken where it is the
one that the task has; it is not written again.
"""

from typing import Any

import msgspec
from piccolo.querystring import QueryString

from app.auth.tokens import User as Owner
from app.database import database
from app.tables import Task as TaskTable
from app.tasks.keys import Key
from app.tasks.queries import COMPLETED, DESCRIPTION, GET, THAT_ONE, TITLE, UNLESS_CHANGED, attempt, failed, update
from app.tasks.structs import Task, TaskContent, TaskPatch, too_long
from app.tasks.versions import ANYWAY, Condition

PATCH_BESIDE = update(
    {
        TaskTable.title: QueryString('coalesce({}::text, "title")', TITLE),
        TaskTable.completed: QueryString('coalesce({}::boolean, "completed")', COMPLETED),
    },
    THAT_ONE & UNLESS_CHANGED & (TaskTable.description == DESCRIPTION),
)


async def patch_beside(
    owner: Owner, task_id: int, content: TaskContent | TaskPatch, condition: Condition = ANYWAY, key: Key | None = None
) -> Task:
    """Change what there is beside the description of a task.

    Raises Invalid where the description is another, or there is no such task; PreconditionFailed, KeyReused.
    """
    values = {"title": _or_none(content.title), "completed": _or_none(getattr(content, "completed", msgspec.UNSET))}
    rows = await attempt(PATCH_BESIDE, owner, task_id, condition, key, description=content.description, **values)
    if not rows:
        there = await database.fetch(GET, owner=owner.id, task_id=task_id)
        if condition.versions is None or not there or there[0]["description"] != content.description:
            raise too_long()
        raise failed(Task(*there[0]))
    return Task(*rows[0])


def _or_none(value: Any) -> Any:
    return None if value is msgspec.UNSET else value
