"""Below a path of a proxy (ROOT_PATH) what an answer points to begins with it, whether it is passed on or left off."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar

from app.main import create_app
from tests.conftest import token


@pytest.fixture(params=["/todo", "", "/a/b-c.d"])
def root(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["passed on", "left off"])
async def client(running: Litestar, clean: None, root: str, request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Ada, whose requests come through a proxy."""
    app: Any = create_app(msgspec.structs.replace(running.state["settings"], root_path=root))
    app.state.authenticator = running.state["authenticator"]
    base = f"http://test{root if request.param == 'passed on' else ''}"
    headers = {"authorization": f"Bearer {token('ada')}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=base, headers=headers) as it:
        yield it


@pytest.mark.slow
async def test_what_an_answer_points_to_is_below_it(client: httpx.AsyncClient, root: str) -> None:
    made = [await client.post(path, json={"title": "x"}) for path in ("/api/tasks", "/api/tasks/")]
    for answer in made:
        assert answer.headers["location"] == f"{root}/api/tasks/{answer.json()['data']['id']}"
    page = await client.get("/api/tasks", params={"limit": 1})
    assert page.headers["link"].startswith(f"<{root}/api/tasks?limit=1&cursor=")
    await client.delete(f"/api/tasks/{made[0].json()['data']['id']}")
    await client.delete(f"/api/tasks/{made[1].json()['data']['id']}")
    trash = await client.get("/api/trash", params={"limit": 1})
    assert trash.headers["link"].startswith(f"<{root}/api/trash?limit=1&cursor=")
    assert (await client.get("/admin")).headers["location"] == f"{root}/admin/"
    page = (await client.get("/docs")).text
    assert {*re.findall(r'(?:src|href)="([^"]*)"', page)} == {
        "data:,",
        *(f"{root}/docs/{name}" for name in ("assets/swagger-ui.css", "assets/swagger-ui-bundle.js", "start.js")),
    }
    assert (await client.get("/openapi.json")).json()["servers"][0]["url"] == (root or "/")
    assert (await client.get("/health/live")).status_code == 200
    assert (await client.get("/api/nowhere")).status_code == 404


async def test_a_path_that_only_begins_alike_is_another(client: httpx.AsyncClient, root: str) -> None:
    if root:
        host = client.base_url.copy_with(path="/")
        for path in (f"{root}x/api/tasks", f"{root}{root}/api/tasks", f"{root}%2Fapi/tasks"):
            assert (await client.get(host.copy_with(raw_path=path.encode()))).status_code == 404


async def test_no_page_of_another_origin_reads_the_admin_there(client: httpx.AsyncClient) -> None:
    answer = await client.get("/admin/", headers={"origin": "http://localhost:3000"})
    assert not [name for name in answer.headers if name.startswith("access-control")]
