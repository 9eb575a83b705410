"""What every answer carries, whoever gives it, and who may read it in a browser."""

import re
from typing import Any

import httpx
import pytest
from litestar import Litestar

from app.web.failures import Unavailable
from app.web.headers import CORS
from app.web.middleware import HTTPMiddleware
from tests.conftest import ORIGIN, SECRET, visitor

EXPOSED = (
    "Accept-Patch, Allow, ETag, Idempotent-Replayed, Link, Location, Preference-Applied, RateLimit, RateLimit-Policy, "
    "Retry-After, WWW-Authenticate, X-Request-ID, X-Revision"
)
CORS_HEADERS = {
    "access-control-allow-origin": ORIGIN,
    "access-control-allow-credentials": "true",
    "access-control-expose-headers": EXPOSED,
}
PREFLIGHT_HEADERS = {
    **CORS_HEADERS,
    "access-control-allow-methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
    "access-control-allow-headers": (
        "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Prefer, X-Request-ID, "
        "baggage, sentry-trace, traceparent, tracestate, X-Requested-With"
    ),
    "access-control-max-age": "600",
}
STRANGERS = [
    "http://localhost:3001",
    "https://localhost:3000",
    "http://localhost:3000.evil.example",
    "http://localhost:30000",
    "http://LOCALHOST:3000",
    "http://localhost:3000/",
    "null",
    "*",
    "",
]

# Every way to get an answer: (method, path, body, status)
ANSWERS = [
    ("GET", "/api/tasks", None, 200),
    ("POST", "/api/tasks", '{"title":"x"}', 201),
    ("POST", "/api/tasks", "{", 400),
    ("GET", "/api/tasks/1000", None, 404),
    ("GET", "/nowhere", None, 404),
    ("DELETE", "/api/tasks", None, 405),
    ("POST", "/api/tasks", " " * 1_048_577, 413),
    ("PUT", "/api/tasks/abc", "{}", 422),
    ("OPTIONS", "/api/tasks", None, 204),
    ("HEAD", "/api/tasks", None, 200),
    ("GET", "/", None, 200),
    ("GET", "/health/live", None, 200),
    ("GET", "/openapi.json", None, 200),
    ("GET", "/docs", None, 200),
    ("GET", "/docs/assets/nothing", None, 404),
]


def cors(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name.startswith("access-control-")}


@pytest.mark.parametrize(("method", "path", "body", "status"), ANSWERS)
async def test_every_answer_carries_the_common_headers_and_lets_the_frontend_read_it(
    ada: httpx.AsyncClient, method: str, path: str, body: str | None, status: int
) -> None:
    answer = await ada.request(method, path, content=body, headers={"origin": ORIGIN, "x-request-id": "mine-1.2_3"})

    assert answer.status_code == status
    assert answer.headers["x-request-id"] == "mine-1.2_3"
    assert answer.headers["cache-control"] == ("private, no-cache" if "etag" in answer.headers else "no-store")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers.get_list("vary")[-1] == "Origin"
    assert "server" not in answer.headers
    assert cors(answer) == CORS_HEADERS


@pytest.mark.parametrize("origin", STRANGERS)
@pytest.mark.parametrize(("method", "path", "body", "status"), ANSWERS[:6])
async def test_a_stranger_origin_gets_no_cors_header_at_all(
    ada: httpx.AsyncClient, method: str, path: str, body: str | None, status: int, origin: str
) -> None:
    answer = await ada.request(method, path, content=body, headers={"origin": origin})

    assert answer.status_code == status
    assert cors(answer) == {}
    assert answer.headers["vary"] == "Origin"


async def test_two_origins_are_none_of_ours(ada: httpx.AsyncClient) -> None:
    answer = await ada.get("/api/tasks", headers=[("origin", ORIGIN), ("origin", "http://evil.example")])
    assert cors(answer) == {}


async def test_without_an_origin_there_is_no_cors_header_but_vary(ada: httpx.AsyncClient) -> None:
    answer = await ada.get("/api/tasks")
    assert cors(answer) == {}
    assert answer.headers["vary"] == "Origin"


async def test_a_401_can_be_read_by_the_frontend(stranger: httpx.AsyncClient) -> None:
    answer = await stranger.get("/api/tasks", headers={"origin": ORIGIN})
    assert answer.status_code == 401
    assert cors(answer) == CORS_HEADERS


PREFLIGHT = {
    "access-control-request-method": "PUT",
    "access-control-request-headers": "authorization,content-type",
}


@pytest.mark.parametrize("path", ["/api/tasks", "/api/tasks/1", "//api/tasks", "/api/tasks/1/complete", "/nowhere"])
async def test_a_preflight_needs_no_token(stranger: httpx.AsyncClient, path: str) -> None:
    url = httpx.URL("http://test", raw_path=path.encode())
    answer = await stranger.options(url, headers={"origin": ORIGIN, **PREFLIGHT})

    assert (answer.status_code, answer.content) == (204, b"")
    assert cors(answer) == PREFLIGHT_HEADERS
    assert answer.headers["vary"] == "Origin"


