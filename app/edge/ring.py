"""The ASGI ring around the application: request id, headers of every answer, CORS, HEAD, the log line.

It stands outside of routing, so nothing that is answered inside, a crash included, goes without them.
"""

import asyncio
import logging
import re
import time
from collections.abc import Sequence
from typing import Any

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app import logs
from app.edge import served
from app.edge.headers import COMMON, CORS, NO_STORE, RawHeaders, Singles, request_id, singles
from app.errors import broken_off, render

logger = logging.getLogger(__name__)

ORIGIN = re.compile(rb"[a-z][a-z0-9+.-]{0,30}://[a-zA-Z0-9._~\[\]:-]{1,260}|null")  # as browsers spell it
# HEAD is GET without the body. OPTIONS is asked as a method that no route knows, because a refusal lists what
# the route does know; Litestar's own answer lists only the methods of the handler that was registered first.
ASKED_INSTEAD = {"HEAD": "GET", "OPTIONS": "?"}


class Ring:
    """Wrap an application so that each of its answers is one of ours."""

    def __init__(self, app: ASGIApp, cors: CORS, secret: str, proxies: Sequence[str] = (), root_path: str = "") -> None:
        """Take the origins to allow, a secret to hash the log's users with, and the proxies to believe.

        `root_path` is below what the service is seen from outside: a proxy may pass it on, or leave it off.
        """
        self.app = app
        self.cors = cors
        self.secret = secret
        self._root = root_path.encode()
        self._forwarded: Any = ProxyHeadersMiddleware(app, [*proxies])  # type: ignore[arg-type] # uvicorn's own types

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP goes straight through."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _serve(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        if self._root:
            _leave_off(self._root, scope)
        method, sent = scope["method"], singles(scope)
        identifier: bytes = request_id(sent)
        scope["request_id"] = identifier  # type: ignore[typeddict-unknown-key] # for answers given below
        logs.request_id.set(identifier.decode())
        is_admin = f"{scope['path']}/".startswith("/admin/")
        # The admin is another house, with cookies: no other origin's page reads it.
        cors: RawHeaders = []
        if b"origin" in sent and not is_admin and not (cors := self.cors.headers(sent)):
            _tell_origin(sent)
        headers: RawHeaders = [(b"x-request-id", identifier), *COMMON, *cors]
        scope["answer_headers"] = headers  # type: ignore[typeddict-unknown-key] # for what is known further in
        answer = _Answer(send, headers, method, self._root)
        # A copy, where it is asked as another: the server still has to know that it was HEAD.
        inner: Any = scope
        if method in ASKED_INSTEAD:
            inner = {**scope, "method": ASKED_INSTEAD[method], "is_head": method == "HEAD"}
        try:
            if method == "OPTIONS" and _is_preflight(sent):
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
            raw = [(name.encode(), value.encode()) for name, value in failure.headers.items()]
            await answer.give(failure.status, raw, failure.body)
        except asyncio.CancelledError:
            answer.status = answer.status or 503  # which the server answers
            raise
        finally:
            if served.listeners:
                route = inner.get("path_template")
                served.tell(method, route, answer.status or 500, time.perf_counter() - began)
            if logs.tells_requests():
                user = inner.get("user")
                hashed = logs.hashed(user.id, self.secret) if hasattr(user, "id") else None
                seconds = time.perf_counter() - began
                logs.request_served(method, inner.get("path_template"), answer.status or 500, seconds, hashed)


class _Answer:
    """The way out: adds the common headers to the answer's start, and remembers its status."""

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
                headers = [_below(self._root, *each) for each in headers]
            if b"cache-control" not in [name for name, _ in headers]:
                headers.append(NO_STORE)
            message = {"type": "http.response.start", "status": status, "headers": headers + self._headers}
        elif self._bodiless and message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await self._send(message)

    async def give(self, status: int, headers: RawHeaders, body: bytes = b"") -> None:
        length = [] if status == 204 else [(b"content-length", b"%d" % len(body))]
        await self.send({"type": "http.response.start", "status": status, "headers": headers + length})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def _leave_off(root: bytes, scope: Any) -> None:
    """Let a path that begins with the root be what comes after it."""
    if f"{scope['path']}/".startswith(f"{root.decode()}/") and (scope["raw_path"] + b"/").startswith(root + b"/"):
        scope["path"], scope["raw_path"] = scope["path"][len(root) :] or "/", scope["raw_path"][len(root) :] or b"/"


def _below(root: bytes, name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """Return a header as it is to be seen from outside: what it points to is below the root."""
    if name == b"location" and value.startswith(b"/"):
        return name, root + value
    if name == b"link" and value.startswith(b"</"):
        return name, b"<" + root + value[1:]
    return name, value


def _tell_origin(sent: Singles) -> None:
    """Say whose pages are kept out, unless it is ours, or no browser's spelling of an origin."""
    origin = sent.get(b"origin") or b""
    if ORIGIN.fullmatch(origin) and origin.partition(b"://")[2] != sent.get(b"host"):
        logs.seldom(logger, "origin", "The origin %s is not in FRONTEND_URL.", origin.decode())


def _is_preflight(sent: Singles) -> bool:
    """Fetch, section 4.8: a browser asks OPTIONS, with its origin and the method it has in mind."""
    return b"origin" in sent and b"access-control-request-method" in sent
