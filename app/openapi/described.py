"""What a handler tells the OpenAPI document of itself: its failures, headers and links.

A handler passes `responses=failure_responses(...)` and `described=Described(...)`; the document has the rest from its
signature, and from its dependencies that are `Documented`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import msgspec
from litestar.openapi import ResponseSpec

from app.openapi.introduction import COMMON_FAILURES
from app.web import failures as known
from app.web.envelopes import ErrorBody
from app.web.failures import Failure
from app.web.query import LIMIT_RULE, InvalidCursor

Object: TypeAlias = dict[str, Any]  # of the document


def _header(description: str, **schema: Any) -> Object:
    return {"description": description, "schema": {"type": "string", **schema}}


HEADER_OBJECTS: dict[str, Object] = {
    "X-Request-ID": _header(
        "The caller's, if it sent 1 to 128 of `A-Za-z0-9._-`; else a new one.", pattern="^[A-Za-z0-9._-]{1,128}$"
    ),
    "Accept-Patch": _header("The media types that a patch may have, where it had another one."),
    "Cache-Control": _header(
        "`private, no-cache` with an `ETag`: only the caller's own cache may store the answer, and has to revalidate "
        "it each time. `no-store` otherwise, and beside it where the path has a label, or a `uid` that a client "
        "has chosen, which another user may have too.",
        enum=["private, no-cache", "private, no-cache, no-store", "no-store"],
    ),
    "Link": _header(
        'Where the next page is, with `rel="next"` (RFC 8288); not there on the last one.',
        examples=['</api/tasks?limit=50&cursor=c2VhbA>; rel="next"'],
    ),
    "RateLimit-Policy": _header(
        "The rate limit: `q` requests within `w` seconds. Not there where there is none.",
        examples=['"default";q=600;w=60'],
    ),
    "RateLimit": _header(
        "`r` requests are left, and in `t` seconds there are more.", examples=['"default";r=599;t=62']
    ),
    "Retry-After": _header("The number of seconds after which to try again.", type="integer", minimum=1),
    "WWW-Authenticate": _header('`Bearer`, with `error="invalid_token"` where a token was sent.'),
}
IDEMPOTENT_REPLAYED: Object = {
    "Idempotent-Replayed": _header(
        "Present where an earlier request with the same `Idempotency-Key` got this answer.", enum=["true"]
    )
}
LINK: Object = {"Link": HEADER_OBJECTS["Link"]}
CACHED = ("Cache-Control", "ETag")  # the headers of a 304 (RFC 9110, section 15.4.5)
LIMITED = ("RateLimit-Policy", "RateLimit")
# The failures of every list in pages.
OF_PAGES = (known.Invalid("limit", f"limit must be {LIMIT_RULE}"), InvalidCursor)
# What a status means where a handler says no more of it.
UNCOMMON_FAILURES = (
    known.InvalidToken(),
    known.ReadOnlyToken(),
    known.Invalid("page", "There is no such parameter here"),
)
GENERIC: dict[int, Failure] = {failure.status: failure for failure in (*COMMON_FAILURES, *UNCOMMON_FAILURES)}
OF_ANY_REQUEST = (408, 422, 431, 500)  # they can happen to any request
UNLIMITED = (408, 431, 500, 503)  # those that can happen to a request that is not counted
# The `responses=` of a handler whose answer the client may have.
NOT_MODIFIED: dict[int, ResponseSpec] = {304: ResponseSpec(None)}


class Described(NamedTuple):
    """What a handler tells of its body and its successes."""

    headers: Mapping[str, Object] = {}  # of a success, by name
    links: Mapping[str, Object] = {}  # what can be asked for next (OpenAPI 3.1.0, section 4.8.20), by operation
    also: type[msgspec.Struct] | None = None  # what a success may hold instead
    media_types: tuple[str, ...] = ("application/json",)  # of the request's body
    example: Object | None = None  # of the request's body
    when_created: Mapping[str, Object] = {}  # more headers, of a 201


@dataclass
class FailureSpec(ResponseSpec):
    """The failures of one status."""

    failures: tuple[Failure, ...] = ()

    def __deepcopy__(self, _: object) -> "FailureSpec":
        """Stay the same: Litestar copies handlers deeply."""
        return self


def failure_responses(*those: int | Failure | type[Failure]) -> dict[int, ResponseSpec]:
    """Return the `responses=` of a handler that can end with these, and as any other can.

    A number stands for the generic failure of that status, a class for its example.
    """
    told: dict[int, list[Failure]] = {status: [] for status in OF_ANY_REQUEST}
    for each in those:
        failure = GENERIC[each] if isinstance(each, int) else each.example() if isinstance(each, type) else each
        told.setdefault(failure.status, []).append(failure)
    return {
        status: FailureSpec(ErrorBody, generate_examples=False, failures=(*each,) if each else (GENERIC[status],))
        for status, each in told.items()
    }


def links(*operations: str, by: str, source: str) -> dict[str, Any]:
    """Return links to these operations, whose parameter `by` comes from an expression (section 4.8.20.4)."""
    return {name: {"operationId": name, "parameters": {by: source}} for name in operations}
