"""The environment, read once into a frozen struct. A bad value is one line that names the variable."""

import importlib.util
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

from app import environment
from app.issuers import Issuer, issuers
from app.variables import (
    Rate,
    choice,
    each_host,
    endpoint,
    host,
    networks,
    origins,
    path_prefix,
    rate,
    refuse,
    schema,
    seconds,
    switch,
    wants_encoding,
    whole_number,
)

ROOT = Path(__file__).absolute().parent.parent
MIN_SECRET_BYTES = 32  # RFC 7518, section 3.2: a key as long as the hash's output, at least

URL_OPTIONS = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("primary", "read-write", "any"),  # libpq's others are replicas, and we write
}
RATE_LIMIT = Rate(600, 60)
SIGNUP_LIMIT = Rate(20, 3600)
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
LOG_FORMATS = ("console", "json")

# One half of a pair of keys, which signs no HS256 and which PyJWT refuses to try.
KEY_OF_A_PAIR = re.compile(r"^(ssh|ecdsa)-|----[- ]BEGIN ")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be configured. Times are in seconds; `docs/configuration.md` has the table."""

    database_url: str | None
    database_schema: str | None = None  # None: where the login looks first
    jwt_secrets: tuple[str, ...]  # all verify HS256, the first signs; none where only issuers are believed
    issuers: tuple[Issuer, ...] = ()
    accounts: bool | None = None  # None: where the table of users is ours
    provision_users: bool = True
    pool_min: int = 1
    pool_max: int = 10
    database_timeout: float = 5.0
    frontend_origins: tuple[str, ...] = ("http://localhost:3000",)
    host: str = "127.0.0.1"
    port: int = 8000
    root_path: str = ""  # below which it is seen from outside, as /todo
    workers: int = 1
    metrics_port: int | None = None
    otel_endpoint: str | None = None
    trusted_proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    rate_limit: Rate | None = RATE_LIMIT
    signup_limit: Rate | None = SIGNUP_LIMIT
    require_if_match: bool = False
    trash_days: int = 30
    history_versions: int = 1000  # of a task; 0: all of them
    max_tasks: int = 50_000  # of a user, those in the trash included; 0: any number
    log_level: str = "info"
    log_format: str = "json"
    data_dir: Path = ROOT / ".data"
    quoted_secrets: tuple[str, ...] = ()  # the variables whose secret is in quotes that are part of it

    def __repr__(self) -> str:
        """Name no value: some of them are secrets."""
        return f"<Settings of {ROOT}>"

    @property
    def secret(self) -> str:
        """What nobody outside knows: users are hashed with it in the log, and cursors are sealed with it."""
        return self.jwt_secrets[0] if self.jwt_secrets else f"{self.database_url}"


@cache
def current() -> Settings:
    """The settings of this process: the environment, and `.env` for what the environment leaves out.

    Raises ConfigurationError.
    """
    return load({**environment.read(ROOT / ".env"), **os.environ})


def load(env: Mapping[str, str], data_dir: Path = ROOT / ".data") -> Settings:
    """Return settings from variables. Makes `jwt_secret` in the data directory where one is needed and missing.

    Raises ConfigurationError for the first variable that holds what it may not.
    """
    given = {name: value.strip() for name, value in env.items() if value.strip()}
    database_url = _database_url(given)
    accounts = switch(given, "ACCOUNTS", default=True) if "ACCOUNTS" in given else None
    believed = issuers(given, "JWT_ISSUERS", ROOT)
    pool_max = whole_number(given, "DATABASE_POOL_MAX", 10, 1, 1000)
    return Settings(
        database_url=database_url,
        database_schema=schema(given, "DATABASE_SCHEMA"),
        jwt_secrets=_jwt_secrets(given, database_url, data_dir, is_needed=accounts is not False or not believed),
        issuers=believed,
        accounts=accounts,
        provision_users=switch(given, "PROVISION_USERS", default=True),
        pool_min=whole_number(given, "DATABASE_POOL_MIN", min(1, pool_max), 0, pool_max),
        pool_max=pool_max,
        database_timeout=seconds(given, "DATABASE_TIMEOUT", 5.0),
        frontend_origins=origins(given, "FRONTEND_URL", "http://localhost:3000"),
        host=host(given, "HOST", "127.0.0.1"),
        port=whole_number(given, "PORT", 8000, 1, 65535),
        root_path=path_prefix(given, "ROOT_PATH"),
        workers=whole_number(given, "WORKERS", 1, 1, 64),
        metrics_port=whole_number(given, "METRICS_PORT", 0, 1, 65535) if "METRICS_PORT" in given else None,
        otel_endpoint=_otel_endpoint(given),
        trusted_proxies=networks(given, "FORWARDED_ALLOW_IPS", "127.0.0.1,::1"),
        rate_limit=rate(given, "RATE_LIMIT", RATE_LIMIT),
        signup_limit=rate(given, "SIGNUP_LIMIT", SIGNUP_LIMIT),
        require_if_match=switch(given, "REQUIRE_IF_MATCH", default=False),
        trash_days=whole_number(given, "TRASH_DAYS", 30, 0, 36500),
        history_versions=whole_number(given, "HISTORY_VERSIONS", 1000, 0, 1_000_000),
        max_tasks=whole_number(given, "MAX_TASKS", 50_000, 0, 1_000_000),
        log_level=choice(given, "LOG_LEVEL", "info", LOG_LEVELS),
        log_format=choice(given, "LOG_FORMAT", "console" if sys.stderr.isatty() else "json", LOG_FORMATS),
        data_dir=data_dir,
        quoted_secrets=environment.quoted_secrets(given),
    )


def _database_url(given: Mapping[str, str]) -> str | None:
    url = given.get("DATABASE_URL")
    if url is None:
        return None
    if wants_encoding(url):
        held = "holding a character in its user, password or name that means something else in a URL"
        raise refuse("DATABASE_URL", held, "percent-encoded there: @ : / ? # % as %40 %3A %2F %3F %23 %25")
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        readable = parts.scheme in ("postgresql", "postgres") and _are_servers(each_host(url))
    except ValueError:
        readable, options = False, {}
    if readable and url.isprintable():
        for name, allowed in URL_OPTIONS.items():
            if options.get(name, allowed[0]) not in allowed:
                raise refuse(f"{name} in DATABASE_URL", repr(options[name]), f"one of {', '.join(allowed)}")
        return url
    # Nothing of the value is shown: it usually holds a password.
    raise refuse("DATABASE_URL", "not readable as a URL of PostgreSQL", "postgresql://user:password@host/name")


def _are_servers(urls: list[str]) -> bool:
    """Tell whether each names a port that can be, and a host, where there are several. Raises ValueError."""
    parts = [urlsplit(url) for url in urls]
    return all(each.port != 0 and (each.hostname or len(urls) == 1) for each in parts)


def _otel_endpoint(given: Mapping[str, str]) -> str | None:
    url = endpoint(given, "OTEL_EXPORTER_OTLP_ENDPOINT")
    if url is not None and importlib.util.find_spec("opentelemetry.sdk") is None:
        needed = "left out unless the packages of requirements-otel.txt are installed"
        raise refuse("OTEL_EXPORTER_OTLP_ENDPOINT", "set", needed)
    return url


def _jwt_secrets(
    given: Mapping[str, str], database_url: str | None, data_dir: Path, *, is_needed: bool
) -> tuple[str, ...]:
    """Return the secrets, newest first. Better Auth knows no list: a comma in its secret is part of it."""
    if text := given.get("JWT_SECRET"):
        return tuple(_good_enough("JWT_SECRET", each.strip()) for each in text.split(","))
    if secret := given.get("BETTER_AUTH_SECRET"):
        return (_good_enough("BETTER_AUTH_SECRET", secret),)
    if database_url is not None:
        if not is_needed:
            return ()
        raise refuse("JWT_SECRET", "not set", f"a secret of {MIN_SECRET_BYTES} bytes or more")
    path = data_dir / "jwt_secret"
    name = str(path.relative_to(data_dir.parent))
    try:
        return (_good_enough(name, _kept_secret(path)),)
    except OSError as error:
        held = f"not set, and {name} not to be had ({error.strerror})"
        raise refuse("JWT_SECRET", held, f"a secret of {MIN_SECRET_BYTES} bytes or more, then") from None


def _good_enough(name: str, secret: str) -> str:
    allowed = f"a secret of {MIN_SECRET_BYTES} bytes or more"
    try:
        size = len(secret.encode())
    except UnicodeEncodeError:
        raise refuse(name, "not UTF-8", allowed) from None
    if size < MIN_SECRET_BYTES:
        raise refuse(name, f"{size} bytes long", allowed)
    if KEY_OF_A_PAIR.search(secret):
        raise refuse(name, "a key of a key pair", allowed)
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
