"""A row that staff open in a form, and its entity tag: its save says what was seen (RFC 9110, 13.1.1).

A save is one transaction: the row is locked, compared with what was seen, and changed, or none of it.
"""

import hashlib
import re
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from litestar.connection import ASGIConnection
from litestar.types import Message, Send

from app.admin_tables import UserRow
from app.database import database
from app.failures import RowChanged

TABLE = re.compile(r"/api/tables/(\w+)/.*", re.ASCII)
ROW = re.compile(r"/api/tables/(\w+)/(~[\w-]+|[0-9]+)/", re.ASCII)

House = Callable[[Any, Any, Any], Awaitable[None]]


class _Refused(Exception):
    """The save was answered with a failure, so nothing of it is kept."""


async def save(house: House, view: Any, scope: Any, receive: Any, send: Send) -> None:
    """Let the house change a row, and send its answer when the change is committed. Raises RowChanged."""
    row = ROW.fullmatch(scope["path"])
    status, _ = await _read(house, scope)
    if not row or status != 200:  # nobody locks anything who has not logged in
        await house(scope, receive, send)
        return
    answer: list[Message] = []

    async def keep(message: Message) -> None:
        answer.append(message)

    try:
        async with database.transaction():
            for statement in view.locks:
                await view.raw(statement, view.row_key().value_type(row[2]))
            await check_unchanged(house, scope)
            await house(scope, receive, keep)
            if answer[0].get("status", 500) >= 400:
                raise _Refused
    except _Refused:
        pass
    for message in answer:
        await send(message)


async def check_unchanged(house: House, scope: Any) -> None:
    """Read a row as its form did, if the form says what it saw. Raises RowChanged."""
    seen = ASGIConnection[Any, Any, Any, Any](scope).headers.get("if-match")
    if seen:
        _, tag = await _read(house, scope)
        if tag and seen.removeprefix("W/") != tag:  # what is not there any more is told by the change itself
            raise RowChanged


async def _read(house: House, scope: Any) -> tuple[int, str | None]:
    """Return the status and the entity tag that a form would get, for the one who asks."""
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
    answers: list[Any] = []

    async def nothing() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def keep(message: Message) -> None:
        answers.append(message)

    scope = {**scope, "method": "GET", "query_string": b"__readable=true", "headers": headers}
    await house(scope, nothing, tagged(scope, keep))
    tags = [value.decode() for name, value in answers[0].get("headers", []) if name == b"etag"]
    return answers[0]["status"], tags[0] if tags else None


def tagged(scope: Any, send: Send) -> Send:
    """Give the answer that is a row its entity tag. It is held back until all of it is there."""
    row = ROW.fullmatch(scope["path"])
    if scope["method"] != "GET" or not row:
        return send
    start: Any = {}
    pieces: list[bytes] = []

    async def hold(message: Any) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
            return
        pieces.append(message.get("body", b""))
        if message.get("more_body", False):
            return
        body = b"".join(pieces)
        if start["status"] == 200:
            start["headers"] = [*start["headers"], (b"etag", _tag(row[1], body))]
        await send(start)
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return hold


def _tag(table: str, body: bytes) -> bytes:
    """Return the entity tag of a row: of what is its own, and not of what is counted beside it."""
    if table == UserRow.table_name():
        fields = msgspec.json.decode(body)
        body = msgspec.json.encode({name: value for name, value in fields.items() if name not in UserRow.beside})
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'.encode()
