"""The variables of a process: its environment, and the file `.env` for what that leaves out."""

import io
import re
from collections.abc import Collection
from pathlib import Path

from dotenv import dotenv_values
from dotenv.parser import parse_stream

from app.config.parsing import ConfigurationError

SHORTEST = 6  # characters of a name that others may resemble: HOSTS and PORTS are words of their own


def read(path: Path, names: Collection[str]) -> dict[str, str]:
    """Return the variables of a `.env` file, or none where there is no file. `names` are ours.

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
        # What the parser cannot read may begin with the line ends before it.
        line = binding.original.line + re.split(r"\S", binding.original.string)[0].count("\n")
        if binding.error:
            raise ConfigurationError(
                f"{path}, line {line}: this cannot be read. Write NAME=value, and close each quote."
            )
        if binding.key is not None and (meant := nearly(binding.key, names)):
            held = f"{binding.key!a} is no variable of this service"
            raise ConfigurationError(f"{path}, line {line}: {held}. Write {meant}, or set it elsewhere.")
    return {name: value for name, value in dotenv_values(stream=io.StringIO(text)).items() if value is not None}


def nearly(name: str, names: Collection[str]) -> str | None:
    """Return which of our variables a name is a misspelling of, or None where it is ours, or somebody else's."""
    if name in names:
        return None
    plain = name.upper().replace("-", "_")
    if plain in names:
        return plain
    if any(plain.startswith(f"{each}_") or plain.endswith(f"_{each}") for each in names):
        return None  # DATABASE_URL_2, TEST_DATABASE_URL: a name that somebody made from ours on purpose
    return next((each for each in names if len(each) >= SHORTEST and _is_one_slip_away(plain, each)), None)


def _is_one_slip_away(one: str, other: str) -> bool:
    """Tell whether a character too many, too few or another, or two in the wrong order, is all the difference."""
    differs = (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    place = next(differs, min(len(one), len(other)))
    one, other = one[place:], other[place:]
    is_swapped = one[:2] == other[1::-1] and one[2:] == other[2:]
    return is_swapped or one[1:] in (other, other[1:]) or one == other[1:]
