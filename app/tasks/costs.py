"""What requests cost for the rate limit, beyond the 1 that each of them does.

By what the database has to look at, and not by the time that it takes: so the same request costs the same, however busy
the service is.
"""

import time
from collections.abc import Callable

from piccolo.querystring import QueryString

from app.auth.tokens import User as Owner
from app.database import database
from app.statements import Statement
from app.tasks.parameters import Query
from app.tasks.queries import THEIR_OWN

Charge = Callable[[int], None]

# What another 1 is charged for.
OPERATIONS = 10  # of a batch
TASKS_RETURNED = 1_000  # by a list that has no limit
TASKS_FOUND = 2_500  # by words, on all pages together
TASKS_LOOKED_AT = 5_000  # for a filter, a count or an order that no index has, or for an index that lacks changes

MOST = 500_000  # tasks that are counted
SECONDS_REMEMBERED = 60.0
MAX_REMEMBERED = 10_000  # owners

SIZE = Statement(
    QueryString(
        f'SELECT count(*) FROM (SELECT FROM "tasks" WHERE {{}} LIMIT {MOST}) AS "theirs"', THEIR_OWN.querystring
    )
)
_sizes: dict[str, tuple[int, float]] = {}


def free(_: int) -> None:
    """Charge nothing."""


def of_batch(operations: int) -> int:
    """Return what a batch costs more than a single change."""
    return (operations - 1) // OPERATIONS


async def of_looking_through(owner: Owner) -> int:
    """Return what it costs to look at all of an owner's tasks. Their number is counted once a minute at most."""
    size, until = _sizes.get(owner.id, (0, 0.0))
    if until < time.monotonic():
        size = (await database.fetch(SIZE, owner=owner.id))[0][0]
        if len(_sizes) >= MAX_REMEMBERED:
            _sizes.clear()
        _sizes[owner.id] = size, time.monotonic() + SECONDS_REMEMBERED
    return size // TASKS_LOOKED_AT


def looks_through(query: Query) -> bool:
    """Tell whether a list may have to look at all tasks of its owner."""
    filters = (query.completed, query.created_after, query.created_before, query.updated_after)
    return query.count or filters != (None,) * 4 or query.sort.lstrip("-") == "updated_at"
