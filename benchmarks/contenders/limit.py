"""The limit: the contract's successes by the shortest way that Python, uvicorn and asyncpg leave open.

No framework, no pool that resets, no layers: one function routes, and every connection keeps its statements
prepared. Of failures it knows as much as its callers here can meet.
"""

import asyncio
import gc
import os
import re
import time
from collections import deque
from typing import Any

import asyncpg
import jwt
import msgspec

from benchmarks.contenders import statements

CONNECTIONS = 10
MAX_REMEMBERED = 10_000
MAX_BODY_BYTES = 1024 * 1024
MAX_ID = 2**63 - 1
PLAIN_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
GOOD_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
ORIGIN = os.environ.get("FRONTEND_URL", "http://localhost:3000").encode()
SECRET = os.environ["JWT_SECRET"]
COMMON = [
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"vary", b"Origin"),
]
STATUS = {
    "BAD_REQUEST": 400,
    "UNAUTHORIZED": 401,
    "NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    "PAYLOAD_TOO_LARGE": 413,
    "VALIDATION_ERROR": 422,
}


class Task(msgspec.Struct, frozen=True, gc=False):
    """A row, in the order in which the statements select its columns."""

    id: int
    uid: str
    user_id: str
    title: str
    description: str | None
    completed: bool
    completed_at: str | None
    list_id: int | None
    parent_id: int | None
    position: str
    start_date: str | None
    due_date: str | None
    due_time: str | None
    time_zone: str | None
    due_at: str | None
    priority: int
    labels: msgspec.Raw
    estimate_minutes: int | None
    extra: msgspec.Raw
    created_at: str
    updated_at: str


class Content(msgspec.Struct, gc=False):
    """What a client says about a task."""

    title: str
    description: str | None = None


class Failure(Exception):
    """A refusal, by its code."""


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Content).decode


class Connections:
    """Ten connections, the one used last in front, each with its statements prepared."""

    def __init__(self) -> None:
        """Connect to nothing yet."""
        self._open: list[asyncpg.Connection] = []
        self._free: list[dict[str, Any]] = []
        self._waiting: deque[asyncio.Future[dict[str, Any]]] = deque()

    async def open(self) -> None:
        """Connect, and prepare everything."""
        texts = (statements.LIST, statements.GET, statements.POST, statements.PUT, statements.TOGGLE)
        settings = {"plan_cache_mode": "force_generic_plan"}
        for _ in range(CONNECTIONS):
            connection = await asyncpg.connect(os.environ["DATABASE_URL"], server_settings=settings)
            await connection.set_type_codec("json", schema="pg_catalog", encoder=str, decoder=msgspec.Raw)
            self._open.append(connection)
            self._free.append({text: (await connection.prepare(text)).fetch for text in texts})

    async def close(self) -> None:
        """Say goodbye on each connection."""
        for connection in self._open:
            await connection.close()

    async def fetch(self, text: str, *values: Any) -> list[asyncpg.Record]:
        """Run one of the statements and return its rows."""
        if self._free:
            prepared = self._free.pop()
        else:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            prepared = await waiting
        try:
            return await prepared[text](*values)
        finally:
            self._hand_on(prepared)

    def _hand_on(self, prepared: dict[str, Any]) -> None:
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(prepared)
                return
        self._free.append(prepared)


connections = Connections()
remembered: dict[bytes, tuple[str, float]] = {}
identifiers = iter(f"{os.urandom(8).hex()}-{number:x}".encode() for number in range(2**62))


