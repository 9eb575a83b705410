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
from app.tasks import costs, cursors, words
from app.tasks.costs import Charge
from app.tasks.cursors import Place
from app.tasks.indexing import indexer
from app.tasks.parameters import Query
from app.tasks.queries import COLUMNS, FOR_THEM, OWNER, THEIR_OWN
from app.tasks.remembered import State, lists
from app.tasks.search_queries import (
    AMONG_ALL,
    IS_INDEXED,
    few,
    found,
    in_order_of_titles,
    indexed_to,
    kinds_of,
    many,
    total_found,
)
from app.tasks.structs import Page, Task, TaskListData

NOTHING, TRUE = QueryString(""), QueryString("true")
KNOWN, LIMIT = Param("known"), Param("limit")
AT, AT_ID = Param("at"), Param("at_id")
COMPLETED, UPDATED_AFTER = Param("completed"), Param("updated_after")
CREATED_AFTER, CREATED_BEFORE = Param("created_after"), Param("created_before")

# An array travels as text, as in `queries`.
UNKNOWN = WhereRaw("""((SELECT "epoch" || '-' || "revision" FROM "mine") = ANY({}::text::text[])) IS NOT TRUE""", KNOWN)
FILTERS = (
    WhereRaw('({}::boolean IS NULL OR "completed" = {}::boolean)', COMPLETED, COMPLETED)
    & WhereRaw("\"created_at\" > coalesce({}::timestamptz, '-infinity')", CREATED_AFTER)
    & WhereRaw("\"created_at\" < coalesce({}::timestamptz, 'infinity')", CREATED_BEFORE)
    & WhereRaw("\"updated_at\" > coalesce({}::timestamptz, '-infinity')", UPDATED_AFTER)
)
# What tasks are sorted by, before their ids; and the same of a place, out of the text that its cursor has. It is the
# table's column each time: one of what is selected is text, in an order that no index has.
KEYS = {
    "created_at": ('"tasks"."created_at"', '"tasks"."id"', "{}::text::timestamptz"),
    "updated_at": ('"tasks"."updated_at"', '"tasks"."id"', "{}::text::timestamptz"),
    "title": ('"titles"."key"', '"titles"."task_id"', "{}::text"),
    "relevance": ('"found"."rank"', '"found"."task_id"', "{}::text::real"),
}
# What a cursor says of its place where no field of the task does.
PLACES = {"title": QueryString('"titles"."key"'), "relevance": QueryString('"found"."rank"::text')}


class Listed(NamedTuple):
    """What a list has to tell: its state, if it is in any, and the list itself, if that is not known already."""

    state: State | None
    content: Any = None
    next: str | None = None


