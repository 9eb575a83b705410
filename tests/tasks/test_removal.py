"""What is deleted is removed in steps, however much it is and whatever breaks in it; one bad case stops no other."""

import asyncio
import logging
from typing import Any

import asyncpg
import httpx
import pytest
from litestar import Litestar

from app.accounts import queries as accounts
from app.auth.jwt import User
from app.db.engine import database
from app.tasks import cleanup, queries, removal
from app.tasks.change import Change
from app.web.failures import Unavailable
from tests.tasks.test_cleanup import looking_after, until
from tests.tasks.test_cleanup import short_pauses as short_pauses
from tests.tasks.test_controller import NO_TASK, created

# A task is a user's, and all else that names it by its id is the task's; found here, so that a new table is held to it.
COLUMNS = """
    SELECT c.relname, a.attname, format_type(a.atttypid, NULL) FROM pg_attribute AS a
    JOIN pg_class AS c ON c.oid = a.attrelid JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname = current_schema() AND a.attnum > 0 AND NOT a.attisdropped
"""
HISTORY = """
    INSERT INTO task_versions (task_id, version, user_id, title, description, completed, changed_at)
    SELECT t.id, n - 100000, t.user_id, 'x', $2, false, now() FROM tasks AS t, generate_series(1, $1::int) AS n
"""
POISON = """
    CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'poison'; END $$;
    CREATE TRIGGER poison BEFORE DELETE ON {} FOR EACH ROW WHEN ({}) EXECUTE FUNCTION poison();
"""
CURED = "DROP FUNCTION IF EXISTS poison() CASCADE"


async def left_of(sql: asyncpg.Connection, user: str, ids: list[int]) -> list[str]:
    """The columns in which the user or one of the tasks is still named."""
    found: list[str] = []
    for table, column, kind in await sql.fetch(COLUMNS):
        of_user = kind in ("text", "character varying") and f'"{column}" = $1'
        of_task = kind == "bigint" and column in ("task_id", "id") and f'"{column}" = ANY ($1)'
        if (of_user and await sql.fetchval(f'SELECT count(*) FROM "{table}" WHERE {of_user}', user)) or (
            of_task and await sql.fetchval(f'SELECT count(*) FROM "{table}" WHERE {of_task}', ids)
        ):
            found.append(f"{table}.{column}")
    return sorted(found)


async def leaver(ada: httpx.AsyncClient, sql: asyncpg.Connection, tasks: int = 30) -> list[int]:
    """Let Ada have tasks, a trash, histories, words and keys. Returns the ids of her tasks."""
    for number in range(tasks):
        task = await created(ada, title=f"Buy milk {number}", labels=["shop", f"{number}"])
        await ada.patch(f"/api/tasks/{task['id']}/complete", headers={"idempotency-key": f"{number}"})
        if number % 3 == 0:
            await ada.delete(f"/api/tasks/{task['id']}")
    groceries = (await ada.post("/api/lists", json={"name": "Groceries"})).json()["data"]
    for number in range(3):
        await ada.patch(f"/api/lists/{groceries['id']}", json={"name": f"{number}"})
        await ada.patch("/api/labels/shop", json={"color": f"#00000{number}"})
    await ada.get("/api/tasks?q=milk")
    return [row["id"] for row in await sql.fetch("SELECT id FROM tasks WHERE user_id = 'ada'")]


