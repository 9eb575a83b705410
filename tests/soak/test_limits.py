"""The rate limit over two workers at full length: never more than it says within any minute, and soon as many again."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from app.web.rate_limit import SIZE
from tests.faults.people import MINE
from tests.soak.conftest import Figure

LIMIT = 600
CLIENTS = 50
WINDOW = 60.0
WINDOWS = 3
STRANGERS = 200_000


def resident(pid: int) -> int:
    """The bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


async def test_rate_limit_per_user(serve: Callable[..., Any], clean: None, figure: Figure) -> None:
    service = await asyncio.to_thread(serve, {"RATE_LIMIT": f"{LIMIT}/minute"}, workers=2)
    let: list[tuple[float, float]] = []  # when each was sent, and answered
    sent = 0
    never = httpx.Limits(max_keepalive_connections=0)
    end = time.monotonic() + WINDOWS * 1.05 * WINDOW

    async def ask() -> None:
        nonlocal sent
        async with httpx.AsyncClient(base_url=service.url, headers=MINE, limits=never, timeout=30) as client:
            while (began := time.monotonic()) < end:
                answer = await client.get("/api/tasks")
                sent += 1
                assert answer.status_code in (200, 429)
                if answer.status_code == 200:
                    let.append((began, time.monotonic()))
                await asyncio.sleep(0.2)

    await asyncio.gather(*(ask() for _ in range(CLIENTS)))
    first = min(answered for _, answered in let)
    in_first = sum(began < first + WINDOW for began, _ in let)
    # Each was counted at some moment between the two: only those are surely within a window.
    most = max(sum(began >= start and answered < start + WINDOW for began, answered in let) for start, _ in let)
    figure(
        "rate limit per user",
        f"{in_first} let through in the first minute, {most} at most in any other, {len(let):,} of {sent:,} in"
        f" {WINDOWS} times 63 s; the limit is {LIMIT}, over two workers and {CLIENTS} clients",
    )
    assert in_first == LIMIT
    assert most <= LIMIT
    assert WINDOWS * LIMIT <= len(let) <= (WINDOWS + 1) * LIMIT


async def test_rate_limit_memory(serve: Callable[..., Any], clean: None, figure: Figure) -> None:
    """Strangers of 200,000 networks, as a proxy tells them."""
    service = await asyncio.to_thread(serve, {"RATE_LIMIT": "5/hour"}, workers=2)
    workers = service.pids()[-2:]
    async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:
        spent = [(await client.get("/api/tasks", headers=MINE)).status_code for _ in range(6)]
    assert spent == [200] * 5 + [429]
    for number in range(2000):  # warm
        await strangers(service.port, number, 1)
    before = [resident(pid) for pid in workers]
    each = STRANGERS // 8
    await asyncio.gather(*(strangers(service.port, 10_000 + number * each, each) for number in range(8)))
    grown = max(resident(pid) - was for pid, was in zip(workers, before, strict=True))
    async with httpx.AsyncClient(base_url=service.url, timeout=30) as client:
        after = (await client.get("/api/tasks", headers=MINE)).status_code
    figure(
        "rate limit per user (memory)",
        f"{grown / 2**20:.1f} MB more per worker after {STRANGERS:,} strangers, {SIZE / 2**20:.1f} MB of it shared;"
        f" who had spent all before is {after} after",
    )
    assert grown < 16 * 2**20
    assert after == 429


async def strangers(port: int, first: int, count: int) -> None:
    """Ask without a token from so many networks, on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(first, first + count):
        source = f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1"
        writer.write(f"GET /api/tasks HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: {source}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 401"), head
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
        await reader.readexactly(length)
    writer.close()
