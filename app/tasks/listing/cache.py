"""A cache of whole lists, as the bytes that were sent, for their owners while nothing has changed.

The database is asked each time whether that is so; the cache saves reading the rows and encoding them.
"""

from collections import OrderedDict
from typing import NamedTuple

from app.tasks.bounded import MAX_ROWS, inline

MAX_CACHE_BYTES = 16 * 1024 * 1024  # of all lists together, in each process
MAX_LIST_BYTES = 1024 * 1024  # of one: a longer one would push out those of many
MAX_SEEN = 10_000  # owners of whom it is known what they asked for last
FEW_ROWS = 32  # that there is room for in any list
ROOM = MAX_ROWS, inline(MAX_ROWS)  # for a list of which nothing is known


class State(NamedTuple):
    """A state of an owner's tasks: no two that differ have the same numbers."""

    epoch: int
    revision: int


class ListCache:
    """The lists that were asked for last, by their owners, up to a number of bytes."""

    def __init__(self, max_bytes: int = MAX_CACHE_BYTES) -> None:
        self._max_bytes = max_bytes
        self._seen: dict[str, State] = {}
        self._room: dict[str, tuple[int, int]] = {}
        self._lists: OrderedDict[str, tuple[State, bytes]] = OrderedDict()
        self.size = 0  # bytes

    def find(self, owner: str) -> tuple[State, bytes] | None:
        """Return the owner's list, and the state that it shows."""
        found = self._lists.get(owner)
        if found:
            self._lists.move_to_end(owner)
        return found

    def room(self, owner: str) -> tuple[int, int]:
        """Return how many tasks the next reading of the owner's list makes room for, and bytes for each description."""
        return self._room.get(owner, ROOM)

    def expect(self, owner: str, length: int) -> None:
        """Note how many tasks the owner's list has, so that the next reading makes room for so many and a few."""
        if len(self._room) >= MAX_SEEN:
            self._room.clear()
        rows = max(length + length // 4, FEW_ROWS)
        self._room[owner] = rows, inline(rows)

    def keep(self, owner: str, state: State, body: bytes) -> None:
        """Keep it in place of an older one, and of what was asked for longest ago.

        Not before it is asked for twice: a list that changes each time is not worth the memory.
        """
        if self._seen.get(owner) != state:
            if len(self._seen) >= MAX_SEEN:
                self._seen.clear()
            self._seen[owner] = state
            return
        if before := self._lists.pop(owner, None):
            self.size -= len(before[1])
        if len(body) <= MAX_LIST_BYTES:
            self._lists[owner] = state, body
            self.size += len(body)
        while self.size > self._max_bytes:
            _, (_, oldest) = self._lists.popitem(last=False)
            self.size -= len(oldest)


lists = ListCache()
