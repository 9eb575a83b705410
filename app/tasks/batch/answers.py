"""What batches are answered with: whole tasks, as far as there is room for their texts; and again for a key."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, structs

from app.auth.jwt import User as Owner
from app.tasks.batch import queries
from app.tasks.batch.operations import DeleteOperation, Result
from app.tasks.batch.transaction import INLINE_BYTES, BatchTransaction
from app.tasks.bounded import TOO_LONG
from app.tasks.failures import AnswerTooLarge
from app.tasks.past_versions import ANY_LENGTH, as_they_were
from app.tasks.structs import Task, TaskVersion
from app.web.response_budget import answers

MAX_ANSWER_BYTES = 4 * 1024 * 1024  # of long descriptions in one answer
BYTES_FOR_EACH = 3  # of them: as PostgreSQL sends it, as Python has it, and as JSON


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
    it: BatchTransaction, tasks: Mapping[int, Task | TaskVersion]
) -> Mapping[int, Task | TaskVersion]:
    """Return the tasks of operations, by their places, with the descriptions that were left out for their length.

    Raises AnswerTooLarge, and TooManyBytes while there is no room for them.
    """
    shown = {place: task for place, task in tasks.items() if not isinstance(it.operations[place], DeleteOperation)}
    left_out = {place: task for place, task in shown.items() if isinstance(task, Task) and task.description == TOO_LONG}
    if not left_out:
        return tasks
    ids = queries.array(task.id for task in left_out.values())
    length = (await it.fetch(queries.LENGTH, ids=ids))[0][0]
    it.described += length
    if it.described > MAX_ANSWER_BYTES:
        raise AnswerTooLarge(MAX_ANSWER_BYTES)
    it.room.enter_context(answers.reserved(BYTES_FOR_EACH * length, it.owner.id))
    rows = await it.fetch(queries.DESCRIBE, ids=ids)
    texts = {row["id"]: row["description"] for row in rows}
    whole = {place: structs.replace(task, description=texts.get(task.id)) for place, task in left_out.items()}
    return {**tasks, **whole}
