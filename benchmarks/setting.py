"""Where, when and with what it was measured: for a reader who wants to compare, or to do it again."""

import datetime
import importlib.metadata
import json
import platform
from collections.abc import Sequence

import app
from benchmarks import measure
from benchmarks.data import Database
from benchmarks.toolbox import FASTIFY, ROOT, VENV, find, output

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
        ("Fastify", _fastify()),
        ("Load", f"{wrk.partition(' [')[0]}; {output(str(find('pgbench')), '--version')}"),
    ]


def _durability(database: Database) -> str:
    names = ("fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
    return ", ".join(f"{name} {database.value(f'SHOW {name}')}" for name in names)


def _fastify() -> str:
    packages = json.loads((FASTIFY / "package.json").read_text())["dependencies"]
    named = ", ".join(f"{name} {version}" for name, version in packages.items())
    return f"Node.js {output('node', '--version') or 'not installed'}; {named}"
