"""How much there may be: tasks of a user, and versions of a task; exactly, whoever adds and removes them, and when."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from litestar import Litestar

from tests.conftest import token, visitor
from tests.tasks.batch.test_batch import create, delete, done, send
from tests.tasks.history.test_history import history_of
from tests.tasks.plain import CONTENT
from tests.tasks.test_controller import created, refused

AGREE = """
    SELECT r.user_id, r.stored, count(t.id) FROM revisions AS r LEFT JOIN tasks AS t ON t.user_id = r.user_id
    GROUP BY r.user_id, r.stored HAVING r.stored <> count(t.id)
"""
FEW = 5


def reached(limit: int = FEW) -> dict[str, Any]:
    message = f"You have {limit} tasks, the trash included, and there can be no more. Delete some for good."
    return {"error": {"code": "LIMIT_REACHED", "message": message}}


@pytest.fixture
def few(running: Litestar, monkeypatch: pytest.MonkeyPatch) -> None:
    now = running.state["settings"]
    monkeypatch.setitem(running.state, "settings", msgspec.structs.replace(now, max_tasks=FEW))


@asynccontextmanager
async def history_versions(sql: asyncpg.Connection, most: int) -> AsyncIterator[None]:
    await sql.execute("UPDATE task_settings SET history_versions = $1", most)
    try:
        yield
    finally:
        await sql.execute("UPDATE task_settings SET history_versions = 1000")


@pytest.mark.usefixtures("few")
class TestTasks:
    async def test_one_too_many_is_refused_and_nothing_happens(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        first, *_ = [await created(ada) for _ in range(FEW)]
        await ada.delete(f"/api/tasks/{first['id']}")  # in the trash it still counts
        before = await sql.fetch("SELECT * FROM revisions"), await sql.fetch("SELECT * FROM tasks ORDER BY id")

        for key in (None, "one"):
            headers = {} if key is None else {"idempotency-key": key}
            answer = await ada.post("/api/tasks", json={"title": "x"}, headers=headers)
            assert (answer.status_code, answer.json()) == (409, reached())
        answer = await send(ada, {"op": "complete", "id": first["id"] + 1}, create(), delete(first["id"] + 2), create())
        assert (answer.status_code, answer.json()["error"]["code"], answer.json()["error"]["index"]) == (
            409,
            "LIMIT_REACHED",
            1,
        )
        assert (
            await sql.fetch("SELECT * FROM revisions"),
            await sql.fetch("SELECT * FROM tasks ORDER BY id"),
        ) == before
        assert await sql.fetchval("SELECT count(*) FROM idempotency_keys") == 0

        assert (await ada.post(f"/api/tasks/{first['id']}/restore")).status_code == 200
        await ada.delete(f"/api/tasks/{first['id']}")
        await ada.delete(f"/api/trash/{first['id']}")
        answer = await ada.post("/api/tasks", json={"title": "x"}, headers={"idempotency-key": "one"})
        assert answer.status_code == 201
        again = await ada.post("/api/tasks", json={"title": "x"}, headers={"idempotency-key": "one"})
        assert (again.status_code, again.content) == (201, answer.content)

    @pytest.mark.parametrize("seen", [True, False], ids=["known", "not seen before"])
    async def test_of_many_concurrent_ones_as_many_as_may_be_are_made(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, seen: bool
    ) -> None:
        if seen:
            await created(ada)
        singles = [ada.post("/api/tasks", json={"title": "x"}) for _ in range(20)]
        batches = [send(ada, create(), create()) for _ in range(5)]
        keyed = [ada.post("/api/tasks", json={"title": "x"}, headers={"idempotency-key": f"{n}"}) for n in range(9)]
        answers = await asyncio.gather(*singles, *batches, *keyed)
        made = seen + sum((2 if answer.status_code == 200 else answer.status_code == 201) for answer in answers)
        assert {answer.status_code for answer in answers} <= {200, 201, 409}
        assert (
            made
            == await sql.fetchval("SELECT count(*) FROM tasks")
            == await sql.fetchval("SELECT stored FROM revisions")
        )
        assert FEW - 1 <= made <= FEW  # a batch of two does not fit the last place
        while made < FEW:
            assert (await ada.post("/api/tasks", json={"title": "x"})).status_code == 201
            made += 1
        assert (await ada.post("/api/tasks", json={"title": "x"})).status_code == 409

    async def test_a_first_batch_of_too_many_is_refused_for_the_first_that_does_not_fit(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        for wanted in (FEW + 1, FEW + 3):
            answer = await send(ada, *[create()] * wanted)
            assert (answer.status_code, answer.json()["error"]["index"]) == (409, FEW)
        await created(ada)
        assert (await send(ada, *[create()] * FEW)).json()["error"]["index"] == FEW - 1
        assert (await send(ada, *[create()] * (FEW - 1), dry_run="true")).status_code == 200
        await done(ada, *[create()] * (FEW - 1))

    async def test_it_is_each_users_own_and_the_staff_may_add_more(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        for _ in range(FEW):
            await created(ada)
        assert (await created(bob))["title"]
        await sql.execute("INSERT INTO tasks (user_id, title) VALUES ('ada', 'more')")
        assert await sql.fetchval("SELECT stored FROM revisions WHERE user_id = 'ada'") == FEW + 1
        assert (await ada.post("/api/tasks", json={"title": "x"})).json() == reached()

    async def test_in_a_group_each_owner_has_their_own(
        self, running: Litestar, clean: None, sql: asyncpg.Connection
    ) -> None:
        people = [visitor(running, authorization=f"Bearer {token(f'user{n}')}") for n in range(12)]
        answers = await asyncio.gather(
            *(person.post("/api/tasks", json={"title": "x"}) for person in people for _ in range(FEW + 2))
        )
        statuses = [answer.status_code for answer in answers]
        assert (statuses.count(201), statuses.count(409)) == (12 * FEW, 12 * 2)
        assert await sql.fetch(AGREE) == []


class TestCount:
    """`revisions.stored` is how many rows there are, whoever adds and removes them."""

    async def test_it_is_right_after_whatever_happens(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        tasks = [await created(ada) for _ in range(6)]
        await created(bob)
        ids = [each["id"] for each in tasks]
        for statement in (
            "INSERT INTO tasks (user_id, title) SELECT 'bob', 'x' FROM generate_series(1, 5)",
            f"UPDATE tasks SET user_id = 'bob' WHERE id IN ({ids[0]}, {ids[1]})",
            """UPDATE "user" SET id = 'eva' WHERE id = 'bob'""",
            """UPDATE "user" SET id = 'bob' WHERE id = 'eva'""",
            f"UPDATE tasks SET user_id = 'ada' WHERE id = {ids[0]}",
            f"DELETE FROM tasks WHERE id = {ids[1]}",
            "UPDATE tasks SET deleted_at = now() WHERE user_id = 'bob'",
            "DELETE FROM tasks WHERE user_id = 'bob' AND id % 2 = 0",
        ):
            await sql.execute(statement)
            assert await sql.fetch(AGREE) == [], statement
        await ada.delete(f"/api/tasks/{ids[2]}")
        await done(ada, create(), delete(ids[3]), create())
        await send(ada, create(), dry_run="true")
        assert (await send(ada, create(), delete(ids[2]))).status_code == 404
        assert await sql.fetch(AGREE) == []
        await ada.delete("/api/trash")
        assert await sql.fetch(AGREE) == []
        await sql.execute("TRUNCATE tasks")
        assert await sql.fetch(AGREE) == []
        await created(ada)
        await sql.execute("""DELETE FROM "user" WHERE id = 'bob'""")
        assert await sql.fetch(AGREE) == []


class TestHistory:
    async def test_the_oldest_go_first_and_there_are_never_more_than_99_too_many(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task = await created(ada, description="first")
        path = f"/api/tasks/{task['id']}"
        counts: list[int] = []
        async with history_versions(sql, 20):
            for number in range(350):
                await sql.execute("UPDATE tasks SET title = $1", f"title {number}")
                counts.append(await sql.fetchval("SELECT count(*) FROM task_versions"))
        assert max(counts[150:]) == 119
        assert min(counts[150:]) == 20
        assert await sql.fetchval("SELECT count(*) FROM old_versions") == 0

        history = await history_of(ada, task["id"])
        oldest = history[-1]
        assert [each["changes"]["title"]["from"] for each in history[:-1]] == [
            f"title {n}" for n in range(348, 278, -1)
        ]
        assert (oldest["action"], oldest["changes"]) == ("changed", {})
        answer = await ada.post(f"{path}/revert", json={"version": oldest["version"] - 1})
        assert (answer.status_code, answer.json()) == (422, refused("version", "The task has no such version"))
        answer = await ada.post(f"{path}/revert", json={"version": oldest["version"]})
        assert (answer.status_code, answer.json()["data"]["title"]) == (200, "title 279")
        assert answer.json()["data"]["description"] == "first"

    async def test_a_history_from_before_it_was_counted_is_cut_too_little_by_little(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task = await created(ada)
        await sql.execute(
            """
            INSERT INTO task_versions (task_id, version, user_id, title, description, completed, changed_at)
            SELECT $1, n - 2000, 'ada', 'x', repeat('x', 100), false, now() FROM generate_series(1, 900) AS n
            """,
            task["id"],
        )
        async with history_versions(sql, 150):
            for _ in range(100):
                await sql.execute("UPDATE tasks SET completed = NOT completed")
        # 200 at a time, and the rest is left to the cleanup.
        assert await sql.fetchval("SELECT count(*) FROM task_versions") == 800
        below = await sql.fetchval("SELECT below FROM old_versions")
        assert await sql.fetchval("SELECT count(*) FROM task_versions WHERE version >= $1", below) == 150
        assert await sql.fetchval("SELECT ordinal FROM task_versions WHERE version = $1", below) == 2

    async def test_without_a_limit_all_is_kept(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        await created(ada)
        async with history_versions(sql, 0):
            for _ in range(210):
                await sql.execute("UPDATE tasks SET completed = NOT completed")
        assert await sql.fetchval("SELECT count(*) FROM task_versions") == 210

    async def test_the_service_says_how_many(self, running: Litestar, sql: asyncpg.Connection) -> None:
        from app.db import connect
        from app.db.engine import database

        try:
            for most in (7, 7, 1000):
                await database.pool.run(connect.ABOUT, [most, most])
                assert await sql.fetchval("SELECT max_labels FROM task_settings") == most
                assert await sql.fetchval("SELECT history_versions FROM task_settings") == most
        finally:
            await sql.execute("UPDATE task_settings SET history_versions = 1000, max_labels = 500")


@pytest.mark.slow
async def test_each_state_can_be_told_and_had_back_whatever_was_changed_in_between(
    ada: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    chance = random.Random(14)
    task = await created(ada)
    path = f"/api/tasks/{task['id']}"
    states = {task["version"]: task}
    for number in range(60):
        body: dict[str, Any] = {}
        if chance.random() < 0.3:
            body["title"] = f"title {number}"
        if chance.random() < 0.3:
            body["description"] = chance.choice([None, "", f"description {number}"])
        if chance.random() < 0.4 or not body:
            body["completed"] = chance.random() < 0.5
        now = (await ada.patch(path, json=body, headers={"idempotency-key": f"{number}"})).json()["data"]
        states[now["version"]] = now

    for limit in (1, 3, 200):
        told: list[dict[str, Any]] = []
        before = ""
        while True:
            page = (await ada.get(f"{path}/history?limit={limit}{before}")).json()
            told += page["data"]
            if page["page"]["next"] is None:
                break
            before = f"&before={page['page']['next']}"
        assert [each["version"] for each in told] == sorted(states, reverse=True)
        content: dict[str, Any] = dict.fromkeys(CONTENT)
        for each in reversed(told):
            for field, change in each["changes"].items():
                assert change["from"] == content[field]
                content[field] = change["to"]
            assert content == {field: states[each["version"]][field] for field in content}, each

    for number in range(60):
        body = (await ada.patch(path, json={}, headers={"idempotency-key": f"{number}"})).json()
        assert body["error"]["code"] == "IDEMPOTENCY_KEY_REUSED"
    for version in chance.sample(sorted(states), 20):
        back = (await ada.post(f"{path}/revert", json={"version": version})).json()["data"]
        assert {**states[version], "version": back["version"], "updated_at": back["updated_at"]} == back
