"""How many bytes of large answers a worker holds: those that are being made, and those that clients do not take.

A small answer is never refused for the sake of large ones. What slow clients leave in our buffers counts until they
have taken it. Who has too much of that loses the connection that has stood still for longest; so does who has most,
where somebody with less has no room. An owner here is a user, or the network address of a client whom nobody knows.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any, NamedTuple

from app.addresses import address_key
from app.failures import Unavailable

MAX_BYTES = 64 * 1024 * 1024  # of all large answers, in each worker
MAX_OWNER_BYTES = MAX_BYTES // 4  # of those to one owner: nobody keeps all others from theirs
MAX_UNSENT_BYTES = MAX_BYTES + 16 * 1024 * 1024  # small answers included
LARGE_BYTES = 64 * 1024  # a smaller answer does not ask


class TooManyBytes(Unavailable):
    """Too much is being sent already."""

    message = "Too many large answers are being sent. Try again in a moment, or ask for less."


class Unsent(NamedTuple):
    """What the client of a connection has not taken yet."""

    size: int  # in bytes
    owner: str
    cut: Callable[[], None]


class Budget:
    """The bytes of answers under way."""

    def __init__(self) -> None:
        """Begin with none."""
        self.size = 0
        self._of: dict[str, int] = {}
        self._unsent: dict[object, Unsent] = {}  # by connection, the oldest first

    @contextmanager
    def reserved(self, size: int, owner: str, *, surely: bool = False) -> Generator[None]:
        """Count bytes while an answer is made. Raises TooManyBytes, unless it must `surely` be made."""
        if not surely:
            self._make_room(size, self._of.get(owner, 0) + size)
        self._add(size, owner)
        if surely:
            self._hold_to_limits(owner)
        try:
            yield
        finally:
            self._add(-size, owner)

    def keep(self, connection: object, size: int, owner: str, cut: Callable[[], None]) -> None:
        """Count what a connection's client has not taken yet; where that is too much, cut others of its owner's."""
        self.drop(connection)
        self._add(size, owner)
        self._unsent[connection] = Unsent(size, owner, cut)
        self._hold_to_limits(owner, connection)

    def drop(self, connection: object) -> None:
        """Count nothing of a connection any more."""
        if (kept := self._unsent.pop(connection, None)) is not None:
            self._add(-kept.size, kept.owner)

    def _make_room(self, size: int, owners: int) -> None:
        """Cut connections of the owner who has most, until there is room for an answer. Raises TooManyBytes.

        `owners` is what its owner would have then: an owner who has no more than that keeps it.
        """
        if owners > MAX_OWNER_BYTES:
            raise TooManyBytes
        while self.size + size > MAX_BYTES:
            largest = self._largest()
            if self._of.get(largest, 0) <= owners or not self._cut_oldest(largest):
                raise TooManyBytes

    def _hold_to_limits(self, owner: str, spared: object = None) -> None:
        while self._of.get(owner, 0) > MAX_OWNER_BYTES and self._cut_oldest(owner, spared):
            pass
        while self.size > MAX_UNSENT_BYTES and self._cut_oldest(self._largest()):
            pass

    def _largest(self) -> str:
        """Return who has most, of those who have not taken all of theirs; "" where there are none."""
        return max((kept.owner for kept in self._unsent.values()), key=self._of.__getitem__, default="")

    def _cut_oldest(self, owner: str, spared: object = None) -> bool:
        """Cut the connection of an owner that has stood still for longest, if there is one beside that one."""
        for connection, kept in self._unsent.items():
            if kept.owner == owner and connection is not spared:
                self.drop(connection)
                kept.cut()
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


def owner_of(scope: Any) -> str:
    """Return whose answer it is: a user's id, or else what the client's address is counted by, which no id can be."""
    if (user := getattr(scope.get("user"), "id", None)) is not None:
        return user
    client = scope.get("client")
    return f"\0{address_key(client[0] if client else None)}"
