"""How connections to PostgreSQL are made: to a server, through a pooler, or to the embedded one."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache, partial
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import asyncpg
from asyncpg import connect_utils

from app import embedded, roles, search_path, user_table
from app.groups import GroupingPool
from app.primary import TROUBLE as TROUBLE
from app.primary import Servers
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

# What the service wants to know at its start; and on the way, a trigger is told what a pooler would not pass on.
ABOUT = f"""
    WITH "kept" AS (UPDATE "task_settings" SET "history_versions" = $1 WHERE "history_versions" <> $1)
    SELECT row_security_active(to_regclass('tasks')) IS NOT FALSE AS is_walled, {user_table.IS_OURS} AS is_ours
"""

# A pooler may change the server behind it between two statements, and with it lose what was prepared there.
# So it gets each statement whole: asyncpg prepares without a name then, in one breath with executing.
FOR_A_POOLER: dict[str, Any] = {"statement_cache_size": 0}

ASKING: set[asyncio.Task[None]] = set()  # the event loop itself would forget them


class Connection(asyncpg.Connection):
    """A connection that is handed back as it is: nothing sets session state, so nothing needs a reset.

    Except after a statement that failed or was cancelled. The server may have heard half of it, and would
    keep a transaction open for the rest; and a pooler the server.
    """

    unfinished = False

    async def fetch(self, *args: Any, **kwargs: Any) -> list[asyncpg.Record]:
        """Run one statement."""
        self.unfinished = True
        try:
            rows = await super().fetch(*args, **kwargs)
        except asyncpg.ReadOnlySQLTransactionError:
            self.terminate()  # no primary (any more): the next connection looks for it
            raise
        except asyncpg.PostgresError:
            self.unfinished = False  # the server itself has ended it
            raise
        self.unfinished = False
        return rows

    def give_up(self) -> None:
        """Cut it, and ask its server to stop: a commit that waits for a replica would keep its place there for ever."""
        if not self.is_closed():
            server: Any = self._protocol
            whose = {"backend_pid": server.backend_pid, "backend_secret": server.backend_secret}
            asking = self._loop.create_task(self._ask_to_stop(whose))
            ASKING.add(asking)
            asking.add_done_callback(ASKING.discard)
            self.terminate()

    async def _ask_to_stop(self, whose: dict[str, Any]) -> None:
        # asyncpg asks by itself only where a connection is to be kept.
        with suppress(OSError, asyncpg.PostgresError):
            async with asyncio.timeout(self._config.command_timeout):
                ask: Any = connect_utils._cancel  # pyright: ignore[reportPrivateUsage] # there is no other
                await ask(loop=self._loop, addr=self._addr, params=self._params, **whose)

    def get_reset_query(self) -> str:
        """Return what to run on release. asyncpg's default costs a round trip each time."""
        return "SELECT 1" if self.unfinished else ""


async def connect(settings: Settings) -> asyncpg.Connection:
    """Open one connection outside every pool. Raises what asyncpg does, and TimeoutError."""
    # What is at the other end is not known, and there is no hurry: what suits a pooler suits a server.
    reach = await _way(settings)
    return await reach(**FOR_A_POOLER, connection_class=Connection, timeout=settings.database_timeout)


async def open_pool(settings: Settings) -> GroupingPool:
    """Connect, find out what is at the other end, and return the pool that suits it.

    Raises what asyncpg does, and TimeoutError.
    """
    reach = await _way(settings)
    suited = await _suited(reach, settings)
    pool = _kind(settings)(
        connect=reach,
        **suited,
        connection_class=Connection,
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
    pool.prepares = suited is not FOR_A_POOLER
    await pool
    return pool


async def begin(pool: GroupingPool, settings: Settings) -> asyncpg.Record:
    """Tell the database what its triggers have to know, and return what the service has to.

    Raises what `run` does, and NotFirst.
    """
    if settings.database_schema not in (None, (await pool.run("SELECT current_schema()", []))[0][0]):
        raise search_path.NotFirst
    return (await pool.run(ABOUT, [settings.history_versions]))[0]


def _kind(settings: Settings) -> type[GroupingPool]:
    if settings.otel_endpoint is None:
        return GroupingPool
    from app.tracing import TracedPool

    return TracedPool


def _server_settings(seconds: float) -> dict[str, str]:
    """What the server keeps to by itself, also where we are not there any more to tell it."""
    limit = str(int(seconds * 1000))
    return {
        "statement_timeout": limit,
        "lock_timeout": str(int(seconds * 900)),  # a little less, or the statement's would always be first
        "idle_in_transaction_session_timeout": limit,
        # One plan for all arguments: a guess from a connection's first five halves a list's speed when it is wrong.
        "plan_cache_mode": "force_generic_plan",
        # PostgreSQL takes all rows of an owner for one, since the wall asks for the owner too, and would rather sort it
        # than read a list in order. Where there is no such order, it still sorts; at a cost that must not alarm it.
        "enable_sort": "off",
        "jit": "off",
        # What a server or a login has as a default instead would refuse two changes at once, or every statement.
        "default_transaction_isolation": "read committed",
        "row_security": "on",
    }


async def _way(settings: Settings) -> Callable[..., Awaitable[asyncpg.Connection]]:
    """What connects to the configured database, or to the embedded one, which is started first."""
    if settings.database_url is None:
        return partial(asyncpg.connect, **await asyncio.to_thread(embedded.server(settings.data_dir).start))
    return _servers(without_foreign_options(settings.database_url)).connect


@cache
def _servers(url: str) -> Servers:
    """One for all who connect: where the primary is, only the first has to find out."""
    return Servers(url)


def without_foreign_options(url: str) -> str:
    """Return the URL without what only other clients understand."""
    query = parse_qsl(urlsplit(url).query)
    # Not `+` for a space, which libpq does not read.
    options = urlencode([each for each in query if each[0] not in FOREIGN_OPTIONS], quote_via=quote)
    return url.partition("?")[0] + (f"?{options}" if options else "")


async def _suited(reach: Callable[..., Awaitable[asyncpg.Connection]], settings: Settings) -> dict[str, Any]:
    """A pooler tells a process id of its own making; the server behind it knows its real one."""
    seconds: Any = settings.database_timeout
    probe = await reach(timeout=seconds, command_timeout=seconds, statement_cache_size=0)
    try:
        async with probe.transaction():
            if await is_pooler(probe):
                # No settings, which it would refuse: the schema has to be the login's own first one.
                await search_path.check(probe, settings.database_schema)
                return FOR_A_POOLER
            if settings.database_schema is not None:
                await probe.execute(f"SELECT {search_path.set_local(settings.database_schema)}")
            path = {"search_path": await probe.fetchval(search_path.OF_LOGIN)}
            # It owns nothing and is no superuser, so that row-level security holds for us (docs/isolation.md).
            role = await probe.fetchval(roles.NAME)
            return {"server_settings": _server_settings(seconds) | path | ({"role": role} if role else {})}
    finally:
        await probe.close(timeout=seconds)


async def is_pooler(connection: asyncpg.Connection) -> bool:
    """Tell whether a pooler is at the other end, and not a server. Inside of a transaction it stays so."""
    return await connection.fetchval("SELECT pg_backend_pid()") != connection.get_server_pid()
