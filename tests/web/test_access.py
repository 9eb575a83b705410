"""Which paths need a token: as handlers declare it, and none without a declaration."""

from typing import Any, ClassVar

import httpx
import pytest
from litestar import Controller, Litestar, Router, WebSocket, asgi, websocket
from litestar import get as litestars_get
from litestar.exceptions import ImproperlyConfiguredException
from litestar.params import FromPath
from litestar.routes import HTTPRoute
from litestar.types import ControllerRouterHandler

from app import main
from app.auth.middleware import CurrentUser
from app.config import settings
from app.web.access import Access
from app.web.application import App
from app.web.routing import get, post
from tests.conftest import token, visitor

NO_TOKEN = '{"error":{"code":"UNAUTHORIZED","message":"This needs a valid bearer token."'
NOT_DECLARED = "every handler has to declare needs_token"


class Notes(Controller):
    """What somebody adds, under a path of its own."""

    path = "/notes/{shelf:str}"
    opt: ClassVar = {"needs_token": True}

    @get("/")
    async def list(self, shelf: FromPath[str]) -> dict[str, str]:
        return {"shelf": shelf}


class News(Controller):
    """What somebody adds for everybody."""

    path = "/news"
    opt: ClassVar = {"needs_token": False}

    @get("/")
    async def list(self) -> dict[str, str]:
        return {"news": "none"}


