"""What it costs to migrate a million tasks from version 5, the last one in which they had no history."""

import asyncio
import os
import time
from collections.abc import Callable

from app import migrations
from tests.soak.conftest import Figure
from tests.test_migrations import configured, connected, piccolo

TASKS = 1_000_000
OWNERS = 10_000
SECONDS_BETWEEN_READS = 0.005
GROW = f"""
    SET tasks.staff = 'on';
    INSERT INTO "user" (id, name, email) SELECT 'u' || n, '', n || '@x' FROM generate_series(1, {OWNERS}) AS n;
    INSERT INTO tasks (user_id, title, description, completed, created_at)
    SELECT 'u' || n % {OWNERS} + 1, 'Task number ' || n || ' of a long list',
        CASE WHEN n % 3 > 0 THEN repeat('Two litres, the blue one. ', 6) END,
        n % 2 = 0, now() - make_interval(secs => n)
    FROM generate_series(1, {TASKS}) AS n;
    ANALYZE tasks;
"""
FILE = "SELECT pg_relation_filenode('tasks')"


async def test_a_million_tasks_are_migrated_while_somebody_reads(
    figure: Figure, new_database: Callable[[], str], database_url: str
) -> None:
    url = new_database()
    await piccolo("forwards", "tasks", "2026-11-25T20:00:00:000005", **{**os.environ, "DATABASE_URL": url})
    async with connected(url) as connection:
        await connection.execute(GROW)
        before = await connection.fetchval(FILE)
        migrating = asyncio.create_task(migrations.migrate(configured(url)))
        began, longest = time.perf_counter(), 0.0
        while not migrating.done():
            asked = time.perf_counter()
            await connection.fetch("SELECT title FROM tasks WHERE id = 5")
            longest = max(longest, time.perf_counter() - asked)
            await asyncio.sleep(SECONDS_BETWEEN_READS)
        took = time.perf_counter() - began
        await migrating
        figure(f"migrating {TASKS:,} tasks", f"{took:.1f} s, for {longest:.1f} s of which a read waits")
        assert await connection.fetchval(FILE) == before  # nothing was written anew
    assert longest < 5
