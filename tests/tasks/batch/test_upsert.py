"""Operations of a batch that a client can send whatever it knows: `upsert`, and `delete` of what need not be there."""

import asyncio
from typing import Any

import httpx
import pytest

LIST = "/api/tasks"
ONE, TWO = "01936c1e-7c3a-7000-9b1d-0d9d6f1d2a11", "01936c1e-7c3a-7000-9b1d-0d9d6f1d2a12"
NOT_FOUND = {"code": "NOT_FOUND", "index": 0}


async def batch(client: httpx.AsyncClient, *operations: dict[str, Any], **headers: str) -> httpx.Response:
    return await client.post(f"{LIST}/batch", json={"operations": operations}, headers=headers)


async def results(client: httpx.AsyncClient, *operations: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await batch(client, *operations)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def refusal(client: httpx.AsyncClient, *operations: dict[str, Any], status: int, **headers: str) -> Any:
    before = (await client.get(LIST)).json(), (await client.get("/api/trash")).json()
    answer = await batch(client, *operations, **headers)
    assert answer.status_code == status, answer.text
    assert before == ((await client.get(LIST)).json(), (await client.get("/api/trash")).json())
    return answer.json()["error"]


def upsert(uid: str | int = ONE, **data: Any) -> dict[str, Any]:
    return {"op": "upsert", "id": uid, "data": data}


class TestUpsert:
    async def test_what_is_not_there_is_created_with_the_uid(self, ada: httpx.AsyncClient) -> None:
        [result] = await results(ada, upsert(title=" a ", extra={"b": None, "c": 1}, due_date="2026-12-04"))
        assert (result["op"], result["status"]) == ("upsert", 201)
        assert (await ada.get(f"{LIST}/{ONE}")).json()["data"] == result["data"]
        told = {name: result["data"][name] for name in ("uid", "title", "description", "extra", "due_date")}
        content = {"title": "a", "description": None, "extra": {"c": 1}, "due_date": "2026-12-04"}
        assert told == content | {"uid": ONE}

    async def test_what_is_there_is_changed_and_the_rest_left_as_it_is(self, ada: httpx.AsyncClient) -> None:
        [before] = await results(ada, upsert(title="a", description="b", extra={"c": 1}, priority=3))
        [result] = await results(ada, upsert(title="d", extra={"e": 2}))
        assert (result["op"], result["status"]) == ("upsert", 200)
        stamps = {name: result["data"][name] for name in ("version", "updated_at")}
        assert result["data"] == before["data"] | {"title": "d", "extra": {"c": 1, "e": 2}} | stamps
        [again] = await results(ada, upsert(completed=True))
        assert (again["status"], again["data"]["title"]) == (200, "d")

    async def test_of_50_concurrent_ones_one_creates(self, ada: httpx.AsyncClient) -> None:
        came = await asyncio.gather(*(results(ada, upsert(title=f"{number}")) for number in range(50)))
        assert sorted(each["status"] for [each] in came) == [200] * 49 + [201]
        assert len({each["data"]["id"] for [each] in came}) == 1 == len((await ada.get(LIST)).json()["data"])

    async def test_with_a_key_it_is_done_once(self, ada: httpx.AsyncClient) -> None:
        first, again = [await batch(ada, upsert(title="a"), **{"idempotency-key": "1"}) for _ in range(2)]
        assert first.json() == again.json()
        assert again.headers["idempotent-replayed"] == "true"

    async def test_by_id_or_a_derived_uid_it_changes_alone(self, ada: httpx.AsyncClient) -> None:
        task = (await ada.post(LIST, json={"title": "a"})).json()["data"]
        for name, it in (("b", task["id"]), ("c", task["uid"])):
            [result] = await results(ada, upsert(it, title=name))
            assert (result["status"], result["data"]["title"]) == (200, name)
        for it in (0, task["id"] + 1, task["uid"][:-1] + f"{(int(task['uid'][-1], 16) + 1) % 16:x}"):
            error = await refusal(ada, upsert(it, title="d"), status=404)
            assert NOT_FOUND.items() <= error.items()

    async def test_another_users_uid_is_no_clash(self, ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
        [hers], [his] = [await results(each, upsert(title="a")) for each in (ada, bob)]
        assert (hers["status"], his["status"]) == (201, 201)
        assert hers["data"]["id"] != his["data"]["id"]

    async def test_in_the_trash_it_is_a_conflict(self, ada: httpx.AsyncClient) -> None:
        await results(ada, upsert(title="a"))
        await ada.delete(f"{LIST}/{ONE}")
        [trashed] = (await ada.get("/api/trash")).json()["data"]
        error = await refusal(ada, upsert(title="b"), status=409)
        assert (error["code"], error["index"], error["current"]) == ("CONFLICT", 0, trashed)

    async def test_a_version_is_of_what_is_there(self, ada: httpx.AsyncClient) -> None:
        [result] = await results(ada, upsert(title="a"))
        version = result["data"]["version"]
        error = await refusal(ada, upsert(title="b") | {"version": version + 1}, status=412)
        assert error["current"] == result["data"]
        [result] = await results(ada, upsert(title="b") | {"version": version})
        assert result["status"] == 200

    @pytest.mark.parametrize(
        ("data", "field"),
        [
            ({}, "title"),
            ({"completed": True}, "title"),
            ({"title": ""}, "title"),
            ({"title": "a", "description": "x" * 32_769}, "description"),
            ({"title": "a", "due_time": "09:00"}, "due_time"),
            ({"title": "a", "extra": {"b": "x" * 5000}}, "extra"),
        ],
    )
    async def test_what_a_new_task_cannot_have_is_refused(
        self, ada: httpx.AsyncClient, data: dict[str, Any], field: str
    ) -> None:
        error = await refusal(ada, {"op": "delete", "id": 1, "missing": "ignore"}, upsert(**data), status=422)
        assert (error["index"], error["fields"][0]["field"]) == (1, f"operations[1].data.{field}")

    @pytest.mark.parametrize(
        "others",
        [
            [upsert(ONE.upper(), title="b")],
            [{"op": "create", "data": {"title": "b", "uid": ONE}}],
        ],
    )
    async def test_one_operation_creates_a_task(self, ada: httpx.AsyncClient, others: list[dict[str, Any]]) -> None:
        for operations in ([upsert(title="a"), *others], [*others, upsert(title="a")]):
            error = await refusal(ada, *operations, status=422)
            assert error["index"] == 1

    @pytest.mark.parametrize("bad", ["abc", 1.5, None, "", [], f"{{{ONE}}}"])
    async def test_no_other_id_will_do(self, ada: httpx.AsyncClient, bad: Any) -> None:
        await refusal(ada, upsert(bad, title="a"), status=422)

    async def test_by_a_chosen_uid_and_by_id_it_is_one_task(self, ada: httpx.AsyncClient) -> None:
        [result] = await results(ada, upsert(title="a"))
        error = await refusal(ada, upsert(result["data"]["id"], title="b"), upsert(title="c"), status=422)
        assert error["index"] == 1

    async def test_a_list_is_named_by_its_uid(self, ada: httpx.AsyncClient) -> None:
        made = (await ada.post("/api/lists", json={"name": "a", "uid": TWO})).json()["data"]
        for status in (201, 200):
            [result] = await results(ada, upsert(title="a", list_id=TWO))
            assert (result["status"], result["data"]["list_id"]) == (status, made["id"])
        error = await refusal(ada, upsert(list_id=ONE), status=422)
        assert error["fields"][0]["field"] == "operations[0].data.list_id"


class TestMissing:
    async def test_a_delete_of_what_is_not_there_may_be_ignored(self, ada: httpx.AsyncClient) -> None:
        kept, gone = [(await ada.post(LIST, json={"title": "a"})).json()["data"]["id"] for _ in range(2)]
        await ada.delete(f"{LIST}/{gone}")
        operations = [{"op": "delete", "id": each, "missing": "ignore"} for each in (kept, gone, ONE, TWO, 0)]
        assert await results(ada, *operations) == [{"op": "delete", "status": 204, "data": None}] * 5
        assert (await ada.get(LIST)).json()["data"] == []

    async def test_so_of_somebody_elses_task(self, ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
        his = (await bob.post(LIST, json={"title": "a"})).json()["data"]
        operation = {"op": "delete", "id": his["id"], "missing": "ignore"}
        for _ in range(2):  # she has no tasks at all, and then some
            assert await results(ada, operation) == [{"op": "delete", "status": 204, "data": None}]
            await ada.post(LIST, json={"title": "a"})
        assert (await bob.get(f"{LIST}/{his['id']}")).json()["data"] == his

    async def test_with_a_key_it_is_told_again(self, ada: httpx.AsyncClient) -> None:
        operation = {"op": "delete", "id": ONE, "missing": "ignore"}
        first, again = [await batch(ada, operation, **{"idempotency-key": "1"}) for _ in range(2)]
        assert first.json() == again.json() == {"data": [{"op": "delete", "status": 204, "data": None}]}

    async def test_a_version_of_what_is_there_still_counts(self, ada: httpx.AsyncClient) -> None:
        task = (await ada.post(LIST, json={"title": "a"})).json()["data"]
        operation = {"op": "delete", "id": task["id"], "missing": "ignore", "version": task["version"] + 1}
        assert (await refusal(ada, operation, status=412))["current"] == task

    @pytest.mark.parametrize("bad", ["", "fail", True, None])
    async def test_no_other_word_will_do(self, ada: httpx.AsyncClient, bad: Any) -> None:
        await refusal(ada, {"op": "delete", "id": 1, "missing": bad}, status=422)

    @pytest.mark.parametrize("op", ["update", "complete"])
    async def test_no_other_operation_has_it(self, ada: httpx.AsyncClient, op: str) -> None:
        await refusal(ada, {"op": op, "id": 1, "data": {}, "missing": "ignore"}, status=422)


async def test_an_upsert_takes_every_field_whether_it_creates_or_changes(ada: httpx.AsyncClient) -> None:
    everything = {
        "title": "a",
        "description": "b",
        "completed": True,
        "completed_at": "2026-11-21T09:30:00.125Z",
        "start_date": "2026-12-01",
        "due_date": "2026-12-04",
        "due_time": "17:30",
        "time_zone": "Europe/Berlin",
        "priority": 3,
        "labels": ["Home", "é"],
        "estimate_minutes": 30,
        "extra": {"c": {"d": 1}},
    }
    for status in (201, 200):
        [result] = await results(ada, upsert(**everything))
        assert (result["status"], {name: result["data"][name] for name in everything}) == (status, everything)