class TestUser:
    async def test_no_row_is_left_in_any_table_and_others_keep_theirs(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        ids = await leaver(ada, sql)
        his = await created(bob)
        before = await left_of(sql, "ada", ids)
        assert {
            "tasks.id",
            "task_versions.task_id",
            "task_words.task_id",
            "task_labels.user_id",
            "task_label_versions.user_id",
            "task_lists.user_id",
            "task_list_versions.user_id",
            "idempotency_keys.user_id",
        } <= {*before}
        await accounts.close_account(User("ada"))
        await removal.forget_user("ada")
        assert await left_of(sql, "ada", ids) == []
        assert (await bob.get("/api/tasks")).json()["data"] == [his]

    @pytest.mark.slow
    @pytest.mark.parametrize("workers", [1, 3])
    async def test_it_may_be_killed_at_any_moment_and_goes_on_from_there(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, workers: int
    ) -> None:
        ids = await leaver(ada, sql)
        await sql.execute(HISTORY, 300, "x" * 100)
        await accounts.close_account(User("ada"))
        kills = 0
        while await sql.fetchval("SELECT count(*) FROM leaving_users"):
            going = [asyncio.create_task(removal.forget_user("ada")) for _ in range(workers)]
            await asyncio.sleep(0.002 * (kills + 1))
            for each in going:
                each.cancel()
            await asyncio.gather(*going, return_exceptions=True)
            kills += 1
        assert kills > 1
        assert await left_of(sql, "ada", ids) == []

    async def test_a_step_takes_few_rows_and_few_bytes(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = await created(ada)
        await sql.execute(HISTORY, 2500, "")
        ids = removal.array([task["id"]])
        assert [(await database.fetch(removal.VERSIONS_OF_TASKS, keys=ids))[0][0] for _ in range(4)] == [
            1000,
            1000,
            500,
            0,
        ]
        await sql.execute("ALTER TABLE task_versions ALTER description SET STORAGE EXTERNAL")
        try:
            await sql.execute(HISTORY, 40, "x" * 1_000_000)
        finally:
            await sql.execute("ALTER TABLE task_versions ALTER description SET STORAGE EXTENDED")
        assert [(await database.fetch(removal.VERSIONS_OF_TASKS, keys=ids))[0][0] for _ in range(4)] == [17, 17, 6, 0]

    async def test_who_leaves_can_change_nothing_with_whatever_is_still_about(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task, trashed = await created(ada), await created(ada)
        await ada.delete(f"/api/tasks/{trashed['id']}")
        await accounts.close_account(User("ada"))
        path = f"/api/tasks/{task['id']}"
        before = await sql.fetch("SELECT * FROM tasks ORDER BY id")
        operations = [{"op": "create", "data": {"title": "x"}}]
        for key in ({}, {"idempotency-key": "1"}):
            answers = [
                await ada.post("/api/tasks", json={"title": "x"}, headers=key),
                await ada.put(path, json={"title": "x"}, headers=key),
                await ada.patch(f"{path}/complete", headers=key),
                await ada.delete(path, headers=key),
                await ada.post(f"{path}/revert", json={"version": task["version"]}, headers=key),
                await ada.post(f"/api/tasks/{trashed['id']}/restore", headers=key),
                await ada.post("/api/tasks/batch", json={"operations": operations}, headers=key),
            ]
            assert [answer.status_code for answer in answers] == [401] * len(answers)
        assert await sql.fetch("SELECT * FROM tasks ORDER BY id") == before
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await sql.execute("INSERT INTO credentials (user_id, password_hash) VALUES ('ada', 'x')")

    async def test_a_change_under_way_is_there_before_the_account_is_closed_or_not_at_all(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        for _ in range(5):
            await created(ada)
            answers = await asyncio.gather(
                *(ada.post("/api/tasks", json={"title": "x"}) for _ in range(6)),
                accounts.close_account(User("ada")),
                *(ada.post("/api/tasks", json={"title": "x"}) for _ in range(6)),
            )
            statuses = {answer.status_code for answer in answers if answer is not None}
            assert statuses <= {201, 401}
            assert await sql.fetchval("SELECT count(*) FROM revisions") == 0
            await removal.forget_user("ada")
            assert await left_of(sql, "ada", []) == []

    async def test_what_somebody_else_is_at_is_left_to_them(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task = await created(ada)
        await accounts.close_account(User("ada"))
        async with sql.transaction():
            await sql.execute("SELECT FROM tasks WHERE id = $1 FOR UPDATE", task["id"])
            assert await removal.forget_user("ada") is False
        assert await removal.forget_user("ada") is True

    async def test_of_an_account_that_is_closed_by_two_nobody_elses_is(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await created(ada)
        his = await created(bob)
        await asyncio.gather(*(accounts.close_account(User("ada")) for _ in range(4)))
        assert [tuple(row) for row in await sql.fetch("SELECT user_id FROM leaving_users")] == [("ada",)]
        assert [tuple(row) for row in await sql.fetch("SELECT user_id FROM revisions")] == [("bob",)]
        assert (await bob.patch(f"/api/tasks/{his['id']}/complete")).status_code == 200


class TestTask:
    @pytest.mark.parametrize("how", ["purge", "empty", "delete", "sql"])
    async def test_a_long_history_is_detached_immediately_and_removed_behind_it(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, running: Litestar, how: str
    ) -> None:
        task, other = await created(ada), await created(ada)
        await sql.execute(HISTORY, 2500, "x" * 1000)
        if how in ("purge", "empty"):
            await ada.delete(f"/api/tasks/{task['id']}")
            path = "/api/trash" + (f"/{task['id']}" if how == "purge" else "")
            assert (await ada.delete(path)).status_code == 204
        elif how == "delete":
            await queries.delete_task(Change(User("ada")), task["id"], for_good=True)
        else:
            await sql.execute("DELETE FROM tasks WHERE id = $1", task["id"])
        kept = "SELECT count(*) FROM task_versions WHERE task_id = $1"
        assert 1500 <= await sql.fetchval(kept, task["id"]) <= 1501
        answers = [await ada.get(f"/api/tasks/{task['id']}"), await ada.get(f"/api/tasks/{task['id']}/history")]
        assert [answer.json() for answer in answers] == [NO_TASK] * 2
        assert await sql.fetchval("SELECT stored FROM revisions") == 1

        async with looking_after():
            await until(lambda: sql.fetchval(kept, task["id"]), 0)
            await until(lambda: sql.fetchval("SELECT count(*) FROM old_versions"), 0)
        assert await sql.fetchval(kept, other["id"]) == 2500
        assert await left_of(sql, "nobody", [task["id"]]) == []

    async def test_of_a_task_that_is_there_only_what_is_too_old_is_removed(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task = await created(ada)
        await sql.execute(HISTORY, 1200, "x")
        await sql.execute("INSERT INTO old_versions SELECT id, 1100 - 100000 FROM tasks")
        async with looking_after():
            await until(lambda: sql.fetchval("SELECT count(*) FROM old_versions"), 0)
        assert await sql.fetchval("SELECT count(*) FROM task_versions WHERE task_id = $1", task["id"]) == 101

    async def test_a_large_trash_is_emptied_a_part_after_the_other(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await created(ada)
        await sql.execute(
            "INSERT INTO tasks (user_id, title, deleted_at) SELECT 'ada', 'x', now() FROM generate_series(1, 2500)"
        )
        raised = await sql.fetchval("SELECT revision FROM revisions")
        answer = await ada.delete("/api/trash", headers={"idempotency-key": "1"})
        assert answer.status_code == 204
        assert await sql.fetchval("SELECT revision FROM revisions") == raised + 4  # three, and one for the key
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 1
        await sql.execute("INSERT INTO tasks (user_id, title, deleted_at) VALUES ('ada', 'later', now())")
        again = await ada.delete("/api/trash", headers={"idempotency-key": "1"})
        assert (again.status_code, again.headers["idempotent-replayed"]) == (204, "true")
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 2

    async def test_one_worker_that_has_deleted_much_looks_immediately(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cleanup, "FIRST_SECONDS", (60, 60))
        task = await created(ada)
        await sql.execute(HISTORY, 2500, "x")
        await ada.delete(f"/api/tasks/{task['id']}")
        async with looking_after():
            await asyncio.sleep(0.05)
            await ada.delete(f"/api/trash/{task['id']}")
            await until(lambda: sql.fetchval("SELECT count(*) FROM task_versions"), 0)


class TestBadCases:
    @pytest.fixture(autouse=True)
    async def cured(self, sql: asyncpg.Connection) -> Any:
        yield
        await sql.execute(CURED)

    async def test_one_task_that_cannot_be_removed_keeps_no_other_in_the_trash(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
    ) -> None:
        await created(ada)
        await sql.execute(
            """
            INSERT INTO tasks (user_id, title, deleted_at)
            SELECT 'ada', 'x', now() - interval '40 days' FROM generate_series(1, 300)
            """
        )
        await sql.execute(POISON.format("tasks", "OLD.id IN (3, 150)"))
        old = "SELECT count(*) FROM tasks WHERE deleted_at < now() - interval '30 days'"
        with caplog.at_level(logging.INFO, "app.tasks.cleanup"):
            async with looking_after():
                await until(lambda: sql.fetchval(old), 2)
                await sql.execute(CURED)
                await until(lambda: sql.fetchval(old), 0)
        assert "Could not remove expired rows (RaiseError); trying again later." in caplog.messages
        assert "Removed 298 tasks in the trash." in caplog.messages

    async def test_one_user_who_cannot_be_removed_keeps_no_other(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await created(ada)
        await created(bob)
        for owner in ("ada", "bob"):
            await accounts.close_account(User(owner))
        await sql.execute(POISON.format("tasks", "OLD.user_id = 'ada'"))
        async with looking_after():
            await until(lambda: sql.fetchval('SELECT count(*) FROM "user"'), 1)
            await sql.execute(CURED)
            await until(lambda: sql.fetchval('SELECT count(*) FROM "user"'), 0)

    async def test_many_bad_ones_are_passed_over_little_by_little(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cleanup, "MOST_FAILURES", 5)
        await created(ada)
        await sql.execute(
            """
            INSERT INTO tasks (user_id, title, deleted_at)
            SELECT 'ada', 'x', now() - interval '1 day' * (2000 - n) FROM generate_series(1, 40) AS n
            """
        )
        await sql.execute(POISON.format("tasks", "OLD.id <= 22"))  # twenty of them, the oldest
        async with looking_after():
            await until(lambda: sql.fetchval("SELECT count(*) FROM tasks"), 21)

    async def test_a_database_that_is_away_is_no_failure_of_what_is_to_be_removed(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task = await created(ada)
        await ada.delete(f"/api/tasks/{task['id']}")
        await sql.execute("UPDATE tasks SET deleted_at = now() - interval '1 year'")

        async def away(_: str) -> int:
            raise Unavailable

        job = cleanup.CleanupJob("tasks in the trash", removal.FIND_TRASH, away, days=1)
        with pytest.raises(Unavailable):
            await job.run()
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 1

    async def test_a_look_ends_where_too_much_fails(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(cleanup, "MOST_FAILURES", 3)
        await created(ada)
        await sql.execute(
            "INSERT INTO tasks (user_id, title, deleted_at)"
            " SELECT 'ada', 'x', now() - interval '1 year' FROM generate_series(1, 10)"
        )
        tried: list[str] = []

        async def broken(keys: str) -> int:
            tried.append(keys)
            raise ValueError

        await cleanup.CleanupJob("tasks in the trash", removal.FIND_TRASH, broken, days=1).run()
        assert len(tried) == 5  # the ten, five, two and three of them, and the other five
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 11

    async def test_somebody_who_leaves_is_told_so_though_what_is_theirs_cannot_be_removed_yet(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, caplog: pytest.LogCaptureFixture
    ) -> None:
        task = await created(ada)
        await accounts.close_account(User("ada"))
        await sql.execute(POISON.format("tasks", "true"))
        await cleanup.remove_user("ada", 1)
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 1
        assert "Could not remove expired rows (RaiseError); trying again later." in caplog.messages
        await sql.execute(CURED)
        await sql.execute(HISTORY, 3000, "x")
        await cleanup.remove_user("ada", 0.001)
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 1
        await cleanup.remove_user("ada", 10)
        assert await left_of(sql, "ada", [task["id"]]) == []
