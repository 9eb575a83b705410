"""Writes the log where there is room, and never waits for it."""

import asyncio
import fcntl
import logging
import os
import select
import stat
import sys
import termios
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from io import UnsupportedOperation
from typing import Any

logger = logging.getLogger(__name__)

PIPE_BYTES = 1024 * 1024  # as many as anybody may have; the kernel's default is 64 KiB
BUFFER_BYTES = 256 * 1024  # of lines for which the output has no room; with a pipe, a quarter of that comes before
ATOMIC_BYTES = 4096  # of one write: the lines of other processes do not come into its middle (POSIX, PIPE_BUF)
FLUSH_SECONDS = 0.01  # for which the lines of requests wait for each other
EXIT_SECONDS = 1.0  # in which the last lines must find room
LOST = "%d lines were lost here: nobody read them."


class BufferedHandler(logging.Handler):
    """Writes lines in order, where there is room; else up to `BUFFER_BYTES` of them wait, and what is more is counted.

    So nothing waits for who reads the log, or for a full disk. Many lines are written together.
    """

    def __init__(self, stream: Any) -> None:
        """Take a stream. One in memory always has room, and no line for it waits."""
        super().__init__()
        self._write: Callable[[bytes], int] = lambda data: stream.write(data.decode()) and len(data)
        self._has_room: Callable[[], bool] = lambda: True
        self._waits = False
        with suppress(UnsupportedOperation):
            file = stream.fileno()
            self._write, self._has_room, self._waits = partial(_write, file), _room(file), True
        self._pending: deque[bytes] = deque()
        self._size = 0  # of those, in bytes
        self._lost = 0
        self._flushing: asyncio.AbstractEventLoop | None = None  # which will flush

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line immediately."""
        try:
            self._add(f"{self.format(record)}\n".encode(errors="backslashreplace"))
        except Exception:  # as of any handler: a line that cannot be made stops nothing
            self.handleError(record)
        self._drain()

    def emit_soon(self, line: bytes) -> None:
        """Write a line within `FLUSH_SECONDS`, together with others."""
        self.acquire()
        try:
            self._add(line)
            if self._flushing is not None and self._flushing.is_running():
                return  # with the others; to look up this thread's event loop costs a system call
            loop = _running_loop() if self._waits else None
            if loop is None:
                self._drain()
            else:
                self._flush_later(loop)
        finally:
            self.release()

    def flush(self) -> None:
        """Write now."""
        self.acquire()
        try:
            self._drain()
        finally:
            self.release()

    def close(self) -> None:
        """Write the last lines, if there is room for them in time."""
        until = time.monotonic() + EXIT_SECONDS
        self.flush()
        while self._pending and time.monotonic() < until:
            time.sleep(FLUSH_SECONDS)
            self.flush()
        super().close()

    def _flush_later(self, loop: asyncio.AbstractEventLoop) -> None:
        self._flushing = loop
        loop.call_later(FLUSH_SECONDS, self._flush_in, loop)

    def _flush_in(self, loop: asyncio.AbstractEventLoop) -> None:
        self._flushing = None
        self.flush()
        if self._pending:
            self._flush_later(loop)

    def _add(self, line: bytes) -> None:
        if self._lost or self._size + len(line) > BUFFER_BYTES:
            self._drain()
        if self._lost or self._size + len(line) > BUFFER_BYTES:
            self._lost += 1
        else:
            self._pending.append(line)
            self._size += len(line)

    def _drain(self) -> None:
        while self._pending and self._has_room():
            data = self._pending.popleft()
            if len(self._pending) and len(data) < ATOMIC_BYTES:
                data = self._with_more(data)
            written = self._write(data)
            self._size -= written
            if written < len(data):
                self._pending.appendleft(data[written:])
                return
        if self._lost and not self._pending:
            args, self._lost, extra = (self._lost,), 0, {"request_id": None}
            self.emit(logger.makeRecord(logger.name, logging.WARNING, "", 0, LOST, args, None, extra=extra))

    def _with_more(self, data: bytes) -> bytes:
        lines, size = [data], len(data)
        while self._pending and (size := size + len(self._pending[0])) <= ATOMIC_BYTES:
            lines.append(self._pending.popleft())
        return b"".join(lines)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _write(file: int, data: bytes) -> int:
    """Write as much as can be written, and return how many bytes that was."""
    try:
        return os.write(file, data)
    except OSError:  # the disk is full, or nobody can read the pipe any more
        return 0


def _room(file: int) -> Callable[[], bool]:
    """Return what tells whether a write need not wait."""
    if sys.platform == "linux" and stat.S_ISFIFO(os.fstat(file).st_mode):
        with suppress(OSError):
            fcntl.fcntl(file, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        # Not up to the brim: several workers may look at the same time, and a line may be long.
        enough = fcntl.fcntl(file, fcntl.F_GETPIPE_SZ) // 4
        return lambda: int.from_bytes(fcntl.ioctl(file, termios.FIONREAD, bytes(4)), sys.byteorder) < enough
    poll = select.poll()
    poll.register(file, select.POLLOUT)
    return lambda: bool(poll.poll(0))
