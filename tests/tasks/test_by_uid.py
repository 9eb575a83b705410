"""UUIDs that clients choose for their tasks: whose they are, how a task is created with one, and what clashes."""

import asyncio
import uuid
from typing import Any

import asyncpg
import httpx
import pytest

from app.tasks.uids import UidKind, uid_of, uid_sql

LIST = "/api/tasks"
ONE = "01936c1e-7c3a-7000-9b1d-0d9d6f1d2a11"
NEW = {"if-none-match": "*"}


async def post(client: httpx.AsyncClient, **content: Any) -> dict[str, Any]:
    answer = await client.post(LIST, json={"title": "a", **content})
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


async def put(client: httpx.AsyncClient, uid: str = ONE, title: str = "a", **headers: str) -> httpx.Response:
    return await client.put(f"{LIST}/{uid}", json={"title": title}, headers=NEW | headers)


class TestShown:
    async def test_a_task_without_one_has_one_that_is_derived_and_stays(self, ada: httpx.AsyncClient) -> None:
        task = await post(ada)
        assert task["uid"] == uid_of(UidKind.TASK, task["id"]) == f"{uuid.UUID(task['uid'])}"
        assert uuid.UUID(task["uid"]).version == 8
        for sent in (task, {"title": "b", "uid": ONE}, {"title": "b", "uid": "of another kind"}):
            for method in ("PUT", "PATCH"):
                changed = await ada.request(method, f"{LIST}/{task['id']}", json=sent)
                assert (changed.status_code, changed.json()["data"]["uid"]) == (200, task["uid"])
        assert (await ada.get(LIST, params={"fields": "uid"})).json()["data"] == [{"uid": task["uid"]}]

    @pytest.mark.parametrize("sent", [ONE, ONE.upper(), f"{uuid.UUID(int=2**128 - 1)}", f"{uuid.UUID(int=0)}"])
    async def test_a_chosen_one_is_shown_in_lower_case(self, ada: httpx.AsyncClient, sent: str) -> None:
        assert (await post(ada, uid=sent))["uid"] == sent.lower()

    @pytest.mark.parametrize("kind", UidKind)
    @pytest.mark.parametrize("number", [1, 2**47, 2**48 - 1, 2**48, 2**53 - 1])
    async def test_sql_derives_the_same_of_each_id(self, sql: asyncpg.Connection, kind: UidKind, number: int) -> None:
        row = f'SELECT {number}::bigint AS "id", NULL::uuid AS "uid"'
        assert await sql.fetchval(f'SELECT {uid_sql(kind, "tasks")} FROM ({row}) AS "tasks"') == uid_of(kind, number)

    async def test_null_is_none_chosen(self, ada: httpx.AsyncClient) -> None:
        task = await post(ada, uid=None)
        assert task["uid"] == uid_of(UidKind.TASK, task["id"])

    @pytest.mark.parametrize(
        "bad",
        [
            *("", "1", "abc", ONE[:-1], ONE + "0", ONE.replace("-", ""), f"{{{ONE}}}", f"urn:uuid:{ONE}", f" {ONE}"),
            *(ONE.replace("0", "g"), "\u0661" * 8 + ONE[8:], ONE + "\n"),
            uid_of(UidKind.TASK, 1),
            uid_of(UidKind.LIST, 2**53 - 1).upper(),
        ],
    )
    async def test_what_is_none_or_a_derived_one_is_refused(self, ada: httpx.AsyncClient, bad: str) -> None:
        answer = await ada.post(LIST, json={"title": "a", "uid": bad})
        assert (answer.status_code, answer.json()["error"]["fields"][0]["field"]) == (422, "uid")
        assert (await ada.get(LIST)).json() == {"data": []}

    @pytest.mark.parametrize("bad", [1, True, [], {}])
    async def test_what_is_no_text_is_refused(self, ada: httpx.AsyncClient, bad: Any) -> None:
        answer = await ada.post(LIST, json={"title": "a", "uid": bad})
        assert answer.json()["error"]["message"] == "Uid must be a string or null"


