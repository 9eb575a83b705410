"""The trash: what was deleted, until it is restored or gone for good.

What is in it is none of the caller's tasks any more: no other endpoint finds it. It keeps its id, its fields and its
history; what is gone for good takes its history along.
"""

from typing import Any, ClassVar, TypeAlias

from litestar import Controller
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath
from piccolo.querystring import QueryString

from app import upkeep
from app.auth.middleware import CurrentUser
from app.auth.tokens import User as Owner
from app.bodies import check_body
from app.database import database
from app.handlers import UNREAD, IsHead, Reply, delete, get, post
from app.openapi import failures
from app.query import InvalidCursor
from app.removal import MANY, MANY_BYTES
from app.statements import Statement, columns_of
from app.tables import Task as TaskTable
from app.tasks.conditions import IfMatch, tagged
from app.tasks.controller import DEPENDENCIES, REMOVAL, check_task_id
from app.tasks.failures import KeyReused, TaskNotFound
from app.tasks.keys import IdempotencyKey, Key, replayed
from app.tasks.once import ChangeStatement, is_known, once
from app.tasks.queries import FOR_THEM, OWNER, RAISED, REVISION, TASK_ID, UNLESS_CHANGED, attempt, failed, update
from app.tasks.structs import Task, TaskData, TrashData, TrashedTask
from app.tasks.trash_list import TrashQuery, place_of, trash_of, trash_query
from app.tasks.versions import ANYWAY, Condition

InTrash: TypeAlias = NamedDependency[TrashQuery]

COLUMNS = columns_of(TrashedTask)
IN_THEIR_TRASH = FOR_THEM & (TaskTable.user_id == OWNER) & TaskTable.deleted_at.is_not_null()
THAT_ONE = IN_THEIR_TRASH & (TaskTable.id == TASK_ID)

GET_TRASHED = Statement(TaskTable.select(COLUMNS).where(THAT_ONE))
RESTORE = update({TaskTable.deleted_at: QueryString("NULL")}, THAT_ONE & UNLESS_CHANGED)
# It asks for the new revision, so that PostgreSQL raises it before it looks for the row, as every change does.
PURGE = ChangeStatement(
    QueryString(
        'DELETE FROM "tasks" WHERE {} AND {} IS NOT NULL RETURNING "id"',
        (THAT_ONE & UNLESS_CHANGED).querystring,
        REVISION,
    ),
    RAISED,
)
# A part of what is in it, so that the statement takes no longer the more there is. Two of these at once would lock the
# same rows in orders of their own; so they take turns at the revision.
EMPTY = ChangeStatement(
    QueryString(
        """
        SELECT (SELECT count(*) FROM "gone") AS "count", count(*) = {} OR bool_or("size" > {}) AS "is_more" FROM "some"
        """,
        MANY,
        MANY_BYTES,
    ),
    RAISED,
    QueryString(
        """
        "some" AS MATERIALIZED (
            SELECT "id", sum("size") OVER (ROWS UNBOUNDED PRECEDING) - "size" AS "size" FROM (
                SELECT "id", coalesce(pg_column_size("description"), 0) AS "size"
                FROM "tasks" WHERE {} AND {} IS NOT NULL LIMIT {}
            ) AS "each"
        )
        """,
        IN_THEIR_TRASH.querystring,
        REVISION,
        MANY,
    ),
    QueryString(
        """
        "gone" AS (
            DELETE FROM "tasks" WHERE {} AND "id" = ANY (ARRAY(SELECT "id" FROM "some" WHERE "size" <= {})) RETURNING 1
        )
        """,
        IN_THEIR_TRASH.querystring,
        MANY_BYTES,
    ),
)


class TrashController(Controller):
    """What the caller has deleted."""

    path = "/api"
    tags: ClassVar = ["Trash"]
    guards: ClassVar = [check_task_id, check_body]
    dependencies: ClassVar = DEPENDENCIES | {"wanted": Provide(trash_query, sync_to_thread=False)}
    security: ClassVar = [{"bearer": []}]

    @get(
        "/trash",
        operation_id="listTrash",
        reads_query=True,
        summary="List my deleted tasks",
        responses=failures(401, 413, 415, InvalidCursor, 429, 503),
    )
    async def list(self, state: State, user: CurrentUser, wanted: InTrash, is_head: IsHead) -> Reply[TrashData]:
        """All of them, the last deleted first; with `limit`, page by page."""
        secret = state["settings"].secret
        if is_head:
            place_of(user, wanted, secret)
            return Reply(UNREAD, [])
        content, following = await trash_of(user, wanted, secret)
        link = b'</api/trash?%b>; rel="next"' % wanted.beyond(following).encode() if following else b""
        return Reply(content, [(b"link", link)] if link else [])

    @post(
        "/tasks/{task_id:str}/restore",
        status_code=200,
        operation_id="restoreTask",
        summary="Restore a deleted task",
        responses=failures(*REMOVAL),
    )
    async def restore(
        self, user: CurrentUser, task_id: FromPath[int], condition: IfMatch, key: IdempotencyKey
    ) -> Reply[TaskData]:
        """It is as it was, with its id and its history. What is not in the trash is not found."""
        task = await restore_task(user, task_id, condition, key)
        return tagged(TaskData(task), task.version, b"", *replayed(key))

    @delete(
        "/trash/{task_id:str}",
        operation_id="purgeTask",
        summary="Delete a task in the trash for good",
        responses=failures(*REMOVAL),
    )
    async def purge(
        self, user: CurrentUser, task_id: FromPath[int], condition: IfMatch, key: IdempotencyKey
    ) -> Reply[None]:
        """Its history goes too. What is not in the trash is not found."""
        await purge_task(user, task_id, condition, key)
        upkeep.wake()
        return Reply(None, [*replayed(key)])

    @delete(
        "/trash",
        operation_id="emptyTrash",
        summary="Empty my trash",
        responses=failures(401, 403, 413, 415, KeyReused, 429, 503),
    )
    async def empty(self, user: CurrentUser, key: IdempotencyKey) -> Reply[None]:
        """All that is in it is deleted for good."""
        await empty_trash(user, key)
        upkeep.wake()
        return Reply(None, [*replayed(key)])


async def restore_task(owner: Owner, task_id: int, condition: Condition = ANYWAY, key: Key | None = None) -> Task:
    """Put it back among the tasks. Raises TaskNotFound where it is not in the trash, PreconditionFailed, KeyReused."""
    return Task(*await _change(RESTORE, owner, task_id, condition, key))


async def purge_task(owner: Owner, task_id: int, condition: Condition = ANYWAY, key: Key | None = None) -> None:
    """Let nothing be left of it. Raises TaskNotFound where it is not in the trash, PreconditionFailed, KeyReused."""
    await _change(PURGE, owner, task_id, condition, key)


async def empty_trash(owner: Owner, key: Key | None = None) -> None:
    """Let nothing be left of all that is in it, a part after the other. Raises KeyReused."""
    if key is None or not await is_known(key, owner):
        while (await database.fetch(EMPTY, owner=owner.id))[0]["is_more"]:
            pass
    if key is not None:
        await once(EMPTY, key, owner)


async def _change(change: ChangeStatement, owner: Owner, task_id: int, condition: Condition, key: Key | None) -> Any:
    rows = await attempt(change, owner, task_id, condition, key)
    if not rows:
        trashed = await database.fetch(GET_TRASHED, owner=owner.id, task_id=task_id)
        if not trashed or condition.versions is None:
            raise TaskNotFound
        raise failed(TrashedTask(*trashed[0]))
    return rows[0]
