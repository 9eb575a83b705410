"""Migrating is all or nothing, whatever happens to it, and nobody is kept from a table for long."""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import asyncpg
import pytest
from piccolo.apps.migrations.commands.base import MigrationResult

from app.config import settings
from app.config.settings import ROOT
from app.db import migrations, migrator, roles
from app.db.engine import database
from app.server import serve
from tests.db.test_migrations import applied, catalog, configured, connected, piccolo

OLDEST, LAST_OF_OLD = "2026-11-21T02:50:00:000001", "2026-11-25T23:30:00:000008"
NOT_YET = {name for app, name in migrations.known() if app == "tasks" and name > LAST_OF_OLD}

# As docs/scaling.md tells people to set some of them, only shorter; and others that somebody may have set.
DEFAULTS = {
    "statement_timeout": "'300ms'",
    "lock_timeout": "'300ms'",
    "idle_in_transaction_session_timeout": "'300ms'",
    "transaction_timeout": "'300ms'",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "row_security": "off",
}


# Piccolo's, of each migration that names the table of users.
pytestmark = pytest.mark.filterwarnings("ignore:We recommend giving your table a different name")


@pytest.fixture(scope="module")
async def template(new_database: Callable[[], str]) -> str:
    """A database as the last version left it that recorded a migration after it was applied."""
    url = new_database()
    for app, until in (("tasks", LAST_OF_OLD), ("user", "all"), ("session_auth", "all")):
        await piccolo("forwards", app, until, **{**os.environ, "DATABASE_URL": url})
    return url


