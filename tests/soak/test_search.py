"""What searches and sorted lists cost the database and the service: for who changes much, and for who has much."""

import asyncio
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.conftest import token
from tests.live.conftest import Serve, Served
from tests.soak.conftest import Figure

LIST = "/api/tasks"
MANY = 300_000
TICKS = os.sysconf("SC_CLK_TCK")
# With their versions: a trigger would raise the same row's revision each time, which takes longer and longer.
ADD = f"""
    INSERT INTO revisions (user_id, revision) VALUES ('ada', {MANY});
    INSERT INTO tasks (user_id, title, description, completed, created_at, version)
    SELECT 'ada', 'Task ' || md5(n::text) || ' w' || n % 997, 'Note of ' || n, n % 3 = 0,
        timestamptz '2026-01-01' + n * interval '1 s', n
    FROM generate_series(1, {MANY}) AS n;
    ANALYZE tasks
"""


def spent(pid: int, *, also_children: bool = False) -> float:
    """The seconds of CPU that a process has used; with those of the children that it has outlived."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if also_children else 13])) / TICKS


class Bill:
    """Counts the CPU that PostgreSQL, with all its processes, and the workers of a service use."""

    def __init__(self, service: Served, backend: int) -> None:
        self._workers = service.pids()[-service.workers :]
        self._postmaster = int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])

    def now(self) -> float:
        children = Path(f"/proc/{self._postmaster}/task/{self._postmaster}/children").read_text().split()
        seconds = spent(self._postmaster, also_children=True)
        for pid in map(int, children):
            try:
                seconds += spent(pid)
            except FileNotFoundError:  # it has just ended
                continue
        return seconds + sum(map(spent, self._workers))


@pytest.fixture
async def ada(serve: Serve, clean: None, sql: asyncpg.Connection) -> Any:
    """A client of two workers, as a user who has no task yet."""
    await sql.execute("""INSERT INTO "user" (id, name, email) VALUES ('ada', '', 'ada@x')""")
    service = await asyncio.to_thread(serve, workers=2)
    async with httpx.AsyncClient(
        base_url=service.url, headers={"authorization": f"Bearer {token('ada')}"}, timeout=30
    ) as client:
        yield client, Bill(service, await sql.fetchval("SELECT pg_backend_pid()"))


async def until_answered(client: httpx.AsyncClient, **parameters: Any) -> tuple[httpx.Response, int]:
    """The answer that comes to who asks again as often as it is told to; and how often it was 503."""
    for refused in range(1000):
        answer = await client.get(LIST, params=parameters)
        if answer.status_code != 503:
            assert answer.status_code == 200, answer.text
            return answer, refused
        await asyncio.sleep(int(answer.headers["retry-after"]))
    raise AssertionError("never answered")


async def test_toggles_of_long_tasks_and_searches_between(figure: Figure, ada: Any) -> None:
    client, bill = ada
    text = " ".join(f"{word:x}" for word in range(100_000, 200_000))[:32_768]
    ids = []
    for number in range(100):
        made = await client.post(LIST, json={"title": f"Long {number}", "description": text[number:] + text[:number]})
        ids.append(made.json()["data"]["id"])
    await until_answered(client, q="long", limit=1)
    before = bill.now()
    for _ in range(10):
        for task_id in ids:
            assert (await client.patch(f"{LIST}/{task_id}/complete")).status_code == 200
        answer, refused = await until_answered(client, q="long", fields="id")
        assert (len(answer.json()["data"]), refused) == (100, 0)
    cpu = bill.now() - before
    figure("10 times (100 toggles of 32 KB tasks + a search)", f"{cpu:.1f} s of CPU, PostgreSQL and workers together")
    assert cpu < 3


LETTERS = [*map(chr, range(ord("a"), ord("z") + 1)), *map(str, range(10)), *map(chr, range(0x3B1, 0x3C9))]


async def test_by_relevance_of_many_long_tasks(
    figure: Figure, ada: Any, sql: asyncpg.Connection, database_url: str
) -> None:
    """Each of few words stands there as often as can be: ranked by all of them, one task took 80 ms."""
    client, bill = ada
    text = " ".join(LETTERS * 400)[:32_768]
    many = """
        INSERT INTO revisions (user_id, revision) VALUES ('ada', 2000);
        INSERT INTO tasks (user_id, title, description, version)
        SELECT 'ada', 'long', {}, n FROM generate_series(1, 2000) AS n
    """
    await sql.execute(many.format(f"'{text}'"))
    await until_answered(client, q="long", limit=1)
    slowest = Slowest(database_url)
    watching = asyncio.create_task(slowest.watch())
    for q in ("a", " ".join(LETTERS[:24]), " or ".join(LETTERS[:24]), '"a b c"'):
        before = bill.now()
        taken = await median(lambda q=q: client.get(LIST, params={"q": q, "sort": "relevance", "limit": 1}), 5)
        figure(
            f"{q[:7]} of 2,000 tasks of 32 KB by relevance",
            f"{taken:.0f} ms, {(bill.now() - before) * 200:.0f} ms of CPU",
        )
    watching.cancel()
    await asyncio.wait({watching})
    assert slowest.seconds < 1


class Slowest:
    """How long a statement of the service took at most, looked at fifty times a second."""

    QUERY = """
        SELECT coalesce(max(extract(epoch FROM clock_timestamp() - query_start)), 0)::float8 FROM pg_stat_activity
        WHERE state = 'active' AND pid <> pg_backend_pid() AND backend_type = 'client backend'
    """

    def __init__(self, url: str) -> None:
        self.seconds = 0.0
        self._url = url

    async def watch(self) -> None:
        connection = await asyncpg.connect(self._url)
        try:
            while True:
                self.seconds = max(self.seconds, await connection.fetchval(self.QUERY))
                await asyncio.sleep(0.02)
        finally:
            connection.terminate()


async def median(ask: Callable[[], Any], times: int = 100) -> float:
    """Milliseconds."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        answer = await ask()
        taken.append(time.perf_counter() - began)
        assert answer.status_code == 200
    return statistics.median(taken) * 1e3


