"""What batches are answered with: whole tasks, as far as there is room for their texts; and again for a key."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec
from msgspec import UNSET

from app.auth.jwt import User as Owner
from app.db.transaction import Transaction
from app.tasks.batch import queries
from app.tasks.batch.operations import MAX_OPERATIONS, AnyOperation, DeleteOperation, Result
from app.tasks.bounded import TOO_LONG, inline
from app.tasks.failures import AnswerTooLarge
from app.tasks.past_versions import ANY_LENGTH, as_they_were
from app.tasks.structs import Task, TaskVersion
from app.web.response_budget import answers

MAX_ANSWER_BYTES = 4 * 1024 * 1024  # of long descriptions in one answer
BYTES_FOR_EACH = 3  # of them: as PostgreSQL sends it, as Python has it, and as JSON
INLINE_BYTES = inline(MAX_OPERATIONS)


class Stored(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an operation led to, as it is stored for a key. `data` is there where a version before 0.2 stored it."""

    op: str
    status: int
    id: int = 0
    version: int = 0
    data: Any = UNSET


async def remembered(owner: Owner, stored: Sequence[Stored], *, is_minimal: bool) -> list[Result]:
    """Return what came of a batch when it was made: its tasks as they were then, without those that are gone.

    Of tasks with more text than an answer may have, ids and versions: the first answer was minimal too.
    """
    shown: list[Any] = [each.data or None for each in stored]  # from before version 0.2
    known = [index for index, each in enumerate(stored) if each.data is UNSET and each.op != "delete"]
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
    return [Result(each.op, each.status, task) for each, task in zip(stored, shown, strict=True)]


async def with_descriptions(
    transaction: Transaction,
    owner: Owner,
    operations: Sequence[AnyOperation],
    tasks: Mapping[int, Task | TaskVersion],
    room: AsyncExitStack,
) -> dict[int, Task]:
    """Return the tasks whose descriptions were left out for their length, with them, by their places.

    Raises AnswerTooLarge, and TooManyBytes while there is no room for them.
    """
    shown = {index: task for index, task in tasks.items() if not isinstance(operations[index], DeleteOperation)}
    left_out = {index: task for index, task in shown.items() if isinstance(task, Task) and task.description == TOO_LONG}
    if not left_out:
        return {}
    ids = queries.array(task.id for task in left_out.values())
    length = (await transaction.fetch(queries.LENGTH, owner=owner.id, ids=ids))[0][0]
    if length > MAX_ANSWER_BYTES:
        raise AnswerTooLarge(MAX_ANSWER_BYTES)
    room.enter_context(answers.reserved(BYTES_FOR_EACH * length, owner.id))
    rows = await transaction.fetch(queries.DESCRIBE, owner=owner.id, ids=ids)
    texts = {row["id"]: row["description"] for row in rows}
    return {index: msgspec.structs.replace(task, description=texts.get(task.id)) for index, task in left_out.items()}
