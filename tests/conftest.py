"""The people and things that the tests are about, and the real PostgreSQL under them.

Everything runs against one PostgreSQL: an embedded one in a folder of its own, or the server that
TEST_DATABASE_URL names (its user must be allowed to create databases). Each run has a database of its own.
"""

import asyncio
import gc
import os
import secrets
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
import httpx
import jwt
import msgspec
import pytest
from httpx._transports import default as transports
from litestar import Litestar

SECRET = "a secret for tests alone: of more than 32 bytes"
ORIGIN = "http://localhost:3000"

# Before anything of the service is imported: its processes, ours included, take their settings from here,
# and nothing from a developer's .env.
os.environ.update(
    JWT_SECRET=SECRET,
    FRONTEND_URL=ORIGIN,
    HOST="127.0.0.1",
    PORT="8000",
    WORKERS="1",
    LOG_LEVEL="info",
    LOG_FORMAT="json",
    DATABASE_POOL_MIN="1",
    DATABASE_POOL_MAX="10",
    DATABASE_TIMEOUT="5",
    RATE_LIMIT="0",
    SIGNUP_LIMIT="0",
)

from app.auth.jwt import User  # noqa: E402
from app.config import settings  # noqa: E402
from app.db import embedded, migrations, roles  # noqa: E402
from app.db.engine import database  # noqa: E402
from app.main import create_app  # noqa: E402
from tests import forkserver  # noqa: E402

migrations.start_process = forkserver.start_process


def whom(user: User) -> User:
    """The user, whichever token named them."""
    return msgspec.structs.replace(user, token=None)


CI = os.environ.get("CI") == "true"

# Each client of httpx reads what all authorities sign with, for 36 ms of a processor. Once for each file is enough.
read_authorities = transports.create_ssl_context


@cache
def _trusting(_file: str | None, *how: Any) -> ssl.SSLContext:
    return read_authorities(*how)


def _remembered(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
    return _trusting(os.environ.get("SSL_CERT_FILE"), verify, cert, trust_env)


transports.create_ssl_context = _remembered


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all", action="store_true", help="run the slow tests too, as `just test-all` does")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among the modules and the tests, now or later: all of them stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the slow tests out, unless `--all`, `-m` or the name of their file asks for them. Sort the long first."""
    if not config.option.all and not config.option.markexpr:
        named = {Path(each.partition("::")[0]).resolve() for each in config.args}
        left_out = {item for item in items if item.get_closest_marker("slow") and item.path not in named}
        config.hook.pytest_deselected(items=[*left_out])
        items[:] = [item for item in items if item not in left_out]
    # One that begins when the others are done keeps everybody waiting.
    items.sort(key=lambda item: "live" not in item.path.parts)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[str], str]]:
    """A PostgreSQL server, as a function from a database's name to its URL."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield lambda name: urlsplit(given)._replace(path=f"/{name}").geturl()
        return
    with tempfile.TemporaryDirectory(prefix="tasks-tests-", ignore_cleanup_errors=True) as folder:
        server = embedded.EmbeddedPostgres(Path(folder))
        host = quote(server.start()["host"], safe="")
        _apart(_forgetful(host))
        yield lambda name: f"postgresql://postgres@/{name}?host={host}"
        server.stop()


async def _forgetful(host: str) -> None:
    """Let the server wait for no disk. Whoever tests what outlives a crash has a server of their own."""
    connection = await asyncpg.connect(f"postgresql://postgres@/postgres?host={host}")
    for setting in ("fsync", "full_page_writes", "synchronous_commit"):
        await connection.execute(f"ALTER SYSTEM SET {setting} = off")
    await connection.execute("SELECT pg_reload_conf()")
    await connection.close()


# Roles outlive the databases that they belonged to.
DROP_ROLES = """
    DO $$ DECLARE each text; BEGIN
        FOR each IN
            SELECT rolname FROM pg_roles WHERE rolname ~ '^tasks_(app|definer)_[0-9]+_[0-9]+$'
                AND split_part(rolname, '_', 3)::oid NOT IN (SELECT oid FROM pg_database)
        LOOP
            EXECUTE format('DROP ROLE %I', each);
        END LOOP;
    END $$
