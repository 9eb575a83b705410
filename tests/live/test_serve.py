"""The service as a process: it starts, says where it is, serves with several workers, and leaves."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from app.config import settings
from app.db import embedded, migrations
from app.db.errors import describe, just
from app.server.serve import welcome
from tests.conftest import SECRET, token

ROOT = settings.ROOT
MINE = {"authorization": f"Bearer {token('ada')}"}


@pytest.fixture(scope="session")
def elsewhere() -> Iterator[Path]:
    """The service in a folder of its own, whose name has a space, with data of its own."""
    # Not pytest's folder: each pytest that starts closes that to other users, and the database is one.
    parent = Path(tempfile.mkdtemp(prefix="tasks-tests-"))
    folder = parent / "tasks api"
    folder.mkdir()
    for name in ("app", "piccolo_migrations", "piccolo_conf.py", "justfile"):
        (folder / name).symlink_to(ROOT / name)
    yield folder
    shutil.rmtree(parent)


def alone(**more: str) -> dict[str, str | None]:
    """An environment with neither a database nor a secret."""
    return {"DATABASE_URL": None, "JWT_SECRET": None, **more}


def postgres_processes(folder: Path) -> list[str]:
    listed = subprocess.run(["ps", "-axwwo", "args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if "postgres" in line and f"-D {folder / '.data'}" in line]


@contextmanager
def postgres_on(port: int, folder: Path) -> Iterator[None]:
    """An empty PostgreSQL that listens on a port of the loopback."""
    made = embedded.EmbeddedPostgres(folder)
    made.start()
    made.stop()
    where = f"--pgdata={made.cluster}"
    made._run("pg_ctl", "start", "--wait", where, f"--options=-h 127.0.0.1 -p {port} -k {made.cluster}")
    yield
    made._run("pg_ctl", "stop", "--wait", "--mode=fast", where)


def has_one_server(folder: Path) -> bool:
    """Whether one runs there. A child that it has just forked looks like another, for a moment."""
    deadline = time.monotonic() + 5
    while (found := len(postgres_processes(folder))) > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    return found == 1


def command(folder: Path, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "JWT_SECRET")}
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        **more,
    )


@pytest.mark.slow
class TestWithItsOwnDatabase:
    """One after the other, on the same data: that it outlives restarts is part of it."""

    def test_one_command_serves_with_a_database_a_secret_and_tables_of_its_own(
        self, serve: Callable[..., Any], elsewhere: Path
    ) -> None:
        service = serve(env=alone(), cwd=elsewhere, arguments=["--migrate"])

        minted = command(elsewhere, "token", "ada").stdout
        assert re.fullmatch(r"[\w-]+\.[\w-]+\.[\w-]+\n", minted)
        headers = {"authorization": f"Bearer {minted.strip()}"}
        answer = httpx.post(f"{service.url}/api/tasks", json={"title": "kept"}, headers=headers)
        assert answer.status_code == 201
        assert (elsewhere / ".data/jwt_secret").stat().st_mode & 0o777 == 0o600
        assert has_one_server(elsewhere)
        page = httpx.get(f"{service.url}/api/tasks", headers={**headers, "origin": "http://localhost:5173"})
        assert page.headers["access-control-allow-origin"] == "http://localhost:5173"
        assert any("pages of any http://localhost" in line for line in service.log())

        assert service.stop(signal.SIGTERM) == 0
        assert postgres_processes(elsewhere) == []

    def test_its_data_outlive_restarts_and_ctrl_c_takes_the_database_along(
        self, serve: Callable[..., Any], elsewhere: Path
    ) -> None:
        service = serve(env=alone(), cwd=elsewhere, arguments=["--migrate"])
        headers = {"authorization": f"Bearer {command(elsewhere, 'token', 'ada').stdout.strip()}"}
        tasks = httpx.get(f"{service.url}/api/tasks", headers=headers).json()["data"]
        assert [task["title"] for task in tasks] == ["kept"]

        assert service.stop(signal.SIGINT) == 0
        assert postgres_processes(elsewhere) == []

    def test_it_is_started_again_when_it_dies(self, serve: Callable[..., Any], elsewhere: Path) -> None:
        service = serve(env=alone(), cwd=elsewhere)
        os.kill(int((elsewhere / ".data/postgres/postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        deadline = time.monotonic() + 20
        seen = set()
        while (status := httpx.get(f"{service.url}/health/ready").status_code) != 200 or 503 not in seen:
            seen.add(status)
            assert time.monotonic() < deadline, service.log()
            time.sleep(0.05)

        headers = {"authorization": f"Bearer {command(elsewhere, 'token', 'ada').stdout.strip()}"}
        tasks = httpx.get(f"{service.url}/api/tasks", headers=headers).json()["data"]
        assert [task["title"] for task in tasks] == ["kept"]
        assert service.stop(signal.SIGTERM) == 0
        assert postgres_processes(elsewhere) == []

    def test_a_terminal_that_closes_takes_the_database_along_too(
        self, serve: Callable[..., Any], elsewhere: Path
    ) -> None:
        service = serve(env=alone(), cwd=elsewhere)
        assert service.stop(signal.SIGHUP) == 0
        assert postgres_processes(elsewhere) == []

    def test_two_workers_share_it_and_one_that_is_killed_is_replaced(
        self, serve: Callable[..., Any], elsewhere: Path
    ) -> None:
        service = serve(env=alone(WORKERS="2"), cwd=elsewhere, arguments=["--migrate"])
        assert len(service.pids()) == 2
        os.kill(service.pids()[0], signal.SIGKILL)
        deadline = time.monotonic() + 15
        while len(service.pids()) < 3:
            assert time.monotonic() < deadline, "the worker was not replaced"
            time.sleep(0.1)
        assert has_one_server(elsewhere)

        assert service.stop(signal.SIGTERM) == 0
        assert postgres_processes(elsewhere) == []

    def test_every_piccolo_command_starts_it_and_stops_it(self, elsewhere: Path) -> None:
        env = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "JWT_SECRET")}
        done = subprocess.run(
            [sys.executable, "-m", "piccolo.main", "migrations", "check"],
            cwd=elsewhere, env=env, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert done.stdout.count("True") >= 8
        assert postgres_processes(elsewhere) == []

    def test_migrate_says_that_there_is_nothing_to_do(self, elsewhere: Path) -> None:
        assert command(elsewhere, "migrate").stdout == "The database is up to date.\n"
        assert postgres_processes(elsewhere) == []

    def test_psql_opens_on_it(self, elsewhere: Path) -> None:
        done = command(elsewhere, "psql", input="SELECT title FROM tasks;\n")
        assert "kept" in done.stdout
        assert postgres_processes(elsewhere) == []

    def test_admin_user_makes_a_login_and_says_so_or_why_not(self, elsewhere: Path) -> None:
        done = command(elsewhere, "admin-user", "grace", input="a long password\n")
        assert (done.returncode, done.stdout) == (0, "grace can log in at /admin/ now.\n")
        short = command(elsewhere, "admin-user", "linus", input="short\n")
        assert (short.returncode, short.stderr) == (1, "A password has 8 to 1024 characters.\n")
        again = command(elsewhere, "admin-user", "grace", input="a long password\n")
        assert (again.returncode, again.stderr) == (1, "There is a login of that name already.\n")


@pytest.mark.slow
class TestWithoutItsDatabase:
    def test_it_listens_is_live_answers_503_and_migrates_when_the_database_comes(
        self, serve: Callable[..., Any], tmp_path: Path, unused_port: int
    ) -> None:
        url = f"postgresql://postgres@127.0.0.1:{unused_port}/postgres"
        service = serve(env={"DATABASE_URL": url}, arguments=["--migrate"], wait="live")

        assert httpx.get(f"{service.url}/health/live").status_code == 200
        for path, headers in (("/health/ready", {}), ("/api/health", {}), ("/api/tasks", MINE)):
            began = time.monotonic()
            answer = httpx.get(f"{service.url}{path}", headers=headers)
            assert time.monotonic() - began < 2
            assert (answer.status_code, answer.json()["error"]["code"]) == (503, "SERVICE_UNAVAILABLE")
            assert answer.headers["retry-after"] == "1"
        assert httpx.get(f"{service.url}/api/tasks").status_code == 401
        assert httpx.get(f"{service.url}/api/tasks/abc", headers=MINE).status_code == 422

        with postgres_on(unused_port, tmp_path):
            deadline = time.monotonic() + 20
            while httpx.get(f"{service.url}/health/ready").status_code != 200:
                assert time.monotonic() < deadline, service.log()
                time.sleep(0.1)
            assert httpx.post(f"{service.url}/api/tasks", json={"title": "x"}, headers=MINE).status_code == 201
            assert service.stop(signal.SIGTERM) == 0

    def test_it_can_be_stopped_while_it_waits(self, serve: Callable[..., Any], unused_port: int) -> None:
        url = f"postgresql://postgres@127.0.0.1:{unused_port}/postgres"
        service = serve(env={"DATABASE_URL": url}, arguments=["--migrate"], wait="live")
        assert service.stop(signal.SIGTERM) == 0


@pytest.mark.slow
def test_an_unmigrated_database_is_told_in_one_line_and_served_once_it_is_migrated(
    serve: Callable[..., Any], new_database: Callable[[], str]
) -> None:
    env = {"DATABASE_URL": new_database()}
    service = serve(env=env, wait="live")
    time.sleep(1.2)
    lines = [json.loads(line)["message"] for line in service.log() if "migrat" in line]
    assert lines == [f"The database lacks {len(migrations.known())} migrations. Apply them: {just('migrate')}"]
    assert httpx.get(f"{service.url}/health/ready").status_code == 503
    assert httpx.get(f"{service.url}/api/tasks", headers=MINE).status_code == 503

    migrated = subprocess.run(
        [sys.executable, "-m", "app", "migrate"],
        cwd=ROOT,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Running 3 migrations" in migrated.stdout
    deadline = time.monotonic() + 5
    while httpx.get(f"{service.url}/health/ready").status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.slow
def test_a_migration_that_fails_leaves_the_service_unready_and_says_why(
    serve: Callable[..., Any], new_database: Callable[[], str]
) -> None:
    url = new_database()

    async def in_the_way() -> None:
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE tasks_in_order (something_else int)")
        await connection.close()

    asyncio.run(in_the_way())
    service = serve(env={"DATABASE_URL": url}, arguments=["--migrate"], wait="live")
    deadline = time.monotonic() + 10
    while not any("Migrating failed" in line for line in service.log()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert httpx.get(f"{service.url}/health/ready").status_code == 503
    done = subprocess.run(
        [sys.executable, "-m", "app", "migrate"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "already exists" in done.stderr


@pytest.mark.slow
def test_it_starts_again_when_the_code_changes(serve: Callable[..., Any]) -> None:
    service = serve(arguments=["--reload"])
    (ROOT / "app/health.py").touch()
    deadline = time.monotonic() + 20
    while sum("Application startup complete" in line for line in service.log()) < 2:
        assert time.monotonic() < deadline, service.log()
        time.sleep(0.1)
    service.wait("/health/ready")
    assert service.stop(signal.SIGTERM) == 0


def test_a_bad_value_stops_the_start_with_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "serve"],
        cwd=ROOT,
        env={**os.environ, "PORT": "http"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "PORT is 'http', but must be a whole number from 1 to 65535.\n"


def test_a_port_that_is_taken_stops_the_start(service: Any) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "serve"],
        cwd=ROOT,
        env={**os.environ, "PORT": str(service.port)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr == (
        f"PORT {service.port} on HOST 127.0.0.1 is not available (Address already in use).\n"
        f"Stop what listens there, or choose another port: {just('serve', '--port', str(service.port + 1))}\n"
    )


@pytest.mark.slow
def test_another_port_can_be_given_with_the_command(serve: Callable[..., Any], unused_port: int) -> None:
    service = serve(wait=None, arguments=["--port", str(unused_port)])
    service.url = f"http://127.0.0.1:{unused_port}"
    service.wait("/health/ready")


def test_the_start_says_which_database_it_uses_and_warns_of_a_quoted_secret(serve: Callable[..., Any]) -> None:
    service = serve(env={"JWT_SECRET": f"'{SECRET}'"})
    messages = [json.loads(line)["message"] for line in service.log()]
    assert "JWT_SECRET begins and ends with a quote, which is part of it. Take one pair of quotes away." in messages
    assert f"This uses {describe(settings.current())}." in messages
    assert not [line for line in messages if SECRET in line]


@pytest.mark.slow
def test_a_service_whose_database_is_not_there_says_which_and_why(serve: Callable[..., Any], unused_port: int) -> None:
    url = f"postgresql://ada:hush-hush@127.0.0.1:{unused_port}/tasks"
    service = serve(env={"DATABASE_URL": url}, arguments=["--migrate"], wait="live")
    lines = [json.loads(line)["message"] for line in service.log()]
    told = (
        f'Cannot use the database "tasks" on 127.0.0.1:{unused_port} as user "ada": nothing listens there. '
        "Start PostgreSQL, or correct host and port in DATABASE_URL. Trying on."
    )
    assert 1 <= lines.count(told) <= 2  # by what migrates, and by what serves
    assert "hush-hush" not in "".join(lines)


def test_any_server_can_serve_the_application(serve: Callable[..., Any]) -> None:
    """`uvicorn --factory app.main:create_app`, for those who have their own ways."""
    service = serve(module=["uvicorn", "--factory", "app.main:create_app"])
    assert httpx.get(f"{service.url}/api/tasks", headers=MINE).status_code == 200
    service.process.terminate()
    service.process.wait(10)


@pytest.fixture(scope="module")
def two(serve_for_module: Callable[..., Any]) -> Any:
    """One service of two workers."""
    return serve_for_module(workers=2)


class TestTwoWorkers:
    async def test_flips_at_once_over_two_workers_are_that_many(self, two: Any) -> None:
        async with httpx.AsyncClient(base_url=two.url, headers=MINE) as client:
            task = (await client.post("/api/tasks", json={"title": "x"})).json()["data"]
            path = f"/api/tasks/{task['id']}"
            answers = await asyncio.gather(*(one_flip(two.url, path) for _ in range(41)))

            assert {answer.status_code for answer in answers} == {200}
            stamps = [answer.json()["data"]["updated_at"] for answer in answers]
            assert len(set(stamps)) == 41
            after = (await client.get(path)).json()["data"]
            assert (after["completed"], after["updated_at"]) == (True, max(stamps))

    async def test_thirty_first_writes_over_two_workers_make_one_user(self, two: Any, sql: Any) -> None:
        headers = {"authorization": f"Bearer {token('newcomer', email='new@example.com')}"}
        answers = await asyncio.gather(
            *(one(two.url, "POST", "/api/tasks", headers, {"title": "x"}) for _ in range(30))
        )

        assert {answer.status_code for answer in answers} == {201}
        assert await sql.fetchval("SELECT count(*) FROM \"user\" WHERE id = 'newcomer'") == 1
        assert await sql.fetchval("SELECT count(*) FROM tasks WHERE user_id = 'newcomer'") == 30

    async def test_changes_of_different_fields_at_once_are_both_there(self, two: Any) -> None:
        async with httpx.AsyncClient(base_url=two.url, headers=MINE) as client:
            path = (await client.post("/api/tasks", json={"title": "x"})).headers["location"]
            for number in range(1, 11):
                content = {"title": f"title {number}", "description": f"description {number}"}
                await asyncio.gather(one(two.url, "PUT", path, MINE, content), one_flip(two.url, path))
                after = (await client.get(path)).json()["data"]
                assert (after, after["completed"]) == (after | content, number % 2 == 1)

    async def test_of_fifty_changes_of_one_version_one_is_made_and_the_others_see_it(self, two: Any) -> None:
        async with httpx.AsyncClient(base_url=two.url, headers=MINE) as client:
            made = await client.post("/api/tasks", json={"title": "x"})
            path, condition = made.headers["location"], {**MINE, "if-match": made.headers["etag"]}
            answers = await asyncio.gather(
                *(one(two.url, "PATCH", path, condition, {"title": f"title {number}"}) for number in range(50))
            )
            after = await client.get(path)

        [winner] = [number for number, answer in enumerate(answers) if answer.status_code == 200]
        assert answers[winner].json() == after.json()
        assert after.json()["data"]["title"] == f"title {winner}"
        assert {answer.headers["etag"] for answer in answers} == {after.headers["etag"]}
        assert [answer.json()["error"] for answer in answers if answer is not answers[winner]] == [
            {
                "code": "PRECONDITION_FAILED",
                "message": "The task has changed in the meantime.",
                "current": after.json()["data"],
            }
        ] * 49

    async def test_put_against_delete_leaves_no_ghost(self, two: Any) -> None:
        async with httpx.AsyncClient(base_url=two.url, headers=MINE) as client:
            for _ in range(10):
                task = (await client.post("/api/tasks", json={"title": "x"})).json()["data"]
                path = f"/api/tasks/{task['id']}"
                put, gone = await asyncio.gather(
                    one(two.url, "PUT", path, MINE, {"title": "y"}), one(two.url, "DELETE", path, MINE)
                )
                assert put.status_code in (200, 404)
                assert gone.status_code == 204
                assert (await client.get(path)).status_code == 404


async def one(url: str, method: str, path: str, headers: dict[str, str], body: Any = None) -> httpx.Response:
    """A request on a connection of its own, so that either worker may get it."""
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20) as client:
        return await client.request(method, path, json=body)


async def one_flip(url: str, path: str) -> httpx.Response:
    return await one(url, "PATCH", f"{path}/complete", MINE)


class TestWelcome:
    def test_on_a_terminal_it_says_where_everything_is(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TASKS_JUST", "/some where/just")
        text = welcome(settings.load({}, data_dir=ROOT / ".data"))
        for part in ("http://127.0.0.1:8000/api/tasks", "/docs", "/admin/", str(ROOT / ".data/postgres")):
            assert part in text
        assert f"$('/some where/just' -f {ROOT / 'justfile'} token ada)" in text
        assert f"    '/some where/just' -f {ROOT / 'justfile'} admin-user\n" in text

    @pytest.mark.parametrize(
        ("host", "shown"),
        [("0.0.0.0", "127.0.0.1"), ("::", "127.0.0.1"), ("::1", "[::1]"), ("10.0.0.7", "10.0.0.7")],
    )
    def test_the_address_is_one_that_a_browser_can_open(self, host: str, shown: str) -> None:
        text = welcome(settings.load({"HOST": host, "DATABASE_URL": "postgresql://u:hush@h/d", "JWT_SECRET": SECRET}))
        assert f"http://{shown}:8000/docs" in text
        assert "hush" not in text

    @pytest.mark.slow
    @pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
    def test_at_every_level_the_log_says_first_which_database_is_used(
        self, serve: Callable[..., Any], database_url: str, level: str
    ) -> None:
        service = serve(env={"LOG_LEVEL": level}, wait="live")
        lines = [json.loads(line) for line in service.log()]
        [line] = [line for line in lines if "This uses" in line["message"]]
        name = urlsplit(database_url).path.removeprefix("/")
        assert line["message"].startswith(f'This uses the database "{name}" on ')
        assert (line["level"], line["logger"]) == ("INFO", "app.server.serve")
        if level not in ("debug", "info"):
            assert lines == [line]

    def test_there_is_no_banner_among_json_lines(self, service: Any) -> None:
        assert all(json.loads(line) for line in service.log())

    def test_there_is_one_for_eyes(self, serve: Callable[..., Any]) -> None:
        service = serve(env={"LOG_FORMAT": "console"})
        assert any("Try it:" in line for line in service.log())
