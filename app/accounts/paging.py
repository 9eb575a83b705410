"""Pages of the lists of an account, with `limit` and `cursor` as lists of tasks have them."""

from collections.abc import Callable
from typing import Any, TypeVar

from litestar import Request
from msgspec import UNSET, UnsetType

from app.auth.jwt import User as Owner
from app.db.engine import database
from app.db.statements import Statement
from app.web import cursors
from app.web.cursors import Place
from app.web.envelopes import NextPage
from app.web.query import PageQuery
from app.web.routing import JSONResponse

E = TypeVar("E")
T = TypeVar("T")


class PagedList:
    """A list of an owner's under `/api/auth`: the latest first, and of one moment in the order of ids."""

    def __init__(self, name: str, table: str, columns: str, at: str, condition: str = "true") -> None:
        """Take the last part of its path; which columns of which table, `at` for the order; and a condition in SQL."""
        self.name = name
        microseconds = f'(extract(epoch FROM "{table}"."{at}") * 1000000)::bigint'
        self._statement = Statement(
            f"""
            SELECT {columns}, {microseconds} FROM "{table}" WHERE "user_id" = :owner AND {condition} AND (
                {microseconds} < coalesce(:after::bigint, {2**53})
                OR ({microseconds} = :after AND "id" > :after_id::text)
            )
            ORDER BY "{table}"."{at}" DESC, "id" LIMIT :limit
            """
        )

    async def reply(
        self,
        request: Request[Any, Any, Any],
        owner: Owner,
        wanted: PageQuery,
        item: Callable[..., T],
        envelope: Callable[[list[T], NextPage | UnsetType], E],
    ) -> JSONResponse[E]:
        """Return the items that are asked for, all of them or a page, each made of its columns.

        A page says where the next one begins, and links to it (RFC 8288). Raises InvalidCursor.
        """
        secret, about = request.app.state["settings"].secret, f"{owner.id}\0{self.name}"
        after = None if wanted.cursor is None else cursors.unseal(secret, about, wanted.cursor)
        limit = wanted.limit or (after.limit if after else None)
        values = {"after": after and after.at, "after_id": after and after.id, "limit": limit and limit + 1}
        rows = await database.fetch(self._statement, owner=owner.id, **values)
        items = [item(*row[:-1]) for row in rows[:limit]]
        cursor = None
        if limit and len(rows) > limit:
            last = rows[limit - 1]
            cursor = cursors.seal(secret, about, Place(last["id"], last[-1], limit))
        headers = cursors.next_link(f"/api/auth/{self.name}", [("limit", limit)], cursor)
        return JSONResponse(envelope(items, UNSET if wanted == PageQuery() else NextPage(cursor)), headers)
