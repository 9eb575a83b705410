"""Filters of the list: parameters by which tasks are chosen, and how their times and days are read."""

import re
from datetime import UTC, date, datetime, timedelta

from app.db.statements import SET_RLS_OWNER
from app.tasks.uids import MAX_DERIVED_ID, UidKind, id_in, parse_uid
from app.web.query import SWITCH_RULE, Parameter, switch

FIRST_TIME, LAST_TIME = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

# RFC 3339, section 5.6.
DATE_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:)(\d{2})((?:\.\d+)?)([Zz]|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)


FULL_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)  # RFC 3339, section 5.6: full-date


def after(text: str) -> datetime | None:
    # Tasks know milliseconds: what is after a moment is after the microsecond in which it lies.
    moment = _moment(text)
    return moment and moment[0]


def _before(text: str) -> datetime | None:
    """Return the end of the microsecond: a task at its beginning may be before the moment."""
    moment = _moment(text)
    return moment and _later(moment[0], timedelta(microseconds=moment[1]))


def _moment(text: str) -> tuple[datetime, bool] | None:
    """Return a time to the microsecond, and whether it is a bit later than that."""
    match = DATE_TIME.fullmatch(text)
    if match is None:
        return None
    minute, second, fraction, offset = match.groups()
    is_leap = second == "60"  # which is the next second, as PostgreSQL has it
    try:
        moment = datetime.fromisoformat(f"{minute}{'59' if is_leap else second}{fraction[:7]}{offset}".upper())
    except ValueError:
        return None
    return _later(moment, timedelta(seconds=is_leap)), bool(fraction[7:].strip("0"))


def _later(moment: datetime, by: timedelta) -> datetime:
    """Return the time so much later, in UTC; beyond the years 1 to 9999 the first or last time in them."""
    try:
        return (moment + by).astimezone(UTC)
    except OverflowError:
        return FIRST_TIME if moment.year == 1 else LAST_TIME


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if FULL_DATE.fullmatch(text) else None
    except ValueError:
        return None


class Filter(Parameter, frozen=True):
    """A parameter by which tasks are chosen: where it is not there, its condition has null, and holds."""

    condition: str = ""  # the SQL, in which the parameter has its own name
    # Whether only statements have it in which it is asked for, and it does not hold for null: where it finds its tasks
    # by an index, or looks at another table.
    is_rare: bool = False


def _list(text: str) -> int | str | None:
    """Return the id of a list, or its uid, or `inbox`; 0, which no list has, for one that none can have."""
    if text == INBOX:
        return text
    if PLAIN_ID.fullmatch(text):
        return int(text) if len(text) <= len(str(MAX_DERIVED_ID)) else 0
    uid = parse_uid(text)
    derived = uid and id_in(UidKind.LIST, uid)
    return uid if derived is None else derived


INBOX = "inbox"
PLAIN_ID = re.compile(r"0|[1-9][0-9]*", re.ASCII)
LIST_FILTER = Filter(
    _list,
    "the id or uid of a list, or inbox",
    "Only those in this list; or in none (`inbox`). Of a list that is not there it is an empty page.",
    {
        "anyOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "format": "uuid"},
            {"type": "string", "enum": [INBOX]},
        ],
        "examples": [7],
    },
    condition='"tasks"."list_id" = :list::bigint',
    is_rare=True,
)
IN_NO_LIST = '"tasks"."list_id" IS NULL'
ARCHIVED_FILTER = Filter(
    switch,
    SWITCH_RULE,
    "Only those in lists that are archived, or all others.",
    {"type": "boolean"},
    condition=f"""
        EXISTS (
            SELECT 1 FROM "task_lists" WHERE {SET_RLS_OWNER} AND "task_lists"."user_id" = :owner
                AND "task_lists"."id" = "tasks"."list_id" AND "task_lists"."archived_at" IS NOT NULL
        ) = :archived::boolean
    """,
    is_rare=True,
)
TIME_RULE = "a time as in RFC 3339, with its offset, as 2026-11-21T09:30:00Z (a + is written %2B)"
TIME_SCHEMA = {"type": "string", "format": "date-time", "examples": ["2026-11-21T09:30:00Z"]}


def time_filter(name: str, description: str) -> Filter:
    """Return the filter with this name, such as `created_after`, by the time in a column."""
    column, _, side = name.partition("_")
    read, sign, otherwise = (after, ">", "-infinity") if side == "after" else (_before, "<", "infinity")
    return Filter(
        read,
        TIME_RULE,
        description,
        TIME_SCHEMA,
        condition=f""""{column}_at" {sign} coalesce(:{name}::timestamptz, '{otherwise}')""",
    )


def day_filter(name: str, condition: str, description: str) -> Filter:
    """Return the filter with this name by a day; `condition` says which tasks it lets through."""
    schema = {"type": "string", "format": "date", "examples": ["2026-12-04"]}
    chosen = f"(:{name}::date IS NULL OR {condition})"
    return Filter(_day, "a day, as 2026-12-04", description, schema, condition=chosen)
