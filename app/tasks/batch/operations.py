"""The JSON of batches: their operations, and results."""

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.tasks.structs import TaskCompletion, TaskContent, TaskPatch
from app.web.envelopes import Data

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
MayBeMissing: TypeAlias = (
    Annotated[Literal["ignore"], Meta(description="Whether it does no harm that there is no such thing.")] | UnsetType
)
STATUSES = {"create": 201, "update": 200, "upsert": 200, "replace": 200, "complete": 200, "delete": 204}


class Operation(msgspec.Struct, frozen=True, tag_field="op", forbid_unknown_fields=True):
    """An operation. Unknown fields are refused: they would be misspelt ones."""

    @property
    def op(self) -> str:
        return str(self.__struct_config__.tag)

    @property
    def runs_alone(self) -> bool:
        """Tell whether it is done by itself, behind all before it and ahead of all others (`alone`)."""
        return False


class OperationOnTask(Operation, frozen=True, kw_only=True):
    """An operation on a task."""

    on: Literal["task"] | UnsetType = UNSET


class OtherOperation(Operation, frozen=True):
    """An operation on something else."""

    on: Literal["list", "label"]

    @property
    def runs_alone(self) -> bool:
        """Tell that it does."""
        return True


class CreateOperation(OperationOnTask, frozen=True, tag="create"):
    """Create a task, as `POST /api/tasks` does."""

    data: TaskContent


class UpdateOperation(OperationOnTask, frozen=True, tag="update"):
    """Change some of a task's fields, as `PATCH /api/tasks/{id}` does."""

    id: TaskId
    data: TaskPatch
    version: WantedVersion = UNSET


class UpsertOperation(UpdateOperation, frozen=True, tag="upsert"):
    """Create a task with the uid that the client has chosen; where there is one, change some of its fields."""


class ReplaceOperation(OperationOnTask, frozen=True, tag="replace"):
    """Replace a task, as `PUT /api/tasks/{id}` does."""

    id: TaskId
    data: TaskContent
    version: WantedVersion = UNSET


class CompleteOperation(OperationOnTask, frozen=True, tag="complete"):
    """Set or toggle `completed`, as `PATCH /api/tasks/{id}/complete` does."""

    id: TaskId
    data: TaskCompletion | None = None
    version: WantedVersion = UNSET


class DeleteOperation(OperationOnTask, frozen=True, tag="delete"):
    """Delete a task, as `DELETE /api/tasks/{id}` does."""

    id: TaskId
    version: WantedVersion = UNSET
    missing: MayBeMissing = UNSET


ChangeOperation: TypeAlias = UpdateOperation | UpsertOperation | ReplaceOperation | CompleteOperation | DeleteOperation
TaskOperation: TypeAlias = CreateOperation | ChangeOperation
AnyOperation: TypeAlias = TaskOperation | OtherOperation
SCHEMAS = (
    *("CreateOperation", "UpdateOperation", "UpsertOperation", "ReplaceOperation", "CompleteOperation"),
    *("DeleteOperation", "CreateListOperation", "UpdateListOperation", "UpsertListOperation", "ReplaceListOperation"),
    *("DeleteListOperation", "UpdateLabelOperation", "DeleteLabelOperation"),
)


def one_of(*names: str) -> Any:
    """Return the schema of what has one of these."""
    return {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in names]}


class Batch(msgspec.Struct, frozen=True):
    """What is to be done in this order, all of it or nothing."""

    operations: Annotated[
        list[Any],  # AnyOperation, which msgspec takes for ambiguous: `op` and `on` together tell which it is
        Meta(min_length=1, max_length=MAX_OPERATIONS, extra_json_schema={"items": one_of(*SCHEMAS)}),
    ]


class Result(msgspec.Struct, frozen=True):
    """What came of one operation: the status and the object that it would have been answered with alone."""

    op: Annotated[str, Meta(examples=["create"], extra_json_schema={"enum": [*STATUSES]})]
    status: Annotated[int, Meta(examples=[201], extra_json_schema={"enum": [200, 201, 204]})]
    data: Annotated[
        Any,
        Meta(
            description="The task, list or label as it is behind the operation, or with `return=minimal` its id and "
            "version; null where it is gone.",
            extra_json_schema={
                "anyOf": [*one_of("Task", "TodoList", "Label", "TaskVersion")["anyOf"], {"type": "null"}]
            },
        ),
    ]
    on: (
        Annotated[str, Meta(description="Absent for a task.", extra_json_schema={"enum": ["list", "label"]})]
        | UnsetType
    ) = UNSET


class BatchData(Data[list[Result]], frozen=True):
    """The results in the order of the operations."""

    dry_run: Annotated[bool, Meta(description="There, and true, where nothing of it was kept.")] | UnsetType = UNSET
