"""The headers that every response carries, and who may read it in a browser."""

import itertools
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

# A new id is this process's, at random, and a number. To ask the kernel for chance each time would take longer.
PROCESS_ID = os.urandom(8).hex().encode()
NUMBERS = itertools.count(1)

BODILESS = (204, 304)  # statuses of responses without a body (RFC 9110, sections 15.3.5 and 15.4.5)

RawHeaders = list[tuple[bytes, bytes]]
Singles = Mapping[bytes, bytes | None]

GOOD_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
EXPOSED = (
    b"Accept-Patch, Allow, ETag, Idempotent-Replayed, Link, Location, Preference-Applied, RateLimit, RateLimit-Policy, "
    b"Retry-After, WWW-Authenticate, X-Request-ID, X-Revision"
)
# What each answer carries, besides its request id. `Vary`, because who may read it hangs on who asks.
COMMON: RawHeaders = [(b"x-content-type-options", b"nosniff"), (b"vary", b"Origin")]
NO_STORE = (b"cache-control", b"no-store")
# The last five are no headers of ours: tracing in browsers (W3C Trace Context, Sentry) and old libraries add them.
PREFLIGHT: RawHeaders = [
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE, OPTIONS"),
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Prefer, X-Request-ID, "
        b"baggage, sentry-trace, traceparent, tracestate, X-Requested-With",
    ),
    (b"access-control-max-age", b"600"),
]


def single(headers: Iterable[tuple[bytes, bytes]]) -> Singles:
    """Return the headers by name: the value of one that came once, None for one that came more often."""
    found: dict[bytes, bytes | None] = {}
    for name, value in headers:
        found[name] = None if name in found else value
    return found


def singles(scope: Any) -> Singles:
    """Return the same of an ASGI scope, which keeps it."""
    found: Singles | None = scope.get("singles")
    if found is None:
        found = scope["singles"] = single(scope["headers"])
    return found


def joined(scope: Mapping[str, Any], name: bytes) -> bytes:
    """Return the value of a header that is a list, of all its lines (RFC 9110, section 5.3)."""
    return b", ".join(value for each, value in scope["headers"] if each == name)


def forbid_storing(scope: Any) -> None:
    """Have no cache store the answer to a request: a path that several users have for different things.

    A browser that has stored one user's answer sends its entity tag with another user's request for the same path, and
    takes a 304 for its own (RFC 9111, section 4.3.1). `Vary: Authorization` does not keep it from that.
    """
    scope["answer_headers"].append(NO_STORE)


def request_id(sent: Singles) -> bytes:
    """Return the caller's request id, if it sent one that can be taken over, else a new one."""
    chosen = sent.get(b"x-request-id")
    if chosen is not None and GOOD_REQUEST_ID.fullmatch(chosen):
        return chosen
    return b"%b%016x" % (PROCESS_ID, next(NUMBERS))


LOCAL = re.compile(rb"http://(?:localhost|127\.0\.0\.1)(?::[0-9]{1,5})?")


class CORS:
    """Which origins may read our answers in a browser (Fetch, section 3.2): the configured ones, exactly.

    Litestar's own configuration tells strangers which methods we allow, and knows nothing of answers that
    are given below it; so this is ours.
    """

    def __init__(self, origins: Iterable[str], *, any_local: bool = False) -> None:
        """Allow these origins, with credentials; and if so wanted, any of this machine's own pages over HTTP."""
        self._origins = frozenset(origin.encode() for origin in origins)
        self._any_local = any_local

    def headers(self, sent: Singles) -> RawHeaders:
        """Return what lets the sender of these request headers read the answer: for a stranger, nothing."""
        origin = sent.get(b"origin")
        if origin is None or not (origin in self._origins or (self._any_local and LOCAL.fullmatch(origin))):
            return []
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", EXPOSED),
        ]

    def preflight(self, sent: Singles) -> RawHeaders:
        """Return what, with `headers`, lets the sender go on to its real request: for a stranger, nothing."""
        return PREFLIGHT if self.headers(sent) else []
