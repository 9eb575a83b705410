"""Route handlers whose way from request to answer is laid once, when the service starts.

They are Litestar's, with its routing, guards, dependencies and document. What Litestar works out anew for each request,
out of a signature that stays the same, is worked out at registration: where each argument comes from, and how the
answer is encoded. `benchmarks/notes.md` has what that saves. A handler of another kind is Litestar's to serve.
"""

import re
from collections.abc import AsyncIterator, Callable
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple, TypeAlias, TypeGuard, TypeVar

from litestar import Litestar, Request, Response
from litestar.di import NamedDependency
from litestar.events import BaseEventEmitterBackend
from litestar.handlers import HTTPRouteHandler
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import Receive, Scope, Send

from app.edge.budget import LARGE_BYTES, answers, owner_of
from app.edge.headers import RawHeaders
from app.envelopes import encode
from app.query import check_none


class App(Litestar):
    """Litestar without its plugins for Pydantic and attrs, which it imports where it finds them.

    The admin brings Pydantic along. Nothing of ours uses it, and it takes 13 MB and a quarter of a second.
    """

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


class NoEvents(BaseEventEmitterBackend):
    """Litestar's own waits for events that we have no listeners for, with a library that takes 4 MB."""

    def emit(self, event_id: str, *args: Any, **kwargs: Any) -> None:
        """Tell nobody."""

    async def __aexit__(self, *_: object) -> None:
        """Nothing was started."""


class Route(NamedTuple):
    """Where a path leads: a handler, the path's template, and the group of the pattern behind which its values are."""

    handler: "Direct"
    template: str
    group: int
    names: tuple[str, ...]


T = TypeVar("T")
IsHead: TypeAlias = NamedDependency[bool]
Source = Callable[[Request[Any, Any, Any]], Any]
BODILESS = (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED)
JSON = (b"content-type", b"application/json")
UNREAD: Any = object()  # content that HEAD does not read; nor is its length told (RFC 9110, section 9.3.2)


def is_head(request: Request[Any, Any, Any]) -> bool:
    """Return whether nobody will see what the handler returns but its status and headers."""
    return request.scope.get("is_head", False)


class Reply(Response[T]):
    """An answer with headers of its own, and a status where it is another than its handler's."""

    def __init__(self, content: T, headers: RawHeaders, status: int | None = None) -> None:
        """Keep both. What Litestar's own prepares besides is for handlers of another kind."""
        self.content = content
        self.raw_headers = headers
        self.status = status


class Stream:
    """JSON that is made piece by piece while it is sent. Where a piece cannot be made, the connection is cut."""

    def __init__(self, pieces: AsyncIterator[bytes], size: int) -> None:
        """Take the pieces, and how many bytes there are of it in memory at a time, about."""
        self.pieces = pieces
        self.size = size


class Direct(HTTPRouteHandler):
    """A handler that takes `data`, `request`, `state`, path parameters and what depends on the request alone.

    One that is made with `reads_query=True` looks at the query itself; any other has no parameters.
    """

    reads_query = False
    sources: tuple[tuple[str, Source], ...] = ()
    takes_data = False
    checks: tuple[Any, ...] = ()
    request: Any = Request

    def on_registration(self, app: Litestar) -> None:
        """Find out where the arguments come from. Raises TypeError for one that comes from nowhere."""
        super().on_registration(app)
        names = [*self.parsed_fn_signature.parameters]
        self.takes_data = "data" in names
        self.reads_query = self.opt.get("reads_query", False)
        self.checks = tuple(self.resolve_guards())
        self.request = self.resolve_request_class()
        self.sources = tuple((name, self._source(name)) for name in names if name != "data")

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises what the guards and the handler's function do."""
        request: Request[Any, Any, Any] = self.request(scope, receive, send)
        for guard in self.checks:
            await guard(request, self)
        if not self.reads_query and (said := scope["query_string"]):
            check_none(said)
        arguments = {name: source(request) for name, source in self.sources}
        if not self.takes_data:
            await Answer(self.status_code, await self.fn(**arguments))(scope, receive, send)
            return
        try:
            arguments["data"] = await request.json()
            await Answer(self.status_code, await self.fn(**arguments))(scope, receive, send)
        finally:
            if let_go := getattr(request, "let_go", None):
                let_go()

    def _source(self, name: str) -> Source:
        if name == "request":
            return lambda request: request
        if name == "state":
            return lambda request: request.app.state
        if dependency := self.resolve_dependencies().get(name):
            return dependency.dependency
        kind = self.parsed_fn_signature.parameters[name].annotation
        if any(name in path for path in self.paths) and kind in (int, str):
            return lambda request: kind(request.scope["path_params"][name])
        raise TypeError(f"{self}: {name} comes from nowhere")


