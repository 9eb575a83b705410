"""Puts the parts together: the application, its lifespan, and the middleware around it, innermost first."""

import asyncio
import gc
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeAlias

from litestar import Litestar
from litestar.datastructures import State
from litestar.types import ASGIApp

from app import health
from app.accounts.controller import AccountController
from app.accounts.sessions_controller import SessionController
from app.admin.mount import admin
from app.auth.authenticator import Authenticator
from app.auth.middleware import JWTAuthMiddleware
from app.config import settings
from app.config.settings import Settings
from app.db import embedded
from app.db.engine import database
from app.db.transaction import Observer
from app.openapi import page
from app.shutdown import shutdown
from app.tasks import cleanup
from app.tasks.columns import checked_columns
from app.tasks.controller import TaskController
from app.tasks.history.controller import HistoryController
from app.tasks.labels.controller import LabelController, TaskLabelController
from app.tasks.lists.controller import ListController
from app.tasks.search.indexing import indexer
from app.tasks.trash.controller import TrashController
from app.web import rate_limit
from app.web.access import Access
from app.web.application import App, NoEvents
from app.web.body import MAX_BODY_BYTES, JSONRequest
from app.web.errors import respond
from app.web.headers import CORS
from app.web.middleware import HTTPMiddleware
from app.web.routing import FastRouter

Lifespan: TypeAlias = Callable[[Litestar], AbstractAsyncContextManager[None]]

GARBAGE_THRESHOLD = 20_000  # objects: a list of 1,000 tasks is not worth a look
TASKS = (
    *(TaskController, TrashController, HistoryController),
    *(ListController, LabelController, TaskLabelController),
)
ALWAYS = (*TASKS, health.service, health.live, health.ready, health.healthy)
ACCOUNTS = (AccountController, SessionController)


def create_app(chosen: Settings | None = None) -> Litestar:
    """Return the service as one ASGI application. Raises ConfigurationError where the environment is no good."""
    config = chosen or settings.current()
    authenticator = Authenticator(config)
    limiter = rate_limit.limiter(config.rate_limit)
    lifespan: list[Lifespan] = []
    observer: Observer | None = None
    wrapped_by: Callable[[ASGIApp], ASGIApp] | None = None
    # What observes is imported where it is wanted: its libraries take some MB.
    if config.metrics_port is not None:
        from app.observability.metrics import Metrics

        lifespan.append(lambda _: Metrics(authenticator, database.sizes).listening())
    if config.otel_endpoint is not None:
        from app.observability.tracing import Tracing

        tracing = Tracing(config.otel_endpoint)
        lifespan.append(lambda _: tracing.listening())
        observer, wrapped_by = tracing.observe, tracing.traced
    documented = {False: ALWAYS, True: (*ALWAYS, *ACCOUNTS)}
    may_have_accounts = config.accounts is not False  # where it is unset, the database decides
    app = App(
        [*documented[may_have_accounts], page.openapi, page.docs, page.start, page.assets(), admin(checked_columns)],
        event_emitter_backend=NoEvents,
        exception_handlers={Exception: respond},
        lifespan=[*lifespan, lambda _: _serving(config, authenticator, observer)],
        logging_config=None,
        openapi_config=None,
        request_class=JSONRequest,
        request_max_body_size=MAX_BODY_BYTES,
        state=State(
            {
                "documented": documented,
                "cleanup": cleanup,
                "authenticator": authenticator,
                "settings": config,
                "limiter": limiter,
                "sign_ups": rate_limit.limiter(config.signup_limit, rate_limit.SIGN_UPS),
            }
        ),
    )
    guarded = JWTAuthMiddleware(FastRouter(app), app.plugins.get(Access), authenticator, limiter)
    cors = CORS(config.frontend_origins, any_local=config.database_url is None)
    wrapped = HTTPMiddleware(guarded, cors, config.secret, config.trusted_proxies, config.root_path)
    app.asgi_handler = wrapped if wrapped_by is None else wrapped_by(wrapped)
    return app


@asynccontextmanager
async def _serving(config: Settings, authenticator: Authenticator, observer: Observer | None) -> AsyncGenerator[None]:
    """Open the database and what works in the background, until shutdown."""
    await database.open(config, observer)
    authenticator.open()
    await database.wait_until_ready()
    cleaning = asyncio.create_task(cleanup.run(config.trash_days))
    # What is here by now stays. To look it over again and again for garbage would be a tenth of our time.
    gc.collect()
    gc.freeze()
    gc.set_threshold(GARBAGE_THRESHOLD, 20, 50)
    try:
        with shutdown.listening():
            yield
    finally:
        cleaning.cancel()
        await indexer.close()
        await authenticator.close()
        await database.close()
        if config.database_url is None:
            await asyncio.to_thread(embedded.server(config.data_dir).stop)
