"""Fast handlers: what they may take and return, and that Litestar's own still work beside them."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from litestar import MediaType, Request, Response
from litestar import get as litestars_get
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import Cookie
from litestar.di import NamedDependency, Provide
from litestar.exceptions import ImproperlyConfiguredException
from litestar.params import FromPath

from app.web.application import App
from app.web.routing import FastRouter, JSONResponse, get

DONE: list[str] = []


class Unusual:
    """What JSON does not know."""


@get("/numbers/{number:str}")
async def number(number: FromPath[int]) -> dict[str, int]:
    return {"number": number}


@get("/boxed")
async def boxed() -> Response[dict[str, int]]:
    return Response({"a": 1}, headers={"X-Box": "yes"})


@litestars_get("/theirs/{number:int}")
async def theirs(number: FromPath[int]) -> dict[str, int]:
    return {"theirs": number}


@get("/nowhere")
async def nowhere(mystery: int) -> dict[str, int]:
    return {"mystery": mystery}


async def waits() -> int:
    return 1


def yields() -> Any:
    yield 1


def asks(other: NamedDependency[int]) -> int:
    return other


def one(request: Request[Any, Any, Any]) -> int:
    return 1


def application(handlers: list[Any]) -> App:
    return App(handlers, openapi_config=None, opt={"needs_token": False})


def client_of(*handlers: Any) -> httpx.AsyncClient:
    app = application([*handlers])
    app.asgi_handler = FastRouter(app)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


async def test_ours_and_litestars_own_are_served_side_by_side() -> None:
    async with client_of(number, boxed, theirs) as client:
        answers = [await client.get(path) for path in ("/numbers/7", "/boxed", "/theirs/7", "/numbers/7/")]

    assert [answer.json() for answer in answers] == [{"number": 7}, {"a": 1}, {"theirs": 7}, {"number": 7}]
    assert {answer.headers["content-type"] for answer in answers} == {"application/json"}
    assert answers[1].headers["x-box"] == "yes"


class TestResponse:
    """A `Response` is sent as it is, also by a fast handler."""

    @pytest.fixture
    async def answer(self) -> AsyncIterator[httpx.Response]:
        async def note(what: str) -> None:
            DONE.append(what)

        @get("/", status_code=202)
        async def full() -> Response[str]:
            response = Response(
                "teapot",
                status_code=418,
                headers={"X-Pot": "tea"},
                cookies=[Cookie("cup", value="1"), Cookie("spoon", value="2", httponly=True)],
                media_type=MediaType.HTML,
                background=BackgroundTask(note, "washed up"),
            )
            response.set_header("x-lid", "on")
            return response

        DONE.clear()
        async with client_of(full) as client:
            yield await client.get("/")

    async def test_its_status_and_headers(self, answer: httpx.Response) -> None:
        assert (answer.status_code, answer.headers["x-pot"], answer.headers["x-lid"]) == (418, "tea", "on")

    async def test_its_cookies(self, answer: httpx.Response) -> None:
        assert answer.headers.get_list("set-cookie") == [
            "cup=1; Path=/; SameSite=lax",
            "spoon=2; HttpOnly; Path=/; SameSite=lax",
        ]

    async def test_its_media_type(self, answer: httpx.Response) -> None:
        assert (answer.headers["content-type"], answer.text) == ("text/html; charset=utf-8", "teapot")

    async def test_its_background_task(self, answer: httpx.Response) -> None:
        assert DONE == ["washed up"]

    async def test_its_encoders(self) -> None:
        @get("/")
        async def unusual() -> Response[Any]:
            return Response({"a": Unusual()}, type_encoders={Unusual: lambda _: "unusual"})

        async with client_of(unusual) as client:
            assert (await client.get("/")).json() == {"a": "unusual"}

    async def test_without_a_status_it_has_its_handlers(self) -> None:
        @get("/", status_code=202)
        async def accepted() -> Response[dict[str, int]]:
            return Response({"a": 1})

        async with client_of(accepted) as client:
            assert (await client.get("/")).status_code == 202

    @pytest.mark.parametrize("name", ["background", "cookies", "encoding", "headers", "media_type", "status_code"])
    def test_what_a_json_response_does_not_have_cannot_be_set_or_read(self, name: str) -> None:
        with pytest.raises(AttributeError):
            setattr(JSONResponse(None, []), name, None)
        with pytest.raises(AttributeError, match="only what it is made with"):
            getattr(JSONResponse(None, []), name)


class TestArguments:
    def test_one_that_comes_from_nowhere_stops_the_start(self) -> None:
        with pytest.raises(TypeError, match="mystery comes from nowhere"):
            application([nowhere])

    def test_nor_may_one_be_a_path_parameter_of_another_type(self) -> None:
        @get("/numbers/{number:int}")
        async def parsed(number: FromPath[int]) -> None: ...

        with pytest.raises(TypeError, match="number comes from nowhere"):
            application([parsed])

    @pytest.mark.parametrize(
        "dependency",
        [
            Provide(waits),
            Provide(yields),
            Provide(asks, sync_to_thread=False),
            Provide(one, use_cache=True, sync_to_thread=False),
            Provide(one, sync_to_thread=True),
        ],
        ids=["async", "a generator", "with dependencies of its own", "cached", "in a thread"],
    )
    def test_a_dependency_takes_the_request_alone_and_is_a_plain_function(self, dependency: Provide) -> None:
        @get("/", dependencies={"one": dependency, "other": Provide(lambda: 1, sync_to_thread=False)})
        async def handler(one: NamedDependency[int]) -> dict[str, int]:
            return {"one": one}

        with pytest.raises(TypeError, match="one depends on more than the request, or is not a plain function"):
            application([handler])


async def test_what_sees_each_message_sees_those_of_fast_handlers() -> None:
    seen: list[str] = []

    async def see(message: Any, _: Any) -> None:
        seen.append(message["type"])

    app = App([number], openapi_config=None, opt={"needs_token": False}, before_send=[see])
    app.asgi_handler = FastRouter(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        await client.get("/numbers/7")
    assert seen == ["http.response.start", "http.response.body"]


def test_a_handler_that_comes_when_all_are_being_served_is_refused() -> None:
    app = application([])
    FastRouter(app)

    with pytest.raises(ImproperlyConfiguredException, match="register handlers before"):
        app.register(number)
