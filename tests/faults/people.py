"""What people do to a service, and how long they wait for an answer."""

import asyncio
import random
import time
from collections import Counter
from typing import Any

import httpx

from tests.conftest import token
from tests.faults.probes import until

MINE = {"authorization": f"Bearer {token('ada')}"}
Timed = tuple[float, httpx.Response]


async def timed(client: httpx.AsyncClient, method: str, path: str, **more: Any) -> Timed:
    """One answer, and how many seconds it took."""
    began = time.monotonic()
    answer = await client.request(method, path, **more)
    return time.monotonic() - began, answer


async def at_once(count: int, client: httpx.AsyncClient, method: str, path: str, **more: Any) -> list[Timed]:
    """The answers to so many requests that are sent at once."""
    return await asyncio.gather(*(timed(client, method, path, **more) for _ in range(count)))


async def is_ok(client: httpx.AsyncClient, path: str) -> bool:
    return (await client.get(path)).status_code == 200


def is_shed(answer: httpx.Response) -> bool:
    """Whether it is 503, in the envelope, and says when to come back."""
    code = answer.json()["error"]["code"] if answer.status_code == 503 else ""
    return (code, answer.headers.get("retry-after")) == ("SERVICE_UNAVAILABLE", "1")


async def guess(client: httpx.AsyncClient, count: int) -> set[int]:
    """Try so many passwords at once at the admin's door and at the accounts', and return the answers there are."""
    await client.get("/admin/")
    seen = {"x-csrftoken": client.cookies["csrftoken"]}
    wrong = {"username": "x", "email": "x@example.com", "password": "not theirs"}
    answers = await at_once(count, client, "POST", "/admin/public/login/", json=wrong, headers=seen)
    answers += await at_once(count, client, "POST", "/api/auth/login", json=wrong)
    return {answer.status_code for _, answer in answers}


async def cancelled(url: str, count: int, moments: random.Random) -> tuple[Counter[int], dict[str, Any]]:
    """Requests of every kind to an observed service, each of them cancelled at a random moment.

    Returns how often there was which answer (499: it was cancelled), and how the pool stands when it has settled.
    """
    async with httpx.AsyncClient(base_url=url, headers=MINE, timeout=30) as client:
        task = (await client.post("/api/tasks", json={"title": "x"})).json()["data"]
        path = f"/api/tasks/{task['id']}"
        kinds = [
            ("GET", "/api/tasks", None),
            ("POST", "/api/tasks", {"title": "y"}),
            ("PUT", path, {"title": "z"}),
            ("PATCH", f"{path}/complete", None),
            ("DELETE", "/api/tasks/1", None),
        ]

        async def give_up() -> int:
            method, where, body = moments.choice(kinds)
            headers = {"x-cancel-after": f"{moments.uniform(0, 0.15)}"}
            return (await client.request(method, where, json=body, headers=headers)).status_code

        statuses: Counter[int] = Counter()
        for _ in range(count // 10):
            statuses.update(await asyncio.gather(*(give_up() for _ in range(10))))

        pool: dict[str, Any] = {}

        async def has_settled() -> bool:
            pool.update((await client.get("/observed")).json())
            return pool["idle"] == pool["size"]

        await until(has_settled)
        return statuses, pool
