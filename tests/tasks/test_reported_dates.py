"""Days that users of other task managers reported wrong, most of them in the issues of TaskNotes, asked of the API.

The issues whose subject is no calendar, menu, recurrence, time entry or formula: 160, 327, 810, 838, 857, 887, 1027,
1124, 1223, 1231, 1352, 1373, 1651, 1854, 2092, 2141 and 2198. "Today" is the day of the reader, whose client knows it.
"""

from collections.abc import AsyncIterator, Iterator
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import pytest
import time_machine
from litestar import Litestar

from tests.conftest import token, visitor

LIST = "/api/tasks"
ZONES = ["Pacific/Kiritimati", "Asia/Kolkata", "Europe/Berlin", "America/New_York", "Pacific/Pago_Pago"]
AROUND_MIDNIGHT = [
    (zone, f"{day}T{clock}") for zone in ZONES for day, clock in (("2026-12-04", "23:59"), ("2026-12-05", "00:01"))
]


@pytest.fixture(params=AROUND_MIDNIGHT, ids=[f"{zone} {clock[-5:]}" for zone, clock in AROUND_MIDNIGHT])
def today(request: pytest.FixtureRequest) -> Iterator[date]:
    """The day of a reader in one of five zones, a minute before and after midnight. The service has the same clock."""
    zone, local = request.param
    with time_machine.travel(datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone)), tick=True):
        yield date.today()


@pytest.fixture
async def reader(running: Litestar, clean: None, today: date) -> AsyncIterator[httpx.AsyncClient]:
    async with visitor(running, authorization=f"Bearer {token('ada')}") as client:
        yield client


async def create(client: httpx.AsyncClient, **content: Any) -> dict[str, Any]:
    answer = await client.post(LIST, json={"title": "a"} | content)
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


async def titles(client: httpx.AsyncClient, **wanted: Any) -> list[str]:
    answer = await client.get(LIST, params={"sort": "due_date"} | wanted)
    assert answer.status_code == 200, answer.text
    return [task["title"] for task in answer.json()["data"]]


class TestAroundMidnight:
    async def test_today_is_what_is_due_before_tomorrow(self, reader: httpx.AsyncClient, today: date) -> None:
        days = {"yesterday": -1, "today": 0, "tomorrow": 1}
        for title, days_later in days.items():
            day = f"{today + timedelta(days=days_later)}"
            await create(reader, title=title, due_date=day)
            for clock in ("00:00", "14:00", "23:59"):
                await create(reader, title=f"{title} at {clock}", due_date=day, due_time=clock)
                for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
                    await create(reader, title=f"{title} there", due_date=day, due_time=clock, time_zone=zone)
        await create(reader, title="some day")
        tomorrow = f"{today + timedelta(days=1)}"
        due = await titles(reader, due_before=tomorrow, completed="false")
        assert [title.split()[0] for title in due] == ["yesterday"] * 10 + ["today"] * 10
        overdue = await titles(reader, due_before=f"{today}", completed="false")
        assert [title.split()[0] for title in overdue] == ["yesterday"] * 10
        of_today = await titles(reader, due_after=f"{today}", due_before=tomorrow)
        assert [title.split()[0] for title in of_today] == ["today"] * 10

    async def test_a_day_stays_the_day_that_was_sent(self, reader: httpx.AsyncClient, today: date) -> None:
        for day in (today, date(2024, 10, 1), date(2024, 10, 2), date(2026, 3, 29), date(2027, 1, 1)):
            task = await create(reader, due_date=f"{day}", start_date=f"{day}")
            read = (await reader.get(f"{LIST}/{task['id']}")).json()["data"]
            assert (read["due_date"], read["start_date"]) == (f"{day}", f"{day}")
            assert read["due_at"] is None

    async def test_what_is_done_just_now_is_not_in_the_future(self, reader: httpx.AsyncClient, today: date) -> None:
        now = datetime.now().astimezone()
        task = await create(reader, completed=True, completed_at=now.isoformat())
        assert datetime.fromisoformat(task["completed_at"]) <= now
        later = (now + timedelta(minutes=2)).isoformat()
        answer = await reader.post(LIST, json={"title": "a", "completed": True, "completed_at": later})
        assert answer.status_code == 422

    async def test_what_starts_today_has_started(self, reader: httpx.AsyncClient, today: date) -> None:
        for title, days_later in {"started": -1, "starts": 0, "will start": 1}.items():
            await create(reader, title=title, start_date=f"{today + timedelta(days=days_later)}")
        await create(reader, title="any time")
        shown = await titles(reader, start_before=f"{today + timedelta(days=1)}", sort="title")
        assert shown == ["any time", "started", "starts"]


