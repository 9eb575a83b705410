"""The lists that a batch puts tasks into. The owner's revision is raised by then, so that they stay as they are."""

from collections.abc import Mapping

from msgspec.structs import force_setattr

from app.auth.jwt import User as Owner
from app.db.statements import SET_RLS_OWNER, Statement
from app.db.transaction import Transaction
from app.tasks.batch.operations import CreateOperation, ReplaceOperation, TaskOperation, UpdateOperation
from app.tasks.batch.queries import array
from app.tasks.batch.reading import in_data
from app.tasks.checks import no_such_list
from app.web.envelopes import encode

# Those that are there, by what they are called, and whether each takes tasks.
NAMED_LISTS = Statement(
    f"""
    SELECT "named"."value" AS "name", "task_lists"."id", "task_lists"."archived_at" IS NULL AS "takes_tasks"
    FROM "task_lists" JOIN json_array_elements_text(:names::text::json) AS "named"
        ON "named"."value" IN ("task_lists"."id"::text, "task_lists"."uid"::text)
    WHERE {SET_RLS_OWNER} AND "task_lists"."user_id" = :owner AND "task_lists"."deleted_at" IS NULL
    """
)
ARE_IN_LISTS = Statement(
    f"""
    SELECT "id", "list_id" FROM "tasks"
    WHERE {SET_RLS_OWNER} AND "tasks"."user_id" = :owner AND "tasks"."id" = ANY(:ids::text::bigint[])
    """
)


async def check_lists(transaction: Transaction, owner: Owner, operations: Mapping[int, TaskOperation]) -> None:
    """Put ids in place of the uids of lists. Raises InOperation for the first operation whose list takes no tasks."""
    named = [
        (index, each)
        for index, each in operations.items()
        if isinstance(each, CreateOperation | UpdateOperation | ReplaceOperation)
        and isinstance(each.data.list_id, int | str)
    ]
    if not named:
        return
    names = encode([f"{each.data.list_id}" for _, each in named]).decode()
    rows = await transaction.fetch(NAMED_LISTS, owner=owner.id, names=names)
    found = {row["name"]: row for row in rows}
    known = [each.id for _, each in named if not isinstance(each, CreateOperation) and isinstance(each.id, int)]
    held = await transaction.fetch(ARE_IN_LISTS, owner=owner.id, ids=array(known)) if known else []
    lists = {row["id"]: row["list_id"] for row in held}
    for index, each in named:
        row = found.get(f"{each.data.list_id}")
        is_in_it = row is not None and not isinstance(each, CreateOperation) and lists.get(each.id) == row["id"]
        if row is None or not (row["takes_tasks"] or is_in_it):
            raise in_data(index, no_such_list())
        force_setattr(each.data, "list_id", row["id"])
