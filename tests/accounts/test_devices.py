"""Guesses of strangers keep no owner out: neither on a device that has logged in before, nor where one is logged in."""

import asyncio
import secrets
from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar

from app.accounts import device_tokens
from app.config import settings
from app.main import create_app
from tests.accounts.people import (
    ADA,
    BOB,
    DEVICE,
    NOT_SENT,
    PASSWORD,
    WRONG,
    Person,
    attempt,
    logged_in,
    refreshed,
    refused,
    signed_up,
    time_goes_by,
    where,
    who,
)
from tests.accounts.test_lockout import ELSEWHERE, KEYS, TestAnAddress, at, locked_for, wrong
from tests.conftest import SECRET, visitor

NEW = "a new password"


async def with_device(
    client: httpx.AsyncClient, device: Any, password: str = PASSWORD, email: str = ADA["email"]
) -> httpx.Response:
    body = {"email": email, "password": password, "device_token": device}
    return await client.post("/api/auth/login", json=body)


async def again(client: httpx.AsyncClient, password: str = PASSWORD, how: str = "password") -> httpx.Response:
    """Prove who one is while logged in, to change the password or to leave."""
    if how == "password":
        body = {"current_password": password, "new_password": NEW}
        return await client.post("/api/auth/me/password", json=body)
    return await client.request("DELETE", "/api/auth/me", json={"password": password})