def caller(authorization: bytes | None) -> str:
    """Return the user whom the header names. Raises Failure."""
    if authorization is None:
        raise Failure("UNAUTHORIZED")
    known = remembered.get(authorization)
    if known is not None and known[1] > time.time():
        return known[0]
    scheme, _, token = authorization.partition(b" ")
    try:
        claims = jwt.decode(token, SECRET, ["HS256"], options={"require": ["exp"]}, leeway=30)
    except jwt.InvalidTokenError:
        raise Failure("UNAUTHORIZED") from None
    user = claims.get("user_id", claims.get("sub"))
    if scheme.lower() != b"bearer" or not isinstance(user, str) or not user:
        raise Failure("UNAUTHORIZED")
    if len(remembered) >= MAX_REMEMBERED:
        del remembered[next(iter(remembered))]
    remembered[authorization] = (user, claims["exp"] + 30)
    return user


async def content(receive: Any) -> Content:
    """Return what the body says. Raises Failure."""
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise Failure("PAYLOAD_TOO_LARGE")
    try:
        said = decode(body)
    except msgspec.ValidationError:
        raise Failure("VALIDATION_ERROR") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Failure("BAD_REQUEST") from None
    said.title = said.title.strip()
    if not 1 <= len(said.title) <= 500 or "\0" in said.title or (said.description and "\0" in said.description):
        raise Failure("VALIDATION_ERROR")
    return said


async def answer(method: str, path: str, authorization: bytes | None, receive: Any) -> tuple[int, Any]:
    """Return the status and the data. Raises Failure."""
    user = caller(authorization)
    rest = path[11:]
    if path[:11] not in ("/api/tasks", "/api/tasks/"):
        raise Failure("NOT_FOUND")
    if not rest:
        if method == "GET":
            return 200, [Task(*row) for row in await connections.fetch(statements.LIST, user)]
        if method != "POST":
            raise Failure("METHOD_NOT_ALLOWED")
        said = await content(receive)
        return 201, Task(*(await connections.fetch(statements.POST, user, said.title, said.description))[0])
    identifier, _, action = rest.partition("/")
    if not PLAIN_INTEGER.fullmatch(identifier):
        raise Failure("VALIDATION_ERROR")
    if not 0 < (number := int(identifier)) <= MAX_ID:
        raise Failure("NOT_FOUND")
    if method == "GET" and not action:
        rows = await connections.fetch(statements.GET, user, number)
    elif method == "PUT" and not action:
        said = await content(receive)
        rows = await connections.fetch(statements.PUT, user, number, said.title, said.description)
    elif method == "PATCH" and action == "complete":
        rows = await connections.fetch(statements.TOGGLE, user, number)
    else:
        raise Failure("METHOD_NOT_ALLOWED")
    if not rows:
        raise Failure("NOT_FOUND")
    return 200, Task(*rows[0])


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Serve one request, in ASGI."""
    if scope["type"] != "http":
        await lifespan(receive, send)
        return
    authorization, identifier, more = None, b"", []
    for name, value in scope["headers"]:
        if name == b"authorization":
            authorization = value if authorization is None else b""
        elif name == b"x-request-id" and GOOD_REQUEST_ID.fullmatch(value):
            identifier = value
        elif name == b"origin" and value == ORIGIN:
            more = [(b"access-control-allow-origin", value), (b"access-control-allow-credentials", b"true")]
    try:
        status, data = await answer(scope["method"], scope["path"], authorization, receive)
        body = b'{"data":%b}' % encode(data)
        if status == 201:
            more.append((b"location", b"/api/tasks/%d" % data.id))
    except Failure as failure:
        code = str(failure)
        status, body = STATUS[code], encode({"error": {"code": code, "message": "This cannot be done."}})
        if status == 401:
            more.append((b"www-authenticate", b'Bearer error="invalid_token"' if authorization else b"Bearer"))
    headers = [*COMMON, (b"content-length", b"%d" % len(body)), (b"x-request-id", identifier or next(identifiers))]
    await send({"type": "http.response.start", "status": status, "headers": headers + more if more else headers})
    await send({"type": "http.response.body", "body": body})


async def lifespan(receive: Any, send: Any) -> None:
    """Connect before the first request, and keep the garbage collector off what lives for ever."""
    await receive()
    await connections.open()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await connections.close()
    await send({"type": "lifespan.shutdown.complete"})
