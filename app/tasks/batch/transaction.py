"""A batch in its transaction, and what has come of it so far."""

from contextlib import AsyncExitStack
from copy import copy
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias, cast

from msgspec import structs

from app.auth.jwt import User as Owner
from app.db.pooled_connection import Rows
from app.db.statements import Statement
from app.db.transaction import Transaction
from app.tasks.batch.operations import (
    MAX_OPERATIONS,
    AnyOperation,
    ChangeOperation,
    CreateOperation,
    ReplaceOperation,
    TaskOperation,
    UpdateOperation,
)
from app.tasks.batch.options import BatchOptions
from app.tasks.bounded import inline
from app.tasks.costs import Charge
from app.tasks.labels.structs import Label
from app.tasks.lists.structs import TodoList
from app.tasks.structs import Task, TaskVersion

AnyTask: TypeAlias = Task | TaskVersion
AnyObject: TypeAlias = AnyTask | TodoList | Label

INLINE_BYTES = inline(MAX_OPERATIONS)


class Done(NamedTuple):
    """What has come of an operation, and the status that it would have been answered with alone.

    Of what is gone (204), id and version: the version is the revision.
    """

    left: AnyObject
    status: int


@dataclass
class BatchTransaction:
    """A batch in its transaction."""

    transaction: Transaction
    owner: Owner
    options: BatchOptions
    operations: list[AnyOperation]  # with ids in place of uids, as far as they are known
    room: AsyncExitStack  # of the answer, until it is encoded
    charge: Charge
    results: dict[int, Done] = field(default_factory=dict[int, Done])  # by the places of their operations
    described: int = 0  # bytes of long descriptions in the answer
    created: dict[str, int] = field(default_factory=dict[str, int])  # the ids of tasks that it has created, by uid
    new_lists: set[int] = field(default_factory=set[int])  # the ids of those that it has created

    async def fetch(self, statement: Statement, **values: object) -> Rows:
        """Run a statement for the owner."""
        return await self.transaction.fetch(statement, owner=self.owner.id, inline=INLINE_BYTES, **values)

    async def fetch_tasks(self, statement: Statement, **values: object) -> list[Task | TaskVersion]:
        """Return the tasks that a statement returns, or their ids and versions."""
        kind = TaskVersion if self.options.is_minimal else Task
        return [kind(*row) for row in await self.fetch(statement, **values)]

    def operation(self, place: int) -> AnyOperation:
        """Return an operation that is to be done now, with the id of a task that the batch has created before."""
        operation = self.operations[place]
        if isinstance(operation, ChangeOperation) and isinstance(operation.id, str):
            operation = structs.replace(operation, id=self.created[operation.id])
            self.operations[place] = operation
        return operation

    def task_operation(self, place: int) -> TaskOperation:
        """Return an operation on a task, as `operation` does. Its body may be changed: another attempt has its own."""
        operation = cast("TaskOperation", self.operation(place))
        if isinstance(operation, CreateOperation | UpdateOperation | ReplaceOperation):
            return structs.replace(operation, data=copy(operation.data))
        return operation
