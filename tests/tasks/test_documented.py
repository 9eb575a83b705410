"""What the document tells of patches, batches, the trash and histories is what they answer, and all that they do."""

import json
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from litestar import Litestar

from app.db.engine import database
from app.main import ACCOUNTS, ALWAYS
from app.openapi import document as openapi_document
from app.web.body import MAX_BODY_BYTES
from tests.accounts.people import Person, signed_up
from tests.openapi.test_page import TASK, TOURED_ELSEWHERE, is_as_documented, operations, responses, without_some

TRASH, TRASHED = "/api/trash", "/api/trash/{task_id}"
RESTORE, HISTORY, REVERT = (f"/api/tasks/{{task_id}}/{what}" for what in ("restore", "history", "revert"))
BATCH = "/api/tasks/batch"
ALL = [
    ("patch", TASK),
    ("post", BATCH),
    ("get", TRASH),
    ("post", RESTORE),
    ("delete", TRASHED),
    ("delete", TRASH),
    ("get", HISTORY),
    ("post", REVERT),
]
CHANGES = [each for each in ALL if each[0] != "get"]
VERSION = {"json": {"version": 1}}
PATCH = {"json": {"completed": True}}
STALE = {"headers": {"if-match": '"v999"'}}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document, as JSON leaves it."""
    return json.loads(json.dumps(openapi_document.document([*ALWAYS, *ACCOUNTS])))


async def test_a_tour_sees_all_that_is_documented_and_nothing_else(
    document: dict[str, Any],
    running: Litestar,
    ada: httpx.AsyncClient,
    stranger: httpx.AsyncClient,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: set[tuple[str, str]] = set()
    alive = (await ada.post("/api/tasks", json={"title": "Buy milk"})).json()["data"]["id"]
    trashed = (await ada.post("/api/tasks", json={"title": "Buy oats"})).json()["data"]["id"]
    await ada.delete(f"/api/tasks/{trashed}")

    async def go(
        method: str, path: str, task_id: Any = alive, *, client: httpx.AsyncClient = ada, **request: Any
    ) -> httpx.Response:
        answer = await client.request(method, path.format(task_id=task_id), **request)
        operation = document["paths"][path][method]
        is_as_documented(document, operation, answer)
        seen.add((operation["operationId"], str(answer.status_code)))
        return answer

    def batch(task_id: Any, **more: Any) -> dict[str, Any]:
        complete = {"op": "complete", "id": task_id, **more}
        return {"json": {"operations": [{"op": "create", "data": {"title": "Buy milk"}}, complete]}}

    def body_of(path: str, task_id: Any = alive) -> dict[str, Any]:
        return {REVERT: VERSION, TASK: PATCH, BATCH: batch(task_id)}.get(path, {})

    async with Person(running, await signed_up(stranger, email="joan@example.com")) as reader:
        wish = {"name": "A script", "scope": "read"}
        script = (await reader.post("/api/auth/tokens", json=wish)).json()["data"]["token"]
        for method, path in CHANGES:
            await go(method, path, client=stranger, headers={"authorization": f"Bearer {script}"})
    for method, path in ALL:
        await go(method, path, client=stranger)
        await go(method, path, content=b"x", headers={"content-encoding": "gzip"})
        await go(method, path, content=b"x" * (MAX_BODY_BYTES + 1))
        if path != TRASH:
            await go(method, path, trashed + 99, **body_of(path, trashed + 99))
            await go(method, path, "abc", **body_of(path, "abc"))
    await go("get", TRASH, params={"limit": "0"})
    for wrong in ("limit=0", "before=x", "page=1"):
        assert (await ada.get(f"/api/tasks/{alive}/history?{wrong}")).status_code == 422
    await go("delete", TRASH, headers={"idempotency-key": "no key"})
    for content in (b"{", b"[]"):
        for method, path in (("post", REVERT), ("patch", TASK), ("post", BATCH)):
            await go(method, path, content=content)
    answer = await go("patch", TASK, content=b"[]", headers={"content-type": "application/json-patch+json"})
    assert answer.headers["accept-patch"] == "application/merge-patch+json, application/json"
    await go("post", REVERT, **VERSION, **STALE)
    await go("patch", TASK, **PATCH, **STALE)
    await go("post", BATCH, **batch(alive, version=999))
    await go("post", RESTORE, trashed, **STALE)
    await go("delete", TRASHED, trashed, **STALE)
    with monkeypatch.context() as patched:
        strict = msgspec.structs.replace(running.state["settings"], require_if_match=True)
        patched.setitem(running.state, "settings", strict)
        for method, path in (("post", REVERT), ("patch", TASK), ("post", BATCH)):
            await go(method, path, **body_of(path))
        await go("post", RESTORE, trashed)
        await go("delete", TRASHED, trashed)
    with monkeypatch.context() as patched:
        few = msgspec.structs.replace(running.state["settings"], max_tasks=1)
        patched.setitem(running.state, "settings", few)
        await go("post", BATCH, **batch(alive))
    labelled = (await ada.post("/api/tasks", json={"title": "Buy milk", "labels": ["shop"]})).json()["data"]
    await ada.patch(f"/api/tasks/{labelled['id']}", json={"labels": []})
    await sql.execute("DELETE FROM task_labels")
    await sql.execute("UPDATE task_settings SET max_labels = 0")
    await go("patch", TASK, json={"labels": ["shop"]})
    await go("post", REVERT, labelled["id"], json={"version": labelled["version"]})
    await sql.execute("UPDATE task_settings SET max_labels = 500")
    await go("patch", TASK, **PATCH)
    await go("post", BATCH, **batch(alive))
    await go("post", BATCH, params={"dry_run": "true"}, **batch(alive))
    await go("get", TRASH)
    await go("post", RESTORE, trashed)
    await go("get", HISTORY, trashed)
    await go("post", REVERT, **VERSION)
    await ada.delete(f"/api/tasks/{trashed}")
    await go("delete", TRASHED, trashed)
    await go("delete", TRASH)
    try:
        database.ready = False
        for method, path in ALL:
            await go(method, path, **body_of(path))
    finally:
        database.ready = True

    told = {(name, status) for name, status, _ in responses(document) if name in TOURED_ELSEWHERE}
    assert without_some(told) == without_some(seen)


def test_the_query_of_a_history_is_documented(document: dict[str, Any]) -> None:
    (history,) = [each for _, _, each in operations(document) if each["operationId"] == "getTaskHistory"]
    parameters = [each for each in history["parameters"] if each["in"] == "query"]
    assert [(each["name"], each["required"]) for each in parameters] == [("limit", False), ("before", False)]
