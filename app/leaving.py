"""Is this process about to stop? Known from the moment of the signal on, at which uvicorn looks ten times a second."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Departure:
    """Whether the process was told to stop."""

    is_near = False

    @contextmanager
    def listening(self) -> Generator[None]:
        """Hear the signals before the server does, those that it takes."""
        handlers: dict[signal.Signals, Any] = {}
        if threading.current_thread() is threading.main_thread():  # nobody else may
            handlers = {number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))}
        for number, handler in handlers.items():
            signal.signal(number, partial(self._hear, handler))
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _hear(self, handler: Callable[[int, FrameType | None], Any], number: int, frame: FrameType | None) -> None:
        self.is_near = True
        handler(number, frame)


departure = Departure()
