"""Sign up, log in, stay logged in, log out, leave: the endpoints, one by one."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest
from litestar import Litestar

from app.auth.jwt import User, mint
from tests.accounts.people import (
    ACCESS,
    ADA,
    BOB,
    DEVICE,
    NO_GOOD,
    NO_TOKEN,
    NOT_SENT,
    NOTHING_HERE,
    PASSWORD,
    REFRESH,
    SPENT,
    STAMP,
    WRONG,
    Person,
    attempt,
    bearer,
    bearing,
    logged_in,
    refreshed,
    refused,
    signed_up,
    who,
)
from tests.conftest import SECRET, token, visitor

TAKEN = {"error": {"code": "EMAIL_ALREADY_EXISTS", "message": "There is an account with this email address."}}
NOT_A_LOGIN = {"error": {"code": "FORBIDDEN", "message": "This token does not come from a login."}}
TOO_LARGE = {"error": {"code": "PAYLOAD_TOO_LARGE", "message": "The body is larger than 16 KiB."}}
TOO_SHORT = "A password has 8 to 1024 characters"
NO_EMAIL = "Email is not an email address"


def is_a_login(login: Any, **user: Any) -> None:
    """All that a login gives, and nothing else."""
    given = login["user"]
    assert login == {
        "user": {"id": given["id"], "created_at": given["created_at"], **user},
        "token": login["token"],
        "refresh_token": login["refresh_token"],
        "expires_in": 900,
        "device_token": login["device_token"],
    }
    assert DEVICE.fullmatch(login["device_token"])
    assert ACCESS.fullmatch(login["token"])
    assert REFRESH.fullmatch(login["refresh_token"])
    assert STAMP.fullmatch(given["created_at"])


class TestSignUp:
    async def test_a_new_account_is_logged_in(self, stranger: httpx.AsyncClient, running: Litestar) -> None:
        answer = await stranger.post("/api/auth/signup", json=ADA)

        login = answer.json()["data"]
        assert answer.status_code == 201
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json() == {"data": login}
        is_a_login(login, name="Ada Lovelace", email="ada@example.com")
        assert re.fullmatch(r"[0-9a-f]{32}", login["user"]["id"])
        async with bearing(running, login["token"]) as ada:
            assert (await ada.get("/api/auth/me")).json() == {"data": login["user"]}
            assert (await ada.get("/api/tasks")).json() == {"data": []}

    async def test_the_access_token_says_who_it_is_and_ends_after_15_minutes(self, lovelace: Person) -> None:
        claims = jwt.decode(lovelace.login["token"], SECRET, ["HS256"])

        assert claims == {
            "iss": "urn:tasks-api:accounts",
            "sid": claims["sid"],
            "user_id": lovelace.id,
            "email": "ada@example.com",
            "name": "Ada Lovelace",
            "jti": claims["jti"],
            "iat": claims["iat"],
            "exp": claims["iat"] + 900,
        }

    async def test_the_account_can_own_tasks_and_another_sees_none_of_them(
        self, lovelace: Person, boole: Person
    ) -> None:
        task = (await lovelace.post("/api/tasks", json={"title": "Buy milk"})).json()["data"]

        assert task["user_id"] == lovelace.id
        assert (await boole.get("/api/tasks")).json() == {"data": []}
        assert (await boole.get(f"/api/tasks/{task['id']}")).status_code == 404

    @pytest.mark.parametrize("email", ["ada@example.com", "ADA@EXAMPLE.COM", " Ada@Example.com "])
    async def test_an_email_has_one_account_in_whatever_case(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any, email: str
    ) -> None:
        answer = await stranger.post("/api/auth/signup", json={**ADA, "email": email, "name": "Eve"})

        assert (answer.status_code, answer.json()) == (409, TAKEN)
        assert await sql.fetchval("SELECT string_agg(name, ',') FROM \"user\"") == "Ada Lovelace"

    @pytest.mark.slow
    async def test_of_twenty_concurrent_ones_one_has_the_email_and_the_others_are_409(
        self, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        answers = await asyncio.gather(
            *(
                stranger.post("/api/auth/signup", json={**ADA, "email": email})
                for email in ["ada@example.com", "Ada@Example.com"] * 10
            )
        )

        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 19
        assert await sql.fetchval('SELECT count(*) FROM "user"') == 1
        assert await sql.fetchval("SELECT count(*) FROM credentials") == 1

    async def test_an_email_that_a_token_has_brought_along_is_taken_too(
        self, stranger: httpx.AsyncClient, running: Litestar
    ) -> None:
        async with bearing(running, token("u1", email="ADA@example.com")) as client:
            assert (await client.post("/api/tasks", json={"title": "x"})).status_code == 201

        answer = await stranger.post("/api/auth/signup", json=ADA)

        assert (answer.status_code, answer.json()) == (409, TAKEN)

    async def test_a_token_that_names_the_email_of_an_account_does_not_get_the_account(
        self, lovelace: Person, running: Litestar, sql: Any
    ) -> None:
        async with bearing(running, token("u1", email="Ada@example.com", name="Eve")) as eve:
            assert (await eve.post("/api/tasks", json={"title": "x"})).status_code == 201
            assert (await eve.get("/api/auth/me")).json()["data"]["email"] is None
            assert (await eve.get("/api/auth/sessions")).json() == {"data": []}

        assert await sql.fetchval('SELECT email FROM "user" WHERE id = $1', lovelace.id) == (
            "ada@example.com.user.invalid"
        )
        assert (await lovelace.get("/api/tasks")).json() == {"data": []}

    @pytest.mark.parametrize(
        ("change", "answer"),
        [
            ({"name": ...}, refused("name", "Name is required")),
            ({"name": " \t\n"}, refused("name", "Name is required")),
            ({"name": 5}, refused("name", "Name must be a string")),
            ({"name": "x" * 256}, refused("name", "Name must have 255 characters at most")),
            ({"name": "a\0b"}, refused("name", "Name must not contain the character U+0000")),
            ({"email": ...}, refused("email", "Email is required")),
            ({"email": None}, refused("email", "Email must be a string")),
            ({"email": ""}, refused("email", NO_EMAIL)),
            ({"email": "ada"}, refused("email", NO_EMAIL)),
            ({"email": "ada@example.com\0"}, refused("email", NO_EMAIL)),
            ({"email": f"{'x' * 250}@example.com"}, refused("email", NO_EMAIL)),
            ({"email": "ada@user.invalid"}, refused("email", NO_EMAIL)),
            ({"password": ...}, refused("password", "Password is required")),
            ({"password": None}, refused("password", "Password must be a string")),
            ({"password": "1234567"}, refused("password", TOO_SHORT)),
            ({"password": "x" * 1025}, refused("password", TOO_SHORT)),
        ],
    )
    async def test_what_is_not_acceptable_is_422_and_named(
        self, stranger: httpx.AsyncClient, sql: Any, change: Any, answer: Any
    ) -> None:
        body = {name: value for name, value in {**ADA, **change}.items() if value is not ...}

        response = await stranger.post("/api/auth/signup", json=body)

        assert (response.status_code, response.json()) == (422, answer)
        assert await sql.fetchval('SELECT count(*) FROM "user"') == 0

    @pytest.mark.parametrize("body", [[], None, "x", 5])
    async def test_a_body_that_is_no_object_is_422(self, stranger: httpx.AsyncClient, body: Any) -> None:
        answer = await stranger.post("/api/auth/signup", content=json.dumps(body))
        assert (answer.status_code, answer.json()) == (422, refused("body", "The body must be a JSON object"))

    @pytest.mark.parametrize("field", ["name", "email", "password"])
    async def test_half_a_character_is_never_a_crash(self, stranger: httpx.AsyncClient, sql: Any, field: str) -> None:
        text = json.dumps({**ADA, field: "HERE@example.com"}).replace("HERE", "\\ud800half")

        answer = await stranger.post("/api/auth/signup", content=text)

        assert answer.status_code in (400, 422)
        assert await sql.fetchval('SELECT count(*) FROM "user"') == 0

    @pytest.mark.parametrize("name", ["x", "x" * 255, f" {'x' * 255}\n", "\U0001f95b" * 255, "\u202e\u0001"])
    async def test_a_name_has_1_to_255_characters_once_it_is_trimmed(
        self, stranger: httpx.AsyncClient, name: str
    ) -> None:
        assert (await signed_up(stranger, name=name))["user"]["name"] == name.strip()

    async def test_what_the_service_gives_itself_is_ignored(self, stranger: httpx.AsyncClient, sql: Any) -> None:
        login = await signed_up(stranger, id="root", created_at="1999-01-01T00:00:00Z", emailVerified=True, scope="x")

        row = await sql.fetchrow('SELECT id, "emailVerified", "createdAt" FROM "user"')
        assert (row["id"], row["emailVerified"]) == (login["user"]["id"], False)
        assert row["createdAt"] > datetime.now(UTC) - timedelta(minutes=1)


class TestLogIn:
    @pytest.mark.parametrize("email", ["ada@example.com", "ADA@EXAMPLE.COM", " aDa@Example.Com\n"])
    async def test_the_same_shape_as_a_sign_up_and_the_same_user(
        self, lovelace: Person, stranger: httpx.AsyncClient, email: str
    ) -> None:
        answer = await attempt(stranger, email)

        login = answer.json()["data"]
        assert answer.status_code == 200
        assert answer.json() == {"data": login}
        is_a_login(login, name="Ada Lovelace", email="ada@example.com")
        assert login["user"] == lovelace.login["user"]
        assert login["token"] != lovelace.login["token"]
        assert login["refresh_token"] != lovelace.login["refresh_token"]

    async def test_a_wrong_password_and_an_email_that_nobody_has_are_the_same_401_byte_for_byte(
        self, lovelace: Person, stranger: httpx.AsyncClient
    ) -> None:
        same = {"x-request-id": "the-same"}

        wrong = await attempt(stranger, password="not hers", headers=same)
        nobody = await attempt(stranger, "nobody@example.com", headers=same)

        assert who(wrong) == (401, NOT_SENT, WRONG)
        assert wrong.headers.raw == nobody.headers.raw
        assert wrong.content == nobody.content

    @pytest.mark.parametrize("password", ["", "x", "x" * 5000, "correct horse battery staple ", "CORRECT HORSE"])
    async def test_a_password_of_any_length_is_merely_wrong(
        self, lovelace: Person, stranger: httpx.AsyncClient, password: str
    ) -> None:
        assert who(await attempt(stranger, password=password)) == (401, NOT_SENT, WRONG)

    @pytest.mark.slow
    async def test_a_user_whom_a_token_has_brought_along_has_no_password_that_fits(
        self, ada: httpx.AsyncClient, stranger: httpx.AsyncClient
    ) -> None:
        assert (await ada.post("/api/tasks", json={"title": "x"})).status_code == 201
        for password in ("", "None", "null", PASSWORD):
            assert who(await attempt(stranger, password=password)) == (401, NOT_SENT, WRONG)

    @pytest.mark.parametrize(
        ("body", "answer"),
        [
            ({}, refused("email", "Email is required")),
            ({"email": "ada@example.com"}, refused("password", "Password is required")),
            ({"email": "ada", "password": "x"}, refused("email", NO_EMAIL)),
            ({"email": "ada@example.com", "password": 5}, refused("password", "Password must be a string")),
            ([], refused("body", "The body must be a JSON object")),
        ],
    )
    async def test_what_is_not_acceptable_is_422_and_counts_as_no_attempt(
        self, stranger: httpx.AsyncClient, sql: Any, body: Any, answer: Any
    ) -> None:
        response = await stranger.post("/api/auth/login", json=body)

        assert (response.status_code, response.json()) == (422, answer)
        assert await sql.fetchval("SELECT count(*) FROM rate_limits") == 0

    @pytest.mark.slow
    async def test_an_account_that_is_deleted_while_its_password_is_looked_at_is_nobodys(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        transaction = sql.transaction()
        await transaction.start()
        await sql.execute('DELETE FROM "user"')
        login = asyncio.create_task(attempt(stranger))
        await asyncio.sleep(0.5)
        await transaction.commit()

        assert who(await login) == (401, NOT_SENT, WRONG)
        assert await sql.fetchval("SELECT count(*) FROM login_sessions") == 0


class TestRefresh:
    async def test_a_new_pair_of_the_same_login(self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any) -> None:
        answer = await refreshed(stranger, lovelace.login["refresh_token"])

        login = answer.json()["data"]
        assert answer.status_code == 200
        assert answer.json() == {"data": login}
        is_a_login(login, name="Ada Lovelace", email="ada@example.com")
        assert login["user"] == lovelace.login["user"]
        assert login["token"] != lovelace.login["token"]
        assert login["refresh_token"] != lovelace.login["refresh_token"]
        assert (await stranger.get("/api/auth/me", headers=bearer(login["token"]))).status_code == 200
        assert await sql.fetchval("SELECT count(*) FROM login_sessions") == 1

    @pytest.mark.slow
    async def test_a_spent_one_ends_its_whole_family_and_no_other(
        self, lovelace: Person, stranger: httpx.AsyncClient
    ) -> None:
        other = await logged_in(stranger)
        second = (await refreshed(stranger, lovelace.login["refresh_token"])).json()["data"]
        third = (await refreshed(stranger, second["refresh_token"])).json()["data"]

        again = await refreshed(stranger, lovelace.login["refresh_token"])

        assert who(again) == (401, NO_GOOD, SPENT)
        for login in (lovelace.login, second, third):
            assert who(await refreshed(stranger, login["refresh_token"])) == (401, NO_GOOD, SPENT)
            told = await stranger.get("/api/auth/me", headers=bearer(login["token"]))
            assert who(told) == (401, NO_GOOD, NO_TOKEN)
        assert (await refreshed(stranger, other["refresh_token"])).status_code == 200

    async def test_it_lives_for_30_days_from_its_last_use(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        life = "SELECT expires_at - last_used_at FROM login_sessions"
        assert await sql.fetchval(life) == timedelta(days=30)
        await sql.execute(
            "UPDATE login_sessions SET expires_at = now() + interval '1 minute', last_used_at = now() - interval '29 d'"
        )

        answer = await refreshed(stranger, lovelace.login["refresh_token"])

        assert answer.status_code == 200
        assert await sql.fetchval(life) == timedelta(days=30)
        await sql.execute("UPDATE login_sessions SET expires_at = now() - interval '1 second'")
        late = await refreshed(stranger, answer.json()["data"]["refresh_token"])
        assert who(late) == (401, NO_GOOD, SPENT)

    async def test_a_login_clears_away_those_that_have_expired(
        self, lovelace: Person, boole: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        await sql.execute(
            "UPDATE login_sessions SET expires_at = now() - interval '1 second' WHERE user_id = $1", lovelace.id
        )
        await logged_in(stranger)
        rows = await sql.fetch("SELECT user_id FROM login_sessions WHERE expires_at > now()")
        assert sorted(row[0] for row in rows) == sorted([boole.id, lovelace.id])
        assert await sql.fetchval("SELECT count(*) FROM login_sessions") == 2

    @pytest.mark.parametrize(
        "wrong",
        [
            "",
            "tsr_",
            "tsr_" + "x" * 65,
            "tsr_" + "x" * 64,
            "tsk_" + "x" * 43,
            "\u00e9" * 69,
            "a.b.c",
            "tsr_" + "\0" * 65,
        ],
    )
    async def test_what_never_was_one_is_the_same_401(self, stranger: httpx.AsyncClient, wrong: str) -> None:
        assert who(await refreshed(stranger, wrong)) == (401, NO_GOOD, SPENT)

    async def test_an_access_token_is_no_refresh_token_and_the_other_way_round(
        self, lovelace: Person, stranger: httpx.AsyncClient
    ) -> None:
        assert who(await refreshed(stranger, lovelace.login["token"])) == (401, NO_GOOD, SPENT)
        answer = await stranger.get("/api/auth/me", headers=bearer(lovelace.login["refresh_token"]))
        assert who(answer) == (401, NO_GOOD, NO_TOKEN)

    @pytest.mark.parametrize(
        ("body", "answer"),
        [
            ({}, refused("refresh_token", "Refresh token is required")),
            ({"refresh_token": None}, refused("refresh_token", "Refresh token must be a string")),
        ],
    )
    async def test_what_is_not_acceptable_is_422(self, stranger: httpx.AsyncClient, body: Any, answer: Any) -> None:
        response = await stranger.post("/api/auth/refresh", json=body)
        assert (response.status_code, response.json()) == (422, answer)


class TestAccessTokens:
    @pytest.mark.parametrize(("seconds", "status"), [(-40, 401), (-31, 401), (1, 200)])
    async def test_one_is_good_until_it_expires_and_our_clocks_may_be_30_s_apart(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any, seconds: int, status: int
    ) -> None:
        session = await sql.fetchval("SELECT id FROM login_sessions")
        minted = mint(User(id=lovelace.id, session=session), SECRET, seconds)
        assert (await stranger.get("/api/tasks", headers=bearer(minted))).status_code == status

    async def test_one_without_a_login_or_of_somebody_elses_is_401(
        self, lovelace: Person, boole: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        theirs = await sql.fetchval("SELECT id FROM login_sessions WHERE user_id = $1", boole.id)
        for session in (theirs, "never-was"):
            minted = mint(User(id=lovelace.id, session=session), SECRET, 900)
            answer = await stranger.get("/api/tasks", headers=bearer(minted))
            assert who(answer) == (401, NO_GOOD, NO_TOKEN)
        for claims in ({}, {"sid": ""}, {"sid": 5}, {"sid": None}):
            minted = token(lovelace.id, iss="urn:tasks-api:accounts", **claims)
            answer = await stranger.get("/api/tasks", headers=bearer(minted))
            assert who(answer) == (401, NO_GOOD, NO_TOKEN)

    async def test_one_under_another_secret_is_401(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        session = await sql.fetchval("SELECT id FROM login_sessions")
        minted = mint(User(id=lovelace.id, session=session), SECRET[::-1], 900)
        answer = await stranger.get("/api/auth/me", headers=bearer(minted))
        assert who(answer) == (401, NO_GOOD, NO_TOKEN)


class TestLogOut:
    async def test_it_ends_this_login_and_no_other(
        self, lovelace: Person, boole: Person, stranger: httpx.AsyncClient
    ) -> None:
        other = await logged_in(stranger)
        later = (await refreshed(stranger, lovelace.login["refresh_token"])).json()["data"]

        answer = await lovelace.post("/api/auth/logout")

        assert (answer.status_code, answer.content) == (204, b"")
        for login in (lovelace.login, later):
            told = await stranger.get("/api/tasks", headers=bearer(login["token"]))
            assert who(told) == (401, NO_GOOD, NO_TOKEN)
        assert who(await refreshed(stranger, later["refresh_token"])) == (401, NO_GOOD, SPENT)
        assert who(await lovelace.post("/api/auth/logout")) == (401, NO_GOOD, NO_TOKEN)
        assert (await stranger.get("/api/tasks", headers=bearer(other["token"]))).status_code == 200
        assert (await refreshed(stranger, other["refresh_token"])).status_code == 200
        assert (await boole.get("/api/tasks")).status_code == 200

    async def test_everywhere_ends_all_of_mine_and_nobody_elses(
        self, lovelace: Person, boole: Person, stranger: httpx.AsyncClient
    ) -> None:
        other = await logged_in(stranger)

        answer = await lovelace.post("/api/auth/logout-all")

        assert (answer.status_code, answer.content) == (204, b"")
        for login in (lovelace.login, other):
            told = await stranger.get("/api/tasks", headers=bearer(login["token"]))
            assert who(told) == (401, NO_GOOD, NO_TOKEN)
            assert who(await refreshed(stranger, login["refresh_token"])) == (401, NO_GOOD, SPENT)
        assert (await boole.get("/api/tasks")).status_code == 200
        assert (await refreshed(stranger, boole.login["refresh_token"])).status_code == 200
        await logged_in(stranger)

    async def test_a_token_of_an_auth_server_does_not_come_from_a_login(self, ada: httpx.AsyncClient) -> None:
        answer = await ada.post("/api/auth/logout")

        assert (answer.status_code, answer.json()) == (403, NOT_A_LOGIN)
        assert (await ada.post("/api/auth/logout-all")).status_code == 204
        assert (await ada.get("/api/tasks")).status_code == 200


class TestMe:
    async def test_me(self, lovelace: Person, boole: Person) -> None:
        answer = await lovelace.get("/api/auth/me")

        created = lovelace.login["user"]["created_at"]
        assert answer.status_code == 200
        assert answer.json() == {
            "data": {"id": lovelace.id, "name": "Ada Lovelace", "email": "ada@example.com", "created_at": created}
        }

    async def test_of_somebody_whom_the_database_has_not_seen_it_is_what_the_token_says(
        self, ada: httpx.AsyncClient, running: Litestar, sql: Any
    ) -> None:
        answer = await ada.get("/api/auth/me")

        data = {"id": "ada", "name": "Ada", "email": "ada@example.com", "created_at": None}
        assert (answer.status_code, answer.json()) == (200, {"data": data})
        async with bearing(running, token(7)) as seven:
            data = {"id": "7", "name": "", "email": None, "created_at": None}
            assert (await seven.get("/api/auth/me")).json() == {"data": data}
            assert (await seven.post("/api/tasks", json={"title": "x"})).status_code == 201
            seen = (await seven.get("/api/auth/me")).json()["data"]
            assert seen == {**data, "created_at": seen["created_at"]}
            assert STAMP.fullmatch(seen["created_at"])
        assert await sql.fetchval("SELECT count(*) FROM \"user\" WHERE id = 'ada'") == 0

    async def test_the_name_can_be_changed_and_nothing_else(self, lovelace: Person, boole: Person) -> None:
        answer = await lovelace.patch(
            "/api/auth/me", json={"name": "  Ada King ", "email": "x@example.com", "id": "x", "password": "x" * 9}
        )

        data = {**lovelace.login["user"], "name": "Ada King"}
        assert (answer.status_code, answer.json()) == (200, {"data": data})
        assert (await lovelace.get("/api/auth/me")).json() == {"data": data}
        assert (await boole.get("/api/auth/me")).json()["data"]["name"] == "Bob"
        assert (await attempt(boole)).json()["data"]["user"] == data

    @pytest.mark.parametrize(
        ("body", "answer"),
        [
            ({}, refused("name", "Name is required")),
            ({"name": " "}, refused("name", "Name is required")),
            ({"name": None}, refused("name", "Name must be a string")),
            ({"name": "x" * 256}, refused("name", "Name must have 255 characters at most")),
            ({"name": "\0x"}, refused("name", "Name must not contain the character U+0000")),
        ],
    )
    async def test_a_name_that_is_not_acceptable_is_422(self, lovelace: Person, body: Any, answer: Any) -> None:
        response = await lovelace.patch("/api/auth/me", json=body)

        assert (response.status_code, response.json()) == (422, answer)
        assert (await lovelace.get("/api/auth/me")).json() == {"data": lovelace.login["user"]}

    async def test_who_has_no_row_has_nothing_to_change(self, ada: httpx.AsyncClient, sql: Any) -> None:
        answer = await ada.patch("/api/auth/me", json={"name": "Eve"})

        message = "There is no account for this token yet."
        assert (answer.status_code, answer.json()) == (404, {"error": {"code": "NOT_FOUND", "message": message}})
        assert await sql.fetchval('SELECT count(*) FROM "user"') == 0


class TestWithoutAToken:
    """401 comes before everything else."""

    ENDPOINTS = (
        ("POST", "/logout"),
        ("POST", "/logout-all"),
        ("GET", "/me"),
        ("HEAD", "/me"),
        ("PATCH", "/me"),
        ("DELETE", "/me"),
        ("POST", "/me/password"),
        ("GET", "/sessions"),
        ("DELETE", "/sessions/1"),
        ("POST", "/tokens"),
        ("GET", "/tokens"),
        ("DELETE", "/tokens/1"),
        ("DELETE", "/tokens/%00"),
        ("GET", "/me/"),
        ("GET", "//me"),
        ("PUT", "/me"),
        ("BREW", "/tokens"),
        ("GET", "/nonsense"),
        ("GET", ""),
        ("GET", "/"),
        ("POST", "/login/x"),
        ("POST", "/signup/x"),
        ("POST", "/refresh/x"),
        ("POST", "/loginx"),
    )

    @pytest.mark.parametrize(("method", "path"), ENDPOINTS)
    @pytest.mark.parametrize("body", [b"", b"{", b"x" * 20_000], ids=["no body", "no JSON", "too large"])
    async def test_all_that_needs_one_is_401_whatever_is_sent(
        self, stranger: httpx.AsyncClient, method: str, path: str, body: bytes
    ) -> None:
        url = httpx.URL("http://test", raw_path=f"/api/auth{path}".encode())

        none = await stranger.request(method, url, content=body, headers={"content-type": "text/plain"})
        bad = await stranger.request(method, url, content=body, headers=bearer("x"))

        assert (none.status_code, none.headers["www-authenticate"]) == (401, NOT_SENT)
        assert (bad.status_code, bad.headers["www-authenticate"]) == (401, NO_GOOD)
        if method != "HEAD":
            assert none.json() == bad.json() == NO_TOKEN

    @pytest.mark.parametrize("path", ["/signup", "/login", "/refresh", "/login/", "//signup"])
    async def test_the_three_routes_of_a_login_are_open_and_tell_their_methods(
        self, stranger: httpx.AsyncClient, path: str
    ) -> None:
        url = httpx.URL("http://test", raw_path=f"/api/auth{path}".encode())

        answer = await stranger.get(url)
        posted = await stranger.post(url, json={}, headers=bearer("no good"))

        assert (answer.status_code, answer.headers["allow"]) == (405, "OPTIONS, POST")
        assert answer.json()["error"]["code"] == "METHOD_NOT_ALLOWED"
        assert (posted.status_code, posted.json()["error"]["code"]) == (422, "VALIDATION_ERROR")

    async def test_with_one_a_path_that_is_not_there_is_404_and_a_method_405(self, lovelace: Person) -> None:
        nonsense = await lovelace.get("/api/auth/nonsense")
        assert (nonsense.status_code, nonsense.json()) == (404, NOTHING_HERE)
        put = await lovelace.put("/api/auth/me")
        assert (put.status_code, put.headers["allow"]) == (405, "DELETE, GET, HEAD, OPTIONS, PATCH")

    async def test_what_is_only_called_alike_is_not_ours(self, stranger: httpx.AsyncClient) -> None:
        answer = await stranger.get("/api/authors")
        assert (answer.status_code, answer.json()) == (404, NOTHING_HERE)


class TestBodies:
    TAKING_ONE = (
        ("POST", "/signup"),
        ("POST", "/login"),
        ("POST", "/refresh"),
        ("PATCH", "/me"),
        ("DELETE", "/me"),
        ("POST", "/me/password"),
        ("POST", "/tokens"),
    )
    TAKING_NONE = (
        ("POST", "/logout"),
        ("POST", "/logout-all"),
        ("GET", "/me"),
        ("GET", "/sessions"),
        ("DELETE", "/sessions/1"),
        ("GET", "/tokens"),
        ("DELETE", "/tokens/1"),
    )

    @pytest.mark.parametrize(("method", "path"), [*TAKING_ONE, *TAKING_NONE])
    async def test_one_over_16_kib_is_413(self, lovelace: Person, method: str, path: str) -> None:
        answer = await lovelace.request(method, f"/api/auth{path}", content=b"x" * (16 * 1024 + 1))
        assert (answer.status_code, answer.json()) == (413, TOO_LARGE)

    @pytest.mark.parametrize(("method", "path"), TAKING_ONE)
    async def test_also_when_it_comes_in_pieces(self, lovelace: Person, method: str, path: str) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(17):
                yield b" " * 1024

        answer = await lovelace.request(method, f"/api/auth{path}", content=pieces())
        assert (answer.status_code, answer.json()) == (413, TOO_LARGE)

    async def test_also_in_pieces_where_none_is_wanted(self, lovelace: Person) -> None:
        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(17):
                yield b" " * 1024

        told = [
            (method, path, (await lovelace.request(method, f"/api/auth{path}", content=pieces())).status_code)
            for method, path in self.TAKING_NONE[::-1]
        ]
        assert told == [(method, path, 413) for method, path in self.TAKING_NONE[::-1]]

    async def test_one_of_16_kib_is_read(self, stranger: httpx.AsyncClient) -> None:
        body = json.dumps(ADA).encode()
        answer = await stranger.post("/api/auth/signup", content=body + b" " * (16 * 1024 - len(body)))
        assert answer.status_code == 201

    @pytest.mark.parametrize(("method", "path"), TAKING_ONE)
    async def test_what_is_no_json_is_400_and_what_says_so_is_415(
        self, lovelace: Person, method: str, path: str
    ) -> None:
        for content in (b"", b"{", b'{"name":"\xff"}'):
            answer = await lovelace.request(method, f"/api/auth{path}", content=content)
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BAD_REQUEST")
        answer = await lovelace.request(
            method, f"/api/auth{path}", content=b"{}", headers={"content-type": "text/plain"}
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")

    async def test_no_refusal_repeats_what_was_sent(self, lovelace: Person) -> None:
        secret = "hush hush hush"
        sent = [
            ("POST", "/signup", {**ADA, "password": secret}),
            ("POST", "/signup", {**BOB, "email": secret, "password": secret}),
            ("POST", "/signup", {**BOB, "password": [secret]}),
            ("POST", "/login", {"email": ADA["email"], "password": secret}),
            ("POST", "/login", {"email": ADA["email"], "password": {"x": secret}}),
            ("POST", "/me/password", {"current_password": secret, "new_password": secret * 100}),
            ("POST", "/me/password", {"current_password": secret, "new_password": secret}),
            ("DELETE", "/me", {"password": secret}),
            ("POST", "/refresh", {"refresh_token": secret}),
            ("POST", "/tokens", {"name": secret, "scope": secret}),
        ]
        for method, path, body in sent:
            answer = await lovelace.request(method, f"/api/auth{path}", json=body)
            assert 400 <= answer.status_code < 500
            assert "hush" not in answer.text


class TestAccountsOff:
    @pytest.mark.parametrize(
        ("method", "path"),
        [*TestWithoutAToken.ENDPOINTS, ("POST", "/signup"), ("POST", "/login"), ("POST", "/refresh")],
    )
    async def test_there_is_nothing_here_with_and_without_a_token(
        self, lovelace: Person, without_accounts: Litestar, method: str, path: str
    ) -> None:
        url = httpx.URL("http://test", raw_path=f"/api/auth{path}".encode())
        async with visitor(without_accounts) as client:
            for headers in ({}, bearer(token("ada")), bearer(lovelace.login["token"])):
                answer = await client.request(method, url, json=ADA, headers=headers)
                assert answer.status_code == 404
                if method != "HEAD":
                    assert answer.json() == NOTHING_HERE

    async def test_own_access_tokens_and_personal_ones_are_401_and_those_of_others_as_before(
        self, lovelace: Person, without_accounts: Litestar
    ) -> None:
        made = await lovelace.post("/api/auth/tokens", json={"name": "x", "scope": "write"})
        personal = made.json()["data"]["token"]
        async with visitor(without_accounts) as client:
            for own in (lovelace.login["token"], lovelace.login["refresh_token"], personal):
                answer = await client.get("/api/tasks", headers=bearer(own))
                assert who(answer) == (401, NO_GOOD, NO_TOKEN)
            answer = await client.post("/api/tasks", json={"title": "x"}, headers=bearer(token("ada")))
            assert answer.status_code == 201

    @pytest.mark.slow
    async def test_the_document_does_not_mention_them(
        self, stranger: httpx.AsyncClient, without_accounts: Litestar
    ) -> None:
        async with visitor(without_accounts) as client:
            assert "/api/auth" not in (await client.get("/openapi.json")).text
        assert "/api/auth/login" in (await stranger.get("/openapi.json")).text


class TestProvisioningOff:
    async def test_a_write_of_somebody_without_a_row_is_401_and_leaves_none(
        self, clean: None, running: Litestar, without_provisioning: Litestar, sql: Any
    ) -> None:
        async with bearing(without_provisioning, token("ada", email="ada@example.com")) as ada:
            for path, body in (
                ("/api/tasks", {"title": "x"}),
                ("/api/auth/tokens", {"name": "x", "scope": "read"}),
            ):
                assert who(await ada.post(path, json=body)) == (401, NO_GOOD, NO_TOKEN)
            for path in ("/api/tasks", "/api/auth/sessions", "/api/auth/tokens"):
                answer = await ada.get(path)
                assert (answer.status_code, answer.json()) == (200, {"data": []})
            for path in ("/api/tasks/1", "/api/tasks/1/complete"):
                method = "PATCH" if path.endswith("complete") else "DELETE"
                assert (await ada.request(method, path)).status_code == 404
        assert await sql.fetchval('SELECT count(*) FROM "user"') == 0

    async def test_who_has_a_row_writes_as_before_and_sign_up_works(
        self, clean: None, running: Litestar, without_provisioning: Litestar, sql: Any
    ) -> None:
        await sql.execute("""INSERT INTO "user" (id, name, email) VALUES ('ada', 'Ada', 'a@example.com')""")
        async with bearing(without_provisioning, token("ada")) as ada:
            assert (await ada.post("/api/tasks", json={"title": "x"})).status_code == 201
        async with visitor(without_provisioning) as stranger:
            login = await signed_up(stranger, **BOB)
            answer = await stranger.post("/api/tasks", json={"title": "x"}, headers=bearer(login["token"]))
            assert answer.status_code == 201


async def test_a_user_whom_the_table_never_takes_is_an_error_and_no_endless_loop(
    ada: httpx.AsyncClient, sql: Any
) -> None:
    await sql.execute("""INSERT INTO "user" (id, name, email) VALUES ('another', 'Ada', 'another@example.com')""")
    await sql.execute('CREATE UNIQUE INDEX only_one_of_a_name ON "user" (name)')
    try:
        answer = await ada.post("/api/auth/tokens", json={"name": "x", "scope": "read"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (500, "INTERNAL_ERROR")
    finally:
        await sql.execute("DROP INDEX only_one_of_a_name")
