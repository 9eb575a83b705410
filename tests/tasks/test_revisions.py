"""`X-Revision`: what every change answers, so that a client knows which state of its tasks it has made."""

from typing import Any

import asyncpg
import httpx
import pytest

LIST = "/api/tasks"


def revision(answer: httpx.Response) -> int:
    assert answer.is_success, answer.text
    return int(answer.headers["x-revision"])


async def stored(sql: asyncpg.Connection) -> int:
    return await sql.fetchval("SELECT revision FROM revisions")


async def create(client: httpx.AsyncClient, title: str = "a") -> dict[str, Any]:
    answer = await client.post(LIST, json={"title": title})
    assert revision(answer) == answer.json()["data"]["version"]
    return answer.json()["data"]


async def test_each_change_tells_the_revision_that_it_made(ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    path = f"{LIST}/{(await create(ada))['id']}"
    before = await stored(sql)
    for method, below, body in (
        ("PUT", "", {"title": "b"}),
        ("PATCH", "", {"completed": True}),
        ("PATCH", "/complete", None),
        ("POST", "/revert", {"version": before}),
        ("DELETE", "", None),
        ("POST", "/restore", None),
    ):
        answer = await ada.request(method, path + below, json=body)
        assert revision(answer) == before + 1 == await stored(sql), (method, below)
        before += 1


async def test_so_do_those_that_delete_for_good(ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    for path in (f"{(await create(ada))['id']}", ""):
        await ada.delete(f"{LIST}/{(await create(ada))['id']}")
        if path:
            await ada.delete(f"{LIST}/{path}")
        answer = await ada.delete(f"/api/trash/{path}".rstrip("/"))
        assert revision(answer) == await stored(sql)


async def test_an_empty_trash_of_somebody_without_tasks_has_no_revision(ada: httpx.AsyncClient) -> None:
    answer = await ada.delete("/api/trash")
    assert (answer.status_code, "x-revision" in answer.headers) == (204, False)


async def test_a_batch_tells_the_last_one(ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    task = await create(ada)
    operations = [{"op": "create", "data": {"title": "b"}}, {"op": "delete", "id": task["id"]}]
    answer = await ada.post(f"{LIST}/batch", json={"operations": operations})
    assert revision(answer) == await stored(sql) == task["version"] + 2


async def test_a_dry_run_tells_none(ada: httpx.AsyncClient) -> None:
    answer = await ada.post(
        f"{LIST}/batch", params={"dry_run": "true"}, json={"operations": [{"op": "create", "data": {"title": "b"}}]}
    )
    assert (answer.status_code, "x-revision" in answer.headers) == (200, False)


@pytest.mark.parametrize("refused", [{"title": ""}, {"title": "b", "priority": 9}])
async def test_what_is_refused_tells_none(ada: httpx.AsyncClient, refused: dict[str, Any]) -> None:
    answer = await ada.post(LIST, json=refused)
    assert (answer.status_code, "x-revision" in answer.headers) == (422, False)


async def test_a_request_that_is_sent_again_tells_the_same(ada: httpx.AsyncClient) -> None:
    path = f"{LIST}/{(await create(ada))['id']}"
    for number, (method, where, body) in enumerate(
        (
            ("POST", LIST, {"title": "b"}),
            ("PATCH", path, {"title": "c"}),
            ("POST", f"{LIST}/batch", {"operations": [{"op": "create", "data": {"title": "d"}}]}),
            ("DELETE", path, None),
            ("DELETE", path.replace("tasks", "trash"), None),
            ("DELETE", "/api/trash", None),
        )
    ):
        first, _, again = [
            await ada.request(method, where, json=body, headers={"idempotency-key": f"{number}"})
            if each != "between"
            else await ada.post(LIST, json={"title": "x"})
            for each in ("first", "between", "again")
        ]
        assert again.headers["idempotent-replayed"] == "true"
        assert revision(again) == revision(first), (method, where)


async def test_a_key_of_an_older_version_keeps_no_revision(ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    task = await create(ada)
    await ada.delete(f"{LIST}/{task['id']}")
    for path in (f"/api/trash/{task['id']}", "/api/trash"):
        headers = {"idempotency-key": path}
        assert revision(await ada.delete(path, headers=headers))
        async with sql.transaction():
            await sql.execute("SELECT set_config('tasks.staff', 'on', true)")
            kept = "(answer::jsonb - 'revision' - 'has_lists')::text"
            await sql.execute(f"UPDATE idempotency_keys SET answer = {kept} WHERE key = $1", path)
        again = await ada.delete(path, headers=headers)
        assert (again.status_code, "x-revision" in again.headers) == (204, False)


async def test_lists_tell_it_too(ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    answer = await ada.post("/api/lists", json={"name": "a"})
    path = f"/api/lists/{answer.json()['data']['id']}"
    assert revision(answer) == await stored(sql) == answer.json()["data"]["version"]
    for title in "bc":
        await ada.post(LIST, json={"title": title, "list_id": answer.json()["data"]["id"]})
    for method, below, body in (
        ("PUT", "", {"name": "b"}),
        ("PATCH", "", {"color": "#aabbcc"}),
        ("DELETE", "", None),
        ("POST", "/restore", None),
        ("DELETE", "?tasks=inbox", None),
        ("POST", "/restore", None),
        ("DELETE", "", None),
    ):
        key = {"idempotency-key": f"{method} {below} {await stored(sql)}".replace(" ", "-")}
        first = await ada.request(method, path + below, json=body, headers=key)
        assert revision(first) == await stored(sql), (method, below)
        again = await ada.request(method, path + below, json=body, headers=key)
        assert (revision(again), again.headers["idempotent-replayed"]) == (revision(first), "true")
    assert revision(await ada.delete("/api/trash")) == await stored(sql)


async def test_labels_tell_it_too(ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    """A label that is new has a version of its own behind that of its task."""
    tasks = [(await ada.post(LIST, json={"title": "a", "labels": ["home"]})).json()["data"] for _ in range(2)]
    for number, (method, path, body) in enumerate(
        (
            ("PUT", f"{LIST}/{tasks[0]['id']}/labels/new", None),
            ("DELETE", f"{LIST}/{tasks[0]['id']}/labels/new", None),
            ("PATCH", "/api/labels/home", {"name": "garden"}),
            ("PATCH", "/api/labels/garden", {"color": "#aabbcc"}),
            ("DELETE", "/api/labels/garden", None),
        )
    ):
        key = {"idempotency-key": f"{number}"}
        first = await ada.request(method, path, json=body, headers=key)
        assert revision(first) == await stored(sql) - path.endswith("new") * (method == "PUT"), (method, path)
        again = await ada.request(method, path, json=body, headers=key)
        assert revision(again) == revision(first), (method, path)
