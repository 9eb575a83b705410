"""A request's body, from its headers to the struct that a handler takes as `data`.

Litestar would read any media type as JSON, and answer 400 to whatever does not fit. Here a body is refused in
the contract's order: for what it says it is (415), for its size (413), for not being JSON (400), for not
being acceptable (422).
"""

import re
from typing import Any

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.exceptions import ClientException, InternalServerException
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from app.failures import BadRequest, Invalid, NotJSON, PayloadTooLarge, RequestTimeout, UnsupportedMediaType

MAX_BODY_BYTES = 1024 * 1024

JSON_TYPE = re.compile(r"application/([\w.!#$&^-]+\+)?json", re.ASCII)  # RFC 6839, section 3.1: and what ends in +json
CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\"';\s]*)")
OTHER_ERROR = re.compile(r".* - at `\$\.(?P<field>\w+)`")
TYPE_ERROR = re.compile(r"Expected `(?P<expected>[^`]+)`, got `[^`]+` - at `\$\.(?P<field>[^`]+)`")
MISSING = re.compile(r"Object missing required field `(?P<field>[^`]+)`")
IN_WORDS = {"str": "a string", "str | null": "a string or null", "datetime | null": "a time (RFC 3339) or null"}


class JSONRequest(Request[Any, Any, Any]):
    """A request whose body is decoded straight into the struct that its handler takes."""

    async def json(self) -> Any:
        """Return the struct. Raises NotJSON and Invalid, and what Litestar does for a body over the limit."""
        field = self.route_handler.parsed_data_field
        return decode(await self.body(), Any if field is None else field.annotation)

    async def body(self) -> bytes:
        """Return the bytes. Raises BadRequest where there are none, RequestTimeout where they stop coming."""
        try:
            body = await super().body()
        except InternalServerException as error:
            raise RequestTimeout from error  # Litestar's word for a client that has left
        except ClientException as error:
            if error.status_code == PayloadTooLarge.status:
                raise PayloadTooLarge(_limit(self.route_handler)) from error
            raise
        if not body:
            raise BadRequest
        return body


def decode(body: bytes, kind: Any) -> Any:
    """Return the `kind` that the JSON in `body` holds. Raises NotJSON, Invalid."""
    try:
        body.decode()  # msgspec does not look into what it skips
        try:
            return msgspec.json.decode(body, type=kind)
        except msgspec.ValidationError as error:
            msgspec.json.decode(body)  # it stops at the first misfit: what follows may not be JSON at all
            raise _refusal(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJSON from error


def check_body(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard: refuse what no body may be, also where none is read. Raises UnsupportedMediaType, PayloadTooLarge."""
    headers = connection.headers
    length = headers.get("content-length", "0")
    if "content-encoding" in headers and (length != "0" or "transfer-encoding" in headers):
        raise UnsupportedMediaType
    limit = _limit(handler)
    if length.isdecimal() and int(length) > limit:
        raise PayloadTooLarge(limit)


def check_body_headers(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard: refuse a body for what its headers say. Raises UnsupportedMediaType, PayloadTooLarge."""
    if not all(map(_is_json, connection.headers.getall("content-type", []))):
        raise UnsupportedMediaType
    check_body(connection, handler)


def _limit(handler: BaseRouteHandler) -> int:
    """The bytes that a handler takes: its controller's, or the application's."""
    own = handler.resolve_request_max_body_size() if isinstance(handler, HTTPRouteHandler) else None
    return own or MAX_BODY_BYTES


def _is_json(content_type: str) -> bool:
    media_type, _, parameters = content_type.lower().partition(";")
    charsets = CHARSET.findall(parameters)
    return JSON_TYPE.fullmatch(media_type.strip()) is not None and all(each in ("utf-8", "utf8") for each in charsets)


def _refusal(complaint: str) -> Invalid:
    """Say what msgspec says as a sentence for people, beside the field it is about."""
    if match := MISSING.match(complaint):
        return Invalid(match["field"], f"{_words(match['field'])} is required")
    if match := TYPE_ERROR.match(complaint):
        expected = IN_WORDS.get(match["expected"], match["expected"])
        return Invalid(match["field"], f"{_words(match['field'])} must be {expected}")
    if match := OTHER_ERROR.fullmatch(complaint):
        return Invalid(match["field"], f"{_words(match['field'])} is not a value that it may have")
    return Invalid("body", "The body must be a JSON object")


def _words(field: str) -> str:
    return field.replace("_", " ").capitalize()
