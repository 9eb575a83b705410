"""Lists and labels in a batch: by the rules that they have alone, and in the order of the operations."""

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest
from litestar import Litestar

from app.db.statements import Statement
from app.db.transaction import Transaction
from app.tasks.batch import queries
from tests.tasks.batch.test_batch import configured, create, everything
from tests.tasks.batch.test_upsert import LIST, ONE, TWO, batch, results, upsert

LISTS = "/api/lists"
L, M = "01936c1e-7c3a-7000-9b1d-0d9d6f1d2a21", "01936c1e-7c3a-7000-9b1d-0d9d6f1d2a22"


def on_list(op: str, list_id: Any = None, **more: Any) -> dict[str, Any]:
    return {"op": op, "on": "list", **({} if list_id is None else {"id": list_id}), **more}


def on_label(op: str, name: Any, **more: Any) -> dict[str, Any]:
    return {"op": op, "on": "label", "id": name, **more}


NEW = on_list("create", data={"name": "Home", "uid": L})


async def state(client: httpx.AsyncClient) -> list[Any]:
    return [(await client.get(path)).json()["data"] for path in (LIST, LISTS, "/api/labels", "/api/trash")]


async def refusal(client: httpx.AsyncClient, *operations: dict[str, Any], status: int, **headers: str) -> Any:
    before = await state(client)
    answer = await batch(client, *operations, **headers)
    assert answer.status_code == status, answer.text
    assert await state(client) == before
    return answer.json()["error"]


