"""The ring around the socket: what is too slow, too large or not HTTP ends here, before it costs anything.

uvicorn waits for a head as long as a client likes, lets heads grow to megabytes, and takes messages with no
Host or with two. This subclass of its protocol does not (RFC 9112, sections 2.2, 3.2 and 11.2). Where an
answer can be sent it has the envelope and the headers of every other answer.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app import logs, settings
from app.edge.headers import CORS, RawHeaders, common, request_id
from app.errors import BadRequest, Failure, HeadersTooLarge, RequestTimeout, render

HEAD_SECONDS = 5  # from the first byte of a head, or from the connection, to the end of the head
BODY_SECONDS = 10  # in which a body must move on
MAX_HEAD_BYTES = 32 * 1024
MAX_LEFTOVER_BYTES = 16 * 1024 * 1024  # of a body that was refused: read and thrown away, then the door closes
LINGER_SECONDS = 1  # after a refusal, for a client that is still talking to hear it (RFC 9112, section 9.6)


class Protocol(HttpToolsProtocol):
    """HTTP/1.1 with deadlines, sizes and one Host."""

    parser: Any  # uvicorn sets it to None in the end

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's own
        """Start the clock: a connection that says nothing is not kept."""
        super().connection_made(transport)
        self._in_head = self._in_body = False
        self._head_bytes = self._leftover_bytes = self._begun = 0
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
        was_in_head, was_in_body, begun = self._in_head, self._in_body, self._begun
        super().data_received(data)
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
            self._set_deadline(BODY_SECONDS)
        else:
            self._clear_deadline()

    def on_message_begin(self) -> None:
        """Count a new head."""
        super().on_message_begin()
        self._in_head, self._in_body = True, False
        self._head_bytes = self._leftover_bytes = 0
        self._begun += 1

    def on_headers_complete(self) -> None:
        """Refuse the head, or let uvicorn go on with it."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > MAX_HEAD_BYTES:
            self._refusal = HeadersTooLarge()
        elif self.parser.get_http_version() not in ("1.1", "1.0") or not _has_one_host(self.headers):
            self._refusal = BadRequest()
        if self._refusal is not None:
            raise ValueError  # stops the parser; send_400_response comes next
        self._in_head, self._in_body = False, True
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Hand the body on, unless it was refused already."""
        if self.cycle.response_complete:
            self._leftover_bytes += len(body)
            if self._leftover_bytes > MAX_LEFTOVER_BYTES:
                self._hang_up()
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The message is here, all of it."""
        self._in_body = False
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser could not read, or what this protocol did not let it read."""
        self._refuse(self._refusal or BadRequest())

    def _unsupported_upgrade_warning(self) -> None:
        """We speak HTTP/1.1 only. What follows such a head would not be parsed, so this answer is the last."""
        self.cycle.keep_alive = False
        self._in_body = False

    def _refuse(self, failure: Failure) -> None:
        """Answer if nobody else is answering, and close."""
        logs.request_served("-", None, failure.status, 0, None)
        self._refusal = failure
        self._clear_deadline()
        cycle = self.cycle
        if cycle and not cycle.response_complete:
            if not cycle.more_body:
                cycle.keep_alive = False  # an earlier message is being answered; what is refused came behind it
                return
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self.transport.close()
                return
        if not self.transport.is_closing():
            self.transport.write(self._answer(failure))
            self._hang_up()

    def _hang_up(self) -> None:
        """Say that nothing more will come, and close a little later.

        To close at once, with bytes unread, resets the connection, and the client loses the answer.
        """
        self._refusal = self._refusal or BadRequest()  # from now on, what comes is thrown away
        self.transport.write_eof()
        self._clear_deadline()
        self._deadline = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _answer(self, failure: Failure) -> bytes:
        answer = render(failure)
        cors = CORS(settings.current().frontend_origins)
        sent: RawHeaders = self.headers or []
        headers = [
            *((name.encode(), value.encode()) for name, value in answer.headers.items()),
            *common(request_id(sent)),
            *cors.headers(sent),
            (b"cache-control", b"no-store"),
            (b"content-length", str(len(answer.body)).encode()),
            (b"connection", b"close"),
        ]
        lines = [b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *headers)]
        return b"".join([STATUS_LINE[answer.status], *lines, b"\r\n", answer.body])

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


def _has_one_host(headers: list[tuple[bytes, bytes]]) -> bool:
    return sum(name == b"host" for name, _ in headers) == 1
