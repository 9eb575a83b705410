"""Operations of a batch on lists, by the rules of `app.tasks.lists`."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta, UnsetType

from app.tasks.batch.operations import MayBeMissing, Operation, OtherOperation, WantedVersion
from app.tasks.batch.transaction import BatchTransaction, Done
from app.tasks.change import UNCONDITIONAL, Condition
from app.tasks.failures import PreconditionRequired
from app.tasks.lists.changes import ListTransaction, created, on_lists, updated
from app.tasks.lists.failures import ListConflict, ListNotFound
from app.tasks.lists.moving import deleted
from app.tasks.lists.structs import TodoListContent, TodoListPatch, TrashedTodoList
from app.tasks.structs import MAX_ID, TaskVersion
from app.tasks.uids import chosen_uid
from app.web.failures import Invalid

ListId: TypeAlias = (
    Annotated[int, Meta(description="The list's `id` or `uid`.", examples=[7])]
    | Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
)


class ListOperation(OtherOperation, frozen=True):
    """An operation on a list."""

    on: Literal["list"]


class CreateListOperation(ListOperation, frozen=True, tag="create"):
    """Create a list, as `POST /api/lists` does."""

    data: TodoListContent


class UpdateListOperation(ListOperation, frozen=True, tag="update"):
    """Change some of a list's fields, as `PATCH /api/lists/{id}` does."""

    id: ListId
    data: TodoListPatch
    version: WantedVersion = UNSET


class UpsertListOperation(UpdateListOperation, frozen=True, tag="upsert"):
    """Create a list with the uid that the client has chosen; where there is one, change some of its fields."""


class ReplaceListOperation(ListOperation, frozen=True, tag="replace"):
    """Replace a list, as `PUT /api/lists/{id}` does."""

    id: ListId
    data: TodoListContent
    version: WantedVersion = UNSET


class DeleteListOperation(ListOperation, frozen=True, tag="delete"):
    """Delete a list, as `DELETE /api/lists/{id}` does."""

    id: ListId
    version: WantedVersion = UNSET
    tasks: (
        Annotated[Literal["trash", "inbox"], Meta(description="Where its tasks go: to the trash, if it is absent.")]
        | UnsetType
    ) = UNSET
    missing: MayBeMissing = UNSET


ChangeOfList: TypeAlias = UpdateListOperation | UpsertListOperation | ReplaceListOperation | DeleteListOperation
AnyListOperation: TypeAlias = CreateListOperation | ChangeOfList


async def _create(it: BatchTransaction, operation: CreateListOperation) -> Done:
    """Raises what `lists.changes.created` does."""
    lists = await on_lists(it.transaction, it.owner, begins=True)
    return await _created(it, lists, operation.data, chosen_uid(operation.data.uid))


async def _created(
    it: BatchTransaction, lists: ListTransaction, content: TodoListContent | TodoListPatch, uid: str | None
) -> Done:
    made = await created(lists, content, it.options.max_lists, uid)
    it.new_lists.add(made.id)
    return Done(made, 201)


async def _update(it: BatchTransaction, operation: UpdateListOperation | ReplaceListOperation) -> Done:
    """Raises what `lists.changes.updated` does, and PreconditionRequired."""
    lists = await on_lists(it.transaction, it.owner)
    list_id = await _id_of(lists, operation)
    return Done(await updated(lists, _condition(it, operation, list_id), list_id, operation.data), 200)


async def _upsert(it: BatchTransaction, operation: UpsertListOperation) -> Done:
    """Raises what `_create` and `_update` do; ListConflict for one in the trash."""
    if isinstance(operation.id, int):
        return await _update(it, operation)
    lists = await on_lists(it.transaction, it.owner, begins=True)
    there = await lists.find_by_uid(operation.id)
    if isinstance(there, TrashedTodoList):
        raise ListConflict(there)
    if there is not None:
        return Done(await updated(lists, _condition(it, operation, there.id), there.id, operation.data), 200)
    if operation.data.name is UNSET:
        raise Invalid("name", "Name is required")
    return await _created(it, lists, operation.data, operation.id)


async def _delete(it: BatchTransaction, operation: DeleteListOperation) -> Done:
    """Raises what `lists.moving.deleted` does, and PreconditionRequired."""
    revision = 0
    how = {"to_inbox": operation.tasks == "inbox", "for_good": not it.options.keeps_trash}
    try:
        lists = await on_lists(it.transaction, it.owner)
        revision = lists.version
        list_id = await _id_of(lists, operation)
        await deleted(lists, _condition(it, operation, list_id), list_id, it.charge, **how)
    except ListNotFound:
        if operation.missing != "ignore":
            raise
        return Done(TaskVersion(0, revision), 204)
    return Done(TaskVersion(list_id, lists.version + lists.moved), 204)


async def _id_of(lists: ListTransaction, operation: ChangeOfList) -> int:
    """Return the id of the list. Raises ListNotFound."""
    number = operation.id
    if isinstance(number, str):
        there = await lists.find_by_uid(number)
        number = there.id if there else 0
    if not 0 < number <= MAX_ID:
        raise ListNotFound
    return number


def _condition(it: BatchTransaction, operation: ChangeOfList, list_id: int) -> Condition:
    """Return the versions that the list may have. Raises PreconditionRequired."""
    if operation.version is not UNSET:
        return Condition([operation.version])
    if it.options.needs_versions and list_id not in it.new_lists:
        raise PreconditionRequired
    return UNCONDITIONAL


WORK_ON_LISTS: dict[type[Operation], Callable[[BatchTransaction, Any], Awaitable[Done]]] = {
    CreateListOperation: _create,
    UpdateListOperation: _update,
    UpsertListOperation: _upsert,
    ReplaceListOperation: _update,
    DeleteListOperation: _delete,
}
