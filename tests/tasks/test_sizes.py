"""What a change writes hangs on what it replaces, and not on how large the task is: rows, and WAL."""

import random
import string
from collections.abc import Awaitable, Callable

import asyncpg
import httpx
import pytest

from tests.tasks.batch.test_batch import send
from tests.tasks.test_controller import created

BYTES = 1024  # that a change may add
TIMES = 40
# Nothing that PostgreSQL could make shorter.
LARGE = "".join(random.Random(14).choices(string.ascii_letters, k=1_000_000))

WRITTEN = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint"
STORED = """
    SELECT (SELECT coalesce(sum(pg_column_size(v.*)), 0) FROM task_versions AS v)
        + (SELECT coalesce(sum(pg_column_size(k.*)), 0) FROM idempotency_keys AS k)
"""

Change = Callable[[httpx.AsyncClient, int, str], Awaitable[httpx.Response]]


async def reverted(client: httpx.AsyncClient, task_id: int, _: str) -> httpx.Response:
    version = (await client.get(f"/api/tasks/{task_id}")).json()["data"]["version"]
    return await client.post(f"/api/tasks/{task_id}/revert", json={"version": version})


async def deleted_or_restored(client: httpx.AsyncClient, task_id: int, _: str) -> httpx.Response:
    answer = await client.delete(f"/api/tasks/{task_id}")
    return answer if answer.is_success else await client.post(f"/api/tasks/{task_id}/restore")


def batch(query: str = "", **headers: str) -> Change:
    def change(client: httpx.AsyncClient, task_id: int, number: str) -> Awaitable[httpx.Response]:
        body = {"operations": [{"op": "complete", "id": task_id}]}
        named = {name: value + number for name, value in headers.items()}
        return client.post(f"/api/tasks/batch{query}", json=body, headers=named)

    return change


CHANGES: dict[str, Change] = {
    "toggle": lambda client, task_id, _: client.patch(f"/api/tasks/{task_id}/complete"),
    "toggle, with a key": lambda client, task_id, number: client.patch(
        f"/api/tasks/{task_id}/complete", headers={"idempotency-key": f"8e03978e-40d5-43dd-bc93-6894a57f932{number}"}
    ),
    "title": lambda client, task_id, number: client.patch(f"/api/tasks/{task_id}", json={"title": f"Title {number}"}),
    "the same description": lambda client, task_id, _: client.patch(f"/api/tasks/{task_id}", json={"completed": True}),
    "batch": batch(),
    "batch, with a key": batch(**{"idempotency-key": "8e03978e-40d5-43dd-bc93-6894a57f932"}),
    "batch, tried": batch("?dry_run=true"),
    "revert": reverted,
    "delete or restore": deleted_or_restored,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_change_of_a_large_task_writes_little(
    ada: httpx.AsyncClient, sql: asyncpg.Connection, change: Change
) -> None:
    task = await created(ada)
    await sql.execute("UPDATE tasks SET description = $2 WHERE id = $1", task["id"], LARGE)
    await ada.patch(f"/api/tasks/{task['id']}/complete")
    written, stored = [], []
    for number in range(TIMES):
        before, kept = await sql.fetchval(WRITTEN), await sql.fetchval(STORED)
        answer = await change(ada, task["id"], str(number))
        assert answer.is_success, answer.text[:200]
        written.append(await sql.fetchval(WRITTEN) - before)
        stored.append(await sql.fetchval(STORED) - kept)
    # Of all that a change writes, the task and the revision included. What else PostgreSQL writes meanwhile only adds
    # to that; and of two changes in turn, each counts.
    assert max(min(written[::2]), min(written[1::2])) <= BYTES, written
    assert max(stored) <= BYTES, stored
    assert (await ada.get(f"/api/tasks/{task['id']}")).status_code in (200, 404)
    assert await sql.fetchval("SELECT description FROM tasks") == LARGE


async def test_a_batch_of_many_large_ones_writes_little_each(ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    ids = [(await created(ada))["id"] for _ in range(20)]
    await sql.execute("UPDATE tasks SET description = $1", LARGE[:200_000])
    before = await sql.fetchval(WRITTEN)
    answer = await send(ada, *({"op": "complete", "id": each} for each in ids))
    assert answer.is_success
    assert await sql.fetchval(WRITTEN) - before <= len(ids) * BYTES


async def test_what_is_replaced_is_kept_once(ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    task = await created(ada, description="first")
    path = f"/api/tasks/{task['id']}"
    await ada.patch(f"{path}/complete")
    await ada.patch(path, json={"title": "second"})
    await ada.patch(path, json={"title": "second", "description": None})
    await ada.patch(path, json={"description": "third"})
    kept = await sql.fetch("SELECT title, keeps_description, description, ordinal FROM task_versions ORDER BY version")
    assert [tuple(row) for row in kept] == [
        (None, False, None, 1),
        ("Buy milk", False, None, 2),
        (None, True, "first", 3),
        (None, True, None, 4),
    ]
