"""Where am I logged in, and which scripts hold a token of mine?"""

import asyncio
import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import httpx
import msgspec
import pytest
from litestar import Litestar
from litestar.routes import HTTPRoute

from app import main
from app.accounts.controller import AccountRoutes, check_kind_of_token
from app.accounts.structs import PersonalTokenListData
from app.auth.middleware import CurrentUser
from app.config import settings
from app.web.routing import FastHandler, get
from tests.accounts.people import (
    NO_GOOD,
    NO_TOKEN,
    NOT_FOR_SCRIPTS,
    PASSWORD,
    READ_ONLY,
    SPENT,
    STAMP,
    Person,
    attempt,
    bearer,
    logged_in,
    refreshed,
    refused,
    who,
)
from tests.conftest import token, visitor

PERSONAL = re.compile(r"tsk_[\w-]{43}")
ID = re.compile(r"[\w-]{16}")
NOT_THIS_SCOPE = 'Bearer error="insufficient_scope", scope="write"'
NO_SESSION = b'{"error":{"code":"NOT_FOUND","message":"There is no such session."}}'
NO_SUCH_TOKEN = b'{"error":{"code":"NOT_FOUND","message":"There is no such token."}}'
STRANGE_IDS = ["0", "x" * 64, "x" * 65, "x" * 3000, "%00", "%0a", "a%20b", "'", "%C3%A9", "a.b", "..."]


async def made(client: httpx.AsyncClient, **wish: Any) -> dict[str, Any]:
    answer = await client.post("/api/auth/tokens", json={"name": "Backup", "scope": "write", **wish})
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


