"""One label, as the database has it, with how many open tasks have it."""

import asyncpg

from app.auth.jwt import User as Owner
from app.db.engine import database
from app.db.statements import SET_RLS_OWNER, Statement, on_the_wire
from app.db.transaction import Transaction
from app.tasks import costs
from app.tasks.costs import Charge
from app.tasks.label_names import LabelName
from app.tasks.labels.failures import LabelNotFound
from app.tasks.labels.structs import Label
from app.tasks.uids import UidKind, uid_of

LABELS_OF_CALLER = f'{SET_RLS_OWNER} AND "user_id" = :owner'
ONE_LABEL = Statement(
    f"""
    SELECT "id", "name", "color", (
        SELECT count(*) FROM "tasks" WHERE {LABELS_OF_CALLER} AND "deleted_at" IS NULL AND NOT "completed"
            AND "labels" ? "task_labels"."name"
    ) AS "open", {on_the_wire("created_at", '"created_at"')} AS "created_at", "version",
        {on_the_wire("updated_at", '"updated_at"')} AS "updated_at"
    FROM "task_labels" WHERE {LABELS_OF_CALLER} AND "key" = :label_key::text
    """
)


def label_of(row: asyncpg.Record) -> Label:
    """Return the label of a row that has its columns by name."""
    return Label(row["id"], uid_of(UidKind.LABEL, row["id"]), *(row[name] for name in Label.__struct_fields__[2:]))


async def get_label(owner: Owner, label: LabelName, charge: Charge = costs.free) -> Label:
    """Return one of the owner's labels. Charges for the tasks that are looked at. Raises LabelNotFound."""
    charge(await costs.of_looking_through(owner))
    rows = await database.fetch(ONE_LABEL, owner=owner.id, label_key=label.key)
    if not rows:
        raise LabelNotFound
    return label_of(rows[0])


async def label_in(transaction: Transaction, owner: Owner, key: str) -> Label:
    """Return the label with this key, which is there, as the transaction has it."""
    return label_of((await transaction.fetch(ONE_LABEL, owner=owner.id, label_key=key))[0])
