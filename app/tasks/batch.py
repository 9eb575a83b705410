"""Many changes of the owner's tasks as one: all of them happen, or none.

However many they are, they are a few statements in one transaction: the owner's revision is raised first, which keeps
every other change of theirs waiting until the end; then what is there is changed, and what is new is added. Each
operation has a number of its own, in the order in which they were sent, and it becomes the version of its task.
"""

from collections.abc import Container, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeGuard

import asyncpg
import msgspec
from msgspec import UNSET, UnsetType

from app import owners
from app.auth.tokens import User as Owner
from app.database import database
from app.envelopes import encode
from app.failures import InvalidToken, Unavailable
from app.statements import Statement
from app.steps import Steps
from app.tasks import bulk
from app.tasks.failures import InOperation, LimitReached, PreconditionFailed, TaskNotFound
from app.tasks.keys import Key
from app.tasks.once import KEEP, once_together
from app.tasks.operations import (
    STATUSES,
    AnyOperation,
    ChangeOperation,
    CreateOperation,
    DeleteOperation,
    Result,
    UpdateOperation,
)
from app.tasks.states import as_they_were
from app.tasks.structs import MAX_ID, Task, TaskPatch
from app.tasks.versions import etag


class Rules(NamedTuple):
    """What the settings say of batches."""

    keeps_trash: bool = True
    max_tasks: int = 0  # that an owner may store; 0: any number


