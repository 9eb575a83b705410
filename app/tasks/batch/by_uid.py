"""UUIDs in batches: the ids that they stand for, and those that tasks have already."""

from collections.abc import Sequence

from msgspec import structs

from app.auth.jwt import User as Owner
from app.db.transaction import Transaction
from app.tasks.batch import queries
from app.tasks.batch.operations import AnyOperation, CreateOperation, about_known
from app.tasks.by_uid import find_by_uid
from app.tasks.failures import Conflict, InOperation
from app.tasks.uids import chosen_uid


async def with_ids(
    transaction: Transaction, owner: Owner, operations: Sequence[AnyOperation]
) -> Sequence[AnyOperation]:
    """Return the operations with ids in place of uids; 0, which no task has, for those that there are not.

    Raises InOperation for a second one about one task.
    """
    uids = [each.id for each in operations if not isinstance(each, CreateOperation) and isinstance(each.id, str)]
    if not uids:
        return operations
    rows = await transaction.fetch(queries.IDS_OF, owner=owner.id, uids=queries.array(uids))
    ids = {row["uid"]: row["id"] for row in rows}
    taken = {each.id for each in operations if not isinstance(each, CreateOperation)}
    found: list[AnyOperation] = []
    for index, each in enumerate(operations):
        if isinstance(each, CreateOperation) or isinstance(each.id, int):
            found.append(each)
            continue
        number = ids.get(each.id, 0)
        if number in taken:
            raise about_known(index)
        found.append(structs.replace(each, id=number))
    return found


async def check_uids(owner: Owner, operations: Sequence[AnyOperation]) -> None:
    """Raises InOperation for the first operation that would create a task with the uid of another."""
    for index, each in enumerate(operations):
        if isinstance(each, CreateOperation) and (uid := chosen_uid(each.data.uid)):
            there = await find_by_uid(owner, uid)
            if there is not None:
                raise InOperation(index, Conflict(there))
