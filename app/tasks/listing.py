"""Lists of an owner's tasks: all of them, or pages of those that are asked for; each is one statement.

The first row of an answer is about the list itself: its state, which is the owner's revision, and what else there is
to tell of it. The tasks follow, unless the list is in a state that is known already: then PostgreSQL does not look at
them.

A page begins behind the last task of the one before, whatever became of that: so a task that stands still is on one
page and on one only, and the thousandth page costs what the first one does.
"""

from functools import cache
from typing import Any, NamedTuple

import asyncpg
import msgspec
from piccolo.columns.combination import WhereRaw
from piccolo.querystring import QueryString

from app.auth.tokens import User as Owner
from app.database import database
from app.envelopes import encode
from app.statements import Param, Statement
from app.tasks import cursors
from app.tasks.cursors import Place
from app.tasks.parameters import Query
from app.tasks.queries import COLUMNS, FOR_THEM, OWNER, THEIR_OWN
from app.tasks.remembered import State, lists
from app.tasks.structs import Page, Task, TaskListData

NOTHING = QueryString("")
KNOWN, LIMIT, Q, LEARNT = Param("known"), Param("limit"), Param("q"), Param("learnt")
AT, AT_ID = Param("at"), Param("at_id")
COMPLETED, UPDATED_AFTER = Param("completed"), Param("updated_after")
CREATED_AFTER, CREATED_BEFORE = Param("created_after"), Param("created_before")

# Whether a search would find all that is there; or at least what was there when it was last made sure of.
IS_LEARNT = QueryString('("searched" >= "revision" OR "searched" >= coalesce({}::bigint, "revision"))', LEARNT)
# An array travels as text, as in `queries`.
UNKNOWN = WhereRaw("""((SELECT "epoch" || '-' || "revision" FROM "mine") = ANY({}::text::text[])) IS NOT TRUE""", KNOWN)
FILTERS = (
    WhereRaw('({}::boolean IS NULL OR "completed" = {}::boolean)', COMPLETED, COMPLETED)
    & WhereRaw("\"created_at\" > coalesce({}::timestamptz, '-infinity')", CREATED_AFTER)
    & WhereRaw("\"created_at\" < coalesce({}::timestamptz, 'infinity')", CREATED_BEFORE)
    & WhereRaw("\"updated_at\" > coalesce({}::timestamptz, '-infinity')", UPDATED_AFTER)
)
FOUND = QueryString(
    """,
    "found" AS MATERIALIZED (
        SELECT "task_id", "rank" FROM "mine" CROSS JOIN LATERAL tasks_found("mine"."user_id", {}) WHERE {} AND {}
    )
    """,
    Q,
    IS_LEARNT,
    UNKNOWN.querystring,
)
# OFFSET 0: from what was found to the tasks, one by one. PostgreSQL, which cannot know how little that is, might go the
# other way.
AMONG_FOUND = """
    "found" CROSS JOIN LATERAL (SELECT * FROM "tasks" WHERE "tasks"."id" = "found"."task_id" AND {} OFFSET 0) AS "tasks"
"""
AMONG_ALL = '(SELECT * FROM "tasks" WHERE {}) AS "tasks"'
# What tasks are sorted by, before their ids; and the same of a place, out of the text that its cursor has. It is the
# table's column each time: one of what is selected is text, in an order that no index has.
KEYS = {
    "created_at": (('"tasks"."created_at"', "{}::text::timestamptz"),),
    "updated_at": (('"tasks"."updated_at"', "{}::text::timestamptz"),),
    "title": (
        ('tasks_plain("tasks"."title") COLLATE "tasks_people"', 'tasks_plain({}::text) COLLATE "tasks_people"'),
        ('"tasks"."title" COLLATE "C"', '{}::text COLLATE "C"'),
    ),
    "relevance": (('"rank"', "{}::text::real"),),
}
LEARN = Statement(QueryString("SELECT tasks_learn({}) WHERE {}", OWNER, FOR_THEM.querystring))


class Listed(NamedTuple):
    """What a list has to tell: its state, if it is in any, and the list itself, if that is not known already."""

    state: State | None
    content: Any = None
    next: str | None = None


def _list(rows: QueryString, total: QueryString | None = None, found: QueryString = NOTHING) -> Statement:
    """Return a statement whose first row is about the list: in the columns of tasks, and one for the total."""
    # Of the types of the columns, or PostgreSQL would take each row of tasks in hand once more.
    about = {
        "id": QueryString('"epoch"'),
        "title": QueryString("NULL::varchar"),
        "completed": IS_LEARNT,
        "version": QueryString('"revision"'),
    }
    names = Task.__struct_fields__
    head = [QueryString(f'{{}} AS "{name}"', about.get(name, QueryString("NULL::text"))) for name in names]
    head += [QueryString('({})::text AS "at"', total)] if total else []
    return Statement(
        QueryString(
            f"""
            WITH "mine" AS MATERIALIZED (
                SELECT "user_id", "epoch", "revision", "searched" FROM "revisions" WHERE {{}} AND "user_id" = {{}}
            ){{}}
            SELECT {", ".join(["{}"] * len(head))} FROM (VALUES (0)) AS "always" LEFT JOIN "mine" ON true
            UNION ALL ({{}})
            """,
            FOR_THEM.querystring,
            OWNER,
            found,
            *head,
            rows,
        )
    )


