"""`extra`, an object of the client's own: its limits, and how a patch changes it (RFC 7396).

It is stored as the text that it is sent and shown as, in compact form: so numbers keep all of their digits, and names
their order. Of a name that is there twice, the last counts.
"""

from typing import Any, cast

import msgspec

from app.web.failures import Invalid
from app.web.integers import decoder

MAX_EXTRA_BYTES = 4096  # of it as compact UTF-8
MAX_PATCH_BYTES = 3 * MAX_EXTRA_BYTES  # which takes away all that there is, and adds as much: no other is as long
MAX_DEPTH = 5  # levels of objects and arrays, itself included

NO_EXTRA = msgspec.Raw("{}")
_encode = msgspec.json.Encoder(decimal_format="number").encode


def checked_extra(extra: dict[str, Any] | None) -> dict[str, Any] | msgspec.Raw:
    """Return an object, or a patch of one; where it is null, what it is by default. Raises Invalid."""
    if extra is None:
        return NO_EXTRA
    _check_size(_encode(extra), MAX_PATCH_BYTES)
    _check_values(extra)
    return extra


def compact(extra: dict[str, Any]) -> msgspec.Raw:
    """Return an object as it is stored. Raises Invalid where it is too large."""
    encoded = _encode(extra)
    _check_size(encoded, MAX_EXTRA_BYTES)
    return msgspec.Raw(encoded)


def patched(stored: bytes, patch: dict[str, Any]) -> msgspec.Raw:
    """Return what a patch makes of a stored object. Raises Invalid where that is too large."""
    return compact(_merged(decoder(dict[str, Any])(stored), patch))


def _merged(target: object, patch: object) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    merged = {**cast("dict[str, Any]", target)} if isinstance(target, dict) else {}
    for name, value in cast("dict[str, Any]", patch).items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged


def _check_size(encoded: bytes, limit: int) -> None:
    if len(encoded) > limit:
        raise Invalid("extra", f"Extra must have {MAX_EXTRA_BYTES} bytes of compact JSON at most")


def _check_values(value: object, depth: int = 1) -> None:
    """Raises Invalid for U+0000, and below the last level. A large one must not come here."""
    if isinstance(value, str):
        if "\0" in value:
            raise Invalid("extra", "Extra must not contain the character U+0000")
        return
    if not isinstance(value, dict | list):
        return
    if depth > MAX_DEPTH:
        raise Invalid("extra", f"Extra must have {MAX_DEPTH} levels of objects and arrays at most")
    for each in cast("list[Any]", [*value, *value.values()] if isinstance(value, dict) else value):
        _check_values(each, depth + 1)
