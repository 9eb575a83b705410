"""Passwords: Argon2id, off the event loop, two at a time; and how one is changed."""

import asyncio
import json
import threading
import time
import unicodedata
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher, Type, extract_parameters
from litestar import Litestar

from app.auth import passwords
from app.web.failures import Busy
from tests.accounts.people import (
    ADA,
    NO_GOOD,
    NO_TOKEN,
    NOT_FOR_SCRIPTS,
    NOT_SENT,
    PASSWORD,
    SPENT,
    WRONG,
    Person,
    attempt,
    bearer,
    logged_in,
    refreshed,
    refused,
    signed_up,
    where,
    who,
)
from tests.conftest import token

BUSY = {
    "error": {
        "code": "SERVICE_UNAVAILABLE",
        "message": "The service has more to do than there is time for. Try again in a moment.",
    }
}
NEW = "a new password"
WEAKER = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1)
OTHER_KIND = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1, type=Type.I)

KEPT = "SELECT password_hash FROM credentials"


async def changed(client: httpx.AsyncClient, current: str = PASSWORD, new: str = NEW, **more: Any) -> httpx.Response:
    return await client.post("/api/auth/me/password", json={"current_password": current, "new_password": new, **more})


class TestHashes:
    async def test_it_is_argon2id_at_owasps_parameters_and_never_twice_the_same(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        await signed_up(stranger, email="other@example.com")
        rows = await sql.fetch(KEPT)

        assert len({row[0] for row in rows}) == 2
        for row in rows:
            assert row[0].startswith("$argon2id$v=19$m=19456,t=2,p=1$")

    async def test_nothing_that_logs_in_is_stored_in_clear_in_any_table(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        login = await logged_in(stranger)
        again = (await refreshed(stranger, login["refresh_token"])).json()["data"]
        made = await lovelace.post("/api/auth/tokens", json={"name": "script", "scope": "read"})
        personal = made.json()["data"]["token"]
        assert (await lovelace.get("/api/tasks", headers=bearer(personal))).status_code == 200
        assert (await changed(lovelace)).status_code == 204
        assert (await attempt(stranger, password="a wrong password")).status_code == 401

        secrets = [PASSWORD, NEW, "a wrong password", personal, personal.removeprefix("tsk_")]
        for each in (lovelace.login, login, again):
            refresh = each["refresh_token"].removeprefix("tsr_")
            secrets += [each["token"], each["token"].rsplit(".", 1)[1], refresh, refresh[:22], refresh[22:]]
        assert await where(sql, *secrets) == []
        # The search does find what is there.
        assert await where(sql, "ada@example.com") == ["rate_limits.email", "user.email"]

    @pytest.mark.parametrize("hasher", [WEAKER, OTHER_KIND], ids=["weaker", "another kind"])
    async def test_one_of_other_parameters_is_renewed_at_the_next_login(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any, hasher: PasswordHasher
    ) -> None:
        await sql.execute(
            "UPDATE credentials SET password_hash = $1, updated_at = now() - interval '1 day'", hasher.hash(PASSWORD)
        )
        old = await sql.fetchval(KEPT)

        assert who(await attempt(stranger, password="not hers")) == (401, NOT_SENT, WRONG)
        assert await sql.fetchval(KEPT) == old
        assert (await attempt(stranger)).status_code == 200

        renewed = await sql.fetchval(KEPT)
        parameters = extract_parameters(renewed)
        assert renewed != old
        assert (parameters.type, parameters.time_cost, parameters.memory_cost, parameters.parallelism) == (
            Type.ID,
            2,
            19456,
            1,
        )
        assert await sql.fetchval("SELECT now() - updated_at < interval '1 minute' FROM credentials")
        assert (await attempt(stranger)).status_code == 200
        assert await sql.fetchval(KEPT) == renewed

    @pytest.mark.parametrize("kept", ["", "x", "$argon2id$v=19$m=19456,t=2,p=1$x$y", "$2b$12$abc"])
    async def test_one_that_cannot_be_read_is_of_no_password(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any, kept: str
    ) -> None:
        await sql.execute("UPDATE credentials SET password_hash = $1", kept)
        assert who(await attempt(stranger)) == (401, NOT_SENT, WRONG)

    async def test_where_there_is_none_the_same_work_is_done_for_nothing(self) -> None:
        assert not passwords.is_outdated(passwords.DECOY)
        for password in ("", PASSWORD, "\0" * 32):
            assert not await passwords.matches(None, password)


class TestInTurn:
    @pytest.mark.slow
    async def test_at_most_two_threads_hash_and_the_event_loop_is_not_one_of_them(self) -> None:
        longest, hashing = 0.0, asyncio.gather(*(passwords.hashed(PASSWORD) for _ in range(12)))
        while not hashing.done():
            began = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - began)

        assert len(set(await hashing)) == 12
        assert len([each for each in threading.enumerate() if each.name.startswith("argon2")]) <= 2
        assert longest < 0.5

    @pytest.mark.slow
    async def test_who_waits_too_long_is_told_to_come_again_and_nothing_has_failed(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(passwords, "WAIT_SECONDS", 0.05)
        await sql.execute("TRUNCATE rate_limits")
        free = threading.Event()
        busy = [passwords._threads.submit(free.wait) for _ in range(passwords.MAX_CONCURRENT_HASHES)]
        try:
            answers = [
                await attempt(stranger),
                await attempt(stranger, password="not hers"),
                await stranger.post("/api/auth/signup", json={**ADA, "email": "new@example.com"}),
                await lovelace.request("DELETE", "/api/auth/me", json={"password": PASSWORD}),
                await changed(lovelace),
            ] + [await attempt(stranger) for _ in range(6)]
        finally:
            free.set()
        for each in busy:
            each.result()

        for answer in answers:
            assert (answer.status_code, answer.headers["retry-after"], answer.json()) == (503, "1", BUSY)
        monkeypatch.undo()
        assert await sql.fetchval("SELECT coalesce(sum(failed_attempts), 0) FROM rate_limits") == 0
        assert await sql.fetchval("SELECT string_agg(email, ',') FROM \"user\"") == "ada@example.com.user.invalid"
        assert (await attempt(stranger)).status_code == 200

    async def test_a_login_whose_hash_cannot_be_renewed_in_time_is_a_login_all_the_same(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        weak = WEAKER.hash(PASSWORD)
        await sql.execute("UPDATE credentials SET password_hash = $1", weak)

        async def busy(_: str) -> str:
            raise Busy

        monkeypatch.setattr(passwords, "hashed", busy)
        assert (await attempt(stranger)).status_code == 200
        assert await sql.fetchval(KEPT) == weak


class TestOfAnything:
    """8 to 1,024 characters, and no other rule."""

    @pytest.mark.parametrize(
        "password",
        [
            "12345678",
            "password",
            "        ",
            " leading and trailing ",
            "x" * 1024,
            "\U0001f95b" * 8,
            "\U0001f95b" * 1024,
            "\0\0\0\0\0\0\0\0",
            "a\0b\0c\0d\0e",
            "\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668",
            '"\\"\\"\\"\\',
        ],
    )
    async def test_it_is_taken_and_taken_exactly(self, stranger: httpx.AsyncClient, password: str) -> None:
        await signed_up(stranger, password=password)

        assert (await attempt(stranger, password=password)).status_code == 200
        for near in (password[:-1], password + " ", password.replace("\0", "")):
            if near != password:
                assert who(await attempt(stranger, password=near)) == (401, NOT_SENT, WRONG)

    async def test_the_same_letters_are_the_same_however_a_keyboard_composes_them(
        self, stranger: httpx.AsyncClient
    ) -> None:
        password = "\u00c4rger im B\u00fcro"
        await signed_up(stranger, password=password)
        assert (await attempt(stranger, password=unicodedata.normalize("NFD", password))).status_code == 200
        assert (await attempt(stranger, password=password.lower())).status_code == 401

    @pytest.mark.parametrize("path", ["login", "me/password", "me"])
    async def test_half_a_character_is_never_a_crash(self, lovelace: Person, path: str) -> None:
        body = {"email": ADA["email"], "password": "HERE", "current_password": "HERE", "new_password": "HERE HERE"}
        text = json.dumps(body).replace("HERE", "\\ud800half a character")
        answer = await lovelace.request("DELETE" if path == "me" else "POST", f"/api/auth/{path}", content=text)
        assert answer.status_code in (400, 401, 422)


class TestChange:
    async def test_the_new_one_opens_and_the_old_one_no_more(
        self, lovelace: Person, stranger: httpx.AsyncClient
    ) -> None:
        answer = await changed(lovelace)

        assert (answer.status_code, answer.content) == (204, b"")
        assert who(await attempt(stranger)) == (401, NOT_SENT, WRONG)
        assert (await attempt(stranger, password=NEW)).status_code == 200

    async def test_it_ends_every_login_but_the_one_that_asks(
        self, lovelace: Person, boole: Person, stranger: httpx.AsyncClient
    ) -> None:
        other = await logged_in(stranger)
        assert (await stranger.get("/api/tasks", headers=bearer(other["token"]))).status_code == 200

        assert (await changed(lovelace)).status_code == 204

        answer = await stranger.get("/api/tasks", headers=bearer(other["token"]))
        assert who(answer) == (401, NO_GOOD, NO_TOKEN)
        assert who(await refreshed(stranger, other["refresh_token"])) == (401, NO_GOOD, SPENT)
        assert (await lovelace.get("/api/tasks")).status_code == 200
        assert (await refreshed(stranger, lovelace.login["refresh_token"])).status_code == 200
        assert (await boole.get("/api/tasks")).status_code == 200
        assert (await attempt(stranger, "bob@example.com", "bob's very own password")).status_code == 200

    async def test_of_changes_at_the_same_time_one_is_made_and_the_others_are_told_so(
        self, lovelace: Person, stranger: httpx.AsyncClient
    ) -> None:
        wishes = [f"another one {number}" for number in range(4)]
        body = {"current_password": PASSWORD}
        answers = await asyncio.gather(
            *(lovelace.post("/api/auth/me/password", json={**body, "new_password": wish}) for wish in wishes)
        )

        made = [wish for wish, answer in zip(wishes, answers, strict=True) if answer.status_code == 204]
        assert len(made) == 1
        assert [who(answer) for answer in answers if answer.status_code != 204] == [(401, NOT_SENT, WRONG)] * 3
        assert (await attempt(stranger, password=made[0])).status_code == 200

    @pytest.mark.slow
    async def test_it_ends_also_a_login_that_the_old_one_was_opening_at_the_same_time(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        transaction = sql.transaction()
        await transaction.start()
        await sql.execute('SELECT 1 FROM "user" FOR UPDATE')  # holds up a login once its password is looked at
        login = asyncio.create_task(attempt(stranger))
        await asyncio.sleep(0.5)
        assert not login.done()
        change = asyncio.create_task(changed(lovelace))
        await asyncio.wait({change}, timeout=0.5)
        await transaction.commit()

        assert (await change).status_code == 204
        if (answer := await login).status_code == 200:
            refresh_token = answer.json()["data"]["refresh_token"]
            assert who(await refreshed(stranger, refresh_token)) == (401, NO_GOOD, SPENT)

    async def test_a_login_whose_password_is_changed_once_it_was_looked_at_comes_to_nothing(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        transaction = sql.transaction()
        await transaction.start()
        await sql.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", lovelace.id)
        login = asyncio.create_task(attempt(stranger))
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while not await sql.fetchval(waiting):  # noqa: ASYNC110 # the database tells
            await asyncio.sleep(0.02)
        await sql.execute("UPDATE credentials SET password_hash = $1", WEAKER.hash(NEW))
        await transaction.commit()

        assert who(await login) == (401, NOT_SENT, WRONG)
        assert await sql.fetchval("SELECT count(*) FROM login_sessions") == 1

    async def test_a_script_may_not_even_with_the_password(self, lovelace: Person) -> None:
        made = await lovelace.post("/api/auth/tokens", json={"name": "x", "scope": "write"})
        headers = bearer(made.json()["data"]["token"])
        body = {"current_password": PASSWORD, "new_password": NEW}

        answer = await lovelace.post("/api/auth/me/password", json=body, headers=headers)
        assert (answer.status_code, answer.json()) == (403, NOT_FOR_SCRIPTS)
        assert (await changed(lovelace)).status_code == 204

    @pytest.mark.parametrize("wish", [{}, {"revoke_tokens": False}])
    async def test_it_leaves_personal_tokens_alone(
        self, lovelace: Person, stranger: httpx.AsyncClient, wish: dict[str, bool]
    ) -> None:
        made = await lovelace.post("/api/auth/tokens", json={"name": "x", "scope": "write"})
        assert (await changed(lovelace, **wish)).status_code == 204
        answer = await stranger.get("/api/tasks", headers=bearer(made.json()["data"]["token"]))
        assert answer.status_code == 200

    async def test_it_ends_all_of_them_where_that_is_wanted_and_nobody_elses(
        self, lovelace: Person, boole: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        wish = {"name": "x", "scope": "write"}
        mine = [(await lovelace.post("/api/auth/tokens", json=wish)).json()["data"]["token"] for _ in range(3)]
        his = (await boole.post("/api/auth/tokens", json=wish)).json()["data"]["token"]
        refused = await changed(lovelace, "not hers", revoke_tokens=True)
        assert refused.status_code == 401
        assert (await stranger.get("/api/tasks", headers=bearer(mine[0]))).status_code == 200

        assert (await changed(lovelace, revoke_tokens=True)).status_code == 204

        for each in mine:
            answer = await stranger.get("/api/tasks", headers=bearer(each))
            assert who(answer) == (401, NO_GOOD, NO_TOKEN)
        assert (await stranger.get("/api/tasks", headers=bearer(his))).status_code == 200
        assert await sql.fetchval("SELECT count(*) FROM personal_access_tokens") == 1

    @pytest.mark.slow
    async def test_no_token_that_a_login_makes_at_the_same_moment_is_left_behind(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        """Only the login that asks may make new ones afterwards."""
        others = [await logged_in(stranger) for _ in range(4)]
        wish = {"name": "x", "scope": "write"}

        async def make(login: dict[str, Any]) -> httpx.Response:
            return await stranger.post("/api/auth/tokens", json=wish, headers=bearer(login["token"]))

        change = asyncio.create_task(changed(lovelace, revoke_tokens=True))
        statuses: set[int] = set()
        while not change.done():
            statuses |= {each.status_code for each in await asyncio.gather(*map(make, others))}

        assert (await change).status_code == 204
        assert statuses <= {201, 401, 409}
        assert await sql.fetchval("SELECT count(*) FROM personal_access_tokens") == 0

    @pytest.mark.parametrize("wrong", ["yes", 1, None])
    async def test_whether_they_end_is_said_by_true_or_false(self, lovelace: Person, wrong: Any) -> None:
        answer = await changed(lovelace, revoke_tokens=wrong)
        assert (answer.status_code, answer.json()["error"]["fields"][0]["field"]) == (422, "revoke_tokens")

    async def test_who_has_no_password_has_none_to_change(
        self, ada: httpx.AsyncClient, running: Litestar, sql: Any
    ) -> None:
        assert who(await changed(ada)) == (401, NOT_SENT, WRONG)
        assert (await ada.post("/api/tasks", json={"title": "x"})).status_code == 201
        assert who(await changed(ada)) == (401, NOT_SENT, WRONG)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(running), base_url="http://test", headers=bearer(token(7))
        ) as seven:
            assert (await seven.post("/api/tasks", json={"title": "x"})).status_code == 201
            assert who(await changed(seven)) == (401, NOT_SENT, WRONG)
        assert await sql.fetchval("SELECT count(*) FROM credentials") == 0

    @pytest.mark.parametrize(
        ("body", "answer"),
        [
            ({}, refused("current_password", "Current password is required")),
            ({"current_password": PASSWORD}, refused("new_password", "New password is required")),
            (
                {"current_password": PASSWORD, "new_password": "1234567"},
                refused("new_password", "A password has 8 to 1024 characters"),
            ),
            (
                {"current_password": PASSWORD, "new_password": "x" * 1025},
                refused("new_password", "A password has 8 to 1024 characters"),
            ),
            (
                {"current_password": 5, "new_password": NEW},
                refused("current_password", "Current password must be a string"),
            ),
        ],
    )
    async def test_what_is_not_acceptable_is_422(
        self, lovelace: Person, stranger: httpx.AsyncClient, body: Any, answer: Any
    ) -> None:
        response = await lovelace.post("/api/auth/me/password", json=body)

        assert (response.status_code, response.json()) == (422, answer)
        assert (await attempt(stranger)).status_code == 200
