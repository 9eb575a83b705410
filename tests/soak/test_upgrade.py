"""What it costs to migrate a million tasks: from 0.1.0, and from when they had no history yet."""

import asyncio
import os
import time
from collections.abc import Callable

import pytest

from app.db import migrations
from tests.db.test_migrations import configured, connected, piccolo
from tests.soak.conftest import Figure

TASKS = 1_000_000
OWNERS = 10_000
SECONDS_BETWEEN_READS = 0.005
GROW = f"""
    SET tasks.staff = 'on';
    INSERT INTO "user" (id, name, email) SELECT 'u' || n, '', n || '@x' FROM generate_series(1, {OWNERS}) AS n;
    INSERT INTO tasks (user_id, title, description, completed, created_at{{version}})
    SELECT 'u' || n % {OWNERS} + 1, 'Task number ' || n || ' of a long list',
        CASE WHEN n % 3 > 0 THEN repeat('Two litres, the blue one. ', 6) END,
        n % 2 = 0, now() - make_interval(secs => n){{number}}
    FROM generate_series(1, {TASKS}) AS n;
    ANALYZE tasks;
"""
# The last migration of each, its limit in seconds, and what makes its tasks ones that had a change already.
VERSIONS = {
    "0.1.0": ("2026-11-25T23:30:00:000008", 1, ", version"),
    "before there was a history": ("2026-11-25T20:00:00:000005", 5, ""),
}
ASKED = {
    "a task is read": "SELECT title FROM tasks WHERE id = 5",
    "the state of a list is read": "SELECT revision FROM revisions WHERE user_id = 'u5'",
    "a task is changed": "SET tasks.staff = 'on'; UPDATE tasks SET completed = NOT completed WHERE id = 5",
}
FILE = "SELECT pg_relation_filenode('tasks')"


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_million_tasks_are_migrated_while_somebody_reads(
    figure: Figure, new_database: Callable[[], str], database_url: str, version: str
) -> None:
    url = new_database()
    last, limit, has_version = VERSIONS[version]
    asked = [*ASKED][: 3 if has_version else 1]  # there is no such table yet
    await piccolo("forwards", "tasks", last, **{**os.environ, "DATABASE_URL": url})
    async with connected(url) as connection:
        await connection.execute(GROW.format(version=has_version, number=has_version and ", 1"))
        if has_version:
            await connection.execute('INSERT INTO revisions (user_id, revision) SELECT id, 1 FROM "user"')
        before = await connection.fetchval(FILE)
        migrating = asyncio.create_task(migrations.migrate(configured(url)))
        began = time.perf_counter()
        longest = await asyncio.gather(*(longest_wait(url, ASKED[what], migrating) for what in asked))
        took = time.perf_counter() - began
        await migrating
        waits = ", ".join(f"{what} {seconds:.1f} s" for what, seconds in zip(asked, longest, strict=True))
        figure(f"migrating {TASKS:,} tasks from {version}", f"{took:.1f} s; the longest wait: {waits}")
        assert await connection.fetchval(FILE) == before  # nothing was written anew
    assert max(longest) < limit


async def longest_wait(url: str, statement: str, migrating: "asyncio.Task[str]") -> float:
    """Ask again and again meanwhile; return how many seconds the slowest answer took."""
    longest = 0.0
    async with connected(url) as connection:
        while not migrating.done():
            asked = time.perf_counter()
            await connection.execute(statement)
            longest = max(longest, time.perf_counter() - asked)
            await asyncio.sleep(SECONDS_BETWEEN_READS)
    return longest
