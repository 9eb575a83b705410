"""An answer's head and its body in one system call: uvicorn writes them one after the other."""

import asyncio
from collections.abc import Callable

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle


class OneWrite:
    """The transport of one cycle, as far as a cycle uses it. An answer's head waits for what follows."""

    __slots__ = ("_close", "_cycle", "_head", "_is_head_out", "_write", "is_closing")

    def __init__(self, transport: asyncio.Transport, cycle: RequestResponseCycle, close: Callable[[], None]) -> None:
        """Write to `transport`, and leave to `close` what closing means."""
        self._cycle: RequestResponseCycle | None = cycle
        self._head = b""
        self._is_head_out = False
        self._write = transport.write
        self.is_closing = transport.is_closing
        self._close = close

    def write(self, data: bytes) -> None:
        """Write, or keep the head for the next write. (100 Continue comes before the answer has started.)"""
        if self._is_head_out or self._cycle is None or not self._cycle.response_started:
            self._write(data)
        elif not self._head:
            self._head = data
        else:
            self._is_head_out = True
            self._write(self._head + data)

    def close(self) -> None:
        """Close, after all that there is to write."""
        self.flush()
        self._close()

    def flush(self) -> None:
        """Write a head that nothing follows: the answer to HEAD."""
        if self._head and not self._is_head_out:
            self._is_head_out = True
            self._write(self._head)

    def end(self) -> None:
        """The answer is complete. Let go of the cycle, which holds us: it would be garbage otherwise."""
        self.flush()
        self._cycle = None
