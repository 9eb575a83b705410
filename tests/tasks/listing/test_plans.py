"""How PostgreSQL goes about the statements, on the service's own connections."""

from collections.abc import Sequence

import asyncpg
import pytest

from app.db.engine import database
from app.db.statements import Statement
from app.tasks.listing import queries
from tests.statements import heap_only


def explained(statement: Statement) -> Statement:
    """The statement that asks for the plan of another, with the same values."""
    plan = Statement.__new__(Statement)
    plan.__dict__.update(statement.__dict__, sql=f"EXPLAIN (COSTS OFF) {statement.sql}")
    return plan


@pytest.fixture
async def owners(clean: None, sql: asyncpg.Connection) -> Sequence[str]:
    """Twenty owners of a hundred tasks each."""
    await sql.execute(
        """
        INSERT INTO "user" (id, name, email) SELECT u, u, u || '@x' FROM generate_series(1, 20) u;
        INSERT INTO tasks (user_id, title) SELECT u, 'Buy milk' FROM generate_series(1, 20) u, generate_series(1, 100);
        ANALYZE tasks;
        """
    )
    return [str(number) for number in range(1, 21)]


async def test_a_list_is_read_in_its_order_and_not_sorted(owners: Sequence[str]) -> None:
    known = {"known": "{}", "limit": 1000, "inline": 1000}
    plan = "\n".join(row[0] for row in await database.fetch(explained(queries.ALL), owner=owners[0], **known))

    assert "Index Scan using tasks_in_order" in plan
    assert "Sort" not in plan


@pytest.mark.parametrize("change", ["completed = NOT completed", "title = title || '.'", "description = 'x'"])
async def test_an_edit_is_written_to_the_page_and_to_no_index(
    owners: Sequence[str], sql: asyncpg.Connection, change: str
) -> None:
    # Few enough to find room on their pages.
    edits, in_place = await heap_only(sql, f"UPDATE tasks SET {change} WHERE id % 100 = 0")
    assert edits == in_place > 0
