"""Every change of a list is remembered, and told to its owner alone."""

from typing import Any

import asyncpg
import httpx
import pytest

from tests.tasks.history.test_history import BY_ADA, told
from tests.tasks.lists.test_lists import LISTS, NOT_FOUND, made
from tests.tasks.test_limits import history_versions


async def page_of(client: httpx.AsyncClient, list_id: int | str, query: str = "") -> dict[str, Any]:
    answer = await client.get(f"{LISTS}/{list_id}/history{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


async def history_of(client: httpx.AsyncClient, list_id: int | str) -> list[dict[str, Any]]:
    page = await page_of(client, list_id, "?limit=200")
    assert page["page"] == {"next": None}
    return page["data"]


class TestHistory:
    async def test_a_new_list_has_been_created(self, ada: httpx.AsyncClient) -> None:
        new = await made(ada, color="#1e90ff")
        assert await page_of(ada, new["uid"]) == {
            "data": [
                {
                    "version": new["version"],
                    "at": new["created_at"],
                    "by": BY_ADA,
                    "action": "created",
                    "changes": {
                        "name": {"from": None, "to": "Groceries"},
                        "color": {"from": None, "to": "#1e90ff"},
                        "position": {"from": None, "to": new["position"]},
                    },
                }
            ],
            "page": {"next": None},
        }

    async def test_every_change_is_told_the_last_one_first(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        new = await made(ada)
        path = f"{LISTS}/{new['id']}"
        await ada.put(path, json={"name": "Shop", "position": "a1"})
        archived = (await ada.patch(path, json={"archived": True})).json()["data"]["archived_at"]
        await ada.patch(path, json={"archived": False})
        again = (await ada.patch(path, json={"archived": True, "position": None})).json()["data"]["archived_at"]
        await ada.patch(path, json={"color": None})
        await ada.delete(path)
        await ada.post(f"{path}/restore")
        await sql.execute("UPDATE task_lists SET name = 'By staff'")
        last = (await ada.get(path)).json()["data"]

        history = await history_of(ada, new["id"])
        assert told(history) == [
            ("changed", {"name": {"from": "Shop", "to": "By staff"}}),
            ("restored", {}),
            ("deleted", {}),
            ("changed", {}),
            (
                "changed",
                {"position": {"from": "a1", "to": new["position"]}, "archived_at": {"from": None, "to": again}},
            ),
            ("unarchived", {"archived_at": {"from": archived, "to": None}}),
            ("archived", {"archived_at": {"from": None, "to": archived}}),
            (
                "changed",
                {"name": {"from": "Groceries", "to": "Shop"}, "position": {"from": new["position"], "to": "a1"}},
            ),
            (
                "created",
                {"name": {"from": None, "to": "Groceries"}, "position": {"from": None, "to": new["position"]}},
            ),
        ]
        assert (history[0]["version"], history[0]["at"]) == (last["version"], last["updated_at"])
        assert [each["version"] for each in history] == list(range(last["version"], last["version"] - 9, -1))
        assert sorted((each["at"] for each in history), reverse=True) == [each["at"] for each in history]
        assert [each["by"] for each in history] == [{"kind": "staff", "id": None}, *[BY_ADA] * 8]

    async def test_page_by_page_it_is_the_same(self, ada: httpx.AsyncClient) -> None:
        new = await made(ada)
        for number in range(4):
            await ada.patch(f"{LISTS}/{new['id']}", json={"name": f"{number}"})
        whole = await history_of(ada, new["id"])
        assert len(whole) == 5
        for limit in range(1, 6):
            pages, before = [], 2**53 - 1
            while before is not None:
                page = await page_of(ada, new["id"], f"?limit={limit}&before={before}")
                pages, before = pages + page["data"], page["page"]["next"]
                assert len(page["data"]) <= limit
            assert pages == whole
        assert await page_of(ada, new["id"], "?before=0") == {"data": [], "page": {"next": None}}

    @pytest.mark.parametrize("query", ["limit=0", "limit=201", "before=-1", "before=x", "after=1"])
    async def test_other_parameters_are_refused(self, ada: httpx.AsyncClient, query: str) -> None:
        new = await made(ada)
        assert (await ada.get(f"{LISTS}/{new['id']}/history?{query}")).status_code == 422

    async def test_it_is_its_owners_alone_and_not_there_for_a_list_in_the_trash(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient
    ) -> None:
        new = await made(ada)
        path = f"{LISTS}/{new['id']}/history"
        assert (await ada.head(path)).status_code == 200
        for one in (new["id"], new["uid"], 10**9, 0):
            answer = await bob.get(f"{LISTS}/{one}/history")
            assert (answer.status_code, answer.json()) == (404, NOT_FOUND)
        assert (await bob.get(f"{LISTS}/x/history")).status_code == 422
        await ada.delete(f"{LISTS}/{new['id']}")
        for method in ("GET", "HEAD"):
            assert (await ada.request(method, path)).status_code == 404
        await ada.post(f"{LISTS}/{new['id']}/restore")
        assert [each["action"] for each in await history_of(ada, new["id"])] == ["restored", "deleted", "created"]

    async def test_what_it_replays_for_a_key_is_in_it_once(self, ada: httpx.AsyncClient) -> None:
        new = await made(ada)
        for _ in range(2):
            await ada.patch(f"{LISTS}/{new['id']}", json={"name": "x"}, headers={"idempotency-key": "1"})
        assert len(await history_of(ada, new["id"])) == 2

    async def test_a_list_from_before_there_was_a_history_begins_with_what_it_was_then(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        new = await made(ada)
        await ada.patch(f"{LISTS}/{new['id']}", json={"name": "Then"})
        await sql.execute("DELETE FROM task_list_versions")
        await sql.execute("ALTER TABLE task_lists DISABLE TRIGGER tasks_keep_list")
        await sql.execute("UPDATE task_lists SET changed_by = NULL")
        await sql.execute("ALTER TABLE task_lists ENABLE TRIGGER tasks_keep_list")
        await ada.patch(f"{LISTS}/{new['id']}", json={"name": "Now"})
        changed, begun = await history_of(ada, new["id"])
        assert (changed["action"], changed["changes"]) == ("changed", {"name": {"from": "Then", "to": "Now"}})
        assert (begun["action"], begun["by"], begun["changes"]["name"]) == (
            "created",
            None,
            {"from": None, "to": "Then"},
        )


class TestWhatIsKept:
    async def test_the_oldest_go_first_and_there_are_never_more_than_99_too_many(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        new = await made(ada)
        counts: list[int] = []
        async with history_versions(sql, 20):
            for number in range(250):
                await sql.execute("UPDATE task_lists SET name = $1", f"{number}")
                counts.append(await sql.fetchval("SELECT count(*) FROM task_list_versions"))
        assert (max(counts[150:]), min(counts[150:])) == (119, 20)
        history = await history_of(ada, new["id"])
        assert [each["changes"]["name"]["from"] for each in history[:-1]] == [f"{n}" for n in range(248, 178, -1)]
        assert (history[-1]["action"], history[-1]["changes"]) == ("changed", {})

    async def test_what_a_lower_limit_leaves_goes_a_thousand_at_a_time(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await made(ada)
        async with history_versions(sql, 0):
            for _ in range(150):
                await sql.execute("UPDATE task_lists SET color = '#000000', version = version + 20")
            await sql.execute(
                """
                INSERT INTO task_list_versions (list_id, version, user_id, name, ordinal)
                SELECT list_id, version + n, user_id, name, ordinal FROM task_list_versions, generate_series(1, 9) AS n
                """
            )
        async with history_versions(sql, 150):
            for _ in range(50):
                await sql.execute("UPDATE task_lists SET color = '#000000', version = version + 20")
        assert await sql.fetchval("SELECT count(*) FROM task_list_versions") == 550

    async def test_it_goes_with_the_list_and_moves_with_another_id_of_its_owner(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        new = await made(ada)
        await ada.patch(f"{LISTS}/{new['id']}", json={"name": "x"})
        await sql.execute("""UPDATE "user" SET id = 'lovelace' WHERE id = 'ada'""")
        assert await sql.fetchval("SELECT user_id FROM task_list_versions") == "lovelace"
        assert await sql.fetchval("SELECT count(*) FROM task_list_versions") == 1
        await sql.execute("""UPDATE "user" SET id = 'ada' WHERE id = 'lovelace'""")
        await ada.delete(f"{LISTS}/{new['id']}")
        await ada.delete("/api/trash")
        assert await sql.fetchval("SELECT count(*) FROM task_list_versions") == 0

    async def test_no_version_can_be_of_another_owner_than_its_list(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        hers, _ = await made(ada), await made(bob)
        version = "INSERT INTO task_list_versions (list_id, version, user_id, name) VALUES ($1, 0, 'bob', 'x')"
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await sql.execute(version, hers["id"])
