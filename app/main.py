"""Puts the parts together: the request's way in, in order."""

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

from litestar import Litestar
from litestar.datastructures import State
from litestar.types import ASGIApp

from app import docs, embedded, health, limits, settings, upkeep
from app.accounts.access import AccessController
from app.accounts.controller import AccountController
from app.admin import admin
from app.auth.authenticator import Authenticator
from app.auth.middleware import JWTAuthMiddleware
from app.bodies import MAX_BODY_BYTES, JSONRequest
from app.database import database
from app.edge import served
from app.edge.headers import CORS
from app.edge.ring import Ring
from app.errors import respond
from app.handlers import App, Dispatch, NoEvents
from app.leaving import departure
from app.settings import Settings
from app.tasks.controller import TaskController
from app.tasks.history import HistoryController
from app.tasks.indexing import indexer
from app.tasks.trash import TrashController

Lifespan: TypeAlias = Callable[[Litestar], AbstractAsyncContextManager[None]]

GARBAGE_THRESHOLD = 20_000  # objects: a list of 1,000 tasks is not worth a look
TASKS = (TaskController, TrashController, HistoryController)
ALWAYS = (*TASKS, health.service, health.live, health.ready, health.healthy)
ACCOUNTS = (AccountController, AccessController)


def create_app(chosen: Settings | None = None) -> Litestar:
    """Return the service as one ASGI application. Raises ConfigurationError where the environment is no good."""
    config = chosen or settings.current()
    authenticator = Authenticator(config)
    limiter = limits.limiter(config.rate_limit)
    documented = {False: ALWAYS, True: (*ALWAYS, *ACCOUNTS)}
    may_have_accounts = config.accounts is not False  # where it is unset, the database decides
    app = App(
        [*documented[may_have_accounts], docs.openapi, docs.docs, docs.start, docs.assets(), admin()],
        event_emitter_backend=NoEvents,
        exception_handlers={Exception: respond},
        lifespan=[*_observers(config, authenticator), _connections(config, authenticator)],
        logging_config=None,
        openapi_config=None,
        request_class=JSONRequest,
        request_max_body_size=MAX_BODY_BYTES,
        state=State(
            {
                "documented": documented,
                "authenticator": authenticator,
                "settings": config,
                "limiter": limiter,
                "sign_ups": limits.limiter(config.signup_limit, limits.SIGN_UPS),
            }
        ),
    )
    guarded = JWTAuthMiddleware(Dispatch(app), authenticator, limiter, accounts=may_have_accounts)
    cors = CORS(config.frontend_origins, any_local=config.database_url is None)
    ring = Ring(guarded, cors, config.secret, config.trusted_proxies, config.root_path)
    app.asgi_handler = ring if config.otel_endpoint is None else _traced(ring)
    return app


def _observers(config: Settings, authenticator: Authenticator) -> list[Lifespan]:
    """Return whatever else listens. Their libraries are imported only then: they take some MB."""
    wanted: list[Lifespan] = []
    if config.metrics_port is not None:
        wanted.append(_metrics(authenticator))
    if config.otel_endpoint is not None:
        wanted.append(_traces(config.otel_endpoint))
    return wanted


def _metrics(authenticator: Authenticator) -> Lifespan:
    from app.metrics import Metrics

    @asynccontextmanager
    async def metrics(_: Litestar) -> AsyncGenerator[None]:
        ours = Metrics(authenticator)
        served.listeners.append(ours.served)
        looking = asyncio.create_task(ours.run())
        try:
            yield
        finally:
            looking.cancel()
            served.listeners.remove(ours.served)

    return metrics


def _traces(endpoint: str) -> Lifespan:
    from app import tracing

    @asynccontextmanager
    async def traces(_: Litestar) -> AsyncGenerator[None]:
        ours = tracing.Tracing(endpoint)
        served.listeners.append(tracing.served)
        try:
            yield
        finally:
            served.listeners.remove(tracing.served)
            await ours.close()

    return traces


def _traced(ring: Ring) -> ASGIApp:
    from app.tracing import Traced

    return Traced(ring)


def _connections(config: Settings, authenticator: Authenticator) -> Lifespan:
    @asynccontextmanager
    async def connections(_: Litestar) -> AsyncGenerator[None]:
        await database.open(config)
        authenticator.open()
        await database.head_start()
        looking_after = asyncio.create_task(upkeep.run(config.trash_days))
        # What is here by now stays. To look it over again and again for garbage would be a tenth of our time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GARBAGE_THRESHOLD, 20, 50)
        try:
            with departure.listening():
                yield
        finally:
            looking_after.cancel()
            await indexer.close()
            await authenticator.close()
            await database.close()
            if config.database_url is None:
                await asyncio.to_thread(embedded.server(config.data_dir).stop)

    return connections
