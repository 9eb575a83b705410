"""What a person reads where the database cannot be used: why, where, and the way out."""

import asyncio
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from app.config.settings import ROOT, Settings
from app.db import embedded
from app.db.errors import describe, explain, just
from tests import forkserver
from tests.live.conftest import free_port

COMMANDS = (["migrate"], ["rollback", "--yes"], ["admin-user", "grace"], ["psql"])
NOBODY = {"PGHOST": "", "PGPORT": "", "PGDATABASE": "", "PGUSER": ""}


def settings(url: str | None, **more: Any) -> Settings:
    return Settings(database_url=url, jwt_secrets=("s",), **more)


def run(arguments: list[str], url: str) -> subprocess.CompletedProcess[str]:
    return forkserver.command(*arguments, text="a long password\n", DATABASE_URL=url, DATABASE_TIMEOUT="5")


@pytest.fixture(scope="module")
def guarded() -> Iterator[int]:
    """The port of a PostgreSQL that asks for passwords: `ada` has one, and owns the database `tasks`."""
    # Not pytest's folder, which is closed to the user that the server runs as.
    folder = Path(tempfile.mkdtemp(prefix="tasks-tests-"))
    server, port = embedded.EmbeddedPostgres(folder), free_port()
    socket = server.start()
    asyncio.run(_prepare(socket))
    server.stop()
    (server.cluster / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
    where = f"--pgdata={server.cluster}"
    server._run("pg_ctl", "start", "--wait", where, f"--options=-h 127.0.0.1 -p {port} -k {server.cluster}")
    yield port
    server._run("pg_ctl", "stop", "--wait", "--mode=fast", where)
    shutil.rmtree(folder)


async def _prepare(socket: dict[str, Any]) -> None:
    connection = await asyncpg.connect(**socket)
    await connection.execute("CREATE ROLE ada LOGIN PASSWORD 'p@ss/w?rd#%41'")
    await connection.execute("CREATE DATABASE tasks OWNER ada")
    await connection.close()


class TestEachCommand:
    """Two lines that name host, port, database and the way out, whichever command it is."""

    @pytest.mark.slow
    @pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
    def test_a_wrong_password(self, guarded: int, arguments: list[str]) -> None:
        done = run(arguments, f"postgresql://ada:wrong-one@127.0.0.1:{guarded}/tasks")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            f'Cannot use the database "tasks" on 127.0.0.1:{guarded} as user "ada": '
            "the server refuses this user or password.\n"
            "Correct them in DATABASE_URL. Write @ : / ? # % in a password as %40 %3A %2F %3F %23 %25.\n"
        )

    @pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
    def test_a_database_that_there_is_not(self, guarded: int, arguments: list[str]) -> None:
        done = run(arguments, f"postgresql://ada:p%40ss%2Fw%3Frd%23%2541@127.0.0.1:{guarded}/never was")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            f'Cannot use the database "never was" on 127.0.0.1:{guarded} as user "ada": '
            "there is no database of that name.\n"
            "Correct the name in DATABASE_URL, or make the database: "
            f"createdb -h 127.0.0.1 -p {guarded} -U ada 'never was'\n"
        )

    @pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
    def test_a_host_that_nobody_knows(self, arguments: list[str]) -> None:
        done = run(arguments, "postgresql://ada:hush-hush@no-such-host.invalid/tasks")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            'Cannot use the database "tasks" on no-such-host.invalid:5432 as user "ada": no such host is known.\n'
            "Correct the host in DATABASE_URL.\n"
        )

    @pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: arguments[0])
    def test_a_port_that_nobody_listens_on(self, arguments: list[str]) -> None:
        done = run(arguments, "postgresql://ada:hush-hush@localhost:1/tasks")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            'Cannot use the database "tasks" on localhost:1 as user "ada": nothing listens there.\n'
            "Start PostgreSQL, or correct host and port in DATABASE_URL.\n"
        )

    @pytest.mark.parametrize("arguments", [*COMMANDS, ["serve"]], ids=lambda arguments: arguments[0])
    def test_a_password_that_wants_percent_encoding(self, arguments: list[str]) -> None:
        done = run(arguments, "postgresql://ada:p@ss/w?rd#%41@127.0.0.1/tasks")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == (
            "DATABASE_URL is holding a character in its user, password or name that means something else in a URL, "
            "but must be percent-encoded there: @ : / ? # % as %40 %3A %2F %3F %23 %25.\n"
        )

    def test_the_right_password_encoded_is_let_in(self, guarded: int) -> None:
        done = run(
            ["psql", "-A", "-t", "-c", "SELECT current_user"],
            f"postgresql://ada:p%40ss%2Fw%3Frd%23%2541@127.0.0.1:{guarded}/tasks",
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "ada\n", "")


