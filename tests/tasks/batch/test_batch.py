"""Many changes in one request: all of them happen, or none."""

import asyncio
import json
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from litestar import Litestar

from app.auth.jwt import User
from app.db.statements import Statement
from app.db.transaction import Transaction
from app.tasks.batch import reading, run, task_changes
from app.tasks.change import Change
from app.web.failures import InvalidToken, NotJSON, Unavailable
from tests.conftest import token, visitor

BATCH = "/api/tasks/batch"
MAX_ID = 2**63 - 1


def create(title: str = "new", **content: Any) -> dict[str, Any]:
    return {"op": "create", "data": {"title": title, **content}}


def update(task_id: float, **more: Any) -> dict[str, Any]:
    version = {"version": more.pop("version")} if "version" in more else {}
    return {"op": "update", "id": task_id, **version, "data": more}


def delete(task_id: int, **more: Any) -> dict[str, Any]:
    return {"op": "delete", "id": task_id, **more}


async def send(client: httpx.AsyncClient, *those: Any, **query: Any) -> httpx.Response:
    return await client.post(BATCH, json={"operations": those}, params=query)


async def done(client: httpx.AsyncClient, *those: Any, **query: Any) -> list[dict[str, Any]]:
    answer = await send(client, *those, **query)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def listed(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    return (await client.get("/api/tasks")).json()["data"]


async def everything(sql: asyncpg.Connection) -> list[Any]:
    """All that there is of anybody, down to the last number."""
    tables = ('"user"', "revisions", "tasks", "task_versions")
    return [await sql.fetch(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables]


def refused(index: int, field: str, message: str) -> dict[str, Any]:
    return {
        "error": {
            "code": "VALIDATION_ERROR",
            "message": f"Operation {index}: {message}",
            "fields": [{"field": f"operations[{index}]{field}", "message": message}],
            "index": index,
        }
    }


@pytest.fixture
async def tasks(ada: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Five tasks of Ada's, with the ids 1 to 5."""
    return [each["data"] for each in await done(ada, *(create(f"task {n}", description="old") for n in range(1, 6)))]


class TestResults:
    async def test_each_operation_has_its_own_in_the_order_in_which_they_were_sent(
        self, ada: httpx.AsyncClient, tasks: list[dict[str, Any]]
    ) -> None:
        answer = await send(
            ada,
            delete(5),
            create(" first ", description="of them"),
            update(4, description=None),
            {"op": "complete", "id": 3},
            create("second"),
            {"op": "replace", "id": 2, "data": {"title": "other"}},
            {"op": "complete", "id": 1, "data": {"completed": False}},
        )

        results = answer.json()["data"]
        now = {task["id"]: task for task in await listed(ada)}
        assert (answer.status_code, [*answer.json()]) == (200, ["data"])
        assert [(each["op"], each["status"]) for each in results] == [
            ("delete", 204),
            ("create", 201),
            ("update", 200),
            ("complete", 200),
            ("create", 201),
            ("replace", 200),
            ("complete", 200),
        ]
        assert results[0]["data"] is None
        assert [each["data"] for each in results[1:]] == [now[n] for n in (6, 4, 3, 7, 2, 1)]
        assert [each["data"]["version"] for each in results[1:]] == [7, 8, 9, 10, 11, 12]
        assert (now[6]["title"], now[6]["description"]) == ("first", "of them")
        assert (now[4]["title"], now[4]["description"]) == ("task 4", None)
        assert (now[2]["title"], now[2]["description"]) == ("other", None)
        assert [now[n]["completed"] for n in (1, 2, 3, 4)] == [False, False, True, False]
        assert 5 not in now

    async def test_what_is_created_later_is_newer(self, ada: httpx.AsyncClient) -> None:
        await done(ada, *(create(f"{n}") for n in range(100)))

        assert [task["title"] for task in await listed(ada)] == [f"{n}" for n in reversed(range(100))]

    async def test_who_did_it_is_kept_with_all_of_it_and_so_is_what_was_there(
        self, ada: httpx.AsyncClient, tasks: list[dict[str, Any]], sql: asyncpg.Connection
    ) -> None:
        async with visitor_with(ada, jti="another") as also_ada:
            await done(also_ada, create(), update(1, title="x"), delete(2))

        by = await sql.fetch("SELECT id, changed_by FROM tasks ORDER BY id")
        assert [tuple(row) for row in by if row["changed_by"] == "jwt:another"] == [
            (1, "jwt:another"),
            (2, "jwt:another"),
            (6, "jwt:another"),
        ]
        before = await sql.fetch("SELECT task_id, version, title, changed_by FROM task_versions ORDER BY task_id")
        assert [tuple(row) for row in before] == [(1, 1, "task 1", "jwt"), (2, 2, None, "jwt")]

    async def test_a_change_that_names_nothing_changes_nothing(
        self, ada: httpx.AsyncClient, tasks: list[dict[str, Any]], sql: asyncpg.Connection
    ) -> None:
        before = await everything(sql)
        alone = await done(ada, update(1), update(2, version=2))
        assert [each["data"] for each in alone] == tasks[:2]
        assert await everything(sql) == before

        beside = await done(ada, update(1), delete(2), update(3, title="x"))
        assert beside[0]["data"] == tasks[0]
        assert beside[2]["data"]["version"] == 7

    async def test_a_version_that_fits_is_as_good_as_none(
        self, ada: httpx.AsyncClient, tasks: list[dict[str, Any]]
    ) -> None:
        results = await done(
            ada,
            update(1, title="x", version=1),
            {"op": "replace", "id": 2, "version": 2, "data": {"title": "y"}},
            {"op": "complete", "id": 3, "version": 3, "data": None},
            delete(4, version=4),
        )
        assert [each["status"] for each in results] == [200, 200, 200, 204]

    async def test_of_an_owner_whose_revision_was_lost_the_versions_go_on(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, tasks: list[dict[str, Any]]
    ) -> None:
        complete = {"op": "complete", "id": tasks[-1]["id"]}
        await sql.execute("DELETE FROM revisions")
        first = await done(ada, complete)
        await sql.execute("DELETE FROM revisions")
        second = await done(ada, create("new"), complete)
        versions = [result["data"]["version"] for result in (*first, second[-1])]
        assert tasks[-1]["version"] < versions[0] < versions[1]

    async def test_a_trailing_slash_makes_no_difference(self, ada: httpx.AsyncClient) -> None:
        assert (await ada.post(f"{BATCH}/", json={"operations": [create()]})).status_code == 200

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "PURGE"])
    async def test_it_knows_no_other_method(self, ada: httpx.AsyncClient, method: str) -> None:
        answer = await ada.request(method, BATCH, json={})

        assert answer.status_code == 405
        assert set(answer.headers["allow"].split(", ")) == {"OPTIONS", "POST"}

    async def test_below_it_its_name_is_an_id_like_any_other(self, ada: httpx.AsyncClient) -> None:
        answer, other = [await ada.patch(f"/api/tasks/{name}/complete") for name in ("batch", "abc")]

        assert (answer.status_code, answer.content) == (422, other.content)

    async def test_seven_point_nought_is_seven(self, ada: httpx.AsyncClient, tasks: list[dict[str, Any]]) -> None:
        results = await done(ada, update(2.0, version=2.0, title="x"))

        assert results[0]["data"]["id"] == 2


def visitor_with(client: httpx.AsyncClient, **claims: Any) -> httpx.AsyncClient:
    """Ada, with a token of her own choice."""
    transport: Any = client._transport
    return visitor(transport.app, authorization=f"Bearer {token('ada', **claims)}")


class TestRefused:
    @pytest.mark.parametrize("place", [0, 3, 99])
    @pytest.mark.parametrize(
        ("bad", "field", "message"),
        [
            ({"op": "create", "data": {"title": " "}}, ".data.title", "Title is required"),
            ({"op": "create", "data": {}}, ".data.title", "Title is required"),
            ({"op": "create", "data": {"title": 5}}, ".data.title", "Title must be a string"),
            ({"op": "create", "data": {"title": "x" * 501}}, ".data.title", "Title must have 500 characters at most"),
            ({"op": "create", "data": 5}, ".data", "Data must be an object"),
            ({"op": "create"}, ".data", "Data is required"),
            ({"op": "create", "id": 1, "data": {"title": "x"}}, ".id", "There is no such field here"),
            ({"op": "create", "version": 1, "data": {"title": "x"}}, ".version", "There is no such field here"),
            (
                {"op": "update", "id": 1, "data": {"description": "\0"}},
                ".data.description",
                "Description must not contain the character U+0000",
            ),
            ({"op": "update", "id": 1}, ".data", "Data is required"),
            ({"op": "update", "id": 1, "data": None}, ".data", "Data must be an object"),
            ({"op": "update", "id": 1, "data": {"title": None}}, ".data.title", "Title must be a string"),
            ({"op": "replace", "id": 1, "data": {}}, ".data.title", "Title is required"),
            ({"op": "complete", "id": 1, "data": []}, ".data", "Data must be an object or null"),
            (
                {"op": "complete", "id": 1, "data": {"is_completed": True}},
                ".data.completed",
                "Completed is required in a body that is not empty",
            ),
            (
                {"op": "complete", "id": 1, "data": {"completed": None}},
                ".data.completed",
                "Completed must be true or false",
            ),
            ({"op": "delete", "id": 1, "data": {}}, ".data", "There is no such field here"),
            ({"op": "delete", "id": 1, "verison": 1}, ".verison", "There is no such field here"),
            ({"op": "delete", "id": 1, "x" * 999: 1}, f".{'x' * 100}", "There is no such field here"),
            ({"op": "delete", "id": 1, "": 1}, "", "There is no such field here"),
            ({"op": "delete"}, ".id", "Id is required"),
            ({"op": "delete", "id": "1"}, ".id", "Id must be an integer or a UUID"),
            ({"op": "delete", "id": 1.5}, ".id", "Id must be an integer or a UUID"),
            ({"op": "delete", "id": 1, "version": 7.5}, ".version", "Version must be an integer"),
            ({"op": "delete", "id": 1, "version": "1"}, ".version", "Version must be an integer"),
            ({"op": "delete", "id": 1, "version": None}, ".version", "Version must be an integer"),
            ({"op": "delete", "id": 1, "version": 2**70}, ".version", "Version is not a value that it may have"),
            ({"op": "remove", "id": 1}, ".op", "Op is not a value that it may have"),
            ({"op": 5}, ".op", "Op is not a value that it may have"),
            ({"id": 1}, ".op", "Op is required"),
            (5.5, "", "An operation must be a JSON object"),
            ([], "", "An operation must be a JSON object"),
            (None, "", "An operation must be a JSON object"),
        ],
    )
    async def test_a_bad_operation_is_422_and_named(
        self, ada: httpx.AsyncClient, bad: Any, field: str, message: str, place: int
    ) -> None:
        others = [delete(4), update(5, title="x"), create()]
        before, after = [create()] * place, [{"op": "worse"}] * (99 - place)
        if place >= len(others):
            before[: len(others)] = others

        answer = await send(ada, *before, bad, *after)

        assert (answer.status_code, answer.json()) == (422, refused(place, field, message))

    async def test_a_task_is_in_one_operation_only(self, ada: httpx.AsyncClient, tasks: list[dict[str, Any]]) -> None:
        answer = await send(ada, create(), delete(4), update(5), {"op": "complete", "id": 4}, {"op": "worse"})

        assert answer.status_code == 422
        assert answer.json() == refused(3, ".id", "Another operation is about this task already")
        assert await listed(ada) == tasks[::-1]

    @pytest.mark.parametrize("place", [0, 1, 2, 4])
    async def test_nothing_is_left_behind_wherever_it_was(
        self, ada: httpx.AsyncClient, tasks: list[dict[str, Any]], sql: asyncpg.Connection, place: int
    ) -> None:
        good = [create(), update(1, title="x"), delete(2), {"op": "complete", "id": 3}]
        before = await everything(sql)
        for bad, status in [({"op": "nonsense"}, 422), (delete(999), 404), (update(4, title="y", version=99), 412)]:
            answer = await send(ada, *good[:place], bad, *good[place:])

            assert (answer.status_code, answer.json()["error"]["index"]) == (status, place)
            assert await everything(sql) == before

    @pytest.mark.parametrize(
        ("body", "field", "message"),
        [
            ({"operations": []}, "operations", "There must be 1 to 100 operations"),
            ({"operations": [create()] * 101}, "operations", "There must be 1 to 100 operations"),
            ({"operations": None}, "operations", "Operations must be array"),
            ({}, "operations", "Operations is required"),
            ([create()], "body", "The body must be a JSON object"),
        ],
    )
    async def test_so_is_what_is_no_list_of_1_to_100(
        self, ada: httpx.AsyncClient, body: Any, field: str, message: str
    ) -> None:
        answer = await ada.post(BATCH, json=body)

        error = {"code": "VALIDATION_ERROR", "message": message, "fields": [{"field": field, "message": message}]}
        assert (answer.status_code, answer.json()) == (422, {"error": error})

    @pytest.mark.parametrize("body", [b"", b"{", b'{"operations": [{"op": "create", "data": {"title": "\xff"}}]}'])
    async def test_what_is_no_json_is_400(self, ada: httpx.AsyncClient, body: bytes) -> None:
        assert (await ada.post(BATCH, content=body)).status_code == 400

    @pytest.mark.parametrize(
        "title", [rb"\ud800", rb"\ud800\u0041", rb"\udc00", rb'", "deep": ' + b"[" * 100_000 + b"]" * 100_000]
    )
    def test_neither_is_what_only_a_closer_look_sees(self, title: bytes) -> None:
        end = b"" if b"deep" in title else b'"'
        with pytest.raises(NotJSON):
            reading.read(b'{"operations": [{"op": "create", "data": {"title": "' + title + end + b"}}]}")

    async def test_more_than_256_kb_are_413_and_nothing_else_than_json_is_415(self, ada: httpx.AsyncClient) -> None:
        fits = json.dumps({"operations": [create(unknown="x" * (256 * 1024 - 100))]}).ljust(256 * 1024)
        large = await ada.post(BATCH, content=f"{fits} ")

        assert (await ada.post(BATCH, content=fits)).status_code == 200
        assert (large.status_code, large.json()["error"]["message"]) == (413, "The body is larger than 256 KiB.")
        assert (await ada.post(BATCH, content=fits, headers={"content-type": "text/plain"})).status_code == 415

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("dry_run=1", "dry_run"),
            ("dry_run", "dry_run"),
            ("dry_run=true&dry_run=true", "dry_run"),
            ("dryrun=true", "dryrun"),
            ("dry_run=true&%FF=", "query"),
        ],
    )
    async def test_a_parameter_that_is_unknown_repeated_or_neither_true_nor_false_is_422(
        self, ada: httpx.AsyncClient, query: str, field: str
    ) -> None:
        answer = await ada.post(f"{BATCH}?{query}", json={"operations": [create()]})

        assert (answer.status_code, answer.json()["error"]["fields"][0]["field"]) == (422, field)
        assert await listed(ada) == []

    async def test_nobody_and_who_may_only_read_change_nothing(
        self, stranger: httpx.AsyncClient, running: Litestar
    ) -> None:
        assert (await send(stranger, create())).status_code == 401
        joan = {"name": "Joan", "email": "joan@example.com", "password": "correct horse"}
        login = (await stranger.post("/api/auth/signup", json=joan)).json()["data"]
        bearer = {"authorization": f"Bearer {login['token']}"}
        wish = {"name": "A script", "scope": "read"}
        script = (await stranger.post("/api/auth/tokens", json=wish, headers=bearer)).json()["data"]

        async with visitor(running, authorization=f"Bearer {script['token']}") as reader:
            assert (await send(reader, create())).status_code == 403
            assert await listed(reader) == []


