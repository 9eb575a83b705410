"""Who leaves leaves nothing behind, and does not come back by a token that is about."""

import asyncio
import time
from typing import Any

import httpx
import pytest
from litestar import Litestar

from app.accounts import controller, queries
from app.auth import authenticator
from app.auth.jwt import User, mint
from app.db.engine import database
from tests.accounts.people import (
    ADA,
    NO_GOOD,
    NO_TOKEN,
    NOT_SENT,
    PASSWORD,
    SPENT,
    WRONG,
    Person,
    attempt,
    bearer,
    bearing,
    everything,
    logged_in,
    refreshed,
    refused,
    signed_up,
    where,
    who,
)
from tests.conftest import SECRET, token
from tests.statements import no_second_wall, without_owner

ANSWERED_AFTER = controller.SECONDS_TO_BE_HEARD  # before the tests make it nothing

LEAVER = {"name": "Zaphod Quxfield", "email": "zaphod.quxfield@example.com", "password": PASSWORD}


async def leaves(client: httpx.AsyncClient, password: str = PASSWORD) -> httpx.Response:
    return await client.request("DELETE", "/api/auth/me", json={"password": password})


@pytest.fixture
async def leaver(running: Litestar, stranger: httpx.AsyncClient) -> Any:
    """Somebody who has used everything that there is."""
    login = await signed_up(stranger, **LEAVER)
    async with Person(running, login) as person:
        content, once = {"title": "Call Quxfield", "description": "Zaphod"}, {"idempotency-key": "zaphod-1"}
        task = (await person.post("/api/tasks", json=content, headers=once)).json()
        await person.patch(f"/api/tasks/{task['data']['id']}/complete")
        await person.put(f"/api/tasks/{task['data']['id']}", json={"title": "Quxfield", "description": "Quxfield"})
        await person.post("/api/lists", json={"name": "Quxfield's list"}, headers={"idempotency-key": "zaphod-2"})
        thrown_away = (await person.post("/api/tasks", json={"title": "Forget Quxfield"})).json()
        await person.delete(f"/api/tasks/{thrown_away['data']['id']}")
        await person.post("/api/auth/tokens", json={"name": "Quxfield's script", "scope": "write"})
        await logged_in(stranger, email=LEAVER["email"], headers={"user-agent": "Quxfield's phone"})
        await refreshed(stranger, login["refresh_token"])
        await attempt(stranger, LEAVER["email"], "not his")
        yield person


@pytest.mark.slow
async def test_no_row_and_no_value_about_the_user_is_left_in_any_table(
    leaver: Person, lovelace: Person, sql: Any
) -> None:
    await lovelace.post("/api/tasks", json={"title": "Buy milk"})
    about = (leaver.id, LEAVER["email"], "quxfield", "zaphod")
    before = await where(sql, *about)
    assert before == [
        "credentials.user_id",
        "idempotency_keys.answer",
        "idempotency_keys.key",
        "idempotency_keys.user_id",
        "login_sessions.user_agent",
        "login_sessions.user_id",
        "personal_access_tokens.name",
        "personal_access_tokens.user_id",
        "rate_limits.email",
        "revisions.user_id",
        "task_lists.name",
        "task_lists.user_id",
        "task_versions.description",
        "task_versions.title",
        "task_versions.user_id",
        "tasks.description",
        "tasks.title",
        "tasks.user_id",
        "user.email",
        "user.id",
        "user.name",
    ]

    answer = await leaves(leaver)

    assert (answer.status_code, answer.content) == (204, b"")
    assert await where(sql, *about) == []
    rows = {name: len(values) for name, values in (await everything(sql)).items()}
    assert [rows[f"{table}.user_id"] for table in ("tasks", "credentials", "login_sessions")] == [1, 1, 1]
    assert rows["personal_access_tokens.user_id"] == 0
    assert (await lovelace.get("/api/tasks")).json()["data"][0]["title"] == "Buy milk"


async def test_failed_logins_go_immediately_also_those_since_the_password_was_asked_for(
    leaver: Person, sql: Any
) -> None:
    assert "rate_limits.email" in await where(sql, LEAVER["email"])
    await queries.close_account(User(id=leaver.id))
    assert await where(sql, LEAVER["email"]) == []


async def test_every_key_of_the_user_is_dead_and_the_row_does_not_come_back(
    leaver: Person, stranger: httpx.AsyncClient, sql: Any
) -> None:
    personal = (await leaver.post("/api/auth/tokens", json={"name": "x", "scope": "write"})).json()["data"]["token"]
    other = await logged_in(stranger, email=LEAVER["email"])
    assert (await leaves(leaver)).status_code == 204

    for key in (leaver.login["token"], other["token"], personal):
        for method, path in (
            ("GET", "/api/tasks"),
            ("POST", "/api/tasks"),
            ("GET", "/api/auth/me"),
            ("POST", "/api/auth/tokens"),
        ):
            body = {"title": "x", "name": "x", "scope": "write"}
            answer = await stranger.request(method, path, json=body, headers=bearer(key))
            assert who(answer) == (401, NO_GOOD, NO_TOKEN)
    for login in (leaver.login, other):
        assert who(await refreshed(stranger, login["refresh_token"])) == (401, NO_GOOD, SPENT)
    assert who(await attempt(stranger, LEAVER["email"])) == (401, NOT_SENT, WRONG)
    assert await sql.fetchval('SELECT count(*) FROM "user"') == 0


