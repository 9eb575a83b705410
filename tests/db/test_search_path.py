"""DATABASE_SCHEMA: all of ours is made and found in that schema, and nothing in another one is taken for ours."""

import asyncio
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
import pytest
from piccolo.apps.migrations.commands.backwards import run_backwards
from piccolo.apps.migrations.commands.base import MigrationResult

from app.config import settings
from app.config.settings import ROOT, Settings
from app.db import connect, migrations, migrator, occupied, roles, search_path, user_table
from app.db.engine import Database, database
from app.db.errors import describe, explain
from app.db.piccolo_engine import PiccoloEngine, engine
from app.db.readiness import ReadinessProbe
from app.server import serve
from app.tasks import creation
from app.tasks.listing import queries as listing_queries
from tests import forkserver
from tests.conftest import SECRET
from tests.db.test_migrations import BETTER_AUTH, connected
from tests.db.test_row_level_security import WHATEVER
from tests.db.test_row_level_security import check as check_row_security
from tests.live.pgbouncer import PgBouncer

SCHEMA = "tasks_api"
DECOYS = """
    CREATE TABLE tasks (id serial PRIMARY KEY, user_id text, title varchar(200) NOT NULL);
    INSERT INTO tasks (user_id, title) VALUES ('u1', 'of before');
    CREATE TABLE sessions (id int);
    CREATE TABLE revisions (id int);
    CREATE TABLE migration (id int);
    CREATE TABLE rate_limits (id int);
"""
# Whatever there is in a schema, and who may do what with it.
EVERYTHING = """
    SELECT 'class ' || c.oid || relname || coalesce(relacl::text, '') || relowner FROM pg_class AS c
    WHERE relnamespace = $1::regnamespace
    UNION ALL SELECT 'function ' || p.oid || proname || coalesce(proacl::text, '') || coalesce(proconfig::text, '')
    FROM pg_proc AS p WHERE pronamespace = $1::regnamespace
    UNION ALL SELECT 'type ' || typname FROM pg_type WHERE typnamespace = $1::regnamespace
    UNION ALL SELECT 'acl ' || coalesce(nspacl::text, '') FROM pg_namespace WHERE oid = $1::regnamespace
    UNION ALL SELECT 'trigger ' || tgname FROM pg_trigger JOIN pg_class AS c ON c.oid = tgrelid
    WHERE relnamespace = $1::regnamespace AND NOT tgisinternal
    ORDER BY 1
"""
COUNT = "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace($1) AND relkind = 'r'"

pytestmark = pytest.mark.filterwarnings("ignore:We recommend giving your table a different name")


def configured(url: str, schema: str | None = SCHEMA, **changes: Any) -> Settings:
    return Settings(database_url=url, database_schema=schema, jwt_secrets=(SECRET,), pool_max=4, **changes)


async def everything(sql: asyncpg.Connection, schema: str = "public") -> list[str]:
    return [row[0] for row in await sql.fetch(EVERYTHING, f'"{schema}"')]


@asynccontextmanager
async def opened(chosen: Settings) -> AsyncIterator[Database]:
    it = Database()
    await it.open(chosen)
    try:
        async with asyncio.timeout(20):
            while not it.ready:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        yield it
    finally:
        await it.close()


async def add(service: Database, owner: str, title: str) -> int:
    content = {"title": title, "description": None, "completed": False, "by": None, "max_tasks": 0}
    return (await service.fetch(creation.CREATE, owner=owner, **content))[0]["id"]


async def add_user(service: Database, user_id: str) -> None:
    values = f"('{user_id}', '', '{user_id}@x')"
    await PiccoloEngine(service).run_ddl(f'INSERT INTO "user" (id, name, email) VALUES {values}')


async def rolled_back(chosen: Settings) -> None:
    """Take all of our migrations back, as `just rollback` does one by one. The environment says which installation."""
    assert chosen == configured(settings.current().database_url or "", settings.current().database_schema)

    async def steps(connection: asyncpg.Connection) -> MigrationResult:
        await migrator.backwards(connection)
        return await run_backwards("tasks", "all", auto_agree=True)

    await migrator.migrate(steps)
    assert await migrations.newest(chosen) is None


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch, new_database: Callable[[], str]) -> Settings:
    """An empty database and a schema in it: what the environment says, too."""
    url = new_database()
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setenv("DATABASE_SCHEMA", SCHEMA)
    monkeypatch.setattr(database, "ready", False)
    settings.current.cache_clear()
    yield configured(url)  # type: ignore[misc]
    monkeypatch.undo()
    settings.current.cache_clear()


