"""When a task is due in UTC: by the zone's rules of that day, whatever the machine's own are."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from importlib import metadata
from zoneinfo import ZoneInfo

import pytest

from app.config.settings import ROOT
from app.tasks import zones
from app.tasks.zones import due_at

# Whole, half and quarter hours; of both hemispheres; with a gap of a day, none since, and one of half an hour.
ZONES = [
    *("Europe/Berlin", "Europe/London", "Europe/Lisbon", "Europe/Dublin", "Europe/Chisinau", "Africa/Casablanca"),
    *("Africa/Cairo", "America/New_York", "America/St_Johns", "America/Havana", "America/Santiago", "America/Asuncion"),
    *("America/Nuuk", "Asia/Beirut", "Asia/Gaza", "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Auckland"),
    *("Pacific/Chatham", "Antarctica/Troll"),
]
FIRST, LAST = datetime(2020, 1, 1, tzinfo=UTC), datetime(2036, 1, 1, tzinfo=UTC)


def transitions(zone: ZoneInfo) -> list[datetime]:
    """The moments from which another offset counts, found by looking."""
    found: list[datetime] = []
    day = FIRST
    while day < LAST:
        following = day + timedelta(days=1)
        low, high = day, following
        while high - low > timedelta(minutes=1):  # no two on one day
            middle = low + (high - low) // 2
            if middle.astimezone(zone).utcoffset() == day.astimezone(zone).utcoffset():
                low = middle
            else:
                high = middle
        if high < following or following.astimezone(zone).utcoffset() != day.astimezone(zone).utcoffset():
            found.append(high.replace(second=0, microsecond=0))
        day = following
    return found


def by_the_book(local: datetime, zone: ZoneInfo) -> datetime:
    """RFC 5545, section 3.3.5, from what zoneinfo tells of moments alone."""
    offsets = [(local.replace(tzinfo=UTC) + timedelta(days=each)).astimezone(zone).utcoffset() for each in (-1, 1)]
    candidates = [local.replace(tzinfo=timezone(offset)).astimezone(UTC) for offset in offsets if offset is not None]
    real = [each for each in candidates if each.astimezone(zone).replace(tzinfo=None) == local]
    return min(real) if real else candidates[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ZONES)
def test_around_each_change_of_the_clocks_it_is_what_the_rfc_says(name: str) -> None:
    zone = zones._zone(name)  # the machine's own has another version, by which some of these differ
    assert zone
    compared = 0
    for moment in transitions(zone):
        before = (moment - timedelta(minutes=1)).astimezone(zone).replace(tzinfo=None)
        for minutes in range(-150, 151, 15):
            local = (before + timedelta(minutes=1 + minutes)).replace(second=0)
            told = due_at(f"{local:%Y-%m-%d}", f"{local:%H:%M}", name)
            assert told == f"{by_the_book(local, zone):%Y-%m-%dT%H:%M:%SZ}", local
            compared += 1
    assert compared > 0 or name == "Asia/Kolkata"


@pytest.mark.parametrize(
    ("day", "time", "name", "moment"),
    [
        ("2026-03-29", "02:30", "Europe/Berlin", "2026-03-29T01:30:00Z"),  # there is none: as if it were winter still
        ("2026-10-25", "02:30", "Europe/Berlin", "2026-10-25T00:30:00Z"),  # there are two: the first
        ("2026-04-05", "01:45", "Australia/Lord_Howe", "2026-04-04T14:45:00Z"),  # half an hour
        ("2011-12-30", "12:00", "Pacific/Apia", "2011-12-30T22:00:00Z"),  # a day that was left out
        ("2026-12-04", "23:59", "Pacific/Kiritimati", "2026-12-04T09:59:00Z"),
        ("2026-12-04", "00:00", "America/Adak", "2026-12-04T10:00:00Z"),
        ("2200-07-01", "12:00", "America/New_York", "2200-07-01T16:00:00Z"),
        ("1900-01-01", "00:00", "Europe/Berlin", "1899-12-31T23:00:00Z"),
        ("1900-01-01", "00:00", "Asia/Kolkata", "1899-12-31T18:38:50Z"),
        ("2026-12-04", "17:30", "Mars/Base", None),
    ],
)
def test_it_is_that_moment(day: str, time: str, name: str, moment: str | None) -> None:
    assert due_at(day, time, name) == moment


def test_every_name_has_rules_and_they_are_those_of_the_lock() -> None:
    assert {name for name in zones.names() if due_at("2026-12-04", "17:30", name) is None} == set()
    year, letter = zones.TZ_VERSION[:-1], zones.TZ_VERSION[-1]
    assert metadata.version("tzdata") == f"{year}.{ord(letter) - ord('a') + 1}"


def test_what_the_machine_knows_of_zones_does_not_matter() -> None:
    told = "from app.tasks.zones import due_at; print(due_at('2026-12-04', '17:30', 'Europe/Berlin'))"
    env = {**os.environ, "PYTHONTZPATH": "", "TZ": "Asia/Tokyo"}
    done = subprocess.run([sys.executable, "-c", told], cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "2026-12-04T16:30:00Z\n"
