"""How many bytes of large answers a worker holds: those that are being made, and those that clients do not take.

A small answer is never refused for the sake of large ones. What slow clients leave in our buffers counts until they
have taken it, and where all of that is too much, the connection that has stood still for longest is cut.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from app.failures import Unavailable

MAX_BYTES = 64 * 1024 * 1024  # of all large answers, in each worker
MAX_OWNER_BYTES = MAX_BYTES // 4  # of those to one user: nobody keeps all others from theirs
MAX_UNSENT_BYTES = MAX_BYTES + 16 * 1024 * 1024  # small answers included
LARGE_BYTES = 64 * 1024  # a smaller answer does not ask


class TooManyBytes(Unavailable):
    """Too much is being sent already."""

    message = "Too many large answers are being sent. Try again in a moment, or ask for less."


class Budget:
    """The bytes of answers under way."""

    def __init__(self) -> None:
        """Begin with none."""
        self.size = 0
        self._of: dict[str | None, int] = {}
        self._unsent: dict[object, tuple[int, str | None, Callable[[], None]]] = {}  # by connection, the oldest first

    @contextmanager
    def reserved(self, size: int, owner: str | None, *, surely: bool = False) -> Generator[None]:
        """Count bytes while an answer is made. Raises TooManyBytes, unless it must `surely` be made."""
        if not surely and (self.size + size > MAX_BYTES or self._of.get(owner, 0) + size > MAX_OWNER_BYTES):
            raise TooManyBytes
        self._add(size, owner)
        try:
            yield
        finally:
            self._add(-size, owner)

    def keep(self, connection: object, size: int, owner: str | None, cut: Callable[[], None]) -> None:
        """Count what a connection's client has not taken yet; where all of it is too much, cut the oldest."""
        self.drop(connection)
        self._add(size, owner)
        self._unsent[connection] = size, owner, cut
        while self.size > MAX_UNSENT_BYTES and self._unsent:
            oldest = next(iter(self._unsent))
            end = self._unsent[oldest][2]
            self.drop(oldest)
            end()

    def drop(self, connection: object) -> None:
        """Count nothing of a connection any more."""
        if (kept := self._unsent.pop(connection, None)) is not None:
            self._add(-kept[0], kept[1])

    def _add(self, size: int, owner: str | None) -> None:
        self.size += size
        left = self._of.get(owner, 0) + size
        if left:
            self._of[owner] = left
        else:
            self._of.pop(owner, None)


answers = Budget()


def owner_of(scope: Any) -> str | None:
    """Return whose answer it is, as far as that is known."""
    return getattr(scope.get("user"), "id", None)
