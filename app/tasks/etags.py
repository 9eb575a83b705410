"""Entity tags (RFC 9110, section 8.8.3): a task's is its version, a list's the state of its owner's tasks.

What a client already has need not be sent again (section 13.1.2). `change` reads for which version a change is.
"""

import re
from typing import Any, TypeAlias, TypeVar

from litestar import Request
from litestar.di import NamedDependency

from app.tasks.listing.cache import State
from app.web.headers import RawHeaders, joined, singles
from app.web.query import Documented
from app.web.routing import JSONResponse

T = TypeVar("T")

# Weak ones too: proxies that compress weaken them, and a version is exact either way.
ENTITY_TAGS = re.compile(rb'(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
STATE_TAG = re.compile(rb"r(0|[1-9a-f][0-9a-f]{0,14})-(0|[1-9][0-9]{0,15})")  # in its one spelling
MAX_STATES = 20  # that a client has: nobody keeps more of one list
PRIVATE = (b"cache-control", b"private, no-cache")
NOT_SENT: Any = None  # the content of a 304

IfNoneMatch: TypeAlias = NamedDependency[bytes]

IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The entity tags of what is known already: then the answer is an empty 304 (RFC 9110, section "
    "13.1.2).",
    "schema": {"type": "string", "examples": ['"v7"']},
}


def etag(version: int | str) -> str:
    """Return the entity tag of a version of a task. A label's has behind its version what else it shows."""
    return f'"v{version}"'


def if_none_match(request: Request[Any, Any, Any]) -> bytes:
    """Return the tags of what the client already has, as it sent them."""
    return joined(request.scope, b"if-none-match") if b"if-none-match" in singles(request.scope) else b""


KNOWN = Documented(if_none_match, IF_NONE_MATCH)


def states(known: bytes) -> list[State]:
    """Return the states of a list that are among the tags."""
    matches = map(STATE_TAG.fullmatch, ENTITY_TAGS.findall(known)[:MAX_STATES]) if known else ()
    return [State(int(match[1], 16), int(match[2])) for match in matches if match]


def tagged(content: T, version: int | str, known: bytes = b"", *more: tuple[bytes, bytes]) -> JSONResponse[T]:
    """Return the answer with its entity tag; an empty one (304) where the client has it already."""
    return _tagged(content, etag(version).encode(), known, more)


def listed(content: T, state: State | None, known: bytes, *more: tuple[bytes, bytes]) -> JSONResponse[T]:
    """Return a list in the same way: its tag is its state. The list of an owner without a revision has none."""
    return _tagged(content, b'"r%x-%d"' % state, known, more) if state else JSONResponse(content, [*more])


def _tagged(content: T, tag: bytes, known: bytes, more: tuple[tuple[bytes, bytes], ...]) -> JSONResponse[T]:
    headers: RawHeaders = [(b"etag", tag), PRIVATE, *more]
    # The weak comparison (RFC 9110, section 8.8.3.2).
    if known and (known.strip() == b"*" or tag.strip(b'"') in ENTITY_TAGS.findall(known)):
        return JSONResponse(NOT_SENT, headers, 304)
    return JSONResponse(content, headers)
