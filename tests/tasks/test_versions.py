"""Changes of some fields, and entity tags: of what was seen, or not at all."""

import asyncio
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar

from tests.tasks.test_controller import created, refused

MERGE_PATCH = "application/merge-patch+json"
TAGGED = "private, no-cache"


def tag_of(answer: httpx.Response) -> str:
    """The tag of an answer, which is the version of the task in it."""
    assert answer.headers["cache-control"] == TAGGED
    assert answer.headers["etag"] == f'"v{answer.json()["data"]["version"]}"'
    return answer.headers["etag"]


@pytest.fixture
async def task(ada: httpx.AsyncClient) -> dict[str, Any]:
    """The task that all of this is about: version 1 of it."""
    return await created(ada, description="Two litres")


@pytest.fixture
def path(task: dict[str, Any]) -> str:
    return f"/api/tasks/{task['id']}"


class TestSomeFields:
    @pytest.mark.parametrize(
        ("patch", "expected"),
        [
            ({"title": " Buy oats "}, {"title": "Buy oats"}),
            ({"description": None}, {"description": None}),
            ({"description": ""}, {"description": ""}),
            ({"completed": True}, {"completed": True}),
            (
                {"title": "x", "description": "y", "completed": True},
                {"title": "x", "description": "y", "completed": True},
            ),
            ({"title": "x", "id": 5, "user_id": "bob", "version": 9, "created_at": None}, {"title": "x"}),
        ],
    )
    @pytest.mark.parametrize("kind", [None, "application/json", MERGE_PATCH, f"{MERGE_PATCH}; charset=utf-8"])
    async def test_what_is_absent_stays_as_it_is(
        self,
        ada: httpx.AsyncClient,
        task: dict[str, Any],
        path: str,
        patch: dict[str, Any],
        expected: dict[str, Any],
        kind: str | None,
    ) -> None:
        headers = {"content-type": kind} if kind else {}
        answer = await ada.patch(path, content=msgspec.json.encode(patch), headers=headers)

        after = answer.json()["data"]
        assert answer.status_code == 200
        done = {"completed_at": after["updated_at"]} if expected.get("completed") else {}
        assert after == {**task, **expected, **done, "updated_at": after["updated_at"], "version": 2}
        assert after["updated_at"] > task["updated_at"]
        assert (await ada.get(path)).json() == {"data": after}

    @pytest.mark.parametrize("patch", [{}, {"anything": 1}])
    async def test_one_that_names_no_field_changes_nothing(
        self, ada: httpx.AsyncClient, task: dict[str, Any], path: str, patch: dict[str, Any]
    ) -> None:
        answer = await ada.patch(path, json=patch)
        assert (answer.status_code, answer.json(), tag_of(answer)) == (200, {"data": task}, '"v1"')

    @pytest.mark.parametrize(
        ("patch", "field", "message"),
        [
            ({"title": None}, "title", "Title must be a string"),
            ({"title": " "}, "title", "Title is required"),
            ({"title": "x" * 501}, "title", "Title must have 500 characters at most"),
            ({"description": 5}, "description", "Description must be a string or null"),
            ({"description": "\0"}, "description", "Description must not contain the character U+0000"),
            ({"completed": None}, "completed", "Completed must be true or false"),
            ({"completed": 1}, "completed", "Completed must be true or false"),
            ({"title": "x", "completed": "yes"}, "completed", "Completed must be true or false"),
            ([], "body", "The body must be a JSON object"),
        ],
    )
    async def test_what_is_not_acceptable_is_422_and_nothing_is_changed(
        self, ada: httpx.AsyncClient, task: dict[str, Any], path: str, patch: Any, field: str, message: str
    ) -> None:
        answer = await ada.patch(path, json=patch)

        assert (answer.status_code, answer.json()) == (422, refused(field, message))
        assert (await ada.get(path)).json() == {"data": task}

    async def test_concurrent_disjoint_ones_are_all_there_after_it(self, ada: httpx.AsyncClient, path: str) -> None:
        patches: list[dict[str, Any]] = [{"title": "x"}, {"description": "y"}, {"completed": True}]

        answers = await asyncio.gather(*(ada.patch(path, json=patch) for patch in patches))

        after = (await ada.get(path)).json()["data"]
        assert sorted(answer.json()["data"]["version"] for answer in answers) == [2, 3, 4]
        assert {name: after[name] for name in ("title", "description", "completed")} == {
            name: value for patch in patches for name, value in patch.items()
        }

    @pytest.mark.parametrize("completed", [True, False])
    async def test_completed_can_be_set_as_often_as_one_likes(
        self, ada: httpx.AsyncClient, path: str, *, completed: bool
    ) -> None:
        for _ in range(2):
            answer = await ada.patch(f"{path}/complete", json={"completed": completed})
            assert (answer.status_code, answer.json()["data"]["completed"]) == (200, completed)


