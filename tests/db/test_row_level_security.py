"""PostgreSQL's row-level security around the owners of tasks: it holds whatever a query says, and whatever its plan."""

import asyncio
import re
import secrets
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
from litestar import Litestar
from piccolo.querystring import QueryString

from app.config.settings import Settings
from app.db import migrations, roles
from app.db.engine import Database, database
from app.db.piccolo_engine import PiccoloEngine, engine
from app.db.statements import Statement
from app.db.tables import Task
from app.tasks import creation, queries
from app.tasks.listing import queries as listing_queries
from app.tasks.search import words
from tests.conftest import SECRET
from tests.live.pgbouncer import PgBouncer
from tests.statements import ELSEWHERE, OF_OWNER, declared, without_owner

EVERYTHING = "SELECT id FROM tasks"
DOES_NOT_HOLD = "Row-level security does not hold for the login of DATABASE_URL: see docs/isolation.md."

WHATEVER: dict[str, Any] = {
    "title": "new",
    "description": "hers or his",
    "sets_description": False,
    "completed": None,
    "versions": None,
    "wanted": True,
    "by": None,
    "place": 0,
    "before": 2**53,
    "then": 1,
    "key": "a key",
    "fingerprint": b"1",
    "answer": "[]",
    "count": 1,
    "added": 1,
    "max_tasks": 10,
    "known": "{}",
    "indexed": 0,
    "limit": 10,
    "labels": "[]",
    "new_label": '[["x", "x"]]',
    "label_key": "x",
    "label_id": 1,
    "name": "hers",
    "other": None,
    "merged": None,
    "part": 10,
    "color": None,
    "version": 1,
    "first": 1,
    "scope": words.scope("ada"),
    "wanted_words": f"{words.scope('bob')}secret | {words.scope('ada')}hers",
    "kind": "words",
    "worker": 1,
    "ended": False,
    "entries": "[]",
    "look_at": 10,
    "index_at": "infinity",
    "index_at_id": 2**62,
    "inline": 1000,
    "content": '{"title": "hers", "to_title": "hers"}',
    "stamped": datetime(2026, 11, 30, tzinfo=UTC),
    "at_version": 2**63 - 1,
    "at": None,
    "at_id": None,
    "created_after": None,
    "created_before": None,
    "updated_after": None,
    "names": '["1", "2", "3", "4"]',
    "archived": None,
    "max_lists": 0,
    "new_uid": None,
    "since": 0,
    **dict.fromkeys(("sets_color", "sets_position"), False),
    **dict.fromkeys(("color", "position")),
    **dict.fromkeys(("completed_after", "due_before", "due_after", "due", "start_before", "priority_min", "label")),
}
# Of the 200 pages, those that are made of different parts.
PAGES = {"-created_at", "title follows counts", "relevance searches follows counts", "-created_at adds_up"}
# These return no task, or are asked for none.
TELL_NO_TASK = {
    *(
        "batch.queries.RAISE_REVISION",
        "batch.queries.BEGIN_REVISION",
        "batch.queries.STORED",
        "batch.queries.FORGET",
        "batch.queries.LENGTH",
        "batch.queries.EXTRAS",
        "queries.EXTRA",
        "auth.idempotency.STORE_KEY",
        "auth.idempotency.RECALL",
        "batch.labels.KEYS_OF_LABELS",
    ),
    *("by_uid.ID_OF", "batch.queries.IDS_OF", "in_list.LIST_ID_OF", "batch.in_lists.NAMED_LISTS"),
    *("batch.in_lists.ARE_IN_LISTS", "batch.queries.STILL_THERE", "history.queries.REFERRED"),
    *(f"lists.moving.{name}" for name in ("TASKS_TO_TRASH", "TASKS_TO_INBOX", "TASKS_OUT_OF_TRASH", "UNLINK_TASKS")),
    *("lists.moving.DELETE_TASKS", "lists.purging.UNLINK_TASKS_OF_TRASHED"),
    *(f"lists.queries.{name}" for name in ("TRASH_LIST", "DELETE_LIST", "DELETE_TRASHED_LISTS", "HOLD_AS_IT_IS")),
    *(f"labels.queries.{name}" for name in ("LIST_LABELS", "HOLD_REVISION", "THAT_LABEL", "COUNT_LABELLED", "RELABEL")),
    *("labels.queries.SET_LABEL", "labels.queries.DROP_LABEL", "labels.one.ONE_LABEL", "labels.history.LABEL_HISTORY"),
    *(f"labels.of_task.TAKE_LABEL{how}" for how in ("", " once", " together", " once together")),  # it has none
    *("queries.DELETE", "queries.DELETE once", "queries.DELETE together", "queries.DELETE once together"),
    *("queries.DELETE_FOR_GOOD", "queries.DELETE_FOR_GOOD once"),
    *(
        "batch.queries.CHANGE_TASKS_BRIEFLY",
        "batch.queries.CREATE_TASKS_BRIEFLY",
        "batch.queries.SHOW_BRIEFLY",
        "queries.VERSION",
        "listing.queries.STATE_OF_LIST",
    ),
    *(
        "search.index_queries.CLAIM",
        "search.index_queries.STORE_WORDS",
        "search.index_queries.STORE_TITLES",
        "costs.SIZE_OF_ALL",
    ),
    *("trash.queries.PURGE", "trash.queries.PURGE once", "trash.queries.EMPTY", "trash.queries.EMPTY once"),
    *("listing.queries._page title follows counts", "listing.queries._page relevance searches follows counts"),
}
STATEMENTS = {
    name: each
    for name, each in declared().items()
    if not name.startswith(ELSEWHERE) and ("_page" not in name or name.partition(" ")[2] in PAGES)
}

