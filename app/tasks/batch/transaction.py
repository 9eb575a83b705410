"""A batch in its transaction, and what has come of it so far."""

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TypeAlias

from msgspec import structs

from app.auth.jwt import User as Owner
from app.db.pooled_connection import Rows
from app.db.statements import Statement
from app.db.transaction import Transaction
from app.tasks.batch.operations import MAX_OPERATIONS, AnyOperation, CreateOperation
from app.tasks.batch.options import BatchOptions
from app.tasks.bounded import inline
from app.tasks.structs import Task, TaskVersion

AnyTask: TypeAlias = Task | TaskVersion

INLINE_BYTES = inline(MAX_OPERATIONS)


@dataclass
class BatchTransaction:
    """A batch in its transaction."""

    transaction: Transaction
    owner: Owner
    options: BatchOptions
    operations: list[AnyOperation]  # with ids in place of uids, as far as they are known
    room: AsyncExitStack  # of the answer, until it is encoded
    results: dict[int, AnyTask] = field(default_factory=dict[int, AnyTask])  # by the places of their operations
    described: int = 0  # bytes of long descriptions in the answer
    created: dict[str, int] = field(default_factory=dict[str, int])  # the ids of tasks that it has created, by uid

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
        if not isinstance(operation, CreateOperation) and isinstance(operation.id, str):
            operation = structs.replace(operation, id=self.created[operation.id])
            self.operations[place] = operation
        return operation
