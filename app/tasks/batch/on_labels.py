"""Operations of a batch on labels, by the rules of `app.tasks.labels`."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import UNSET, Meta

from app.tasks.batch.operations import MayBeMissing, Operation, OtherOperation, WantedVersion
from app.tasks.batch.transaction import BatchTransaction, Done
from app.tasks.change import UNCONDITIONAL, Change, Condition
from app.tasks.failures import PreconditionRequired
from app.tasks.label_names import LABEL_SCHEMA, checked_label
from app.tasks.labels.failures import LabelNotFound
from app.tasks.labels.queries import HOLD_REVISION, deleted, patched
from app.tasks.labels.structs import LabelPatch
from app.tasks.structs import TaskVersion

NameOfLabel: TypeAlias = Annotated[
    str,
    Meta(description="The label's name. Case makes no difference.", examples=["home"], extra_json_schema=LABEL_SCHEMA),
]


class LabelOperation(OtherOperation, frozen=True):
    """An operation on a label."""

    on: Literal["label"]
    id: NameOfLabel


class UpdateLabelOperation(LabelOperation, frozen=True, tag="update"):
    """Rename a label or color it, as `PATCH /api/labels/{name}` does."""

    data: LabelPatch
    version: WantedVersion = UNSET


class DeleteLabelOperation(LabelOperation, frozen=True, tag="delete"):
    """Take a label off all tasks, as `DELETE /api/labels/{name}` does."""

    version: WantedVersion = UNSET
    missing: MayBeMissing = UNSET


AnyLabelOperation: TypeAlias = UpdateLabelOperation | DeleteLabelOperation


async def _update(it: BatchTransaction, operation: UpdateLabelOperation) -> Done:
    """Raises PreconditionRequired, and what `labels.queries.patched` does."""
    label = checked_label(operation.id)
    return Done(await patched(it.transaction, _change(it, operation), label, operation.data, it.charge), 200)


async def _delete(it: BatchTransaction, operation: DeleteLabelOperation) -> Done:
    """Raises PreconditionRequired, and what `labels.queries.deleted` does."""
    try:
        revision = await deleted(it.transaction, _change(it, operation), checked_label(operation.id), it.charge)
    except LabelNotFound:
        if operation.missing != "ignore":
            raise
        held = await it.fetch(HOLD_REVISION)
        revision = held[0][0] if held else 0
    return Done(TaskVersion(0, revision), 204)


def _change(it: BatchTransaction, operation: AnyLabelOperation) -> Change:
    if operation.version is not UNSET:
        return Change(it.owner, Condition([operation.version]))
    if it.options.needs_versions:
        raise PreconditionRequired
    return Change(it.owner, UNCONDITIONAL)


WORK_ON_LABELS: dict[type[Operation], Callable[[BatchTransaction, Any], Awaitable[Done]]] = {
    UpdateLabelOperation: _update,
    DeleteLabelOperation: _delete,
}
