"""A list is deleted and restored with its tasks, in one transaction, in which each task gets a version of its own.

A list that goes to the trash has a version below those of all tasks that go with it, and above those of all that were
there before: so the versions tell which tasks come back with it.
"""

from functools import partial

from app.db.statements import SET_RLS_OWNER, Statement
from app.tasks.batch import queries as batch
from app.tasks.change import Change, Condition
from app.tasks.costs import TASKS_MOVED, Charge
from app.tasks.lists import queries
from app.tasks.lists.changes import ListOutcome, ListTransaction, restored, run_on_lists
from app.tasks.lists.structs import TodoList

IN_THAT_LIST = f'{SET_RLS_OWNER} AND "tasks"."user_id" = :owner AND "tasks"."list_id" = :list_id'


def move_tasks(assignment: str, which: str) -> Statement:
    """Return the statement that changes the tasks of a list that a condition holds for, and counts them."""
    return Statement(
        f"""
        WITH "those" AS MATERIALIZED (
            SELECT "id" AS "task_id", row_number() OVER (ORDER BY "id") AS "number" FROM "tasks" WHERE {which}
        ), "moved" AS (
            UPDATE "tasks" SET {assignment}, "version" = :version::bigint + "number",
                "updated_at" = :stamped::timestamptz, "changed_by" = :by
            FROM "those"
            WHERE {SET_RLS_OWNER} AND "tasks"."user_id" = :owner AND "tasks"."id" = "task_id" RETURNING 1
        )
        SELECT count(*) FROM "moved"
        """
    )


TASKS_TO_TRASH = move_tasks('"deleted_at" = :stamped::timestamptz', f'{IN_THAT_LIST} AND "tasks"."deleted_at" IS NULL')
TASKS_TO_INBOX = move_tasks('"list_id" = NULL', f'{IN_THAT_LIST} AND "tasks"."deleted_at" IS NULL')
TASKS_OUT_OF_TRASH = move_tasks(
    '"deleted_at" = NULL',
    f'{IN_THAT_LIST} AND "tasks"."deleted_at" IS NOT NULL AND "tasks"."version" > :since::bigint',
)
UNLINK_TASKS = move_tasks('"list_id" = NULL', IN_THAT_LIST)
DELETE_TASKS = Statement(
    f"""
    WITH "gone" AS (DELETE FROM "tasks" WHERE {IN_THAT_LIST} AND "tasks"."deleted_at" IS NULL RETURNING 1)
    SELECT count(*) FROM "gone"
    """
)


async def delete_list(change: Change, list_id: int, charge: Charge, *, to_inbox: bool, for_good: bool) -> int:
    """Move a list to the trash, or delete it for good; and its tasks with it, or to the inbox. Returns the revision.

    Charges for the tasks. Raises ListNotFound, ListIsAnother, KeyReused.
    """

    work = partial(
        deleted, condition=change.condition, list_id=list_id, charge=charge, to_inbox=to_inbox, for_good=for_good
    )
    return (await run_on_lists(change, work)).revision


async def deleted(
    it: ListTransaction, condition: Condition, list_id: int, charge: Charge, *, to_inbox: bool, for_good: bool
) -> None:
    """Do what `delete_list` says. Raises ListNotFound, ListIsAnother."""
    await it.find(condition, list_id)
    if to_inbox:
        await move(it, TASKS_TO_INBOX, charge, list_id=list_id)
    elif not for_good:
        await move(it, TASKS_TO_TRASH, charge, list_id=list_id)
    else:
        charge((await it.fetch(DELETE_TASKS, list_id=list_id))[0][0] // TASKS_MOVED)
    if not for_good:
        await it.fetch(queries.TRASH_LIST, list_id=list_id)
        return
    await move(it, UNLINK_TASKS, charge, list_id=list_id)  # those in the trash, of when something was kept
    await it.fetch(queries.DELETE_LIST, list_id=list_id)


async def restore_list(change: Change, list_id: int, charge: Charge) -> ListOutcome:
    """Restore a list, and the tasks that went to the trash with it.

    Charges for the tasks. Raises ListNotFound where it is not in the trash, ListIsAnother, KeyReused.
    """

    async def work(it: ListTransaction) -> TodoList:
        there = await it.find(change.condition, list_id, in_trash=True)
        back = await restored(it, list_id)  # first: a task that comes back without its list is in none
        await move(it, TASKS_OUT_OF_TRASH, charge, list_id=list_id, since=there.version)
        return back

    return await run_on_lists(change, work)


async def move(it: ListTransaction, statement: Statement, charge: Charge, **values: object) -> None:
    """Change tasks, and raise the revision to the version of the last of them."""
    count = (await it.fetch(statement, **values))[0][0]
    if count:
        it.moved += count
        await it.fetch(batch.RAISE_REVISION, count=count, added=0, max_tasks=0)
        charge(count // TASKS_MOVED)
