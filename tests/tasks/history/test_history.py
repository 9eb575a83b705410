"""Every change of a task is remembered, and every state of it can be brought back."""

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest

from app.db.engine import database
from tests.conftest import token
from tests.db.test_group_commit import WAITING
from tests.tasks.plain import PLAIN_CHANGES
from tests.tasks.test_controller import NO_TASK, created, refused

BY_ADA = {"kind": "jwt", "id": None}


async def page_of(client: httpx.AsyncClient, task_id: int, query: str = "") -> dict[str, Any]:
    answer = await client.get(f"/api/tasks/{task_id}/history{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def history_of(client: httpx.AsyncClient, task_id: int) -> list[dict[str, Any]]:
    page = await page_of(client, task_id, "?limit=200")
    assert page["page"] == {"next": None}
    return page["data"]


def told(history: list[dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [(each["action"], each["changes"]) for each in history]


class TestHistory:
    async def test_a_new_task_has_been_created(self, ada: httpx.AsyncClient) -> None:
        task = await created(ada)
        assert await page_of(ada, task["id"]) == {
            "data": [
                {
                    "version": task["version"],
                    "at": task["created_at"],
                    "by": BY_ADA,
                    "action": "created",
                    "changes": {
                        "title": {"from": None, "to": "Buy milk"},
                        "completed": {"from": None, "to": False},
                        **PLAIN_CHANGES,
                    },
                }
            ],
            "page": {"next": None},
        }

    async def test_every_change_is_told_the_last_one_first(self, ada: httpx.AsyncClient) -> None:
        task = await created(ada)
        path = f"/api/tasks/{task['id']}"
        await ada.put(path, json={"title": "Buy oat milk", "description": "Two litres"})
        done = [
            await ada.patch(path, json={"description": None, "completed": True}),
            await ada.patch(f"{path}/complete"),
            await ada.patch(f"{path}/complete", json={"completed": True}),
        ]
        first, _, second = (each.json()["data"]["completed_at"] for each in done)
        await ada.patch(f"{path}/complete", json={"completed": True})
        await ada.delete(path)
        last = (await ada.post(f"{path}/restore")).json()["data"]

        history = await history_of(ada, task["id"])
        assert told(history) == [
            ("restored", {}),
            ("deleted", {}),
            ("changed", {}),
            ("completed", {"completed": {"from": False, "to": True}, "completed_at": {"from": None, "to": second}}),
            ("reopened", {"completed": {"from": True, "to": False}, "completed_at": {"from": first, "to": None}}),
            (
                "changed",
                {
                    "description": {"from": "Two litres", "to": None},
                    "completed": {"from": False, "to": True},
                    "completed_at": {"from": None, "to": first},
                },
            ),
            (
                "changed",
                {
                    "title": {"from": "Buy milk", "to": "Buy oat milk"},
                    "description": {"from": None, "to": "Two litres"},
                },
            ),
            (
                "created",
                {"title": {"from": None, "to": "Buy milk"}, "completed": {"from": None, "to": False}, **PLAIN_CHANGES},
            ),
        ]
        assert (history[0]["version"], history[0]["at"]) == (last["version"], last["updated_at"])
        assert [each["version"] for each in history] == list(range(last["version"], last["version"] - 8, -1))
        assert sorted((each["at"] for each in history), reverse=True) == [each["at"] for each in history]

    async def test_it_says_who_it_was(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        task = await created(ada)
        path = f"/api/tasks/{task['id']}"
        named = {"authorization": f"Bearer {token('ada', jti='a:b')}"}
        await ada.patch(path, json={"title": "x"}, headers=named)
        await sql.execute("UPDATE tasks SET title = 'y'")
        async with sql.transaction():
            await sql.execute("SET LOCAL tasks.staff = 'off'")
            await sql.execute("SET LOCAL tasks.owner = 'ada'")
            await sql.execute("UPDATE tasks SET title = 'z'")
        await sql.execute("UPDATE tasks SET title = 'zz', version = 100, changed_by = 'session:abc'")
        await sql.execute("UPDATE tasks SET title = 'zzz', version = 101, changed_by = 'token:def'")
        await sql.execute("UPDATE tasks SET title = 'zzz', version = 102, changed_by = 'wizard:1'")

        assert [each["by"] for each in await history_of(ada, task["id"])] == [
            None,
            {"kind": "token", "id": "def"},
            {"kind": "session", "id": "abc"},
            None,
            {"kind": "staff", "id": None},
            {"kind": "jwt", "id": "a:b"},
            BY_ADA,
        ]

    async def test_it_comes_in_pages_none_of_which_changes_when_the_task_does(self, ada: httpx.AsyncClient) -> None:
        task = await created(ada)
        for number in range(6):
            await ada.patch(f"/api/tasks/{task['id']}", json={"title": str(number)})
        whole = await history_of(ada, task["id"])

        page = await page_of(ada, task["id"], "?limit=3")
        seen = page["data"]
        sizes = [len(seen)]
        while (before := page["page"]["next"]) is not None:
            await ada.patch(f"/api/tasks/{task['id']}/complete")
            page = await page_of(ada, task["id"], f"?limit=3&before={before}")
            seen += page["data"]
            sizes.append(len(page["data"]))
        assert seen == whole
        assert sizes == [3, 3, 1]

        assert (await page_of(ada, task["id"], "?limit=200&before=0")) == {"data": [], "page": {"next": None}}
        exactly = await page_of(ada, task["id"], f"?limit=7&before={whole[0]['version'] + 1}")
        assert exactly == {"data": whole, "page": {"next": None}}

    @pytest.mark.parametrize("limit", ["", "?limit=50"])
    async def test_a_page_has_fifty_changes_where_nothing_is_said(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, limit: str
    ) -> None:
        task = await created(ada)
        for _ in range(60):
            await sql.execute("UPDATE tasks SET completed = NOT completed")
        page = await page_of(ada, task["id"], limit)
        assert (len(page["data"]), page["page"]["next"]) == (50, page["data"][-1]["version"])

    @pytest.mark.parametrize(
        ("query", "field", "message"),
        [
            ("limit=201", "limit", "limit must be a whole number from 1 to 200"),
            ("limit=0", "limit", "limit must be a whole number from 1 to 200"),
            ("limit=", "limit", "limit must be a whole number from 1 to 200"),
            ("limit", "limit", "limit must be a whole number from 1 to 200"),
            ("limit=%D9%A1", "limit", "limit must be a whole number from 1 to 200"),
            ("limit=1.0", "limit", "limit must be a whole number from 1 to 200"),
            ("limit=+1", "limit", "limit must be a whole number from 1 to 200"),
            ("before=-1", "before", "before must be a whole number from 0 to 9007199254740991"),
            ("before=01", "before", "before must be a whole number from 0 to 9007199254740991"),
            ("before=9007199254740992", "before", "before must be a whole number from 0 to 9007199254740991"),
            ("before=" + "9" * 5000, "before", "before must be a whole number from 0 to 9007199254740991"),
            ("limit=1&limit=1", "limit", "limit must be there once"),
            ("limit=1&before=2&before=3", "before", "before must be there once"),
            ("limit=1&page=2", "page", "There is no such parameter here, only limit, before"),
            ("=1", "", "There is no such parameter here, only limit, before"),
            ("%00=1", "\0", "There is no such parameter here, only limit, before"),
            ("%ff=1", "query", "The query must be UTF-8, percent-encoded"),
        ],
    )
    async def test_a_query_that_it_cannot_answer_is_refused_by_name(
        self, ada: httpx.AsyncClient, query: str, field: str, message: str
    ) -> None:
        task = await created(ada)
        for task_id in (task["id"], task["id"] + 1):
            answer = await ada.get(f"/api/tasks/{task_id}/history?{query}")
            assert (answer.status_code, answer.json()) == (422, refused(field, message))

    async def test_it_is_the_owners_alone(self, ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
        task = await created(ada)
        answers = [
            await bob.get(f"/api/tasks/{task['id']}/history"),
            await ada.get(f"/api/tasks/{task['id'] + 1}/history"),
            await ada.get(f"/api/tasks/{2**63}/history"),
        ]
        assert [(each.status_code, each.json()) for each in answers] == [(404, NO_TASK)] * 3

    async def test_it_goes_with_its_owner(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        task = await created(ada)
        await ada.patch(f"/api/tasks/{task['id']}/complete")
        assert await sql.fetchval("SELECT count(*) FROM task_versions") == 1
        await sql.execute("""DELETE FROM "user" WHERE id = 'ada'""")
        assert await sql.fetchval("SELECT count(*) FROM task_versions") == 0

    async def test_it_moves_with_the_task_to_another_owner(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task, _ = await created(ada), await created(bob)
        await ada.patch(f"/api/tasks/{task['id']}/complete")
        before = await history_of(ada, task["id"])
        await sql.execute("UPDATE tasks SET user_id = 'bob' WHERE id = $1", task["id"])

        assert (await ada.get(f"/api/tasks/{task['id']}/history")).json() == NO_TASK
        assert (await history_of(bob, task["id"]))[1:] == before
        assert (await bob.post(f"/api/tasks/{task['id']}/revert", json={"version": task["version"]})).is_success


class TestRevert:
    async def test_a_state_comes_back_as_a_new_version(self, ada: httpx.AsyncClient) -> None:
        task = await created(ada, description="Two litres")
        path = f"/api/tasks/{task['id']}"
        await ada.put(path, json={"title": "Buy oat milk"})
        now = (await ada.patch(f"{path}/complete")).json()["data"]

        answer = await ada.post(f"{path}/revert", json={"version": task["version"]})
        reverted = answer.json()["data"]
        assert (answer.status_code, answer.headers["etag"]) == (200, f'"v{reverted["version"]}"')
        assert reverted == {**task, "updated_at": reverted["updated_at"], "version": now["version"] + 1}
        assert reverted["updated_at"] > now["updated_at"]
        assert (await ada.get(path)).json() == {"data": reverted}

        answer = await ada.post(f"{path}/revert", json={"version": now["version"]})
        assert answer.json()["data"] == {
            **now,
            "updated_at": answer.json()["data"]["updated_at"],
            "version": now["version"] + 2,
        }
        assert len(await history_of(ada, task["id"])) == 5

    async def test_to_the_present_version_it_is_a_change_of_nothing(self, ada: httpx.AsyncClient) -> None:
        task = await created(ada)
        answer = await ada.post(f"/api/tasks/{task['id']}/revert", json={"version": task["version"]})
        reverted = answer.json()["data"]
        assert reverted == {**task, "updated_at": reverted["updated_at"], "version": task["version"] + 1}
        assert told(await history_of(ada, task["id"]))[0] == ("changed", {})

    async def test_a_state_from_before_it_was_deleted_comes_back_after_a_restore(self, ada: httpx.AsyncClient) -> None:
        task = await created(ada)
        path = f"/api/tasks/{task['id']}"
        await ada.put(path, json={"title": "x"})
        await ada.delete(path)
        await ada.post(f"{path}/restore")
        in_trash = (await history_of(ada, task["id"]))[1]["version"]

        answer = await ada.post(f"{path}/revert", json={"version": in_trash})
        assert (answer.status_code, answer.json()["data"]["title"]) == (200, "x")  # a content, not where it was
        answer = await ada.post(f"{path}/revert", json={"version": task["version"]})
        assert (answer.status_code, answer.json()["data"]["title"]) == (200, "Buy milk")

    async def test_a_task_that_comes_back_from_the_trash_behind_it_was_not_found(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task = await created(ada)
        await ada.delete(f"/api/tasks/{task['id']}")
        async with sql.transaction():
            await sql.execute("SELECT FROM revisions WHERE user_id = 'ada' FOR UPDATE")
            version = {"version": task["version"]}
            reverting = asyncio.create_task(ada.post(f"/api/tasks/{task['id']}/revert", json=version))
            async with asyncio.timeout(3):
                while not (await database.pool.run(WAITING, []))[0][0]:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await sql.execute("UPDATE tasks SET deleted_at = NULL")
        answer = await reverting
        assert (answer.status_code, answer.json()) == (404, NO_TASK)

    @pytest.mark.parametrize(("written", "status"), [("{}", 200), ("{}.0", 200), ("{}e0", 200), ("{}.5", 422)])
    async def test_a_version_is_an_integer_however_json_writes_it(
        self, ada: httpx.AsyncClient, written: str, status: int
    ) -> None:
        task = await created(ada)
        content = f'{{"version": {written.format(task["version"])}, "other": 1.0}}'
        answer = await ada.post(f"/api/tasks/{task['id']}/revert", content=content)
        assert answer.status_code == status
        if status == 422:
            assert answer.json() == refused("version", "Version must be an integer")

    async def test_a_version_that_never_was_is_refused_and_nothing_happens(self, ada: httpx.AsyncClient) -> None:
        task, other = await created(ada), await created(ada)
        path = f"/api/tasks/{task['id']}/revert"
        for version in (other["version"], other["version"] + 1, 0, 2**53 - 1):
            answer = await ada.post(path, json={"version": version})
            assert (answer.status_code, answer.json()) == (422, refused("version", "The task has no such version"))
        assert (await ada.get(f"/api/tasks/{task['id']}")).json() == {"data": task}

    @pytest.mark.parametrize("version", [-1, 2**53, 10**30, 1.5, "1", True, None, [1], {"n": 1}])
    async def test_a_version_is_an_integer(self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, version: Any) -> None:
        task = await created(ada)
        for client in (ada, bob):
            answer = await client.post(f"/api/tasks/{task['id']}/revert", json={"version": version})
            assert (answer.status_code, answer.json()["error"]["fields"][0]["field"]) == (422, "version")

    async def test_somebody_elses_task_and_one_that_never_was_are_not_found(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient
    ) -> None:
        task = await created(ada)
        for client, task_id in ((bob, task["id"]), (ada, task["id"] + 1)):
            for version in (task["version"], 99):
                answer = await client.post(f"/api/tasks/{task_id}/revert", json={"version": version})
                assert (answer.status_code, answer.json()) == (404, NO_TASK)

    async def test_it_can_hang_on_the_present_version(self, ada: httpx.AsyncClient) -> None:
        task = await created(ada)
        path = f"/api/tasks/{task['id']}"
        now = (await ada.put(path, json={"title": "x"})).json()["data"]
        stale = {"If-Match": f'"v{task["version"]}"'}

        answer = await ada.post(f"{path}/revert", json={"version": task["version"]}, headers=stale)
        assert (answer.status_code, answer.headers["etag"]) == (412, f'"v{now["version"]}"')
        assert answer.json()["error"]["current"] == now
        # RFC 9110, section 13.2.1: a condition counts only where the request would otherwise succeed.
        answer = await ada.post(f"{path}/revert", json={"version": 99}, headers=stale)
        assert answer.status_code == 422

        fresh = {"If-Match": f'"v{now["version"]}"'}
        answer = await ada.post(f"{path}/revert", json={"version": task["version"]}, headers=fresh)
        assert (answer.status_code, answer.json()["data"]["title"]) == (200, "Buy milk")
