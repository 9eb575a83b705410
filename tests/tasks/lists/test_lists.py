"""Lists: how they are made, read, changed, archived and found, and what is refused."""

import asyncio
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from litestar import Litestar

from app.auth import provisioning
from app.auth.jwt import User
from app.db.statements import Statement
from app.tasks.change import Change
from app.tasks.lists.changes import create_list
from app.tasks.lists.structs import TodoListContent
from app.tasks.positions import NOT_A_POSITION, derived_position
from app.tasks.uids import UidKind, uid_of
from app.web.failures import Invalid, InvalidToken, Unavailable

LISTS = "/api/lists"
UID = "01936c1e-7c3a-7000-9b1d-0d9d6f1d2a21"
NEW = {"if-none-match": "*"}
NOT_FOUND = {"error": {"code": "NOT_FOUND", "message": "There is no such list."}}


async def made(client: httpx.AsyncClient, name: str = "Groceries", **more: Any) -> dict[str, Any]:
    answer = await client.post(LISTS, json={"name": name, **more})
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


async def names(client: httpx.AsyncClient) -> list[str]:
    return [each["name"] for each in (await client.get(LISTS)).json()["data"]]


class TestCreating:
    async def test_it_is_there_with_what_its_client_said(self, ada: httpx.AsyncClient) -> None:
        content = {"name": "  Groceries\n", "color": "#1E90FF", "position": "a1", "uid": UID.upper(), "id": 99, "x": 1}
        answer = await ada.post(LISTS, json=content)
        told = answer.json()["data"]
        assert answer.status_code == 201
        assert told == {
            "id": told["id"],
            "uid": UID,
            "name": "Groceries",
            "color": "#1e90ff",
            "position": "a1",
            "archived_at": None,
            "created_at": told["updated_at"],
            "updated_at": told["updated_at"],
            "version": 1,
        }
        assert answer.headers["location"] == f"{LISTS}/{told['id']}"
        assert (answer.headers["etag"], answer.headers["cache-control"]) == ('"v1"', "private, no-cache")
        for one in (told["id"], UID):
            assert (await ada.get(f"{LISTS}/{one}")).json() == {"data": told}
        assert (await ada.get(f"{LISTS}/")).json() == {"data": [told]}

    async def test_what_its_client_did_not_say_is_derived_from_the_id(self, ada: httpx.AsyncClient) -> None:
        first, second = await made(ada), await made(ada)
        assert (first["uid"], first["color"]) == (uid_of(UidKind.LIST, first["id"]), None)
        assert first["position"] == derived_position(first["id"]) < second["position"]
        assert (await ada.get(f"{LISTS}/{first['uid']}")).json()["data"] == first

    async def test_one_may_be_archived_from_the_first(self, ada: httpx.AsyncClient) -> None:
        told = await made(ada, archived=True)
        assert told["archived_at"] == told["created_at"]

    @pytest.mark.parametrize(
        ("body", "field", "message"),
        [
            ({}, "name", "Name is required"),
            ({"name": " \u200b"}, "name", "Name is required"),
            ({"name": "x" * 201}, "name", "Name must have 200 characters at most"),
            ({"name": "\0x"}, "name", "Name must not contain the character U+0000"),
            ({"name": 7}, "name", "Name must be a string"),
            ({"name": "x", "color": "red"}, "color", "Color must be #rrggbb, such as #1e90ff"),
            (
                {"name": "x", "position": "a"},
                "position",
                NOT_A_POSITION,
            ),
            ({"name": "x", "archived": None}, "archived", "Archived must be true or false"),
            ({"name": "x", "uid": "7"}, "uid", "Uid must be a UUID, such as 01936c1e-7c3a-7000-9b1d-0d9d6f1d2a11"),
        ],
    )
    async def test_what_is_no_list_is_refused(
        self, ada: httpx.AsyncClient, body: dict[str, Any], field: str, message: str
    ) -> None:
        answer = await ada.post(LISTS, json=body)
        assert answer.status_code == 422
        assert answer.json() == msgspec.to_builtins({"error": Invalid(field, message).error()})
        assert await names(ada) == []

    async def test_a_uid_is_unique_for_its_owner_the_trash_included(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient
    ) -> None:
        told = await made(ada, uid=UID)
        assert (await made(bob, uid=UID))["uid"] == UID
        answer = await ada.post(LISTS, json={"name": "x", "uid": UID})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "CONFLICT")
        assert answer.json()["error"]["current"] == told
        await ada.delete(f"{LISTS}/{UID}")
        current = (await ada.post(LISTS, json={"name": "x", "uid": UID})).json()["error"]["current"]
        assert current == {
            **told,
            **{name: current[name] for name in ("version", "updated_at", "deleted_at")},
        }
        await ada.delete("/api/trash")
        assert (await made(ada, "anew", uid=UID))["name"] == "anew"

    async def test_put_creates_it_however_often_it_is_sent(self, ada: httpx.AsyncClient) -> None:
        first, again = [await ada.put(f"{LISTS}/{UID}", json={"name": "Home"}, headers=NEW) for _ in range(2)]
        told = first.json()["data"]
        assert (first.status_code, told["uid"], told["name"]) == (201, UID, "Home")
        assert first.headers["location"] == f"{LISTS}/{told['id']}"
        assert (again.status_code, again.json()["error"]["code"]) == (412, "PRECONDITION_FAILED")
        assert again.json()["error"] == {
            "code": "PRECONDITION_FAILED",
            "message": "The list has changed in the meantime.",
            "current": told,
        }
        assert again.headers["etag"] == '"v1"'
        assert (await ada.put(f"{LISTS}/{told['id']}", json={"name": "x"}, headers=NEW)).status_code == 412

    async def test_there_are_as_many_as_max_lists_allows_also_concurrently(
        self, running: Litestar, ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        few = msgspec.structs.replace(running.state["settings"], max_lists=2)
        monkeypatch.setitem(running.state, "settings", few)
        answers = await asyncio.gather(*(ada.post(LISTS, json={"name": f"{n}"}) for n in range(4)))
        assert sorted(answer.status_code for answer in answers) == [201, 201, 409, 409]
        [refused, _] = [answer.json()["error"] for answer in answers if answer.status_code == 409]
        message = "You have 2 lists, the trash included, and there can be no more. Delete some for good."
        assert refused == {"code": "LIMIT_REACHED", "message": message}
        [one, _] = (await ada.get(LISTS)).json()["data"]
        await ada.delete(f"{LISTS}/{one['id']}")
        assert (await ada.post(LISTS, json={"name": "x"})).status_code == 409
        await ada.delete("/api/trash")
        assert (await ada.post(LISTS, json={"name": "x"})).status_code == 201


class TestReading:
    async def test_they_are_in_the_order_of_the_bytes_of_their_positions(self, ada: httpx.AsyncClient) -> None:
        for name, position in (("c", None), ("b", "aZ"), ("a", "a0"), ("d", None), ("z", "Zz"), ("b2", "aZ")):
            await made(ada, name, position=position)
        assert await names(ada) == ["z", "a", "b", "b2", "c", "d"]

    async def test_what_is_known_is_not_sent_again(self, ada: httpx.AsyncClient) -> None:
        assert "etag" not in (await ada.get(LISTS)).headers
        told = await made(ada)
        path = f"{LISTS}/{told['id']}"
        for one in (LISTS, path):
            tag = (await ada.get(one)).headers["etag"]
            head = await ada.head(one)
            assert (head.status_code, head.headers["etag"], head.content) == (200, tag, b"")
            known = await ada.get(one, headers={"if-none-match": tag})
            assert (known.status_code, known.content) == (304, b"")
            await ada.patch(path, json={"color": "#000000"})
            assert (await ada.get(one, headers={"if-none-match": tag})).status_code == 200

    @pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
    async def test_anothers_is_as_one_that_never_was(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, method: str
    ) -> None:
        hers = await made(ada, uid=UID)
        body = {} if method in ("GET", "DELETE") else {"json": {"name": "his"}}
        others = [f"{LISTS}/{one}" for one in (hers["id"], UID, 999, 2**53, 2**63 - 1, 2**64, 0, -1)]
        others.append(f"{LISTS}/{uid_of(UidKind.LIST, hers['id'])}")
        others.append(f"{LISTS}/{uid_of(UidKind.TASK, hers['id'])}")
        answers = [await bob.request(method, path, **body) for path in others]
        assert {(answer.status_code, answer.content) for answer in answers} == {
            (404, msgspec.json.encode(NOT_FOUND)),
        }
        restored = await bob.post(f"{LISTS}/{hers['id']}/restore")
        assert (restored.status_code, restored.json()) == (404, NOT_FOUND)
        assert (await ada.get(f"{LISTS}/{UID}")).json()["data"] == hers

    @pytest.mark.parametrize("the_id", ["abc", "01", "+1", "1.0", "%201", "-0"])
    async def test_what_is_no_id_is_refused(self, ada: httpx.AsyncClient, the_id: str) -> None:
        answer = await ada.get(f"{LISTS}/{the_id}")
        assert (answer.status_code, answer.json()["error"]["fields"][0]["field"]) == (422, "id")

    async def test_a_parameter_that_is_not_known_is_refused(self, ada: httpx.AsyncClient) -> None:
        told = await made(ada)
        for method, path in (
            ("GET", f"{LISTS}?limit=1"),
            ("DELETE", f"{LISTS}/{told['id']}?tasks=away"),
            ("POST", f"{LISTS}/{told['id']}/restore?x=1"),
        ):
            assert (await ada.request(method, path)).status_code == 422

    async def test_without_a_token_there_is_nothing_to_be_seen(self, stranger: httpx.AsyncClient) -> None:
        for path in (LISTS, f"{LISTS}/1", f"{LISTS}/x/y"):
            assert (await stranger.get(path)).status_code == 401


class TestChanging:
    async def test_put_replaces_the_name_and_leaves_what_it_does_not_name(self, ada: httpx.AsyncClient) -> None:
        told = await made(ada, color="#1e90ff", position="a1", archived=True)
        after = (await ada.put(f"{LISTS}/{told['id']}", json={"name": "Home", "uid": UID})).json()["data"]
        assert after == {**told, "name": "Home", "version": 2, "updated_at": after["updated_at"]}
        assert after["updated_at"] > told["updated_at"]

    async def test_patch_changes_what_it_names_and_null_clears(self, ada: httpx.AsyncClient) -> None:
        told = await made(ada, color="#1e90ff", position="a1")
        path = f"{LISTS}/{told['id']}"
        after = (await ada.patch(path, json={"color": None})).json()["data"]
        assert after == {**told, "color": None, "version": 2, "updated_at": after["updated_at"]}
        after = (await ada.patch(path, json={"position": None, "name": "x"})).json()["data"]
        assert (after["position"], after["name"]) == (derived_position(told["id"]), "x")
        assert (await ada.patch(path, json={})).json()["data"] == after
        answer = await ada.patch(path, content=b"[]", headers={"content-type": "application/json-patch+json"})
        assert answer.status_code == 415

    async def test_a_patch_that_names_nothing_raises_no_revision(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        told = await made(ada)
        path, before = f"{LISTS}/{told['id']}", await sql.fetchrow("SELECT * FROM revisions")
        tag = (await ada.get(LISTS)).headers["etag"]
        for number, body in enumerate(({}, {"x": 1}, {"uid": UID})):
            for key in ({}, {"idempotency-key": f"{number}"}, {"idempotency-key": f"{number}"}):
                answer = await ada.patch(path, json=body, headers=key)
                assert (answer.status_code, answer.json()["data"]) == (200, told)
                assert answer.headers["x-revision"] == f"{told['version']}"
        assert (await ada.patch(path, json={}, headers={"if-match": '"v99"'})).status_code == 412
        assert (await ada.patch(f"{LISTS}/999", json={})).status_code == 404
        assert await sql.fetchrow("SELECT * FROM revisions") == before
        assert (await ada.get(LISTS, headers={"if-none-match": tag})).status_code == 304

    async def test_it_is_archived_once_and_taken_back(self, ada: httpx.AsyncClient) -> None:
        told = await made(ada)
        path = f"{LISTS}/{told['id']}"
        first, second = [(await ada.patch(path, json={"archived": True})).json()["data"] for _ in range(2)]
        assert first["archived_at"] == first["updated_at"] == second["archived_at"]
        assert (await ada.patch(path, json={"archived_at": None})).json()["data"] == second
        assert (await ada.patch(path, json={"archived": False})).json()["data"]["archived_at"] is None

    async def test_a_change_is_for_the_version_that_it_names(self, ada: httpx.AsyncClient) -> None:
        told = await made(ada)
        path = f"{LISTS}/{told['id']}"
        for method, tail in (("PUT", ""), ("PATCH", ""), ("DELETE", "")):
            body = {} if method == "DELETE" else {"json": {"name": "x"}}
            answer = await ada.request(method, path + tail, headers={"if-match": '"v9"'}, **body)
            assert (answer.status_code, answer.json()["error"]["current"]) == (412, told)
            assert answer.headers["etag"] == '"v1"'
        answer = await ada.patch(path, json={"name": "x"}, headers={"if-match": 'W/"v1"'})
        assert (answer.status_code, answer.headers["etag"]) == (200, '"v2"')
        deleted = await ada.delete(path, headers={"if-match": '"v2"'})
        assert (deleted.status_code, deleted.content) == (204, b"")

    async def test_where_it_has_to_a_change_names_a_version(
        self, running: Litestar, ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        told = await made(ada)
        strict = msgspec.structs.replace(running.state["settings"], require_if_match=True)
        monkeypatch.setitem(running.state, "settings", strict)
        assert (await ada.patch(f"{LISTS}/{told['id']}", json={"name": "x"})).status_code == 428
        assert (await made(ada))["version"] == 2

    async def test_each_change_raises_the_one_revision_of_its_owner(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task = (await ada.post("/api/tasks", json={"title": "x"})).json()["data"]
        told = await made(ada)
        tag = (await ada.get("/api/tasks")).headers["etag"]
        after = (await ada.patch(f"{LISTS}/{told['id']}", json={"name": "x"})).json()["data"]
        assert (task["version"], told["version"], after["version"]) == (1, 2, 3)
        assert await sql.fetchval("SELECT revision FROM revisions") == 3
        assert (await ada.get("/api/tasks", headers={"if-none-match": tag})).status_code == 200
        assert (await ada.patch(f"/api/tasks/{task['id']}", json={"title": "y"})).json()["data"]["version"] == 4


class TestOwners:
    async def test_one_whom_the_database_has_not_seen_is_added_with_the_first_list(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        assert (await ada.patch(f"{LISTS}/1", json={"name": "x"})).status_code == 404
        assert await sql.fetchval('SELECT count(*) FROM "user"') == 0
        answers = await asyncio.gather(*(ada.post(LISTS, json={"name": f"{n}"}) for n in range(3)))
        assert [answer.status_code for answer in answers] == [201] * 3
        assert await sql.fetchval('SELECT name FROM "user"') == "Ada"

    async def test_one_who_may_not_be_added_has_none(self, running: Litestar, clean: None) -> None:
        with pytest.raises(InvalidToken):
            await create_list(Change(User("joan", auto_provision=False)), TodoListContent("x"), 0)

    async def test_one_who_cannot_be_added_for_long_is_told_so(
        self, running: Litestar, clean: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(provisioning, "ADD_OWNER", Statement("SELECT :owner::text, :email::text, :name::text"))
        with pytest.raises(Unavailable):
            await create_list(Change(User("joan")), TodoListContent("x"), 0)


class TestKeys:
    async def test_what_is_sent_again_is_done_once(self, ada: httpx.AsyncClient) -> None:
        key = {"idempotency-key": "1"}
        answers = await asyncio.gather(*(ada.post(LISTS, json={"name": "x"}, headers=key) for _ in range(4)))
        assert {(answer.status_code, answer.content, answer.headers["etag"]) for answer in answers} == {
            (201, answers[0].content, '"v1"')
        }
        assert sum("idempotent-replayed" in answer.headers for answer in answers) == 3
        assert await names(ada) == ["x"]
        other = await ada.post(LISTS, json={"name": "y"}, headers=key)
        assert (other.status_code, other.json()["error"]["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")

    async def test_a_change_of_a_version_is_told_again_and_a_deletion_too(self, ada: httpx.AsyncClient) -> None:
        path = f"{LISTS}/{(await made(ada))['id']}"
        once = {"idempotency-key": "1", "if-match": '"v1"'}
        first, again = [await ada.patch(path, json={"name": "x"}, headers=once) for _ in range(2)]
        assert (first.status_code, again.status_code, first.content) == (200, 200, again.content)
        gone = [(await ada.delete(path, headers={"idempotency-key": "2"})).status_code for _ in range(2)]
        assert gone == [204, 204]
        assert (await ada.delete(f"{path}?tasks=inbox", headers={"idempotency-key": "2"})).status_code == 422
        back = [(await ada.post(f"{path}/restore", headers={"idempotency-key": "3"})).content for _ in range(2)]
        assert back[0] == back[1]
        await ada.delete(path)
        await ada.delete("/api/trash")
        told = await ada.patch(path, json={"name": "x"}, headers=once)
        assert (told.status_code, told.json()) == (404, NOT_FOUND)
