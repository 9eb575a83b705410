"""Beside somebody else's tables: `docs/existing-database.md`, statement by statement, and then over HTTP."""

import asyncio
import os
import re
import subprocess
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import pytest

from app.config.settings import ROOT
from app.tasks.listing import queries
from tests import forkserver
from tests.conftest import token
from tests.db.test_migrations import BETTER_AUTH, connected
from tests.db.test_row_level_security import WHATEVER
from tests.db.test_search_path import configured, login, opened
from tests.live.conftest import Serve, Served
from tests.live.staff import make_staff, staff_session
from tests.live.test_documentation import matches

pytestmark = pytest.mark.slow

PAGE = "docs/existing-database.md"
[CREATE, GRANT, ALTER_ROLE, MOVE_AWAY, MOVE, STRANGERS, ADD_STRANGERS, RENAME] = re.findall(
    r"^```sql\n(.*?)^```$", (ROOT / PAGE).read_text(), re.MULTILINE | re.DOTALL
)
[REFUSED, BESIDE] = re.findall(r"^```text\n(.*?)^```$", (ROOT / PAGE).read_text(), re.MULTILINE | re.DOTALL)
ROWS = """
    INSERT INTO tasks (id, user_id, title, description, completed, created_at, updated_at) VALUES
        (3, 'u1', 'Buy milk', 'two litres', true, '2024-02-29 10:00:00.125', '2024-03-01 11:00:00'),
        (4, 'u2', 'of Bob', NULL, false, '2024-02-29 10:00:00', '2024-02-29 10:00:00'),
        (5, 'u1', '  apples ', NULL, NULL, '2024-03-02 10:00:00', NULL),
        (9, 'u1', ' ', 'why', false, NULL, NULL);
    SELECT setval('tasks_id_seq', 9);
"""
PEOPLE = {name: {"Authorization": f"Bearer {token(name)}"} for name in ("u1", "u2")}


async def run(url: str, *statements: str) -> list[Any]:
    async with connected(url) as sql:
        for statement in statements[:-1]:
            await sql.execute(statement)
        return await sql.fetch(statements[-1])


def migrate(url: str, schema: str = "") -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "DATABASE_URL": url, "DATABASE_SCHEMA": schema}
    return subprocess.CompletedProcess("migrate", *forkserver.run(["app", "migrate"], env))


async def check_moved_tasks(service: Served) -> None:
    """They are listed, searched, sorted, changed and deleted as any others, and the next one gets a free id."""
    async with httpx.AsyncClient(base_url=f"{service.url}/api/tasks") as client:
        ada, bob = PEOPLE["u1"], PEOPLE["u2"]
        listed = (await client.get("", headers=ada)).json()["data"]
        assert [(each["id"], each["title"], each["completed"]) for each in listed] == [
            (9, "Untitled", False),
            (5, "apples", False),
            (3, "Buy milk", True),
        ]
        whole = (await client.get("/3", headers=ada)).json()["data"]
        assert (
            whole.items()
            >= {
                "user_id": "u1",
                "description": "two litres",
                "created_at": "2024-02-29T10:00:00.125Z",
                "updated_at": "2024-03-01T11:00:00.000Z",
            }.items()
        )
        assert listed[1]["created_at"] == listed[1]["updated_at"] == "2024-03-02T10:00:00.000Z"
        found = (await client.get("", params={"q": "litres"}, headers=ada)).json()["data"]
        assert [each["id"] for each in found] == [3]
        titles = (await client.get("", params={"sort": "title"}, headers=ada)).json()["data"]
        assert [each["title"] for each in titles] == ["apples", "Buy milk", "Untitled"]

        made = await client.post("", json={"title": "new"}, headers=ada)
        assert (made.status_code, made.json()["data"]["id"]) == (201, 10)
        changed = await client.patch("/3", json={"title": "Buy oat milk"}, headers=ada)
        assert changed.json()["data"]["created_at"] == "2024-02-29T10:00:00.125Z"
        assert changed.json()["data"]["updated_at"] > made.json()["data"]["updated_at"]
        history = (await client.get("/3/history", headers=ada)).json()["data"]
        assert len(history) == 2
        assert (await client.delete("/9", headers=ada)).status_code == 204
        assert (await client.get("/4", headers=ada)).status_code == 404
        assert [each["id"] for each in (await client.get("", headers=bob)).json()["data"]] == [4]


