"""Whose is the table of users? Where it is another's, or another's too, no row of theirs gets a password or a token."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from litestar import Litestar

from app.config import settings
from app.db import user_table
from app.db.engine import database
from app.main import create_app
from tests.accounts.people import (
    ADA,
    NO_GOOD,
    NO_TOKEN,
    NOTHING_HERE,
    PASSWORD,
    WRONG,
    Person,
    attempt,
    bearer,
    bearing,
    refreshed,
    signed_up,
    who,
)
from tests.conftest import token, visitor

ELSEWHERE = {
    "error": {"code": "FORBIDDEN", "message": "This user logs in at another service, and cannot have tokens here."}
}
NOT_OURS = "nothing shows that this service made the table of users"
WISH = {"name": "a script", "scope": "write"}
ROUTES = [
    ("POST", "/signup"),
    ("POST", "/login/"),
    ("POST", "/refresh"),
    ("GET", "/me"),
    ("GET", ""),
    ("PUT", "/me"),
    ("HEAD", "/tokens"),
    ("DELETE", "/sessions/x"),
    ("OPTIONS", "/login"),
    ("GET", "/nothing"),
]
# How a table looks that is another's, or another's as well: what logs people in refers to it from tables like these.
THEIRS = """COMMENT ON TABLE "user" IS NULL"""
THEIRS_TOO = """CREATE TABLE account (id text PRIMARY KEY, "providerId" text, "userId" text REFERENCES "user" (id))"""
PICTURES = """CREATE TABLE pictures (id text PRIMARY KEY, "userId" text REFERENCES "user" (id), url text)"""
AS_IT_WAS = f"""
    COMMENT ON TABLE "user" IS '{user_table.MADE_BY}';
    DROP TABLE IF EXISTS account, pictures;
