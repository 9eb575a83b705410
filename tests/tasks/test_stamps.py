"""Stamps: an owner's changes have theirs in the order in which they become visible, so that who asks misses none."""

import asyncio
import random
from typing import Any

import asyncpg
import httpx
import pytest

from app.db.engine import database
from app.tasks import queries
from tests.tasks.batch.test_batch import send
from tests.tasks.test_controller import created

COUNT = 300  # of changes, each the last of its task: whoever misses one never hears of it


class Follower:
    """A client that asks from the latest stamp that it has seen."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._latest = "2000-01-01T00:00:00Z"
        self.seen: dict[int, int] = {}

    async def look(self) -> None:
        answer = await self._client.get("/api/tasks", params={"updated_after": self._latest})
        for task in answer.json()["data"]:
            self.seen[task["id"]] = task["version"]
            self._latest = max(self._latest, task["updated_at"])

    async def look_until(self, done: "asyncio.Future[Any]") -> None:
        while not done.done():
            await self.look()
        await self.look()


async def everything(client: httpx.AsyncClient) -> dict[int, int]:
    return {task["id"]: task["version"] for task in (await client.get("/api/tasks")).json()["data"]}


@pytest.mark.slow
async def test_a_client_that_asks_from_the_latest_stamp_misses_no_change(ada: httpx.AsyncClient) -> None:
    follower = Follower(ada)
    await asyncio.gather(*(created(ada, title=f"{n}") for n in range(40)))
    making = asyncio.gather(*(created(ada, title=f"{n}") for n in range(COUNT)))
    await follower.look_until(making)
    assert follower.seen == await everything(ada)

    ids = random.Random(15).sample([*follower.seen], COUNT)
    changes = [ada.patch(f"/api/tasks/{each}/complete") for each in ids[:-40]]
    changes += [send(ada, *({"op": "complete", "id": each} for each in ids[at : at + 4])) for at in range(-40, -4, 4)]
    await follower.look_until(asyncio.gather(*changes))
    assert follower.seen == await everything(ada)


async def test_each_change_is_later_than_the_one_before_it_by_a_millisecond_at_least(
    ada: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    tasks = [await created(ada, title=f"{n}") for n in range(3)]
    path = "/api/tasks/{}".format
    done = [
        await ada.patch(path(f"{tasks[0]['id']}/complete")),
        await ada.put(path(tasks[1]["id"]), json={"title": "x"}),
        await ada.patch(path(tasks[2]["id"]), json={"title": "y"}),
        await ada.post(path(f"{tasks[2]['id']}/revert"), json={"version": 3}),
    ]
    stamps = [task["updated_at"] for task in tasks] + [each.json()["data"]["updated_at"] for each in done]
    both = (await send(ada, *({"op": "complete", "id": task["id"]} for task in tasks[:2]))).json()["data"]
    assert len({each["data"]["updated_at"] for each in both}) == 1  # they become visible together
    stamps.append(both[0]["data"]["updated_at"])
    await ada.delete(path(tasks[0]["id"]))
    stamps.append((await ada.post(path(f"{tasks[0]['id']}/restore"))).json()["data"]["updated_at"])
    await sql.execute("UPDATE tasks SET title = 'by hand' WHERE id = $1", tasks[0]["id"])
    await sql.execute("INSERT INTO tasks (user_id, title) VALUES ('ada', 'by hand too')")
    listed = (await ada.get("/api/tasks", params={"sort": "updated_at"})).json()["data"]
    stamps += [task["updated_at"] for task in listed[-2:]]
    assert stamps == sorted({*stamps})


async def test_one_that_began_first_and_waited_is_the_later_one(
    ada: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    first, second = await created(ada), await created(ada)
    async with sql.transaction():
        await sql.execute("SELECT FROM revisions WHERE user_id = 'ada' FOR UPDATE")
        waiting = asyncio.create_task(ada.patch(f"/api/tasks/{first['id']}/complete"))
        await asyncio.sleep(0.2)
        await sql.execute("UPDATE tasks SET title = 'by hand' WHERE id = $1", second["id"])
    assert (await waiting).status_code == 200
    by_stamp = (await ada.get("/api/tasks", params={"sort": "updated_at"})).json()["data"]
    assert [task["id"] for task in by_stamp] == [second["id"], first["id"]]


async def test_what_is_brought_along_keeps_its_stamps(ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    await created(ada)
    await sql.execute(
        """
        INSERT INTO tasks (user_id, title, created_at, updated_at)
        VALUES ('ada', 'old', '2020-01-01T00:00:00Z', '2021-01-01T00:00:00Z')
        """
    )
    old = (await ada.get("/api/tasks")).json()["data"][-1]
    assert (old["created_at"], old["updated_at"]) == ("2020-01-01T00:00:00.000Z", "2021-01-01T00:00:00.000Z")


@pytest.mark.parametrize("ahead", ["0 ms", "5 s"])
async def test_a_clock_that_is_set_back_stamps_no_change_earlier(
    ada: httpx.AsyncClient, sql: asyncpg.Connection, ahead: str
) -> None:
    task = await created(ada)
    await sql.execute("UPDATE revisions SET stamped = stamped + $1::text::interval", ahead)
    before = await sql.fetchval("SELECT stamped FROM revisions")
    values = {"title": "x", "sets_description": False, "description": None, "completed": None, "by": None}
    values |= {"task_id": task["id"], "versions": None, "wanted": True}
    await database.change(queries.PATCH, owner="ada", **values)
    assert await sql.fetchval("SELECT updated_at FROM tasks") > before
