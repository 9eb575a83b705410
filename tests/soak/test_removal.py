"""Whoever has much can leave, and nobody notices: a history of 3 GB, and 50,000 tasks."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from statistics import median, quantiles
from typing import Any

import asyncpg
import httpx

from tests.faults.people import MINE
from tests.live.conftest import Served
from tests.soak.conftest import Figure
from tests.tasks.test_removal import left_of

Serve = Callable[..., Served]

STATES, PURGED, TASKS, KEYS = 3000, 1000, 50_000, 20_000
PASSWORD = "correct horse battery staple"
SECONDS = 60
ADD_STATES = """
    INSERT INTO task_versions (task_id, version, user_id, title, description, completed, changed_at)
    SELECT $1, n - 100000, $2, 'x', repeat('x', 1000000), false, now() FROM generate_series(1, $3::int) AS n
"""
ADD_TASKS = """
    INSERT INTO tasks (user_id, title, version, deleted_at)
    SELECT $1, 'Buy milk', n, CASE WHEN n % 10 = 0 THEN now() END FROM generate_series(1, $2::int) AS n
"""
ADD_HISTORY = """
    INSERT INTO task_versions (task_id, version, user_id, title, completed, changed_at)
    SELECT t.id, -n, t.user_id, 'x', false, now() FROM tasks AS t, generate_series(1, 4) AS n WHERE t.user_id = $1
"""
ADD_KEYS = """
    INSERT INTO idempotency_keys (user_id, key, fingerprint, answer)
    SELECT $1, n::text, '', '{}' FROM generate_series(1, $2::int) AS n
"""


class Bystander:
    """Bob, who reads and changes a task of his all the time, and how long he waits."""

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, headers=MINE, timeout=30)
        self.waits: list[float] = []
        self.statuses: set[int] = set()

    async def __aenter__(self) -> "Bystander":
        self._path = (await self._client.post("/api/tasks", json={"title": "x"})).headers["location"]
        self._going = asyncio.create_task(self._go_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._going.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._going
        await self._client.aclose()

    async def _go_on(self) -> None:
        while True:
            for method, path in (("GET", self._path), ("PATCH", f"{self._path}/complete"), ("GET", "/api/trash")):
                began = time.monotonic()
                with contextlib.suppress(httpx.TransportError):  # of a worker that is killed
                    self.statuses.add((await self._client.request(method, path)).status_code)
                    self.waits.append(1000 * (time.monotonic() - began))
            await asyncio.sleep(0.02)


async def gone(sql: asyncpg.Connection, user: str, ids: list[int], seconds: float) -> float | None:
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if not await sql.fetchval('SELECT EXISTS (SELECT FROM "user" WHERE id = $1)', user):
            assert await left_of(sql, user, ids) == []
            return time.monotonic() - began
        await asyncio.sleep(0.2)
    return None


async def signed_up(client: httpx.AsyncClient, email: str) -> tuple[str, dict[str, str]]:
    answer = await client.post("/api/auth/signup", json={"name": "x", "email": email, "password": PASSWORD})
    login = answer.json()["data"]
    return login["user"]["id"], {"authorization": f"Bearer {login['token']}"}


async def test_who_has_much_can_leave(figure: Figure, serve: Serve, clean: None, sql: asyncpg.Connection) -> None:
    await sql.execute("ALTER TABLE task_versions ALTER description SET STORAGE EXTERNAL")
    service = await asyncio.to_thread(serve, workers=2)
    async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:
        told: dict[str, Any] = {}
        await purge(client, sql, service, told)
        await leave(client, sql, service, told)
    figure(
        "a task of 1,000 states of 1 MB is purged",
        f"204 after {told['purge']:.2f} s, gone after {told['purged']:.0f} s",
    )
    figure(
        "3,000 states of 1 MB, and 50,000 tasks with 200,000 versions and 20,000 keys, leave",
        f"204 after {max(told['leave']):.2f} s, no row after {max(told['left']):.0f} s, both workers killed in it",
    )
    waits = told["waits"]
    p95 = quantiles(waits, n=20)[-1]
    figure("a bystander meanwhile", f"median {median(waits):.1f} ms, p95 {p95:.0f} ms, most {max(waits):.0f} ms")
    assert told["statuses"] == {200}
    assert told["purge"] < 1
    assert max(told["purged"], *told["left"]) < SECONDS
    assert p95 < 400


async def purge(client: httpx.AsyncClient, sql: asyncpg.Connection, service: Served, told: dict[str, Any]) -> None:
    user, headers = await signed_up(client, "purge@example.com")
    task = (await client.post("/api/tasks", json={"title": "x"}, headers=headers)).json()["data"]["id"]
    await sql.execute(ADD_STATES, task, user, PURGED)
    async with Bystander(service.url) as bystander:
        await client.delete(f"/api/tasks/{task}", headers=headers)
        began = time.monotonic()
        answer = await client.delete(f"/api/trash/{task}", headers=headers)
        told["purge"] = time.monotonic() - began
        assert answer.status_code == 204, answer.text
        while await sql.fetchval("SELECT EXISTS (SELECT FROM task_versions WHERE task_id = $1)", task):
            assert time.monotonic() - began < SECONDS
            await asyncio.sleep(0.2)
        told["purged"] = time.monotonic() - began
        told["waits"], told["statuses"] = bystander.waits, bystander.statuses


async def leave(client: httpx.AsyncClient, sql: asyncpg.Connection, service: Served, told: dict[str, Any]) -> None:
    users = [await signed_up(client, f"{name}@example.com") for name in ("states", "tasks")]
    task = (await client.post("/api/tasks", json={"title": "x"}, headers=users[0][1])).json()["data"]["id"]
    await sql.execute(ADD_STATES, task, users[0][0], STATES)
    await client.post("/api/tasks", json={"title": "x"}, headers=users[1][1])
    await sql.execute(ADD_TASKS, users[1][0], TASKS)
    await sql.execute(ADD_HISTORY, users[1][0])
    await sql.execute(ADD_KEYS, users[1][0], KEYS)
    theirs = "SELECT array_agg(id) FROM tasks WHERE user_id = $1"
    ids = {user: await sql.fetchval(theirs, user) for user, _ in users}
    told["leave"], told["left"] = [], []
    async with Bystander(service.url) as bystander:
        for _, headers in users:
            began = time.monotonic()
            answer = await client.request("DELETE", "/api/auth/me", json={"password": PASSWORD}, headers=headers)
            told["leave"].append(time.monotonic() - began)
            assert answer.status_code == 204, answer.text
            never = httpx.Limits(max_keepalive_connections=0)
            async with httpx.AsyncClient(base_url=service.url, headers=headers, limits=never, timeout=30) as ghost:
                for _ in range(20):  # to either worker
                    statuses = {
                        (await ghost.get("/api/tasks?limit=1")).status_code,
                        (await ghost.post("/api/tasks", json={"title": "x"})).status_code,
                    }
                    assert statuses == {401}
        for pid in service.pids()[-2:]:
            os.kill(pid, signal.SIGKILL)
            await asyncio.sleep(0.5)
        for user, _ in users:
            took = await gone(sql, user, ids[user], SECONDS)
            assert took is not None, f"still there after {SECONDS} s"
            told["left"].append(took)
        told["waits"] += bystander.waits
        told["statuses"] |= bystander.statuses
