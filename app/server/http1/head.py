"""The heads of messages: a request's in bytes and as an ASGI scope, a response's in bytes."""

import asyncio
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import httptools

from app.web.headers import RawHeaders, Singles

NOT_IN_A_FIELD = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])  # RFC 9110, section 5.5
PHRASES = {status.value: status.phrase.encode() for status in HTTPStatus}
STATUS_LINES = {code: b"HTTP/1.1 %d %b" % (code, PHRASES.get(code, b"")) for code in range(100, 600)}


def size(method: bytes, target: bytes, headers: RawHeaders) -> int:
    """Return how many bytes a request's head has at least."""
    line = len(method) + len(target) + len("  HTTP/1.1\r\n")
    return line + sum([len(name) + len(value) + 4 for name, value in headers])


def scope(version: str, method: bytes, target: bytes, headers: RawHeaders, sent: Singles) -> dict[str, Any]:
    """Return what a request's head adds to an ASGI scope. Raises httptools' error for a target that is no URL."""
    url = httptools.parse_url(target)
    path = url.path.decode("ascii")
    return {
        "http_version": version,
        "method": method.decode("ascii"),
        "path": unquote(path) if "%" in path else path,
        "raw_path": url.path,
        "query_string": url.query or b"",
        "headers": headers,
        "state": {},
        "singles": sent,
    }


def connection_scope(transport: asyncio.Transport) -> dict[str, Any]:
    """Return what a connection adds to the ASGI scopes of its requests."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
        "server": _address(transport.get_extra_info("sockname")),
        "client": _address(transport.get_extra_info("peername")),
        "root_path": "",
    }


def _address(name: tuple[Any, ...] | str | bytes | None) -> tuple[str, int] | None:
    """Return the host and the port of a socket's name; a path has neither."""
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) else None


def without_upgrade(method: bytes, target: bytes, version: str, headers: RawHeaders) -> bytes:
    """Return a request's head without the upgrade that it offers: to ignore it is right (RFC 9110, section 7.8)."""
    lines = [b"%b: %b\r\n" % header for header in headers if header[0] != b"upgrade"]
    return b"".join([method, b" ", target, b" HTTP/", version.encode(), b"\r\n", *lines, b"\r\n"])


def response(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return a response's head. Raises ValueError for what no header may hold."""
    lines = [STATUS_LINES[status], *map(b": ".join, headers), b"\r\n"]
    text = b"\r\n".join(lines)
    if len(text.translate(None, NOT_IN_A_FIELD)) != len(text) - 2 * len(lines):
        raise ValueError("A header holds what no header may")
    return text