# All but one way to a row, each in turn; and with helpers, if that may be.
PLANS = {
    "as it comes": [],
    "sequential scan": ["enable_indexscan", "enable_indexonlyscan", "enable_bitmapscan"],
    "index scan": ["enable_seqscan", "enable_bitmapscan"],
    "bitmap scan": ["enable_seqscan", "enable_indexscan", "enable_indexonlyscan"],
    "no sort": ["enable_sort", "enable_incremental_sort"],
}


@pytest.fixture(params=[1, 20_000], ids=["small", "large"])
async def many_owners(clean: None, sql: asyncpg.Connection, request: pytest.FixtureRequest) -> None:
    """Ada and Bob with a task each, 1 and 2, and one each in the trash, 3 and 4; and tasks of other people."""
    await sql.execute(
        f"""
        INSERT INTO "user" (id, name, email) SELECT id, '', id || '@x' FROM unnest('{{ada,bob,eve}}'::text[]) AS id;
        INSERT INTO tasks (user_id, title)
        VALUES ('ada', 'hers'), ('bob', 'a secret'), ('ada', 'hers'), ('bob', 'a secret');
        UPDATE tasks SET deleted_at = CASE WHEN id > 2 THEN now() END, description = 'hers or his',
            uid = lpad(id::text, 32, '0')::uuid;
        INSERT INTO task_lists (user_id, name)
        VALUES ('ada', 'hers'), ('bob', 'a secret'), ('ada', 'hers'), ('bob', 'a secret');
        UPDATE task_lists SET deleted_at = CASE WHEN id > 2 THEN now() END, uid = lpad(id::text, 32, '0')::uuid;
        UPDATE tasks SET list_id = 2 WHERE id = 2;
        INSERT INTO idempotency_keys (user_id, key, fingerprint, answer) VALUES ('bob', 'a key', '1', 'a secret');
        INSERT INTO tasks (user_id, title, version)
        SELECT 'eve', 'a secret', n FROM generate_series(1, {request.param}) AS n;
        ANALYZE
        """
    )


