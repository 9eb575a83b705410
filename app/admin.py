"""piccolo-admin: the staff's web UI, with its own login, at `/admin/`.

Built once, when it is first asked for: its imports take as long as all of ours together. Each request passes our
checks first, and each refusal or crash of piccolo-admin becomes one of our envelopes.
"""

import asyncio
import logging
from typing import Any

import asyncpg
import msgspec
from litestar import asgi
from litestar.connection import ASGIConnection
from litestar.exceptions import NotFoundException
from litestar.handlers import ASGIRouteHandler, BaseRouteHandler
from litestar.types import Message, Receive, Send

from app import upkeep
from app.admin_failures import CANNOT_BE_TAKEN, enveloped
from app.admin_house import VIEWS, house
from app.admin_rows import TABLE, save, tagged
from app.bodies import MAX_BODY_BYTES, check_body_headers, decode, read
from app.database import database
from app.docs import ONE_DAY, POLICY
from app.failures import Forbidden, Invalid, MethodNotAllowed, Unavailable
from app.staff import DEVICE_COOKIE, DEVICE_SECONDS, LoginRequest, login_request

logger = logging.getLogger(__name__)

BUILDING = asyncio.Lock()
SAFE_METHODS = ("GET", "OPTIONS")  # HEAD has become GET by now
OWN_PAGES = "The admin takes requests from its own pages alone."


def admin() -> ASGIRouteHandler:
    """Return the route that leads to the admin."""
    guards = [check_path, check_body_headers, check_sender]
    return asgi("/admin", is_mount=True, copy_scope=True, guards=guards)(_door)


async def check_path(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: `/administrator` is routed here too. Raises NotFoundException."""
    if connection.scope["raw_path"].split(b"/")[:2] != [b"", b"admin"]:
        raise NotFoundException


async def check_sender(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: a page of another origin may not change anything here. Raises Forbidden.

    A browser tells whose page it is (Fetch, section 3.2), and what is no browser holds nobody else's cookies. Over
    https it also says `Sec-Fetch-Site`, which no page can set: so a proxy may pass `Host` without its port.
    """
    headers = connection.headers
    if connection.scope.get("method") in SAFE_METHODS or "origin" not in headers:
        return
    origin, host = headers["origin"].partition("://")[2], headers.get("host", "")
    if origin == host or headers.get("sec-fetch-site") == "same-origin":
        return
    if origin.rpartition(":")[0] == host:
        raise Forbidden(f"{OWN_PAGES} Behind a proxy, let it pass Host with its port (nginx: $http_host).")
    raise Forbidden(OWN_PAGES)


async def _door(scope: Any, receive: Receive, send: Send) -> None:
    if scope["raw_path"] == b"/admin":  # the page's own links are relative
        await send({"type": "http.response.start", "status": 307, "headers": [(b"location", b"/admin/")]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    if not database.ready:
        raise Unavailable
    view = _view(scope)
    login = _login_request(scope)
    login_request.set(login)
    inwards, outwards = await _inwards(receive), _outwards(scope, send, login)
    async with BUILDING:
        inside = await asyncio.to_thread(house)
    if scope["method"] not in SAFE_METHODS:
        scope["scheme"] = "http"  # over https Piccolo checks the sender too, by a list that it must be given
    try:
        if scope["method"] == "PATCH" and view:
            await save(inside, view, scope, inwards, outwards)
        else:
            await inside(scope, inwards, tagged(scope, outwards))
        if scope["method"] == "DELETE":
            upkeep.wake()
    except (asyncpg.DataError, ValueError, TypeError) as error:
        logger.warning("The admin could not take a value: %s", type(error).__name__)
        raise Invalid("value", CANNOT_BE_TAKEN) from error


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


async def _inwards(receive: Receive) -> Receive:
    """Read the body, which the admin would do without a limit. Raises PayloadTooLarge, NotJSON, Invalid."""
    body = await read(receive, MAX_BODY_BYTES)
    if body:
        decode(body, _Texts)
    unread: list[Any] = [{"type": "http.request", "body": body, "more_body": False}]

    async def inwards() -> Any:
        return unread.pop() if unread else await receive()

    return inwards


def _outwards(scope: Any, send: Send, login: LoginRequest) -> Send:
    """Add our headers. A cookie that was set over https must never be sent over http, and only then."""
    secure = b"; Secure" if scope["scheme"] == "https" else b""
    is_asset = scope["raw_path"].startswith(b"/admin/assets/")

    refusal: list[Any] = []  # its start, and the pieces of its body

    async def outwards(message: Message) -> None:
        if refusal:
            refusal.append(message.get("body", b""))
            if not message.get("more_body", False):
                await _refuse(send, *refusal)
            return
        if message["type"] == "http.response.start":
            if message["status"] == 500:
                raise ValueError("so it answers to a value that does not fit; where it crashes, it raises")
            sent = [*message["headers"]]
            if login.new_device and not login.is_logged_in:  # for the path that it is set by, and no other
                cookie = f"{DEVICE_COOKIE}={login.new_device}; HttpOnly; Max-Age={DEVICE_SECONDS}; SameSite=lax"
                sent.append((b"set-cookie", cookie.encode()))
            headers = [
                (name, value.replace(b"; Secure", b"") + secure if name == b"set-cookie" else value)
                for name, value in sent
            ]
            headers.append((b"content-security-policy", POLICY.encode()))
            if is_asset and message["status"] < 400:
                headers.append((b"cache-control", ONE_DAY.to_header().encode()))
            message = {**message, "headers": headers}
            if message["status"] >= 400:  # its body tells what it is
                refusal.append(message)
                return
        await send(message)

    return outwards


async def _refuse(send: Send, start: Any, *pieces: bytes) -> None:
    """Send a refusal of Piccolo's in our envelope. Raises Invalid for a text of the database's."""
    body = enveloped(start["status"], b"".join(pieces))
    headers = [each for each in start["headers"] if each[0] not in (b"content-type", b"content-length")]
    headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send(start | {"headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