"""


@pytest.fixture(scope="session")
def copy_of(postgres: Callable[[str], str]) -> Iterator[Callable[[str], str]]:
    """A function that copies a database, which nobody may be connected to, and returns the URL of the copy."""
    made: list[str] = []

    async def run(statement: str) -> None:
        connection = await asyncpg.connect(postgres("postgres"))
        await connection.execute(statement)
        await connection.close()

    def copy(template: str) -> str:
        made.append(f"tasks_test_{secrets.token_hex(6)}")
        _apart(run(f"CREATE DATABASE {made[-1]} TEMPLATE {template}"))
        return postgres(made[-1])

    yield copy
    for name in made:
        _apart(run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
    _apart(run(DROP_ROLES))


@pytest.fixture(scope="session")
def new_database(copy_of: Callable[[str], str]) -> Callable[[], str]:
    """A function that makes an empty database and returns its URL."""
    return lambda: copy_of("template1")


@pytest.fixture(scope="session")
def migrated_database(copy_of: Callable[[str], str], new_database: Callable[[], str]) -> Callable[[], str]:
    """A function that makes a database with our tables and roles, in a tenth of a second, and returns its URL."""
    template = new_database()
    _apart(migrations.migrate(settings.load({"DATABASE_URL": template, "JWT_SECRET": SECRET})))

    async def grant(url: str) -> None:
        connection = await asyncpg.connect(url)
        await roles.grant(connection)  # to roles of its own
        await connection.close()

    def make() -> str:
        url = copy_of(urlsplit(template).path.removeprefix("/"))
        _apart(grant(url))
        return url

    return make


@pytest.fixture(scope="module")
def pgbouncer(postgres: Callable[[str], str]) -> Iterator[Callable[[str], str]]:
    """A PgBouncer in transaction mode with two connections: a function from a database's URL to its own."""
    from tests.live.pgbouncer import PgBouncer  # which asks this file what may be missing

    it = PgBouncer(postgres("postgres"), "default_pool_size = 2", "max_client_conn = 300")
    it.start()
    yield it.url
    it.end()


def _apart(coroutine: Any) -> None:
    """Run a coroutine in a thread's own loop: the tests' loop may or may not be running."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, coroutine).result()


@pytest.fixture(scope="session")
def database_url(migrated_database: Callable[[], str]) -> Iterator[str]:
    """The migrated database of this run; DATABASE_URL says the same to every process that is started."""
    url = migrated_database()
    os.environ["DATABASE_URL"] = url
    settings.current.cache_clear()
    yield url
    del os.environ["DATABASE_URL"]
    settings.current.cache_clear()


@pytest.fixture(scope="session")
def app(database_url: str) -> Litestar:
    return create_app(settings.current())


@pytest.fixture(scope="session")
async def running(app: Litestar) -> AsyncIterator[Litestar]:
    """The application with its pool open, on the event loop of the tests."""
    await database.open(settings.current())
    while not database.ready:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    yield app
    await database.close()


@pytest.fixture(scope="session")
async def sql(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the test's own, to look and to meddle."""
    connection = await asyncpg.connect(database_url, server_settings={"tasks.staff": "on"})
    yield connection
    await connection.close()


@pytest.fixture(scope="session")
async def role(sql: asyncpg.Connection) -> str:
    """Whom the service asks as."""
    return await sql.fetchval(roles.NAME)


CLEARED = '"user", tasks, task_versions, old_versions, task_words, task_titles, rate_limits'
SMALL = 64 * 1024  # bytes of a table: what is deleted takes room there
# These tables, and those that TRUNCATE … CASCADE clears with them.
WITH_CASCADE = """
    WITH RECURSIVE cleared AS (
        SELECT unnest($1::text[])::regclass::oid AS oid
        UNION SELECT conrelid FROM pg_constraint JOIN cleared ON confrelid = cleared.oid WHERE contype = 'f'
    )
    SELECT oid::regclass::text FROM cleared
"""


