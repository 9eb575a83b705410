"""Fast handlers: what Litestar works out anew for each request is worked out once, at registration.

They are Litestar's handlers, with its guards, dependencies and document. Where each argument comes from and how the
response is encoded follows from a signature that stays the same. `benchmarks/notes.md` has what that saves: two thirds
of the CPU time of Litestar's own. A fast handler with an option that it would ignore, its own or that of a layer around
it, is not registered (`app/web/handler_options.py`). Litestar serves handlers of its own kind.
"""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeAlias, TypeGuard, TypeVar, cast

import msgspec
from litestar import Litestar, Request, Response
from litestar.di import NamedDependency
from litestar.exceptions import ImproperlyConfiguredException
from litestar.handlers import HTTPRouteHandler
from litestar.routes import BaseRoute, HTTPRoute
from litestar.types import ASGIApp, Receive, Scope, Send

from app.web.application import App
from app.web.envelopes import encode
from app.web.handler_options import function_of, ignored
from app.web.headers import BODILESS, RawHeaders
from app.web.query import check_none
from app.web.response_budget import LARGE_BYTES, answers, owner_of


class Route(NamedTuple):
    """Where a path leads: a handler, the path's template, and the group of the pattern behind which its values are."""

    handler: "FastHandler"
    template: str
    group: int
    names: tuple[str, ...]


T = TypeVar("T")
IsHead: TypeAlias = NamedDependency[bool]
Source = Callable[[Request[Any, Any, Any]], Any]
JSON = (b"content-type", b"application/json")
UNREAD: Any = object()  # content that HEAD does not read; nor is its length told (RFC 9110, section 9.3.2)


def is_head(request: Request[Any, Any, Any]) -> bool:
    """Return whether nobody will see what the handler returns but its status and headers."""
    scope = cast("Mapping[str, Any]", request.scope)
    return scope.get("is_head", False)


def _none(_: Any) -> Any:
    raise AttributeError("a JSONResponse has only what it is made with: content, headers, status")


NONE: Any = property(_none)


class JSONResponse(Response[T]):
    """A response with headers, and a status where it is another than its handler's.

    It costs less than Litestar's own Response, which a fast handler may return too, and has nothing else.
    """

    background = cookies = encoding = headers = media_type = status_code = NONE

    def __init__(self, content: T, headers: RawHeaders, status: int | None = None) -> None:
        self.content = content
        self.raw_headers = headers
        self.status = status


class Stream(NamedTuple):
    """JSON that is made piece by piece while it is sent. Where a piece cannot be made, the connection is cut."""

    pieces: AsyncIterator[bytes]
    size: int  # bytes of it that are in memory at a time, about


Content: TypeAlias = "JSONResponse[Any] | Stream | msgspec.Struct | dict[str, Any] | None"


class FastHandler(HTTPRouteHandler):
    """A handler that takes `data`, `request`, `state`, path parameters and what depends on the request alone.

    One that is made with `reads_query=True` looks at the query itself; any other has no parameters.
    """

    reads_query = False
    sources: tuple[tuple[str, Source], ...] = ()
    takes_data = False
    checks: tuple[Any, ...] = ()
    request: Any = Request

    def on_registration(self, app: Litestar) -> None:
        """Find out where the arguments come from.

        Raises ImproperlyConfiguredException for an option that would be ignored, and TypeError for an argument that
        comes from nowhere.
        """
        super().on_registration(app)
        litestars: Any = self  # whose generic types have no parameters
        names = [*self.parsed_fn_signature.parameters]
        self.takes_data = "data" in names
        self.reads_query = self.opt.get("reads_query", False)
        self.checks = tuple(litestars.resolve_guards())
        self.request = litestars.resolve_request_class()
        for each in ignored(self):
            raise ImproperlyConfiguredException(
                f"{self}: a fast handler would ignore {each}; app/web/handler_options.py has what it honours"
            )
        self.sources = tuple((name, self._source(name)) for name in names if name != "data")

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises what the guards and the handler's function do."""
        request: Any = self.request(scope, receive, send)
        for guard in self.checks:
            await guard(request, self)
        if not self.reads_query and (said := scope["query_string"]):
            check_none(said)
        arguments = {name: source(request) for name, source in self.sources}
        if not self.takes_data:
            await self._respond(request, await self.fn(**arguments), send)
            return
        try:
            arguments["data"] = await request.json()
            await self._respond(request, await self.fn(**arguments), send)
        finally:
            request.release()

    def _respond(self, request: Any, content: Any, send: Send) -> Awaitable[None]:
        if _is_litestars(content):
            # Litestar's own honours all that it has: its status, headers, cookies, media type and background tasks.
            respond: ASGIApp = content.to_asgi_response(None, request, status_code=self.status_code)
            return respond(request.scope, request.receive, send)
        return send_json(self.status_code, content, request.scope, send)

    def _source(self, name: str) -> Source:
        if name == "request":
            return lambda request: request
        if name == "state":
            return lambda request: request.app.state
        if dependency := self.resolve_dependencies().get(name):
            return function_of(dependency, f"{self}: {name}")
        kind = self.parsed_fn_signature.parameters[name].annotation
        if any(f"{{{name}:str}}" in path for path in self._whole_paths()) and kind in (int, str):
            return lambda request: kind(request.scope["path_params"][name])
        raise TypeError(f"{self}: {name} comes from nowhere")

    def _whole_paths(self) -> Iterator[str]:
        layers: list[Any] = self.ownership_layers[:-1]
        above = "/".join(layer.path for layer in layers)
        return (f"{above}/{path}" for path in self.paths)