class TestTags:
    async def test_every_answer_that_holds_a_task_has_its_own(self, ada: httpx.AsyncClient, path: str) -> None:
        answers = [
            await ada.post("/api/tasks", json={"title": "x"}),
            await ada.put(path, json={"title": "x"}),
            await ada.patch(path, json={"title": "y"}),
            await ada.patch(f"{path}/complete"),
            await ada.get(path),
        ]
        assert [tag_of(answer) for answer in answers] == ['"v2"', '"v3"', '"v4"', '"v5"', '"v5"']
        head = await ada.head(path)
        assert (head.headers["etag"], head.content) == ('"v5"', b"")

    @pytest.mark.parametrize("known", ['"v1"', 'W/"v1"', "*", '"v7", "v1"', ' "x" ,W/"v1"'])
    async def test_what_is_known_is_an_empty_304(self, ada: httpx.AsyncClient, path: str, known: str) -> None:
        answer = await ada.get(path, headers={"if-none-match": known})

        assert (answer.status_code, answer.content) == (304, b"")
        assert (answer.headers["etag"], answer.headers["cache-control"]) == ('"v1"', TAGGED)
        assert not {"content-type", "content-length"} & answer.headers.keys()

    @pytest.mark.parametrize("known", ['"v2"', "v1", '"v11"', '"V1"', "", '"'])
    async def test_what_is_not_is_sent(
        self, ada: httpx.AsyncClient, task: dict[str, Any], path: str, known: str
    ) -> None:
        answer = await ada.get(path, headers={"if-none-match": known})
        assert (answer.status_code, answer.json()) == (200, {"data": task})

    async def test_somebody_elses_is_404_whatever_is_known(self, bob: httpx.AsyncClient, path: str) -> None:
        assert (await bob.get(path, headers={"if-none-match": "*"})).status_code == 404


CHANGES: list[tuple[str, str, Any]] = [
    ("PUT", "", {"title": "Buy oats"}),
    ("PATCH", "", {"title": "Buy oats"}),
    ("PATCH", "", {}),
    ("PATCH", "/complete", None),
    ("DELETE", "", None),
]


@pytest.mark.parametrize(("method", "more", "body"), CHANGES)
class TestConditions:
    @pytest.mark.parametrize(
        "header",
        [
            *({"if-match": tags} for tags in ('"v1"', "*", '"v9", "v1"', 'W/"v1"', '"v9", W/"v1"')),
            {"if-none-match": '"v2", "r1-1", W/"v3"'},
            *({"if-match": tags, "if-none-match": '"v2"'} for tags in ('"v1", "v2"', "*")),
        ],
    )
    async def test_the_version_that_is_meant_is_changed(
        self, ada: httpx.AsyncClient, path: str, method: str, more: str, body: Any, header: dict[str, str]
    ) -> None:
        answer = await ada.request(method, path + more, json=body, headers=header)
        assert answer.status_code == (204 if method == "DELETE" else 200)

    @pytest.mark.parametrize(
        "header",
        [
            *({"if-match": tags} for tags in ('"v2"', 'W/"v2"', "v1", "w/v1", "", '"v01"')),
            *({"if-none-match": tags} for tags in ('"v1"', 'W/"v1"', "*", '"v2", "v1"')),
            *({"if-match": tags, "if-none-match": '"v1"'} for tags in ('"v1"', '"v1", "v2"', "*")),
            {"if-match": '"v1"', "if-none-match": "*"},
        ],
    )
    async def test_another_is_412_and_told_as_it_is_now(
        self,
        ada: httpx.AsyncClient,
        task: dict[str, Any],
        path: str,
        method: str,
        more: str,
        body: Any,
        header: dict[str, str],
    ) -> None:
        answer = await ada.request(method, path + more, json=body, headers=header)

        message = "The task has changed in the meantime."
        error = {"code": "PRECONDITION_FAILED", "message": message, "current": task}
        assert (answer.status_code, answer.json()) == (412, {"error": error})
        assert answer.headers["etag"] == '"v1"'
        assert (await ada.get(path)).json() == {"data": task}

    async def test_somebody_elses_is_the_same_404_as_none(
        self, bob: httpx.AsyncClient, task: dict[str, Any], path: str, method: str, more: str, body: Any
    ) -> None:
        for condition in ('"v1"', '"v2"', "*"):
            headers = {"if-match": condition, "x-request-id": "the-same"}
            missing = f"/api/tasks/{task['id'] + 99}"
            answers = [await bob.request(method, each + more, json=body, headers=headers) for each in (path, missing)]
            assert answers[0].status_code == answers[1].status_code == 404
            assert answers[0].content == answers[1].content

    async def test_where_it_is_required_a_change_of_whatever_is_there_is_428(
        self,
        ada: httpx.AsyncClient,
        running: Litestar,
        monkeypatch: pytest.MonkeyPatch,
        task: dict[str, Any],
        path: str,
        method: str,
        more: str,
        body: Any,
    ) -> None:
        strict = msgspec.structs.replace(running.state["settings"], require_if_match=True)
        monkeypatch.setitem(running.state, "settings", strict)

        blind = await ada.request(method, path + more, json=body, headers={"if-none-match": '"v7"'})

        assert (blind.status_code, blind.json()["error"]["code"]) == (428, "PRECONDITION_REQUIRED")
        assert (await ada.get(path)).json() == {"data": task}
        assert (await ada.request(method, path + more, json=body, headers={"if-match": "*"})).is_success


async def test_of_fifty_concurrent_ones_with_one_tag_one_succeeds(ada: httpx.AsyncClient, path: str) -> None:
    titles = [f"{number}" for number in range(50)]

    answers = await asyncio.gather(
        *(ada.patch(path, json={"title": title}, headers={"if-match": '"v1"'}) for title in titles)
    )

    assert sorted(answer.status_code for answer in answers) == [200, *[412] * 49]
    [winner] = [answer.json()["data"] for answer in answers if answer.status_code == 200]
    assert {answer.json()["error"]["current"]["title"] for answer in answers if answer.status_code == 412} == {
        winner["title"]
    }
    assert (await ada.get(path)).json() == {"data": winner}