@pytest.mark.parametrize("origin", STRANGERS)
async def test_a_strangers_preflight_tells_nothing(stranger: httpx.AsyncClient, origin: str) -> None:
    answer = await stranger.options("/api/tasks", headers={"origin": origin, **PREFLIGHT})
    assert (answer.status_code, cors(answer)) == (204, {})


async def test_options_that_is_no_preflight_needs_a_token_as_everything_does(
    stranger: httpx.AsyncClient,
) -> None:
    assert (await stranger.options("/api/tasks", headers={"origin": ORIGIN})).status_code == 401
    assert (await stranger.options("/api/tasks", headers={"access-control-request-method": "GET"})).status_code == 401


async def test_the_admin_is_not_readable_from_the_frontends_origin(stranger: httpx.AsyncClient) -> None:
    assert cors(await stranger.get("/admin/public/meta/", headers={"origin": ORIGIN})) == {}
    assert cors(await stranger.get("/administrator", headers={"origin": ORIGIN})) == CORS_HEADERS
    assert cors(await stranger.options("/admin/api/", headers={"origin": ORIGIN, **PREFLIGHT})) == {}


@pytest.mark.parametrize("sent", ["", "has space", "x" * 129, "a/b", "a\tb", "ü", "a,b", "%0d%0a", "{}"])
async def test_a_request_id_that_cannot_be_taken_over_is_replaced(stranger: httpx.AsyncClient, sent: str) -> None:
    answer = await stranger.get("/health/live", headers=[(b"x-request-id", sent.encode())])
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_request_ids_are_the_callers_or_each_a_new_one(stranger: httpx.AsyncClient) -> None:
    longest = "x" * 128
    assert (await stranger.get("/", headers={"x-request-id": longest})).headers["x-request-id"] == longest
    two = [("x-request-id", "a"), ("x-request-id", "b")]
    ids = {(await stranger.get("/", headers=two)).headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5
    assert not ids & {"a", "b"}


@pytest.mark.parametrize(
    "path", ["/", "/health/live", "/health/ready", "/api/health", "/openapi.json", "/docs", "/api/tasks"]
)
async def test_head_answers_as_get_does_without_the_body(ada: httpx.AsyncClient, path: str) -> None:
    same = {"x-request-id": "same"}
    get_answer, head_answer = await ada.get(path, headers=same), await ada.head(path, headers=same)

    assert head_answer.content == b""
    assert head_answer.status_code == get_answer.status_code == 200
    # The length of a list is not known where it is not read (RFC 9110, section 9.3.2).
    left_out = {"content-length"} if path == "/api/tasks" else set[str]()
    assert {*head_answer.headers.items()} == {each for each in get_answer.headers.items() if each[0] not in left_out}


async def test_a_crash_outside_of_every_handler_is_one_calm_line_with_all_the_headers() -> None:
    async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
        raise RuntimeError("canary in an exception")

    app: Any = HTTPMiddleware(broken, CORS([ORIGIN]), SECRET)
    async with visitor(app, origin=ORIGIN) as client:
        answer = await client.get("/anything")

    assert answer.status_code == 500
    assert answer.json() == {"error": {"code": "INTERNAL_ERROR", "message": "Something went wrong on our side."}}
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert cors(answer) == CORS_HEADERS


async def test_trouble_after_the_answer_began_is_told_in_a_line_and_left_to_the_server(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def half(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ConnectionResetError

    app: Any = HTTPMiddleware(half, CORS([ORIGIN]), SECRET)
    async with visitor(app) as client:
        with pytest.raises(Unavailable):
            await client.get("/anything")
    assert "An answer was broken off: ConnectionResetError" in caplog.messages


async def test_a_crash_after_the_answer_began_is_left_to_the_server_which_hangs_up() -> None:
    async def half(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("too late")

    app: Any = HTTPMiddleware(half, CORS([ORIGIN]), SECRET)
    async with visitor(app) as client:
        with pytest.raises(RuntimeError, match="too late"):
            await client.get("/anything")


async def test_what_is_not_http_goes_straight_through() -> None:
    seen = []

    async def inner(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    await HTTPMiddleware(inner, CORS([]), SECRET)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan"]


def test_litestar_itself_is_what_create_app_returns(app: Litestar) -> None:
    assert isinstance(app, Litestar)
    assert isinstance(app.asgi_handler, HTTPMiddleware)


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/api/tasks", "GET, HEAD, OPTIONS, POST"),
        ("/api/tasks/1", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("/api/tasks/1/complete", "OPTIONS, PATCH"),
        ("/health/live", "GET, HEAD, OPTIONS"),
    ],
)
async def test_options_lists_every_method_of_a_route(ada: httpx.AsyncClient, path: str, allowed: str) -> None:
    answer = await ada.options(path)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allowed, b"")
    assert "content-type" not in answer.headers


async def test_options_of_nothing_is_404(ada: httpx.AsyncClient) -> None:
    assert (await ada.options("/nowhere")).status_code == 404
