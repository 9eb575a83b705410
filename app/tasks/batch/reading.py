"""Batches as they are read: all operations are checked before the first of them is done."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, structs

from app.tasks.batch.operations import (
    MAX_OPERATIONS,
    AnyOperation,
    Batch,
    ChangeOperation,
    CompleteOperation,
    CreateOperation,
    UpsertOperation,
)
from app.tasks.batch.waves import created_uid
from app.tasks.failures import InOperation, PreconditionRequired
from app.tasks.structs import check_completion, check_fits
from app.tasks.uids import UidKind, chosen_uid, id_in, parse_uid
from app.web.body import JSONRequest, decode, refusal
from app.web.failures import Failure, Invalid
from app.web.integers import decoder, with_integers


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
    for index, raw in enumerate(unread):
        operation = _operation(index, raw)
        if isinstance(operation, CreateOperation):
            try:
                check_fits(operation.data, None)
                uid = chosen_uid(operation.data.uid)
            except Invalid as error:
                raise in_data(index, error) from error
            if uid is not None and uid in uids:
                raise _bad(index, "data.uid", "Another operation creates a task with this uid already")
            uids.add(uid)
        else:
            operation = _with_id(index, operation)
            if operation.id in known or (isinstance(operation, UpsertOperation) and operation.id in uids):
                raise about_known(index)
            (uids if created_uid(operation) else known).add(operation.id)
        operations.append(operation)
    return Batch(operations)


def _with_id(index: int, operation: ChangeOperation) -> ChangeOperation:
    """Return an operation with the id in place of a uid that is derived of it. Raises InOperation for what is none."""
    if isinstance(operation.id, int):
        return operation
    uid = parse_uid(operation.id)
    if uid is None:
        raise _bad(index, "id", "Id must be an integer or a UUID")
    derived = id_in(UidKind.TASK, uid)
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
        changes = not isinstance(operation, CreateOperation | UpsertOperation) and operation.version is UNSET
        if changes and not (isinstance(sent, ChangeOperation) and sent.id in uids):
            raise InOperation(index, PreconditionRequired())
        uids.add(created_uid(sent))


def _operation(index: int, raw: msgspec.Raw) -> AnyOperation:
    """Return the operation, whose JSON `decode` has read. Raises InOperation."""
    try:
        try:
            operation = decoder(AnyOperation)(raw)
        except msgspec.ValidationError as error:
            operation: AnyOperation = with_integers(raw, AnyOperation, error)
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
