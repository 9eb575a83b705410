"""The order of relevance, which no text and no query may make slow."""

from typing import Any

import asyncpg
import httpx
import pytest

from app.tasks.listing.parameters import Query
from app.tasks.search import words
from app.web.query import parameters_of
from tests.tasks.listing.test_list import LIST, add, titles

FOUND = "SELECT task_id, rank FROM tasks_found('ada', $1, $2, true) ORDER BY rank DESC, task_id DESC"
RULE = parameters_of(Query)["q"][1].rule
KEPT = (
    "INSERT INTO task_words (task_id, user_id, version, text_hash, words) VALUES ($1, 'ada', 1, 1, $2::text::tsvector)"
)


async def found(sql: asyncpg.Connection, q: str) -> list[tuple[int, float]]:
    """Which tasks of Ada's, and how they rank."""
    await sql.execute("SELECT set_config('tasks.owner', 'ada', false)")
    return [(row[0], row[1]) for row in await sql.fetch(FOUND, words.scope("ada"), words.query("ada", q))]


@pytest.mark.parametrize(
    ("q", "of_any"),
    [
        ("milk oats", "milk or oats"),
        ('"milk oats"', '"milk" or "oats"'),
        ("milk or oats", "milk or oats"),
        ("milk oats -bread", "milk or oats or bread"),
        ("oats mil", "oats or mil"),
        ("oats", "oats"),
        ("-bread", "bread"),
    ],
)
async def test_what_has_all_words_is_ranked_by_any(
    ada: httpx.AsyncClient, sql: asyncpg.Connection, q: str, of_any: str
) -> None:
    """So each place of a word is read one time: to look at pairs of places takes seconds for one long task."""
    for title in ("Milk oats milk", "x"):
        await add(ada, title, description="milk oats, milk oats and oats")
    await titles(ada, q="milk")
    ranks = "SELECT task_id, ts_rank(words, $1::text::tsquery) FROM task_words WHERE user_id = 'ada'"
    expected = {row[0]: row[1] for row in await sql.fetch(ranks, words.query("ada", of_any))}
    assert len(expected) == 2
    assert dict(await found(sql, q)) == pytest.approx(expected)


@pytest.mark.slow
async def test_of_many_long_tasks_the_newest_are_ranked(ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    """Those whose words are 64 MiB as they are stored."""
    await add(ada, "milk")
    await titles(ada, q="milk")
    prefix = words.scope("ada")
    long = " ".join(f"'{prefix}{number:x>1500}':1" for number in range(650))
    transaction = sql.transaction()
    await transaction.start()
    try:
        await sql.execute("DELETE FROM task_words; ALTER TABLE task_words ALTER words SET STORAGE EXTERNAL")
        size = 0
        for task_id in range(80):
            await sql.execute(KEPT, task_id, f"'{prefix}' '{prefix}milk':1{'A' if task_id % 2 else 'B'} {long}")
            size = size or await sql.fetchval("SELECT pg_column_size(words) FROM task_words")
        ranked = 64 * 2**20 // size
        assert 60 < ranked < 75
        await sql.execute(KEPT, 1000, f"'{prefix}' '{prefix}oats':1A")
        await sql.execute(KEPT, -1, f"'{prefix}' '{prefix}milk':9B")  # a short one is ranked, however old it is
        order = await found(sql, "milk")
        [place] = [place for place, (task_id, _) in enumerate(order) if task_id == -1]
        assert order.pop(place)[1] > 0
        newest = range(79, 79 - ranked, -1)
        in_order = sorted(newest, key=lambda task_id: (-(task_id % 2), -task_id))
        assert [task_id for task_id, _ in order] == [*in_order, *range(79 - ranked, -1, -1)]
        assert [task_id for task_id, rank in order if rank == 0] == [*range(79 - ranked, -1, -1)]
    finally:
        await transaction.rollback()


@pytest.mark.parametrize(
    ("q", "is_fine"),
    [
        (" ".join(map(str, range(24))), True),
        (" ".join(map(str, range(25))), False),
        (" or ".join(map(str, range(24))), True),
        (f'"{" ".join(map(str, range(25)))}"', False),
        (",".join(map(str, range(25))), False),
        ("a A \u00e1 " * 30, True),
        ("".join(map(chr, range(0x4E00, 0x4E00 + 199))), True),
    ],
)
async def test_a_query_has_no_more_words_than_are_looked_for(ada: httpx.AsyncClient, q: str, is_fine: bool) -> None:
    answer: Any = await ada.get(LIST, params={"q": q, "sort": "relevance"})
    if is_fine:
        assert answer.status_code == 200
    else:
        assert answer.status_code == 422
        assert answer.json()["error"]["message"] == f"q must be {RULE}"
        assert "24 different words at most" in RULE