"""


@pytest.fixture(params=[THEIRS, THEIRS_TOO], ids=["another's", "another's too"])
async def shared(request: pytest.FixtureRequest, clean: None, sql: asyncpg.Connection) -> AsyncIterator[None]:
    """Another service is on the table of users."""
    await sql.execute(request.param)
    yield
    await sql.execute(AS_IT_WAS)


async def known_there(sql: asyncpg.Connection, user_id: str, email: str) -> None:
    """Somebody has signed up at the other service."""
    await sql.execute("""INSERT INTO "user" (id, name, email) VALUES ($1, 'Ada', $2)""", user_id, email)


class TestWhereNothingIsSaid:
    @pytest.mark.parametrize(("method", "path"), ROUTES)
    async def test_nothing_is_there_where_the_table_is_anothers(
        self, lovelace: Person, running: Litestar, monkeypatch: pytest.MonkeyPatch, method: str, path: str
    ) -> None:
        monkeypatch.setattr(database, "users_are_ours", False)
        async with visitor(running) as client:
            for headers in ({}, bearer(token("ada")), bearer(lovelace.login["token"])):
                answer = await client.request(method, f"/api/auth{path}", json=ADA, headers=headers)
                assert answer.status_code == 404
                if method != "HEAD":
                    assert answer.json() == NOTHING_HERE

    async def test_nor_is_a_token_of_ours_believed(
        self, lovelace: Person, running: Litestar, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        personal = (await lovelace.post("/api/auth/tokens", json=WISH)).json()["data"]["token"]
        monkeypatch.setattr(database, "users_are_ours", False)
        app = create_app(settings.current())
        for own in (lovelace.login["token"], lovelace.login["refresh_token"], personal):
            async with bearing(app, own) as client:
                assert who(await client.get("/api/tasks")) == (401, NO_GOOD, NO_TOKEN)
        async with bearing(app, token("ada")) as client:
            assert (await client.post("/api/tasks", json={"title": "x"})).status_code == 201

    async def test_until_somebody_knows_it_is_503_and_what_has_nothing_to_do_with_it_works(
        self, lovelace: Person, running: Litestar, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        personal = (await lovelace.post("/api/auth/tokens", json=WISH)).json()["data"]["token"]
        monkeypatch.setattr(database, "users_are_ours", None)
        app = create_app(settings.current())
        async with visitor(app) as client:
            answers = [
                await client.post("/api/auth/signup", json=ADA),
                await client.get("/api/auth/me"),
                await client.get("/openapi.json"),
                await client.get("/api/tasks", headers=bearer(personal)),
                await client.get("/api/tasks", headers=bearer(lovelace.login["token"])),
            ]
            assert [(each.status_code, each.headers["retry-after"]) for each in answers] == [(503, "1")] * 5
            assert (await client.get("/api/tasks", headers=bearer(token("ada")))).status_code == 200
            assert who(await client.get("/api/tasks", headers=bearer("nonsense"))) == (401, NO_GOOD, NO_TOKEN)

    async def test_the_document_says_what_is_there(
        self, stranger: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for ours in (True, False, True):
            monkeypatch.setattr(database, "users_are_ours", ours)
            assert ("/api/auth/login" in (await stranger.get("/openapi.json")).text) == ours

    @pytest.mark.slow
    @pytest.mark.parametrize("ours", [False, None])
    async def test_what_is_said_holds(
        self, clean: None, running: Litestar, monkeypatch: pytest.MonkeyPatch, ours: bool | None
    ) -> None:
        monkeypatch.setattr(database, "users_are_ours", ours)
        async with visitor(create_app(msgspec.structs.replace(settings.current(), accounts=True))) as client:
            assert (await client.post("/api/auth/signup", json=ADA)).status_code == 201
            assert "/api/auth/login" in (await client.get("/openapi.json")).text

    @pytest.mark.parametrize(
        ("accounts", "ours", "line"),
        [
            (None, True, "Accounts are on: this service made the table of users."),
            (None, False, f"Accounts are off: {NOT_OURS}. ACCOUNTS=on turns them on."),
            (True, True, "Accounts are on, as ACCOUNTS says; this service made the table of users."),
            (True, False, f"Accounts are on, as ACCOUNTS says; {NOT_OURS}."),
            (False, True, "Accounts are off, as ACCOUNTS says; this service made the table of users."),
            (False, False, f"Accounts are off, as ACCOUNTS says; {NOT_OURS}."),
        ],
    )
    def test_the_log_says_which_and_why(self, accounts: bool | None, ours: bool, line: str) -> None:
        assert user_table.told(accounts, ours=ours) == line


class TestATableOfAnothers:
    async def test_an_account_is_one_and_has_no_address_there(
        self, shared: None, stranger: httpx.AsyncClient, running: Litestar, sql: asyncpg.Connection
    ) -> None:
        login = await signed_up(stranger)
        assert login["user"]["email"] == ADA["email"]
        assert await sql.fetchval('SELECT email FROM "user"') == "ada@example.com.user.invalid"
        assert (await refreshed(stranger, login["refresh_token"])).status_code == 200
        assert (await attempt(stranger, "ADA@example.com")).status_code == 200
        async with Person(running, login) as ada:
            assert (await ada.get("/api/auth/me")).json()["data"] == login["user"]
            made = await ada.post("/api/auth/tokens", json=WISH)
            assert made.status_code == 201
            async with bearing(running, made.json()["data"]["token"]) as script:
                assert (await script.post("/api/tasks", json={"title": "x"})).status_code == 201

    async def test_whom_the_other_knows_gets_neither_an_account_nor_a_token(
        self, shared: None, stranger: httpx.AsyncClient, running: Litestar, sql: asyncpg.Connection
    ) -> None:
        await known_there(sql, "u1", "Ada@example.com")
        assert (await stranger.post("/api/auth/signup", json=ADA)).status_code == 409
        assert who(await attempt(stranger)) == (401, "Bearer", WRONG)
        async with bearing(running, token("u1", email="ada@example.com")) as ada:
            answer = await ada.post("/api/auth/tokens", json=WISH)
            assert (answer.status_code, answer.json()) == (403, ELSEWHERE)
        assert await sql.fetchval("SELECT count(*) FROM personal_access_tokens") == 0

    async def test_a_row_that_the_other_can_find_takes_no_password_no_login_and_no_token_of_ours(
        self, shared: None, stranger: httpx.AsyncClient, running: Litestar, sql: asyncpg.Connection
    ) -> None:
        login = await signed_up(stranger)
        async with Person(running, login) as ada:
            personal = (await ada.post("/api/auth/tokens", json=WISH)).json()["data"]["token"]
        await sql.execute("""UPDATE "user" SET email = 'ada@example.com'""")

        app = create_app(settings.current())  # which remembers nothing
        assert who(await attempt(stranger)) == (401, "Bearer", WRONG)
        assert (await refreshed(stranger, login["refresh_token"])).status_code == 401
        for own in (login["token"], personal):
            async with bearing(app, own) as client:
                assert who(await client.get("/api/tasks")) == (401, NO_GOOD, NO_TOKEN)

    async def test_a_row_that_a_token_brings_has_no_address_there_but_may_have_tokens(
        self, shared: None, running: Litestar, sql: asyncpg.Connection
    ) -> None:
        async with bearing(running, token("u1", email="Ada@example.com")) as ada:
            made = await ada.post("/api/auth/tokens", json=WISH)
            assert made.status_code == 201
            assert (await ada.get("/api/auth/me")).json()["data"]["email"] == "Ada@example.com"
        assert await sql.fetchval('SELECT email FROM "user"') == "Ada@example.com.user.invalid"
        async with bearing(running, made.json()["data"]["token"]) as script:
            assert (await script.get("/api/tasks")).status_code == 200

    async def test_whoever_leaves_leaves_no_failed_logins_behind(
        self, shared: None, stranger: httpx.AsyncClient, running: Litestar, sql: asyncpg.Connection
    ) -> None:
        async with Person(running, await signed_up(stranger)) as ada:
            await attempt(stranger, password="wrong password")
            answer = await ada.request("DELETE", "/api/auth/me", json={"password": PASSWORD})
            assert answer.status_code == 204
        assert await sql.fetch("SELECT email FROM rate_limits WHERE email LIKE '%ada%'") == []
        assert await sql.fetchval('SELECT count(*) FROM "user"') == 0


class TestATableOfOurs:
    @pytest.fixture
    async def pictures(self, clean: None, sql: asyncpg.Connection) -> AsyncIterator[None]:
        """Some table refers to users that logs nobody in."""
        await sql.execute(PICTURES)
        yield
        await sql.execute(AS_IT_WAS)

    async def test_what_logs_nobody_in_may_refer_to_it(
        self, pictures: None, stranger: httpx.AsyncClient, running: Litestar, sql: asyncpg.Connection
    ) -> None:
        await signed_up(stranger)
        await sql.execute("""UPDATE "user" SET email = 'ada@example.com'""")  # by the staff
        assert (await attempt(stranger)).status_code == 200
        async with bearing(running, token("u1", email="bob@example.com")) as bob:
            assert (await bob.post("/api/auth/tokens", json=WISH)).status_code == 201
        assert await sql.fetchval("""SELECT email FROM "user" WHERE id = 'u1'""") == "bob@example.com"

    async def test_of_two_rows_with_one_address_the_account_is_meant(
        self, stranger: httpx.AsyncClient, running: Litestar, sql: Any
    ) -> None:
        login = await signed_up(stranger)
        await known_there(sql, "u1", "ada@example.com")
        answer = await attempt(stranger)
        assert (answer.status_code, answer.json()["data"]["user"]["id"]) == (200, login["user"]["id"])
