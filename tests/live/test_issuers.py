"""The service behind issuers of others: an OpenID provider in a process of its own, and one of ours that misbehaves.

How long keys take to come and to go is minutes; `tests/auth/test_jwks.py` looks at that with shorter paces.
"""

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import jwt
import pytest

from app.config.settings import ROOT
from tests.auth.test_jwks import Endpoint, Signer, an_endpoint, signer
from tests.conftest import SECRET, token, unmeasured
from tests.live.conftest import free_port
from tests.tasks.plain import PLAIN

START_SECONDS = 30
CLIENT = "tasks"
OURS = "https://ours.example.com"
UNAUTHORIZED = {"error": {"code": "UNAUTHORIZED", "message": "This needs a valid bearer token."}}
ALONE = {"JWT_SECRET": "", "BETTER_AUTH_SECRET": "", "ACCOUNTS": "off"}  # empty: a developer's .env may have them


class Provider:
    """An OpenID provider that knows everybody: `oidc-provider-mock`, with a key that it makes when it starts."""

    def __init__(self, log: Path) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port)]
        with log.open("w") as out:
            self.process = subprocess.Popen(command, env=unmeasured(), stdout=out, stderr=out)
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)

    def log_in(self, user: str, client: str = CLIENT) -> str:
        """An ID token of the authorization code flow (OpenID Connect Core, section 3.1)."""
        back = "http://127.0.0.1/back"
        with httpx.Client(base_url=self.url) as browser:
            told = browser.put(f"/users/{user}", json={"email": f"{user}@example.com", "name": user.title()})
            assert told.is_success, told.text
            asked = {"client_id": client, "redirect_uri": back, "response_type": "code", "nonce": secrets.token_hex(8)}
            sent = browser.post(
                "/oauth2/authorize", params={**asked, "scope": "openid email profile"}, data={"sub": user}
            )
            code = httpx.URL(sent.headers["location"]).params["code"]
            form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
            answer = browser.post("/oauth2/token", data=form, auth=(client, "secret"))
        assert answer.status_code == 200, answer.text
        return answer.json()["id_token"]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/jwks", timeout=2).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def a_provider(log: Path) -> Iterator[Provider]:
    provider = Provider(log)
    try:
        yield provider
    finally:
        provider.stop()


def the_issuers(provider_url: str, endpoint_url: str) -> str:
    return json.dumps(
        [
            {"issuer": provider_url, "jwks_url": f"{provider_url}/jwks", "audience": CLIENT, "algorithms": ["RS256"]},
            {"issuer": OURS, "jwks_url": endpoint_url, "audience": [CLIENT, "api"], "algorithms": ["EdDSA"]},
        ]
    )


class Place(NamedTuple):
    """The service, and the two whom it believes."""

    service: Any
    provider: Provider
    endpoint: Endpoint

    def ask(self, token: str, path: str = "/api/tasks") -> httpx.Response:
        return httpx.get(f"{self.service.url}{path}", headers={"authorization": f"Bearer {token}"})


