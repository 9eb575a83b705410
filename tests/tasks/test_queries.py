"""Every statement that the service sends about tasks has its owner bound in it. Recorded, not believed."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from app.db.engine import database
from app.db.pool import Pool
from app.tasks import costs
from tests.statements import ABOUT_WHAT_IS_OWNED, ELSEWHERE, OWNED, declared

STATEMENTS = {name: each for name, each in declared().items() if not name.startswith(ELSEWHERE)}

MENTION = re.compile(rf'\b(INTO|FROM|UPDATE)\s+"({"|".join(OWNED)})"')
RLS_OWNER = r"\(SELECT set_config\('tasks\.owner', \$(\d+), true\)\) IS NOT NULL"
UNLESS_DONE = r' AND NOT EXISTS \(SELECT 1 FROM "idempotency_keys" WHERE [^)]*\)\) IS NOT NULL [^)]*\) - [^)]*\)'
IN_A_GROUP = r" AND \(SELECT set_config\('lock_timeout', '50ms', true\)\) IS NOT NULL"
FOUND = r'"tasks"\."id" = "found"\."task_id" AND '
OWNERS_ROWS = re.compile(
    rf'WHERE (?:{FOUND})?\(*{RLS_OWNER}(?:{UNLESS_DONE})?(?:{IN_A_GROUP})? AND (?:"\w+"\.)?"user_id" = \$(\d+)'
)
OWNERS_INSERT = re.compile(
    rf' (?:AS "mine" )?\("user_id", [^)]*\)\s+SELECT \$(\d+)(?:::text)?, .*?(?:WHERE {RLS_OWNER}|FROM "changed"\s*$)',
    re.DOTALL,
)

BEHIND_IT = "(SELECT set_config('tasks.owner', $1, true)) IS NOT NULL"

A_MOMENT = 0.01  # after which asyncpg has reported everything

Sent = list[asyncpg.connection.LoggedQuery]


@pytest.fixture
async def sent(running: object) -> AsyncIterator[Sent]:
    """Every query that leaves through any connection of the pool, as asyncpg itself reports it."""
    log: Sent = []
    usual: Any = database.pool

    async def logged(**how: Any) -> asyncpg.Connection:
        connection = await usual._connect(**how)
        connection.add_query_logger(log.append)
        return connection

    # asyncpg reports no statement that was prepared beforehand.
    pool = Pool(logged, min_size=0, max_size=usual.max_size, timeout=usual.timeout, prepares=False)
    database.use(pool)
    yield log
    database.use(usual)
    await pool.close()


def owner_bound_in(sql: str, arguments: Any) -> Any:
    """The one value to which a statement binds the owner, wherever it names what is owned; fails if it does not."""
    bound: list[re.Match[str] | None] = []
    for mention in MENTION.finditer(sql):
        rest = rest_of_query(sql[mention.end() :])
        bound.append(OWNERS_INSERT.match(rest) if mention[1] == "INTO" else owners_condition(rest))
    assert bound, f"no owner is bound in: {sql}"
    assert all(bound), f"no owner is bound in: {sql}"
    owners = [arguments[int(number) - 1] for each in bound if each for number in each.groups() if number]
    assert all(each == owners[0] for each in owners), (
        "the query filter and row-level security are not about the same owner"
    )
    return owners[0]


def rest_of_query(sql: str) -> str:
    """What follows in the same query: to the parenthesis that closes it, the next part of a UNION, or the end."""
    depth = 0
    for match in re.finditer(r"[()]|\bUNION\b", sql):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth < 0 or (not depth and match[0] == "UNION"):
            return sql[: match.start()]
    return sql


def owners_condition(sql: str) -> re.Match[str] | None:
    """The query's own condition, if it is for the owner, and no OR is a way around that."""
    open_at: list[int] = []
    alternatives: list[int] = []  # where the parentheses begin in which there is an OR
    owners = None
    around: list[int] = []
    for match in re.finditer(r"[()]|\bWHERE\b|\bOR\b|tasks\.owner", sql):
        match match[0]:
            case "(":
                open_at.append(match.start())
            case ")":
                open_at.pop()
            case "WHERE" if not open_at and owners is None:
                owners = OWNERS_ROWS.match(sql, match.start())
            case "OR":
                alternatives.append(open_at[-1] if open_at else -1)
            case "tasks.owner" if not around:
                around = [-1, *open_at]
            case _:
                pass
    return owners if not {*around} & {*alternatives} else None


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