class TestLists:
    async def test_what_a_device_did_offline_is_one_batch(self, ada: httpx.AsyncClient) -> None:
        done = await results(
            ada,
            NEW,
            upsert(ONE, title="a", list_id=L),
            create("b", uid=TWO, list_id=L.upper()),
            {"op": "complete", "id": ONE, "data": {"completed": True}},
        )
        made, first, second, completed = [each["data"] for each in done]
        assert [*done[0].items()][:2] == [("op", "create"), ("status", 201)]
        assert [each.get("on") for each in done] == ["list", None, None, None]
        assert [each["status"] for each in done] == [201, 201, 201, 200]
        assert (await ada.get(f"{LISTS}/{L}")).json()["data"] == made
        assert [each["list_id"] for each in (first, second, completed)] == [made["id"]] * 3
        assert [each["version"] for each in (made, first, second, completed)] == [1, 2, 3, 4]
        assert completed["completed"] is True

    async def test_one_is_changed_as_it_is_alone(self, ada: httpx.AsyncClient) -> None:
        done = await results(
            ada,
            NEW,
            on_list("update", L, data={"color": "#ABCDEF"}),
            on_list("replace", L.upper(), data={"name": " House ", "position": "a1"}),
            on_list("update", L, data={"archived": True}),
            on_list("upsert", L, data={"name": "b", "archived": False}),
            on_list("upsert", M, data={"name": "c", "color": "#000000"}),
        )
        assert [each["status"] for each in done] == [201, 200, 200, 200, 200, 201]
        assert done[0]["data"]["color"] is None
        assert (done[2]["data"]["name"], done[2]["data"]["color"]) == ("House", "#abcdef")
        assert done[3]["data"]["archived_at"] is not None
        assert [each["data"]["version"] for each in done] == [1, 2, 3, 4, 5, 6]
        lists = (await ada.get(LISTS)).json()["data"]
        assert lists == [done[5]["data"], done[4]["data"]] or lists == [done[4]["data"], done[5]["data"]]

    @pytest.mark.parametrize(("tasks", "trash", "inbox"), [({}, [ONE], []), ({"tasks": "inbox"}, [], [ONE])])
    async def test_one_is_deleted_with_its_tasks_or_they_move_to_the_inbox(
        self, ada: httpx.AsyncClient, tasks: dict[str, str], trash: list[str], inbox: list[str]
    ) -> None:
        made, _, gone = await results(ada, NEW, create("a", uid=ONE, list_id=L), on_list("delete", L, **tasks))
        assert gone == {"op": "delete", "on": "list", "status": 204, "data": None}
        assert [each["uid"] for each in (await ada.get("/api/trash")).json()["data"]] == trash
        assert [each["uid"] for each in (await ada.get(f"{LIST}?list=inbox")).json()["data"]] == inbox
        assert (await ada.get(f"{LISTS}/{made['data']['id']}")).status_code == 404

    async def test_what_follows_sees_what_went_with_it(self, ada: httpx.AsyncClient) -> None:
        done = await results(
            ada, NEW, create("a", uid=ONE, list_id=L), on_list("delete", L, tasks="inbox"), create("b")
        )
        versions = [each["data"]["version"] for each in done if each["data"]]
        assert versions == [1, 2, 5]  # of the list 3, and of the task that moved 4
        for operations in (
            [on_list("delete", M), upsert(ONE, list_id=M)],
            [on_list("delete", M), upsert(TWO, title="c")],
            [on_list("update", M, data={"archived": True}), create("d", list_id=M)],
        ):
            await results(ada, on_list("upsert", M, data={"name": "b"}), upsert(TWO, title="b", list_id=M))
            error = await refusal(
                ada, *operations, status=404 if operations[1]["id" if "id" in operations[1] else "op"] == TWO else 422
            )
            assert error["index"] == 1
            await ada.delete(f"{LISTS}/{M}")
            await ada.delete("/api/trash")

    async def test_where_nothing_is_kept_it_is_gone_for_good(
        self, ada: httpx.AsyncClient, running: Litestar, sql: asyncpg.Connection
    ) -> None:
        with configured(running, trash_days=0):
            await results(ada, NEW, create("a", list_id=L), on_list("delete", L))
        assert await sql.fetchval("SELECT count(*) FROM task_lists") == 0
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 0

    async def test_one_that_is_not_there_need_not_be(self, ada: httpx.AsyncClient) -> None:
        operation = on_list("delete", L, missing="ignore")
        gone = {"op": "delete", "on": "list", "status": 204, "data": None}
        assert await results(ada, operation) == [gone]
        assert (await results(ada, create("a"), operation, on_list("delete", 0, missing="ignore")))[1:] == [gone] * 2

    async def test_briefly_and_again_for_a_key(self, ada: httpx.AsyncClient) -> None:
        operations = [NEW, create("a", list_id=L, labels=["b"]), on_label("update", "b", data={"color": "#000000"})]
        first, again = [await batch(ada, *operations, **{"idempotency-key": "1"}) for _ in range(2)]
        assert again.headers["idempotent-replayed"] == "true"
        assert first.json() == again.json()
        assert first.headers["x-revision"] == again.headers["x-revision"]
        brief = await batch(ada, *operations, **{"idempotency-key": "1", "prefer": "return=minimal"})
        versions = [{"id": each["data"]["id"], "version": each["data"]["version"]} for each in first.json()["data"]]
        assert [each["data"] for each in brief.json()["data"]] == versions
        await ada.delete(f"{LISTS}/{L}")
        await ada.delete("/api/trash")
        gone = await batch(ada, *operations, **{"idempotency-key": "1"})
        assert [each["data"] is None for each in gone.json()["data"]] == [True, True, False]

        answer = await ada.post(f"{LIST}/batch?return=minimal", json={"operations": [NEW]})
        [result] = answer.json()["data"]
        assert [*result["data"]] == ["id", "version"]

    async def test_a_dry_run_leaves_none(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        before = await everything(sql), await sql.fetch("SELECT * FROM task_lists")
        answer = await ada.post(f"{LIST}/batch?dry_run=true", json={"operations": [NEW, create("a", list_id=L)]})
        assert [each["status"] for each in answer.json()["data"]] == [201, 201]
        assert (await everything(sql), await sql.fetch("SELECT * FROM task_lists")) == before

    async def test_a_list_and_a_task_may_have_one_uid(self, ada: httpx.AsyncClient) -> None:
        done = await results(
            ada, NEW, create("a", uid=L), on_list("update", L, data={"name": "b"}), upsert(ONE, title="c")
        )
        assert [each["status"] for each in done] == [201, 201, 200, 201]

    async def test_concurrent_ones_are_made_once(self, ada: httpx.AsyncClient) -> None:
        operations = [on_list("upsert", L, data={"name": "a"}), upsert(ONE, title="a", list_id=L)]
        came = await asyncio.gather(*(results(ada, *operations) for _ in range(20)))
        assert sorted(each[0]["status"] for each in came) == [200] * 19 + [201]
        assert len({each[0]["data"]["id"] for each in came}) == len((await ada.get(LISTS)).json()["data"]) == 1

    async def test_one_is_made_anew_where_its_task_was_there_after_all(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await results(ada, create("a"))
        fetch, seen = Transaction.fetch, [0]

        async def late(transaction: Transaction, statement: Statement, **values: Any) -> list[asyncpg.Record]:
            rows = await fetch(transaction, statement, **values)
            seen[0] += statement is queries.IDS_OF
            if statement is queries.IDS_OF and seen[0] == 1:
                await sql.execute("INSERT INTO tasks (user_id, title, uid) VALUES ('ada', 'b', $1)", ONE)
            return rows

        monkeypatch.setattr(Transaction, "fetch", late)
        made, new, changed = await results(ada, NEW, create("d", list_id=L), upsert(ONE, title="c", list_id=L))
        assert (seen, made["status"], changed["status"]) == ([2], 201, 200)
        assert new["data"]["list_id"] == changed["data"]["list_id"] == made["data"]["id"]

    async def test_where_versions_have_to_be_named_only_what_is_new_needs_none(
        self, ada: httpx.AsyncClient, running: Litestar
    ) -> None:
        rename = on_list("update", L, data={"name": "b"})
        with configured(running, require_if_match=True):
            [made, _] = await results(ada, NEW, rename)
            for operation in (rename, on_list("delete", L), on_list("upsert", L, data={}), on_label("delete", "a")):
                error = await refusal(ada, create("a"), operation, status=428)
                assert error["index"] == 1
            await results(ada, on_list("delete", L, version=made["data"]["version"] + 1))


class TestRefusedLists:
    @pytest.mark.parametrize(
        ("bad", "field", "message"),
        [
            ({"op": "create", "on": "tree", "data": {"title": "a"}}, ".on", "On is not a value that it may have"),
            ({"op": "create", "on": None, "data": {"title": "a"}}, ".on", "On must be a string"),
            ({"op": "create", "on": 5, "data": {"title": "a"}}, ".on", "On must be a string"),
            (on_list("complete", 1), ".op", "Op is not a value that it may have"),
            (on_list("create", data={}), ".data.name", "Name is required"),
            (on_list("create", data={"name": " "}), ".data.name", "Name is required"),
            (on_list("create", data={"name": "a", "color": "red"}), ".data.color", None),
            (on_list("create", data={"name": "a", "position": "!"}), ".data.position", None),
            (on_list("create", data={"name": "a", "uid": "x"}), ".data.uid", None),
            (on_list("create", data={"name": "a", "uid": "6a1dc0f5-e27b-8001-8000-000000000007"}), ".data.uid", None),
            (on_list("create", 1, data={"name": "a"}), ".id", "There is no such field here"),
            (on_list("update", L), ".data", "Data is required"),
            (on_list("update", "x", data={}), ".id", "Id must be an integer or a UUID"),
            (on_list("update", L, data={}, version="1"), ".version", "Version must be an integer"),
            (on_list("upsert", M, data={"color": "#000000"}), ".data.name", "Name is required"),
            (on_list("delete", L, tasks="other"), ".tasks", "Tasks is not a value that it may have"),
            (on_list("delete", L, missing="x"), ".missing", "Missing is not a value that it may have"),
            (on_list("delete", L, data={}), ".data", "There is no such field here"),
            ({"op": "delete", "id": 1, "tasks": "inbox"}, ".tasks", "There is no such field here"),
            (NEW, ".data.uid", "Another operation creates a list with this uid already"),
            (on_label("create", "a", data={}), ".op", "Op is not a value that it may have"),
            (on_label("update", "", data={}), ".id", "A label must have 1 to 50 characters"),
            (on_label("update", 5, data={}), ".id", "Id must be a string"),
            (on_label("update", "a", data={"name": ".."}), ".data.name", "A label must not be . or .."),
            (on_label("update", "a", data={"color": "x"}), ".data.color", None),
        ],
    )
    async def test_a_bad_operation_is_422_and_named(
        self, ada: httpx.AsyncClient, bad: dict[str, Any], field: str, message: str | None
    ) -> None:
        error = await refusal(ada, NEW, bad, status=422)
        assert (error["index"], error["fields"][0]["field"]) == (1, f"operations[1]{field}")
        assert message is None or error["fields"][0]["message"] == message

    async def test_nobody_elses_is_found_as_none_that_never_was(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient
    ) -> None:
        [his] = await results(bob, NEW)
        await results(bob, create("a", labels=["his"]))
        number = his["data"]["id"]
        for has_tasks in (False, True):
            for operation in (
                on_list("update", number, data={"name": "b"}),
                on_list("upsert", number, data={"name": "b"}),
                on_list("replace", number, data={"name": "b"}, version=1),
                on_list("delete", number),
                on_label("update", "his", data={"name": "hers"}),
                on_label("delete", "his"),
            ):
                other = operation | ({"id": "none"} if operation["on"] == "label" else {"id": 10**12})
                answers = [await batch(ada, each) for each in (operation, other)]
                assert answers[0].status_code == 404
                assert answers[0].content == answers[1].content
            if not has_tasks:
                await results(ada, create("a"))
        error = await refusal(ada, create("b", list_id=number), status=422)
        assert error["fields"][0]["field"] == "operations[0].data.list_id"
        assert [each["status"] for each in await results(ada, NEW)] == [201]
        assert (await bob.get(f"{LISTS}/{L}")).json()["data"] == his["data"]

    @pytest.mark.parametrize("list_id", [0, -1, 2**63, 10**40, L])
    async def test_what_is_not_there_is_404_with_its_index(self, ada: httpx.AsyncClient, list_id: Any) -> None:
        await results(ada, create("a"))
        error = await refusal(ada, create("b"), on_list("update", list_id, data={"name": "b"}), status=404)
        assert error == {"code": "NOT_FOUND", "message": "Operation 1: There is no such list.", "index": 1}

    async def test_so_is_what_an_operation_before_deletes(self, ada: httpx.AsyncClient) -> None:
        await results(ada, NEW, create("a", uid=ONE, list_id=L, labels=["b"]))
        for operations in (
            [on_list("delete", L), on_list("update", L, data={"name": "b"})],
            [on_list("delete", L), {"op": "complete", "id": ONE}],
            [on_label("delete", "b"), on_label("update", "b", data={"name": "c"})],
        ):
            assert (await refusal(ada, *operations, status=404))["index"] == 1

    async def test_a_uid_that_is_taken_is_a_conflict_with_the_list(self, ada: httpx.AsyncClient) -> None:
        [made] = await results(ada, NEW)
        error = await refusal(ada, create("a"), NEW, status=409)
        assert (error["code"], error["index"], error["current"]) == ("CONFLICT", 1, made["data"])
        await ada.delete(f"{LISTS}/{L}")
        for operation in (NEW, on_list("upsert", L, data={"name": "a"})):
            error = await refusal(ada, operation, status=409)
            assert error["current"]["deleted_at"]

    async def test_another_version_is_412_with_the_list(self, ada: httpx.AsyncClient) -> None:
        [made] = await results(ada, NEW)
        for operation in (
            on_list("update", L, data={"name": "b"}, version=9),
            on_list("upsert", L, data={"name": "b"}, version=9),
            on_list("replace", L, data={"name": "b"}, version=9),
            on_list("delete", L, version=9),
            on_list("delete", L, version=9, missing="ignore"),
        ):
            error = await refusal(ada, operation, status=412)
            assert (error["index"], error["current"]) == (0, made["data"])

    async def test_there_are_no_more_than_there_may_be(self, ada: httpx.AsyncClient, running: Litestar) -> None:
        with configured(running, max_lists=2):
            many = [on_list("create", data={"name": "a"}) for _ in range(3)]
            error = await refusal(ada, *many, status=409)
        assert (error["code"], error["index"]) == ("LIMIT_REACHED", 2)


class TestLabels:
    async def test_one_is_renamed_with_the_tasks_that_have_it(self, ada: httpx.AsyncClient) -> None:
        made, renamed, later = await results(
            ada,
            create("a", labels=["home"], uid=ONE),
            on_label("update", "HOME", data={"name": "house", "color": "#C0FFEE"}),
            create("b", labels=["House"]),
        )
        assert made["data"]["labels"] == ["home"]
        assert {"op": "update", "status": 200, "on": "label"}.items() <= renamed.items()
        told = (renamed["data"]["name"], renamed["data"]["color"], renamed["data"]["open"])
        assert told == ("house", "#c0ffee", 1)
        assert (await ada.get(f"{LIST}/{ONE}")).json()["data"]["labels"] == later["data"]["labels"] == ["house"]
        assert made["data"]["version"] < renamed["data"]["version"] < later["data"]["version"]

    async def test_one_is_deleted_and_need_not_be_there(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        operation = on_label("delete", "home", missing="ignore")
        assert (await batch(ada, operation)).headers["x-revision"] == "0"
        done = await results(ada, create("a", labels=["home"], uid=ONE), operation, operation)
        assert done[1:] == [{"op": "delete", "on": "label", "status": 204, "data": None}] * 2
        assert (await ada.get(f"{LIST}/{ONE}")).json()["data"]["labels"] == []
        assert (await ada.get("/api/labels")).json()["data"] == []
        answer = await batch(ada, operation)
        assert answer.headers["x-revision"] == f"{await sql.fetchval('SELECT revision FROM revisions')}"

    async def test_another_version_is_412(self, ada: httpx.AsyncClient) -> None:
        await results(ada, create("a", labels=["home"]))
        for operation in (
            on_label("update", "home", data={"name": "b"}, version=99),
            on_label("delete", "home", version=99, missing="ignore"),
        ):
            assert (await refusal(ada, create("b"), operation, status=412))["index"] == 1
        [label] = (await ada.get("/api/labels")).json()["data"]
        await results(ada, on_label("delete", "home", version=label["version"]))


async def test_each_operation_costs_as_a_request_and_what_it_moves(
    ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.tasks.lists.moving.TASKS_MOVED", 1)
    monkeypatch.setattr("app.tasks.costs.TASKS_MOVED", 1)
    monkeypatch.setattr("app.tasks.costs.TASKS_LOOKED_AT", 1)
    monkeypatch.setattr("app.tasks.costs._sizes", {})
    charged: list[int] = []
    monkeypatch.setattr("app.tasks.controller.charge", lambda _, count: charged.append(count))
    await results(ada, *[on_list("create", data={"name": "a"}) for _ in range(19)], NEW)
    await results(ada, *[create("a", list_id=L, labels=["b"]) for _ in range(3)])
    await results(ada, on_label("update", "b", data={"name": "c"}), on_list("delete", L))
    assert charged == [1 + 19, 0, 1 + 3, 3, 3]
