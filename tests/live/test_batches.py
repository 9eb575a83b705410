"""Batches at once, of the same tasks, over two workers: nobody waits for ever, and every effect is there."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from tests.faults.people import MINE
from tests.live.conftest import Served

pytestmark = pytest.mark.slow

BATCH = "/api/tasks/batch"
TASKS = 10
ROUNDS = 200


@pytest.fixture
async def two(serve: Callable[..., Served], clean: None) -> AsyncIterator[httpx.AsyncClient]:
    """Ada, before a service of two workers. Each request has a connection of its own, so that either may get it."""
    service = await asyncio.to_thread(serve, workers=2)
    never = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=service.url, headers=MINE, limits=never, timeout=30) as client:
        yield client


async def send(client: httpx.AsyncClient, operations: list[dict[str, Any]]) -> httpx.Response:
    return await client.post(BATCH, json={"operations": operations})


async def new_tasks(client: httpx.AsyncClient) -> list[int]:
    made = await send(client, [{"op": "create", "data": {"title": "new"}}] * TASKS)
    return [each["data"]["id"] for each in made.json()["data"]]


async def by_id(client: httpx.AsyncClient) -> dict[int, dict[str, Any]]:
    return {task["id"]: task for task in (await client.get("/api/tasks")).json()["data"]}


async def test_two_batches_over_the_same_tasks_in_opposite_order_both_happen(two: httpx.AsyncClient) -> None:
    ids = await new_tasks(two)
    versions = Counter[int]()
    for number in range(ROUNDS):
        titles = [{"op": "update", "id": each, "data": {"title": f"title {number}"}} for each in ids]
        texts = [{"op": "update", "id": each, "data": {"description": f"text {number}"}} for each in reversed(ids)]
        answers = await asyncio.gather(send(two, titles), send(two, texts))

        assert [answer.status_code for answer in answers] == [200, 200]
        versions.update(each["data"]["version"] for answer in answers for each in answer.json()["data"])
        tasks = await by_id(two)
        assert {(task["title"], task["description"]) for task in tasks.values()} == {
            (f"title {number}", f"text {number}")
        }
    assert len(versions) == 2 * TASKS * ROUNDS
    assert max(versions) - min(versions) == len(versions) - 1


async def test_a_batch_and_single_changes_of_its_tasks_all_happen(two: httpx.AsyncClient) -> None:
    ids = await new_tasks(two)
    for number in range(ROUNDS):
        batch = [{"op": "complete", "id": each} for each in ids]
        answers = await asyncio.gather(
            send(two, batch),
            *(two.patch(f"/api/tasks/{each}", json={"title": f"title {number}"}) for each in ids[::3]),
        )

        assert {answer.status_code for answer in answers} == {200}
        tasks = await by_id(two)
        assert {task["completed"] for task in tasks.values()} == {number % 2 == 0}
        assert {tasks[each]["title"] for each in ids[::3]} == {f"title {number}"}


async def test_of_two_batches_that_know_one_version_one_alone_happens(two: httpx.AsyncClient) -> None:
    ids = await new_tasks(two)
    for number in range(ROUNDS // 4):
        known = {each: task["version"] for each, task in (await by_id(two)).items()}
        batches = [
            [
                {"op": "update", "id": each, "version": known[each], "data": {"title": f"{who} {number}"}}
                for each in (ids if who == "one" else ids[::-1])
            ]
            for who in ("one", "other")
        ]
        answers = await asyncio.gather(*(send(two, each) for each in batches))

        assert sorted(answer.status_code for answer in answers) == [200, 412]
        winner = "one" if answers[0].status_code == 200 else "other"
        assert {task["title"] for task in (await by_id(two)).values()} == {f"{winner} {number}"}