class TestMigrating:
    @pytest.mark.slow
    async def test_it_makes_the_schema_and_everything_in_it_and_nothing_in_public(self, chosen: Settings) -> None:
        async with connected(chosen.database_url or "") as sql:
            before = await everything(sql)
            assert await migrations.migrate(chosen) != ""
            assert await everything(sql) == before
            # Three sequences less, and "user" more.
            assert await sql.fetchval(COUNT, SCHEMA) == len(occupied.TABLE_NAMES) - 2
            paths = await sql.fetch(
                "SELECT DISTINCT proconfig::text FROM pg_proc WHERE pronamespace = $1::regnamespace", SCHEMA
            )
            assert [row[0] for row in paths] == ['{"search_path=tasks_api, pg_temp"}']
        assert await migrations.migrate(chosen) == ""

    @pytest.mark.slow
    async def test_backwards_it_takes_all_of_it_away_and_goes_forwards_again(self, chosen: Settings) -> None:
        async with connected(chosen.database_url or "") as sql:
            await sql.execute(DECOYS)
            await migrations.migrate(chosen)
            before, ours = await everything(sql), await sql.fetchval(COUNT, SCHEMA)
            await rolled_back(chosen)
            assert await everything(sql) == before
            assert await sql.fetchval(COUNT, SCHEMA) == 3  # the list of migrations, and the staff's logins
            await migrations.migrate(chosen)
            assert await sql.fetchval(COUNT, SCHEMA) == ours
            assert await everything(sql) == before

    @pytest.mark.slow
    async def test_tables_of_our_names_in_public_stay_as_they_are(self, chosen: Settings) -> None:
        async with connected(chosen.database_url or "") as sql:
            await sql.execute(BETTER_AUTH + DECOYS)
            assert await migrations.newest(chosen) is None
            assert (await migrations.lacks(chosen)).startswith("The database lacks ")
            await migrations.migrate(chosen)
            assert await sql.fetchval(
                "SELECT confrelid::regclass::text FROM pg_constraint WHERE conname = 'tasks_user_id_fkey'"
            ) in ('"user"', 'public."user"')
            assert await sql.fetchval("SELECT to_regclass('tasks_api.\"user\"') IS NULL")
            assert await sql.fetchval("SELECT count(*) FROM tasks") == 1
            async with opened(chosen) as service:
                await add(service, "u1", "of now")
                found = await service.fetch(listing_queries.ALL, **WHATEVER | {"owner": "u1"})
                assert [row["title"] for row in found[1:]] == ["of now"]

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["Tasks", "to-do", "möbel", "public", "select"])
    async def test_whatever_its_name(self, chosen: Settings, name: str) -> None:
        chosen = configured(chosen.database_url or "", name)
        await migrations.migrate(chosen)
        assert await migrations.migrate(chosen) == ""
        async with opened(chosen) as service:
            await add_user(service, "ada")
            await add(service, "ada", "x")
        async with connected(chosen.database_url or "") as sql:
            assert await sql.fetchval(
                "SELECT relnamespace::regnamespace::text FROM pg_class WHERE relname = 'tasks'"
            ) in (
                name,
                f'"{name}"',
            )

    @pytest.mark.slow
    async def test_who_may_not_make_it_is_told_what_to_say(self, chosen: Settings) -> None:
        async with login(chosen) as (theirs, sql, name):
            with pytest.raises(migrations.MigrationError) as raised:
                await migrations.migrate(theirs)
            statement = f'CREATE SCHEMA "{SCHEMA}" AUTHORIZATION {name};'
            assert f"{raised.value}" == (
                f'Nothing was migrated: this user may not make the schema "{SCHEMA}". Its owner, or a superuser, says:'
                f" {statement}"
            )
            await sql.execute(f"CREATE SCHEMA {SCHEMA}")
            with pytest.raises(migrations.MigrationError) as raised:
                await migrations.migrate(theirs)
            assert f"{raised.value}".endswith(f'says: GRANT USAGE, CREATE ON SCHEMA "{SCHEMA}" TO {name};')
            assert await sql.fetchval(COUNT, "public") == 0
            await sql.execute(f"GRANT USAGE, CREATE ON SCHEMA {SCHEMA} TO {name}")
            await migrations.migrate(theirs)

    @pytest.mark.slow
    async def test_of_several_concurrently_one_makes_it(self, chosen: Settings) -> None:
        told = await asyncio.gather(*(migrations.migrate(chosen) for _ in range(4)))
        assert sum(bool(each) for each in told) >= 1
        assert await migrations.lacks(chosen) == ""


