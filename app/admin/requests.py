"""A request to the admin: read with our limits, answered by piccolo-admin, its failures in our envelopes."""

import asyncio
import logging
from typing import Any

import asyncpg
import msgspec
from litestar import Litestar
from litestar.connection import ASGIConnection
from litestar.types import Receive, Send

from app.admin.build import VIEWS, build
from app.admin.failures import CANNOT_BE_TAKEN, enveloped
from app.admin.mount import SAFE_METHODS, TaskCheck
from app.admin.rows import TABLE, AdminAnswer, AdminApp, answer_of, save
from app.admin.staff import DEVICE_COOKIE, DEVICE_SECONDS, LoginRequest, login_request
from app.db.engine import database
from app.openapi.page import ONE_DAY, POLICY
from app.web.body import MAX_BODY_BYTES, decode, read
from app.web.failures import Invalid, MethodNotAllowed, Unavailable

logger = logging.getLogger(__name__)

BUILDING = asyncio.Lock()
PIECE_BYTES = 64 * 1024


async def serve(scope: Any, receive: Receive, send: Send, check_task: TaskCheck) -> None:
    """Answer one request. Raises Invalid, MethodNotAllowed, RowChanged, Unavailable, and what reading a body does."""
    if scope["raw_path"] == b"/admin":  # the page's own links are relative
        await _send(send, AdminAnswer(307, [(b"location", b"/admin/")], b""))
        return
    if not database.ready:
        raise Unavailable
    view, login = _view(scope), _login_request(scope)
    login_request.set(login)
    body = await read(receive, MAX_BODY_BYTES)  # which the admin would do without a limit
    if body:
        decode(body, _Texts)
    is_secure = scope["scheme"] == "https"
    async with BUILDING:
        admin = await asyncio.to_thread(build, check_task)
    if script := admin.scripts.get(scope["path"].rstrip("/")):
        body = script()
        headers = [(b"content-type", b"text/javascript; charset=utf-8"), (b"content-length", b"%d" % len(body))]
        answer = AdminAnswer(200, headers, body)
    else:
        answer = await _ask(admin.app, view, scope, body, receive)
    await _send(send, _finished(answer, login, is_secure=is_secure, is_asset=scope["path"].startswith("/assets/")))


async def _ask(app: AdminApp, view: Any, scope: Any, body: bytes, receive: Receive) -> AdminAnswer:
    """Return the admin's answer to a request whose body was read. Raises Invalid, RowChanged."""
    unread: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Any:
        return unread.pop() if unread else await receive()

    if scope["method"] not in SAFE_METHODS:
        scope["scheme"] = "http"  # over https Piccolo checks the sender too, by a list that it must be given
    try:
        if scope["method"] == "PATCH" and view:
            return await save(app, view, scope, receive_again)
        answer = await answer_of(app, scope, receive_again)
    except (asyncpg.DataError, ValueError, TypeError) as error:
        logger.warning("The admin could not take a value: %s", type(error).__name__)
        raise Invalid("value", CANNOT_BE_TAKEN) from error
    if scope["method"] == "DELETE":
        Litestar.from_scope(scope).state["cleanup"].wake()
    return answer


def _view(scope: Any) -> Any:
    """Return the table that is asked for, if there is such a one. Raises MethodNotAllowed for what it does not take."""
    path = TABLE.fullmatch(scope["path"])
    view = VIEWS.get(path[1]) if path else None
    if view and scope["method"] not in {*view.methods(), *SAFE_METHODS}:
        raise MethodNotAllowed(view.methods(), "Rows of this table are not made, changed or deleted in that way here.")
    return view


def _login_request(scope: Any) -> LoginRequest:
    connection = ASGIConnection[Any, Any, Any, Any](scope)
    address = connection.client.host if connection.client else None
    is_logged_in = scope["path"].startswith("/api/")  # where the admin lets in nobody else
    return LoginRequest(address, connection.cookies.get(DEVICE_COOKIE), is_logged_in)


class _Texts(msgspec.Struct):
    """What the admin takes for text without looking."""

    username: str = ""
    password: str = ""
    current_password: str = ""
    new_password: str | None = ""
    confirm_new_password: str = ""


def _finished(answer: AdminAnswer, login: LoginRequest, *, is_secure: bool, is_asset: bool) -> AdminAnswer:
    """Return the answer with our headers; a refusal, in our envelope. Raises Invalid for a text of the database's.

    A cookie that was set over https must never be sent over http, and only then.
    """
    status, headers, body = answer
    if login.new_device and not login.is_logged_in:  # for the path that it is set by, and no other
        cookie = f"{DEVICE_COOKIE}={login.new_device}; HttpOnly; Max-Age={DEVICE_SECONDS}; SameSite=lax"
        headers = [*headers, (b"set-cookie", cookie.encode())]
    if status >= 400:
        body = enveloped(status, body)
        headers = [each for each in headers if each[0] not in (b"content-type", b"content-length")]
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    elif is_asset:
        headers = [*headers, (b"cache-control", ONE_DAY.to_header().encode())]
    secure = b"; Secure" if is_secure else b""
    headers = [
        (name, value.replace(b"; Secure", b"") + secure if name == b"set-cookie" else value) for name, value in headers
    ]
    return AdminAnswer(status, [*headers, (b"content-security-policy", POLICY.encode())], body)


async def _send(send: Send, answer: AdminAnswer) -> None:
    """Send an answer in pieces: of all that clients do not take, no connection holds more than two (ASGI)."""
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    for start in range(0, len(answer.body), PIECE_BYTES):
        piece = answer.body[start : start + PIECE_BYTES]
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
