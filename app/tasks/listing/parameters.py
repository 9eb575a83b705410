"""The parameters of the list: each is declared once, as a field of `Query`.

A parameter that is not known, comes twice (`fields` aside, which is a list) or has another value is refused by name,
and never guessed at: a client that misspells a filter must not get everything.
"""

from datetime import date, datetime
from typing import Annotated, Any, TypeAlias

import msgspec
from litestar import Request
from litestar.di import NamedDependency

from app.tasks.listing.filters import (
    ARCHIVED_FILTER,
    INBOX,
    LIST_FILTER,
    TIME_RULE,
    TIME_SCHEMA,
    Filter,
    after,
    day_filter,
    time_filter,
)
from app.tasks.listing.labels import LABELS, said_in
from app.tasks.search import words
from app.tasks.structs import Task
from app.web import text as web_text
from app.web.failures import Invalid
from app.web.query import (
    MAX_LIMIT,
    SWITCH_RULE,
    Documented,
    Parameter,
    page_cursor,
    parameters_of,
    switch,
    texts_in,
    values_in,
    whole_number,
)

MAX_Q = 200  # characters
MAX_WORDS = 24  # different ones: PostgreSQL looks for each
NEWEST_FIRST = "-created_at"
SORTED_BY = ("created_at", "updated_at", "title", "due_date", "priority", "completed_at")
SORTS = (*(f"{sign}{name}" for name in SORTED_BY for sign in ("", "-")), "relevance")
SHOWN_FIELDS = Task.__struct_fields__


def _sort(text: str) -> str | None:
    return text if text in SORTS else None


def _words(text: str) -> str | None:
    text = text.strip()
    is_good = 0 < len(text) <= MAX_Q and "\0" not in text and words.count(text) <= MAX_WORDS
    return text if is_good else None


