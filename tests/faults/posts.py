"""People who post tasks whatever happens, and remember what was acknowledged."""

import asyncio
import itertools
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import httpx

from tests.conftest import token

PAUSE = 0.05  # seconds, after whatever was no success: long enough not to spin, shorter than Retry-After


class Posts:
    """What was posted so far: which titles were acknowledged, and what all the answers were."""

    def __init__(self, url: str) -> None:
        self.acknowledged: set[str] = set()
        self.statuses: Counter[int] = Counter()
        self.broken = 0  # connections that ended without an answer
        self.unfriendly = 0  # answers of 503 that do not say when to come back
        self.slowest_refusal = 0.0  # seconds
        self.longest_gap = 0.0  # seconds in which nothing was acknowledged
        self._latest = time.monotonic()  # when something was
        self._url = url
        self._who = f"poster-{secrets.token_hex(4)}"
        self._numbers = itertools.count(1)

    async def missing(self, database_url: str) -> set[str]:
        """What was acknowledged and is not in the database."""
        connection = await asyncpg.connect(database_url)
        try:
            rows = await connection.fetch("SELECT title FROM tasks WHERE user_id = $1", self._who)
        finally:
            await connection.close()
        return self.acknowledged - {row["title"] for row in rows}

    async def reach(self, count: int, *, seconds: float) -> None:
        """Wait until so many are acknowledged. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            while len(self.acknowledged) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.02)

    async def go_on(self, count: int = 100, *, seconds: float = 30) -> None:
        """Wait until so many more are acknowledged: whatever was broken is well again."""
        await self.reach(len(self.acknowledged) + count, seconds=seconds)

    async def post(self) -> None:
        """Post until cancelled, one after the other on one connection."""
        headers = {"authorization": f"Bearer {token(self._who)}"}
        async with httpx.AsyncClient(base_url=self._url, headers=headers, timeout=30) as client:
            while True:
                title = f"{self._who} {next(self._numbers)}"
                began = time.monotonic()
                try:
                    answer = await client.post("/api/tasks", json={"title": title})
                except httpx.TransportError:
                    self.broken += 1
                    await asyncio.sleep(PAUSE)
                    continue
                self.statuses[answer.status_code] += 1
                if answer.status_code == 201:
                    self.acknowledged.add(title)
                    now = time.monotonic()
                    self.longest_gap, self._latest = max(self.longest_gap, now - self._latest), now
                else:
                    self.slowest_refusal = max(self.slowest_refusal, time.monotonic() - began)
                    self.unfriendly += answer.status_code == 503 and "retry-after" not in answer.headers
                    await asyncio.sleep(PAUSE)


@asynccontextmanager
async def posting(url: str, people: int = 16) -> AsyncIterator[Posts]:
    """So many people post to the service while the block runs. What they were sending in the end is not known."""
    posts = Posts(url)
    tasks = [asyncio.create_task(posts.post()) for _ in range(people)]
    try:
        yield posts
        assert not any(task.done() for task in tasks), [task.exception() for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
