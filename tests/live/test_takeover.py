"""A real Better Auth and accounts of ours on one table of users: nobody gets at what belongs to somebody else's login.

A stranger knows the victim's address, and nothing else. Whatever they prepare here or there, and however the victim
comes to Better Auth later: nothing that the stranger holds here reads the victim's tasks.
"""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from app.db.user_table import told
from tests import forkserver
from tests.live.conftest import free_port
from tests.live.test_better_auth import EDDSA, SECRET, Person, Place, better_auth, wait_for_trust
from tests.live.test_better_auth import installed as installed
from tests.live.test_issuers import Provider, a_provider

pytestmark = pytest.mark.slow

STRANGERS = "the stranger's own password"
VICTIMS = "a password that the mail brought"
ELSEWHERE = {
    "error": {"code": "FORBIDDEN", "message": "This user logs in at another service, and cannot have tokens here."}
}
NOTHING_HERE = {"error": {"code": "NOT_FOUND", "message": "There is nothing here."}}


class Town:
    """One database with Better Auth and our service on it, and somebody to log in with."""

    def __init__(self, place: Place, provider: Provider, service: Any) -> None:
        self.place, self.provider, self.service = place, provider, service
        self.sql = place.sql

    def browser(self) -> httpx.Client:
        return httpx.Client(base_url=self.place.auth, headers={"origin": self.place.auth})

    def ours(self, token: str = "") -> httpx.Client:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.Client(base_url=f"{self.place.tasks}/api", headers=headers)

    def mail(self, address: str) -> str | None:
        """Ask Better Auth for a new password, and return the token that the mail brings, if one comes."""
        with self.browser() as browser:
            asked = browser.post("/api/auth/request-password-reset", json={"email": address})
            assert asked.status_code == 200, asked.text
            return browser.get("/mails").json().get(address)

    def log_in_there(self, address: str, password: str) -> str:
        """The token of who logs in at Better Auth."""
        with self.browser() as browser:
            answer = browser.post("/api/auth/sign-in/email", json={"email": address, "password": password})
            assert answer.status_code == 200, answer.text
            return browser.get(EDDSA).json()["token"]

    def reset(self, address: str) -> str | None:
        """The token of somebody who has forgotten their password at Better Auth, if it knows them."""
        token = self.mail(address)
        if token is None:
            return None
        with self.browser() as browser:
            answer = browser.post("/api/auth/reset-password", json={"token": token, "newPassword": VICTIMS})
            assert answer.status_code == 200, answer.text
        return self.log_in_there(address, VICTIMS)

    def sign_up_there(self, address: str) -> str:
        with self.browser() as browser:
            form = {"name": "Victim", "email": address, "password": VICTIMS}
            answer = browser.post("/api/auth/sign-up/email", json=form)
            assert answer.status_code == 200, answer.text
            return browser.get(EDDSA).json()["token"]

    def social(self, address: str) -> str:
        """The token of who logs in at Better Auth with somebody else's account, which names a verified address."""
        who = secrets.token_hex(4)
        person = {"email": address, "email_verified": True, "name": "Victim"}
        assert httpx.put(f"{self.provider.url}/users/{who}", json=person).is_success
        with self.browser() as browser:
            form = {"provider": "social", "callbackURL": "/"}
            begun = browser.post("/api/auth/sign-in/social", json=form)
            assert begun.status_code == 200, begun.text
            sent = httpx.post(begun.json()["url"], data={"sub": who})
            back = urlsplit(sent.headers["location"])
            assert browser.get(f"{back.path}?{back.query}").status_code == 302
            answer = browser.get(EDDSA)
            assert answer.status_code == 200, answer.text
            return answer.json()["token"]


