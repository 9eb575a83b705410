"""Accounts on a real socket: over several workers, under load, behind a proxy; and what the log says of them."""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Callable
from statistics import median
from typing import Any

import httpx
import pytest

from tests.accounts.people import NO_TOKEN, NOTHING_HERE, PASSWORD, SPENT, WRONG, bearer
from tests.conftest import token

pytestmark = pytest.mark.slow

NEW = "a new password of hers"


@pytest.fixture(scope="module")
def two(serve_for_module: Callable[..., Any]) -> Any:
    """One service of two workers."""
    return serve_for_module(workers=2)


@pytest.fixture(autouse=True)
async def nothing_has_failed(sql: Any) -> None:
    """All come from one address on the network, also those of other tests."""
    await sql.execute("TRUNCATE rate_limits")


def caller(service: Any, **headers: str) -> httpx.AsyncClient:
    """Somebody who makes a connection for each request, so that either worker may get it."""
    limits = httpx.Limits(max_connections=60, max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=f"{service.url}/api", headers=headers, limits=limits, timeout=30)


@pytest.fixture
async def client(two: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with caller(two) as client:
        yield client


def someone(**wish: str) -> dict[str, str]:
    """Somebody whom no other test knows."""
    return {"name": "Ada", "email": f"ada-{secrets.token_hex(8)}@example.com", "password": PASSWORD, **wish}


async def signed_up(client: httpx.AsyncClient, **wish: str) -> dict[str, Any]:
    answer = await client.post("/auth/signup", json=someone(**wish))
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


async def attempt(client: httpx.AsyncClient, email: str, password: str = PASSWORD, **more: Any) -> httpx.Response:
    return await client.post("/auth/login", json={"email": email, "password": password}, **more)


async def refresh(client: httpx.AsyncClient, login: dict[str, Any]) -> httpx.Response:
    return await client.post("/auth/refresh", json={"refresh_token": login["refresh_token"]})


async def known_everywhere(client: httpx.AsyncClient, key: str) -> None:
    """Show a token around, until every worker remembers it."""
    answers = await asyncio.gather(*(client.get("/tasks", headers=bearer(key)) for _ in range(24)))
    assert {answer.status_code for answer in answers} == {200}


async def statuses(client: httpx.AsyncClient, key: str, method: str = "GET", **more: Any) -> set[int]:
    answers = await asyncio.gather(*(client.request(method, "/tasks", headers=bearer(key), **more) for _ in range(24)))
    return {answer.status_code for answer in answers}


class TestTwoWorkers:
    async def test_of_fifty_guesses_at_once_five_are_made(self, client: httpx.AsyncClient) -> None:
        email = (await signed_up(client))["user"]["email"]

        answers = await asyncio.gather(*(attempt(client, email, f"guess {n}") for n in range(50)))

        assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 45
        for answer in answers:
            if answer.status_code == 401:
                assert answer.json() == WRONG
            else:
                assert 890 < answer.json()["error"]["retryAfter"] == int(answer.headers["retry-after"]) <= 900
        right = await attempt(client, email)
        assert (right.status_code, right.json()["error"]["code"]) == (429, "RATE_LIMIT_EXCEEDED")

    async def test_for_a_locked_email_no_password_is_looked_at(self, client: httpx.AsyncClient) -> None:
        email = (await signed_up(client))["user"]["email"]
        took: dict[int, list[float]] = {401: [], 429: []}
        for _ in range(14):
            began = time.perf_counter()
            answer = await attempt(client, email, "not hers")
            took[answer.status_code].append(time.perf_counter() - began)

        assert (len(took[401]), len(took[429])) == (5, 9)
        assert min(took[429]) < min(took[401])

    async def test_fifty_right_logins_at_once_are_fifty_logins(self, client: httpx.AsyncClient) -> None:
        email = (await signed_up(client))["user"]["email"]
        answers = await asyncio.gather(*(attempt(client, email) for _ in range(50)))
        assert {answer.status_code for answer in answers} == {200}

    @pytest.mark.parametrize(("tabs", "rounds"), [(2, 100), (3, 20), (24, 2)])
    async def test_tabs_that_refresh_together_each_get_a_pair_that_is_good_for_the_next_one_too(
        self, client: httpx.AsyncClient, tabs: int, rounds: int
    ) -> None:
        login = await signed_up(client)
        held = [login] * tabs
        for _ in range(rounds):
            answers = await asyncio.gather(*(refresh(client, each) for each in held))
            assert [answer.status_code for answer in answers] == [200] * tabs
            held = [answer.json()["data"] for answer in answers]
            told = await asyncio.gather(*(client.get("/auth/me", headers=bearer(each["token"])) for each in held))
            assert [answer.status_code for answer in told] == [200] * tabs

    async def test_a_copy_of_two_generations_ago_ends_the_family_everywhere(self, client: httpx.AsyncClient) -> None:
        first = await signed_up(client)
        second = (await refresh(client, first)).json()["data"]
        third = (await refresh(client, second)).json()["data"]
        await known_everywhere(client, third["token"])

        answers = await asyncio.gather(*(refresh(client, first) for _ in range(6)))

        assert [(answer.status_code, answer.json()) for answer in answers] == [(401, SPENT)] * 6
        assert (await refresh(client, third)).status_code == 401
        await asyncio.sleep(1.5)
        for login in (first, second, third):
            assert await statuses(client, login["token"]) == {401}

    async def test_a_stolen_access_token_and_a_stolen_device_token_are_worth_five_guesses_each(
        self, client: httpx.AsyncClient
    ) -> None:
        login = await signed_up(client)
        email, device = login["user"]["email"], {"device_token": login["device_token"]}

        async def leave(password: str) -> httpx.Response:
            body = {"password": password}
            return await client.request("DELETE", "/auth/me", json=body, headers=bearer(login["token"]))

        async def known(password: str) -> httpx.Response:
            return await client.post("/auth/login", json={"email": email, "password": password, **device})

        for guess in (leave, known):
            answers = await asyncio.gather(*(guess(f"guess {n}") for n in range(50)))
            assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 45
        assert (await attempt(client, email)).status_code == 200

    async def test_of_sixty_tokens_at_once_fifty_are_made(self, client: httpx.AsyncClient, sql: Any) -> None:
        login = await signed_up(client)
        wish, owner = {"name": "script", "scope": "read"}, login["user"]["id"]
        answers = await asyncio.gather(
            *(client.post("/auth/tokens", json=wish, headers=bearer(login["token"])) for _ in range(60))
        )
        assert sorted(answer.status_code for answer in answers) == [201] * 50 + [409] * 10
        count = "SELECT count(*) FROM personal_access_tokens WHERE user_id = $1"
        assert await sql.fetchval(count, owner) == 50

    async def test_of_120_logins_at_once_a_hundred_are_left(self, client: httpx.AsyncClient, sql: Any) -> None:
        login = await signed_up(client)
        for _ in range(4):
            answers = await asyncio.gather(*(attempt(client, login["user"]["email"]) for _ in range(30)))
            assert {answer.status_code for answer in answers} == {200}
        count = "SELECT count(*) FROM login_sessions WHERE user_id = $1"
        assert await sql.fetchval(count, login["user"]["id"]) == 100

    @pytest.mark.parametrize("way", ["logout", "logout-all"])
    async def test_a_logout_in_one_is_heard_of_by_all_within_two_seconds(
        self, client: httpx.AsyncClient, way: str
    ) -> None:
        login = await signed_up(client)
        await known_everywhere(client, login["token"])

        answer = await client.post(f"/auth/{way}", headers=bearer(login["token"]))
        assert answer.status_code == 204
        await asyncio.sleep(1.5)

        assert await statuses(client, login["token"]) == {401}

    async def test_a_personal_token_that_is_revoked_is_refused_by_all_at_once(self, client: httpx.AsyncClient) -> None:
        login = await signed_up(client)
        wish = {"name": "script", "scope": "write"}
        made = (await client.post("/auth/tokens", json=wish, headers=bearer(login["token"]))).json()["data"]
        await known_everywhere(client, made["token"])

        gone = await client.delete(f"/auth/tokens/{made['id']}", headers=bearer(login["token"]))

        assert gone.status_code == 204
        assert await statuses(client, made["token"]) == {401}

    async def test_a_deleted_account_stores_nothing_in_any_and_does_not_come_back(
        self, client: httpx.AsyncClient, sql: Any
    ) -> None:
        login = await signed_up(client)
        await known_everywhere(client, login["token"])

        gone = await client.request("DELETE", "/auth/me", json={"password": PASSWORD}, headers=bearer(login["token"]))

        assert gone.status_code == 204
        assert await statuses(client, login["token"], "POST", json={"title": "x"}) == {401}
        await asyncio.sleep(1.5)
        assert await statuses(client, login["token"]) == {401}
        assert await sql.fetchval('SELECT count(*) FROM "user" WHERE id = $1', login["user"]["id"]) == 0

    async def test_of_sign_ups_with_one_email_one_has_it(self, client: httpx.AsyncClient, sql: Any) -> None:
        wish = someone()
        answers = await asyncio.gather(*(client.post("/auth/signup", json=wish) for _ in range(12)))
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 11
        assert await sql.fetchval('SELECT count(*) FROM "user" WHERE email = $1', f"{wish['email']}.user.invalid") == 1


class TestDurations:
    @pytest.mark.parametrize("of_another", [False, True], ids=["no device token", "a device token of another account"])
    async def test_a_wrong_login_takes_as_long_whether_there_is_an_account_or_not(
        self, client: httpx.AsyncClient, sql: Any, of_another: bool
    ) -> None:
        known = (await signed_up(client))["user"]["email"]
        device = (await signed_up(client))["device_token"] if of_another else None
        took: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(11):
            for exists in (True, False):
                email = known if exists else someone()["email"]
                began = time.perf_counter()
                body = {"email": email, "password": "not hers", "device_token": device}
                answer = await client.post("/auth/login", json=body)
                took[exists].append(time.perf_counter() - began)
                assert (answer.status_code, answer.json()) == (401, WRONG)
                await sql.execute("TRUNCATE rate_limits")

        assert 0.5 < median(took[True]) / median(took[False]) < 2

    async def test_others_are_served_while_thirty_people_log_in(self, service: Any) -> None:
        async with caller(service) as client, httpx.AsyncClient(base_url=service.url, timeout=30) as other:
            people = [someone() for _ in range(6)]
            for person in people:
                assert (await client.post("/auth/signup", json=person)).status_code == 201
            for _ in range(3):  # a busy machine may be slow once
                waited: list[float] = []
                logins = asyncio.gather(*(attempt(client, person["email"]) for person in people * 5))
                while not logins.done():
                    began = time.perf_counter()
                    assert (await other.get("/health/live")).status_code == 200
                    waited.append(time.perf_counter() - began)
                    await asyncio.sleep(0.01)
                assert {answer.status_code for answer in await logins} == {200}
                if max(waited) < 0.5:
                    break
            assert max(waited) < 0.5


class TestBehindAProxy:
    async def test_its_word_counts_where_it_is_trusted_which_the_loopback_is(self, service: Any) -> None:
        async with caller(service) as client:
            login = await self.from_elsewhere(client)
            assert await self.addresses(client, login) == ["203.0.113.7"]

    async def test_a_forged_one_changes_nothing_where_it_is_not(self, serve: Callable[..., Any], sql: Any) -> None:
        async with caller(serve(env={"FORWARDED_ALLOW_IPS": "10.0.0.1"})) as client:
            login = await self.from_elsewhere(client)
            assert await self.addresses(client, login) == ["127.0.0.1"]
            for number in range(3):
                forged = {"x-forwarded-for": f"203.0.113.{number}"}
                assert (await attempt(client, someone()["email"], headers=forged)).status_code == 401
        rows = await sql.fetch("SELECT email, failed_attempts FROM rate_limits WHERE email LIKE 'ip:%'")
        assert [tuple(row) for row in rows] == [("ip:127.0.0.1", 3)]

    async def test_one_that_is_locked_does_not_lock_others_behind_the_same_proxy(self, service: Any, sql: Any) -> None:
        await sql.execute(
            """
            INSERT INTO rate_limits (email, failed_attempts, last_attempt, created_at, recent_attempts)
            VALUES ('ip:203.0.113.7', 99, now(), now(), array_fill(now(), ARRAY[99]))
            """
        )
        async with caller(service) as client:
            email = (await signed_up(client))["user"]["email"]
            codes = [
                (await attempt(client, email, password, headers={"x-forwarded-for": address})).status_code
                for password, address in (
                    ("not hers", "203.0.113.7"),
                    (PASSWORD, "203.0.113.7"),
                    (PASSWORD, "203.0.113.8"),
                )
            ]
        assert codes == [401, 429, 200]

    async def from_elsewhere(self, client: httpx.AsyncClient) -> dict[str, Any]:
        answer = await client.post("/auth/signup", json=someone(), headers={"x-forwarded-for": "203.0.113.7"})
        return answer.json()["data"]

    async def addresses(self, client: httpx.AsyncClient, login: dict[str, Any]) -> list[str]:
        listed = await client.get("/auth/sessions", headers=bearer(login["token"]))
        return [each["ip_address"] for each in listed.json()["data"]]


@pytest.mark.parametrize("in_pieces", [False, True], ids=["with a length", "in chunks"])
async def test_a_body_over_16_kib_is_413(service: Any, in_pieces: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 1024

    async with caller(service) as client:
        answer = await client.post("/auth/login", content=pieces() if in_pieces else b" " * 40 * 1024)
    message = "The body is larger than 16 KiB."
    assert (answer.status_code, answer.json()) == (413, {"error": {"code": "PAYLOAD_TOO_LARGE", "message": message}})


async def test_switched_off_there_are_no_accounts_and_no_users_that_only_a_token_knows(
    serve: Callable[..., Any], service: Any, sql: Any
) -> None:
    async with caller(service) as client:
        login = await signed_up(client)
        wish = {"name": "script", "scope": "write"}
        personal = (await client.post("/auth/tokens", json=wish, headers=bearer(login["token"]))).json()["data"]
    unknown = f"u-{secrets.token_hex(8)}"

    async with caller(serve(env={"ACCOUNTS": "off", "PROVISION_USERS": "off"})) as client:
        for method, path in (("POST", "/auth/login"), ("POST", "/auth/signup"), ("GET", "/auth/me")):
            for headers in ({}, bearer(login["token"]), bearer(token("ada"))):
                answer = await client.request(method, path, json=someone(), headers=headers)
                assert (answer.status_code, answer.json()) == (404, NOTHING_HERE)
        for key in (login["token"], personal["token"]):
            answer = await client.get("/tasks", headers=bearer(key))
            assert (answer.status_code, answer.json()) == (401, NO_TOKEN)
        answer = await client.post("/tasks", json={"title": "x"}, headers=bearer(token(unknown)))
        assert (answer.status_code, answer.json()) == (401, NO_TOKEN)
        answer = await client.get("/tasks", headers=bearer(token(unknown)))
        assert (answer.status_code, answer.json()) == (200, {"data": []})
        answer = await client.post("/tasks", json={"title": "x"}, headers=bearer(token(login["user"]["id"])))
        assert answer.status_code == 201
    assert await sql.fetchval('SELECT count(*) FROM "user" WHERE id = $1', unknown) == 0


async def test_no_password_token_email_or_name_is_ever_in_the_log(serve: Callable[..., Any], sql: Any) -> None:
    service = serve(env={"LOG_LEVEL": "debug"})
    person = someone(name="Zaphod Quxfield")
    hush = ["Zaphod", "Quxfield", person["email"], person["email"].split("@", 1)[0], PASSWORD, NEW]

    async with caller(service) as client:

        async def sent(status: int, method: str, path: str, body: Any = None, key: str | None = None) -> Any:
            content = None if body is None else json.dumps(body)
            answer = await client.request(method, f"/auth{path}", content=content, headers=bearer(key) if key else {})
            assert answer.status_code == status, (path, answer.text)
            data = answer.json().get("data") if answer.content else None
            if isinstance(data, dict):
                hush.extend(data[name] for name in ("token", "refresh_token", "device_token") if name in data)
            return data

        credentials = {"email": person["email"], "password": person["password"]}
        login = await sent(201, "POST", "/signup", person)
        key = login["token"]
        await sent(409, "POST", "/signup", person)
        await sent(422, "POST", "/signup", {**person, "password": "Quxfild"})
        await sent(422, "POST", "/signup", {**person, "password": [PASSWORD]})
        await sent(400, "POST", "/login", None)
        await sent(401, "POST", "/login", {**credentials, "password": "a guess at Quxfield"})
        await sent(200, "POST", "/login", credentials)
        again = await sent(200, "POST", "/refresh", {"refresh_token": login["refresh_token"]})
        await sent(200, "PATCH", "/me", {"name": "Zaphod B. Quxfield"}, again["token"])
        await sent(204, "POST", "/me/password", {"current_password": PASSWORD, "new_password": NEW}, key)
        personal = await sent(201, "POST", "/tokens", {"name": "Quxfield's", "scope": "read"}, key)
        await sent(403, "POST", "/logout", None, personal["token"])
        await sent(403, "GET", "/sessions", None, personal["token"])
        await sent(200, "POST", "/login", {**credentials, "password": NEW, "device_token": again["device_token"]})
        await sent(200, "POST", "/refresh", {"refresh_token": again["refresh_token"]})
        await sent(404, "DELETE", f"/tokens/{personal['id'][::-1]}", None, key)
        await sent(401, "POST", "/refresh", {"refresh_token": login["refresh_token"]})
        await sent(401, "GET", "/me", None, key)
        for status in (401, 401, 401, 401, 401, 429):
            await sent(status, "POST", "/login", {**credentials, "password": "a guess at Quxfield"})
        await sql.execute("TRUNCATE rate_limits")
        fresh = await sent(200, "POST", "/login", {**credentials, "password": NEW})
        # What a database says of a row that it does not take is the row.
        await sql.execute("""ALTER TABLE "user" ADD CONSTRAINT no_x CHECK (name <> 'Quxfield X') NOT VALID""")
        try:
            await sent(500, "POST", "/signup", {**someone(), "name": "Quxfield X"})
        finally:
            await sql.execute('ALTER TABLE "user" DROP CONSTRAINT no_x')
        await sent(204, "DELETE", "/me", {"password": NEW}, fresh["token"])

    assert service.stop() == 0
    log = "\n".join(service.log())
    assert log.count("/api/auth/login") >= 9
    assert "CheckViolationError" in log
    hush += [each.rsplit(".", 1)[-1] for each in hush if each.startswith("ey")]
    assert [each for each in hush if each.lower() in log.lower()] == []
    assert "@example.com" not in log
    assert "$argon2" not in log
