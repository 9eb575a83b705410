"""What a list of tasks is answered with: all of it, a page, or a stream.

What is read is bounded by bytes (`bounded`). A page ends early where its tasks are long. What the pieces of a stream
show together is one state of the list, or the answer is broken off.
"""

from typing import Any, NamedTuple

import asyncpg
import msgspec

from app.auth.jwt import User as Owner
from app.db.engine import database
from app.tasks import costs
from app.tasks.bounded import MAX_PIECE_BYTES, MAX_ROWS
from app.tasks.costs import Charge
from app.tasks.keyset import PageRequest, Piece, page_request, piece_of, streamed
from app.tasks.listing import queries
from app.tasks.listing.cache import State, lists
from app.tasks.listing.parameters import Query
from app.tasks.listing.queries import array, rows_of, state_in
from app.tasks.structs import Page, Task, TaskListData
from app.web.cursors import Place
from app.web.envelopes import encode
from app.web.failures import Unavailable
from app.web.routing import Stream

EVERYTHING = Query()
ALL_OF_IT = PageRequest("", "")


class ListHasChanged(Unavailable):
    """A task was changed while a list was sent that it had not been sent with yet."""

    message = "The list has changed while it was sent. Try again."


class Listed(NamedTuple):
    """The answer: the state of the list, if it has one, and the list itself, unless the client has it already."""

    state: State | None
    content: Any = None
    next: str | None = None


class ListPiece(NamedTuple):
    """A piece of a list, and what else the statement tells."""

    state: State | None
    piece: Piece[Task]
    total: int = 0  # of the whole list, where it was counted
    indexed: int | None = None  # up to which revision it is right, where that had to be made sure of
    matches: int = 0  # tasks that the words found


async def state_of(owner: Owner, query: Query | None, secret: str) -> State | None:
    """Return the state of the owner's lists, of which nothing else is read. Raises InvalidCursor."""
    if query is not None:
        page_request(owner, query.about(), query, secret)
    rows = await database.fetch(queries.STATE_OF_LIST, owner=owner.id)
    return state_in(rows[0]) if rows else None


async def all_tasks(owner: Owner, known: list[State], charge: Charge = costs.free) -> Listed:
    """Return all tasks of the owner, newest first; of two made at the same moment, the higher id first.

    They come as JSON, from memory where they have not changed; or as a Stream, where they are many or long. Charges for
    what had to be read.
    """
    kept = lists.find(owner.id)
    known_here = [*known, kept[0]] if kept else known
    limit, size = lists.room(owner.id)
    if limit > MAX_ROWS and kept:
        limit = 1  # what is remembered need not be read: whether it is still right, the state alone tells
    found = None
    if limit <= MAX_ROWS:
        rows = await database.fetch(queries.ALL, owner=owner.id, known=array(known_here), limit=limit + 1, inline=size)
        state = state_in(rows[0])
        if state and kept and kept[0] == state:
            return Listed(state, msgspec.Raw(kept[1]))
        found = ListPiece(state, Piece([Task(*row) for row in rows[1:]]))
    if found is None or len(found.piece.tasks) > limit or not found.piece.is_whole:
        found = await _read(owner, EVERYTHING, ALL_OF_IT, known, charge, adds_up=True)
    state, tasks = found.state, found.piece.tasks
    if state in known:
        return Listed(state)
    charge(max(len(tasks), found.total) // costs.TASKS_RETURNED)
    if found.piece.end:
        lists.expect(owner.id, MAX_ROWS + 1)
        return Listed(state, _stream(owner, EVERYTHING, found))
    lists.expect(owner.id, len(tasks))
    body = encode(TaskListData(tasks))
    if state:
        lists.keep(owner.id, state, body)
    return Listed(state, msgspec.Raw(body))


async def some_tasks(
    owner: Owner, query: Query, known: list[State], secret: str, charge: Charge = costs.free
) -> Listed:
    """Return the tasks that a query asks for, in its order. Charges for the tasks that had to be looked at.

    A page ends early where its tasks are long. Without a limit there is one page, which may be a Stream. Raises
    InvalidCursor, and IndexNotReady where an index lacks more changes than there is time for.
    """
    wanted = page_request(owner, query.about(), query, secret)
    if costs.looks_through(query):
        charge(await costs.of_looking_through(owner))
    found = await _read(owner, query, wanted, known, charge)
    if not found.piece.is_whole or (found.piece.end and not wanted.limit):
        found = await _read(owner, query, wanted, known, charge, adds_up=True)
    state, (tasks, end) = found.state, found.piece
    if state in known:
        return Listed(state)
    if state and found.indexed is not None and found.indexed < state.revision:
        state = None  # changed since: another search in this state may find more
    charge(found.matches // costs.TASKS_FOUND)
    if not wanted.limit:
        charge(max(len(tasks), found.total) // costs.TASKS_RETURNED)
        if end:
            return Listed(state, _stream(owner, query, found))
    following = wanted.cursor(end)
    total = found.total if query.count else msgspec.UNSET
    return Listed(state, TaskListData(_chosen(tasks, query.fields), Page(following, total)), following)


def _stream(owner: Owner, query: Query, first: ListPiece) -> Stream:
    """Return a list in the state of its first piece: no task in it is newer than that, and none is missing.

    Raises ListHasChanged in the midst of it, and what `database.fetch_long` does.
    """
    state, total = first.state, first.total

    async def read(place: Place) -> Piece[Task]:
        found = await _read(owner, query, ALL_OF_IT._replace(after=place), [], costs.free, adds_up=True)
        return found.piece

    def encoded(tasks: list[Task]) -> bytes:
        if state and any(task.version > state.revision for task in tasks):
            raise ListHasChanged
        return encode(_chosen(tasks, query.fields))

    def end(count: int) -> bytes:
        if count != total:
            raise ListHasChanged
        page = b"" if query is EVERYTHING else b',"page":' + encode(Page(None, total if query.count else msgspec.UNSET))
        return b"]" + page + b"}"

    return Stream(streamed(first.piece, read, encoded, end), MAX_PIECE_BYTES)


async def _read(
    owner: Owner, query: Query, wanted: PageRequest, known: list[State], charge: Charge, *, adds_up: bool = False
) -> ListPiece:
    """Return a page; or as much of a list without a limit as one statement reads."""
    is_first = adds_up and wanted.after is None and wanted.limit is None  # of a Stream, which counts its tasks
    counts = query.count or is_first
    [head, *rows], indexed = await rows_of(owner, query, wanted, known, charge, counts=counts, adds_up=adds_up)

    def place(task: Task, row: asyncpg.Record) -> Place:
        at = row["at"]  # None: the task has it
        return Place(task.id, getattr(task, query.sort.lstrip("-")) if at is None else at, wanted.limit)

    total, matches = int(head["at"] or 0), int(head["description"] or 0)
    return ListPiece(state_in(head), piece_of(Task, rows, wanted, place), total, indexed, matches)


def _chosen(tasks: list[Task], fields: tuple[str, ...] | None) -> list[Any]:
    if fields is None:
        return tasks
    return [{name: getattr(task, name) for name in fields} for task in tasks]
