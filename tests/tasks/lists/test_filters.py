"""The tasks of a list, those in none, and those in archived lists or in others."""

from typing import Any

import asyncpg
import httpx
import pytest
from litestar import Litestar

from app.db.engine import database
from app.tasks import costs
from app.tasks.listing import parameters, queries
from app.tasks.uids import UidKind, uid_of
from tests.statements import heap_only
from tests.tasks.listing.test_list import refused
from tests.tasks.listing.test_plans import explained
from tests.tasks.lists.test_lists import LISTS, UID, made
from tests.tasks.lists.test_tasks import TASKS, new


async def titles(client: httpx.AsyncClient, **query: str) -> list[str]:
    answer = await client.get(TASKS, params=query)
    assert answer.status_code == 200, answer.text
    return [task["title"] for task in answer.json()["data"]]


@pytest.fixture
async def lists(ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> dict[str, Any]:
    """Three tasks of Ada's in a list, two in an archived one, one in none, and one of Bob's in his."""
    home, work = await made(ada, "Home"), await made(ada, "Work", uid=UID)
    for list_id, title in (
        (home["id"], "h1"),
        (work["id"], "w1"),
        (None, "inbox"),
        (home["id"], "h2"),
        (work["id"], "w2"),
        (home["id"], "h3"),
    ):
        await new(ada, title=title, list_id=list_id)
    await ada.patch(f"{LISTS}/{UID}", json={"archived": True})
    his = await made(bob)
    await new(bob, title="his", list_id=his["id"])
    return {"home": home, "work": work, "his": his}


class TestFilters:
    async def test_a_list_is_named_by_its_id_or_uid(self, ada: httpx.AsyncClient, lists: dict[str, Any]) -> None:
        for name in (str(lists["home"]["id"]), lists["home"]["uid"]):
            assert await titles(ada, list=name) == ["h3", "h2", "h1"]
        assert await titles(ada, list=UID.upper()) == ["w2", "w1"]
        assert await titles(ada, list="inbox") == ["inbox"]
        assert await titles(ada, list="inbox", sort="created_at", completed="true") == []

    async def test_one_that_is_not_there_is_an_empty_page(self, ada: httpx.AsyncClient, lists: dict[str, Any]) -> None:
        await ada.delete(f"{LISTS}/{lists['home']['id']}")
        absent = [lists["his"]["id"], lists["home"]["id"], 0, 99, 2**53, 10**40, UID[:-1] + "9"]
        absent += [uid_of(UidKind.TASK, 1), lists["his"]["uid"]]
        for name in absent:
            answer = await ada.get(TASKS, params={"list": f"{name}", "count": "true"})
            assert answer.json() == {"data": [], "page": {"next": None, "total": 0}}

    @pytest.mark.parametrize("text", ["", "Inbox", "-1", "01", "1.0", "abc"])
    async def test_what_can_be_no_list_is_refused(self, ada: httpx.AsyncClient, text: str) -> None:
        rule = "list must be the id or uid of a list, or inbox"
        assert await refused(ada, f"list={text}") == ("VALIDATION_ERROR", "list", rule)

    async def test_those_in_archived_lists_are_left_out_or_alone(
        self, ada: httpx.AsyncClient, lists: dict[str, Any]
    ) -> None:
        assert len(await titles(ada)) == 6
        assert await titles(ada, archived="false") == ["h3", "h2", "inbox", "h1"]
        assert await titles(ada, archived="true", sort="created_at") == ["w1", "w2"]
        assert await titles(ada, archived="true", list=str(lists["home"]["id"])) == []
        assert await titles(ada, archived="false", list="inbox") == ["inbox"]

    @pytest.mark.parametrize("sort", ["-created_at", "created_at", "title", "due_date", "-priority", "updated_at"])
    async def test_they_have_pages_a_count_and_a_search(
        self, ada: httpx.AsyncClient, lists: dict[str, Any], sort: str
    ) -> None:
        query = {"list": str(lists["home"]["id"]), "sort": sort, "limit": "2", "count": "true"}
        first = (await ada.get(TASKS, params=query)).json()
        rest = (await ada.get(TASKS, params=query | {"cursor": first["page"]["next"]})).json()
        assert (first["page"]["total"], rest["page"]["next"]) == (3, None)
        assert {task["title"] for task in first["data"] + rest["data"]} == {"h1", "h2", "h3"}
        other = await ada.get(TASKS, params=query | {"cursor": first["page"]["next"], "list": "inbox"})
        assert other.json()["error"]["code"] == "INVALID_CURSOR"
        assert await titles(ada, list=str(lists["home"]["id"]), q="h2", sort=sort) == ["h2"]
        assert await titles(ada, archived="false", q="w2", sort=sort) == []

    async def test_what_is_known_is_not_sent_again_unless_a_list_has_changed(
        self, ada: httpx.AsyncClient, lists: dict[str, Any]
    ) -> None:
        query = {"archived": "true"}
        known = {"if-none-match": (await ada.get(TASKS, params=query)).headers["etag"]}
        assert (await ada.get(TASKS, params=query, headers=known)).status_code == 304
        await ada.patch(f"{LISTS}/{UID}", json={"archived": False})
        assert (await ada.get(TASKS, params=query, headers=known)).json()["data"] == []


class TestIndex:
    async def test_the_tasks_of_a_list_are_read_by_an_index_in_their_order(
        self, running: Litestar, clean: None, sql: asyncpg.Connection
    ) -> None:
        await sql.execute(
            """
            INSERT INTO "user" (id, name, email) SELECT u, u, u || '@x' FROM generate_series(1, 5) u;
            INSERT INTO task_lists (user_id, name) SELECT u, n FROM generate_series(1, 5) u, generate_series(1, 20) n;
            INSERT INTO tasks (user_id, title, list_id, version)
            SELECT user_id, 'x', id, n FROM task_lists, generate_series(1, 50) AS n;
            INSERT INTO tasks (user_id, title, version)
            SELECT u, 'x', n FROM generate_series(1, 5) u, generate_series(1, 500) n;
            ANALYZE tasks
            """
        )
        query = parameters.Query(list=3)
        how = {"searches": False, "follows": False, "counts": False, "rare": query.rare()}
        values = query.filters() | {"known": "{}", "limit": 20, "inline": 1000, "indexed": None}
        rows = await database.fetch(explained(queries._page("-created_at", **how)), owner="1", **values)
        plan = "\n".join(row[0] for row in rows)
        assert "Index Scan using tasks_by_list" in plan
        assert "Sort" not in plan

    async def test_a_toggle_of_a_task_in_a_list_writes_no_index(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task = await new(ada, list_id=(await made(ada))["id"])
        assert await heap_only(sql, "UPDATE tasks SET completed = NOT completed, version = version + 1") == (1, 1)
        assert (await ada.get(f"{TASKS}/{task['id']}")).json()["data"]["completed"] is True

    def test_a_list_costs_no_more_than_its_own_tasks(self) -> None:
        assert not costs.looks_through(parameters.Query(list=7))
        assert costs.looks_through(parameters.Query(list="inbox"))
        assert costs.looks_through(parameters.Query(list=7, sort="due_date"))
        assert costs.looks_through(parameters.Query(archived=True))
