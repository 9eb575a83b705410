"""Our functions, and the schema that they are in: nobody else can call them, replace them, or have them call theirs.

What holds for all functions is read from the catalogue, so that a new one is held to it as well.
"""

import asyncio
import os
import secrets
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg
import pytest

from app.db import migrations, roles
from app.db.server_user import server_user
from tests.conftest import DROP_ROLES, needs
from tests.db.test_migrations import configured, connected
from tests.db.test_row_level_security import forced

OURS = "pronamespace = 'public'::regnamespace AND starts_with(proname, 'tasks_')"
INSTALLED = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: int(each.parent.name))


def other_server() -> Path | None:
    """Where a PostgreSQL lies that is not the embedded one: of OTHER_POSTGRES, or the newest one that is installed."""
    if chosen := os.environ.get("OTHER_POSTGRES"):
        return Path(chosen)
    return INSTALLED[-1] if INSTALLED else None


@pytest.fixture(scope="module")
def other(request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """A server of another version than the embedded one: a function from a database's name to its URL."""
    binaries = other_server()
    needs(binaries and f"{binaries}", "a PostgreSQL beside the embedded one")
    with tempfile.TemporaryDirectory(prefix="tasks-tests-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        user = server_user()

        def run(*command: str) -> None:
            who: dict[str, Any] = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
            done = subprocess.run(
                [f"{binaries}/{command[0]}", *command[1:]], cwd=folder, stdout=subprocess.DEVNULL, **who
            )
            assert done.returncode == 0

        if user:
            os.chown(folder, user.pw_uid, user.pw_gid)
        data = f"--pgdata={folder / 'data'}"
        run("initdb", data, "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync")
        listening = f"-k {folder} -c listen_addresses='' -c fsync=off"
        run("pg_ctl", "start", "--wait", data, f"--log={folder / 'log'}", f"--options={listening}")
        yield lambda name: f"postgresql://postgres@/{name}?host={quote(str(folder), safe='')}"
        run("pg_ctl", "stop", "--mode=immediate", data)


@pytest.fixture(scope="module", params=["postgres", "other"])
async def url(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """A migrated database in which everybody could create objects until then, as in those made before version 15."""
    server: Callable[[str], str] = request.getfixturevalue(request.param)
    name = f"tasks_test_{secrets.token_hex(6)}"
    async with connected(server("postgres")) as superuser:
        await superuser.execute(f"CREATE ROLE {name} LOGIN")
        await superuser.execute(f"CREATE DATABASE {name}")
        async with connected(server(name)) as connection:
            await connection.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        await migrations.migrate(configured(server(name)))
        yield server(name)
        await superuser.execute(f"DROP DATABASE {name} WITH (FORCE)")
        await superuser.execute(f"DROP ROLE {name}; {DROP_ROLES}")


def stranger(url: str) -> AbstractAsyncContextManager[asyncpg.Connection]:
    """A connection of a login of that server who may connect, and nothing else."""
    place = urlsplit(url)
    return connected(place._replace(netloc=f"{place.path[1:]}@").geturl())


class TestTheCatalogue:
    """What holds for each function that there is. A new one needs nothing of its own: `app/db/roles.py` sees to it."""

    @pytest.mark.slow
    async def test_each_looks_for_tables_in_our_schema_and_last_among_temporary_ones(self, url: str) -> None:
        async with connected(url) as sql:
            rows = await sql.fetch(
                f"""
                SELECT oid::regprocedure::text, proconfig FROM pg_proc WHERE {OURS} AND prosqlbody IS NULL
                AND NOT coalesce('search_path=public, pg_temp' = ANY (proconfig), false)
                """
            )
            assert rows == []

    async def test_nobody_else_may_call_one_and_the_service_those_that_it_does_call(self, url: str) -> None:
        async with connected(url) as sql:
            rows = await sql.fetch(
                f"""
                SELECT DISTINCT proname::text, coalesce(grantee::regrole::text, 'PUBLIC') AS grantee
                FROM pg_proc, aclexplode(coalesce(proacl, acldefault('f', proowner)))
                WHERE {OURS} AND grantee <> proowner
                """
            )
            service = await sql.fetchval(roles.NAME)
            definer = service.replace("app", "definer")
            rights = ((service, roles.SERVICE), (definer, roles.DEFINER))
            assert {tuple(row) for row in rows} == {
                (name, role) for role, each in rights for name, right in each.items() if right == ("EXECUTE",)
            }

    async def test_those_that_run_as_their_owner_have_one_that_may_do_nothing_else(self, url: str) -> None:
        async with connected(url) as sql:
            rows = await sql.fetch(
                f"""
                SELECT DISTINCT rolname, rolcanlogin, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb,
                    rolreplication,
                    has_schema_privilege(r.oid, 'public', 'CREATE'),
                    EXISTS (SELECT FROM pg_class WHERE relowner = r.oid),
                    EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid)
                FROM pg_proc JOIN pg_roles AS r ON r.oid = proowner WHERE {OURS} AND prosecdef
                """
            )
            definer = (await sql.fetchval(roles.NAME)).replace("app", "definer")
            assert [tuple(row) for row in rows] == [(definer, *[False] * 9)]

    async def test_the_roles_have_what_is_declared_and_no_more(self, url: str) -> None:
        async with connected(url) as sql:
            service = await sql.fetchval(roles.NAME)
            for role, rights in ((service, roles.SERVICE), (service.replace("app", "definer"), roles.DEFINER)):
                rows = await sql.fetch(
                    """
                    SELECT name, privilege_type FROM (
                        SELECT relname, relowner, relacl FROM pg_class
                        UNION ALL SELECT nspname, nspowner, nspacl FROM pg_namespace
                        UNION ALL SELECT proname, proowner, proacl FROM pg_proc
                    ) AS o (name, owner, acl), aclexplode(acl) WHERE grantee = to_regrole($1) AND owner <> grantee
                    """,
                    role,
                )
                assert {tuple(row) for row in rows} == {
                    *((name, right) for name, each in rights.items() for right in each),
                    ("public", "USAGE"),
                }

    async def test_nobody_may_create_anything_in_our_schema(self, url: str) -> None:
        async with connected(url) as sql:
            rows = await sql.fetch(
                """
                SELECT grantee FROM pg_namespace, aclexplode(nspacl)
                WHERE nspname = 'public' AND privilege_type = 'CREATE' AND grantee <> nspowner
                """
            )
            assert rows == []

    async def test_nothing_is_left_to_be_done(self, url: str) -> None:
        async with connected(url) as sql:
            assert await roles.needed(sql) == []

    async def test_the_owner_of_the_search_is_asked_no_policy_row_by_row(self, url: str) -> None:
        async with connected(url) as sql:
            definer = (await sql.fetchval(roles.NAME)).replace("app", "definer")
            await sql.execute(f"SET ROLE {definer}; SET enable_seqscan = off")
            plan = str(
                await sql.fetch("EXPLAIN SELECT FROM task_words WHERE words @@ 'x'::tsquery AND user_id = 'ada'")
            )
            assert "task_words_by_word" in plan
            assert "current_setting" not in plan


class TestAStranger:
    async def test_gains_nothing(self, url: str) -> None:
        async with connected(url) as sql, stranger(url) as them:
            service = await sql.fetchval(roles.NAME)
            tables = await sql.fetch(
                "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'S') AND oid >= 16384"
            )
            functions = await sql.fetch(
                f"""
                SELECT proname, (
                    SELECT string_agg(format('(SELECT NULL::%s)', t::regtype), ', ') FROM unnest(proargtypes) AS t
                ) FROM pg_proc WHERE {OURS} AND prorettype <> 'trigger'::regtype
                """
            )
            attempts = [
                *(f"SELECT * FROM {table}" for (table,) in tables),
                *(f"SELECT {name}({arguments})" for name, arguments in functions),
                *(f"SET ROLE {role}" for role in (service, service.replace("app", "definer"), "postgres")),
                "CREATE FUNCTION public.tasks_words(text, varchar, text) RETURNS tsvector LANGUAGE sql AS ''",
                "CREATE TABLE public.theirs ()",
                "CREATE OPERATOR public.= (leftarg = varchar, rightarg = text, function = texteq)",
                "TRUNCATE tasks",
                "ALTER FUNCTION tasks_stamp() OWNER TO CURRENT_USER",
                "CREATE TRIGGER theirs BEFORE UPDATE ON tasks EXECUTE FUNCTION tasks_stamp()",
            ]
            await them.execute("SET tasks.staff = 'on'; SET tasks.owner = 'ada'")
            assert len(attempts) > 25
            for attempt in attempts:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    pytest.fail(f"{attempt}: {await them.execute(attempt)}")


TYPES = ("text", "varchar", "bpchar", "name", "bigint", "integer", "boolean", "timestamptz", "jsonb", "tsvector",
    "tsquery", "regconfig", "regclass", "text[]", "bigint[]", "varchar[]", "double precision", "numeric", "interval",
    "bytea", "real")  # fmt: skip
FEWER = ("text", "varchar", "bigint", "integer", "boolean", "regconfig", "jsonb", "name")  # for three arguments
FEWEST = FEWER[:3]  # for four
COMPARES = ("=", "<>", "<", ">", "<=", ">=", "@@", "~", "@>", "?", "&&")
OPERATORS = (*COMPARES, "||", "+", "-", "*", "->", "->>", "%", "/", "#-")

# What is called in our functions, as it is there already: PostgreSQL's own, and ours.
CALLED = r"""
    SELECT DISTINCT called.proname::text, called.pronargs, called.proretset,
        CASE WHEN result.typtype = 'p' THEN '' ELSE result.oid::regtype::text END
    FROM pg_proc AS p, regexp_matches(p.prosrc, '\m([a-z_0-9]+)\(', 'g') AS m
    JOIN pg_proc AS called ON called.proname = m[1] JOIN pg_type AS result ON result.oid = called.prorettype
    WHERE p.pronamespace = 'public'::regnamespace AND starts_with(p.proname, 'tasks_')
        AND called.pronargs BETWEEN 1 AND 4
        AND called.pronamespace IN ('pg_catalog'::regnamespace, 'public'::regnamespace)
"""
TAKEN = f"""
    SELECT proname::text, ARRAY(SELECT t::regtype::text FROM unnest(proargtypes) AS t) FROM pg_proc WHERE {OURS}
"""


def trap(name: str, types: Sequence[str], returns: str) -> str:
    """A function that tells of each call of it, and as whom."""
    told = f"trap: {name}({', '.join(types)})".replace("%", "%%").replace('"', "")
    return (
        f"CREATE FUNCTION public.{name}({', '.join(types)}) RETURNS {returns} LANGUAGE plpgsql AS $$ BEGIN"
        f" RAISE WARNING '{told} as %', current_user; RETURN{'' if returns.startswith('SETOF') else ' NULL'}; END $$"
    )


async def lay_traps(sql: asyncpg.Connection, them: asyncpg.Connection) -> int:
    """Have a stranger overload what our functions call, for all types that may come up; return how often."""
    statements = {}
    for name, count, is_set, result in await sql.fetch(CALLED):
        for types in product({3: FEWER, 4: FEWEST}.get(count, TYPES), repeat=count):
            returns = result or types[0].removesuffix("[]")  # of any type
            statements[name, types] = trap(name, types, f"SETOF {returns}" if is_set else returns)
    for name, types in await sql.fetch(TAKEN):
        statements.pop((name, tuple(types)), None)
    for types in product(TYPES, repeat=2):
        for symbol in OPERATORS:
            left, right = types
            name = f'"{left} {symbol} {right}"'
            statements[name, types] = (
                f"{trap(name, types, 'boolean' if symbol in COMPARES else left)};"
                f"CREATE OPERATOR public.{symbol} (leftarg = {left}, rightarg = {right}, function = public.{name})"
            )
    everything = [*statements.values()]
    for n in range(0, len(everything), 500):
        await them.execute(";".join(everything[n : n + 500]))
    return len(everything)


CHANGES = """
    INSERT INTO "user" (id, name, email) VALUES ('ada', '', 'ada@x'), ('bob', '', 'bob@x'), ('eve', '', 'eve@x');
    INSERT INTO tasks (user_id, title, description)
    SELECT id, 'a secret', 'of ' || id FROM "user", pg_catalog.generate_series(1, 3) ORDER BY id;
    UPDATE tasks SET title = 'other' WHERE id = 1;
    UPDATE tasks SET description = 'other', deleted_at = now() WHERE id = 2;
    DO $$ BEGIN FOR n IN 1..120 LOOP UPDATE tasks SET completed = NOT completed WHERE id = 1; END LOOP; END $$
"""
MORE_CHANGES = """
    UPDATE tasks SET user_id = 'bob' WHERE id = 1;
    DELETE FROM tasks WHERE id = 1;
    UPDATE "user" SET id = 'cy' WHERE id = 'bob';
    DELETE FROM "user" WHERE id = 'cy';
    TRUNCATE tasks
"""


# A call of each function that the service calls, about Ada.
CALLS = f"""
    SELECT format('SELECT * FROM %s(%s)', p.oid::regproc, string_agg(
        format('%L::%s', CASE t.typname WHEN 'text' THEN 'ada' WHEN 'bool' THEN 'on' ELSE '1' END, t.typname),
        ', ' ORDER BY n
    )) FROM pg_proc AS p, unnest(p.proargtypes) WITH ORDINALITY AS a (type, n) JOIN pg_type AS t ON t.oid = a.type
    WHERE {OURS} AND prorettype <> 'trigger'::regtype AND has_function_privilege($1::regrole, p.oid, 'EXECUTE')
    GROUP BY p.oid
"""


class TestTraps:
    @pytest.mark.slow
    async def test_no_function_of_ours_calls_what_a_stranger_has_overloaded(self, url: str) -> None:
        """Neither those of triggers, whoever changes what, nor those that the service calls."""
        warned: list[str] = []
        async with connected(url) as staff, stranger(url) as them, forced(url, []) as service:
            for connection in (staff, service):
                connection.add_log_listener(lambda _, message: warned.append(message.message))
            calls = await staff.fetch(CALLS, await staff.fetchval(roles.NAME))
            assert len(calls) >= 2
            await service.execute("SET tasks.owner = 'ada'")
            await staff.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
            assert await lay_traps(staff, them) > 10_000
            await staff.execute(CHANGES)
            for (call,) in calls:
                await service.execute(call)
            await staff.execute(MORE_CHANGES)
            await asyncio.sleep(0.1)  # until all are told
            assert [each for each in warned if each.startswith("trap: ")] == []
