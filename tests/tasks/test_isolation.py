"""Neither of two users ever sees or moves what is the other's; and each wall that sees to it holds alone.

The first is the query, which asks for the owner's rows; the second PostgreSQL, which shows a statement no others.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from hypothesis import Phase, settings
from litestar import Litestar

from app.statements import Statement
from app.tasks import queries
from tests.two_users import FEW, walk

OWNERS = ("LIST", "GET", "REPLACE", "FLIP", "DELETE")


class WithoutOwner(Statement):
    """A statement as it would be if somebody forgot the owner: the same, for everybody's tasks."""

    def __init__(self, whole: Statement) -> None:
        self.sql = whole.sql.replace('"tasks"."user_id" = ', "'' <> ")  # which every user id is
        assert self.sql != whole.sql
        self._arguments = whole._arguments


class ForTheOldestUser(Statement):
    """An INSERT as it would be if somebody took the owner from elsewhere."""

    def __init__(self, whole: Statement) -> None:
        oldest = 'SELECT coalesce((SELECT "id" FROM "user" ORDER BY "createdAt" LIMIT 1), $1),'
        self.sql = whole.sql.replace("SELECT $1,", oldest)
        assert self.sql != whole.sql
        self._arguments = whole._arguments


@asynccontextmanager
async def no_second_wall(sql: asyncpg.Connection) -> AsyncIterator[None]:
    await sql.execute("ALTER TABLE tasks DISABLE ROW LEVEL SECURITY")
    try:
        yield
    finally:
        await sql.execute("ALTER TABLE tasks ENABLE ROW LEVEL SECURITY")


async def test_neither_of_two_users_ever_sees_or_moves_what_is_the_others(running: Litestar, clean: None) -> None:
    await walk(running, FEW)


@pytest.mark.parametrize("name", OWNERS)
async def test_with_the_second_wall_alone_nothing_leaks(
    running: Litestar, clean: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(queries, name, WithoutOwner(getattr(queries, name)))
    await walk(running, settings(FEW, max_examples=4, database=None))


@pytest.mark.parametrize("name", OWNERS)
async def test_with_neither_wall_the_walk_notices(
    running: Litestar, clean: None, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(queries, name, WithoutOwner(getattr(queries, name)))
    until_found = settings(FEW, max_examples=200, database=None, phases=[Phase.generate])

    async with no_second_wall(sql):
        with pytest.raises(AssertionError):
            await walk(running, until_found)


async def test_nobody_can_be_given_a_task_by_somebody_else(
    running: Litestar, clean: None, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"owner": "bob", "title": "x", "description": None}
    mutant = ForTheOldestUser(queries.CREATE)
    await sql.execute(
        """INSERT INTO "user" (id, name, email, "createdAt") VALUES
           ('ada', '', 'a@x', '2000-01-01'), ('bob', '', 'b@x', '2001-01-01')"""
    )
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await queries.database.fetch(mutant, **values)
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 0

    async with no_second_wall(sql):
        assert (await queries.database.fetch(mutant, **values))[0]["user_id"] == "ada"
