"""Whose tokens are believed, as the environment says it: JWT_ISSUERS, several JWT_SECRETs, and what goes with them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.config import settings
from app.config.issuers import Issuer
from app.config.parsing import ConfigurationError
from app.config.settings import Settings, load

SECRET = "0123456789abcdef0123456789abcdef"
OLDER = "fedcba9876543210fedcba9876543210"
URL = "postgresql://ada@db.example.com/tasks"
GOOD = {
    "issuer": "https://auth.example.com",
    "jwks_url": "https://auth.example.com/jwks",
    "audience": "tasks",
    "algorithms": ["EdDSA"],
}
SHAPE = "a JSON list of {issuer, jwks_url, audience, algorithms}, or a file that holds one"
FAMILIES = "one with EdDSA, ES256, or RS256 and PS256, for each issuer"
TRUSTED = "one with https, or http on this machine"


def chosen(**env: str) -> Settings:
    return load({"JWT_SECRET": SECRET, **env})


def listed(*issuers: Any) -> tuple[Issuer, ...]:
    return chosen(JWT_ISSUERS=json.dumps(issuers)).issuers


def changed(**members: Any) -> dict[str, Any]:
    return {**GOOD, **members}


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., str]:
    """The line that refuses these variables."""

    def line(**env: str) -> str:
        with pytest.raises(ConfigurationError) as refused:
            load({"JWT_SECRET": SECRET, **env}, tmp_path / ".data")
        assert "\n" not in str(refused.value)
        return str(refused.value)

    return line


@pytest.fixture
def refused(refusal: Callable[..., str]) -> Callable[..., str]:
    """The line that refuses a list of issuers."""
    return lambda *issuers: refusal(JWT_ISSUERS=json.dumps(issuers))


class TestList:
    def test_nobody_but_us_is_believed_where_it_is_not_set(self) -> None:
        assert chosen().issuers == chosen(JWT_ISSUERS="").issuers == chosen(JWT_ISSUERS="  ").issuers == ()
        assert chosen(JWT_ISSUERS="[]").issuers == ()

    def test_json_lists_any_number_in_order(self) -> None:
        many = [changed(issuer=f"https://{n}.example.com") for n in range(50)]
        assert listed(GOOD) == (
            Issuer("https://auth.example.com", "https://auth.example.com/jwks", "tasks", ["EdDSA"]),
        )
        assert [each.issuer for each in listed(*many)] == [each["issuer"] for each in many]
        assert chosen(JWT_ISSUERS=f"\n {json.dumps([GOOD], indent=2)}\n").issuers == listed(GOOD)

    def test_an_issuer_is_any_text_and_kept_to_the_letter(self) -> None:
        names = ["x", "urn:example", "https://Auth.example.com/", " spaces ", "Zo\u00eb", "x" * 2000]
        assert [each.issuer for each in listed(*(changed(issuer=name) for name in names))] == names

    @pytest.mark.parametrize(
        "algorithms", [["EdDSA"], ["ES256"], ["RS256"], ["PS256"], ["RS256", "PS256"], ["PS256", "RS256"]], ids=repr
    )
    def test_the_algorithms_are_of_one_family(self, algorithms: list[str]) -> None:
        assert listed(changed(algorithms=algorithms))[0].algorithms == algorithms

    @pytest.mark.parametrize(
        ("audience", "names"),
        [
            ("tasks", {"tasks"}),
            (["tasks"], {"tasks"}),
            (["tasks", "api"], {"tasks", "api"}),
            (["tasks", "tasks"], {"tasks"}),
            (None, None),
        ],
        ids=["a name", "a list of one", "a list of two", "a list of the same", "null"],
    )
    def test_the_audience_is_one_name_or_several_or_none_is_asked(self, audience: Any, names: set[str] | None) -> None:
        assert listed(changed(audience=audience))[0].audiences == names

    @pytest.mark.parametrize(
        "url",
        [
            "https://auth.example.com/jwks",
            "https://auth.example.com",
            "https://auth.example.com:8443/jwks?version=2",
            "HTTPS://AUTH.EXAMPLE.COM/jwks",
            "https://10.0.0.1/jwks",
            "https://[2001:db8::1]/jwks",
            "https://localhost/jwks",
            "http://localhost/jwks",
            "http://LOCALHOST:3000/jwks",
            "http://127.0.0.1:3000/jwks",
            "http://127.8.9.10/jwks",
            "http://[::1]:3000/jwks",
        ],
    )
    def test_keys_come_over_https_or_from_this_machine(self, url: str) -> None:
        assert listed(changed(jwks_url=url))[0].jwks_url == url


class TestFile:
    @pytest.fixture
    def root(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The root of the service, for once elsewhere."""
        monkeypatch.setattr(settings, "ROOT", tmp_path)
        return tmp_path

    def test_it_is_found_from_the_root_and_by_its_whole_path(
        self, root: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
        (root / "conf").mkdir()
        for path in (root / "issuers.json", root / "conf/my issuers.json"):
            path.write_text(f"\n{json.dumps([GOOD], indent=2)}\n")
        for text in ("issuers.json", "./issuers.json", "conf/my issuers.json", f"{root}/issuers.json"):
            assert chosen(JWT_ISSUERS=text).issuers == listed(GOOD)

    @pytest.mark.parametrize(
        "text", ["missing.json", "/", ".", "a\0b", "x" * 5000, "EdDSA", '"issuers"', "null", "5"], ids=lambda t: t[:9]
    )
    def test_one_that_cannot_be_read_is_refused(self, root: Path, refusal: Callable[..., str], text: str) -> None:
        assert refusal(JWT_ISSUERS=text) == (
            f"JWT_ISSUERS is not JSON, and no file that can be read, but must be {SHAPE}."
        )

    def test_one_that_is_no_text_is_refused(self, root: Path, refusal: Callable[..., str]) -> None:
        (root / "issuers.json").write_bytes(b"\xff\xfe[\0]\0")
        assert refusal(JWT_ISSUERS="issuers.json") == (
            f"JWT_ISSUERS is not JSON, and no file that can be read, but must be {SHAPE}."
        )

    @pytest.mark.parametrize("content", ["", "hello", "[", json.dumps(GOOD)])
    def test_one_that_holds_no_list_is_refused(self, root: Path, refusal: Callable[..., str], content: str) -> None:
        (root / "issuers.json").write_text(content)
        line = refusal(JWT_ISSUERS="issuers.json")
        assert line.startswith("JWT_ISSUERS is not readable (")
        assert line.endswith(f"), but must be {SHAPE}.")

    def test_what_it_lists_is_looked_at_as_closely(self, root: Path, refusal: Callable[..., str]) -> None:
        (root / "issuers.json").write_text(json.dumps([GOOD, GOOD]))
        assert refusal(JWT_ISSUERS="issuers.json") == (
            f"JWT_ISSUERS is a list with an issuer in it twice, but must be {SHAPE}."
        )


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("[", "Input data was truncated"),
            ("[}", "JSON is malformed: invalid character (byte 1)"),
            ("[] []", "JSON is malformed: trailing characters (byte 4)"),
            ("{}", "Expected `array`, got `object`"),
            (json.dumps(GOOD), "Expected `array`, got `object`"),
            (json.dumps({"issuers": [GOOD]}), "Expected `array`, got `object`"),
            ('["https://auth.example.com"]', "Expected `object`, got `str` - at `$[0]`"),
            ("[null]", "Expected `object`, got `null` - at `$[0]`"),
        ],
    )
    def test_what_is_no_list_of_objects(self, refusal: Callable[..., str], text: str, reason: str) -> None:
        assert refusal(JWT_ISSUERS=text) == f"JWT_ISSUERS is not readable ({reason}), but must be {SHAPE}."

    @pytest.mark.parametrize("member", GOOD)
    def test_a_member_that_is_missing(self, refused: Callable[..., str], member: str) -> None:
        rest = {name: value for name, value in GOOD.items() if name != member}
        assert refused(GOOD, rest) == (
            f"JWT_ISSUERS is not readable (Object missing required field `{member}` - at `$[1]`), but must be {SHAPE}."
        )

    def test_a_member_that_nobody_knows(self, refused: Callable[..., str]) -> None:
        assert refused(changed(audiences=["tasks"])) == (
            f"JWT_ISSUERS is not readable (Object contains unknown field `audiences` - at `$[0]`), but must be {SHAPE}."
        )

    @pytest.mark.parametrize(
        ("members", "reason"),
        [
            ({"issuer": ""}, "Expected `str` of length >= 1 - at `$[0].issuer`"),
            ({"issuer": None}, "Expected `str`, got `null` - at `$[0].issuer`"),
            ({"issuer": 5}, "Expected `str`, got `int` - at `$[0].issuer`"),
            ({"issuer": "x" * 2001}, "Expected `str` of length <= 2000 - at `$[0].issuer`"),
            ({"jwks_url": ""}, "Expected `str` of length >= 1 - at `$[0].jwks_url`"),
            ({"jwks_url": ["https://x"]}, "Expected `str`, got `array` - at `$[0].jwks_url`"),
            ({"audience": ""}, "Expected `str` of length >= 1 - at `$[0].audience`"),
            ({"audience": []}, "Expected `array` of length >= 1 - at `$[0].audience`"),
            ({"audience": [""]}, "Expected `str` of length >= 1 - at `$[0].audience[0]`"),
            ({"audience": [None]}, "Expected `str`, got `null` - at `$[0].audience[0]`"),
            ({"audience": 5}, "Expected `str | array | null`, got `int` - at `$[0].audience`"),
            ({"audience": False}, "Expected `str | array | null`, got `bool` - at `$[0].audience`"),
            ({"algorithms": "EdDSA"}, "Expected `array`, got `str` - at `$[0].algorithms`"),
            ({"algorithms": []}, "Expected `array` of length >= 1 - at `$[0].algorithms`"),
            ({"algorithms": [""]}, "Expected `str` of length >= 1 - at `$[0].algorithms[0]`"),
            ({"algorithms": [256]}, "Expected `str`, got `int` - at `$[0].algorithms[0]`"),
            ({"algorithms": None}, "Expected `array`, got `null` - at `$[0].algorithms`"),
        ],
        ids=repr,
    )  # fmt: skip
    def test_a_member_of_another_type(self, refused: Callable[..., str], members: dict[str, Any], reason: str) -> None:
        assert refused(changed(**members)) == f"JWT_ISSUERS is not readable ({reason}), but must be {SHAPE}."

    @pytest.mark.parametrize(
        "algorithms",
        [
            ["HS256"], ["HS384"], ["HS512"], ["none"], ["None"], ["EdDSA", "HS256"], ["HS256", "RS256"],
            ["RS384"], ["RS512"], ["PS512"], ["ES384"], ["ES512"], ["ES256K"], ["Ed25519"], ["eddsa"], ["RS256 "],
            ["RSA-OAEP"], ["*"], ["EdDSA", "none"],
        ],
        ids=repr,
    )  # fmt: skip
    def test_an_algorithm_that_needs_a_secret_or_is_unknown(
        self, refused: Callable[..., str], algorithms: list[str]
    ) -> None:
        assert refused(changed(algorithms=algorithms)) == (
            f"JWT_ISSUERS is a list with the algorithms {', '.join(algorithms)}, but must be {FAMILIES}."
        )

    @pytest.mark.parametrize(
        "algorithms",
        [["EdDSA", "ES256"], ["ES256", "RS256"], ["PS256", "EdDSA"], ["RS256", "PS256", "ES256"]],
        ids=repr,
    )
    def test_algorithms_of_two_families(self, refused: Callable[..., str], algorithms: list[str]) -> None:
        assert refused(GOOD, changed(issuer="x", algorithms=algorithms)) == (
            f"JWT_ISSUERS is a list with the algorithms {', '.join(algorithms)}, but must be {FAMILIES}."
        )

    def test_an_algorithm_of_two_lines_is_told_in_one(self, refused: Callable[..., str]) -> None:
        assert refused(changed(algorithms=["no\nsuch"])).endswith(f"but must be {FAMILIES}.")

    @pytest.mark.parametrize(
        "url",
        [
            "http://auth.example.com/jwks",
            "http://10.0.0.1/jwks",
            "http://192.168.0.1/jwks",
            "http://0.0.0.0/jwks",
            "http://128.0.0.1/jwks",
            "http://169.254.169.254/latest/meta-data",
            "http://localhost.example.com/jwks",
            "http://127.0.0.1.example.com/jwks",
            "http://localhost@auth.example.com/jwks",
            "http://127.0.0.1:80@auth.example.com/jwks",
            "http://auth.example.com/jwks?localhost",
            "http://auth.example.com#@localhost/jwks",
            "http://[2001:db8::1]/jwks",
            "http://localhost./jwks",
            "http://127.1/jwks",
            "http://2130706433/jwks",
            "file:///etc/passwd",
            "ftp://localhost/jwks",
            "data:application/json,{}",
            "unix:///run/jwks",
            "javascript:1",
            "//auth.example.com/jwks",
            "auth.example.com/jwks",
            "localhost:3000/jwks",
            "https",
            "https:",
            "https://",
            "https:///jwks",
            "https://:443/jwks",
            "https:auth.example.com",
            "https://[::1/jwks",
            "https://[localhost]/jwks",
            "https://auth.example.com/jw\nks",
            "https://auth.example.com/jwks\r\nx: y",
            "https://auth.example\t.com/jwks",
            "https://auth.example.com/\0",
            "https://auth.example.com/\u200b",
        ],
        ids=ascii,
    )
    def test_an_address_that_cannot_be_trusted(self, refused: Callable[..., str], url: str) -> None:
        assert refused(changed(jwks_url=url)) == (
            f"JWT_ISSUERS is a list with a jwks_url that cannot be trusted, but must be {TRUSTED}."
        )

    @pytest.mark.parametrize(
        "url",
        [
            "https://auth.example.com:99999/jwks",
            "https://auth.example.com:https/jwks",
            "https://auth.example.com:-1/jwks",
            "https://auth example.com/jwks",
            "https://ada:pa55word@auth.example.com/jwks",
            "https://localhost:3000@auth.example.com/jwks",
        ],
    )
    def test_an_address_that_nothing_can_be_fetched_from_or_with_a_password_in_it(
        self, refused: Callable[..., str], url: str
    ) -> None:
        line = refused(changed(jwks_url=url))
        assert line == f"JWT_ISSUERS is a list with a jwks_url that cannot be trusted, but must be {TRUSTED}."
        assert "pa55word" not in line

    def test_an_issuer_twice(self, refused: Callable[..., str]) -> None:
        assert refused(GOOD, changed(issuer="x"), changed(jwks_url="https://x/")) == (
            f"JWT_ISSUERS is a list with an issuer in it twice, but must be {SHAPE}."
        )

    def test_the_name_by_which_our_own_accounts_go(self, refused: Callable[..., str]) -> None:
        """Whoever had it would take the place of our own logins."""
        assert refused(GOOD, changed(issuer="urn:tasks-api:accounts")) == (
            "JWT_ISSUERS is a list with urn:tasks-api:accounts,"
            " but must be one of others: that is the name of our own accounts."
        )

    def test_what_is_not_utf_8(self, refusal: Callable[..., str]) -> None:
        text = json.dumps([changed(issuer="x")]).replace("x", "\udcff", 1)  # as the environment has it
        assert refusal(JWT_ISSUERS=text).startswith("JWT_ISSUERS is not readable (")


