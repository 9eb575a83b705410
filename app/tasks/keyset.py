"""Keyset pagination of lists of tasks, and the streams of those that are too long for one statement.

A page begins behind the place of the last task of the page before, whatever became of that task: so a task that stands
still is on one page and on one only, and the thousandth page costs what the first one does. A list without a limit is
read piece by piece (`bounded`) in the same way, each by a statement of its own: a slow client holds no connection.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

import asyncpg

from app.auth.jwt import User as Owner
from app.tasks.bounded import MAX_ROWS, TOO_LONG
from app.tasks.listing.parameters import Query
from app.tasks.structs import Task
from app.web import cursors
from app.web.cursors import Place
from app.web.query import PageQuery

T = TypeVar("T", bound=Task)


class PageRequest(NamedTuple):
    """Which part of a list is asked for: behind a place, and up to a limit; and what its cursors are sealed with."""

    about: str
    secret: str
    after: Place | None = None
    limit: int | None = None

    @property
    def rows(self) -> int:
        """How many tasks one statement returns at most; it asks for one more, which tells whether there is more."""
        return self.limit or MAX_ROWS

    def cursor(self, place: Place | None) -> str | None:
        """Return the cursor of the next page, where there is one."""
        return place and cursors.seal(self.secret, self.about, place)


def page_request(owner: Owner, about: str, wanted: PageQuery | Query, secret: str) -> PageRequest:
    """Return what a request asks for of a list of the owner's. Raises InvalidCursor."""
    about = f"{owner.id}\0{about}"
    after = None if wanted.cursor is None else cursors.unseal(secret, about, wanted.cursor)
    return PageRequest(about, secret, after, wanted.limit or (after.limit if after else None))


class Piece(NamedTuple, Generic[T]):
    """Tasks that follow each other in a list."""

    tasks: list[T]
    end: Place | None = None  # behind which there are more

    @property
    def is_whole(self) -> bool:
        """Tell whether no description was left out."""
        return TOO_LONG not in [task.description for task in self.tasks]


def piece_of(
    kind: type[T], rows: Sequence[asyncpg.Record], page: PageRequest, place: Callable[[T, asyncpg.Record], Place]
) -> Piece[T]:
    """Return the piece that a statement has read, up to the limit, or to a row that says that there is more."""
    width = len(kind.__struct_fields__)
    tasks = [kind(*row[:width]) for row in rows[: page.rows]]
    has_more = len(rows) > page.rows or (bool(rows) and rows[-1].get("more", False))
    return Piece(tasks, place(tasks[-1], rows[len(tasks) - 1]) if has_more else None)


async def streamed(
    piece: Piece[T] | None,
    read: Callable[[Place], Awaitable[Piece[T]]],
    encoded: Callable[[list[T]], bytes],
    end: Callable[[int], bytes],
) -> AsyncGenerator[bytes]:
    """Yield the JSON of a list from its first piece on: `{"data":[`, the tasks, and `end` of their number.

    Raises what `read`, `encoded` and `end` do, in the midst of it.
    """
    before, count = b'{"data":[', 0
    while piece is not None:
        tasks, place = piece
        count += len(tasks)
        made = [before + encoded(tasks)[1:-1]] if tasks else []
        piece = tasks = None  # neither they nor their JSON are kept while a client takes its time
        if made:
            yield made.pop()
        if place is not None:
            before = b","
            piece = await read(place)
    yield end(count)
