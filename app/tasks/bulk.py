"""The statements that many changes are made with at once, and the lists that they read: always for an owner."""

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType
from piccolo.querystring import QueryString

from app.statements import Param, Statement, columns_of
from app.tasks.bounded import DESCRIPTION
from app.tasks.operations import CompleteOperation, ReplaceOperation, UpdateOperation
from app.tasks.queries import BY, FOR_THEM, MAX_TASKS, OWNER, STAMP, THEIR_OWN
from app.tasks.structs import Task, TaskContent, is_too_long

# Lists travel as text: asyncpg would have to ask each new connection what arrays and records are.
COUNT, ADDED, ROWS, IDS = Param("count"), Param("added"), Param("rows"), Param("ids")
STAMPED = Param("stamped")
SHORT_COLUMNS = columns_of(Task, description=DESCRIPTION)
ID_AND_VERSION = QueryString('"tasks"."id", "tasks"."version"')
AMONG = QueryString('"tasks"."id" = ANY({}::text::bigint[])', IDS)

RAISE = Statement(
    QueryString(
        f"""
        UPDATE "revisions" SET "revision" = "revision" + {{}}::bigint, "epoch" = DEFAULT, "stamped" = {STAMP},
            "stored" = "stored" + {{}}::bigint
        WHERE {{}} AND "user_id" = {{}}
        AND ({{}}::bigint = 0 OR {{}}::bigint = 0 OR "stored" + {{}}::bigint <= {{}}::bigint)
        RETURNING "revision", "stamped"
        """,
        COUNT,
        ADDED,
        FOR_THEM.querystring,
        OWNER,
        ADDED,
        MAX_TASKS,
        ADDED,
        MAX_TASKS,
    )
)
# Of somebody who has had no task so far.
BEGIN = Statement(
    QueryString(
        """
        INSERT INTO "revisions" AS "mine" ("user_id", "revision", "stored", "stamped")
        SELECT {}::text, {}::bigint, {}::bigint, clock_timestamp()::timestamptz(3)
        WHERE {} AND ({}::bigint = 0 OR {}::bigint <= {}::bigint)
        ON CONFLICT ("user_id") DO UPDATE SET
            "revision" = "mine"."revision" + excluded."revision", "stored" = "mine"."stored" + excluded."stored",
            "epoch" = DEFAULT,
            "stamped" = greatest(clock_timestamp(), "mine"."stamped" + interval '1 millisecond')::timestamptz(3)
        WHERE {}::bigint = 0 OR "mine"."stored" + excluded."stored" <= {}::bigint
        RETURNING "revision", "stamped"
        """,
        OWNER,
        COUNT,
        ADDED,
        FOR_THEM.querystring,
        MAX_TASKS,
        ADDED,
        MAX_TASKS,
        MAX_TASKS,
        MAX_TASKS,
    )
)
# Where there would be too many.
STORED = Statement(
    QueryString('SELECT "stored" FROM "revisions" WHERE {} AND "user_id" = {}', FOR_THEM.querystring, OWNER)
)


def _change(returned: QueryString) -> Statement:
    return Statement(
        QueryString(
            """
        UPDATE "tasks" SET
            "title" = coalesce("to_title", "title"),
            "description" = CASE WHEN "describes" THEN "to_description" ELSE "description" END,
            "completed" = coalesce("to_completed", CASE WHEN "flips" THEN NOT "completed" ELSE "completed" END),
            "deleted_at" = CASE WHEN "deletes" THEN statement_timestamp() END,
            "version" = "number",
            "updated_at" = {}::timestamptz,
            "changed_by" = {}
        FROM json_to_recordset({}::text::json) AS "change" (
            "number" bigint, "task_id" bigint, "from_version" bigint, "to_title" text, "describes" boolean,
            "to_description" text, "flips" boolean, "to_completed" boolean, "deletes" boolean, "described_as" text
        )
        WHERE {} AND "tasks"."id" = "task_id" AND coalesce("tasks"."version" = "from_version", true)
            AND coalesce("tasks"."description" = "described_as", "described_as" IS NULL) RETURNING {}
        """,
            STAMPED,
            BY,
            ROWS,
            THEIR_OWN.querystring,
            returned,
        )
    )


