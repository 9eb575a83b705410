"""Every row of docs/configuration.md: what a variable may hold, and the line that refuses the rest."""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from app.config import settings
from app.config.parsing import ConfigurationError, Rate
from app.config.settings import Settings, load
from app.config.variables import NAMES, VARIABLES

SECRET = "0123456789abcdef0123456789abcdef"
URL = "postgresql://ada:pa55word@db.example.com:5432/tasks?sslmode=require"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    return tmp_path / ".data"


@pytest.fixture
def refusal(data_dir: Path) -> Callable[..., str]:
    """The line that refuses these variables."""

    def line(**env: str) -> str:
        with pytest.raises(ConfigurationError) as refused:
            load({"JWT_SECRET": SECRET, **env}, data_dir)
        return str(refused.value)

    return line


def chosen(**env: str) -> Settings:
    return load({"JWT_SECRET": SECRET, **env})


class TestDeclared:
    def test_env_example_is_what_the_variables_say(self) -> None:
        """CONTRIBUTING.md says how to make it anew."""
        assert (settings.ROOT / ".env.example").read_text() == settings.example()

    def test_each_default_reads_as_the_default(self, data_dir: Path) -> None:
        shown = {variable.name: variable.default for variable in VARIABLES if variable.default}
        assert load(shown, data_dir) == load({}, data_dir)

    def test_each_example_can_be_read(self, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda _: True)
        for variable in VARIABLES:
            example = variable.example.strip("'")
            assert load({"JWT_SECRET": SECRET, variable.name: example}, data_dir)

    def test_the_table_shows_each_once_with_its_default(self) -> None:
        table = (settings.ROOT / "docs/configuration.md").read_text()
        rows = re.findall(r"^\| (`[A-Z].*?) \| (.*?) \|", table, re.MULTILINE)
        shown: dict[str, str] = {}
        for names, defaults in rows:
            each = names.replace("`", "").split(", ")
            shown |= zip(each, defaults.replace("`", "").split(", ", len(each) - 1), strict=True)
        assert len(shown) == len(NAMES)
        assert shown == {variable.name: variable.default or "unset" for variable in VARIABLES} | {
            "LOG_FORMAT": "console on a terminal, else json"
        }


DEFAULTS: dict[str, Any] = {
    "database_url": None,
    "database_schema": None,
    "issuers": (),
    "accounts": None,
    "provision_users": True,
    "pool_min": 1,
    "pool_max": 10,
    "database_timeout": 5.0,
    "group_commit": True,
    "frontend_origins": ("http://localhost:3000",),
    "host": "127.0.0.1",
    "port": 8000,
    "root_path": "",
    "workers": 1,
    "metrics_port": None,
    "otel_endpoint": None,
    "trusted_proxies": ("127.0.0.1", "::1"),
    "rate_limit": Rate(600, 60),
    "signup_limit": Rate(20, 3600),
    "require_if_match": False,
    "log_level": "info",
    "quoted_secrets": (),
    "trash_days": 30,
    "history_versions": 1000,
    "max_tasks": 50_000,
    "max_lists": 500,
    "max_labels": 500,
}


class TestDefaults:
    def test_nothing_has_to_be_set(self, data_dir: Path) -> None:
        found = load({}, data_dir)

        assert {name: getattr(found, name) for name in found.__struct_fields__} == DEFAULTS | {
            "jwt_secrets": ((data_dir / "jwt_secret").read_text(),),
            "log_format": "console" if sys.stderr.isatty() else "json",
            "data_dir": data_dir,
        }

    def test_what_is_empty_or_blank_is_not_set(self) -> None:
        names = [
            "DATABASE_URL",
            "DATABASE_POOL_MIN",
            "DATABASE_POOL_MAX",
            "DATABASE_TIMEOUT",
            "BETTER_AUTH_SECRET",
            "FRONTEND_URL",
            "HOST",
            "PORT",
            "WORKERS",
            "RATE_LIMIT",
            "LOG_LEVEL",
            "LOG_FORMAT",
        ]
        assert chosen(**dict.fromkeys(names, "")) == chosen(**dict.fromkeys(names, "  ")) == chosen()

    def test_white_space_around_a_value_is_not_part_of_it(self) -> None:
        assert chosen(PORT=" 9000\n", HOST="\t::1 ", LOG_LEVEL=" debug ") == chosen(
            PORT="9000", HOST="::1", LOG_LEVEL="debug"
        )

    def test_variables_of_others_are_none_of_our_business(self) -> None:
        assert chosen(PATH="/bin", port="1", DATABASE="x", PORTS="y") == chosen()

    def test_the_data_lies_beside_the_code(self) -> None:
        assert chosen().data_dir == settings.ROOT / ".data"
        assert (settings.ROOT / "app" / "config" / "settings.py").samefile(settings.__file__)

    def test_what_was_read_cannot_be_changed(self) -> None:
        with pytest.raises(AttributeError):
            chosen().port = 1  # type: ignore[misc]


