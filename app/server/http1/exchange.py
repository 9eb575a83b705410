"""One request and its response, as the application sees them (ASGI 3.0, HTTP connection scope).

The response's head waits for the body's first part, and both are written together.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from app.server.http1 import head
from app.web.failures import Failure, Unavailable
from app.web.headers import BODILESS, RawHeaders

if TYPE_CHECKING:
    from app.server.http1.connection import Connection

logger = logging.getLogger(__name__)

MAX_UNREAD_BYTES = 64 * 1024  # of a body, before the client is paused
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"  # RFC 9110, section 10.1.1


class Disconnected(Exception):
    """The client is gone: nobody reads the rest of a response that comes in parts."""


class Exchange:
    """A request that came in on a connection, and the response that goes out."""

    def __init__(self, connection: "Connection", scope: dict[str, Any], *, keep_alive: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.disconnected = False
        self.body = b""
        self.more_body = True
        self.response_started = False
        self.response_complete = False
        self.task: asyncio.Task[None] | None = None
        self._connection = connection
        self._expects_continue = (scope["singles"].get(b"expect") or b"").lower() == b"100-continue"
        self._news = asyncio.Event()  # for `receive`
        self._head = b""
        self._chunked = False
        self._left = 0  # bytes that the response's content-length still promises

    async def run(self, app: Callable[..., Awaitable[None]]) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except asyncio.CancelledError:  # at the end of a deadline, or of a shutdown's grace
            self._fail(Unavailable())
        except Disconnected:
            pass
        except Unavailable as error:  # logged where it was noticed
            self._fail(error)
        except Exception:
            # The middleware responds to all that it can: this came too late for it, or from the middleware itself.
            logger.exception("Unexpected failure of a response")
            self._fail(Failure())
        else:
            if not self.response_complete and not self.disconnected:
                logger.error("A response was not completed")
                self._fail(Failure())
        finally:
            if self.task is not None:
                self._connection.server_state.tasks.discard(self.task)
            self.task = None

    def _fail(self, failure: Failure) -> None:
        if self.response_started and not self._head:  # some of the response is out already
            self._connection.transport.abort()  # to close would wait for a client that may not read
        elif not self.disconnected:
            self._connection.respond_failure(self, failure)

    def feed(self, body: bytes) -> None:
        """Keep a part of the body until it is asked for."""
        self.body += body
        if len(self.body) > MAX_UNREAD_BYTES:
            self._connection.flow.pause_reading()
        self._news.set()

    def feed_eof(self) -> None:
        self.more_body = False
        self._news.set()

    def disconnect(self) -> None:
        self.disconnected = True
        self._news.set()

    def complete(self) -> None:
        self.response_started = self.response_complete = True
        self._news.set()

    async def receive(self) -> Any:
        """Return what has come of the body, or that the client is gone (ASGI)."""
        if self._expects_continue:
            self._expects_continue = False
            if not self._connection.transport.is_closing():
                self._connection.transport.write(CONTINUE)
        if not self.disconnected and not self.response_complete:
            self._connection.flow.resume_reading()
            await self._news.wait()
            self._news.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = self.body, b""
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Any) -> None:
        """Send a part of the response (ASGI). Raises RuntimeError for a part out of turn, or of the wrong length."""
        if self._connection.flow.is_writing_paused and not self.disconnected:
            await self._connection.flow.drain()
        if self.disconnected:
            if message.get("more_body", False):
                raise Disconnected
            return
        if message["type"] == "http.response.body" and self.response_started and not self.response_complete:
            self._send_body(message.get("body", b""), more=message.get("more_body", False))
        elif message["type"] == "http.response.start" and not self.response_started:
            self._head = self._start(message["status"], message["headers"])
            self.response_started = True
            self._expects_continue = False
        else:
            raise RuntimeError(f"{message['type']} out of turn")

    def _start(self, status: int, headers: RawHeaders) -> bytes:
        """Return the head. Names are in lower case, as ASGI wants them."""
        is_bodiless = self.scope["method"] == "HEAD" or status in BODILESS
        self._chunked = not is_bodiless
        for name, value in headers:
            if name == b"content-length":
                self._chunked = False
                self._left = 0 if is_bodiless else int(value)
        headers = [*self._connection.server_state.default_headers, *headers]
        if self._chunked and self.scope["http_version"] == "1.0":
            self._left, self._chunked, self.keep_alive = -1, False, False  # the body ends with the connection
        elif self._chunked:
            headers.append((b"transfer-encoding", b"chunked"))
        if not self.keep_alive:
            headers.append((b"connection", b"close"))
        return head.response(status, headers)

    def _send_body(self, body: bytes, *, more: bool) -> None:
        if self.scope["method"] == "HEAD":
            body = b""
        elif self._chunked:
            body = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
            body += b"" if more else b"0\r\n\r\n"
        elif self._left >= 0:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise RuntimeError("A response is not as long as its content-length")
        data, self._head = self._head + body, b""
        self._connection.respond(self, data, more=more)