def _create(returned: QueryString) -> Statement:
    return Statement(
        QueryString(
            """
        INSERT INTO "tasks" ("user_id", "title", "description", "completed", "version", "changed_by",
            "created_at", "updated_at")
        SELECT {}, "new"."title", "new"."description", "new"."completed", "number", {}, {}::timestamptz, {}::timestamptz
        FROM json_to_recordset({}::text::json)
            AS "new" ("number" bigint, "title" text, "description" text, "completed" boolean)
        WHERE {} ORDER BY "number" RETURNING {}
        """,
            OWNER,
            BY,
            STAMPED,
            STAMPED,
            ROWS,
            FOR_THEM.querystring,
            returned,
        )
    )


def _show(shown: QueryString) -> Statement:
    return Statement(QueryString('SELECT {} FROM "tasks" WHERE {} AND {}', shown, THEIR_OWN.querystring, AMONG))


# Each returns what an answer has of a task: all but a long description; or with `_BRIEFLY`, its id and version.
CHANGE, CHANGE_BRIEFLY = _change(SHORT_COLUMNS), _change(ID_AND_VERSION)
CREATE, CREATE_BRIEFLY = _create(SHORT_COLUMNS), _create(ID_AND_VERSION)
SHOW, SHOW_BRIEFLY = _show(SHORT_COLUMNS), _show(ID_AND_VERSION)
LENGTH = _show(QueryString('coalesce(sum(octet_length("description")), 0) AS "length"'))
DESCRIBE = _show(QueryString('"id", "description"'))
# Of what has been moved to the trash just now.
FORGET = Statement(
    QueryString(
        'DELETE FROM "tasks" WHERE {} AND "user_id" = {} AND "deleted_at" IS NOT NULL AND {}',
        FOR_THEM.querystring,
        OWNER,
        AMONG,
    )
)


class Row(msgspec.Struct, omit_defaults=True):
    """What becomes of a task, as SQL reads it: what is absent stays as it is."""

    number: int
    task_id: int
    from_version: int | UnsetType = UNSET
    to_title: str | UnsetType = UNSET
    describes: bool = False
    to_description: str | UnsetType | None = None
    flips: bool = False
    to_completed: bool | UnsetType = UNSET
    deletes: bool = False
    described_as: str | UnsetType = UNSET  # if it is to be changed


class NewRow(msgspec.Struct):
    """A task that is not there yet, as SQL reads it."""

    number: int
    title: str
    description: str | None
    completed: bool


def row(number: int, operation: Any) -> Row:
    """Return what an operation makes of the task that it names."""
    it = Row(number, operation.id, operation.version)
    match operation:
        case UpdateOperation(data=patch):
            it.to_title, it.to_description, it.to_completed = patch.title, patch.description, patch.completed
            it.describes = patch.description is not UNSET
            _leave_if_too_long(it)
        case ReplaceOperation(data=content):
            it.to_title, it.to_description, it.to_completed = content.title, content.description, content.completed
            it.describes = True
            _leave_if_too_long(it)
        case CompleteOperation(data=completion):
            it.to_completed = completion.completed if completion else UNSET
            it.flips = it.to_completed is UNSET
        case _:
            it.deletes = True
    return it


def new_row(number: int, content: TaskContent) -> NewRow:
    """Return a task that is to be added."""
    return NewRow(number, content.title, content.description, content.completed is True)


def _leave_if_too_long(it: Row) -> None:
    """Change no description to one that is too long to be new: it has to be there already."""
    if isinstance(it.to_description, str) and is_too_long(it.to_description):
        it.described_as, it.to_description, it.describes = it.to_description, None, False


def array(ids: Iterable[int]) -> str:
    """Return ids as PostgreSQL writes an array."""
    return f"{{{','.join(map(str, ids))}}}"