ALL = _list(
    QueryString(
        'SELECT {} FROM "tasks" WHERE {} ORDER BY "tasks"."created_at" DESC, "id" DESC',
        COLUMNS,
        (THEIR_OWN & UNKNOWN).querystring,
    )
)


@cache
def _page(sort: str, *, searches: bool, follows: bool, counts: bool) -> Statement:
    """Return one of the few dozen statements by which pages are asked for."""
    keys = [*KEYS[sort.lstrip("-")], ('"tasks"."id"', "{}::bigint")]
    sign, direction = ("<", "DESC") if sort.startswith("-") or sort == "relevance" else (">", "ASC")
    source = QueryString(AMONG_FOUND if searches else AMONG_ALL, (THEIR_OWN & UNKNOWN & FILTERS).querystring)
    behind = NOTHING
    if follows:
        here, there = (", ".join(side) for side in zip(*keys, strict=True))
        behind = QueryString(f"WHERE ({here}) {sign} ({there})", *[AT] * (len(keys) - 1), AT_ID)
    rows = QueryString(
        f"SELECT {{}}, {{}} FROM {{}} {{}} ORDER BY {', '.join(f'{key} {direction}' for key, _ in keys)} LIMIT {{}}",
        COLUMNS,
        QueryString('"rank"::text' if searches else "NULL"),
        source,
        behind,
        LIMIT,
    )
    total = QueryString("SELECT count(*) FROM {}", source) if counts else QueryString("NULL")
    return _list(rows, total, FOUND if searches else NOTHING)


async def all_tasks(owner: Owner, known: list[State]) -> Listed:
    """Return all tasks of the owner, newest first; of two made at the same moment, the higher id first.

    They come as JSON, from memory where they have not changed.
    """
    kept = lists.find(owner.id)
    rows = await database.fetch(ALL, owner=owner.id, learnt=None, known=_array([*known, kept[0]] if kept else known))
    state = _state(rows[0])
    if state and kept and kept[0] == state:
        return Listed(state, msgspec.Raw(kept[1]))
    if state in known:
        return Listed(state)
    body = encode(TaskListData([Task(*row) for row in rows[1:]]))
    if state:
        lists.keep(owner.id, state, body)
    return Listed(state, msgspec.Raw(body))


async def some_tasks(owner: Owner, query: Query, known: list[State], secret: str) -> Listed:
    """Return those that are asked for, in the order that is asked for. Raises InvalidCursor."""
    about = f"{owner.id}\0{query.about()}"
    place = cursors.unseal(secret, about, query.cursor) if query.cursor is not None else None
    limit = query.limit or (place.limit if place else None)
    rows, learnt = await _rows(owner, query, place, limit, known)
    state = _state(rows[0])
    if state in known:
        return Listed(state)
    if state and learnt is not None and learnt < state.revision:
        state = None  # changed since: another search in this state may find more
    tasks = [Task(*row[:-1]) for row in rows[1:]]
    following = None
    if limit and len(tasks) > limit:
        last, rank = tasks.pop() and tasks[-1], rows[limit]["at"]
        at = rank if query.sort == "relevance" else getattr(last, query.sort.lstrip("-"))
        following = cursors.seal(secret, about, Place(last.id, at, limit))
    total = int(rows[0]["at"] or 0) if query.count else msgspec.UNSET
    return Listed(state, TaskListData(_chosen(tasks, query.fields), Page(following, total)), following)


async def _rows(
    owner: Owner, query: Query, place: Place | None, limit: int | None, known: list[State]
) -> tuple[list[asyncpg.Record], int | None]:
    """Return the list; and up to which revision it is sure to be right, where that had to be made sure of."""
    searches = query.q is not None
    statement = _page(query.sort, searches=searches, follows=place is not None, counts=query.count)
    values: dict[str, Any] = {
        "owner": owner.id,
        "known": _array(known),
        "learnt": None,
        "limit": limit and limit + 1,  # whether there is more
        "q": query.q,
        "completed": query.completed,
        "created_after": query.created_after,
        "created_before": query.created_before,
        "updated_after": query.updated_after,
        "at": place and place.at,
        "at_id": place and place.id,
    }
    rows = await database.fetch(statement, **values)
    learnt = None
    if searches and rows[0]["completed"] is False:
        learnt = await _learn(owner)
        rows = await database.fetch(statement, **values | {"learnt": learnt})
    return rows, learnt


async def _learn(owner: Owner) -> int:
    """Bring the words of the owner's tasks up to date; returns the revision up to which they are.

    It takes as many statements as there are megabytes of changed tasks, so that none of them takes too long.
    """
    learnt: int | None = None
    while learnt is None:
        learnt = (await database.fetch(LEARN, owner=owner.id))[0][0]
    return learnt


def _state(head: asyncpg.Record) -> State | None:
    return None if head["id"] is None else State(head["id"], head["version"])


def _array(known: list[State]) -> str:
    return f"{{{','.join(f'{epoch}-{revision}' for epoch, revision in known)}}}"


def _chosen(tasks: list[Task], fields: tuple[str, ...] | None) -> list[Any]:
    if fields is None:
        return tasks
    return [{name: getattr(task, name) for name in fields} for task in tasks]