def test_the_embedded_one_is_told_by_its_folder_and_its_log(tmp_path: Path) -> None:
    there = settings(None, data_dir=tmp_path)
    assert describe(there) == f"the embedded PostgreSQL in {tmp_path}/postgres"
    failed = subprocess.CalledProcessError(1, ["/somewhere/initdb", "--secret"])
    assert explain(failed, there) == (
        f"Cannot use the embedded PostgreSQL in {tmp_path}/postgres: initdb failed.\n{tmp_path}/postgres.log tells why."
    )
    assert explain(OSError(), there) == (
        f"Cannot use the embedded PostgreSQL in {tmp_path}/postgres: it does not answer (OSError).\n"
        f"{tmp_path}/postgres.log may tell why."
    )


@pytest.mark.slow
def test_a_server_of_our_own_that_cannot_start_is_two_lines_too(tmp_path: Path) -> None:
    for name in ("app", "piccolo_migrations", "piccolo_conf.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".data/postgres").mkdir(parents=True)  # an empty folder is no cluster
    env = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    for command in ("migrate", "serve"):
        done = subprocess.run(
            [sys.executable, "-m", "app", command],
            cwd=tmp_path,
            env={**env, "PORT": str(free_port()), "LOG_LEVEL": "error"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        said = done.stderr.splitlines()
        if command == "serve":
            assert "This uses the embedded PostgreSQL in " in said.pop(0)
        assert (done.returncode, said) == (
            1,
            [
                f"Cannot use the embedded PostgreSQL in {tmp_path}/.data/postgres: pg_ctl failed.",
                f"{tmp_path}/.data/postgres.log tells why.",
            ],
        )


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://ada:hush@[::1]/tasks", 'the database "tasks" on [::1]:5432 as user "ada"'),
        ("postgresql://a%40b:hush@h:6/t%20x", 'the database "t x" on h:6 as user "a@b"'),
        ("postgresql://ada:hush@one:5433,two/tasks", 'the database "tasks" on one:5433, two:5432 as user "ada"'),
        ("postgresql:///tasks?host=/run/pg&port=7&user=ada", 'the database "tasks" on /run/pg:7 as user "ada"'),
        ("postgresql://ada:hush@h?dbname=other", 'the database "other" on h:5432 as user "ada"'),
        ("postgresql://ada@h", 'the database "ada" on h:5432 as user "ada"'),
    ],
)
def test_a_database_is_told_by_host_port_name_and_user_and_never_a_password(
    monkeypatch: pytest.MonkeyPatch, url: str, told: str
) -> None:
    for name in NOBODY:
        monkeypatch.delenv(name, raising=False)
    assert describe(settings(url)) == told


def test_what_the_url_leaves_out_the_environment_says_as_for_libpq(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGHOST": "db", "PGPORT": "6", "PGDATABASE": "tasks", "PGUSER": "ada"}.items():
        monkeypatch.setenv(name, value)
    assert describe(settings("postgresql://")) == 'the database "tasks" on db:6 as user "ada"'


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError("Multiple exceptions: [Errno 111] Connect call failed ('::1', 1), …"), "nothing listens there"),
        (FileNotFoundError(), "nothing listens there"),
        (TimeoutError(), "no answer in time"),
        (ssl.SSLCertVerificationError("hush"), "TLS failed"),
        (asyncpg.TooManyConnectionsError("hush"), "TooManyConnectionsError"),
    ],
)
def test_a_cause_is_told_in_words_of_ours(error: Exception, reason: str) -> None:
    text = explain(error, settings("postgresql://ada:hush@h/tasks"))
    assert text.startswith(f'Cannot use the database "tasks" on h:5432 as user "ada": {reason}.')
    assert "hush" not in text


def test_a_recipe_is_told_as_it_can_be_pasted_in_any_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKS_JUST", "/some where/just")
    assert just("token", "ada lovelace") == f"'/some where/just' -f {ROOT}/justfile token 'ada lovelace'"
    monkeypatch.delenv("TASKS_JUST")
    assert just("migrate").endswith(f"just -f {ROOT}/justfile migrate")
