"""A row that staff open in a form, and its entity tag: its save says what was seen (RFC 9110, 13.1.1)."""

import hashlib
import re
from typing import Any

from litestar.connection import ASGIConnection
from litestar.types import Message, Send

from app.failures import RowChanged

ROW = re.compile(r"/api/tables/\w+/(~[\w-]+|[0-9]+)/", re.ASCII)


async def check_unchanged(house: Any, scope: Any) -> None:
    """Read a row as its form did, if the form says what it saw. Raises RowChanged."""
    seen = ASGIConnection[Any, Any, Any, Any](scope).headers.get("if-match")
    if not seen or not ROW.fullmatch(scope["path"]):
        return
    headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
    answers: list[Message] = []

    async def nothing() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def keep(message: Message) -> None:
        answers.append(message)

    scope |= {"method": "GET", "query_string": b"__readable=true", "headers": headers}
    await house(scope, nothing, tagged(scope, keep))
    tags = [value.decode() for name, value in answers[0].get("headers", []) if name == b"etag"]
    if tags and seen.removeprefix("W/") not in tags:  # what is not there any more is told by the change itself
        raise RowChanged


def tagged(scope: Any, send: Send) -> Send:
    """Give the answer that is a row its entity tag. It is held back until all of it is there."""
    if scope["method"] != "GET" or not ROW.fullmatch(scope["path"]):
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
            tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'.encode()
            start["headers"] = [*start["headers"], (b"etag", tag)]
        await send(start)
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return hold
