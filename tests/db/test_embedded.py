"""The PostgreSQL that comes with us: made once, shared by processes, stopped by the last of them."""

import asyncio
import os
import pwd
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest

from app.config.settings import ROOT
from app.db import embedded
from app.db.embedded import EmbeddedPostgres
from app.db.server_user import server_user

# What a process of ours does: hold the server, say so, and leave when its standard input ends.
HOLDS = """
import sys
from pathlib import Path
from app.db import embedded
embedded.server(Path(sys.argv[1])).start()
print("holds", flush=True)
sys.stdin.read()
"""
# The same, as a command of Piccolo's does it: from within an event loop.
CONNECTS = """
import asyncio, sys
from pathlib import Path
from app.config import settings
from app.db import connect

async def main():
    connection = await connect.connect(settings.load({"JWT_SECRET": "x" * 32}, Path(sys.argv[1])))
    print("holds", flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""
PSQL = """
import sys
from pathlib import Path
from app.db.embedded import EmbeddedPostgres
from app.db.server_user import server_user
raise SystemExit(EmbeddedPostgres(Path(sys.argv[1])).psql())
"""


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder for a server of a test's own, with a path that is short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="tasks-tests-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def made() -> Iterator[Path]:
    """A folder in which a server was made already, after a first attempt had been cut off halfway.

    There are a space and a quote in its path. Nobody holds the server between the tests.
    """
    with tempfile.TemporaryDirectory(prefix="tasks-tests-", ignore_cleanup_errors=True) as folder:
        made = Path(folder, "it's mine")
        (made / "postgres.xyz" / "base").mkdir(parents=True)
        (made / "postgres.xyz" / "PG_VERSION").write_text("18\n")
        server = EmbeddedPostgres(made)
        server.start()
        server.stop()
        yield made


@pytest.fixture
def server(made: Path) -> Iterator[EmbeddedPostgres]:
    """The server in that folder, not started yet."""
    server = EmbeddedPostgres(made)
    yield server
    server.stop()


@contextmanager
def process(script: str, home: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process of ours, once it holds the server."""
    command = [sys.executable, "-c", script, str(home)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout.readline() == "holds\n"
            yield running
        finally:
            running.kill()


def leave(running: subprocess.Popen[str]) -> None:
    running.stdin.close()
    assert running.wait(30) == 0


def ask(arguments: dict[str, Any], query: str) -> list[Any]:
    async def one_connection() -> list[Any]:
        connection = await asyncpg.connect(**arguments)
        try:
            return [tuple(row) for row in await connection.fetch(query)]
        finally:
            await connection.close()

    return asyncio.run(one_connection())


def answers(home: Path) -> bool:
    """Does anybody listen on the socket?"""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(home / "postgres" / ".s.PGSQL.5432")) == 0


def postmaster(home: Path) -> int:
    return int((home / "postgres" / "postmaster.pid").read_text().split()[0])


