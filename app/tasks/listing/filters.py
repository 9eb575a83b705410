"""Filters of the list: parameters by which tasks are chosen, and how their times and days are read."""

import re
from datetime import UTC, date, datetime, timedelta

from app.web.query import Parameter

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
