"""A client's connection: HTTP/1.1 (RFC 9112) as an `asyncio.Protocol`, which uvicorn's server serves with.

Of uvicorn it uses what that server does with a protocol, and nothing else. The server calls `Connection(config=…,
server_state=…, app_state=…, _loop=…)` for each connection, when `config.loaded_app` is there. It keeps the date in
`server_state.default_headers`, and counts `server_state.total_requests` for its `limit_max_requests`. It shuts down by
calling `shutdown()` on all in `server_state.connections`, waiting until there are none and no `server_state.tasks`
either, and cancelling the tasks in the end.
"""

import asyncio
from collections import deque
from typing import Any, cast

from uvicorn import Config
from uvicorn.server import ServerState

from app.observability import request_events
from app.server.http1 import head
from app.server.http1.deadline import Deadline
from app.server.http1.exchange import Exchange
from app.server.http1.flow_control import FlowControl
from app.server.http1.limits import DEFAULTS, Limits
from app.server.http1.reader import BETWEEN, BODY, HEAD, RequestReader
from app.server.http1.refusal import refusal
from app.shutdown import shutdown
from app.web.failures import Failure, RequestTimeout
from app.web.headers import Singles, request_id, single


class Connection(asyncio.Protocol):
    """Has each request answered in turn, and refuses what is too slow, too large, ambiguous or not HTTP.

    A refusal has the envelope and the headers of every response, where one can be sent. No response is lost by the end
    of a connection, and no client delays that end for longer than it reads on.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        limits: Limits = DEFAULTS,
    ) -> None:
        self.server_state = server_state
        self._connections: set[Any] = server_state.connections  # typed for uvicorn's own protocols
        self._app: Any = config.loaded_app  # pyright: ignore[reportUnknownMemberType] # uvicorn says no type of it
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._keep_alive_seconds = limits.keep_alive_seconds
        self._reader = RequestReader(self, limits)
        self._reading: Exchange | None = None  # whose request is being read, or was read last
        self._responding: Exchange | None = None  # which is being answered, or was answered last
        self._pipeline: deque[Exchange] = deque()  # that wait until those before them are answered
        self._closes_after_request = False
        self._is_discarding = False  # all that the client still sends
        self._discarded = 0  # bytes of a body whose response is out

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the deadline: a connection that sends nothing is not kept."""
        self._connections.add(self)
        self.transport = cast("asyncio.Transport", transport)
        self.flow = FlowControl(self.transport, self._limits)
        self._deadline = Deadline(self._loop, self._on_expiry)
        self._deadline.set(self._limits.head_seconds)
        self._scope = head.connection_scope(self.transport)

    def data_received(self, data: bytes) -> None:
        """Read on, and expect the rest in time."""
        if self._is_discarding:
            return
        try:
            seconds = self._reader.feed(data)
        except Failure as failure:
            self._refuse(failure)
            return
        if self._is_discarding:
            return
        if seconds is not None:
            self._deadline.set(seconds)
        elif self._reader.part is BETWEEN and self._reading and not self._reading.response_complete:
            self._deadline.set(self._limits.response_seconds)
        elif not self._deadline.is_set:
            self._deadline.set(self._limits.head_seconds)  # empty lines between messages buy no time

    def eof_received(self) -> bool:
        """Answer a client that has sent all and still reads; then close."""
        if not self._reading or self._reading.response_complete or self._reading.more_body:
            return False
        self._reading.keep_alive = False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the deadline, and tell the application."""
        self._deadline.stop()
        self._connections.discard(self)
        for exchange in (self._reading, self._responding):
            if exchange and not exchange.response_complete:
                exchange.disconnect()
        self.flow.resume_writing()
        # They refer to the connection as it does to them: only the garbage collector would find them.
        self._reader.close()
        self._reading = self._responding = None

    def pause_writing(self) -> None:
        self.flow.pause_writing()

    def resume_writing(self) -> None:
        self.flow.resume_writing()

    def shutdown(self) -> None:
        """Answer what was asked, or is on its way on an idle connection; then close."""
        self._keep_alive_seconds = self._limits.last_request_seconds
        if self._reading and not self._reading.response_complete:
            self._reading.keep_alive = False
        elif self._reader.part is not HEAD:
            self._deadline.set(self._limits.last_request_seconds)

    def on_request(self, scope: dict[str, Any], *, keep_alive: bool) -> None:
        """Answer a request whose head is read, or let it wait for its turn."""
        earlier = self._reading
        scope |= self._scope
        self._reading = exchange = Exchange(self, scope, keep_alive=keep_alive and not shutdown.is_set())
        if earlier is None or earlier.response_complete:
            self._start(exchange)
        else:
            self.flow.pause_reading()
            self._pipeline.append(exchange)

    def on_body(self, body: bytes) -> None:
        """Hand a part of the body on, unless the response is out already. Hang up where that body goes on and on."""
        if self._reading and not self._reading.response_complete:
            self._reading.feed(body)
            return
        self._discarded += len(body)
        if self._discarded > self._limits.discarded_bytes:
            self._hang_up()

    def on_request_complete(self) -> None:
        self._deadline.clear()
        if self._reading and not self._reading.response_complete:
            self._reading.feed_eof()
        if self._closes_after_request:
            self._close()

    def respond(self, exchange: Exchange, data: bytes, *, more: bool) -> None:
        """Write a part of a response; without `more`, the last one."""
        if data:
            self.transport.write(data)
            if self.flow.is_writing_paused:
                self.flow.hold(len(data), exchange.scope)
        if more:
            self.flow.watch()
            is_slow, limits = self.flow.is_writing_paused, self._limits
            self._deadline.set(limits.sending_seconds if is_slow else limits.response_seconds)
        else:
            self._complete(exchange)

    def respond_failure(self, exchange: Exchange, failure: Failure) -> None:
        """Respond where the application did not, and close."""
        scope = exchange.scope
        identifier = scope.get("request_id") or request_id(scope["singles"])
        self._write_refusal(failure, scope["singles"], scope["method"].encode(), identifier)
        exchange.keep_alive = False
        self._complete(exchange)

    def _start(self, exchange: Exchange) -> None:
        self._responding = exchange
        exchange.task = self._loop.create_task(exchange.run(self._app))
        self.server_state.tasks.add(exchange.task)

    def _complete(self, exchange: Exchange) -> None:
        """Go on to the next request, or wait for one, or close."""
        exchange.complete()
        self.server_state.total_requests += 1
        if not exchange.keep_alive:
            if exchange.more_body:
                self._closes_after_request = True  # until the client has sent all, it does not look at the response
            else:
                self._close()
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self._pipeline:
            self._start(self._pipeline.popleft())
        else:
            self._deadline.set(self._keep_alive_seconds)

    def _refuse(self, failure: Failure) -> None:
        """Respond to the message that is being read, unless an earlier one is being answered, and close."""
        self._is_discarding = True
        self._deadline.set(self._limits.response_seconds)
        # Without a body to be read, what is refused is a head, and the request before it was read.
        unread = self._reading if self._reader.part is BODY else None
        responding = self._responding
        if responding and not responding.response_complete and responding is not unread:
            if self._pipeline and self._pipeline[-1] is unread:
                self._pipeline.pop()
            (self._pipeline[-1] if self._pipeline else responding).keep_alive = False
            return
        if unread and not unread.response_complete:
            unread.disconnect()
        if not (unread and unread.response_started) and not self.transport.is_closing():
            sent = single(self._reader.headers)
            identifier = request_id(sent)
            self._write_refusal(failure, sent, self._reader.method, identifier)
            request_events.emit_refused(identifier.decode(), failure.status)
        self._hang_up()

    def _write_refusal(self, failure: Failure, sent: Singles, method: bytes, identifier: bytes) -> None:
        self.transport.write(refusal(failure, sent, method, identifier, self.server_state.default_headers))

    def _close(self) -> None:
        """Close once all is sent, or once the client takes no more of it."""
        self.transport.close()
        if self.flow.watch():
            self._deadline.set(self._limits.sending_seconds)

    def _hang_up(self) -> None:
        """Send nothing more, and close a little later.

        To close with bytes unread resets the connection, and the client loses the response (RFC 9112, section 9.6).
        """
        self._is_discarding = True
        if not self.transport.is_closing():
            self.transport.write_eof()
        self._deadline.set(self._limits.linger_seconds)

    def _on_expiry(self) -> None:
        responding, limits = self._responding, self._limits
        if self.transport.get_write_buffer_size():
            if self.flow.is_stalled():
                self.transport.abort()
            else:
                self._deadline.set(limits.sending_seconds)
        elif self._reader.part is not BETWEEN and not self._is_discarding:
            if self._reader.part is BODY and self.flow.is_reading_paused:
                self._deadline.set(limits.body_seconds)  # it is the service that does not read
            else:
                self._refuse(RequestTimeout())
        elif responding and responding.task and not responding.response_complete:
            responding.task.cancel()  # and so answered 503
            self._deadline.set(limits.sending_seconds)
        else:
            self.transport.close()  # nothing was asked
