"""Flow control: a client that sends faster than the application reads is paused, and so is the application."""

import asyncio
import math
from collections.abc import Mapping
from typing import Any

from app.server.http1.limits import Limits
from app.web.response_budget import answers, owner_of


class FlowControl:
    """The two directions of one connection, and how much the client has yet to take."""

    def __init__(self, transport: asyncio.Transport, limits: Limits) -> None:
        self.is_reading_paused = False
        self.is_writing_paused = False
        self._transport = transport
        self._step = limits.sending_step_bytes
        self._unsent = math.inf
        self._writable = asyncio.Event()

    def pause_reading(self) -> None:
        """Read nothing until the application wants more."""
        if not self.is_reading_paused:
            self.is_reading_paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self.is_reading_paused:
            self.is_reading_paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """Let `drain` wait: the transport holds more than it should."""
        self.is_writing_paused = True
        self._writable.clear()

    def resume_writing(self) -> None:
        """Count nothing as unsent any more, and let `drain` return."""
        answers.drop(self)
        self.is_writing_paused = False
        self._writable.set()

    async def drain(self) -> None:
        """Wait until the client has taken most of what was written, or is gone."""
        if self.is_writing_paused:
            await self._writable.wait()

    def hold(self, size: int, scope: Mapping[str, Any]) -> None:
        """Count `size` bytes of the response to `scope` as unsent until the client has taken them."""
        self._unsent = math.inf
        size = max(size, self._transport.get_write_buffer_size())
        answers.keep(self, size, owner_of(scope), self._transport.abort)

    def watch(self) -> int:
        """Expect the client to take a step of what it has not taken. Return how many bytes that are."""
        self._unsent = unsent = self._transport.get_write_buffer_size()
        return unsent

    def is_stalled(self) -> bool:
        """Tell whether the client has taken less than a step since the last look, and look again."""
        before = self._unsent
        return self.watch() > before - self._step
