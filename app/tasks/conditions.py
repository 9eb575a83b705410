"""Entity tags, and requests that hang on them (RFC 9110, sections 8.8.3 and 13.1).

A task's tag is its version: a change may be meant for that one alone, and what a client already has need not be
sent again.
"""

import re
from typing import Any, TypeAlias

from litestar import Request
from litestar.di import NamedDependency

from app.edge.headers import RawHeaders, joined, singles
from app.handlers import Reply
from app.tasks.failures import PreconditionRequired
from app.tasks.remembered import State
from app.tasks.versions import ANYWAY, Condition, etag

# Weak ones too: proxies that compress weaken them, and a version is exact either way.
TAGS = re.compile(rb'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
STATE = re.compile(rb"r(0|[1-9a-f][0-9a-f]{0,14})-(0|[1-9][0-9]{0,15})")  # in its one spelling
MAX_STATES = 20  # that a client has: nobody keeps more of one list
# In one go: a head has room for some thousands, which are not to keep everybody else waiting.
VERSION = re.compile(rb'(?<![^,\t ])(?:W/)?"v(0|[1-9][0-9]{0,15})"')
PRIVATE = (b"cache-control", b"private, no-cache")


IfMatch: TypeAlias = NamedDependency[Condition]
IfNoneMatch: TypeAlias = NamedDependency[bytes]


def if_match(request: Request[Any, Any, Any]) -> Condition:
    """Return on what a change hangs. Raises PreconditionRequired where it has to hang on something."""
    sent = singles(request.scope)
    condition = ANYWAY
    if b"if-match" in sent:
        value = joined(request.scope, b"if-match").strip()
        if value != b"*":
            condition = Condition(_versions(value))
    elif request.app.state["settings"].require_if_match:
        raise PreconditionRequired
    if b"if-none-match" in sent:
        value = joined(request.scope, b"if-none-match").strip()
        return Condition([]) if value == b"*" else condition.without(_versions(value))
    return condition


def if_none_match(request: Request[Any, Any, Any]) -> bytes:
    """Return the tags of what the client already has, as it sent them."""
    return joined(request.scope, b"if-none-match") if b"if-none-match" in singles(request.scope) else b""


def is_among(tag: bytes, known: bytes) -> bool:
    """Tell whether a tag is one of those that the client sent, by the weak comparison."""
    return known.strip() == b"*" or tag.strip(b'"') in [opaque for _, opaque in TAGS.findall(known)]


def tagged(content: Any, version: int, known: bytes = b"", *more: tuple[bytes, bytes]) -> Reply[Any]:
    """Return the answer with its entity tag; an empty one (304) where the client has it already."""
    return _tagged(content, etag(version).encode(), known, *more)


def states(known: bytes) -> list[State]:
    """Return the states of a list that are among the tags."""
    matches = [STATE.fullmatch(opaque) for _, opaque in TAGS.findall(known)[:MAX_STATES]] if known else []
    return [State(int(match[1], 16), int(match[2])) for match in matches if match]


def listed(content: Any, state: State | None, known: bytes, *more: tuple[bytes, bytes]) -> Reply[Any]:
    """Return a list in the same way: its tag is its state. One whose owner has not begun yet has none."""
    return _tagged(content, b'"r%x-%d"' % state, known, *more) if state else Reply(content, [*more])


def _tagged(content: Any, tag: bytes, known: bytes, *more: tuple[bytes, bytes]) -> Reply[Any]:
    headers: RawHeaders = [(b"etag", tag), PRIVATE, *more]
    return Reply(None, headers, 304) if known and is_among(tag, known) else Reply(content, headers)


def _versions(value: bytes) -> list[int]:
    """Return the versions among the tags in a header. What is none of ours fits no task."""
    return [int(version) for version in VERSION.findall(value)]
