"""A request's head: how large it may be, what ASGI is told of it, and how it reads where an upgrade is declined."""

from typing import Any
from urllib.parse import unquote

import httptools

from app.edge.headers import RawHeaders

MAX_HEAD_BYTES = 32 * 1024
ASGI = {"version": "3.0", "spec_version": "2.3"}


def is_too_large(method: bytes, url: bytes, headers: RawHeaders) -> bool:
    """Tell whether a head is larger than `MAX_HEAD_BYTES`."""
    line = len(method) + len(url) + len("  HTTP/1.1\r\n")
    return line + sum([len(name) + len(value) + 4 for name, value in headers]) > MAX_HEAD_BYTES


def scope(version: str, method: bytes, target: bytes, headers: RawHeaders) -> dict[str, Any]:
    """Return what ASGI is told of a head. Raises httptools' error for a target that is no URL."""
    url = httptools.parse_url(target)
    path = url.path.decode("ascii")
    return {
        "type": "http",
        "asgi": ASGI,
        "http_version": version,
        "method": method.decode("ascii"),
        "path": unquote(path) if "%" in path else path,
        "raw_path": url.path,
        "query_string": url.query or b"",
        "root_path": "",
        "headers": headers,
    }


def without_upgrade(method: bytes, target: bytes, version: str, headers: RawHeaders) -> bytes:
    """Return the head as if nothing else had been offered, which a server may do (RFC 9110, section 7.8)."""
    lines = [b"%b: %b\r\n" % header for header in headers if header[0] != b"upgrade"]
    return b"".join([method, b" ", target, b" HTTP/", version.encode(), b"\r\n", *lines, b"\r\n"])