class TestDays:
    async def test_a_task_at_a_time_is_found_by_its_day(self, ada: httpx.AsyncClient) -> None:
        for clock in ("00:00", "09:00", "23:59"):
            await create(ada, title=clock, due_date="2026-02-27", due_time=clock)
        assert sorted(await titles(ada, due_after="2026-02-27", due_before="2026-02-28")) == ["00:00", "09:00", "23:59"]
        assert len(await titles(ada, due="any")) == 3
        assert await titles(ada, due="none") == []

    @pytest.mark.parametrize("clock", ["00:00", "06:30", "16:00", "23:45"])
    @pytest.mark.parametrize("day", ["2025-12-09", "2025-12-11", "2025-12-17", "2026-01-01"])
    async def test_another_day_keeps_the_time(self, ada: httpx.AsyncClient, clock: str, day: str) -> None:
        task = await create(ada, due_date="2025-12-10", due_time=clock)
        changed = (await ada.patch(f"{LIST}/{task['id']}", json={"due_date": day})).json()["data"]
        assert (changed["due_date"], changed["due_time"]) == (day, clock)

    async def test_a_day_without_a_time_gets_none(self, ada: httpx.AsyncClient) -> None:
        task = await create(ada, due_date="2025-12-10")
        changed = (await ada.patch(f"{LIST}/{task['id']}", json={"due_date": "2025-12-11"})).json()["data"]
        assert changed["due_time"] is None

    async def test_a_range_of_days_has_its_first_and_not_its_end(self, ada: httpx.AsyncClient) -> None:
        for day in ("2024-12-25", "2025-01-10", "2025-01-15", "2025-01-31", "2025-02-15"):
            await create(ada, title=day, due_date=day)
        await create(ada, title="none")
        assert await titles(ada, due_after="2025-01-15", due_before="2025-02-15") == ["2025-01-15", "2025-01-31"]
        assert await titles(ada, due_before="2025-01-10") == ["2024-12-25"]
        assert (await titles(ada))[-1] == "none"

    async def test_a_task_that_is_done_when_it_is_made_says_so(self, ada: httpx.AsyncClient) -> None:
        assert (await create(ada, completed=True))["completed_at"]

    async def test_what_is_done_is_not_overdue(self, ada: httpx.AsyncClient) -> None:
        await create(ada, title="done", due_date="2025-10-05", completed=True)
        await create(ada, title="open", due_date="2025-10-05")
        assert await titles(ada, due_before="2025-10-06", completed="false") == ["open"]

    @pytest.mark.parametrize(
        "day", ["01/02/2026", "2.1.2026", "2026-1-2", "2026-02-30", "2026-01-02T00:00:00Z", "today", ""]
    )
    async def test_no_other_spelling_is_guessed(self, ada: httpx.AsyncClient, day: str) -> None:
        for field in ("due_date", "start_date"):
            answer = await ada.post(LIST, json={"title": "a", field: day})
            assert (answer.status_code, answer.json()["error"]["fields"][0]["field"]) == (422, field)
        assert (await ada.get(LIST, params={"due_before": day})).status_code == 422
