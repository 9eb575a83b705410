"""The statements about labels. A change of one is a transaction, together with all tasks that have it.

The owner's revision is held first: so nothing else of the owner's changes meanwhile, and no two of these lock rows in
different orders. Others wait for none of it.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import asyncpg
from msgspec import UNSET

from app.auth import idempotency
from app.auth.jwt import User as Owner
from app.db.engine import database
from app.db.statements import SET_RLS_OWNER, STAMP, Statement
from app.db.transaction import Transaction
from app.tasks import costs
from app.tasks.batch import queries as batch_queries
from app.tasks.change import Change
from app.tasks.costs import Charge
from app.tasks.label_names import LabelName, checked_label
from app.tasks.labels.failures import LabelHasChanged, LabelNotFound
from app.tasks.labels.one import LABELS_OF_CALLER, label_in, label_of
from app.tasks.labels.structs import Label, LabelPatch
from app.tasks.listing.cache import State
from app.web.envelopes import encode

# The first row tells the state of the owner's tasks.
LIST_LABELS = Statement(
    f"""
    WITH "open" AS MATERIALIZED (
        SELECT "each" AS "label", count(*) AS "count"
        FROM (
            SELECT "labels" FROM "tasks" WHERE {LABELS_OF_CALLER} AND "deleted_at" IS NULL AND NOT "completed"
                AND "labels" <> '[]'
        ) AS "labelled" CROSS JOIN LATERAL jsonb_array_elements_text("labels") AS "each"
        GROUP BY "each"
    )
    SELECT "epoch" AS "id", NULL AS "name", NULL AS "color", 0 AS "open", NULL AS "created_at", NULL AS "updated_at",
        "revision" AS "version", NULL AS "key"
    FROM "revisions" WHERE {LABELS_OF_CALLER}
    UNION ALL (
        SELECT "id", "name", "color", coalesce((SELECT "count" FROM "open" WHERE "label" = "name"), 0),
            {STAMP.format('"created_at"')}, {STAMP.format('"updated_at"')}, "version", "key"
        FROM "task_labels" WHERE {LABELS_OF_CALLER}
    )
    """
)
HOLD_REVISION = Statement(f'SELECT "revision" FROM "revisions" WHERE {LABELS_OF_CALLER} FOR NO KEY UPDATE')
THAT_LABEL = Statement(
    f"""
    SELECT "id", "name", "color", "version" FROM "task_labels" WHERE {LABELS_OF_CALLER} AND "key" = :label_key::text
    """
)
# Of both halves apart, each of which an index of their owner's has.
WITH_LABEL = " UNION ALL ".join(
    f'SELECT "id" FROM "tasks" WHERE {LABELS_OF_CALLER} AND "deleted_at" {half} AND "labels" ? :name::text'
    for half in ("IS NULL", "IS NOT NULL")
)
COUNT_LABELLED = Statement(f'SELECT count(*) FROM ({WITH_LABEL}) AS "labelled"')
PART = 10_000  # tasks that one statement changes: in a fraction of the time that it may take
# Each task has a version of its own, those in the trash too. Without another label, it is taken away.
RELABEL = Statement(
    f"""
    WITH "labelled" AS MATERIALIZED ({WITH_LABEL}), "few" AS MATERIALIZED (
        SELECT "id" AS "labelled_id", row_number() OVER (ORDER BY "id") AS "place" FROM "labelled"
        ORDER BY "id" LIMIT :part::bigint
    ), "changed" AS (
        UPDATE "tasks" SET
            "labels" = CASE WHEN :other::text IS NULL THEN "labels" - :name::text ELSE (
                SELECT jsonb_agg(
                    CASE WHEN "each" = to_jsonb(:name::text) THEN :other::text::jsonb ELSE "each" END ORDER BY "at"
                )
                FROM jsonb_array_elements("labels") WITH ORDINALITY AS "those" ("each", "at")
            ) END,
            "version" = :first::bigint + "place", "updated_at" = :stamped::timestamptz, "changed_by" = :by
        FROM "few" WHERE {SET_RLS_OWNER} AND "tasks"."user_id" = :owner AND "tasks"."id" = "labelled_id" RETURNING 1
    )
    SELECT count(*) FROM "changed"
    """
)
SET_LABEL = Statement(
    f"""
    UPDATE "task_labels" SET "name" = :name::text, "key" = :label_key::text, "color" = :color::text,
        "version" = :version::bigint, "updated_at" = :stamped::timestamptz, "changed_by" = :by, "merged" = :merged::text
    WHERE {LABELS_OF_CALLER} AND "id" = :label_id::bigint
    """
)
DROP_LABEL = Statement(f'DELETE FROM "task_labels" WHERE {LABELS_OF_CALLER} AND "id" = :label_id::bigint')


async def labels_of(owner: Owner, charge: Charge = costs.free) -> tuple[State | None, list[Label]]:
    """Return the state of the owner's tasks, and the owner's labels. Charges for the tasks that were looked at."""
    charge(await costs.of_looking_through(owner))
    return _told(await database.fetch(LIST_LABELS, owner=owner.id))


def _told(rows: Sequence[asyncpg.Record]) -> tuple[State | None, list[Label]]:
    if not rows:
        return None, []
    head, *labels = rows
    labels.sort(key=lambda row: row["key"])
    return State(head["id"], head["version"]), [label_of(row) for row in labels]


async def patch_label(change: Change, label: LabelName, patch: LabelPatch, charge: Charge = costs.free) -> Label:
    """Change the name of a label, with all tasks that have it, or its color; onto another's name the two become one.

    Charges for the tasks. Raises LabelNotFound, LabelHasChanged, KeyReused.
    """
    charge(await costs.of_looking_through(change.owner))
    return await _transaction(change, partial(patched, change=change, label=label, patch=patch, charge=charge), Label)


async def delete_label(change: Change, label: LabelName, charge: Charge = costs.free) -> int:
    """Take a label off all tasks, delete it, and return the revision. Charges and raises as `patch_label` does."""
    charge(await costs.of_looking_through(change.owner))
    return await _transaction(change, partial(deleted, change=change, label=label, charge=charge), int)


async def _transaction(change: Change, work: Any, kind: Any) -> Any:
    async def attempt() -> Any:
        async with database.begin(change.owner.id) as transaction:
            result = await work(transaction)
            if change.key is not None:
                values = {"answer": encode(result).decode(), **change.key.values()}
                await transaction.fetch(idempotency.STORE_KEY, owner=change.owner.id, **values)
            return result

    return await (
        attempt() if change.key is None else idempotency.idempotent_transaction(change.key, change.owner, attempt, kind)
    )


async def _held(transaction: Transaction, change: Change, label: LabelName) -> asyncpg.Record:
    """Return the label, of which nothing else changes until the transaction ends."""
    owner = change.owner.id
    await transaction.fetch(HOLD_REVISION, owner=owner)
    found = await transaction.fetch(THAT_LABEL, owner=owner, label_key=label.key)
    if not found:
        raise LabelNotFound
    if not change.condition.allows(found[0]["version"]):
        raise LabelHasChanged(await label_in(transaction, change.owner, label.key))
    return found[0]


async def patched(
    transaction: Transaction, change: Change, label: LabelName, patch: LabelPatch, charge: Charge
) -> Label:
    """Do what `patch_label` says. Raises LabelNotFound, LabelHasChanged."""
    owner, old = change.owner.id, await _held(transaction, change, label)
    new = LabelName(label.key, old["name"]) if patch.name is UNSET else checked_label(patch.name, "name")
    others = await transaction.fetch(THAT_LABEL, owner=owner, label_key=new.key) if new.key != label.key else []
    kept = others[0] if others else old
    name = kept["name"] if others else new.name
    color = kept["color"] if patch.color is UNSET else patch.color
    if others or (name, color) != (old["name"], old["color"]):
        count = await _count(transaction, owner, old["name"]) if name != old["name"] else 0
        last, stamped = await _raise(transaction, owner, count + 1)
        about = {"name": name, "label_key": new.key, "color": color, "version": last, "stamped": stamped}
        about |= {"by": change.owner.by, "merged": old["name"] if others else None}
        await transaction.fetch(SET_LABEL, owner=owner, label_id=kept["id"], **about)
        charge(count // costs.TASKS_MOVED)
        if count:
            await _relabel(transaction, change, old["name"], LabelName(new.key, name), last - count - 1, stamped)
        if others:
            await transaction.fetch(DROP_LABEL, owner=owner, label_id=old["id"])
    return await label_in(transaction, change.owner, new.key)


async def deleted(transaction: Transaction, change: Change, label: LabelName, charge: Charge) -> int:
    """Do what `delete_label` says. Raises LabelNotFound, LabelHasChanged."""
    owner, old = change.owner.id, await _held(transaction, change, label)
    count = await _count(transaction, owner, old["name"])
    charge(count // costs.TASKS_MOVED)
    last, stamped = await _raise(transaction, owner, count + 1)
    await _relabel(transaction, change, old["name"], None, last - count - 1, stamped)
    await transaction.fetch(DROP_LABEL, owner=owner, label_id=old["id"])
    return last


async def _count(transaction: Transaction, owner: str, name: str) -> int:
    return (await transaction.fetch(COUNT_LABELLED, owner=owner, name=name))[0][0]


async def _raise(transaction: Transaction, owner: str, count: int) -> tuple[int, Any]:
    rows = await transaction.fetch(batch_queries.RAISE_REVISION, owner=owner, count=count, added=0, max_tasks=0)
    return rows[0]["revision"], rows[0]["stamped"]


async def _relabel(
    transaction: Transaction, change: Change, name: str, other: LabelName | None, first: int, stamped: Any
) -> None:
    """Change all tasks with a label, in parts, each of which has its own time."""
    about = {"name": name, "other": other and encode(other).decode(), "stamped": stamped, "by": change.owner.by}
    while True:
        transaction.renew()
        count = (await transaction.fetch(RELABEL, owner=change.owner.id, first=first, part=PART, **about))[0][0]
        if count < PART:
            break
        first += count
    transaction.renew()
