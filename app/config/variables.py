"""Every setting, declared once: its variable, how that is read, what `.env.example` says of it, and its default.

A test holds the table of docs/configuration.md to this.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, get_args

import msgspec

from app.config import parsing
from app.config.issuers import Issuer
from app.config.parsing import Rate, Variable

ROOT = Path(__file__).absolute().parent.parent.parent


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be configured. Times are in seconds; `docs/configuration.md` has the table.

    The text behind a variable is what `.env.example` says of it; without one it stands with the variable before it.
    """

    database_url: Annotated[
        str | None,
        Variable(
            "DATABASE_URL",
            parsing.database_url,
            example="postgresql://tasks:password@localhost:5432/tasks?sslmode=prefer",
        ),
        "PostgreSQL 14 or later, Neon, or a PgBouncer in transaction mode. Unset: an embedded PostgreSQL 18 in .data/",
    ]
    database_schema: Annotated[
        str | None,
        Variable("DATABASE_SCHEMA", parsing.schema, example="tasks_api"),
        "The schema that our tables are in, beside another program's; made if it is not there. "
        "Unset: the login's first, as public",
    ] = None
    pool_min: Annotated[
        int, Variable("DATABASE_POOL_MIN", None), "Connections of each worker, at least and at most"
    ] = 1
    pool_max: Annotated[int, Variable("DATABASE_POOL_MAX", parsing.whole_number(1, 1000))] = 10
    database_timeout: Annotated[
        float,
        Variable("DATABASE_TIMEOUT", parsing.seconds),
        "Seconds to wait for a free connection, or for an answer, before a request is answered 503",
    ] = 5
    group_commit: Annotated[
        bool,
        Variable("GROUP_COMMIT", parsing.switch),
        "on: concurrent changes share a transaction and its commit. off: each is a transaction of its own",
    ] = True
    # All verify HS256, the first signs; none where only issuers are believed.
    jwt_secrets: Annotated[
        tuple[str, ...],
        Variable("JWT_SECRET", None),
        "The HS256 secret that signs your users' tokens, 32 bytes or more. Make one with: openssl rand -base64 48\n"
        "To change it, put the new one before the old one, with a comma between: both verify, the first signs.\n"
        "Unset: with the embedded PostgreSQL one is made and kept in .data/jwt_secret; with DATABASE_URL the service\n"
        "refuses to start.",
        Variable("BETTER_AUTH_SECRET", None),
        "Read where JWT_SECRET is unset, for projects that share their frontend's .env",
    ]
    issuers: Annotated[
        tuple[Issuer, ...],
        Variable(
            "JWT_ISSUERS",
            None,
            example='\'[{"issuer": "https://auth.example.com", "jwks_url": "https://auth.example.com/api/auth/jwks", '
            '"audience": "https://auth.example.com", "algorithms": ["EdDSA"]}]\'',
        ),
        "Issuers whose public keys verify tokens, as JSON or as a file that holds it",
    ] = ()
    accounts: Annotated[
        bool | None,
        Variable("ACCOUNTS", parsing.switch, example="on"),
        "on: people can sign up and log in here, under /api/auth. off: tokens come from elsewhere alone.\n"
        'Unset: on, unless another service (Better Auth, for one) made the "user" table of the database',
    ] = None
    provision_users: Annotated[
        bool,
        Variable("PROVISION_USERS", parsing.switch),
        "on: a token's user whom the database has not seen is added with the first write. off: that write is 401",
    ] = True
    frontend_origins: Annotated[
        tuple[str, ...],
        Variable("FRONTEND_URL", parsing.origins),
        "The origins whose pages may call the API, comma-separated",
    ] = ("http://localhost:3000",)
    host: Annotated[str, Variable("HOST", parsing.host), "Where to listen, and with how many processes"] = "127.0.0.1"
    port: Annotated[int, Variable("PORT", parsing.whole_number(1, 65535))] = 8000
    workers: Annotated[int, Variable("WORKERS", parsing.whole_number(1, 64))] = 1
    root_path: Annotated[
        str,
        Variable("ROOT_PATH", parsing.path_prefix, example="/todo"),
        "The path below which a proxy shows the service. Unset: none",
    ] = ""
    metrics_port: Annotated[
        int | None,
        Variable("METRICS_PORT", parsing.whole_number(1, 65535), example="9100"),
        "A port for Prometheus to read metrics from, on the same HOST. Keep it off the internet. Unset: none",
    ] = None
    otel_endpoint: Annotated[
        str | None,
        Variable("OTEL_EXPORTER_OTLP_ENDPOINT", parsing.endpoint, example="http://localhost:4318"),
        "Where to send traces: a collector that speaks OTLP over HTTP. Needs what requirements-otel.txt locks. "
        "Unset: nowhere",
    ] = None
    trusted_proxies: Annotated[
        tuple[str, ...],
        Variable("FORWARDED_ALLOW_IPS", parsing.networks),
        "The proxies whose X-Forwarded-For and X-Forwarded-Proto are believed: addresses or networks, comma-separated",
    ] = ("127.0.0.1", "::1")
    rate_limit: Annotated[
        Rate | None,
        Variable("RATE_LIMIT", parsing.rate),
        "How many requests a user, or an address without one, may send: 600/minute, 10/second, 1000/hour, or 0 for no "
        "limit",
    ] = Rate(600, 60)
    signup_limit: Annotated[
        Rate | None,
        Variable("SIGNUP_LIMIT", parsing.rate),
        "How many people may sign up from one network, likewise",
    ] = Rate(20, 3600)
    require_if_match: Annotated[
        bool,
        Variable("REQUIRE_IF_MATCH", parsing.switch),
        "on: a change of a task has to say which version it is for (If-Match), and is 428 without. off: it may",
    ] = False
    trash_days: Annotated[
        int,
        Variable("TRASH_DAYS", parsing.whole_number(0, 36500)),
        "For how many days what was deleted can be restored. 0: deleted is deleted",
    ] = 30
    history_versions: Annotated[
        int,
        Variable("HISTORY_VERSIONS", parsing.whole_number(0, 1_000_000)),
        "How many versions of a task, list or label its history keeps, beside the present one. 0: all of them",
    ] = 1000
    max_tasks: Annotated[
        int,
        Variable("MAX_TASKS", parsing.whole_number(0, 1_000_000)),
        "How many tasks a user may store, those in the trash included. 0: any number",
    ] = 50_000
    max_lists: Annotated[
        int,
        Variable("MAX_LISTS", parsing.whole_number(0, 10_000)),
        "How many lists a user may store, those in the trash included. 0: any number",
    ] = 500
    max_labels: Annotated[
        int,
        Variable("MAX_LABELS", parsing.whole_number(1, 10_000)),
        "How many labels a user may have",
    ] = 500
    log_level: Annotated[
        str,
        Variable("LOG_LEVEL", parsing.choice("debug", "info", "warning", "error", "critical")),
        "debug, info, warning, error or critical; console or json (unset: console on a terminal, else json)",
    ] = "info"
    log_format: Annotated[str, Variable("LOG_FORMAT", parsing.choice("console", "json"), example="json")] = "json"
    data_dir: Path = ROOT / ".data"
    quoted_secrets: tuple[str, ...] = ()  # the variables whose secret is in quotes that are part of it

    def __repr__(self) -> str:
        """Name no value: some of them are secrets."""
        return f"<Settings of {ROOT}>"

    @property
    def secret(self) -> str:
        """What nobody outside knows: users are hashed with it in the log, and cursors are sealed with it."""
        return self.jwt_secrets[0] if self.jwt_secrets else f"{self.database_url}"


def _variables() -> Iterator[Variable]:
    for field in msgspec.structs.fields(Settings):
        _, *metadata = get_args(field.type) or (None,)
        for variable, about in zip(metadata, [*metadata[1:], ""], strict=False):
            if isinstance(variable, Variable):
                default = "" if variable.example or field.required else _text(field.default)
                yield msgspec.structs.replace(variable, field=field.name, about=about, default=default)


def _text(value: str | float | Rate | tuple[str, ...]) -> str:
    """Return a default as it would be written into a variable."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return ",".join(value) if isinstance(value, tuple) and not isinstance(value, Rate) else f"{value}"


VARIABLES = [*_variables()]
NAMES = [variable.name for variable in VARIABLES]
SECRETS = [variable.name for variable in VARIABLES if variable.field == "jwt_secrets"]
