"""What the service says of itself: its name, that it is alive, and whether it can serve."""

import re
from collections.abc import Iterator

import httpx
import pytest

from app import __version__
from app.db.engine import database

OK = {"data": {"status": "ok"}}
AWAY = {
    "error": {
        "code": "SERVICE_UNAVAILABLE",
        "message": "The service cannot reach its database. Try again in a moment.",
    }
}
ASKS = ["/health/ready", "/api/health"]
ALL = ["/", "/health/live", *ASKS]


@pytest.fixture
def no_database(stranger: httpx.AsyncClient) -> Iterator[None]:
    """The database is away."""
    database.ready = False
    yield
    database.ready = True


async def test_the_root_says_what_answers_here_and_where_the_docs_are(stranger: httpx.AsyncClient) -> None:
    answer = await stranger.get("/")

    assert answer.status_code == 200
    assert answer.json() == {
        "data": {
            "name": "Tasks API",
            "version": __version__,
            "docs": "/docs",
            "openapi": "/openapi.json",
        }
    }
    for path in ("docs", "openapi"):
        assert (await stranger.get(answer.json()["data"][path])).status_code == 200


CHROMIUM = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"


@pytest.mark.parametrize(
    "accept", [CHROMIUM, "text/html", "TEXT/HTML; q=0.9, application/json;q=0.8", "text/html,*/*;q=0"]
)
async def test_a_browser_gets_a_small_page_there(stranger: httpx.AsyncClient, accept: str) -> None:
    answer = await stranger.get("/", headers={"accept": accept})

    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert answer.headers.get_list("vary") == ["Accept", "Origin"]
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert f"Version {__version__}" in answer.text
    assert "<script" not in answer.text
    for path in re.findall(r'<a href="([^"]+)"', answer.text):
        assert (await stranger.get(f"/{path}")).status_code == 200


@pytest.mark.parametrize(
    "accept",
    ["*/*", "application/json", "application/json, text/html", "text/html;q=0.5, */*", "text/*", "text/html;q=inf",
     "text/html;q=0", "text/html;q=-1, x", "application/json, text/plain, */*", "", ",;,",
     "text/html;q=0.5,application/*"],
)  # fmt: skip
async def test_everybody_else_gets_json(stranger: httpx.AsyncClient, accept: str) -> None:
    answer = await stranger.get("/", headers={"accept": accept})

    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert answer.headers.get_list("vary") == ["Accept", "Origin"]
    assert answer.json()["data"]["docs"] == "/docs"


@pytest.mark.parametrize("path", ["/health/live", *ASKS])
async def test_all_is_well(stranger: httpx.AsyncClient, path: str) -> None:
    answer = await stranger.get(path)

    assert (answer.status_code, answer.json()) == (200, OK)
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ASKS)
async def test_without_a_database_it_is_not_ready_and_says_when_to_ask_again(
    stranger: httpx.AsyncClient, no_database: None, path: str
) -> None:
    answer = await stranger.get(path)

    assert (answer.status_code, answer.json()) == (503, AWAY)
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("path", ["/", "/health/live"])
async def test_what_touches_nothing_answers_without_a_database(
    stranger: httpx.AsyncClient, no_database: None, path: str
) -> None:
    assert (await stranger.get(path)).status_code == 200


@pytest.mark.parametrize("path", [*ALL, "/docs", "/openapi.json"])
async def test_head_answers_wherever_get_does(stranger: httpx.AsyncClient, path: str) -> None:
    get, head = await stranger.get(path), await stranger.head(path)

    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-type", "content-length", "cache-control", "x-content-type-options"):
        assert head.headers[name] == get.headers[name]


async def test_head_is_503_too_without_a_database(stranger: httpx.AsyncClient, no_database: None) -> None:
    answer = await stranger.head("/health/ready")

    assert (answer.status_code, answer.content) == (503, b"")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("path", [*ALL[1:], "/docs", "/openapi.json"])
async def test_a_trailing_slash_is_the_same_path(stranger: httpx.AsyncClient, path: str) -> None:
    without, with_slash = await stranger.get(path), await stranger.get(f"{path}/")

    assert (with_slash.status_code, with_slash.content) == (200, without.content)


@pytest.mark.parametrize("path", ALL)
async def test_nothing_but_reading_is_allowed(stranger: httpx.AsyncClient, path: str) -> None:
    answer = await stranger.post(path, json={})

    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == "METHOD_NOT_ALLOWED"
    assert answer.headers["allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("path", ["/health", "/health/", "/health/dead", "/api", "/api/healthy"])
async def test_what_is_not_there_is_not_found(stranger: httpx.AsyncClient, path: str) -> None:
    answer = await stranger.get(path)

    assert answer.status_code == 404
    assert answer.json() == {"error": {"code": "NOT_FOUND", "message": "There is nothing here."}}
