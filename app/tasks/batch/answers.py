"""What batches are answered with: whole tasks, as far as there is room for their texts; and again for a key."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType, structs

from app.auth.jwt import User as Owner
from app.db.engine import database
from app.tasks.batch import queries
from app.tasks.batch.operations import AnyOperation, DeleteOperation, OtherOperation, Result
from app.tasks.batch.transaction import INLINE_BYTES, AnyObject, BatchTransaction
from app.tasks.bounded import TOO_LONG
from app.tasks.failures import AnswerTooLarge
from app.tasks.past_versions import ANY_LENGTH, as_they_were
from app.tasks.structs import Task, TaskVersion
from app.web.response_budget import answers

MAX_ANSWER_BYTES = 4 * 1024 * 1024  # of long descriptions in one answer
BYTES_FOR_EACH = 3  # of them: as PostgreSQL sends it, as Python has it, and as JSON


class Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an operation led to, as it is stored for a key.

    `data` is there for a list and a label, and of a task where a version before 0.2 stored it.
    """

    op: str
    status: int
    id: int = 0
    version: int = 0
    data: Any = UNSET
    on: str | UnsetType = UNSET


async def remembered(owner: Owner, stored: Sequence[Stored], *, is_minimal: bool) -> list[Result]:
    """Return what came of a batch when it was made: what it left as it was then, without what is gone for good.

    Of tasks with more text than an answer may have, ids and versions: the first answer was minimal too.
    """
    shown = await _stored_whole(owner, stored, is_minimal=is_minimal)
    known = [index for index, each in enumerate(stored) if each.data is UNSET and each.status != 204]
    states = [(stored[index].id, stored[index].version) for index in known]
    tasks: Sequence[Task | TaskVersion | None] = [TaskVersion(*state) for state in states]
    if states and not is_minimal:
        tasks = await as_they_were(owner, states, INLINE_BYTES)
    length = 0
    for index, state, task in zip(known, states, tasks, strict=True):
        shown[index] = task
        if isinstance(task, Task) and task.description == TOO_LONG:
            shown[index] = TaskVersion(*state)
            if length < MAX_ANSWER_BYTES:
                [whole] = await as_they_were(owner, [state], ANY_LENGTH)
                shown[index] = whole
                length += len((whole.description or "").encode()) if whole else 0
    return [Result(each.op, each.status, it, each.on) for each, it in zip(stored, shown, strict=True)]


def stored_of(operation: AnyOperation, left: AnyObject, status: int) -> Stored:
    """Return what is stored of an operation for a key."""
    on = operation.on if isinstance(operation, OtherOperation) else UNSET
    return Stored(operation.op, status, left.id, left.version, left if on and status != 204 else UNSET, on)


def result_of(operation: AnyOperation, left: AnyObject, status: int, *, is_minimal: bool) -> Result:
    """Return what is told of an operation."""
    on = operation.on if isinstance(operation, OtherOperation) else UNSET
    shown = TaskVersion(left.id, left.version) if is_minimal else left
    return Result(operation.op, status, None if status == 204 else shown, on)


async def _stored_whole(owner: Owner, stored: Sequence[Stored], *, is_minimal: bool) -> list[Any]:
    """Return what was stored whole, in the places of the operations."""
    there: set[tuple[object, int]] = set()
    if ids := [(each.on, each.id) for each in stored if each.on]:
        of = {kind: queries.array(number for on, number in ids if on == kind) for kind in ("list", "label")}
        rows = await database.fetch(queries.STILL_THERE, owner=owner.id, list_ids=of["list"], label_ids=of["label"])
        there = {(row["on"], row["id"]) for row in rows}

    def shown(it: Stored) -> Any:
        if not it.data or (it.on and (it.on, it.id) not in there):
            return None
        return TaskVersion(it.id, it.version) if it.on and is_minimal else it.data

    return [shown(each) for each in stored]


async def with_descriptions(it: BatchTransaction, left: Mapping[int, AnyObject]) -> Mapping[int, AnyObject]:
    """Return what operations have left, by their places, with descriptions that were left out for their length.

    Raises AnswerTooLarge, and TooManyBytes while there is no room for them.
    """
    shown = {place: each for place, each in left.items() if not isinstance(it.operations[place], DeleteOperation)}
    left_out = {place: task for place, task in shown.items() if isinstance(task, Task) and task.description == TOO_LONG}
    if not left_out:
        return left
    ids = queries.array(task.id for task in left_out.values())
    length = (await it.fetch(queries.LENGTH, ids=ids))[0][0]
    it.described += length
    if it.described > MAX_ANSWER_BYTES:
        raise AnswerTooLarge(MAX_ANSWER_BYTES)
    it.room.enter_context(answers.reserved(BYTES_FOR_EACH * length, it.owner.id))
    rows = await it.fetch(queries.DESCRIBE, ids=ids)
    texts = {row["id"]: row["description"] for row in rows}
    whole = {place: structs.replace(task, description=texts.get(task.id)) for place, task in left_out.items()}
    return {**left, **whole}
