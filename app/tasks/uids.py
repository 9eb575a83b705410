"""UUIDs of objects whose clients chose none: derived from the id (RFC 9562, section 5.8), so that no row stores them.

A derived uid has 48 bits of our own, the version 8, 12 bits for the kind of the object, and the id in the last 53 bits.
A client chooses any other UUID.
"""

import re
from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from app.web.failures import Invalid

MARK = "6a1dc0f5e27b"  # chosen at random
MAX_DERIVED_ID = 2**53 - 1
UID = re.compile(r"[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")
DERIVED = re.compile(rf"{MARK[:8]}-{MARK[8:]}-8([0-9a-f]{{3}})-8(0[01][0-9a-f])-([0-9a-f]{{12}})")


# What an object refers to, such as its list: an answer has the id, and a body that or the uid.
ShownReference = Annotated[int, Meta(ge=1, le=MAX_DERIVED_ID)] | None
SentReference = (
    Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": MAX_DERIVED_ID})]
    | Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    | None
)


class UidKind(IntEnum):
    """What an object is; objects of two kinds may have the same id."""

    TASK = 0
    LIST = 1
    LABEL = 2


def uid_of(kind: UidKind, number: int) -> str:
    """Return the uid that is derived of an id, which is below 2^53."""
    digits = f"{MARK}8{kind:03x}8{number:015x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def is_derived(uid: str) -> bool:
    """Tell whether a uid, as `parse_uid` returns it, is one that no client may choose, of whatever kind."""
    return DERIVED.fullmatch(uid) is not None


def id_in(kind: UidKind, uid: str) -> int | None:
    """Return the id that a uid of this kind is derived of; None for any other uid."""
    match = DERIVED.fullmatch(uid)
    return int(match[2] + match[3], 16) if match and int(match[1], 16) == kind else None


def parse_uid(text: str) -> str | None:
    """Return a UUID in the spelling of RFC 9562, section 4, in lower case; None for any other text."""
    return text.lower() if UID.fullmatch(text) else None


def chosen_uid(sent: object) -> str | None:
    """Return the uid that a client has chosen for a new object, if it has. Raises Invalid for one that it may not."""
    if not isinstance(sent, str):
        return None
    uid = parse_uid(sent)
    if uid is None:
        raise Invalid("uid", "Uid must be a UUID, such as 01936c1e-7c3a-7000-9b1d-0d9d6f1d2a11")
    if is_derived(uid):
        raise Invalid("uid", "Uid must be a UUID that the service has not derived from an id")
    return uid


def uid_sql(kind: UidKind, row: str) -> str:
    """Return the SQL of the uid of a row of this table, with the columns `id` and `uid`, as text.

    Ids below 2^48, which all are in practice, become text in a fifth of the time that a cast to `uuid` and back takes.
    """
    number, start = f'"{row}"."id"', f"{MARK}8{kind:03x}8"
    short = f"'{start[:8]}-{start[8:12]}-{start[12:16]}-8000-' || right(to_hex({number} + {2**48}), 12)"
    any_other = f"('{start}' || lpad(to_hex({number}), 15, '0'))::uuid::text"
    return f'coalesce("{row}"."uid"::text, CASE WHEN {number} < {2**48} THEN {short} ELSE {any_other} END)'
