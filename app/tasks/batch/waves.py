"""Which operations of a batch are done together: they take effect in order, and yet in few statements.

Operations on tasks that do not depend on each other are one wave. What depends on a task that the batch creates is in
the wave after that. A task has two operations at most, and so few waves are enough for any number of them. Other
operations, such as those on lists, may change any tasks: each is a wave of its own.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

from app.tasks.batch.operations import AnyOperation, ChangeOperation, CreateOperation, UpsertOperation
from app.tasks.uids import chosen_uid

Wave: TypeAlias = list[int]  # the places of its operations


def sections(operations: Sequence[AnyOperation]) -> list[list[Wave]]:
    """Return the waves of a batch, in sections whose waves raise the revision together.

    An operation that `runs_alone` is a section.
    """
    found: list[list[Wave]] = [[]]
    next_wave: dict[str, int] = {}  # after that which creates the task with this uid
    for place, operation in enumerate(operations):
        if operation.runs_alone:
            found += [[[place]], []]
            next_wave.clear()
            continue
        waves = found[-1]
        number = max((next_wave.get(uid, 0) for uid in refers_to(operation)), default=0)
        if number == len(waves):
            waves.append([])
        waves[number].append(place)
        if uid := created_uid(operation):
            next_wave[uid] = number + 1
    return [waves for waves in found if waves]


def count_waves(operations: Sequence[AnyOperation]) -> int:
    """Return how many waves a batch has."""
    return sum(map(len, sections(operations)))


def created_uid(operation: AnyOperation) -> str | None:
    """Return the uid of the task that an operation creates, or that it may create."""
    if isinstance(operation, CreateOperation):
        return chosen_uid(operation.data.uid)
    return operation.id if isinstance(operation, UpsertOperation) and isinstance(operation.id, str) else None


def refers_to(operation: AnyOperation) -> Iterator[str]:
    """Yield the uids of tasks that have to be there before the operation is done."""
    if isinstance(operation, ChangeOperation) and isinstance(operation.id, str) and not created_uid(operation):
        yield operation.id