class TestWhereverAnIdIs:
    @pytest.mark.parametrize("chosen", [None, ONE])
    async def test_a_path_takes_it(self, ada: httpx.AsyncClient, chosen: str | None) -> None:
        task = await post(ada, uid=chosen)
        for path in (f"{LIST}/{task['uid']}", f"{LIST}/{task['uid'].upper()}"):
            answer = await ada.get(path)
            assert (answer.json()["data"], answer.headers["etag"]) == (task, f'"v{task["version"]}"')
            assert (await ada.head(path)).status_code == 200
            assert (await ada.get(path, headers={"if-none-match": answer.headers["etag"]})).status_code == 304
        path = f"{LIST}/{task['uid']}"
        assert (await ada.patch(path, json={"description": "d"})).json()["data"]["description"] == "d"
        assert (await ada.put(path, json={"title": "b"})).json()["data"]["title"] == "b"
        assert (await ada.patch(f"{path}/complete")).json()["data"]["completed"] is True
        assert len((await ada.get(f"{path}/history")).json()["data"]) == 4
        reverted = await ada.post(f"{path}/revert", json={"version": task["version"]})
        assert reverted.json()["data"]["title"] == "a"
        assert (await ada.delete(path)).status_code == 204
        assert (await ada.get(path)).status_code == 404
        assert (await ada.post(f"{path}/restore")).json()["data"]["id"] == task["id"]
        await ada.delete(path)
        assert (await ada.delete(f"/api/trash/{task['uid']}")).status_code == 204
        assert (await ada.get("/api/trash")).json() == {"data": []}

    async def test_one_that_there_is_not_or_of_another_kind_is_not_found(self, ada: httpx.AsyncClient) -> None:
        task = await post(ada)
        answers = [
            await ada.get(f"{LIST}/{uid}")
            for uid in (ONE, uid_of(UidKind.TASK, task["id"] + 1), uid_of(UidKind.LIST, task["id"]))
        ]
        assert {(each.status_code, each.content) for each in answers} == {(404, (await ada.get(f"{LIST}/0")).content)}

    async def test_anothers_is_not_found_and_no_clash(self, ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
        theirs, derived = await post(ada, uid=ONE), await post(ada)
        never = (await bob.get(f"{LIST}/{uuid.uuid4()}")).content
        for uid in (theirs["uid"], derived["uid"]):
            for method in ("GET", "PATCH", "DELETE", "PUT"):
                body = {"title": "b"} if method in ("PATCH", "PUT") else None
                answer = await bob.request(method, f"{LIST}/{uid}", json=body)
                assert (answer.status_code, answer.content) == (404, never)
        mine = await post(bob, uid=ONE, title="mine")
        assert (await bob.get(f"{LIST}/{ONE}")).json()["data"] == mine
        assert (await ada.get(f"{LIST}/{ONE}")).json()["data"] == theirs

    async def test_no_cache_stores_what_a_path_shows_that_another_user_may_have_too(
        self, ada: httpx.AsyncClient
    ) -> None:
        chosen, derived = await post(ada, uid=ONE), await post(ada)
        for path in (ONE, derived["uid"], chosen["id"]):
            answer = await ada.get(f"{LIST}/{path}")
            same = await ada.get(f"{LIST}/{path}", headers={"if-none-match": answer.headers["etag"]})
            missing = await ada.get(f"{LIST}/{path}/versions/9")
            assert [each.status_code for each in (answer, same, missing)] == [200, 304, 404]
            stored = "private, no-cache, no-store" if path == ONE else "private, no-cache"
            assert [each.headers["cache-control"] for each in (answer, same)] == [stored, stored]
            assert missing.headers["cache-control"] == "no-store"


class TestCreatedByPut:
    async def test_it_is_created_once_however_often_it_is_sent(self, ada: httpx.AsyncClient) -> None:
        first = await put(ada)
        task = first.json()["data"]
        assert (first.status_code, task["uid"]) == (201, ONE)
        assert (first.headers["location"], first.headers["etag"]) == (f"{LIST}/{task['id']}", f'"v{task["version"]}"')
        for title in ("a", "b"):
            again = await put(ada, title=title)
            assert (again.status_code, again.headers["etag"]) == (412, first.headers["etag"])
            assert again.json()["error"]["current"] == task
        assert (await ada.get(LIST)).json() == {"data": [task]}

    async def test_it_takes_every_field_and_leaves_a_uid_in_the_body_alone(self, ada: httpx.AsyncClient) -> None:
        content = {"title": "a", "priority": 3, "due_date": "2026-12-04", "completed": True, "uid": str(uuid.uuid4())}
        task = (await ada.put(f"{LIST}/{ONE}", json=content, headers=NEW)).json()["data"]
        assert (task["uid"], task["priority"], task["due_date"], task["completed"]) == (ONE, 3, "2026-12-04", True)

    async def test_without_the_header_nothing_is_created(self, ada: httpx.AsyncClient) -> None:
        for headers in ({}, {"if-none-match": '"v1"'}, {"if-match": "*"}):
            assert (await ada.put(f"{LIST}/{ONE}", json={"title": "a"}, headers=headers)).status_code == 404

    async def test_a_derived_one_creates_nothing(self, ada: httpx.AsyncClient) -> None:
        task = await post(ada)
        assert (await put(ada, uid_of(UidKind.TASK, task["id"] + 1))).status_code == 404
        assert (await put(ada, task["uid"])).json()["error"]["current"] == task

    async def test_a_bad_body_is_refused_as_ever(self, ada: httpx.AsyncClient) -> None:
        answer = await ada.put(f"{LIST}/{ONE}", json={"title": " "}, headers=NEW)
        assert (answer.status_code, answer.json()["error"]["message"]) == (422, "Title is required")

    async def test_one_in_the_trash_is_there_until_it_is_purged(self, ada: httpx.AsyncClient) -> None:
        await put(ada)
        await ada.delete(f"{LIST}/{ONE}")
        assert (await put(ada)).json()["error"]["current"]["deleted_at"]
        conflict = await ada.post(LIST, json={"title": "a", "uid": ONE})
        assert (conflict.status_code, conflict.json()["error"]["code"]) == (409, "CONFLICT")
        assert conflict.json()["error"]["current"]["deleted_at"]
        await ada.delete(f"/api/trash/{ONE}")
        assert (await put(ada)).status_code == 201

    async def test_of_fifty_concurrent_ones_one_creates_it(self, ada: httpx.AsyncClient) -> None:
        answers = await asyncio.gather(*(put(ada, title=f"{n}") for n in range(50)))
        assert sorted(answer.status_code for answer in answers) == [201] + [412] * 49
        [task] = (await ada.get(LIST)).json()["data"]
        assert {answer.json()["error"]["current"]["version"] for answer in answers if answer.status_code == 412} == {
            task["version"]
        }

    async def test_a_key_repeats_the_answer(self, ada: httpx.AsyncClient) -> None:
        first, again = [await put(ada, **{"idempotency-key": "k"}) for _ in range(2)]
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json() == again.json()
        assert again.headers["idempotent-replayed"] == "true"


class TestPosted:
    async def test_one_that_is_there_is_409_with_the_task_as_it_is(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await post(ada, uid=ONE)
        task = (await ada.patch(f"{LIST}/{ONE}", json={"title": "b"})).json()["data"]
        before = await sql.fetchrow("SELECT revision, stored FROM revisions")
        for uid in (ONE, ONE.upper()):
            answer = await ada.post(LIST, json={"title": "c", "uid": uid})
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "CONFLICT")
            assert answer.json()["error"]["current"] == task
        assert await sql.fetchrow("SELECT revision, stored FROM revisions") == before
        assert (await ada.get(LIST)).json() == {"data": [task]}


async def batch(client: httpx.AsyncClient, *operations: dict[str, Any]) -> httpx.Response:
    return await client.post(f"{LIST}/batch", json={"operations": operations})


class TestInABatch:
    async def test_an_operation_takes_it_where_it_takes_an_id(self, ada: httpx.AsyncClient) -> None:
        chosen, derived, third = await post(ada, uid=ONE), await post(ada), await post(ada)
        answer = await batch(
            ada,
            {"op": "update", "id": ONE.upper(), "data": {"title": "b"}},
            {"op": "complete", "id": derived["uid"], "version": derived["version"]},
            {"op": "delete", "id": third["id"]},
            {"op": "create", "data": {"title": "d", "uid": str(uuid.UUID(int=7))}},
        )
        assert answer.status_code == 200, answer.text
        updated, completed, _, new = [each["data"] for each in answer.json()["data"]]
        assert (updated["id"], updated["title"]) == (chosen["id"], "b")
        assert (completed["id"], completed["completed"]) == (derived["id"], True)
        assert new["uid"] == str(uuid.UUID(int=7))

    @pytest.mark.parametrize("derived", [False, True])
    async def test_a_second_operation_about_one_task_is_refused(self, ada: httpx.AsyncClient, *, derived: bool) -> None:
        task = await post(ada, **({} if derived else {"uid": ONE}))
        answer = await batch(ada, {"op": "delete", "id": task["id"]}, {"op": "complete", "id": task["uid"]})
        error = answer.json()["error"]
        assert (answer.status_code, error["index"]) == (422, 1)
        assert error["message"] == "Operation 1: Another operation is about this task already"
        assert (await ada.get(LIST)).json() == {"data": [task]}

    async def test_the_first_that_is_not_there_is_told(self, ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
        theirs, task = await post(bob, uid=ONE), await post(ada)
        answer = await batch(ada, {"op": "complete", "id": task["id"]}, {"op": "delete", "id": theirs["uid"]})
        never = await batch(ada, {"op": "complete", "id": task["id"]}, {"op": "delete", "id": str(uuid.uuid4())})
        assert (answer.status_code, answer.json()["error"]["index"]) == (404, 1)
        assert answer.content == never.content
        assert (await ada.get(LIST)).json() == {"data": [task]}

    @pytest.mark.parametrize("bad", ["", "abc", "1", None, 1.5, True, []])
    async def test_what_is_no_id_is_refused(self, ada: httpx.AsyncClient, bad: Any) -> None:
        error = (await batch(ada, {"op": "delete", "id": bad})).json()["error"]
        assert error["fields"] == [{"field": "operations[0].id", "message": "Id must be an integer or a UUID"}]

    @pytest.mark.parametrize("is_trashed", [False, True])
    async def test_one_that_is_there_is_409_and_nothing_is_done(
        self, ada: httpx.AsyncClient, *, is_trashed: bool
    ) -> None:
        await post(ada, uid=ONE)
        if is_trashed:
            await ada.delete(f"{LIST}/{ONE}")
        before = (await ada.get(LIST)).json()
        answer = await batch(
            ada,
            {"op": "create", "data": {"title": "new"}},
            {"op": "create", "data": {"title": "again", "uid": ONE}},
        )
        error = answer.json()["error"]
        assert (answer.status_code, error["code"], error["index"]) == (409, "CONFLICT", 1)
        assert (error["current"]["uid"], "deleted_at" in error["current"]) == (ONE, is_trashed)
        assert (await ada.get(LIST)).json() == before

    async def test_two_of_one_batch_are_refused(self, ada: httpx.AsyncClient) -> None:
        create = {"op": "create", "data": {"title": "a", "uid": ONE}}
        error = (await batch(ada, create, create)).json()["error"]
        assert error["fields"][0]["field"] == "operations[1].data.uid"
        assert (await ada.get(LIST)).json() == {"data": []}


class TestWhatElseMayHappen:
    async def test_one_that_is_gone_each_time_that_it_is_looked_at_is_503(
        self, ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def purged(*_: object) -> None:
            return None

        await post(ada, uid=ONE)
        for module in ("creation", "batch.by_uid"):
            monkeypatch.setattr(f"app.tasks.{module}.find_by_uid", purged)
        create = {"title": "a", "uid": ONE}
        for answer in (await ada.post(LIST, json=create), await batch(ada, {"op": "create", "data": create})):
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")

    async def test_a_unique_index_of_somebody_elses_is_no_conflict(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await post(ada, title="one")
        await sql.execute("CREATE UNIQUE INDEX titles ON tasks (user_id, title)")
        try:
            answer = await ada.post(LIST, json={"title": "one", "uid": ONE})
        finally:
            await sql.execute("DROP INDEX titles")
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "INTERNAL_ERROR")
