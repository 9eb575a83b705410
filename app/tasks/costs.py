"""What requests cost for the rate limit, beyond the 1 that each is counted as.

The cost is that of the rows that the database reads, and not of the time: so it hangs on no other requests.
"""

import time
from collections.abc import Callable

from app.auth.jwt import User as Owner
from app.db.engine import database
from app.db.statements import Statement
from app.tasks.listing.filters import INBOX
from app.tasks.listing.parameters import Query
from app.tasks.queries import OWNED_BY_CALLER

Charge = Callable[[int], None]

# What another 1 is charged for.
OPERATIONS = 10  # of a batch
TASKS_RETURNED = 1_000  # by a list that has no limit
TASKS_FOUND = 2_500  # by words, on all pages together
TASKS_LOOKED_AT = 5_000  # for a filter, a count or an order that no index has, or for an index that lacks changes

TASKS_MOVED = 100  # with their list, or changed with their label

INDEXED = ("created_at", "title", "relevance")  # orders

MAX_COUNTED = 500_000  # tasks
SECONDS_REMEMBERED = 60.0
MAX_SIZES = 10_000  # owners

SIZE_OF_ALL = Statement(
    f'SELECT count(*) FROM (SELECT FROM "tasks" WHERE {OWNED_BY_CALLER} LIMIT {MAX_COUNTED}) AS "theirs"'
)
_sizes: dict[str, tuple[int, float]] = {}


def free(_: int) -> None:
    """Charge nothing."""


async def of_looking_through(owner: Owner) -> int:
    """Return what it costs to look at all of an owner's tasks. Their number is counted once a minute at most."""
    size, until = _sizes.get(owner.id, (0, 0.0))
    if until < time.monotonic():
        size = (await database.fetch(SIZE_OF_ALL, owner=owner.id))[0][0]
        if len(_sizes) >= MAX_SIZES:
            _sizes.clear()
        _sizes[owner.id] = size, time.monotonic() + SECONDS_REMEMBERED
    return size // TASKS_LOOKED_AT


def looks_through(query: Query) -> bool:
    """Tell whether a list may have to look at all tasks of its owner."""
    by_index = () if query.list == INBOX else ("list",)
    is_filtered = any(value is not None for name, value in query.filters().items() if name not in by_index)
    return query.count or is_filtered or query.sort.lstrip("-") not in INDEXED
