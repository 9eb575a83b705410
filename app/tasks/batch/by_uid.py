"""UUIDs in batches: the ids that they stand for, those that tasks have already, and what becomes of an upsert."""

from collections.abc import Sequence

from msgspec import structs

from app.auth.jwt import User as Owner
from app.db.transaction import Transaction
from app.tasks.batch import queries
from app.tasks.batch.operations import AnyOperation, ChangeOperation, CreateOperation, UpdateOperation, UpsertOperation
from app.tasks.batch.reading import about_known, in_data
from app.tasks.batch.waves import created_uid
from app.tasks.bodies import given
from app.tasks.by_uid import find_by_uid
from app.tasks.extra import NO_EXTRA, patched
from app.tasks.failures import Conflict, InOperation
from app.tasks.structs import TaskContent, TrashedTask, check_fits
from app.web.failures import Invalid


async def with_ids(
    transaction: Transaction, owner: Owner, operations: Sequence[AnyOperation]
) -> Sequence[AnyOperation]:
    """Return the operations with ids in place of uids; 0, which no task has, for those that there are not.

    The uid of a task that there is not yet, and that an operation before creates, stays for now.
    In place of an upsert is the update or the creation that it comes to. Raises InOperation for a second operation
    about one task, and for a creation that lacks something.
    """
    uids = [each.id for each in operations if isinstance(each, ChangeOperation) and isinstance(each.id, str)]
    if not uids and not any(isinstance(each, UpsertOperation) for each in operations):
        return operations
    rows = await transaction.fetch(queries.IDS_OF, owner=owner.id, uids=queries.array(uids))
    ids = {row["uid"]: row["id"] for row in rows}
    trashed = {row["uid"] for row in rows if row["is_deleted"]}
    taken = {each.id for each in operations if isinstance(each, ChangeOperation)}
    found: list[AnyOperation] = []
    new: set[str | None] = set()
    for index, each in enumerate(operations):
        is_new = isinstance(each, ChangeOperation) and each.id in new
        new.add(created_uid(each))
        if not isinstance(each, ChangeOperation):
            found.append(each)
            continue
        number = each.id
        if isinstance(number, str):
            number = ids.get(number, number if is_new else 0)
            if isinstance(number, int) and number and number in taken:
                raise about_known(index)
        if not isinstance(each, UpsertOperation):
            found.append(structs.replace(each, id=number))
        elif number == each.id or (number and each.id not in trashed):
            found.append(UpdateOperation(number, each.data, each.version))
        else:
            found.append(_creation(index, each))  # which finds that the uid is taken, where its task is in the trash
    return found


def _creation(index: int, operation: UpsertOperation) -> CreateOperation:
    """Return the creation of a task that is not there. Raises InOperation."""
    fields = given(operation.data)
    fields |= {"labels": [label.name for label in fields["labels"]]} if "labels" in fields else {}  # as they were sent
    try:
        if isinstance(fields.get("extra"), dict):
            fields["extra"] = patched(bytes(NO_EXTRA), fields["extra"])
        if "title" not in fields:
            raise Invalid("title", "Title is required")
        content = TaskContent(**fields, uid=str(operation.id))
        check_fits(content, None)
    except Invalid as error:
        raise in_data(index, error) from error
    return CreateOperation(content)


async def check_uids(owner: Owner, operations: Sequence[AnyOperation]) -> None:
    """Raises InOperation for the first operation that would create a task with the uid of another.

    An upsert that has become a creation changes that task the next time, unless it is in the trash.
    """
    for index, each in enumerate(operations):
        if uid := created_uid(each):
            there = await find_by_uid(owner, uid)
            if isinstance(there, TrashedTask) or (there is not None and not isinstance(each, UpsertOperation)):
                raise InOperation(index, Conflict(there))
