"""The service with instruments, for tests: `python -m tests.faults.observed serve` in place of `python -m app serve`.

It says how its event loop and its pool are doing, and it cancels a request where the request asks for it.
"""

import asyncio
import json
import time
from typing import Any

from litestar import Litestar
from litestar.types import ASGIApp, Receive, Scope, Send

from app import __main__, main
from app.db.engine import database

TICK = 0.01  # seconds
create_app = main.create_app


class Ticker:
    """Wakes up every 10 ms, and remembers how much too late it was at worst.

    `late` is by the clock, and so counts what else the machine does; `busy` is how much processor time the loop took
    between two ticks, which is its own doing alone.
    """

    def __init__(self) -> None:
        self.late = self.busy = 0.0

    async def run(self) -> None:
        while True:
            clock, processor = time.monotonic(), time.thread_time()
            await asyncio.sleep(TICK)
            self.late = max(self.late, time.monotonic() - clock - TICK)
            self.busy = max(self.busy, time.thread_time() - processor)


class Instruments:
    """Wrap the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._ticker = Ticker()
        self._ticking: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == "/observed":
            await self._tell(send)
        elif moment := dict(scope["headers"]).get(b"x-cancel-after"):
            await self._cancel(float(moment), scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _cancel(self, seconds: float, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, and cancel it after so many seconds. One that was has no answer."""
        serving = asyncio.ensure_future(self._app(scope, receive, send))
        await asyncio.wait({serving}, timeout=seconds)
        serving.cancel()
        await asyncio.wait({serving})
        if serving.cancelled():
            await _answer(send, 499, {})

    async def _tell(self, send: Send) -> None:
        """Answer with what was seen since the last question; the first only starts to look."""
        if self._ticking:
            self._ticking.cancel()
        seen = {"late": self._ticker.late, "busy": self._ticker.busy}
        if database.ready:
            seen |= {"size": database.pool.get_size(), "idle": database.pool.get_idle_size()}
        self._ticker = Ticker()
        self._ticking = asyncio.create_task(self._ticker.run())
        await _answer(send, 200, seen)


async def _answer(send: Send, status: int, content: Any) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": json.dumps(content).encode(), "more_body": False})


def create_observed(*arguments: Any) -> Litestar:
    """The service, wrapped."""
    app = create_app(*arguments)
    app.asgi_handler = Instruments(app.asgi_handler)
    return app


if __name__ == "__main__":
    main.create_app = create_observed
    __main__.main()
