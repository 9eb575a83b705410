"""The six endpoints, as the contract says."""

import asyncio
import json
import re
from typing import Any

import httpx
import pytest

from app.tasks.fields import MAX_TITLE
from app.tasks.structs import TaskContent
from app.web.failures import Invalid
from app.web.text import visible_pattern
from tests.tasks.plain import PLAIN

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
NO_TASK = {"error": {"code": "NOT_FOUND", "message": "There is no such task."}}
NO_TASK_BYTES = b'{"error":{"code":"NOT_FOUND","message":"There is no such task."}}'


async def created(client: httpx.AsyncClient, **content: Any) -> dict[str, Any]:
    answer = await client.post("/api/tasks", json={"title": "Buy milk", **content})
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


def refused(field: str, message: str) -> dict[str, Any]:
    return {
        "error": {
            "code": "VALIDATION_ERROR",
            "message": message,
            "fields": [{"field": field, "message": message}],
        }
    }


class TestCreate:
    async def test_a_new_task_comes_back_whole_and_says_where_it_is(self, ada: httpx.AsyncClient) -> None:
        answer = await ada.post("/api/tasks", json={"title": "Buy milk", "description": "Two litres"})

        task = answer.json()["data"]
        assert answer.status_code == 201
        assert answer.headers["location"] == f"/api/tasks/{task['id']}"
        assert answer.headers["content-type"] == "application/json"
        assert STAMP.fullmatch(task["created_at"])
        assert answer.json() == {
            "data": {
                "id": task["id"],
                "uid": task["uid"],
                "user_id": "ada",
                "title": "Buy milk",
                "description": "Two litres",
                "completed": False,
                **PLAIN,
                "created_at": task["created_at"],
                "updated_at": task["created_at"],
                "version": 1,
            }
        }

    async def test_white_space_around_a_title_is_trimmed_and_none_inside(self, ada: httpx.AsyncClient) -> None:
        assert (await created(ada, title="\u2003\t Buy  milk \n"))["title"] == "Buy  milk"

    @pytest.mark.parametrize("title", ["x", "x" * 500, f"  {'x' * 500}  ", "\U0001f95b" * 500, "\u202eklim"])
    async def test_a_title_has_1_to_500_characters_once_it_is_trimmed(self, ada: httpx.AsyncClient, title: str) -> None:
        assert (await created(ada, title=title))["title"] == title.strip()

    @pytest.mark.parametrize(
        "description", [None, "", "  kept as it is \n", "\u0001\u2028\U0001f95b", "\ufffd" * 32_768]
    )
    async def test_a_description_is_any_text_or_none(self, ada: httpx.AsyncClient, description: str | None) -> None:
        assert (await created(ada, description=description))["description"] == description

    @pytest.mark.parametrize(
        ("body", "answer"),
        [
            ({}, refused("title", "Title is required")),
            ({"title": ""}, refused("title", "Title is required")),
            ({"title": " \t\u00a0\u3000"}, refused("title", "Title is required")),
            ({"title": "\u200b \ufe0f"}, refused("title", "Title is required")),
            ({"title": None}, refused("title", "Title must be a string")),
            ({"title": 5}, refused("title", "Title must be a string")),
            ({"title": ["x"]}, refused("title", "Title must be a string")),
            ({"title": "x" * 501}, refused("title", "Title must have 500 characters at most")),
            ({"title": "a\0b"}, refused("title", "Title must not contain the character U+0000")),
            (
                {"title": "x", "description": "\0"},
                refused("description", "Description must not contain the character U+0000"),
            ),
            (
                {"title": "x", "description": 5},
                refused("description", "Description must be a string or null"),
            ),
            ([], refused("body", "The body must be a JSON object")),
            (None, refused("body", "The body must be a JSON object")),
            ("title", refused("body", "The body must be a JSON object")),
        ],
    )
    async def test_what_is_not_acceptable_is_422_and_named(
        self, ada: httpx.AsyncClient, body: Any, answer: Any
    ) -> None:
        response = await ada.post("/api/tasks", content=json.dumps(body))

        assert (response.status_code, response.json()) == (422, answer)
        assert (await ada.get("/api/tasks")).json() == {"data": []}

    async def test_fields_that_the_service_does_not_know_or_gives_itself_are_ignored(
        self, ada: httpx.AsyncClient
    ) -> None:
        task = await created(
            ada,
            id=99,
            user_id="bob",
            version=7,
            created_at="1999-01-01T00:00:00Z",
            tags=[{"deep": [[1e300]]}],
        )

        assert (task["user_id"], task["version"], task["id"] == 99) == ("ada", 1, False)
        assert task["created_at"] > "2026"

    @pytest.mark.parametrize("completed", [True, False])
    async def test_it_is_completed_where_the_client_says_so(self, ada: httpx.AsyncClient, completed: bool) -> None:
        task = await created(ada, completed=completed)
        assert task["completed"] is completed
        assert (await ada.get(f"/api/tasks/{task['id']}")).json() == {"data": task}

    @pytest.mark.parametrize("completed", [None, 1, 0, "true", [], {}])
    async def test_what_is_no_truth_value_is_refused(self, ada: httpx.AsyncClient, completed: Any) -> None:
        task = await created(ada)
        body = {"title": "x", "completed": completed}
        for method, path in (("POST", "/api/tasks"), ("PUT", f"/api/tasks/{task['id']}")):
            answer = await ada.request(method, path, json=body)
            assert (answer.status_code, answer.json()["error"]["fields"][0]["field"]) == (422, "completed")
        assert (await ada.get("/api/tasks")).json() == {"data": [task]}

    async def test_a_user_whom_the_database_has_not_seen_just_works_also_in_thirty_concurrent_requests(
        self, ada: httpx.AsyncClient, sql: Any
    ) -> None:
        answers = await asyncio.gather(*(ada.post("/api/tasks", json={"title": f"{n}"}) for n in range(30)))

        assert {answer.status_code for answer in answers} == {201}
        rows = await sql.fetch('SELECT id, name, email, "emailVerified" FROM "user"')
        assert [tuple(row) for row in rows] == [("ada", "Ada", "ada@example.com", False)]


