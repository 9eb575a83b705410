"""Cursors: the place in a list behind which its next page begins, sealed so that it can only be sent back as it was.

The seal covers whose list it is, and which: no other user, and no other question, gets anything by a cursor.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, urlencode

import msgspec

from app.web.headers import RawHeaders
from app.web.query import InvalidCursor

SEAL_BYTES = 16
CURSOR = re.compile(r"[A-Za-z0-9_-]{24,4096}")  # a title's key has 2,600 bytes at most, and makes 3,532 of these


class Place(msgspec.Struct, frozen=True, array_like=True):
    """The last item of a page: its id, what it is sorted by, and how many items a page has."""

    id: int | str
    at: int | str
    limit: int | None


def seal(secret: str, about: str, place: Place) -> str:
    """Return the cursor of a place in the list that `about` describes.

    The place is in MessagePack, in which no character is longer than in UTF-8.
    """
    payload = msgspec.msgpack.encode(place)
    return urlsafe_b64encode(_seal(secret, about, payload) + payload).rstrip(b"=").decode()


def unseal(secret: str, about: str, cursor: str) -> Place:
    """Return the place. Raises InvalidCursor for one that was not made here, or for another list."""
    if not CURSOR.fullmatch(cursor) or len(cursor) % 4 == 1:
        raise InvalidCursor
    sealed = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    payload = sealed[SEAL_BYTES:]
    if not hmac.compare_digest(_seal(secret, about, payload), sealed[:SEAL_BYTES]):
        raise InvalidCursor
    try:
        place = msgspec.msgpack.decode(payload, type=Place)
    except msgspec.DecodeError:  # sealed by a version that wrote places in JSON
        raise InvalidCursor from None
    if seal(secret, about, place) != cursor:  # base64 has more than one spelling of the same
        raise InvalidCursor
    return place


def _seal(secret: str, about: str, payload: bytes) -> bytes:
    return hmac.digest(_key(secret), payload + b"\0" + about.encode(), "sha256")[:SEAL_BYTES]


@lru_cache(8)
def _key(secret: str) -> bytes:
    """Return a key of our own: what else the secret is for must not fit here, nor the other way."""
    return hmac.digest(secret.encode(), b"cursors of lists", hashlib.sha256)


def next_link(path: str, said: Iterable[tuple[str, object]], cursor: str | None) -> RawHeaders:
    """Return the header with the address of the next page, where there is one (RFC 8288)."""
    if cursor is None:
        return []
    query = urlencode([*said, ("cursor", cursor)], quote_via=quote)
    return [(b"link", f'<{path}?{query}>; rel="next"'.encode())]