async def test_much_to_search_and_to_sort(figure: Figure, ada: Any, sql: asyncpg.Connection, database_url: str) -> None:
    client, bill = ada
    await sql.execute(ADD)
    slowest = Slowest(database_url)
    watching = asyncio.create_task(slowest.watch())
    for what, parameters in (("order by title", {"sort": "title"}), ("search", {"q": "w77"})):
        began, cpu, slowest.seconds = time.perf_counter(), bill.now(), 0.0
        _, refused = await until_answered(client, limit=1, **parameters)
        taken, cpu = time.perf_counter() - began, bill.now() - cpu
        figure(
            f"the first {what} of {MANY:,} tasks",
            f"answered after {taken:.0f} s and {refused} answers of 503, {cpu:.0f} s of CPU in all;"
            f" no statement took more than {slowest.seconds * 1e3:.0f} ms",
        )
        assert slowest.seconds < 1
    some = (await client.get(LIST, params={"limit": 1})).json()["data"][0]["id"]
    get = await median(lambda: client.get(f"{LIST}/{some}"))
    first = await median(lambda: client.get(LIST, params={"sort": "title", "limit": 1}))
    cursor: dict[str, Any] = {}
    for _ in range(700):
        page = (await client.get(LIST, params={"sort": "title", "limit": 200, "fields": "id", **cursor})).json()
        cursor = {"cursor": page["page"]["next"]}
    deep = await median(lambda: client.get(LIST, params={"sort": "title", "limit": 1, **cursor}))
    figure(
        f"a page by title among {MANY:,} tasks against a get",
        f"{first / get:.1f} times, 140,000 tasks further {deep / get:.1f} times"
        f" ({first:.1f}, {deep:.1f} and {get:.1f} ms)",
    )
    assert max(first, deep) < 10 * get
    kinds: dict[str, dict[str, Any]] = {
        "sort=updated_at": {"sort": "updated_at", "limit": 50},
        "count=true": {"count": "true", "limit": 50},
        "completed=true": {"completed": "true", "limit": 50},
        "updated_after": {"updated_after": "2036-01-01T00:00:00Z", "limit": 50},
        "created_before": {"created_before": "2026-01-01T00:00:01Z", "limit": 50},
        "q, of few": {"q": "w77", "limit": 50},
        "q, of all": {"q": "task", "limit": 50},
        "q, of all, by relevance": {"q": "task", "sort": "relevance", "limit": 50},
        "q, of all, by title": {"q": "task", "sort": "title", "limit": 50},
        "q, of all, counted": {"q": "task", "count": "true", "limit": 50},
        "q, of all but few": {"q": "-w77", "limit": 50},
    }
    most = 0.0
    for name, parameters in kinds.items():
        before = bill.now()
        taken = await median(lambda parameters=parameters: client.get(LIST, params=parameters), 5)
        cpu = (bill.now() - before) / 5
        most = max(most, cpu)
        figure(f"{name} of {MANY:,} tasks", f"{taken:.0f} ms, {cpu * 1e3:.0f} ms of CPU")
    await client.patch(f"{LIST}/{some}/complete")
    began, before = time.perf_counter(), bill.now()
    _, refused = await until_answered(client, sort="title", limit=1)
    taken, cpu = (time.perf_counter() - began) * 1e3, (bill.now() - before) * 1e3
    figure(
        f"a list by title of {MANY:,} tasks after a toggle",
        f"{taken:.0f} ms, {refused} answers of 503, {cpu:.0f} ms of CPU",
    )
    watching.cancel()
    await asyncio.wait({watching})
    assert most < 1
