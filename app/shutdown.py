"""Is this process about to stop? Known from the signal on, for which uvicorn looks ten times a second."""

import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from types import FrameType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Shutdown:
    """Whether the process was told to stop."""

    def __init__(self) -> None:
        self._is_set = False

    def is_set(self) -> bool:
        return self._is_set

    @contextmanager
    def listening(self) -> Generator[None]:
        """Hear the signals before the server does, those that it takes."""
        handlers: dict[signal.Signals, Any] = {}
        if threading.current_thread() is threading.main_thread():  # no other thread may
            handlers = {number: handler for number in SIGNALS if callable(handler := signal.getsignal(number))}
        for number, handler in handlers.items():
            signal.signal(number, partial(self._set, handler))
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

    def _set(self, handler: Callable[[int, FrameType | None], Any], number: int, frame: FrameType | None) -> None:
        self._is_set = True
        handler(number, frame)


shutdown = Shutdown()
