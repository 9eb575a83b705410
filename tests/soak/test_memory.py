"""What a worker holds while people ask for all that is large, at the same moment, and do not take it."""

import asyncio
import contextlib
import json
import secrets
import statistics
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.conftest import token
from tests.live.conftest import Serve, Served
from tests.soak.conftest import Figure

SECONDS = 40
SECONDS_BETWEEN = 0.25  # of each attacker, of whom there are some fifty: more than the rate limit lets anybody do
MIB = 1024 * 1024
HISTORY, TASKS, TRASHED = 200, 60, 60  # of a megabyte each, from before there was a limit
LEGAL = 100  # as long as they may be
WORKER_MIB, BYSTANDER_SECONDS = 128, 0.4

ADD_USERS = """
    INSERT INTO "user" (id, name, email) SELECT u, '', u || '@x' FROM unnest('{ada,eve,bob}'::text[]) AS u
"""
ADD = """
    INSERT INTO tasks (user_id, title, description, deleted_at)
    SELECT $1, 'Task ' || n, n || $3, CASE WHEN $4 THEN now() END FROM generate_series(1, $2::int) AS n
"""
CHANGE = "UPDATE tasks SET description = $2::text || $3 WHERE id = $1"


@pytest.fixture
async def heavy(clean: None, sql: asyncpg.Connection) -> int:
    """Ada, who has 60 MB of tasks and of trash and a task with 200 MB of history; its id. And Eve, with legal ones."""
    text = secrets.token_hex(MIB // 2)  # which no database compresses
    await sql.execute(ADD_USERS)
    await sql.execute(ADD, "ada", TASKS, text, False)
    await sql.execute(ADD, "ada", TRASHED, text, True)
    await sql.execute(ADD, "eve", LEGAL, text[:32_760], False)
    await sql.execute("INSERT INTO tasks (user_id, title) SELECT 'bob', 'Task ' || n FROM generate_series(1, 20) n")
    task_id = await sql.fetchval("SELECT max(id) FROM tasks WHERE user_id = 'ada' AND deleted_at IS NULL")
    for number in range(HISTORY):
        await sql.execute(CHANGE, task_id, f"{number}", text)
    return task_id


BYSTANDER = """
import http.client, json, sys, time
port, token, seconds = sys.argv[1:]
until, taken = time.monotonic() + float(seconds), []
while time.monotonic() < until:
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
    connection.request("GET", "/api/tasks", headers={"authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    assert (answer.status, len(json.loads(answer.read())["data"])) == (200, 20), answer.status
    connection.close()
    taken.append(time.perf_counter() - began)
    time.sleep(0.02)
print(json.dumps(taken))
"""


def memory(pid: int) -> dict[str, int]:
    """The resident memory of a process, now and at most, in bytes."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {name: int(lines[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")}


async def slowly(service: Served, path: str, who: str, seconds: float) -> str:
    """Ask, and take next to nothing of the answer; returns its status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port, limit=1024)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(who)}\r\n\r\n".encode())
    try:
        status = (await reader.readline()).decode().split(" ")[1]
        await asyncio.sleep(seconds)
        return f"{status} slowly"
    except (OSError, IndexError):
        return "cut"
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


@pytest.fixture
async def service(serve: Serve, heavy: int) -> Served:
    return serve(workers=2)


async def test_one_worker_holds_a_bounded_number_of_bytes(figure: Figure, service: Served, heavy: int) -> None:
    """The hostile mixture, while Bob lists his 20 tasks."""
    pids = service.pids()
    answers: Counter[str] = Counter()
    until = time.monotonic() + SECONDS
    limits = httpx.Limits(max_connections=200)
    async with httpx.AsyncClient(base_url=service.url, timeout=60, limits=limits) as client:

        async def ask(who: str, method: str, path: str, **more: Any) -> None:
            headers = {"authorization": f"Bearer {token(who)}", **more.pop("headers", {})}
            try:
                async with client.stream(method, path, headers=headers, **more) as answer:
                    async for _ in answer.aiter_raw():
                        pass
                answers[f"{answer.status_code}"] += 1
            except httpx.TransportError:
                answers["cut"] += 1

        async def again(who: str, method: str, path: str, **more: Any) -> None:
            while time.monotonic() < until:
                await ask(who, method, path, **more)
                await asyncio.sleep(SECONDS_BETWEEN)

        async def slow(who: str, path: str) -> None:
            while time.monotonic() < until:
                answers[await slowly(service, path, who, 8)] += 1

        async def bystander() -> list[float]:
            """In a process of his own, or what he measures would be how busy the attackers are."""
            command = [sys.executable, "-c", BYSTANDER, f"{service.port}", token("bob"), f"{SECONDS}"]
            process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            told, _ = await process.communicate()
            return json.loads(told)

        for _ in range(20):
            await ask("bob", "GET", "/api/tasks")
        idle = {pid: memory(pid)["VmRSS"] for pid in pids}
        all_tasks = await client.get("/api/tasks?fields=id", headers={"authorization": f"Bearer {token('eve')}"})
        ids = [task["id"] for task in all_tasks.json()["data"]]
        hers = await client.get("/api/tasks?fields=id", headers={"authorization": f"Bearer {token('ada')}"})
        large = [task["id"] for task in hers.json()["data"]]

        def batch(of: list[int]) -> dict[str, Any]:
            return {"operations": [{"op": "complete", "id": each} for each in of]}

        attack = [
            *[again("ada", "GET", "/api/tasks") for _ in range(6)],
            *[slow("ada", "/api/tasks") for _ in range(12)],
            *[slow("ada", f"/api/tasks/{heavy}/history?limit=200") for _ in range(6)],
            *[slow("eve", "/api/tasks?limit=200") for _ in range(6)],
            *[again("ada", "GET", f"/api/tasks/{heavy}/history?limit=200") for _ in range(4)],
            *[again("ada", "GET", "/api/trash") for _ in range(3)],
            *[again("ada", "GET", "/api/tasks?limit=200&sort=title") for _ in range(3)],
            *[again("eve", "GET", "/api/tasks?sort=updated_at") for _ in range(3)],
            *[again("ada", "HEAD", path) for path in ("/api/tasks", "/api/trash", f"/api/tasks/{heavy}/history")],
            *[again("eve", "POST", f"/api/tasks/batch{how}", json=batch(ids)) for how in ("", "?dry_run=true")],
            again("eve", "POST", "/api/tasks/batch", json=batch(ids), headers={"prefer": "return=minimal"}),
            again("ada", "POST", "/api/tasks/batch?dry_run=true", json=batch(large)),
            again("ada", "POST", "/api/tasks/batch?dry_run=true&return=minimal", json=batch(large)),
            *[
                again("ada", "PUT", f"/api/tasks/{heavy}", json={"title": "x", "description": "x" * (MIB - 100)})
                for _ in range(2)
            ],
        ]
        *_, taken = await asyncio.gather(*attack, bystander())
    over = max(memory(pid)["VmHWM"] - idle[pid] for pid in pids)
    p95 = statistics.quantiles(taken, n=20)[-1]
    print(dict(answers))
    figure("the most that a worker held over idle, under the hostile mixture", f"{over / MIB:.0f} MB")
    figure("the same: a bystander's p95", f"{p95 * 1e3:.0f} ms ({statistics.median(taken) * 1e3:.0f} ms median)")
    figure("the same: all answers", ", ".join(f"{count:,} of {what}" for what, count in sorted(answers.items())))
    assert not answers["500"]
    assert taken
    assert over <= WORKER_MIB * MIB
    assert p95 <= BYSTANDER_SECONDS
