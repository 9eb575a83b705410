"""A connection's one deadline: `connection` says what expires. It moves with each message, so that costs nothing."""

import asyncio
from collections.abc import Callable

SECOND_LOOK_SECONDS = 0.02


class Deadline:
    """Calls `on_expiry` when the time has come. One timer serves many: when it fires, it looks for the latest.

    It looks twice. After a pause of the process or its machine, timers fire before what came meanwhile is read.
    """

    __slots__ = ("_due", "_fires", "_looked_at", "_loop", "_on_expiry", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_expiry: Callable[[], None]) -> None:
        self._loop = loop
        self._on_expiry = on_expiry
        self._due = self._looked_at = self._fires = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_set(self) -> bool:
        return self._due > 0

    def set(self, seconds: float) -> None:
        """Let the deadline be so many seconds from now, in place of any other."""
        self._due = due = self._loop.time() + seconds
        if self._timer is None or self._fires > due:
            self._cancel()
            self._start(due)

    def clear(self) -> None:
        self._due = 0.0

    def stop(self) -> None:
        """Let there be no deadline any more, and let go of the callback."""
        self._on_expiry = lambda: None
        self._cancel()

    def _start(self, when: float) -> None:
        self._fires = when
        self._timer = self._loop.call_at(when, self._look)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        now = self._loop.time()
        if self._due > now:
            self._start(self._due)
        elif self._due != self._looked_at:
            self._looked_at = self._due
            self._start(now + SECOND_LOOK_SECONDS)
        elif self._due:
            self._due = self._looked_at = 0.0
            self._on_expiry()
