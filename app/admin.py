"""piccolo-admin: the staff's house, with its own login, at `/admin/`.

Built once, when it is first asked for: its imports take as long as all of ours together. It speaks its own
language inside. What it is asked passes our door first, and what it crashes on becomes one of our envelopes.
"""

import asyncio
import logging
from functools import cache
from typing import Any

import asyncpg
import msgspec
from litestar import asgi
from litestar.connection import ASGIConnection
from litestar.exceptions import NotFoundException
from litestar.handlers import ASGIRouteHandler, BaseRouteHandler
from litestar.types import Message, Receive, Send
from piccolo.columns import Column
from piccolo.table import Table

from app import admin_page, upkeep
from app.admin_rows import check_unchanged, tagged
from app.admin_tables import RateLimitRow, TaskRow, UserRow
from app.bodies import MAX_BODY_BYTES, check_body_headers, decode, read
from app.database import database
from app.docs import ONE_DAY, POLICY
from app.failures import Forbidden, Invalid, MethodNotAllowed, Unavailable
from app.staff import DEVICE_COOKIE, DEVICE_SECONDS, LoginRequest, Staff, login_request
from app.tasks.structs import TaskPatch

logger = logging.getLogger(__name__)

TASK_STAMPS = (TaskRow.created_at, TaskRow.updated_at, TaskRow.deleted_at)
BUILDING = asyncio.Lock()
SAFE_METHODS = ("GET", "OPTIONS")  # HEAD has become GET by now


def admin() -> ASGIRouteHandler:
    """Return the route that leads to the admin."""
    guards = [check_path, check_body_headers, check_sender]
    return asgi("/admin", is_mount=True, copy_scope=True, guards=guards)(_door)


async def check_path(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: `/administrator` is routed here too. Raises NotFoundException, MethodNotAllowed."""
    if connection.scope["raw_path"].split(b"/")[:2] != [b"", b"admin"]:
        raise NotFoundException
    if connection.scope.get("method") == "PUT":  # PATCH does the same, and asks the hooks
        raise MethodNotAllowed({"GET", "POST", "PATCH", "DELETE"})


async def check_sender(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: a page of another origin may not change anything here. Raises Forbidden.

    A browser tells whose page it is (Fetch, section 3.2), and what is no browser holds nobody else's cookies.
    """
    headers = connection.headers
    is_safe = connection.scope.get("method") in SAFE_METHODS
    if not is_safe and "origin" in headers and headers["origin"].partition("://")[2] != headers.get("host"):
        raise Forbidden("The admin takes requests from its own pages alone.")


async def _door(scope: Any, receive: Receive, send: Send) -> None:
    if scope["raw_path"] == b"/admin":  # the page's own links are relative
        await send({"type": "http.response.start", "status": 307, "headers": [(b"location", b"/admin/")]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    if not database.ready:
        raise Unavailable
    login = _login_request(scope)
    login_request.set(login)
    inwards, outwards = await _inwards(receive), _outwards(scope, send, login)
    async with BUILDING:
        house = await asyncio.to_thread(_house)
    if scope["method"] not in SAFE_METHODS:
        scope["scheme"] = "http"  # over https Piccolo checks the sender too, by a list that it must be given
    try:
        if scope["method"] == "PATCH":
            await check_unchanged(house, {**scope})
        await house(scope, inwards, tagged(scope, outwards))
        if scope["method"] == "DELETE":
            upkeep.wake()
    except (asyncpg.DataError, ValueError, TypeError) as error:
        logger.warning("The admin could not take a value: %s", type(error).__name__)
        raise Invalid("value", "One of the values cannot be taken") from error


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
    new_password: str = ""
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

    async def outwards(message: Message) -> None:
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
        await send(message)

    return outwards


@cache
def _house() -> Any:
    """Build the admin. Once: it takes 40 ms."""
    from piccolo_admin.endpoints import TableConfig, create_admin
    from piccolo_api.crud.endpoints import OrderBy
    from piccolo_api.crud.hooks import Hook, HookType
    from piccolo_api.rate_limiting.middleware import RateLimitProvider
    from piccolo_api.session_auth.tables import SessionsBase

    class StaffSession(SessionsBase, tablename="sessions", db=database):
        """Piccolo's own sessions."""

    class NoLimit(RateLimitProvider):
        """Piccolo's own counts for each process, and by exact address. `Staff.login` counts for all."""

        def increment(self, identifier: str) -> None:
            pass

    def table(kind: type[Table], shown: list[Any], newest: Column, fixed: list[Any]) -> TableConfig:
        def changes(row_id: Any, values: dict[Any, Any]) -> dict[Any, Any]:
            return {column: _text(column, value) for column, value in _without(fixed, values).items()}

        def new(row: Any) -> Any:
            if isinstance(row, TaskRow):
                row.title, row.description = (
                    _text(TaskRow.title, row.title),
                    _text(TaskRow.description, row.description),
                )
            return row

        hooks = [Hook(HookType.pre_patch, changes), Hook(HookType.pre_save, new)]
        order = [OrderBy(newest, ascending=False)]
        return TableConfig(kind, visible_columns=shown, visible_filters=shown, hooks=hooks, order_by=order)

    for name in ("piccolo_admin.endpoints", "piccolo_api.crud.exceptions"):
        logging.getLogger(name).disabled = True  # their tracebacks quote rows; what we log does not
    users = [UserRow.id, UserRow.name, UserRow.email, UserRow.emailVerified, UserRow.createdAt]
    tasks = [*(TaskRow.id, TaskRow.user_id, TaskRow.title, TaskRow.completed), *TASK_STAMPS]
    given = [TaskRow.id, TaskRow.user_id, *TASK_STAMPS, TaskRow.version, TaskRow.changed_by]
    limits = [RateLimitRow.email, RateLimitRow.failed_attempts, RateLimitRow.last_attempt, RateLimitRow.locked_until]
    house = create_admin(
        [
            table(UserRow, users, UserRow.createdAt, [UserRow.id, UserRow.createdAt, UserRow.updatedAt]),
            table(TaskRow, tasks, TaskRow.id, given),
            table(RateLimitRow, limits, RateLimitRow.last_attempt, [RateLimitRow.email, RateLimitRow.created_at]),
        ],
        auth_table=Staff,
        session_table=StaffSession,
        rate_limit_provider=NoLimit(),
        production=True,  # all that it changes is a cookie, on which `_outwards` has the last word
        site_name="Tasks API",
    )
    admin_page.serve(house)
    return house


def _without(fixed: list[Any], values: dict[Any, Any]) -> dict[Any, Any]:
    """Return what may be changed of a row. Its form sends all of it. Raises Invalid where nothing is left."""
    # By identity: columns that are compared make SQL, which is true.
    free = [each for each in values if isinstance(each, Column) and not any(each is one for one in fixed)]
    if not free:
        raise Invalid("value", "None of these fields can be changed here" if values else "Nothing was changed")
    return {column: values[column] for column in free}


def _text(column: Column, value: Any) -> Any:
    """Hold the texts of a task to the API's rules. Raises Invalid."""
    if column is TaskRow.title and value is not None:
        return TaskPatch(title=value).title
    if column is TaskRow.description:
        return TaskPatch(description=value).description
    return value
