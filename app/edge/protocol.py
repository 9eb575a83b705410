"""The ring around the socket: what is too slow, too large or not HTTP ends here, before it costs anything.

uvicorn waits for a head as long as a client likes, lets heads grow to megabytes, and takes messages of HTTP/1.1 with
no Host or with two. This subclass of its protocol does not (RFC 9112, sections 2.2, 3.2 and 11.2). Where an
answer can be sent it has the envelope and the headers of every other answer.
"""

import asyncio
import math
from typing import Any, cast

import httptools

from app.edge import head, served
from app.edge.clock import Clock
from app.edge.cycle import Cycle
from app.edge.ending import ANSWER_SECONDS, BODY_SECONDS, BODY_STEP_BYTES, SENDING_SECONDS, Ending
from app.edge.framing import can_be_read_in_one_way
from app.edge.head import MAX_HEAD_BYTES
from app.edge.headers import request_id, single
from app.edge.refusal import refusal
from app.failures import BadRequest, Failure, HeadersTooLarge
from app.leaving import departure

HEAD_SECONDS = 5  # from the first byte of a head, or from the connection, to the end of the head
MAX_LEFTOVER_BYTES = 16 * 1024 * 1024  # of a body that was refused: read and thrown away, then the door closes
MAX_FRAMING = 8  # bytes of chunk sizes and line ends for each byte of a body; a chunk of one byte needs 5


