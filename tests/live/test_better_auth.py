"""Behind a real Better Auth, from npm: its tables beside ours, its users, its tokens, and what happens when one leaves.

The server is `better_auth/server.mjs`. `tools.py` installs it.
"""

import asyncio
import base64
import json
import os
import secrets
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests import forkserver
from tests.live.conftest import free_port
from tests.live.tools import from_npm
from tests.tasks.plain import PLAIN

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).parent / "better_auth"
START_SECONDS = 30
TRUST_SECONDS = 20  # for the service to fetch the keys

SECRET = secrets.token_urlsafe(48)
PASSWORD = "correct horse battery"
UNAUTHORIZED = {"error": {"code": "UNAUTHORIZED", "message": "This needs a valid bearer token."}}
NOT_FOUND = {"error": {"code": "NOT_FOUND", "message": "There is no such task."}}


@pytest.fixture(scope="session")
def installed() -> Path:
    """The folder with the server and its `node_modules`."""
    return from_npm(SOURCE)


@contextmanager
def better_auth(folder: Path, database_url: str, port: int, log: Path, **more: str) -> Iterator[str]:
    """A running Better Auth, as its URL. It makes its tables first."""
    url = f"http://127.0.0.1:{port}"
    env = {**os.environ, "DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET, "PORT": str(port), **more}
    with log.open("w") as out:
        process = subprocess.Popen(["node", "server.mjs"], cwd=folder, env=env, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not answers(f"{url}/api/auth/ok"):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        try:
            code = process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)
            raise
    assert code == 0, log.read_text()


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.TransportError:
        return False


class Place(NamedTuple):
    """One database with Better Auth and our service on it."""

    auth: str
    tasks: str
    database: str

    def sql(self, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
        async def fetch() -> list[tuple[Any, ...]]:
            connection = await asyncpg.connect(self.database)
            rows = await connection.fetch(query, *arguments)
            await connection.close()
            return [tuple(row) for row in rows]

        return asyncio.run(fetch())


class Person:
    """Somebody who has signed up at Better Auth, with the browser that holds the session."""

    def __init__(self, browser: httpx.Client, name: str) -> None:
        self.name = name
        self.email = f"{name.lower()}.{secrets.token_hex(4)}@example.com"
        self.browser = browser
        form = {"name": name, "email": self.email, "password": PASSWORD}
        answer = browser.post("/api/auth/sign-up/email", json=form)
        assert answer.status_code == 200, answer.text
        self.id = answer.json()["user"]["id"]

    def token(self, path: str) -> str:
        answer = self.browser.get(path)
        assert answer.status_code == 200
        return answer.json()["token"]

    def leave(self) -> None:
        """Delete the account, as a settings page does it."""
        answer = self.browser.post("/api/auth/delete-user", json={"password": PASSWORD})
        assert (answer.status_code, answer.json()) == (200, {"success": True, "message": "User deleted"})


SignUp = Callable[[str], Person]
As = Callable[[str], httpx.Client]

# Where a frontend gets its tokens: from the JWT plugin, or from a route of its own that knows the secret.
EDDSA, HS256 = "/api/auth/token", "/api/token"
both_tokens = pytest.mark.parametrize("kind", [EDDSA, HS256], ids=["EdDSA", "HS256"])


@pytest.fixture(scope="module", params=["Better Auth first", "tasks first"])
def place(
    request: pytest.FixtureRequest,
    installed: Path,
    new_database: Callable[[], str],
    serve_for_module: Callable[..., Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Place]:
    """Both on the same database, whichever of them has made its tables first."""
    database, port = new_database(), free_port()
    log = tmp_path_factory.mktemp("better-auth") / "log"
    url = f"http://127.0.0.1:{port}"
    issuer = {"issuer": url, "jwks_url": f"{url}/api/auth/jwks", "audience": url, "algorithms": ["EdDSA"]}
    env = {
        "DATABASE_URL": database,
        "JWT_SECRET": "",  # empty, not missing: a developer's .env may have one
        "BETTER_AUTH_SECRET": SECRET,
        "JWT_ISSUERS": json.dumps([issuer]),
        "ACCOUNTS": "off",
        "PROVISION_USERS": "off",
    }
    if request.param == "tasks first":
        assert forkserver.command("migrate", **env).returncode == 0
    with better_auth(installed, database, port, log) as auth:
        # Before the service looks for them: its keys are made when the first of them is needed.
        with httpx.Client(base_url=auth, headers={"origin": auth}) as browser:
            token = Person(browser, "Grace").token(EDDSA)
        service = serve_for_module(env=env, arguments=["--migrate"])
        wait_for_trust(service, token)
        yield Place(auth, service.url, database)
        assert service.stop() == 0


def wait_for_trust(service: Any, token: str) -> None:
    """Wait until the service has fetched Better Auth's keys."""
    deadline = time.monotonic() + TRUST_SECONDS
    headers = {"authorization": f"Bearer {token}"}
    while httpx.get(f"{service.url}/api/tasks", headers=headers).status_code != 200:
        assert time.monotonic() < deadline, service.log()
        time.sleep(0.05)


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    """Every client of a test, closed in the end."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def sign_up(place: Place, clients: ExitStack) -> SignUp:
    """A function that signs somebody of this name up at Better Auth."""

    def sign_up(name: str) -> Person:
        # A browser's Origin: Better Auth refuses cookies without one.
        browser = clients.enter_context(httpx.Client(base_url=place.auth, headers={"origin": place.auth}))
        return Person(browser, name)

    return sign_up


@pytest.fixture
def bearing(place: Place, clients: ExitStack) -> As:
    """A function from a token to a client of our API."""
    return lambda token: clients.enter_context(
        httpx.Client(base_url=place.tasks, headers={"authorization": f"Bearer {token}"})
    )


def test_the_table_of_users_is_the_same_whoever_has_made_it(place: Place) -> None:
    columns = place.sql(
        "SELECT column_name, data_type, is_nullable FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name = 'user' ORDER BY ordinal_position"
    )
    assert columns == [
        ("id", "text", "NO"),
        ("name", "text", "NO"),
        ("email", "text", "NO"),
        ("emailVerified", "boolean", "NO"),
        ("image", "text", "YES"),
        ("createdAt", "timestamp with time zone", "NO"),
        ("updatedAt", "timestamp with time zone", "NO"),
    ]


def test_its_own_token_names_the_user_in_sub_and_itself_as_issuer_and_audience(place: Place, sign_up: SignUp) -> None:
    ada = sign_up("Ada")
    token = ada.token(EDDSA)
    keys = httpx.get(f"{place.auth}/api/auth/jwks").json()["keys"]
    claims = jwt.decode(token, options={"verify_signature": False})

    assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "kid": keys[0]["kid"]}
    assert claims.pop("exp") == claims.pop("iat") + 15 * 60
    assert claims.pop("createdAt") <= claims.pop("updatedAt")  # its clock is asked for each
    assert claims == {
        "sub": ada.id,
        "iss": place.auth,
        "aud": place.auth,
        "id": ada.id,
        "email": ada.email,
        "emailVerified": False,
        "name": "Ada",
        "image": None,
    }


@both_tokens
def test_all_six_endpoints_work_with_its_token(kind: str, place: Place, sign_up: SignUp, bearing: As) -> None:
    ada = sign_up("Ada")
    api = bearing(ada.token(kind))
    assert (api.get("/api/tasks").status_code, api.get("/api/tasks").json()) == (200, {"data": []})

    made = api.post("/api/tasks", json={"title": "Buy milk", "description": "Two litres"})
    task = made.json()["data"]
    path = f"/api/tasks/{task['id']}"
    assert (made.status_code, made.headers["location"]) == (201, path)
    assert task == {
        "id": task["id"],
        "uid": task["uid"],
        "user_id": ada.id,
        "title": "Buy milk",
        "description": "Two litres",
        "completed": False,
        **PLAIN,
        "created_at": task["created_at"],
        "updated_at": task["created_at"],
        "version": 1,
    }

    for answer, whole in ((api.get("/api/tasks"), {"data": [task]}), (api.get(path), {"data": task})):
        assert (answer.status_code, answer.json()) == (200, whole)

    put = api.put(path, json={"title": "Buy oat milk"})
    then = put.json()["data"]["updated_at"]
    changed = {**task, "title": "Buy oat milk", "description": None, "updated_at": then, "version": 2}
    assert (put.status_code, put.json()) == (200, {"data": changed})

    flip = api.patch(f"{path}/complete")
    then = flip.json()["data"]["updated_at"]
    flipped = {**changed, "completed": True, "completed_at": then, "updated_at": then, "version": 3}
    assert (flip.status_code, flip.json()) == (200, {"data": flipped})
    assert task["updated_at"] < changed["updated_at"] < flipped["updated_at"]
    assert place.sql("SELECT user_id, title, completed FROM tasks WHERE id = $1", task["id"]) == [
        (ada.id, "Buy oat milk", True)
    ]

    gone = api.delete(path)
    assert (gone.status_code, gone.content) == (204, b"")
    assert (api.get(path).status_code, api.get(path).json()) == (404, NOT_FOUND)
    assert api.get("/api/tasks").json() == {"data": []}


def test_both_tokens_are_the_same_user(place: Place, sign_up: SignUp, bearing: As) -> None:
    ada = sign_up("Ada")
    with_key, with_secret = bearing(ada.token(EDDSA)), bearing(ada.token(HS256))
    one = with_key.post("/api/tasks", json={"title": "with the key"}).json()["data"]
    two = with_secret.post("/api/tasks", json={"title": "with the secret"}).json()["data"]

    assert with_key.get("/api/tasks").json() == with_secret.get("/api/tasks").json() == {"data": [two, one]}
    assert with_secret.patch(f"/api/tasks/{one['id']}/complete").json()["data"]["completed"]
    # The row of the user is Better Auth's own, and stays as Better Auth has filled it.
    assert place.sql('SELECT name, email FROM "user" WHERE id = $1', ada.id) == [("Ada", ada.email)]


@both_tokens
def test_two_of_its_users_do_not_see_each_others_tasks(kind: str, sign_up: SignUp, bearing: As) -> None:
    ada, bob = (bearing(sign_up(name).token(kind)) for name in ("Ada", "Bob"))
    task = ada.post("/api/tasks", json={"title": "Ada's"}).json()["data"]
    path = f"/api/tasks/{task['id']}"

    for answer in (
        bob.get(path),
        bob.put(path, json={"title": "Bob's"}),
        bob.patch(f"{path}/complete"),
        bob.delete(path),
    ):
        assert (answer.status_code, answer.json()) == (404, NOT_FOUND)
    assert bob.get("/api/tasks").json() == {"data": []}
    assert ada.get("/api/tasks").json() == {"data": [task]}


def test_who_leaves_better_auth_takes_the_tasks_along_and_cannot_write_again(
    place: Place, sign_up: SignUp, bearing: As
) -> None:
    ada, bob = sign_up("Ada"), sign_up("Bob")
    hers = [bearing(ada.token(EDDSA)), bearing(ada.token(HS256))]
    task, _ = (api.post("/api/tasks", json={"title": "Ada's"}).json()["data"] for api in hers)
    kept = bearing(bob.token(EDDSA)).post("/api/tasks", json={"title": "Bob's"}).json()["data"]

    ada.leave()

    assert place.sql("SELECT count(*) FROM tasks WHERE user_id = $1", ada.id) == [(0,)]
    assert ada.browser.get(EDDSA).status_code == ada.browser.get(HS256).status_code == 401
    for api in hers:
        for _ in range(2):
            refused = api.post("/api/tasks", json={"title": "a ghost's"})
            assert (refused.status_code, refused.json()) == (401, UNAUTHORIZED)
            assert refused.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        listed = api.get("/api/tasks")
        assert (listed.status_code, listed.json()) == (200, {"data": []})
        assert api.get(f"/api/tasks/{task['id']}").status_code == 404
    assert place.sql('SELECT id FROM "user" WHERE id = $1', ada.id) == []
    assert place.sql("SELECT id FROM tasks WHERE user_id = $1", ada.id) == []
    assert bearing(bob.token(HS256)).get("/api/tasks").json() == {"data": [kept]}


def of_another_audience(place: Place, ada: Person) -> str:
    return ada.token("/api/token-for-elsewhere")


def with_another_users_claims(place: Place, ada: Person) -> str:
    header, claims, signature = ada.token(EDDSA).split(".")
    changed = {**json.loads(base64.urlsafe_b64decode(f"{claims}==")), "sub": "bob"}
    forged = base64.urlsafe_b64encode(json.dumps(changed).encode()).decode().rstrip("=")
    return f"{header}.{forged}.{signature}"


def signed_by_a_strangers_key(place: Place, ada: Person) -> str:
    token = ada.token(EDDSA)
    claims = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode(claims, Ed25519PrivateKey.generate(), "EdDSA", headers=jwt.get_unverified_header(token))


def signed_with_the_public_key_as_a_secret(place: Place, ada: Person) -> str:
    token = ada.token(EDDSA)
    claims = jwt.decode(token, options={"verify_signature": False})
    public = httpx.get(f"{place.auth}/api/auth/jwks").json()["keys"][0]
    header = {"kid": public["kid"]}
    return jwt.encode(claims, base64.urlsafe_b64decode(f"{public['x']}="), "HS256", headers=header)


def signed_with_another_secret(place: Place, ada: Person) -> str:
    return jwt.encode({"user_id": ada.id, "exp": int(time.time()) + 3600}, "x" * 48, "HS256")


def of_the_session(place: Place, ada: Person) -> str:
    return ada.browser.cookies["better-auth.session_token"]


@pytest.mark.parametrize(
    "forge",
    [
        of_another_audience,
        with_another_users_claims,
        signed_by_a_strangers_key,
        signed_with_the_public_key_as_a_secret,
        signed_with_another_secret,
        of_the_session,
    ],
)
def test_a_token_is_refused(forge: Callable[[Place, Person], str], place: Place, sign_up: SignUp, bearing: As) -> None:
    api = bearing(forge(place, sign_up("Ada")))
    for answer in (api.get("/api/tasks"), api.post("/api/tasks", json={"title": "x"})):
        assert (answer.status_code, answer.json()) == (401, UNAUTHORIZED)
        assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