class TestWhileLoggedIn:
    @pytest.mark.parametrize("how", ["password", "leave"])
    async def test_what_strangers_guess_is_none_of_its_business(
        self, lovelace: Person, running: Litestar, stranger: httpx.AsyncClient, sql: Any, how: str
    ) -> None:
        assert await wrong(stranger, 6) == [401] * 5 + [429]
        await sql.execute(TestAnAddress.ALMOST, f"ip:{ELSEWHERE}")
        async with at(running, ELSEWHERE) as guesser, Person(running, lovelace.login, ELSEWHERE) as owner:
            assert await wrong(guesser, 2, "nobody@example.com") == [401, 429]
            assert who(await again(owner, "not hers", how)) == (401, NOT_SENT, WRONG)
            assert (await again(owner, how=how)).status_code == 204

    @pytest.mark.slow
    async def test_five_wrong_ones_lock_it_for_15_minutes_for_both_and_for_this_user_alone(
        self, lovelace: Person, boole: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        for number in range(5):
            how = "password" if number % 2 else "leave"
            assert who(await again(lovelace, "not hers", how)) == (401, NOT_SENT, WRONG)

        for how in ("password", "leave"):
            assert 890 < locked_for(await again(lovelace, how=how)) <= 900
        assert [row[0] for row in await sql.fetch(KEYS)] == [f"user:{lovelace.id}"]
        assert (await attempt(stranger)).status_code == 200
        assert (await again(boole, BOB["password"])).status_code == 204
        assert (await lovelace.get("/api/tasks")).status_code == 200
        await time_goes_by(sql, "15 minutes")
        assert (await again(lovelace)).status_code == 204
        assert await sql.fetch(KEYS) == []

    @pytest.mark.slow
    async def test_logging_in_does_not_clear_it_and_it_does_not_clear_what_strangers_have_guessed(
        self, lovelace: Person, stranger: httpx.AsyncClient
    ) -> None:
        for _ in range(4):
            assert (await again(lovelace, "not hers")).status_code == 401
        assert (await attempt(stranger)).status_code == 200
        assert (await again(lovelace, "not hers")).status_code == 401
        locked_for(await again(lovelace))

        assert await wrong(stranger, 5) == [401] * 5
        locked_for(await attempt(stranger))

    async def test_of_fifty_concurrent_guesses_with_a_stolen_token_five_are_made(self, lovelace: Person) -> None:
        answers = await asyncio.gather(*(again(lovelace, f"guess {n}") for n in range(50)))
        assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 45


class TestAKnownDevice:
    async def test_it_logs_in_while_strangers_have_locked_the_email_and_the_network(
        self, lovelace: Person, running: Litestar, sql: Any
    ) -> None:
        await sql.execute(TestAnAddress.ALMOST, f"ip:{ELSEWHERE}")
        async with at(running, ELSEWHERE) as nat, at(running, "198.51.100.1") as far:
            assert await wrong(far, 6) == [401] * 5 + [429]
            assert await wrong(nat, 2, "nobody@example.com") == [401, 429]
            locked_for(await attempt(nat))

            answer = await with_device(nat, lovelace.login["device_token"])

            assert answer.status_code == 200
            assert DEVICE.fullmatch(answer.json()["data"]["device_token"])
            locked_for(await attempt(far))  # a success there opens no lock here

    @pytest.mark.slow
    async def test_its_failures_are_counted_for_it_alone(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        other = (await logged_in(stranger))["device_token"]
        for _ in range(5):
            assert who(await with_device(stranger, other, "not hers")) == (401, NOT_SENT, WRONG)

        assert 890 < locked_for(await with_device(stranger, other)) <= 900
        [key] = [row[0] for row in await sql.fetch(KEYS)]
        assert key.startswith(f"device:{lovelace.id}:")
        assert (await with_device(stranger, lovelace.login["device_token"])).status_code == 200
        assert await wrong(stranger, 6) == [401] * 5 + [429]
        await time_goes_by(sql, "15 minutes")
        assert (await with_device(stranger, other)).status_code == 200

    async def test_of_fifty_concurrent_guesses_with_a_stolen_one_five_are_made(
        self, lovelace: Person, stranger: httpx.AsyncClient
    ) -> None:
        device = lovelace.login["device_token"]
        answers = await asyncio.gather(*(with_device(stranger, device, f"guess {n}") for n in range(50)))
        assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 45

    @pytest.mark.slow
    async def test_all_those_of_one_login_and_of_what_follows_it_have_one_count(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        copies = [await refreshed(stranger, lovelace.login["refresh_token"]) for _ in range(12)]
        later = [await refreshed(stranger, copies[0].json()["data"]["refresh_token"])]
        login = await with_device(stranger, lovelace.login["device_token"])
        later += [login, await refreshed(stranger, login.json()["data"]["refresh_token"])]
        again = await with_device(stranger, later[-1].json()["data"]["device_token"])
        those = [each.json()["data"]["device_token"] for each in (*copies, *later, again)]
        assert {*those} == {lovelace.login["device_token"]}

        tried = [(await with_device(stranger, each, "not hers")).status_code for each in those]
        assert tried == [401] * 5 + [429] * (len(those) - 5)
        [key] = [row[0] for row in await sql.fetch(KEYS)]
        assert key.startswith(f"device:{lovelace.id}:")
        await time_goes_by(sql, "15 minutes")
        assert (await with_device(stranger, those[0])).status_code == 200

    async def test_another_login_and_a_device_token_that_is_not_valid_begin_a_device(
        self, lovelace: Person, boole: Person, stranger: httpx.AsyncClient
    ) -> None:
        logins = [await attempt(stranger), await with_device(stranger, boole.login["device_token"])]
        those = {each.json()["data"]["device_token"] for each in logins}
        assert len(those) == 2
        assert not {each[:26] for each in those} & {one.login["device_token"][:26] for one in (lovelace, boole)}

    async def test_the_device_outlives_a_new_password(self, lovelace: Person, stranger: httpx.AsyncClient) -> None:
        assert (await again(lovelace)).status_code == 204
        fresh = (await refreshed(stranger, lovelace.login["refresh_token"])).json()["data"]["device_token"]
        assert fresh != lovelace.login["device_token"]
        assert fresh[:26] == lovelace.login["device_token"][:26]

    @pytest.mark.slow
    async def test_a_success_clears_its_count(self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any) -> None:
        device = lovelace.login["device_token"]
        for _ in range(2):
            for _ in range(4):
                assert (await with_device(stranger, device, "not hers")).status_code == 401
            assert (await with_device(stranger, device)).status_code == 200
        assert await sql.fetch(KEYS) == []

    async def test_a_refresh_brings_one_too_for_those_who_logged_in_before_there_were_any(
        self, lovelace: Person, stranger: httpx.AsyncClient
    ) -> None:
        login = (await refreshed(stranger, lovelace.login["refresh_token"])).json()["data"]
        await wrong(stranger, 6)
        assert (await with_device(stranger, login["device_token"])).status_code == 200


class TestOneThatIsNotValid:
    """It counts as none: what it is sent with is a stranger's attempt, in every respect."""

    @pytest.mark.parametrize(
        "device",
        ["", "x", "tsd_", f"tsd_{'x' * 65}", f"tsd_{'x' * 66}", f"TSD_{'x' * 65}", "tsd_" + "é" * 65, "\0", None],
    )
    async def test_what_never_was_one(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any, device: str | None
    ) -> None:
        for _ in range(5):
            assert who(await with_device(stranger, device, "not hers")) == (401, NOT_SENT, WRONG)
        locked_for(await with_device(stranger, device))
        locked_for(await attempt(stranger))
        assert [row[0] for row in await sql.fetch(KEYS)] == ["ada@example.com", "ip:127.0.0.1"]

    @pytest.mark.slow
    async def test_one_of_another_account_or_of_none(
        self, lovelace: Person, boole: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        await wrong(stranger, 6)
        locked_for(await with_device(stranger, boole.login["device_token"]))
        for email in (ADA["email"], "nobody@example.com"):
            await sql.execute("TRUNCATE rate_limits")
            for _ in range(5):
                answer = await with_device(stranger, boole.login["device_token"], "not hers", email)
                assert who(answer) == (401, NOT_SENT, WRONG)
            locked_for(await with_device(stranger, boole.login["device_token"], email=email))
            assert {row[0] for row in await sql.fetch(KEYS)} == {email, "ip:127.0.0.1"}

    @pytest.mark.slow
    async def test_one_of_the_password_before(self, lovelace: Person, stranger: httpx.AsyncClient) -> None:
        old = [(await logged_in(stranger))["device_token"] for _ in range(3)]
        assert (await again(lovelace)).status_code == 204
        await wrong(stranger, 6)
        for each in (*old, lovelace.login["device_token"]):
            locked_for(await with_device(stranger, each, NEW))
        fresh = (await refreshed(stranger, lovelace.login["refresh_token"])).json()["data"]["device_token"]
        assert (await with_device(stranger, fresh, NEW)).status_code == 200

    async def test_a_hash_that_is_renewed_ends_none(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        await sql.execute("UPDATE credentials SET password_hash = $1", _weaker(PASSWORD))
        assert (await with_device(stranger, lovelace.login["device_token"])).status_code == 200
        assert "m=19456" in await sql.fetchval("SELECT password_hash FROM credentials")
        await wrong(stranger, 6)
        assert (await with_device(stranger, lovelace.login["device_token"])).status_code == 200

    @pytest.mark.slow
    async def test_one_of_an_account_that_was_deleted_is_nothing_to_the_next_one_with_its_email(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        assert (await with_device(stranger, lovelace.login["device_token"], "not hers")).status_code == 401
        assert (await again(lovelace, "not hers")).status_code == 401
        assert (await again(lovelace, how="leave")).status_code == 204
        assert await where(sql, lovelace.id) == []
        await signed_up(stranger)
        await wrong(stranger, 6)
        locked_for(await with_device(stranger, lovelace.login["device_token"]))

    @pytest.mark.slow
    async def test_one_that_another_secret_signed_unless_that_is_being_rotated(
        self, lovelace: Person, stranger: httpx.AsyncClient, running: Litestar
    ) -> None:
        old = device_tokens.issue("o" * 40, "a session", lovelace.id, 0)
        await wrong(stranger, 6)
        locked_for(await with_device(stranger, old))
        rotated = create_app(msgspec.structs.replace(settings.current(), jwt_secrets=(SECRET, "o" * 40)))
        async with visitor(rotated) as client:
            answer = await with_device(client, old)
            assert answer.status_code == 200
        assert (await with_device(stranger, answer.json()["data"]["device_token"])).status_code == 200

    @pytest.mark.parametrize("device", [5, [], True, {"x": 1}])
    async def test_what_is_no_text_is_422_and_no_attempt(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any, device: Any
    ) -> None:
        answer = await with_device(stranger, device)
        message = "Device token must be a string or null"
        assert (answer.status_code, answer.json()) == (422, refused("device_token", message))
        assert await sql.fetch(KEYS) == []

    async def test_half_a_character_is_never_a_crash(self, lovelace: Person, stranger: httpx.AsyncClient) -> None:
        body = '{"email": "ada@example.com", "password": "x", "device_token": "\\ud800"}'
        assert (await stranger.post("/api/auth/login", content=body)).status_code in (400, 401, 422)


async def test_it_is_a_key_to_nothing(lovelace: Person, stranger: httpx.AsyncClient) -> None:
    device = lovelace.login["device_token"]
    answer = await stranger.get("/api/tasks", headers={"authorization": f"Bearer {device}"})
    assert answer.status_code == 401
    assert (await refreshed(stranger, device)).status_code == 401
    assert who(await with_device(stranger, device, "")) == (401, NOT_SENT, WRONG)


def test_each_is_another_one_and_says_nothing() -> None:
    those = {device_tokens.issue(SECRET, device_tokens.new_session_id(None), "ada", 0) for _ in range(100)}
    assert len({each[:26] for each in those}) == len({each[26:] for each in those}) == 100
    # What is signed can be read in one way only.
    assert device_tokens.read(device_tokens.issue(SECRET, "x", "1 ada", 0), [SECRET], "ada", 1) is None
    device = device_tokens.read(next(iter(those)), [secrets.token_hex(32), SECRET], "ada", 0)
    assert device is not None
    assert device_tokens.limit_key(device, "ada").startswith("device:ada:")


def _weaker(password: str) -> str:
    from tests.accounts.test_passwords import WEAKER

    return WEAKER.hash(password)
