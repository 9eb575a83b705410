"""Time zones, as the package tzdata has them: the same names and rules on every machine, whatever its own are."""

from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

import tzdata

TZ_VERSION = tzdata.IANA_VERSION  # of the IANA time zone database, such as 2026f


@cache
def names() -> frozenset[str]:
    """Return the names of all time zones."""
    return frozenset(resources.files(tzdata).joinpath("zones").read_text().split())


@lru_cache(4096)
def due_at(day: str, time: str, name: str) -> str | None:
    """Return the moment at which it is that time on that day in a zone, in UTC; None where the zone is not known.

    A time that a day does not have, in a gap, counts by the offset before the gap; of one that it has twice, it is the
    first (RFC 5545, section 3.3.5).
    """
    if (zone := _zone(name)) is None:
        return None
    return datetime.fromisoformat(f"{day}T{time}").replace(tzinfo=zone).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@lru_cache(1024)
def _zone(name: str) -> ZoneInfo | None:
    if name not in names():
        return None
    with resources.files(tzdata).joinpath("zoneinfo", *name.split("/")).open("rb") as rules:
        return ZoneInfo.from_file(rules, key=name)
