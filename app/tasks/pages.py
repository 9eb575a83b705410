"""What a list of tasks is answered with: all of it, a page, or pieces that follow each other.

What is read is bounded by bytes (`bounded`). A page ends early where its tasks are long. A list without a limit that is
too long for one piece is sent piece by piece, each by a statement of its own, so that a slow client holds no
connection. What they show together is one state of the list, or the answer is broken off.
"""

from collections.abc import AsyncGenerator
from typing import Any, NamedTuple

import msgspec

from app import cursors
from app.auth.tokens import User as Owner
from app.cursors import Place
from app.database import database
from app.envelopes import encode
from app.failures import Unavailable
from app.handlers import Stream
from app.tasks import costs, listing
from app.tasks.bounded import MAX_BYTES, MAX_ROWS, TOO_LONG
from app.tasks.costs import Charge
from app.tasks.listing import array, rows_of, state_in
from app.tasks.parameters import Query
from app.tasks.remembered import State, lists
from app.tasks.structs import Page, Task, TaskListData

COUNT_OF_FIELDS = len(Task.__struct_fields__)
EVERYTHING = Query()


class ListHasChanged(Unavailable):
    """A task was changed while a list was sent that it had not been sent with yet."""

    message = "The list has changed while it was sent. Try again."


class Listed(NamedTuple):
    """What a list has to tell: its state, if it is in any, and the list itself, if that is not known already."""

    state: State | None
    content: Any = None
    next: str | None = None


class Piece(NamedTuple):
    """Tasks that come one after the other in a list."""

    state: State | None
    tasks: list[Task]
    has_more: bool = False
    place: Place | None = None  # of the last one
    total: int = 0  # of the whole list, where it was counted
    indexed: int | None = None  # up to which revision it is right, where that had to be made sure of
    found: int = 0  # tasks that the words found

    @property
    def is_whole(self) -> bool:
        """Tell whether no description was left out."""
        return TOO_LONG not in [task.description for task in self.tasks]


async def state_of(owner: Owner, query: Query | None, secret: str) -> State | None:
    """Return the state of the owner's lists, of which nothing else is read. Raises InvalidCursor."""
    if query is not None:
        _place(owner, query, secret)
    rows = await database.fetch(listing.STATE, owner=owner.id)
    return state_in(rows[0]) if rows else None


