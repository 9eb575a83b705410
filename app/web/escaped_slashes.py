"""Paths that have a name: a slash in it is `%2F`, and separates nothing (RFC 3986, section 2.2)."""

import re
from typing import Any
from urllib.parse import unquote

NAMED = re.compile(rb"/+api/+(?:tasks/+[^/]+/+)?labels/+[^/]*(?:/+history)?/*")
SLASH = re.compile(rb"%2[Ff]")


def path_of(scope: Any) -> str:
    """Return the path to route by. In a name a slash is U+0000, which no name has; a handler reads the name itself."""
    raw = scope.get("raw_path") or b""
    if b"%2" in raw and NAMED.fullmatch(raw):
        return unquote(SLASH.sub(b"%00", raw).decode("ascii"))
    return scope["path"]
