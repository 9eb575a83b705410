"""Lists in the cleanup."""

import asyncpg
import httpx

from app.db.engine import database
from app.tasks import cleanup, removal
from app.tasks.cleanup import CleanupJob
from tests.tasks.lists.test_lists import LISTS, made
from tests.tasks.lists.test_tasks import new


async def test_what_has_been_in_the_trash_for_long_is_removed_and_its_tasks_first(
    ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    old, recent, his = await made(ada), await made(ada), await made(bob)
    for client, told_of in ((ada, old), (ada, recent), (bob, his)):
        await new(client, list_id=told_of["id"])
        await client.delete(f"{LISTS}/{told_of['id']}")
    await sql.execute("UPDATE task_lists SET deleted_at = now() - interval '31 days' WHERE id <> $1", recent["id"])
    job = CleanupJob("lists in the trash", removal.FIND_LISTS, removal.REMOVE_LISTS, days=30)
    await job.run()
    assert [row["id"] for row in await sql.fetch("SELECT id FROM task_lists")] == [recent["id"]]
    rows = await sql.fetch("SELECT list_id FROM tasks WHERE deleted_at IS NOT NULL ORDER BY id")
    assert [row["list_id"] for row in rows] == [None, recent["id"], None]
    assert (await ada.post(f"{LISTS}/{recent['id']}/restore")).status_code == 200


async def test_a_list_that_is_restored_meanwhile_stays(ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    old = await made(ada)
    await ada.delete(f"{LISTS}/{old['id']}")
    await sql.execute("UPDATE task_lists SET deleted_at = now() - interval '31 days'")
    found = await database.fetch(removal.FIND_LISTS, days=30, skipped="{}")
    await ada.post(f"{LISTS}/{old['id']}/restore")
    keys = removal.array(row[0] for row in found)
    assert (await database.fetch(removal.REMOVE_LISTS, days=30, keys=keys))[0][0] == 0
    assert await sql.fetchval("SELECT count(*) FROM task_lists") == 1


def test_the_cleanup_takes_tasks_before_lists() -> None:
    names = cleanup.run.__code__.co_consts
    assert names.index("tasks in the trash") < names.index("lists in the trash")
