"""Names of labels in paths, whose slashes are `%2F` (RFC 3986, section 2.2)."""

from typing import Any
from urllib.parse import unquote_to_bytes

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from app.tasks.label_names import LABEL_SCHEMA, LabelName, checked_label
from app.web.failures import Invalid

LABEL_IN_PATH = {
    "label_name": {
        "description": "The name of a label, percent-encoded: `/` is `%2F`. Case makes no difference.",
        "schema": {"type": "string", **LABEL_SCHEMA},
        "example": "home",
    }
}


async def check_label_name(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: refuse what is no name, and put the name as it was sent into the scope. Raises Invalid."""
    _check(connection, -1)


async def check_label_before(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: the same, of a path that has one segment behind the name."""
    _check(connection, -2)


def _check(connection: ASGIConnection[Any, Any, Any, Any], place: int) -> None:
    raw: bytes = connection.scope["raw_path"]
    try:
        sent = unquote_to_bytes([each for each in raw.split(b"/") if each][place]).decode()
    except UnicodeDecodeError:
        raise Invalid("label_name", "The name of a label must be UTF-8, percent-encoded") from None
    scope: Any = connection.scope
    scope["label"] = checked_label(sent, "label_name")


def label_named_in(request: Any) -> LabelName:
    """Return the label that the path names."""
    return request.scope["label"]
