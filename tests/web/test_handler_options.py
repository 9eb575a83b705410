"""No option of Litestar's is ignored: a fast handler honours it, or is not registered."""

import inspect
from typing import Annotated, Any, ClassVar

import pytest
from litestar import Controller, Litestar, MediaType, Request, Response, Router
from litestar.background_tasks import BackgroundTask
from litestar.config.allowed_hosts import AllowedHostsConfig
from litestar.config.compression import CompressionConfig
from litestar.config.cors import CORSConfig
from litestar.config.csrf import CSRFConfig
from litestar.datastructures import CacheControlHeader, Cookie, ETag, ResponseHeader
from litestar.dto import MsgspecDTO
from litestar.enums import RequestEncodingType
from litestar.exceptions import ImproperlyConfiguredException, NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import ASGIMiddleware
from litestar.openapi.spec import Operation
from litestar.params import Body, FromPath, JSONBody, Parameter, PathParameter
from msgspec import Struct

from app.web.application import App
from app.web.body import JSONRequest
from app.web.errors import respond
from app.web.handler_options import HONOURED, HONOURED_OF_APP
from app.web.routing import get, post


class Content(Struct):
    """What is sent."""

    text: str


class Middleware(ASGIMiddleware):
    """Any."""

    async def handle(self, scope: Any, receive: Any, send: Any, next_app: Any) -> None:
        """Go on."""


class Described(Operation):
    """A class of operations."""


class Boxed(Response[Any]):
    """A class of responses."""


async def hook(_: Any) -> None:
    """Any."""


def handle(_request: Request[Any, Any, Any], _error: Exception) -> Response[Any]:
    return Response(None)


OF_LAYERS: dict[str, Any] = {
    "after_request": hook,
    "after_response": hook,
    "before_request": hook,
    "cache_control": CacheControlHeader(max_age=1),
    "dto": MsgspecDTO[Content],
    "etag": ETag(value="x"),
    "exception_handlers": {ValueError: handle},
    "middleware": [Middleware()],
    "response_class": Boxed,
    "response_cookies": [Cookie("a", value="1")],
    "response_headers": [ResponseHeader(name="a", value="1")],
    "return_dto": MsgspecDTO[Content],
    "security": [{"bearer": []}],
    "type_decoders": [(lambda kind: kind is Content, lambda _, value: value)],
    "type_encoders": {Content: str},
}
OF_HANDLERS = OF_LAYERS | {
    "background": BackgroundTask(hook, None),
    "cache": 60,
    "cache_key_builder": lambda _: "key",
    "content_encoding": "base64",
    "content_media_type": "image/png",
    "deprecated": True,
    "operation_class": Described,
    "raises": [NotFoundException],
    "response_description": "It is here.",
    "sync_to_thread": True,
}
OF_ROUTERS = OF_LAYERS | {"parameters": {"a": Parameter(int)}}
OF_APPS = OF_ROUTERS | {
    "after_exception": [hook],
    "allowed_hosts": AllowedHostsConfig(["test"]),
    "compression_config": CompressionConfig("gzip"),
    "cors_config": CORSConfig(),
    "csrf_config": CSRFConfig("secret"),
    "debug": True,
    "pdb_on_exception": True,
}
WARNS = pytest.mark.filterwarnings("ignore::litestar.exceptions.LitestarWarning", "ignore::DeprecationWarning")


def application(handlers: list[Any], **options: Any) -> App:
    return App(handlers, openapi_config=None, opt={"needs_token": False}, **options)


async def read() -> Content:
    return Content("x")


def refused(option: str) -> Any:
    return pytest.raises(ImproperlyConfiguredException, match=f"a fast handler would ignore {option} of ")


@WARNS
@pytest.mark.parametrize("option", OF_HANDLERS)
def test_of_a_handler(option: str) -> None:
    with refused(option):
        application([get("/", **{option: OF_HANDLERS[option]})(read)])