class TestList:
    async def test_all_of_my_tasks_newest_first(self, ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
        tasks = [await created(ada, title=title) for title in ("first", "second", "third")]
        await created(bob)

        answer = await ada.get("/api/tasks")

        assert answer.status_code == 200
        assert answer.json() == {"data": tasks[::-1]}

    async def test_of_two_made_at_the_same_moment_the_higher_id_comes_first(
        self, ada: httpx.AsyncClient, sql: Any
    ) -> None:
        ids = [(await created(ada))["id"] for _ in range(3)]
        await sql.execute("ALTER TABLE tasks DISABLE TRIGGER tasks_stamp")
        await sql.execute("UPDATE tasks SET created_at = '2026-01-01T00:00:00Z'")
        await sql.execute("ALTER TABLE tasks ENABLE TRIGGER tasks_stamp")

        tasks = (await ada.get("/api/tasks")).json()["data"]

        assert [task["id"] for task in tasks] == sorted(ids, reverse=True)
        assert tasks[0]["created_at"] == "2026-01-01T00:00:00.000Z"

    async def test_nobody_has_seen_me_so_i_have_no_tasks(self, ada: httpx.AsyncClient, sql: Any) -> None:
        assert (await ada.get("/api/tasks")).json() == {"data": []}
        assert await sql.fetchval('SELECT count(*) FROM "user"') == 0

    @pytest.mark.parametrize(
        "query", ["?", "?user_id=bob", "?user_id=bob&user_id=%ff", "?user%5Fid", "?&user_id=%00&", "?user_id=[]"]
    )
    async def test_no_user_id_in_a_query_string_has_any_effect(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, query: str
    ) -> None:
        await created(bob)
        mine = await created(ada)

        plain, answer = [await ada.get(f"/api/tasks{said}", headers={"x-request-id": "1"}) for said in ("", query)]

        assert (answer.status_code, answer.json()) == (200, {"data": [mine]})
        assert answer.content == plain.content
        changing = {"ratelimit", "date"}
        heads = [{name: each.headers[name] for name in each.headers.keys() - changing} for each in (plain, answer)]
        assert heads[0] == heads[1]

    @pytest.mark.parametrize(
        ("path", "method", "body"),
        [
            ("/api/tasks?limit=1&", "GET", None),
            ("/api/tasks/{id}?", "GET", None),
            ("/api/tasks/{id}/history?limit=1&", "GET", None),
            ("/api/tasks/batch?dry_run=true&", "POST", {"operations": [{"op": "create", "data": {"title": "x"}}]}),
        ],
    )
    async def test_nor_has_it_anywhere_else(self, ada: httpx.AsyncClient, path: str, method: str, body: Any) -> None:
        task, _ = await created(ada), await created(ada)
        url = path.format(id=task["id"])

        plain, answer = [await ada.request(method, url + said, json=body) for said in ("", "user_id=bob")]

        assert (answer.status_code, answer.headers.get("link")) == (200, plain.headers.get("link"))
        assert method == "POST" or answer.content == plain.content

    @pytest.mark.parametrize(("query", "field"), [("limit=-1&x[]=%00", "x[]"), ("user=bob", "user"), ("%ff", "query")])
    async def test_whatever_else_it_says_is_understood_or_refused_by_name(
        self, ada: httpx.AsyncClient, query: str, field: str
    ) -> None:
        answer = await ada.get(f"/api/tasks?{query}")
        assert (answer.status_code, answer.json()["error"]["fields"][0]["field"]) == (422, field)


class TestRead:
    async def test_my_task(self, ada: httpx.AsyncClient) -> None:
        task = await created(ada)

        answer = await ada.get(f"/api/tasks/{task['id']}")

        assert (answer.status_code, answer.json()) == (200, {"data": task})


class TestReplace:
    @pytest.mark.parametrize("completed", [True, False])
    async def test_completed_is_replaced_where_it_is_named(self, ada: httpx.AsyncClient, completed: bool) -> None:
        task = await created(ada, completed=not completed)
        after = await ada.put(f"/api/tasks/{task['id']}", json={**task, "completed": completed})
        assert after.json()["data"]["completed"] is completed

    async def test_title_and_description_are_replaced_and_completed_stays(self, ada: httpx.AsyncClient) -> None:
        task = await created(ada, description="Two litres")
        flipped = (await ada.patch(f"/api/tasks/{task['id']}/complete")).json()["data"]

        answer = await ada.put(f"/api/tasks/{task['id']}", json={"title": " Buy oats ", "id": 5})

        after = answer.json()["data"]
        assert answer.status_code == 200
        assert after == {
            **flipped,
            "title": "Buy oats",
            "description": None,
            "updated_at": after["updated_at"],
            "version": 3,
        }
        assert after["updated_at"] > flipped["updated_at"]
        assert (await ada.get(f"/api/tasks/{task['id']}")).json() == {"data": after}

    async def test_what_is_not_acceptable_changes_nothing(self, ada: httpx.AsyncClient) -> None:
        task = await created(ada)

        answer = await ada.put(f"/api/tasks/{task['id']}", json={"description": "no title"})

        assert (answer.status_code, answer.json()) == (422, refused("title", "Title is required"))
        assert (await ada.get(f"/api/tasks/{task['id']}")).json() == {"data": task}


class TestDelete:
    async def test_a_deleted_task_is_gone(self, ada: httpx.AsyncClient) -> None:
        task = await created(ada)

        answer = await ada.delete(f"/api/tasks/{task['id']}")

        assert (answer.status_code, answer.content) == (204, b"")
        assert "content-type" not in answer.headers
        assert (await ada.get(f"/api/tasks/{task['id']}")).status_code == 404
        assert (await ada.delete(f"/api/tasks/{task['id']}")).status_code == 404
        assert (await ada.get("/api/tasks")).json() == {"data": []}


class TestFlip:
    async def test_completed_turns_round_and_round(self, ada: httpx.AsyncClient) -> None:
        task = await created(ada)

        answers = [await ada.patch(f"/api/tasks/{task['id']}/complete") for _ in range(2)]

        first, second = (answer.json()["data"] for answer in answers)
        assert [answer.status_code for answer in answers] == [200, 200]
        assert first == {
            **task,
            "completed": True,
            "completed_at": first["updated_at"],
            "updated_at": first["updated_at"],
            "version": 2,
        }
        assert second == {**task, "completed": False, "updated_at": second["updated_at"], "version": 3}

    async def test_many_concurrent_ones_are_that_many_and_each_has_a_stamp_of_its_own(
        self, ada: httpx.AsyncClient
    ) -> None:
        task = await created(ada)

        answers = await asyncio.gather(*(ada.patch(f"/api/tasks/{task['id']}/complete") for _ in range(51)))

        stamps = {answer.json()["data"]["updated_at"] for answer in answers}
        assert len(stamps) == 51
        assert min(stamps) > task["updated_at"]
        assert (await ada.get(f"/api/tasks/{task['id']}")).json()["data"]["completed"] is True

    @pytest.mark.parametrize("body", [None, b"", b"{}", b" {\n} ", b" \t"])
    @pytest.mark.parametrize("kind", [{}, {"content-type": "application/json"}])
    async def test_no_body_and_an_empty_object_turn_it_round(
        self, ada: httpx.AsyncClient, body: bytes | None, kind: dict[str, str]
    ) -> None:
        task = await created(ada)
        answer = await ada.patch(f"/api/tasks/{task['id']}/complete", content=body, headers=kind)
        expected = (422, None) if body == b" \t" else (200, True)
        assert (answer.status_code, answer.json().get("data", {}).get("completed")) == expected

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b'{"is_completed": true}', 422),
            (b'{"Completed": true}', 422),
            (b'{"title": "x"}', 422),
            (b'{"completed": null}', 422),
            (b'{"completed": 1}', 422),
            (b"null", 422),
            (b"true", 422),
            (b"[]", 422),
            (b"[{}]", 422),
            (b'""', 422),
            (b"0", 422),
            (b"{", 400),
            (b"completed=true", 400),
        ],
    )
    async def test_any_other_body_turns_nothing_round(self, ada: httpx.AsyncClient, body: bytes, status: int) -> None:
        task = await created(ada)
        path = f"/api/tasks/{task['id']}/complete"
        assert (await ada.patch(path, content=body)).status_code == status
        assert (await ada.patch(path, content=body, headers={"content-type": "text/plain"})).status_code == 415
        assert (await ada.get(f"/api/tasks/{task['id']}")).json()["data"] == task

    async def test_a_whole_task_is_taken_for_its_completed(self, ada: httpx.AsyncClient) -> None:
        task = await created(ada)
        path = f"/api/tasks/{task['id']}/complete"
        for completed in (True, True, False):
            answer = await ada.patch(path, json={**task, "completed": completed})
            assert answer.json()["data"]["completed"] is completed