class Protocol(Ending):
    """HTTP/1.1 with deadlines, sizes and one Host."""

    parser: Any  # uvicorn sets it to None in the end

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # uvicorn's own
        """Start the clock: a connection that says nothing is not kept."""
        super().connection_made(transport)
        self._moved_on = False
        self._begun = self._head_bytes = self._body_bytes = self._framing_bytes = self._leftover_bytes = 0
        self._body_due = BODY_STEP_BYTES  # bytes, by when the body has moved on
        self._feeding = 0  # bytes that the parser is reading just now
        self._clock = Clock(self.loop, self._too_late)
        self._clock.set(HEAD_SECONDS)

    def data_received(self, data: bytes) -> None:
        """Let the parser read, then look at where that leaves the message."""
        if self._refusal is not None:
            return
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
                self._clock.set(HEAD_SECONDS)
        elif self._in_body:
            self._framing_bytes += len(data) if was_in_body and self._begun == begun else 0
            if self._framing_bytes > MAX_HEAD_BYTES + (1 + MAX_FRAMING) * self._body_bytes:
                self._refuse(HeadersTooLarge())
            elif self._moved_on or not was_in_body:
                self._clock.set(BODY_SECONDS)
        elif self.cycle and not self.cycle.response_complete:
            self._clock.set(ANSWER_SECONDS)
        elif not self._clock.is_set:
            self._clock.set(HEAD_SECONDS)  # white space between messages is none, and does not buy time

    def on_message_begin(self) -> None:
        """Count a new head."""
        self.url, self.headers = b"", []
        self._in_head, self._in_body = True, False
        self._begun += 1
        self._body_due = BODY_STEP_BYTES
        self._head_bytes = self._body_bytes = self._framing_bytes = self._leftover_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; a trailer is none (RFC 9110, section 6.5.1): it must not speak for the caller."""
        if self._in_head:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Refuse the head, or begin to answer it."""
        parser = self.parser
        if parser.should_upgrade():
            return  # `_feed` reads it again
        version, method, sent = parser.get_http_version(), parser.get_method(), single(self.headers)
        # Only where so much has come can so much be head.
        is_long = self._head_bytes + self._feeding > MAX_HEAD_BYTES
        if is_long and head.is_too_large(method, self.url, self.headers):
            self._refusal = HeadersTooLarge()
        elif version not in ("1.1", "1.0") or not can_be_read_in_one_way(self.url, version, sent):
            self._refusal = BadRequest()
        if self._refusal is not None:
            raise ValueError  # stops the parser, and `_feed` refuses
        scope = head.scope(version, method, self.url, self.headers)
        scope |= {"scheme": self.scheme, "server": self.server, "client": self.client, "state": {}, "singles": sent}
        self._in_head, self._in_body = False, True
        earlier, app = self.cycle, cast("Any", self.app)
        keep_alive = version == "1.1" and parser.should_keep_alive() and not departure.is_near
        self.cycle = Cycle(self, scope, keep_alive=keep_alive)
        if earlier is None or earlier.response_complete:
            self._start_asgi_task(self.cycle, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, app))

    def on_body(self, body: bytes) -> None:
        """Hand the body on, unless it was refused already."""
        self._body_bytes += len(body)
        if self._body_bytes >= self._body_due:
            self._moved_on = True
            self._body_due = self._body_bytes + BODY_STEP_BYTES
        if self.cycle.response_complete:
            self._leftover_bytes += len(body)
            if self._leftover_bytes > MAX_LEFTOVER_BYTES:
                self._hang_up()
        else:
            self.cycle.take(body)

    def on_message_complete(self) -> None:
        """The message is here, all of it."""
        if self.parser.should_upgrade():
            return
        self._in_body = False
        self._clock.clear()
        if not self.cycle.response_complete:
            self.cycle.more_body = False
            self.cycle.wake()
        if self._closing:
            self._close()

    def answer_failure(self, cycle: Cycle, failure: Failure) -> None:
        """Answer what the application did not, and close."""
        cycle.response_started = cycle.response_complete = True
        scope, date = cycle.scope, self.server_state.default_headers
        sent = scope["singles"]
        identifier = scope.get("request_id") or request_id(sent)
        self.transport.write(refusal(failure, sent, scope["method"].encode(), identifier, date))
        self.close_after(cycle)
        self.on_response_complete()

    def go_on(self) -> None:
        """Let more of an answer follow: give the client time to take this piece, or the application to make more."""
        self._unsent = self.transport.get_write_buffer_size()
        self._clock.set(SENDING_SECONDS if self.flow.write_paused else ANSWER_SECONDS)

    def on_response_complete(self) -> None:
        """Go on to the next message, or wait for one."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        self._unsent = math.inf
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._clock.set(self.timeout_keep_alive)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        """Answer a message, and remember which: `self.cycle` is the one that is being read."""
        self._running = cycle
        cycle.task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(cycle.task)

    def _feed(self, data: bytes) -> None:
        self._feeding = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on_without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._refusal or BadRequest())

    def _go_on_without_upgrade(self, rest: bytes) -> None:
        """Read the same message again as if nothing else had been offered."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if method == b"CONNECT":
            self._refuse(BadRequest())
            return
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's own
        self._feed(head.without_upgrade(method, self.url, version, self.headers) + rest)

    def _refuse(self, failure: Failure) -> None:
        """Answer if nobody else is answering, and close."""
        self._refusal = failure
        self._clock.set(ANSWER_SECONDS)
        running = self._running
        if running and not running.response_complete and not (running is self.cycle and running.more_body):
            # An earlier message is being answered. What is refused came behind it, and goes without.
            if self._in_body and self.pipeline and self.pipeline[0][0] is self.cycle:
                self.pipeline.popleft()
            (self.pipeline[0][0] if self.pipeline else running).keep_alive = False
            return
        if self._in_body and self.cycle.response_complete:
            self._hang_up()  # it has its answer already
            return
        half_said = self._in_body and self.cycle.response_started
        if self._in_body:
            self.cycle.disconnected = True
            self.cycle.wake()
        if not half_said and not self.transport.is_closing():
            sent = single(self.headers or [])
            identifier = request_id(sent)
            date = self.server_state.default_headers
            self.transport.write(refusal(failure, sent, self.parser.get_method(), identifier, date))
            served.refused(identifier.decode(), failure.status)
        self._hang_up()
