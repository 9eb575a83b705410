"""Lists of an owner's tasks: all of them, or pages of those that are asked for; each is one statement.

The first row of an answer is about the list itself: its state, which is the owner's revision, and what else there is
to tell of it. The tasks follow, unless the list is in a state that is known already: then PostgreSQL does not look at
them.

A page begins behind the last task of the one before, whatever became of that: so a task that stands still is on one
page and on one only, and the thousandth page costs what the first one does.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import asyncpg
from piccolo.columns.combination import WhereRaw
from piccolo.querystring import QueryString

from app.auth.tokens import User as Owner
from app.cursors import Place
from app.database import database
from app.statements import Param, Statement, columns_of
from app.tasks import costs, words
from app.tasks.bounded import DESCRIPTION, SIZE, SIZE_OF_TITLE, inline, within_bytes
from app.tasks.costs import Charge
from app.tasks.indexing import indexer
from app.tasks.parameters import Query
from app.tasks.queries import COLUMNS, FOR_THEM, OWNER, THEIR_OWN
from app.tasks.remembered import State
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
from app.tasks.structs import Task

NOTHING, TRUE = QueryString(""), QueryString("true")
KNOWN, LIMIT = Param("known"), Param("limit")
AT, AT_ID = Param("at"), Param("at_id")
COMPLETED, UPDATED_AFTER = Param("completed"), Param("updated_after")
CREATED_AFTER, CREATED_BEFORE = Param("created_after"), Param("created_before")

SHORT_COLUMNS = columns_of(Task, description=DESCRIPTION)
BARE_COLUMNS = columns_of(Task, description=QueryString("NULL::text"))
FOLLOWED = [QueryString('false AS "more"')]
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


def _list(
    rows: QueryString, kinds: tuple[str, ...] = (), more: Sequence[QueryString] = (), searched: QueryString = NOTHING
) -> Statement:
    """Return a statement whose first row is about the list: in the columns of tasks, and `more`.

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
    head += more
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
        'SELECT {} FROM "tasks" WHERE {} ORDER BY "tasks"."created_at" DESC, "id" DESC LIMIT {}',
        SHORT_COLUMNS,
        (THEIR_OWN & UNKNOWN).querystring,
        LIMIT,
    )
)
STATE = Statement(
    QueryString(
        'SELECT "epoch" AS "id", "revision" AS "version" FROM "revisions" WHERE {} AND "user_id" = {}',
        FOR_THEM.querystring,
        OWNER,
    )
)


@cache
def _page(
    sort: str, *, searches: bool, follows: bool, counts: bool, describes: bool = True, adds_up: bool = False
) -> Statement:
    """Return one of the few dozen statements by which pages are asked for.

    With `adds_up` it ends early where descriptions are long; without, those are left out.
    """
    by = sort.lstrip("-")
    sign, direction = ("<", "DESC") if sort.startswith("-") or sort == "relevance" else (">", "ASC")
    key, number, of_place = KEYS[by]
    behind = QueryString(f"({key}, {number}) {sign} ({of_place}, {{}}::bigint)", AT, AT_ID) if follows else TRUE
    theirs = (THEIR_OWN & UNKNOWN & FILTERS).querystring
    place = PLACES.get(by, QueryString("NULL"))
    order = f"ORDER BY {key} {direction}, {number} {direction} LIMIT {{}}"
    columns = (COLUMNS if adds_up else SHORT_COLUMNS) if describes else BARE_COLUMNS

    def ordered(among: QueryString, condition: QueryString) -> QueryString:
        if not adds_up:
            return QueryString(
                f"SELECT {{}}, {{}} FROM {{}} WHERE {{}} {order}", columns, place, among, condition, LIMIT
            )
        rows = QueryString(
            f'SELECT "tasks".*, {{}} AS "at" FROM {{}} WHERE {{}} {order}', place, among, condition, LIMIT
        )
        size = SIZE if describes else SIZE_OF_TITLE
        return QueryString('SELECT {}, "at", "more" FROM {} AS "tasks"', columns, within_bytes(rows, size))

    def about(total: QueryString) -> list[QueryString]:
        return [QueryString('({})::text AS "at"', total if counts else QueryString("NULL")), *FOLLOWED[:adds_up]]

    kinds = kinds_of(sort, searches=searches)
    if searches:
        # Where much is found, it is less to go through the tasks in their order until the page is full.
        in_turn = ordered(few(by, theirs), behind), ordered(many(by, theirs, behind, direction), TRUE)
        rows = QueryString("({}) UNION ALL ({})", *in_turn)
        return _list(rows, kinds, about(total_found(theirs)), found(by, UNKNOWN.querystring))
    all_theirs = QueryString(AMONG_ALL, theirs)
    by_title = by == "title" and in_order_of_titles(theirs, behind, direction)
    rows = ordered(by_title, TRUE) if by_title else ordered(all_theirs, behind)
    return _list(rows, kinds, about(QueryString("SELECT count(*) FROM {}", all_theirs)))


async def rows_of(
    owner: Owner,
    query: Query,
    place: Place | None,
    limit: int,
    known: list[State],
    charge: Charge,
    *,
    counts: bool,
    adds_up: bool,
) -> tuple[list[asyncpg.Record], int | None]:
    """Return the list; and up to which revision it is sure to be right, where that had to be made sure of.

    Raises IndexNotReady where that takes too long.
    """
    searches = query.q is not None
    describes = query.fields is None or "description" in query.fields
    how = {"searches": searches, "follows": place is not None, "counts": counts, "describes": describes}
    statement = _page(query.sort, adds_up=adds_up, **how)
    values: dict[str, Any] = {
        "owner": owner.id,
        "known": array(known),
        "indexed": None,
        "limit": limit + 1,  # whether there is more
        "inline": inline(limit),
        "scope": words.scope(owner.id),
        "wanted_words": None if query.q is None else words.query(owner.id, query.q),
        "completed": query.completed,
        "created_after": query.created_after,
        "created_before": query.created_before,
        "updated_after": query.updated_after,
        "at": place and place.at,
        "at_id": place and place.id,
    }
    fetch = database.fetch_long if adds_up else database.fetch
    rows = await fetch(statement, **values)
    if rows[0]["completed"] is not False or state_in(rows[0]) in known:
        return rows, None
    charge(await costs.of_looking_through(owner))
    revision = rows[0]["version"]
    for kind in kinds_of(query.sort, searches=searches):
        await indexer.bring_up_to_date(owner.id, kind, revision)
    return await fetch(statement, **values | {"indexed": revision}), revision


def state_in(head: asyncpg.Record) -> State | None:
    """Return the state that the first row of a list tells, if its owner has begun."""
    return None if head["id"] is None else State(head["id"], head["version"])


def array(known: list[State]) -> str:
    """Return states as PostgreSQL writes an array."""
    return f"{{{','.join(f'{epoch}-{revision}' for epoch, revision in known)}}}"
