"""Labels in batches: which operation would make one too many."""

from collections.abc import Mapping

from msgspec import UNSET

from app.auth.jwt import User as Owner
from app.db.statements import SET_RLS_OWNER, Statement
from app.db.transaction import Transaction
from app.tasks.batch.operations import CreateOperation, ReplaceOperation, TaskOperation, UpdateOperation
from app.tasks.failures import InOperation, LabelLimitReached
from app.tasks.label_names import LabelName

KEYS_OF_LABELS = Statement(
    f"""
    SELECT NULL AS "key", "max_labels" AS "most" FROM "task_settings"
    UNION ALL SELECT "key", 0 FROM "task_labels" WHERE {SET_RLS_OWNER} AND "user_id" = :owner
    """
)


async def check_labels(transaction: Transaction, owner: Owner, operations: Mapping[int, TaskOperation]) -> None:
    """Raises InOperation for the first operation with a label that would be one too many.

    Nobody else makes one meanwhile: the owner's revision is raised.
    """
    named = {index: names for index, each in operations.items() if (names := _labels_of(each))}
    if not named:
        return
    rows = await transaction.fetch(KEYS_OF_LABELS, owner=owner.id)
    keys, most = {row["key"] for row in rows}, sum(row["most"] for row in rows)
    keys.discard(None)
    for index, names in named.items():
        new = {label.key for label in names} - keys
        if new and len(keys) + len(new) > most:
            raise InOperation(index, LabelLimitReached(most))
        keys |= new


def _labels_of(operation: TaskOperation) -> list[LabelName]:
    if not isinstance(operation, CreateOperation | UpdateOperation | ReplaceOperation):
        return []
    labels = operation.data.labels
    return [] if labels is UNSET else labels
