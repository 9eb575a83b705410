"""`python -m app`, as a person types it and as a script reads it."""

import ast
import os
import pty
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from app.__main__ import main
from app.auth.authenticator import Authenticator
from app.auth.jwt import User
from app.config.settings import ROOT, current
from app.db import migrations
from app.db.errors import just
from tests import forkserver
from tests.conftest import SECRET, whom


def typed(arguments: list[str], *lines: str) -> tuple[int, str]:
    """Run a command on a terminal, answer each of its questions with a line; its exit code and what it showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "app", *arguments],
        cwd=ROOT,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown, fresh, answers, deadline = b"", b"", iter(lines), time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            chunk = os.read(ours, 1024)
        except OSError:  # the other side of a terminal has gone
            break
        if not chunk:
            break
        shown, fresh = shown + chunk, fresh + chunk
        if fresh.endswith(b": "):
            os.write(ours, next(answers).encode() + b"\n")
            fresh = b""
    os.close(ours)
    return process.wait(10), shown.decode()


class TestToken:
    def test_it_prints_the_token_and_nothing_else(self, database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
        main(["token", "ada lovelace"])
        printed = capsys.readouterr()
        assert (printed.err, printed.out.count("\n")) == ("", 1)
        assert whom(Authenticator(current()).verify(printed.out.strip().encode()).user) == User("ada lovelace")

    def test_where_only_issuers_are_believed_there_is_nothing_to_sign_with(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        issuer = '{"issuer": "a", "jwks_url": "https://a.test/", "audience": "b", "algorithms": ["EdDSA"]}'
        for name, value in {"JWT_SECRET": "", "JWT_ISSUERS": f"[{issuer}]", "ACCOUNTS": "off"}.items():
            monkeypatch.setenv(name, value)
        current.cache_clear()
        try:
            with pytest.raises(SystemExit) as refused:
                main(["token", "ada"])
        finally:
            monkeypatch.undo()
            current.cache_clear()
        assert str(refused.value) == "JWT_SECRET is not set, so there is nothing to sign a token with."

    def test_it_is_valid_for_24_hours(self, database_url: str, capsys: pytest.CaptureFixture[str]) -> None:
        import jwt

        main(["token", "ada"])
        claims = jwt.decode(capsys.readouterr().out.strip(), SECRET, ["HS256"])
        assert claims["exp"] - claims["iat"] == 24 * 60 * 60

    @pytest.mark.parametrize("user", ["", " ", "x" * 256])
    def test_no_token_is_made_that_the_service_would_refuse(self, database_url: str, user: str) -> None:
        with pytest.raises(SystemExit) as ended:
            main(["token", user])
        assert str(ended.value) == "A user id has 1 to 255 characters and is not blank."


class TestAdminUser:
    @pytest.mark.slow
    def test_it_asks_for_the_name_and_twice_for_the_password_and_shows_neither_back(self, database_url: str) -> None:
        name = f"staff-{secrets.token_hex(4)}"
        code, shown = typed(["admin-user"], name, "a long password", "a long password")
        assert code == 0
        assert f"{name} can log in at /admin/ now." in shown
        assert "a long password" not in shown

    @pytest.mark.slow
    def test_it_unlocks_a_login_and_no_other(self, database_url: str) -> None:
        name = f"staff {secrets.token_hex(4)}"
        assert typed(["admin-user"], name, "a long password", "a long password")[0] == 0
        code, shown = typed(["admin-user", name, "--unlock"])
        assert (code, shown.splitlines()[-1]) == (0, f"{name} can try to log in at /admin/ again.")
        code, shown = typed(["admin-user", "nobody at all", "--unlock"])
        assert (code, shown.splitlines()[-1]) == (1, "There is no login of that name.")

    @pytest.mark.slow
    def test_logins_are_listed_get_another_password_and_are_removed(self, database_url: str) -> None:
        name = f"staff {secrets.token_hex(4)}"
        assert typed(["admin-user", name], "a long password", "a long password")[0] == 0
        code, shown = typed(["admin-user", "--list"])
        assert (code, f"{name}  no login yet" in shown.splitlines()) == (0, True)
        code, shown = typed(["admin-user", name, "--password"], "another password", "another password")
        assert (code, shown.splitlines()[-1]) == (0, f"{name} logs in at /admin/ with the new password now.")
        code, shown = typed(["admin-user", name, "--remove"])
        assert (code, shown.splitlines()[-1]) == (0, f"{name} cannot log in at /admin/ any more.")
        assert name not in typed(["admin-user", "--list"])[1]
        for option in ("--remove", "--password"):
            code, shown = typed(["admin-user", name, option])
            assert (code, shown.splitlines()[-1]) == (1, "There is no login of that name.")

    @pytest.mark.slow
    @pytest.mark.parametrize("password", ["1234567", "x" * 1025])
    def test_a_password_is_as_long_as_those_of_users(self, database_url: str, password: str) -> None:
        made = run("admin-user", "nobody", password=password)
        assert (made.returncode, made.stderr) == (1, "A password has 8 to 1024 characters.\n")

    @pytest.mark.slow
    def test_two_passwords_that_differ_make_nobody(self, database_url: str) -> None:
        code, shown = typed(["admin-user", "nobody"], "a long password", "another password")
        assert code == 1
        assert shown.rstrip().endswith("The two passwords differ.")


def test_a_command_that_there_is_not_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["dance"])
    assert ended.value.code == 2
    assert "invalid choice: 'dance'" in capsys.readouterr().err


def test_an_argument_that_there_is_not_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["migrate", "--dry-run"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --dry-run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "refused"),
    [
        ("--port", "PORT is 'x y', but must be a whole number from 1 to 65535."),
        ("--host", "HOST is 'x y', but must be a host name or an IP address."),
        ("--workers", "WORKERS is 'x y', but must be a whole number from 1 to 64."),
    ],
)
def test_an_option_of_serve_says_the_variable_of_its_name(option: str, refused: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app", "serve", option, "x y"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (1, f"{refused}\n")


def test_what_is_a_bug_stays_one(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.auth.jwt.mint", lambda *_: {}["missing"])
    with pytest.raises(KeyError):
        main(["token", "ada"])


def test_a_setting_that_is_no_good_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from app.config import settings

    monkeypatch.setenv("WORKERS", "none")
    settings.current.cache_clear()
    with pytest.raises(SystemExit) as ended:
        main(["token", "ada"])
    assert str(ended.value) == "WORKERS is 'none', but must be a whole number from 1 to 64."
    monkeypatch.undo()
    settings.current.cache_clear()


class TestPsql:
    def test_it_opens_on_the_configured_database_and_hides_the_password(self, postgres: Callable[[str], str]) -> None:
        url = postgres("postgres").replace("postgres@", "postgres:p%40ss@", 1)
        script = "\\! echo password $PGPASSWORD\n\\! ps -o args= -p $PPID\nSELECT 6 * 7 AS answer;\n"
        done = subprocess.run(
            [sys.executable, "-m", "app", "psql"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": f"{url}&pgbouncer=true"},
            input=script,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        assert "password p@ss" in done.stdout
        assert "p%40ss" not in done.stdout
        assert "42" in done.stdout

    def test_a_url_that_names_no_host_but_a_socket_is_one_too(self, postgres: Callable[[str], str]) -> None:
        url = postgres("postgres").replace("postgres@", "", 1)
        done = subprocess.run(
            [sys.executable, "-m", "app", "psql"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": url, "PGUSER": "postgres"},
            input="SELECT 6 * 7 AS answer;\n",
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert "42" in done.stdout


class TestMigrations:
    @pytest.mark.slow
    def test_the_newest_is_taken_back_and_applied_again(self, new_database: Callable[[], str]) -> None:
        url = new_database()
        newest = max(name for app, name in migrations.known() if app == "tasks")
        for command in ("migrate", "rollback --yes", "migrate"):
            done = run(command, "", DATABASE_URL=url)
            assert (done.returncode, done.stderr) == (0, "")
            assert newest in done.stdout
            assert "\x1b" not in done.stdout

    @pytest.mark.slow
    def test_taking_back_asks_first(self, new_database: Callable[[], str], monkeypatch: pytest.MonkeyPatch) -> None:
        url = new_database()
        monkeypatch.setenv("DATABASE_URL", url)
        code, shown = typed(["rollback"])
        assert (code, shown.partition(" in the database")[0]) == (1, "There is no migration to take back")

        assert run("migrate", "", DATABASE_URL=url).returncode == 0
        newest = max(name for app, name in migrations.known() if app == "tasks")
        code, shown = typed(["rollback"], "y")
        assert (code, shown.splitlines()[-1]) == (1, "Nothing was done.")
        assert shown.startswith(
            f'This takes {newest} back in the database "{url.rpartition("/")[2].partition("?")[0]}"'
        )
        code, shown = typed(["rollback"], "yes")
        assert (code, newest in shown.partition("Type yes to do that: ")[2]) == (0, True)

    def test_where_nobody_can_be_asked_nothing_is_taken_back(self, database_url: str) -> None:
        done = run("rollback", "", DATABASE_URL=database_url)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr == ("Nothing was done: this asks first. Where there is no terminal to ask on, say --yes.\n")


class TestNewMigration:
    @pytest.mark.slow
    def test_it_is_written_for_what_has_changed_and_told_where_without_a_database(self, tmp_path: Path) -> None:
        for name in ("app", "piccolo_migrations"):
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "piccolo_conf.py", tmp_path)
        env = {**os.environ, "DATABASE_URL": "postgresql://ada:wrong@no-such-host.invalid/never_was"}
        before = {*(tmp_path / "piccolo_migrations").glob("*.py")}

        def migration(name: str) -> subprocess.CompletedProcess[str]:
            command = [sys.executable, "-m", "app", "migration", name]
            return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)

        done = migration("nothing")
        assert (done.returncode, done.stderr, "No changes" in done.stdout) == (0, "", True)
        tables = tmp_path / "app/db/tables.py"
        field = "    completed = Boolean(null=False, default=False)\n"
        another = "    starred = Boolean(null=True, default=None)\n"
        tables.write_text(tables.read_text().replace(field, field + another, 1))
        for name in ("two\nlines", " ", "\x1b[31m"):
            done = migration(name)
            assert (done.returncode, done.stdout) == (1, "")
            assert done.stderr == "The name of a migration is one line, and not blank.\n"
        named = 'what it\'s "for", \\n and \\'
        done = migration(named)
        assert (done.returncode, done.stderr) == (0, "")
        [made] = {*(tmp_path / "piccolo_migrations").glob("*.py")} - before
        assert done.stdout.endswith(f"\nWritten: {made}\n")
        assert "\x1b" not in done.stdout
        module = ast.parse(made.read_text())
        values = {ast.unparse(each.targets[0]): each.value for each in module.body if isinstance(each, ast.Assign)}
        assert ("starred" in made.read_text(), ast.literal_eval(values["DESCRIPTION"])) == (True, named)

    @pytest.mark.parametrize("name", [" ", "two\nlines"])
    def test_a_name_is_one_line_and_not_blank(self, name: str) -> None:
        with pytest.raises(SystemExit, match="The name of a migration is one line, and not blank"):
            main(["migration", name])

    def test_each_new_file_is_told(
        self, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        async def new(*_: object, **__: object) -> None:
            (tmp_path / "made.py").touch()

        monkeypatch.setattr("piccolo.apps.migrations.commands.new.new", new)
        monkeypatch.setitem(migrations.FOLDERS, "tasks", tmp_path)
        main(["migration", "x"])
        assert capsys.readouterr().out == f"Written: {tmp_path / 'made.py'}\n"

    @pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(30, "Read-only file system")])
    def test_a_folder_that_cannot_be_written_to_is_told_in_a_line(
        self, database_url: str, monkeypatch: pytest.MonkeyPatch, error: OSError
    ) -> None:
        async def new(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("piccolo.apps.migrations.commands.new.new", new)
        with pytest.raises(SystemExit) as ended:
            main(["migration", "x"])
        folder = ROOT / "piccolo_migrations"
        assert str(ended.value) == f"Cannot write a migration to {folder}: {error.strerror}."


class TestTrouble:
    """One line, whatever is in the way."""

    def test_a_database_without_tables(self, new_database: Callable[[], str]) -> None:
        done = run("admin-user", "grace", DATABASE_URL=new_database())
        assert (done.returncode, done.stderr.startswith('There are no tables yet in the database "tasks_')) == (1, True)
        assert done.stderr.endswith(f"Make them: {just('migrate')}\n")

    def test_no_answer_to_a_question(self, database_url: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "app", "admin-user"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stderr) == (1, "Nothing was done.\n")


def run(command: str, name: str, password: str = "a long password", **env: str) -> subprocess.CompletedProcess[str]:
    arguments = [command, name] if command == "admin-user" else command.split()
    return forkserver.command(*arguments, text=f"{password}\n", **env)
