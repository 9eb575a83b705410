"""How connections to PostgreSQL are made: to a server, through a pooler, or to the embedded one."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import cache, partial
from itertools import chain, repeat
from typing import Any, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import asyncpg

from app.config.settings import Settings
from app.db import embedded, roles, search_path, user_table
from app.db.errors import explain
from app.db.pool import Pool
from app.db.primary import CONNECT_ERRORS as CONNECT_ERRORS
from app.db.primary import Servers

logger = logging.getLogger(__name__)
T = TypeVar("T")
Attempt = Callable[[Settings], Awaitable[T]]

SECONDS_BETWEEN_ATTEMPTS = (0.1, 0.2)  # then twice a second

# What libpq, Prisma, node-postgres and hosts' dashboards put into a URL. asyncpg would send them on as
# settings, and the server would refuse.
FOREIGN_OPTIONS = {
    *("channel_binding", "connect_timeout", "connection_limit", "fallback_application_name", "gssencmode"),
    *("keepalives", "keepalives_count", "keepalives_idle", "keepalives_interval", "load_balance_hosts", "pgbouncer"),
    *("pool_timeout", "schema", "socket_timeout", "sslaccept", "statement_cache_size", "supa", "tcp_user_timeout"),
    "uselibpqcompat",
}

# What the service wants to know at its start; and on the way, a trigger is told what a pooler would not pass on.
ABOUT = f"""
    WITH "kept" AS (
        UPDATE "task_settings" SET "history_versions" = $1, "max_labels" = $2
        WHERE ("history_versions", "max_labels") <> ($1, $2)
    )
    SELECT row_security_active(to_regclass('tasks')) IS NOT FALSE AS has_rls, {user_table.IS_OURS} AS is_ours
"""

# A pooler may change the server behind it between two statements, and with it lose what was prepared there.
# So it gets each statement whole: asyncpg prepares without a name then, in one breath with executing.
FOR_A_POOLER: dict[str, Any] = {"statement_cache_size": 0}

REVIVING: set[asyncio.Future[Any]] = set()


async def connect(settings: Settings) -> asyncpg.Connection:
    """Open one connection outside every pool. Raises what asyncpg does, and TimeoutError."""
    # It is not known what is at the other end: what suits a pooler suits a server.
    reach = await _way(settings)
    return await reach(**FOR_A_POOLER, timeout=settings.database_timeout)


@asynccontextmanager
async def connected(settings: Settings) -> AsyncGenerator[asyncpg.Connection]:
    """Have one connection outside every pool. Raises as `connect`."""
    connection = await connect(settings)
    try:
        yield connection
    finally:
        await connection.close(timeout=settings.database_timeout)


async def open_pool(settings: Settings) -> Pool:
    """Connect, find out what is at the other end, and return the pool that suits it.

    Raises what asyncpg does, and TimeoutError.
    """
    reach = await _way(settings)
    suited = await _suited(reach, settings)
    pool = Pool(
        partial(reach, command_timeout=settings.database_timeout, **suited),
        min_size=settings.pool_min,
        max_size=settings.pool_max,
        timeout=settings.database_timeout,
        prepares=suited is not FOR_A_POOLER,
    )
    try:
        await pool.open()
    except BaseException:
        pool.terminate()
        raise
    return pool


async def begin(pool: Pool, settings: Settings) -> tuple[bool, bool]:
    """Tell the database what its triggers have to know.

    Return whether row-level security holds for us, and whether we made the table of users. Raises what `run` does, and
    NotFirst.
    """
    if settings.database_schema not in (None, (await pool.run("SELECT current_schema()", []))[0][0]):
        raise search_path.NotFirst
    [(has_rls, is_ours)] = await pool.run(ABOUT, [settings.history_versions, settings.max_labels])
    return has_rls, is_ours


async def until_it_works(attempt: Attempt[T], settings: Settings, heard: asyncio.Event) -> T:
    """Try, and try again with growing pauses, for as long as it takes. Says once that it has to."""
    pauses = chain(SECONDS_BETWEEN_ATTEMPTS, repeat(0.5))
    told = False
    while True:
        try:
            return await attempt(settings)
        except Exception as error:
            # Whatever it is: this runs in the background, so nobody else would hear of it.
            if not told:
                logger.warning("%s Trying on.", explain(error, settings).replace("\n", " "))
                told = True
                heard.set()
        await asyncio.sleep(next(pauses))


def _server_settings(seconds: float) -> dict[str, str]:
    """What the server keeps to by itself, also where we are not there any more to tell it."""
    limit = str(int(seconds * 1000))
    return {
        "statement_timeout": limit,
        "lock_timeout": str(int(seconds * 900)),  # a little less, or the statement's would always be first
        "idle_in_transaction_session_timeout": limit,
        # One plan for all arguments: a guess from a connection's first five halves a list's speed when it is wrong.
        "plan_cache_mode": "force_generic_plan",
        # PostgreSQL takes all rows of an owner for one, since row-level security asks for the owner too, and
        # would rather sort it
        # than read a list in order. Where there is no such order, it still sorts; at a cost that must not alarm it.
        "enable_sort": "off",
        "jit": "off",
        # What a server or a login has as a default instead would refuse concurrent changes, or every statement.
        "default_transaction_isolation": "read committed",
        "row_security": "on",
    }


async def _way(settings: Settings) -> Callable[..., Awaitable[asyncpg.Connection]]:
    """What connects to the configured database, or to the embedded one, which is started first."""
    if settings.database_url is None:
        server = embedded.server(settings.data_dir)
        return partial(_to_embedded, server, **await asyncio.to_thread(server.start))
    return _servers(without_foreign_options(settings.database_url)).connect


async def _to_embedded(server: embedded.EmbeddedPostgres, **arguments: Any) -> asyncpg.Connection:
    """Connect; where the server has died, start it again in the background."""
    try:
        return await asyncpg.connect(**arguments)
    except OSError:
        if not REVIVING:
            # What goes wrong is not told here: the next connection tells why it cannot be made.
            revival = asyncio.gather(asyncio.to_thread(server.revive), return_exceptions=True)
            REVIVING.add(revival)
            revival.add_done_callback(REVIVING.discard)
        raise


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
    seconds = settings.database_timeout
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