@pytest.fixture
async def old(template: str, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """A copy of it, which is the configured one."""
    url = new_database()
    name, source = (urlsplit(each).path[1:] for each in (url, template))
    async with connected(urlsplit(url)._replace(path="/postgres").geturl()) as server:
        await server.execute(f"DROP DATABASE {name}")
        await server.execute(f"CREATE DATABASE {name} TEMPLATE {source}")
    monkeypatch.setenv("DATABASE_URL", url)
    monkeypatch.setattr(database, "ready", False)
    settings.current.cache_clear()
    yield url
    settings.current.cache_clear()


async def is_whole(url: str) -> bool:
    async with connected(url) as sql:
        return await applied(sql) == migrations.known() and await roles.needed(sql) == []


class TestAllOrNothing:
    @pytest.mark.slow
    async def test_what_fails_in_the_end_has_changed_nothing(self, old: str) -> None:
        async def fails(connection: asyncpg.Connection) -> MigrationResult:
            await migrator.forwards(connection)
            raise ValueError("no")

        async with connected(old) as sql:
            before = await catalog(sql, "tasks", "revisions"), await applied(sql)
            with pytest.raises(SystemExit) as ended:
                await migrator.migrate(fails)
            assert ended.value.code == migrations.FAILED
            assert (await catalog(sql, "tasks", "revisions"), await applied(sql)) == before

    async def test_nor_has_what_piccolo_says_no_to(self, old: str, capsys: pytest.CaptureFixture[str]) -> None:
        async def says_no(_: asyncpg.Connection) -> MigrationResult:
            return MigrationResult(success=False, message="No.")

        with pytest.raises(SystemExit):
            await migrator.migrate(says_no)
        assert capsys.readouterr() == ("", "Nothing was migrated: a migration failed. RuntimeError: No.\n")

    @pytest.mark.slow
    async def test_what_is_taken_back_is_taken_back_whole(self, old: str) -> None:
        assert await migrations.migrate(configured(old)) != ""
        newest = max(name for app, name in migrations.known() if app == "tasks")

        assert newest in await migrations.rollback(configured(old))

        async with connected(old) as sql:
            assert await migrations.missing(sql) == {("tasks", newest)}
            assert await sql.fetchval("SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tasks_app_%'") >= 0
        assert newest in await migrations.migrate(configured(old))
        assert await is_whole(old)

    @pytest.mark.slow
    async def test_ten_that_start_concurrently_migrate_once(self, old: str) -> None:
        told = await asyncio.gather(*(migrations.migrate(configured(old)) for _ in range(10)))
        assert sorted(bool(each) for each in told) == [False] * 9 + [True]
        assert await is_whole(old)


class TestTimeouts:
    @pytest.mark.slow
    async def test_what_a_login_has_as_its_defaults_ends_no_migration(
        self, old: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        async with connected(old) as sql:
            name = await sql.fetchval("SELECT current_database()")
            known = [each for (each,) in await sql.fetch("SELECT name FROM pg_settings")]
            for setting, value in DEFAULTS.items():
                if setting in known:
                    await sql.execute(f"ALTER DATABASE {name} SET {setting} = {value}")
            async with sql.transaction():  # somebody else migrates, for longer than any of them
                await sql.execute(f"SELECT pg_advisory_xact_lock({migrations.ADVISORY_LOCK})")
                migrating = asyncio.create_task(migrator.migrate(migrator.forwards))
                await asyncio.sleep(1.5)
            told = await migrating
            assert all(name in told for name in NOT_YET)
        assert await is_whole(old)

    @pytest.mark.slow
    async def test_a_table_in_use_is_waited_for_in_turns_and_whoever_comes_later_is_let_in_between(
        self, old: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(migrator, "LOCK_TIMEOUT", "200ms")
        monkeypatch.setattr(migrator, "SECONDS_BETWEEN_ATTEMPTS", 0.2)
        async with connected(old) as sql, connected(old) as later:
            async with sql.transaction():
                await sql.execute("LOCK TABLE tasks IN ACCESS SHARE MODE")
                migrating = asyncio.create_task(migrator.migrate(wants_the_table))
                for _ in range(10):
                    await asyncio.sleep(0.1)
                    await later.fetch("SELECT FROM tasks", timeout=3)
                assert not migrating.done()
            await migrating

    @pytest.mark.slow
    async def test_one_that_stays_in_use_is_told_in_one_line(
        self, old: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(migrator, "LOCK_TIMEOUT", "50ms")
        monkeypatch.setattr(migrator, "SECONDS_BETWEEN_ATTEMPTS", 0)
        async with connected(old) as sql, sql.transaction():
            await sql.execute("LOCK TABLE tasks IN ACCESS SHARE MODE")
            with pytest.raises(SystemExit) as ended:
                await migrator.migrate(wants_the_table)
        assert ended.value.code == migrations.BLOCKED
        assert capsys.readouterr().err == (
            "Nothing was migrated: a migration could not lock a table that another transaction holds, in 20 attempts."
            " End that (docs/scaling.md tells how to find it).\n"
        )

    @pytest.mark.slow
    async def test_a_change_that_waits_for_it_and_holds_what_it_wants_is_let_through(self, old: str) -> None:
        async with connected(old) as staff:
            await staff.execute(
                """
                SET tasks.staff = 'on';
                INSERT INTO "user" (id, name, email) VALUES ('ada', '', 'ada@x');
                INSERT INTO tasks (user_id, title) VALUES ('ada', 'hers')
                """
            )
            async with staff.transaction():
                await staff.execute("LOCK TABLE tasks IN ROW EXCLUSIVE MODE")
                migrating = asyncio.create_task(migrator.migrate(migrator.forwards))
                while not await staff.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                await staff.execute("UPDATE revisions SET revision = revision + 1")
            await migrating
        assert await is_whole(old)


async def wants_the_table(connection: asyncpg.Connection) -> MigrationResult:
    await connection.execute("LOCK TABLE tasks")
    return MigrationResult(success=True)


class TestALostDatabase:
    @pytest.mark.slow
    async def test_where_the_connection_is_cut_nothing_was_migrated_and_the_caller_may_try_again(
        self, old: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        async def is_cut(connection: asyncpg.Connection) -> MigrationResult:
            async with connected(old) as other:
                await other.execute(f"SELECT pg_terminate_backend({connection.get_server_pid()})")
            return await migrator.forwards(connection)

        with pytest.raises(SystemExit) as ended:
            await migrator.migrate(is_cut)
        assert ended.value.code == migrations.UNREACHABLE
        assert capsys.readouterr().err.startswith("Nothing was migrated: the database went away. ")
        assert (await migrations.migrate(configured(old))) != ""

    @pytest.mark.parametrize(
        ("code", "error"), [(69, ConnectionError), (75, migrations.Blocked), (1, migrations.MigrationError)]
    )
    async def test_what_the_process_ends_with_is_raised(
        self, old: str, monkeypatch: pytest.MonkeyPatch, code: int, error: type[Exception]
    ) -> None:
        script = f"import sys; print('why', file=sys.stderr); sys.exit({code})"
        monkeypatch.setattr(migrations, "COMMAND", ("-c", script))
        with pytest.raises(error, match="why"):
            await migrations.migrate(configured(old))

    @pytest.mark.slow
    async def test_a_caller_that_is_cancelled_ends_the_process_too(
        self, old: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(migrations, "COMMAND", ("-c", "import time; time.sleep(60)"))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await migrations.migrate(configured(old))

    @pytest.mark.slow
    async def test_ctrl_c_is_one_line(self, old: str) -> None:
        async with connected(old) as sql, sql.transaction():
            await sql.execute(f"SELECT pg_advisory_xact_lock({migrations.ADVISORY_LOCK})")
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "app.db.migrator", "forwards"), cwd=ROOT, stderr=asyncio.subprocess.PIPE
            )
            waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while not await sql.fetchval(waits):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            process.send_signal(signal.SIGINT)
            told = (await process.communicate())[1].decode()
            assert (process.returncode, told.splitlines()[-1]) == (1, "Nothing was migrated.")
            assert "Traceback" not in told

    @pytest.mark.slow
    async def test_a_service_tries_on_where_a_table_is_in_use(
        self, old: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        answers = [migrations.Blocked("It is in use."), ConnectionError("It is away."), "done"]

        async def migrate(_: object) -> str:
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        monkeypatch.setattr(migrations, "migrate", migrate)
        with caplog.at_level("INFO"):
            await serve._migrate(configured(old), threading.Event())
        assert answers == []
        assert "It is in use. Trying on." in caplog.messages


class TestWhatAFormerVersionLeftHalfDone:
    @pytest.mark.slow
    async def test_applied_and_not_recorded_or_taken_back_and_still_recorded(self, old: str) -> None:
        everything = {**os.environ, "DATABASE_URL": old}
        async with connected(old) as sql:
            recorded = await applied(sql)
            for app, name in sorted(migrations.MADE, reverse=True):
                record = (app, name)
                if name == "2026-05-27T16:15:06:677127":
                    continue
                await sql.execute("DELETE FROM migration WHERE app_name = $1 AND name = $2", *record)
                await migrations.heal(sql)
                assert await applied(sql) == recorded, record

                if app == "session_auth":
                    continue
                await piccolo("backwards", app, name, "--auto_agree", **everything)
                recorded -= {record}
                if name == OLDEST:
                    break
                await sql.execute("INSERT INTO migration (app_name, name, ran_on) VALUES ($1, $2, now())", *record)
                await migrations.heal(sql)
                assert await applied(sql) == recorded, record

    @pytest.mark.slow
    async def test_such_a_database_is_migrated(self, old: str) -> None:
        async with connected(old) as sql:
            await sql.execute("DELETE FROM migration WHERE name = $1", LAST_OF_OLD)
        assert LAST_OF_OLD not in await migrations.migrate(configured(old))
        assert await is_whole(old)

    async def test_a_table_of_somebody_elses_is_not_taken_for_ours(self, new_database: Callable[[], str]) -> None:
        async with connected(new_database()) as sql:
            await migrations.heal(sql)
            await sql.execute("CREATE TABLE tasks (title text); CREATE TABLE migration (app_name text, name text)")
            await sql.execute(f"INSERT INTO migration VALUES ('tasks', '{OLDEST}')")
            await migrations.heal(sql)
            assert await applied(sql) == set()  # there is no table of users


@pytest.mark.slow
async def test_through_pgbouncer_it_works_as_well(old: str, pgbouncer: Callable[[str], str]) -> None:
    assert await migrations.migrate(configured(pgbouncer(old))) != ""
    assert await is_whole(old)
