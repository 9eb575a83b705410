"""Serves: listens, migrates if asked to, says where everything is, and hands over to uvicorn."""

import asyncio
import logging
import logging.config
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Generator
from contextlib import contextmanager
from errno import EADDRINUSE
from importlib import import_module
from socket import AF_INET, AF_INET6, create_server, has_dualstack_ipv6
from socket import socket as Socket  # noqa: N812 # a class by another name

import uvicorn
from uvicorn.supervisors import ChangeReload

from app.config.settings import ROOT, Settings
from app.db import embedded, migrations
from app.db.connect import CONNECT_ERRORS
from app.db.errors import describe, explain, just
from app.observability import logs
from app.server.workers import Workers
from app.web import rate_limit

logger = logging.getLogger(__name__)

ANY_LOCAL = (
    "The database is the embedded one, for trying out: pages of any http://localhost and http://127.0.0.1 may read the "
    "answers. With DATABASE_URL, those of FRONTEND_URL alone may."
)

APPLICATION = "app.main"
NOT_MIGRATED = "Migrating failed; the service stays unready. %s"

BACKLOG = 2048  # connections that have not been accepted yet; uvicorn's own number
GRACE_SECONDS = 7  # at shutdown for requests that are being served; all of a shutdown takes 10 at most
WORKER_SECONDS = 30  # to start, or to answer a health check; uvicorn's 5 are too few on a busy machine
MIGRATION_WAIT_SECONDS = 1.5  # for migrations of a database that answers, before the service serves without them


def serve(settings: Settings, *, migrate: bool, reload: bool = False) -> None:
    """Serve until shutdown. Raises SystemExit where the address is not available."""
    logging.config.dictConfig(logs.configuration(settings.log_level, settings.log_format))
    config = uvicorn.Config(
        f"{APPLICATION}:create_app",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        reload=reload,
        reload_dirs=[str(ROOT / "app")] if reload else None,
        http="app.server.http1.connection:Connection",
        ws="none",
        log_config=logs.configuration(settings.log_level, settings.log_format),
        access_log=False,
        server_header=False,
        proxy_headers=False,  # `app/web/middleware.py` believes them, where there are any
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_worker_healthcheck=WORKER_SECONDS,
    )
    with _listen("PORT", settings.host, settings.port) as socket, _metrics(settings):
        socket.set_inheritable(True)  # for the workers
        logs.always(logger, "This uses %s.", describe(settings))
        for name in settings.quoted_secrets:
            logger.warning("%s begins and ends with a quote, which is part of it. Take one pair of quotes away.", name)
        if settings.workers == 1 and not reload:  # import the application while PostgreSQL starts
            threading.Thread(target=import_module, args=(APPLICATION,), daemon=True).start()
        try:
            if settings.database_url is None:
                embedded.server(settings.data_dir).start()
                logger.info(ANY_LOCAL)
            if migrate:
                _migrate_in_background(settings)
            if settings.log_format == "console":
                print(welcome(settings), file=sys.stderr)  # noqa: T201
            _run(config, socket, reload=reload)
        finally:
            if settings.database_url is None:
                embedded.server(settings.data_dir).stop()


def _listen(name: str, host: str, port: int) -> Socket:
    """Listen before anything else is done. Raises SystemExit where the address is not available."""
    try:
        socket = create_server(
            (host, port),
            family=AF_INET6 if ":" in host else AF_INET,
            backlog=BACKLOG,
            dualstack_ipv6=host == "::" and has_dualstack_ipv6(),
        )
    except OSError as error:
        reason = f"{error.strerror}".partition(" (while ")[0]
        way_out = "Stop what listens there, or choose another port" if error.errno == EADDRINUSE else "Choose another"
        other = just("serve", "--port", f"{port + 1}") if name == "PORT" else f"{name} in .env"
        raise SystemExit(f"{name} {port} on HOST {host} is not available ({reason}).\n{way_out}: {other}") from None
    logger.info("Listening on port %d of %s.", port, host)
    return socket


@contextmanager
def _metrics(settings: Settings) -> Generator[None]:
    """Serve the metrics of all workers, where they are wanted. The folder that workers share is removed at the end."""
    if settings.metrics_port is None:
        yield
        return
    with (
        _listen("METRICS_PORT", settings.host, settings.metrics_port) as socket,
        tempfile.TemporaryDirectory(prefix="tasks-metrics-") as folder,
    ):
        # prometheus_client looks for it once, when it is imported: here, and in each worker.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        from app.observability.metrics_server import exposed

        with exposed(socket, folder):
            yield


def welcome(settings: Settings) -> str:
    """Return where API, docs, admin and data are. The curl line works as it is pasted, from any folder."""
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host  # noqa: S104
    base = f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"
    return f"""
  Tasks API
    API     {base}/api/tasks
    Docs    {base}/docs
    Admin   {base}/admin/
    Data    {describe(settings)}

  Try it:
    curl -sS -H "Authorization: Bearer $({just("token", "ada")})" {base}/api/tasks

  Make a login for the admin:
    {just("admin-user")}
"""


def _run(config: uvicorn.Config, socket: Socket, *, reload: bool) -> None:
    # At its end uvicorn raises the signal that stopped it once more. It must not end the process: the embedded database
    # is still to be stopped. (SIG_IGN would do too, but the workers would inherit it.)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)
    server = uvicorn.Server(config)
    if reload:
        ChangeReload(config, target=server.run, sockets=[socket]).run()
    elif config.workers > 1:
        with rate_limit.shared():
            Workers(config, sockets=[socket]).run()
    else:
        signal.signal(signal.SIGHUP, server.handle_exit)  # the terminal is gone
        server.run(sockets=[socket])


def _migrate_in_background(settings: Settings) -> None:
    """Migrate as soon as the database answers. Wait for the embedded one; for another, `MIGRATION_WAIT_SECONDS`.

    Raises SystemExit where tables of somebody else's have turned out to be in the way by then.
    """
    tried = threading.Event()
    in_the_way: list[str] = []

    def run() -> None:
        try:
            asyncio.run(_migrate(settings, tried))
        except migrations.Occupied as error:
            in_the_way.append(f"{error}")
            if tried.is_set():  # and nobody waits any more
                logger.error(NOT_MIGRATED, error)
        finally:
            tried.set()

    threading.Thread(target=run, name="migrate", daemon=True).start()
    tried.wait(None if settings.database_url is None else MIGRATION_WAIT_SECONDS)
    tried.set()
    if in_the_way:
        raise SystemExit(in_the_way[0])


async def _migrate(settings: Settings, tried: threading.Event) -> None:
    """Try until the database is migrated. Sets `tried` when it turns out that the database does not answer."""
    told = False
    while True:
        try:
            if await migrations.migrate(settings):
                logger.info("The database is migrated.")
            return
        except migrations.Blocked as error:
            logger.warning("%s Trying on.", error)
            tried.set()
        except migrations.Occupied:
            raise
        except migrations.MigrationError as error:
            logger.error(NOT_MIGRATED, error)
            return
        except CONNECT_ERRORS as error:
            if not told:
                logger.warning("%s Trying on.", explain(error, settings).replace("\n", " "))
                told = True
            tried.set()
            await asyncio.sleep(0.5)