def _list(
    rows: QueryString, kinds: tuple[str, ...] = (), total: QueryString | None = None, searched: QueryString = NOTHING
) -> Statement:
    """Return a statement whose first row is about the list: in the columns of tasks, and one for the total.

    Its `completed` is whether the indexes of these kinds are right, its `description` how many tasks the words found.
    """
    # Of the types of the columns, or PostgreSQL would take each row of tasks in hand once more.
    about = {
        "id": QueryString('"epoch"'),
        "title": QueryString("NULL::varchar"),
        "completed": IS_INDEXED if kinds else TRUE,
        "version": QueryString('"revision"'),
    }
    if searched is not NOTHING:
        about["description"] = QueryString('(SELECT count(*) FROM "found")::text')
    names = Task.__struct_fields__
    head = [QueryString(f'{{}} AS "{name}"', about.get(name, QueryString("NULL::text"))) for name in names]
    head += [QueryString('({})::text AS "at"', total)] if total else []
    return Statement(
        QueryString(
            f"""
            WITH "mine" AS MATERIALIZED (
                SELECT "user_id", "epoch", "revision", {{}} AS "indexed"
                FROM "revisions" WHERE {{}} AND "user_id" = {{}}
            ){{}}
            SELECT {", ".join(["{}"] * len(head))} FROM (VALUES (0)) AS "always" LEFT JOIN "mine" ON true
            UNION ALL ({{}})
            """,
            indexed_to(kinds),
            FOR_THEM.querystring,
            OWNER,
            searched,
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
    by = sort.lstrip("-")
    sign, direction = ("<", "DESC") if sort.startswith("-") or sort == "relevance" else (">", "ASC")
    key, number, of_place = KEYS[by]
    behind = QueryString(f"({key}, {number}) {sign} ({of_place}, {{}}::bigint)", AT, AT_ID) if follows else TRUE
    theirs = (THEIR_OWN & UNKNOWN & FILTERS).querystring

    def ordered(among: QueryString, condition: QueryString) -> QueryString:
        columns = (COLUMNS, PLACES.get(by, QueryString("NULL")))
        order = f"ORDER BY {key} {direction}, {number} {direction}"
        return QueryString(
            f"SELECT {{}}, {{}} FROM {{}} WHERE {{}} {order} LIMIT {{}}", *columns, among, condition, LIMIT
        )

    kinds = kinds_of(sort, searches=searches)
    if searches:
        # Where much is found, it is less to go through the tasks in their order until the page is full.
        in_turn = ordered(few(by, theirs), behind), ordered(many(by, theirs, behind, direction), TRUE)
        total = total_found(theirs) if counts else QueryString("NULL")
        return _list(QueryString("({}) UNION ALL ({})", *in_turn), kinds, total, found(by, UNKNOWN.querystring))
    all_theirs = QueryString(AMONG_ALL, theirs)
    by_title = by == "title" and in_order_of_titles(theirs, behind, direction)
    total = QueryString("SELECT count(*) FROM {}", all_theirs) if counts else QueryString("NULL")
    return _list(ordered(by_title, TRUE) if by_title else ordered(all_theirs, behind), kinds, total)


async def all_tasks(owner: Owner, known: list[State], charge: Charge = costs.free) -> Listed:
    """Return all tasks of the owner, newest first; of two made at the same moment, the higher id first.

    They come as JSON, from memory where they have not changed. Charges for what had to be read.
    """
    kept = lists.find(owner.id)
    rows = await database.fetch(ALL, owner=owner.id, known=_array([*known, kept[0]] if kept else known))
    state = _state(rows[0])
    if state and kept and kept[0] == state:
        return Listed(state, msgspec.Raw(kept[1]))
    if state in known:
        return Listed(state)
    charge((len(rows) - 1) // costs.TASKS_RETURNED)
    body = encode(TaskListData([Task(*row) for row in rows[1:]]))
    if state:
        lists.keep(owner.id, state, body)
    return Listed(state, msgspec.Raw(body))


async def some_tasks(
    owner: Owner, query: Query, known: list[State], secret: str, charge: Charge = costs.free
) -> Listed:
    """Return those that are asked for, in the order that is asked for. Charges for what had to be looked at.

    Raises InvalidCursor, and IndexNotReady where an index lacks more changes than there is time for.
    """
    about = f"{owner.id}\0{query.about()}"
    place = cursors.unseal(secret, about, query.cursor) if query.cursor is not None else None
    limit = query.limit or (place.limit if place else None)
    if costs.looks_through(query):
        charge(await costs.of_looking_through(owner))
    rows, indexed = await _rows(owner, query, place, limit, known, charge)
    state = _state(rows[0])
    if state in known:
        return Listed(state)
    if state and indexed is not None and indexed < state.revision:
        state = None  # changed since: another search in this state may find more
    charge(int(rows[0]["description"] or 0) // costs.TASKS_FOUND)
    tasks = [Task(*row[:-1]) for row in rows[1:]]
    if limit is None:
        charge(len(tasks) // costs.TASKS_RETURNED)
    following = None
    if limit and len(tasks) > limit:
        last, at = tasks.pop() and tasks[-1], rows[limit]["at"]
        at = getattr(last, query.sort.lstrip("-")) if at is None else at
        following = cursors.seal(secret, about, Place(last.id, at, limit))
    total = int(rows[0]["at"] or 0) if query.count else msgspec.UNSET
    return Listed(state, TaskListData(_chosen(tasks, query.fields), Page(following, total)), following)


async def _rows(
    owner: Owner, query: Query, place: Place | None, limit: int | None, known: list[State], charge: Charge
) -> tuple[list[asyncpg.Record], int | None]:
    """Return the list; and up to which revision it is sure to be right, where that had to be made sure of.

    Raises IndexNotReady where that takes too long.
    """
    searches = query.q is not None
    statement = _page(query.sort, searches=searches, follows=place is not None, counts=query.count)
    values: dict[str, Any] = {
        "owner": owner.id,
        "known": _array(known),
        "indexed": None,
        "limit": limit and limit + 1,  # whether there is more
        "scope": words.scope(owner.id),
        "wanted_words": None if query.q is None else words.query(owner.id, query.q),
        "completed": query.completed,
        "created_after": query.created_after,
        "created_before": query.created_before,
        "updated_after": query.updated_after,
        "at": place and place.at,
        "at_id": place and place.id,
    }
    rows = await database.fetch(statement, **values)
    if rows[0]["completed"] is not False or _state(rows[0]) in known:
        return rows, None
    charge(await costs.of_looking_through(owner))
    revision = rows[0]["version"]
    for kind in kinds_of(query.sort, searches=searches):
        await indexer.bring_up_to_date(owner.id, kind, revision)
    return await database.fetch(statement, **values | {"indexed": revision}), revision


def _state(head: asyncpg.Record) -> State | None:
    return None if head["id"] is None else State(head["id"], head["version"])


def _array(known: list[State]) -> str:
    return f"{{{','.join(f'{epoch}-{revision}' for epoch, revision in known)}}}"


def _chosen(tasks: list[Task], fields: tuple[str, ...] | None) -> list[Any]:
    if fields is None:
        return tasks
    return [{name: getattr(task, name) for name in fields} for task in tasks]
