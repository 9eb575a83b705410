"""When a task is due, when it was done, how urgent and how long it is, and an object of the client's own."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.tasks import queries
from tests.tasks import plain
from tests.tasks.batch.test_batch import send
from tests.tasks.plain import PLAIN
from tests.tasks.test_controller import created

CONTENT = [name for name in plain.CONTENT if name != "list_id"]  # which `tests/tasks/lists` is about

EVERYTHING: dict[str, Any] = {
    "title": "Send the invoice",
    "description": "By post",
    "completed": True,
    "completed_at": "2026-11-21T09:30:00.125Z",
    "start_date": "2026-12-05",
    "due_date": "2026-12-04",
    "due_time": "17:30",
    "time_zone": "Europe/Berlin",
    "priority": 3,
    "labels": ["home", "Ärger"],
    "estimate_minutes": 30,
    "extra": {"z": 1, "a": {"b": [1, 2.0, None]}, "größe": "\u2028"},
}
DUE_AT = {"due_at": "2026-12-04T16:30:00Z"}


def content_of(task: dict[str, Any]) -> dict[str, Any]:
    return {name: task[name] for name in CONTENT}


async def ask(client: httpx.AsyncClient, method: str, path: str, body: Any) -> dict[str, Any]:
    answer = await client.request(method, path, json=body)
    assert answer.is_success, answer.text
    return answer.json()["data"]


async def refused(client: httpx.AsyncClient, method: str, path: str, body: Any, field: str) -> str:
    """Return the sentence of a refusal that is about a field."""
    answer = await client.request(method, path, json=body)
    assert answer.status_code == 422, answer.text
    error = answer.json()["error"]
    assert (error["code"], [each["field"] for each in error["fields"]]) == ("VALIDATION_ERROR", [field])
    return error["message"]


@pytest.fixture
async def task(ada: httpx.AsyncClient) -> dict[str, Any]:
    return await ask(ada, "POST", "/api/tasks", EVERYTHING)


@pytest.fixture
def path(task: dict[str, Any]) -> str:
    return f"/api/tasks/{task['id']}"


class TestEverything:
    async def test_a_new_task_has_it_all_and_so_has_each_answer(
        self, ada: httpx.AsyncClient, task: dict[str, Any], path: str
    ) -> None:
        assert {name: task[name] for name in (*CONTENT, "due_at")} == EVERYTHING | DUE_AT
        assert [*task["extra"]] == ["z", "a", "größe"]
        assert (await ada.get(path)).json()["data"] == task
        assert (await ada.get("/api/tasks")).json()["data"] == [task]
        assert (await ada.get("/api/tasks?limit=1")).json()["data"] == [task]
        names = ",".join(PLAIN)
        assert (await ada.get(f"/api/tasks?fields={names}")).json()["data"] == [{name: task[name] for name in PLAIN}]

    async def test_a_whole_task_that_is_sent_back_changes_nothing_of_it(
        self, ada: httpx.AsyncClient, task: dict[str, Any], path: str
    ) -> None:
        for method in ("PUT", "PATCH"):
            after = await ask(ada, method, path, task)
            assert content_of(after) == content_of(task)
        history = (await ada.get(f"{path}/history")).json()["data"]
        assert [each["changes"] for each in history][:2] == [{}, {}]

    @pytest.mark.parametrize("name", [name for name in CONTENT if name not in ("title", "description", "completed")])
    async def test_a_client_that_does_not_know_a_field_leaves_it_as_it_is(
        self, ada: httpx.AsyncClient, task: dict[str, Any], path: str, name: str
    ) -> None:
        await ask(ada, "PUT", path, {"title": "x", "description": "y"})
        after = await ask(ada, "PUT", path, {"title": "x", "description": "y", "completed": True})
        assert after[name] == task[name]

    async def test_null_clears_or_means_the_default(
        self, ada: httpx.AsyncClient, task: dict[str, Any], path: str
    ) -> None:
        nothing = {name: None for name in PLAIN if name not in ("completed_at", "due_at")}
        after = await ask(ada, "PATCH", path, {**nothing, "completed": False})
        assert {name: after[name] for name in PLAIN} == PLAIN
        assert {name: (await ask(ada, "PUT", path, {**EVERYTHING, **nothing}))[name] for name in nothing} == {
            name: PLAIN[name] for name in nothing
        }
        new = await ask(ada, "POST", "/api/tasks", {"title": "x", **nothing})
        assert {name: new[name] for name in PLAIN} == PLAIN

    async def test_the_history_tells_it_and_each_state_can_be_had_back(
        self, ada: httpx.AsyncClient, task: dict[str, Any], path: str
    ) -> None:
        other = {"priority": 1, "due_date": "2027-01-01", "due_time": None, "extra": {"z": None, "new": 1}}
        after = await ask(ada, "PATCH", path, {**other, "completed": False, "estimate_minutes": None})
        first, *_ = reversed((await ada.get(f"{path}/history")).json()["data"])
        assert first["changes"] == {name: {"from": None, "to": EVERYTHING[name]} for name in CONTENT}
        last = (await ada.get(f"{path}/history?limit=1")).json()["data"][0]
        assert last["changes"] == {
            name: {"from": task[name], "to": after[name]} for name in CONTENT if task[name] != after[name]
        }
        assert {*last["changes"]} == {*other, "time_zone", "completed", "completed_at", "estimate_minutes"}
        for version in (task, after, task):
            back = await ask(ada, "POST", f"{path}/revert", {"version": version["version"]})
            assert content_of(back) == content_of(version)

    async def test_it_outlives_the_trash(self, ada: httpx.AsyncClient, task: dict[str, Any], path: str) -> None:
        assert (await ada.delete(path)).status_code == 204
        [trashed] = (await ada.get("/api/trash")).json()["data"]
        assert content_of(trashed) == content_of(task)
        assert trashed["due_at"] == task["due_at"]
        assert content_of(await ask(ada, "POST", f"{path}/restore", None)) == content_of(task)

    async def test_with_a_key_it_is_done_once(self, ada: httpx.AsyncClient, task: dict[str, Any], path: str) -> None:
        for method, where, body in (
            ("POST", "/api/tasks", EVERYTHING),
            ("PATCH", path, {"extra": {"count": 1}, "priority": 2}),
        ):
            headers = {"idempotency-key": method}
            first = await ada.request(method, where, json=body, headers=headers)
            await ada.patch(path, json={"extra": None, "priority": 4})
            again = await ada.request(method, where, json=body, headers=headers)
            assert (again.status_code, again.content) == (first.status_code, first.content)
        await ada.delete(path)
        again = await ada.patch(path, json=body, headers=headers)
        assert (again.status_code, again.json()["data"]["extra"]) == (200, {"count": 1})


class TestBatch:
    async def test_it_takes_it_all(self, ada: httpx.AsyncClient, task: dict[str, Any]) -> None:
        others = [(await created(ada))["id"] for _ in range(3)]
        answer = await send(
            ada,
            {"op": "create", "data": EVERYTHING},
            {"op": "update", "id": others[0], "data": EVERYTHING},
            {"op": "replace", "id": others[1], "data": EVERYTHING},
            {"op": "update", "id": task["id"], "data": {"extra": {"z": None, "a": {"b": 1.50}}, "priority": 2.0}},
            {"op": "complete", "id": others[2]},
        )
        assert answer.status_code == 200, answer.text
        *whole, patched, completed = [each["data"] for each in answer.json()["data"]]
        for each in whole:
            assert content_of(each) == EVERYTHING
        assert (patched["priority"], patched["extra"]) == (2, {"a": {"b": 1.5}, "größe": "\u2028"})
        assert completed["completed_at"] == completed["updated_at"]

    @pytest.mark.parametrize("query", ["", "?return=minimal"])
    async def test_the_first_that_does_not_fit_ends_it(
        self, ada: httpx.AsyncClient, task: dict[str, Any], query: str
    ) -> None:
        one, two = [await created(ada) for _ in range(2)]
        answer = await ada.post(
            f"/api/tasks/batch{query}",
            json={
                "operations": [
                    {"op": "update", "id": task["id"], "data": {"due_time": None}},
                    {"op": "update", "id": one["id"], "data": {"due_time": "17:30"}},
                    {"op": "update", "id": task["id"] + 99, "data": {"due_time": "17:30"}},
                    {"op": "replace", "id": two["id"], "data": {"title": "x", "time_zone": "UTC"}},
                ]
            },
        )
        assert (answer.status_code, answer.json()["error"]) == (
            422,
            {
                "code": "VALIDATION_ERROR",
                "message": "Operation 1: Due time needs a due date",
                "fields": [{"field": "operations[1].data.due_time", "message": "Due time needs a due date"}],
                "index": 1,
            },
        )
        assert (await ada.get(f"/api/tasks/{task['id']}")).json()["data"] == task

    async def test_of_a_task_that_is_not_there_nothing_is_told(self, ada: httpx.AsyncClient) -> None:
        answer = await send(ada, {"op": "update", "id": 999, "data": {"due_time": "17:30", "extra": {"a": 1}}})
        assert (answer.status_code, answer.json()["error"]["index"]) == (404, 0)

    async def test_a_new_one_that_cannot_be_is_named(self, ada: httpx.AsyncClient) -> None:
        answer = await send(ada, {"op": "create", "data": {"title": "x", "time_zone": "UTC"}})
        assert answer.json()["error"]["fields"] == [
            {"field": "operations[0].data.time_zone", "message": "Time zone needs a due time"}
        ]


NO_OFFSET = "Completed at is not a value that it may have"


class TestCompletedAt:
    async def test_it_is_when_it_became_so_and_null_when_it_is_not(self, ada: httpx.AsyncClient) -> None:
        task = await created(ada)
        path = f"/api/tasks/{task['id']}"
        done = await ask(ada, "PATCH", f"{path}/complete", None)
        assert task["completed_at"] is None
        assert done["completed_at"] == done["updated_at"]
        for method, body in (
            ("PATCH", {"completed": True}),
            ("PUT", {"title": "x", "completed": True}),
            ("PATCH", {"completed": True, "completed_at": None, "priority": 1}),
            ("PATCH", {"title": "y"}),
        ):
            assert (await ask(ada, method, path, body))["completed_at"] == done["completed_at"]
        assert (await ask(ada, "PATCH", f"{path}/complete", None))["completed_at"] is None

    async def test_a_new_one_may_be_done(self, ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
        for client in (ada, bob):
            for _ in range(2):  # the first of all, too
                task = await ask(client, "POST", "/api/tasks", {"title": "x", "completed": True})
                assert task["completed_at"] == task["created_at"]
            with_priority = await ask(client, "POST", "/api/tasks", {"title": "x", "completed": True, "priority": 1})
            assert with_priority["completed_at"] == with_priority["created_at"]

    async def test_one_that_was_done_before_has_none(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        task = await created(ada)
        await sql.execute("ALTER TABLE tasks DISABLE TRIGGER tasks_stamp")
        await sql.execute("UPDATE tasks SET completed = true")
        await sql.execute("ALTER TABLE tasks ENABLE TRIGGER tasks_stamp")
        after = await ask(ada, "PUT", f"/api/tasks/{task['id']}", {"title": "x", "completed": True})
        assert (after["completed"], after["completed_at"]) == (True, None)

    async def test_a_client_may_say_when_it_was(self, ada: httpx.AsyncClient) -> None:
        body = {"title": "x", "completed": True, "completed_at": "2020-01-02T03:04:05.6789+02:00"}
        task = await ask(ada, "POST", "/api/tasks", body)
        assert task["completed_at"] == "2020-01-02T01:04:05.678Z"
        path = f"/api/tasks/{task['id']}"
        other = {"completed": True, "completed_at": "2021-01-01T00:00:00Z"}
        assert (await ask(ada, "PATCH", path, other))["completed_at"] == "2021-01-01T00:00:00.000Z"
        ignored = {"completed": False, "completed_at": "2021-01-01T00:00:00Z"}  # of a whole task that is sent back
        assert (await ask(ada, "PATCH", path, ignored))["completed_at"] is None
        assert (await ask(ada, "PATCH", path, other))["completed_at"] == "2021-01-01T00:00:00.000Z"

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({"completed_at": "2020-01-01T00:00:00Z"}, "Completed at needs a completed that is true"),
            ({"completed": True, "completed_at": "2100-01-01T00:00:00Z"}, "Completed at must not be in the future"),
            (
                {"completed": True, "completed_at": f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"},
                "Completed at must not be in the future",
            ),
            (
                {"completed": True, "completed_at": "9999-12-31T23:59:59-23:00"},
                "Completed at must not be in the future",
            ),
            ({"completed": True, "completed_at": "0001-01-01T00:00:00+23:00"}, "Completed at must not be before 1900"),
            ({"completed": True, "completed_at": "2020-01-01"}, "Completed at is not a value that it may have"),
            (
                {"completed": True, "completed_at": "2020-01-01T00:00:00"},
                "Completed at is not a value that it may have",
            ),
            ({"completed": True, "completed_at": 5}, "Completed at must be a time (RFC 3339) or null"),
        ],
    )
    async def test_no_other_time_than_a_past_one_of_a_task_that_is_done(
        self, ada: httpx.AsyncClient, task: dict[str, Any], path: str, body: dict[str, Any], message: str
    ) -> None:
        assert await refused(ada, "PATCH", path, body, "completed_at") == message
        assert await refused(ada, "PUT", path, {"title": "x", **body}, "completed_at") == message
        assert await refused(ada, "POST", "/api/tasks", {"title": "x", **body}, "completed_at") == message
        assert (await ada.get(path)).json()["data"] == task

    async def test_what_psql_does_is_held_to_it(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        task = await created(ada)
        await sql.execute("UPDATE tasks SET completed = true")
        done = (await ada.get(f"/api/tasks/{task['id']}")).json()["data"]
        assert done["completed_at"] == done["updated_at"]
        await sql.execute("UPDATE tasks SET completed = false, completed_at = now()")
        assert await sql.fetchval("SELECT completed_at FROM tasks") is None


NO_DAYS = [
    "2026-02-30",
    "2026-2-3",
    "20261204",
    "2026-W49-5",
    "1899-12-31",
    "2201-01-01",
    "2100-02-29",
    "",
    "x",
    "2026-12-04T00:00:00Z",
    "\u0662\u0660\u0662\u0666-12-04",
    "2026-12-04\n",
]
NO_DAY = "date must be a day from 1900-01-01 to 2200-12-31, such as 2026-12-04"
NO_TIMES = ["24:00", "17:60", "7:30", "17:30:00", "1730", "", "17:30Z", "17:30\n", "\u0661\u0667:30"]
NO_ZONES = ["Europe/berlin", "Berlin", "+01:00", "", "Mars/Base", "../UTC", "Europe/Berlin ", "Europe", "\0"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("body", "field", "message"),
        [
            *(
                ({name: day}, name, f"{name[:-5].capitalize()} {NO_DAY}")
                for day in NO_DAYS
                for name in ("due_date", "start_date")
            ),
            *(
                (
                    {"due_date": "2026-12-04", "due_time": time},
                    "due_time",
                    "Due time must be a time of day from 00:00 to 23:59, such as 17:30",
                )
                for time in NO_TIMES
            ),
            *(
                (
                    {"due_date": "2026-12-04", "due_time": "17:30", "time_zone": zone},
                    "time_zone",
                    "Time zone must be a name of the IANA time zone database, such as Europe/Berlin",
                )
                for zone in NO_ZONES
            ),
            *(
                ({"priority": each}, "priority", "Priority must be an integer from 0 to 4")
                for each in (-1, 5, 10**30, 6.0)
            ),
            *(({"priority": each}, "priority", "Priority must be an integer or null") for each in (True, "1", 1.5, [])),
            *(
                (
                    {"estimate_minutes": each},
                    "estimate_minutes",
                    "Estimate minutes must be an integer from 1 to 14400",
                )
                for each in (0, -5, 14_401)
            ),
            ({"estimate_minutes": 0.5}, "estimate_minutes", "Estimate minutes must be an integer or null"),
            *(({"due_date": each}, "due_date", "Due date must be a string or null") for each in (20261204, True, {})),
            ({"due_date": None, "due_time": "17:30"}, "due_time", "Due time needs a due date"),
            (
                {"due_date": "2026-12-04", "due_time": None, "time_zone": "UTC"},
                "time_zone",
                "Time zone needs a due time",
            ),
        ],
    )  # fmt: skip
    async def test_each_has_its_sentence_and_does_nothing(
        self, ada: httpx.AsyncClient, task: dict[str, Any], path: str, body: dict[str, Any], field: str, message: str
    ) -> None:
        assert await refused(ada, "PATCH", path, body, field) == message
        assert await refused(ada, "PUT", path, {"title": "x", **body}, field) == message
        assert await refused(ada, "POST", "/api/tasks", {"title": "x", **body}, field) == message
        assert (await ada.get("/api/tasks")).json()["data"] == [task]
        answer = await send(ada, {"op": "update", "id": task["id"], "data": body})
        assert (answer.status_code, answer.json()["error"]["fields"]) == (
            422,
            [{"field": f"operations[0].data.{field}", "message": message}],
        )

    @pytest.mark.parametrize(
        ("before", "body", "field", "message"),
        [
            ({}, {"due_time": "17:30"}, "due_time", "Due time needs a due date"),
            ({}, {"due_time": "17:30", "time_zone": "UTC"}, "due_time", "Due time needs a due date"),
            ({"due_date": "2026-12-04"}, {"time_zone": "UTC"}, "time_zone", "Time zone needs a due time"),
            ({}, {"due_date": "2026-12-04", "time_zone": "UTC"}, "time_zone", "Time zone needs a due time"),
        ],
    )
    async def test_so_has_what_the_task_cannot_have_as_it_is(
        self, ada: httpx.AsyncClient, before: dict[str, Any], body: dict[str, Any], field: str, message: str
    ) -> None:
        task = await ask(ada, "POST", "/api/tasks", {"title": "x", **before})
        path = f"/api/tasks/{task['id']}"
        assert await refused(ada, "PATCH", path, body, field) == message
        assert await refused(ada, "PUT", path, {"title": "x", **body}, field) == message
        assert await refused(ada, "POST", "/api/tasks", {"title": "x", **before, **body}, field) == message
        assert (await ada.get("/api/tasks")).json()["data"] == [task]
        for method, given_body in (("PATCH", body), ("PUT", {"title": "x", **body})):
            stale = await ada.request(method, path, json=given_body, headers={"if-match": '"v999"'})
            missing = await ada.request(method, "/api/tasks/999", json=given_body)
            assert (stale.status_code, missing.status_code) == (412, 404)

    async def test_integers_may_have_a_point(self, ada: httpx.AsyncClient, task: dict[str, Any], path: str) -> None:
        after = await ask(ada, "PATCH", path, {"priority": 2.0, "estimate_minutes": 3e1, "extra": {"n": 7.0}})
        assert (after["priority"], after["estimate_minutes"]) == (2, 30)
        assert '"n":7.0' in (await ada.get(path)).text

    @pytest.mark.parametrize(
        "change",
        [
            "priority = 5",
            "priority = -1",
            "estimate_minutes = 0",
            "estimate_minutes = 14401",
            "due_date = NULL",
            "due_time = NULL",
            "extra = '[]'",
        ],
    )
    async def test_psql_is_held_to_the_ranges(self, task: dict[str, Any], sql: asyncpg.Connection, change: str) -> None:
        with pytest.raises(asyncpg.CheckViolationError):
            await sql.execute(f"UPDATE tasks SET {change}")
        with pytest.raises(asyncpg.CheckViolationError):
            await sql.execute("INSERT INTO tasks (user_id, title, priority) VALUES ('ada', 'x', 9)")


class TestDue:
    async def test_another_day_keeps_time_and_zone_and_none_clears_them(
        self, ada: httpx.AsyncClient, task: dict[str, Any], path: str
    ) -> None:
        def due(task: dict[str, Any]) -> tuple[Any, ...]:
            return tuple(task[name] for name in ("due_date", "due_time", "time_zone", "due_at"))

        moved = await ask(ada, "PATCH", path, {"due_date": "2026-07-04"})
        assert due(moved) == ("2026-07-04", "17:30", "Europe/Berlin", "2026-07-04T15:30:00Z")
        floating = await ask(ada, "PATCH", path, {"time_zone": None})
        assert due(floating) == ("2026-07-04", "17:30", None, None)
        zoned = await ask(ada, "PUT", path, {"title": "x", "time_zone": "Asia/Kolkata"})
        assert due(zoned) == ("2026-07-04", "17:30", "Asia/Kolkata", "2026-07-04T12:00:00Z")
        timeless = await ask(ada, "PUT", path, {"title": "x", "due_time": None})
        assert due(timeless) == ("2026-07-04", None, None, None)
        again = await ask(ada, "PATCH", path, {"due_time": "09:00", "time_zone": "UTC"})
        assert due(again) == ("2026-07-04", "09:00", "UTC", "2026-07-04T09:00:00Z")
        assert due(await ask(ada, "PATCH", path, {"due_date": None})) == (None, None, None, None)

    async def test_a_zone_that_is_not_known_any_more_can_still_be_read(
        self, ada: httpx.AsyncClient, task: dict[str, Any], path: str, sql: asyncpg.Connection
    ) -> None:
        await sql.execute("UPDATE tasks SET time_zone = 'Mars/Base'")
        read = (await ada.get(path)).json()["data"]
        assert (read["time_zone"], read["due_at"]) == ("Mars/Base", None)

    async def test_of_two_concurrent_patches_none_leaves_a_time_without_a_day(
        self, ada: httpx.AsyncClient, task: dict[str, Any], path: str
    ) -> None:
        seen: set[tuple[int, ...]] = set()
        for _ in range(30):
            await ask(ada, "PATCH", path, {"due_date": "2026-12-04", "due_time": None})
            bodies = ({"due_date": None}, {"due_time": "17:30", "time_zone": "UTC"})
            answers = await asyncio.gather(*(ada.patch(path, json=body) for body in bodies))
            after = (await ada.get(path)).json()["data"]
            assert (after["due_date"], after["due_time"], after["time_zone"]) == (None, None, None)
            seen.add(tuple(answer.status_code for answer in answers))
        assert seen <= {(200, 200), (200, 422)}

    async def test_what_fits_by_the_time_that_it_was_refused_is_tried_again(
        self, ada: httpx.AsyncClient, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await ask(ada, "PATCH", path, {"due_date": None})
        refuse, tried = queries._check_refused, []

        async def meanwhile(*about: Any) -> None:
            tried.append(about)
            await ada.patch(path, json={"due_date": "2026-12-04"})
            await refuse(*about)

        monkeypatch.setattr(queries, "_check_refused", meanwhile)
        assert (await ask(ada, "PATCH", path, {"due_time": "17:30"}))["due_time"] == "17:30"
        assert len(tried) == 1

    async def test_not_for_ever(self, ada: httpx.AsyncClient, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        async def each_time(*_: Any) -> None: ...

        await ask(ada, "PATCH", path, {"due_date": None})
        monkeypatch.setattr(queries, "_check_refused", each_time)
        assert (await ada.patch(path, json={"due_time": "17:30"})).status_code == 503


DAYS = st.dates(date(1900, 1, 1), date(2200, 12, 31)).map(str)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "title": st.just("x"),
    "description": st.none() | st.just("y"),
    "completed": st.booleans(),
    "start_date": st.none() | DAYS,
    "due_date": DAYS,
    "priority": st.none() | st.integers(0, 4),
    "estimate_minutes": st.none() | st.integers(1, 14_400),
    "extra": st.none() | st.just({"new": [1]}),
}


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.fixed_dictionaries({}, optional=VALUES), replaces=st.booleans())
async def test_put_and_patch_leave_each_field_that_they_do_not_name(
    ada: httpx.AsyncClient, body: dict[str, Any], replaces: bool
) -> None:
    task = await ask(ada, "POST", "/api/tasks", EVERYTHING)
    path = f"/api/tasks/{task['id']}"
    sent = {"title": "x", "description": None, **body} if replaces else body
    after = await ask(ada, "PUT" if replaces else "PATCH", path, sent)
    left = {*CONTENT} - {*sent} - ({"completed_at"} if "completed" in sent else set())
    assert {name: after[name] for name in left} == {name: task[name] for name in left}
    named = {*sent} - {"extra"}
    assert {name: after[name] for name in named} == {
        name: 0 if sent[name] is None and name == "priority" else sent[name] for name in named
    }