class TestSecrets:
    def test_several_are_listed_newest_first(self) -> None:
        third = "x" * 64
        assert load({"JWT_SECRET": SECRET}).jwt_secrets == (SECRET,)
        assert load({"JWT_SECRET": f"{SECRET},{OLDER}"}).jwt_secrets == (SECRET, OLDER)
        assert load({"JWT_SECRET": f" {SECRET} ,\n{OLDER},{third} "}).jwt_secrets == (SECRET, OLDER, third)

    @pytest.mark.parametrize(
        ("text", "size"),
        [
            (f"{SECRET},short", 5),
            (f"short,{SECRET}", 5),
            (f"{SECRET},{OLDER},{OLDER[:31]}", 31),
            (f"{SECRET},", 0),
            (f",{SECRET}", 0),
            (f"{SECRET}, ,{OLDER}", 0),
            (",", 0),
        ],
    )
    def test_each_has_32_bytes_or_more(self, refusal: Callable[..., str], text: str, size: int) -> None:
        assert refusal(JWT_SECRET=text) == (
            f"JWT_SECRET is {size} bytes long, but must be a secret of 32 bytes or more."
        )

    def test_none_is_a_key_of_a_pair(self, refusal: Callable[..., str]) -> None:
        for key in ("-----BEGIN PUBLIC KEY-----" + "A" * 32, "ssh-ed25519 " + "A" * 32):
            assert refusal(JWT_SECRET=f"{SECRET},{key}") == (
                "JWT_SECRET is a key of a key pair, but must be a secret of 32 bytes or more."
            )

    def test_none_is_shown(self, refusal: Callable[..., str]) -> None:
        line = refusal(JWT_SECRET=f"{SECRET},short,{OLDER}")
        assert not [part for part in (SECRET, "short", OLDER) if part in line]

    def test_the_secret_of_better_auth_is_one_whatever_is_in_it(self) -> None:
        for secret in (f"{SECRET},{OLDER}", f"{SECRET},", "a,b,c," + "x" * 32):
            assert load({"BETTER_AUTH_SECRET": secret, "DATABASE_URL": URL}).jwt_secrets == (secret,)

    def test_the_first_is_what_users_are_hashed_with_in_the_log(self) -> None:
        assert load({"JWT_SECRET": f"{SECRET},{OLDER}"}).secret == SECRET

    def test_none_is_needed_where_only_issuers_are_believed(self, tmp_path: Path) -> None:
        env = {"DATABASE_URL": URL, "ACCOUNTS": "off", "JWT_ISSUERS": json.dumps([GOOD])}
        found = load(env, tmp_path / ".data")

        assert (found.jwt_secrets, found.secret) == ((), URL)
        assert not (tmp_path / ".data").exists()
        assert load({**env, "JWT_SECRET": f"{SECRET},{OLDER}"}).jwt_secrets == (SECRET, OLDER)

    @pytest.mark.parametrize(
        "env",
        [
            {},
            {"ACCOUNTS": "on"},
            {"ACCOUNTS": "off"},
            {"JWT_ISSUERS": json.dumps([GOOD])},
            {"ACCOUNTS": "on", "JWT_ISSUERS": json.dumps([GOOD])},
            {"ACCOUNTS": "off", "JWT_ISSUERS": "[]"},
        ],
        ids=lambda env: " ".join(f"{name}={value[:3]}" for name, value in env.items()) or "nothing",
    )
    def test_one_is_needed_otherwise(self, tmp_path: Path, env: dict[str, str]) -> None:
        with pytest.raises(ConfigurationError) as refused:
            load({"DATABASE_URL": URL, **env}, tmp_path / ".data")
        assert str(refused.value) == "JWT_SECRET is not set, but must be a secret of 32 bytes or more."

    def test_one_is_made_where_the_database_is_ours_too(self, tmp_path: Path) -> None:
        found = load({"ACCOUNTS": "off", "JWT_ISSUERS": json.dumps([GOOD])}, tmp_path / ".data")
        assert found.jwt_secrets == ((tmp_path / ".data/jwt_secret").read_text(),)


