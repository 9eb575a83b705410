"""Pages of the lists of an account, with `limit` and `cursor` as lists of tasks have them.

A cursor is not sealed: whatever it says, a list has its owner's items alone.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple, TypeVar
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.envelopes import NextPage
from app.failures import Invalid
from app.handlers import Reply
from app.query import LIMIT_RULE, MAX_LIMIT, InvalidCursor, limit, pairs
from app.statements import Param

AFTER, AFTER_ID, LIMIT = Param("after"), Param("after_id"), Param("limit")

T = TypeVar("T")
SHAPE = re.compile(r"[A-Za-z0-9_-]{1,200}")


class Place(msgspec.Struct, frozen=True, array_like=True):
    """The last item of a page: its time in microseconds since 1970, its id, and how many items a page has."""

    at: Annotated[int, Meta(ge=0, le=2**53 - 1)]
    id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)]


class Window(NamedTuple):
    """Which items are asked for: all of them, or a page."""

    limit: int | None = None
    after: Place | None = None
    is_page: bool = False

    def values(self) -> dict[str, Any]:
        """Return the values of the params above. One item more than is asked for: whether there is another page."""
        return {
            "limit": self.limit and self.limit + 1,
            "after": self.after and self.after.at,
            "after_id": self.after and self.after.id,
        }


class Found(NamedTuple):
    """The items of a page, and the cursor of the next one, if there is one."""

    items: list[Any]
    next: str | None


def read(query_string: bytes) -> Window:
    """Return what a query string asks for. Raises Invalid, InvalidCursor."""
    given = dict(pairs(query_string, ("limit", "cursor")))
    size = limit(given["limit"]) if "limit" in given else None
    if "limit" in given and size is None:
        raise Invalid("limit", f"limit must be {LIMIT_RULE}")
    after = _place(given["cursor"]) if "cursor" in given else None
    return Window(size or (after.limit if after else None), after, bool(given))


def microseconds(column: str) -> str:
    """Return the SQL of a time as a place has it."""
    return f"(extract(epoch FROM {column}) * 1000000)::bigint"


def follows(column: str) -> str:
    """Return the condition of what comes after the place, the latest first; of one moment, in the order of ids.

    It takes the params AFTER, AFTER, AFTER_ID.
    """
    at = microseconds(column)
    return f'({at} < coalesce({{}}::bigint, {2**53}) OR ({at} = {{}}::bigint AND "id" > {{}}::text))'


def found(rows: Sequence[Any], window: Window, items: list[Any]) -> Found:
    """Return the page of these items. The last column of each row is its time, in microseconds."""
    if window.limit is None or len(items) <= window.limit:
        return Found(items, None)
    shown = items[: window.limit]
    place = Place(rows[window.limit - 1][-1], shown[-1].id, window.limit)
    return Found(shown, urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode())


def reply(envelope: type[Any], window: Window, page: Found, path: str) -> Reply[Any]:
    """Return the answer: `page` is in it where one was asked for, and a link to the next one (RFC 8288)."""
    told: NextPage | UnsetType = NextPage(page.next) if window.is_page else UNSET
    query = urlencode({"limit": window.limit, "cursor": page.next})
    link = [(b"link", f'<{path}?{query}>; rel="next"'.encode())] if page.next else []
    return Reply(envelope(page.items, told), link)


def _place(cursor: str) -> Place:
    try:
        if not SHAPE.fullmatch(cursor):
            raise ValueError
        return msgspec.json.decode(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)), type=Place)
    except ValueError:  # so are the errors of base64 and of msgspec
        raise InvalidCursor from None
