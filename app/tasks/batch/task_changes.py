"""Operations on tasks: in each wave what is there is changed in one statement, and what is new is added in another.

Each operation has a number of its own, in the order in which they were sent, and it becomes the version of its task.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeGuard

from msgspec import UNSET

from app.auth import provisioning
from app.db.statements import Statement
from app.tasks.batch import queries
from app.tasks.batch.answers import with_descriptions
from app.tasks.batch.in_lists import check_lists
from app.tasks.batch.labels import check_labels
from app.tasks.batch.operations import (
    STATUSES,
    AnyOperation,
    ChangeOperation,
    CreateOperation,
    DeleteOperation,
    ReplaceOperation,
    TaskOperation,
    UpdateOperation,
)
from app.tasks.batch.reading import in_data
from app.tasks.batch.transaction import BatchTransaction, Done
from app.tasks.batch.waves import Wave, created_uid
from app.tasks.bodies import given, merges
from app.tasks.failures import InOperation, LimitReached, PreconditionFailed, TaskNotFound
from app.tasks.queries import GET, NOTHING
from app.tasks.structs import MAX_ID, Task, TaskVersion, check_fits, is_too_long, too_long
from app.web.envelopes import encode
from app.web.failures import Invalid

NO_REVISION = 0, None  # where there is nothing to raise, a trigger sees to the revision and the time


async def change_tasks(it: BatchTransaction, waves: Sequence[Wave]) -> None:
    """Do the operations of a section. Raises InOperation, AnswerTooLarge, TooManyBytes."""
    places = sorted(place for wave in waves for place in wave)
    busy = [place for place in places if not _is_idle(it.operations[place])]
    added = [place for place in places if isinstance(it.operations[place], CreateOperation)]
    last, stamped = await _raise_revision(it, len(busy), added)
    numbers = dict(zip(busy, range(last - len(busy) + 1, last + 1), strict=True))
    for wave in waves:
        operations = {place: it.task_operation(place) for place in wave}
        tasks = await _WaveOfTasks(it, operations, numbers, last, stamped).run()
        for place, operation in operations.items():
            if uid := created_uid(operation):
                it.created[uid] = tasks[place].id
        whole = await with_descriptions(it, tasks)
        it.results |= {place: Done(whole[place], STATUSES[each.op]) for place, each in operations.items()}


async def _raise_revision(it: BatchTransaction, count: int, added: Sequence[int]) -> tuple[int, datetime | None]:
    """Raise the owner's revision: nobody else changes their tasks from then on. Returns it, and the time.

    Raises InOperation for the first of the operations that would add a task too many.
    """
    if not count:
        return NO_REVISION
    max_tasks = it.options.max_tasks
    values = {"count": count, "added": len(added), "max_tasks": max_tasks}
    rows = await it.fetch(queries.RAISE_REVISION, **values)
    if not rows and added:
        if it.owner.auto_provision:
            await it.fetch(provisioning.ADD_OWNER, email=it.owner.email, name=it.owner.name)
        rows = await it.fetch(queries.BEGIN_REVISION, **values)
        if not rows:
            stored = await it.fetch(queries.STORED)
            left = max_tasks - (stored[0][0] if stored else 0)
            raise InOperation(added[max(0, min(left, len(added) - 1))], LimitReached(max_tasks))
    return (rows[0][0], rows[0][1]) if rows else NO_REVISION


@dataclass
class _WaveOfTasks:
    """Operations on tasks that do not depend on each other."""

    it: BatchTransaction
    operations: Mapping[int, TaskOperation]
    numbers: Mapping[int, int]  # the versions of their tasks, by the places of the operations
    revision: int
    stamped: datetime | None

    async def run(self) -> dict[int, Task | TaskVersion]:
        """Return the tasks by the places of their operations. Raises InOperation."""
        change, create = queries.CHANGE_TASKS, queries.CREATE_TASKS
        if self.it.options.is_minimal:
            change, create = queries.CHANGE_TASKS_BRIEFLY, queries.CREATE_TASKS_BRIEFLY
        await check_lists(self.it.transaction, self.it.owner, self.operations)
        await check_labels(self.it.transaction, self.it.owner, self.operations)
        numbered = [(self.numbers[place], each) for place, each in self.operations.items() if place in self.numbers]
        extras = await self._extras()
        rows = [queries.row(number, each, extras.get(each.id)) for number, each in numbered if _may_be_there(each)]
        places = {each.id: place for place, each in self.operations.items() if _may_be_there(each)}
        # Their versions are higher still where the revision was lost.
        tasks = {places[task.id]: task for task in await self._send(change, rows)}
        tasks |= await self._unchanged(tasks)
        new = [{"number": number, **given(each.data)} for number, each in numbered if isinstance(each, CreateOperation)]
        place_of = {number: place for place, number in self.numbers.items()}
        return tasks | {place_of[task.version]: task for task in await self._send(create, new)}

    async def _send(self, statement: Statement, rows: Sequence[dict[str, Any]]) -> list[Task | TaskVersion]:
        if not rows:
            return []
        values = {"by": self.it.owner.by, "stamped": self.stamped, "rows": encode(rows).decode()}
        return await self.it.fetch_tasks(statement, **values)

    async def _extras(self) -> dict[int | str, str]:
        """Return `extra` of each task for which there is a patch of it."""
        updates = [each for each in self.operations.values() if isinstance(each, UpdateOperation)]
        patched = [each.id for each in updates if merges(each.data)]
        rows = await self.it.fetch(queries.EXTRAS, ids=queries.array(patched)) if patched else []
        return {row["id"]: row["extra"] for row in rows}

    async def _check_fits(self, index: int, operation: UpdateOperation | ReplaceOperation, task_id: int | None) -> None:
        """Raises InOperation where the task, if it is there, cannot become what the body says."""
        there = [] if task_id is None else await self.it.fetch(GET, task_id=task_id)
        try:
            if there:
                check_fits(operation.data, Task(*there[0]))
            elif is_too_long(operation.data.description):
                raise too_long()
        except Invalid as error:
            raise in_data(index, error) from error

    async def _unchanged(self, changed: Container[int]) -> dict[int, Task | TaskVersion]:
        """Return the tasks that were to stay as they are, or that need not be there.

        Raises InOperation for the first that was to be changed.
        """
        left = {
            index: operation
            for index, operation in self.operations.items()
            if index not in changed and not isinstance(operation, CreateOperation)
        }
        if not left:
            return {}
        ids = queries.array(operation.id for operation in left.values() if _may_be_there(operation))
        show = queries.SHOW_BRIEFLY if self.it.options.is_minimal else queries.SHOW
        shown = {task.id: task for task in await self.it.fetch_tasks(show, ids=ids)}
        ignored: dict[int, Task | TaskVersion] = {}
        for index, operation in left.items():
            task = shown.get(operation.id)
            if task is None and isinstance(operation, DeleteOperation) and operation.missing == "ignore":
                ignored[index] = TaskVersion(0, self.revision)
                continue
            if task is not None and operation.version not in (UNSET, task.version):
                if not (there := await self.it.fetch(GET, task_id=task.id)):
                    raise InOperation(index, TaskNotFound())  # deleted since it was shown
                raise InOperation(index, PreconditionFailed(Task(*there[0])))
            if isinstance(operation, UpdateOperation | ReplaceOperation) and not _is_idle(operation):
                await self._check_fits(index, operation, None if task is None else task.id)
            if task is None or not _is_idle(operation):
                raise InOperation(index, TaskNotFound())
        return ignored | {index: shown[operation.id] for index, operation in left.items() if index not in ignored}


def _is_idle(operation: AnyOperation) -> bool:
    """Tell whether it names nothing that is to be different: then nothing is, the version included."""
    return isinstance(operation, UpdateOperation) and operation.data == NOTHING


def _may_be_there(operation: TaskOperation) -> TypeGuard[ChangeOperation]:
    is_change = not isinstance(operation, CreateOperation)
    return is_change and isinstance(operation.id, int) and 0 < operation.id <= MAX_ID
