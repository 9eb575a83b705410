"""A request's body, from its headers to the struct that a handler takes as `data`.

Litestar would read any media type as JSON, and answer 400 to whatever does not fit. Here a body is refused in the
contract's order: for its media type (415), for its size (413), for not being JSON (400), for its values (422).
"""

import re
from functools import lru_cache
from typing import Any, TypeVar

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.connection.base import empty_receive, empty_send
from litestar.handlers import BaseRouteHandler, HTTPRouteHandler
from litestar.types import Receive, Scope, Send

from app.web.failures import (
    BadRequest,
    Busy,
    Invalid,
    NotJSON,
    PayloadTooLarge,
    RequestTimeout,
    UnsupportedMediaType,
    UnsupportedPatch,
)
from app.web.headers import singles
from app.web.integers import decoder, with_integers
from app.web.response_budget import LARGE_BYTES

T = TypeVar("T")
MAX_BODY_BYTES = 1024 * 1024
MAX_UNFINISHED_BYTES = 32 * 1024 * 1024  # of all large bodies of requests without an answer, for each process
PREPARED = {*Request.__slots__, *ASGIConnection.__slots__}

JSON_TYPE = re.compile(r"application/([\w.!#$&^-]+\+)?json", re.ASCII)  # RFC 6839, section 3.1: and what ends in +json
MERGE_PATCH = (b"application/merge-patch+json", b"application/json")  # RFC 7396; RFC 8259
CHARSET = re.compile(r"charset\s*=\s*[\"']?([^\"';\s]*)")
OTHER_ERROR = re.compile(r".* - at `\$\.(?P<field>[^`]+)`")
TYPE_ERROR = re.compile(r"Expected `(?P<expected>[^`]+)`, got `[^`]+` - at `\$\.(?P<field>[^`]+)`")
MISSING = re.compile(r"Object missing required field `(?P<name>[^`]+)`(?: - at `\$\.(?P<within>[^`]+)`)?")
UNKNOWN = "Object contains unknown field `"
MAX_FIELD_NAME = 100  # characters of an unknown field that are told back
IN_WORDS = {
    "str": "a string",
    "str | null": "a string or null",
    "datetime | null": "a time (RFC 3339) or null",
    "int": "an integer",
    "int | str": "an integer or a UUID",
    "int | str | null": "an integer, a UUID or null",
    "int | null": "an integer or null",
    "bool": "true or false",
    "object": "an object",
    "object | null": "an object or null",
}