@asynccontextmanager
async def login(chosen: Settings, grants: str = "") -> AsyncIterator[tuple[Settings, asyncpg.Connection, str]]:
    """A login that is nobody special in somebody else's database; and a connection of that somebody's."""
    name = f"tasks_test_{secrets.token_hex(6)}"
    url = urlsplit(chosen.database_url or "")
    async with connected(url.geturl()) as sql:
        await sql.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{name}'; {grants.format(name)}")
        theirs = url._replace(netloc=f"{name}:{name}@{url.netloc.rpartition('@')[2]}").geturl()
        try:
            yield configured(theirs), sql, name
        finally:
            await sql.execute(f"DROP OWNED BY {name} CASCADE; DROP ROLE {name}")


class TestWhereItLooks:
    @pytest.mark.slow
    async def test_there_first_and_then_where_the_login_the_database_or_the_url_say(self, chosen: Settings) -> None:
        await migrations.migrate(chosen)
        url = chosen.database_url or ""
        async with connected(url) as sql:
            await sql.execute("CREATE SCHEMA other")
            name = await sql.fetchval("SELECT current_database()")
            me = await sql.fetchval("SELECT quote_ident(current_user)")
            assert await path_of(chosen) == f'"tasks_api", {me}, public'
            await sql.execute(f"ALTER DATABASE {name} SET search_path = other, public")
            assert await path_of(chosen) == '"tasks_api", other, public'
            options = configured(f"{url}&options={quote('-c search_path=other')}")
            assert await path_of(options) == '"tasks_api", other'
            await sql.execute(f"ALTER DATABASE {name} SET search_path = ''")
            assert (await path_of(chosen)).startswith('"tasks_api"')
            assert await migrations.migrate(chosen) == ""
            assert await everything(sql, "other") == ["acl "]

    @pytest.mark.slow
    @pytest.mark.parametrize("schema", [None, SCHEMA])
    async def test_a_schema_that_has_the_name_of_the_login_is_found_by_the_role_too(
        self, chosen: Settings, schema: str | None
    ) -> None:
        async with login(chosen, "ALTER ROLE {0} SUPERUSER; CREATE SCHEMA {0}") as (theirs, sql, name):
            theirs = configured(theirs.database_url or "", schema)
            await migrations.migrate(theirs)
            assert await sql.fetchval(COUNT, schema or name) == len(occupied.TABLE_NAMES) - 2
            async with opened(theirs) as service:
                assert (await service.pool.run("SELECT current_user::text", []))[0][0].startswith("tasks_app_")
                assert len(await service.fetch(listing_queries.ALL, **WHATEVER | {"owner": "u1"})) == 1
                paths = await service.pool.run("SELECT current_setting('search_path')", [])
            assert paths == [(", ".join([*([f'"{schema}"'] if schema else []), name, "public"]),)]

    @pytest.mark.slow
    async def test_what_is_made_anew_beneath_a_service_is_no_database_of_its_own(self, chosen: Settings) -> None:
        url = chosen.database_url or ""
        async with connected(url) as sql:
            await sql.execute("CREATE TABLE rate_limits (id int)")
            await migrations.migrate(chosen)
            readiness = ReadinessProbe(chosen)
            await readiness.check()
            await sql.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
            await readiness.close()
            readiness = ReadinessProbe(chosen)
            with pytest.raises(ConnectionError):
                await readiness.check()
            await readiness.close()
            # Nor does the admin look into another schema.
            await sql.execute("CREATE TABLE piccolo_user (id serial, username text)")
            with pytest.raises(asyncpg.UndefinedTableError):
                await engine.run_ddl("SELECT * FROM piccolo_user")

    @pytest.mark.slow
    async def test_a_schema_that_is_dropped_while_a_service_starts_is_missed(self, chosen: Settings) -> None:
        await migrations.migrate(chosen)
        it = await connect.open_pool(chosen)
        async with connected(chosen.database_url or "") as sql:
            await sql.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
        with pytest.raises(search_path.NotFirst):
            await connect.begin(it, chosen)
        await it.close()

    @pytest.mark.slow
    async def test_row_level_security_holds(self, chosen: Settings) -> None:
        await migrations.migrate(chosen)
        async with opened(chosen) as service:
            assert (await service.pool.run("SELECT current_user::text", []))[0][0].startswith("tasks_app_")
            await check_row_security(service)

    @pytest.mark.slow
    async def test_a_table_of_users_in_a_schema_that_is_closed_is_opened_to_the_role(self, chosen: Settings) -> None:
        url = chosen.database_url or ""
        async with connected(url) as sql:
            name = await sql.fetchval("SELECT current_database()")
            await sql.execute(f"CREATE SCHEMA auth; ALTER DATABASE {name} SET search_path = auth")
        async with connected(url) as sql:
            await sql.execute(BETTER_AUTH)
            await migrations.migrate(chosen)
            assert await migrations.migrate(chosen) == ""
            async with opened(chosen) as service:
                assert (await service.pool.run("SELECT current_user::text", []))[0][0].startswith("tasks_app_")
                await add(service, "u1", "x")
            # Where it is closed again, the service goes on as its login.
            role = await sql.fetchval(
                "SELECT grantee::regrole::text FROM pg_namespace, aclexplode(nspacl)"
                " WHERE nspname = 'auth' AND grantee::regrole::text ~ '^tasks_app'"
            )
            await sql.execute(f"REVOKE USAGE ON SCHEMA auth FROM {role}")
            async with opened(chosen) as service:
                await add(service, "u1", "y")


