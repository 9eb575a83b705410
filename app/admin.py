"""piccolo-admin: the staff's house, with its own login, at `/admin/`.

Built once, when it is first asked for: its imports take as long as all of ours together. It speaks its own
language inside; what it crashes on becomes one of our envelopes.
"""

import asyncio
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

import asyncpg
from litestar import asgi
from litestar.exceptions import NotFoundException
from litestar.handlers import ASGIRouteHandler
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from piccolo.apps.user.tables import BaseUser

from app.database import database
from app.errors import Invalid
from app.tables import RateLimit, Task, User

T = TypeVar("T")

LOGINS, LOGIN_SECONDS, BLOCK_SECONDS = (
    10,
    300,
    900,
)  # so many from one address in that time, or blocked for so long
HASHES_AT_ONCE = 2


class Staff(BaseUser, tablename="piccolo_user", db=database):
    """Piccolo's own users. To hash a password takes a quarter of a second, which the event loop does not have."""

    _hashing = asyncio.Semaphore(HASHES_AT_ONCE)

    @classmethod
    async def login(cls, username: str, password: str) -> int | None:
        """Return the id of the user whose password this is, else None, after the same time."""
        longest = cls.username.length or 0
        if len(username) > longest or len(password) > cls._max_password_length or "\0" in username:
            return None
        row = await cls.select(cls.id, cls.password).where(cls.username == username).first()
        stored = row["password"] if row else f"pbkdf2_sha256${cls._pbkdf2_iteration_count}$salt$none"
        _, iterations, salt, _ = cls.split_stored_password(stored)
        if await cls._hash(password, salt, int(iterations)) != stored or row is None:
            return None
        await cls.update({cls.last_login: datetime.now()}).where(cls.id == row["id"])
        return row["id"]

    @classmethod
    async def update_password(cls, user: str | int, password: str) -> None:
        """Store a new password. Raises ValueError where it is too short or too long."""
        cls._validate_password(password)
        column = cls.username if isinstance(user, str) else cls.id
        await cls.update({cls.password: await cls._hash(password)}).where(column == user)

    @classmethod
    async def _hash(cls, *arguments: Any) -> str:
        async with cls._hashing:
            return await asyncio.to_thread(cls.hash_password, *arguments)


@cache
def _house() -> ASGIApp:
    """Build the admin. Once: its login limit lives in it."""
    from piccolo_admin.endpoints import TableConfig, create_admin
    from piccolo_api.crud.hooks import Hook, HookType
    from piccolo_api.rate_limiting.middleware import InMemoryLimitProvider
    from piccolo_api.session_auth.tables import SessionsBase

    class StaffSession(SessionsBase, tablename="sessions", db=database):
        """Piccolo's own sessions."""

    def read_only(*names: str) -> list[Any]:
        def without(row_id: Any, values: dict[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in values.items() if name not in names}

        return [Hook(HookType.pre_patch, without)]

    return create_admin(
        [
            TableConfig(
                User,
                visible_columns=[User.id, User.name, User.email, User.email_verified, User.created_at],
                visible_filters=[User.id, User.name, User.email, User.email_verified, User.created_at],
                hooks=read_only("id", "created_at", "updated_at"),
                order_by=None,
            ),
            TableConfig(
                Task,
                visible_columns=[
                    Task.id,
                    Task.user_id,
                    Task.title,
                    Task.completed,
                    Task.created_at,
                    Task.updated_at,
                ],
                visible_filters=[Task.user_id, Task.title, Task.completed, Task.created_at, Task.updated_at],
                hooks=read_only("id", "user_id", "created_at", "updated_at"),
                link_column=Task.id,
            ),
            TableConfig(
                RateLimit,
                visible_filters=[RateLimit.email, RateLimit.locked_until],
                hooks=read_only("email", "created_at"),
            ),
        ],
        auth_table=Staff,
        session_table=StaffSession,
        rate_limit_provider=InMemoryLimitProvider(LOGIN_SECONDS, LOGINS, BLOCK_SECONDS),
        site_name="Tasks API",
    )


def admin() -> ASGIRouteHandler:
    """Return the route that leads to the admin."""
    return asgi("/admin", is_mount=True, copy_scope=True)(_door)


async def _door(scope: Scope, receive: Receive, send: Send) -> None:
    path = scope["raw_path"].decode("latin-1").partition("?")[0] if scope.get("raw_path") else scope["path"]
    if scope["type"] != "http" or not (path == "/admin" or path.startswith("/admin/")):
        raise NotFoundException
    if path == "/admin":  # the page's own links are relative
        await send({"type": "http.response.start", "status": 307, "headers": [(b"location", b"/admin/")]})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    house = await asyncio.to_thread(_house)
    held = _Held(send)
    try:
        await house(scope, receive, held.send)
    except (asyncpg.DataError, ValueError) as error:
        raise Invalid("value", "PostgreSQL cannot hold one of the values") from error
    await held.release()


class _Held:
    """Holds a 500 back: if the exception behind it comes after, that is answered instead."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._held: list[Message] = []

    async def send(self, message: Message) -> None:
        if self._held or (message["type"] == "http.response.start" and message["status"] == 500):
            self._held.append(message)
        else:
            await self._send(message)

    async def release(self) -> None:
        for message in self._held:
            await self._send(message)