VERBS = [
    ("GET", "", None),
    ("HEAD", "", None),
    ("PUT", "", {"title": "Mine now"}),
    ("DELETE", "", None),
    ("PATCH", "/complete", None),
]


class TestSomebodyElses:
    @pytest.mark.parametrize(("method", "path", "body"), VERBS)
    async def test_someone_elses_task_and_one_that_never_was_are_the_same_404(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, method: str, path: str, body: Any
    ) -> None:
        task = await created(ada)
        same = {"x-request-id": "the-same"}

        foreign = await bob.request(method, f"/api/tasks/{task['id']}{path}", json=body, headers=same)
        missing = await bob.request(method, f"/api/tasks/{task['id'] + 1000}{path}", json=body, headers=same)

        assert foreign.status_code == missing.status_code == 404
        assert foreign.headers.raw == missing.headers.raw
        assert foreign.content == missing.content == (b"" if method == "HEAD" else NO_TASK_BYTES)
        assert (await ada.get(f"/api/tasks/{task['id']}")).json() == {"data": task}

    @pytest.mark.parametrize("body", ["", "{", "[]", '{"title":""}', '{"title":5}'])
    async def test_a_wrong_body_is_the_same_refusal_for_both(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, body: str
    ) -> None:
        task = await created(ada)
        same = {"x-request-id": "the-same"}

        foreign = await bob.put(f"/api/tasks/{task['id']}", content=body, headers=same)
        missing = await bob.put(f"/api/tasks/{task['id'] + 1000}", content=body, headers=same)

        assert foreign.status_code in (400, 422)
        assert (foreign.status_code, foreign.content) == (missing.status_code, missing.content)