async def path_of(chosen: Settings) -> str:
    async with opened(chosen) as service:
        return (await service.pool.run("SELECT current_setting('search_path')", []))[0][0]


class TestTwoInstallations:
    @pytest.mark.slow
    @pytest.mark.parametrize("first", [None, "other"], ids=["in public", "in another schema"])
    @pytest.mark.parametrize("users", ["", BETTER_AUTH], ids=["users of their own", "Better Auth's users"])
    async def test_they_do_not_see_each_other(
        self, chosen: Settings, users: str, first: str | None, caplog: pytest.LogCaptureFixture
    ) -> None:
        one, two = configured(chosen.database_url or "", first), chosen
        async with connected(chosen.database_url or "") as sql:
            await sql.execute(users or "SELECT")
            await migrations.migrate(one)
            before = await everything(sql, first or "public")
            await migrations.migrate(two)
            if not users:
                assert await everything(sql, first or "public") == before
        assert occupied.BESIDE % (first or "public") in caplog.messages
        for each in (one, two, one):
            assert await migrations.migrate(each) == ""  # neither takes the other's rights away
        async with opened(one) as here, opened(two) as there:
            assert here.users_are_ours is there.users_are_ours is (not users)
            for service in (here, there):
                who = await service.pool.run("SELECT current_user::text", [])
                assert who[0][0].startswith("tasks_app_")
            for service in (here, there) if not users else ():
                await PiccoloEngine(service).run_ddl(
                    """INSERT INTO "user" (id, name, email) VALUES ('u1', '', 'u1@x')"""
                )
            await add(here, "u1", "here")
            await add(there, "u1", "there")
            for service, title in ((here, "here"), (there, "there")):
                rows = await service.fetch(listing_queries.ALL, **WHATEVER | {"owner": "u1"})
                assert [row["title"] for row in rows[1:]] == [title]
        async with connected(chosen.database_url or "") as sql:
            before = await everything(sql, first or "public")
            await rolled_back(two)
            after = await everything(sql, first or "public")
            if not users:
                assert after == before
            assert await migrations.lacks(one) == ""
            async with opened(one) as here:
                assert len(await here.fetch(listing_queries.ALL, **WHATEVER | {"owner": "u1"})) == 2


