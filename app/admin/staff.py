"""Staff: who may log in to the admin, and how often a wrong password may be tried.

Wrong passwords are counted as those of accounts are (`app/auth/lockout`): before the password is looked at, in
PostgreSQL, for all processes together. A device that has logged in before has a count of its own, which nobody
else's guesses fill (OWASP, "Slow Down Online Guessing Attacks with Device Cookies").
"""

import hashlib
import hmac
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg
from piccolo.apps.user.tables import BaseUser

from app.admin.views import run_sql
from app.auth import lockout, passwords
from app.auth.lockout import Limit
from app.db.piccolo_engine import engine
from app.web.addresses import address_key
from app.web.failures import Busy, Invalid

FAILURES_PER_NETWORK = 10
MAX_LOGINS_UNDER_WAY = 32  # in each process; some three seconds of hashing
DEVICE_COOKIE = "staff_device"
DEVICE_SECONDS = 90 * 24 * 60 * 60

# An email that we take has no colon, so no count of an account has such a key.
BY_NAME, DEVICE, AGAIN, NETWORK = "staff:", "staff-device:", "staff-again:", "staff-"

MAX_USERNAME = 100  # characters
ADD = """
    INSERT INTO piccolo_user (username, password, first_name, last_name, email, active, admin, superuser)
    VALUES ({}, {}, '', '', {}, true, true, true) RETURNING id
"""
NAME_TAKEN = "There is a login of that name already"

_threads = ThreadPoolExecutor(passwords.MAX_CONCURRENT_HASHES, thread_name_prefix="pbkdf2")


@dataclass
class LoginRequest:
    """What Piccolo does not tell `Staff.login` of the request that it serves."""

    address: str | None = None
    device: str | None = None  # the cookie that came with it
    is_logged_in: bool = False  # of the staff who changes the password
    new_device: str | None = None  # the cookie to send back


login_request: ContextVar[LoginRequest | None] = ContextVar("login_request", default=None)


class Staff(BaseUser, tablename="piccolo_user", db=engine):
    """Piccolo's own users. To hash a password takes a quarter of a second: too long for the event loop."""

    _under_way = 0
    _min_password_length = passwords.MIN_CHARACTERS
    _max_password_length = passwords.MAX_PASSWORD_CHARACTERS

    @classmethod
    def _validate_password(cls, password: str) -> None:
        """Hold a new password to the rules of accounts. Raises Invalid."""
        passwords.check_length("password", password)
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
        async def verify() -> asyncpg.Record | None:
            row = await cls._find(username)
            return row if await cls._matches(row, password) else None

        row = await lockout.attempt(verify, *await cls._limits(username, request))
        if row is None:
            return None
        await run_sql("UPDATE piccolo_user SET last_login = {} WHERE id = {}", datetime.now(), row["id"])
        request.new_device = _new_device(row["password"])
        return row["id"]

    @classmethod
    async def _limits(cls, username: str, request: LoginRequest) -> list[Limit]:
        """Return what an attempt is counted by. A network counts only for those who could be anybody."""
        known = username[: MAX_USERNAME + 1]  # nobody has a longer one
        if request.is_logged_in:
            return [Limit(AGAIN + known)]
        row = await cls._find(username) if request.device else None
        if row and (nonce := _nonce(request.device or "", row["password"])):
            return [Limit(DEVICE + nonce)]
        return [Limit(BY_NAME + known), Limit(NETWORK + address_key(request.address), FAILURES_PER_NETWORK)]

    @classmethod
    async def _find(cls, username: str) -> asyncpg.Record | None:
        rows = await run_sql("SELECT id, password FROM piccolo_user WHERE username = {}", username)
        return rows[0] if rows else None

    @classmethod
    async def _matches(cls, row: asyncpg.Record | None, password: str) -> bool:
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
        try:
            rows = await run_sql(ADD, username, await cls._hash(password), email)
        except asyncpg.UniqueViolationError:
            raise Invalid("username", NAME_TAKEN) from None
        return rows[0]["id"]

    @classmethod
    async def update_password(cls, user: str | int, password: str) -> None:
        """Store a new password, which ends every session of that login.

        Raises Invalid where the password is too short or too long, Busy.
        """
        cls._validate_password(password)
        column = "username" if isinstance(user, str) else "id"
        change = f"UPDATE piccolo_user SET password = {{}} WHERE {column} = {{}} RETURNING id"
        for row in await run_sql(change, await cls._hash(password), user):
            await end_sessions(row["id"])

    @classmethod
    async def _hash(cls, *arguments: Any) -> str:
        """Hash in a thread as soon as one is free. Raises Busy."""
        return await passwords.in_turn(lambda: cls.hash_password(*arguments), _threads)


def check_username(username: str) -> None:
    """Raises Invalid for what no login can be called."""
    if not username.strip() or len(username) > MAX_USERNAME:
        raise Invalid("username", f"A username has 1 to {MAX_USERNAME} characters, and is not blank")


async def remove(username: str) -> bool:
    """Remove a login and its sessions. Returns False where there is none of that name."""
    rows = await run_sql("DELETE FROM piccolo_user WHERE username = {} RETURNING id", username)
    for row in rows:
        await end_sessions(row["id"])
    return bool(rows)


async def end_sessions(staff_id: int) -> None:
    """Log a member of staff out everywhere."""
    await run_sql("DELETE FROM sessions WHERE user_id = {}", staff_id)


async def exists(username: str) -> bool:
    """Tell whether there is a login of that name."""
    return bool(await run_sql("SELECT FROM piccolo_user WHERE username = {}", username))


async def listed() -> list[asyncpg.Record]:
    """Return the logins by name: `username`, `active`, `admin` and `last_login`."""
    return await run_sql("SELECT username, active, admin, last_login FROM piccolo_user ORDER BY username")


async def unlock(username: str) -> bool:
    """Let a login be tried again, from every network. Returns False where there is none of that name."""
    if not await exists(username):
        return False
    locks = "email IN ({}, {}) OR starts_with(email, {})"
    await run_sql(f"DELETE FROM rate_limits WHERE {locks}", BY_NAME + username, AGAIN + username, f"{NETWORK}ip:")
    return True


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
