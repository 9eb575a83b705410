"""A connection's one deadline, on a real event loop."""

import asyncio
from collections.abc import Callable

import pytest

from app.server.http1.deadline import Deadline

SOON, LATER = 0.02, 0.06


@pytest.fixture
def calls() -> list[float]:
    return []


async def test_it_calls_once_the_deadline_has_come(calls: list[float]) -> None:
    loop = asyncio.get_running_loop()
    deadline, began = Deadline(loop, lambda: calls.append(loop.time())), loop.time()
    deadline.set(SOON)
    assert deadline.is_set
    await asyncio.sleep(LATER)
    assert [called - began >= SOON for called in calls] == [True]
    assert not deadline.is_set


async def test_a_later_deadline_takes_the_place_of_an_earlier_one(calls: list[float]) -> None:
    loop = asyncio.get_running_loop()
    deadline, began = Deadline(loop, lambda: calls.append(loop.time())), loop.time()
    deadline.set(SOON)
    deadline.set(LATER)
    await asyncio.sleep(2 * LATER)
    assert [called - began >= LATER for called in calls] == [True]


async def test_so_does_an_earlier_one_of_a_later_one(calls: list[float]) -> None:
    loop = asyncio.get_running_loop()
    deadline = Deadline(loop, lambda: calls.append(loop.time()))
    deadline.set(60)
    deadline.set(SOON)
    await asyncio.sleep(LATER)
    assert len(calls) == 1


@pytest.mark.parametrize("how", [Deadline.clear, Deadline.stop])
async def test_what_is_cleared_or_stopped_calls_nobody(calls: list[float], how: Callable[[Deadline], None]) -> None:
    loop = asyncio.get_running_loop()
    deadline = Deadline(loop, lambda: calls.append(loop.time()))
    deadline.set(SOON)
    how(deadline)
    await asyncio.sleep(LATER)
    assert calls == []
