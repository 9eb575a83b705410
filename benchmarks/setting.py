"""Where, when and with what it was measured: for a reader who wants to compare, or to do it again."""

import datetime
import importlib.metadata
import json
import platform
from collections.abc import Sequence

import app
from benchmarks import measure
from benchmarks.data import Database
from benchmarks.toolbox import CONTENDERS, ROOT, VENV, bun, find, folder_of, output

OURS = ("asyncpg", "httptools", "litestar", "msgspec", "piccolo", "pyjwt", "uvicorn", "uvloop")
THEIRS = (
    "asyncpg",
    "fastapi",
    "httptools",
    "psycopg",
    "pydantic",
    "pyjwt",
    "sqlalchemy",
    "sqlmodel",
    "uvicorn",
    "uvloop",
)
ASK = """
import sys
from importlib.metadata import version
print(*(f"{each} {version(each)}" for each in sys.argv[1:]), sep=", ")
"""


def describe(database: Database, arguments: Sequence[str]) -> list[tuple[str, str]]:
    """Return what there is to say, as pairs of a name and a text."""
    commit = output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD") or "unknown"
    changed = output("git", "--no-optional-locks", "-C", str(ROOT), "status", "--porcelain", "--", "app")
    ours = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in OURS)
    wrk = output("wrk", "--version", good=(0, 1))
    if measure.PINNED:
        cores = "the server alone on one core; PostgreSQL and the load share another"
    else:
        cores = "nobody is bound to a core"
    return [
        ("Command", " ".join(("python -m benchmarks", *arguments))),
        ("Date", f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC"),
        ("Machine", measure.machine()),
        ("Cores", cores),
        ("This service", f"{app.__version__}, commit {commit}{' with changes' if changed else ''}; {ours}"),
        ("Python", f"{platform.python_implementation()} {platform.python_version()}"),
        ("PostgreSQL", f"{database.value('SHOW server_version')}, {_durability(database)}"),
        ("FastAPI", output(str(VENV / "bin/python"), "-c", ASK, *THEIRS) or "not installed"),
        ("Fastify", f"Node.js {output('node', '--version') or 'not installed'}; {_of_npm('fastify')}"),
        ("Bun", f"{output(bun(folder_of('bun')), '--version') or 'not installed'}; {_of_npm('bun')}"),
        ("Go", _go()),
        ("Load", f"{wrk.partition(' [')[0]}; {output(str(find('pgbench')), '--version')}"),
    ]


def _durability(database: Database) -> str:
    names = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
    return ", ".join(f"{name} {database.value(f'SHOW {name}')}" for name in names)


def _of_npm(contender: str) -> str:
    packages = json.loads((CONTENDERS / contender / "package.json").read_text())["dependencies"]
    return ", ".join(f"{name} {version}" for name, version in packages.items())


def _go() -> str:
    version = output("go", "version").removeprefix("go version ")
    pgx = output("dpkg-query", "--show", "--showformat=${Version}", "golang-github-jackc-pgx-v4-dev")
    return f"{version}; pgx {pgx}" if version else "not installed"