class JSONRequest(Request[Any, Any, Any]):
    """A request whose body is decoded straight into the struct that its handler takes.

    What Litestar prepares for each request, forms and cookies and the like, is prepared where it is asked for.
    """

    def __init__(self, scope: Any, receive: Receive = empty_receive, send: Send = empty_send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.received: bytes | None = None  # the body, once it was read
        self._held = 0  # bytes of it that count

    def __getattr__(self, name: str) -> Any:
        """Prepare the rest. Raises AttributeError where that has no such thing either."""
        if name not in PREPARED:
            raise AttributeError(name)
        super().__init__(self.scope, self.receive, self.send)
        return getattr(self, name)

    async def json(self) -> Any:
        """Return the struct. Raises NotJSON, Invalid, and what `body` does."""
        field = self.route_handler.parsed_data_field
        if field is not None and field.is_optional:
            return await self._json_if_any(field.annotation)
        return decode(await self.body(), Any if field is None else field.annotation)

    async def _json_if_any(self, kind: type[T]) -> T | None:
        """Return the struct, or None where there is no body, of whatever kind. Raises UnsupportedMediaType too."""
        body = await self._read()
        if not body.strip():
            return None
        _check_is_json(self.scope)
        return decode(body, kind)

    async def body(self) -> bytes:
        """Return the bytes, however often. Raises BadRequest where there are none, and what `read` does."""
        body = await self._read() if self.received is None else self.received
        if not body:
            raise BadRequest
        return body

    async def _read(self) -> bytes:
        """Return the bytes, of which many count until `release`. Raises what `read` does."""
        self.received = body = await read(self.receive, _limit(self.route_handler))
        if len(body) > LARGE_BYTES:
            if Unfinished.size + len(body) > MAX_UNFINISHED_BYTES:
                raise Busy
            self._held = len(body)
            Unfinished.size += self._held
        return body

    def release(self) -> None:
        Unfinished.size -= self._held
        self._held = 0


def body_so_far(request: Request[Any, Any, Any]) -> bytes:
    """Return the bytes of a body that its handler has read: none, where it reads none."""
    return getattr(request, "received", None) or b""


class Unfinished:
    """The large bodies that are still coming, or whose requests are not answered yet: they take memory."""

    size = 0  # bytes


async def read(receive: Receive, limit: int) -> bytes:
    """Return a whole body.

    Raises PayloadTooLarge once it has more bytes, RequestTimeout where they stop coming, and Busy for a large one
    while too much of others is here already.
    """
    pieces: list[bytes] = []
    size = counted = 0
    try:
        while True:
            message: Any = await receive()
            if message["type"] == "http.disconnect":
                raise RequestTimeout
            pieces.append(piece := message.get("body", b""))
            size += len(piece)
            if size > limit:
                raise PayloadTooLarge(limit)
            if not message.get("more_body", False):
                return b"".join(pieces)
            if size > LARGE_BYTES:
                Unfinished.size += size - counted
                counted = size
                if Unfinished.size > MAX_UNFINISHED_BYTES:
                    raise Busy
    finally:
        Unfinished.size -= counted


def decode(body: bytes, kind: type[T]) -> T:
    """Return the `kind` that the JSON in `body` holds. Raises NotJSON, Invalid."""
    try:
        body.decode()  # msgspec does not look into what it skips
        try:
            return decoder(kind)(body)
        except msgspec.ValidationError as error:
            return with_integers(body, kind, error)
    except msgspec.ValidationError as error:
        raise refusal(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJSON from error


async def check_ignored_body(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard: refuse an ignored body that is large or compressed. Raises UnsupportedMediaType, PayloadTooLarge."""
    if _has_unknown_length(connection.scope, handler):
        await read(connection.receive, _limit(handler))


async def check_body_headers(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard: refuse a body for what its headers say. Raises UnsupportedMediaType, PayloadTooLarge."""
    _check_is_json(connection.scope)
    _has_unknown_length(connection.scope, handler)


async def check_patch_headers(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard: the same for a patch, which may be of one kind. Raises UnsupportedPatch too."""
    try:
        await check_body_headers(connection, handler)
    except UnsupportedMediaType:
        raise UnsupportedPatch from None
    for content_type in _content_types(connection.scope):
        if content_type.partition(b";")[0].strip().lower() not in MERGE_PATCH:
            raise UnsupportedPatch


async def check_optional_body(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard: the same for a body that may be missing; its media type is checked when it is read."""
    _has_unknown_length(connection.scope, handler)


def _has_unknown_length(scope: Scope, handler: BaseRouteHandler) -> bool:
    """Tell whether only reading it can tell how long a body is. Raises UnsupportedMediaType, PayloadTooLarge."""
    sent = singles(scope)
    length, is_chunked = sent.get(b"content-length", b"0"), b"transfer-encoding" in sent
    if b"content-encoding" in sent and (length != b"0" or is_chunked):
        raise UnsupportedMediaType
    if length and length != b"0" and length.isdigit() and int(length) > (limit := _limit(handler)):
        raise PayloadTooLarge(limit)
    return is_chunked


def _content_types(scope: Scope) -> list[bytes]:
    return [value for name, value in scope["headers"] if name == b"content-type"]


def _check_is_json(scope: Scope) -> None:
    if b"content-type" in singles(scope) and not all(map(_is_json, _content_types(scope))):
        raise UnsupportedMediaType


def _limit(handler: BaseRouteHandler) -> int:
    """The bytes that a handler takes: its controller's, or the application's."""
    own = handler.resolve_request_max_body_size() if isinstance(handler, HTTPRouteHandler) else None
    return own or MAX_BODY_BYTES


@lru_cache(100)
def _is_json(content_type: bytes) -> bool:
    media_type, _, parameters = content_type.decode("latin-1").lower().partition(";")
    charsets = CHARSET.findall(parameters)
    return JSON_TYPE.fullmatch(media_type.strip()) is not None and all(each in ("utf-8", "utf8") for each in charsets)


def refusal(complaint: str) -> Invalid:
    """Say what msgspec says as a sentence for people, beside the field it is about."""
    if match := MISSING.match(complaint):
        field = f"{match['within']}.{match['name']}" if match["within"] else match["name"]
        return Invalid(field, f"{_words(field)} is required")
    if complaint.startswith(UNKNOWN):
        return Invalid(complaint.removeprefix(UNKNOWN)[:-1][:MAX_FIELD_NAME], "There is no such field here")
    if match := TYPE_ERROR.match(complaint):
        expected = IN_WORDS.get(match["expected"], match["expected"])
        return Invalid(match["field"], f"{_words(match['field'])} must be {expected}")
    if match := OTHER_ERROR.fullmatch(complaint):
        return Invalid(match["field"], f"{_words(match['field'])} is not a value that it may have")
    return Invalid("body", "The body must be a JSON object")


def _words(field: str) -> str:
    return field.rpartition(".")[2].replace("_", " ").capitalize()
