"""How the service talks: a line a request, one JSON object each, or readable on a terminal.

Every line that is written while a request is served carries its id. None carries a token, a title or a name. And no
line keeps the service waiting: where nobody reads them, they are counted instead.
"""

import fcntl
import hashlib
import logging
import math
import os
import select
import stat
import sys
import termios
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from io import UnsupportedOperation
from typing import Any

from pythonjsonlogger.msgspec import MsgspecFormatter

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)
logger = logging.getLogger(__name__)
requests = logging.getLogger("app.requests")

PIPE_BYTES = 1024 * 1024  # as many as anybody may have; the kernel's default is 64 KiB
_told: dict[str, float] = {}  # when a line of each cause was last written, by the clock that cannot be set
LOST = "%d lines were lost here: nobody read them."


class WithRequestID(logging.Filter):
    """Put the id of the request being served on every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through."""
        record.request_id = request_id.get()
        return True


class Unhurried(logging.StreamHandler[Any]):
    """Write where there is room. Else the next line would wait for its reader, and everybody for the line."""

    def __init__(self, stream: Any) -> None:
        """Take a stream; one that is no file always has room."""
        super().__init__(stream)
        self._lost = 0
        self._has_room = _room(stream)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, and before it how many could not be written; or count it among those."""
        if not self._has_room():
            self._lost += 1
            return
        if self._lost:
            args, self._lost, extra = (self._lost,), 0, {"request_id": None}
            super().emit(logger.makeRecord(logger.name, logging.WARNING, "", 0, LOST, args, None, extra=extra))
        super().emit(record)


def _room(stream: Any) -> Callable[[], bool]:
    """Return what tells whether a line can be written at once."""
    try:
        file = stream.fileno()
    except UnsupportedOperation:
        return lambda: True
    if sys.platform == "linux" and stat.S_ISFIFO(os.fstat(file).st_mode):
        with suppress(OSError):
            fcntl.fcntl(file, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        # Not up to the brim: several workers may look at once, and a line may be long.
        enough = fcntl.fcntl(file, fcntl.F_GETPIPE_SZ) // 4
        return lambda: int.from_bytes(fcntl.ioctl(file, termios.FIONREAD, bytes(4)), sys.byteorder) < enough
    look = select.poll()
    look.register(file, select.POLLOUT)
    return lambda: bool(look.poll(0))


class JSONFormatter(MsgspecFormatter):
    """One JSON object a line: time, level, logger, message, request id, and what a call gave as `extra`."""

    def __init__(self) -> None:
        """Name the fields that every line has."""
        super().__init__(
            "%(levelname)s %(name)s %(message)s %(request_id)s",
            rename_fields={"levelname": "level", "name": "logger", "exc_info": "traceback"},
        )

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        """Start with the time, in RFC 3339 and UTC, and leave out what is empty."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        log_data["time"] = f"{stamp}.{int(record.msecs):03d}Z"
        super().add_fields(log_data, record, message_dict)
        log_data.pop("color_message", None)  # uvicorn's, for terminals
        if log_data.get("request_id") is None:
            log_data.pop("request_id", None)


class ConsoleFormatter(logging.Formatter):
    """A line for eyes: time, level, what happened."""

    def __init__(self) -> None:
        """Keep it short."""
        super().__init__("%(asctime)s %(levelname)-8s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        """Add the request id behind the lines that belong to a request."""
        line = super().format(record)
        identifier = getattr(record, "request_id", None)
        return f"{line}  [{identifier}]" if identifier else line


def configuration(level: str, form: str) -> dict[str, Any]:
    """Return what logging.config.dictConfig needs, for us and for the libraries, uvicorn included."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"request_id": {"()": WithRequestID}},
        "formatters": {"json": {"()": JSONFormatter}, "console": {"()": ConsoleFormatter}},
        "handlers": {
            "stderr": {
                "()": Unhurried,
                "stream": "ext://sys.stderr",
                "formatter": form,
                "filters": ["request_id"],
            }
        },
        "root": {"level": "WARNING", "handlers": ["stderr"]},
        "loggers": {
            "app": {"level": level.upper()},
            "uvicorn": {"level": level.upper()},
            # Its warnings quote addresses, under whatever request is at hand; its failures reach us as exceptions.
            "asyncpg": {"level": "CRITICAL"},
        },
    }


def always(logger: logging.Logger, message: str, *args: object) -> None:
    """Write a line at INFO, whatever LOG_LEVEL says: for what a reader of the log must not have to ask."""
    logger.handle(logger.makeRecord(logger.name, logging.INFO, "", 0, message, args, None))


def seldom(logger: logging.Logger, cause: str, message: str, *args: object) -> None:
    """Write a line at INFO, unless one of the same cause was written less than a second ago.

    Causes are few: each is remembered.
    """
    now = time.monotonic()
    if logger.isEnabledFor(logging.INFO) and now - _told.get(cause, -math.inf) >= 1:
        _told[cause] = now
        logger.info(message, *args)


def hashed(user_id: str, secret: str) -> str:
    """Return twelve hex digits that tell users apart in a log, and nothing else about them."""
    key = hashlib.sha256(secret.encode()).digest()
    return hashlib.blake2b(user_id.encode(), key=key, digest_size=6).hexdigest()


def tells_requests() -> bool:
    """Tell whether a request's line would be written: what goes into it costs time."""
    return requests.isEnabledFor(logging.INFO)


def request_served(method: str, route: str | None, status: int, seconds: float, user: str | None) -> None:
    """Write the line of one request. `route` is its template, so that no id and no free text gets in."""
    milliseconds = round(seconds * 1000, 2)
    extra = {"method": method, "route": route, "status": status, "ms": milliseconds, "user": user}
    requests.info("%s %s %d %.2f ms", method, route or "-", status, milliseconds, extra=extra)


def request_refused(identifier: str, status: int) -> None:
    """Write the line of a request that was refused before it was known what it asks for."""
    told = request_id.set(identifier)
    request_served("-", None, status, 0, None)
    request_id.reset(told)
