"""Tasks in lists: how they come in and out, what refuses them, and what their history, the trash and revert tell."""

import asyncio
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from litestar import Litestar

from app.tasks.change import Change
from app.tasks.checks import no_such_list
from app.tasks.history import queries as history
from app.tasks.idempotency import ChangeStatement
from app.tasks.in_list import check_that_it_was_the_list
from app.tasks.lists import moving
from app.tasks.uids import UidKind, uid_of
from app.web.failures import Unavailable
from tests.tasks.lists.test_lists import LISTS, UID, made

TASKS = "/api/tasks"
REFUSED = {
    "code": "VALIDATION_ERROR",
    "message": no_such_list().message,
    "fields": [{"field": "list_id", "message": no_such_list().message}],
}


async def new(client: httpx.AsyncClient, **content: Any) -> dict[str, Any]:
    answer = await client.post(TASKS, json={"title": "x", **content})
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


async def patched(client: httpx.AsyncClient, task: dict[str, Any], **content: Any) -> Any:
    answer = await client.patch(f"{TASKS}/{task['id']}", json=content)
    return answer.json()["data"] if answer.status_code == 200 else answer.json()["error"]


class TestComingAndGoing:
    async def test_a_task_is_in_the_inbox_unless_somebody_says_otherwise(self, ada: httpx.AsyncClient) -> None:
        groceries, home = await made(ada), await made(ada, "Home", uid=UID)
        task = await new(ada)
        assert task["list_id"] is None
        assert (await patched(ada, task, list_id=groceries["id"]))["list_id"] == groceries["id"]
        assert (await patched(ada, task, title="y", list_id=UID.upper()))["list_id"] == home["id"]
        assert (await patched(ada, task, list_id=groceries["uid"]))["list_id"] == groceries["id"]
        answer = await ada.put(f"{TASKS}/{task['id']}", json={"title": "z"})
        assert answer.json()["data"]["list_id"] == groceries["id"]
        answer = await ada.put(f"{TASKS}/{task['id']}", json={"title": "z", "list_id": UID})
        assert answer.json()["data"]["list_id"] == home["id"]
        assert (await patched(ada, task, list_id=None))["list_id"] is None

    @pytest.mark.parametrize("named", ["id", "uid", "derived"])
    async def test_a_new_one_may_be_in_a_list(self, ada: httpx.AsyncClient, named: str) -> None:
        told = await made(ada, **({"uid": UID} if named == "uid" else {}))
        task = await new(ada, list_id=told["id" if named == "id" else "uid"])
        assert task["list_id"] == told["id"]
        assert (await ada.get(f"{TASKS}/{task['id']}")).json()["data"] == task
        assert (await ada.get(f"{TASKS}?fields=list_id")).json()["data"] == [{"list_id": told["id"]}]
        put = await ada.put(
            f"{TASKS}/{UID}", json={"title": "x", "list_id": told["id"]}, headers={"if-none-match": "*"}
        )
        assert (put.status_code, put.json()["data"]["list_id"]) == (201, told["id"])

    async def test_what_is_no_list_of_the_callers_is_refused_alike(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient
    ) -> None:
        his, trashed, archived = await made(bob, uid=UID), await made(ada), await made(ada, archived=True)
        await ada.delete(f"{LISTS}/{trashed['id']}")
        task = await new(ada)
        wrong = [his["id"], UID, 99, 0, -1, 2**53, 2**64, "abc", "7", uid_of(UidKind.TASK, trashed["id"])]
        wrong += [each[name] for each in (trashed, archived) for name in ("id", "uid")]
        for list_id in wrong:
            body = {"title": "y", "list_id": list_id}
            for method, path in (("POST", TASKS), ("PUT", f"{TASKS}/{task['id']}"), ("PATCH", f"{TASKS}/{task['id']}")):
                answer = await ada.request(method, path, json=body)
                assert (answer.status_code, answer.json()) == (422, {"error": REFUSED}), (method, list_id)
            for operation in (
                {"op": "create"},
                {"op": "replace", "id": task["id"]},
                {"op": "update", "id": task["id"]},
            ):
                answer = await ada.post(f"{TASKS}/batch", json={"operations": [{**operation, "data": body}]})
                error = answer.json()["error"]
                assert (answer.status_code, error["index"]) == (422, 0), list_id
                assert error["fields"] == [{"field": "operations[0].data.list_id", "message": no_such_list().message}]
        assert (await ada.get(TASKS)).json()["data"] == [task]
        for kind, told in ((True, "an integer, a UUID or null"), ({}, "an integer, a UUID or null")):
            assert (await patched(ada, task, list_id=kind))["message"] == f"List id must be {told}"

    async def test_of_anothers_task_it_tells_nothing(self, ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
        hers = await new(ada)
        his = await made(bob)
        for list_id in (his["id"], 99):
            answers = [await bob.patch(f"{TASKS}/{the_id}", json={"list_id": list_id}) for the_id in (hers["id"], 999)]
            assert answers[0].status_code == 404
            assert answers[0].content == answers[1].content

    async def test_a_task_stays_in_a_list_that_is_archived(self, ada: httpx.AsyncClient) -> None:
        told = await made(ada, uid=UID)
        task = await new(ada, list_id=told["id"])
        await ada.patch(f"{LISTS}/{told['id']}", json={"archived": True})
        for the_id in (told["id"], UID):
            assert (await patched(ada, task, title="y", list_id=the_id))["list_id"] == told["id"]
            update = {"op": "update", "id": task["id"], "data": {"list_id": the_id}}
            answer = await ada.post(f"{TASKS}/batch", json={"operations": [update]})
            assert answer.json()["data"][0]["data"]["list_id"] == told["id"]
        await ada.delete(f"{TASKS}/{task['id']}")
        assert (await ada.post(f"{TASKS}/{task['id']}/restore")).json()["data"]["list_id"] == told["id"]
        assert (await patched(ada, task, list_id=None))["list_id"] is None
        assert await patched(ada, task, list_id=told["id"]) == REFUSED

    async def test_a_batch_takes_ids_and_uids(self, ada: httpx.AsyncClient) -> None:
        told = await made(ada, uid=UID)
        one, two = await new(ada), await new(ada, list_id=told["id"])
        operations = [
            {"op": "create", "data": {"title": "x", "list_id": UID}},
            {"op": "update", "id": one["uid"], "data": {"list_id": told["id"]}},
            {"op": "replace", "id": two["id"], "data": {"title": "y", "list_id": None}},
            {"op": "create", "data": {"title": "x"}},
        ]
        answer = await ada.post(f"{TASKS}/batch", json={"operations": operations}, headers={"idempotency-key": "1"})
        assert [each["data"]["list_id"] for each in answer.json()["data"]] == [told["id"], told["id"], None, None]

    def test_another_check_of_the_database_is_no_list(self) -> None:
        with pytest.raises(asyncpg.CheckViolationError):
            check_that_it_was_the_list(asyncpg.CheckViolationError())

    async def test_the_database_itself_refuses_anothers_list(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        hers, his = await new(ada), await made(bob)
        with pytest.raises(asyncpg.CheckViolationError):
            await sql.execute("UPDATE tasks SET list_id = $1 WHERE id = $2", his["id"], hers["id"])
        async with sql.transaction():
            await sql.execute("ALTER TABLE tasks DISABLE TRIGGER tasks_change_list")
            with pytest.raises(asyncpg.ForeignKeyViolationError):
                async with sql.transaction():
                    await sql.execute("UPDATE tasks SET list_id = $1 WHERE id = $2", his["id"], hers["id"])
            await sql.execute("ALTER TABLE tasks ENABLE TRIGGER tasks_change_list")

    async def test_a_task_that_is_given_away_leaves_its_list_and_a_user_keeps_both_under_another_id(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        told = await made(ada)
        mine, given = await new(ada, list_id=told["id"]), await new(ada, list_id=told["id"])
        await new(bob)
        await sql.execute("UPDATE tasks SET user_id = 'bob' WHERE id = $1", given["id"])
        assert await sql.fetchval("SELECT list_id FROM tasks WHERE id = $1", given["id"]) is None
        await sql.execute("UPDATE \"user\" SET id = 'lovelace' WHERE id = 'ada'")
        rows = await sql.fetch("SELECT user_id, list_id FROM tasks WHERE id = $1", mine["id"])
        assert [tuple(row) for row in rows] == [("lovelace", told["id"])]
        assert await sql.fetchval("SELECT user_id FROM task_lists") == "lovelace"
        await sql.execute("""DELETE FROM "user" WHERE id = 'lovelace'""")
        assert await sql.fetchval("SELECT count(*) FROM task_lists") == 0


class TestHistory:
    async def test_it_tells_where_a_task_was(self, ada: httpx.AsyncClient) -> None:
        told = await made(ada)
        task = await new(ada, list_id=told["id"])
        await patched(ada, task, list_id=None)
        [out, created] = (await ada.get(f"{TASKS}/{task['id']}/history")).json()["data"]
        assert (out["action"], out["changes"]) == ("changed", {"list_id": {"from": told["id"], "to": None}})
        assert created["changes"]["list_id"] == {"from": None, "to": told["id"]}

    async def test_revert_brings_it_back_into_its_list(self, ada: httpx.AsyncClient) -> None:
        told = await made(ada)
        task = await new(ada, list_id=told["id"])
        await patched(ada, task, list_id=None)
        answer = (await ada.post(f"{TASKS}/{task['id']}/revert", json={"version": task["version"]})).json()
        assert (answer["data"]["list_id"], "lost" in answer) == (told["id"], False)

    @pytest.mark.parametrize("how", ["trashed", "purged", "archived"])
    async def test_without_its_list_it_comes_into_the_inbox_and_says_so(self, ada: httpx.AsyncClient, how: str) -> None:
        told = await made(ada)
        task = await new(ada, list_id=told["id"])
        await patched(ada, task, list_id=None, title="y")
        if how == "archived":
            await ada.patch(f"{LISTS}/{told['id']}", json={"archived": True})
        else:
            await ada.delete(f"{LISTS}/{told['id']}")
        if how == "purged":
            await ada.delete("/api/trash")
        body, key = {"version": task["version"]}, {"idempotency-key": "1"}
        answers = [await ada.post(f"{TASKS}/{task['id']}/revert", json=body, headers=key) for _ in range(2)]
        assert (answers[0].json()["data"]["list_id"], answers[0].json()["lost"]) == (None, ["list_id"])
        assert answers[0].json()["data"]["title"] == "x"
        await ada.delete(f"{TASKS}/{task['id']}")
        again = await ada.post(f"{TASKS}/{task['id']}/revert", json=body, headers=key)
        assert {answer.content for answer in (*answers, again)} == {answers[0].content}
        assert answers[0].headers["etag"] == answers[1].headers["etag"]

    async def test_a_list_that_closes_meanwhile_is_looked_at_again(
        self, running: Litestar, ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told = await made(ada)
        task = await new(ada, list_id=told["id"])
        await patched(ada, task, list_id=None)
        tries = 0
        execute = history.execute

        async def late(statement: ChangeStatement, change: Change, **values: Any) -> Any:
            nonlocal tries
            tries += 1
            if tries < 3:
                error = asyncpg.CheckViolationError()
                error.constraint_name = "list_takes_tasks"  # pyright: ignore[reportAttributeAccessIssue]
                raise error
            return await execute(statement, change, **values)

        monkeypatch.setattr(history, "execute", late)
        path, body = f"{TASKS}/{task['id']}/revert", {"version": task["version"]}
        assert (await ada.post(path, json=body)).json()["data"]["list_id"] == told["id"]
        tries = -10
        answer = await ada.post(path, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, Unavailable.code)


class TestDeletingTheList:
    async def test_it_goes_with_its_tasks_and_comes_back_with_them(self, ada: httpx.AsyncClient) -> None:
        told, other = await made(ada), await made(ada, "Home")
        before, one, two = [await new(ada, title=f"{n}", list_id=told["id"]) for n in range(3)]
        inbox, elsewhere = await new(ada), await new(ada, list_id=other["id"])
        await ada.delete(f"{TASKS}/{before['id']}")
        assert (await ada.delete(f"{LISTS}/{told['id']}")).status_code == 204
        assert [each["id"] for each in (await ada.get(TASKS)).json()["data"]] == [elsewhere["id"], inbox["id"]]
        assert (await ada.get(f"{LISTS}/{told['id']}")).status_code == 404
        trash = {each["id"]: each for each in (await ada.get("/api/trash")).json()["data"]}
        assert {*trash} == {before["id"], one["id"], two["id"]}
        assert trash[one["id"]]["deleted_at"] == trash[two["id"]]["deleted_at"] != trash[before["id"]]["deleted_at"]
        assert len({each["version"] for each in trash.values()}) == 3

        back = await ada.post(f"{LISTS}/{told['id']}/restore")
        assert back.status_code == 200
        assert back.json()["data"] == {
            **told,
            **{name: back.json()["data"][name] for name in ("version", "updated_at")},
        }
        tasks = {each["id"]: each for each in (await ada.get(TASKS)).json()["data"]}
        assert {*tasks} == {one["id"], two["id"], inbox["id"], elsewhere["id"]}
        assert tasks[one["id"]]["list_id"] == told["id"]
        versions = [back.json()["data"]["version"], tasks[one["id"]]["version"], tasks[two["id"]]["version"]]
        assert versions == sorted({*versions})
        latest = (await ada.patch(f"{LISTS}/{told['id']}", json={"name": "x"})).json()["data"]["version"]
        assert latest == versions[-1] + 1
        history = (await ada.get(f"{TASKS}/{one['id']}/history")).json()["data"]
        assert [each["action"] for each in history] == ["restored", "deleted", "created"]
        assert (await ada.post(f"{LISTS}/{told['id']}/restore")).status_code == 404
        assert [each["id"] for each in (await ada.get("/api/trash")).json()["data"]] == [before["id"]]

    async def test_its_tasks_may_go_to_the_inbox_instead(self, ada: httpx.AsyncClient) -> None:
        told = await made(ada)
        one, two = await new(ada, list_id=told["id"]), await new(ada, list_id=told["id"])
        await ada.delete(f"{TASKS}/{two['id']}")
        assert (await ada.delete(f"{LISTS}/{told['id']}?tasks=inbox")).status_code == 204
        [left] = (await ada.get(TASKS)).json()["data"]
        assert (left["id"], left["list_id"]) == (one["id"], None)
        await ada.post(f"{LISTS}/{told['id']}/restore")
        assert (await ada.get(f"{TASKS}/{one['id']}")).json()["data"]["list_id"] is None
        assert (await ada.post(f"{TASKS}/{two['id']}/restore")).json()["data"]["list_id"] == told["id"]

    async def test_a_task_that_is_restored_alone_comes_into_the_inbox(self, ada: httpx.AsyncClient) -> None:
        told = await made(ada)
        task = await new(ada, list_id=told["id"])
        await ada.delete(f"{LISTS}/{told['id']}")
        assert (await ada.post(f"{TASKS}/{task['id']}/restore")).json()["data"]["list_id"] is None
        assert (await ada.post(f"{LISTS}/{told['id']}/restore")).status_code == 200
        assert (await ada.get(f"{TASKS}/{task['id']}")).json()["data"]["list_id"] is None

    async def test_the_trash_is_emptied_of_lists_too(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        told, kept = await made(ada), await made(ada)
        await new(ada, list_id=told["id"])
        await ada.delete(f"{LISTS}/{told['id']}")
        await sql.execute("ALTER TABLE tasks DISABLE TRIGGER tasks_enter_list")
        await sql.execute("INSERT INTO tasks (user_id, title, list_id) VALUES ('ada', 'left', $1)", told["id"])
        await sql.execute("ALTER TABLE tasks ENABLE TRIGGER tasks_enter_list")
        assert (await ada.delete("/api/trash", headers={"idempotency-key": "1"})).status_code == 204
        assert [row["id"] for row in await sql.fetch("SELECT id FROM task_lists")] == [kept["id"]]
        [left] = (await ada.get(TASKS)).json()["data"]
        assert (left["title"], left["list_id"]) == ("left", None)
        assert (await ada.post(f"{LISTS}/{told['id']}/restore")).status_code == 404

    @pytest.mark.parametrize("tasks", ["trash", "inbox"])
    async def test_where_nothing_is_kept_it_is_gone_for_good(
        self,
        running: Litestar,
        ada: httpx.AsyncClient,
        sql: asyncpg.Connection,
        monkeypatch: pytest.MonkeyPatch,
        tasks: str,
    ) -> None:
        told = await made(ada)
        one, two = await new(ada, list_id=told["id"]), await new(ada, list_id=told["id"])
        await ada.delete(f"{TASKS}/{two['id']}")
        nothing = msgspec.structs.replace(running.state["settings"], trash_days=0)
        monkeypatch.setitem(running.state, "settings", nothing)
        assert (await ada.delete(f"{LISTS}/{told['id']}?tasks={tasks}")).status_code == 204
        rows = await sql.fetch("SELECT id, list_id FROM tasks ORDER BY id")
        kept = [(one["id"], None)] if tasks == "inbox" else []
        assert [tuple(row) for row in rows] == [*kept, (two["id"], None)]
        assert await sql.fetchval("SELECT count(*) FROM task_lists") == 0
        assert await sql.fetchval("SELECT stored FROM revisions") == len(rows)

    async def test_it_costs_what_its_tasks_do(
        self, running: Litestar, ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(moving, "TASKS_MOVED", 1)
        told = await made(ada)
        for _ in range(3):
            await new(ada, list_id=told["id"])
        charged: list[int] = []
        monkeypatch.setattr("app.tasks.lists.controller.charge", lambda _, count: charged.append(count))
        await ada.delete(f"{LISTS}/{told['id']}")
        await ada.post(f"{LISTS}/{told['id']}/restore")
        assert charged == [3, 3]
        kept_nothing = msgspec.structs.replace(running.state["settings"], trash_days=0)
        monkeypatch.setitem(running.state, "settings", kept_nothing)
        await ada.delete(f"{LISTS}/{told['id']}")
        assert charged == [3, 3, 3]

    async def test_whatever_happens_meanwhile_no_task_is_listed_in_a_list_that_is_not(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        async def come_and_go(told: dict[str, Any], task: dict[str, Any]) -> None:
            await asyncio.gather(
                ada.delete(f"{LISTS}/{told['id']}"),
                patched(ada, task, list_id=told["id"]),
                ada.post(TASKS, json={"title": "y", "list_id": told["id"]}),
                ada.post(
                    f"{TASKS}/batch",
                    json={"operations": [{"op": "create", "data": {"title": "z", "list_id": told["id"]}}]},
                ),
            )
            await ada.post(f"{LISTS}/{told['id']}/restore")
            await asyncio.gather(
                ada.delete(f"{LISTS}/{told['id']}"),
                *(ada.post(f"{TASKS}/{n}/restore") for n in (task["id"], task["id"] + 1)),
            )

        for _ in range(5):
            await come_and_go(await made(ada), await new(ada))
        lost = "SELECT count(*) FROM tasks AS t JOIN task_lists AS l ON l.id = t.list_id AND l.user_id = t.user_id"
        assert await sql.fetchval(f"{lost} WHERE t.deleted_at IS NULL AND l.deleted_at IS NOT NULL") == 0
