"""What is deleted can be had back, until it is deleted for good."""

import asyncio
import random
import re
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from litestar import Litestar

from app.auth.jwt import User
from app.db.statements import Statement
from app.tasks import queries
from app.tasks.change import Change
from app.tasks.failures import TaskNotFound
from app.tasks.history import queries as history_queries
from app.tasks.trash import queries as trash_queries
from tests.tasks.test_controller import NO_TASK, created

IS_WAITED_FOR = """
    SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')
"""
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


async def deleted(client: httpx.AsyncClient, **content: Any) -> dict[str, Any]:
    """A task that is in the trash, as it was before it came there."""
    task = await created(client, **content)
    assert (await client.delete(f"/api/tasks/{task['id']}")).status_code == 204
    return task


async def trash_of(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    answer = await client.get("/api/trash")
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


class TestTrash:
    async def test_a_deleted_task_is_in_the_trash_and_nowhere_else(self, ada: httpx.AsyncClient) -> None:
        task = await deleted(ada)

        (trashed,) = await trash_of(ada)
        assert STAMP.fullmatch(trashed["deleted_at"])
        assert trashed == {
            **task,
            "updated_at": trashed["updated_at"],
            "version": task["version"] + 1,
            "deleted_at": trashed["deleted_at"],
        }
        path = f"/api/tasks/{task['id']}"
        answers = [
            await ada.get(path),
            await ada.put(path, json={"title": "x"}),
            await ada.patch(path, json={"title": "x"}),
            await ada.patch(path, json={}),
            await ada.patch(f"{path}/complete"),
            await ada.delete(path),
            await ada.get(f"{path}/history"),
            await ada.post(f"{path}/revert", json={"version": task["version"]}),
        ]
        assert [(each.status_code, each.json()) for each in answers] == [(404, NO_TASK)] * len(answers)
        assert (await ada.get("/api/tasks")).json() == {"data": []}
        assert await trash_of(ada) == [trashed]

    async def test_what_was_deleted_last_comes_first(self, ada: httpx.AsyncClient) -> None:
        first, second, third = [await created(ada) for _ in range(3)]
        for task in (second, first, third):
            await ada.delete(f"/api/tasks/{task['id']}")
        assert [each["id"] for each in await trash_of(ada)] == [third["id"], first["id"], second["id"]]

    async def test_also_of_what_was_deleted_in_the_same_millisecond(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        ids = [(await created(ada))["id"] for _ in range(20)]
        order = random.Random(1).sample(ids, len(ids))
        operations = [{"op": "delete", "id": each} for each in order]
        assert (await ada.post("/api/tasks/batch", json={"operations": operations})).status_code == 200
        assert [each["id"] for each in await trash_of(ada)] == order[::-1]
        assert await sql.fetchval("SELECT count(DISTINCT deleted_at) FROM tasks") < len(ids)

    async def test_nobody_sees_what_somebody_else_deleted(self, ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
        await deleted(ada)
        assert await trash_of(bob) == []

    @pytest.mark.parametrize("path", ["/api/trash/", "//api/trash", "/api/trash?"])
    async def test_a_slash_and_a_query_change_nothing(self, ada: httpx.AsyncClient, path: str) -> None:
        await deleted(ada)
        assert (await ada.get(f"http://test{path}")).json() == {"data": await trash_of(ada)}


class TestRestore:
    async def test_a_restored_task_is_as_it_was_at_a_new_version(self, ada: httpx.AsyncClient) -> None:
        task = await deleted(ada, description="Two litres")
        answer = await ada.post(f"/api/tasks/{task['id']}/restore")

        restored = answer.json()["data"]
        assert (answer.status_code, answer.headers["etag"]) == (200, f'"v{restored["version"]}"')
        assert restored == {**task, "updated_at": restored["updated_at"], "version": task["version"] + 2}
        assert restored["updated_at"] > task["updated_at"]
        assert (await ada.get("/api/tasks")).json() == {"data": [restored]}
        assert await trash_of(ada) == []

    async def test_what_is_not_in_the_callers_trash_is_not_found(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient
    ) -> None:
        alive, task = await created(ada), await deleted(ada)
        answers = [
            await ada.post(f"/api/tasks/{alive['id']}/restore"),
            await bob.post(f"/api/tasks/{task['id']}/restore"),
            await bob.post(f"/api/tasks/{task['id']}/restore", headers={"If-Match": '"v1"'}),
            await ada.post("/api/tasks/9007199254740991/restore"),
            await ada.post("/api/tasks/0/restore"),
        ]
        assert [(each.status_code, each.json()) for each in answers] == [(404, NO_TASK)] * len(answers)
        assert (await ada.post("/api/tasks/x/restore")).status_code == 422
        assert len(await trash_of(ada)) == 1

    async def test_it_can_hang_on_the_version_in_the_trash(self, ada: httpx.AsyncClient) -> None:
        task = await deleted(ada)
        (trashed,) = await trash_of(ada)
        path = f"/api/tasks/{task['id']}/restore"

        answer = await ada.post(path, headers={"If-Match": f'"v{task["version"]}"'})
        assert (answer.status_code, answer.headers["etag"]) == (412, f'"v{trashed["version"]}"')
        assert answer.json()["error"]["code"] == "PRECONDITION_FAILED"
        assert answer.json()["error"]["current"] == trashed

        answer = await ada.post(path, headers={"If-Match": answer.headers["etag"]})
        assert answer.status_code == 200


class TestForGood:
    async def test_of_a_task_deleted_for_good_nothing_is_left(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task, other = await deleted(ada), await deleted(ada)
        path = f"/api/trash/{task['id']}"
        assert (await bob.delete(path)).json() == NO_TASK

        answer = await ada.delete(path)
        assert (answer.status_code, answer.content) == (204, b"")

        assert [each["id"] for each in await trash_of(ada)] == [other["id"]]
        answers = [await ada.delete(path), await ada.post(f"/api/tasks/{task['id']}/restore")]
        assert [(each.status_code, each.json()) for each in answers] == [(404, NO_TASK)] * 2
        assert await sql.fetch("SELECT DISTINCT task_id FROM task_versions") == [(other["id"],)]

    async def test_only_what_is_in_the_trash_can_be_deleted_for_good(self, ada: httpx.AsyncClient) -> None:
        task = await created(ada)
        assert (await ada.delete(f"/api/trash/{task['id']}")).status_code == 404
        assert (await ada.delete("/api/trash")).status_code == 204
        assert (await ada.get("/api/tasks")).json() == {"data": [task]}

    async def test_it_can_hang_on_the_version_in_the_trash(self, ada: httpx.AsyncClient) -> None:
        task = await deleted(ada)
        path = f"/api/trash/{task['id']}"
        answer = await ada.delete(path, headers={"If-Match": f'"v{task["version"]}"'})
        assert (answer.status_code, answer.json()["error"]["current"]["id"]) == (412, task["id"])
        assert (await ada.delete(path, headers={"If-Match": answer.headers["etag"]})).status_code == 204

    async def test_the_trash_can_be_emptied_of_all_that_is_the_callers(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        kept, of_bob = await created(ada), await deleted(bob)
        for _ in range(3):
            await deleted(ada)

        answer = await ada.delete("/api/trash")
        assert (answer.status_code, answer.content) == (204, b"")

        assert await trash_of(ada) == []
        assert [each["id"] for each in await trash_of(bob)] == [of_bob["id"]]
        assert (await ada.get("/api/tasks")).json() == {"data": [kept]}
        assert await sql.fetch("SELECT DISTINCT task_id FROM task_versions") == [(of_bob["id"],)]
        assert (await ada.delete("/api/trash")).status_code == 204

    @pytest.mark.slow
    async def test_a_large_trash_is_emptied_as_well_beside_a_long_history(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task = await created(ada)
        await sql.execute(
            """
            INSERT INTO task_versions (task_id, version, user_id, title, completed, changed_at)
            SELECT $1, -number, 'ada', 'x', false, now() FROM generate_series(1, 5000) AS number
            """,
            task["id"],
        )
        await sql.execute("ANALYZE task_versions")  # so that an index seems of no use
        await sql.execute(
            """
            INSERT INTO tasks (user_id, title, version, deleted_at)
            SELECT 'ada', 'x', 1, now() FROM generate_series(1, 10000)
            """
        )
        await sql.execute("UPDATE tasks SET version = 2 WHERE deleted_at IS NOT NULL")

        answer = await ada.delete("/api/trash")
        assert answer.status_code == 204, answer.text
        assert await trash_of(ada) == []
        assert await sql.fetchval("SELECT count(*) FROM task_versions") == 5000


class TestWithoutTrash:
    @pytest.fixture(autouse=True)
    async def nothing_is_kept(self, running: Litestar, monkeypatch: pytest.MonkeyPatch) -> None:
        now = running.state["settings"]
        monkeypatch.setitem(running.state, "settings", msgspec.structs.replace(now, trash_days=0))

    async def test_what_is_deleted_is_gone_immediately(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        task = await deleted(ada)

        assert await trash_of(ada) == []
        assert (await ada.post(f"/api/tasks/{task['id']}/restore")).json() == NO_TASK
        assert await sql.fetchval("SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM task_versions)") == 0

    async def test_many_concurrent_ones_are_one_deletion_each(self, ada: httpx.AsyncClient) -> None:
        task = await created(ada)
        path = f"/api/tasks/{task['id']}"
        deletions = [ada.delete(path) for _ in range(10)]
        answers = await asyncio.gather(*deletions, *(ada.patch(f"{path}/complete") for _ in range(10)))
        statuses = [each.status_code for each in answers]
        assert (statuses.count(204), {*statuses} <= {200, 204, 404}) == (1, True)
        assert (await ada.get(path)).status_code == 404

    async def test_it_raises_the_revision_and_honours_if_match(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task = await created(ada)
        path = f"/api/tasks/{task['id']}"
        assert (await bob.delete(path)).json() == NO_TASK
        answer = await ada.delete(path, headers={"If-Match": f'"v{task["version"] + 1}"'})
        assert (answer.status_code, answer.json()["error"]["current"]) == (412, task)
        assert (await ada.delete(path, headers={"If-Match": f'"v{task["version"]}"'})).status_code == 204
        assert await sql.fetchval("SELECT revision FROM revisions WHERE user_id = 'ada'") > task["version"]


STATEMENTS = {
    name: each
    for module in (trash_queries, history_queries, queries)
    for name, each in vars(module).items()
    if isinstance(each, Statement)
}
TABLE = re.compile(r'(?:FROM|UPDATE) "(tasks|task_versions)"')
FILTER_AND_RLS = (
    r"WHERE \(*\(SELECT set_config\('tasks\.owner', \$(\d+), true\)\) IS NOT NULL"
    r""" AND "{}"\."user_id" = \$(\d+)(?: AND |\s*\))"""
)


@pytest.mark.parametrize("name", sorted(STATEMENTS))
def test_wherever_a_statement_looks_for_tasks_or_their_past_it_says_whose_and_asks_for_theirs(name: str) -> None:
    sql, names = STATEMENTS[name].sql, STATEMENTS[name].names
    for place in TABLE.finditer(sql):
        condition = re.compile(FILTER_AND_RLS.format(place[1])).match(sql, sql.index("WHERE", place.end()))
        assert condition, sql[place.start() :]
        assert [names[int(number) - 1] for number in condition.groups()] == ["owner"] * 2


class TestConcurrently:
    """Whatever comes at the same moment, each of them is there afterwards or has been told so."""

    async def test_of_many_restores_one_restores(self, ada: httpx.AsyncClient) -> None:
        task = await deleted(ada)
        answers = await asyncio.gather(*(ada.post(f"/api/tasks/{task['id']}/restore") for _ in range(20)))
        assert sorted(each.status_code for each in answers) == [200] + [404] * 19

    async def test_a_restore_and_a_purge_are_not_both(self, ada: httpx.AsyncClient) -> None:
        for _ in range(20):
            task = await deleted(ada)
            restored, purged = await asyncio.gather(
                ada.post(f"/api/tasks/{task['id']}/restore"), ada.delete(f"/api/trash/{task['id']}")
            )
            there = (await ada.get(f"/api/tasks/{task['id']}")).status_code
            assert (restored.status_code, purged.status_code, there) in ((200, 404, 200), (404, 204, 404))

    async def test_emptying_it_many_times_while_things_come_and_go_locks_nobody_out(
        self, ada: httpx.AsyncClient
    ) -> None:
        for _ in range(3):
            tasks = [await deleted(ada) for _ in range(10)] + [await created(ada) for _ in range(5)]
            answers = await asyncio.gather(
                *(ada.delete("/api/trash") for _ in range(5)),
                *(ada.post(f"/api/tasks/{task['id']}/restore") for task in tasks[:10]),
                *(ada.delete(f"/api/trash/{task['id']}") for task in tasks[:10]),
                *(ada.delete(f"/api/tasks/{task['id']}") for task in tasks[10:]),
            )
            assert {each.status_code for each in answers} <= {200, 204, 404}
            await ada.delete("/api/trash")
            assert await trash_of(ada) == []

    async def test_many_reverts_and_changes_are_that_many_versions(self, ada: httpx.AsyncClient) -> None:
        task = await created(ada)
        path = f"/api/tasks/{task['id']}"
        reverts = [ada.post(f"{path}/revert", json={"version": task["version"]}) for _ in range(20)]
        answers = await asyncio.gather(*reverts, *(ada.patch(path, json={"title": str(n)}) for n in range(20)))

        assert {each.status_code for each in answers} == {200}
        versions = {each.json()["data"]["version"]: each.json()["data"]["title"] for each in answers}
        assert len(versions) == 40
        page = (await ada.get(f"{path}/history?limit=200")).json()["data"]
        assert [each["version"] for each in page] == [*sorted(versions, reverse=True), task["version"]]
        assert (await ada.get(path)).json()["data"]["title"] == versions[max(versions)]


async def test_a_restore_that_is_too_late_for_its_condition_is_not_found(ada: httpx.AsyncClient) -> None:
    task = await created(ada)
    with pytest.raises(TaskNotFound):
        await trash_queries.restore_task(Change(User("ada")), task["id"])


class TestItsTurn:
    """Who removes for good takes the owner's revision first, as every change does: or each would wait for the other."""

    @pytest.mark.parametrize("for_good", [True, False], ids=["a task", "the trash"])
    async def test_nothing_that_is_removed_for_good_and_changed_concurrently_is_locked_the_other_way_round(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, for_good: bool
    ) -> None:
        task = await (created if for_good else deleted)(ada)
        change = Change(User("ada"))
        async with sql.transaction():
            await sql.execute("UPDATE revisions SET revision = revision + 1 WHERE user_id = 'ada'")
            removing = asyncio.create_task(
                queries.delete_task(change, task["id"], for_good=True)
                if for_good
                else trash_queries.empty_trash(change)
            )
            async with asyncio.timeout(5):
                while not await sql.fetchval(IS_WAITED_FOR):
                    await sql.execute("SELECT pg_sleep(0.01), pg_stat_clear_snapshot()")
            await sql.execute("UPDATE tasks SET title = 'changed', deleted_at = NULL WHERE id = $1", task["id"])
        await removing

        assert [each["title"] for each in (await ada.get("/api/tasks")).json()["data"]] == ["changed"] * (not for_good)
