"""The list while others write: every task that nobody touches is on one page and on one only. And what lists cost."""

import asyncio
import secrets
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import asyncpg
import httpx
import pytest

from app.tasks.failures import IndexNotReady
from app.tasks.listing.parameters import SORTS
from app.tasks.search.index_queries import WORDS
from app.tasks.search.indexing import indexer
from tests.conftest import token
from tests.live.conftest import Serve
from tests.soak.conftest import Figure

ROWS, OTHERS = 10_000, 99
LIST = "/api/tasks"
ADD = """
    INSERT INTO tasks (user_id, title, description, completed, created_at)
    SELECT $1, 'Task ' || md5(n::text) || ' w' || n % 997, 'Note of ' || n, n % 3 = 0,
        timestamptz '2026-01-01' + n % 5000 * interval '1 min'
    FROM generate_series(1, $2::int) AS n
"""

ADD_OTHERS = """
    INSERT INTO "user" (id, name, email) SELECT 'other ' || u, '', u || '@x' FROM generate_series(1, $1::int) AS u
"""


@pytest.fixture
async def owner(clean: None, sql: asyncpg.Connection) -> str:
    """Somebody with 10,000 tasks, of which some were made at one moment."""
    await sql.execute("""INSERT INTO "user" (id, name, email) VALUES ('ada', '', 'ada@x')""")
    await sql.execute(ADD, "ada", ROWS)
    await sql.execute("ANALYZE tasks")
    return "ada"


@pytest.fixture
async def million(owner: str, sql: asyncpg.Connection) -> int:
    """Others' tasks, who have as many each and have all searched; returns how many tasks there are in all."""
    await sql.execute(ADD_OTHERS, OTHERS)
    for number in range(1, OTHERS + 1):
        await sql.execute(ADD, f"other {number}", ROWS)
        while True:
            with suppress(IndexNotReady):
                await indexer.bring_up_to_date(f"other {number}", WORDS, ROWS)
                break
    await sql.execute("ANALYZE tasks, task_words, revisions")
    return await sql.fetchval("SELECT count(*) FROM task_words") + ROWS


@pytest.fixture
async def two(serve: Serve, owner: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of two workers."""
    service = serve(workers=2)
    async with httpx.AsyncClient(
        base_url=service.url, headers={"authorization": f"Bearer {token(owner)}"}, timeout=30
    ) as client:
        yield client


@pytest.mark.parametrize("sort", SORTS)
async def test_what_stands_still_is_seen_once(
    figure: Figure, two: httpx.AsyncClient, sql: asyncpg.Connection, sort: str
) -> None:
    ids = [row["id"] for row in await sql.fetch("SELECT id FROM tasks ORDER BY id")]
    touched, still = ids[::10], {each for place, each in enumerate(ids) if place % 10}
    writes = Counter[str]()

    async def write() -> None:
        for place, task_id in enumerate(touched):
            match place % 4:
                case 0:
                    answer = await two.delete(f"{LIST}/{task_id}")
                case 1:
                    answer = await two.put(f"{LIST}/{task_id}", json={"title": secrets.token_hex(8)})
                case 2:
                    answer = await two.patch(f"{LIST}/{task_id}/complete")
                case _:
                    answer = await two.post(LIST, json={"title": f"task {secrets.token_hex(8)}"})
            writes[f"{answer.status_code}"] += 1

    writing = asyncio.create_task(write())
    seen = Counter[int]()
    query = {"sort": sort, "limit": "200", "fields": "id"} | ({"q": "task"} if sort == "relevance" else {})
    cursor: dict[str, str] = {}
    while True:
        page = (await two.get(LIST, params={**query, **cursor})).json()
        seen.update(task["id"] for task in page["data"])
        if (following := page["page"]["next"]) is None:
            break
        cursor = {"cursor": following}
    written = writes.total()
    writing.cancel()
    await asyncio.wait({writing})
    wrong = sum(seen[each] != 1 for each in still)
    figure(f"paging while others write (sort={sort})", f"{wrong} of {len(still):,} untouched wrong, {written} writes")
    assert wrong == 0
    assert written


async def test_what_lists_cost(figure: Figure, million: int, two: httpx.AsyncClient) -> None:
    some = (await two.get(LIST, params={"limit": 1})).json()["data"][0]["id"]

    async def cost(path: str, times: int = 200, **request: Any) -> float:
        taken = []
        for _ in range(times):
            began = time.perf_counter()
            answer = await two.get(path, **request)
            taken.append(time.perf_counter() - began)
            assert answer.status_code in (200, 304)
        return statistics.median(taken) * 1e3

    page, number = f"{LIST}?limit=10", 1
    first = await cost(page)
    following: str | None = page
    while number < 1000:
        link = (await two.get(following)).headers["link"]
        following, number = link[1 : link.index(">")], number + 1
    last = await cost(following)
    figure("page 1,000 against page 1", f"{last / first:.2f} times ({last:.2f} ms and {first:.2f} ms)")

    get = await cost(f"{LIST}/{some}")
    await two.get(f"{LIST}?q=w77")
    search = await cost(f"{LIST}?q=w77&limit=20")
    figure(
        f"a search in 10,000 tasks among {million:,} against a get",
        f"{search / get:.1f} times ({search:.2f} ms and {get:.2f} ms)",
    )

    tag = (await two.get(LIST)).headers["etag"]
    known = await cost(LIST, headers={"if-none-match": tag})
    figure("a list of 10,000 that is known (304) against a get", f"{known / get:.2f} times ({known:.2f} ms)")
    assert last / first < 1.2
    assert search / get < 10
    assert known / get < 2
