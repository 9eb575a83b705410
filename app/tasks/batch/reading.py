"""Batches as they are read: all operations are checked before the first of them is done."""

from collections.abc import Sequence
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, structs

from app.tasks.batch.on_labels import AnyLabelOperation, LabelOperation
from app.tasks.batch.on_lists import AnyListOperation, ChangeOfList, CreateListOperation, UpsertListOperation
from app.tasks.batch.operations import (
    MAX_OPERATIONS,
    AnyOperation,
    Batch,
    ChangeOperation,
    CompleteOperation,
    CreateOperation,
    OtherOperation,
    TaskOperation,
    UpsertOperation,
)
from app.tasks.batch.waves import created_uid
from app.tasks.failures import InOperation, PreconditionRequired
from app.tasks.label_names import checked_label
from app.tasks.structs import check_completion, check_fits
from app.tasks.uids import UidKind, chosen_uid, id_in, parse_uid
from app.web.body import JSONRequest, decode, refusal
from app.web.failures import Failure, Invalid
from app.web.integers import decoder, with_integers

WithId = TypeVar("WithId", bound=ChangeOperation | ChangeOfList)
OPERATIONS_ON: dict[str, Any] = {"task": TaskOperation, "list": AnyListOperation, "label": AnyLabelOperation}


class _Subject(msgspec.Struct, frozen=True):
    """What an operation is on, which tells how the rest of it is read."""

    on: Literal["task", "list", "label"] = "task"


class Unread(msgspec.Struct, frozen=True):
    """A batch whose operations are not decoded."""

    operations: list[msgspec.Raw]


class BatchRequest(JSONRequest):
    """A request whose body is a batch."""

    async def json(self) -> Batch:
        """Return the batch. Raises what `read` does, and what the body of any request does."""
        return read(await self.body())


def read(body: bytes) -> Batch:
    """Return the batch that the JSON in `body` is. Raises NotJSON, Invalid, and InOperation for the first bad one."""
    unread = decode(body, Unread).operations
    if not 1 <= len(unread) <= MAX_OPERATIONS:
        raise Invalid("operations", f"There must be 1 to {MAX_OPERATIONS} operations")
    operations: list[AnyOperation] = []
    known: set[int | str] = set()  # of tasks that are in an operation, but for one that creates them
    uids: set[int | str | None] = set()  # of tasks that the batch may create
    lists: set[str] = set()  # their uids
    for index, raw in enumerate(unread):
        operation = _operation(index, raw)
        if isinstance(operation, OtherOperation):
            operation = _other(index, operation, lists)
        elif isinstance(operation, CreateOperation):
            try:
                check_fits(operation.data, None)
                uid = chosen_uid(operation.data.uid)
            except Invalid as error:
                raise in_data(index, error) from error
            if uid is not None and uid in uids:
                raise _bad(index, "data.uid", "Another operation creates a task with this uid already")
            uids.add(uid)
        else:
            operation = _with_id(index, operation, UidKind.TASK)
            if operation.id in known or (isinstance(operation, UpsertOperation) and operation.id in uids):
                raise about_known(index)
            (uids if created_uid(operation) else known).add(operation.id)
        operations.append(operation)
    return Batch(operations)


def _other(index: int, operation: OtherOperation, uids: set[str]) -> OtherOperation:
    """Return an operation on something else than a task; `uids` are of lists that the batch may create.

    Raises InOperation.
    """
    if isinstance(operation, LabelOperation):
        try:
            checked_label(operation.id)
        except Invalid as error:
            raise _bad(index, "id", error.message) from error
    elif isinstance(operation, CreateListOperation):
        try:
            uid = chosen_uid(operation.data.uid)
        except Invalid as error:
            raise in_data(index, error) from error
        if uid in uids:
            raise _bad(index, "data.uid", "Another operation creates a list with this uid already")
        if uid:
            uids.add(uid)
    elif isinstance(operation, ChangeOfList):
        operation = _with_id(index, operation, UidKind.LIST)
        if isinstance(operation, UpsertListOperation) and isinstance(operation.id, str):
            uids.add(operation.id)
    return operation


def _with_id(index: int, operation: WithId, kind: UidKind) -> WithId:
    """Return an operation with the id in place of a uid that is derived of it. Raises InOperation for what is none."""
    if isinstance(operation.id, int):
        return operation
    uid = parse_uid(operation.id)
    if uid is None:
        raise _bad(index, "id", "Id must be an integer or a UUID")
    derived = id_in(kind, uid)
    return structs.replace(operation, id=uid if derived is None else derived)


def about_known(index: int) -> Failure:
    """Return the failure of a second operation about one task."""
    return _bad(index, "id", "Another operation is about this task already")


def in_data(index: int, error: Invalid) -> Failure:
    """Return the failure of an operation in whose `data` this is wrong."""
    return _bad(index, f"data.{error.field}", error.message)


def check_versions(asked: Sequence[AnyOperation], operations: Sequence[AnyOperation] = ()) -> None:
    """Raises InOperation for the first operation that changes a task, as far as is known, and names no version.

    `operations` are those that were `asked` for, as they are done. What the batch itself creates needs no version.
    """
    uids: set[str | None] = set()
    for index, (sent, operation) in enumerate(zip(asked, operations or asked, strict=True)):
        is_new = isinstance(sent, ChangeOperation) and sent.id in uids
        if _changes_any_version(operation) and not is_new:
            raise InOperation(index, PreconditionRequired())
        uids.add(created_uid(sent))


def _changes_any_version(operation: AnyOperation) -> bool:
    if isinstance(operation, UpsertOperation) or not isinstance(operation, ChangeOperation):
        return False
    return operation.version is UNSET


def _operation(index: int, raw: msgspec.Raw) -> AnyOperation:
    """Return the operation, whose JSON `decode` has read. Raises InOperation."""
    try:
        kind = OPERATIONS_ON[decoder(_Subject)(raw).on]
        try:
            operation = decoder(kind)(raw)
        except msgspec.ValidationError as error:
            operation: AnyOperation = with_integers(raw, kind, error)
        if isinstance(operation, CompleteOperation) and operation.data is not None:
            check_completion(operation.data, msgspec.json.encode(msgspec.json.decode(raw)["data"]))
        return operation
    except Invalid as error:  # of what is in `data`
        raise in_data(index, error) from error
    except msgspec.ValidationError as error:
        reason = refusal(str(error))
        if reason.field == "body":
            raise _bad(index, "", "An operation must be a JSON object") from error
        raise _bad(index, reason.field, reason.message) from error


def _bad(index: int, field: str, message: str) -> Failure:
    return InOperation(index, Invalid(f"operations[{index}].{field}".rstrip("."), message))
