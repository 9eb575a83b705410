"""What the admin answers to a form that says which row it saw."""

from typing import Any

import pytest

from app.admin.rows import check_unchanged
from app.web.failures import RowChanged


def row(body: bytes) -> Any:
    """An application that reads its request, and answers with a row."""

    async def answer(scope: Any, receive: Any, send: Any) -> None:
        assert (scope["method"], await receive()) == ("GET", {"type": "http.request", "body": b"", "more_body": False})
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body, "more_body": False})

    return answer


async def test_the_row_is_read_without_the_bytes_of_the_form() -> None:
    headers = [(b"if-match", b'"another"'), (b"content-length", b"99")]
    scope = {"type": "http", "method": "PATCH", "path": "/api/tables/tasks/1/", "headers": headers}
    with pytest.raises(RowChanged):
        await check_unchanged(row(b'{"id":1}'), {**scope})
