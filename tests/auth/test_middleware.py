"""Authorization header -> request.user, before anything else is looked at."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from litestar import Litestar, Request, get
from litestar.di import Provide

from app.auth.authenticator import Authenticator
from app.auth.jwt import User
from app.auth.middleware import CurrentUser, JWTAuthMiddleware, current_user
from app.config.settings import Settings
from app.db.engine import database
from app.web.access import Access
from app.web.application import App
from app.web.errors import respond
from app.web.failures import Unauthorized
from tests.conftest import ORIGIN, SECRET, token, visitor

UNKNOWN = {"error": {"code": "UNAUTHORIZED", "message": "This needs a valid bearer token."}}
NOT_SENT = "Bearer"
NO_GOOD = 'Bearer error="invalid_token"'


def who(answer: httpx.Response) -> tuple[int, str | None, Any]:
    """All of a 401: status, the telling header, body."""
    return answer.status_code, answer.headers.get("www-authenticate"), answer.json()


class TestHeader:
    @pytest.mark.parametrize(
        "scheme", ["Bearer ", "bearer ", "BEARER ", "bEaReR ", "Bearer    ", "  Bearer ", "\tBearer "]
    )
    async def test_the_scheme_is_read_in_any_case_and_with_any_spaces(
        self, stranger: httpx.AsyncClient, scheme: str
    ) -> None:
        for behind in ("", " ", "   "):
            answer = await stranger.get("/api/tasks", headers={"authorization": f"{scheme}{token()}{behind}"})
            assert (answer.status_code, answer.json()) == (200, {"data": []})
            assert "www-authenticate" not in answer.headers

    async def test_no_header(self, stranger: httpx.AsyncClient) -> None:
        answer = await stranger.get("/api/tasks")

        assert who(answer) == (401, NOT_SENT, UNKNOWN)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert len(answer.headers["x-request-id"]) == 32

    @pytest.mark.parametrize(
        "value",
        [
            b"",
            b" ",
            b"Bearer",
            b"Bearer ",
            b"Bearer    ",
            b"Basic YWRhOnNlY3JldA==",
            b"Digest username=ada",
            b"Token TOKEN",
            b"JWT TOKEN",
            b"TOKEN",
            b"BearerTOKEN",
            b"Bearer\tTOKEN",
            b"Bearer:TOKEN",
            b"Bearers TOKEN",
            b"Basic, Bearer TOKEN",
            b'"Bearer TOKEN"',
            b"\xff\xfe",
            "B\u0435arer TOKEN".encode(),  # a Cyrillic letter
            b"\xa0Bearer TOKEN",
        ],
    )
    async def test_what_carries_no_bearer_token_is_401_as_if_there_were_nothing(
        self, stranger: httpx.AsyncClient, value: bytes
    ) -> None:
        sent = value.replace(b"TOKEN", token().encode())
        answer = await stranger.get("/api/tasks", headers=[(b"authorization", sent)])
        assert who(answer) == (401, NOT_SENT, UNKNOWN)

    @pytest.mark.parametrize(
        "value",
        [
            b"Bearer x",
            b"Bearer \xff\xfe",
            "Bearer \U0001f511".encode(),
            b"Bearer Bearer TOKEN",
            b"Bearer TOKEN TOKEN",
            b"Bearer TOKEN, Bearer TOKEN",
            b"Bearer TOKEN,",
            b"Bearer TOKEN\0",
            b"Bearer \xa0TOKEN",
            b"Bearer \tTOKEN",
            b'Bearer "TOKEN"',
            b"Bearer token=TOKEN",
            b"Bearer null",
            b"Bearer undefined",
            b"Bearer [object Object]",
        ],
    )
    async def test_a_token_that_is_no_good_is_401_and_says_so(self, stranger: httpx.AsyncClient, value: bytes) -> None:
        sent = value.replace(b"TOKEN", token().encode())
        answer = await stranger.get("/api/tasks", headers=[(b"authorization", sent)])
        assert who(answer) == (401, NO_GOOD, UNKNOWN)

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ("Bearer TOKEN", "Bearer TOKEN"),
            ("Bearer TOKEN", "Basic YWRhOnNlY3JldA=="),
            ("Basic YWRhOnNlY3JldA==", "Bearer TOKEN"),
            ("Bearer TOKEN", ""),
            ("", ""),
        ],
    )
    async def test_two_headers_are_401_whatever_is_in_them(
        self, stranger: httpx.AsyncClient, first: str, second: str
    ) -> None:
        both = [("authorization", each.replace("TOKEN", token())) for each in (first, second)]
        answer = await stranger.get("/api/tasks", headers=both)
        assert who(answer) == (401, NO_GOOD, UNKNOWN)

    async def test_no_other_header_stands_in_for_it(self, stranger: httpx.AsyncClient) -> None:
        bearer = f"Bearer {token()}"
        instead = {
            "proxy-authorization": bearer,
            "x-authorization": bearer,
            "x-forwarded-authorization": bearer,
            "x-user-id": "ada",
            "cookie": f"authorization={bearer}",
        }
        assert who(await stranger.get("/api/tasks", headers=instead)) == (401, NOT_SENT, UNKNOWN)


REFUSED_LATER_FOR_SOMEBODY_KNOWN = {
    "no such route": (404, "GET", "/api/tasks/1/nonsense", {}),
    "no such route, deeper": (404, "GET", "/api/tasks/1/complete/2", {}),
    "no such task": (404, "GET", "/api/tasks/4711", {}),
    "no such task to flip": (404, "PATCH", "/api/tasks/4711/complete", {}),
    "a wrong method": (405, "DELETE", "/api/tasks", {}),
    "a wrong method and a wrong id": (405, "POST", "/api/tasks/abc", {}),
    "a method that nobody knows": (405, "BREW", "/api/tasks", {}),
    "no such task in the trash": (404, "DELETE", "/api/trash/4711", {}),
    "no such task to restore": (404, "POST", "/api/tasks/4711/restore", {}),
    "a wrong method for the trash": (405, "POST", "/api/trash", {}),
    "a wrong parameter": (422, "GET", "/api/tasks/4711/history?limit=0", {}),
    "a version that is missing": (422, "POST", "/api/tasks/4711/revert", {"json": {}}),
    "a wrong id": (422, "PUT", "/api/tasks/abc", {"json": {"title": "x"}}),
    "a title that is missing": (422, "POST", "/api/tasks", {"json": {}}),
    "a body that is no JSON": (400, "POST", "/api/tasks", {"content": b"{"}),
    "a body of another type": (
        415,
        "POST",
        "/api/tasks",
        {"content": b"x", "headers": {"content-type": "text/plain"}},
    ),
    "a compressed body": (
        415,
        "POST",
        "/api/tasks",
        {"content": b"x", "headers": {"content-encoding": "gzip"}},
    ),
    "a body that is too large": (413, "POST", "/api/tasks", {"content": b" " * (1024 * 1024 + 1)}),
}


class TestOrder:
    @pytest.mark.parametrize(
        ("status", "method", "path", "rest"),
        REFUSED_LATER_FOR_SOMEBODY_KNOWN.values(),
        ids=REFUSED_LATER_FOR_SOMEBODY_KNOWN,
    )
    async def test_401_comes_before_every_other_refusal(
        self,
        ada: httpx.AsyncClient,
        stranger: httpx.AsyncClient,
        status: int,
        method: str,
        path: str,
        rest: dict[str, Any],
    ) -> None:
        assert (await ada.request(method, path, **rest)).status_code == status
        assert who(await stranger.request(method, path, **rest)) == (401, NOT_SENT, UNKNOWN)

        stranger.headers["authorization"] = "Bearer x"
        assert who(await stranger.request(method, path, **rest)) == (401, NO_GOOD, UNKNOWN)

    async def test_a_body_is_not_even_received(self, running: Litestar) -> None:
        sent: list[Any] = []

        async def receive() -> Any:
            pytest.fail("the body of a stranger was asked for")

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"host", b"test"), (b"content-length", b"10")]
        scope: Any = {"type": "http", "method": "POST", "path": "/api/tasks", "headers": headers}
        await running(scope, receive, send)

        assert sent[0]["status"] == 401

    async def test_a_head_is_401_without_a_body(self, stranger: httpx.AsyncClient) -> None:
        answer = await stranger.head("/api/tasks")

        assert (answer.status_code, answer.content) == (401, b"")
        assert answer.headers["www-authenticate"] == NOT_SENT

    async def test_a_preflight_needs_no_token_and_every_other_options_does(self, stranger: httpx.AsyncClient) -> None:
        asking = {"origin": ORIGIN, "access-control-request-method": "POST"}

        assert (await stranger.options("/api/tasks", headers=asking)).status_code == 204
        assert who(await stranger.options("/api/tasks")) == (401, NOT_SENT, UNKNOWN)

    async def test_a_page_of_ours_may_read_the_401(self, stranger: httpx.AsyncClient) -> None:
        answer = await stranger.get("/api/tasks", headers={"origin": ORIGIN})

        assert who(answer) == (401, NOT_SENT, UNKNOWN)
        assert answer.headers["access-control-allow-origin"] == ORIGIN


# Each of them is a task's, the list's or the trash's for the router, or lies beneath them.
SPELLINGS = [
    "/api/tasks",
    "/api/tasks/",
    "/api/tasks//",
    "//api/tasks",
    "///api///tasks///",
    "/api//tasks",
    "/api//tasks/1",
    "//api/tasks/1/",
    "/api/tasks/1//complete",
    "/api/tasks?",
    "/api/tasks?access_token=x",
    "/api/tasks/1?/health/live",
    "/%61pi/tasks",
    "/api/%74%61%73%6B%73",
    "/api/%74%61%73%6b%73/1",
    "/api%2Ftasks",
    "/api%2ftasks%2f1",
    "%2Fapi/tasks",
    "/%2fapi/tasks",
    "/api/%2Ftasks/",
    "/api/tasks%2F",
    "/api/tasks%2F1%2Fcomplete",
    "/api/tasks/%31",
    "/api/tasks/%00",
    "/api/tasks/..",
    "/api/tasks/../../health/live",
    "/api/tasks/%2e%2e/%2e%2e/docs",
    "/api/tasks/health",
    "/api/tasks/1/nonsense",
    "/api/tasks/docs/openapi.json",
    "/api/tasks/1/history",
    "/api/lists/1/history",
    "/api/labels/home",
    "/api/labels/a%2Fb/history",
    "/api/tasks/1/restore",
    "//api//tasks//1//revert/",
    "/api/trash",
    "/api/trash/",
    "//api//trash//",
    "/api/trash/1",
    "/api/trash/1/nonsense",
    "/api/trash?access_token=x",
    "/%61pi/trash",
    "/api%2Ftrash",
    "/api/%74%72%61%73%68",
    "/%2fapi/trash%2F1",
    "/api/trash/%00",
    "/api/trash/../../health/live",
]
NO_TASKS_OF_OURS = [
    "/api/task",
    "/api/tasksx",
    "/api/tasks%20",
    "/api/tasks%0A",
    "/API/TASKS",
    "/api/Tasks",
    "/api/tasks;x=1",
    "/api/tasks.json",
    "/api/tasks%252F1",
    "/api/./tasks",
    "/x/../api/tasks",
    "/api/x/../tasks",
    "/api\\tasks",
    "/x/api/tasks",
    "/docs/api/tasks",
    "/health/api/tasks",
    "/api/trashx",
    "/api/Trash",
    "/api/trash%20",
    "/api/trash%0A",
    "/api/trash;x=1",
    "/api/trash.json",
    "/x/api/trash",
]


async def ask(app: Litestar, method: str, target: str, bearer: str | None = None) -> httpx.Response:
    """Send a request target as it is written here, which httpx would tidy up; decoded as uvicorn does."""
    path, _, query = target.partition("?")
    headers = [(b"host", b"test")]
    if bearer is not None:
        headers.append((b"authorization", f"Bearer {bearer}".encode()))
    scope: Any = {
        "type": "http",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": headers,
    }
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    content = b"".join(message["body"] for message in sent[1:])
    return httpx.Response(sent[0]["status"], headers=sent[0]["headers"], content=content)


class TestPaths:
    @pytest.mark.parametrize("target", SPELLINGS)
    async def test_whatever_leads_to_a_task_is_401_without_a_token(self, running: Litestar, target: str) -> None:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            assert who(await ask(running, method, target)) == (401, NOT_SENT, UNKNOWN)
            assert who(await ask(running, method, target, "x")) == (401, NO_GOOD, UNKNOWN)

    @pytest.mark.parametrize("target", NO_TASKS_OF_OURS)
    async def test_what_only_looks_like_it_leads_nowhere_for_anybody(self, running: Litestar, target: str) -> None:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            for bearer in (None, token()):
                answer = await ask(running, method, target, bearer)
                assert answer.status_code == 404
                assert answer.json() == {"error": {"code": "NOT_FOUND", "message": "There is nothing here."}}

    @pytest.mark.slow
    async def test_no_way_of_writing_slashes_and_letters_gets_a_stranger_to_a_handler(
        self, running: Litestar, clean: None
    ) -> None:
        slashes = ["/", "//", "%2F", "/%2f", "/./", "/../", "\\", "/;/", "%252F"]
        targets = [
            f"{first}{api}{second}{tasks}{last}"
            for first in (*slashes, "")
            for api in ("api", "%61pi")
            for second in slashes
            for tasks in ("tasks", "task%73", "trash", "tras%68")
            for last in ("", "/", "%2F", "%20", "%0A", "%00", "/.", "?x=/")
        ]
        ada = token()
        reached = 0
        for target in targets:
            known, unknown = await ask(running, "GET", target, ada), await ask(running, "GET", target)
            if "There is nothing here." in known.text:
                assert unknown.status_code in (401, 404), target
            else:
                reached += 1
                assert unknown.status_code == 401, target
        assert reached > 100

    @pytest.mark.parametrize(
        "path", ["/", "/health/live", "/health/ready", "/api/health", "/openapi.json", "/docs", "/admin/"]
    )
    async def test_what_is_public_needs_no_token_and_minds_none(self, stranger: httpx.AsyncClient, path: str) -> None:
        assert (await stranger.get(path)).status_code == 200
        for value in ("Bearer x", "Basic x", f"Bearer {token()}"):
            assert (await stranger.get(path, headers={"authorization": value})).status_code == 200

    async def test_a_path_beside_them_is_404_and_not_401(self, stranger: httpx.AsyncClient) -> None:
        answer = await stranger.get("/api/nothing")

        assert answer.status_code == 404
        assert answer.json() == {"error": {"code": "NOT_FOUND", "message": "There is nothing here."}}
        assert "www-authenticate" not in answer.headers


class TestDatabase:
    async def test_no_connection_is_taken_for_a_401(self, running: Litestar, stranger: httpx.AsyncClient) -> None:
        pool = database.pool
        async with AsyncExitStack() as taken, asyncio.timeout(2):
            for _ in range(pool.max_size):
                await taken.enter_async_context(pool.acquired())
            answers = [
                await stranger.get("/api/tasks"),
                await stranger.post("/api/tasks", json={"title": "x"}),
                await stranger.delete("/api/tasks/1", headers={"authorization": "Bearer x"}),
            ]

        assert [answer.status_code for answer in answers] == [401, 401, 401]

    async def test_a_stranger_is_401_also_while_there_is_no_database(
        self, ada: httpx.AsyncClient, stranger: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(database, "ready", False)

        assert (await ada.get("/api/tasks")).status_code == 503
        assert who(await stranger.get("/api/tasks")) == (401, NOT_SENT, UNKNOWN)


@get("/api/tasks", needs_token=True)
async def guarded(request: Request[User, Any, Any], user: CurrentUser) -> list[str | None]:
    assert request.user is user
    return [user.id, user.email, user.name]


@get("/forgotten", needs_token=False)
async def forgotten(user: CurrentUser) -> str:
    return user.id


def known() -> Authenticator:
    """Those whose tokens the secret of the tests has signed."""
    return Authenticator(Settings(database_url=None, jwt_secrets=(SECRET,)))


@pytest.fixture
def service() -> Litestar:
    """An application with a handler that needs a token, and one that says it needs none and asks for its user."""
    app = App(
        [guarded, forgotten],
        dependencies={"user": Provide(current_user, sync_to_thread=False)},
        exception_handlers={Exception: respond},
        logging_config=None,
        openapi_config=None,
    )
    app.asgi_handler = JWTAuthMiddleware(app.asgi_handler, app.plugins.get(Access), known())
    return app


class TestCurrentUser:
    async def test_the_caller_is_whoever_the_token_says(self, service: Litestar) -> None:
        for claims, user in (
            ({}, ["ada", None, None]),
            ({"email": "ada@example.com", "name": "Ada"}, ["ada", "ada@example.com", "Ada"]),
            ({"sub": "bob", "email": 5}, ["ada", None, None]),
        ):
            async with visitor(service, authorization=f"Bearer {token(**claims)}") as client:
                answer = await client.get("/api/tasks?user_id=bob", headers={"x-user-id": "bob"})
            assert (answer.status_code, answer.json()) == (200, user)

    async def test_a_handler_that_nobody_guarded_answers_401_also_to_a_good_token(self, service: Litestar) -> None:
        for headers in ({}, {"authorization": f"Bearer {token()}"}):
            async with visitor(service, **headers) as client:
                assert who(await client.get("/forgotten")) == (401, NOT_SENT, UNKNOWN)

    async def test_a_secret_of_another_service_opens_nothing(self, service: Litestar) -> None:
        forged = token(secret="the secret of another service, of 32 bytes or more")
        async with visitor(service, authorization=f"Bearer {forged}") as client:
            with pytest.raises(Unauthorized):
                await client.get("/api/tasks")

    async def test_what_is_no_request_goes_straight_through(self) -> None:
        seen: list[Any] = []

        async def inner(scope: Any, _receive: Any, _send: Any) -> None:
            seen.append(scope)

        lifespan: Any = {"type": "lifespan", "path": "/api/tasks"}
        await JWTAuthMiddleware(inner, Access(), known())(lifespan, None, None)  # type: ignore[arg-type]

        assert seen == [{"type": "lifespan", "path": "/api/tasks"}]