async def sessions(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    return (await client.get("/api/auth/sessions")).json()["data"]


class TestSessions:
    async def test_each_says_where_and_since_when_and_which_one_this_is(
        self, lovelace: Person, boole: Person, running: Litestar, sql: Any
    ) -> None:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(running, client=("203.0.113.9", 50000)), base_url="http://test"
        ) as phone:
            await logged_in(phone, headers={"user-agent": "A phone"})

        answer = await lovelace.get("/api/auth/sessions")

        listed = answer.json()["data"]
        assert answer.status_code == 200
        assert [each["current"] for each in listed] == [False, True]
        agents = [("A phone", "203.0.113.9"), (lovelace.headers["user-agent"], "127.0.0.1")]
        for each, (agent, address) in zip(listed, agents, strict=True):
            assert each == {
                "id": each["id"],
                "user_agent": agent,
                "ip_address": address,
                "created_at": each["created_at"],
                "last_used_at": each["created_at"],
                "expires_at": each["expires_at"],
                "current": each["current"],
            }
            assert ID.fullmatch(each["id"])
            created, expires = (datetime.fromisoformat(each[name]) for name in ("created_at", "expires_at"))
            assert expires - created == timedelta(days=30)
            assert STAMP.fullmatch(each["created_at"])
            assert STAMP.fullmatch(each["expires_at"])

    async def test_the_last_used_comes_first_and_is_where_it_was_last_used(
        self, lovelace: Person, stranger: httpx.AsyncClient, running: Litestar
    ) -> None:
        await logged_in(stranger)
        before = await sessions(lovelace)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(running, client=("2001:db8::1", 50000)), base_url="http://test"
        ) as train:
            body = {"refresh_token": lovelace.login["refresh_token"]}
            answer = await train.post("/api/auth/refresh", json=body, headers={"user-agent": "x" * 500})
            assert answer.status_code == 200

        after = await sessions(lovelace)

        assert [each["id"] for each in after] == [each["id"] for each in before][::-1]
        assert (after[0]["user_agent"], after[0]["ip_address"]) == ("x" * 300, "2001:db8::1")
        assert after[0]["created_at"] == before[1]["created_at"]
        assert after[0]["last_used_at"] > before[1]["last_used_at"]
        assert after[0]["expires_at"] > before[1]["expires_at"]
        assert after[0]["current"]

    async def test_without_an_agent_there_is_none(self, lovelace: Person, stranger: httpx.AsyncClient) -> None:
        await logged_in(stranger, headers={"user-agent": ""})
        assert (await sessions(lovelace))[0]["user_agent"] is None

    async def test_those_that_have_ended_or_expired_are_not_listed(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        first, second = await logged_in(stranger), await logged_in(stranger)
        assert (await stranger.post("/api/auth/logout", headers=bearer(first["token"]))).status_code == 204
        third = (await refreshed(stranger, second["refresh_token"])).json()["data"]
        await refreshed(stranger, third["refresh_token"])
        await refreshed(stranger, second["refresh_token"])  # of two generations ago: that ends it
        await logged_in(stranger)
        await sql.execute(
            """
            UPDATE login_sessions SET expires_at = now() - interval '1 second'
            WHERE created_at = (SELECT max(created_at) FROM login_sessions)
            """
        )
        assert [each["current"] for each in await sessions(lovelace)] == [True]

    async def test_i_can_end_one_from_another(self, lovelace: Person, stranger: httpx.AsyncClient) -> None:
        other = await logged_in(stranger)
        assert (await stranger.get("/api/tasks", headers=bearer(other["token"]))).status_code == 200
        theirs = next(each["id"] for each in await sessions(lovelace) if not each["current"])

        answer = await lovelace.delete(f"/api/auth/sessions/{theirs}")

        assert (answer.status_code, answer.content) == (204, b"")
        told = await stranger.get("/api/tasks", headers=bearer(other["token"]))
        assert who(told) == (401, NO_GOOD, NO_TOKEN)
        assert who(await refreshed(stranger, other["refresh_token"])) == (401, NO_GOOD, SPENT)
        assert [each["current"] for each in await sessions(lovelace)] == [True]
        assert (await lovelace.delete(f"/api/auth/sessions/{theirs}")).status_code == 404

    async def test_also_the_one_i_am_in(self, lovelace: Person) -> None:
        mine = (await sessions(lovelace))[0]["id"]
        assert (await lovelace.delete(f"/api/auth/sessions/{mine}/")).status_code == 204
        assert who(await lovelace.get("/api/auth/me")) == (401, NO_GOOD, NO_TOKEN)

    async def test_somebody_elses_and_one_that_never_was_are_the_same_404_byte_for_byte(
        self, lovelace: Person, boole: Person
    ) -> None:
        theirs = (await sessions(boole))[0]["id"]
        same = {"x-request-id": "the-same"}

        foreign = await lovelace.delete(f"/api/auth/sessions/{theirs}", headers=same)
        missing = await lovelace.delete(f"/api/auth/sessions/{theirs[::-1]}", headers=same)

        assert foreign.status_code == missing.status_code == 404
        assert foreign.headers.raw == missing.headers.raw
        assert foreign.content == missing.content == NO_SESSION
        assert len(await sessions(boole)) == 1

    @pytest.mark.parametrize("session_id", STRANGE_IDS)
    async def test_what_can_be_no_id_is_404_too(self, lovelace: Person, session_id: str) -> None:
        url = httpx.URL("http://test", raw_path=f"/api/auth/sessions/{session_id}".encode())
        answer = await lovelace.delete(url)
        assert (answer.status_code, answer.content) == (404, NO_SESSION)


class TestMaking:
    @pytest.mark.parametrize("scope", ["read", "write"])
    async def test_a_token_is_shown_once_and_kept_as_a_hash(self, lovelace: Person, sql: Any, scope: str) -> None:
        answer = await lovelace.post("/api/auth/tokens", json={"name": " Backup ", "scope": scope})

        data = answer.json()["data"]
        assert answer.status_code == 201
        assert data == {
            "id": data["id"],
            "name": "Backup",
            "scope": scope,
            "created_at": data["created_at"],
            "expires_at": None,
            "last_used_at": None,
            "token": data["token"],
        }
        assert PERSONAL.fullmatch(data["token"])
        assert ID.fullmatch(data["id"])
        assert STAMP.fullmatch(data["created_at"])
        kept = await sql.fetchval("SELECT token_hash FROM personal_access_tokens")
        assert kept == hashlib.sha256(data["token"].encode()).digest()

    async def test_the_list_has_mine_newest_first_and_never_the_token(self, lovelace: Person, boole: Person) -> None:
        await made(boole)
        tokens = [await made(lovelace, name=name) for name in ("first", "second", "third")]

        answer = await lovelace.get("/api/auth/tokens")

        for each in tokens:
            del each["token"]
        assert (answer.status_code, answer.json()) == (200, {"data": tokens[::-1]})

    @pytest.mark.parametrize(
        ("written", "told"),
        [
            ("2099-01-01T00:00:00Z", "2099-01-01T00:00:00.000Z"),
            ("2099-01-01T01:30:00.123456+01:30", "2099-01-01T00:00:00.123Z"),
            (None, None),
        ],
    )
    async def test_it_expires_when_it_is_told_to(self, lovelace: Person, written: str | None, told: str | None) -> None:
        assert (await made(lovelace, expires_at=written))["expires_at"] == told

    @pytest.mark.parametrize(
        "written", ["9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59-23:59"]
    )
    async def test_the_end_of_time_is_no_crash(self, lovelace: Person, written: str) -> None:
        answer = await lovelace.post("/api/auth/tokens", json={"name": "x", "scope": "read", "expires_at": written})
        assert answer.status_code in (201, 422)

    @pytest.mark.parametrize(
        ("change", "answer"),
        [
            ({"name": ...}, refused("name", "Name is required")),
            ({"name": "  "}, refused("name", "Name is required")),
            ({"name": "x" * 256}, refused("name", "Name must have 255 characters at most")),
            ({"name": "\0"}, refused("name", "Name must not contain the character U+0000")),
            ({"scope": ...}, refused("scope", "Scope is required")),
            ({"scope": "admin"}, refused("scope", "Scope is not a value that it may have")),
            ({"scope": "READ"}, refused("scope", "Scope is not a value that it may have")),
            ({"expires_at": 5}, refused("expires_at", "Expires at must be a time (RFC 3339) or null")),
            ({"expires_at": "tomorrow"}, refused("expires_at", "Expires at is not a value that it may have")),
            (
                {"expires_at": "2020-01-01T00:00:00Z"},
                refused("expires_at", "Expires at must be a time in the future, with its offset from UTC"),
            ),
            (
                {"expires_at": "0001-01-01T00:00:00+23:59"},
                refused("expires_at", "Expires at must be a time in the future, with its offset from UTC"),
            ),
            (
                {"expires_at": "2099-01-01T00:00:00"},
                refused("expires_at", "Expires at must be a time in the future, with its offset from UTC"),
            ),
        ],
    )
    async def test_what_is_not_acceptable_is_422(self, lovelace: Person, sql: Any, change: Any, answer: Any) -> None:
        body = {"name": "x", "scope": "read", **change}

        response = await lovelace.post(
            "/api/auth/tokens", json={name: value for name, value in body.items() if value is not ...}
        )

        assert (response.status_code, response.json()) == (422, answer)
        assert await sql.fetchval("SELECT count(*) FROM personal_access_tokens") == 0

    async def test_a_user_of_an_auth_server_can_have_one_before_anything_else(
        self, ada: httpx.AsyncClient, sql: Any
    ) -> None:
        tokens = await asyncio.gather(*(made(ada, name=f"{n}") for n in range(10)))

        rows = await sql.fetch('SELECT id, name, email FROM "user"')
        assert [tuple(row) for row in rows] == [("ada", "Ada", "ada@example.com")]
        for each in tokens:
            assert (await ada.get("/api/tasks", headers=bearer(each["token"]))).status_code == 200


class TestUsing:
    async def test_one_to_write_with_does_all_that_a_login_does_with_tasks(
        self, lovelace: Person, stranger: httpx.AsyncClient
    ) -> None:
        headers = bearer((await made(lovelace))["token"])

        task = (await stranger.post("/api/tasks", json={"title": "x"}, headers=headers)).json()["data"]
        assert task["user_id"] == lovelace.id
        path = f"/api/tasks/{task['id']}"
        assert (await stranger.put(path, json={"title": "y"}, headers=headers)).status_code == 200
        assert (await stranger.patch(f"{path}/complete", headers=headers)).status_code == 200
        assert (await lovelace.get(path)).json()["data"]["title"] == "y"
        assert (await stranger.delete(path, headers=headers)).status_code == 204
        me = await stranger.get("/api/auth/me", headers=headers)
        assert me.json() == {"data": lovelace.login["user"]}

    async def test_one_to_read_with_looks_and_changes_nothing(
        self, lovelace: Person, stranger: httpx.AsyncClient
    ) -> None:
        task = (await lovelace.post("/api/tasks", json={"title": "x"})).json()["data"]
        mine = await made(lovelace, scope="read")
        headers = bearer(mine["token"])

        for path in ("/api/tasks", f"/api/tasks/{task['id']}"):
            assert (await stranger.get(path, headers=headers)).status_code == 200
            assert (await stranger.head(path, headers=headers)).status_code == 200
        assert (await stranger.get("/api/auth/me", headers=headers)).status_code == 200
        listed = (await lovelace.get("/api/auth/tokens")).json()
        for method, path in (
            ("POST", "/api/tasks"),
            ("PUT", f"/api/tasks/{task['id']}"),
            ("PATCH", f"/api/tasks/{task['id']}/complete"),
            ("DELETE", f"/api/tasks/{task['id']}"),
            ("DELETE", "/api/tasks/abc"),
            ("DELETE", "/api/tasks/0"),
            ("POST", "/api/auth/tokens"),
            ("DELETE", f"/api/auth/tokens/{mine['id']}"),
            ("DELETE", f"/api/auth/sessions/{(await sessions(lovelace))[0]['id']}"),
            ("PATCH", "/api/auth/me"),
            ("DELETE", "/api/auth/me"),
            ("POST", "/api/auth/me/password"),
            ("POST", "/api/auth/logout"),
            ("POST", "/api/auth/logout-all"),
        ):
            body = {"title": "y", "name": "y", "scope": "write", "password": "correct horse battery staple"}
            answer = await stranger.request(method, path, json=body, headers=headers)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (403, NOT_THIS_SCOPE)
            assert answer.json() == READ_ONLY

        assert (await lovelace.get("/api/tasks")).json() == {"data": [task]}
        assert (await lovelace.get("/api/auth/tokens")).json() == listed
        assert (await lovelace.get("/api/auth/me")).json() == {"data": lovelace.login["user"]}

    @pytest.mark.parametrize("sent", ["nothing", "what is wanted", "no JSON", "too much"])
    async def test_one_manages_nothing_whatever_is_sent(
        self, lovelace: Person, stranger: httpx.AsyncClient, running: Litestar, sent: str
    ) -> None:
        """Each route under /api/auth that asks for a token, so a new one too; `GET /me` alone has nothing to manage."""
        mine = await made(lovelace)
        wish = {
            "name": "y",
            "scope": "write",
            "password": PASSWORD,
            "current_password": PASSWORD,
            "new_password": "y" * 9,
        }
        bodies = {
            "nothing": b"",
            "what is wanted": json.dumps(wish).encode(),
            "no JSON": b"{",
            "too much": b"x" * 20_000,
        }
        before = (await sessions(lovelace), (await lovelace.get("/api/auth/tokens")).json())
        asked: list[tuple[str, str]] = []
        for route in running.routes:
            if isinstance(route, HTTPRoute) and route.path.startswith("/api/auth/"):
                for method in {*route.methods} - {"OPTIONS"}:
                    path = route.path_format.format(session_id=before[0][0]["id"], token_id=mine["id"])
                    if path in ("/api/auth/signup", "/api/auth/login", "/api/auth/refresh"):
                        continue
                    answer = await stranger.request(method, path, content=bodies[sent], headers=bearer(mine["token"]))
                    asked.append((method, route.path_format))
                    if (method, path) != ("GET", "/api/auth/me"):
                        assert (answer.status_code, answer.json()) == (403, NOT_FOR_SCRIPTS), (method, path)

        assert len(asked) == 11
        assert (await stranger.head("/api/auth/tokens", headers=bearer(mine["token"]))).status_code == 403
        assert (await stranger.get("/api/auth/tokens?x=1", headers=bearer(mine["token"]))).json() == NOT_FOR_SCRIPTS
        after = (await sessions(lovelace), (await lovelace.get("/api/auth/tokens")).json())
        assert after[0] == before[0]
        assert [each["id"] for each in after[1]["data"]] == [mine["id"]]

    async def test_a_new_route_of_accounts_refuses_one_until_it_says_otherwise(
        self, lovelace: Person, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class New(AccountRoutes):
            """What somebody may add."""

            @get("/new")
            async def new(self, user: CurrentUser) -> PersonalTokenListData:
                return PersonalTokenListData([])

            @get("/harmless", for_personal_tokens=True)
            async def harmless(self, user: CurrentUser) -> PersonalTokenListData:
                return PersonalTokenListData([])

        monkeypatch.setattr(main, "ACCOUNTS", (*main.ACCOUNTS, New))
        mine = (await made(lovelace))["token"]
        async with visitor(main.create_app(settings.current())) as client:
            told = {
                path: [(await client.get(f"/api/auth/{path}", headers=bearer(key))).status_code for key in keys]
                for path, keys in (("new", (mine, lovelace.login["token"])), ("harmless", (mine,)))
            }
        assert told == {"new": [403, 200], "harmless": [200]}

    def test_no_route_of_accounts_is_without_that_guard(self, running: Litestar) -> None:
        open_to_all = {
            handler.operation_id
            for route in running.routes
            if isinstance(route, HTTPRoute) and route.path.startswith("/api/auth")
            for handler in route.route_handlers
            if isinstance(handler, FastHandler) and check_kind_of_token not in handler.checks
        }
        assert open_to_all == set()

    async def test_one_that_has_expired_is_401_from_then_on(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        headers = bearer((await made(lovelace, expires_at=soon))["token"])
        assert (await stranger.get("/api/tasks", headers=headers)).status_code == 200

        await sql.execute("UPDATE personal_access_tokens SET expires_at = now()")

        assert who(await stranger.get("/api/tasks", headers=headers)) == (401, NO_GOOD, NO_TOKEN)
        assert len((await lovelace.get("/api/auth/tokens")).json()["data"]) == 1

    async def test_its_last_use_is_told_to_the_minute(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        mine = await made(lovelace)
        used = "SELECT last_used_at FROM personal_access_tokens"

        await stranger.get("/api/tasks", headers=bearer(mine["token"]))
        first = await sql.fetchval(used)
        await stranger.get("/api/tasks", headers=bearer(mine["token"]))
        assert await sql.fetchval(used) == first
        listed = (await lovelace.get("/api/auth/tokens")).json()["data"]
        assert STAMP.fullmatch(listed[0]["last_used_at"])

        await sql.execute("UPDATE personal_access_tokens SET last_used_at = now() - interval '61 seconds'")
        await stranger.get("/api/tasks", headers=bearer(mine["token"]))
        assert await sql.fetchval(used) > first

    @pytest.mark.parametrize(
        "never", ["tsk_", "tsk_" + "x" * 42, "tsk_" + "x" * 43, "tsk_" + "x" * 44, "TSK_" + "x" * 43, "tsk_" + "!" * 43]
    )
    async def test_what_never_was_one_is_401(self, stranger: httpx.AsyncClient, never: str) -> None:
        assert who(await stranger.get("/api/tasks", headers=bearer(never))) == (401, NO_GOOD, NO_TOKEN)

    async def test_what_is_kept_of_one_opens_nothing(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        mine = await made(lovelace)
        kept = await sql.fetchval("SELECT encode(token_hash, 'hex') FROM personal_access_tokens")
        for text in (mine["id"], kept, f"tsk_{kept[:43]}"):
            assert who(await stranger.get("/api/tasks", headers=bearer(text))) == (401, NO_GOOD, NO_TOKEN)


class TestRevoking:
    async def test_it_is_refused_from_now_on_and_no_other(self, lovelace: Person, stranger: httpx.AsyncClient) -> None:
        first, second = await made(lovelace), await made(lovelace)
        assert (await stranger.get("/api/tasks", headers=bearer(first["token"]))).status_code == 200

        answer = await lovelace.delete(f"/api/auth/tokens/{first['id']}")

        assert (answer.status_code, answer.content) == (204, b"")
        told = await stranger.get("/api/tasks", headers=bearer(first["token"]))
        assert who(told) == (401, NO_GOOD, NO_TOKEN)
        assert (await stranger.get("/api/tasks", headers=bearer(second["token"]))).status_code == 200
        assert (await lovelace.delete(f"/api/auth/tokens/{first['id']}")).content == NO_SUCH_TOKEN

    async def test_somebody_elses_and_one_that_never_was_are_the_same_404_byte_for_byte(
        self, lovelace: Person, boole: Person, stranger: httpx.AsyncClient
    ) -> None:
        theirs = await made(boole)
        same = {"x-request-id": "the-same"}

        foreign = await lovelace.delete(f"/api/auth/tokens/{theirs['id']}", headers=same)
        missing = await lovelace.delete(f"/api/auth/tokens/{theirs['id'][::-1]}", headers=same)

        assert foreign.status_code == missing.status_code == 404
        assert foreign.headers.raw == missing.headers.raw
        assert foreign.content == missing.content == NO_SUCH_TOKEN
        assert (await stranger.get("/api/tasks", headers=bearer(theirs["token"]))).status_code == 200

    @pytest.mark.parametrize("token_id", STRANGE_IDS)
    async def test_what_can_be_no_id_is_404_too(self, lovelace: Person, token_id: str) -> None:
        url = httpx.URL("http://test", raw_path=f"/api/auth/tokens/{token_id}".encode())
        answer = await lovelace.delete(url)
        assert (answer.status_code, answer.content) == (404, NO_SUCH_TOKEN)


async def test_the_lists_of_somebody_whom_nobody_has_seen_are_empty_and_leave_no_row(
    ada: httpx.AsyncClient, sql: Any
) -> None:
    for path in ("sessions", "tokens"):
        answer = await ada.get(f"/api/auth/{path}", headers=bearer(token("u9")))
        assert (answer.status_code, answer.json()) == (200, {"data": []})
    assert (await attempt(ada)).status_code == 401
    assert await sql.fetchval('SELECT count(*) FROM "user"') == 0


class TestSentAgain:
    """A request with an Idempotency-Key makes one token, however often it is sent."""

    WISH: ClassVar = {"name": "Backup", "scope": "write"}

    async def ask(self, client: httpx.AsyncClient, key: str = "one", **wish: Any) -> httpx.Response:
        body = {**self.WISH, **wish}
        return await client.post("/api/auth/tokens", json=body, headers={"idempotency-key": key})

    async def test_it_is_answered_with_the_same_token_which_is_kept_nowhere(
        self, lovelace: Person, boole: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        first, again = await self.ask(lovelace), await self.ask(lovelace)

        assert (first.status_code, again.status_code) == (201, 201)
        assert again.content == first.content
        assert ("idempotent-replayed" in first.headers, again.headers["idempotent-replayed"]) == (False, "true")
        text = first.json()["data"]["token"]
        assert PERSONAL.fullmatch(text)
        assert (await stranger.get("/api/auth/me", headers=bearer(text))).status_code == 200
        assert len((await lovelace.get("/api/auth/tokens")).json()["data"]) == 1
        for table in ("idempotency_keys", "personal_access_tokens"):
            rows = str([dict(row) for row in await sql.fetch(f"SELECT * FROM {table}")])
            assert text not in rows
            assert text.removeprefix("tsk_") not in rows

        # Another key, and the same one of somebody else, are others.
        texts = {
            text,
            *[each.json()["data"]["token"] for each in (await self.ask(lovelace, "two"), await self.ask(boole))],
        }
        assert len(texts) == 3

    async def test_another_request_with_that_key_and_a_key_that_is_none_are_refused(self, lovelace: Person) -> None:
        await self.ask(lovelace)
        for answer, code in (
            (await self.ask(lovelace, name="Another"), "IDEMPOTENCY_KEY_REUSED"),
            (await self.ask(lovelace, key="x" * 256), "VALIDATION_ERROR"),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (422, code)
        assert len((await lovelace.get("/api/auth/tokens")).json()["data"]) == 1

    async def test_of_many_concurrently_one_is_made_and_all_are_answered_with_it(self, lovelace: Person) -> None:
        for _ in range(49):
            await made(lovelace)
        answers = await asyncio.gather(*(self.ask(lovelace) for _ in range(8)))
        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.content for answer in answers}) == 1
        assert (await self.ask(lovelace, "two")).status_code == 409

    async def test_one_that_was_deleted_since_is_not_made_again(self, lovelace: Person) -> None:
        first = (await self.ask(lovelace)).json()["data"]
        assert (await lovelace.delete(f"/api/auth/tokens/{first['id']}")).status_code == 204
        again = await self.ask(lovelace)
        assert (again.status_code, again.content) == (404, NO_SUCH_TOKEN)
        assert (await lovelace.get("/api/auth/tokens")).json()["data"] == []

    async def test_it_is_told_as_long_as_its_secret_is_one_of_ours(self, lovelace: Person, running: Litestar) -> None:
        first = await self.ask(lovelace)
        ours = running.state.settings
        try:
            running.state.settings = msgspec.structs.replace(ours, jwt_secrets=("n" * 32, *ours.jwt_secrets))
            again = await self.ask(lovelace)
            assert (again.status_code, again.content) == (201, first.content)
            running.state.settings = msgspec.structs.replace(ours, jwt_secrets=("n" * 32,))
            assert (await self.ask(lovelace)).status_code == 404
        finally:
            running.state.settings = ours