class Stranger:
    """Somebody who has signed up here with a victim's address, and keeps all that this brings."""

    def __init__(self, town: Town, address: str) -> None:
        self.town, self.address = town, address
        form = {"name": "Mallory", "email": address, "password": STRANGERS}
        with town.ours() as client:
            answer = client.post("/auth/signup", json=form)
            assert answer.status_code == 201, answer.text
            self.login = answer.json()["data"]
        self.id = self.login["user"]["id"]
        with town.ours(self.login["token"]) as client:
            made = client.post("/auth/tokens", json={"name": "kept", "scope": "write"})
            assert made.status_code == 201, made.text
            self.kept = made.json()["data"]["token"]

    def sees(self) -> list[Any]:
        """All that the password, the login, the refresh token and the personal token show."""
        with self.town.ours() as client:
            form = {"email": self.address, "password": STRANGERS}
            logins = [client.post("/auth/login", json=form)]
            logins.append(client.post("/auth/refresh", json={"refresh_token": self.login["refresh_token"]}))
        tokens = [answer.json()["data"]["token"] for answer in logins if answer.status_code == 200]
        self.login |= logins[1].json().get("data", {})
        seen: list[Any] = []
        for token in (*tokens, self.login["token"], self.kept):
            with self.town.ours(token) as client:
                answer = client.get("/tasks")
                seen += answer.json()["data"] if answer.status_code == 200 else [answer.status_code]
        return [*(answer.status_code for answer in logins), *seen]


@contextmanager
def a_town(
    first: str, accounts: str | None, installed: Path, database: str, serve: Callable[..., Any], folder: Path
) -> Iterator[Town]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    issuer = {"issuer": url, "jwks_url": f"{url}/api/auth/jwks", "audience": url, "algorithms": ["EdDSA"]}
    env: dict[str, str | None] = {
        "DATABASE_URL": database,
        "JWT_SECRET": "",
        "BETTER_AUTH_SECRET": SECRET,
        "JWT_ISSUERS": json.dumps([issuer]),
        "ACCOUNTS": accounts or "",
    }
    if first == "tasks first":
        assert forkserver.command("migrate", **env).returncode == 0
    with ExitStack() as stack:
        provider = stack.enter_context(a_provider(folder / "provider"))
        more = {"IDENTITY_PROVIDER": provider.url, "NODE_ENV": "test"}
        auth = stack.enter_context(better_auth(installed, database, port, folder / "auth", **more))
        with httpx.Client(base_url=auth, headers={"origin": auth}) as browser:
            token = Person(browser, "Grace").token(EDDSA)
        service = serve(env=env, arguments=["--migrate"])
        wait_for_trust(service, token)
        yield Town(Place(auth, service.url, database), provider, service)
        assert service.stop() == 0


@pytest.fixture(scope="module", params=["Better Auth first", "tasks first"])
def town(
    request: pytest.FixtureRequest,
    installed: Path,
    new_database: Callable[[], str],
    serve_for_module: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Town]:
    """Both on one database, whichever of them has made its tables first, with ACCOUNTS=on."""
    folder = tmp_path_factory.mktemp("town")
    with a_town(request.param, "on", installed, new_database(), serve_for_module, folder) as found:
        yield found


@pytest.fixture
def victim() -> str:
    return f"victim.{secrets.token_hex(4)}@example.com"


def with_a_secret(town: Town, token: str) -> str:
    """Let the victim keep a task, and return whose it is."""
    with town.ours(token) as client:
        made = client.post("/tasks", json={"title": "a secret"})
        assert made.status_code == 201, made.text
        return made.json()["data"]["user_id"]


def signs_up(town: Town, address: str) -> str:
    assert town.reset(address) is None  # nobody is known there by this address
    return town.sign_up_there(address)


def signs_up_and_resets(town: Town, address: str) -> str:
    town.sign_up_there(address)
    token = town.reset(address)
    assert token is not None
    return token


def comes_with_a_social_login(town: Town, address: str) -> str:
    return town.social(address)


@pytest.mark.parametrize("comes", [signs_up, signs_up_and_resets, comes_with_a_social_login])
def test_who_signed_up_here_first_with_somebodys_address_shares_nothing_with_them(
    town: Town, victim: str, comes: Callable[[Town, str], str]
) -> None:
    stranger = Stranger(town, victim)
    assert stranger.sees() == [200, 200]

    owner = with_a_secret(town, comes(town, victim))

    assert owner != stranger.id
    assert stranger.sees() == [200, 200]  # an account of their own, with nothing in it
    assert town.sql("SELECT user_id FROM credentials WHERE user_id = $1", owner) == []
    assert town.sql('SELECT count(*) FROM account WHERE "userId" = $1', stranger.id) == [(0,)]


