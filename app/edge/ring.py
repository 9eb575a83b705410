"""The ASGI ring around the application: request id, headers of every answer, CORS, HEAD, the log line.

It stands outside of routing, so nothing that is answered inside, a crash included, goes without them.
"""

import time
from typing import Any

from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from app import logs
from app.edge.headers import CORS, RawHeaders, common, request_id
from app.errors import render

# HEAD is GET without the body. OPTIONS is asked as a method that no route knows, because a refusal lists what
# the route does know; Litestar's own answer lists only the methods of the handler that was registered first.
ASKED_INSTEAD = {"HEAD": "GET", "OPTIONS": "?"}


class Ring:
    """Wrap an application so that each of its answers is one of ours."""

    def __init__(self, app: ASGIApp, cors: CORS, secret: str) -> None:
        """Take the origins to allow, and a secret to hash the log's users with."""
        self.app = app
        self.cors = cors
        self.secret = secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP goes straight through."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _serve(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        method, headers = scope["method"], scope["headers"]
        identifier = request_id(headers)
        logs.request_id.set(identifier)
        answer = _Answer(send, common(identifier) + self._cors(scope), method)
        # A copy, where it is asked as another: the server still has to know that it was HEAD.
        inner: Any = {**scope, "method": ASKED_INSTEAD[method]} if method in ASKED_INSTEAD else scope
        try:
            if _is_preflight(scope):
                await answer.give(204, self.cors.preflight(headers) if not _is_admin(scope) else [])
            else:
                await self.app(inner, receive, answer.send)
        except Exception as error:
            if answer.status is not None:
                raise  # too late for another answer: the server closes the connection
            failure = render(error)
            raw = [(name.encode(), value.encode()) for name, value in failure.headers.items()]
            await answer.give(failure.status, raw, failure.body)
        finally:
            if logs.tells_requests():
                user = inner.get("user")
                hashed = logs.hashed(user.id, self.secret) if hasattr(user, "id") else None
                seconds = time.perf_counter() - began
                logs.request_served(method, inner.get("path_template"), answer.status or 500, seconds, hashed)

    def _cors(self, scope: HTTPScope) -> RawHeaders:
        """The admin is another house, with cookies: no other origin's page reads it."""
        return [] if _is_admin(scope) else self.cors.headers(scope["headers"])


class _Answer:
    """The way out: adds the common headers to the answer's start, and remembers its status."""

    def __init__(self, send: Send, headers: RawHeaders, method: str) -> None:
        self._send = send
        self._headers = headers
        self._method = method
        self._bodiless = method == "HEAD"
        self.status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = [*message.get("headers", []), *self._headers]
            if self._method == "OPTIONS" and message["status"] == 405:
                self._bodiless = True
                headers = [each for each in headers if not each[0].startswith(b"content-")]
                message = {**message, "status": 204}
            self.status = message["status"]
            if b"cache-control" not in [name.lower() for name, _ in headers]:
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        elif message["type"] == "http.response.body" and self._bodiless:
            message = {**message, "body": b""}
        await self._send(message)

    async def give(self, status: int, headers: RawHeaders, body: bytes = b"") -> None:
        length = [] if status == 204 else [(b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": headers + length})
        await self.send({"type": "http.response.body", "body": body, "more_body": False})


def _is_admin(scope: HTTPScope) -> bool:
    return f"{scope['path']}/".startswith("/admin/")


def _is_preflight(scope: HTTPScope) -> bool:
    """Fetch, section 4.8: a browser asks OPTIONS, with its origin and the method it has in mind."""
    if scope["method"] != "OPTIONS":
        return False
    return {b"origin", b"access-control-request-method"} <= {name for name, _ in scope["headers"]}