async def all_tasks(owner: Owner, known: list[State], charge: Charge = costs.free) -> Listed:
    """Return all tasks of the owner, newest first; of two made at the same moment, the higher id first.

    They come as JSON, from memory where they have not changed; or as a Stream, where they are many or long. Charges for
    what had to be read.
    """
    kept = lists.find(owner.id)
    known_here = [*known, kept[0]] if kept else known
    limit, size = lists.room(owner.id)
    found = None
    if limit > MAX_ROWS and kept:
        limit = 1  # what is remembered need not be read: whether it is still right, the state alone tells
    if limit <= MAX_ROWS:
        rows = await database.fetch(listing.ALL, owner=owner.id, known=array(known_here), limit=limit + 1, inline=size)
        state = state_in(rows[0])
        if state and kept and kept[0] == state:
            return Listed(state, msgspec.Raw(kept[1]))
        found = Piece(state, [Task(*row) for row in rows[1:]])
    if found is None or len(found.tasks) > limit or not found.is_whole:
        found = await _piece(owner, EVERYTHING, None, None, known, charge, adds_up=True)
    state = found.state
    if state in known:
        return Listed(state)
    charge(max(len(found.tasks), found.total) // costs.TASKS_RETURNED)
    if found.has_more:
        lists.expect(owner.id, MAX_ROWS + 1)
        return Listed(state, _stream(owner, EVERYTHING, found))
    lists.expect(owner.id, len(found.tasks))
    body = encode(TaskListData(found.tasks))
    if state:
        lists.keep(owner.id, state, body)
    return Listed(state, msgspec.Raw(body))


async def some_tasks(
    owner: Owner, query: Query, known: list[State], secret: str, charge: Charge = costs.free
) -> Listed:
    """Return those that are asked for, in the order that is asked for. Charges for what had to be looked at.

    Raises InvalidCursor, and IndexNotReady where an index lacks more changes than there is time for.

    A page ends early where its tasks are long. Without a limit there is one page, which may be a Stream.
    """
    place = _place(owner, query, secret)
    limit = query.limit or (place.limit if place else None)
    if costs.looks_through(query):
        charge(await costs.of_looking_through(owner))
    found = await _piece(owner, query, place, limit, known, charge)
    if not found.is_whole or (found.has_more and not limit):
        found = await _piece(owner, query, place, limit, known, charge, adds_up=True)
    state = found.state
    if state in known:
        return Listed(state)
    if state and found.indexed is not None and found.indexed < state.revision:
        state = None  # changed since: another search in this state may find more
    charge(found.found // costs.TASKS_FOUND)
    if not limit:
        charge(max(len(found.tasks), found.total) // costs.TASKS_RETURNED)
    if found.has_more and not limit:
        return Listed(state, _stream(owner, query, found))
    following = None
    if found.has_more and found.place:
        following = cursors.seal(secret, _about(owner, query), found.place)
    total = found.total if query.count else msgspec.UNSET
    return Listed(state, TaskListData(_chosen(found.tasks, query.fields), Page(following, total)), following)


def _stream(owner: Owner, query: Query, first: Piece) -> Stream:
    return Stream(_pieces(owner, query, first), MAX_BYTES)


async def _pieces(owner: Owner, query: Query, piece: Piece) -> AsyncGenerator[bytes]:
    """Return the JSON of a list. Raises ListHasChanged in the midst of it, and what `database.fetch` does.

    It is the list in the state of its first piece: no task in it is newer than that, and none is missing.
    """
    state, total, count = piece.state, piece.total, 0
    before = b'{"data":['
    while True:
        if state and any(task.version > state.revision for task in piece.tasks):
            raise ListHasChanged
        count += len(piece.tasks)
        made = [before + encode(_chosen(piece.tasks, query.fields))[1:-1]]
        piece = piece._replace(tasks=[])  # nor kept while a client takes its time
        yield made.pop()
        if not piece.has_more:
            break
        before = b","
        piece = await _piece(owner, query, piece.place, None, [], costs.free, adds_up=True)
    if count != total:
        raise ListHasChanged
    page = b'],"page":' + encode(Page(None, total if query.count else msgspec.UNSET))
    yield b"]}" if query is EVERYTHING else page + b"}"


async def _piece(
    owner: Owner,
    query: Query,
    place: Place | None,
    limit: int | None,
    known: list[State],
    charge: Charge,
    *,
    adds_up: bool = False,
) -> Piece:
    """Return a page; or as much of a list without a limit as is read at once."""
    most = limit or MAX_ROWS
    is_first = adds_up and place is None and limit is None  # of a Stream, which counts its tasks
    counts = query.count or is_first
    rows, indexed = await rows_of(owner, query, place, most, known, charge, counts=counts, adds_up=adds_up)
    head, rows = rows[0], rows[1:]
    has_more = len(rows) > most
    if has_more:
        rows.pop()
    elif adds_up and rows:
        has_more = rows[-1]["more"]
    tasks = [Task(*row[:COUNT_OF_FIELDS]) for row in rows]
    last = _last(query, tasks[-1], rows[-1]["at"], limit) if has_more else None
    return Piece(state_in(head), tasks, has_more, last, int(head["at"] or 0), indexed, int(head["description"] or 0))


def _last(query: Query, task: Task, at: str | None, limit: int | None) -> Place:
    return Place(task.id, getattr(task, query.sort.lstrip("-")) if at is None else at, limit)


def _about(owner: Owner, query: Query) -> str:
    return f"{owner.id}\0{query.about()}"


def _place(owner: Owner, query: Query, secret: str) -> Place | None:
    return None if query.cursor is None else cursors.unseal(secret, _about(owner, query), query.cursor)


def _chosen(tasks: list[Task], fields: tuple[str, ...] | None) -> list[Any]:
    if fields is None:
        return tasks
    return [{name: getattr(task, name) for name in fields} for task in tasks]
