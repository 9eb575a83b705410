"""Each statement about labels finds its owner's alone: by its own filter, and by row-level security."""

from datetime import UTC, datetime
from typing import Any

import asyncpg
import httpx
import pytest

from app.db.engine import database
from app.tasks.labels import history, one, queries
from tests.statements import OF_OWNER, no_second_wall, without_owner
from tests.tasks.test_labels import make
from tests.tasks.test_planning import ask

NAMES = ("LIST_LABELS", "HOLD_REVISION", "THAT_LABEL", "COUNT_LABELLED", "RELABEL", "SET_LABEL", "DROP_LABEL")
READING = {"ONE_LABEL": one, "LABEL_HISTORY": history}
TABLES = ("tasks", "task_labels", "task_label_versions", "revisions")


async def all_of(sql: asyncpg.Connection, owner: str) -> list[Any]:
    return [await sql.fetch(f"SELECT * FROM {table} WHERE user_id = $1 ORDER BY 1", owner) for table in TABLES]


@pytest.mark.parametrize("name", [*NAMES, *READING])
@pytest.mark.parametrize("mutant", [False, True], ids=["query filter alone", "row-level security alone"])
async def test_it_neither_finds_nor_moves_what_is_anothers(
    ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection, name: str, mutant: bool
) -> None:
    hers, his = await make(ada, "Hers", "same"), await make(bob, "secret", "same")
    await ask(bob, "PATCH", "/api/labels/same", {"color": "#123456"})
    labels = {each["name"]: each["id"] for each in (await bob.get("/api/labels")).json()["data"]}
    whole = getattr(READING.get(name, queries), name)
    statement = without_owner(whole, OF_OWNER) if mutant else whole
    values = {
        "owner": hers["user_id"],
        "label_key": "secret",
        "label_id": labels["secret"],
        "name": "secret",
        "color": None,
        "version": 99,
        "first": 99,
        "other": None,
        "by": None,
        "merged": None,
        "part": 10,
        "before": 2**53,
        "limit": 50,
        "stamped": datetime(2027, 1, 1, tzinfo=UTC),
    }
    before = await all_of(sql, his["user_id"])
    if mutant:
        found = await database.fetch(statement, **values)
    else:
        async with no_second_wall(sql):
            found = await database.fetch(statement, **values)
    assert "secret" not in str(found)
    assert "#123456" not in str(found)
    assert await all_of(sql, his["user_id"]) == before
    if name == "COUNT_LABELLED":
        assert found[0][0] == 0
    if name == "HOLD_REVISION":
        assert len(found) == 1
