"""The statements about the trash: what is in it, the last deleted first; to restore it, and to delete it for good.

A long trash is streamed. It has no state of its own: a task that is restored, deleted or purged while it is sent may be
missing in it, and no other.
"""

from collections.abc import Sequence
from typing import Any

from app.auth.idempotency import is_known
from app.auth.jwt import User as Owner
from app.db.engine import database
from app.db.statements import SET_RLS_OWNER, Statement, columns_of
from app.tasks.bounded import MAX_PIECE_BYTES, SHORT_TEXTS, inline, within_bytes
from app.tasks.change import Change
from app.tasks.idempotency import ChangeStatement, execute
from app.tasks.keyset import PageRequest, Piece, piece_of, streamed
from app.tasks.lists.purging import purge_lists
from app.tasks.lists.queries import TRASHED_LISTS
from app.tasks.queries import UNLESS_CHANGED, execute_on, find, update
from app.tasks.removal import MANY, MANY_BYTES
from app.tasks.revisions import NEXT_REVISION, NEXT_REVISION_ROW
from app.tasks.structs import Page, Task, TrashData, TrashedTask
from app.web.cursors import Place
from app.web.envelopes import encode
from app.web.routing import Stream

TRASHED_COLUMNS = columns_of(TrashedTask)
LAST_VERSION = 2**63 - 1
IN_TRASH = f'{SET_RLS_OWNER} AND "tasks"."user_id" = :owner AND "tasks"."deleted_at" IS NOT NULL'
THAT_TRASHED_TASK = f'{IN_TRASH} AND "tasks"."id" = :task_id'

# Two may well be deleted in the same millisecond.
BEHIND = f"""{IN_TRASH}
    AND ("tasks"."deleted_at", "version") < (coalesce(:at::text::timestamptz, 'infinity'), :at_version::bigint)
    ORDER BY "tasks"."deleted_at" DESC, "version" DESC LIMIT :limit
"""
LIST_TRASH = Statement(f'SELECT {columns_of(TrashedTask, **SHORT_TEXTS)} FROM "tasks" WHERE {BEHIND}')
# The same, which ends early where descriptions are long.
IN_ORDER = within_bytes(f'SELECT * FROM "tasks" WHERE {BEHIND}')
LIST_LONG_TRASH = Statement(f'SELECT {TRASHED_COLUMNS}, "more" FROM {IN_ORDER} AS "tasks"')

GET_TRASHED = Statement(f'SELECT {TRASHED_COLUMNS} FROM "tasks" WHERE {THAT_TRASHED_TASK}')
RESTORE = update({"deleted_at": "NULL"}, f"{THAT_TRASHED_TASK} AND {UNLESS_CHANGED}")
# It asks for the new revision, so that PostgreSQL raises it before it looks for the row, as every change does.
PURGE = ChangeStatement(
    f"""
    DELETE FROM "tasks" WHERE {THAT_TRASHED_TASK} AND {UNLESS_CHANGED} AND {NEXT_REVISION} IS NOT NULL
    RETURNING "id", {NEXT_REVISION} AS "revision"
    """,
    NEXT_REVISION_ROW,
)
# A part of what is in it, so that the statement takes no longer the more there is. Two of these at the same time would
# lock the same rows in orders of their own; so they take turns at the revision.
EMPTY = ChangeStatement(
    f"""
    SELECT (SELECT count(*) FROM "gone") AS "count",
        count(*) = {MANY} OR bool_or("size" > {MANY_BYTES}) AS "is_more", {NEXT_REVISION} AS "revision",
        EXISTS (SELECT 1 FROM {TRASHED_LISTS}) AS "has_lists"
    FROM "some"
    """,
    NEXT_REVISION_ROW,
    f"""
    "some" AS MATERIALIZED (
        SELECT "id", sum("size") OVER (ROWS UNBOUNDED PRECEDING) - "size" AS "size" FROM (
            SELECT "id", coalesce(pg_column_size("description"), 0) AS "size"
            FROM "tasks" WHERE {IN_TRASH} AND {NEXT_REVISION} IS NOT NULL LIMIT {MANY}
        ) AS "each"
    )
    """,
    f"""
    "gone" AS (
        DELETE FROM "tasks"
        WHERE {IN_TRASH} AND "id" = ANY (ARRAY(SELECT "id" FROM "some" WHERE "size" <= {MANY_BYTES}))
        RETURNING 1
    )
    """,
)


async def trash_of(owner: Owner, page: PageRequest) -> tuple[Any, str | None]:
    """Return what is in the trash, or a page of it and the cursor of the next one."""
    found = await _read(owner, page)
    if not found.is_whole:
        found = await _read(owner, page, adds_up=True)
    if page.limit:
        following = page.cursor(found.end)
        return TrashData(found.tasks, Page(following)), following
    if found.end is None:
        return TrashData(found.tasks), None

    async def read(place: Place) -> Piece[TrashedTask]:
        return await _read(owner, page._replace(after=place), adds_up=True)

    return Stream(streamed(found, read, encode, lambda _: b"]}"), MAX_PIECE_BYTES), None


async def _read(owner: Owner, page: PageRequest, *, adds_up: bool = False) -> Piece[TrashedTask]:
    after = page.after
    values = {"at": after and after.at, "at_version": after.id if after else LAST_VERSION}
    values |= {"owner": owner.id, "limit": page.rows + 1, "inline": inline(page.rows)}
    rows = await (database.fetch_long(LIST_LONG_TRASH, **values) if adds_up else database.fetch(LIST_TRASH, **values))
    return piece_of(TrashedTask, rows, page, lambda last, _: Place(last.version, last.deleted_at, page.limit))


async def get_trashed(owner: Owner, task_id: int) -> TrashedTask:
    """Raises TaskNotFound."""
    return TrashedTask(*await find(GET_TRASHED, owner, task_id))


async def restore_task(change: Change, task_id: int) -> Task:
    """Restore it. Raises TaskNotFound where it is not in the trash, PreconditionFailed, KeyReused."""
    return Task(*await execute_on(RESTORE, change, task_id, get_trashed))


async def purge_task(change: Change, task_id: int) -> int | None:
    """Delete it for good, and return the owner's revision, as `empty_trash` does.

    Raises TaskNotFound where it is not in the trash, PreconditionFailed, KeyReused.
    """
    return _revision(await execute_on(PURGE, change, task_id, get_trashed), 1)


async def empty_trash(change: Change) -> int | None:
    """Delete all tasks in it for good, a part after the other, and then the lists. Raises KeyReused.

    Returns the owner's revision; None of an owner who has none, and where a key kept the answer of an older version.
    """
    owner, key = change.owner, change.key
    rows: Sequence[Any] = []
    if key is None or not await is_known(key, owner):
        while (rows := await database.fetch(EMPTY, owner=owner.id))[0]["is_more"]:
            pass
        if rows[0]["has_lists"]:
            await purge_lists(owner)
            rows = await database.fetch(EMPTY, owner=owner.id)  # which tells the revision
    if key is not None:
        rows = await execute(EMPTY, change)
    return _revision(rows[0], 2)


def _revision(row: Any, place: int) -> int | None:
    return row[place] if len(row) > place else None
