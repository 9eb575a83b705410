"""The header Idempotency-Key: which requests are one, sent again (draft-ietf-httpapi-idempotency-key-header).

A client that got no answer sends the request again under the same key, and whatever had become of the first, it is
done once. `app.auth.idempotency` sees to that; here is how a key comes in, and how a client is told.
"""

import re
from hashlib import blake2b
from typing import Any

from litestar import Request

from app.web.body import body_so_far
from app.web.failures import Invalid
from app.web.headers import singles

KEY_HEADER = b"idempotency-key"
PATTERN = r"^[\x21-\x7e]{1,255}$"
VISIBLE = re.compile(PATTERN.encode())
RULE = "Idempotency-Key must be there once, with 1 to 255 visible ASCII characters"
FINGERPRINT_BYTES = 16
# Without an example, which the page of the docs would send with each request.
IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "For a request that may have to be sent again: under the same key it is done once, and answered as "
    "the first time. A new one for each request, such as a random UUID; it counts for 24 hours.",
    "schema": {"type": "string", "pattern": PATTERN},
}
REPLAYED = ((b"idempotent-replayed", b"true"),)


class Key:
    """A key that was sent with a request, and whether its answer is one from before."""

    __slots__ = ("_request", "is_replay", "query", "text")

    def __init__(self, text: str, request: Request[Any, Any, Any]) -> None:
        self.text = text
        self.is_replay = False
        self.query = b""  # as far as it says what is done, and not how the answer looks
        self._request = request

    def values(self) -> dict[str, Any]:
        """Return what is stored of it."""
        return {"key": self.text, "fingerprint": self.fingerprint}

    @property
    def fingerprint(self) -> bytes:
        """What the request is, its headers aside: another one under the same key is a mistake of the client's."""
        scope = self._request.scope
        what = f"{scope['method']} {scope['path']}\n".encode() + self.query
        return blake2b(what + body_so_far(self._request), digest_size=FINGERPRINT_BYTES).digest()


def idempotency_key(request: Request[Any, Any, Any]) -> Key | None:
    """Return the request's key, if it has one. Raises Invalid."""
    sent = singles(request.scope)
    if KEY_HEADER not in sent:
        return None
    key = (sent[KEY_HEADER] or b"").strip(b" \t")
    if not VISIBLE.fullmatch(key):
        raise Invalid("Idempotency-Key", RULE)
    return Key(key.decode(), request)


def replayed(key: Key | None) -> tuple[tuple[bytes, bytes], ...]:
    return REPLAYED if key is not None and key.is_replay else ()