async def test_in_a_schema_of_its_own_with_two_workers(new_database: Callable[[], str], serve: Serve) -> None:
    url = new_database()
    await run(url, BETTER_AUTH, CREATE, ROWS, "SELECT 1")
    service = serve(env={"DATABASE_URL": url, "DATABASE_SCHEMA": "tasks_api"}, workers=2, arguments=["--migrate"])
    assert any('schema \\"tasks_api\\"' in line for line in service.log() if "This uses" in line)
    [(moved, last)] = await run(url, "SET search_path = tasks_api, public", MOVE)
    assert (moved, last) == (4, 9)
    await check_moved_tasks(service)
    async with httpx.AsyncClient(base_url=service.url, headers=PEOPLE["u1"]) as client:
        await asyncio.gather(*(client.post("/api/tasks", json={"title": f"{n}"}) for n in range(20)))
        assert len((await client.get("/api/tasks")).json()["data"]) == 23
    assert await run(url, "SELECT count(*) FROM public.tasks") == [(4,)]
    assert await run(
        url, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    ) == [(2,)]
    # The admin sees ours, and its logins are in this schema too.
    make_staff("grace", url, DATABASE_SCHEMA="tasks_api")
    async with httpx.AsyncClient(base_url=service.url, headers=staff_session(service.url, "grace")) as staff:
        rows = (await staff.get("/admin/api/tables/tasks/", params={"__page_size": 100})).json()["rows"]
        assert len(rows) == 24
        assert {4, 10} <= {row["id"] for row in rows}
    # When the other program deletes a user, the tasks go with the row.
    await run(url, """DELETE FROM tasks; DELETE FROM "user" WHERE id = 'u2'""", "SELECT 1")
    assert await run(url, "SET tasks.staff = 'on'", "SELECT count(*) FROM tasks_api.tasks WHERE user_id = 'u2'") == [
        (0,)
    ]


async def test_in_the_same_schema_with_the_old_table_moved_away(new_database: Callable[[], str], serve: Serve) -> None:
    url = new_database()
    await run(url, BETTER_AUTH, CREATE, ROWS, "SELECT 1")
    done = migrate(url)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", REFUSED)
    await run(url, MOVE_AWAY, "SELECT 1")
    service = serve(env={"DATABASE_URL": url}, arguments=["--migrate"])
    assert await run(url, MOVE.replace("public.tasks", "before.tasks")) == [(4, 9)]
    await check_moved_tasks(service)
    assert await run(url, "SELECT count(*) FROM before.tasks") == [(4,)]


async def test_a_login_that_is_nobody_special_moves_them_too(new_database: Callable[[], str]) -> None:
    url = new_database()
    await run(url, BETTER_AUTH, CREATE, ROWS, "SELECT 1")
    own = "CREATE SCHEMA tasks_api AUTHORIZATION {0}; GRANT SELECT ON tasks TO {0};"
    grants = own + GRANT.replace("TO tasks", "TO {0}")
    async with login(configured(url), grants) as (theirs, _, _):
        assert migrate(theirs.database_url or "", "tasks_api").stderr == ""
        async with connected(theirs.database_url or "") as sql:
            await sql.execute("SET search_path = tasks_api, public")
            assert (
                await sql.fetchval("SELECT count(*) FROM pg_roles WHERE rolname = current_user AND NOT rolsuper") == 1
            )
            assert await sql.fetch(MOVE) == [(4, 9)]
            assert await sql.fetchval("SELECT count(*) FROM tasks") == 0  # whoever does not say that they are staff
            async with opened(theirs) as service:
                assert len(await service.fetch(queries.ALL, **WHATEVER | {"owner": "u1"})) == 4


@pytest.mark.parametrize("migrates", [True, False], ids=["just serve", "serve, and migrate apart"])
async def test_a_service_whose_names_are_taken_says_so_in_one_line(
    new_database: Callable[[], str], serve: Serve, migrates: bool
) -> None:
    url = new_database()
    await run(url, BETTER_AUTH, CREATE, "SELECT 1")
    wait: Any = None if migrates else "live"
    service = serve(env={"DATABASE_URL": url}, arguments=["--migrate"] if migrates else [], wait=wait)
    if migrates:
        assert await asyncio.to_thread(service.process.wait, 20) == 1
        assert service.log()[-1] == REFUSED.strip()
    else:
        async with httpx.AsyncClient(base_url=service.url) as client:
            assert (await client.get("/health/ready")).status_code == 503
    assert sum("somebody else" in line for line in service.log()) == 1
    assert "Traceback" not in "".join(service.log())
    assert await run(
        url, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    ) == [(2,)]


