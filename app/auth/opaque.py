"""Tokens that say nothing by themselves: random, prefixed, and kept in the database as hashes alone.

They have 256 bits of chance, so one round of SHA-256 is enough: there is nothing to guess from.
"""

import hashlib
import re
import secrets

PERSONAL = "tsk_"
REFRESH = "tsr_"
BYTES = 32
OWN = 43  # characters that they make

PERSONAL_SHAPE = re.compile(rb"tsk_[A-Za-z0-9_-]{43}")
REFRESH_SHAPE = re.compile(r"tsr_([A-Za-z0-9_-]{22})([A-Za-z0-9_-]{43})")


def new_personal() -> str:
    """Return a new personal access token: `tsk_` and 43 characters."""
    return PERSONAL + secrets.token_urlsafe(BYTES)


def new_refresh() -> str:
    """Return a new refresh token of a new family: `tsr_`, 22 characters that the family shares, and 43 of its own."""
    return REFRESH + secrets.token_urlsafe(16) + secrets.token_urlsafe(BYTES)


def next_refresh(token: str) -> str:
    """Return a new refresh token of the same family."""
    return token[:-OWN] + secrets.token_urlsafe(BYTES)


def split_refresh(token: str) -> tuple[str, str] | None:
    """Return the family of a refresh token and what is its own, or None for what is no refresh token."""
    match = REFRESH_SHAPE.fullmatch(token)
    return (match[1], match[2]) if match else None


def hashed(token: str) -> bytes:
    """Return the 32 bytes that are kept of a token, or of a part of one."""
    return hashlib.sha256(token.encode()).digest()