@pytest.fixture(scope="session")
async def clear(sql: asyncpg.Connection) -> Callable[[], Awaitable[None]]:
    """A function that takes every user and task away, if there is one or was one: to ask takes a millisecond.

    TRUNCATE makes new files, for 8 to 25 ms. Few rows are deleted instead, for 1 ms, behind the same lock.
    """
    tables = [row[0] for row in await sql.fetch(WITH_CASCADE, CLEARED.split(", "))]
    rows = " OR ".join(f"EXISTS (SELECT FROM {table})" for table in tables)
    may_delete = [f"max(pg_relation_size(oid)) < {SMALL}", "current_setting('is_superuser') = 'on'"]
    which = f"SELECT {' AND '.join(may_delete)} FROM unnest($1::text[]::regclass[]) AS oid"
    ask = f"SELECT CASE WHEN (SELECT is_called FROM tasks_id_seq) OR {rows} THEN ({which}) END"
    truncate = f"TRUNCATE {', '.join(tables)} RESTART IDENTITY"
    steps = [
        *("BEGIN", f"LOCK {', '.join(tables)}", "SET LOCAL session_replication_role = replica"),  # no trigger
        *(f"DELETE FROM {table}" for table in tables),
        *("SELECT setval('tasks_id_seq', 1, false), setval('task_lists_id_seq', 1, false)", "COMMIT"),
    ]
    delete = "; ".join(steps)

    async def clear() -> None:
        are_few = await sql.fetchval(ask, tables)
        if are_few is not None:
            await sql.execute(delete if are_few else truncate)

    return clear


@pytest.fixture
async def clean(running: Litestar, clear: Callable[[], Awaitable[None]]) -> None:
    """No users, no tasks; ids start at 1."""
    await clear()


def token(user_id: Any = "ada", *, secret: str = SECRET, headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token for `user_id` that is valid for an hour, with claims added or, where None, left out."""
    everything = {"user_id": user_id, "exp": int(time.time()) + 3600, **claims}
    payload = {name: value for name, value in everything.items() if value is not None}
    return jwt.encode(payload, secret, "HS256", headers=headers)


def visitor(app: Litestar, **headers: str) -> httpx.AsyncClient:
    """Somebody in front of the application, who sends these headers with everything."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test", headers=headers)


@pytest.fixture
async def stranger(running: Litestar, clean: None) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody without a token."""
    async with visitor(running) as client:
        yield client


@pytest.fixture
async def ada(running: Litestar, clean: None) -> AsyncIterator[httpx.AsyncClient]:
    """Ada, with her token."""
    async with visitor(running, authorization=f"Bearer {token('ada', email='ada@example.com', name='Ada')}") as client:
        yield client


@pytest.fixture
async def bob(running: Litestar, clean: None) -> AsyncIterator[httpx.AsyncClient]:
    """Bob, with his token."""
    async with visitor(running, authorization=f"Bearer {token('bob', email='bob@example.com', name='Bob')}") as client:
        yield client


async def pieces_of(app: Litestar, path: str) -> tuple[list[int], int]:
    """The sizes of the pieces in which an answer is sent, and the length that it says it has."""
    sizes: list[int] = []
    length = 0
    unread: list[Any] = [{"type": "http.request", "body": b"", "more_body": False}]
    ended = asyncio.Event()

    async def receive() -> Any:
        if unread:
            return unread.pop()
        await ended.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        nonlocal length
        if message["type"] == "http.response.body":
            sizes.append(len(message.get("body", b"")))
            if not message.get("more_body", False):
                ended.set()
        else:
            length = int(dict(message["headers"])[b"content-length"])

    bare, _, query = path.partition("?")
    scope = {"type": "http", "method": "GET", "path": bare, "raw_path": bare.encode(), "query_string": query.encode()}
    scope |= {"http_version": "1.1", "scheme": "http", "headers": [], "client": ("192.0.2.1", 1), "state": {}}
    async with asyncio.timeout(10):
        await app(scope, receive, send)  # type: ignore[arg-type]
    return sizes, length


def unmeasured() -> dict[str, str]:
    """Our environment for a program of somebody else, of which coverage counts nothing."""
    return {name: value for name, value in os.environ.items() if name != "COVERAGE_PROCESS_CONFIG"}


def needs(program: str | None, what: str) -> None:
    """Skip a test whose program is not installed; in CI, where it has to be, fail."""
    if program is None:
        (pytest.fail if CI else pytest.skip)(f"{what} is not installed")
