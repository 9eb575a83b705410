"""Many changes of the owner's tasks as one: all of them happen, or none.

However many they are, they are a few statements in one transaction: the owner's revision is raised first, which keeps
every other change of theirs waiting until the end; then what is there is changed, and what is new is added. Each
operation has a number of its own, in the order in which they were sent, and it becomes the version of its task.
"""

from collections.abc import Container, Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, TypeGuard

import asyncpg
from msgspec import UNSET

from app.auth import idempotency, provisioning
from app.auth.jwt import User as Owner
from app.db.engine import database
from app.db.pooled_connection import Rows
from app.db.statements import Statement
from app.db.transaction import Transaction
from app.tasks.batch import queries
from app.tasks.batch.answers import INLINE_BYTES, Stored, remembered, with_descriptions
from app.tasks.batch.by_uid import check_uids, with_ids
from app.tasks.batch.in_lists import check_lists
from app.tasks.batch.labels import check_labels
from app.tasks.batch.operations import (
    STATUSES,
    AnyOperation,
    ChangeOperation,
    CreateOperation,
    DeleteOperation,
    ReplaceOperation,
    Result,
    UpdateOperation,
    check_versions,
    in_data,
)
from app.tasks.batch.options import BatchOptions
from app.tasks.bodies import given, merges
from app.tasks.by_uid import check_that_it_was_the_uid
from app.tasks.change import Change
from app.tasks.failures import InOperation, LimitReached, PreconditionFailed, TaskNotFound
from app.tasks.queries import GET, NOTHING
from app.tasks.structs import MAX_ID, Task, TaskVersion, check_fits, is_too_long, too_long
from app.web.envelopes import encode
from app.web.failures import Invalid, InvalidToken, Unavailable

DEFAULT = BatchOptions()
NO_REVISION = 0, None  # where there is nothing to raise, a trigger sees to the revision and the time


class Outcome(NamedTuple):
    """What came of each operation, in order, and the owner's revision behind them."""

    results: list[Result]
    revision: int


async def run(change: Change, operations: Sequence[AnyOperation], options: BatchOptions = DEFAULT) -> Outcome:
    """Do all of it and return what came of it.

    Raises InOperation for the first operation that finds no task or another version, or would store too many;
    AnswerTooLarge, TooManyBytes, KeyReused; and InvalidToken where the owner is unknown and may not be added: then
    nothing has happened.
    """
    if change.key is None or options.is_dry_run:
        return await _attempt(change._replace(key=None), operations, options)
    work = partial(_attempt, change, operations, options)
    came = await idempotency.idempotent_transaction(change.key, change.owner, work, list[Stored])
    if isinstance(came, Outcome):
        return came
    results = await remembered(change.owner, came, is_minimal=options.is_minimal)
    return Outcome(results, max(each.version for each in came))


async def _attempt(change: Change, operations: Sequence[AnyOperation], options: BatchOptions) -> Outcome:
    owner, key, asked = change.owner, change.key, operations
    for _ in range(provisioning.PROVISION_ATTEMPTS):
        try:
            # There has to be room for the answer until it is encoded.
            async with (
                AsyncExitStack() as room,
                database.begin(owner.id, keep=not options.is_dry_run) as transaction,
            ):
                operations = await with_ids(transaction, owner, asked)
                if options.needs_versions:
                    check_versions(operations)
                batch = _Batch(transaction, owner, operations, options)
                tasks = await batch.run()
                if not options.is_minimal:
                    tasks |= await with_descriptions(transaction, owner, operations, tasks, room)
                gone = [each.id for each in operations if isinstance(each, DeleteOperation)]
                if gone and not options.keeps_trash:
                    await batch.fetch(queries.FORGET, ids=queries.array(gone))
                if key is not None:
                    stored = [
                        Stored(asked[index].op, STATUSES[each.op], tasks[index].id, tasks[index].version)
                        for index, each in enumerate(operations)
                    ]
                    await batch.fetch(idempotency.STORE_KEY, answer=encode(stored).decode(), **key.values())
                results = [
                    Result(asked[index].op, STATUSES[each.op], None if _deletes(each) else tasks[index])
                    for index, each in enumerate(operations)
                ]
                return Outcome(results, max(task.version for task in tasks.values()))
        except asyncpg.ForeignKeyViolationError as error:
            if not owner.auto_provision or provisioning.is_leaving(error):
                raise InvalidToken from None
            # One without tasks, of whom the key is the first that is stored; or another user took the email since.
            await database.fetch(provisioning.ADD_OWNER, owner=owner.id, email=owner.email, name=owner.name)
        except asyncpg.UniqueViolationError as error:
            check_that_it_was_the_uid(error)
            await check_uids(owner, asked, operations)
        # The next attempt sees a task with the uid, or that it was deleted for good since.
    raise Unavailable