BAD_IDS = [
    "abc",
    "1.0",
    "+1",
    "01",
    "%201",
    "1%20",
    "\u0661",
    "-0",
    "-01",
    "0x1",
    "1e3",
    "1_0",
    "%00",
    "1%0a",
    "None",
    "٣",
    "1,2",
    "²",
]
IDS_THAT_NO_ROW_HAS = [
    "0",
    "-1",
    str(2**31),
    str(2**53),
    str(2**63 - 1),
    str(2**63),
    "-" + "9" * 30,
    "9" * 5000,
]


class TestIds:
    @pytest.mark.parametrize("task_id", BAD_IDS)
    @pytest.mark.parametrize(("method", "path", "body"), VERBS)
    async def test_an_id_that_is_no_plainly_spelled_integer_is_422(
        self, ada: httpx.AsyncClient, method: str, path: str, body: Any, task_id: str
    ) -> None:
        answer = await ada.request(method, f"/api/tasks/{task_id}{path}", json=body)

        assert answer.status_code == 422
        if method != "HEAD":
            assert answer.json() == refused("id", "The id must be an integer in its plain spelling, or a UUID")

    @pytest.mark.parametrize("task_id", IDS_THAT_NO_ROW_HAS)
    @pytest.mark.parametrize(("method", "path", "body"), VERBS)
    async def test_an_integer_that_no_row_can_have_is_404(
        self, ada: httpx.AsyncClient, method: str, path: str, body: Any, task_id: str
    ) -> None:
        answer = await ada.request(method, f"/api/tasks/{task_id}{path}", json=body)

        assert answer.status_code == 404
        if method != "HEAD":
            assert answer.json() == NO_TASK