def _fields(text: str) -> tuple[str, ...] | None:
    names = text.split(",")
    return tuple(names) if len({*names}) == len(names) and {*names} <= {*SHOWN_FIELDS} else None


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked of a list."""

    limit: Annotated[int | None, whole_number(1, MAX_LIMIT, "How many tasks a page has at most.", examples=[50])] = None
    cursor: Annotated[
        str | None,
        page_cursor(
            "Where the page begins: `page.next` of the one before, with the same parameters. It keeps its page's "
            "`limit`."
        ),
    ] = None
    completed: Annotated[
        bool | None,
        Filter(
            switch,
            SWITCH_RULE,
            "Only those that are done, or are not.",
            {"type": "boolean"},
            condition='(:completed::boolean IS NULL OR "completed" = :completed::boolean)',
        ),
    ] = None
    created_after: Annotated[datetime | None, time_filter("created_after", "Only those created later than this.")] = (
        None
    )
    created_before: Annotated[
        datetime | None, time_filter("created_before", "Only those created earlier than this.")
    ] = None
    updated_after: Annotated[datetime | None, time_filter("updated_after", "Only those changed later than this.")] = (
        None
    )
    completed_after: Annotated[
        datetime | None,
        Filter(
            after,
            TIME_RULE,
            "Only those completed later than this.",
            TIME_SCHEMA,
            condition='(:completed_after::timestamptz IS NULL OR "completed_at" > :completed_after::timestamptz)',
        ),
    ] = None
    due_before: Annotated[
        date | None, day_filter("due_before", '"due_date" < :due_before::date', "Only those due earlier than this day.")
    ] = None
    due_after: Annotated[
        date | None, day_filter("due_after", '"due_date" >= :due_after::date', "Only those due on this day or later.")
    ] = None
    due: Annotated[
        str | None,
        Filter(
            {"none": "none", "any": "any"}.get,
            "none or any",
            "Only those without a due date (`none`), or with one (`any`).",
            {"type": "string", "enum": ["none", "any"]},
            condition="""(:due::text IS NULL OR ("due_date" IS NULL) = (:due::text = 'none'))""",
        ),
    ] = None
    start_before: Annotated[
        date | None,
        day_filter(
            "start_before",
            '"start_date" < :start_before::date OR "start_date" IS NULL',
            "Only those that start earlier than this day. One without a start date has started.",
        ),
    ] = None
    priority_min: Annotated[
        int | None,
        Filter(
            dict(zip("01234", range(5), strict=True)).get,
            "a whole number from 0 to 4",
            "Only those with this priority or a higher one.",
            {"type": "integer", "minimum": 0, "maximum": 4},
            condition='(:priority_min::int IS NULL OR "priority" >= :priority_min::int)',
        ),
    ] = None
    list: Annotated[int | str | None, LIST_FILTER] = None
    archived: Annotated[bool | None, ARCHIVED_FILTER] = None
    label: Annotated[str | None, LABELS] = None
    sort: Annotated[
        str,
        Parameter(
            _sort,
            f"one of {', '.join(SORTS)}",
            "The order; with a `-`, descending. Of two that are alike, the one with the higher id comes last, or "
            "first. One without a due date, or not completed, comes last in both orders. `relevance` needs a `q`.",
            {"type": "string", "enum": [*SORTS], "default": NEWEST_FIRST},
        ),
    ] = NEWEST_FIRST
    q: Annotated[
        str | None,
        Parameter(
            _words,
            f"1 to {MAX_Q} characters, none of them U+0000, and {MAX_WORDS} different words at most",
            f"Only those with these words, {MAX_WORDS} different ones at most, in title or description. The last may "
            'be its beginning; `"two words"` are next to each other, `a or b` is either, `-a` is none with it. Accents '
            "and capitals are all one.",
            {"type": "string", "minLength": 1, "pattern": web_text.pattern(MAX_Q), "examples": ["milk"]},
        ),
    ] = None
    fields: Annotated[
        tuple[str, ...] | None,
        Parameter(
            _fields,
            "names of a task's fields, each once, with commas between them",
            "Only these fields of each task. `fields=id&fields=title` says the same as `fields=id,title`.",
            {
                "type": "array",
                "items": {"type": "string", "enum": [*SHOWN_FIELDS]},
                "minItems": 1,
                "uniqueItems": True,
                "examples": [["id", "title"]],
            },
            {"style": "form", "explode": False},
            is_list=True,
        ),
    ] = None
    count: Annotated[
        bool, Parameter(switch, SWITCH_RULE, "Whether to tell `page.total`.", {"type": "boolean", "default": False})
    ] = False
    said: tuple[tuple[str, str], ...] = ()  # as it was sent, the cursor left out, and of a time what is not read

    def filters(self) -> dict[str, object]:
        """Return what the conditions of all filters bind."""
        return {name: getattr(self, name) for name in FILTERS}

    def rare(self) -> frozenset[str]:
        """Return the names of the conditions that only a statement has in which they are asked for."""
        asked = {name for name, each in FILTERS.items() if each.is_rare and getattr(self, name) is not None}
        return frozenset(asked - {"list"} | {INBOX} if self.list == INBOX else asked)

    def about(self) -> str:
        """Return what decides which tasks there are, and in what order: all that pages of one list share."""
        asked = {name: value for name, value in self.filters().items() if value is not None}
        return msgspec.json.encode([asked, self.sort, self.q]).decode()


FILTERS = {name: each for name, (_, each) in parameters_of(Query).items() if isinstance(each, Filter)}
RequestedList: TypeAlias = NamedDependency[Query | None]


def requested_list(request: Request[Any, Any, Any]) -> Query | None:
    """Return what the query of a request asks; None where it says nothing. Raises Invalid."""
    if not (query_string := request.scope["query_string"]):
        return None
    texts = texts_in(query_string, Query)
    found = values_in(texts, Query)
    if found.get("sort") == "relevance" and "q" not in found:
        raise Invalid("sort", "sort can be relevance only where there is a q to be relevant to")
    read = {name: value.isoformat() for name, value in found.items() if isinstance(value, date)}
    said = tuple((name, each) for name, text in (texts | read).items() for each in said_in(name, text))
    return Query(**found, said=said) if found else None


REQUESTED_LIST = Documented(requested_list, query=Query)
