"""Tasks in lists: the id of a list that a client names, and bodies that put a task where none can be put.

Whether a list takes tasks, PostgreSQL sees to by itself (`tasks_enter_list`): by then the change holds its owner's
revision, so nobody moves or archives the list meanwhile. No other change looks at lists.
"""

from collections.abc import Sequence
from typing import Any

import asyncpg
from msgspec.structs import force_setattr

from app.auth.jwt import User as Owner
from app.db.engine import database
from app.db.statements import SET_RLS_OWNER, Statement
from app.tasks.change import Change
from app.tasks.checks import no_such_list
from app.tasks.idempotency import ChangeStatement, execute
from app.tasks.uids import UidKind, id_in

LIST_ID_OF = Statement(
    f'SELECT "id" FROM "task_lists" WHERE {SET_RLS_OWNER} AND "user_id" = :owner AND "uid" = :uid::text::uuid'
)


async def list_id_of(owner: Owner, uid: str) -> int | None:
    """Return the id of the owner's list with this uid, in the trash or not; None where there is none."""
    if (derived := id_in(UidKind.LIST, uid)) is not None:
        return derived
    rows = await database.fetch(LIST_ID_OF, owner=owner.id, uid=uid)
    return rows[0][0] if rows else None


async def execute_whole(statement: ChangeStatement, change: Change, **values: object) -> Sequence[Any]:
    """Make a change by a body, as `execute` does. Raises Invalid where it names a list that takes no tasks."""
    try:
        return await execute(statement, change, **values)
    except asyncpg.CheckViolationError as error:
        check_that_it_was_the_list(error)
        raise no_such_list() from None


async def put_list_id(owner: Owner, content: Any) -> None:
    """Put the id of the list that a body names in place of its uid. Raises Invalid."""
    if isinstance(uid := content.list_id, str):
        if (list_id := await list_id_of(owner, uid)) is None:
            raise no_such_list()
        force_setattr(content, "list_id", list_id)


def check_that_it_was_the_list(error: asyncpg.CheckViolationError) -> None:
    """Raise the error, unless a list takes no tasks."""
    if getattr(error, "constraint_name", "") != "list_takes_tasks":
        raise error
