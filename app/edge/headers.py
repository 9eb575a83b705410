"""The headers that every answer carries, whoever made it, and who may read it in a browser."""

import itertools
import os
import re
from collections.abc import Iterable

# A new id is this process's, at random, and a number. To ask the kernel for chance each time would take longer.
PROCESS = os.urandom(8).hex()
NUMBERS = itertools.count(1)

RawHeaders = list[tuple[bytes, bytes]]

GOOD_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
EXPOSED = b"Allow, Location, Retry-After, WWW-Authenticate, X-Request-ID"
PREFLIGHT: RawHeaders = [
    (b"access-control-allow-methods", b"GET, POST, PUT, PATCH, DELETE, OPTIONS"),
    (b"access-control-allow-headers", b"Authorization, Content-Type, X-Request-ID"),
    (b"access-control-max-age", b"600"),
]


def request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """Return the caller's request id, if it sent one that can be taken over, else a new one."""
    sent = [value for name, value in headers if name == b"x-request-id"]
    if len(sent) == 1 and GOOD_REQUEST_ID.fullmatch(sent[0]):
        return sent[0].decode()
    return f"{PROCESS}{next(NUMBERS):016x}"


def common(request_id: str) -> RawHeaders:
    """Return what each answer carries."""
    return [
        (b"x-request-id", request_id.encode()),
        (b"x-content-type-options", b"nosniff"),
        (b"vary", b"Origin"),
    ]


class CORS:
    """Which origins may read our answers in a browser (Fetch, section 3.2): the configured ones, exactly.

    Litestar's own configuration tells strangers which methods we allow, and knows nothing of answers that
    are given below it; so this is ours.
    """

    def __init__(self, origins: Iterable[str]) -> None:
        """Allow these origins, with credentials."""
        self._origins = frozenset(origin.encode() for origin in origins)

    def headers(self, headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
        """Return what lets the sender of these request headers read the answer: for a stranger, nothing."""
        sent = [value for name, value in headers if name == b"origin"]
        if len(sent) != 1 or sent[0] not in self._origins:
            return []
        return [
            (b"access-control-allow-origin", sent[0]),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", EXPOSED),
        ]

    def preflight(self, headers: Iterable[tuple[bytes, bytes]]) -> RawHeaders:
        """Return what, with `headers`, lets the sender go on to its real request: for a stranger, nothing."""
        return PREFLIGHT if self.headers(headers) else []
