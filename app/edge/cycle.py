"""One request and its answer, as the application sees them (ASGI 3.0, HTTP connection scope).

uvicorn's own cycle writes an answer's head and its body apart, and looks each header over twice. This one writes
them together and looks them all over at once. What goes wrong inside of it, the protocol answers.
"""

import asyncio
import logging
from typing import Any, Protocol

from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE
from uvicorn.server import ServerState

from app.edge.headers import RawHeaders
from app.failures import Failure, Unavailable

logger = logging.getLogger(__name__)

CONTROLS = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])  # what no header may hold (RFC 9110, section 5.5)
BODILESS = (204, 304)  # RFC 9110, sections 15.3.5 and 15.4.5
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(Protocol):
    """The connection that a cycle is on, as far as a cycle uses it."""

    transport: asyncio.Transport
    flow: FlowControl
    tasks: "set[asyncio.Task[None]]"  # for which whoever stops the service waits
    server_state: ServerState

    def close_after(self, cycle: "Cycle") -> None:
        """Close now that the answer is out, as soon as the request is in."""
        ...

    def hold(self, cycle: "Cycle", size: int) -> None:
        """Count bytes that were written until the client has taken them."""
        ...

    def go_on(self) -> None:
        """A piece of the answer is out, and others follow."""
        ...

    def on_response_complete(self) -> None:
        """The answer is out: go on to the next message."""
        ...

    def answer_failure(self, cycle: "Cycle", failure: Failure) -> None:
        """Answer what the application did not."""
        ...


class Disconnected(Exception):
    """The client has gone: nobody takes the rest of an answer that comes in pieces."""


class Cycle:
    """A message that came in on a connection, and the one that goes out."""

    __slots__ = (
        "_chunked",
        "_connection",
        "_continue",
        "_head",
        "_left",
        "_news",
        "_waiter",
        "body",
        "disconnected",
        "keep_alive",
        "more_body",
        "response_complete",
        "response_started",
        "scope",
        "task",
    )

    def __init__(self, connection: Connection, scope: Any, *, keep_alive: bool) -> None:
        """Begin with a complete head and no body yet."""
        self.scope = scope
        self.keep_alive = keep_alive
        self.disconnected = False
        self.body = b""
        self.more_body = True
        self.response_started = False
        self.response_complete = False
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        self._continue = (scope["singles"].get(b"expect") or b"").lower() == b"100-continue"
        self._news = False
        self._waiter: asyncio.Future[None] | None = None
        self._head = b""
        self._chunked = False
        self._left = 0  # bytes that the answer's content-length still promises

    async def run_asgi(self, app: Any) -> None:
        """Have the application answer."""
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:  # the service stops, and has waited long enough
            self._fail(Unavailable())
        except Disconnected:
            pass
        except Unavailable as error:  # told where it was noticed
            self._fail(error)
        except Exception:
            # The application's ring answers all that it can: this came too late for it, or from the ring itself.
            logger.exception("Unexpected failure of an answer")
            self._fail(Failure())
        else:
            if not self.response_complete and not self.disconnected:
                logger.error("An answer was not completed")
                self._fail(Failure())
        finally:
            self._connection.tasks.discard(self.task)  # type: ignore[arg-type] # it is there: it runs
            self.task = None

    def _fail(self, failure: Failure) -> None:
        if self.response_started and not self._head:  # some of the answer is out already
            self._connection.transport.abort()  # to close would wait for a client that may not read
        elif not self.disconnected:
            self._connection.answer_failure(self, failure)

    def wake(self) -> None:
        """Tell whoever waits in `receive` that there is something new."""
        self._news = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def take(self, body: bytes) -> None:
        """Keep a piece of the body until it is asked for."""
        self.body += body
        if len(self.body) > HIGH_WATER_LIMIT:
            self._connection.flow.pause_reading()
        self.wake()

    async def receive(self) -> Any:
        """Return what has come of the body, or that nobody is there any more (ASGI)."""
        if self._continue:
            self._continue = False
            if not self._connection.transport.is_closing():
                self._connection.transport.write(CONTINUE)
        if not self.disconnected and not self.response_complete:
            self._connection.flow.resume_reading()
            if not self._news:
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
            self._news = False
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = self.body, b""
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Any) -> None:
        """Send a part of the answer (ASGI). The head waits for what follows. Raises RuntimeError for no such part."""
        if self._connection.flow.write_paused and not self.disconnected:
            await self._connection.flow.drain()
        if self.disconnected:
            if message.get("more_body", False):
                raise Disconnected
            return
        if message["type"] == "http.response.start" and not self.response_started:
            self._head = self._start(message["status"], message["headers"])
            self.response_started = True
            self._continue = False
        elif message["type"] == "http.response.body" and self.response_started and not self.response_complete:
            self._go_on(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"{message['type']} out of turn")

    def _start(self, status: int, headers: RawHeaders) -> bytes:
        """Return the head. Names are in lower case, as ASGI wants them. Raises RuntimeError for what is no header."""
        is_framed = self.scope["method"] == "HEAD" or status in BODILESS
        self._chunked = not is_framed
        for name, value in headers:
            if name == b"content-length":
                self._chunked = False
                self._left = 0 if is_framed else int(value)
        lines = [b"%b: %b" % header for header in (*self._connection.server_state.default_headers, *headers)]
        if self._chunked and self.scope["http_version"] == "1.0":
            self._left, self._chunked, self.keep_alive = -1, False, False  # it ends where the connection does
        elif self._chunked:
            lines.append(b"transfer-encoding: chunked")
        if not self.keep_alive:
            lines.append(b"connection: close")
        text = b"".join(lines)
        if len(text.translate(None, CONTROLS)) != len(text):
            raise RuntimeError("A header holds what no header may")
        return STATUS_LINE[status] + b"\r\n".join(lines) + b"\r\n\r\n"

    def _go_on(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            body = b""
        elif self._chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body += b"" if more else b"0\r\n\r\n"
        elif self._left >= 0:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("An answer is not as long as it said")
        connection = self._connection
        if data := self._head + body:
            self._head = b""
            connection.transport.write(data)
            if connection.flow.write_paused:
                connection.hold(self, len(data))
        if more:
            connection.go_on()
        else:
            self.response_complete = True
            self.wake()
            if not self.keep_alive:
                connection.close_after(self)
            connection.on_response_complete()
