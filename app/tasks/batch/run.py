"""Many changes of the owner's tasks as one: all of them happen, or none.

They take effect in the order in which they were sent, and yet are a few statements in one transaction: the owner's
revision is raised first, which keeps every other change of theirs waiting until the end.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from typing import NamedTuple

import asyncpg

from app.auth import idempotency, provisioning
from app.auth.jwt import User as Owner
from app.db.engine import database
from app.tasks import costs
from app.tasks.batch import queries
from app.tasks.batch.alone import do_alone
from app.tasks.batch.answers import Stored, remembered, result_of, stored_of
from app.tasks.batch.by_uid import check_uids, with_ids
from app.tasks.batch.on_labels import LabelOperation
from app.tasks.batch.operations import AnyOperation, DeleteOperation, Result
from app.tasks.batch.options import BatchOptions
from app.tasks.batch.reading import check_versions
from app.tasks.batch.task_changes import change_tasks
from app.tasks.batch.transaction import BatchTransaction
from app.tasks.batch.waves import count_waves, sections
from app.tasks.by_uid import check_that_it_was_the_uid
from app.tasks.change import Change
from app.tasks.costs import Charge
from app.web.envelopes import encode
from app.web.failures import InvalidToken, Unavailable

DEFAULT = BatchOptions()


class Outcome(NamedTuple):
    """What came of each operation, in order, and the owner's revision behind them."""

    results: list[Result]
    revision: int


async def cost_of(owner: Owner, operations: Sequence[AnyOperation]) -> int:
    """Return what a batch costs beyond 1: for its operations, its waves, and looks at all tasks that have a label."""
    labels = sum(isinstance(each, LabelOperation) for each in operations)
    looked_at = labels * await costs.of_looking_through(owner) if labels else 0
    return (len(operations) - 1) // costs.OPERATIONS + count_waves(operations) - 1 + looked_at


async def run(
    change: Change, operations: Sequence[AnyOperation], options: BatchOptions = DEFAULT, charge: Charge = costs.free
) -> Outcome:
    """Do all of it and return what came of it. Charges for tasks that change with their list or label.

    Raises InOperation for the first operation that finds no task or another version, or would store too many;
    AnswerTooLarge, TooManyBytes, KeyReused; and InvalidToken where the owner is unknown and may not be added: then
    nothing has happened.
    """
    if change.key is None or options.is_dry_run:
        return await _attempt(change._replace(key=None), operations, options, charge)
    work = partial(_attempt, change, operations, options, charge)
    came = await idempotency.idempotent_transaction(change.key, change.owner, work, list[Stored])
    if isinstance(came, Outcome):
        return came
    results = await remembered(change.owner, came, is_minimal=options.is_minimal)
    return Outcome(results, max(each.version for each in came))


async def _attempt(change: Change, asked: Sequence[AnyOperation], options: BatchOptions, charge: Charge) -> Outcome:
    owner = change.owner
    for _ in range(provisioning.PROVISION_ATTEMPTS):
        try:
            # There has to be room for the answer until it is encoded.
            async with (
                AsyncExitStack() as room,
                database.begin(owner.id, keep=not options.is_dry_run) as transaction,
            ):
                transaction.is_renewable = False  # or a hundred renames would hold a connection for minutes
                operations = await with_ids(transaction, owner, asked)
                if options.needs_versions:
                    check_versions(asked, operations)
                it = BatchTransaction(transaction, owner, options, [*operations], room, charge)
                for waves in sections(asked):
                    if asked[waves[0][0]].runs_alone:
                        await do_alone(it, waves[0][0])
                    else:
                        await change_tasks(it, waves)
                return await _outcome(it, asked, change)
        except asyncpg.ForeignKeyViolationError as error:
            if not owner.auto_provision or provisioning.is_leaving(error):
                raise InvalidToken from None
            # One without tasks, of whom the key is the first that is stored; or another user took the email since.
            await database.fetch(provisioning.ADD_OWNER, owner=owner.id, email=owner.email, name=owner.name)
        except asyncpg.UniqueViolationError as error:
            check_that_it_was_the_uid(error)
            await check_uids(owner, asked)
        # The next attempt sees a task with the uid, or that it was deleted for good since.
    raise Unavailable


async def _outcome(it: BatchTransaction, asked: Sequence[AnyOperation], change: Change) -> Outcome:
    """Return what came of a batch that is done, and store that for the key."""
    gone = [each.id for each in it.operations if isinstance(each, DeleteOperation)]
    if gone and not it.options.keeps_trash:
        await it.fetch(queries.FORGET, ids=queries.array(gone))
    done = [(each, *it.results[place]) for place, each in enumerate(asked)]
    if change.key is not None:
        stored = [stored_of(*each) for each in done]
        await it.fetch(idempotency.STORE_KEY, answer=encode(stored).decode(), **change.key.values())
    results = [result_of(*each, is_minimal=it.options.is_minimal) for each in done]
    return Outcome(results, max(each.left.version for each in it.results.values()))
