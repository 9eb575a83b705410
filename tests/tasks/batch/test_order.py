"""Operations of a batch take effect in order: one may be about a task that another before it creates."""

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest
from litestar import Litestar

from app.db.statements import Statement
from app.db.transaction import Transaction
from tests.tasks.batch.test_batch import configured, create, everything
from tests.tasks.batch.test_upsert import LIST, ONE, TWO, batch, refusal, results, upsert


def uid(number: int) -> str:
    return f"01936c1e-7c3a-7000-9b1d-{number:012d}"


def complete(task_id: str, **more: Any) -> dict[str, Any]:
    return {"op": "complete", "id": task_id, **more}


NEW = create("a", uid=ONE)
AFTERWARDS: list[tuple[dict[str, Any], int, dict[str, Any]]] = [
    ({"op": "update", "id": ONE, "data": {"priority": 3}}, 200, {"title": "a", "priority": 3}),
    ({"op": "replace", "id": ONE, "data": {"title": "b"}}, 200, {"title": "b", "priority": 0}),
    ({"op": "complete", "id": ONE}, 200, {"completed": True}),
    ({"op": "update", "id": ONE, "data": {}}, 200, {"title": "a"}),
]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The SQL of all statements in transactions."""
    seen: list[str] = []
    fetch = Transaction.fetch

    async def seeing(transaction: Transaction, statement: Statement, **values: Any) -> list[asyncpg.Record]:
        seen.append(statement.sql)
        return await fetch(transaction, statement, **values)

    monkeypatch.setattr(Transaction, "fetch", seeing)
    return seen


class TestWhatWasJustCreated:
    @pytest.mark.parametrize("first", [NEW, upsert(ONE, title="a")])
    @pytest.mark.parametrize(("operation", "status", "changed"), AFTERWARDS)
    async def test_can_be_changed(
        self, ada: httpx.AsyncClient, first: dict[str, Any], operation: Any, status: int, changed: dict[str, Any]
    ) -> None:
        made, result = await results(ada, first, operation)
        assert (made["status"], made["data"]["title"], made["data"]["completed"]) == (201, "a", False)
        assert (result["op"], result["status"]) == (operation["op"], status)
        assert changed.items() <= result["data"].items()
        assert [result["data"]] == (await ada.get(LIST)).json()["data"]
        assert result["data"]["version"] == made["data"]["version"] + bool(operation.get("data") != {})

    async def test_can_be_deleted(self, ada: httpx.AsyncClient) -> None:
        made, gone = await results(ada, NEW, {"op": "delete", "id": ONE})
        assert (made["data"]["uid"], gone) == (ONE, {"op": "delete", "status": 204, "data": None})
        assert (await ada.get(LIST)).json()["data"] == []
        assert [task["uid"] for task in (await ada.get("/api/trash")).json()["data"]] == [ONE]

    async def test_has_versions_and_a_history_in_the_order_of_the_operations(self, ada: httpx.AsyncClient) -> None:
        operations = [NEW, complete(ONE), create("c"), upsert(TWO, title="d"), complete(TWO.upper()), create("e")]
        done = await results(ada, *operations)
        assert [each["data"]["version"] for each in done] == [1, 2, 3, 4, 5, 6]
        past = (await ada.get(f"{LIST}/{ONE}/history")).json()["data"]
        assert [(each["version"], each["action"]) for each in past] == [(2, "completed"), (1, "created")]

    async def test_may_be_there_already_where_it_is_an_upsert(self, ada: httpx.AsyncClient) -> None:
        operations = [upsert(ONE, title="a"), complete(ONE, data={"completed": True})]
        first, again = [await results(ada, *operations) for _ in range(2)]
        assert [[each["status"] for each in those] for those in (first, again)] == [[201, 200], [200, 200]]
        assert again[0]["data"]["completed"] is again[1]["data"]["completed"] is True

    async def test_has_a_patch_of_what_it_was_created_with(self, ada: httpx.AsyncClient) -> None:
        made = create("a", uid=ONE, extra={"b": 1, "c": 2}, description="x" * 9_000, labels=["d"])
        change = {"op": "update", "id": ONE, "data": {"extra": {"b": None}, "description": "y" * 9_000}}
        first, second = await results(ada, made, change)
        assert (first["data"]["extra"], second["data"]["extra"]) == ({"b": 1, "c": 2}, {"c": 2})
        assert (first["data"]["description"], second["data"]["description"]) == ("x" * 9_000, "y" * 9_000)
        assert (await ada.get(f"{LIST}/{ONE}")).json()["data"] == second["data"]

    async def test_is_told_again_for_a_key(self, ada: httpx.AsyncClient) -> None:
        operations = [upsert(ONE, title="a"), complete(ONE), create("b", uid=TWO), {"op": "delete", "id": TWO}]
        first, again = [await batch(ada, *operations, **{"idempotency-key": "1"}) for _ in range(2)]
        assert again.headers["idempotent-replayed"] == "true"
        assert first.json() == again.json()
        assert first.headers["x-revision"] == again.headers["x-revision"] == "4"

    async def test_is_told_briefly(self, ada: httpx.AsyncClient) -> None:
        answer = await ada.post(f"{LIST}/batch?return=minimal", json={"operations": [NEW, complete(ONE)]})
        made, done = [each["data"] for each in answer.json()["data"]]
        assert (made, done) == ({"id": made["id"], "version": 1}, {"id": made["id"], "version": 2})

    async def test_is_gone_after_a_dry_run(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        before = await everything(sql)
        answer = await ada.post(f"{LIST}/batch?dry_run=true", json={"operations": [NEW, complete(ONE)]})
        assert [each["data"]["completed"] for each in answer.json()["data"]] == [False, True]
        assert await everything(sql) == before

    async def test_needs_no_version_where_others_do(self, ada: httpx.AsyncClient, running: Litestar) -> None:
        operations = [upsert(ONE, title="a"), complete(ONE)]
        with configured(running, require_if_match=True):
            [made, _] = await results(ada, *operations)
            error = await refusal(ada, *operations, status=428)
            assert error["index"] == 0
            version = (await ada.get(f"{LIST}/{ONE}")).json()["data"]["version"]
            again = await results(ada, operations[0] | {"version": version}, operations[1])
            assert [each["data"]["id"] for each in again] == [made["data"]["id"]] * 2

    async def test_is_gone_for_good_where_nothing_is_kept(
        self, ada: httpx.AsyncClient, running: Litestar, sql: asyncpg.Connection
    ) -> None:
        with configured(running, trash_days=0):
            await results(ada, NEW, {"op": "delete", "id": ONE})
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 0

    async def test_is_found_behind_an_operation_on_a_list(self, ada: httpx.AsyncClient) -> None:
        other = {"op": "create", "on": "list", "data": {"name": "b"}}
        done = await results(ada, NEW, other, upsert(TWO, title="c"), complete(ONE), other, complete(TWO))
        assert [each["data"]["version"] for each in done] == [1, 2, 3, 4, 5, 6]
        assert done[0]["data"]["id"] == done[3]["data"]["id"]


class TestRefused:
    @pytest.mark.parametrize(
        ("operation", "status"),
        [
            (complete(ONE, version=9), 412),
            (upsert(ONE, title="b"), 422),
            ({"op": "update", "id": ONE, "data": {"time_zone": "Europe/Berlin"}}, 422),
            ({"op": "update", "id": ONE, "data": {"list_id": 7}}, 422),
        ],
    )
    async def test_the_operation_is_named_and_nothing_has_happened(
        self, ada: httpx.AsyncClient, operation: dict[str, Any], status: int
    ) -> None:
        error = await refusal(ada, create("z"), NEW, create("y"), operation, status=status)
        assert error["index"] == 3

    @pytest.mark.parametrize("first", [NEW, upsert(ONE, title="a")])
    async def test_a_third_operation_about_one_task_is(self, ada: httpx.AsyncClient, first: dict[str, Any]) -> None:
        for last in (complete(ONE), {"op": "delete", "id": ONE.upper()}):
            error = await refusal(ada, first, complete(ONE), last, status=422)
            assert error["fields"] == [
                {"field": "operations[2].id", "message": "Another operation is about this task already"}
            ]

    async def test_so_is_one_before_it_is_created(self, ada: httpx.AsyncClient) -> None:
        assert (await refusal(ada, complete(ONE), NEW, status=404))["index"] == 0
        assert (await refusal(ada, complete(ONE), upsert(ONE, title="a"), status=422))["index"] == 1

    async def test_a_uid_that_is_taken_is_a_conflict_of_the_operation_that_creates(
        self, ada: httpx.AsyncClient
    ) -> None:
        await results(ada, create("a", uid=ONE))
        error = await refusal(ada, create("b"), create("c", uid=ONE), complete(ONE), status=409)
        assert (error["index"], error["current"]["title"]) == (1, "a")

    async def test_by_its_number_an_upserted_task_is_the_same_one(self, ada: httpx.AsyncClient) -> None:
        [made] = await results(ada, upsert(ONE, title="a"))
        error = await refusal(ada, upsert(ONE, title="b"), complete(made["data"]["id"]), status=422)
        assert error["fields"][0]["message"] == "Another operation is about this task already"

    async def test_another_users_uid_is_none_of_hers(self, ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
        [his] = await results(bob, NEW)
        mine = await results(ada, NEW, complete(ONE))
        assert his["data"]["id"] != mine[0]["data"]["id"] == mine[1]["data"]["id"]
        assert (await bob.get(LIST)).json()["data"] == [his["data"]]


class TestStatements:
    async def test_without_dependencies_there_is_one_of_each(self, ada: httpx.AsyncClient, sent: list[str]) -> None:
        [made] = await results(ada, create("a"))
        sent.clear()
        await results(ada, *[create("b", uid=uid(each)) for each in range(50)], complete(made["data"]["id"]))
        assert len(sent) == 3  # the revision, what is changed, what is new

    async def test_with_fifty_there_is_one_more(self, ada: httpx.AsyncClient, sent: list[str]) -> None:
        await results(ada, create("a"))
        sent.clear()
        pairs = [[upsert(uid(each), title="b"), complete(uid(each))] for each in range(50)]
        done = await results(ada, *[each for pair in pairs for each in pair])
        assert [each["data"]["version"] for each in done] == [*range(2, 102)]
        assert len(sent) == 4  # of which one looks for the uids

    async def test_concurrent_ones_are_made_once(self, ada: httpx.AsyncClient) -> None:
        operations = [upsert(ONE, title="a"), complete(ONE, data={"completed": True})]
        came = await asyncio.gather(*(results(ada, *operations) for _ in range(20)))
        assert sorted(each[0]["status"] for each in came) == [200] * 19 + [201]
        assert len({each["data"]["id"] for those in came for each in those}) == 1
