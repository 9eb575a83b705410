"""Lists of an owner's tasks: all of them, or pages of those that are asked for; each is one statement.

The first row of an answer is about the list itself: its state, which is the owner's revision, and what else there is
to tell of it. The tasks follow, unless the list is in a state that is known already: then PostgreSQL does not look at
them.
"""

from collections.abc import Sequence
from functools import cache

import asyncpg

from app.auth.jwt import User as Owner
from app.db.engine import database
from app.db.statements import SET_RLS_OWNER, Statement, columns_of
from app.tasks import costs
from app.tasks.bounded import TEXT_SIZE, TITLE_SIZE, inline, within_bytes
from app.tasks.costs import Charge
from app.tasks.fields import FIELDS
from app.tasks.in_list import list_id_of
from app.tasks.keyset import PageRequest
from app.tasks.listing.cache import State
from app.tasks.listing.filters import IN_NO_LIST, INBOX
from app.tasks.listing.parameters import FILTERS, Query
from app.tasks.queries import COLUMNS, OWNED_BY_CALLER, SHORT_COLUMNS
from app.tasks.search import queries as search
from app.tasks.search import words
from app.tasks.search.indexing import indexer
from app.tasks.structs import Task

BARE_COLUMNS = columns_of(Task, description="NULL::text", extra="'{}'::json", labels="'[]'::jsonb")
# An array is sent as text, as in `queries`.
IS_ANOTHER_STATE = """((SELECT "epoch" || '-' || "revision" FROM "mine") = ANY(:known::text::text[])) IS NOT TRUE"""
REQUESTED_OF_ALL = " AND ".join(
    [OWNED_BY_CALLER, IS_ANOTHER_STATE, *(each.condition for each in FILTERS.values() if not each.is_rare)]
)
RARE = {name: each.condition for name, each in FILTERS.items() if each.is_rare} | {INBOX: IN_NO_LIST}
# What tasks are sorted by, before their ids; and the same of a place, out of the text that its cursor has. It is the
# table's column each time: one of what is selected is text, in an order that no index has.
SORT_KEYS = {
    "created_at": ('"tasks"."created_at"', '"tasks"."id"', ":at::text::timestamptz"),
    "updated_at": ('"tasks"."updated_at"', '"tasks"."id"', ":at::text::timestamptz"),
    "title": ('"titles"."key"', '"titles"."task_id"', ":at::text"),
    "relevance": ('"found"."rank"', '"found"."task_id"', ":at::text::real"),
    "due_date": ("""coalesce("tasks"."due_date" - DATE '2000-01-01', {none})""", '"tasks"."id"', ":at::text::bigint"),
    "priority": ('"tasks"."priority"', '"tasks"."id"', ":at::text::int"),
    "completed_at": (
        """coalesce((date_part('epoch', "tasks"."completed_at") * 1000)::bigint, {none})""",
        '"tasks"."id"',
        ":at::text::bigint",
    ),
}
KEYS_OF_NONE = {"ASC": 2**62, "DESC": -(2**62)}  # the key of a task that has none: it comes last
# What a cursor says of its place where no field of the task, as it is shown, does: the key.
WITHOUT_FIELD = ("title", "relevance", "due_date", "priority", "completed_at")


def _list(rows: str, kinds: tuple[str, ...] = (), more: Sequence[str] = (), searched: str = "") -> Statement:
    """Return a statement whose first row is about the list: in the columns of tasks, and `more`.

    Its `completed` is whether the indexes of these kinds are right, its `description` how many tasks the words found.
    """
    # Of the types of the columns, or PostgreSQL would take each row of tasks in hand once more.
    about = {field.name: f"NULL::{field.sql_shown}" for field in FIELDS}
    about |= {
        "id": '"epoch"',
        "title": "NULL::varchar",
        "completed": search.IS_INDEXED if kinds else "true",
        "version": '"revision"',
    }
    if searched:
        about["description"] = '(SELECT count(*) FROM "found")::text'
    names = Task.__struct_fields__
    head = [f'{about.get(name, "NULL::text")} AS "{name}"' for name in names]
    return Statement(
        f"""
        WITH "mine" AS MATERIALIZED (
            SELECT "user_id", "epoch", "revision", {search.indexed_to(kinds)} AS "indexed"
            FROM "revisions" WHERE {SET_RLS_OWNER} AND "user_id" = :owner
        ){searched}
        SELECT {", ".join([*head, *more])} FROM (VALUES (0)) AS "always" LEFT JOIN "mine" ON true
        UNION ALL ({rows})
        """
    )


ALL = _list(
    f"""
    SELECT {SHORT_COLUMNS} FROM "tasks" WHERE {OWNED_BY_CALLER} AND {IS_ANOTHER_STATE}
    ORDER BY "tasks"."created_at" DESC, "id" DESC LIMIT :limit
    """
)
STATE_OF_LIST = Statement(
    f"""
    SELECT "epoch" AS "id", "revision" AS "version" FROM "revisions" WHERE {SET_RLS_OWNER} AND "user_id" = :owner
    """
)


