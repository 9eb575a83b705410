"""How a connection ends: told to stop, refused, or too slow. Nobody holds one for longer than it moves on.

uvicorn closes an idle connection at once when it stops, and whoever was just asking something on it is not answered;
and it waits for ever for a client that does not read its answer.
"""

import math
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.edge.budget import answers, owner_of
from app.edge.clock import Clock
from app.edge.cycle import Cycle
from app.failures import BadRequest, Failure, RequestTimeout

BODY_SECONDS = 10  # in which a body must end, or move on by `BODY_STEP_BYTES`
BODY_STEP_BYTES = 16 * 1024
ANSWER_SECONDS = 60  # in which an answer must be made, whatever the database's timeout is
SENDING_SECONDS = 10  # in which a client must take `SENDING_STEP_BYTES` of what is sent, or the rest
SENDING_STEP_BYTES = 16 * 1024
LAST_CALL_SECONDS = 1  # for what is on its way on an idle connection while the service stops
LINGER_SECONDS = 1  # after a refusal, for a client that is still talking to hear it (RFC 9112, section 9.6)


class Ending(HttpToolsProtocol):
    """The part of the protocol that closes."""

    cycle: Any  # the message that is being read, or was read last: ours, not uvicorn's
    _clock: Clock
    _running: Cycle | None = None  # the message that is being answered
    _refusal: Failure | None = None
    _in_head = _in_body = False
    _closing = False  # when the body is in
    _unsent = math.inf  # bytes, when it was last looked at

    def shutdown(self) -> None:
        """Let be answered what is asked, or is on its way; then close."""
        self.timeout_keep_alive = LAST_CALL_SECONDS
        if self.cycle and not self.cycle.response_complete:
            self.cycle.keep_alive = False
        elif not self._in_head:
            self._clock.set(LAST_CALL_SECONDS)

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn hangs up, and the answer is lost
        """A client that has said all may still listen: it gets its answer, and then the end."""
        if not self.cycle or self.cycle.response_complete or self.cycle.more_body:
            return False
        self.cycle.keep_alive = False
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock, and tell whoever still answers or waits."""
        self._clock.stop()
        answers.drop(self)
        self.connections.discard(self)
        for cycle in (self.cycle, self._running):
            if cycle and not cycle.response_complete:
                cycle.disconnected = True
                cycle.wake()
        self.flow.resume_writing()
        self.transport.close()
        # All of these know us, and we them: together we would be garbage that somebody has to look for.
        self.parser = self.cycle = self._running = None

    def resume_writing(self) -> None:
        """Go on: what was written is sent."""
        answers.drop(self)
        super().resume_writing()

    def hold(self, cycle: Cycle, size: int) -> None:
        """Count `size` bytes of an answer until the client has taken them."""
        self._unsent = math.inf
        answers.keep(self, max(size, self.transport.get_write_buffer_size()), owner_of(cycle.scope), self._cut)

    def _cut(self) -> None:
        self.transport.abort()

    def close_after(self, cycle: Cycle) -> None:
        """Close, but not before the client has had time to say all and look at the answer."""
        self._closing = cycle.more_body
        if not self._closing:
            self._close()

    def _close(self) -> None:
        """Close when all is sent, or when the client takes no more of it."""
        self.transport.close()
        self._unsent = self.transport.get_write_buffer_size()
        if self._unsent:
            self._clock.set(SENDING_SECONDS)

    def _hang_up(self) -> None:
        """Say that nothing more will come, and close a little later.

        To close at once, with bytes unread, resets the connection, and the client loses the answer.
        """
        self._refusal = self._refusal or BadRequest()  # from now on, what comes is thrown away
        if not self.transport.is_closing():
            self.transport.write_eof()
        self._clock.set(LINGER_SECONDS)

    def _too_late(self) -> None:
        running = self._running
        if unsent := self.transport.get_write_buffer_size():
            self._press(unsent)
        elif (self._in_head or self._in_body) and self._refusal is None:
            if self._in_body and self.flow.read_paused:
                self._clock.set(BODY_SECONDS)  # it is we who do not read
            else:
                self._refuse(RequestTimeout())
        elif running and running.task and not running.response_complete:
            running.task.cancel()  # which answers 503
            self._clock.set(SENDING_SECONDS)
        else:
            self.transport.close()  # nothing was asked, so there is nothing to answer

    def _press(self, unsent: int) -> None:
        """Cut a client off that has taken next to nothing since the last look."""
        if unsent > self._unsent - SENDING_STEP_BYTES:
            self.transport.abort()
        else:
            self._unsent = unsent
            self._clock.set(SENDING_SECONDS)

    def _refuse(self, failure: Failure) -> None:
        """Answer if nobody else is answering, and close."""
