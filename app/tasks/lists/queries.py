"""The statements about lists: each is for an owner. Those that change something run in a transaction (`changes`).

The transaction has raised the owner's revision, and holds it: `:version` is the new one, `:stamped` its time.
"""

from app.auth.jwt import User as Owner
from app.db.engine import database
from app.db.statements import SET_RLS_OWNER, Statement, columns_of
from app.tasks.listing.cache import State
from app.tasks.lists.failures import ListNotFound
from app.tasks.lists.structs import TodoList, TrashedTodoList

LIST_COLUMNS, TRASHED_LIST_COLUMNS = columns_of(TodoList), columns_of(TrashedTodoList)
OWNED_LISTS = f'{SET_RLS_OWNER} AND "task_lists"."user_id" = :owner'
THAT_LIST = f'{OWNED_LISTS} AND "task_lists"."id" = :list_id'

# The state of all that is the owner's comes with each list; a row without a list where there is none.
LIST_ALL = Statement(
    f"""
    WITH "mine" AS (
        SELECT "epoch", "revision" FROM "revisions" WHERE {SET_RLS_OWNER} AND "user_id" = :owner
    )
    SELECT "mine"."epoch", "mine"."revision", "theirs".* FROM "mine" LEFT JOIN (
        SELECT {LIST_COLUMNS} FROM "task_lists" WHERE {OWNED_LISTS} AND "task_lists"."deleted_at" IS NULL
    ) AS "theirs" ON true
    """
)
# One in the trash too.
FIND_LIST = Statement(f'SELECT {TRASHED_LIST_COLUMNS} FROM "task_lists" WHERE {THAT_LIST}')
LIST_WITH_UID = Statement(
    f'SELECT {TRASHED_LIST_COLUMNS} FROM "task_lists" WHERE {OWNED_LISTS} AND "task_lists"."uid" = :uid::text::uuid'
)
CREATE_LIST = Statement(
    f"""
    INSERT INTO "task_lists" ("user_id", "uid", "name", "color", "position", "archived_at", "version", "created_at",
        "updated_at", "changed_by")
    SELECT :owner, :new_uid::text::uuid, :name::text, :color::text, :position::text,
        CASE WHEN :archived::boolean THEN :stamped::timestamptz END,
        :version::bigint, :stamped::timestamptz, :stamped::timestamptz, :by
    WHERE {SET_RLS_OWNER}
        AND (:max_lists::bigint = 0 OR (SELECT count(*) FROM "task_lists" WHERE {OWNED_LISTS}) < :max_lists::bigint)
    RETURNING {LIST_COLUMNS}
    """
)
UPDATE_LIST = Statement(
    f"""
    UPDATE "task_lists" SET "name" = coalesce(:name::text, "name"),
        "color" = CASE WHEN :sets_color::boolean THEN :color::text ELSE "color" END,
        "position" = CASE WHEN :sets_position::boolean THEN :position::text ELSE "position" END,
        "archived_at" = CASE
            WHEN :archived::boolean THEN coalesce("archived_at", :stamped::timestamptz)
            WHEN :archived::boolean IS NULL THEN "archived_at"
        END,
        "version" = :version::bigint, "updated_at" = :stamped::timestamptz, "changed_by" = :by
    WHERE {THAT_LIST} RETURNING {LIST_COLUMNS}
    """
)
TRASH_LIST = Statement(
    f"""
    UPDATE "task_lists" SET "deleted_at" = :stamped::timestamptz, "version" = :version::bigint,
        "updated_at" = :stamped::timestamptz, "changed_by" = :by
    WHERE {THAT_LIST}
    """
)
RESTORE_LIST = Statement(
    f"""
    UPDATE "task_lists" SET "deleted_at" = NULL, "version" = :version::bigint, "updated_at" = :stamped::timestamptz,
        "changed_by" = :by
    WHERE {THAT_LIST} RETURNING {LIST_COLUMNS}
    """
)
# In place of a higher one, where nothing is to change.
HOLD_AS_IT_IS = Statement(
    f'SELECT "revision", "stamped" FROM "revisions" WHERE {SET_RLS_OWNER} AND "user_id" = :owner FOR NO KEY UPDATE'
)
DELETE_LIST = Statement(f'DELETE FROM "task_lists" WHERE {THAT_LIST}')
TRASHED_LISTS = f'"task_lists" WHERE {OWNED_LISTS} AND "task_lists"."deleted_at" IS NOT NULL'
DELETE_TRASHED_LISTS = Statement(f"DELETE FROM {TRASHED_LISTS}")


async def all_lists(owner: Owner) -> tuple[State | None, list[TodoList]]:
    """Return the owner's lists in their order, and the state of all that is the owner's, if there is one."""
    rows = await database.fetch(LIST_ALL, owner=owner.id)
    lists = [TodoList(*row[2:]) for row in rows if row["id"] is not None]
    state = State(rows[0]["epoch"], rows[0]["revision"]) if rows else None
    return state, sorted(lists, key=lambda each: (each.position, each.id))


async def get_list(owner: Owner, list_id: int) -> TodoList:
    """Raises ListNotFound, also for one in the trash."""
    rows = await database.fetch(FIND_LIST, owner=owner.id, list_id=list_id)
    if not rows or rows[0]["deleted_at"] is not None:
        raise ListNotFound
    return TodoList(*rows[0][:-1])
