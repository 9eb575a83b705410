"""The ASGI middleware around the application: request id, headers of every response, CORS, HEAD, the log line.

It stands outside of routing, so that no response of the application goes without them, a crash's included.
"""

import asyncio
import logging
import re
import time
from collections.abc import Sequence
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.observability import logs, request_events
from app.web.errors import broken_off, render
from app.web.headers import COMMON, CORS, NO_STORE, RawHeaders, Singles, request_id, singles

logger = logging.getLogger(__name__)

ORIGIN_HEADER = re.compile(rb"[a-z][a-z0-9+.-]{0,30}://[a-zA-Z0-9._~\[\]:-]{1,260}|null")  # as browsers spell it
PREFLIGHT_HEADERS = {b"origin", b"access-control-request-method"}  # Fetch, section 4.8: a browser sends both
# HEAD is GET without the body. OPTIONS is asked as a method that no route knows, because a refusal lists what
# the route does know; Litestar's own answer lists only the methods of the handler that was registered first.
ASKED_INSTEAD = {"HEAD": "GET", "OPTIONS": "?"}


class HTTPMiddleware:
    """Gives each response of an application what every response has."""

    def __init__(self, app: ASGIApp, cors: CORS, secret: str, proxies: Sequence[str] = (), root_path: str = "") -> None:
        """Take the origins to allow, a secret to hash the log's users with, and the proxies to believe.

        `root_path` is below what the service is seen from outside: a proxy may pass it on, or leave it off.
        """
        self.app = app
        self.cors = cors
        self.secret = secret
        self._root = root_path.encode()
        wrapped: Any = app  # uvicorn has ASGI types of its own
        self._forwarded: Any = ProxyHeadersMiddleware(wrapped, [*proxies])

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP goes straight through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        if self._root:
            _strip_root(self._root, scope)
        method, sent = scope["method"], singles(scope)
        identifier = scope["request_id"] = request_id(sent)  # for responses of the server too
        logs.request_id.set(identifier.decode())
        is_admin = f"{scope['path']}/".startswith("/admin/")
        # The admin works with cookies: no page of another origin reads it.
        cors: RawHeaders = []
        if b"origin" in sent and not is_admin and not (cors := self.cors.headers(sent)):
            _log_unknown_origin(sent)
        headers: RawHeaders = [(b"x-request-id", identifier), *COMMON, *cors]
        scope["answer_headers"] = headers  # to which the application may add
        answer = _Response(send, headers, method, self._root)
        # A copy, where it is asked as another: the server still has to know that it was HEAD.
        inner: Any = scope
        if method in ASKED_INSTEAD:
            inner = {**scope, "method": ASKED_INSTEAD[method], "is_head": method == "HEAD"}
        try:
            if method == "OPTIONS" and sent.keys() >= PREFLIGHT_HEADERS:
                await answer.give(204, self.cors.preflight(sent) if not is_admin else [])
            elif b"x-forwarded-for" in sent or b"x-forwarded-proto" in sent:
                await self._forwarded(inner, receive, answer.send)
            else:
                await self.app(inner, receive, answer.send)
        except Exception as error:
            if answer.status is not None:
                # Too late for another answer: the server cuts the connection.
                if (trouble := broken_off(error)) is not None:
                    raise trouble from error
                raise
            failure = render(error)
            await answer.give(failure.status, failure.raw_headers, failure.body)
        except asyncio.CancelledError:
            answer.status = answer.status or 503  # which the server answers
            raise
        finally:
            status, route, seconds = answer.status or 500, inner.get("path_template"), time.perf_counter() - began
            if request_events.listeners:
                request_events.emit(method, route, status, seconds)
            if logs.tells_requests():
                user = inner.get("user")
                hashed = logs.hashed(user.id, self.secret) if hasattr(user, "id") else None
                logs.request_served(method, route, status, seconds, hashed)


class _Response:
    """Adds the common headers to the start of a response, and keeps its status."""

    __slots__ = ("_bodiless", "_headers", "_method", "_root", "_send", "status")

    def __init__(self, send: Send, headers: RawHeaders, method: str, root: bytes) -> None:
        self._send = send
        self._headers = headers
        self._method = method
        self._root = root
        self._bodiless = method == "HEAD"
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            status, headers = message["status"], [*message["headers"]]
            if self._method == "OPTIONS" and status == 405:
                self._bodiless = True
                status, headers = 204, [each for each in headers if not each[0].startswith(b"content-")]
            self.status = status
            if self._root:
                headers = [_with_root(self._root, *each) for each in headers]
            headers += self._headers
            if b"cache-control" not in [name for name, _ in headers]:
                headers.append(NO_STORE)
            message = {"type": "http.response.start", "status": status, "headers": headers}
        elif self._bodiless and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)

    async def give(self, status: int, headers: RawHeaders, body: bytes = b"") -> None:
        length = [] if status == 204 else [(b"content-length", b"%d" % len(body))]
        await self.send({"type": "http.response.start", "status": status, "headers": headers + length})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def _strip_root(root: bytes, scope: dict[str, Any]) -> None:
    """Take the root path off the paths of a scope, where a proxy has left it on."""
    if f"{scope['path']}/".startswith(f"{root.decode()}/") and (scope["raw_path"] + b"/").startswith(root + b"/"):
        scope["path"], scope["raw_path"] = scope["path"][len(root) :] or "/", scope["raw_path"][len(root) :] or b"/"


def _with_root(root: bytes, name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Return a header with the root path before the path that it points to."""
    if name == b"location" and value.startswith(b"/"):
        return name, root + value
    if name == b"link" and value.startswith(b"</"):
        return name, b"<" + root + value[1:]
    return name, value


def _log_unknown_origin(sent: Singles) -> None:
    """Log an origin that may not read responses, unless it is our own, or not as a browser spells one."""
    origin = sent.get(b"origin") or b""
    if ORIGIN_HEADER.fullmatch(origin) and origin.partition(b"://")[2] != sent.get(b"host"):
        logs.seldom(logger, "origin", "The origin %s is not in FRONTEND_URL.", origin.decode())
