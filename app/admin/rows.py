"""A row that staff open in a form, and its entity tag: its save says what was seen (RFC 9110, 13.1.1).

A save is one transaction: the row is locked, compared with what was seen, and changed, or none of it.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec
from litestar.types import Message, Receive

from app.admin.tables import UserRow
from app.admin.views import run_sql
from app.db.piccolo_engine import engine
from app.web.failures import RowChanged
from app.web.headers import joined

TABLE = re.compile(r"/api/tables/(\w+)/.*", re.ASCII)
ROW = re.compile(r"/api/tables/(\w+)/(~[\w-]+|[0-9]+)/", re.ASCII)

AdminApp = Callable[[Any, Any, Any], Awaitable[None]]


class AdminAnswer(NamedTuple):
    """A whole answer of Piccolo's."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class _Refused(Exception):
    """The save was answered with a failure, so nothing of it is kept."""

    def __init__(self, answer: AdminAnswer) -> None:
        super().__init__()
        self.answer = answer


async def answer_of(admin_app: AdminApp, scope: Any, receive: Receive) -> AdminAnswer:
    """Return the answer to a request; of a row, with its entity tag. Raises ValueError for a value that cannot be."""
    start: dict[str, Any] = {}
    pieces: list[bytes] = []

    async def keep(message: Message) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        elif message["type"] == "http.response.body":
            pieces.append(message.get("body", b""))

    await admin_app(scope, receive, keep)
    answer = AdminAnswer(start["status"], [*start["headers"]], b"".join(pieces))
    if answer.status == 500:
        raise ValueError("so Piccolo answers to a value that does not fit; where it crashes, it raises")
    row = ROW.fullmatch(scope["path"])
    if row and scope["method"] == "GET" and answer.status == 200:
        answer.headers.append((b"etag", _tag(row[1], answer.body)))
    return answer


async def save(admin_app: AdminApp, view: Any, scope: Any, receive: Receive) -> AdminAnswer:
    """Let the admin change a row, and return its answer when the change is committed. Raises RowChanged."""
    row = ROW.fullmatch(scope["path"])
    answer = await _read(admin_app, scope)
    if not row or answer.status != 200:  # nobody locks anything who has not logged in
        return await answer_of(admin_app, scope, receive)
    try:
        async with engine.transaction():
            for statement in view.locks:
                await run_sql(statement, view.row_key().value_type(row[2]))
            await check_unchanged(admin_app, scope)
            answer = await answer_of(admin_app, scope, receive)
            if answer.status >= 400:
                raise _Refused(answer)
    except _Refused as refused:
        return refused.answer
    return answer


async def check_unchanged(admin_app: AdminApp, scope: Any) -> None:
    """Read a row as its form did, if the form says what it saw. Raises RowChanged."""
    if seen := joined(scope, b"if-match"):
        tag = dict((await _read(admin_app, scope)).headers).get(b"etag")
        if tag and seen.removeprefix(b"W/") != tag:  # what is not there any more is told by the change itself
            raise RowChanged


async def _read(admin_app: AdminApp, scope: Any) -> AdminAnswer:
    """Return what a form would get, for the one who asks."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]

    async def nothing() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {**scope, "method": "GET", "query_string": b"__readable=true", "headers": headers}
    return await answer_of(admin_app, scope, nothing)


def _tag(table: str, body: bytes) -> bytes:
    """Return the entity tag of a row: of what is its own, and not of what is counted beside it."""
    if table == UserRow.table_name():
        fields = msgspec.json.decode(body)
        body = msgspec.json.encode({name: value for name, value in fields.items() if name not in UserRow.beside})
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'.encode()
