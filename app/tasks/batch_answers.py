"""What batches are answered with: whole tasks, as far as there is room for their texts; and again for a key."""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from app.auth.tokens import User as Owner
from app.edge.budget import answers
from app.steps import Steps
from app.tasks import bulk
from app.tasks.bounded import TOO_LONG, inline
from app.tasks.failures import AnswerTooLarge
from app.tasks.operations import MAX_OPERATIONS, AnyOperation, DeleteOperation, Result
from app.tasks.states import ANY_LENGTH, as_they_were
from app.tasks.structs import Task, TaskVersion

MAX_ANSWER_BYTES = 4 * 1024 * 1024  # of long descriptions in one answer
BYTES_FOR_EACH = 3  # of them: as PostgreSQL sends it, as Python has it, and as JSON
INLINE_BYTES = inline(MAX_OPERATIONS)


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an operation led to, as it is kept for a key. `data` is there where a version before 0.2 kept it."""

    op: str
    status: int
    id: int = 0
    version: int = 0
    data: Task | UnsetType | None = UNSET


async def remembered(owner: Owner, kept: Sequence[Kept], *, briefly: bool) -> list[Result]:
    """Return what came of a batch when it was made: its tasks as they were then, without those that are gone.

    Of tasks with more text than an answer may have, ids and versions: the first answer was brief too.
    """
    known = {index: each for index, each in enumerate(kept) if each.data is UNSET and each.op != "delete"}
    tasks: dict[int, Any] = {index: TaskVersion(each.id, each.version) for index, each in known.items()}
    if tasks and not briefly:
        states = [(each.id, each.version) for each in known.values()]
        tasks = dict(zip(known, await as_they_were(owner, states, INLINE_BYTES), strict=True))
        length = 0
        for index, task in tasks.items():
            if task is not None and task.description == TOO_LONG:
                that = TaskVersion(known[index].id, known[index].version)
                if length < MAX_ANSWER_BYTES:
                    [tasks[index]] = await as_they_were(owner, [(that.id, that.version)], ANY_LENGTH)
                    length += len((tasks[index].description or "").encode()) if tasks[index] else 0
                else:
                    tasks[index] = that
    whole = (each.data or None for each in kept)  # before version 0.2
    return [
        Result(each.op, each.status, tasks.get(index, data))
        for index, (each, data) in enumerate(zip(kept, whole, strict=True))
    ]


async def described(
    steps: Steps,
    owner: Owner,
    operations: Sequence[AnyOperation],
    tasks: dict[int, Any],
    room: AsyncExitStack,
) -> dict[int, Task]:
    """Return the tasks whose descriptions were left out for their length, with them, by their places.

    Raises AnswerTooLarge, and TooManyBytes while there is no room for them.
    """
    left_out = {
        index: task
        for index, task in tasks.items()
        if task.description == TOO_LONG and not isinstance(operations[index], DeleteOperation)
    }
    if not left_out:
        return {}
    ids = bulk.array(task.id for task in left_out.values())
    length = (await steps.fetch(bulk.LENGTH, owner=owner.id, ids=ids))[0][0]
    if length > MAX_ANSWER_BYTES:
        raise AnswerTooLarge(MAX_ANSWER_BYTES)
    room.enter_context(answers.reserved(BYTES_FOR_EACH * length, owner.id))
    texts = {row["id"]: row["description"] for row in await steps.fetch(bulk.DESCRIBE, owner=owner.id, ids=ids)}
    return {index: msgspec.structs.replace(task, description=texts.get(task.id)) for index, task in left_out.items()}
