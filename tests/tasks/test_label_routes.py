"""Labels by their names: listed, renamed, colored and deleted, and added to one task or taken off it."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import asyncpg
import httpx
import pytest
from litestar import Litestar

from app.db.engine import database
from app.main import ALWAYS
from app.openapi import document as openapi_document
from tests.openapi.test_page import is_as_documented
from tests.tasks.test_labels import TASKS, kept_labels, labels_of, make
from tests.tasks.test_limits import history_versions

LABELS = "/api/labels"
NAMES = ["home", "a/b", "//", "a%2Fb", "\u00e9t\u00e9", "#", "?", "a b", "+", "\u2215", "..."]


async def listed(client: httpx.AsyncClient) -> list[tuple[str, str | None, int]]:
    answer = await client.get(LABELS)
    assert answer.status_code == 200, answer.text
    return [(each["name"], each["color"], each["open"]) for each in answer.json()["data"]]


def of(task: dict[str, Any], name: str) -> str:
    return f"{TASKS}/{task['id']}/labels/{quote(name, safe='')}"


def at(name: str) -> str:
    return f"{LABELS}/{quote(name, safe='')}"


class TestList:
    async def test_it_has_each_with_its_open_tasks_in_order(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient
    ) -> None:
        assert await listed(ada) == []
        await make(ada, "b", "A")
        await make(ada, "b", completed=True)
        gone = await make(ada, "c", "b")
        await make(bob, "his")
        await ada.delete(f"{TASKS}/{gone['id']}")
        assert await listed(ada) == [("A", None, 1), ("b", None, 1), ("c", None, 0)]
        [label, *_] = (await ada.get(LABELS)).json()["data"]
        assert label["uid"] == f"6a1dc0f5-e27b-8002-8000-{label['id']:012x}"
        assert [*label] == ["id", "uid", "name", "color", "open", "created_at", "updated_at", "version"]

    async def test_it_has_a_tag_that_every_change_changes(self, ada: httpx.AsyncClient) -> None:
        task = await make(ada, "a")
        tag = (await ada.get(LABELS)).headers["etag"]
        assert (await ada.get(LABELS, headers={"if-none-match": tag})).status_code == 304
        assert (await ada.head(LABELS)).headers["etag"] == tag
        await ada.patch(f"{TASKS}/{task['id']}/complete")
        assert (await ada.get(LABELS, headers={"if-none-match": tag})).status_code == 200


class TestOfATask:
    @pytest.mark.parametrize("name", NAMES)
    async def test_it_is_added_and_taken_away_and_asking_twice_is_as_good(
        self, ada: httpx.AsyncClient, name: str
    ) -> None:
        task = await make(ada, "first")
        for method, shown in (("PUT", ["first", name]), ("DELETE", ["first"])):
            once = await ada.request(method, of(task, name))
            again = await ada.request(method, of(task, name))
            assert (once.status_code, once.json()["data"]["labels"]) == (200, shown)
            assert again.json() == once.json()
            assert again.headers["etag"] == once.headers["etag"] == f'"v{once.json()["data"]["version"]}"'
        history = (await ada.get(f"{TASKS}/{task['id']}/history")).json()["data"]
        assert [each["action"] for each in history] == ["labelled", "labelled", "created"]

    async def test_by_uid_in_another_case_and_with_a_slash_behind(self, ada: httpx.AsyncClient) -> None:
        task = await make(ada, "Home")
        assert (await ada.put(f"{TASKS}/{task['uid']}/labels/HOME")).json()["data"] == task
        assert (await ada.put(f"{TASKS}/{task['uid']}/labels/x%2F/")).json()["data"]["labels"] == ["Home", "x/"]
        assert (await ada.delete(f"{TASKS}/{task['uid']}/labels/hOME")).json()["data"]["labels"] == ["x/"]

    @pytest.mark.parametrize("name", ["%00", "a%0Ab", "%FF", "%20", "x" * 51, "%C2%85"])
    async def test_what_is_no_name_is_refused(self, ada: httpx.AsyncClient, name: str) -> None:
        task = await make(ada)
        for method, path in (("PUT", f"{TASKS}/{task['id']}/labels/{name}"), ("PATCH", f"{LABELS}/{name}")):
            answer = await ada.request(method, path, json={})
            assert answer.status_code == 422, answer.text
            assert answer.json()["error"]["fields"][0]["field"] == "label_name"

    async def test_of_a_task_that_is_not_theirs_nothing_is_found(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task = await make(ada, "hers")
        for method in ("PUT", "DELETE"):
            for name in ("hers", "new"):
                answers = [await bob.request(method, path) for path in (of(task, name), of({"id": 10**9}, name))]
                assert [each.status_code for each in answers] == [404, 404]
                assert answers[0].content == answers[1].content
        assert len(await kept_labels(sql)) == 1

    async def test_a_version_a_key_and_the_limit_of_a_task(self, ada: httpx.AsyncClient) -> None:
        task = await make(ada, *(f"{n}" for n in range(50)))
        stale = {"If-Match": '"v1234"'}
        for method, name in (("PUT", "1"), ("PUT", "new"), ("DELETE", "1"), ("DELETE", "new")):
            answer = await ada.request(method, of(task, name), headers=stale)
            assert (answer.status_code, answer.json()["error"]["current"]) == (412, task)
        answer = await ada.put(of(task, "new"))
        assert (answer.status_code, answer.json()["error"]["fields"][0]["field"]) == (422, "labels")
        key = {"Idempotency-Key": "1", "If-Match": f'"v{task["version"]}"'}
        first = await ada.delete(of(task, "7"), headers=key)
        await ada.put(of(task, "7"))
        again = await ada.delete(of(task, "7"), headers=key)
        assert again.json() == first.json()
        assert again.headers["idempotent-replayed"] == "true"

    async def test_two_devices_add_different_labels_concurrently(self, ada: httpx.AsyncClient) -> None:
        task = await make(ada)
        names = [f"label {n}" for n in range(20)]
        assert all(each.is_success for each in await asyncio.gather(*(ada.put(of(task, name)) for name in names)))
        assert sorted(await labels_of(ada, task)) == sorted(names)


class TestRename:
    async def test_all_tasks_have_the_new_name_and_versions_of_their_own(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        tasks = [await make(ada, "x", "Home", "y") for _ in range(3)]
        await ada.delete(f"{TASKS}/{tasks[0]['id']}")
        his = await make(bob, "Home")
        before = (await ada.get(LABELS)).json()["data"][0]
        answer = await ada.patch(at("HOME"), json={"name": " House ", "color": "#C0FFEE"})
        label = answer.json()["data"]
        assert (label["id"], label["name"], label["color"], label["open"]) == (before["id"], "House", "#c0ffee", 2)
        assert answer.headers["etag"] == f'"v{label["version"]}"'
        for task in tasks[1:]:
            assert await labels_of(ada, task) == ["x", "House", "y"]
            history = (await ada.get(f"{TASKS}/{task['id']}/history")).json()["data"]
            assert history[0]["action"] == "labelled"
        assert (await ada.get("/api/trash")).json()["data"][0]["labels"] == ["x", "House", "y"]
        assert (await bob.get(f"{TASKS}/{his['id']}")).json()["data"] == his
        versions = await sql.fetch(
            "SELECT version FROM tasks WHERE user_id = $1 UNION ALL SELECT version FROM task_labels WHERE user_id = $1",
            tasks[0]["user_id"],
        )
        assert len({row[0] for row in versions}) == len(versions) == 6
        assert await sql.fetchval("SELECT max(revision) FROM revisions") >= label["version"]

    @pytest.mark.slow
    @pytest.mark.parametrize("method", ["PATCH", "DELETE"])
    async def test_however_many_tasks_have_it_it_is_one_change_in_short_parts(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, method: str
    ) -> None:
        tasks = [await make(ada, "a") for _ in range(10)]
        await sql.execute(
            """
            CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN PERFORM pg_sleep(0.06); RETURN NEW; END $$;
            CREATE TRIGGER slowly BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION slowly()
            """
        )
        monkeypatch.setattr(database.pool, "timeout", 0.35)
        monkeypatch.setattr(database.pool, "margin", 0.02)
        body = {"name": "b"} if method == "PATCH" else None
        try:
            monkeypatch.setattr("app.tasks.labels.queries.PART", 10)
            assert (await ada.request(method, at("a"), json=body)).status_code == 503
            assert [name for name, *_ in await listed(ada)] == ["a"]
            monkeypatch.setattr("app.tasks.labels.queries.PART", 3)
            # In a batch, which may have a hundred of them, it has the time of the batch.
            operation = {"op": "update", "on": "label", "id": "a", "data": {"name": "b"}}
            answer = await ada.post(f"{TASKS}/batch", json={"operations": [operation]})
            assert answer.status_code == 503
            assert (await ada.request(method, at("a"), json=body)).is_success
        finally:
            await sql.execute("DROP FUNCTION slowly() CASCADE")
        seen = [(await ada.get(f"{TASKS}/{task['id']}")).json()["data"] for task in tasks]
        assert [each["labels"] for each in seen] == [["b"] if body else []] * 10
        last = tasks[-1]["version"]
        assert [each["version"] for each in seen] == [*range(last + 1, last + 11)]

    async def test_to_itself_in_another_case(self, ada: httpx.AsyncClient) -> None:
        task = await make(ada, "Home")
        assert (await ada.patch(at("home"), json={"name": "HOME"})).json()["data"]["name"] == "HOME"
        assert await labels_of(ada, task) == ["HOME"]
        assert (await make(ada, "home"))["labels"] == ["HOME"]
        assert [task["labels"] for task in (await ada.get(f"{TASKS}?label=home")).json()["data"]] == [["HOME"]] * 2

    async def test_onto_another_one_they_become_one(self, ada: httpx.AsyncClient) -> None:
        both, one, other = await make(ada, "a", "c", "b"), await make(ada, "a"), await make(ada, "b")
        kept = (await ada.patch(at("b"), json={"color": "#123456"})).json()["data"]
        label = (await ada.patch(at("a"), json={"name": "B"})).json()["data"]
        assert (label["id"], label["name"], label["color"], label["open"]) == (kept["id"], "b", "#123456", 3)
        assert [await labels_of(ada, task) for task in (both, one, other)] == [["b", "c"], ["b"], ["b"]]
        assert [name for name, *_ in await listed(ada)] == ["b", "c"]
        assert (await ada.get(f"{TASKS}/{other['id']}")).json()["data"]["version"] == other["version"]

    async def test_what_is_so_already_changes_nothing(self, ada: httpx.AsyncClient) -> None:
        await make(ada, "a")
        before = (await ada.get(LABELS)).json()["data"][0]
        for body in ({}, {"name": "a"}, {"color": None}):
            assert (await ada.patch(at("A"), json=body)).json()["data"] == before
        assert (await ada.patch(at("a"), json={"color": "#00ff00"})).json()["data"]["color"] == "#00ff00"
        assert (await ada.patch(at("a"), json={"color": None})).json()["data"]["color"] is None

    @pytest.mark.parametrize(
        ("body", "field"),
        [({"color": "red"}, "color"), ({"color": "#12345"}, "color"), ({"color": "#123456\n"}, "color"),
         ({"name": ""}, "name"), ({"name": None}, "name"), ({"name": "."}, "name"), ({"color": 1}, "color")],
    )  # fmt: skip
    async def test_what_a_label_cannot_be_is_refused(
        self, ada: httpx.AsyncClient, body: dict[str, Any], field: str
    ) -> None:
        await make(ada, "a")
        answer = await ada.patch(at("a"), json=body)
        assert (answer.status_code, answer.json()["error"]["fields"][0]["field"]) == (422, field)


class TestOne:
    @pytest.mark.parametrize("name", ["Home", "a/b", "history", "H\u00e9"])
    async def test_it_is_read_by_its_name_in_any_case(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, name: str
    ) -> None:
        await make(ada, name, "other")
        await make(bob, name)
        [label] = [each for each in (await ada.get(LABELS)).json()["data"] if each["name"] == name]
        for path in (at(name), at(name.upper()), f"{at(name)}/"):
            answer = await ada.get(path)
            assert (answer.status_code, answer.json()) == (200, {"data": label})
            # Another user of the same browser may have a label of this name too.
            assert answer.headers["cache-control"] == "private, no-cache, no-store"
        assert (await ada.head(at(name))).headers["etag"] == answer.headers["etag"]

    async def test_its_tag_changes_with_it_and_with_how_many_open_tasks_have_it(self, ada: httpx.AsyncClient) -> None:
        task = await make(ada, "a")
        tag = (await ada.get(at("a"))).headers["etag"]
        assert (await ada.get(at("a"), headers={"if-none-match": tag})).status_code == 304
        await ada.patch(f"{TASKS}/{task['id']}/complete")
        answer = await ada.get(at("a"), headers={"if-none-match": tag})
        assert (answer.status_code, answer.json()["data"]["open"]) == (200, 0)
        # The change is for the version, which is still the same.
        changed = await ada.patch(at("a"), json={"color": "#c0ffee"}, headers={"if-match": tag})
        assert changed.status_code == 200
        assert changed.headers["etag"] == f'"v{changed.json()["data"]["version"]}"'
        assert (await ada.patch(at("a"), json={"color": None}, headers={"if-match": tag})).status_code == 412
        unless = {"if-none-match": changed.headers["etag"]}
        assert (await ada.patch(at("a"), json={"color": None}, headers=unless)).status_code == 412

    async def test_what_is_not_theirs_is_not_found(self, ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
        await make(ada, "hers")
        for path in (at("hers"), f"{at('hers')}/history"):
            for method in ("GET", "HEAD"):
                answers = [await bob.request(method, each) for each in (path, path.replace("hers", "never"))]
                assert [each.status_code for each in answers] == [404, 404]
                assert answers[0].content == answers[1].content
            assert (await bob.get(path.replace("hers", "%00"))).status_code == 422

    async def test_another_method_is_405_and_says_which_there_are(self, ada: httpx.AsyncClient) -> None:
        allowed = {at("a"): "DELETE, GET, HEAD, OPTIONS, PATCH", f"{at('a')}/history": "GET, HEAD, OPTIONS"}
        for path, methods in allowed.items():
            answer = await ada.post(path)
            assert (answer.status_code, answer.headers["allow"]) == (405, methods)
            assert (await ada.options(path)).headers["allow"] == methods


class TestHistory:
    async def history(self, client: httpx.AsyncClient, name: str, query: str = "") -> Any:
        answer = await client.get(f"{at(name)}/history{query}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def test_it_tells_how_a_label_was_named_and_colored(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient
    ) -> None:
        await make(ada, "a/b")
        await make(bob, "a/b")
        await ada.patch(at("a/b"), json={"color": "#C0FFEE"})
        await ada.patch(at("A/B"), json={})
        label = (await ada.patch(at("A/B"), json={"name": "House/"})).json()["data"]
        told = (await self.history(ada, "house/"))["data"]
        assert [(each["action"], each["changes"]) for each in told] == [
            ("changed", {"name": {"from": "a/b", "to": "House/"}}),
            ("changed", {"color": {"from": None, "to": "#c0ffee"}}),
            ("created", {"name": {"from": None, "to": "a/b"}}),
        ]
        assert (told[0]["version"], told[0]["at"]) == (label["version"], label["updated_at"])
        assert told[2]["at"] == label["created_at"]
        assert [each["by"] for each in told] == [{"kind": "jwt", "id": None}] * 3
        page = await self.history(ada, "house/", "?limit=1")
        assert page == {"data": told[:1], "page": {"next": told[0]["version"]}}
        page = await self.history(ada, "house/", f"?limit=2&before={page['page']['next']}")
        assert page == {"data": told[1:], "page": {"next": None}}
        assert len((await self.history(bob, "a/b"))["data"]) == 1
        assert (await ada.head(f"{at('house/')}/history")).status_code == 200

    async def test_of_two_that_become_one_it_is_that_of_the_one_that_stays(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await make(ada, "a", "b", "c")
        await ada.patch(at("a"), json={"color": "#123456"})
        await ada.patch(at("a"), json={"name": "B"})
        await ada.patch(at("b"), json={"color": "#c0ffee"})
        await ada.patch(at("b"), json={"name": "b2"})
        await ada.patch(at("c"), json={"name": "b2"})
        await sql.execute("UPDATE task_labels SET color = NULL")
        told = (await self.history(ada, "b2"))["data"]
        assert [(each["action"], each.get("merged"), each["changes"]) for each in told] == [
            ("changed", None, {"color": {"from": "#c0ffee", "to": None}}),
            ("merged", "c", {}),
            ("changed", None, {"name": {"from": "b", "to": "b2"}}),
            ("changed", None, {"color": {"from": None, "to": "#c0ffee"}}),
            ("merged", "a", {}),
            ("created", None, {"name": {"from": None, "to": "b"}}),
        ]
        assert await sql.fetchval("SELECT count(DISTINCT label_id) FROM task_label_versions") == 1
        await ada.delete(at("b2"))
        assert await sql.fetchval("SELECT count(*) FROM task_label_versions") == 0

    async def test_whoever_made_the_task_made_its_label(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        task = await make(ada)
        await sql.execute("""UPDATE tasks SET labels = '[["of staff", "Of staff"]]'""")
        await sql.execute("""INSERT INTO tasks (user_id, title, labels) VALUES ('ada', 'x', '[["new", "New"]]')""")
        async with sql.transaction():
            await sql.execute("SELECT set_config('tasks.staff', 'off', true), set_config('tasks.owner', 'ada', true)")
            await sql.execute("""UPDATE tasks SET labels = '[["psql", "psql"]]' WHERE id = $1""", task["id"])
        await ada.put(of(task, "Hers"))
        staff, hers = {"kind": "staff", "id": None}, {"kind": "jwt", "id": None}
        for name, author in (("of staff", staff), ("new", staff), ("psql", None), ("hers", hers)):
            assert [each["by"] for each in (await self.history(ada, name))["data"]] == [author]

    async def test_the_oldest_go_first_and_there_are_never_more_than_99_too_many(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await make(ada, "a")
        counts: list[int] = []
        async with history_versions(sql, 20):
            for number in range(250):
                await sql.execute("UPDATE task_labels SET color = $1", f"#{number:06}")
                counts.append(await sql.fetchval("SELECT count(*) FROM task_label_versions"))
        assert (max(counts[150:]), min(counts[150:])) == (119, 20)
        told = (await self.history(ada, "a", "?limit=200"))["data"]
        assert (len(told), told[-1]["action"], told[-1]["changes"]) == (71, "changed", {})


class TestDelete:
    async def test_it_is_taken_off_everywhere(self, ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
        task, gone, his = await make(ada, "a", "b"), await make(ada, "a"), await make(bob, "a")
        await ada.delete(f"{TASKS}/{gone['id']}")
        assert (await ada.delete(at("A"))).status_code == 204
        assert await labels_of(ada, task) == ["b"]
        assert (await ada.get("/api/trash")).json()["data"][0]["labels"] == []
        assert await labels_of(bob, his) == ["a"]
        assert await listed(ada) == [("b", None, 1)]
        assert (await make(ada, "A"))["labels"] == ["A"]


class TestConditions:
    async def test_what_is_not_theirs_is_not_found(self, ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
        await make(ada, "hers")
        for name in ("hers", "never"):
            for answer in (await bob.patch(at(name), json={"name": "x"}), await bob.delete(at(name))):
                assert (answer.status_code, answer.json()["error"]) == (
                    404,
                    {"code": "NOT_FOUND", "message": "There is no such label."},
                )
        assert [name for name, *_ in await listed(ada)] == ["hers"]

    async def test_another_version_is_412(self, ada: httpx.AsyncClient) -> None:
        await make(ada, "a")
        [label] = (await ada.get(LABELS)).json()["data"]
        stale, right = {"If-Match": '"v9999"'}, {"If-Match": f'"v{label["version"]}"'}
        for answer in (
            await ada.patch(at("a"), json={"name": "b"}, headers=stale),
            await ada.delete(at("a"), headers=stale),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (412, "PRECONDITION_FAILED")
            assert answer.json()["error"]["current"] == label
            assert answer.headers["etag"] == f'"v{label["version"]}"'
        assert (await ada.patch(at("a"), json={"name": "b"}, headers=right)).status_code == 200

    async def test_under_a_key_it_is_done_once(self, ada: httpx.AsyncClient) -> None:
        await make(ada, "a", "b")
        for key, method, name, body in (("1", "PATCH", "a", {"name": "c"}), ("2", "DELETE", "b", None)):
            first = await ada.request(method, at(name), json=body, headers={"Idempotency-Key": key})
            again = await ada.request(method, at(name), json=body, headers={"Idempotency-Key": key})
            assert first.is_success
            assert (again.status_code, again.content) == (first.status_code, first.content)
            assert again.headers["idempotent-replayed"] == "true"
        answer = await ada.delete(at("c"), headers={"Idempotency-Key": "1"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")

    async def test_concurrent_ones_neither_wait_for_each_other_for_ever_nor_lose_a_label(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        tasks = [await make(ada, "a", "b") for _ in range(10)]
        answers = await asyncio.gather(
            ada.patch(at("a"), json={"name": "b"}),
            ada.patch(at("b"), json={"name": "a"}),
            *(ada.put(of(task, "c")) for task in tasks),
            ada.patch(at("c"), json={"name": "d"}),
            ada.delete(at("d")),
        )
        assert {each.status_code for each in answers} <= {200, 204, 404}
        names = {name for *_, name in await kept_labels(sql)}
        assert len(names & {"a", "b"}) == 1
        for task in tasks:
            assert {*await labels_of(ada, task)} <= names
            assert len({*await labels_of(ada, task)} & {"a", "b"}) == 1


async def test_the_document_says_what_is_answered(running: Litestar, ada: httpx.AsyncClient) -> None:
    document = json.loads(json.dumps(openapi_document.document([*ALWAYS])))
    task = await make(ada, "a")

    async def go(method: str, path: str, name: str = "a", task_id: Any = task["id"], **request: Any) -> None:
        answer = await ada.request(method, path.format(task_id=task_id, label_name=name), **request)
        is_as_documented(document, document["paths"][path][method], answer)

    stale = {"if-match": '"v999"'}
    label, of_task = "/api/labels/{label_name}", "/api/tasks/{task_id}/labels/{label_name}"
    for method in ("put", "delete"):
        await go(method, of_task)
        await go(method, of_task, "%00")
        await go(method, of_task, task_id=10**9)
        await go(method, of_task, task_id="x")
        await go(method, of_task, headers=stale)
    await go("get", LABELS)
    await go("get", LABELS, headers={"if-none-match": "*"})
    for name in ("a", "%00", "never"):
        await go("patch", label, name, json={"color": "#c0ffee"})
        await go("get", label, name)
        await go("get", f"{label}/history", name)
    await go("get", label, headers={"if-none-match": "*"})
    await go("patch", label, json={"color": "red"})
    await go("patch", label, json={}, headers=stale)
    await go("patch", label, content=b"{")
    await go("patch", label, content=b"{}", headers={"content-type": "text/plain"})
    await go("delete", label, headers=stale)
    await go("delete", label)
    await go("delete", label)


async def test_a_label_costs_what_its_tasks_do(ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.tasks.costs.TASKS_MOVED", 1)
    for _ in range(3):
        await ada.post("/api/tasks", json={"title": "a", "labels": ["home"]})
    charged: list[int] = []
    monkeypatch.setattr("app.tasks.labels.controller.charge", lambda _, count: charged.append(count))
    await ada.patch("/api/labels/home", json={"name": "garden"})
    await ada.patch("/api/labels/garden", json={"color": "#aabbcc"})
    await ada.delete("/api/labels/garden")
    assert charged == [0, 3, 0, 0, 0, 3]  # each looks through the owner's tasks first