class _Batch(NamedTuple):
    """A batch in its transaction."""

    transaction: Transaction
    owner: Owner
    operations: Sequence[AnyOperation]
    options: BatchOptions

    async def fetch(self, statement: Statement, **values: object) -> Rows:
        """Run a statement for the owner."""
        return await self.transaction.fetch(statement, owner=self.owner.id, inline=INLINE_BYTES, **values)

    async def fetch_tasks(self, statement: Statement, **values: object) -> list[Task | TaskVersion]:
        """Return the tasks that a statement returns, or their ids and versions."""
        kind = TaskVersion if self.options.is_minimal else Task
        return [kind(*row) for row in await self.fetch(statement, **values)]

    async def run(self) -> dict[int, Task | TaskVersion]:
        """Return the tasks by the places of their operations. Raises InOperation."""
        operations = self.operations
        change, create = queries.CHANGE_TASKS, queries.CREATE_TASKS
        if self.options.is_minimal:
            change, create = queries.CHANGE_TASKS_BRIEFLY, queries.CREATE_TASKS_BRIEFLY
        busy = [index for index, operation in enumerate(operations) if not _is_idle(operation)]
        added = [index for index, operation in enumerate(operations) if isinstance(operation, CreateOperation)]
        last, stamped = await self._raise_revision(len(busy), added)
        await check_lists(self.transaction, self.owner, operations)
        await check_labels(self.transaction, self.owner, operations)
        numbers = dict(enumerate(busy, last - len(busy) + 1))

        async def send(statement: Statement, rows: Sequence[dict[str, Any]]) -> list[Task | TaskVersion]:
            if not rows:
                return []
            return await self.fetch_tasks(statement, by=self.owner.by, stamped=stamped, rows=encode(rows).decode())

        numbered = [(number, operations[index]) for number, index in numbers.items()]
        extras = await self._extras()
        rows = [queries.row(number, each, extras.get(each.id)) for number, each in numbered if _may_be_there(each)]
        places = {each.id: index for index, each in enumerate(operations) if _may_be_there(each)}
        # Their versions are higher still where the revision was lost.
        tasks = {places[task.id]: task for task in await send(change, rows)}
        tasks |= await self._unchanged(tasks, last)
        new = [{"number": number, **given(each.data)} for number, each in numbered if isinstance(each, CreateOperation)]
        return tasks | {numbers[task.version]: task for task in await send(create, new)}

    async def _raise_revision(self, count: int, added: Sequence[int]) -> tuple[int, datetime | None]:
        """Raise the owner's revision: nobody else changes their tasks from then on. Returns it, and the time.

        Raises InOperation for the first of the operations that would add a task too many.
        """
        if not count:
            return NO_REVISION
        max_tasks = self.options.max_tasks
        values = {"count": count, "added": len(added), "max_tasks": max_tasks}
        rows = await self.fetch(queries.RAISE_REVISION, **values)
        if not rows and added:
            if self.owner.auto_provision:
                await self.fetch(provisioning.ADD_OWNER, email=self.owner.email, name=self.owner.name)
            rows = await self.fetch(queries.BEGIN_REVISION, **values)
            if not rows:
                stored = await self.fetch(queries.STORED)
                left = max_tasks - (stored[0][0] if stored else 0)
                raise InOperation(added[max(0, min(left, len(added) - 1))], LimitReached(max_tasks))
        return (rows[0][0], rows[0][1]) if rows else NO_REVISION

    async def _extras(self) -> dict[int | str, str]:
        """Return `extra` of each task for which there is a patch of it."""
        patched = [each.id for each in self.operations if isinstance(each, UpdateOperation) and merges(each.data)]
        rows = await self.fetch(queries.EXTRAS, ids=queries.array(patched)) if patched else []
        return {row["id"]: row["extra"] for row in rows}

    async def _check_fits(self, index: int, operation: UpdateOperation | ReplaceOperation, task_id: int | None) -> None:
        """Raises InOperation where the task, if it is there, cannot become what the body says."""
        there = [] if task_id is None else await self.fetch(GET, task_id=task_id)
        try:
            if there:
                check_fits(operation.data, Task(*there[0]))
            elif is_too_long(operation.data.description):
                raise too_long()
        except Invalid as error:
            raise in_data(index, error) from error

    async def _unchanged(self, changed: Container[int], revision: int) -> dict[int, Task | TaskVersion]:
        """Return the tasks that were to stay as they are, or that need not be there.

        Raises InOperation for the first that was to be changed.
        """
        left = {
            index: operation
            for index, operation in enumerate(self.operations)
            if index not in changed and not isinstance(operation, CreateOperation)
        }
        if not left:
            return {}
        ids = queries.array(operation.id for operation in left.values() if _may_be_there(operation))
        show = queries.SHOW_BRIEFLY if self.options.is_minimal else queries.SHOW
        shown = {task.id: task for task in await self.fetch_tasks(show, ids=ids)}
        ignored: dict[int, Task | TaskVersion] = {}
        for index, operation in left.items():
            task = shown.get(operation.id)
            if task is None and isinstance(operation, DeleteOperation) and operation.missing == "ignore":
                ignored[index] = TaskVersion(0, revision)
                continue
            if task is not None and operation.version not in (UNSET, task.version):
                if not (there := await self.fetch(GET, task_id=task.id)):
                    raise InOperation(index, TaskNotFound())  # deleted since it was shown
                raise InOperation(index, PreconditionFailed(Task(*there[0])))
            if isinstance(operation, UpdateOperation | ReplaceOperation) and not _is_idle(operation):
                await self._check_fits(index, operation, None if task is None else task.id)
            if task is None or not _is_idle(operation):
                raise InOperation(index, TaskNotFound())
        return ignored | {index: shown[operation.id] for index, operation in left.items() if index not in ignored}


def _deletes(operation: AnyOperation) -> bool:
    return isinstance(operation, DeleteOperation)


def _is_idle(operation: AnyOperation) -> bool:
    """Tell whether it names nothing that is to be different: then nothing is, the version included."""
    return isinstance(operation, UpdateOperation) and operation.data == NOTHING


def _may_be_there(operation: AnyOperation) -> TypeGuard[ChangeOperation]:
    is_change = not isinstance(operation, CreateOperation)
    return is_change and isinstance(operation.id, int) and 0 < operation.id <= MAX_ID
