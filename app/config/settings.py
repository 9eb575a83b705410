"""The environment, read once into a frozen struct. A bad value is one line that names the variable."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from app.config import dotenv
from app.config.issuers import issuers
from app.config.jwt_secrets import jwt_secrets
from app.config.parsing import whole_number
from app.config.variables import NAMES, ROOT, SECRETS, VARIABLES, Settings

QUOTED = re.compile(r"(['\"]).*\1", re.DOTALL)


@cache
def current() -> Settings:
    """The settings of this process: the environment, and `.env` for what the environment leaves out.

    Raises ConfigurationError.
    """
    return load({**dotenv.read(ROOT / ".env", NAMES), **os.environ})


def load(env: Mapping[str, str], data_dir: Path = ROOT / ".data") -> Settings:
    """Return settings from variables. Makes `jwt_secret` in the data directory where one is needed and missing.

    Raises ConfigurationError for the first variable that holds what it may not.
    """
    given = {name: value.strip() for name, value in env.items() if value.strip()}
    found = {
        each.field: each.read(each.name, given[each.name]) for each in VARIABLES if each.read and each.name in given
    }
    if "JWT_ISSUERS" in given:
        found["issuers"] = issuers("JWT_ISSUERS", given["JWT_ISSUERS"], ROOT)
    found.setdefault("log_format", "console" if sys.stderr.isatty() else "json")
    pool_max = found.get("pool_max", 10)
    pool_min = given.get("DATABASE_POOL_MIN", f"{min(1, pool_max)}")
    url = found.setdefault("database_url", None)
    is_needed = found.get("accounts") is not False or not found.get("issuers")
    return Settings(
        **found,
        pool_min=whole_number(0, pool_max)("DATABASE_POOL_MIN", pool_min),
        jwt_secrets=jwt_secrets(given, url, data_dir, is_needed=is_needed),
        data_dir=data_dir,
        quoted_secrets=tuple(name for name in SECRETS if QUOTED.fullmatch(given.get(name, ""))),
    )


def example() -> str:
    """Return what `.env.example` holds."""
    return "\n".join(_example()) + "\n"


def _example() -> Iterator[str]:
    yield "# Everything that can be configured, with its default or a safe example. Copy this file to .env and change"
    yield "# what you need: the service reads .env by itself, and the environment wins over it. docs/configuration.md"
    yield "# says more about each."
    for variable in VARIABLES:
        if variable.about:
            yield ""
            yield from (f"# {line}" for line in variable.about.split("\n"))
        shown = f"{variable.name}={variable.default or variable.example}"
        yield shown if variable.default else f"# {shown}"