class TestRootPath:
    @pytest.mark.parametrize(
        ("text", "path"), [("/todo", "/todo"), ("/todo/", "/todo"), ("/", ""), ("/a/b-c.d_e~f", "/a/b-c.d_e~f")]
    )
    def test_a_path_is_taken_without_its_last_slash(self, text: str, path: str) -> None:
        assert chosen(ROOT_PATH=text).root_path == path

    @pytest.mark.parametrize(
        "text",
        [
            *("todo", "/to do", "/t?x", "/t#x", "//todo", "/a//b", "/..", "/a/../b", "/ü", "http://x/todo", "/a\r\nb"),
            *("/api", "/api/todo", "/admin", "/docs/", "/health", "/openapi.json"),
        ],
    )
    def test_what_is_none_or_one_of_ours_is_refused(self, refusal: Callable[..., str], text: str) -> None:
        assert refusal(ROOT_PATH=text).startswith("ROOT_PATH is ")


class TestSchema:
    @pytest.mark.parametrize(
        "name", ["tasks_api", "Tasks", "to-do", "_x", "möbel", "x" * 63, "ö" * 31, "PG_x", "pgx", "user"]
    )
    def test_a_name_is_taken_as_it_is_written(self, name: str) -> None:
        assert chosen(DATABASE_SCHEMA=f" {name} ").database_schema == name
        assert chosen(DATABASE_SCHEMA="").database_schema is None

    @pytest.mark.parametrize(
        "name",
        [
            *(
                "pg_tasks",
                "pg_",
                "information_schema",
                "x" * 64,
                "ö" * 32,
                "1st",
                "-x",
                "$user",
                "a b",
                "a.b",
                "a,public",
            ),
            *('"tasks"', 'a"b', "a'b", "a\\b", "a;b", "a\nb", "a\x00b", "a\udcff", "a$b"),
        ],
    )
    def test_what_is_none_is_refused_and_told_what_is_allowed(self, refusal: Callable[..., str], name: str) -> None:
        assert refusal(DATABASE_SCHEMA=name) == (
            f"DATABASE_SCHEMA is {name!r}, but must be the name of one schema: 1 to 63 bytes of letters, digits, _ and"
            " -, not beginning with a digit, - or pg_, and not information_schema."
        )


