"""A worker's budget for large responses: bytes that are being made, and bytes that clients have not read yet.

A small response is never refused for the sake of large ones. What slow clients leave in our buffers counts until they
have read it. An owner with too much of that loses the connection that has stood still for longest; so does the owner
with most, where an owner with less has no room. An owner is a user, or the network address of an unknown client.
"""

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from app.web.addresses import address_key
from app.web.failures import Unavailable

MAX_BYTES = 64 * 1024 * 1024  # of all large answers, in each worker
MAX_OWNER_BYTES = MAX_BYTES // 4  # of those to one owner: nobody keeps all others from theirs
MAX_UNSENT_BYTES = MAX_BYTES + 16 * 1024 * 1024  # small answers included
LARGE_BYTES = 64 * 1024  # a smaller answer does not ask


class TooManyBytes(Unavailable):
    """The budget is spent."""

    message = "Too many large answers are being sent. Try again in a moment, or ask for less."


class Unsent(NamedTuple):
    """What the client of a connection has not read yet."""

    size: int  # in bytes
    owner: str
    abort: Callable[[], None]


class Budget:
    """The bytes of responses under way."""

    def __init__(self) -> None:
        self.size = 0
        self._of: dict[str, int] = {}
        self._unsent: dict[object, Unsent] = {}  # by connection, the oldest first

    @contextmanager
    def reserved(self, size: int, owner: str, *, is_required: bool = False) -> Generator[None]:
        """Count the bytes of a response while it is made. Raises TooManyBytes, unless the response is required."""
        if not is_required:
            self._make_room(size, self._of.get(owner, 0) + size)
        self._add(size, owner)
        if is_required:
            self._hold_to_limits(owner)
        try:
            yield
        finally:
            self._add(-size, owner)

    def keep(self, connection: object, size: int, owner: str, abort: Callable[[], None]) -> None:
        """Count what a connection's client has not read yet; where that is too much, abort others of its owner's."""
        self.drop(connection)
        self._add(size, owner)
        self._unsent[connection] = Unsent(size, owner, abort)
        self._hold_to_limits(owner, connection)

    def drop(self, connection: object) -> None:
        if (kept := self._unsent.pop(connection, None)) is not None:
            self._add(-kept.size, kept.owner)

    def _make_room(self, size: int, owners: int) -> None:
        """Abort connections of the owner with most, until there is room for a response. Raises TooManyBytes.

        `owners` is what its owner would have then: an owner with no more than that keeps its connections.
        """
        if owners > MAX_OWNER_BYTES:
            raise TooManyBytes
        while self.size + size > MAX_BYTES:
            largest = self._largest()
            if self._of.get(largest, 0) <= owners or not self._abort_oldest(largest):
                raise TooManyBytes

    def _hold_to_limits(self, owner: str, spared: object = None) -> None:
        while self._of.get(owner, 0) > MAX_OWNER_BYTES and self._abort_oldest(owner, spared):
            pass
        while self.size > MAX_UNSENT_BYTES and self._abort_oldest(self._largest()):
            pass

    def _largest(self) -> str:
        """Return the owner with most bytes, of those with unread ones; "" where there are none."""
        return max((kept.owner for kept in self._unsent.values()), key=self._of.__getitem__, default="")

    def _abort_oldest(self, owner: str, spared: object = None) -> bool:
        """Abort the connection of an owner that has stood still for longest, `spared` apart. Return whether one was."""
        for connection, kept in self._unsent.items():
            if kept.owner == owner and connection is not spared:
                self.drop(connection)
                kept.abort()
                return True
        return False

    def _add(self, size: int, owner: str) -> None:
        self.size += size
        left = self._of.get(owner, 0) + size
        if left:
            self._of[owner] = left
        else:
            self._of.pop(owner, None)


answers = Budget()


def owner_of(scope: Mapping[str, Any]) -> str:
    """Return the owner of a response: the user's id, or a key of the client's address, which no id can be."""
    if (user := getattr(scope.get("user"), "id", None)) is not None:
        return user
    client = scope.get("client")
    return f"\0{address_key(client[0] if client else None)}"
