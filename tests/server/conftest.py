"""Connections in this process, with limits that a test need not wait for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from app.server.http1.connection import Connection
from app.server.http1.limits import DEFAULTS, Limits

Send = Callable[[Any], Awaitable[None]]
App = Callable[[Any, Callable[[], Awaitable[Any]], Send], Awaitable[None]]
Listen = Callable[..., Awaitable[int]]


@pytest.fixture
async def state() -> ServerState:
    return ServerState()


@pytest.fixture
async def listen(state: ServerState) -> AsyncIterator[Listen]:
    """Serve an application on a port, until the test is over."""
    servers: list[asyncio.Server] = []

    async def listening(app: App, limits: Limits = DEFAULTS) -> int:
        config = uvicorn.Config(app, interface="asgi3", proxy_headers=False, ws="none", log_config=None)
        config.load()
        loop = asyncio.get_running_loop()
        servers.append(await loop.create_server(lambda: Connection(config, state, {}, limits=limits), "127.0.0.1", 0))
        return servers[-1].sockets[0].getsockname()[1]

    yield listening
    for server in servers:
        server.close()
