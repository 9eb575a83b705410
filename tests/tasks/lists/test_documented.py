"""What the document tells of lists is what they answer, and all that they do."""

import json
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar

from app.db.engine import database
from app.main import ACCOUNTS, ALWAYS
from app.openapi import document as openapi_document
from app.web.body import MAX_BODY_BYTES
from tests.accounts.people import Person, signed_up
from tests.openapi.test_page import OF_LISTS, is_as_documented, responses, without_some

LISTS, LIST = "/api/lists", "/api/lists/{list_id}"
RESTORE, HISTORY = f"{LIST}/restore", f"{LIST}/history"
ALL = [("get", LISTS), ("post", LISTS), *((method, LIST) for method in ("get", "put", "patch", "delete"))]
ALL += [("post", RESTORE), ("get", HISTORY)]
CHANGES = [each for each in ALL if each not in (("get", LISTS), ("get", LIST), ("get", HISTORY))]
UID = "01936c1e-7c3a-7000-9b1d-0d9d6f1d2a21"
NAMED = {"json": {"name": "Home"}}
STALE = {"if-match": '"v999"'}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document, as JSON leaves it."""
    return json.loads(json.dumps(openapi_document.document([*ALWAYS, *ACCOUNTS])))


async def test_a_tour_sees_all_that_is_documented_and_nothing_else(
    document: dict[str, Any],
    running: Litestar,
    ada: httpx.AsyncClient,
    stranger: httpx.AsyncClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: set[tuple[str, str]] = set()
    here, gone = [(await ada.post(LISTS, **NAMED)).json()["data"]["id"] for _ in range(2)]
    await ada.delete(f"{LISTS}/{gone}")

    async def go(
        method: str, path: str, list_id: Any = here, *, client: httpx.AsyncClient = ada, **request: Any
    ) -> httpx.Response:
        answer = await client.request(method, path.format(list_id=list_id), **request)
        operation = document["paths"][path][method]
        is_as_documented(document, operation, answer)
        seen.add((operation["operationId"], str(answer.status_code)))
        return answer

    def body_of(method: str, path: str) -> dict[str, Any]:
        return NAMED if method in ("put", "patch") or (method, path) == ("post", LISTS) else {}

    async with Person(running, await signed_up(stranger, email="joan@example.com")) as reader:
        wish = {"name": "A script", "scope": "read"}
        script = (await reader.post("/api/auth/tokens", json=wish)).json()["data"]["token"]
        for method, path in CHANGES:
            await go(method, path, client=stranger, headers={"authorization": f"Bearer {script}"})
    for method, path in ALL:
        await go(method, path, client=stranger)
        await go(method, path, content=b"x", headers={"content-encoding": "gzip"})
        await go(method, path, content=b"x" * (MAX_BODY_BYTES + 1))
        if path != LISTS:
            await go(method, path, 999, **body_of(method, path))
            await go(method, path, "abc", **body_of(method, path))
        if body_of(method, path):
            await go(method, path, content=b"{")
            await go(method, path, json={"name": ""})
    await go("get", LISTS)
    for path in (LISTS, LIST):
        tag = (await go("get", path)).headers["etag"]
        await go("get", path, headers={"if-none-match": tag})
    await go("get", LISTS, params={"limit": "1"})
    await go("get", HISTORY, params={"limit": "1"})
    for _ in range(2):
        await go("post", LISTS, json={"name": "Home", "uid": UID})
    for _ in range(2):
        answer = await go("post", LISTS, **NAMED, headers={"idempotency-key": "1"})
        await ada.delete(answer.headers.get("location", LIST))
        await ada.delete("/api/trash")
    gone = (await ada.post(LISTS, **NAMED)).json()["data"]["id"]
    await ada.delete(f"{LISTS}/{gone}")
    await go("put", LIST, UID, **NAMED, headers={"if-none-match": "*"})
    await go("put", LIST, f"{UID[:-1]}2", **NAMED, headers={"if-none-match": "*"})
    for method in ("put", "patch", "delete"):
        await go(method, LIST, **body_of(method, LIST), headers=STALE)
    await go("post", RESTORE, gone, headers=STALE)
    with monkeypatch.context() as patched:
        strict = msgspec.structs.replace(running.state["settings"], require_if_match=True, max_lists=1)
        patched.setitem(running.state, "settings", strict)
        for method, path in CHANGES[1:]:
            await go(method, path, **body_of(method, path))
        await go("post", LISTS, **NAMED)
        await go("put", LIST, f"{UID[:-1]}3", **NAMED, headers={"if-none-match": "*"})
    await go("put", LIST, **NAMED)
    await go("patch", LIST, json={"archived": True})
    await go("delete", LIST, params={"tasks": "inbox"})
    await go("post", RESTORE)
    try:
        database.ready = False
        for method, path in ALL:
            await go(method, path, **body_of(method, path))
    finally:
        database.ready = True

    told = {(name, status) for name, status, _ in responses(document) if name in OF_LISTS}
    assert without_some(told) == without_some(seen)
