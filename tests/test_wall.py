"""PostgreSQL's row-level security around the owners of tasks: it holds whatever a query says, and whatever its plan."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from litestar import Litestar
from piccolo.querystring import QueryString

from app import migrations
from app.database import Database, database
from app.settings import Settings
from app.statements import Statement
from app.tables import Task
from app.tasks import queries
from tests.conftest import SECRET
from tests.live.pgbouncer import PgBouncer
from tests.tasks.test_isolation import OWNERS, WithoutOwner

EVERYTHING = "SELECT id FROM tasks"
DOES_NOT_HOLD = "Row-level security does not hold for the login of DATABASE_URL: see docs/isolation.md."

# All but one way to a row, each in turn; and with helpers, if that may be.
PLANS = {
    "as it comes": [],
    "sequential scan": ["enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan"],
    "index scan": ["enable_seqscan", "enable_bitmapscan"],
    "bitmap scan": ["enable_seqscan", "enable_indexscan", "enable_indexonlyscan"],
    "no sort": ["enable_sort", "enable_incremental_sort"],
}


@pytest.fixture(params=[1, 20_000], ids=["small", "large"])
async def crowd(clean: None, sql: asyncpg.Connection, request: pytest.FixtureRequest) -> int:
    """Ada and Bob with a task each, 1 and 2, and tasks of other people."""
    await sql.execute(
        f"""
        INSERT INTO "user" (id, name, email) SELECT id, '', id || '@x' FROM unnest('{{ada,bob,eve}}'::text[]) AS id;
        INSERT INTO tasks (user_id, title) VALUES ('ada', 'hers'), ('bob', 'his');
        INSERT INTO tasks (user_id, title) SELECT 'eve', n FROM generate_series(1, {request.param}) AS n;
        ANALYZE tasks
        """
    )
    return request.param


@asynccontextmanager
async def forced(url: str, off: list[str]) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the pool makes them, to which some ways to rows are closed."""
    pretend = {"role": "tasks_app", "plan_cache_mode": "force_generic_plan", **dict.fromkeys(off, "off")}
    connection = await asyncpg.connect(url, server_settings=pretend)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("mutant", [False, True], ids=["as it is", "without its owner"])
async def test_a_statement_finds_its_owners_rows_and_no_others_whatever_the_plan(
    crowd: int, database_url: str, sql: asyncpg.Connection, plan: str, mutant: bool
) -> None:
    async with forced(database_url, PLANS[plan]) as connection:

        async def run(name: str, **values: Any) -> list[asyncpg.Record]:
            statement: Statement = getattr(queries, name)
            if mutant and name != "CREATE":
                statement = WithoutOwner(statement)
            prepared = await connection.prepare(statement.sql)
            whole = str(await connection.fetch(f"EXPLAIN {_literal(statement, values)}"))
            assert "One-Time Filter" in whole, whole
            return await prepared.fetch(*statement.bind({"title": "new", "description": None, **values}))

        for owner, mine, other in (("ada", 1, 2), ("bob", 2, 1)):
            assert [row["id"] for row in await run("LIST", owner=owner)] == [mine]
            for name in ("GET", "REPLACE", "FLIP"):
                assert [row["id"] for row in await run(name, owner=owner, task_id=mine)] == [mine]
                assert await run(name, owner=owner, task_id=other) == []
            assert await run("DELETE", owner=owner, task_id=other) == []
        assert (await run("CREATE", owner="ada"))[0]["user_id"] == "ada"
        assert [row["id"] for row in await run("DELETE", owner="bob", task_id=2)] == [2]

    untouched = "SELECT count(*) FROM tasks WHERE user_id = 'eve' AND title <> 'new' AND NOT completed"
    assert await sql.fetchval(untouched) == crowd


def _literal(statement: Statement, values: dict[str, Any]) -> str:
    text = statement.sql
    for place, value in enumerate(statement.bind({"title": "new", "description": None, **values}), 1):
        text = text.replace(f"${place}", "NULL" if value is None else f"'{value}'")
    return text


