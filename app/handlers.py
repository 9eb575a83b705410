"""Route handlers whose way from request to answer is laid once, when the service starts.

They are Litestar's, with its routing, guards, dependencies and document. What Litestar works out anew for each request,
out of a signature that stays the same, is worked out at registration: where each argument comes from, and how the
answer is encoded. `benchmarks/notes.md` has what that saves. A handler of another kind is Litestar's to serve.
"""

from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from litestar import Litestar, Request, Response
from litestar.handlers import HTTPRouteHandler
from litestar.types import Receive, Scope, Send
from litestar.utils.path import normalize_path

from app.envelopes import encode

Source = Callable[[Request[Any, Any, Any]], Any]
JSON = (b"content-type", b"application/json")


class Direct(HTTPRouteHandler):
    """A handler that takes `data`, `request`, `state`, path parameters and what depends on the request alone."""

    sources: tuple[tuple[str, Source], ...] = ()
    takes_data = False
    checks: tuple[Any, ...] = ()
    request: Any = Request

    def on_registration(self, app: Litestar) -> None:
        """Find out where the arguments come from. Raises TypeError for one that comes from nowhere."""
        super().on_registration(app)
        names = [*self.parsed_fn_signature.parameters]
        self.takes_data = "data" in names
        self.checks = tuple(self.resolve_guards())
        self.request = self.resolve_request_class()
        self.sources = tuple((name, self._source(name)) for name in names if name != "data")

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises what the guards and the handler's function do."""
        request: Request[Any, Any, Any] = self.request(scope, receive, send)
        for guard in self.checks:
            await guard(request, self)
        arguments = {name: source(request) for name, source in self.sources}
        if self.takes_data:
            arguments["data"] = await request.json()
        await Answer(self.status_code, await self.fn(**arguments))(scope, receive, send)

    def _source(self, name: str) -> Source:
        if name == "request":
            return lambda request: request
        if name == "state":
            return lambda request: request.app.state
        if dependency := self.resolve_dependencies().get(name):
            return dependency.dependency
        kind = self.parsed_fn_signature.parameters[name].annotation
        if any(name in path for path in self.paths) and kind in (int, str):
            return lambda request: kind(request.path_params[name])
        raise TypeError(f"{self}: {name} comes from nowhere")


class Dispatch:
    """Litestar's routing, and for these handlers nothing between it and them."""

    def __init__(self, app: Litestar) -> None:
        """Route as `app` does."""
        self._litestar = app.asgi_handler
        self._route = app.asgi_router.handle_routing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request (ASGI). Raises what it failed with, for the ring to answer."""
        if scope["type"] == "http":
            _, handler, path, parameters, template = self._route(
                path=normalize_path(scope["path"]), method=scope["method"]
            )
            if isinstance(handler, Direct):
                scope.update(path=path, path_params=parameters, path_template=template, route_handler=handler)
                await handler.serve(scope, receive, send)
                return
        await self._litestar(scope, receive, send)


class Answer:
    """A struct, a Response around one, or nothing, as JSON on its way out."""

    __slots__ = ("body", "headers", "status")

    def __init__(self, status: int, content: Any) -> None:
        """Encode the content."""
        self.status = status
        self.headers: list[tuple[bytes, bytes]] = []
        if isinstance(content, Response):
            self.headers = [(name.lower().encode(), value.encode()) for name, value in content.headers.items()]
            content = content.content
        self.body = b"" if status == HTTPStatus.NO_CONTENT else encode(content)
        if status != HTTPStatus.NO_CONTENT:
            self.headers += (JSON, (b"content-length", b"%d" % len(self.body)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it (ASGI)."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})


get, post, put, patch, delete = (
    partial(Direct, http_method=method) for method in ("GET", "POST", "PUT", "PATCH", "DELETE")
)
