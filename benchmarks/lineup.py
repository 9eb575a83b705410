"""The contenders: how each of them is started, and what it needs."""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks.toolbox import (
    ROOT,
    VENV,
    CannotInstall,
    bun,
    find,
    folder_of,
    install_fastapi,
    install_from_npm,
    install_go,
    missing,
)

UVICORN = ("--loop=uvloop", "--http=httptools", "--log-level=warning", "--no-access-log", "--no-server-header")
BARE = ("--ws=none", "--no-proxy-headers")
OURS = (sys.executable, "-m", "app", "serve")

# As `just serve` runs it. The few users of the load ask far more often than people do: their requests are counted, and
# none is refused.
AS_SERVED = {"LOG_LEVEL": "info", "RATE_LIMIT": "1000000000/minute"}
BARE_SETTINGS = {"LOG_LEVEL": "warning", "RATE_LIMIT": "0"}


class Contender(NamedTuple):
    """A service that can be started; or, without a command, the database alone."""

    name: str
    words: str
    command: tuple[str, ...] = ()
    folder: Path = ROOT
    ready: str = "/api/tasks"  # answers with 200 as soon as it serves
    needs: tuple[str, ...] = ()
    install: Callable[[], None] | None = None
    settings: Mapping[str, str] = {}  # of its environment
    takes_keys: bool = False  # a change with an Idempotency-Key is made once

    @property
    def as_served(self) -> bool:
        """Whether it writes a line of the log for each request, and counts requests for the rate limit."""
        return self.settings == AS_SERVED

    def lacks(self, *, install: bool = True) -> str:
        """Get what the contender needs. Returns why it cannot take part, or nothing."""
        if lacking := missing(*self.needs):
            return lacking
        if self.install is not None and install:
            try:
                self.install()
            except CannotInstall as error:
                return str(error)
        return "" if self.folder.exists() and (not self.command or find(self.command[0])) else "it is not installed"


def _uvicorn(python: str, module: str) -> tuple[str, ...]:
    return (python, "-m", "uvicorn", f"benchmarks.contenders.{module}:app", *UVICORN)


def _fastapi(name: str, words: str, module: str) -> Contender:
    return Contender(name, words, _uvicorn(str(VENV / "bin/python"), module), needs=("uv",), install=install_fastapi)


def _fastify(name: str, words: str, file: str) -> Contender:
    command = (find("node") or "node", file)
    install = partial(install_from_npm, "fastify")
    return Contender(name, words, command, folder_of("fastify"), needs=("node",), install=install)


def _ours(name: str, words: str, settings: Mapping[str, str], code: Path = ROOT) -> Contender:
    takes_keys = any((code / "app").rglob("*idempotency*.py"))  # not in every commit
    return Contender(name, words, OURS, code, "/health/ready", settings=settings, takes_keys=takes_keys)


def before(code: Path, contender: Contender) -> Contender:
    """Return one of our contenders as another checkout has it, with the packages of this one."""
    name = contender.name.replace("ours", "before")
    return _ours(name, f"{contender.words}, of {code.name}", contender.settings, code)


LINEUP = {
    each.name: each
    for each in (
        Contender("limit", "hand-written ASGI on uvicorn and asyncpg", (*_uvicorn(sys.executable, "limit"), *BARE)),
        _ours("ours", "this service as `just serve` runs it: with its request log and rate limit", AS_SERVED),
        _ours("ours-bare", "this service with request log and rate limit off", BARE_SETTINGS),
        _fastapi("fastapi-sqlmodel", "FastAPI and SQLModel, as their documentation teaches", "fastapi_sqlmodel"),
        _fastapi("fastapi-sqlalchemy", "FastAPI and SQLAlchemy, async, on asyncpg", "fastapi_sqlalchemy"),
        _fastify("fastify", "Fastify and node-postgres, as their documentation shows", "plain.mjs"),
        _fastify("fastify-tuned", "the same, tuned", "tuned.mjs"),
        Contender(
            "bun",
            "Elysia and Bun.sql on Bun, tuned",
            (bun(folder_of("bun")), "service.mjs"),
            folder_of("bun"),
            install=partial(install_from_npm, "bun"),
        ),
        Contender(
            "go", "net/http and pgx, tuned", (str(folder_of("go") / "service"),), folder_of("go"), install=install_go
        ),
        Contender("database", "the database alone, asked by pgbench", needs=("pgbench",)),
    )
}
