"""`.env`: what cannot be read, or is nearly one of our variables, is refused by line; the rest is read."""

from pathlib import Path

import pytest

from app.config.dotenv import nearly, read
from app.config.parsing import ConfigurationError
from app.config.settings import load
from app.config.variables import NAMES


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / ".env"


def refusal(file: Path, content: str | bytes) -> str:
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(ConfigurationError) as refused:
        read(file, NAMES)
    return str(refused.value).removeprefix(str(file))


class TestWhatIsRead:
    def test_no_file_holds_nothing(self, file: Path) -> None:
        assert read(file, NAMES) == {}

    def test_comments_quotes_exports_and_names_of_others(self, file: Path) -> None:
        file.write_text("# c\n\nexport PORT=9001\nJWT_SECRET='a # b'\nHOST\nNEXT_PUBLIC_API=x\nLOG_LEVEL=\n")
        assert read(file, NAMES) == {"PORT": "9001", "JWT_SECRET": "a # b", "NEXT_PUBLIC_API": "x", "LOG_LEVEL": ""}

    def test_a_mark_of_the_byte_order_and_line_ends_of_windows_are_no_matter(self, file: Path) -> None:
        file.write_bytes("\ufeffPORT=9001\r\nHOST=::1\r\n".encode())
        assert read(file, NAMES) == {"PORT": "9001", "HOST": "::1"}


class TestWhatCannotBeRead:
    @pytest.mark.parametrize(
        ("content", "line"),
        [
            ("foo bar\n", 1),
            ("PORT=1\n\n# c\n\nfoo bar\n", 5),
            ("PORT=1\nJWT_SECRET='open\nHOST=x\n", 2),
            ('PORT=1\nJWT_SECRET="open\n', 2),
            ("=5\n", 1),
            ("PORT='1' and more\n", 1),
            ("A='two\nlines'\n\n- x y\n", 4),
        ],
    )
    def test_a_line_that_is_none_is_told_by_its_number(self, file: Path, content: str, line: int) -> None:
        assert refusal(file, content) == (
            f", line {line}: this cannot be read. Write NAME=value, and close each quote."
        )

    @pytest.mark.parametrize(
        ("content", "line"),
        [("PORT=1\n".encode("utf-16"), 1), (b"PORT=1\n# caf\xe9\n", 2), (b"A=1\nB=2\nJWT_SECRET=\xff\n", 3)],
    )
    def test_what_is_not_utf_8_is_told_by_its_line_and_not_shown(self, file: Path, content: bytes, line: int) -> None:
        assert refusal(file, content) == f", line {line}: this is not UTF-8. Save the file as UTF-8."

    def test_a_folder_in_its_place(self, file: Path) -> None:
        file.mkdir()
        with pytest.raises(ConfigurationError, match=r"\.env cannot be read \(Is a directory\)\.$"):
            read(file, NAMES)


class TestNames:
    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("DATABSE_URL", "DATABASE_URL"),
            ("DATABASE_ULR", "DATABASE_URL"),
            ("DATABASE_URI", "DATABASE_URL"),
            ("DATABASEURL", "DATABASE_URL"),
            ("database_url", "DATABASE_URL"),
            ("DATABASE-URL", "DATABASE_URL"),
            ("port", "PORT"),
            ("JWT_SERCET", "JWT_SECRET"),
            ("JWT_SECRETS", "JWT_SECRET"),
            ("JWT_ISSUER", "JWT_ISSUERS"),
            ("FRONTEND_URLS", "FRONTEND_URL"),
            ("WORKER", "WORKERS"),
            ("RATELIMIT", "RATE_LIMIT"),
            ("LOGLEVEL", "LOG_LEVEL"),
            ("TRASH_DAY", "TRASH_DAYS"),
            ("ACCONUTS", "ACCOUNTS"),
            ("WROKERS", "WORKERS"),
        ],
    )
    def test_what_is_nearly_one_of_ours_is_refused_by_its_line(self, file: Path, written: str, meant: str) -> None:
        assert nearly(written, NAMES) == meant
        assert refusal(file, f"HOST=::1\n\n# c\n{written}=secret-value\n") == (
            f", line 4: {written!r} is no variable of this service. Write {meant}, or set it elsewhere."
        )

    @pytest.mark.parametrize(
        "name",
        [
            *NAMES,
            "POST",
            "HOSTS",
            "HOSTNAME",
            "PORT_HTTP",
            "DATABASE_USER",
            "DATABASE_HOST",
            "DATABASE_URL_2",
            "TEST_DATABASE_URL",
            "DIRECT_URL",
            "POSTGRES_URL",
            "BACKEND_URL",
            "NEXT_PUBLIC_FRONTEND_URL",
            "BETTER_AUTH_URL",
            "AUTH_SECRET",
            "LOG_FILE",
            "NODE_ENV",
            "METRICS_HOST",
        ],
    )
    def test_names_of_others_are_let_be(self, name: str) -> None:
        assert nearly(name, NAMES) is None


class TestSecretsInQuotes:
    @pytest.mark.parametrize("text", ["'{}'", '"{}"'])
    @pytest.mark.parametrize("name", ["JWT_SECRET", "BETTER_AUTH_SECRET"])
    def test_quotes_that_are_part_of_a_secret_are_told(self, tmp_path: Path, name: str, text: str) -> None:
        secret = text.format("s" * 40)
        found = load({name: f" {secret} "}, tmp_path)
        assert (found.quoted_secrets, found.jwt_secrets) == ((name,), (secret,))

    @pytest.mark.parametrize("text", ["plain", "'one", "it's", "'a\"", "'", ""])
    def test_others_are_not(self, tmp_path: Path, text: str) -> None:
        middle = "s" * 40
        secret = text[:1] + middle + text[1:]
        assert load({"JWT_SECRET": secret}, tmp_path).quoted_secrets == ()
