"""The contenders: how each of them is started, and what it needs."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.toolbox import (
    ROOT,
    VENV,
    CannotInstall,
    fastify_folder,
    find,
    install_fastapi,
    install_fastify,
    missing,
)

UVICORN = ("--loop=uvloop", "--http=httptools", "--log-level=warning", "--no-access-log", "--no-server-header")
BARE = ("--ws=none", "--no-proxy-headers")
OURS = (sys.executable, "-m", "app", "serve")


class Contender(NamedTuple):
    """A service that can be started; or, without a command, the database alone."""

    name: str
    words: str
    command: tuple[str, ...] = ()
    folder: Path = ROOT
    ready: str = "/api/tasks"  # answers with 200 as soon as it serves
    needs: tuple[str, ...] = ()
    install: Callable[[], None] | None = None

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
    return Contender(name, words, command, fastify_folder(), needs=("node",), install=install_fastify)


def before(code: Path) -> Contender:
    """Return the service as another checkout has it, with the packages of this one."""
    return Contender("before", f"the service of {code.name}", OURS, code, "/health/ready")


LINEUP = {
    each.name: each
    for each in (
        Contender("limit", "hand-written ASGI on uvicorn and asyncpg", (*_uvicorn(sys.executable, "limit"), *BARE)),
        Contender("ours", "this service", OURS, ready="/health/ready"),
        _fastapi("fastapi-sqlmodel", "FastAPI and SQLModel, as their documentation teaches", "fastapi_sqlmodel"),
        _fastapi("fastapi-sqlalchemy", "FastAPI and SQLAlchemy, async, on asyncpg", "fastapi_sqlalchemy"),
        _fastify("fastify", "Fastify and node-postgres, as their documentation shows", "plain.mjs"),
        _fastify("fastify-tuned", "the same, tuned", "tuned.mjs"),
        Contender("database", "the database alone, asked by pgbench", needs=("pgbench",)),
    )
}
