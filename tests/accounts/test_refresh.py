"""A refresh token that is sent twice: two tabs, a lost answer, a thief."""

import asyncio
from typing import Any

import asyncpg
import httpx
import jwt
import msgspec
import pytest
from litestar import Litestar

from app.accounts import sessions
from app.accounts.failures import InvalidRefreshToken
from app.accounts.sessions import Device
from app.auth import opaque_tokens
from app.config import settings
from tests.accounts.people import (
    NO_GOOD,
    NO_TOKEN,
    SPENT,
    Person,
    bearer,
    logged_in,
    refreshed,
    where,
    who,
)
from tests.conftest import SECRET

HERE = Device("127.0.0.1", "A browser")


async def pair(client: httpx.AsyncClient, token: str) -> dict[str, Any]:
    answer = await refreshed(client, token)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def seconds_go_by(sql: asyncpg.Connection, seconds: float) -> None:
    """As far as the spending of refresh tokens is concerned."""
    await sql.execute("UPDATE login_sessions SET rotated_at = rotated_at - make_interval(secs => $1)", seconds)


async def is_good(client: httpx.AsyncClient, login: dict[str, Any]) -> None:
    answer = await client.get("/api/auth/me", headers=bearer(login["token"]))
    assert (answer.status_code, answer.json()) == (200, {"data": login["user"]})


async def family_has_ended(client: httpx.AsyncClient, sql: asyncpg.Connection, *those: dict[str, Any]) -> None:
    assert await sql.fetchval("SELECT count(*) FROM login_sessions") == 0
    for login in those:
        assert who(await refreshed(client, login["refresh_token"])) == (401, NO_GOOD, SPENT)
        answer = await client.get("/api/auth/me", headers=bearer(login["token"]))
        assert who(answer) == (401, NO_GOOD, NO_TOKEN)


