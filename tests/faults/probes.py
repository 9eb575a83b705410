"""Somebody who asks ten times a second whether the service is alive and ready, as a load balancer would."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import httpx

SECONDS_BETWEEN = 0.1


async def until(condition: Callable[[], bool | Awaitable[bool]], seconds: float = 20) -> None:
    """Wait until it is so. Raises TimeoutError."""
    async with asyncio.timeout(seconds):
        while not (await met if isinstance(met := condition(), Awaitable) else met):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


class Probe(NamedTuple):
    """One question: when it was asked, what came back (None: nothing), and how long that took."""

    asked: float
    status: int | None
    seconds: float


class Probes:
    """All answers so far, and what they say together. Moments are those of time.monotonic()."""

    def __init__(self) -> None:
        self.live: list[Probe] = []
        self.ready: list[Probe] = []

    def slowest_sign_of_life(self) -> float:
        """Seconds."""
        return max(probe.seconds for probe in self.live)

    def always_alive(self) -> bool:
        return {probe.status for probe in self.live} == {200}

    def seconds_until(self, status: int, since: float) -> float:
        """How long after a moment the first answer of this status was there."""
        found = (probe.asked + probe.seconds for probe in self.ready if probe.asked >= since and probe.status == status)
        return next(found, float("inf")) - since

    async def follow(self, status: int, since: float) -> None:
        """Wait until an answer of this status was there after a moment. Raises TimeoutError."""
        await until(lambda: self.seconds_until(status, since) < float("inf"))

    async def ask(self, client: httpx.AsyncClient, path: str, into: list[Probe]) -> None:
        asked = time.monotonic()
        try:
            status = (await client.get(path)).status_code
        except httpx.TransportError:
            status = None
        into.append(Probe(asked, status, time.monotonic() - asked))


@asynccontextmanager
async def probing(url: str) -> AsyncIterator[Probes]:
    """Ask while the block runs, each time anew, whether or not the last answer is there."""
    probes = Probes()

    async def ask_on() -> None:
        async with httpx.AsyncClient(base_url=url, timeout=30) as client, asyncio.TaskGroup() as questions:
            while True:
                questions.create_task(probes.ask(client, "/health/live", probes.live))
                questions.create_task(probes.ask(client, "/health/ready", probes.ready))
                await asyncio.sleep(SECONDS_BETWEEN)

    task = asyncio.create_task(ask_on())
    try:
        yield probes
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
