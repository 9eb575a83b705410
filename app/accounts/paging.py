"""Pages of the lists of an account, with `limit` and `cursor` as lists of tasks have them."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode

from litestar import Request
from msgspec import UNSET, UnsetType

from app import cursors
from app.auth.tokens import User as Owner
from app.cursors import Place
from app.envelopes import NextPage
from app.failures import Invalid
from app.handlers import Reply
from app.query import LIMIT_RULE, limit, pairs
from app.statements import Param

AFTER, AFTER_ID, LIMIT = Param("after"), Param("after_id"), Param("limit")


class Window(NamedTuple):
    """Which items of a list are asked for, all of them or a page; and what its cursors are sealed with."""

    name: str  # of the list, under /api/auth
    about: str
    secret: str
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


def window(request: Request[Any, Any, Any], owner: Owner, name: str) -> Window:
    """Return what the query asks of the owner's list of this name. Raises Invalid, InvalidCursor."""
    whole = Window(name, f"{owner.id}\0{name}", request.app.state["settings"].secret)
    given = dict(pairs(request.scope["query_string"], ("limit", "cursor")))
    size = limit(given["limit"]) if "limit" in given else None
    if "limit" in given and size is None:
        raise Invalid("limit", f"limit must be {LIMIT_RULE}")
    after = cursors.unseal(whole.secret, whole.about, given["cursor"]) if "cursor" in given else None
    return whole._replace(limit=size or (after.limit if after else None), after=after, is_page=bool(given))


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
    place = Place(shown[-1].id, rows[window.limit - 1][-1], window.limit)
    return Found(shown, cursors.seal(window.secret, window.about, place))


def reply(envelope: type[Any], window: Window, page: Found) -> Reply[Any]:
    """Return the answer: `page` is in it where one was asked for, and a link to the next one (RFC 8288)."""
    told: NextPage | UnsetType = NextPage(page.next) if window.is_page else UNSET
    query = urlencode({"limit": window.limit, "cursor": page.next})
    link = [(b"link", f'</api/auth/{window.name}?{query}>; rel="next"'.encode())] if page.next else []
    return Reply(envelope(page.items, told), link)