class TestNumbers:
    @pytest.mark.parametrize(
        ("name", "field", "texts"),
        [
            ("DATABASE_POOL_MIN", "pool_min", {"0": 0, "1": 1, "10": 10}),
            ("DATABASE_POOL_MAX", "pool_max", {"1": 1, "10": 10, "1000": 1000}),
            (
                "DATABASE_TIMEOUT",
                "database_timeout",
                {"0.01": 0.01, "5": 5.0, "2.5": 2.5, "3600": 3600.0, "05": 5.0},
            ),
            ("PORT", "port", {"1": 1, "8080": 8080, "65535": 65535, "080": 80}),
            ("WORKERS", "workers", {"1": 1, "64": 64}),
            ("TRASH_DAYS", "trash_days", {"0": 0, "1": 1, "36500": 36500}),
            ("HISTORY_VERSIONS", "history_versions", {"0": 0, "1": 1, "1000000": 1_000_000}),
            ("MAX_TASKS", "max_tasks", {"0": 0, "1": 1, "1000000": 1_000_000}),
            ("MAX_LISTS", "max_lists", {"0": 0, "1": 1, "10000": 10_000}),
            ("MAX_LABELS", "max_labels", {"1": 1, "10000": 10_000}),
        ],
    )
    def test_a_number_is_taken(self, name: str, field: str, texts: dict[str, float]) -> None:
        for text, value in texts.items():
            assert getattr(chosen(**{name: text}), field) == value

    @pytest.mark.parametrize(
        ("name", "allowed", "outside"),
        [
            ("DATABASE_POOL_MIN", "a whole number from 0 to 10", ["-1", "11", "1.0"]),
            ("DATABASE_POOL_MAX", "a whole number from 1 to 1000", ["0", "1001", "1e2"]),
            ("PORT", "a whole number from 1 to 65535", ["0", "65536", "99999999999999999999", "9" * 5000]),
            ("WORKERS", "a whole number from 1 to 64", ["0", "65", "auto"]),
            ("TRASH_DAYS", "a whole number from 0 to 36500", ["-1", "36501", "never", "0.5"]),
            (
                "DATABASE_TIMEOUT",
                "a number of seconds from 0.01 to 3600",
                ["0", "0.001", "3600.1", "5s", "1e1", "nan", "inf", ".5", "5.", "9" * 400],
            ),
        ],
    )
    def test_what_is_no_such_number_is_refused_by_name(
        self, refusal: Callable[..., str], name: str, allowed: str, outside: list[str]
    ) -> None:
        for text in (*outside, "five", "-5", "+5", "5 5", "1_0", "\u0665", "5\n6", "0x5", "'5'"):
            assert refusal(**{name: text}) == f"{name} is {text!r}, but must be {allowed}."

    @pytest.mark.parametrize(
        ("text", "rate"),
        [
            ("600/minute", Rate(600, 60)),
            ("10/second", Rate(10, 1)),
            ("1000/hour", Rate(1000, 3600)),
            ("600", Rate(600, 60)),
            ("1000000000", Rate(1_000_000_000, 60)),
            ("0", None),
            ("0/second", None),
        ],
    )
    def test_a_rate_is_taken(self, text: str, rate: Rate | None) -> None:
        assert chosen(RATE_LIMIT=text).rate_limit == rate

    @pytest.mark.parametrize(
        "text", ["-1", "1000000001", "9" * 5000, "10/day", "10 / minute", "10/", "/minute", "1.5/second", "ten", "off"]
    )
    def test_what_is_no_rate_is_refused(self, refusal: Callable[..., str], text: str) -> None:
        allowed = "a number of requests per second, minute or hour, like 600/minute, or 0 for no limit"
        assert refusal(RATE_LIMIT=text) == f"RATE_LIMIT is {text!r}, but must be {allowed}."

    def test_a_pool_of_fewer_than_the_default_minimum_needs_no_minimum_said(self) -> None:
        assert (chosen(DATABASE_POOL_MAX="1").pool_min, chosen(DATABASE_POOL_MAX="1").pool_max) == (1, 1)

    def test_the_minimum_is_not_above_the_maximum(self, refusal: Callable[..., str]) -> None:
        assert refusal(DATABASE_POOL_MAX="3", DATABASE_POOL_MIN="4") == (
            "DATABASE_POOL_MIN is '4', but must be a whole number from 0 to 3."
        )


