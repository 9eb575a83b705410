"""The JSON of batches: their operations, checked before the first of them is made, and results."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType, structs

from app.tasks.failures import InOperation, PreconditionRequired
from app.tasks.structs import TaskCompletion, TaskContent, TaskPatch, check_completion, check_fits
from app.tasks.uids import UidKind, chosen_uid, id_in, parse_uid
from app.web.body import JSONRequest, decode, refusal
from app.web.envelopes import Data
from app.web.failures import Failure, Invalid
from app.web.integers import decoder, with_integers

MAX_OPERATIONS = 100
MAX_BATCH_BYTES = 256 * 1024

# Any integer is understood; one that no task can have is not found.
TaskId: TypeAlias = (
    Annotated[
        int,
        Meta(description="The task's `id` or `uid`.", examples=[42]),
    ]
    | Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
)
WantedVersion: TypeAlias = (
    Annotated[
        int,
        Meta(
            description="The version that it must have to be changed, as `If-Match` says elsewhere.",
            ge=0,
            le=2**53 - 1,
            examples=[7],
        ),
    ]
    | UnsetType
)
STATUSES = {"create": 201, "update": 200, "upsert": 200, "replace": 200, "complete": 200, "delete": 204}


class Operation(msgspec.Struct, frozen=True, tag_field="op", forbid_unknown_fields=True):
    """An operation. Unknown fields are refused: they would be misspelt ones."""

    @property
    def op(self) -> str:
        return str(self.__struct_config__.tag)


class CreateOperation(Operation, frozen=True, tag="create"):
    """Create a task, as `POST /api/tasks` does."""

    data: TaskContent


class UpdateOperation(Operation, frozen=True, tag="update"):
    """Change some of a task's fields, as `PATCH /api/tasks/{id}` does."""

    id: TaskId
    data: TaskPatch
    version: WantedVersion = UNSET


class UpsertOperation(UpdateOperation, frozen=True, tag="upsert"):
    """Create a task with the uid that the client has chosen; where there is one, change some of its fields."""


class ReplaceOperation(Operation, frozen=True, tag="replace"):
    """Replace a task, as `PUT /api/tasks/{id}` does."""

    id: TaskId
    data: TaskContent
    version: WantedVersion = UNSET


class CompleteOperation(Operation, frozen=True, tag="complete"):
    """Set or toggle `completed`, as `PATCH /api/tasks/{id}/complete` does."""

    id: TaskId
    data: TaskCompletion | None = None
    version: WantedVersion = UNSET


class DeleteOperation(Operation, frozen=True, tag="delete"):
    """Delete a task, as `DELETE /api/tasks/{id}` does."""

    id: TaskId
    version: WantedVersion = UNSET
    missing: (
        Annotated[Literal["ignore"], Meta(description="Whether it does no harm that there is no such task.")]
        | UnsetType
    ) = UNSET


ChangeOperation: TypeAlias = UpdateOperation | UpsertOperation | ReplaceOperation | CompleteOperation | DeleteOperation
AnyOperation: TypeAlias = CreateOperation | ChangeOperation


class Batch(msgspec.Struct, frozen=True):
    """What is to be done, all of it or nothing. A task may be in one operation only."""

    operations: Annotated[list[AnyOperation], Meta(min_length=1, max_length=MAX_OPERATIONS)]


class Result(msgspec.Struct, frozen=True):
    """What came of one operation: the status and the task that it would have been answered with alone."""

    op: Annotated[str, Meta(examples=["create"], extra_json_schema={"enum": [*STATUSES]})]
    status: Annotated[int, Meta(examples=[201], extra_json_schema={"enum": [200, 201, 204]})]
    data: Annotated[
        Any,
        Meta(
            description="The task as it is now, or with `return=minimal` its id and version; null where it is gone.",
            extra_json_schema={
                "anyOf": [
                    {"$ref": "#/components/schemas/Task"},
                    {"$ref": "#/components/schemas/TaskVersion"},
                    {"type": "null"},
                ]
            },
        ),
    ]


class BatchData(Data[list[Result]], frozen=True):
    """The results in the order of the operations."""

    dry_run: Annotated[bool, Meta(description="There, and true, where nothing of it was kept.")] | UnsetType = UNSET


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
    known: set[int | str] = set()
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
            known.add(operation.id)
            if isinstance(operation, UpsertOperation):
                uids.add(operation.id)
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


def check_versions(operations: Sequence[AnyOperation]) -> None:
    """Raises InOperation for the first operation that changes a task, as far as is known, and names no version."""
    for index, operation in enumerate(operations):
        if not isinstance(operation, CreateOperation | UpsertOperation) and operation.version is UNSET:
            raise InOperation(index, PreconditionRequired())


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
