"""Tokens that say nothing by themselves: random, prefixed, and kept in the database as hashes alone.

They have 256 bits of chance, so one round of SHA-256 is enough: there is nothing to guess from.
"""

import hashlib
import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from functools import lru_cache

PERSONAL_PREFIX = "tsk_"
REFRESH = "tsr_"
BYTES = 32
OWN = 43  # characters that they make

PERSONAL_SHAPE = re.compile(rb"tsk_[A-Za-z0-9_-]{43}")
REFRESH_SHAPE = re.compile(r"tsr_([A-Za-z0-9_-]{22})([A-Za-z0-9_-]{43})")  # of the family, and its own part


def new_personal() -> str:
    """Return a new personal access token: `tsk_` and 43 characters."""
    return PERSONAL_PREFIX + secrets.token_urlsafe(BYTES)


def personal_of(token_id: str, secret: str) -> str:
    """Return the personal access token with this id, which is random and is stored.

    It can be told again although no token is kept; and nobody can tell it from the id, without our secret.
    """
    return PERSONAL_PREFIX + keyed_hash(secret, "personal access tokens", token_id)


def new_refresh() -> str:
    """Return a new refresh token of a new family: `tsr_`, 22 characters that the family shares, and 43 of its own."""
    return REFRESH + secrets.token_urlsafe(16) + secrets.token_urlsafe(BYTES)


def next_refresh(token: str, secret: str) -> str:
    """Return the refresh token that follows this one in its family.

    It is the same each time, so that a token that is sent again is answered with the same one although no token is
    kept; and nobody can tell it from the token alone, without our secret.
    """
    return token[:-OWN] + keyed_hash(secret, "refresh tokens", token)


def keyed_hash(secret: str, purpose: str, text: str) -> str:
    """Return HMAC-SHA256 (RFC 2104) as 43 characters of base64url, under a key that is for this purpose alone."""
    return urlsafe_b64encode(hmac.digest(_key(secret, purpose), text.encode(), "sha256")).rstrip(b"=").decode()


@lru_cache(32)
def _key(secret: str, purpose: str) -> bytes:
    return hmac.digest(secret.encode(), purpose.encode(), "sha256")


def hashed(token: str) -> bytes:
    """Return the 32 bytes that are kept of a token, or of a part of one."""
    return hashlib.sha256(token.encode()).digest()