RULES = Rules()


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an operation led to, as it is kept for a key. `data` is there where a version before 0.2 kept it."""

    op: str
    status: int
    id: int = 0
    version: int = 0
    data: Task | UnsetType | None = UNSET


async def run(
    owner: Owner,
    operations: Sequence[AnyOperation],
    key: Key | None = None,
    *,
    keep: bool = True,
    rules: Rules = RULES,
) -> list[Result]:
    """Do all of it and return what came of each, in order; where it is not to be kept, take it back then.

    Raises InOperation for the first operation that finds no task or another version, or would store too many;
    KeyReused; and InvalidToken where the owner is unknown and may not be added: then nothing has happened.
    """
    if key is None or not keep:
        return await _attempt(owner, operations, None, keep=keep, rules=rules)
    work = partial(_attempt, owner, operations, key, keep=True, rules=rules)
    came = await once_together(key, owner, work, list[Kept])
    if kept := [each for each in came if isinstance(each, Kept)]:
        return await _remembered(owner, kept)
    return [each for each in came if isinstance(each, Result)]


async def _remembered(owner: Owner, kept: Sequence[Kept]) -> list[Result]:
    """Return what came of a batch when it was made: its tasks as they were then, without those that are gone."""
    known = {index: each for index, each in enumerate(kept) if each.data is UNSET and each.op != "delete"}
    states = [(each.id, each.version) for each in known.values()]
    tasks = dict(zip(known, await as_they_were(owner, states), strict=True)) if states else {}
    whole = (each.data or None for each in kept)  # before version 0.2
    return [
        Result(each.op, each.status, tasks.get(index, data))
        for index, (each, data) in enumerate(zip(kept, whole, strict=True))
    ]


async def _attempt(
    owner: Owner, operations: Sequence[AnyOperation], key: Key | None, *, keep: bool, rules: Rules
) -> list[Result]:
    for _ in range(owners.ATTEMPTS):
        try:
            async with database.stepwise(owner.id, keep=keep) as steps:
                tasks = await _run(steps, owner, operations, rules.max_tasks)
                gone = [each.id for each in operations if isinstance(each, DeleteOperation)]
                if gone and not rules.keeps_trash:
                    await steps.fetch(bulk.FORGET, owner=owner.id, ids=bulk.array(gone))
                if key is not None:
                    kept = [_kept(operation, tasks[index]) for index, operation in enumerate(operations)]
                    await steps.fetch(KEEP, owner=owner.id, answer=encode(kept).decode(), **key.values())
                return [_result(operation, tasks[index]) for index, operation in enumerate(operations)]
        except asyncpg.ForeignKeyViolationError as error:
            if not owner.may_be_new or owners.is_leaving(error):
                raise InvalidToken from None
        # Somebody else took their email in the same instant. The next attempt sees that it is taken.
    raise Unavailable


async def _run(steps: Steps, owner: Owner, operations: Sequence[AnyOperation], max_tasks: int) -> dict[int, Task]:
    """Return the tasks by the places of their operations."""
    busy = [index for index, operation in enumerate(operations) if not _is_idle(operation)]
    added = [index for index, operation in enumerate(operations) if isinstance(operation, CreateOperation)]
    last = await _raised(steps, owner, len(busy), added, max_tasks)
    numbers = dict(enumerate(busy, last - len(busy) + 1))

    async def send(statement: Statement, rows: list[Any]) -> list[Task]:
        if not rows:
            return []
        found = await steps.fetch(statement, owner=owner.id, by=owner.by, rows=encode(rows).decode())
        return [Task(*row) for row in found]

    numbered = [(number, operations[index]) for number, index in numbers.items()]
    changed = await send(bulk.CHANGE, [bulk.row(*each) for each in numbered if _may_be_there(each[1])])
    places = {each.id: index for index, each in enumerate(operations) if _may_be_there(each)}
    tasks = {places[task.id]: task for task in changed}  # their versions are higher still where the revision was lost
    tasks |= await _unchanged(steps, owner, operations, tasks)
    new = [(number, each.data) for number, each in numbered if isinstance(each, CreateOperation)]
    created = await send(bulk.CREATE, [bulk.NewRow(number, data.title, data.description) for number, data in new])
    return tasks | {numbers[task.version]: task for task in created}


async def _raised(steps: Steps, owner: Owner, count: int, added: Sequence[int], max_tasks: int) -> int:
    """Raise the owner's revision and return it: nobody else changes their tasks from then on.

    Raises InOperation for the first of the operations that would add a task too many.
    """
    if not count:
        return 0
    counts = {"count": count, "added": len(added), "max_tasks": max_tasks}
    rows = await steps.fetch(bulk.RAISE, owner=owner.id, **counts)
    if not rows and added:
        if owner.may_be_new:
            await steps.fetch(owners.ADD_OWNER, owner=owner.id, email=owner.email, name=owner.name)
        rows = await steps.fetch(bulk.BEGIN, owner=owner.id, **counts)
        if not rows:
            stored = await steps.fetch(bulk.STORED, owner=owner.id)
            left = max_tasks - (stored[0][0] if stored else 0)
            raise InOperation(added[max(0, min(left, len(added) - 1))], LimitReached(max_tasks))
    return rows[0][0] if rows else 0


async def _unchanged(
    steps: Steps, owner: Owner, operations: Sequence[AnyOperation], changed: Container[int]
) -> dict[int, Task]:
    """Return the tasks that were to stay as they are. Raises InOperation for the first that was to be changed."""
    left = {
        index: operation
        for index, operation in enumerate(operations)
        if index not in changed and not isinstance(operation, CreateOperation)
    }
    if not left:
        return {}
    ids = bulk.array(operation.id for operation in left.values() if _may_be_there(operation))
    shown = {row["id"]: Task(*row) for row in await steps.fetch(bulk.SHOW, owner=owner.id, ids=ids)}
    return {index: _as_meant(index, operation, shown.get(operation.id)) for index, operation in left.items()}


def _as_meant(index: int, operation: ChangeOperation, task: Task | None) -> Task:
    if task is not None and operation.version not in (UNSET, task.version):
        raise InOperation(index, PreconditionFailed(task, etag(task.version)))
    if task is None or not _is_idle(operation):
        raise InOperation(index, TaskNotFound())
    return task


def _is_idle(operation: AnyOperation) -> bool:
    """Tell whether it names nothing that is to be different: then nothing is, the version included."""
    return isinstance(operation, UpdateOperation) and operation.data == TaskPatch()


def _may_be_there(operation: AnyOperation) -> TypeGuard[ChangeOperation]:
    return not isinstance(operation, CreateOperation) and operation.id <= MAX_ID


def _kept(operation: AnyOperation, task: Task) -> Kept:
    name = str(operation.__struct_config__.tag)
    return Kept(name, STATUSES[name], task.id, task.version)


def _result(operation: AnyOperation, task: Task) -> Result:
    name = str(operation.__struct_config__.tag)
    return Result(name, STATUSES[name], None if isinstance(operation, DeleteOperation) else task)