class TestDatabaseURL:
    @pytest.mark.parametrize(
        "url",
        [
            URL,
            "postgres://ada@db.example.com/tasks",
            "postgresql://localhost",
            "postgresql:///tasks?host=/run/postgresql",
            "postgresql://ada:pa55word@[::1]:5432/tasks",
            "postgresql://ada:p%40ss@ep-cool-1234.neon.tech/tasks?sslmode=require&channel_binding=require",
            "postgresql://ada:pa55word@one:5432,two/tasks?target_session_attrs=read-write",
            "postgresql://ada@[::1]:5432,[::2]:6432/tasks",
        ],
    )
    def test_a_url_of_postgresql_is_taken_as_it_is(self, url: str) -> None:
        assert chosen(DATABASE_URL=url).database_url == url

    @pytest.mark.parametrize(
        "url",
        [
            "mysql://ada:pa55word@localhost/tasks",
            "postgresql+asyncpg://ada:pa55word@localhost/tasks",
            "sqlite:///pa55word.db",
            "ada:pa55word@localhost/tasks",
            "//ada:pa55word@localhost",
            "postgresql://ada:pa55word@localhost:port/tasks",
            "postgresql://ada:pa55word@localhost:65536/tasks",
            "postgresql://ada:pa55word@localhost:0/tasks",
            "postgresql://ada:pa55word@one:5432,two:port/tasks",
            "postgresql://ada:pa55word@one:5432,two:0/tasks",
            "postgresql://ada:pa55word@one,/tasks",
            "postgresql://ada:pa55word@:5432,two/tasks",
            "postgresql://ada:pa55word@[::1/tasks",
            "psql 'postgresql://ada:pa55word@localhost/tasks'",
            "pa55word",
            "postgresql://ada:pa55\nword@localhost/tasks",
            "postgresql://ada:pa55word\udcff@localhost/tasks",
        ],
    )
    def test_any_other_is_refused_and_not_shown(self, refusal: Callable[..., str], url: str) -> None:
        assert refusal(DATABASE_URL=url) == (
            "DATABASE_URL is not readable as a URL of PostgreSQL, but must be postgresql://user:password@host/name."
        )

    @pytest.mark.parametrize(
        "password", ["p@ss", "p/ss", "p?ss", "p#ss", "p%ss", "100%", "p[ss", "p]ss", "@", "12#4", "12/4", "12?4", "p%4"]
    )
    def test_a_password_that_wants_percent_encoding_is_told_so_and_not_shown(
        self, refusal: Callable[..., str], password: str
    ) -> None:
        for end in ("localhost/tasks", "localhost:5432/tasks?sslmode=require", "one:1,two:2/tasks"):
            assert refusal(DATABASE_URL=f"postgresql://ada:{password}@{end}") == (
                "DATABASE_URL is holding a character in its user, password or name that means something else in a URL, "
                "but must be percent-encoded there: @ : / ? # % as %40 %3A %2F %3F %23 %25."
            )
            assert chosen(DATABASE_URL=f"postgresql://ada:{quote(password, safe='')}@{end}").database_url

    @pytest.mark.parametrize(
        "url",
        [
            "postgresql:///tasks?host=/run&user=ada@azure",
            "postgresql://localhost?user=ada@azure",
            "postgresql://ada:pa:ss,w;o&r=d!$*'()~@localhost/tasks",
        ],
    )
    def test_characters_that_mean_nothing_there_need_none(self, url: str) -> None:
        assert chosen(DATABASE_URL=url).database_url == url


class TestSecret:
    def test_it_has_32_bytes_or_more(self) -> None:
        for secret in (SECRET, "é" * 16, "x" * 5000, "with spaces and $ymbols; # and = too"):
            assert chosen(JWT_SECRET=secret).jwt_secrets == (secret,)

    @pytest.mark.parametrize("name", ["JWT_SECRET", "BETTER_AUTH_SECRET"])
    @pytest.mark.parametrize(("secret", "size"), [("x", 1), ("s" * 31, 31), ("é" * 15, 30)])
    def test_a_shorter_one_is_refused_and_not_shown(self, data_dir: Path, name: str, secret: str, size: int) -> None:
        with pytest.raises(ConfigurationError) as refused:
            load({name: secret}, data_dir)
        assert str(refused.value) == f"{name} is {size} bytes long, but must be a secret of 32 bytes or more."

    def test_better_auth_secret_is_read_where_jwt_secret_is_not_set(self, data_dir: Path) -> None:
        other = "the secret of Better Auth, which is long enough"

        assert load({"BETTER_AUTH_SECRET": other, "DATABASE_URL": URL}, data_dir).jwt_secrets == (other,)
        assert load({"BETTER_AUTH_SECRET": other, "JWT_SECRET": " "}, data_dir).jwt_secrets == (other,)
        assert load({"BETTER_AUTH_SECRET": other, "JWT_SECRET": SECRET}, data_dir).jwt_secrets == (SECRET,)

    def test_a_short_jwt_secret_is_not_replaced_by_a_good_better_auth_secret(self, refusal: Callable[..., str]) -> None:
        assert refusal(JWT_SECRET="short", BETTER_AUTH_SECRET=SECRET).startswith("JWT_SECRET is 5 bytes long")

    def test_with_a_database_of_ones_own_the_start_is_refused_without_one(self, data_dir: Path) -> None:
        with pytest.raises(ConfigurationError) as refused:
            load({"DATABASE_URL": URL}, data_dir)

        assert str(refused.value) == "JWT_SECRET is not set, but must be a secret of 32 bytes or more."
        assert not data_dir.exists()

    def test_given_secrets_are_kept_nowhere(self, data_dir: Path) -> None:
        load({"JWT_SECRET": SECRET}, data_dir)
        assert not data_dir.exists()

    @pytest.mark.parametrize(
        ("secret", "held"),
        [
            (f"-----BEGIN PUBLIC KEY-----\n{SECRET}\n-----END PUBLIC KEY-----", "a key of a key pair"),
            (f"comment\n-----BEGIN RSA PRIVATE KEY-----\n{SECRET}", "a key of a key pair"),
            (f"ssh-ed25519 {SECRET} ada@example.com", "a key of a key pair"),
            ("\udcff" * 40, "not UTF-8"),
        ],
        ids=["a public key", "a private key", "an ssh key", "no text"],
    )
    def test_what_can_sign_nothing_is_refused_and_not_shown(
        self, refusal: Callable[..., str], secret: str, held: str
    ) -> None:
        assert refusal(JWT_SECRET=secret) == (f"JWT_SECRET is {held}, but must be a secret of 32 bytes or more.")


