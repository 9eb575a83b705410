"""Tasks by the UUIDs that their clients have chosen, those in the trash too: an owner's are unique."""

import asyncpg

from app.auth.jwt import User as Owner
from app.db.engine import database
from app.db.statements import SET_RLS_OWNER, Statement, columns_of
from app.tasks.failures import TaskNotFound
from app.tasks.structs import Task, TrashedTask
from app.tasks.uids import UidKind, id_in

THAT_UID = f'{SET_RLS_OWNER} AND "tasks"."user_id" = :owner AND "tasks"."uid" = :uid::text::uuid'
ID_OF = Statement(f'SELECT "id" FROM "tasks" WHERE {THAT_UID}')
WITH_UID = Statement(f'SELECT {columns_of(TrashedTask)} FROM "tasks" WHERE {THAT_UID}')


def check_that_it_was_the_uid(error: asyncpg.UniqueViolationError) -> None:
    """Raise the error, unless there is a task with the uid already."""
    if getattr(error, "constraint_name", "") != "tasks_by_uid":
        raise error


async def find_by_uid(owner: Owner, uid: str) -> Task | None:
    """Return the owner's task with this uid, if there is one; one in the trash as such."""
    rows = await database.fetch(WITH_UID, owner=owner.id, uid=uid)
    found = [Task(*row[:-1]) if row["deleted_at"] is None else TrashedTask(*row) for row in rows]
    return found[0] if found else None


async def id_of(owner: Owner, uid: str) -> int:
    """Return the id of the owner's task with this uid, whether it is in the trash or not. Raises TaskNotFound."""
    if (derived := id_in(UidKind.TASK, uid)) is not None:
        return derived
    rows = await database.fetch(ID_OF, owner=owner.id, uid=uid)
    if not rows:
        raise TaskNotFound
    return rows[0][0]
