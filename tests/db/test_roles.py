"""The roles of the service belong to one database, and whoever migrates sees to what they may do."""

import os
import secrets
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import pytest

from app.db import migrations, roles
from tests.conftest import DROP_ROLES
from tests.db.test_functions import other as other
from tests.db.test_migrations import configured, connected, piccolo

LAST_OF_OLD = "2026-11-25T23:30:00:000008"
WHERE = "SELECT count(*) FROM pg_class, aclexplode(relacl) WHERE grantee::regrole::text = $1"
DEFINERS = "SELECT DISTINCT proowner::regrole::text FROM pg_proc WHERE prosecdef AND oid >= 16384"

Make = Callable[..., str]


@pytest.fixture(params=["postgres", "other"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """A function that makes a database on a server, for a login of its own; and returns its URL."""
    server: Callable[[str], str] = request.getfixturevalue(request.param)
    made: list[str] = []
    async with connected(server("postgres")) as superuser:

        async def make(login: str = "SUPERUSER", template: str = "template1") -> str:
            name = f"tasks_test_{secrets.token_hex(6)}"
            made.append(name)
            await superuser.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{name}' {login}")
            await superuser.execute(f"CREATE DATABASE {name} OWNER {name} TEMPLATE {template}")
            url = urlsplit(server(name))
            return url._replace(netloc=f"{name}:{name}@{url.netloc.rpartition('@')[2]}").geturl()

        yield make
        for name in made:
            await superuser.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await superuser.execute(DROP_ROLES)
        for name in made:
            await superuser.execute(f"DROP ROLE {name}")


def name_of(url: str) -> str:
    return urlsplit(url).path[1:]


async def role_of(url: str) -> str | None:
    async with connected(url) as sql:
        return await sql.fetchval(roles.NAME)


async def is_settled(url: str) -> bool:
    async with connected(url) as sql:
        return await roles.needed(sql) == []


# Tests of migrations leave databases of former versions behind on the same server, which keep the role.
OTHERS = """
    SELECT EXISTS (
        SELECT FROM pg_shdepend AS d JOIN pg_database AS b ON b.oid = d.dbid
        WHERE d.refobjid = to_regrole('tasks_app') AND b.datname <> ALL ($1)
    )
"""


class TestOneDatabaseEach:
    @pytest.mark.slow
    async def test_a_copy_gets_roles_of_its_own_and_those_of_the_first_have_no_right_in_it(self, make: Make) -> None:
        first = await make()
        await migrations.migrate(configured(first))
        second = await make(template=name_of(first))
        assert await role_of(second) is None

        assert await migrations.migrate(configured(second)) == ""

        assert None is not await role_of(second) != await role_of(first)
        assert await is_settled(first)
        assert await is_settled(second)
        async with connected(second) as sql:
            assert await sql.fetchval(WHERE, await role_of(first)) == 0
            owners = await sql.fetch(DEFINERS)
            assert owners == [((await role_of(second) or "").replace("app", "definer"),)]

    @pytest.mark.slow
    async def test_one_in_another_schema_does_so_too(self, make: Make) -> None:
        first = await make()
        await migrations.migrate(configured(first))
        async with connected(first) as sql:
            await sql.execute(f"CREATE SCHEMA theirs; ALTER DATABASE {name_of(first)} SET search_path = theirs")
        before = await role_of(first)
        await migrations.migrate(configured(first))
        assert await is_settled(first)
        assert None is not await role_of(first) != before

    @pytest.mark.slow
    async def test_the_role_of_former_versions_loses_its_rights_and_goes_with_the_last(self, make: Make) -> None:
        urls = [await make(), await make()]
        for url in urls:
            await piccolo("forwards", "tasks", LAST_OF_OLD, **{**os.environ, "DATABASE_URL": url})
        for url in urls:
            async with connected(url) as sql:
                assert await sql.fetchval(WHERE, "tasks_app") > 20
                is_others = await sql.fetchval(OTHERS, [name_of(each) for each in urls])
            await migrations.migrate(configured(url))
            async with connected(url) as sql:
                assert await sql.fetchval(WHERE, "tasks_app") == 0
                is_there = await sql.fetchval("SELECT to_regrole('tasks_app') IS NOT NULL")
                assert is_there == (url == urls[0] or is_others)
            assert await is_settled(url)


class TestLogins:
    @pytest.mark.slow
    @pytest.mark.parametrize("login", ["SUPERUSER", "CREATEROLE", "CREATEROLE NOINHERIT", "NOINHERIT", ""])
    async def test_whoever_migrates_it_is_settled_then_and_stays_so(self, make: Make, login: str) -> None:
        url = await make(login)
        if "NOINHERIT" in login:  # it has not even what the owner of the database has
            async with connected(urlsplit(url)._replace(netloc="postgres@").geturl()) as superuser:
                await superuser.execute(f"GRANT ALL ON SCHEMA public TO {name_of(url)}")
        await piccolo("forwards", "tasks", LAST_OF_OLD, **{**os.environ, "DATABASE_URL": url})
        async with connected(url) as sql:
            await sql.execute(
                """
                SET tasks.staff = 'on';
                INSERT INTO "user" (id, name, email) VALUES ('ada', '', 'ada@x');
                INSERT INTO tasks (user_id, title) VALUES ('ada', 'hers')
                """
            )
        await migrations.migrate(configured(url))
        assert await is_settled(url)
        assert await migrations.migrate(configured(url)) == ""
        role = await role_of(url)
        async with connected(url) as sql:
            if role is not None:
                await sql.execute(f"SET ROLE {role}")
            await sql.execute("SET tasks.owner = 'ada'")
            assert await sql.fetchval("UPDATE tasks SET title = 'new' RETURNING title") == "new"
            assert await sql.fetchval("SELECT count(*) FROM task_versions") == 1
            assert await sql.fetchval("DELETE FROM tasks RETURNING title") == "new"
        if "NOINHERIT" not in login:
            assert (role is None) == (login == "")

    @pytest.mark.slow
    async def test_what_only_a_superuser_may_take_from_everybody_is_asked_for_once(self, make: Make) -> None:
        """As it is on PostgreSQL 14."""
        url = await make("")
        async with connected(urlsplit(url)._replace(netloc="postgres@").geturl()) as superuser:
            await superuser.execute("ALTER SCHEMA public OWNER TO postgres; GRANT ALL ON SCHEMA public TO PUBLIC")
        await migrations.migrate(configured(url))
        assert await is_settled(url)

    async def test_somebody_elses_tables_are_left_alone(self, make: Make) -> None:
        url = await make("")
        async with connected(urlsplit(url)._replace(netloc="postgres@").geturl()) as superuser:
            assert await roles.needed(superuser) == []  # there are none
            await superuser.execute("CREATE TABLE tasks ()")
        async with connected(url) as sql:
            assert await roles.needed(sql) == []

    @pytest.mark.slow
    async def test_a_function_of_somebody_else_is_not_taken_for_ours(self, make: Make) -> None:
        url = await make()
        await migrations.migrate(configured(url))
        other = name_of(await make(""))
        async with connected(url) as sql:
            await sql.execute(
                f"""
                CREATE FUNCTION tasks_theirs() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';
                ALTER FUNCTION tasks_theirs() OWNER TO {other}
                """
            )
            assert await roles.needed(sql) == []
            await sql.execute("DROP FUNCTION tasks_theirs()")
