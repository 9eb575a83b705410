"""The statements that store a new task."""

from collections.abc import Sequence
from typing import Any

import asyncpg

from app.db.statements import SET_RLS_OWNER
from app.tasks.bodies import FRESH, given, initial_values
from app.tasks.by_uid import check_that_it_was_the_uid, find_by_uid
from app.tasks.change import Change
from app.tasks.failures import Conflict, LimitReached
from app.tasks.idempotency import ChangeStatement, execute
from app.tasks.in_list import execute_whole, put_list_id
from app.tasks.queries import COLUMNS, COMMON_FIELDS, FIELD_NAMES, values_of
from app.tasks.revisions import NEXT_REVISION, NEXT_REVISION_FOR_ANOTHER, RAISED_AT
from app.tasks.structs import Task, TaskContent, check_fits
from app.tasks.uids import chosen_uid
from app.web.envelopes import encode
from app.web.failures import Unavailable

CREATE_ATTEMPTS = 5
FIRST_AT = f"coalesce({RAISED_AT}, statement_timestamp())"  # which the trigger sees to


def _create(columns: str, values: str, source: str = "") -> ChangeStatement:
    """Return what stores a new task.

    Where there was nothing to raise, a trigger finds out whether this is the owner's first task, or one too many.
    """
    return ChangeStatement(
        f"""
        INSERT INTO "tasks" ("user_id", {columns}, "version", "changed_by", "created_at", "updated_at")
        SELECT :owner, {values}, {NEXT_REVISION}, :by, {FIRST_AT}, {FIRST_AT}
        {source} WHERE {SET_RLS_OWNER} AND (
            EXISTS (SELECT 1 FROM "raised")
            OR (SELECT set_config('tasks.max_tasks', (:max_tasks::bigint)::text, true)) <> ''
        )
        RETURNING {COLUMNS}
        """,
        NEXT_REVISION_FOR_ANOTHER,
        grouped=True,
        returns_task=True,
    )


CREATE = _create(
    ", ".join([*(f'"{field.name}"' for field in COMMON_FIELDS), '"completed_at"']),
    ", ".join(
        [
            *(f"coalesce(:{field.name}::{field.sql}, {field.initial})" for field in COMMON_FIELDS),
            f"CASE WHEN :completed::boolean THEN {RAISED_AT} END",
        ]
    ),
)
CREATE_WHOLE = _create(
    FIELD_NAMES, initial_values(RAISED_AT), f'FROM json_to_record(:content::text::json) AS "new" ({FRESH})'
)


async def create_task(change: Change, content: TaskContent, max_tasks: int = 0, uid: str | None = None) -> Task:
    """Store a new task and return it. An owner whom the database has not seen yet is added first.

    The task has this uid, or else the one that the body chooses. Raises Invalid for what a new task cannot have;
    InvalidToken where the owner is unknown and may not be added; LimitReached where `max_tasks` are stored, and it is
    not 0; Conflict where there is one with the uid; KeyReused, and TaskNotFound for one that was stored with this key
    and is gone for good.
    """
    check_fits(content, None)
    uid = uid or chosen_uid(content.uid)
    if content.is_common and uid is None:
        rows = await execute(CREATE, change, max_tasks=max_tasks, **values_of(content))
    else:
        rows = await _create_whole(change, content, max_tasks, uid)
    if not rows:
        raise LimitReached(max_tasks)
    return Task(*rows[0])


async def _create_whole(change: Change, content: TaskContent, max_tasks: int, uid: str | None) -> Sequence[Any]:
    """Raises Conflict; and Unavailable where the other one was deleted for good each time that it was looked at."""
    await put_list_id(change.owner, content)
    text = encode(given(content) | {"uid": uid}).decode()
    for _ in range(CREATE_ATTEMPTS):
        try:
            return await execute_whole(CREATE_WHOLE, change, max_tasks=max_tasks, content=text)
        except asyncpg.UniqueViolationError as error:
            check_that_it_was_the_uid(error)
        if there := await find_by_uid(change.owner, str(uid)):
            raise Conflict(there)
    raise Unavailable