class TestRows:
    @pytest.mark.parametrize("bad", [4, 999, MAX_ID, MAX_ID + 1, 10**40, 0, -1, -(10**40), 1e300])
    async def test_somebody_elses_task_is_not_found_as_one_that_never_was(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, tasks: list[dict[str, Any]], bad: int
    ) -> None:
        if bad == 4:
            await done(bob, *[create()] * 2)
            bad, bobs = 6, await listed(bob)
        for operation in (
            update(bad, title="x"),
            update(bad),
            update(bad, title="x", version=1),
            update(bad, version=1),
            {"op": "replace", "id": bad, "data": {"title": "x"}},
            {"op": "complete", "id": bad},
            delete(bad),
            delete(bad, version=6),
        ):
            answer = await send(ada, delete(1), operation, create())

            error = {"code": "NOT_FOUND", "message": "Operation 1: There is no such task.", "index": 1}
            assert (answer.status_code, answer.json()) == (404, {"error": error})
            never_was = await send(ada, delete(1), {**operation, "id": 12345}, create())
            assert answer.content == never_was.content
        assert await listed(ada) == tasks[::-1]
        if bad == 6:
            assert await listed(bob) == bobs

    async def test_neither_is_one_in_the_trash(self, ada: httpx.AsyncClient, tasks: list[dict[str, Any]]) -> None:
        await done(ada, delete(1))

        assert (await send(ada, update(1, title="x"))).status_code == 404

    async def test_another_version_is_412_and_shows_the_task_as_it_is(
        self, ada: httpx.AsyncClient, tasks: list[dict[str, Any]]
    ) -> None:
        for operation in (update(2, title="x", version=1), update(2, version=1), delete(2, version=3)):
            answer = await send(ada, delete(1), operation, delete(999))

            error = {
                "code": "PRECONDITION_FAILED",
                "message": "Operation 1: The task has changed in the meantime.",
                "current": tasks[1],
                "index": 1,
            }
            assert (answer.status_code, answer.json()) == (412, {"error": error})
            assert "etag" not in answer.headers
        assert await listed(ada) == tasks[::-1]

    async def test_one_that_is_deleted_while_it_is_looked_at_is_404(
        self,
        ada: httpx.AsyncClient,
        tasks: list[dict[str, Any]],
        sql: asyncpg.Connection,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        fetch = Transaction.fetch

        async def deleting(transaction: Transaction, statement: Statement, **values: Any) -> list[asyncpg.Record]:
            if statement is task_changes.GET:
                await sql.execute("UPDATE tasks SET deleted_at = now() WHERE id = 1")
            return await fetch(transaction, statement, **values)

        monkeypatch.setattr(Transaction, "fetch", deleting)
        answer = await send(ada, update(1, version=99))
        assert (answer.status_code, answer.json()["error"]["index"]) == (404, 0)

    async def test_of_several_that_fail_the_first_is_told(
        self, ada: httpx.AsyncClient, tasks: list[dict[str, Any]]
    ) -> None:
        answer = await send(ada, update(1), delete(2), update(99), delete(98), update(3, version=9))

        assert (answer.status_code, answer.json()["error"]["index"]) == (404, 2)

    async def test_where_versions_have_to_be_named_each_change_has_to(
        self, database_url: str, ada: httpx.AsyncClient, tasks: list[dict[str, Any]], running: Litestar
    ) -> None:
        with configured(running, require_if_match=True):
            answer = await send(ada, create(), delete(1, version=1), update(2, title="x"), delete(3))
            fine = await send(ada, create(), delete(1, version=1))

        assert answer.json() == {
            "error": {
                "code": "PRECONDITION_REQUIRED",
                "message": "Operation 2: Say which version you mean to change: If-Match is required.",
                "index": 2,
            }
        }
        assert (answer.status_code, fine.status_code) == (428, 200)

    async def test_where_no_trash_is_kept_what_is_deleted_is_gone_for_good(
        self, ada: httpx.AsyncClient, tasks: list[dict[str, Any]], running: Litestar, sql: asyncpg.Connection
    ) -> None:
        with configured(running, trash_days=0):
            await send(ada, delete(1), update(2, title="x"), delete(3))

        assert [row["id"] for row in await sql.fetch("SELECT id FROM tasks ORDER BY id")] == [2, 4, 5]
        assert await sql.fetchval("SELECT array_agg(task_id) FROM task_versions") == [2]
        assert await sql.fetchval("SELECT revision FROM revisions") == 8


class configured:  # noqa: N801 # reads as a sentence
    """The application with other settings, for a while."""

    def __init__(self, app: Litestar, **changes: Any) -> None:
        self.app, self.changes = app, changes

    def __enter__(self) -> None:
        self.before = self.app.state["settings"]
        self.app.state["settings"] = msgspec.structs.replace(self.before, **self.changes)

    def __exit__(self, *_: object) -> None:
        self.app.state["settings"] = self.before


class TestDryRun:
    async def test_it_answers_what_would_have_come_of_it_and_nothing_does(
        self, ada: httpx.AsyncClient, tasks: list[dict[str, Any]], sql: asyncpg.Connection
    ) -> None:
        those = [create("x"), update(1, title="y"), delete(2)]
        before = await everything(sql)

        tried = (await send(ada, *those, dry_run="true")).json()
        assert await everything(sql) == before
        assert [*tried] == ["data", "dry_run"]
        assert tried["dry_run"] is True

        real = (await send(ada, *those, dry_run="false")).json()
        assert [*real] == ["data"]
        assert [plain(each) for each in tried["data"]] == [plain(each) for each in real["data"]]

    async def test_it_fails_as_it_would(self, ada: httpx.AsyncClient, tasks: list[dict[str, Any]]) -> None:
        answers = [await send(ada, create(), delete(99), dry_run=way) for way in ("true", "false")]

        assert answers[0].status_code == 404
        assert answers[0].content == answers[1].content

    async def test_it_takes_no_key_and_none_stands_for_it(
        self, ada: httpx.AsyncClient, tasks: list[dict[str, Any]]
    ) -> None:
        ada.headers["idempotency-key"] = "one"
        ways = ("true", "false", "true", "false")

        answers = [await send(ada, create(), dry_run=way) for way in ways]

        assert [answer.status_code for answer in answers] == [200] * 4
        assert ["dry_run" in answer.json() for answer in answers] == [True, False, True, False]
        assert ["idempotent-replayed" in answer.headers for answer in answers] == [False, False, False, True]
        assert answers[3].content == answers[1].content

    async def test_not_even_a_user_is_left_of_it(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        assert len(await done(ada, create(), dry_run="true")) == 1
        assert (await send(ada, create(), delete(1))).status_code == 404

        assert await everything(sql) == [[], [], [], []]


def plain(result: dict[str, Any]) -> dict[str, Any]:
    """A result without what is another each time."""
    task = result["data"] and {
        name: value for name, value in result["data"].items() if name not in ("id", "uid", "created_at", "updated_at")
    }
    return {**result, "data": task}


class TestNewUsers:
    async def test_one_whom_the_database_has_not_seen_just_works_also_in_thirty_concurrent_requests(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        answers = await asyncio.gather(*(send(ada, create("a"), create("b")) for _ in range(30)))

        assert {answer.status_code for answer in answers} == {200}
        versions = [each["data"]["version"] for answer in answers for each in answer.json()["data"]]
        assert sorted(versions) == [*range(1, 61)]
        assert await sql.fetchval("SELECT revision FROM revisions") == 60

    async def test_so_do_eight_with_one_email(self, running: Litestar, clean: None, sql: asyncpg.Connection) -> None:
        people = [
            visitor(running, authorization=f"Bearer {token(f'u{n}', email='same@example.com')}") for n in range(8)
        ]
        answers = await asyncio.gather(*(send(each, create()) for each in people))

        assert {answer.status_code for answer in answers} == {200}
        emails = [row["email"] for row in await sql.fetch('SELECT email FROM "user"')]
        assert (len(emails), emails.count("same@example.com")) == (8, 1)

    async def test_one_without_tasks_finds_none(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        answer = await send(ada, delete(1), delete(2))

        assert (answer.status_code, answer.json()["error"]["index"]) == (404, 0)
        assert await sql.fetchval('SELECT count(*) FROM "user"') == 0

    async def test_one_who_may_not_be_added_is_nobody(self, running: Litestar, clean: None) -> None:
        [operation] = reading.read(json.dumps({"operations": [create()]}).encode()).operations
        with pytest.raises(InvalidToken):
            await run.run(Change(User("joan", auto_provision=False)), [operation])

    async def test_one_whom_the_table_will_never_take_is_told_so_in_the_end(
        self, running: Litestar, clean: None, sql: asyncpg.Connection
    ) -> None:
        [operation] = reading.read(json.dumps({"operations": [create()]}).encode()).operations
        await sql.execute("""INSERT INTO "user" (id, name, email) VALUES ('another', 'Ada', 'another@example.com')""")
        await sql.execute('CREATE UNIQUE INDEX only_one_of_a_name ON "user" (name)')
        try:
            with pytest.raises(Unavailable):
                await run.run(Change(User("ada", name="Ada")), [operation])
        finally:
            await sql.execute("DROP INDEX only_one_of_a_name")
