"""How connections to PostgreSQL are made: to a server, through a pooler, or to the embedded one."""

import asyncio
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from app import embedded
from app.settings import Settings

# What libpq, Prisma, node-postgres and hosts' dashboards put into a URL. asyncpg would send them on as
# settings, and the server would refuse.
FOREIGN_OPTIONS = {
    "channel_binding",
    "connect_timeout",
    "connection_limit",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "load_balance_hosts",
    "pgbouncer",
    "pool_timeout",
    "schema",
    "socket_timeout",
    "sslaccept",
    "statement_cache_size",
    "supa",
    "tcp_user_timeout",
    "uselibpqcompat",
}


class Connection(asyncpg.Connection):
    """A connection that is handed back as it is: nothing sets session state, so nothing needs a reset."""

    def get_reset_query(self) -> str:
        """Return nothing to run: asyncpg's default costs a round trip each time a connection is released."""
        return ""


class PooledConnection(Connection):
    """A connection through PgBouncer in transaction mode.

    Between two messages outside a transaction the pooler may change the server behind it, and with it lose
    what was prepared there. So each statement gets a transaction.
    """

    async def fetch(self, *args: Any, **kwargs: Any) -> list[asyncpg.Record]:
        """Run one statement, in the transaction that is open or in one of its own."""
        if self.is_in_transaction():
            return await super().fetch(*args, **kwargs)
        async with self.transaction():
            return await super().fetch(*args, **kwargs)


# A pooler may know nothing of prepared statements; and it would refuse settings at the start.
FOR_A_POOLER: dict[str, Any] = {"connection_class": PooledConnection, "statement_cache_size": 0}


class Pool(asyncpg.Pool):
    """A pool that nobody can wait for without a limit, Piccolo included."""

    patience: float

    def acquire(self, *, timeout: float | None = None) -> Any:
        """Wait `timeout` seconds for a free connection, or `patience`."""
        return super().acquire(timeout=timeout or self.patience)


async def connect(settings: Settings) -> asyncpg.Connection:
    """Open one connection outside every pool. Raises what asyncpg does, and TimeoutError."""
    # What is at the other end is not known, and there is no hurry: what suits a pooler suits a server.
    seconds: Any = settings.database_timeout  # asyncpg says that it takes whole ones, and takes any
    return await asyncpg.connect(**await _arguments(settings), **FOR_A_POOLER, timeout=seconds)


async def open_pool(settings: Settings) -> Pool:
    """Connect, find out what is at the other end, and return the pool that suits it.

    Raises what asyncpg does, and TimeoutError.
    """
    arguments = await _arguments(settings)
    if await _is_behind_a_pooler(arguments, seconds=settings.database_timeout):
        suited = FOR_A_POOLER
    else:
        milliseconds = str(int(settings.database_timeout * 1000))
        suited = {"connection_class": Connection, "server_settings": {"statement_timeout": milliseconds}}
    pool = Pool(
        **arguments,
        **suited,
        timeout=settings.database_timeout,
        command_timeout=settings.database_timeout,
        min_size=settings.pool_min,
        max_size=settings.pool_max,
        max_queries=50_000,
        max_inactive_connection_lifetime=300.0,
        setup=None,
        init=None,
        loop=None,
        record_class=asyncpg.Record,
    )
    pool.patience = settings.database_timeout
    await pool
    return pool


async def _arguments(settings: Settings) -> dict[str, Any]:
    """What asyncpg needs to reach the configured database, or the embedded one, which is started first."""
    if settings.database_url is None:
        return await asyncio.to_thread(embedded.server(settings.data_dir).start)
    parts = urlsplit(settings.database_url)
    options = [(name, value) for name, value in parse_qsl(parts.query) if name not in FOREIGN_OPTIONS]
    return {"dsn": urlunsplit(parts._replace(query=urlencode(options)))}


async def _is_behind_a_pooler(arguments: dict[str, Any], *, seconds: Any) -> bool:
    """A pooler tells a process id of its own making; the server behind it knows its real one."""
    probe = await asyncpg.connect(**arguments, timeout=seconds, command_timeout=seconds, statement_cache_size=0)
    try:
        async with probe.transaction():
            return await probe.fetchval("SELECT pg_backend_pid()") != probe.get_server_pid()
    finally:
        await probe.close(timeout=seconds)
