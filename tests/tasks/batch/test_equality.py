"""A batch does what its operations would do one after the other, also on what they create, and on lists and labels."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar

from tests.conftest import token, visitor
from tests.tasks.batch.test_lists import LISTS, L, M
from tests.tasks.batch.test_upsert import LIST, ONE, TWO, batch

pytestmark = pytest.mark.slow

THREE = TWO[:-1] + "3"
TASKS, LISTS_OF_TWO, LABELS = (
    st.sampled_from([ONE, TWO, THREE]),
    st.sampled_from([L, M]),
    st.sampled_from(["a", "A", "b"]),
)
IN_LISTS = st.none() | LISTS_OF_TWO
FIELDS: dict[str, Any] = {"list_id": IN_LISTS, "labels": st.lists(LABELS, max_size=2), "priority": st.integers(0, 4)}
CONTENT = st.fixed_dictionaries({"title": st.sampled_from("xyz")}, optional=FIELDS)
PATCH = st.fixed_dictionaries({}, optional=FIELDS)


def operation(op: str, **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({"op": st.just(op), **fields})


IGNORED: Any = {"missing": st.just("ignore")}
ON_LISTS = {"on": st.just("list"), "id": LISTS_OF_TWO}
OF_LIST = st.fixed_dictionaries({"name": st.sampled_from("xyz")}, optional={"archived": st.booleans()})
COMPLETE = st.fixed_dictionaries({"completed": st.booleans()})
OPERATIONS = st.one_of(
    st.builds(lambda uid, data: {"op": "create", "data": data | {"uid": uid}}, TASKS, CONTENT),
    operation("upsert", id=TASKS, data=CONTENT),
    operation("upsert", id=TASKS, data=CONTENT),
    operation("update", id=TASKS, data=PATCH),
    operation("replace", id=TASKS, data=CONTENT),
    operation("complete", id=TASKS, data=COMPLETE),
    st.fixed_dictionaries({"op": st.just("delete"), "id": TASKS}, optional=IGNORED),
    operation("upsert", **ON_LISTS, data=OF_LIST),
    operation("upsert", **ON_LISTS, data=OF_LIST),
    operation("update", **ON_LISTS, data=OF_LIST),
    st.fixed_dictionaries({"op": st.just("delete"), **ON_LISTS}, optional=IGNORED | {"tasks": st.just("inbox")}),
    st.fixed_dictionaries({"op": st.just("delete"), "on": st.just("label"), "id": LABELS}, optional=IGNORED),
    operation("update", on=st.just("label"), id=LABELS, data=st.fixed_dictionaries({"name": LABELS})),
)
FEW = st.lists(OPERATIONS, min_size=1, max_size=8)


async def state(client: httpx.AsyncClient) -> Any:
    """All that a user has, without ids, times and versions."""
    lists = {each["id"]: each["uid"] for each in (await client.get(LISTS)).json()["data"]}

    def plain(it: dict[str, Any]) -> dict[str, Any]:
        named = it | ({"list_id": lists.get(it["list_id"])} if "list_id" in it else {})
        gone = ("id", "user_id", "version", "position")
        return {name: value for name, value in named.items() if name not in gone and not name.endswith("_at")}

    found: list[Any] = []
    for path in (LIST, LISTS, "/api/labels", "/api/trash"):
        those = [plain(each) for each in (await client.get(path)).json()["data"]]
        found.append(sorted([each | {"uid": ""} if path == "/api/labels" else each for each in those], key=str))
    return found


async def test_it_is_so(running: Litestar, clean: None) -> None:
    loop = asyncio.get_running_loop()
    users, seen = iter(range(10**6)), {"done": 0, "refused": 0}

    async def compare(before: list[dict[str, Any]], those: list[dict[str, Any]]) -> None:
        one, other = [visitor(running, authorization=f"Bearer {token(f'order{next(users)}')}") for _ in range(2)]
        for client in (one, other):
            for each in before:
                await batch(client, each)
        assert await state(one) == (untouched := await state(other))
        answer = await batch(one, *those)
        if "is about this task already" in answer.text or "creates a task with this uid" in answer.text:
            return
        singles: list[httpx.Response] = []
        for each in those:
            singles.append(await batch(other, each))
            if singles[-1].status_code != 200:
                break
        if singles[-1].status_code == 200:
            seen["done"] += 1
            assert answer.status_code == 200, (before, those, answer.text)
            statuses = [each["status"] for each in answer.json()["data"]]
            assert statuses == [each.json()["data"][0]["status"] for each in singles]
            assert await state(one) == await state(other)
            made = zip(those, answer.json()["data"], strict=True)
            versions = [each["data"]["version"] for sent, each in made if each["data"] and sent.get("data")]
            assert versions == sorted(versions), (before, those, answer.text)
        else:
            seen["refused"] += 1
            assert answer.status_code >= 400, (before, those, answer.text, singles[-1].text)
            if (
                answer.json()["error"]["index"] == len(singles) - 1
            ):  # what is wrong with one behind it may be seen first
                # An upsert of what the batch itself has moved to the trash finds no task, where alone it is a conflict.
                status = singles[-1].status_code
                expected = {status} | ({404} if those[len(singles) - 1]["op"] == "upsert" else set())
                assert answer.status_code in expected, (before, those, answer.text, singles[-1].text)
            assert await state(one) == untouched

    def ask(before: list[dict[str, Any]], those: list[dict[str, Any]]) -> None:
        asyncio.run_coroutine_threadsafe(compare(before, those), loop).result()

    await asyncio.to_thread(_every_batch, ask)
    assert min(seen.values()) > 10


def _every_batch(ask: Callable[[list[dict[str, Any]], list[dict[str, Any]]], None]) -> None:
    @settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(FEW, FEW)
    def walk(before: list[dict[str, Any]], those: list[dict[str, Any]]) -> None:
        ask(before, those)

    walk()