def _is_litestars(content: object) -> bool:
    return not isinstance(content, JSONResponse) and isinstance(content, Response)


class FastRouter:
    """Litestar's routes, and for fast handlers nothing between the router and them.

    Litestar looks a path up level by level, each time. Here all of its paths are one pattern, and what that does not
    find, Litestar looks for.
    """

    def __init__(self, app: Litestar) -> None:
        if isinstance(app, App):
            app.is_routed = True
        self._litestar = app.asgi_handler
        self._routes: dict[tuple[int | None, str], Route] = {}
        patterns: list[str] = []
        groups = 1  # the number of the next one
        for route in sorted(filter(_is_plain, app.routes), key=lambda route: len(route.path_parameters)):
            names = [part.name for part in route.path_components if not isinstance(part, str)]
            parts = [re.escape(part) if isinstance(part, str) else "([^/]+)" for part in route.path_components]
            patterns.append(f"(/{'/'.join(parts)})")
            for method, (handler, _) in route.route_handler_map.items():
                if isinstance(handler, FastHandler):
                    # `lastindex` is the group that was closed last: the one around the whole path.
                    self._routes[groups, method] = Route(handler, route.path_format, groups, (*names,))
            groups += 1 + len(names)
        self._pattern = re.compile("|".join(patterns))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI). Raises what it failed with, for the middleware around it to answer."""
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


async def send_json(status: int, content: Content, scope: Mapping[str, Any], send: Send) -> None:
    """Send a struct, a stream, a JSONResponse around one, or nothing, as JSON (ASGI).

    Raises TooManyBytes for a large one that only reads, while there are too many of them.
    """
    headers: RawHeaders = []
    if isinstance(content, JSONResponse):
        status, headers, content = content.status or status, content.raw_headers, content.content
    stream = content if isinstance(content, Stream) and status not in BODILESS else None
    body = b""
    if stream or content is UNREAD:
        headers = [*headers, JSON]
    elif status not in BODILESS:
        body = encode(content)
        headers = [*headers, JSON, (b"content-length", b"%d" % len(body))]
    if stream is None and len(body) <= LARGE_BYTES:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body, "more_body": False})
        return
    del content  # its bytes are here, and count
    # What a change has done must be told.
    size, is_change = stream.size if stream else len(body), scope.get("method") != "GET"
    with answers.reserved(size, owner_of(scope), is_required=is_change):
        await send({"type": "http.response.start", "status": status, "headers": headers})
        if stream:
            async for piece in stream.pieces:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                del piece
                # It waits until the client has taken that. Not before is there a next one in memory.
                await send({"type": "http.response.body", "body": b"", "more_body": True})
        await send({"type": "http.response.body", "body": body, "more_body": False})


get, post, put, patch, delete = (
    partial(FastHandler, http_method=method) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
)
