"""The checks of a task's fields: each returns the value to store. The admin asks them too."""

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

from msgspec import UNSET, UnsetType
from msgspec.structs import force_setattr

from app.tasks import zones
from app.tasks.uids import MAX_DERIVED_ID, UidKind, id_in, parse_uid
from app.web import text as web_text
from app.web.failures import Invalid

MAX_TITLE = 500  # characters, that is Unicode code points, as PostgreSQL counts them
MAX_PRIORITY = 4
MAX_ESTIMATE = 14_400  # minutes
FIRST_YEAR, LAST_YEAR = 1900, 2200
CLOCK_LEEWAY = timedelta(seconds=5)  # by which the clocks of clients, the service and PostgreSQL may differ

DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
TIME_OF_DAY = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
# What a field needs, and is cleared with.
NEEDS = {"due_time": "due_date", "time_zone": "due_time"}


def checked_title(title: str) -> str:
    """Return the title, trimmed. Raises Invalid."""
    title = title.strip()
    if web_text.is_blank(title):
        raise Invalid("title", "Title is required")
    if len(title) > MAX_TITLE:
        raise Invalid("title", f"Title must have {MAX_TITLE} characters at most")
    _check_text("title", title)
    return title


def checked_description(description: str | None) -> str | None:
    """Return the description. Raises Invalid. Its length is checked with the task's own: `is_too_long`."""
    _check_text("description", description or "")
    return description


def checked_completed_at(at: datetime | None) -> datetime | UnsetType:
    """Return the time, to the millisecond; UNSET for null, so that the service sees to it. Raises Invalid."""
    if at is None:
        return UNSET
    if at > datetime.now(UTC) + CLOCK_LEEWAY:
        raise Invalid("completed_at", "Completed at must not be in the future")
    if at.year < FIRST_YEAR:
        raise Invalid("completed_at", f"Completed at must not be before {FIRST_YEAR}")
    return at.astimezone(UTC).replace(microsecond=at.microsecond // 1000 * 1000)


def checked_day(field: str) -> Callable[[str | None], str | None]:
    """Return the check of a field that is a day."""

    def check(day: str | None) -> str | None:
        if day is not None and not _is_day(day):
            rule = f"a day from {FIRST_YEAR}-01-01 to {LAST_YEAR}-12-31, such as 2026-12-04"
            raise Invalid(field, f"{_words(field)} must be {rule}")
        return day

    return check


def checked_due_time(time: str | None) -> str | None:
    """Return the time of day. Raises Invalid."""
    if time is not None and not TIME_OF_DAY.fullmatch(time):
        raise Invalid("due_time", "Due time must be a time of day from 00:00 to 23:59, such as 17:30")
    return time


def checked_time_zone(name: str | None) -> str | None:
    """Return the name of a time zone. Raises Invalid."""
    if name is not None and name not in zones.names():
        raise Invalid("time_zone", "Time zone must be a name of the IANA time zone database, such as Europe/Berlin")
    return name


def checked_number(field: str, least: int, most: int, otherwise: int | None) -> Callable[[int | None], int | None]:
    """Return the check of a field that is a number, or `otherwise` where it is null."""

    def check(number: int | None) -> int | None:
        if number is None:
            return otherwise
        if not least <= number <= most:
            raise Invalid(field, f"{_words(field)} must be an integer from {least} to {most}")
        return number

    return check


def checked_list_id(sent: int | str | None) -> int | str | None:
    """Return the id of a list, or a uid that its client has chosen, in lower case. Raises Invalid for what is none."""
    if isinstance(sent, str) and (uid := parse_uid(sent)) is not None:
        derived = id_in(UidKind.LIST, uid)
        return uid if derived is None else derived
    if isinstance(sent, str) or (sent is not None and not 0 < sent <= MAX_DERIVED_ID):
        raise no_such_list()
    return sent


def no_such_list() -> Invalid:
    """Return the failure of a task that is put into a list which is not its owner's, or takes none."""
    return Invalid("list_id", "List id must be the id or uid of a list of yours that is not archived")


def check_together(content: Any) -> None:
    """Check what hangs on other fields of a body, and put null where a null elsewhere clears. Raises Invalid."""
    if content.completed is False:  # a client that sends a whole task back has changed this alone
        force_setattr(content, "completed_at", UNSET)
    if content.completed_at is not UNSET and content.completed is UNSET:
        raise Invalid("completed_at", "Completed at needs a completed that is true")
    for field, needed in NEEDS.items():
        if getattr(content, needed) is None:
            if isinstance(getattr(content, field), str):
                raise needs(field)
            force_setattr(content, field, None)


def needs(field: str) -> Invalid:
    """Return the failure of a field without what it needs."""
    return Invalid(field, f"{_words(field)} needs a {_words(NEEDS[field]).lower()}")


def _is_day(text: str) -> bool:
    if not DAY.fullmatch(text):
        return False
    try:
        return FIRST_YEAR <= date.fromisoformat(text).year <= LAST_YEAR
    except ValueError:
        return False


def _check_text(field: str, text: str) -> None:
    if "\0" in text:
        raise Invalid(field, f"{_words(field)} must not contain the character U+0000")


def _words(field: str) -> str:
    return field.replace("_", " ").capitalize()
