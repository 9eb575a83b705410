"""A token in, a user out. Nothing here touches the database.

PyJWT checks the signature, its one spelling and the algorithm. The claims we check ourselves, because PyJWT
lets through what the contract refuses: no `exp`, an `exp` that is a string, an empty subject, other kinds of
token (RFC 8725).
"""

import json
import re
import time
from typing import Any

import jwt
import msgspec

from app.errors import InvalidToken

ALGORITHM = "HS256"
LEEWAY_SECONDS = 30
MAX_TOKEN_BYTES = 8192
MAX_ID_CHARACTERS = 255
MAX_EMAIL_CHARACTERS = 320  # RFC 5321: 64 before the @ and 255 after it
COMPACT_JWS = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")  # RFC 7515, section 7.1
KINDS = ("JWT", "at+jwt")  # RFC 7519, section 5.1; RFC 9068, section 2.1

_jws = jwt.PyJWS(algorithms=[ALGORITHM])


class User(msgspec.Struct, frozen=True):
    """Whoever the token says is calling. Ids are compared as they are: not trimmed, folded or normalised."""

    id: str
    email: str | None = None
    name: str | None = None


def read(token: bytes, secret: str) -> User:
    """Return the user that a compact JWS names (RFC 7519), if it was signed with `secret` and is valid now.

    Raises InvalidToken for everything else, whatever is wrong with it.
    """
    if len(token) > MAX_TOKEN_BYTES or not COMPACT_JWS.fullmatch(token):
        raise InvalidToken
    try:
        verified = _jws.decode_complete(token, secret, algorithms=[ALGORITHM])
        # As text: from bytes, json would guess at UTF-16 and UTF-32 (RFC 7519, section 3, knows UTF-8 alone).
        claims = json.loads(verified["payload"].decode(), object_pairs_hook=_without_duplicates)
    except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
        raise InvalidToken from error
    _check_header(verified["header"])
    if not isinstance(claims, dict):
        raise InvalidToken
    _check_times(claims, time.time())
    return User(
        id=_user_id(claims["user_id"] if "user_id" in claims else claims.get("sub")),
        email=_text(claims.get("email"), MAX_EMAIL_CHARACTERS),
        name=_text(claims.get("name"), MAX_ID_CHARACTERS),
    )


def mint(user: User, secret: str, seconds: int) -> str:
    """Return a token for `user` that is valid for so many seconds from now."""
    now = int(time.time())
    claims = {"user_id": user.id, "email": user.email, "name": user.name, "iat": now, "exp": now + seconds}
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, secret, ALGORITHM)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """RFC 7519, section 4: claim names are unique, and a parser may refuse what repeats one."""
    claims = dict(pairs)
    if len(claims) != len(pairs):
        raise ValueError("a claim is there twice")
    return claims


def _check_header(header: dict[str, Any]) -> None:
    if "crit" in header or header.get("b64", True) is not True:
        raise InvalidToken
    if "typ" in header and header["typ"] not in KINDS:
        raise InvalidToken


def _check_times(claims: dict[str, Any], now: float) -> None:
    """RFC 7519, sections 4.1.4 to 4.1.6, with `exp` required and the clocks 30 s apart at most."""
    if _seconds(claims.get("exp")) + LEEWAY_SECONDS <= now:
        raise InvalidToken
    for name in ("nbf", "iat"):
        if name in claims and _seconds(claims[name]) - LEEWAY_SECONDS > now:
            raise InvalidToken


def _seconds(claim: object) -> float:
    """A NumericDate: a JSON number, finite, and exact in JavaScript too."""
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        raise InvalidToken
    if not abs(claim) < 2**53:  # so is NaN
        raise InvalidToken
    return claim


def _user_id(claim: object) -> str:
    if isinstance(claim, int) and not isinstance(claim, bool):
        claim = str(claim)
    text = _text(claim, MAX_ID_CHARACTERS)
    if text is None or not text.strip():
        raise InvalidToken
    return text


def _text(claim: object, limit: int) -> str | None:
    """The claim, if it is text that PostgreSQL can hold: not empty, not too long, no U+0000, no surrogate."""
    if not isinstance(claim, str) or not 0 < len(claim) <= limit or "\0" in claim:
        return None
    try:
        claim.encode()
    except UnicodeEncodeError:
        return None
    return claim