@pytest.fixture(scope="module")
def place(serve_for_module: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with ExitStack() as stack:
        provider = stack.enter_context(a_provider(tmp_path_factory.mktemp("provider") / "log"))
        endpoint = stack.enter_context(an_endpoint(signer("one").member()))
        service = serve_for_module(env={**ALONE, "JWT_ISSUERS": the_issuers(provider.url, endpoint.url)})
        place = Place(service, provider, endpoint)
        wait_for(lambda: len(lines(service, "keys of")) == 2)
        yield place
        assert service.stop() == 0


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def lines(service: Any, part: str) -> list[tuple[str, str]]:
    """The lines of the log with that in their message: level and message."""
    found = [json.loads(line) for line in service.log() if line.startswith("{")]
    return [(line["level"], line["message"]) for line in found if part in line["message"]]


def ours(kid: str = "one", by: Signer | None = None, **claims: Any) -> str:
    """A token of the issuer whose endpoint is ours."""
    everything = {"iss": OURS, "aud": "api", "sub": "ada", "exp": int(time.time()) + 600, "jti": secrets.token_hex(8)}
    return Signer(kid, "EdDSA", (by or signer("one")).private).sign({**everything, **claims}).decode()


@pytest.mark.slow
class TestForeignTokens:
    """In this order: the last one takes the issuers away."""

    def test_the_keys_are_there_and_one_line_each_says_so(self, place: Place) -> None:
        assert sorted(lines(place.service, "keys of")) == sorted(
            ("INFO", f"The keys of {issuer} are here: 1.") for issuer in (place.provider.url, OURS)
        )

    def test_somebody_logs_in_there_and_has_tasks_here(self, place: Place) -> None:
        user = f"ada-{secrets.token_hex(4)}"
        headers = {"authorization": f"Bearer {place.provider.log_in(user)}"}
        with httpx.Client(base_url=place.service.url, headers=headers) as api:
            assert (api.get("/api/tasks").status_code, api.get("/api/tasks").json()) == (200, {"data": []})
            made = api.post("/api/tasks", json={"title": "Buy milk"})
            task = made.json()["data"]
            assert (made.status_code, task) == (
                201,
                {
                    "id": task["id"],
                    "uid": task["uid"],
                    "user_id": user,
                    "title": "Buy milk",
                    "description": None,
                    "completed": False,
                    **PLAIN,
                    "created_at": task["created_at"],
                    "updated_at": task["created_at"],
                    "version": 1,
                },
            )
            assert api.get("/api/tasks").json() == {"data": [task]}
        other = httpx.get(
            f"{place.service.url}/api/tasks/{task['id']}", headers={"authorization": f"Bearer {ours(sub='bob')}"}
        )
        assert other.status_code == 404

    def test_the_same_name_at_two_issuers_is_the_same_user(self, place: Place) -> None:
        """Ids are compared as they are; who believes two issuers believes them not to give one id to two people."""
        user = f"bob-{secrets.token_hex(4)}"
        headers = {"authorization": f"Bearer {ours(sub=user)}"}
        made = httpx.post(f"{place.service.url}/api/tasks", json={"title": "x"}, headers=headers)
        assert made.status_code == 201
        assert place.ask(place.provider.log_in(user)).json() == {"data": [made.json()["data"]]}

    def test_a_token_for_another_client_is_none_for_us(self, place: Place) -> None:
        answer = place.ask(place.provider.log_in("ada", client="somebody-else"))
        assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)

    def test_nobody_else_is_believed(self, place: Place) -> None:
        good = place.provider.log_in("ada")
        claims = jwt.decode(good, options={"verify_signature": False})
        kid = httpx.get(f"{place.provider.url}/jwks").json()["keys"][0]["kid"]
        forged = Signer(kid, "RS256", signer("forger", "RS256").private)
        for bad in (
            token("ada", secret=SECRET),
            jwt.encode(claims, SECRET),
            jwt.encode({**claims, "iss": OURS}, SECRET, headers={"kid": "one"}),
            forged.sign(claims).decode(),
            forged.sign({**claims, "iss": OURS}).decode(),
            ours(iss=place.provider.url, aud=CLIENT),
            ours(by=signer("two")),
            good[:-8] + "AAAAAAAA",
        ):
            answer = place.ask(bad)
            assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)
            assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'

    def test_there_are_no_accounts(self, place: Place) -> None:
        body = {"email": "ada@example.com", "password": "correct horse battery"}
        assert httpx.post(f"{place.service.url}/api/auth/login", json=body).status_code == 404

    def test_unknown_keys_by_the_hundred_fetch_once_at_most_and_hold_nobody_up(self, place: Place) -> None:
        before, good = len(place.endpoint.asked), ours()
        took = []
        with httpx.Client(base_url=place.service.url) as client:
            deadline = time.monotonic() + 2
            while time.monotonic() < deadline:
                for _ in range(10):
                    bad = ours(kid=secrets.token_hex(8))
                    answer = client.get("/api/tasks", headers={"authorization": f"Bearer {bad}"})
                    assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)
                began = time.monotonic()
                assert client.get("/health/live").status_code == 200
                took.append(time.monotonic() - began)
                assert client.get("/api/tasks", headers={"authorization": f"Bearer {good}"}).status_code == 200
        assert len(took) >= 10
        assert max(took) < 1
        assert len(place.endpoint.asked) - before <= 1
        assert len(lines(place.service, "keys of")) == 2

    def test_while_the_issuers_are_away_everybody_with_a_known_key_is_let_in(self, place: Place) -> None:
        good = [place.provider.log_in(f"user-{n}") for n in range(5)]
        place.provider.stop()
        place.endpoint.serve(b"", 500)

        answers = [place.ask(each) for each in good * 2 + [ours(sub=f"user-{n}") for n in range(50)]]
        assert {answer.status_code for answer in answers} == {200}
        assert place.ask(ours(kid="two", by=signer("two"))).status_code == 401
        assert httpx.get(f"{place.service.url}/health/ready").status_code == 200