@cache
def _page(
    sort: str,
    *,
    searches: bool,
    follows: bool,
    counts: bool,
    describes: bool = True,
    adds_up: bool = False,
    rare: frozenset[str] = frozenset(),
) -> Statement:
    """Return one of the statements by which pages are asked for, of which there are 200 for each set of rare filters.

    With `adds_up` it ends early where descriptions are long; without, those are left out.
    """
    requested = " AND ".join([REQUESTED_OF_ALL, *(RARE[name] for name in sorted(rare))])
    by = sort.lstrip("-")
    sign, direction = ("<", "DESC") if sort.startswith("-") or sort == "relevance" else (">", "ASC")
    key, number, of_place = SORT_KEYS[by]
    key = key.format(none=KEYS_OF_NONE[direction])
    behind = f"({key}, {number}) {sign} ({of_place}, :at_id::bigint)" if follows else "true"
    place = f"({key})::text" if by in WITHOUT_FIELD else "NULL"
    order = f"ORDER BY {key} {direction}, {number} {direction} LIMIT :limit"
    columns = (COLUMNS if adds_up else SHORT_COLUMNS) if describes else BARE_COLUMNS

    def ordered(among: str, condition: str) -> str:
        if not adds_up:
            return f"SELECT {columns}, {place} FROM {among} WHERE {condition} {order}"
        rows = f'SELECT "tasks".*, {place} AS "at" FROM {among} WHERE {condition} {order}'
        bounded = within_bytes(rows, TEXT_SIZE if describes else TITLE_SIZE)
        return f'SELECT {columns}, "at", "more" FROM {bounded} AS "tasks"'

    def about(total: str) -> list[str]:
        return [f'({total if counts else "NULL"})::text AS "at"', *['false AS "more"'] * adds_up]

    kinds = search.kinds_of(sort, searches=searches)
    if searches:
        # Where much is found, it is less to go through the tasks in their order until the page is full.
        in_turn = (
            ordered(search.few(by, requested), behind),
            ordered(search.many(by, requested, behind, direction), "true"),
        )
        rows = "({}) UNION ALL ({})".format(*in_turn)
        return _list(rows, kinds, about(search.total_found(requested)), search.found(by, IS_ANOTHER_STATE))
    all_requested = search.among_all(requested)
    by_title = by == "title" and search.in_order_of_titles(requested, behind, direction)
    rows = ordered(by_title, "true") if by_title else ordered(all_requested, behind)
    return _list(rows, kinds, about(f"SELECT count(*) FROM {all_requested}"))


async def rows_of(
    owner: Owner, query: Query, wanted: PageRequest, known: list[State], charge: Charge, *, counts: bool, adds_up: bool
) -> tuple[list[asyncpg.Record], int | None]:
    """Return the list; and up to which revision it is sure to be right, where that had to be made sure of.

    Raises IndexNotReady where that takes too long.
    """
    after, searches = wanted.after, query.q is not None
    describes = query.fields is None or not {"description", "extra", "labels"}.isdisjoint(query.fields)
    how = {"searches": searches, "follows": after is not None, "counts": counts, "describes": describes}
    statement = _page(query.sort, adds_up=adds_up, rare=query.rare(), **how)
    values = query.filters() | {
        "list": await _list_of(owner, query),
        "owner": owner.id,
        "known": array(known),
        "indexed": None,
        "limit": wanted.rows + 1,
        "inline": inline(wanted.rows),
        "scope": words.scope(owner.id),
        "wanted_words": query.q and words.query(owner.id, query.q),
        "at": after and after.at,
        "at_id": after and after.id,
    }
    fetch = database.fetch_long if adds_up else database.fetch
    rows = await fetch(statement, **values)
    if rows[0]["completed"] is not False or state_in(rows[0]) in known:
        return rows, None
    charge(await costs.of_looking_through(owner))
    revision = rows[0]["version"]
    for kind in search.kinds_of(query.sort, searches=searches):
        await indexer.bring_up_to_date(owner.id, kind, revision)
    return await fetch(statement, **values | {"indexed": revision}), revision


async def _list_of(owner: Owner, query: Query) -> int | None:
    """Return the id of the list that the query names: 0, which none has, where there is none with this uid."""
    if not isinstance(query.list, str):
        return query.list
    return None if query.list == INBOX else await list_id_of(owner, query.list) or 0


def state_in(head: asyncpg.Record) -> State | None:
    """Return the state that the first row of a list tells, if its owner has begun."""
    return None if head["id"] is None else State(head["id"], head["version"])


def array(known: list[State]) -> str:
    """Return states as PostgreSQL writes an array."""
    return f"{{{','.join(f'{epoch}-{revision}' for epoch, revision in known)}}}"
