"""What a client may ask of its list: each parameter, what it may say, and what it says.

A parameter that is not known, comes twice (`fields` aside, which is a list) or says something else is refused by name,
and never guessed at: whoever misspells a filter must not get everything.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote, urlencode

import msgspec

from app import texts
from app.failures import Invalid
from app.query import LIMIT_RULE, MAX_LIMIT, limit, pairs
from app.tasks import words
from app.tasks.structs import Task

MAX_Q = 200  # characters
MAX_WORDS = 24  # different ones: PostgreSQL looks for each
NEWEST_FIRST = "-created_at"
SORTS = ("created_at", NEWEST_FIRST, "updated_at", "-updated_at", "title", "-title", "relevance")
FIELDS = Task.__struct_fields__
FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

# RFC 3339, section 5.6.
TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}):(\d{2})(?:\.(\d+))?([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a list."""

    limit: int | None = None
    cursor: str | None = None
    completed: bool | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    updated_after: datetime | None = None
    sort: str = NEWEST_FIRST
    q: str | None = None
    fields: tuple[str, ...] | None = None
    count: bool = False
    said: tuple[tuple[str, str], ...] = ()  # as it was sent, the cursor left out, and of a time what is not read

    def beyond(self, cursor: str) -> bytes:
        """Return the query string of the next page."""
        return urlencode([*self.said, ("cursor", cursor)], quote_via=quote).encode()

    def about(self) -> str:
        """Return what decides which tasks there are, and in what order: all that pages of one list share."""
        which = (self.completed, self.created_after, self.created_before, self.updated_after, self.sort, self.q)
        return msgspec.json.encode(which).decode()


def read(query_string: bytes) -> Query | None:
    """Return what a query string asks; None where it says nothing. Raises Invalid."""
    given: dict[str, str] = {}
    for name, value in pairs(query_string, READERS, repeatable=("fields",)):
        given[name] = f"{given[name]},{value}" if name in given else value
    found: dict[str, Any] = {}
    said: list[tuple[str, str]] = []
    for name, value in given.items():
        if (read := READERS[name](value)) is None:
            raise Invalid(name, f"{name} must be {ALLOWED[name]}")
        found[name] = read
        said += [(name, read.isoformat() if isinstance(read, datetime) else value)] if name != "cursor" else []
    if found.get("sort") == "relevance" and "q" not in found:
        raise Invalid("sort", "sort can be relevance only where there is a q to be relevant to")
    return Query(**found, said=tuple(said)) if found else None


def _switch(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text)


def _sort(text: str) -> str | None:
    return text if text in SORTS else None


def _words(text: str) -> str | None:
    text = text.strip()
    is_good = 0 < len(text) <= MAX_Q and "\0" not in text and words.count(text) <= MAX_WORDS
    return text if is_good else None


def _fields(text: str) -> tuple[str, ...] | None:
    names = text.split(",")
    return tuple(names) if len({*names}) == len(names) and {*names} <= {*FIELDS} else None


def _after(text: str) -> datetime | None:
    """Tasks know milliseconds: what is after a moment is after the microsecond in which it lies."""
    moment = _moment(text)
    return moment and moment[0]


def _before(text: str) -> datetime | None:
    """Return the end of the microsecond: a task at its beginning may be before the moment."""
    moment = _moment(text)
    return moment and _later(moment[0], timedelta(microseconds=moment[1]))


def _moment(text: str) -> tuple[datetime, bool] | None:
    """Return a time to the microsecond, and whether it is a bit later than that."""
    match = TIME.fullmatch(text)
    if match is None:
        return None
    date, minute, second, fraction, offset = match.groups()
    fraction = fraction or ""
    is_leap = second == "60"  # which is the next second, as PostgreSQL has it
    shown = f"{date}T{minute}:{'59' if is_leap else second}.{fraction[:6]:0<6}{offset.upper()}"
    try:
        moment = datetime.fromisoformat(shown)
    except ValueError:
        return None
    return _later(moment, timedelta(seconds=is_leap)), bool(fraction[6:].strip("0"))


def _later(moment: datetime, by: timedelta) -> datetime:
    """Return the time so much later, in UTC; beyond the years 1 to 9999 the first or last time in them."""
    try:
        return (moment + by).astimezone(UTC)
    except OverflowError:
        return FIRST if moment.year == 1 else LAST


READERS: dict[str, Callable[[str], Any]] = {
    "limit": limit,
    "cursor": str,
    "completed": _switch,
    "created_after": _after,
    "created_before": _before,
    "updated_after": _after,
    "sort": _sort,
    "q": _words,
    "fields": _fields,
    "count": _switch,
}
A_TIME = "a time as in RFC 3339, with its offset, as 2026-11-21T09:30:00Z (a + is written %2B)"
ALLOWED = {
    "limit": LIMIT_RULE,
    "completed": "true or false",
    "created_after": A_TIME,
    "created_before": A_TIME,
    "updated_after": A_TIME,
    "sort": f"one of {', '.join(SORTS)}",
    "q": f"1 to {MAX_Q} characters, none of them U+0000, and {MAX_WORDS} different words at most",
    "fields": f"some of {', '.join(FIELDS)}, each once, with commas between them",
    "count": "true or false",
}

_TIME = {"type": "string", "format": "date-time", "examples": ["2026-11-21T09:30:00Z"]}
# What the document says of them (OpenAPI 3.1.0, section 4.8.12).
DOCUMENTED: dict[str, dict[str, Any]] = {
    "limit": {
        "description": "How many tasks a page has at most.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "examples": [50]},
    },
    "cursor": {
        "description": "Where the page begins: `page.next` of the one before, with the same parameters. It keeps its "
        "page's `limit`.",
        "schema": {"type": "string", "format": "cursor"},
    },
    "completed": {"description": "Only those that are done, or are not.", "schema": {"type": "boolean"}},
    "created_after": {"description": "Only those created later than this.", "schema": _TIME},
    "created_before": {"description": "Only those created earlier than this.", "schema": _TIME},
    "updated_after": {"description": "Only those changed later than this.", "schema": _TIME},
    "sort": {
        "description": "The order; with a `-`, descending. Of two that are alike, the one with the higher id comes "
        "last, or first. `relevance` needs a `q`.",
        "schema": {"type": "string", "enum": [*SORTS], "default": NEWEST_FIRST},
    },
    "q": {
        "description": f"Only those with these words, {MAX_WORDS} different ones at most, in title or description. The "
        'last may be its beginning; `"two words"` are next to each other, `a or b` is either, `-a` is none with it. '
        "Accents and capitals are all one.",
        "schema": {"type": "string", "minLength": 1, "pattern": texts.pattern(MAX_Q), "examples": ["milk"]},
    },
    "fields": {
        "description": "Only these fields of each task. `fields=id&fields=title` says the same as `fields=id,title`.",
        "style": "form",
        "explode": False,
        "schema": {
            "type": "array",
            "items": {"type": "string", "enum": [*FIELDS]},
            "minItems": 1,
            "uniqueItems": True,
            "examples": [["id", "title"]],
        },
    },
    "count": {"description": "Whether to tell `page.total`.", "schema": {"type": "boolean", "default": False}},
}
