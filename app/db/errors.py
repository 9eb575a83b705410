"""What is raised where the database cannot be used; and why it cannot, for people. Never a password."""

import getpass
import os
import shlex
import socket
import ssl
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlsplit

import asyncpg

from app.config.parsing import each_host
from app.config.settings import ROOT, Settings
from app.db.primary import CONNECT_ERRORS, NoPrimary
from app.db.search_path import NotFirst


class DatabaseUnavailable(Exception):
    """There is no migrated database, or it has been closed."""


class Overloaded(asyncpg.InterfaceError):
    """The queue for a connection, or for an owner's turn, is full."""


NOT_USABLE = (*CONNECT_ERRORS, subprocess.CalledProcessError)  # the last: of the embedded PostgreSQL

# By the first kind that an error is of. `{create}` is the command that makes the database, `{look}` the statement that
# has a login look into the schema of DATABASE_SCHEMA.
CAUSES: tuple[tuple[type[BaseException], str, str], ...] = (
    (
        asyncpg.InvalidCatalogNameError,
        "there is no database of that name",
        "Correct the name in DATABASE_URL, or make the database: {create}",
    ),
    (
        asyncpg.InvalidAuthorizationSpecificationError,  # wrong passwords included
        "the server refuses this user or password",
        "Correct them in DATABASE_URL. Write @ : / ? # % in a password as %40 %3A %2F %3F %23 %25.",
    ),
    (asyncpg.InsufficientPrivilegeError, "this user may not do that", "Let the database belong to this user."),
    (NoPrimary, "no server there takes changes", "Name the primary in DATABASE_URL, or promote a replica."),
    (
        NotFirst,
        "a pooler passes no settings on, and PostgreSQL does not look into the schema of DATABASE_SCHEMA first",
        "Say there: {look} Then let the pooler connect anew.",
    ),
    (socket.gaierror, "no such host is known", "Correct the host in DATABASE_URL."),
    (ssl.SSLError, "TLS failed", "Correct sslmode or sslrootcert in DATABASE_URL, or the server's certificate."),
    (ConnectionRefusedError, "nothing listens there", "Start PostgreSQL, or correct host and port in DATABASE_URL."),
    (FileNotFoundError, "nothing listens there", "Start PostgreSQL, or correct the host in DATABASE_URL."),
    (TimeoutError, "no answer in time", "Correct host and port in DATABASE_URL, or let the firewall pass them."),
)


def just(*arguments: str) -> str:
    """Return the command that runs a recipe, as it can be pasted in any folder and shell."""
    ours = ROOT / ".tools/bin/just"
    program = os.environ.get("TASKS_JUST") or (str(ours) if ours.exists() else "just")
    return shlex.join([program, "-f", str(ROOT / "justfile"), *arguments])


def describe(settings: Settings) -> str:
    """Return which database the service uses, for people: name, hosts, ports, user, and the schema if one is set."""
    schema = f', schema "{settings.database_schema}"' if settings.database_schema else ""
    if settings.database_url is None:
        return f"the embedded PostgreSQL in {settings.data_dir / 'postgres'}{schema}"
    name, hosts, user = _parts(settings.database_url)
    return f'the database "{name}" on {", ".join(hosts)} as user "{user}"{schema}'


def explain(error: BaseException, settings: Settings) -> str:
    """Return why the database cannot be used, and on a second line the way out, where one is known.

    The driver's text stays out of it: it may hold what people wrote.
    """
    reason, way_out = _cause(error, settings)
    return f"Cannot use {describe(settings)}: {reason}.\n{way_out}".rstrip()


def _parts(url: str) -> tuple[str, list[str], str]:
    """Return the name, each `host:port`, and the user: from the URL, or what libpq takes where it says nothing."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    login = unquote(parts.netloc.rpartition("@")[0].partition(":")[0])
    user = options.get("user") or login or os.environ.get("PGUSER") or getpass.getuser()
    name = options.get("dbname") or options.get("database") or unquote(parts.path.removeprefix("/"))
    hosts = [_host(each, options) for each in each_host(url)]
    return name or os.environ.get("PGDATABASE") or user, hosts, user


def _host(url: str, options: dict[str, str]) -> str:
    parts = urlsplit(url)
    host = unquote(parts.hostname or "") or options.get("host") or os.environ.get("PGHOST") or "localhost"
    port = parts.port or options.get("port") or os.environ.get("PGPORT") or 5432
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _cause(error: BaseException, settings: Settings) -> tuple[str, str]:
    """Return the reason, and the way out."""
    if isinstance(error, subprocess.CalledProcessError):
        return f"{Path(error.cmd[0]).name} failed", f"{settings.data_dir / 'postgres.log'} tells why."
    if settings.database_url is None:
        return f"it does not answer ({type(error).__name__})", f"{settings.data_dir / 'postgres.log'} may tell why."
    if "Connect call failed" in f"{error}":  # asyncio's, of a host with several addresses
        error = ConnectionRefusedError()
    for kind, reason, way_out in CAUSES:
        if isinstance(error, kind):
            return reason, way_out.format(create=_create(settings.database_url), look=_look(settings))
    return type(error).__name__, ""


def _look(settings: Settings) -> str:
    name, _hosts, user = _parts(settings.database_url or "")
    return f'ALTER ROLE "{user}" IN DATABASE "{name}" SET search_path = "{settings.database_schema}", public;'


def _create(url: str) -> str:
    name, hosts, user = _parts(url)
    host, _, port = hosts[0].rpartition(":")
    return shlex.join(["createdb", "-h", host.strip("[]"), "-p", port, "-U", user, name])