@pytest.mark.slow
def test_it_starts_without_its_issuers_says_so_once_each_and_reads_them_from_a_file(
    serve: Callable[..., Any], tmp_path: Path
) -> None:
    file = tmp_path / "issuers.json"
    file.write_text(the_issuers(nobody := f"http://127.0.0.1:{free_port()}", f"http://127.0.0.1:{free_port()}/jwks"))
    service = serve(env={**ALONE, "JWT_ISSUERS": str(file)})

    wait_for(lambda: len(lines(service, "keys of")) == 2)
    for _ in range(20):
        answer = httpx.get(f"{service.url}/api/tasks", headers={"authorization": f"Bearer {ours()}"})
        assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)
    assert httpx.get(f"{service.url}/health/ready").status_code == 200
    assert sorted(lines(service, "keys of")) == sorted(
        ("WARNING", f"The keys of {issuer} cannot be fetched (ConnectError).") for issuer in (nobody, OURS)
    )
    assert service.stop() == 0


@pytest.mark.slow
def test_an_issuer_that_never_answers_holds_up_neither_the_start_nor_the_end(serve: Callable[..., Any]) -> None:
    with an_endpoint() as endpoint:

        def hang(_: Any) -> None:
            time.sleep(5)

        endpoint.reply = hang
        began = time.monotonic()
        service = serve(env={**ALONE, "JWT_ISSUERS": the_issuers(endpoint.url, endpoint.url)})
        wait_for(lambda: endpoint.asked)
        assert httpx.get(f"{service.url}/api/tasks", headers={"authorization": f"Bearer {ours()}"}).status_code == 401
        assert service.stop() == 0
        assert time.monotonic() - began < 20


def test_one_that_is_no_good_ends_the_start_with_one_line(serve: Callable[..., Any]) -> None:
    issuer = {"issuer": OURS, "jwks_url": "http://ours.example.com/jwks", "audience": None, "algorithms": ["EdDSA"]}
    service = serve(env={**ALONE, "JWT_ISSUERS": json.dumps([issuer])}, wait=None)

    assert service.process.wait(START_SECONDS) == 1
    assert service.log() == [
        "JWT_ISSUERS is a list with a jwks_url that cannot be trusted, but must be one with https,"
        " or http on this machine."
    ]


@pytest.mark.slow
def test_a_rotation_of_our_secret_loses_nobody(serve: Callable[..., Any]) -> None:
    older = "the secret before the one of today: of 32 bytes or more"
    tokens = [token("ada", secret=older), token("ada", secret=SECRET)]

    def statuses(secret: str) -> list[int]:
        service = serve(env={"JWT_SECRET": secret})
        found = [
            httpx.get(f"{service.url}/api/tasks", headers={"authorization": f"Bearer {each}"}).status_code
            for each in tokens
        ]
        assert service.stop() == 0
        return found

    assert statuses(f"{SECRET},{older}") == [200, 200]
    minted = subprocess.run(
        [sys.executable, "-m", "app", "token", "ada"],
        cwd=ROOT, env={**os.environ, "JWT_SECRET": f"{SECRET},{older}"}, capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip
    assert jwt.decode(minted, SECRET, ["HS256"])["user_id"] == "ada"
    assert statuses(SECRET) == [401, 200]
