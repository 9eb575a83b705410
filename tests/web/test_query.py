"""Query parameters: what a struct declares, and what a route does not know, on every route that there is."""

from typing import Annotated

import httpx
import msgspec
import pytest

from app.web.failures import Invalid
from app.web.query import (
    SWITCH_RULE,
    Parameter,
    choice,
    documented,
    switch,
    texts_in,
    values_in,
    whole_number,
)

IDS = {"task_id": "1", "list_id": "1", "session_id": "6d0a3a5e-2f1c-4d0b-9a51-3f1f54b0d1aa"}
IDS["token_id"] = IDS["session_id"]
IDS["label_name"] = "home"
METHODS = ("get", "post", "put", "patch", "delete")


async def operations(client: httpx.AsyncClient) -> list[tuple[str, str]]:
    """Every method and path of the document, with ids in it."""
    paths = (await client.get("/openapi.json")).json()["paths"]
    return [(method, path.format(**IDS)) for path, item in paths.items() for method in METHODS if method in item]


@pytest.mark.parametrize("said", ["limt=5", "completed=yes&limt=5", "limt", "limt=", "Limit=1", "completed[]=true"])
async def test_one_that_a_route_does_not_know_is_422_and_named(ada: httpx.AsyncClient, said: str) -> None:
    for method, path in await operations(ada):
        answer = await ada.request(method, f"{path}?{said}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "VALIDATION_ERROR"), (method, path)
        [wrong] = answer.json()["error"]["fields"]
        assert wrong["field"] in said, (method, path)


async def test_a_user_id_has_no_effect_and_neither_has_an_empty_query(ada: httpx.AsyncClient) -> None:
    for method, path in await operations(ada):
        plain = await ada.request(method, path)
        for query in ("?user_id=bob", "?", "?&", "?user_id=bob&user_id=eve"):
            answer = await ada.request(method, path + query)
            told = [each["field"] for each in answer.json()["error"].get("fields", [])] if answer.is_error else []
            assert "user_id" not in told
            assert answer.status_code == plain.status_code, (method, path, query)


async def test_401_405_and_404_come_before_it(stranger: httpx.AsyncClient, ada: httpx.AsyncClient) -> None:
    assert (await stranger.get("/api/tasks/1?x=1")).status_code == 401
    assert (await ada.post("/api/tasks/1?x=1")).status_code == 405
    assert (await ada.get("/api/nowhere?x=1")).status_code == 404
    assert (await ada.get("/api/tasks/0?x=1")).status_code == 404


async def test_it_is_the_same_for_somebody_elses_task(ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    task = (await ada.post("/api/tasks", json={"title": "x"})).json()["data"]
    same = {"x-request-id": "the-same"}
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        answers = [
            await bob.request(method, f"/api/tasks/{number}?x=1", headers=same) for number in (task["id"], 2**40)
        ]
        assert answers[0].status_code == 422
        assert answers[0].content == answers[1].content


async def test_nothing_is_done(ada: httpx.AsyncClient) -> None:
    task = (await ada.post("/api/tasks", json={"title": "x"})).json()["data"]
    path = f"/api/tasks/{task['id']}"
    for answer in (
        await ada.patch(f"{path}/complete?completed=true"),
        await ada.delete(f"{path}?permanent=true"),
        await ada.post("/api/tasks?dry_run=true", json={"title": "y"}),
        await ada.put(f"{path}?version=1", json={"title": "y"}),
    ):
        assert answer.status_code == 422
    assert (await ada.get("/api/tasks")).json() == {"data": [task]}


class Wanted(msgspec.Struct, frozen=True):
    size: Annotated[int | None, whole_number(1, 9, "How many.", examples=[5])] = None
    shape: Annotated[str, choice("round", "flat", description="Which.")] = msgspec.field(default="flat", name="as")
    is_new: Annotated[bool, Parameter(switch, SWITCH_RULE, "Whether.", {"type": "boolean"})] = False
    names: Annotated[str | None, Parameter(str, "names", "Whose.", {"type": "array"}, is_list=True)] = None
    told: int = 0  # which no query says


class TestDeclared:
    """The fields of a struct are the parameters of a route: what it reads, refuses and documents."""

    @pytest.mark.parametrize(
        ("said", "read"),
        [
            (b"", Wanted()),
            (b"size=9&as=round&is_new=true", Wanted(9, "round", True)),
            (b"names=a&names=b,c", Wanted(names="a,b,c")),
            (b"user_id=bob", Wanted()),
        ],
    )
    def test_what_is_declared_is_read(self, said: bytes, read: Wanted) -> None:
        assert Wanted(**values_in(texts_in(said, Wanted), Wanted)) == read

    @pytest.mark.parametrize(
        ("said", "message"),
        [
            (b"told=1", "There is no such parameter here, only size, as, is_new, names"),
            (b"shape=round", "There is no such parameter here, only size, as, is_new, names"),
            (b"size=1&size=2", "size must be there once"),
            (b"size=10", "size must be a whole number from 1 to 9"),
            (b"size=01", "size must be a whole number from 1 to 9"),
            (b"as=square", "as must be round or flat"),
            (b"is_new=1", "is_new must be true or false"),
        ],
    )
    def test_anything_else_is_refused_by_its_rule(self, said: bytes, message: str) -> None:
        with pytest.raises(Invalid) as refused:
            values_in(texts_in(said, Wanted), Wanted)
        assert refused.value.message == message

    def test_the_document_says_the_same(self) -> None:
        assert documented(Wanted) == {
            "size": {
                "description": "How many.",
                "schema": {"type": "integer", "minimum": 1, "maximum": 9, "examples": [5]},
            },
            "as": {"description": "Which.", "schema": {"type": "string", "enum": ["round", "flat"]}},
            "is_new": {"description": "Whether.", "schema": {"type": "boolean"}},
            "names": {"description": "Whose.", "schema": {"type": "array"}},
        }
