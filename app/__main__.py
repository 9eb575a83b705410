"""What the `just` recipes call: `python -m app <command>`. What goes wrong is one line on stderr."""

import argparse
import asyncio
import getpass
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from app.config import settings
from app.config.parsing import ConfigurationError
from app.config.settings import Settings

TOKEN_SECONDS = 24 * 60 * 60
SERVE_OPTIONS = ("host", "port", "workers")  # each says the variable of that name


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command. Raises SystemExit with a line or two where something is in the way."""
    parser = _parser()
    options, others = parser.parse_known_args(arguments)
    if others and options.command is not _psql:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    options.others = others
    for name in SERVE_OPTIONS:
        if (value := getattr(options, name, None)) is not None:
            os.environ[name.upper()] = value  # for the processes that this one starts, too
    try:
        options.command(settings.current(), options)
    except ConfigurationError as error:
        raise SystemExit(f"{error}") from None
    except (EOFError, KeyboardInterrupt):
        raise SystemExit("Nothing was done.") from None
    except Exception as error:
        from app.db.errors import NOT_USABLE, explain

        if isinstance(error, NOT_USABLE):
            raise SystemExit(explain(error, settings.current())) from None
        raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m app", description="The Tasks API.")
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: Callable[[Settings, argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text)
        added.set_defaults(command=run)
        return added

    serve = command("serve", _serve, "serve the API, the docs and the admin")
    serve.add_argument("--migrate", action="store_true", help="migrate first, or when the database comes")
    serve.add_argument("--reload", action="store_true", help="start again when the code changes")
    for name in SERVE_OPTIONS:
        serve.add_argument(f"--{name}", help=f"instead of {name.upper()} of the environment and of .env")
    command("migrate", _migrate, "bring the database up to date")
    migration = command("migration", _migration, "write a migration for what has changed in app/db/tables.py")
    migration.add_argument("name", help="what it is for, in a few words")
    rollback = command("rollback", _rollback, "take the newest migration back")
    rollback.add_argument("--yes", action="store_true", help="do not ask first")
    command("psql", _psql, "open psql on the configured database, with psql's own arguments")
    command("token", _token, "print a token that is valid for 24 hours").add_argument("user", help="the user id")

    staff = command("admin-user", _admin_user, "make a login for the admin, list, change or remove logins")
    staff.add_argument("username", nargs="?")
    what = staff.add_mutually_exclusive_group()
    what.set_defaults(what="make")
    for name, text in (
        ("list", "list the logins"),
        ("password", "set another password, which ends the sessions of this login"),
        ("remove", "remove this login"),
        ("unlock", "let this login be tried again after too many failures"),
    ):
        what.add_argument(f"--{name}", dest="what", help=text, action="store_const", const=name)
    return parser


def _serve(chosen: Settings, options: argparse.Namespace) -> None:
    from app.server.serve import serve

    serve(chosen, migrate=options.migrate, reload=options.reload)


def _migrate(chosen: Settings, _: argparse.Namespace) -> None:
    from app.db import migrations

    _run_migrations(migrations.migrate(chosen))


def _migration(_: Settings, options: argparse.Namespace) -> None:
    """Compare app/db/tables.py with the migrations that there are. Needs no database."""
    from piccolo.apps.migrations.commands.new import new

    from app.db import migrations

    if not options.name.strip() or not options.name.isprintable():
        raise SystemExit("The name of a migration is one line, and not blank.")
    quoted = options.name.replace("\\", "\\\\").replace("'", "\\'")  # Piccolo puts it between quotes as it is
    folder = Path(str(migrations.FOLDERS["tasks"]))
    before = {*folder.glob("*.py")}
    try:
        asyncio.run(new("tasks", auto=True, desc=quoted))
    except OSError as error:
        raise SystemExit(f"Cannot write a migration to {folder}: {error.strerror}.") from None
    for path in {*folder.glob("*.py")} - before:
        print(f"Written: {path}")


def _rollback(chosen: Settings, options: argparse.Namespace) -> None:
    from app.db import migrations
    from app.db.errors import describe

    newest = asyncio.run(migrations.newest(chosen))
    if newest is None:
        raise SystemExit(f"There is no migration to take back in {describe(chosen)}.")
    if not options.yes:
        if not sys.stdin.isatty():
            raise SystemExit("Nothing was done: this asks first. Where there is no terminal to ask on, say --yes.")
        print(f"This takes {newest} back in {describe(chosen)}. What it made goes, with all that is in it.")
        if input("Type yes to do that: ").strip().lower() != "yes":
            raise SystemExit("Nothing was done.")
    _run_migrations(migrations.rollback(chosen))


def _run_migrations(steps: Coroutine[Any, Any, str]) -> None:
    from app.db.migrations import MigrationError

    try:
        print(asyncio.run(steps).rstrip() or "The database is up to date.")
    except MigrationError as error:
        raise SystemExit(f"{error}") from None


def _token(chosen: Settings, options: argparse.Namespace) -> None:
    from app.auth import jwt

    if not options.user.strip() or len(options.user) > jwt.MAX_ID_CHARACTERS:
        raise SystemExit(f"A user id has 1 to {jwt.MAX_ID_CHARACTERS} characters and is not blank.")
    if not chosen.jwt_secrets:
        raise SystemExit("JWT_SECRET is not set, so there is nothing to sign a token with.")
    print(jwt.mint(jwt.User(id=options.user), chosen.jwt_secrets[0], TOKEN_SECONDS))


def _psql(chosen: Settings, options: argparse.Namespace) -> None:
    from app.db import connect, embedded, migrations, search_path

    url = connect.without_foreign_options(chosen.database_url or "")
    url, path = search_path.for_psql(url, asyncio.run(migrations.reach(chosen)))
    if chosen.database_url is None:
        raise SystemExit(embedded.server(chosen.data_dir).psql(*options.others, **path))
    login = urlsplit(url).netloc.rpartition("@")[0]
    user, _colon, password = login.partition(":")
    # Who may list this machine's processes sees their arguments, but not their environment.
    secret = {"PGPASSWORD": unquote(password)} if password else {}
    # Where the URL says nothing of it: the server that the service would take.
    server = {"PGTARGETSESSIONATTRS": "primary"}
    url = url.replace(f"//{login}@", f"//{user}@", 1)
    raise SystemExit(embedded.psql(url, *options.others, **secret, **server, **path))


def _admin_user(chosen: Settings, options: argparse.Namespace) -> None:
    from app.db import migrations
    from app.db.errors import describe, just
    from app.web.failures import Invalid

    if asyncio.run(migrations.newest(chosen)) is None:  # before anybody types a password
        raise SystemExit(f"There are no tables yet in {describe(chosen)}. Make them: {just('migrate')}")
    try:
        _list_staff() if options.what == "list" else _change_staff(options.what, options.username)
    except Invalid as error:
        raise SystemExit(f"{error.message}.") from None


def _list_staff() -> None:
    from app.admin import staff

    for each in asyncio.run(staff.listed()):
        last = each["last_login"]
        state = f"last login {last:%Y-%m-%d %H:%M}" if last else "no login yet"
        print(f"{each['username']}  {state}" + ("" if each["active"] and each["admin"] else "  (not active)"))


def _change_staff(what: str, username: str | None) -> None:
    from app.admin import staff

    name = username or input("Username: ")
    if what != "make" and all(each["username"] != name for each in asyncio.run(staff.listed())):
        raise SystemExit("There is no login of that name.")
    match what:
        case "make":
            work, told = staff.Staff.add(name, _new_password()), "can log in at /admin/ now"
        case "password":
            work, told = (
                staff.Staff.update_password(name, _new_password()),
                "logs in at /admin/ with the new password now",
            )
        case "remove":
            work, told = staff.remove(name), "cannot log in at /admin/ any more"
        case _:
            work, told = staff.unlock(name), "can try to log in at /admin/ again"
    asyncio.run(work)
    print(f"{name} {told}.")


def _new_password() -> str:
    """Ask for a password twice, or read one line where nobody can be asked."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password: ")
    if getpass.getpass("The same again: ") != password:
        raise SystemExit("The two passwords differ.")
    return password


if __name__ == "__main__":
    main()