class Dispatch:
    """Litestar's routes, and for these handlers nothing between the router and them.

    Litestar looks a path up level by level, each time. Here all of its paths are one pattern, and what that does not
    find, Litestar looks for.
    """

    def __init__(self, app: Litestar) -> None:
        """Route as `app` does."""
        self._litestar = app.asgi_handler
        self._routes: dict[tuple[int | None, str], Route] = {}
        patterns: list[str] = []
        groups = 1  # the number of the next one
        for route in sorted(filter(_is_plain, app.routes), key=lambda route: len(route.path_parameters)):
            names = [part.name for part in route.path_components if not isinstance(part, str)]
            parts = [re.escape(part) if isinstance(part, str) else "([^/]+)" for part in route.path_components]
            patterns.append(f"(/{'/'.join(parts)})")
            for method, (handler, _) in route.route_handler_map.items():
                if isinstance(handler, Direct):
                    # `lastindex` is the group that was closed last: the one around the whole path.
                    self._routes[groups, method] = Route(handler, route.path_format, groups, (*names,))
            groups += 1 + len(names)
        self._pattern = re.compile("|".join(patterns))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI). Raises what it failed with, for the ring to answer."""
        if scope["type"] == "http" and (match := self._pattern.fullmatch(scope["path"])):
            route = self._routes.get((match.lastindex, scope["method"]))
            if route is not None:
                scope["path_params"] = {name: match[route.group + place] for place, name in enumerate(route.names, 1)}
                scope["path_template"], scope["route_handler"] = route.template, route.handler
                await route.handler.serve(scope, receive, send)
                return
        await self._litestar(scope, receive, send)


def _is_plain(route: BaseRoute) -> TypeGuard[HTTPRoute]:
    """Tell whether all that varies in a path is text: of what else may, Litestar knows more."""
    return isinstance(route, HTTPRoute) and all(each.type is str for each in route.path_parameters.values())


class Answer:
    """A struct, a Response around one, or nothing, as JSON on its way out."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, content: Any) -> None:
        """Encode the content, unless it is a stream, or was not read for HEAD."""
        self.status = status
        self.headers: RawHeaders = []
        if isinstance(content, Reply):
            self.status = content.status or status
            self.headers = content.raw_headers
            content = content.content
        elif isinstance(content, Response):
            self.headers = [(name.lower().encode(), value.encode()) for name, value in content.headers.items()]
            content = content.content
        if self.status in BODILESS:
            self.body: bytes | Stream = b""
        elif content is UNREAD or isinstance(content, Stream):
            self.body = b"" if content is UNREAD else content
            self.headers = [*self.headers, JSON]
        else:
            self.body = body = encode(content)
            self.headers += (JSON, (b"content-length", b"%d" % len(body)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it (ASGI). Raises TooManyBytes for a large one that only reads, while there are too many of them."""
        body = self.body
        if isinstance(body, bytes) and len(body) <= LARGE_BYTES:
            await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
            await send({"type": "http.response.body", "body": body, "more_body": False})
            return
        size = body.size if isinstance(body, Stream) else len(body)
        # What a change has done must be told.
        with answers.reserved(size, owner_of(scope), surely=scope.get("method") != "GET"):
            await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
            if isinstance(body, Stream):
                await self._send(send, body.pieces)
                body = b""
            await send({"type": "http.response.body", "body": body, "more_body": False})

    async def _send(self, send: Send, pieces: AsyncIterator[bytes]) -> None:
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            del piece
            # It waits until the client has taken that. Not before is there a next one in memory.
            await send({"type": "http.response.body", "body": b"", "more_body": True})


get, post, put, patch, delete = (
    partial(Direct, http_method=method) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
)