@pytest.mark.parametrize("option", OF_ROUTERS)
def test_of_a_controller(option: str) -> None:
    class Things(Controller):
        path = "/things"

        @get("/")
        async def read(self) -> Content:
            return Content("x")

    setattr(Things, option, OF_ROUTERS[option])
    with refused(option):
        application([Things])


@pytest.mark.parametrize("option", OF_ROUTERS)
def test_of_a_router_around_a_controller(option: str) -> None:
    class Things(Controller):
        @get("/")
        async def read(self) -> Content:
            return Content("x")

    with refused(option):
        application([Router("/", route_handlers=[Things], **{option: OF_ROUTERS[option]})])


@WARNS
@pytest.mark.parametrize("option", OF_APPS)
def test_of_the_application(option: str) -> None:
    with refused(option):
        application([get("/")(read)], **{option: OF_APPS[option]})


def test_there_is_no_option_that_is_neither_honoured_nor_refused_here() -> None:
    """A new version of Litestar may bring one: decide what it is, and until then it is refused."""

    def parameters(kind: Any) -> set[str]:
        return inspect.signature(kind.__init__).parameters.keys() - {"self", "kwargs"}

    assert parameters(HTTPRouteHandler) - HONOURED == OF_HANDLERS.keys()
    assert parameters(Router) - HONOURED - {"route_handlers"} == OF_ROUTERS.keys()
    assert parameters(Litestar) - HONOURED_OF_APP == OF_APPS.keys() - {"exception_handlers"} | {"debugger_module"}


def test_failures_of_the_application_are_answered_as_the_middleware_does() -> None:
    application([get("/")(read)], exception_handlers={Exception: respond})


@pytest.mark.parametrize("media_type", [MediaType.TEXT, MediaType.HTML, "application/xml", MediaType.MESSAGEPACK])
def test_a_media_type_other_than_json(media_type: str) -> None:
    with pytest.raises(ImproperlyConfiguredException, match="the media type"):
        application([get("/", media_type=media_type)(read)])


def test_text_which_litestar_would_send_as_it_is() -> None:
    @get("/")
    async def text() -> str:
        return "x"

    with pytest.raises(ImproperlyConfiguredException, match=r"the media type MediaType\.TEXT"):
        application([text])


@WARNS
def test_a_function_that_is_not_async() -> None:
    @get("/")
    def plain() -> Content:
        return Content("x")

    with pytest.raises(ImproperlyConfiguredException, match="that its function is not async"):
        application([plain])


def test_a_body_without_a_limit() -> None:
    with pytest.raises(ImproperlyConfiguredException, match="that a body may have any size"):
        application([get("/", request_max_body_size=None)(read)])


def test_a_request_class_that_decodes_no_data() -> None:
    @post("/")
    async def create(data: JSONBody[Content]) -> Content:
        return data

    with pytest.raises(ImproperlyConfiguredException, match="the request class, which decodes no data"):
        application([create])
    application([create], request_class=JSONRequest)


@pytest.mark.parametrize("body", [Body(media_type=RequestEncodingType.MULTI_PART), Body(min_length=1)])
def test_a_body_that_is_declared_to_be_something_else(body: Any) -> None:
    @post("/")
    async def create(data: Annotated[Content, body]) -> Content:
        return data

    with pytest.raises(ImproperlyConfiguredException, match="how data is declared"):
        application([create], request_class=JSONRequest)


def test_limits_of_a_path_parameter() -> None:
    @get("/{number:str}")
    async def limited(number: FromPath[Annotated[int, PathParameter(gt=3)]]) -> Content:
        return Content(f"{number}")

    with pytest.raises(ImproperlyConfiguredException, match="how number is declared"):
        application([limited])


def test_all_that_is_honoured_together() -> None:
    class Things(Controller):
        path = "/things"
        opt: ClassVar = {"needs_token": False}
        tags: ClassVar = ["Things"]

        @get("/", name="things", status_code=202, summary="Things", operation_id="listThings")
        async def read(self) -> Content:
            return Content("x")

    application([Things], request_class=JSONRequest, exception_handlers={Exception: respond})
