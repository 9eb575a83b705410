"""What is in the trash, the last deleted first: all of it, or in pages.

It is bounded by bytes as the list is (`pages`), and streamed where it is long. It has no state of its own: what is
restored, deleted or purged while it is sent may be missing in it, and nothing else.
"""

from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

from litestar import Request
from piccolo.querystring import QueryString

from app import cursors
from app.auth.tokens import User as Owner
from app.cursors import Place
from app.database import database
from app.envelopes import encode
from app.failures import Invalid
from app.handlers import Stream
from app.query import pairs
from app.statements import Param, Statement, columns_of
from app.tasks.bounded import DESCRIPTION, MAX_BYTES, MAX_ROWS, TOO_LONG, inline, within_bytes
from app.tasks.parameters import ALLOWED, READERS
from app.tasks.queries import FOR_THEM, OWNER
from app.tasks.structs import Page, TrashData, TrashedTask

AT, AT_VERSION, LIMIT = Param("at"), Param("at_version"), Param("limit")
COLUMNS, SHORT_COLUMNS = columns_of(TrashedTask), columns_of(TrashedTask, description=DESCRIPTION)
COUNT_OF_FIELDS = len(TrashedTask.__struct_fields__)
LAST_VERSION = 2**63 - 1

# Two may well be deleted in the same millisecond.
BEHIND = QueryString(
    """{} AND "user_id" = {} AND "deleted_at" IS NOT NULL
    AND ("tasks"."deleted_at", "version") < (coalesce({}::text::timestamptz, 'infinity'), {}::bigint)
    ORDER BY "tasks"."deleted_at" DESC, "version" DESC LIMIT {}
    """,
    FOR_THEM.querystring,
    OWNER,
    AT,
    AT_VERSION,
    LIMIT,
)
LIST_TRASH = Statement(QueryString('SELECT {} FROM "tasks" WHERE {}', SHORT_COLUMNS, BEHIND))
# The same, which ends early where descriptions are long.
TRASH_IN_ORDER = QueryString('SELECT * FROM "tasks" WHERE {}', BEHIND)
LIST_LONG_TRASH = Statement(QueryString('SELECT {}, "more" FROM {} AS "tasks"', COLUMNS, within_bytes(TRASH_IN_ORDER)))


class TrashQuery(NamedTuple):
    """What is asked of the trash."""

    limit: int | None = None
    cursor: str | None = None

    def beyond(self, cursor: str) -> str:
        """Return the query string of the next page."""
        return f"cursor={cursor}" if self.limit is None else f"limit={self.limit}&cursor={cursor}"


class Piece(NamedTuple):
    """Tasks in the trash that come one after the other."""

    tasks: list[TrashedTask]
    has_more: bool

    def place(self, limit: int | None) -> Place:
        """Return where it ends."""
        last = self.tasks[-1]
        return Place(last.version, last.deleted_at, limit)


def trash_query(request: Request[Any, Any, Any]) -> TrashQuery:
    """Return what the query asks for. Raises Invalid, naming the parameter."""
    given: dict[str, Any] = {}
    for name, value in pairs(request.scope["query_string"], TrashQuery._fields):
        if (read := READERS[name](value)) is None:
            raise Invalid(name, f"{name} must be {ALLOWED[name]}")
        given[name] = read
    return TrashQuery(**given)


def place_of(owner: Owner, query: TrashQuery, secret: str) -> Place | None:
    """Return the place of the cursor, if there is one. Raises InvalidCursor."""
    return None if query.cursor is None else cursors.unseal(secret, _about(owner), query.cursor)


async def trash_of(owner: Owner, query: TrashQuery, secret: str) -> tuple[Any, str | None]:
    """Return what is in the trash, or a page of it and the cursor of the next one. Raises InvalidCursor."""
    place = place_of(owner, query, secret)
    limit = query.limit or (place.limit if place else None)
    rows = await database.fetch(LIST_TRASH, **_values(owner, place, limit))
    piece = Piece([TrashedTask(*row) for row in rows[: limit or MAX_ROWS]], len(rows) > (limit or MAX_ROWS))
    if TOO_LONG in [task.description for task in piece.tasks]:
        piece = await _long_piece(owner, place, limit)
    if not limit:
        return Stream(_pieces(owner, piece), MAX_BYTES) if piece.has_more else TrashData(piece.tasks), None
    following = cursors.seal(secret, _about(owner), piece.place(limit)) if piece.has_more else None
    return TrashData(piece.tasks, Page(following)), following


async def _pieces(owner: Owner, piece: Piece) -> AsyncGenerator[bytes]:
    before = b'{"data":['
    while True:
        made = [before + encode(piece.tasks)[1:-1]] if piece.tasks else []
        place = piece.place(None) if piece.has_more else None
        piece = Piece([], has_more=False)  # nor kept while a client takes its time
        if made:
            yield made.pop()
        if place is None:
            break
        before = b","
        piece = await _long_piece(owner, place, None)
    yield b"]}"


async def _long_piece(owner: Owner, place: Place | None, limit: int | None) -> Piece:
    rows = await database.fetch_long(LIST_LONG_TRASH, **_values(owner, place, limit))
    tasks = [TrashedTask(*row[:COUNT_OF_FIELDS]) for row in rows[: limit or MAX_ROWS]]
    return Piece(tasks, len(tasks) < len(rows) or bool(rows and rows[-1]["more"]))


def _values(owner: Owner, place: Place | None, limit: int | None) -> dict[str, Any]:
    most = limit or MAX_ROWS
    behind = {"at": place and place.at, "at_version": place.id if place else LAST_VERSION}
    return {"owner": owner.id, "limit": most + 1, "inline": inline(most), **behind}


def _about(owner: Owner) -> str:
    return f"{owner.id}\0trash"
