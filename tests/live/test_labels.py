"""Labels over sockets and two workers: names in paths arrive as they were sent, and no device's label is lost."""

import asyncio
from collections.abc import AsyncIterator, Callable

import httpx
import pytest

from tests.faults.people import MINE
from tests.live.conftest import Served

pytestmark = pytest.mark.slow
TASKS = "/api/tasks"


@pytest.fixture
async def two(serve: Callable[..., Served], clean: None) -> AsyncIterator[httpx.AsyncClient]:
    """Ada, before a service of two workers. Each request has a connection of its own."""
    service = await asyncio.to_thread(serve, workers=2)
    never = httpx.Limits(max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=service.url, headers=MINE, limits=never, timeout=30) as client:
        yield client


async def test_labels_in_paths_and_from_many_devices(two: httpx.AsyncClient) -> None:
    task = (await two.post(TASKS, json={"title": "x"})).json()["data"]
    path = f"{TASKS}/{task['id']}/labels"
    names = [f"{number}/{number}" for number in range(40)]
    answers = await asyncio.gather(*(two.put(f"{path}/{name.replace('/', '%2F')}") for name in names))
    assert {each.status_code for each in answers} == {200}
    labels = (await two.get(f"{TASKS}/{task['id']}")).json()["data"]["labels"]
    assert sorted(labels) == sorted(names)
    for sent, name in (
        ("%2f%2F", "//"),
        ("a%252Fb", "a%2Fb"),
        ("%C3%A9", "\u00e9"),
        ("...", "..."),
        ("a%3Fb%23", "a?b#"),
    ):
        assert (await two.put(f"{path}/{sent}")).json()["data"]["labels"][-1] == name
        assert (await two.patch(f"/api/labels/{sent}", json={"color": "#c0ffee"})).json()["data"]["name"] == name
        assert (await two.delete(f"/api/labels/{sent}/")).status_code == 204
    for wrong in ("%00", "%FF", "%20", "x" * 51):
        assert (await two.put(f"{path}/{wrong}")).status_code == 422
    assert (await two.put(f"{path}/a/b")).status_code == 404
    without = await two.put(f"{path}/a%2Fb", headers={"authorization": ""})
    assert without.status_code == 401
