"""People who ask for their tasks all the time, and ask once more where there was no answer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from tests.faults.people import MINE


class Asked:
    """How often there was an answer, how often there was none at first, and how often not the second time either."""

    def __init__(self, url: str, *, kept: bool) -> None:
        self.answered = self.failed = self.failed_twice = 0
        self._url = url
        self._limits = httpx.Limits(max_keepalive_connections=None if kept else 0)

    async def ask(self) -> None:
        """Ask until cancelled, one after the other."""
        async with httpx.AsyncClient(base_url=self._url, headers=MINE, limits=self._limits, timeout=30) as client:
            while True:
                if not await self._is_answered(client):
                    self.failed += 1
                    self.failed_twice += not await self._is_answered(client)

    async def _is_answered(self, client: httpx.AsyncClient) -> bool:
        try:
            answer = await client.get("/api/tasks/1")
        except httpx.TransportError:
            return False
        self.answered += answer.status_code in (200, 404)
        return answer.status_code in (200, 404)


@asynccontextmanager
async def asking(url: str, people: int = 8) -> AsyncIterator[Asked]:
    """So many people ask while the block runs: half of them on one connection, half on a new one each time."""
    asked = [Asked(url, kept=True), Asked(url, kept=False)]
    total = Asked(url, kept=True)
    tasks = [asyncio.create_task(asked[number % 2].ask()) for number in range(people)]
    try:
        yield total
        assert not any(task.done() for task in tasks), [task.exception() for task in tasks if task.done()]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in asked:
            total.answered += each.answered
            total.failed += each.failed
            total.failed_twice += each.failed_twice
