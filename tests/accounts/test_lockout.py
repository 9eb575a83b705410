"""Five failed logins for an email within 15 minutes lock it for 15. Exactly, and also when they are concurrent."""

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest
from litestar import Litestar

from tests.accounts.people import (
    ADA,
    NOT_SENT,
    WRONG,
    Person,
    attempt,
    signed_up,
    time_goes_by,
    who,
)

ELSEWHERE = "203.0.113.9"
KEYS = "SELECT email FROM rate_limits ORDER BY email"


async def wrong(client: httpx.AsyncClient, times: int = 1, email: str = ADA["email"]) -> list[int]:
    return [(await attempt(client, email, "not hers")).status_code for _ in range(times)]


def locked_for(answer: httpx.Response) -> int:
    """The seconds that a 429 names, in the header and in the body alike. Nothing else is in it."""
    seconds = answer.json()["error"]["retryAfter"]
    message = "Too many failed logins. Try again later."
    error = {"code": "RATE_LIMIT_EXCEEDED", "message": message, "retryAfter": seconds}
    assert (answer.status_code, answer.headers["retry-after"], answer.json()) == (429, f"{seconds}", {"error": error})
    return seconds


def at(app: Litestar, address: str) -> httpx.AsyncClient:
    """Somebody without a token at that address on the network."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 50000)), base_url="http://test")


class TestAnEmail:
    async def test_five_failures_lock_it_for_15_minutes_also_for_the_right_password(
        self, lovelace: Person, stranger: httpx.AsyncClient
    ) -> None:
        for _ in range(5):
            assert who(await attempt(stranger, password="not hers")) == (401, NOT_SENT, WRONG)

        assert 890 < locked_for(await attempt(stranger)) <= 900
        assert 890 < locked_for(await attempt(stranger, password="not hers")) <= 900
        assert 890 < locked_for(await attempt(stranger, "ADA@Example.com ")) <= 900

    async def test_an_email_that_nobody_has_is_locked_just_the_same(self, stranger: httpx.AsyncClient) -> None:
        assert await wrong(stranger, 6) == [401] * 5 + [429]
        assert 890 < locked_for(await attempt(stranger)) <= 900

    async def test_signing_up_with_it_opens_no_lock(self, stranger: httpx.AsyncClient) -> None:
        assert await wrong(stranger, 5) == [401] * 5
        await signed_up(stranger)
        locked_for(await attempt(stranger))

    async def test_other_emails_are_not_locked_with_it(
        self, lovelace: Person, boole: Person, stranger: httpx.AsyncClient
    ) -> None:
        await wrong(stranger, 6)
        assert (await attempt(stranger, "bob@example.com", "bob's very own password")).status_code == 200

    async def test_who_is_logged_in_stays_so(self, lovelace: Person, stranger: httpx.AsyncClient) -> None:
        await wrong(stranger, 6)
        assert (await lovelace.get("/api/tasks")).status_code == 200
        answer = await stranger.post("/api/auth/refresh", json={"refresh_token": lovelace.login["refresh_token"]})
        assert answer.status_code == 200

    @pytest.mark.slow
    async def test_the_lock_expires_after_15_minutes_and_five_more_may_fail(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        await wrong(stranger, 5)
        await time_goes_by(sql, "14 minutes 50 seconds")
        assert 0 < locked_for(await attempt(stranger)) <= 10

        await time_goes_by(sql, "10 seconds")

        assert await wrong(stranger, 6) == [401] * 5 + [429]
        await time_goes_by(sql, "15 minutes")
        assert (await attempt(stranger)).status_code == 200

    async def test_what_is_refused_while_it_is_locked_does_not_prolong_the_lock(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        await wrong(stranger, 5)
        await time_goes_by(sql, "10 minutes")
        assert await wrong(stranger, 10) == [429] * 10
        assert locked_for(await attempt(stranger)) <= 300

    @pytest.mark.slow
    async def test_it_is_any_15_minutes_not_those_of_a_clock(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        for _ in range(3):  # one after the other: never five within 15 minutes
            assert await wrong(stranger, 2) == [401] * 2
            await time_goes_by(sql, "7 minutes 40 seconds")
            assert await wrong(stranger, 2) == [401] * 2
            await time_goes_by(sql, "7 minutes 40 seconds")
        assert (await attempt(stranger)).status_code == 200

        assert await wrong(stranger, 2) == [401] * 2
        await time_goes_by(sql, "7 minutes")
        assert await wrong(stranger, 2) == [401] * 2
        await time_goes_by(sql, "7 minutes")
        assert await wrong(stranger, 2) == [401, 429]

    @pytest.mark.slow
    async def test_a_success_clears_it(self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any) -> None:
        for _ in range(3):
            assert await wrong(stranger, 4) == [401] * 4
            assert (await attempt(stranger)).status_code == 200
        assert [row[0] for row in await sql.fetch(KEYS)] == ["ip:127.0.0.1"]
        assert await wrong(stranger, 6) == [401] * 5 + [429]

    async def test_to_come_in_by_another_way_does_not_clear_it(
        self, lovelace: Person, stranger: httpx.AsyncClient
    ) -> None:
        assert await wrong(stranger, 4) == [401] * 4
        answer = await stranger.post("/api/auth/refresh", json={"refresh_token": lovelace.login["refresh_token"]})
        assert answer.status_code == 200
        assert await wrong(stranger, 2) == [401, 429]


class TestConcurrentAttempts:
    async def test_of_fifty_guesses_five_are_made(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        answers = await asyncio.gather(*(attempt(stranger, password=f"guess {n}") for n in range(50)))

        assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 45
        for answer in answers:
            if answer.status_code == 429:
                assert 890 < locked_for(answer) <= 900
        row = await sql.fetchrow("SELECT * FROM rate_limits WHERE email = 'ada@example.com'")
        assert (row["failed_attempts"], len(row["recent_attempts"])) == (5, 5)
        assert row["last_attempt"] == max(row["recent_attempts"])
        assert row["recent_attempts"] == sorted(row["recent_attempts"])

    async def test_of_fifty_when_some_have_failed_before_only_those_that_are_left(
        self, lovelace: Person, stranger: httpx.AsyncClient
    ) -> None:
        await wrong(stranger, 3)
        answers = await asyncio.gather(*(attempt(stranger, password=f"guess {n}") for n in range(50)))
        assert sorted(answer.status_code for answer in answers) == [401] * 2 + [429] * 48

    @pytest.mark.slow
    async def test_fifty_logins_with_the_right_password_are_fifty_logins(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        answers = await asyncio.gather(*(attempt(stranger) for _ in range(50)))

        assert [answer.status_code for answer in answers] == [200] * 50
        assert await sql.fetch(KEYS) == []
        assert await sql.fetchval("SELECT count(*) FROM login_sessions") == 51

    async def test_an_email_of_nobody_takes_no_more_guesses_than_another(self, stranger: httpx.AsyncClient) -> None:
        answers = await asyncio.gather(*(attempt(stranger, "nobody@example.com") for _ in range(50)))
        assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 45


class TestUndecided:
    """Attempts whose process has died before it could tell how they ended."""

    COUNTED = """
        INSERT INTO rate_limits (email, failed_attempts, last_attempt, created_at, recent_attempts)
        VALUES ('ada@example.com', 5, now() - $1::interval, now(), array_fill(now() - $1::interval, ARRAY[5]))
    """

    async def test_they_count_as_failed_and_lock_from_when_they_began(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        await sql.execute(self.COUNTED.replace("$1", "'11 seconds'"))
        assert 880 < locked_for(await attempt(stranger)) <= 889

    @pytest.mark.slow
    async def test_they_are_waited_for_as_long_as_they_may_still_be_right(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        await sql.execute(self.COUNTED.replace("$1", "'2 seconds'"))
        login = asyncio.create_task(attempt(stranger))
        await asyncio.sleep(0.3)
        assert not login.done()

        await sql.execute("DELETE FROM rate_limits")  # as one that was right does

        assert (await login).status_code == 200


class TestAnAddress:
    """A second limit, so that it is slow work to lock others out: 100 failures from one address."""

    ALMOST = """
        INSERT INTO rate_limits (email, failed_attempts, last_attempt, created_at, recent_attempts)
        VALUES ($1, 99, now(), now(), array_fill(now() - interval '1 minute', ARRAY[99]))
    """

    async def test_the_hundredth_failure_locks_it_for_whatever_email(
        self, lovelace: Person, running: Litestar, sql: Any
    ) -> None:
        await sql.execute(self.ALMOST, f"ip:{ELSEWHERE}")
        async with at(running, ELSEWHERE) as there, at(running, "198.51.100.1") as here:
            assert await wrong(there, 1, "eve@example.com") == [401]

            assert 890 < locked_for(await attempt(there)) <= 900
            assert 890 < locked_for(await attempt(there, "nobody@example.com")) <= 900
            assert (await attempt(here)).status_code == 200

            await time_goes_by(sql, "15 minutes")
            assert (await attempt(there)).status_code == 200

    async def test_a_success_does_not_clear_it(self, lovelace: Person, running: Litestar, sql: Any) -> None:
        await sql.execute(self.ALMOST, f"ip:{ELSEWHERE}")
        async with at(running, ELSEWHERE) as there:
            assert (await attempt(there)).status_code == 200
            assert await wrong(there) == [401]
            locked_for(await attempt(there))

    async def test_one_that_is_locked_counts_nothing_for_an_email(
        self, lovelace: Person, stranger: httpx.AsyncClient, running: Litestar, sql: Any
    ) -> None:
        await sql.execute(self.ALMOST, f"ip:{ELSEWHERE}")
        async with at(running, ELSEWHERE) as there:
            assert await wrong(there, 11) == [401] + [429] * 10
        assert (await attempt(stranger)).status_code == 200

    @pytest.mark.parametrize("forged", ["198.51.100.7", "198.51.100.7, 127.0.0.1", "ada@example.com"])
    async def test_a_header_alone_makes_nobody_somebody_else(
        self, lovelace: Person, running: Litestar, sql: Any, forged: str
    ) -> None:
        async with at(running, ELSEWHERE) as there:
            answer = await attempt(there, password="not hers", headers={"x-forwarded-for": forged})
        assert answer.status_code == 401
        assert [row[0] for row in await sql.fetch(KEYS)] == ["ada@example.com", f"ip:{ELSEWHERE}"]


class TestCutShort:
    async def test_where_a_hundred_from_one_address_are_undecided_the_next_is_told_to_come_back_in_a_second(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        await sql.execute(
            "INSERT INTO rate_limits (email, failed_attempts, recent_attempts)"
            " VALUES ('ip:127.0.0.1', 100, array_fill(now(), ARRAY[100]))"
        )
        assert locked_for(await attempt(stranger)) == 1

    async def test_an_attempt_that_the_database_cut_short_is_none(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        await sql.execute("ALTER TABLE credentials RENAME TO hidden")
        try:
            for _ in range(6):
                assert (await attempt(stranger)).status_code == 500
        finally:
            await sql.execute("ALTER TABLE hidden RENAME TO credentials")

        assert (await attempt(stranger)).status_code == 200


class TestCleaning:
    async def test_what_counts_no_more_is_cleaned_away_and_what_does_stays(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        await sql.execute(
            """
            INSERT INTO rate_limits (email, failed_attempts, last_attempt, created_at, recent_attempts, locked_until)
            SELECT who, 1, now() - seen, now(), ARRAY[now() - seen], now() + lock
            FROM (VALUES
                ('old@example.com', interval '16 minutes', NULL),
                ('over@example.com', interval '16 minutes', interval '-1 second'),
                ('recent@example.com', interval '14 minutes', NULL),
                ('still@example.com', interval '16 minutes', interval '1 minute')
            ) AS row (who, seen, lock)
            """
        )

        await wrong(stranger, 1, "nobody@example.com")

        kept = ["ip:127.0.0.1", "nobody@example.com", "recent@example.com", "still@example.com"]
        assert [row[0] for row in await sql.fetch(KEYS)] == kept

    async def test_a_success_cleans_too(self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any) -> None:
        await wrong(stranger, 3, "nobody@example.com")
        await time_goes_by(sql, "15 minutes 1 second")
        assert (await attempt(stranger)).status_code == 200
        assert await sql.fetch(KEYS) == []


async def test_who_asks_while_a_lock_begins_waits_for_no_longer_than_it_lasts(
    lovelace: Person, stranger: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    await wrong(stranger, 4)
    async with sql.transaction():
        await sql.execute("SELECT FROM rate_limits WHERE email = $1 FOR UPDATE", ADA["email"])
        login = asyncio.create_task(attempt(stranger))
        await asyncio.sleep(0.3)
        await sql.execute("UPDATE rate_limits SET locked_until = clock_timestamp() + interval '15 minutes'")

    assert 899 < locked_for(await login) <= 900
