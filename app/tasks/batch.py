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

from app import owners
from app.auth.tokens import User as Owner
from app.database import database
from app.envelopes import encode
from app.failures import InvalidToken, Unavailable
from app.statements import Statement
from app.steps import Steps
from app.tasks import bulk
from app.tasks.batch_answers import INLINE_BYTES, Kept, described, remembered
from app.tasks.failures import InOperation, LimitReached, PreconditionFailed, TaskNotFound
from app.tasks.keys import Key
from app.tasks.once import KEEP, once_together
from app.tasks.operations import (
    STATUSES,
    AnyOperation,
    ChangeOperation,
    CreateOperation,
    DeleteOperation,
    ReplaceOperation,
    Result,
    UpdateOperation,
    too_long_in,
)
from app.tasks.queries import GET
from app.tasks.structs import MAX_ID, Task, TaskPatch, TaskVersion, is_too_long
from app.tasks.versions import etag


class Rules(NamedTuple):
    """What the settings say of batches."""

    keeps_trash: bool = True
    max_tasks: int = 0  # that an owner may store; 0: any number


RULES = Rules()


class Raised(NamedTuple):
    """An owner's revision after a batch, and when the tasks of it were changed."""

    revision: int
    stamped: datetime | None


NOT_RAISED = Raised(0, None)  # where there was nothing to raise, a trigger sees to both


async def run(
    owner: Owner,
    operations: Sequence[AnyOperation],
    key: Key | None = None,
    *,
    keep: bool = True,
    rules: Rules = RULES,
    briefly: bool = False,
) -> list[Result]:
    """Do all of it and return what came of each, in order; where it is not to be kept, take it back then.

    It tells whole tasks, or `briefly` their ids and versions. Raises InOperation for the first operation that finds no
    task or another version, or would store too many; AnswerTooLarge, TooManyBytes, KeyReused; and InvalidToken where
    the owner is unknown and may not be added: then nothing has happened.
    """
    if key is None or not keep:
        return await _attempt(owner, operations, None, keep=keep, rules=rules, briefly=briefly)
    work = partial(_attempt, owner, operations, key, keep=True, rules=rules, briefly=briefly)
    came = await once_together(key, owner, work, list[Kept])
    if kept := [each for each in came if isinstance(each, Kept)]:
        return await remembered(owner, kept, briefly=briefly)
    return [each for each in came if isinstance(each, Result)]


async def _attempt(
    owner: Owner,
    operations: Sequence[AnyOperation],
    key: Key | None,
    *,
    keep: bool,
    rules: Rules,
    briefly: bool,
) -> list[Result]:
    for _ in range(owners.ATTEMPTS):
        try:
            # There has to be room for the answer until it is encoded.
            async with AsyncExitStack() as room, database.stepwise(owner.id, keep=keep) as steps:
                tasks = await _run(steps, owner, operations, rules.max_tasks, briefly=briefly)
                if not briefly:
                    tasks |= await described(steps, owner, operations, tasks, room)
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


async def _run(
    steps: Steps, owner: Owner, operations: Sequence[AnyOperation], max_tasks: int, *, briefly: bool
) -> dict[int, Task | TaskVersion]:
    """Return the tasks by the places of their operations."""
    kind, change, create, show = Task, bulk.CHANGE, bulk.CREATE, bulk.SHOW
    if briefly:
        kind, change, create, show = TaskVersion, bulk.CHANGE_BRIEFLY, bulk.CREATE_BRIEFLY, bulk.SHOW_BRIEFLY
    busy = [index for index, operation in enumerate(operations) if not _is_idle(operation)]
    added = [index for index, operation in enumerate(operations) if isinstance(operation, CreateOperation)]
    last, stamped = await _raised(steps, owner, len(busy), added, max_tasks)
    numbers = dict(enumerate(busy, last - len(busy) + 1))

    async def send(statement: Statement, rows: list[Any]) -> list[Task | TaskVersion]:
        if not rows:
            return []
        values = {"by": owner.by, "stamped": stamped, "rows": encode(rows).decode(), "inline": INLINE_BYTES}
        return [kind(*row) for row in await steps.fetch(statement, owner=owner.id, **values)]

    numbered = [(number, operations[index]) for number, index in numbers.items()]
    changed = await send(change, [bulk.row(*each) for each in numbered if _may_be_there(each[1])])
    places = {each.id: index for index, each in enumerate(operations) if _may_be_there(each)}
    tasks = {places[task.id]: task for task in changed}  # their versions are higher still where the revision was lost
    tasks |= await _unchanged(steps, owner, operations, tasks, show, kind)
    new = [(number, each.data) for number, each in numbered if isinstance(each, CreateOperation)]
    created = await send(create, [bulk.new_row(*each) for each in new])
    return tasks | {numbers[task.version]: task for task in created}


async def _raised(steps: Steps, owner: Owner, count: int, added: Sequence[int], max_tasks: int) -> Raised:
    """Raise the owner's revision: nobody else changes their tasks from then on.

    Raises InOperation for the first of the operations that would add a task too many.
    """
    if not count:
        return NOT_RAISED
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
    return Raised(*rows[0]) if rows else NOT_RAISED


async def _unchanged(
    steps: Steps,
    owner: Owner,
    operations: Sequence[AnyOperation],
    changed: Container[int],
    show: Statement,
    kind: type[Task | TaskVersion],
) -> dict[int, Task | TaskVersion]:
    """Return the tasks that were to stay as they are. Raises InOperation for the first that was to be changed."""
    left = {
        index: operation
        for index, operation in enumerate(operations)
        if index not in changed and not isinstance(operation, CreateOperation)
    }
    if not left:
        return {}
    ids = bulk.array(operation.id for operation in left.values() if _may_be_there(operation))
    rows = await steps.fetch(show, owner=owner.id, ids=ids, inline=INLINE_BYTES)
    shown = {row["id"]: kind(*row) for row in rows}
    for index, operation in left.items():
        task = shown.get(operation.id)
        if task is not None and operation.version not in (UNSET, task.version):
            if not (there := await steps.fetch(GET, owner=owner.id, task_id=task.id)):
                raise InOperation(index, TaskNotFound())  # deleted since it was shown
            current = Task(*there[0])
            raise InOperation(index, PreconditionFailed(current, etag(current.version)))
        if isinstance(operation, UpdateOperation | ReplaceOperation) and is_too_long(operation.data.description):
            raise too_long_in(index)
        if task is None or not _is_idle(operation):
            raise InOperation(index, TaskNotFound())
    return {index: shown[operation.id] for index, operation in left.items()}


def _is_idle(operation: AnyOperation) -> bool:
    """Tell whether it names nothing that is to be different: then nothing is, the version included."""
    return isinstance(operation, UpdateOperation) and operation.data == TaskPatch()


def _may_be_there(operation: AnyOperation) -> TypeGuard[ChangeOperation]:
    return not isinstance(operation, CreateOperation) and 0 < operation.id <= MAX_ID


def _kept(operation: AnyOperation, task: Task | TaskVersion) -> Kept:
    name = str(operation.__struct_config__.tag)
    return Kept(name, STATUSES[name], task.id, task.version)


def _result(operation: AnyOperation, task: Task | TaskVersion) -> Result:
    name = str(operation.__struct_config__.tag)
    return Result(name, STATUSES[name], None if isinstance(operation, DeleteOperation) else task)