@pytest.mark.parametrize("comes", [Town.sign_up_there, Town.social])
def test_whom_better_auth_knows_gets_no_password_no_login_and_no_token_here(
    town: Town, victim: str, comes: Callable[[Town, str], str]
) -> None:
    token = comes(town, victim)
    owner = with_a_secret(town, token)

    with town.ours() as client:
        for address in (victim, victim.upper(), f"{victim}.user.invalid"):
            form = {"name": "Mallory", "email": address, "password": STRANGERS}
            assert client.post("/auth/signup", json=form).status_code in (409, 422)
            answer = client.post("/auth/login", json={"email": address, "password": STRANGERS})
            assert answer.status_code in (401, 422), answer.text
    with town.ours(token) as client:
        made = client.post("/auth/tokens", json={"name": "kept", "scope": "read"})
        assert (made.status_code, made.json()) == (403, ELSEWHERE)
        wish = {"current_password": VICTIMS, "new_password": STRANGERS}
        assert client.post("/auth/me/password", json=wish).status_code == 401
        assert client.request("DELETE", "/auth/me", json={"password": VICTIMS}).status_code == 401
    for table in ("credentials", "login_sessions", "personal_access_tokens"):
        assert town.sql(f"SELECT count(*) FROM {table} WHERE user_id = $1", owner) == [(0,)]


def test_who_signed_up_there_first_with_somebodys_address_keeps_nothing_here_when_they_reset_it(
    town: Town, victim: str
) -> None:
    token = town.sign_up_there(victim)  # by the stranger
    with town.ours(token) as client:
        assert client.post("/auth/tokens", json={"name": "kept", "scope": "read"}).status_code == 403

    reset = town.reset(victim)
    assert reset is not None
    owner = with_a_secret(town, reset)

    assert town.sql("SELECT count(*) FROM personal_access_tokens WHERE user_id = $1", owner) == [(0,)]


def test_a_row_that_only_a_token_has_named_is_not_found_by_its_address(town: Town, victim: str) -> None:
    import jwt

    claims = {"user_id": secrets.token_hex(8), "email": victim, "exp": int(time.time()) + 3600}
    token = jwt.encode(claims, SECRET, "HS256")
    assert with_a_secret(town, token) == claims["user_id"]

    assert town.reset(victim) is None
    assert with_a_secret(town, town.social(victim)) != claims["user_id"]
    with town.ours(token) as client:
        assert client.get("/auth/me").json()["data"]["email"] == victim
        assert client.post("/auth/tokens", json={"name": "a script", "scope": "read"}).status_code == 201


def test_an_account_with_an_address_that_better_auth_finds_is_closed_here(town: Town, victim: str) -> None:
    """As those were that signed up with version 8, or as somebody makes one by hand."""
    stranger = Stranger(town, victim)
    town.sql('UPDATE "user" SET email = $2 WHERE id = $1', stranger.id, victim)
    token = town.reset(victim)
    assert token is not None
    assert with_a_secret(town, token) == stranger.id
    time.sleep(1)  # for which a login is remembered

    assert stranger.sees() == [401, 401, 401, 401]


@pytest.mark.parametrize("first", ["Better Auth first", "tasks first"])
def test_who_made_the_table_decides_where_nothing_is_said(
    first: str, installed: Path, new_database: Callable[[], str], serve: Callable[..., Any], tmp_path: Path
) -> None:
    with a_town(first, None, installed, new_database(), serve, tmp_path) as town, town.ours() as client:
        answers = [
            client.post("/auth/signup", json={"name": "Ada", "email": "ada@example.com", "password": STRANGERS}),
            client.post("/auth/login", json={"email": "ada@example.com", "password": STRANGERS}),
            client.get("/auth/me"),
            client.get("/auth"),
        ]
        ours = first == "tasks first"
        assert [answer.status_code for answer in answers] == ([201, 200, 401, 401] if ours else [404] * 4)
        assert [told(None, ours=ours) in line for line in town.service.log()].count(True) == 1
        if not ours:
            assert [answer.json() for answer in answers] == [NOTHING_HERE] * 4
        paths = httpx.get(f"{town.place.tasks}/openapi.json").json()["paths"]
        assert any(path.startswith("/api/auth") for path in paths) == ours
