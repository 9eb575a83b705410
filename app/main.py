"""Puts the parts together: the request's way in, in order."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from litestar import Litestar
from litestar.datastructures import State

from app import docs, embedded, health, settings
from app.admin import admin
from app.auth.middleware import JWTAuthMiddleware
from app.bodies import MAX_BODY_BYTES, JSONRequest
from app.database import database
from app.edge.headers import CORS
from app.edge.ring import Ring
from app.errors import respond
from app.settings import Settings
from app.tasks.controller import TaskController

DOCUMENTED = (TaskController, health.service, health.live, health.ready, health.healthy)


def create_app(chosen: Settings | None = None) -> Litestar:
    """Return the service as one ASGI application. Raises ConfigurationError where the environment is no good."""
    config = chosen or settings.current()
    app = Litestar(
        [*DOCUMENTED, docs.openapi, docs.docs, docs.start, docs.assets(), admin()],
        exception_handlers={Exception: respond},
        lifespan=[_connections(config)],
        logging_config=None,
        openapi_config=None,
        request_class=JSONRequest,
        request_max_body_size=MAX_BODY_BYTES,
        state=State({"documented": DOCUMENTED}),
    )
    guarded = JWTAuthMiddleware(app.asgi_handler, config.jwt_secret)
    app.asgi_handler = Ring(guarded, CORS(config.frontend_origins), config.jwt_secret)
    return app


def _connections(config: Settings) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def connections(_: Litestar) -> AsyncGenerator[None]:
        await database.open(config)
        try:
            yield
        finally:
            await database.close()
            if config.database_url is None:
                await asyncio.to_thread(embedded.server(config.data_dir).stop)

    return connections
