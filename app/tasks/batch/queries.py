"""The statements that change many tasks, and the arrays and records that they read: always for an owner."""

from collections.abc import Iterable

from msgspec import UNSET

from app.db.statements import SET_RLS_OWNER, Statement
from app.tasks.batch.operations import ChangeOperation, CompleteOperation, DeleteOperation
from app.tasks.bodies import FITS, FRESH, GIVEN, NEW_VALUES, changes_of, initial_values
from app.tasks.queries import FIELD_NAMES, ID_AND_VERSION, OWNED_BY_CALLER, SHORT_COLUMNS
from app.tasks.revisions import STAMPED

# Lists are sent as text: asyncpg would have to ask each new connection what arrays and records are.
AMONG = '"tasks"."id" = ANY(:ids::text::bigint[])'

RAISE_REVISION = Statement(
    f"""
    UPDATE "revisions" SET "revision" = "revision" + :count::bigint, "epoch" = DEFAULT, "stamped" = {STAMPED},
        "stored" = "stored" + :added::bigint
    WHERE {SET_RLS_OWNER} AND "user_id" = :owner AND (
        :added::bigint = 0 OR :max_tasks::bigint = 0 OR "stored" + :added::bigint <= :max_tasks::bigint
    )
    RETURNING "revision", "stamped"
    """
)
# Of somebody who has had no task so far.
BEGIN_REVISION = Statement(
    f"""
    INSERT INTO "revisions" AS "mine" ("user_id", "revision", "stored", "stamped")
    SELECT :owner::text, :count::bigint, :added::bigint, clock_timestamp()::timestamptz(3)
    WHERE {SET_RLS_OWNER} AND (:max_tasks::bigint = 0 OR :added::bigint <= :max_tasks::bigint)
    ON CONFLICT ("user_id") DO UPDATE SET
        "revision" = "mine"."revision" + excluded."revision", "stored" = "mine"."stored" + excluded."stored",
        "epoch" = DEFAULT,
        "stamped" = greatest(clock_timestamp(), "mine"."stamped" + interval '1 millisecond')::timestamptz(3)
    WHERE :max_tasks::bigint = 0 OR "mine"."stored" + excluded."stored" <= :max_tasks::bigint
    RETURNING "revision", "stamped"
    """
)
# Where there would be too many.
STORED = Statement(f'SELECT "stored" FROM "revisions" WHERE {SET_RLS_OWNER} AND "user_id" = :owner')

TOGGLED = {"completed": 'coalesce("to_completed", CASE WHEN "flips" THEN NOT "completed" ELSE "completed" END)'}


def _change(returned: str) -> Statement:
    return Statement(
        f"""
        UPDATE "tasks" SET
            {", ".join(f'"{name}" = {value}' for name, value in (NEW_VALUES | TOGGLED).items())},
            "deleted_at" = CASE WHEN "deletes" THEN statement_timestamp() END,
            "version" = "number", "updated_at" = :stamped::timestamptz, "changed_by" = :by
        FROM json_to_recordset(:rows::text::json) AS "change" (
            "number" bigint, "task_id" bigint, "from_version" bigint, {GIVEN}, "flips" boolean, "deletes" boolean
        )
        WHERE {OWNED_BY_CALLER} AND "tasks"."id" = "task_id" AND coalesce("tasks"."version" = "from_version", true)
            AND {FITS} RETURNING {returned}
        """
    )


def _create(returned: str) -> Statement:
    return Statement(
        f"""
        INSERT INTO "tasks" ("user_id", {FIELD_NAMES}, "version", "changed_by", "created_at", "updated_at")
        SELECT :owner, {initial_values(":stamped::timestamptz")}, "number", :by, :stamped::timestamptz,
            :stamped::timestamptz
        FROM json_to_recordset(:rows::text::json) AS "new" ("number" bigint, {FRESH})
        WHERE {SET_RLS_OWNER} ORDER BY "number" RETURNING {returned}
        """
    )


def _show(shown: str) -> Statement:
    return Statement(f'SELECT {shown} FROM "tasks" WHERE {OWNED_BY_CALLER} AND {AMONG}')


# Each returns what an answer has of a task: all but a long description; or with `_BRIEFLY`, its id and version.
CHANGE_TASKS, CHANGE_TASKS_BRIEFLY = _change(SHORT_COLUMNS), _change(ID_AND_VERSION)
CREATE_TASKS, CREATE_TASKS_BRIEFLY = _create(SHORT_COLUMNS), _create(ID_AND_VERSION)
SHOW, SHOW_BRIEFLY = _show(SHORT_COLUMNS), _show(ID_AND_VERSION)
IDS_OF = Statement(
    f"""
    SELECT "uid"::text, "id", "deleted_at" IS NOT NULL AS "is_deleted" FROM "tasks"
    WHERE {SET_RLS_OWNER} AND "user_id" = :owner AND "uid" = ANY(:uids::text::uuid[])
    """
)
# Of the lists and labels that a batch has changed, those that are not gone for good.
STILL_THERE = Statement(
    f"""
    SELECT 'list' AS "on", "id" FROM "task_lists"
    WHERE {SET_RLS_OWNER} AND "user_id" = :owner AND "id" = ANY(:list_ids::text::bigint[])
    UNION ALL SELECT 'label', "id" FROM "task_labels"
    WHERE {SET_RLS_OWNER} AND "user_id" = :owner AND "id" = ANY(:label_ids::text::bigint[])
    """
)
LENGTH = _show('coalesce(sum(octet_length("description")), 0) AS "length"')
EXTRAS = _show('"id", "extra"')
DESCRIBE = _show('"id", "description"')
# Of what has been moved to the trash just now.
FORGET = Statement(
    f"""
    DELETE FROM "tasks" WHERE {SET_RLS_OWNER} AND "user_id" = :owner AND "deleted_at" IS NOT NULL AND {AMONG}
    """
)


def row(number: int, operation: ChangeOperation, extra: str | None) -> dict[str, object]:
    """Return a change of a task, which has this `extra`, as SQL reads it: a field that is absent stays as it is."""
    row: dict[str, object] = {"number": number, "task_id": operation.id}
    if operation.version is not UNSET:
        row["from_version"] = operation.version
    if isinstance(operation, DeleteOperation):
        return row | {"deletes": True}
    content = changes_of(operation.data, extra) if operation.data else {}
    return row | (content or {"flips": True} if isinstance(operation, CompleteOperation) else content)


def array(ids: Iterable[int | str]) -> str:
    """Return ids or uids as PostgreSQL writes an array."""
    return f"{{{','.join(map(str, ids))}}}"
