"""A connection's one deadline. It moves with every message, so moving it must cost next to nothing."""

import asyncio
from collections.abc import Callable

SECOND_LOOK_SECONDS = 0.001


class Clock:
    """Calls `late` when the deadline has come. One timer for many deadlines: when it fires, it looks for the latest.

    It looks twice. After a pause, the process's or its machine's, timers may fire before what came meanwhile is read.
    """

    __slots__ = ("_due", "_late", "_looked_at", "_loop", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, late: Callable[[], None]) -> None:
        """Set no deadline yet."""
        self._loop = loop
        self._late = late
        self._due = self._looked_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        """Tell whether there is a deadline."""
        return self._due > 0

    def set(self, seconds: float) -> None:
        """Let the deadline be so many seconds from now, in place of any other."""
        self._due = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._due:
            self._cancel()
            self._timer = self._loop.call_at(self._due, self._look)

    def clear(self) -> None:
        """Let there be no deadline."""
        self._due = 0.0

    def stop(self) -> None:
        """Let there be no deadline any more, and let go of whom it would call."""
        self._late = _nobody
        self._cancel()

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._due > self._loop.time():
            self._timer = self._loop.call_at(self._due, self._look)
        elif self._due != self._looked_at:
            self._looked_at = self._due
            self._timer = self._loop.call_later(SECOND_LOOK_SECONDS, self._look)
        elif self._due:
            self._due = self._looked_at = 0.0
            self._late()


def _nobody() -> None:
    """Whom a clock calls that was stopped."""
