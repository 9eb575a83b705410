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

import asyncpg
from piccolo.apps.user.tables import BaseUser

from app.accounts import limits, passwords
from app.accounts.limits import Limit
from app.addresses import address_key
from app.database import database
from app.failures import Busy, Invalid
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

NAME_TAKEN = "There is a login of that name already"

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
    _min_password_length = passwords.MIN_CHARACTERS
    _max_password_length = passwords.MAX_CHARACTERS

    @classmethod
    def _validate_password(cls, password: str) -> None:
        """Hold a new password to the rules of accounts. Raises Invalid."""
        passwords.check("password", password)
        if password.startswith("pbkdf2_sha256"):  # Piccolo would take it for a hash
            raise Invalid("password", "A password does not begin with pbkdf2_sha256")

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
    async def add(cls, username: str, password: str) -> int:
        """Make a login, and return its id. Raises Invalid for a name that is none or taken, or a bad password; Busy."""
        check_username(username)
        cls._validate_password(password)
        email = f"{secrets.token_hex(8)}@staff.invalid"  # Piccolo wants one, and nobody is written to
        row = cls(username=username, email=email, active=True, admin=True, superuser=True)
        row.password = await cls._hash(password)
        try:
            await row.save()
        except asyncpg.UniqueViolationError:
            raise Invalid("username", NAME_TAKEN) from None
        return row.id

    @classmethod
    async def update_password(cls, user: str | int, password: str) -> None:
        """Store a new password, which ends every session of that login.

        Raises Invalid where the password is too short or too long, Busy.
        """
        cls._validate_password(password)
        column = cls.username if isinstance(user, str) else cls.id
        change = cls.update({cls.password: await cls._hash(password)}).where(column == user)
        for row in await change.returning(cls.id):
            await end_sessions(row["id"])

    @classmethod
    async def _hash(cls, *arguments: Any) -> str:
        """Hash in a thread as soon as one is free. What nobody waits for any more is not begun. Raises Busy."""
        try:
            working = asyncio.get_running_loop().run_in_executor(_threads, cls.hash_password, *arguments)
            return await asyncio.wait_for(working, WAIT_SECONDS)
        except TimeoutError:
            raise Busy from None


def check_username(username: str) -> None:
    """Raises Invalid for what no login can be called."""
    if not username.strip() or len(username) > (Staff.username.length or 0):
        raise Invalid("username", f"A username has 1 to {Staff.username.length} characters, and is not blank")


async def remove(username: str) -> bool:
    """Remove a login and its sessions. Returns False where there is none of that name."""
    rows = await Staff.delete().where(Staff.username == username).returning(Staff.id)
    for row in rows:
        await end_sessions(row["id"])
    return bool(rows)


async def end_sessions(staff_id: int) -> None:
    """Log a member of staff out everywhere."""
    await Staff.raw("DELETE FROM sessions WHERE user_id = {}", staff_id)


async def listed() -> list[dict[str, Any]]:
    """Return the logins by name: `username`, `active`, `admin` and `last_login`."""
    return await Staff.select(Staff.username, Staff.active, Staff.admin, Staff.last_login).order_by(Staff.username)


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