async def test_a_process_that_has_not_heard_of_it_yet_stores_nothing_either(
    leaver: Person, stranger: httpx.AsyncClient, running: Litestar, sql: Any
) -> None:
    """Another worker remembers a token for a second. This is such a second, made long."""
    memory = running.state.authenticator._cache
    held = dict(memory)
    assert (await leaves(leaver)).status_code == 204
    memory.update(held)
    for known in memory.values():
        known.checked_at = time.time()

    for path, body in (("/api/tasks", {"title": "x"}), ("/api/auth/tokens", {"name": "x", "scope": "read"})):
        assert who(await leaver.post(path, json=body)) == (401, NO_GOOD, NO_TOKEN)
    assert (await leaver.get("/api/tasks")).json() == {"data": []}
    assert (await leaver.patch("/api/auth/me", json={"name": "x"})).status_code == 404
    assert await sql.fetchval('SELECT count(*) FROM "user"') == 0


@pytest.mark.parametrize("off", [True, False], ids=["PROVISION_USERS=off", "PROVISION_USERS=on"])
async def test_not_even_a_fresh_access_token_of_a_login_that_has_ended_brings_it_back(
    leaver: Person, running: Litestar, without_provisioning: Litestar, sql: Any, off: bool
) -> None:
    session = await sql.fetchval("SELECT id FROM login_sessions LIMIT 1")
    assert (await leaves(leaver)).status_code == 204
    minted = mint(User(id=leaver.id, email=LEAVER["email"], name="x", session=session), SECRET, 900)
    async with bearing(without_provisioning if off else running, minted) as ghost:
        assert who(await ghost.post("/api/tasks", json={"title": "x"})) == (401, NO_GOOD, NO_TOKEN)
        assert who(await ghost.get("/api/tasks")) == (401, NO_GOOD, NO_TOKEN)
    assert await sql.fetchval('SELECT count(*) FROM "user"') == 0


async def test_writes_at_the_same_time_leave_no_ghost(leaver: Person, sql: Any) -> None:
    answers = await asyncio.gather(
        *(leaver.post("/api/tasks", json={"title": "Quxfield"}) for _ in range(10)),
        leaves(leaver),
        *(leaver.post("/api/tasks", json={"title": "Quxfield"}) for _ in range(20)),
    )

    assert answers[10].status_code == 204
    assert {answer.status_code for answer in answers} <= {201, 204, 401}
    assert await where(sql, leaver.id, "quxfield") == []


async def test_it_needs_the_password_and_a_wrong_one_deletes_nothing(
    leaver: Person, stranger: httpx.AsyncClient
) -> None:
    assert who(await leaves(leaver, "not his")) == (401, NOT_SENT, WRONG)
    answer = await leaver.request("DELETE", "/api/auth/me", json={})
    assert (answer.status_code, answer.json()) == (422, refused("password", "Password is required"))
    answer = await leaver.delete("/api/auth/me")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BAD_REQUEST")

    assert len((await leaver.get("/api/tasks")).json()["data"]) == 1
    assert (await attempt(stranger, LEAVER["email"])).status_code == 200


async def test_of_two_concurrent_ones_one_deletes_and_neither_crashes(leaver: Person, sql: Any) -> None:
    answers = await asyncio.gather(leaves(leaver), leaves(leaver))
    assert {answer.status_code for answer in answers} <= {204, 401}
    assert 204 in {answer.status_code for answer in answers}
    assert await sql.fetchval('SELECT count(*) FROM "user"') == 0


async def test_the_email_is_free_again_and_the_new_account_is_another(
    leaver: Person, stranger: httpx.AsyncClient
) -> None:
    assert (await leaves(leaver)).status_code == 204
    again = await signed_up(stranger, **LEAVER)
    assert again["user"]["id"] != leaver.id
    assert (await stranger.get("/api/tasks", headers=bearer(again["token"]))).json() == {"data": []}
    assert who(await leaver.get("/api/tasks")) == (401, NO_GOOD, NO_TOKEN)


async def test_a_user_of_an_auth_server_has_no_password_to_leave_with(ada: httpx.AsyncClient, sql: Any) -> None:
    assert who(await leaves(ada)) == (401, NOT_SENT, WRONG)
    assert (await ada.post("/api/tasks", json={"title": "x"})).status_code == 201
    assert who(await leaves(ada)) == (401, NOT_SENT, WRONG)
    assert await sql.fetchval('SELECT count(*) FROM "user"') == 1


async def test_a_user_whose_email_stands_in_for_none_has_no_password_either(running: Litestar, clean: None) -> None:
    async with bearing(running, token(7)) as seven:
        assert (await seven.post("/api/tasks", json={"title": "x"})).status_code == 201
        assert who(await leaves(seven)) == (401, NOT_SENT, WRONG)
        assert who(await leaves(seven, ADA["password"])) == (401, NOT_SENT, WRONG)


def test_other_workers_have_heard_of_it_when_it_is_answered() -> None:
    assert ANSWERED_AFTER > authenticator.SESSION_CHECK_SECONDS


async def test_only_the_one_who_leaves_has_no_revision_any_more(
    lovelace: Person, boole: Person, sql: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by the query, nor where it has lost its owner and row-level security alone is left."""
    for person in (lovelace, boole):
        await person.post("/api/tasks", json={"title": "x"})
    forgetful = without_owner(queries.FORGET_REVISION)
    for statement in (queries.FORGET_REVISION, forgetful):
        await database.fetch(statement, owner=lovelace.id)
        assert [row[0] for row in await sql.fetch("SELECT user_id FROM revisions")] == [boole.id]
    async with no_second_wall(sql):
        await database.fetch(queries.FORGET_REVISION, owner=lovelace.id)
        assert await sql.fetchval("SELECT count(*) FROM revisions") == 1