async def role_of(url: str) -> str:
    """Whom the service asks as in the database there."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(roles.NAME)
    finally:
        await connection.close()


@asynccontextmanager
async def forced(url: str, off: list[str]) -> AsyncIterator[asyncpg.Connection]:
    """A connection as the pool makes them, to which some ways to rows are closed."""
    pretend = {"role": await role_of(url), "plan_cache_mode": "force_generic_plan", **dict.fromkeys(off, "off")}
    connection = await asyncpg.connect(url, server_settings=pretend)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [False, True], ids=["as they are", "without their owner"])
async def test_a_statement_finds_its_owners_rows_and_no_others_whatever_the_plan(
    many_owners: None, database_url: str, mutant: bool
) -> None:
    for off in PLANS.values():
        async with forced(database_url, off) as connection:
            async with connection.transaction():
                before = await what_is_bobs(connection)
            for name, whole in STATEMENTS.items():
                loses = mutant and OF_OWNER.search(whole.sql)
                statement = without_owner(whole, OF_OWNER) if loses else whole
                told = str(await connection.fetch(f"EXPLAIN {_literal(statement, about(1))}"))
                assert "One-Time Filter" in told, (name, told)
                hers = 0
                for task_id in (1, 2, 3, 4):
                    found, after = await attempt(connection, statement, task_id, behind_bobs=bool(whole.group_sql))
                    assert "secret" not in str(found), name
                    assert after == before, name
                    hers += "hers" in str(found) or "ada" in str(found)
                assert bool(hers) == (name not in TELL_NO_TASK), name


def about(task_id: int) -> dict[str, Any]:
    """What Ada's statements are asked with."""
    rows = f'[{{"number": 99, "task_id": {task_id}, "title": "x", "completed": true, "flips": true}}]'
    states = f'[{{"id": {task_id}, "version": 1, "place": 0}}]'
    uid = f"{uuid.UUID(int=task_id)}"  # whose digits are decimal here
    those = {
        "task_id": task_id,
        "list_id": task_id,
        "list": task_id,
        **dict.fromkeys(("ids", "list_ids", "label_ids"), f"{{{task_id}}}"),
        "uid": uid,
        "uids": f"{{{uid}}}",
    }
    return {**WHATEVER, "owner": "ada", **those, "rows": rows, "states": states}


async def attempt(
    connection: asyncpg.Connection, statement: Statement, task_id: int, *, behind_bobs: bool
) -> tuple[list[asyncpg.Record], list[Any]]:
    """Ask it for Ada, and take it back. Returns what it finds, and what is Bob's after it.

    One that can be in a batch may come behind one of Bob's, in the same transaction.
    """
    transaction = connection.transaction()
    await transaction.start()
    try:
        if behind_bobs:
            await connection.execute("SELECT set_config('tasks.owner', 'bob', true)")
        found = await connection.fetch(statement.sql, *statement.bind(about(task_id)))
        return found, await what_is_bobs(connection)
    finally:
        await transaction.rollback()


async def what_is_bobs(connection: asyncpg.Connection) -> list[Any]:
    tables = ("tasks", "task_versions", "revisions", "idempotency_keys", "task_lists", "task_list_versions")
    await connection.execute("SELECT set_config('tasks.owner', 'bob', true)")
    bobs = [await connection.fetch(f"SELECT * FROM {table} WHERE user_id = 'bob'") for table in tables]
    await connection.execute("SELECT set_config('tasks.owner', '', true)")
    return bobs


def _literal(statement: Statement, values: dict[str, Any]) -> str:
    def literal(value: Any) -> str:
        value = value.decode() if isinstance(value, bytes) else value
        return "NULL" if value is None else f"'{value}'"

    bound = [literal(value) for value in statement.bind(values)]
    return re.sub(r"\$(\d+)", lambda place: bound[int(place[1]) - 1], statement.sql)


class TestTheService:
    async def test_it_asks_as_a_role_that_owns_nothing_and_is_no_superuser(self, running: Litestar, role: str) -> None:
        rows = await database.pool.run(
            """
            SELECT rolname, rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb,
                (SELECT count(*) FROM pg_class WHERE relowner = pg_roles.oid) AS owned
            FROM pg_roles WHERE rolname = current_user
            """,
            [],
        )
        assert [tuple(row) for row in rows] == [(role, False, False, False, False, False, 0)]

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
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, role: str
    ) -> None:
        for each in (ada, bob):
            await each.post("/api/tasks", json={"title": "x"})

        assert await Task.count() == 2
        assert len(await engine.run_querystring(QueryString(EVERYTHING), in_pool=False)) == 2
        async with engine.transaction():
            assert await Task.count() == 2
        assert await database.pool.run(EVERYTHING, []) == []
        assert (await database.pool.run("SELECT current_user", []))[0][0] == role


