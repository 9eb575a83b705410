"""Which changes of a history are asked for."""

from typing import Annotated, TypeAlias

import msgspec
from litestar.di import NamedDependency

from app.web.query import in_query, whole_number

MAX_CHANGES = 200  # on a page
MAX_VERSION = 2**53 - 1


class HistoryQuery(msgspec.Struct, frozen=True):
    """Which changes are asked for."""

    limit: Annotated[int, whole_number(1, MAX_CHANGES, "The maximum number of changes.", default=50)] = 50
    before: Annotated[
        int,
        whole_number(
            0, MAX_VERSION, "Changes that led to an earlier version than this one: the `next` of the page before."
        ),
    ] = MAX_VERSION + 1


RequestedHistory: TypeAlias = NamedDependency[HistoryQuery]
REQUESTED_HISTORY = in_query(HistoryQuery)