def runs(pid: int) -> bool:
    """Whether there is such a process, and it is more than an entry that nobody has collected yet."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def soon(condition: Callable[[], bool]) -> bool:
    """Whether it comes true within the time that a busy machine may need."""
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


class TestOneProcess:
    @pytest.mark.slow
    def test_it_is_an_18_that_speaks_utf_8_and_keeps_utc(self, server: EmbeddedPostgres, made: Path) -> None:
        arguments = server.start()

        assert arguments == {
            "host": str(made / "postgres"),
            "port": 5432,
            "user": "postgres",
            "database": "postgres",
        }
        assert ask(
            arguments,
            "SELECT current_setting('server_version_num')::int / 10000, current_setting('server_encoding'),"
            " current_setting('timezone'), current_setting('listen_addresses'), datlocprovider, datlocale"
            " FROM pg_database WHERE datname = 'postgres'",
        ) == [(18, "UTF8", "UTC", "", b"b", "C.UTF-8")]

    def test_what_was_written_outlives_a_stop_and_a_start(self, server: EmbeddedPostgres) -> None:
        ask(server.start(), "CREATE TABLE kept AS SELECT 'still here' AS text")
        server.stop()

        assert ask(server.start(), "SELECT text FROM kept") == [("still here",)]

    def test_after_the_stop_nothing_of_it_runs(self, server: EmbeddedPostgres, made: Path) -> None:
        arguments = server.start()
        pid = postmaster(made)
        server.stop()

        assert soon(lambda: not runs(pid))
        assert not (made / "postgres" / "postmaster.pid").exists()
        with pytest.raises(OSError, match=r"No such file|refused"):
            ask(arguments, "SELECT 1")

    def test_to_start_it_twice_or_to_stop_it_twice_is_to_do_it_once(self, server: EmbeddedPostgres, made: Path) -> None:
        server.stop()
        server.start()
        pid = postmaster(made)
        server.start()
        assert postmaster(made) == pid

        server.stop()
        server.stop()
        assert not answers(made)

    def test_many_threads_that_start_it_concurrently_start_one(self, server: EmbeddedPostgres, made: Path) -> None:
        threads = [threading.Thread(target=server.start) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert answers(made)
        server.stop()
        assert not answers(made)

    @pytest.mark.slow
    def test_a_server_that_was_killed_heals_at_the_next_start(self, server: EmbeddedPostgres, made: Path) -> None:
        with process(HOLDS, made) as holder:
            ask(server.start(), "CREATE TABLE survived AS SELECT 1 AS number")
            pid = postmaster(made)
            os.kill(pid, signal.SIGKILL)
            assert soon(lambda: not psutil.pid_exists(pid))
            leave(holder)
        server.stop()
        assert postmaster(made) == pid  # a stale file, which tells of nobody

        assert ask(server.start(), "SELECT number FROM survived") == [(1,)]
        assert postmaster(made) != pid


class TestManyProcesses:
    @pytest.mark.slow
    def test_they_share_it_and_the_last_to_leave_stops_it(self, server: EmbeddedPostgres, made: Path) -> None:
        with process(HOLDS, made) as first, process(HOLDS, made) as second:
            arguments = server.start()
            pid = postmaster(made)

            server.stop()
            assert answers(made)
            leave(first)
            assert answers(made)
            assert ask(arguments, "SELECT 1") == [(1,)]
            assert postmaster(made) == pid

            leave(second)
            assert not answers(made)
            assert soon(lambda: not runs(pid))

    @pytest.mark.slow
    def test_one_that_was_killed_does_not_keep_it_running(self, server: EmbeddedPostgres, made: Path) -> None:
        with process(HOLDS, made) as killed:
            server.start()
            killed.kill()
            killed.wait()

        assert answers(made)
        server.stop()
        assert not answers(made)

    @pytest.mark.slow
    def test_what_a_killed_one_left_running_is_used_and_stopped_by_the_next(
        self, server: EmbeddedPostgres, made: Path
    ) -> None:
        with process(HOLDS, made) as killed:
            killed.kill()
            killed.wait()
        pid = postmaster(made)

        assert ask(server.start(), "SELECT 1") == [(1,)]
        assert postmaster(made) == pid
        server.stop()
        assert not answers(made)

    @pytest.mark.slow
    @pytest.mark.parametrize("script", [HOLDS, CONNECTS], ids=["main thread", "event loop"])
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
    def test_one_that_is_told_to_end_stops_it_first(self, made: Path, script: str, number: int) -> None:
        # As a shell starts it, whatever the tests run under.
        as_from_a_shell = "import signal; signal.signal(signal.SIGTERM, 0); signal.signal(signal.SIGHUP, 0)\n" + script
        with process(as_from_a_shell, made) as told:
            assert answers(made)
            told.send_signal(number)

            assert told.wait(30) == 128 + number
        assert not answers(made)

    @pytest.mark.slow
    def test_a_handler_of_somebody_elses_stays(self, made: Path) -> None:
        theirs = "import signal; signal.signal(signal.SIGTERM, lambda *_: __import__('os').write(1, b'theirs\\n'))\n"
        with process(theirs + HOLDS, made) as told:
            told.terminate()

            assert told.stdout.readline() == "theirs\n"
            leave(told)
        assert not answers(made)


class TestMaking:
    def test_what_is_half_made_is_never_used(self, made: Path) -> None:
        assert {path.name for path in (made / "postgres.xyz").iterdir()} == {"base", "PG_VERSION"}
        assert {path.name for path in made.iterdir()} == {
            "postgres",
            "postgres.lock",
            "postgres.log",
            "postgres.users",
            "postgres.xyz",
        }

    @pytest.mark.slow
    def test_what_somebody_had_begun_and_was_killed_at_is_removed(self, home: Path) -> None:
        abandoned = home / "postgres.draft-x" / "base"
        for _ in range(2):  # also where there is a cluster: an initdb that its parent has left goes on
            abandoned.mkdir(parents=True)
            server = EmbeddedPostgres(home)
            server.start()
            server.stop()
            assert not abandoned.parent.exists()

    @pytest.mark.slow
    def test_a_server_that_somebody_else_has_just_begun_to_start_is_waited_for(
        self, server: EmbeddedPostgres, made: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run, pid_file = server._run, made / "postgres" / "postmaster.pid"
        failed: list[str] = []

        def fails_once(*command: str) -> None:
            if not failed:
                failed.append(command[0])
                pid_file.touch()
                raise subprocess.CalledProcessError(1, command)
            pid_file.unlink(missing_ok=True)
            run(*command)

        monkeypatch.setattr(server, "_run", fails_once)
        server.start()
        assert (failed, answers(made)) == (["pg_ctl"], True)
        monkeypatch.undo()

    @pytest.mark.slow
    def test_a_server_that_was_still_stopping_and_is_gone_by_the_time_that_pg_ctl_has_failed_is_no_failure(
        self, server: EmbeddedPostgres, made: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        run, pid_file = server._run, made / "postgres" / "postmaster.pid"
        pid_file.touch()
        failed: list[str] = []

        def fails_once(*command: str) -> None:
            if not failed:
                failed.append(command[0])
                pid_file.unlink()
                raise subprocess.CalledProcessError(1, command)
            run(*command)

        monkeypatch.setattr(server, "_run", fails_once)
        server.start()
        assert (failed, answers(made)) == (["pg_ctl"], True)
        monkeypatch.undo()

    def test_a_path_may_hold_a_space_and_a_quote(self, server: EmbeddedPostgres, made: Path) -> None:
        assert made.name == "it's mine"
        assert ask(server.start(), "SELECT 1") == [(1,)]
        assert answers(made)

    def test_where_the_disk_is_full_nothing_is_left_behind_and_the_log_tells_why(self, home: Path) -> None:
        server = EmbeddedPostgres(home)
        with no_file_larger_than(1_000_000), pytest.raises(subprocess.CalledProcessError):
            server.start()

        assert {path.name for path in home.iterdir()} == {"postgres.lock", "postgres.log", "postgres.users"}
        assert "initdb" in (home / "postgres.log").read_text()


class TestMoving:
    @pytest.mark.slow
    def test_the_folder_may_be_moved(self, made: Path, home: Path) -> None:
        before = EmbeddedPostgres(made)
        ask(before.start(), "CREATE TABLE moved AS SELECT 'still here' AS text")
        before.stop()

        with moved(made, home / "elsewhere") as elsewhere:
            after = EmbeddedPostgres(elsewhere)
            assert ask(after.start(), "SELECT text FROM moved") == [("still here",)]
            after.stop()

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["x" * 100, "a,b"], ids=["too long", "a comma"])
    def test_where_its_path_is_no_path_for_a_socket_that_lies_in_the_temporary_folder(
        self, made: Path, home: Path, name: str
    ) -> None:
        with moved(made, home / name) as elsewhere:
            server = EmbeddedPostgres(elsewhere)
            arguments = server.start()
            place = Path(arguments["host"])
            assert place.parent == Path(tempfile.gettempdir())
            assert stat.S_IMODE(place.stat().st_mode) == 0o700
            assert ask(arguments, "SELECT 1") == [(1,)]
            assert psql(elsewhere, "SELECT 1;\n").returncode == 0
            assert not (elsewhere / "postgres" / ".s.PGSQL.5432").exists()
            server.stop()

            # Somebody else has made a folder of that name now. Would they be our server?
            place.rmdir()
            place.symlink_to(home)
            with pytest.raises(PermissionError, match="belongs to somebody else"):
                server.start()
            place.unlink()

    def test_a_path_that_just_fits_has_it_inside(self, made: Path, home: Path) -> None:
        room = embedded.LONGEST_SOCKET_DIR - len(str(home / "postgres")) - 1
        with moved(made, home / ("x" * room)) as long:
            server = EmbeddedPostgres(long)
            assert ask(server.start(), "SELECT 1") == [(1,)]
            assert answers(long)
            server.stop()


class TestPrivacy:
    def test_nobody_else_may_use_the_socket_or_read_the_files(self, server: EmbeddedPostgres, made: Path) -> None:
        server.start()

        modes = {name: stat.S_IMODE((made / name).stat().st_mode) for name in ("postgres", "postgres.log")}
        assert modes == {"postgres": 0o700, "postgres.log": 0o600}
        assert stat.S_IMODE((made / "postgres" / ".s.PGSQL.5432").stat().st_mode) == 0o700

    def test_the_log_holds_nothing_that_people_wrote(self, server: EmbeddedPostgres, made: Path) -> None:
        arguments = server.start()
        ask(arguments, "CREATE TABLE notes (text text PRIMARY KEY)")
        with pytest.raises(asyncpg.UniqueViolationError):
            ask(arguments, "INSERT INTO notes VALUES ('a secret of hers'), ('a secret of hers')")

        log = (made / "postgres.log").read_text()
        assert "duplicate key value violates unique constraint" in log
        assert "secret" not in log
        assert ask(
            arguments,
            "SELECT current_setting('log_error_verbosity'), current_setting('log_min_error_statement'),"
            " current_setting('log_statement'), current_setting('unix_socket_permissions')",
        ) == [("terse", "panic", "none", "0700")]

    def test_the_server_gets_no_secret_of_our_environment(
        self, server: EmbeddedPostgres, made: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("JWT_SECRET", "a secret of ours")
        monkeypatch.setenv("PGDATA", "/nowhere")
        monkeypatch.setenv("PGPORT", "6543")
        arguments = server.start()

        assert ask(arguments, "SELECT 1") == [(1,)]
        assert answers(made)
        if sys.platform == "linux":
            environment = Path(f"/proc/{postmaster(made)}/environ").read_bytes()
            assert b"PATH=" in environment
            assert b"secret" not in environment

    @pytest.mark.slow
    def test_a_failure_shows_no_secret_either_and_keeps_nobody_waiting(
        self,
        server: EmbeddedPostgres,
        made: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.setenv("JWT_SECRET", "a secret of ours")
        configuration = made / "postgres" / "postgresql.conf"
        right = configuration.read_text()
        configuration.write_text(right + "\nno_such_setting = 1\n")

        for _ in range(2):
            with pytest.raises(subprocess.CalledProcessError) as raised:
                server.start()
            assert "secret" not in str(raised.value)

        assert "no_such_setting" in (made / "postgres.log").read_text()
        assert "secret" not in caplog.text + "".join(capfd.readouterr()) + (made / "postgres.log").read_text()
        configuration.write_text(right)
        # Whoever failed holds nothing: this one is the last to leave.
        with process(HOLDS, made) as other:
            leave(other)
        assert not answers(made)

    def test_as_root_the_folders_above_are_opened_to_pass_through_and_not_to_look_into(
        self, server: EmbeddedPostgres, made: Path
    ) -> None:
        made.chmod(0o700)
        server.start()

        assert stat.S_IMODE(made.stat().st_mode) == (0o701 if os.geteuid() == 0 else 0o700)


class TestWhoRunsIt:
    def test_root_has_it_run_by_a_user_without_rights(self, server: EmbeddedPostgres, made: Path) -> None:
        server.start()

        status = Path(f"/proc/{postmaster(made)}/status")
        if sys.platform == "linux":
            lines = dict(line.split(":\t", 1) for line in status.read_text().splitlines())
            user = pwd.getpwnam("pgserver") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
            assert set(lines["Uid"].split()) == {str(user.pw_uid)}
            assert set(lines["Gid"].split()) == {str(user.pw_gid)}

    def test_root_needs_no_path_to_the_administrators_programs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        found: list[str | None] = []
        users = iter(3 * [KeyError(), None])  # there is none, and then there is

        def find(_: str) -> None:
            if error := next(users):
                raise error

        def run(command: list[str], *, env: dict[str, str], **_: object) -> None:
            found.append(shutil.which(command[0], path=env["PATH"]))

        monkeypatch.setattr("os.geteuid", lambda: 0)
        monkeypatch.setattr("pwd.getpwnam", find)
        monkeypatch.setattr("subprocess.run", run)
        monkeypatch.setattr("app.db.server_user.let_through", lambda _: None)
        for path in ("/usr/bin:/bin", "/usr/bin:/usr/sbin"):
            monkeypatch.setenv("PATH", path)
            server_user()
        monkeypatch.delenv("PATH")
        server_user()
        assert len(found) == 3
        assert set(found) == {shutil.which("useradd", path="/usr/sbin:/sbin")}

    @pytest.mark.slow
    def test_anybody_else_runs_it_themselves(self, home: Path) -> None:
        with somebody_who_is_not_root(home) as user:
            server = EmbeddedPostgres(home)
            arguments = server.start()

            assert ask(arguments, "SELECT 1") == [(1,)]
            assert (home / "postgres").stat().st_uid == user
            server.stop()
            assert not answers(home)


class TestPsql:
    @pytest.mark.slow
    def test_it_runs_what_it_is_given_on_a_server_that_it_starts(self, made: Path) -> None:
        done = psql(made, "SELECT 6 * 7 AS answer;\n")

        assert done.stdout == " answer \n--------\n     42\n(1 row)\n\n"
        assert done.returncode == 0
        assert not answers(made)

    @pytest.mark.slow
    def test_its_exit_status_is_ours(self, made: Path) -> None:
        done = psql(made, "\\set ON_ERROR_STOP on\nSELECT nonsense;\n")

        assert 'column "nonsense" does not exist' in done.stderr
        assert done.returncode == 3

    @pytest.mark.slow
    def test_ctrl_c_stops_a_query_and_not_psql(self, server: EmbeddedPostgres, made: Path) -> None:
        arguments = server.start()
        sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
        with subprocess.Popen(
            [sys.executable, "-c", PSQL, str(made)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        ) as running:
            running.stdin.write("SELECT pg_sleep(60);\n")
            running.stdin.flush()
            assert soon(lambda: ask(arguments, sleeping) == [(1,)])
            os.killpg(running.pid, signal.SIGINT)

            _, errors = running.communicate(timeout=30)
        assert errors.endswith("ERROR:  canceling statement due to user request\n")
        # psql itself ends with 3 where a pipe is interrupted; one that was killed would have said -9.
        assert running.returncode == 3


def psql(home: Path, commands: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PSQL, str(home)],
        cwd=ROOT,
        input=commands,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@contextmanager
def moved(made: Path, to: Path) -> Iterator[Path]:
    """The cluster in another folder, for a while."""
    to.mkdir()
    (made / "postgres").rename(to / "postgres")
    try:
        yield to
    finally:
        (to / "postgres").rename(made / "postgres")


@contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """What a full disk is to those who write to it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def somebody_who_is_not_root(home: Path) -> Iterator[int]:
    """Their user id. Where the tests run as root they are `nobody` for a while, who owns `home`."""
    if os.geteuid() != 0:
        yield os.geteuid()
        return
    nobody = pwd.getpwnam("nobody")
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    os.setresuid(nobody.pw_uid, nobody.pw_uid, 0)
    try:
        yield nobody.pw_uid
    finally:
        os.setresuid(0, 0, 0)