class TestPaths:
    @pytest.mark.parametrize("path", ["/api/tasks", "/api/tasks/", "//api/tasks", "/api//tasks//"])
    async def test_a_list_with_and_without_its_slash_and_never_a_redirect(
        self, ada: httpx.AsyncClient, path: str
    ) -> None:
        answer = await ada.get(httpx.URL("http://test", raw_path=path.encode()))
        assert (answer.status_code, answer.json()) == (200, {"data": []})

    async def test_a_task_with_its_slash(self, ada: httpx.AsyncClient) -> None:
        task = (await ada.post("/api/tasks/", json={"title": "x"})).json()["data"]
        path = f"/api/tasks/{task['id']}/"

        assert (await ada.get(path)).json() == {"data": task}
        assert (await ada.put(path, json={"title": "y"})).status_code == 200
        assert (await ada.patch(path + "complete/")).status_code == 200
        assert (await ada.delete(path)).status_code == 204

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("DELETE", "/api/tasks", "GET, HEAD, OPTIONS, POST"),
            ("PUT", "/api/tasks/", "GET, HEAD, OPTIONS, POST"),
            ("POST", "/api/tasks/1", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
            ("POST", "/api/tasks/abc", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
            ("GET", "/api/tasks/1/complete", "OPTIONS, PATCH"),
            ("HEAD", "/api/tasks/1/complete", "OPTIONS, PATCH"),
            ("TRACE", "/api/tasks", "GET, HEAD, OPTIONS, POST"),
            ("BREW", "/api/tasks", "GET, HEAD, OPTIONS, POST"),
        ],
    )
    async def test_a_method_that_a_path_does_not_know_is_405_and_says_which_it_does(
        self, ada: httpx.AsyncClient, method: str, path: str, allowed: str
    ) -> None:
        answer = await ada.request(method, path)

        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
        if method != "HEAD":
            message = "This method is not allowed here."
            assert answer.json() == {"error": {"code": "METHOD_NOT_ALLOWED", "message": message}}

    @pytest.mark.parametrize(
        "path", ["/api/tasks/1/nonsense", "/api/tasks/1/complete/2", "/api", "/api/task", "/tasks"]
    )
    async def test_a_path_that_is_not_there_is_404(self, ada: httpx.AsyncClient, path: str) -> None:
        answer = await ada.get(path)
        assert answer.status_code == 404
        assert answer.json() == {"error": {"code": "NOT_FOUND", "message": "There is nothing here."}}


class TestTheDocumentedTitle:
    """The pattern in the document and the code that checks titles accept the same."""

    @pytest.mark.parametrize(
        "title",
        [
            "",
            " ",
            "x",
            " x ",
            "x" * 500,
            "x" * 501,
            " " * 600 + "x" * 500 + "\n",
            "\0",
            "a\0b",
            " \0 ",
            "a b",
            "\x1f",
            "\u200b",
        ],
    )
    def test_it_accepts_what_the_code_accepts(self, title: str) -> None:
        try:
            accepted = bool(TaskContent(title))
        except Invalid:
            accepted = False
        assert bool(re.search(visible_pattern(MAX_TITLE), title)) == accepted