@pytest.fixture
async def client(clean: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(main, "ALWAYS", (*main.ALWAYS, Notes, News))
    async with visitor(main.create_app(settings.current())) as client:
        yield client


class TestNewController:
    @pytest.mark.parametrize(
        "path",
        ["/notes/1", "/notes/1/", "//notes/1", "/notes//1", "/notes/1/pages", "/notes/%31", "/%6eotes/x", "/notes%2F1"],
    )
    async def test_one_that_needs_a_token_is_401_without_one_whatever_the_method(
        self, client: httpx.AsyncClient, path: str
    ) -> None:
        url = httpx.URL("http://test", raw_path=path.encode())
        for method in ("GET", "HEAD", "POST", "DELETE", "BREW", "OPTIONS"):
            assert (await client.request(method, url)).status_code == 401
            assert (await client.request(method, url, headers={"authorization": "Bearer x"})).status_code == 401

    async def test_and_answers_to_whoever_has_one(self, client: httpx.AsyncClient) -> None:
        client.headers["authorization"] = f"Bearer {token()}"
        answers = [await client.get("/notes/1"), await client.post("/notes/1"), await client.get("/notes/1/pages")]
        assert [answer.status_code for answer in answers] == [200, 405, 404]
        assert answers[0].json() == {"shelf": "1"}

    async def test_one_for_everybody_is_open(self, client: httpx.AsyncClient) -> None:
        answers = [await client.get("/news"), await client.get("//news/"), await client.post("/news")]
        assert [answer.status_code for answer in answers] == [200, 200, 405]

    async def test_what_only_begins_like_it_is_not_there(self, client: httpx.AsyncClient) -> None:
        for path in ("/notes", "/notesx/1", "/news/1", "/x/notes/1"):
            assert (await client.get(path)).status_code == 404


class TestService:
    """What the service registers."""

    def handlers(self, app: Litestar) -> list[tuple[str, Any]]:
        return [
            (route.path_format, handler)
            for route in app.routes
            if isinstance(route, HTTPRoute)
            for handler in route.route_handlers
            if handler.http_methods != {"OPTIONS"}
        ]

    async def test_each_handler_is_401_without_a_token_where_it_declares_so(
        self, running: Litestar, stranger: httpx.AsyncClient
    ) -> None:
        answered: dict[bool, int] = {True: 0, False: 0}
        for path, handler in self.handlers(running):
            [method] = handler.http_methods
            for spelt in (path, f"/{path}/", path.replace("/", "//")):
                url = httpx.URL("http://test", raw_path=spelt.replace("{", "").replace("}", "").encode())
                text = (await stranger.request(method, url)).text
                assert text.startswith(NO_TOKEN) == handler.opt["needs_token"], spelt
            answered[handler.opt["needs_token"]] += 1
        assert min(answered.values()) > 5

    def test_no_option_of_a_handler_is_misspelt(self, running: Litestar) -> None:
        """Litestar takes any."""
        assert {name for _, handler in self.handlers(running) for name in handler.opt} == {
            *("needs_token", "needs_accounts", "rate_limited", "for_personal_tokens"),
            *("reads_query", "described", "path_parameters"),
        }


class Silent(Controller):
    """It declares nothing."""

    path = "/silent"

    @get("/")
    async def list(self) -> dict[str, str]:
        return {}


@get("/silent")
async def silent() -> dict[str, str]:
    return {}


@litestars_get("/silent")
async def silent_of_litestar() -> dict[str, str]:
    return {}


@asgi("/silent", is_mount=True, copy_scope=True)
async def silent_mount(scope: Any, receive: Any, send: Any) -> None: ...


@websocket("/silent")
async def silent_websocket(socket: WebSocket[Any, Any, Any]) -> None: ...


@pytest.mark.parametrize("handler", [Silent, silent, silent_of_litestar, silent_mount, silent_websocket])
def test_a_handler_that_declares_nothing_is_not_registered(handler: ControllerRouterHandler) -> None:
    with pytest.raises(ImproperlyConfiguredException, match=f"/silent: {NOT_DECLARED}"):
        App([handler], openapi_config=None)


def test_nor_by_the_service(monkeypatch: pytest.MonkeyPatch, database_url: str) -> None:
    monkeypatch.setattr(main, "ALWAYS", (*main.ALWAYS, Silent))
    with pytest.raises(ImproperlyConfiguredException, match=f"/silent: {NOT_DECLARED}"):
        main.create_app(settings.current())


class TestDeclared:
    def access(self, *handlers: ControllerRouterHandler, **options: Any) -> Access:
        return App([*handlers], openapi_config=None, **options).plugins.get(Access)

    def needs_token(self, access: Access, *paths: str) -> list[bool | None]:
        found = [access.of(path) for path in paths]
        return [each and each["needs_token"] for each in found]

    def test_a_handler_protects_its_path_and_what_is_below(self) -> None:
        access = self.access(get("/a/{b:str}", needs_token=True)(silent.fn), get("/a", needs_token=False)(silent.fn))
        assert self.needs_token(access, "/a/1", "/a/1/2", "/a", "/ab/1") == [True, True, False, None]

    def test_the_closest_declaration_counts_and_opens_no_other_path(self) -> None:
        class Mixed(Controller):
            path = "/mixed"
            opt: ClassVar = {"needs_token": True}

            @get("/open", needs_token=False)
            async def open(self) -> dict[str, str]:
                return {}

            @get("/closed")
            async def closed(self) -> dict[str, str]:
                return {}

        router = Router("/api", route_handlers=[Mixed])
        paths = [f"/api/mixed{each}" for each in ("", "/open", "/open/1", "/openx", "/closed", "/other")]
        assert self.needs_token(self.access(router), *paths) == [True, False, True, True, True, True]
        assert self.needs_token(self.access(router), "/api", "/mixed/closed") == [None, None]

    def test_an_application_may_protect_all_but_what_says_otherwise(self) -> None:
        open_one = get("/open", needs_token=False)(silent.fn)
        access = self.access(silent, open_one, opt={"needs_token": True})
        assert self.needs_token(access, "/silent", "/open", "/", "/other") == [True, False, True, True]

    def test_a_parameter_that_takes_slashes_takes_them_here(self) -> None:
        access = self.access(litestars_get("/files/{file:path}", needs_token=True)(silent_of_litestar.fn))
        assert self.needs_token(access, "/files/a", "/files/a/b/c") == [True, True]

    def test_handlers_of_one_path_have_to_agree(self) -> None:
        @post("/silent", needs_token=True)
        async def closed() -> dict[str, str]:
            return {}

        with pytest.raises(ImproperlyConfiguredException, match="all of one path the same"):
            App([get("/silent", needs_token=False)(silent.fn), closed], openapi_config=None)

    @pytest.mark.parametrize("is_first", [True, False])
    def test_what_is_open_below_a_protected_path_has_no_parameters(self, is_first: bool) -> None:
        @get("/notes/1/{page:str}", needs_token=False)
        async def page(page: FromPath[str]) -> dict[str, str]:
            return {"page": page}

        handlers = [page, Notes] if is_first else [Notes, page]
        with pytest.raises(ImproperlyConfiguredException, match="below a path that is protected"):
            App(handlers, openapi_config=None)

    @pytest.mark.parametrize("handler", [silent_mount, silent_websocket])
    def test_only_http_can_be_protected(self, handler: ControllerRouterHandler) -> None:
        with pytest.raises(ImproperlyConfiguredException, match="only HTTP routes can be protected"):
            App([Router("/x", route_handlers=[handler], opt={"needs_token": True})], openapi_config=None)

    @pytest.mark.slow
    async def test_a_handler_that_says_it_needs_none_gets_no_user(
        self, clean: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        @get("/mine", needs_token=False, dependencies=main.TaskController.dependencies)
        async def mine(user: CurrentUser) -> dict[str, str]:
            return {"user": user.id}

        monkeypatch.setattr(main, "ALWAYS", (*main.ALWAYS, mine))
        async with visitor(main.create_app(settings.current()), authorization=f"Bearer {token()}") as client:
            assert (await client.get("/mine")).status_code == 401
