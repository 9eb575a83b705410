"""Every statement that the service sends about tasks has its owner bound in it. Recorded, not believed."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from app.database import database
from app.statements import Param, Statement
from app.tasks import queries

STATEMENTS = {name: value for name, value in vars(queries).items() if isinstance(value, Statement)}
ABOUT_TASKS = {name: each for name, each in STATEMENTS.items() if re.search(r"\btasks\b", each.sql)}

WALL = r"\(SELECT set_config\('tasks\.owner', \$(\d), true\)\) IS NOT NULL"
OWNERS_ROWS = re.compile(
    rf'WHERE \(*{WALL} AND "tasks"\."user_id" = \$(\d)\)( AND "tasks"\."id" = \$\d\))?( (?!OR )|$)'
)
OWNERS_INSERT = re.compile(
    rf'INSERT INTO "tasks" \("user_id", [^)]*\) SELECT \$(\d), \$\d, \$\d WHERE {WALL} RETURNING '
)

BEHIND_IT = "(SELECT set_config('tasks.owner', $1, true)) IS NOT NULL"

A_MOMENT = 0.01  # after which asyncpg has reported everything

Sent = list[asyncpg.connection.LoggedQuery]


@pytest.fixture
async def sent(running: object) -> AsyncIterator[Sent]:
    """Every query that leaves through any connection of the pool, as asyncpg itself reports it."""
    log: Sent = []
    pool: Any = database.pool
    pool.prepares = False  # asyncpg reports no statement that was prepared beforehand
    connections = [await pool.acquire() for _ in range(pool.get_max_size())]
    for connection in connections:
        connection.add_query_logger(log.append)
        await pool.release(connection)
    yield log
    pool.prepares = True
    connections = [await pool.acquire() for _ in range(pool.get_max_size())]
    for connection in connections:
        connection.remove_query_logger(log.append)
        await pool.release(connection)


def owner_bound_in(sql: str, arguments: Any) -> Any:
    """The value to which a statement about tasks binds their owner; fails for a statement that does not."""
    found = OWNERS_ROWS.search(sql) or OWNERS_INSERT.search(sql)
    assert found, f"no owner is bound in: {sql}"
    one, same = (arguments[int(found[place]) - 1] for place in (1, 2))
    assert one == same, "its own word and the wall's are not about the same owner"
    return one


async def walk(client: httpx.AsyncClient) -> int:
    """One of everything that can be done with tasks. Returns how many requests that was."""
    task = (await client.post("/api/tasks", json={"title": "x"})).json()["data"]
    path = f"/api/tasks/{task['id']}"
    answers = [
        await client.get("/api/tasks"),
        await client.head("/api/tasks"),
        await client.get(path),
        await client.put(path, json={"title": "y"}),
        await client.patch(f"{path}/complete"),
        await client.delete(path),
        await client.get(path),
        await client.put(path, json={"title": "y"}),
        await client.patch(f"{path}/complete"),
        await client.delete(path),
    ]
    assert [answer.status_code for answer in answers] == [200] * 5 + [204] + [404] * 4
    return len(answers) + 1


async def test_no_statement_touches_tasks_without_the_owner_bound_in_it(
    ada: httpx.AsyncClient, bob: httpx.AsyncClient, sent: Sent
) -> None:
    for client, owner in ((ada, "ada"), (bob, "bob")):
        await asyncio.sleep(A_MOMENT)
        sent.clear()
        await walk(client)
        await asyncio.sleep(A_MOMENT)
        about_tasks = [each for each in sent if re.search(r"\btasks\b", each.query)]
        assert len(about_tasks) >= 11
        assert {owner_bound_in(each.query, each.args) for each in about_tasks} == {owner}


async def test_each_request_is_one_statement(ada: httpx.AsyncClient, sent: Sent) -> None:
    await ada.post("/api/tasks", json={"title": "the first write makes the user's row"})
    await asyncio.sleep(A_MOMENT)
    sent.clear()

    requests = await walk(ada)

    await asyncio.sleep(A_MOMENT)
    assert len(sent) == requests


async def test_the_first_write_of_a_user_is_three_and_a_read_makes_no_row(
    ada: httpx.AsyncClient, bob: httpx.AsyncClient, sent: Sent
) -> None:
    await bob.get("/api/tasks")
    await asyncio.sleep(A_MOMENT)
    assert len(sent) == 1
    await ada.post("/api/tasks", json={"title": "x"})
    await asyncio.sleep(A_MOMENT)
    assert [each.query.split()[0] + " " + each.query.split()[2] for each in sent[1:]] == [
        'INSERT "tasks"',
        'INSERT "user"',
        'INSERT "tasks"',
    ]


async def test_nothing_is_asked_for_a_stranger_or_for_what_is_refused_before(
    stranger: httpx.AsyncClient, ada: httpx.AsyncClient, sent: Sent
) -> None:
    await stranger.get("/api/tasks")
    await stranger.post("/api/tasks", json={"title": "x"})
    for path in ("/api/tasks/abc", "/api/tasks/0", f"/api/tasks/{2**63}", "/api/tasks/1/nonsense"):
        await ada.get(path)
    await ada.delete("/api/tasks")
    await ada.post("/api/tasks", content="{")
    await ada.put("/api/tasks/1", json={"title": ""})
    await ada.post("/api/tasks", content="{}", headers={"content-type": "text/plain"})
    await ada.get("/health/live")

    await asyncio.sleep(A_MOMENT)
    assert sent == []


@pytest.mark.parametrize("name", sorted(ABOUT_TASKS))
def test_every_statement_that_is_declared_binds_its_owner(name: str) -> None:
    owner = object()
    values = {
        param.name: owner if param is queries.OWNER else None
        for param in vars(queries).values()
        if isinstance(param, Param)
    }
    assert owner_bound_in(ABOUT_TASKS[name].sql, ABOUT_TASKS[name].bind(values)) is owner


def test_there_are_as_many_statements_as_things_to_do() -> None:
    assert sorted(ABOUT_TASKS) == ["CREATE", "DELETE", "FLIP", "GET", "LIST", "REPLACE"]


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT * FROM "tasks"',
        'SELECT * FROM "tasks" WHERE "tasks"."id" = $1',
        'SELECT * FROM "tasks" WHERE "tasks"."user_id" = $1',
        f'SELECT * FROM "tasks" WHERE ({BEHIND_IT} AND "tasks"."id" = $2)',
        f'SELECT * FROM "tasks" WHERE ({BEHIND_IT} AND "tasks"."user_id" = $1) OR ("tasks"."id" = $2)',
        'UPDATE "tasks" SET "user_id" = $1 WHERE "tasks"."id" = $2',
        'DELETE FROM "tasks"',
    ],
)
def test_the_recorder_would_notice(sql: str) -> None:
    with pytest.raises(AssertionError, match="no owner is bound"):
        owner_bound_in(sql, ["ada", 1])


class TestFirstWrite:
    async def test_a_token_without_email_or_name_still_makes_a_row(self, running: Any, clean: None, sql: Any) -> None:
        from tests.conftest import token, visitor

        async with visitor(running, authorization=f"Bearer {token(7)}") as seven:
            assert (await seven.post("/api/tasks", json={"title": "x"})).status_code == 201

        row = await sql.fetchrow('SELECT id, name, email FROM "user"')
        assert (row["id"], row["name"]) == ("7", "")
        assert re.fullmatch(r"[0-9a-f-]{36}@user\.invalid", row["email"])

    async def test_two_users_with_one_email_both_work(self, running: Any, clean: None, sql: Any) -> None:
        import asyncio

        from tests.conftest import token, visitor

        people = [
            visitor(running, authorization=f"Bearer {token(f'u{n}', email='same@example.com')}") for n in range(8)
        ]
        answers = await asyncio.gather(*(each.post("/api/tasks", json={"title": "x"}) for each in people))

        assert {answer.status_code for answer in answers} == {201}
        emails = [row["email"] for row in await sql.fetch('SELECT email FROM "user"')]
        assert len(emails) == 8
        assert emails.count("same@example.com") == 1

    async def test_a_user_that_was_deleted_comes_back_with_the_next_write(
        self, ada: httpx.AsyncClient, sql: Any
    ) -> None:
        await ada.post("/api/tasks", json={"title": "before"})
        await sql.execute('DELETE FROM "user"')

        assert (await ada.post("/api/tasks", json={"title": "after"})).status_code == 201
        assert [task["title"] for task in (await ada.get("/api/tasks")).json()["data"]] == ["after"]

    async def test_a_user_whom_the_table_will_never_take_is_an_error_and_no_endless_loop(
        self, ada: httpx.AsyncClient, sql: Any
    ) -> None:
        await sql.execute("""INSERT INTO "user" (id, name, email) VALUES ('another', 'Ada', 'another@example.com')""")
        await sql.execute('CREATE UNIQUE INDEX only_one_of_a_name ON "user" (name)')
        try:
            assert (await ada.post("/api/tasks", json={"title": "x"})).status_code == 500
        finally:
            await sql.execute("DROP INDEX only_one_of_a_name")
