"""A signed token in, a user out, and the other way. Nothing here touches the database or the network.

PyJWT checks the signature, its one spelling and the algorithm. The claims we check ourselves, because PyJWT
lets through what the contract refuses: no `exp`, an `exp` that is a string, an empty subject, other kinds of
token (RFC 8725).
"""

import json
import re
import secrets
import time
from collections.abc import Iterable
from typing import Any, NamedTuple, TypeGuard

import jwt
import msgspec
from jwt.utils import base64url_decode

from app.config.issuers import KEY_TYPES, OUR_OWN
from app.web.failures import InvalidToken

HS256 = "HS256"
LEEWAY_SECONDS = 30
MAX_TOKEN_BYTES = 8192
MAX_ID_CHARACTERS = 255
MAX_EMAIL_CHARACTERS = 320  # RFC 5321: 64 before the @ and 255 after it
COMPACT_JWS = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")  # RFC 7515, section 7.1
NO_JWT = "it is no JSON Web Token of 8 KiB at most"
NO_SIGNATURE = "no key of ours made its signature"
EXPIRED = "it has expired (exp)"
TOKEN_TYPES = ("JWT", "at+jwt")  # RFC 7519, section 5.1; RFC 9068, section 2.1

_jws = jwt.PyJWS(algorithms=[HS256, *KEY_TYPES])


class User(msgspec.Struct, frozen=True):
    """The caller that the token names. Ids are compared as they are: not trimmed, folded or normalised."""

    id: str
    email: str | None = None
    name: str | None = None
    session: str | None = None  # the login behind it, if it was one of ours
    auto_provision: bool = True  # add the user with the first write; if not, a user unknown to the database is nobody
    may_write: bool = True
    token: str | None = None  # by which a history may tell this token from others

    @property
    def is_personal_token(self) -> bool:
        """Whether the bearer token was a personal access token."""
        return self.token is not None and self.token.startswith("token:")

    @property
    def by(self) -> str:
        """Who changes what this user changes: a login of ours, or a token."""
        return f"session:{self.session}" if self.session else self.token or "jwt"


class VerifyingKey(NamedTuple):
    """What verifies a signature, and by which algorithm: by that one and no other (RFC 8725, section 3.1)."""

    algorithm: str
    secret: Any  # of HS256 a string, of the others a public key


class Claimed(NamedTuple):
    """What a token says, before anybody has verified it."""

    header: dict[str, object]
    claims: dict[str, object]
    issuer: str  # empty, where it names none


def parse(token: bytes) -> Claimed:
    """Return what a compact JWS (RFC 7519) claims. Raises InvalidToken for what is none, or none of ours to take."""
    if len(token) > MAX_TOKEN_BYTES or not COMPACT_JWS.fullmatch(token):
        raise InvalidToken(NO_JWT)
    try:
        parts = _jws.decode_complete(token, options={"verify_signature": False})
        # As text: from bytes, json would guess at UTF-16 and UTF-32 (RFC 7519, section 3, knows UTF-8 alone).
        claims = json.loads(parts["payload"].decode(), object_pairs_hook=_without_duplicates)
        header = json.loads(base64url_decode(token.partition(b".")[0]), object_pairs_hook=_without_duplicates)
    except (jwt.InvalidTokenError, ValueError, RecursionError) as error:
        raise InvalidToken(NO_JWT) from error
    if "crit" in header or header.get("b64", True) is not True:
        raise InvalidToken("its header has crit or b64")
    if "typ" in header and header["typ"] not in TOKEN_TYPES:
        raise InvalidToken("its typ is another than JWT or at+jwt")
    if not is_object(claims) or not isinstance(issuer := claims.get("iss", ""), str):
        raise InvalidToken(NO_JWT)
    return Claimed(header, claims, issuer)


def verify(token: bytes, keys: Iterable[VerifyingKey]) -> None:
    """Raises InvalidToken unless one of the keys, by its algorithm, made the signature."""
    for key in keys:
        try:
            _jws.decode_complete(token, key.secret, algorithms=[key.algorithm])
        except jwt.InvalidTokenError:
            continue
        return
    raise InvalidToken(NO_SIGNATURE)


def expiry(claims: dict[str, object]) -> float:
    """Return until when a token is valid, the leeway included. Raises InvalidToken where that is not now.

    RFC 7519, sections 4.1.4 to 4.1.6, with `exp` required and the clocks 30 s apart at most.
    """
    now = time.time()
    until = _seconds(claims, "exp") + LEEWAY_SECONDS
    if until <= now:
        raise InvalidToken(EXPIRED)
    for name in ("nbf", "iat"):
        if name in claims and _seconds(claims, name) - LEEWAY_SECONDS > now:
            raise InvalidToken(f"it is not valid yet ({name})")
    return until


def check_audience(claims: dict[str, object], wanted: frozenset[str] | None) -> None:
    """RFC 7519, section 4.1.3. Raises InvalidToken for a token that is meant for others."""
    if wanted is None:
        return
    named = claims.get("aud")
    named = [named] if isinstance(named, str) else named
    if not is_array(named) or not any(isinstance(each, str) and each in wanted for each in named):
        raise InvalidToken("it is for others (aud)")


def user(claims: dict[str, object], *, auto_provision: bool = True) -> User:
    """Return the user whom verified claims name. Raises InvalidToken where they name nobody."""
    return User(
        id=_user_id(claims["user_id"] if "user_id" in claims else claims.get("sub")),
        email=_text(claims.get("email"), MAX_EMAIL_CHARACTERS),
        name=_text(claims.get("name"), MAX_ID_CHARACTERS),
        auto_provision=auto_provision,
        token=f"jwt:{jti}" if (jti := _text(claims.get("jti"), MAX_ID_CHARACTERS)) else None,
    )


def own_user(claims: dict[str, object]) -> User:
    """Return the user of an account of ours, and the login behind the token. Raises InvalidToken."""
    session = _text(claims.get("sid"), MAX_ID_CHARACTERS)
    if session is None:
        raise InvalidToken("it names no login (sid)")
    return msgspec.structs.replace(user(claims, auto_provision=False), session=session)


def mint(user: User, secret: str, seconds: int) -> str:
    """Return a token for `user` that is valid for so many seconds from now, signed with HS256."""
    now = int(time.time())
    claims = {
        "iss": OUR_OWN if user.session else None,
        "sid": user.session,
        "user_id": user.id,
        "email": user.email,
        "name": user.name,
        "jti": secrets.token_hex(8),  # no two are the same, also of one second
        "iat": now,
        "exp": now + seconds,
    }
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, secret, HS256)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Tell whether JSON is an object."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Tell whether JSON is an array."""
    return isinstance(value, list)


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """RFC 7519, section 4: claim names are unique, and a parser may refuse what repeats one."""
    claims = dict(pairs)
    if len(claims) != len(pairs):
        raise ValueError("a claim is there twice")
    return claims


def _seconds(claims: dict[str, object], name: str) -> float:
    """A NumericDate: a JSON number, finite, and exact in JavaScript too."""
    claim = claims.get(name)
    if claim is None:
        raise InvalidToken(f"it has no {name}")
    # So is NaN.
    if isinstance(claim, bool) or not isinstance(claim, int | float) or not abs(claim) < 2**53:
        raise InvalidToken(f"its {name} is no number below 2^53")
    return claim


def _user_id(claim: object) -> str:
    if isinstance(claim, int) and not isinstance(claim, bool):
        claim = str(claim)
    text = _text(claim, MAX_ID_CHARACTERS)
    if text is None or not text.strip():
        raise InvalidToken("it names no user (user_id, sub)")
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