class TestWordsOfTasks:
    """Of the words, a policy shows the owner's alone; and a function finds them, which asks for the owner by itself."""

    FOUND = "SELECT task_id FROM public.tasks_found($1, $2, $3, true)"
    WANTED = f"'{words.scope('ada')}secret'"

    @pytest.fixture
    async def as_app(self, ada: httpx.AsyncClient, database_url: str) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the service's role, after Ada has searched and sorted her tasks, in a transaction."""
        await ada.post("/api/tasks", json={"title": "a secret"})
        assert len((await ada.get("/api/tasks?q=secret&sort=title")).json()["data"]) == 1
        async with forced(database_url, []) as connection, connection.transaction():
            yield connection

    @pytest.mark.parametrize("table", ["task_words", "task_titles", "task_indexes"])
    @pytest.mark.parametrize("asker", ["bob", "", None])
    async def test_another_owner_neither_sees_nor_moves_what_is_in_it(
        self, as_app: asyncpg.Connection, sql: asyncpg.Connection, table: str, asker: str | None
    ) -> None:
        assert await sql.fetchval(f"SELECT count(*) FROM {table}")
        if asker is not None:
            await as_app.execute("SELECT set_config('tasks.owner', $1, true)", asker)

        assert await as_app.fetch(f"SELECT * FROM {table}") == []
        assert await as_app.execute(f"UPDATE {table} SET user_id = 'bob'") == "UPDATE 0"
        assert await as_app.execute(f"DELETE FROM {table}") == "DELETE 0"
        another = {
            "task_words": "9, 'ada', 1, 1, 'x'",
            "task_titles": "9, 'ada', 1, 1, 'x'",
            "task_indexes": "'ada', 'x', 1, 1, now(), 1, 1, now()",
        }
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="row-level security"):
            await as_app.execute(f"INSERT INTO {table} VALUES ({another[table]})")

    @pytest.mark.parametrize("asker", ["bob", "", None])
    async def test_the_function_finds_nothing_for_another_owner(
        self, as_app: asyncpg.Connection, asker: str | None
    ) -> None:
        if asker is not None:
            await as_app.execute("SELECT set_config('tasks.owner', $1, true)", asker)
        assert await as_app.fetch(self.FOUND, "ada", words.scope("ada"), self.WANTED) == []
        assert await as_app.fetch(self.FOUND, asker, words.scope("ada"), self.WANTED) == []

    async def test_nothing_that_a_caller_names_alike_is_taken_for_what_it_uses(
        self, as_app: asyncpg.Connection, sql: asyncpg.Connection
    ) -> None:
        await as_app.execute("CREATE TEMP TABLE task_words (task_id bigint, user_id text, words tsvector)")
        for function in (
            "ts_rank(a tsvector, b tsquery) RETURNS real",
            "current_setting(a text, b boolean) RETURNS text",
        ):
            await as_app.execute(
                f"""CREATE FUNCTION pg_temp.{function} LANGUAGE plpgsql AS
                    $$ BEGIN RAISE 'called as %', current_user; END $$"""
            )
        await as_app.execute("SET LOCAL search_path = pg_temp, public, pg_catalog")
        await as_app.execute("SELECT pg_catalog.set_config('tasks.owner', 'ada', true)")

        found = await as_app.fetch(self.FOUND, "ada", words.scope("ada"), self.WANTED)
        assert found == await sql.fetch("SELECT id FROM tasks")

    async def test_whoever_calls_them_they_ask_as_their_owner_and_look_in_its_schema_first(
        self, sql: asyncpg.Connection
    ) -> None:
        rows = await sql.fetch(
            """
            SELECT proname, proconfig[1], has_function_privilege('public', oid, 'EXECUTE')
            FROM pg_proc WHERE prosecdef ORDER BY 1
            """
        )
        assert [tuple(row) for row in rows] == [
            ("tasks_forget_words", "search_path=public, pg_temp", False),
            ("tasks_found", "search_path=public, pg_temp", False),
        ]


