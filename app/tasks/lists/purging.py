"""The lists in the trash are deleted for good, when their owner empties it: no task is in one of them any more by then.

What has been in the trash for `TRASH_DAYS` the cleanup removes (`app/tasks/removal.py`).
"""

from app.auth.jwt import User as Owner
from app.db.statements import SET_RLS_OWNER
from app.tasks import costs
from app.tasks.change import Change
from app.tasks.lists import queries
from app.tasks.lists.changes import ListTransaction, run_on_lists
from app.tasks.lists.moving import move, move_tasks
from app.tasks.lists.queries import TRASHED_LISTS

UNLINK_TASKS_OF_TRASHED = move_tasks(
    '"list_id" = NULL',
    f'{SET_RLS_OWNER} AND "tasks"."user_id" = :owner AND "tasks"."list_id" IN ('
    f'SELECT "task_lists"."id" FROM {TRASHED_LISTS})',
)


async def purge_lists(owner: Owner) -> None:
    """Delete the owner's lists in the trash for good."""

    async def work(it: ListTransaction) -> None:
        await move(it, UNLINK_TASKS_OF_TRASHED, costs.free)
        await it.fetch(queries.DELETE_TRASHED_LISTS)

    await run_on_lists(Change(owner), work)
