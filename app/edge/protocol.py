"""The ring around the socket: what is too slow, too large or not HTTP ends here, before it costs anything.

uvicorn waits for a head as long as a client likes, lets heads grow to megabytes, and takes messages with no
Host or with two. This subclass of its protocol does not (RFC 9112, sections 2.2, 3.2 and 11.2). Where an
answer can be sent it has the envelope and the headers of every other answer.
"""

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app import logs, settings
from app.edge.framing import can_be_read_in_one_way
from app.edge.headers import CORS, RawHeaders, common, request_id
from app.edge.one_write import OneWrite
from app.errors import render
from app.failures import BadRequest, Failure, HeadersTooLarge, RequestTimeout

HEAD_SECONDS = 5  # from the first byte of a head, or from the connection, to the end of the head
BODY_SECONDS = 10  # in which a body must move on
MAX_HEAD_BYTES = 32 * 1024
MAX_LEFTOVER_BYTES = 16 * 1024 * 1024  # of a body that was refused: read and thrown away, then the door closes
MAX_FRAMING = 8  # bytes of chunk sizes and line ends for each byte of a body; a chunk of one byte needs 5
LINGER_SECONDS = 1  # after a refusal, for a client that is still talking to hear it (RFC 9112, section 9.6)


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 with deadlines, sizes and one Host."""

    parser: Any  # uvicorn sets it to None in the end

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's own
        """Start the clock: a connection that says nothing is not kept."""
        super().connection_made(transport)
        self._in_head = self._in_body = self._moved_on = self._closing = False
        self._begun = self._head_bytes = self._body_bytes = self._framing_bytes = self._leftover_bytes = 0
        self._running: RequestResponseCycle | None = None
        self._refusal: Failure | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._set_deadline(HEAD_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._clear_deadline()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn hangs up, and the answer is lost
        """A client that has said all may still listen: it gets its answer, and then the end."""
        if not self.cycle or self.cycle.response_complete or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        """Let the parser read, then look at where that leaves the message."""
        if self._refusal is not None:
            return
        self._unset_keepalive_if_required()
        was_in_head, was_in_body, begun = self._in_head, self._in_body, self._begun
        self._moved_on = False
        self._feed(data)
        if self._refusal is not None:
            return
        if self._in_head:
            # All of the data is of this head, unless another message ends in it.
            self._head_bytes += len(data) if was_in_head or (not was_in_body and self._begun == begun + 1) else 0
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(HeadersTooLarge())
            elif not was_in_head:
                self._set_deadline(HEAD_SECONDS)
        elif self._in_body:
            self._framing_bytes += len(data) if was_in_body and self._begun == begun else 0
            if self._framing_bytes > MAX_HEAD_BYTES + (1 + MAX_FRAMING) * self._body_bytes:
                self._refuse(HeadersTooLarge())
            elif self._moved_on or not was_in_body:
                self._set_deadline(BODY_SECONDS)
        elif self.cycle and not self.cycle.response_complete:
            self._clear_deadline()
        elif self._deadline is None:
            self._set_deadline(HEAD_SECONDS)  # white space between messages is none, and does not buy time

    def on_message_begin(self) -> None:
        """Count a new head."""
        super().on_message_begin()
        self._in_head, self._in_body = True, False
        self._begun += 1
        self._head_bytes = self._body_bytes = self._framing_bytes = self._leftover_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is none (RFC 9110, section 6.5.1): it must not speak for the caller."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Refuse the head, or let uvicorn go on with it."""
        if self.parser.should_upgrade():
            return  # `_feed` reads it again
        version = self.parser.get_http_version()
        if self._is_too_large():
            self._refusal = HeadersTooLarge()
        elif version not in ("1.1", "1.0") or not can_be_read_in_one_way(self.url, version, self.headers):
            self._refusal = BadRequest()
        if self._refusal is not None:
            raise ValueError  # stops the parser, and `_feed` refuses
        super().on_headers_complete()
        self._in_head, self._in_body = False, True
        # Where the answer is the connection's last, we say when it ends.
        close = self.transport.close if self.cycle.keep_alive else self.close_in_time
        self.cycle.transport = OneWrite(self.transport, self.cycle, close)  # type: ignore[assignment] # what it uses

    def _is_too_large(self) -> bool:
        line = len(self.parser.get_method()) + len(self.url) + len("  HTTP/1.1\r\n")
        return line + sum([len(name) + len(value) + 4 for name, value in self.headers]) > MAX_HEAD_BYTES

    def on_body(self, body: bytes) -> None:
        """Hand the body on, unless it was refused already."""
        self._moved_on = True
        self._body_bytes += len(body)
        if self.cycle.response_complete:
            self._leftover_bytes += len(body)
            if self._leftover_bytes > MAX_LEFTOVER_BYTES:
                self._hang_up()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The message is here, all of it."""
        if self.parser.should_upgrade():
            return
        self._in_body = False
        self._clear_deadline()
        super().on_message_complete()
        if self._closing:
            self.transport.close()

    def on_response_complete(self) -> None:
        """Let uvicorn go on to the next message. (It calls this when an answer has ended, whatever it was.)"""
        if self._running is not None:
            self._running.transport.end()  # type: ignore[attr-defined] # it is ours
        super().on_response_complete()

    def close_in_time(self) -> None:
        """Close, but not before the client has had time to say all and look at the answer."""
        self._closing = True
        if not self._in_body:
            self.transport.close()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Remember which message is being answered: `self.cycle` is the one that is being read."""
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _feed(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._refusal or BadRequest())

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Read the same message again as if nothing else had been offered, which a server may (RFC 9110, 7.8)."""
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(BadRequest())
            return
        lines = [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        head = [method, b" ", self.url, b" HTTP/", self.parser.get_http_version().encode(), b"\r\n", *lines, b"\r\n"]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        self._feed(b"".join(head) + rest)

    def _refuse(self, failure: Failure) -> None:
        """Answer if nobody else is answering, and close."""
        self._refusal = failure
        self._clear_deadline()
        running = self._running
        if running and not running.response_complete and not (running is self.cycle and running.more_body):
            # An earlier message is being answered. What is refused came behind it, and goes without.
            if self._in_body and self.pipeline and self.pipeline[0][0] is self.cycle:
                self.pipeline.popleft()
            last = self.pipeline[0][0] if self.pipeline else running
            last.keep_alive = False
            return
        if self._in_body and self.cycle.response_complete:
            self._hang_up()  # it has its answer already
            return
        half_said = self._in_body and self.cycle.response_started
        if self._in_body:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if not half_said and not self.transport.is_closing():
            identifier = request_id(self.headers or [])
            self.transport.write(self._answer(failure, identifier))
            told = logs.request_id.set(identifier)
            logs.request_served("-", None, failure.status, 0, None)
            logs.request_id.reset(told)
        self._hang_up()

    def _hang_up(self) -> None:
        """Say that nothing more will come, and close a little later.

        To close at once, with bytes unread, resets the connection, and the client loses the answer.
        """
        self._refusal = self._refusal or BadRequest()  # from now on, what comes is thrown away
        if not self.transport.is_closing():
            self.transport.write_eof()
        self._clear_deadline()
        self._deadline = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _answer(self, failure: Failure, identifier: str) -> bytes:
        answer = render(failure)
        cors = CORS(settings.current().frontend_origins)
        sent: RawHeaders = self.headers or []
        headers = [
            *((name.encode(), value.encode()) for name, value in answer.headers.items()),
            *common(identifier),
            *cors.headers(sent),
            (b"cache-control", b"no-store"),
            (b"content-length", str(len(answer.body)).encode()),
            (b"connection", b"close"),
        ]
        lines = [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *headers)]
        body = b"" if self.parser.get_method() == b"HEAD" else answer.body
        return b"".join([STATUS_LINE[answer.status], *lines, b"\r\n", body])

    def _set_deadline(self, seconds: float) -> None:
        self._clear_deadline()
        self._deadline = self.loop.call_later(seconds, self._too_late)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_late(self) -> None:
        if self._in_body and self.flow.read_paused:
            self._set_deadline(BODY_SECONDS)  # it is we who do not read
        elif self._in_head or self._in_body:
            self._refuse(RequestTimeout())
        else:
            self.transport.close()  # nothing was asked, so there is nothing to answer