Login = Callable[..., Any]


@pytest.fixture
async def login(sql: asyncpg.Connection, postgres: Callable[[str], str]) -> AsyncIterator[Login]:
    """A function that makes a login which is nobody special, and a migrated database of its own; returns the URL."""
    made: list[str] = []

    async def make(*grants: str, joins: bool = False) -> str:
        name = f"tasks_test_{secrets.token_hex(6)}"
        made.append(name)
        await sql.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'")
        for grant in grants:
            await sql.execute(grant.format(name))
        await sql.execute(f"CREATE DATABASE {name} OWNER {name}")
        if joins:  # as docs/isolation.md says
            numbers = await sql.fetchrow(
                "SELECT oid, 'public'::regnamespace::oid AS schema FROM pg_database WHERE datname = $1", name
            )
            role = "tasks_app_{oid}_{schema}".format(**numbers)
            await sql.execute(f"CREATE ROLE {role} NOLOGIN; GRANT {role} TO {name}")
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
    """Two owners concurrently over a few connections, each time with a query that has lost its owner."""
    people = [f"{n}" for n in range(2)]
    for owner in people:
        await PiccoloEngine(service).run_querystring(
            QueryString('INSERT INTO "user" (id, name, email) VALUES ({}, {}, {})', owner, "", owner)
        )
        content = {"title": "x", "description": None, "completed": False, "by": None, "max_tasks": 0}
        await service.fetch(creation.CREATE, owner=owner, **content)

    async def look(owner: str) -> None:
        rows = await service.fetch(without_owner(listing_queries.ALL), **WHATEVER | {"owner": owner})
        assert [row["user_id"] for row in rows[1:]] == [owner]
        mine, other = rows[1]["id"], 3 - rows[1]["id"]
        values = {**WHATEVER, "owner": owner, "title": "mine now", "ids": f"{{{other}}}"}
        assert len(await service.fetch(queries.COMPLETE, **values, task_id=mine)) == 1
        for name in (
            "queries.GET",
            "queries.PATCH",
            "queries.DELETE",
            "history.queries.HISTORY",
            "batch.queries.SHOW",
            "trash.queries.PURGE",
        ):
            assert await service.fetch(without_owner(STATEMENTS[name]), **values, task_id=other) == []

    await asyncio.gather(*(look(owner) for owner in people * 20))
    assert await service.pool.run(EVERYTHING, []) == []
    assert len(await PiccoloEngine(service).run_querystring(QueryString(EVERYTHING))) == len(people)


class TestOtherLogins:
    @pytest.mark.slow
    async def test_an_owner_of_the_tables_who_may_make_no_roles_is_held_too(
        self, login: Login, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with opened(await login()) as service:
            assert (await service.pool.run("SELECT current_user = session_user", []))[0][0]
            await check(service)
        assert DOES_NOT_HOLD not in caplog.messages

    @pytest.mark.slow
    async def test_who_is_let_into_the_role_takes_it_on(self, login: Login) -> None:
        url = await login(joins=True)
        async with opened(url) as service:
            assert (await service.pool.run("SELECT current_user", []))[0][0] == await role_of(url)
            await check(service)

    @pytest.mark.slow
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

    @pytest.mark.slow
    async def test_where_it_cannot_hold_the_log_says_so(self, login: Login, caplog: pytest.LogCaptureFixture) -> None:
        async with opened(await login("ALTER ROLE {} BYPASSRLS")):
            pass
        assert DOES_NOT_HOLD in caplog.messages

    @pytest.mark.slow
    async def test_where_the_table_of_users_was_made_anew_the_role_is_left_off(self, login: Login) -> None:
        url = await login(joins=True)
        connection = await asyncpg.connect(url)
        await connection.execute(f'REVOKE ALL ON "user" FROM {await role_of(url)}')
        await connection.close()
        async with opened(url) as service:
            await check(service)
