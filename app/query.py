"""Query strings: each parameter that a route knows, once if it is no list, and no other; what pages have in common."""

import re
from collections.abc import Collection, Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from app.failures import Invalid

MAX_BYTES = 8192  # of all parameters: a cursor may hold a title, whose characters may take 4 bytes each
MAX_NAME = 50  # characters of an unknown parameter that are told back
MAX_LIMIT = 200
LIMIT_RULE = f"a whole number from 1 to {MAX_LIMIT}"

NOT_AN_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
NUMBER = re.compile(r"[1-9][0-9]{0,2}")


class InvalidCursor(Invalid):
    """A cursor that was not given out, or not for this list."""

    code = "INVALID_CURSOR"

    def __init__(self) -> None:
        """Say what a cursor is good for."""
        super().__init__("cursor", "The cursor does not belong to this list. Begin again without one.")


def pairs(query_string: bytes, known: Collection[str], repeatable: Collection[str] = ()) -> Iterator[tuple[str, str]]:
    """Return each parameter and its value. Raises Invalid for one that is not known, or comes twice and is no list.

    A `user_id` is not looked at: whose tasks they are, the token says, and no client gets anything by saying it too.
    """
    if len(query_string) > MAX_BYTES:
        raise Invalid("query", f"The query must have {MAX_BYTES} bytes at most")
    seen: set[str] = set()
    for piece in filter(None, query_string.split(b"&")):
        before, _, after = piece.partition(b"=")
        if (name := _decoded(before)) == "user_id":
            continue
        if name not in known:
            others = f", only {', '.join(known)}" if known else ""
            raise Invalid(name[:MAX_NAME], f"There is no such parameter here{others}")
        if name in seen and name not in repeatable:
            raise Invalid(name, f"{name} must be there once")
        seen.add(name)
        yield name, _decoded(after)


def _decoded(text: bytes) -> str:
    try:
        if NOT_AN_ESCAPE.search(whole := text.decode()):
            raise ValueError
        return unquote_to_bytes(whole.replace("+", " ")).decode()
    except ValueError:
        raise Invalid("query", "The query must be UTF-8, percent-encoded") from None


def check_none(query_string: bytes) -> None:
    """Raises Invalid for a parameter, where a route knows none."""
    any(pairs(query_string, ()))


async def takes_none(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: the same, for a handler of Litestar's own. Raises Invalid."""
    check_none(connection.scope["query_string"])


def limit(text: str) -> int | None:
    """Return how many items a page is to have at most, from 1 to 200; None where the text says none of these."""
    return int(text) if NUMBER.fullmatch(text) and int(text) <= MAX_LIMIT else None
