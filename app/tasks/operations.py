"""Batches on the wire: what is to be done, checked before any of it is, and what came of it."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec
from litestar import Request
from litestar.di import NamedDependency
from msgspec import UNSET, Meta, UnsetType

from app.bodies import JSONRequest, decode, refusal
from app.edge.headers import RawHeaders, joined
from app.envelopes import Data
from app.failures import Failure, Invalid
from app.integers import with_integers
from app.query import pairs
from app.tasks.failures import InOperation, PreconditionRequired
from app.tasks.structs import TaskCompletion, TaskContent, TaskPatch, check_completion, is_too_long, too_long

MAX_OPERATIONS = 100
MAX_BATCH_BYTES = 256 * 1024

# Any integer is understood; one that no task can have is not found.
TaskId = Annotated[
    int, Meta(description="The task's `id`.", examples=[42], extra_json_schema={"minimum": 1, "maximum": 2**53 - 1})
]
Version: TypeAlias = (
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
STATUSES = {"create": 201, "update": 200, "replace": 200, "complete": 200, "delete": 204}
WISHES = {"dry_run": ("true", "false"), "return": ("minimal", "representation")}
# RFC 7240, sections 2 and 4.2. What is no preference of ours is ignored.
PREFERENCE = re.compile(rb'(?:^|,)[ \t]*return[ \t]*=[ \t]*"?(minimal|representation)"?[ \t]*(?=$|[,;])', re.IGNORECASE)


class Operation(msgspec.Struct, frozen=True, tag_field="op", forbid_unknown_fields=True):
    """What all operations are. A name that is not known would be one that was misspelt."""


class CreateOperation(Operation, frozen=True, tag="create"):
    """Create a task, as `POST /api/tasks` does."""

    data: TaskContent


class UpdateOperation(Operation, frozen=True, tag="update"):
    """Change some of a task's fields, as `PATCH /api/tasks/{id}` does."""

    id: TaskId
    data: TaskPatch
    version: Version = UNSET


class ReplaceOperation(Operation, frozen=True, tag="replace"):
    """Replace a task, as `PUT /api/tasks/{id}` does."""

    id: TaskId
    data: TaskContent
    version: Version = UNSET


class CompleteOperation(Operation, frozen=True, tag="complete"):
    """Set or toggle `completed`, as `PATCH /api/tasks/{id}/complete` does."""

    id: TaskId
    data: TaskCompletion | None = None
    version: Version = UNSET


class DeleteOperation(Operation, frozen=True, tag="delete"):
    """Delete a task, as `DELETE /api/tasks/{id}` does."""

    id: TaskId
    version: Version = UNSET


ChangeOperation: TypeAlias = UpdateOperation | ReplaceOperation | CompleteOperation | DeleteOperation
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
    """A batch whose operations nobody has looked at."""

    operations: list[msgspec.Raw]


class BatchRequest(JSONRequest):
    """A request whose body is a batch: of a bad one, it is told where."""

    async def json(self) -> Batch:
        """Return the batch. Raises what `read` does, and what the body of any request does."""
        return read(await self.body())


decoder: msgspec.json.Decoder[AnyOperation] = msgspec.json.Decoder(AnyOperation)


def read(body: bytes) -> Batch:
    """Return the batch that the JSON in `body` is. Raises NotJSON, Invalid, and InOperation for the first bad one."""
    unread = decode(body, Unread).operations
    if not 1 <= len(unread) <= MAX_OPERATIONS:
        raise Invalid("operations", f"There must be 1 to {MAX_OPERATIONS} operations")
    operations: list[AnyOperation] = []
    known: set[int] = set()
    for index, raw in enumerate(unread):
        operation = _operation(index, raw)
        if isinstance(operation, CreateOperation):
            if is_too_long(operation.data.description):
                raise too_long_in(index)
        else:
            if operation.id in known:
                raise _bad(index, "id", "Another operation is about this task already")
            known.add(operation.id)
        operations.append(operation)
    return Batch(operations)


def too_long_in(index: int) -> Failure:
    """Return the refusal of an operation whose description is longer than a new one may be."""
    return _bad(index, "data.description", too_long().message)


def check_versions(operations: Sequence[AnyOperation]) -> None:
    """Raises InOperation for the first change of whatever is there by now, for where that is not wanted."""
    for index, operation in enumerate(operations):
        if not isinstance(operation, CreateOperation) and operation.version is UNSET:
            raise InOperation(index, PreconditionRequired())


class Wish(NamedTuple):
    """How a batch is to be done and answered."""

    is_dry: bool = False  # tried only, and taken back
    briefly: bool = False  # with ids and versions alone
    headers: RawHeaders = []  # noqa: RUF012 # that say so, and that nobody changes


BatchWish: TypeAlias = NamedDependency[Wish]


def wish(request: Request[Any, Any, Any]) -> Wish:
    """Return what the query says, and the header Prefer (RFC 7240). Raises Invalid for a parameter that says else."""
    given = dict[str, str]()
    for name, value in pairs(request.scope["query_string"], WISHES):
        if value not in WISHES[name]:
            raise Invalid(name, f"{name} must be {' or '.join(WISHES[name])}")
        given[name] = value
    preferred = PREFERENCE.search(joined(request.scope, b"prefer")) if "return" not in given else None
    returned = preferred[1].decode().lower() if preferred else given.get("return")
    applied = [(b"preference-applied", b"return=%b" % preferred[1].lower())] if preferred else []
    return Wish(given.get("dry_run") == "true", returned == "minimal", applied)


def _operation(index: int, raw: msgspec.Raw) -> AnyOperation:
    """Return the operation. That it is JSON, whoever has skipped it before has seen. Raises InOperation."""
    try:
        try:
            return _checked(decoder.decode(raw), raw)
        except msgspec.ValidationError as error:
            return _checked(with_integers(raw, AnyOperation, error), raw)
    except Invalid as error:  # of what is in `data`
        raise _bad(index, f"data.{error.field}", error.message) from error
    except msgspec.ValidationError as error:
        reason = refusal(str(error))
        if reason.field == "body":
            raise _bad(index, "", "An operation must be a JSON object") from error
        raise _bad(index, reason.field, reason.message) from error


def _checked(operation: AnyOperation, raw: msgspec.Raw) -> AnyOperation:
    """Return the operation. Raises Invalid where its completion asks for nothing that is known."""
    if isinstance(operation, CompleteOperation) and operation.data is not None:
        check_completion(operation.data, msgspec.json.encode(msgspec.json.decode(raw)["data"]))
    return operation


def _bad(index: int, field: str, message: str) -> Failure:
    return InOperation(index, Invalid(f"operations[{index}].{field}".rstrip("."), message))
