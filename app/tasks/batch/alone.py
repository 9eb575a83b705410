"""Operations that are done one by one: each is a wave of its own, and has a function."""

from collections.abc import Awaitable, Callable
from typing import Any

from app.tasks.batch.answers import with_descriptions
from app.tasks.batch.on_labels import WORK_ON_LABELS
from app.tasks.batch.on_lists import WORK_ON_LISTS
from app.tasks.batch.operations import Operation
from app.tasks.batch.reading import in_data
from app.tasks.batch.transaction import BatchTransaction, Done
from app.tasks.failures import InOperation
from app.web.failures import Failure, Invalid

# Each raises the revision itself, and returns what has come of its operation. It may raise any failure.
WORK: dict[type[Operation], Callable[[BatchTransaction, Any], Awaitable[Done]]] = {**WORK_ON_LISTS, **WORK_ON_LABELS}


async def do_alone(it: BatchTransaction, place: int) -> None:
    """Do one operation. Raises InOperation, AnswerTooLarge, TooManyBytes."""
    operation = it.operation(place)
    try:
        done = await WORK[type(operation)](it, operation)
    except Invalid as error:
        raise in_data(place, error) from error
    except Failure as failure:
        raise InOperation(place, failure) from failure
    whole = await with_descriptions(it, {place: done.left})
    it.results[place] = done._replace(left=whole[place])
