"""What tasks were at their earlier versions: each text is in the first version from there on that keeps one.

A row of the history has the texts that the change after it replaced. What no later change has replaced is the task's.
"""

from collections.abc import Sequence

from piccolo.querystring import QueryString

from app.auth.tokens import User as Owner
from app.database import database
from app.envelopes import encode
from app.statements import STAMP, Param, Statement, as_owner
from app.tables import Task as TaskTable
from app.tables import TaskVersion
from app.tasks.bounded import DESCRIPTION
from app.tasks.failures import TaskNotFound
from app.tasks.structs import Task

OWNER, WANTED, TASK_ID = Param("owner"), Param("states"), Param("task_id")
ANY_LENGTH = 2**31 - 1  # bytes
FOR_THEM = as_owner(OWNER)
THEIR_PAST = FOR_THEM & (TaskVersion.user_id == OWNER)


def kept(text: str, past: QueryString) -> QueryString:
    """Return the query for the earliest of these states that keeps a text: `text` and `is_kept`, or no row."""
    keeps = {"title": '"title" IS NOT NULL', "description": '"keeps_description"'}[text]
    return QueryString(
        f"""
        SELECT "{text}" AS "text", true AS "is_kept" FROM "task_versions" WHERE {{}} AND {keeps}
        ORDER BY "task_versions"."version" LIMIT 1
        """,
        past,
    )


SINCE = QueryString('{} AND "task_id" = "wanted_id" AND "version" >= "wanted_version"', THEIR_PAST.querystring)
# Of a version that the history has lost since, the task as it is now; of a task that is gone, nothing.
AS_THEY_WERE = Statement(
    QueryString(
        f"""
        SELECT "tasks"."id", "tasks"."user_id",
            CASE WHEN "titled"."is_kept" THEN "titled"."text" ELSE "tasks"."title" END AS "title",
            (
                SELECT {{}} FROM (
                    SELECT CASE WHEN "told"."is_kept" THEN "told"."text" ELSE "tasks"."description" END AS "description"
                ) AS "it"
            ) AS "description",
            coalesce("then"."completed", "tasks"."completed") AS "completed",
            {STAMP.format('"tasks"."created_at"')} AS "created_at",
            {STAMP.format('coalesce("then"."changed_at", "tasks"."updated_at")')} AS "updated_at",
            coalesce("then"."version", "tasks"."version") AS "version", "wanted"."place"
        FROM (
            SELECT "id" AS "wanted_id", "version" AS "wanted_version", "place"
            FROM json_to_recordset({{}}::text::json) AS "those" ("id" bigint, "version" bigint, "place" integer)
        ) AS "wanted"
        CROSS JOIN LATERAL (SELECT * FROM "tasks" WHERE {{}} AND "tasks"."id" = "wanted_id") AS "tasks"
        LEFT JOIN LATERAL (
            SELECT * FROM "task_versions" WHERE {{}} AND "task_id" = "wanted_id" AND "version" = "wanted_version"
        ) AS "then" ON true
        LEFT JOIN LATERAL ({{}}) AS "titled" ON "then"."version" IS NOT NULL
        LEFT JOIN LATERAL ({{}}) AS "told" ON "then"."version" IS NOT NULL
        """,
        DESCRIPTION,
        WANTED,
        (FOR_THEM & (TaskTable.user_id == OWNER)).querystring,
        THEIR_PAST.querystring,
        kept("title", SINCE),
        kept("description", SINCE),
    )
)


VERSION = Statement(
    TaskTable.select(TaskTable.version).where(
        FOR_THEM & (TaskTable.user_id == OWNER) & TaskTable.deleted_at.is_null() & (TaskTable.id == TASK_ID)
    )
)


async def version_of(owner: Owner, task_id: int) -> int:
    """Return the version of a task, of which nothing else is read. Raises TaskNotFound."""
    rows = await database.fetch(VERSION, owner=owner.id, task_id=task_id)
    if not rows:
        raise TaskNotFound
    return rows[0][0]


async def as_they_were(owner: Owner, states: Sequence[tuple[int, int]], inline: int = ANY_LENGTH) -> list[Task | None]:
    """Return the owner's tasks, those in the trash too, at the versions of (id, version), in one statement.

    A description of more than `inline` bytes is TOO_LONG (`bounded`). None stands for a task that is gone. Of a version
    that the history has lost, it is the task as it is now.
    """
    wanted = [{"id": task_id, "version": version, "place": place} for place, (task_id, version) in enumerate(states)]
    rows = await database.fetch(AS_THEY_WERE, owner=owner.id, states=encode(wanted).decode(), inline=inline)
    found = {place: Task(*row) for *row, place in rows}
    return [found.get(place) for place in range(len(states))]
