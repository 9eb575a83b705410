"""Changes of lists: each is one transaction, which raises the owner's revision first and so holds off all others.

With a key, the list as the change leaves it is stored with the key, and is the answer whenever the request comes again.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, TypeAlias, cast

import asyncpg
import msgspec

from app.auth import idempotency, provisioning
from app.auth.jwt import User as Owner
from app.db.engine import database
from app.db.pooled_connection import Rows
from app.db.statements import Statement
from app.db.transaction import Transaction
from app.tasks.batch import queries as batch
from app.tasks.change import Change, Condition
from app.tasks.lists import queries
from app.tasks.lists.failures import ListConflict, ListIsAnother, ListNotFound, TooManyLists
from app.tasks.lists.structs import TodoList, TodoListContent, TodoListPatch, TrashedTodoList, values_of_list
from app.tasks.uids import chosen_uid
from app.web.envelopes import encode
from app.web.failures import InvalidToken, Unavailable

NO_CHANGE_OF_LIST = TodoListPatch()


@dataclass
class ListTransaction:
    """A transaction that holds its owner's revision."""

    transaction: Transaction
    owner: Owner
    version: int  # of the list that it changes
    stamped: datetime
    moved: int = 0  # tasks, each of which has a version of its own behind that

    async def fetch(self, statement: Statement, **values: object) -> Rows:
        """Run a statement for the owner."""
        about = {"owner": self.owner.id, "by": self.owner.by, "version": self.version, "stamped": self.stamped}
        return await self.transaction.fetch(statement, **about, **values)

    async def find(self, condition: Condition, list_id: int, *, in_trash: bool = False) -> TodoList:
        """Return the list. Raises ListNotFound, also where it is not where it is looked for, and ListIsAnother."""
        rows = await self.fetch(queries.FIND_LIST, list_id=list_id)
        if not rows or (rows[0]["deleted_at"] is not None) != in_trash:
            raise ListNotFound
        found = _found(rows[0])
        if not condition.allows(found.version):
            raise ListIsAnother(found)
        return found

    async def find_by_uid(self, uid: str) -> TodoList | None:
        """Return the list that a client has given this uid, if there is one; one in the trash as such."""
        rows = await self.fetch(queries.LIST_WITH_UID, uid=uid)
        return _found(rows[0]) if rows else None


ListWork: TypeAlias = Callable[[ListTransaction], Awaitable[TodoList | None]]


class ListOutcome(msgspec.Struct, frozen=True):
    """What came of a change, and is stored for its key: the list, if one is answered, and the owner's revision."""

    list: TodoList | None
    revision: int


async def create_list(change: Change, content: TodoListContent, max_lists: int, uid: str | None = None) -> TodoList:
    """Store a new list, with this uid, or else the one that the body chooses.

    Raises Invalid; InvalidToken where the owner is unknown and may not be added; TooManyLists where `max_lists` are
    stored, and it is not 0; ListConflict where there is one with the uid; KeyReused.
    """
    work = partial(created, content=content, max_lists=max_lists, uid=uid or chosen_uid(content.uid))
    return left_by(await run_on_lists(change, work, begins=True))


async def created(
    it: ListTransaction, content: TodoListContent | TodoListPatch, max_lists: int, uid: str | None
) -> TodoList:
    """Return a new list. Raises TooManyLists, ListConflict."""
    if uid and (there := await it.find_by_uid(uid)):
        raise ListConflict(there)
    rows = await it.fetch(queries.CREATE_LIST, new_uid=uid, max_lists=max_lists, **values_of_list(content))
    if not rows:
        raise TooManyLists(max_lists)
    return TodoList(*rows[0])


async def update_list(change: Change, list_id: int, content: TodoListContent | TodoListPatch) -> TodoList:
    """Set what a body names, and leave the rest; a patch that names nothing changes nothing.

    Raises ListNotFound, ListIsAnother, KeyReused.
    """
    work = partial(updated, condition=change.condition, list_id=list_id, content=content)
    return left_by(await run_on_lists(change, work, raises=content != NO_CHANGE_OF_LIST))


async def updated(
    it: ListTransaction, condition: Condition, list_id: int, content: TodoListContent | TodoListPatch
) -> TodoList:
    """Return a list with what a body names. Raises ListNotFound, ListIsAnother."""
    before = await it.find(condition, list_id)
    if content == NO_CHANGE_OF_LIST:
        return before
    return TodoList(*(await it.fetch(queries.UPDATE_LIST, list_id=list_id, **values_of_list(content)))[0])


async def restored(it: ListTransaction, list_id: int) -> TodoList:
    """Return a list that was in the trash, out of it."""
    return TodoList(*(await it.fetch(queries.RESTORE_LIST, list_id=list_id))[0])


async def run_on_lists(change: Change, work: ListWork, *, begins: bool = False, raises: bool = True) -> ListOutcome:
    """Do the work in one transaction, once for its key, and return what came of it; `begins` adds an unknown owner.

    The owner's revision is held from the first on; it stays what it is where it is not to be raised.

    Raises what the work does, KeyReused, and ListNotFound where the list that is to be told again is gone for good.
    """
    if change.key is None:
        return await _attempt(change, work, begins=begins, raises=raises)
    owner, attempt = change.owner, partial(_attempt, change, work, begins=begins, raises=raises)
    came = await idempotency.idempotent_transaction(change.key, owner, attempt, ListOutcome)
    told = came.list if change.key.is_replay else None
    if told and not await database.fetch(queries.FIND_LIST, owner=owner.id, list_id=told.id):
        raise ListNotFound
    return came


async def _attempt(change: Change, work: ListWork, *, begins: bool, raises: bool) -> ListOutcome:
    owner, key = change.owner, change.key
    for _ in range(provisioning.PROVISION_ATTEMPTS):
        try:
            async with database.begin(owner.id) as transaction:
                it = await on_lists(transaction, owner, begins=begins, raises=raises)
                came = ListOutcome(await work(it), it.version + it.moved)
                if key is not None:
                    answer = encode(came).decode()
                    await transaction.fetch(idempotency.STORE_KEY, owner=owner.id, answer=answer, **key.values())
                return came
        except asyncpg.ForeignKeyViolationError as error:
            if not owner.auto_provision or provisioning.is_leaving(error):
                raise InvalidToken from None
        # Another user took the owner's email in the same instant. The next attempt sees that.
    raise Unavailable


async def on_lists(
    transaction: Transaction, owner: Owner, *, begins: bool = False, raises: bool = True
) -> ListTransaction:
    """Raise the owner's revision, or hold it as it is, for changes of lists.

    Raises ListNotFound for an owner without a revision, who has no lists; or `begins` one.
    """
    by_one: dict[str, Any] = {"owner": owner.id, "count": 1, "added": 0, "max_tasks": 0}
    rows = await transaction.fetch(batch.RAISE_REVISION if raises else queries.HOLD_AS_IT_IS, **by_one)
    if not rows and not begins:
        raise ListNotFound
    if not rows:
        if owner.auto_provision:
            await transaction.fetch(provisioning.ADD_OWNER, owner=owner.id, email=owner.email, name=owner.name)
        rows = await transaction.fetch(batch.BEGIN_REVISION, **by_one)
    return ListTransaction(transaction, owner, *rows[0])


def _found(row: asyncpg.Record) -> TodoList:
    return TodoList(*row[:-1]) if row["deleted_at"] is None else TrashedTodoList(*row)


def left_by(came: ListOutcome) -> TodoList:
    """Return the list that a change has left."""
    return cast("TodoList", came.list)