BATCH = {
    "operations": [
        {"op": "create", "data": {"title": "in it"}},
        {"op": "complete", "id": 1},
        {"op": "update", "id": 2, "data": {}},
    ]
}
# What else there is to do, for somebody who has tasks 1 and 2, in this order; its status, and its statements.
MORE: list[tuple[str, str, Any, dict[str, str], tuple[int, int]]] = [
    ("PATCH", "/api/tasks/1", {"title": "z"}, {}, (200, 1)),
    ("PATCH", "/api/tasks/1", {}, {}, (200, 1)),
    ("PATCH", "/api/tasks/1", {"title": "z"}, {"if_match": '"v0"'}, (412, 2)),
    ("PATCH", "/api/tasks/1/complete", {"completed": True}, {"idempotency_key": "1"}, (200, 1)),
    ("PATCH", "/api/tasks/1/complete", {"completed": True}, {"idempotency_key": "1"}, (200, 3)),
    ("POST", "/api/tasks", {"title": "z"}, {"idempotency_key": "2"}, (201, 1)),
    ("GET", "/api/tasks/1/history", None, {}, (200, 1)),
    ("POST", "/api/tasks/1/revert", {"version": 1}, {}, (200, 3)),
    ("POST", "/api/tasks/1/revert", {"version": 99}, {}, (422, 4)),
    ("GET", "/api/tasks?limit=1&sort=created_at", None, {}, (200, 1)),
    # Of titles that are not indexed: how many tasks there are, what is to be indexed, that, and the list once more.
    ("GET", "/api/tasks?limit=1&sort=title", None, {}, (200, 6)),
    ("GET", "/api/tasks?limit=1&sort=title&count=true", None, {}, (200, 1)),
    ("GET", "/api/tasks?q=z", None, {}, (200, 5)),
    ("GET", "/api/tasks?q=z", None, {}, (200, 1)),
    ("DELETE", "/api/tasks/1", None, {"idempotency_key": "3"}, (204, 1)),
    ("GET", "/api/trash", None, {}, (200, 1)),
    ("POST", "/api/tasks/1/restore", None, {"if_match": '"v0"'}, (412, 2)),
    ("POST", "/api/tasks/1/restore", None, {}, (200, 1)),
    ("POST", "/api/tasks/batch", BATCH, {}, (200, 6)),
    ("POST", "/api/tasks/batch", BATCH, {"idempotency_key": "4"}, (200, 8)),
    ("POST", "/api/tasks/batch", BATCH, {"idempotency_key": "4"}, (200, 2)),
    ("DELETE", "/api/tasks/1", None, {}, (204, 1)),
    ("DELETE", "/api/trash/1", None, {}, (204, 1)),
    ("DELETE", "/api/trash", None, {}, (204, 1)),
]


async def all_else(client: httpx.AsyncClient, sent: Sent) -> list[tuple[int, int]]:
    """Do all that. Returns of each request the status, and how many statements it took."""
    one, two = [(await client.post("/api/tasks", json={"title": "x"})).json()["data"]["id"] for _ in "12"]
    took: list[tuple[int, int]] = []
    for method, path, body, headers, _ in MORE:
        theirs = re.sub(r'(?<="id": )[12]\b', lambda those: str({"1": one, "2": two}[those[0]]), json.dumps(body))
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        await asyncio.sleep(A_MOMENT)
        before = len(sent)
        answer = await client.request(method, re.sub(r"/1\b", f"/{one}", path), json=json.loads(theirs), headers=named)
        await asyncio.sleep(A_MOMENT)
        took.append((answer.status_code, len(sent) - before))
    return took


async def test_no_statement_touches_tasks_without_the_owner_bound_in_it(
    ada: httpx.AsyncClient, bob: httpx.AsyncClient, sent: Sent
) -> None:
    for client, owner in ((ada, "ada"), (bob, "bob")):
        await asyncio.sleep(A_MOMENT)
        sent.clear()
        await all_else(client, sent)
        await walk(client)
        await asyncio.sleep(A_MOMENT)
        owned = [each for each in sent if ABOUT_WHAT_IS_OWNED.search(each.query)]
        assert len(owned) >= 11 + len(MORE)
        assert {owner_bound_in(each.query, each.args) for each in owned} == {owner}


async def test_all_else_takes_few_statements(
    ada: httpx.AsyncClient, sent: Sent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "_sizes", {})
    took = await all_else(ada, sent)

    assert [(*each[:2], counts) for each, counts in zip(MORE, took, strict=True)] == [
        (*each[:2], each[4]) for each in MORE
    ]


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
    assert [re.findall(r'INSERT INTO ("\w+")', each.query) for each in sent[1:]] == [
        ['"tasks"'],
        ['"user"'],
        ['"tasks"'],
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


@pytest.mark.parametrize("name", STATEMENTS)
def test_every_statement_that_is_declared_binds_its_owner(name: str) -> None:
    statement = STATEMENTS[name]
    owner = object()
    params = dict.fromkeys(statement.names)
    assert owner_bound_in(statement.sql, statement.bind({**params, "owner": owner})) is owner


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT * FROM "tasks"',
        'SELECT * FROM "tasks" WHERE "tasks"."id" = $1',
        'SELECT * FROM "tasks" WHERE "tasks"."user_id" = $1',
        f'SELECT * FROM "tasks" WHERE ({BEHIND_IT} AND "tasks"."id" = $2)',
        f'SELECT * FROM "tasks" WHERE ({BEHIND_IT} AND "tasks"."user_id" = $1) OR ("tasks"."id" = $2)',
        f'SELECT * FROM "tasks" WHERE (({BEHIND_IT} AND "tasks"."user_id" = $1) OR "tasks"."id" = $2) AND true',
        f'SELECT * FROM "tasks" WHERE "tasks"."id" IN (SELECT 1 WHERE {BEHIND_IT} AND "tasks"."user_id" = $1)',
        f'SELECT * FROM "tasks" WHERE ({BEHIND_IT} AND "tasks"."user_id" = $1) UNION ALL SELECT * FROM "task_versions"',
        f'WITH "x" AS (DELETE FROM "revisions") SELECT 1 FROM "tasks" WHERE {BEHIND_IT} AND "tasks"."user_id" = $1',
        'INSERT INTO "tasks" ("user_id", "title") SELECT $1, $2',
        'SELECT "key" FROM "task_titles" WHERE "user_id" = $1',
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
