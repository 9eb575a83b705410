"""No update is lost: many at once, of one task, over two workers."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from tests.faults.people import MINE
from tests.live.conftest import Served
from tests.soak.conftest import Figure

FLIPS = 101
PAIRS = 500


@pytest.fixture
async def two(serve: Callable[..., Served], clean: None) -> AsyncIterator[httpx.AsyncClient]:
    """Ada, before a service of two workers. Each request has a connection of its own, so that either may get it."""
    service = await asyncio.to_thread(serve, workers=2)
    never = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=service.url, headers=MINE, limits=never, timeout=30) as client:
        yield client


async def new_task(two: httpx.AsyncClient) -> str:
    return (await two.post("/api/tasks", json={"title": "new"})).headers["location"]


async def test_every_flip_counts(figure: Figure, two: httpx.AsyncClient) -> None:
    path = await new_task(two)
    answers = await asyncio.gather(*(two.patch(f"{path}/complete") for _ in range(FLIPS)))
    after = (await two.get(path)).json()["data"]

    moments = {answer.json()["data"]["updated_at"] for answer in answers}
    figure("no lost update (toggles at once)", f"{len(moments)} of {FLIPS}, and the task is flipped {FLIPS} times")
    assert {answer.status_code for answer in answers} == {200}
    assert len(moments) == FLIPS
    assert (after["completed"], after["updated_at"]) == (FLIPS % 2 == 1, max(moments))


async def test_changes_of_different_fields_are_both_there(figure: Figure, two: httpx.AsyncClient) -> None:
    path = await new_task(two)
    lost = 0
    for number in range(1, PAIRS + 1):
        content = {"title": f"title {number}", "description": f"description {number}"}
        answers = await asyncio.gather(two.put(path, json=content), two.patch(f"{path}/complete"))
        assert [answer.status_code for answer in answers] == [200, 200]
        after = (await two.get(path)).json()["data"]
        is_there = after["completed"] == (number % 2 == 1) and after | content == after
        lost += not is_there

    figure("no lost update (disjoint changes)", f"{lost} of {PAIRS} pairs lost one")
    assert lost == 0


async def test_nothing_comes_back_from_the_dead(figure: Figure, two: httpx.AsyncClient) -> None:
    ghosts, puts = 0, Counter[int]()
    for _ in range(PAIRS):
        path = await new_task(two)
        put, gone = await asyncio.gather(two.put(path, json={"title": "changed"}), two.delete(path))
        puts[put.status_code] += 1
        assert gone.status_code == 204
        ghosts += (await two.get(path)).status_code != 404

    figure("no lost update (PUT against DELETE)", f"{ghosts} ghosts of {PAIRS}; PUT was first {puts[200]} times")
    assert set(puts) <= {200, 404}
    assert ghosts == 0