class TestKeptSecret:
    def test_it_is_made_once_and_only_its_owner_reads_it(self, data_dir: Path) -> None:
        before = os.umask(0)
        try:
            first = load({}, data_dir)
        finally:
            os.umask(before)

        kept = data_dir / "jwt_secret"
        assert load({}, data_dir) == first
        assert (kept.read_text(), len(first.jwt_secrets[0])) == (first.jwt_secrets[0], 64)
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert list(data_dir.iterdir()) == [kept]

    def test_no_two_places_have_the_same_one(self, tmp_path: Path) -> None:
        assert load({}, tmp_path / "one").jwt_secrets != load({}, tmp_path / "two").jwt_secrets

    def test_one_that_is_there_is_taken(self, data_dir: Path) -> None:
        data_dir.mkdir()
        (data_dir / "jwt_secret").write_text(f"{SECRET}\n")
        assert load({}, data_dir).jwt_secrets == (SECRET,)

    @pytest.mark.parametrize("content", ["", "\n", "short"])
    def test_one_that_is_too_short_is_refused_by_its_file_and_left_alone(self, data_dir: Path, content: str) -> None:
        data_dir.mkdir()
        (data_dir / "jwt_secret").write_text(content)

        with pytest.raises(ConfigurationError) as refused:
            load({}, data_dir)

        assert str(refused.value) == (
            f".data/jwt_secret is {len(content.strip())} bytes long, but must be a secret of 32 bytes or more."
        )
        assert (data_dir / "jwt_secret").read_text() == content

    @pytest.mark.slow
    def test_processes_that_start_concurrently_agree(self, tmp_path: Path) -> None:
        places = 100
        program = (
            "import sys; from pathlib import Path; from app.config.settings import load\n"
            "print('ready', flush=True); sys.stdin.readline()\n"
            f"for n in range({places}): print(load({{}}, Path(sys.argv[1]) / str(n)).jwt_secrets[0])\n"
        )
        command = [sys.executable, "-c", program, str(tmp_path)]
        racers = [
            subprocess.Popen(command, cwd=settings.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for _ in range(3)
        ]
        for each in racers:
            assert each.stdout
            assert each.stdout.readline() == "ready\n"
        for each in racers:
            assert each.stdin
            each.stdin.write("go\n")
            each.stdin.flush()
        secrets = [each.communicate(timeout=20)[0].split() for each in racers]

        assert secrets[0] == secrets[1] == secrets[2]
        assert len(set(secrets[0])) == places
        assert {path.name for path in tmp_path.glob("*/*")} == {"jwt_secret"}


class TestOrigins:
    @pytest.mark.parametrize(
        ("text", "origins"),
        [
            ("https://app.example.com", ("https://app.example.com",)),
            ("https://app.example.com/", ("https://app.example.com",)),
            ("HTTPS://App.Example.COM", ("https://app.example.com",)),
            ("http://localhost:3000,https://a.example", ("http://localhost:3000", "https://a.example")),
            (" http://a.example , http://b.example/ ", ("http://a.example", "http://b.example")),
            ("http://127.0.0.1:5173", ("http://127.0.0.1:5173",)),
            ("http://[::1]:3000", ("http://[::1]:3000",)),
            ("http://[0:0::1]", ("http://[::1]",)),
            ("https://app.example.com:443", ("https://app.example.com",)),
            ("http://x:80/", ("http://x",)),
            ("http://x:443,https://x:80", ("http://x:443", "https://x:80")),
            ("http://x:08080", ("http://x:8080",)),
            ("https://m\u00fcnchen.example", ("https://xn--mnchen-3ya.example",)),
            (
                "https://STRASSE.example,https://stra\u00dfe.example:8443",
                ("https://strasse.example", "https://xn--strae-oqa.example:8443"),
            ),
            ("capacitor://localhost", ("capacitor://localhost",)),
            ("tauri://localhost,ionic://localhost", ("tauri://localhost", "ionic://localhost")),
            (
                "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
                ("chrome-extension://abcdefghijklmnopabcdefghijklmnop",),
            ),
            ("app://obsidian.md,app://-", ("app://obsidian.md", "app://-")),
            ("app://x:443", ("app://x:443",)),
        ],
    )
    def test_origins_are_a_list_with_commas(self, text: str, origins: tuple[str, ...]) -> None:
        assert chosen(FRONTEND_URL=text).frontend_origins == origins

    @pytest.mark.parametrize(
        ("text", "wrong"),
        [
            ("*", "*"),
            ("https://*.example.com", "https://*.example.com"),
            ("http://localhost:3000,*", "*"),
            ("null", "null"),
            ("app.example.com", "app.example.com"),
            ("ftp://app.example.com", "ftp://app.example.com"),
            ("https://app.example.com/app", "https://app.example.com/app"),
            ("https://app.example.com//", "https://app.example.com/"),
            ("https://app.example.com?x", "https://app.example.com?x"),
            ("https://app.example.com#x", "https://app.example.com#x"),
            ("http://a.example,,http://b.example", ""),
            ("http://a.example,", ""),
            ("http://a.example http://b.example", "http://a.example http://b.example"),
            ("https://", "https:/"),
            ("https://app.example.com:", "https://app.example.com:"),
            ("https://app.example.com:http", "https://app.example.com:http"),
            ("https://app.example.com:65536", "https://app.example.com:65536"),
            ("http://[1::2::3]", "http://[1::2::3]"),
            ("https://-\u00fc.example", "https://-\u00fc.example"),
            ("capacitor://b\u00fccher", "capacitor://b\u00fccher"),
            ("capacitor:", "capacitor:"),
            ("app://*", "app://*"),
            ("file://localhost", "file://localhost"),
            ("javascript:alert(1)", "javascript:alert(1)"),
            ("https://app.example.com\udcff", "https://app.example.com\udcff"),
        ],
    )
    def test_what_is_no_origin_is_refused_by_name(self, refusal: Callable[..., str], text: str, wrong: str) -> None:
        assert refusal(FRONTEND_URL=text) == (
            f"FRONTEND_URL is {wrong!r}, but must be origins like https://app.example.com, comma-separated, never *."
        )

    def test_a_password_in_it_is_refused_and_not_shown(self, refusal: Callable[..., str]) -> None:
        assert refusal(FRONTEND_URL="https://ada:pa55@word@app.example.com") == (
            "FRONTEND_URL is 'https://***@app.example.com', "
            "but must be origins like https://app.example.com, comma-separated, never *."
        )


class TestObservers:
    @pytest.mark.parametrize("text", ["0", "65536", "on", "-1", "9100/metrics"])
    def test_metrics_have_a_port_or_are_off(self, refusal: Callable[..., str], text: str) -> None:
        assert chosen(METRICS_PORT="9100").metrics_port == 9100
        assert refusal(METRICS_PORT=text) == f"METRICS_PORT is {text!r}, but must be a whole number from 1 to 65535."

    @pytest.mark.parametrize(
        "url", ["http://localhost:4318", "https://otel.example.com", "http://[::1]:4318", "http://10.0.0.1/a/b"]
    )
    def test_traces_go_to_a_url_whose_last_slash_means_nothing(self, url: str) -> None:
        assert chosen(OTEL_EXPORTER_OTLP_ENDPOINT=url).otel_endpoint == url
        assert chosen(OTEL_EXPORTER_OTLP_ENDPOINT=f"{url}/").otel_endpoint == url

    @pytest.mark.parametrize(
        "url",
        [
            "localhost:4318", "grpc://localhost:4317", "http://", "http://x y/", "http://me:pa55word@otel.example.com",
            "http://x/?key=pa55word", "http://x/#pa55word", "http://x:port",
        ],
    )  # fmt: skip
    def test_no_other_url_takes_them_and_none_is_shown(self, refusal: Callable[..., str], url: str) -> None:
        assert refusal(OTEL_EXPORTER_OTLP_ENDPOINT=url) == (
            "OTEL_EXPORTER_OTLP_ENDPOINT is not readable as a URL, "
            "but must be like http://localhost:4318, without login, query and fragment."
        )

    def test_traces_need_the_packages_that_do_not_come_by_default(
        self, refusal: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
        assert refusal(OTEL_EXPORTER_OTLP_ENDPOINT="http://localhost:4318") == (
            "OTEL_EXPORTER_OTLP_ENDPOINT is set, "
            "but must be left out unless the packages of requirements-otel.txt are installed."
        )


class TestWords:
    @pytest.mark.parametrize(
        "host",
        [
            "0.0.0.0",
            "127.0.0.1",
            "::",
            "::1",
            "fe80::1%eth0",
            "::ffff:10.0.0.1",
            "localhost",
            "API.example.com",
        ],
    )
    def test_a_host_is_taken_as_it_is(self, host: str) -> None:
        assert chosen(HOST=host).host == host

    @pytest.mark.parametrize(
        "text",
        [
            "http://localhost",
            "localhost:8000",
            "0.0.0.0:8000",
            "[::1]",
            "local host",
            "a..example",
            "x" * 64,
            "*",
            "0.0.0.0,::",
            "b\u00fccher.example",
            "\udcff",
        ],
        ids=ascii,
    )
    def test_what_is_no_host_is_refused_by_name(self, refusal: Callable[..., str], text: str) -> None:
        assert refusal(HOST=text) == f"HOST is {text!r}, but must be a host name or an IP address."

    @pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
    def test_a_level_is_taken_in_any_case(self, level: str) -> None:
        assert chosen(LOG_LEVEL=level).log_level == chosen(LOG_LEVEL=level.upper()).log_level == level

    @pytest.mark.parametrize("form", ["console", "json"])
    def test_a_format_is_taken_in_any_case(self, form: str) -> None:
        assert chosen(LOG_FORMAT=form).log_format == chosen(LOG_FORMAT=form.upper()).log_format == form

    def test_a_format_is_found_by_looking_for_a_terminal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        terminal, ours = os.openpty()
        with os.fdopen(terminal, "rb"), os.fdopen(ours, "w") as stderr:
            monkeypatch.setattr(sys, "stderr", stderr)
            assert chosen().log_format == "console"
            assert chosen(LOG_FORMAT="json").log_format == "json"
        with Path(os.devnull).open("w") as stderr:
            monkeypatch.setattr(sys, "stderr", stderr)
            assert chosen().log_format == "json"

    @pytest.mark.parametrize("text", ["verbose", "infos", "10", "warn"])
    def test_another_level_is_refused_by_name(self, refusal: Callable[..., str], text: str) -> None:
        assert refusal(LOG_LEVEL=text) == (
            f"LOG_LEVEL is {text!r}, but must be one of debug, info, warning, error, critical."
        )

    @pytest.mark.parametrize("text", ["xml", "text", "true"])
    def test_another_format_is_refused_by_name(self, refusal: Callable[..., str], text: str) -> None:
        assert refusal(LOG_FORMAT=text) == f"LOG_FORMAT is {text!r}, but must be one of console, json."


def test_a_refusal_is_always_one_line(refusal: Callable[..., str]) -> None:
    for name in ("PORT", "HOST", "LOG_LEVEL", "FRONTEND_URL", "DATABASE_URL", "DATABASE_TIMEOUT"):
        assert refusal(**{name: "a\nb\r\u2028c\x1b[31m"}).isprintable()


def test_nothing_that_shows_settings_shows_a_secret() -> None:
    found = chosen(DATABASE_URL=URL)
    for shown in (repr(found), str(found), f"{found}", f"{found!r}", f"{[found]}"):
        assert SECRET not in shown
        assert "pa55word" not in shown


class Copy:
    """A checkout of the service's own, with an .env beside it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(settings.ROOT / "app", root / "app", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(settings.ROOT / "piccolo_conf.py", root)

    def run(self, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        # Only what a process needs to start: nothing of ours, and nothing of a developer's.
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env={**kept, **env},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    def settings(self, **env: str) -> dict[str, object]:
        program = (
            "import json; from app.config.settings import current; found = current(); assert found is current()\n"
            "print(json.dumps({n: getattr(found, n) for n in found.__struct_fields__}, default=str))"
        )
        result = self.run("-c", program, **env)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Copy]:
    return Copy(tmp_path)


class TestDotenv:
    def test_it_is_read_and_the_environment_wins(self, copy: Copy) -> None:
        (copy.root / ".env").write_text(
            f'# comment\nJWT_SECRET="{SECRET}"\nexport PORT=9001\nWORKERS=2\nHOST\nLOG_LEVEL=\nUNKNOWN=x\n'
        )

        assert copy.settings(PORT="9002", LOG_FORMAT="console") == json.loads(json.dumps(DEFAULTS)) | {
            "jwt_secrets": [SECRET],
            "port": 9002,
            "workers": 2,
            "log_format": "console",
            "data_dir": str(copy.root / ".data"),
        }

    def test_without_one_the_secret_is_kept_beside_the_code(self, copy: Copy) -> None:
        found = copy.settings()

        assert found["jwt_secrets"][0] == (copy.root / ".data" / "jwt_secret").read_text()
        assert copy.settings() == found

    def test_a_bad_value_in_it_stops_a_command_with_one_line(self, copy: Copy) -> None:
        (copy.root / ".env").write_text(f"JWT_SECRET={SECRET}\nPORT=nine\n")

        result = copy.run("-m", "app", "token", "ada")

        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr == "PORT is 'nine', but must be a whole number from 1 to 65535.\n"

    def test_a_name_that_is_nearly_ours_stops_a_command_with_one_line(self, copy: Copy) -> None:
        (copy.root / ".env").write_text(f"JWT_SECRET={SECRET}\nDATABSE_URL=postgresql://localhost/tasks\n")

        result = copy.run("-m", "app", "token", "ada")

        assert (result.returncode, result.stdout) == (1, "")
        assert result.stderr == (
            f"{copy.root}/.env, line 2: 'DATABSE_URL' is no variable of this service. "
            "Write DATABASE_URL, or set it elsewhere.\n"
        )

    def test_a_command_takes_its_secret_from_it(self, copy: Copy) -> None:
        (copy.root / ".env").write_text(f"BETTER_AUTH_SECRET={SECRET}\n")

        result = copy.run("-m", "app", "token", "ada")

        assert (result.returncode, result.stderr, result.stdout.count(".")) == (0, "", 2)
        assert not (copy.root / ".data").exists()


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"])
def test_every_sslmode_of_libpq_is_taken(mode: str) -> None:
    url = f"postgresql://ada@db.example.com/tasks?sslmode={mode}"
    assert load({"DATABASE_URL": url, "JWT_SECRET": SECRET}).database_url == url


def test_an_sslmode_that_there_is_not_stops_the_start() -> None:
    url = "postgresql://ada:pa55word@db.example.com/tasks?sslmode=on"
    with pytest.raises(ConfigurationError) as refusal:
        load({"DATABASE_URL": url, "JWT_SECRET": SECRET})
    allowed = "disable, allow, prefer, require, verify-ca, verify-full"
    assert str(refusal.value) == f"sslmode in DATABASE_URL is 'on', but must be one of {allowed}."


@pytest.mark.parametrize("attributes", ["primary", "read-write", "any"])
def test_what_takes_changes_may_be_asked_for(attributes: str) -> None:
    url = f"{URL}&target_session_attrs={attributes}"
    assert chosen(DATABASE_URL=url).database_url == url


def test_a_service_that_writes_cannot_ask_for_a_replica(refusal: Callable[..., str]) -> None:
    assert refusal(DATABASE_URL=f"{URL}&target_session_attrs=prefer-standby") == (
        "target_session_attrs in DATABASE_URL is 'prefer-standby', but must be one of primary, read-write, any."
    )


def test_a_secret_that_cannot_be_kept_stops_the_start_in_one_line(tmp_path: Path) -> None:
    (tmp_path / ".data").write_text("a file in the way")
    with pytest.raises(ConfigurationError) as refusal:
        load({}, data_dir=tmp_path / ".data")
    held = "not set, and .data/jwt_secret cannot be stored (File exists)"
    assert str(refusal.value) == f"JWT_SECRET is {held}, but must be a secret of 32 bytes or more, then."
