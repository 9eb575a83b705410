"""Tasks as they were at earlier versions.

A row of the history has the texts that the change after it replaced. So a text of a version is in the first row from
there on that keeps one, or else it is the task's.
"""

from collections.abc import Sequence

from app.auth.jwt import User as Owner
from app.db.engine import database
from app.db.statements import SET_RLS_OWNER, Statement, on_the_wire
from app.tasks.bounded import SHORT_DESCRIPTION
from app.tasks.fields import FIELDS
from app.tasks.structs import Task
from app.web.envelopes import encode

ANY_LENGTH = 2**31 - 1  # bytes
KEPT_IF_REPLACED, KEPT_EACH_TIME = [each for each in FIELDS if each.kept], [each for each in FIELDS if not each.kept]
PAST_OF_CALLER = f'{SET_RLS_OWNER} AND "task_versions"."user_id" = :owner'


def kept(past: str, condition: str = "true") -> str:
    """Return the SQL of joins with the earliest of these states that keeps each text: `text` and `is_kept`."""
    return " ".join(
        f"""
        LEFT JOIN LATERAL (
            SELECT "{field.name}" AS "text", true AS "is_kept" FROM "task_versions" WHERE {past} AND {field.kept}
            ORDER BY "task_versions"."version" LIMIT 1
        ) AS "kept_{field.name}" ON {condition}
        """
        for field in KEPT_IF_REPLACED
    )


def as_it_was(text: str, now: str) -> str:
    """Return the SQL of a text in a state, with the joins of `kept`: the kept one, or else the one of now."""
    return f'CASE WHEN "kept_{text}"."is_kept" THEN "kept_{text}"."text" ELSE {now} END'


OF_A_STATE = Task.computed | {
    "updated_at": 'coalesce("then"."changed_at", "tasks"."updated_at")',
    "version": 'coalesce("then"."version", "tasks"."version")',
}


def _column(name: str) -> str:
    now, then = f'"tasks"."{name}"', f'"then"."{name}"'
    if name in (field.name for field in KEPT_EACH_TIME):
        return f'CASE WHEN "then"."version" IS NULL THEN {now} ELSE {then} END'
    if name not in (field.name for field in KEPT_IF_REPLACED):
        return OF_A_STATE.get(name, now)
    text = as_it_was(name, now)
    if name != "description":
        return text
    return f'(SELECT {SHORT_DESCRIPTION} FROM (SELECT {text} AS "description") AS "it")'


def _shown(name: str) -> str:
    column = _column(name)
    return f'{column if name in Task.computed else on_the_wire(name, column)} AS "{name}"'


SINCE = f'{PAST_OF_CALLER} AND "task_id" = "wanted_id" AND "version" >= "wanted_version"'
# Of a version that the history has lost since, the task as it is now; of a task that is gone, nothing.
AS_THEY_WERE = Statement(
    f"""
    SELECT {", ".join(_shown(name) for name in Task.__struct_fields__)}, "wanted"."place"
    FROM (
        SELECT "id" AS "wanted_id", "version" AS "wanted_version", "place"
        FROM json_to_recordset(:states::text::json) AS "those" ("id" bigint, "version" bigint, "place" integer)
    ) AS "wanted"
    CROSS JOIN LATERAL (
        SELECT * FROM "tasks" WHERE {SET_RLS_OWNER} AND "tasks"."user_id" = :owner AND "tasks"."id" = "wanted_id"
    ) AS "tasks"
    LEFT JOIN LATERAL (
        SELECT * FROM "task_versions"
        WHERE {PAST_OF_CALLER} AND "task_id" = "wanted_id" AND "version" = "wanted_version"
    ) AS "then" ON true
    {kept(SINCE, '"then"."version" IS NOT NULL')}
    """
)


async def as_they_were(owner: Owner, states: Sequence[tuple[int, int]], inline: int = ANY_LENGTH) -> list[Task | None]:
    """Return the owner's tasks, those in the trash too, at the versions of (id, version), in one statement.

    A description of more than `inline` bytes is TOO_LONG (`bounded`). None stands for a task that is gone. Of a version
    that the history has lost, it is the task as it is now.
    """
    wanted = [{"id": task_id, "version": version, "place": place} for place, (task_id, version) in enumerate(states)]
    rows = await database.fetch(AS_THEY_WERE, owner=owner.id, states=encode(wanted).decode(), inline=inline)
    found = {place: Task(*row) for *row, place in rows}
    return [found.get(place) for place in range(len(states))]