async def test_whatever_breaks_our_rules_is_moved_as_the_page_says(new_database: Callable[[], str]) -> None:
    url = new_database()
    assert migrate(url, "tasks_api").returncode == 0
    long = "x" * 501
    await run(
        url,
        # No rules of its own, nor a foreign key.
        "CREATE TABLE tasks (id int, user_id text, title text, description text, completed boolean,"
        " created_at timestamp, updated_at timestamp)",
        f"INSERT INTO tasks VALUES (1, 'ada', '{long}', 'more'), (2, NULL, 'nobody', NULL), (3, '', 'nobody', NULL),"
        f" (4, 'bob', NULL, NULL), (70, 'ada', E'\\t{'y' * 500}\\n', repeat('z', 40000))",
        "SELECT 1",
    )
    async with connected(url) as sql:
        await sql.execute("SET search_path = tasks_api, public; SET tasks.staff = 'on'")
        assert sorted([(row[0] or "", row[1]) for row in await sql.fetch(STRANGERS)]) == [
            ("", 1),
            ("", 1),
            ("ada", 2),
            ("bob", 1),
        ]
        assert await sql.fetch(MOVE) == [(0, 1)]
        await sql.execute(ADD_STRANGERS)
        assert await sql.fetch(MOVE) == [(3, 70)]
        rows = await sql.fetch("SELECT id, user_id, title, length(description), completed FROM tasks ORDER BY id")
        assert [tuple(row) for row in rows] == [
            (1, "ada", long[1:], 501 + 2 + 4, False),
            (4, "bob", "Untitled", None, False),
            (70, "ada", "y" * 500, 40000, False),
        ]
        with pytest.raises(asyncpg.UniqueViolationError):
            await sql.fetch(MOVE)
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 3
        assert await sql.fetchval("SELECT bool_and(email LIKE '%@user.invalid') FROM \"user\"")


async def test_an_installation_is_moved_by_renaming_its_schema(new_database: Callable[[], str], serve: Serve) -> None:
    url = new_database()
    old = serve(env={"DATABASE_URL": url}, arguments=["--migrate"])
    async with httpx.AsyncClient(base_url=old.url, headers=PEOPLE["u1"]) as client:
        made = await client.post("/api/tasks", json={"title": "from before"})
    assert made.status_code == 201
    other = migrate(url, "other")
    assert (other.returncode, other.stderr) == (0, BESIDE)
    assert old.stop() == 0
    await run(url, "DROP SCHEMA other CASCADE", RENAME, "SELECT 1")
    assert migrate(url, "tasks_api").stderr == ""

    service = serve(env={"DATABASE_URL": url, "DATABASE_SCHEMA": "tasks_api"}, workers=2)
    async with httpx.AsyncClient(base_url=service.url, headers=PEOPLE["u1"]) as client:
        place = made.headers["Location"]
        assert (await client.get(place)).json()["data"]["title"] == "from before"
        assert (await client.patch(place, json={"title": "now"})).status_code == 200
        found = (await client.get("/api/tasks", params={"q": "now"})).json()["data"]
        assert [each["title"] for each in found] == ["now"]
        assert (await client.delete(place)).status_code == 204


async def test_the_statement_for_a_pooler_is_one(sql: asyncpg.Connection) -> None:
    transaction = sql.transaction()
    await transaction.start()
    try:
        name = await sql.fetchval("SELECT quote_ident(current_database())")
        await sql.execute("DO $$ BEGIN IF to_regrole('tasks') IS NULL THEN CREATE ROLE tasks; END IF; END $$")
        await sql.execute(ALTER_ROLE.replace("DATABASE tasks", f"DATABASE {name}"))
    finally:
        await transaction.rollback()


def test_the_page_shows_what_is_said() -> None:
    from app.db import occupied

    assert matches(BESIDE, occupied.BESIDE % "public")
