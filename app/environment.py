"""The variables of a process: its environment, and the file `.env` for what that leaves out."""

import io
import re
from collections.abc import Mapping
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from app.variables import ConfigurationError

# Every variable that `settings` reads.
NAMES = (
    "DATABASE_URL",
    "DATABASE_SCHEMA",
    "DATABASE_POOL_MIN",
    "DATABASE_POOL_MAX",
    "DATABASE_TIMEOUT",
    "JWT_SECRET",
    "BETTER_AUTH_SECRET",
    "JWT_ISSUERS",
    "ACCOUNTS",
    "PROVISION_USERS",
    "FRONTEND_URL",
    "HOST",
    "PORT",
    "ROOT_PATH",
    "WORKERS",
    "METRICS_PORT",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "FORWARDED_ALLOW_IPS",
    "RATE_LIMIT",
    "SIGNUP_LIMIT",
    "REQUIRE_IF_MATCH",
    "TRASH_DAYS",
    "HISTORY_VERSIONS",
    "MAX_TASKS",
    "LOG_LEVEL",
    "LOG_FORMAT",
)
SECRETS = ("JWT_SECRET", "BETTER_AUTH_SECRET")
SHORTEST = 6  # characters of a name that others may resemble: HOSTS and PORTS are words of their own


def read(path: Path) -> dict[str, str]:
    """Return the variables of a `.env` file, or none where there is no file.

    Raises ConfigurationError, which names the line, where it is not UTF-8, cannot be parsed, or sets a variable that is
    nearly one of ours.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read ({error.strerror}).") from None
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}, line {line}: this is not UTF-8. Save the file as UTF-8.") from None
    for binding in parse_stream(io.StringIO(text)):
        # What a parser gives up on may begin with the line ends before it.
        line = binding.original.line + re.split(r"\S", binding.original.string)[0].count("\n")
        _check(path, line, binding.key, is_readable=not binding.error)
    return {name: value for name, value in dotenv_values(stream=io.StringIO(text)).items() if value is not None}


def _check(path: Path, line: int, name: str | None, *, is_readable: bool) -> None:
    if not is_readable:
        raise ConfigurationError(f"{path}, line {line}: this cannot be read. Write NAME=value, and close each quote.")
    if name is not None and (meant := nearly(name)):
        raise ConfigurationError(
            f"{path}, line {line}: {name!a} is no variable of this service. Write {meant}, or set it elsewhere."
        )


def nearly(name: str) -> str | None:
    """Return which of our variables a name is a misspelling of, or None where it is ours, or somebody else's."""
    if name in NAMES:
        return None
    plain = name.upper().replace("-", "_")
    if plain in NAMES:
        return plain
    if any(plain.startswith(f"{each}_") or plain.endswith(f"_{each}") for each in NAMES):
        return None  # DATABASE_URL_2, TEST_DATABASE_URL: a name that somebody made from ours on purpose
    return next((each for each in NAMES if len(each) >= SHORTEST and _is_one_slip_away(plain, each)), None)


def _is_one_slip_away(one: str, other: str) -> bool:
    """Tell whether a character too many, too few or another, or two in the wrong order, is all the difference."""
    begins = _shared(one, other)
    one, other = one[begins:], other[begins:]
    ends = _shared(one[::-1], other[::-1])
    one, other = one[: len(one) - ends], other[: len(other) - ends]
    return max(len(one), len(other)) == 1 or (len(one) == 2 and one == other[::-1])


def _shared(one: str, other: str) -> int:
    """Return with how many characters both begin."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))
    )


def quoted_secrets(given: Mapping[str, str]) -> tuple[str, ...]:
    """Return the secrets that begin and end with a quote, which is part of them and most likely should not be."""
    return tuple(name for name in SECRETS if re.fullmatch(r"(['\"]).*\1", given.get(name, ""), re.DOTALL))
