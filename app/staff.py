"""Staff: who may log in to the admin, and how often a wrong password may be tried.

Wrong passwords are counted as those of accounts are (`accounts/limits`): before the password is looked at, in
PostgreSQL, for all processes together. A device that has logged in before has a count of its own, which nobody
else's guesses fill (OWASP, "Slow Down Online Guessing Attacks with Device Cookies").
"""

import asyncio
import hashlib
import hmac
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from piccolo.apps.user.tables import BaseUser

from app.accounts import limits
from app.accounts.limits import Limit
from app.addresses import address_key
from app.database import database
from app.failures import Busy
from app.tables import RateLimit

FAILURES_PER_NAME = limits.FAILURES_PER_EMAIL
FAILURES_PER_NETWORK = 10
HASHES_AT_ONCE = 2  # in each process
MAX_LOGINS_UNDER_WAY = 32  # in each process; some three seconds of hashing
WAIT_SECONDS = 5.0  # for one's turn to hash
DEVICE_COOKIE = "staff_device"
DEVICE_SECONDS = 90 * 24 * 60 * 60

# An email that we take has no colon, so no count of an account has such a key.
NAME, DEVICE, AGAIN, NETWORK = "staff:", "staff-device:", "staff-again:", "staff-"

_threads = ThreadPoolExecutor(HASHES_AT_ONCE, thread_name_prefix="pbkdf2")


@dataclass
class LoginRequest:
    """What Piccolo does not tell `Staff.login` of the request that it serves."""

    address: str | None = None
    device: str | None = None  # the cookie that came with it
    is_logged_in: bool = False  # whoever changes the password is
    new_device: str | None = None  # the cookie to send back


login_request: ContextVar[LoginRequest | None] = ContextVar("login_request", default=None)


class Staff(BaseUser, tablename="piccolo_user", db=database):
    """Piccolo's own users. To hash a password takes a quarter of a second: too long for the event loop."""

    _under_way = 0

    @classmethod
    async def login(cls, username: str, password: str) -> int | None:
        """Return the id of the user whose password this is. Takes as long where it is nobody's.

        Raises TooManyRequests, and Busy where more are logging in than can be served in time.
        """
        if cls._under_way >= MAX_LOGINS_UNDER_WAY:
            raise Busy
        cls._under_way += 1
        try:
            return await cls._login(username, password, login_request.get() or LoginRequest())
        finally:
            cls._under_way -= 1

    @classmethod
    async def _login(cls, username: str, password: str, request: LoginRequest) -> int | None:
        attempt = await limits.begin_under(*await cls._limits(username, request))
        try:
            row = await cls._find(username)
            matches = await cls._matches(row, password)
        except Exception:
            # Not looked at, so no attempt. If that cannot be said either, the limits count it after a while.
            with suppress(Exception):
                await limits.take_back(attempt)
            raise
        if row is None or not matches:
            await limits.failed(attempt)
            return None
        await limits.succeeded(attempt)
        await cls.update({cls.last_login: datetime.now()}).where(cls.id == row["id"])
        request.new_device = _new_device(row["password"])
        return row["id"]

    @classmethod
    async def _limits(cls, username: str, request: LoginRequest) -> tuple[Limit, Limit | None]:
        """Return what an attempt is counted by. A network counts only for those who could be anybody."""
        known = username[: (cls.username.length or 0) + 1]  # nobody has a longer one
        if request.is_logged_in:
            return Limit(AGAIN + known, FAILURES_PER_NAME), None
        row = await cls._find(username) if request.device else None
        if row and (nonce := _nonce(request.device or "", row["password"])):
            return Limit(DEVICE + nonce, FAILURES_PER_NAME), None
        return Limit(NAME + known, FAILURES_PER_NAME), Limit(_network(request), FAILURES_PER_NETWORK)

    @classmethod
    async def _find(cls, username: str) -> dict[str, Any] | None:
        return await cls.select(cls.id, cls.password).where(cls.username == username).first()

    @classmethod
    async def _matches(cls, row: dict[str, Any] | None, password: str) -> bool:
        if len(password) > cls._max_password_length:
            return False
        stored = row["password"] if row else f"pbkdf2_sha256${cls._pbkdf2_iteration_count}$salt$none"
        _, iterations, salt, _ = cls.split_stored_password(stored)
        return hmac.compare_digest(await cls._hash(password, salt, int(iterations)), stored)

    @classmethod
    async def update_password(cls, user: str | int, password: str) -> None:
        """Store a new password. Raises ValueError where it is too short or too long, Busy."""
        cls._validate_password(password)
        column = cls.username if isinstance(user, str) else cls.id
        await cls.update({cls.password: await cls._hash(password)}).where(column == user)

    @classmethod
    async def _hash(cls, *arguments: Any) -> str:
        """Hash in a thread as soon as one is free. What nobody waits for any more is not begun. Raises Busy."""
        try:
            working = asyncio.get_running_loop().run_in_executor(_threads, cls.hash_password, *arguments)
            return await asyncio.wait_for(working, WAIT_SECONDS)
        except TimeoutError:
            raise Busy from None


async def unlock(username: str) -> bool:
    """Let a login be tried again, from every network. Returns False where there is none of that name."""
    if not await Staff.exists().where(Staff.username == username):
        return False
    locks = RateLimit.email.is_in([NAME + username, AGAIN + username]) | RateLimit.email.like(f"{NETWORK}ip:%")
    await RateLimit.delete().where(locks)
    return True


def _network(request: LoginRequest) -> str:
    return NETWORK + address_key(request.address)


def _new_device(stored: str) -> str:
    """Return a cookie that names this device to the owner of the stored password, until there is another."""
    content = f"{int(time.time())}.{secrets.token_urlsafe(16)}"
    return f"{content}.{_signature(content, stored)}"


def _nonce(device: str, stored: str) -> str | None:
    """Return by what to count a device, or None where its cookie was not made for this user, or long ago."""
    content, _, signature = device.rpartition(".")
    made, _, nonce = content.partition(".")
    if not hmac.compare_digest(signature.encode(), _signature(content, stored).encode()):
        return None
    return nonce if time.time() - int(made) < DEVICE_SECONDS else None


def _signature(content: str, stored: str) -> str:
    """Sign with the hash of the password: it is secret, and a new password ends what the old one signed."""
    return hmac.new(stored.encode(), f"{DEVICE_COOKIE}:{content}".encode(), hashlib.sha256).hexdigest()
