"""What can be asked of planned tasks: filters by days, priority and completion, and the orders of the same."""

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from app.tasks.listing.filters import TIME_RULE
from tests.tasks.listing.test_list import LIST, ask, refused, titles

FIRST_DAY = date(2026, 12, 1)
Task = dict[str, Any]
Key = Callable[[Task], Any]


def day(number: int) -> str:
    return f"{FIRST_DAY + timedelta(days=number)}"


@pytest.fixture
async def planned(ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> list[Task]:
    """Sixty tasks of Ada's, most of them with something planned, in the order in which they were made."""
    chance = random.Random(17)
    made = []
    for number in range(60):
        content: Task = {"title": f"task {number}", "priority": chance.randrange(5)}
        if chance.random() < 0.7:
            content["due_date"] = day(chance.randrange(6))
        if chance.random() < 0.5:
            content["start_date"] = day(chance.randrange(6))
        if chance.random() < 0.5:
            moment = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(hours=chance.randrange(8))
            content |= {"completed": True, "completed_at": f"{moment:%Y-%m-%dT%H:%M:%S.000Z}"}
        made.append(content)
    answers = [await ada.post(LIST, json=each) for each in made]
    assert (await bob.post(LIST, json=made[0])).status_code == 201  # whom nothing here is about
    return [answer.json()["data"] for answer in answers]


FILTERS: list[tuple[dict[str, str], Callable[[Task], bool]]] = [
    ({"due_before": day(3)}, lambda task: (task["due_date"] or "9") < day(3)),
    ({"due_after": day(3)}, lambda task: (task["due_date"] or "0") >= day(3)),
    ({"due_after": day(2), "due_before": day(3)}, lambda task: task["due_date"] == day(2)),
    ({"due": "none"}, lambda task: task["due_date"] is None),
    ({"due": "any"}, lambda task: task["due_date"] is not None),
    ({"start_before": day(2)}, lambda task: (task["start_date"] or "0") < day(2)),
    ({"priority_min": "3"}, lambda task: task["priority"] >= 3),
    ({"priority_min": "0"}, lambda task: True),
    (
        {"completed_after": "2026-11-01T03:00:00Z"},
        lambda task: (task["completed_at"] or "0") > "2026-11-01T03:00:00.000Z",
    ),
    (
        {"due_before": day(4), "start_before": day(4), "completed": "false", "priority_min": "1"},
        lambda task: (
            (task["due_date"] or "9") < day(4)
            and (task["start_date"] or "0") < day(4)
            and not task["completed"]
            and task["priority"] >= 1
        ),
    ),
]


@pytest.mark.parametrize(("asked", "is_wanted"), FILTERS, ids=[",".join(asked) for asked, _ in FILTERS])
async def test_a_filter_lets_through_what_it_says(
    ada: httpx.AsyncClient, planned: list[Task], asked: dict[str, str], is_wanted: Callable[[Task], bool]
) -> None:
    wanted = [task for task in planned[::-1] if is_wanted(task)]
    assert wanted
    assert await ask(ada, **asked, count="true") == {"data": wanted, "page": {"next": None, "total": len(wanted)}}


LAST = {False: 1, True: -1}
ORDERS: dict[str, Callable[[bool], Key]] = {
    "due_date": lambda falls: lambda task: (LAST[falls] * (task["due_date"] is None), task["due_date"] or ""),
    "priority": lambda _: lambda task: task["priority"],
    "completed_at": lambda falls: (
        lambda task: (LAST[falls] * (task["completed_at"] is None), task["completed_at"] or "")
    ),
}


@pytest.mark.parametrize("searched", [{}, {"q": "task"}], ids=["all", "found"])
@pytest.mark.parametrize("falls", [False, True], ids=["ascending", "descending"])
@pytest.mark.parametrize("name", ORDERS)
async def test_pages_follow_each_other_in_the_order_and_the_last_have_none(
    ada: httpx.AsyncClient, planned: list[Task], name: str, *, falls: bool, searched: dict[str, str]
) -> None:
    key = ORDERS[name](falls)
    wanted = sorted(planned, key=lambda task: (key(task), task["id"]), reverse=falls)
    asked = {"sort": f"{'-' * falls}{name}", **searched}
    found = []
    page = await ask(ada, **asked, limit=7)
    while True:
        found += page["data"]
        if page["page"]["next"] is None:
            break
        page = await ask(ada, **asked, cursor=page["page"]["next"])
    assert [task["id"] for task in found] == [task["id"] for task in wanted]
    assert found == wanted
    assert (await ask(ada, **asked))["data"] == wanted


async def test_a_page_goes_on_where_it_was_when_the_task_at_its_end_has_moved(ada: httpx.AsyncClient) -> None:
    made = [
        (await ada.post(LIST, json={"title": f"{number}", "due_date": day(number)})).json()["data"]
        for number in range(4)
    ]
    page = await ask(ada, sort="due_date", limit=2)
    await ada.patch(f"{LIST}/{made[1]['id']}", json={"due_date": None})
    rest = await ask(ada, sort="due_date", cursor=page["page"]["next"])
    assert [task["title"] for task in rest["data"]] == ["2", "3"]


async def test_the_order_by_days_is_the_calendars(ada: httpx.AsyncClient) -> None:
    days = ["1900-01-01", "1999-12-31", "2000-01-01", "2000-02-29", "2200-12-31"]
    for each in reversed(days):
        await ada.post(LIST, json={"title": each, "due_date": each})
    await ada.post(LIST, json={"title": "none"})
    assert await titles(ada, sort="due_date", limit=1) == [days[0]]
    assert await titles(ada, sort="due_date") == [*days, "none"]
    assert await titles(ada, sort="-due_date") == [*reversed(days), "none"]


async def test_the_order_does_not_hang_on_how_the_server_writes_dates(
    ada: httpx.AsyncClient, planned: list[Task], sql: asyncpg.Connection
) -> None:
    before = await ask(ada, sort="-due_date")
    name = await sql.fetchval("SELECT current_database()")
    await sql.execute(f"ALTER DATABASE {name} SET datestyle = 'German'")
    try:
        page = await ask(ada, sort="-due_date", limit=30)
        rest = await ask(ada, sort="-due_date", cursor=page["page"]["next"])
        assert page["data"] + rest["data"] == before["data"]
    finally:
        await sql.execute(f"ALTER DATABASE {name} RESET datestyle")


@pytest.mark.parametrize(
    ("name", "bad", "rule"),
    [
        *(
            (name, bad, "a day, as 2026-12-04")
            for name in ("due_before", "due_after", "start_before")
            for bad in (
                *("", "today", "2026-02-30", "20261204", "2026-W49-5", "2026-12-4", "0000-01-01", "2026-12-04 "),
                *("2026-12-04T00:00:00Z", "+2026-12-04", " 2026-12-04", "\u0662026-12-04"),
            )
        ),
        *(("due", bad, "none or any") for bad in ("", "None", "true", "2026-12-04")),
        *(("priority_min", bad, "a whole number from 0 to 4") for bad in ("", "5", "-1", "1.0", "01", "high", "٣")),
        *(
            ("completed_after", bad, TIME_RULE)
            for bad in ("", "2026-12-04", "2026-12-04T00:00:00", "yesterday")
        ),
        *(("sort", bad, None) for bad in ("due", "-start_date", "--priority", "due_date,priority", "DUE_DATE")),
    ],
)  # fmt: skip
async def test_what_is_no_day_priority_or_order_is_refused(
    ada: httpx.AsyncClient, name: str, bad: str, rule: str | None
) -> None:
    query = str(httpx.QueryParams({name: bad}))
    code, field, message = await refused(ada, query)
    assert (code, field) == ("VALIDATION_ERROR", name)
    assert message == f"{name} must be {rule}" if rule else message.startswith("sort must be one of ")


@pytest.mark.parametrize(
    "asked", [{"sort": "due_date"}, {"sort": "-completed_at"}, {"due": "any"}, {"priority_min": "1"}]
)
async def test_a_cursor_is_for_one_filter_and_one_order(
    ada: httpx.AsyncClient, planned: list[Task], asked: dict[str, str]
) -> None:
    cursor = (await ask(ada, **asked, limit=5))["page"]["next"]
    for other in ({}, {"sort": "priority"}, asked | {"start_before": day(9)}):
        answer = await ada.get(LIST, params={**other, "cursor": cursor})
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "INVALID_CURSOR")
