"""The environment, read once into a frozen struct. A bad value is one line that names the variable."""

import os
import re
import secrets
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import msgspec
from dotenv import dotenv_values

ROOT = Path(__file__).absolute().parent.parent
MIN_SECRET_BYTES = 32  # RFC 7518, section 3.2: a key as long as the hash's output, at least

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
LOG_FORMATS = ("console", "json")

# What can be listened on: a name, an IPv4 or an IPv6 address.
HOST = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(%\w+)?", re.ASCII)
# RFC 6454, section 6.2, as browsers send it: other letters are in Punycode.
ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
# One half of a pair of keys, which signs no HS256 and which PyJWT refuses to try.
KEY_OF_A_PAIR = re.compile(r"^(ssh|ecdsa)-|----[- ]BEGIN ")


class ConfigurationError(Exception):
    """A variable holds what it may not. The message is one line, fit for a terminal, without secrets."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be configured. Times are in seconds; `docs/configuration.md` has the table."""

    database_url: str | None
    jwt_secret: str
    pool_min: int = 1
    pool_max: int = 10
    database_timeout: float = 5.0
    frontend_origins: tuple[str, ...] = ("http://localhost:3000",)
    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    log_level: str = "info"
    log_format: str = "json"
    data_dir: Path = ROOT / ".data"

    def __repr__(self) -> str:
        """Name no value: two of them are secrets."""
        return f"<Settings of {ROOT}>"


@cache
def current() -> Settings:
    """The settings of this process: the environment, and `.env` for what the environment leaves out.

    Raises ConfigurationError.
    """
    dotenv = {name: value for name, value in dotenv_values(ROOT / ".env").items() if value is not None}
    return load({**dotenv, **os.environ})


def load(env: Mapping[str, str], data_dir: Path = ROOT / ".data") -> Settings:
    """Settings from variables. Makes `jwt_secret` in the data directory where one is needed and missing.

    Raises ConfigurationError for the first variable that holds what it may not.
    """
    given = {name: value.strip() for name, value in env.items() if value.strip()}
    database_url = _database_url(given)
    pool_max = _whole_number(given, "DATABASE_POOL_MAX", 10, 1, 1000)
    return Settings(
        database_url=database_url,
        jwt_secret=_jwt_secret(given, database_url, data_dir),
        pool_min=_whole_number(given, "DATABASE_POOL_MIN", min(1, pool_max), 0, pool_max),
        pool_max=pool_max,
        database_timeout=_seconds(given, "DATABASE_TIMEOUT", 5.0),
        frontend_origins=_origins(given, "FRONTEND_URL", "http://localhost:3000"),
        host=_host(given, "HOST", "127.0.0.1"),
        port=_whole_number(given, "PORT", 8000, 1, 65535),
        workers=_whole_number(given, "WORKERS", 1, 1, 64),
        log_level=_choice(given, "LOG_LEVEL", "info", LOG_LEVELS),
        log_format=_choice(given, "LOG_FORMAT", "console" if sys.stderr.isatty() else "json", LOG_FORMATS),
        data_dir=data_dir,
    )


def _refuse(name: str, held: str, allowed: str) -> ConfigurationError:
    return ConfigurationError(f"{name} is {held}, but must be {allowed}.")


def _whole_number(given: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    text = given.get(name, str(default))
    if re.fullmatch(r"[0-9]{1,9}", text) and low <= int(text) <= high:
        return int(text)
    raise _refuse(name, repr(text), f"a whole number from {low} to {high}")


def _seconds(given: Mapping[str, str], name: str, default: float) -> float:
    text = given.get(name, str(default))
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) and 0.01 <= float(text) <= 3600:
        return float(text)
    raise _refuse(name, repr(text), "a number of seconds from 0.01 to 3600")


def _choice(given: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    text = given.get(name, default).lower()
    if text in allowed:
        return text
    raise _refuse(name, repr(text), f"one of {', '.join(allowed)}")


def _host(given: Mapping[str, str], name: str, default: str) -> str:
    text = given.get(name, default)
    if HOST.fullmatch(text):
        return text
    raise _refuse(name, repr(text), "a host name or an IP address")


def _database_url(given: Mapping[str, str]) -> str | None:
    url = given.get("DATABASE_URL")
    if url is None:
        return None
    try:
        parts = urlsplit(url)
        readable = parts.scheme in ("postgresql", "postgres") and (parts.port is None or parts.port > 0)
        sslmode = dict(parse_qsl(parts.query)).get("sslmode", "prefer")
    except ValueError:
        readable, sslmode = False, ""
    if readable and url.isprintable():
        if sslmode in SSL_MODES:
            return url
        raise _refuse("sslmode in DATABASE_URL", repr(sslmode), f"one of {', '.join(SSL_MODES)}")
    # Nothing of the value is shown: it usually holds a password.
    raise _refuse("DATABASE_URL", "not readable as a URL of PostgreSQL", "postgresql://user:password@host/name")


def _origins(given: Mapping[str, str], name: str, default: str) -> tuple[str, ...]:
    texts = [text.strip().lower().removesuffix("/") for text in given.get(name, default).split(",")]
    for text in texts:
        if not ORIGIN.fullmatch(text):
            held = repr(re.sub(r"(?<=//).*@", "***@", text))
            raise _refuse(name, held, "origins like https://app.example.com, comma-separated, never *")
    return tuple(texts)


def _jwt_secret(given: Mapping[str, str], database_url: str | None, data_dir: Path) -> str:
    for name in ("JWT_SECRET", "BETTER_AUTH_SECRET"):
        if secret := given.get(name):
            return _good_enough(name, secret)
    if database_url is not None:
        raise _refuse("JWT_SECRET", "not set", f"a secret of {MIN_SECRET_BYTES} bytes or more")
    path = data_dir / "jwt_secret"
    name = str(path.relative_to(data_dir.parent))
    try:
        return _good_enough(name, _kept_secret(path))
    except OSError as error:
        held = f"not set, and {name} not to be had ({error.strerror})"
        raise _refuse("JWT_SECRET", held, f"a secret of {MIN_SECRET_BYTES} bytes or more, then") from None


def _good_enough(name: str, secret: str) -> str:
    allowed = f"a secret of {MIN_SECRET_BYTES} bytes or more"
    try:
        size = len(secret.encode())
    except UnicodeEncodeError:
        raise _refuse(name, "not UTF-8", allowed) from None
    if size < MIN_SECRET_BYTES:
        raise _refuse(name, f"{size} bytes long", allowed)
    if KEY_OF_A_PAIR.search(secret):
        raise _refuse(name, "a key of a key pair", allowed)
    return secret


def _kept_secret(path: Path) -> str:
    """The secret in the file, made first where there is none; one alone wins if several start at once."""
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(48))
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()