class TestPgBouncer:
    @pytest.mark.slow
    async def test_a_login_that_does_not_look_there_first_is_refused_and_told(
        self, chosen: Settings, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with login(chosen, f"CREATE SCHEMA {SCHEMA} AUTHORIZATION {{0}}") as (theirs, sql, name):
            await sql.execute(DECOYS + f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}")
            pooler = PgBouncer(theirs.database_url or "", "default_pool_size = 2")
            pooler.start()
            try:
                through = configured(pooler.url(theirs.database_url or ""))
                await migrations.migrate(through)  # which needs nobody's help
                assert await migrations.lacks(through) == ""
                with pytest.raises(search_path.NotFirst) as raised:
                    await connect.open_pool(through)
                reason, way_out = explain(raised.value, through).splitlines()
                assert "a pooler passes no settings on" in reason
                statement = way_out.removeprefix("Say there: ").partition(";")[0]
                assert await migrations.reach(through) is None
                await sql.execute(statement.replace('"somebody"', name))
                pooler.stop()
                pooler.start()
                async with opened(through) as service:
                    await PiccoloEngine(service).run_ddl(
                        """INSERT INTO "user" (id, name, email) VALUES ('u1', '', 'u1@x')"""
                    )
                    await asyncio.gather(*(add(service, "u1", f"{n}") for n in range(9)))
                    assert len(await service.fetch(listing_queries.ALL, **WHATEVER | {"owner": "u1"})) == 10
                assert await sql.fetchval("SELECT count(*) FROM public.tasks") == 1
            finally:
                pooler.end()


class TestCommands:
    @pytest.mark.slow
    def test_psql_looks_there_first(self, chosen: Settings) -> None:
        assert run("migrate").returncode == 0
        options = quote("-c statement_timeout=7s")
        for url in (chosen.database_url, f"{chosen.database_url}&options={options}"):
            done = run("psql", "-At", "-c", "SHOW search_path; SHOW statement_timeout", DATABASE_URL=url or "")
            assert done.stdout.splitlines() == [
                '"tasks_api", "$user", public',
                "7s" if "options" in (url or "") else "0",
            ]

    @pytest.mark.slow
    def test_a_login_of_staff_is_made_there(self, chosen: Settings) -> None:
        assert 'schema "tasks_api"' in run("admin-user", "eve", text="a long password\n").stderr
        assert run("migrate").returncode == 0
        assert run("admin-user", "eve", text="a long password\n").stdout == "eve can log in at /admin/ now.\n"
        done = run("psql", "-At", "-c", "SELECT username FROM tasks_api.piccolo_user")
        assert done.stdout == "eve\n"

    @pytest.mark.slow
    def test_rollback_names_the_schema(self, chosen: Settings) -> None:
        assert run("rollback", "--yes").stderr == f"There is no migration to take back in {describe(chosen)}.\n"
        assert describe(chosen).endswith(', schema "tasks_api"')
        assert run("migrate").returncode == 0
        assert run("rollback", "--yes").returncode == 0

    @pytest.mark.slow
    def test_on_the_embedded_server_too(self) -> None:
        env = {"DATABASE_URL": "", "DATABASE_SCHEMA": SCHEMA}
        with tempfile.TemporaryDirectory(prefix="tasks-tests-", ignore_cleanup_errors=True) as folder:
            for name in ("app", "piccolo_migrations"):
                shutil.copytree(ROOT / name, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(ROOT / "piccolo_conf.py", folder)
            assert run("migrate", home=folder, **env).returncode == 0
            done = run("psql", "-At", "-c", "SELECT current_schema(), to_regclass('tasks')::text", home=folder, **env)
            assert (done.stdout, done.stderr) == ("tasks_api|tasks\n", "")
            done = run(
                "psql", "-At", "-c", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", home=folder, **env
            )
            assert done.stdout == "0\n"


def run(*arguments: str, home: Path | None = None, text: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    if home is None:
        return forkserver.command(*arguments, text=text, **env)
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=home,
        env={**os.environ, **env},
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
    )


class TestOccupied:
    async def test_one_line_says_which_tables_and_the_two_ways_out(self, new_database: Callable[[], str]) -> None:
        chosen = configured(new_database(), None)
        async with connected(chosen.database_url or "") as sql:
            await sql.execute(BETTER_AUTH + DECOYS)
            before = await everything(sql)
            with pytest.raises(migrations.Occupied) as raised:
                await migrations.migrate(chosen)
            assert (
                f"{raised.value}"
                == await migrations.lacks(chosen)
                == (
                    'The schema "public" has tables of somebody else\'s with names that this service needs: migration,'
                    " rate_limits, revisions, sessions, tasks, tasks_id_seq. Give the service a schema of its own"
                    " (DATABASE_SCHEMA=tasks_api), or move those tables to another one: docs/existing-database.md shows"
                    " both."
                )
            )
            assert await everything(sql) == before

    async def test_a_service_that_serves_already_says_so_and_stays_unready(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        may_go_on = threading.Event()

        async def migrate(_: Settings) -> str:
            await asyncio.to_thread(may_go_on.wait)
            raise migrations.Occupied("There are tables.")

        monkeypatch.setattr(migrations, "migrate", migrate)
        monkeypatch.setattr(serve, "MIGRATION_WAIT_SECONDS", 0)
        serve._migrate_in_background(configured("postgresql://ada@127.0.0.1:1/tasks"))
        may_go_on.set()
        [thread] = [each for each in threading.enumerate() if each.name == "migrate"]
        thread.join(20)
        assert caplog.messages == ["Migrating failed; the service stays unready. There are tables."]

    @pytest.mark.parametrize("name", occupied.TABLE_NAMES)
    async def test_each_table_of_ours_may_be_the_one(self, new_database: Callable[[], str], name: str) -> None:
        chosen = configured(new_database(), None)
        async with connected(chosen.database_url or "") as sql:
            await sql.execute(f"CREATE TABLE {name} (id int)")
            assert f"needs: {name}. Give" in await occupied.told(sql, None, migrations.known())
            assert await occupied.told(sql, SCHEMA, migrations.known()) == ""

    async def test_every_table_that_the_migrations_make_is_one_of_these(self, sql: asyncpg.Connection) -> None:
        made = await sql.fetch(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
            " AND relkind IN ('r', 'p', 'v', 'm', 'S')"
        )
        # What belongs to Piccolo's own tables gets another name where one is taken.
        piccolos = {f"{name}_id_seq" for name in occupied.PICCOLOS}
        assert sorted({row[0] for row in made} - piccolos - {"user"}) == occupied.TABLE_NAMES

    async def test_another_project_of_piccolos_may_share_the_list_of_migrations_and_no_logins(
        self, new_database: Callable[[], str]
    ) -> None:
        chosen = configured(new_database(), None)
        async with connected(chosen.database_url or "") as sql:
            await sql.execute("CREATE TABLE migration (id serial, name varchar, app_name varchar, ran_on timestamp)")
            await sql.execute("INSERT INTO migration (name, app_name) VALUES ('2020-01-01T00:00:00', 'shop')")
            assert await occupied.told(sql, None, migrations.known()) == ""
            await sql.execute("CREATE TABLE piccolo_user (id serial)")
            assert "needs: piccolo_user." in await occupied.told(sql, None, migrations.known())
            await sql.execute("DELETE FROM migration")
            assert await occupied.told(sql, None, migrations.known()) == ""

    @pytest.mark.slow
    async def test_what_is_ours_is_not_in_the_way_forwards_and_backwards(
        self, chosen: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("DATABASE_SCHEMA", "")
        settings.current.cache_clear()
        unset = configured(chosen.database_url or "", None)
        await migrations.migrate(unset)
        async with connected(unset.database_url or "") as sql:
            assert await occupied.told(sql, None, migrations.known()) == ""
            await rolled_back(unset)
            assert await sql.fetchval(COUNT, "public") == 3
            assert await occupied.told(sql, None, migrations.known()) == ""
        assert await migrations.migrate(unset) != ""

    @pytest.mark.slow
    async def test_setting_public_changes_nothing_for_what_is_there(self, new_database: Callable[[], str]) -> None:
        url = new_database()
        await migrations.migrate(configured(url, None))
        assert await migrations.migrate(configured(url, "public")) == ""
        async with connected(url) as sql:
            assert await occupied.others(sql, "public") == []
            assert await sql.fetchval(f"SELECT {user_table.IS_OURS}")
            assert await roles.needed(sql) == []
