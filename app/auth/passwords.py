"""Passwords, hashed with Argon2id off the event loop, two at a time.

The parameters are OWASP's (Password Storage Cheat Sheet): 19 MiB, two passes, one lane, some 20 ms on one core.
"""

import asyncio
import base64
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.web.failures import Busy, Invalid

T = TypeVar("T")

MIN_CHARACTERS, MAX_PASSWORD_CHARACTERS = 8, 1024
MAX_CONCURRENT_HASHES = 2
WAIT_SECONDS = 5.0  # for one's turn

_hasher = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
_threads = ThreadPoolExecutor(MAX_CONCURRENT_HASHES, thread_name_prefix="argon2")

_one_new = asyncio.Semaphore(1)

# Of no password: verified where there is no account, so that it takes as long as where there is one.
DECOY = "$argon2id$v=19$m={},t={},p={}${}${}".format(
    *(_hasher.memory_cost, _hasher.time_cost, _hasher.parallelism),
    *(base64.b64encode(bytes(size)).decode().rstrip("=") for size in (_hasher.salt_len, _hasher.hash_len)),
)


def check_length(field: str, password: str) -> None:
    """Raises Invalid for a new password that is too short or too long. It may be made of anything."""
    if not MIN_CHARACTERS <= len(password) <= MAX_PASSWORD_CHARACTERS:
        raise Invalid(field, f"A password has {MIN_CHARACTERS} to {MAX_PASSWORD_CHARACTERS} characters")


async def hashed(password: str) -> str:
    """Return the hash to keep, in the PHC string format. Raises Busy."""
    try:
        # One at a time, so that those who sign up never keep those waiting who log in.
        async with asyncio.timeout(WAIT_SECONDS), _one_new:
            return await in_turn(lambda: _hasher.hash(_normal(password)))
    except TimeoutError:
        raise Busy from None


async def matches(kept: str | None, password: str) -> bool:
    """Tell whether the kept hash is of this password; takes as long where there is none. Raises Busy.

    A password with more characters than a new one may have is of none.
    """
    is_too_long = len(password) > MAX_PASSWORD_CHARACTERS

    def verify() -> bool:
        try:
            return _hasher.verify(DECOY, "") if is_too_long else _hasher.verify(kept or DECOY, _normal(password))
        except (VerificationError, InvalidHashError):
            return False

    return await in_turn(verify)


def is_outdated(kept: str) -> bool:
    """Tell whether a hash was made with other parameters than today's."""
    return _hasher.check_needs_rehash(kept)


def _normal(password: str) -> str:
    """RFC 8265, section 4.2: the same letters, however a keyboard composes them. 1,024 characters take 1 ms at most.

    No mark is cut off, however many there are: each counts in a password.
    """
    return unicodedata.normalize("NFC", password)


async def in_turn(work: Callable[[], T], threads: ThreadPoolExecutor = _threads) -> T:
    """Work in a thread as soon as one is free. What nobody waits for any more is not begun. Raises Busy."""
    try:
        return await asyncio.wait_for(asyncio.get_running_loop().run_in_executor(threads, work), WAIT_SECONDS)
    except TimeoutError:
        raise Busy from None