class TestSwitches:
    @pytest.mark.parametrize(
        ("name", "field", "default"),
        [("ACCOUNTS", "accounts", None), ("PROVISION_USERS", "provision_users", True)],
    )
    def test_it_is_on_or_off(self, refusal: Callable[..., str], name: str, field: str, default: bool | None) -> None:
        assert getattr(chosen(), field) is default
        for text, value in {"on": True, "off": False, "ON": True, "Off": False, " off ": False, "": default}.items():
            assert getattr(chosen(**{name: text}), field) is value
        for text in ("true", "1", "yes", "no", "0", "on off", "o", "on,off"):
            assert refusal(**{name: text}) == f"{name} is '{text}', but must be one of on, off."


class TestProxies:
    def test_those_in_front_of_us_are_addresses_and_networks(self) -> None:
        assert chosen().trusted_proxies == ("127.0.0.1", "::1")
        for text, found in {
            "10.0.0.1": ("10.0.0.1",),
            "10.0.0.0/8": ("10.0.0.0/8",),
            " 10.0.0.1 , 192.168.0.0/16,::1 ": ("10.0.0.1", "192.168.0.0/16", "::1"),
            "2001:db8::/32": ("2001:db8::/32",),
            "0.0.0.0/0": ("0.0.0.0/0",),
        }.items():
            assert chosen(FORWARDED_ALLOW_IPS=text).trusted_proxies == found

    @pytest.mark.parametrize(
        ("text", "held"),
        [
            ("*", "*"),
            ("proxy", "proxy"),
            ("10.0.0.1,*", "*"),
            ("10.0.0.1,", ""),
            (",", ""),
            ("10.0.0.1 10.0.0.2", "10.0.0.1 10.0.0.2"),
            ("10.0.0.256", "10.0.0.256"),
            ("10.0.0.1/8", "10.0.0.1/8"),
            ("10.0.0.0/33", "10.0.0.0/33"),
            ("10.0.0", "10.0.0"),
            ("010.0.0.1", "010.0.0.1"),
            ("http://10.0.0.1", "http://10.0.0.1"),
            ("10.0.0.1:80", "10.0.0.1:80"),
            ("[::1]", "[::1]"),
            ("/run/socket", "/run/socket"),
        ],
    )
    def test_anything_else_is_refused_by_name(self, refusal: Callable[..., str], text: str, held: str) -> None:
        assert refusal(FORWARDED_ALLOW_IPS=text) == (
            f"FORWARDED_ALLOW_IPS is {held!r}, but must be IP addresses or networks like 10.0.0.0/8, comma-separated."
        )


def test_nothing_of_it_is_shown_when_settings_are_printed() -> None:
    found = chosen(JWT_SECRET=f"{SECRET},{OLDER}", JWT_ISSUERS=json.dumps([GOOD]))
    for text in (repr(found), f"{found}"):
        assert not [part for part in (SECRET, OLDER, "auth.example.com") if part in text]