class TestWithin30Seconds:
    @pytest.mark.parametrize("copies", [2, 3, 20])
    async def test_copies_that_come_together_each_get_a_good_pair(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any, copies: int
    ) -> None:
        spent = lovelace.login["refresh_token"]

        pairs = await asyncio.gather(*(pair(stranger, spent) for _ in range(copies)))

        assert len({each["token"] for each in pairs}) == copies
        assert len({each["refresh_token"] for each in pairs} | {spent}) == 2
        for each in (*pairs, lovelace.login):
            await is_good(stranger, each)
        later = await asyncio.gather(*(pair(stranger, each["refresh_token"]) for each in pairs))
        for each in later:
            await is_good(stranger, each)
        assert await sql.fetchval("SELECT count(*) FROM login_sessions") == 1

    async def test_an_answer_that_was_lost_is_had_by_asking_again(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        login = lovelace.login
        for _ in range(5):
            lost = await pair(stranger, login["refresh_token"])
            await seconds_go_by(sql, 29)
            again = await pair(stranger, login["refresh_token"])
            assert again["refresh_token"] == lost["refresh_token"]
            await is_good(stranger, again)
            login = again

    @pytest.mark.slow
    async def test_a_copy_that_comes_while_the_first_is_being_served_waits_for_it(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        transaction = sql.transaction()
        await transaction.start()
        await sql.execute("SELECT 1 FROM login_sessions FOR UPDATE")
        asking = [asyncio.create_task(pair(stranger, lovelace.login["refresh_token"])) for _ in range(3)]
        await asyncio.sleep(0.3)
        assert not any(each.done() for each in asking)
        await transaction.rollback()

        pairs = await asyncio.gather(*asking)
        assert len({each["refresh_token"] for each in pairs}) == 1

    async def test_one_that_was_cut_off_after_its_commit_is_served_when_it_asks_again(
        self, lovelace: Person, stranger: httpx.AsyncClient
    ) -> None:
        for delay in (0.0, 0.001, 0.003, 0.01, 0.03):
            cut = asyncio.create_task(refreshed(stranger, lovelace.login["refresh_token"]))
            await asyncio.sleep(delay)
            cut.cancel()
            await asyncio.wait({cut})
        await is_good(stranger, await pair(stranger, lovelace.login["refresh_token"]))

    async def test_to_send_it_again_does_not_make_the_30_seconds_longer(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        first = await pair(stranger, lovelace.login["refresh_token"])
        await seconds_go_by(sql, 20)
        await pair(stranger, lovelace.login["refresh_token"])
        await seconds_go_by(sql, 11)
        assert who(await refreshed(stranger, lovelace.login["refresh_token"])) == (401, NO_GOOD, SPENT)
        await family_has_ended(stranger, sql, lovelace.login, first)

    async def test_a_login_that_was_ended_is_not_answered_any_more(
        self, lovelace: Person, stranger: httpx.AsyncClient
    ) -> None:
        await pair(stranger, lovelace.login["refresh_token"])
        assert (await lovelace.post("/api/auth/logout")).status_code == 204
        assert who(await refreshed(stranger, lovelace.login["refresh_token"])) == (401, NO_GOOD, SPENT)


class TestACopy:
    async def test_one_that_is_used_after_30_seconds_ends_the_family_for_both(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        owners = await pair(stranger, lovelace.login["refresh_token"])
        await seconds_go_by(sql, 31)
        assert who(await refreshed(stranger, lovelace.login["refresh_token"])) == (401, NO_GOOD, SPENT)
        await family_has_ended(stranger, sql, lovelace.login, owners)

    async def test_one_of_two_generations_ago_ends_it_also_immediately(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        second = await pair(stranger, lovelace.login["refresh_token"])
        third = await pair(stranger, second["refresh_token"])
        assert who(await refreshed(stranger, lovelace.login["refresh_token"])) == (401, NO_GOOD, SPENT)
        await family_has_ended(stranger, sql, lovelace.login, second, third)

    @pytest.mark.parametrize("first", ["the owner", "the thief"])
    async def test_a_thief_who_was_answered_within_them_is_noticed_at_the_next_refresh(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any, first: str
    ) -> None:
        owners = await pair(stranger, lovelace.login["refresh_token"])
        thiefs = await pair(stranger, lovelace.login["refresh_token"])
        await seconds_go_by(sql, 900)
        one, other = (owners, thiefs) if first == "the owner" else (thiefs, owners)

        later = await pair(stranger, one["refresh_token"])
        await seconds_go_by(sql, 31)

        assert who(await refreshed(stranger, other["refresh_token"])) == (401, NO_GOOD, SPENT)
        await family_has_ended(stranger, sql, owners, thiefs, later)

    async def test_no_other_login_ends_with_it(self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any) -> None:
        other = await logged_in(stranger)
        await pair(stranger, lovelace.login["refresh_token"])
        await seconds_go_by(sql, 31)
        assert (await refreshed(stranger, lovelace.login["refresh_token"])).status_code == 401
        await is_good(stranger, await pair(stranger, other["refresh_token"]))

    async def test_a_guess_with_the_family_alone_ends_it_as_ever(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        guess = lovelace.login["refresh_token"][:26] + "x" * 43
        assert who(await refreshed(stranger, guess)) == (401, NO_GOOD, SPENT)
        await family_has_ended(stranger, sql, lovelace.login)


class TestWhatIsKept:
    async def test_no_token_is_in_any_table_and_no_spent_one_leads_to_the_next_without_our_secret(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        second = await pair(stranger, lovelace.login["refresh_token"])
        third = await pair(stranger, second["refresh_token"])
        parts = [each["refresh_token"][4:] for each in (lovelace.login, second, third)]
        device_tokens = [each["device_token"][4:26] for each in (lovelace.login, second, third)]
        assert await where(sql, *(each[:22] for each in parts), *(each[22:] for each in parts), *device_tokens) == []
        assert opaque_tokens.next_refresh(second["refresh_token"], SECRET) == third["refresh_token"]
        assert opaque_tokens.next_refresh(second["refresh_token"], SECRET[::-1]) != third["refresh_token"]

    async def test_secrets_that_are_being_rotated_make_no_difference(self, lovelace: Person, sql: Any) -> None:
        old, new = "o" * 40, "n" * 40
        spent = lovelace.login["refresh_token"]
        before = await sessions.rotate(spent, HERE, (old,))
        assert (await sessions.rotate(spent, HERE, (new, old))).refresh_token == before.refresh_token
        after = await sessions.rotate(before.refresh_token, HERE, (new, old))
        assert (await sessions.rotate(before.refresh_token, HERE, (old, new))).refresh_token == after.refresh_token
        with pytest.raises(InvalidRefreshToken):  # nobody can tell any more what the answer was
            await sessions.rotate(before.refresh_token, HERE, ("x" * 40,))


class Test90Days:
    async def test_however_often_it_is_refreshed_a_login_ends_90_days_after_it_began(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        login = lovelace.login
        life = "SELECT extract(epoch FROM expires_at - now()) / 86400 FROM login_sessions"
        left = []
        for _ in range(5):
            await sql.execute(
                "UPDATE login_sessions SET created_at = created_at - interval '20 d', expires_at = expires_at"
                " - interval '20 d'"
            )
            answer = await refreshed(stranger, login["refresh_token"])
            if answer.status_code != 200:
                break
            login = answer.json()["data"]
            [session] = (await stranger.get("/api/auth/sessions", headers=bearer(login["token"]))).json()["data"]
            assert session["expires_at"] == await sql.fetchval(
                """SELECT to_char(expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') FROM login_sessions"""
            )
            left.append(round(float(await sql.fetchval(life))))

        assert left == [30, 30, 30, 10]
        assert who(answer) == (401, NO_GOOD, SPENT)
        assert who(await stranger.get("/api/tasks", headers=bearer(login["token"]))) == (401, NO_GOOD, NO_TOKEN)

    async def test_the_last_access_token_does_not_outlive_it(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        await sql.execute("UPDATE login_sessions SET created_at = now() - interval '90 d' + interval '100.9 seconds'")
        login = await pair(stranger, lovelace.login["refresh_token"])
        claims = jwt.decode(login["token"], SECRET, ["HS256"])
        assert login["expires_in"] == claims["exp"] - claims["iat"] in (99, 100)
        await sql.execute("UPDATE login_sessions SET created_at = created_at - interval '100 seconds'")
        again = await pair(stranger, login["refresh_token"])
        assert again["expires_in"] == 0
        await sql.execute("UPDATE login_sessions SET expires_at = now()")
        answer = await stranger.get("/api/auth/me", headers=bearer(again["token"]))
        assert who(answer) == (401, NO_GOOD, NO_TOKEN)


async def test_a_login_that_is_refreshed_with_its_password_taken_away_by_staff_goes_on(
    lovelace: Person, stranger: httpx.AsyncClient, sql: Any, running: Litestar
) -> None:
    await sql.execute("DELETE FROM credentials")
    await is_good(stranger, await pair(stranger, lovelace.login["refresh_token"]))
    assert msgspec.structs.asdict(settings.current())["jwt_secrets"] == (SECRET,)