class TestTheService:
    async def test_it_asks_as_a_role_that_owns_nothing_and_is_no_superuser(self, running: Litestar) -> None:
        rows = await database.pool.run(
            """
            SELECT rolname, rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb,
                (SELECT count(*) FROM pg_class WHERE relowner = pg_roles.oid) AS owned
            FROM pg_roles WHERE rolname = current_user
            """,
            [],
        )
        assert [tuple(row) for row in rows] == [("tasks_app", False, False, False, False, False, 0)]

    @pytest.mark.parametrize("table", ["piccolo_user", "sessions", "migration"])
    async def test_what_is_not_its_business_is_closed_to_it(self, running: Litestar, table: str) -> None:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.pool.run(f"SELECT * FROM {table}", [])

    async def test_a_statement_that_does_not_say_for_whom_it_is_finds_nothing(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await ada.post("/api/tasks", json={"title": "x"})
        for _ in range(3):  # also where somebody has just been let in on that connection
            assert len((await ada.get("/api/tasks")).json()["data"]) == 1
            assert await database.pool.run(EVERYTHING, []) == []
            assert await database.pool.run("DELETE FROM tasks RETURNING id", []) == []
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 1

    async def test_the_admin_and_migrations_see_everybodys_and_leave_nothing_open_behind_them(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient
    ) -> None:
        for each in (ada, bob):
            await each.post("/api/tasks", json={"title": "x"})

        assert await Task.count() == 2
        assert len(await database.run_querystring(QueryString(EVERYTHING), in_pool=False)) == 2
        async with database.transaction():
            assert await Task.count() == 2
        assert await database.pool.run(EVERYTHING, []) == []
        assert (await database.pool.run("SELECT current_user", []))[0][0] == "tasks_app"


Login = Callable[..., Any]


@pytest.fixture
async def login(sql: asyncpg.Connection, postgres: Callable[[str], str]) -> AsyncIterator[Login]:
    """A function that makes a login which is nobody special, and a migrated database of its own; returns the URL."""
    made: list[str] = []

    async def make(*grants: str) -> str:
        name = f"tasks_test_{secrets.token_hex(6)}"
        made.append(name)
        await sql.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")
        for grant in grants:
            await sql.execute(grant.format(name))
        await sql.execute(f"CREATE DATABASE {name} OWNER {name}")
        url = urlsplit(postgres(name))
        url = url._replace(netloc=f"{name}:{name}@{url.netloc.rpartition('@')[2]}").geturl()
        await migrations.migrate(configured(url))
        return url

    yield make
    for name in made:
        await sql.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await sql.execute(f"DROP ROLE {name}")


def configured(url: str) -> Settings:
    return Settings(database_url=url, jwt_secrets=(SECRET,), pool_max=4)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    it = Database()
    await it.open(configured(url))
    async with asyncio.timeout(20):
        while not it.ready:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    yield it
    await it.close()


async def check(service: Database) -> None:
    """Two owners at once over a few connections, each time with a query that has lost its owner."""
    people = [f"{n}" for n in range(2)]
    for owner in people:
        await service.run_querystring(
            QueryString('INSERT INTO "user" (id, name, email) VALUES ({}, {}, {})', owner, "", owner)
        )
        await service.fetch(queries.CREATE, owner=owner, title="x", description=None)

    async def look(owner: str) -> None:
        rows = await service.fetch(WithoutOwner(queries.LIST), owner=owner)
        assert [row["user_id"] for row in rows] == [owner]
        assert len(await service.fetch(queries.FLIP, owner=owner, task_id=rows[0]["id"])) == 1
        for name in OWNERS[1:]:
            values = {"task_id": 2 if rows[0]["id"] == 1 else 1, "title": "mine now", "description": None}
            assert await service.fetch(WithoutOwner(getattr(queries, name)), owner=owner, **values) == []

    await asyncio.gather(*(look(owner) for owner in people * 20))
    assert await service.pool.run(EVERYTHING, []) == []
    assert len(await service.run_querystring(QueryString(EVERYTHING))) == len(people)


class TestOtherLogins:
    async def test_an_owner_of_the_tables_who_may_make_no_roles_is_held_too(
        self, login: Login, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with opened(await login()) as service:
            assert (await service.pool.run("SELECT current_user = session_user", []))[0][0]
            await check(service)
        assert DOES_NOT_HOLD not in caplog.messages

    async def test_who_is_let_into_the_role_takes_it_on(self, login: Login) -> None:
        async with opened(await login("GRANT tasks_app TO {}")) as service:
            assert (await service.pool.run("SELECT current_user", []))[0][0] == "tasks_app"
            await check(service)

    async def test_through_pgbouncer_it_holds_for_who_logs_in(
        self, login: Login, caplog: pytest.LogCaptureFixture
    ) -> None:
        url = await login()
        pooler = PgBouncer(url, "default_pool_size = 2")
        pooler.start()
        try:
            async with opened(pooler.url(url)) as service:
                await check(service)
        finally:
            pooler.end()
        assert DOES_NOT_HOLD not in caplog.messages

    async def test_where_it_cannot_hold_the_log_says_so(self, login: Login, caplog: pytest.LogCaptureFixture) -> None:
        async with opened(await login("ALTER ROLE {} BYPASSRLS")):
            pass
        assert DOES_NOT_HOLD in caplog.messages

    async def test_where_the_table_of_users_was_made_anew_the_role_is_left_off(self, login: Login) -> None:
        url = await login("GRANT tasks_app TO {}")
        connection = await asyncpg.connect(url)
        await connection.execute('REVOKE ALL ON "user" FROM tasks_app')
        await connection.close()
        async with opened(url) as service:
            await check(service)
