"""How many logins and tokens an account has at most, and how they are listed."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.accounts.people import (
    NO_GOOD,
    NO_TOKEN,
    SPENT,
    Person,
    attempt,
    bearer,
    logged_in,
    refreshed,
    refused,
    who,
)

WISH = {"name": "x", "scope": "read"}
FULL = {
    "error": {
        "code": "LIMIT_REACHED",
        "message": "There are 50 personal access tokens, and 50 at most. Delete one first.",
    }
}
MANY_TOKENS = """
    INSERT INTO personal_access_tokens (id, user_id, name, scope, token_hash, created_at, expires_at)
    SELECT 't' || n, $1, 'x', 'read', sha256(n::text::bytea), now() - n * interval '1 minute',
        now() + $2::text::interval
    FROM generate_series(1, $3::integer) n
"""
MANY_LOGINS = """
    INSERT INTO login_sessions (id, user_id, family_hash, token_hash, created_at, last_used_at, expires_at)
    SELECT 's' || n, $1, sha256(n::text::bytea), '', now() - n * interval '1 minute', now() - n * interval '1 minute',
        now() + interval '10 days'
    FROM generate_series(1, $2::integer) n
"""
TOKENS = "SELECT count(*) FROM personal_access_tokens WHERE user_id = $1"
LOGINS = "SELECT count(*) FROM login_sessions WHERE user_id = $1"


class TestTokens:
    @pytest.mark.slow
    async def test_the_51st_is_409_until_another_one_is_gone(self, lovelace: Person, boole: Person, sql: Any) -> None:
        made = [await lovelace.post("/api/auth/tokens", json=WISH) for _ in range(50)]
        assert {each.status_code for each in made} == {201}

        answer = await lovelace.post("/api/auth/tokens", json=WISH)

        assert (answer.status_code, answer.json()) == (409, FULL)
        assert (await boole.post("/api/auth/tokens", json=WISH)).status_code == 201
        gone = made[7].json()["data"]["id"]
        assert (await lovelace.delete(f"/api/auth/tokens/{gone}")).status_code == 204
        assert (await lovelace.post("/api/auth/tokens", json=WISH)).status_code == 201
        assert (await lovelace.post("/api/auth/tokens", json=WISH)).status_code == 409
        assert await sql.fetchval(TOKENS, lovelace.id) == 50

    async def test_of_sixty_concurrent_ones_fifty_are_made(self, lovelace: Person, sql: Any) -> None:
        answers = await asyncio.gather(*(lovelace.post("/api/auth/tokens", json=WISH) for _ in range(60)))
        assert sorted(each.status_code for each in answers) == [201] * 50 + [409] * 10
        assert await sql.fetchval(TOKENS, lovelace.id) == 50

    async def test_expired_ones_make_room_the_oldest_first_and_stay_in_the_list_until_then(
        self, lovelace: Person, sql: Any
    ) -> None:
        await sql.execute(MANY_TOKENS, lovelace.id, "-1 day", 20)
        valid = MANY_TOKENS.replace("'t'", "'u'").replace("sha256(n", "sha256((100 + n)")
        await sql.execute(valid, lovelace.id, "1 day", 30)
        assert len((await lovelace.get("/api/auth/tokens")).json()["data"]) == 50

        assert (await lovelace.post("/api/auth/tokens", json=WISH)).status_code == 201
        listed = {each["id"] for each in (await lovelace.get("/api/auth/tokens")).json()["data"]}
        assert {f"t{n}" for n in range(1, 20)} < listed
        assert "t20" not in listed
        answers = [await lovelace.post("/api/auth/tokens", json=WISH) for _ in range(20)]
        assert [each.status_code for each in answers] == [201] * 19 + [409]
        assert await sql.fetchval(TOKENS, lovelace.id) == 50

    async def test_who_has_more_from_before_keeps_them_and_gets_no_others(self, lovelace: Person, sql: Any) -> None:
        await sql.execute(MANY_TOKENS, lovelace.id, "1 day", 70)
        answer = await lovelace.post("/api/auth/tokens", json=WISH)
        message = "There are 70 personal access tokens, and 50 at most. Delete one first."
        assert (answer.status_code, answer.json()["error"]) == (409, {"code": "LIMIT_REACHED", "message": message})
        assert len((await lovelace.get("/api/auth/tokens")).json()["data"]) == 70

    async def test_a_login_that_has_ended_makes_none_also_where_it_is_still_remembered(
        self, lovelace: Person, sql: Any
    ) -> None:
        assert (await lovelace.get("/api/auth/tokens")).status_code == 200
        await sql.execute("DELETE FROM login_sessions")  # as another worker does
        assert who(await lovelace.post("/api/auth/tokens", json=WISH)) == (401, NO_GOOD, NO_TOKEN)
        assert await sql.fetchval(TOKENS, lovelace.id) == 0


class TestLogins:
    async def test_the_101st_ends_the_one_that_was_not_used_for_longest(
        self, lovelace: Person, boole: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        await sql.execute(MANY_LOGINS, lovelace.id, 99)
        await sql.execute("UPDATE login_sessions SET last_used_at = now() - interval '1 d' WHERE id = 's40'")
        long_ago = "UPDATE login_sessions SET last_used_at = now() - interval '9 d' WHERE user_id = $1"
        await sql.execute(long_ago, boole.id)

        new = await logged_in(stranger)

        assert await sql.fetchval(LOGINS, lovelace.id) == 100
        assert not await sql.fetchval("SELECT count(*) FROM login_sessions WHERE id = 's40'")
        assert await sql.fetchval(LOGINS, boole.id) == 1
        assert (await stranger.get("/api/tasks", headers=bearer(new["token"]))).status_code == 200
        assert (await lovelace.get("/api/tasks")).status_code == 200
        await logged_in(stranger)
        assert not await sql.fetchval("SELECT count(*) FROM login_sessions WHERE id = 's99'")

    async def test_who_is_ended_by_it_is_out_within_a_second(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        await sql.execute("UPDATE login_sessions SET last_used_at = now() - interval '1 day'")
        await sql.execute(MANY_LOGINS, lovelace.id, 99)
        await logged_in(stranger)
        assert who(await refreshed(stranger, lovelace.login["refresh_token"])) == (401, NO_GOOD, SPENT)
        assert who(await lovelace.get("/api/tasks")) == (401, NO_GOOD, NO_TOKEN)

    async def test_expired_ones_go_first(self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any) -> None:
        await sql.execute(MANY_LOGINS, lovelace.id, 99)
        await sql.execute("UPDATE login_sessions SET expires_at = now() - interval '1 s' WHERE id = 's1'")
        await logged_in(stranger)
        left = "SELECT count(*) FROM login_sessions WHERE id = 's99' OR id = 's1'"
        assert await sql.fetchval(left) == 1
        assert await sql.fetchval(LOGINS, lovelace.id) == 100

    @pytest.mark.slow
    async def test_many_concurrent_ones_leave_a_hundred(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        await sql.execute(MANY_LOGINS, lovelace.id, 95)
        answers = await asyncio.gather(*(attempt(stranger) for _ in range(20)))
        assert {each.status_code for each in answers} == {200}
        assert await sql.fetchval(LOGINS, lovelace.id) == 100
        for each in answers:
            login = each.json()["data"]
            assert (await stranger.get("/api/tasks", headers=bearer(login["token"]))).status_code == 200

    async def test_who_has_more_from_before_has_a_hundred_from_the_next_login_on(
        self, lovelace: Person, stranger: httpx.AsyncClient, sql: Any
    ) -> None:
        await sql.execute(MANY_LOGINS, lovelace.id, 300)
        await logged_in(stranger)
        assert await sql.fetchval(LOGINS, lovelace.id) == 100


@pytest.mark.parametrize("what", ["sessions", "tokens"])
class TestPages:
    async def filled(self, person: Person, sql: Any, what: str) -> list[dict[str, Any]]:
        if what == "sessions":
            await sql.execute(MANY_LOGINS, person.id, 30)
            await sql.execute("UPDATE login_sessions SET last_used_at = '2026-11-01' WHERE id LIKE 's1%'")
        else:
            await sql.execute(MANY_TOKENS, person.id, "1 day", 30)
            await sql.execute("UPDATE personal_access_tokens SET created_at = '2026-11-01' WHERE id LIKE 't1%'")
        return (await person.get(f"/api/auth/{what}")).json()["data"]

    @pytest.mark.parametrize("limit", [1, 7, 10, 31, 200])
    async def test_together_they_are_the_list_in_its_order(
        self, lovelace: Person, boole: Person, sql: Any, what: str, limit: int
    ) -> None:
        whole = await self.filled(lovelace, sql, what)
        found: list[Any] = []
        asked: dict[str, Any] = {"limit": limit}
        link: str | None = None
        while True:
            answer = await lovelace.get(link) if link else await lovelace.get(f"/api/auth/{what}", params=asked)
            body = answer.json()
            assert (answer.status_code, body.keys()) == (200, {"data", "page"})
            assert len(body["data"]) <= limit
            found += body["data"]
            if body["page"]["next"] is None:
                break
            assert body["page"].keys() == {"next"}
            link = answer.headers["link"].removeprefix("<").removesuffix('>; rel="next"')
            by_hand = await lovelace.get(f"/api/auth/{what}", params={"cursor": body["page"]["next"]})
            assert by_hand.json() == (await lovelace.get(link)).json()
        assert "link" not in answer.headers
        assert found == whole
        assert len(found) >= 30

    async def test_without_a_parameter_there_is_no_page(self, lovelace: Person, sql: Any, what: str) -> None:
        whole = await self.filled(lovelace, sql, what)
        for query in ("", "?user_id=x", "?&"):
            answer = await lovelace.get(f"/api/auth/{what}{query}")
            assert answer.json() == {"data": whole}
            assert "link" not in answer.headers

    async def test_a_cursor_goes_on_where_its_item_was_though_that_is_gone(
        self, lovelace: Person, sql: Any, what: str
    ) -> None:
        whole = await self.filled(lovelace, sql, what)
        page = (await lovelace.get(f"/api/auth/{what}", params={"limit": 5})).json()
        assert (await lovelace.delete(f"/api/auth/{what}/{page['data'][-1]['id']}")).status_code == 204
        after = (await lovelace.get(f"/api/auth/{what}", params={"cursor": page["page"]["next"], "limit": 2})).json()
        assert after["data"] == whole[5:7]

    async def test_somebody_elses_cursor_and_another_lists_are_422(
        self, lovelace: Person, boole: Person, sql: Any, what: str
    ) -> None:
        await self.filled(lovelace, sql, what)
        await lovelace.post("/api/tasks/batch", json={"operations": [{"op": "create", "data": {"title": "x"}}] * 2})
        cursor = (await lovelace.get(f"/api/auth/{what}", params={"limit": 5})).json()["page"]["next"]
        of_tasks = (await lovelace.get("/api/tasks?limit=1")).json()["page"]["next"]
        other = {"sessions": "tokens", "tokens": "sessions"}[what]
        for answer in (
            await boole.get(f"/api/auth/{what}", params={"cursor": cursor}),
            await lovelace.get(f"/api/auth/{other}", params={"cursor": cursor}),
            await lovelace.get("/api/tasks", params={"cursor": cursor}),
            await lovelace.get(f"/api/auth/{what}", params={"cursor": of_tasks}),
        ):
            assert (answer.status_code, answer.json()["error"]["code"]) == (422, "INVALID_CURSOR")
        for place in range(len(cursor)):
            spoilt = f"{cursor[:place]}{'A' if cursor[place] != 'A' else 'B'}{cursor[place + 1 :]}"
            assert (await lovelace.get(f"/api/auth/{what}", params={"cursor": spoilt})).status_code == 422

    @pytest.mark.parametrize("limit", ["0", "-1", "201", "1.0", "01", "", "x", "%C2%B2", "9" * 30])
    async def test_a_limit_that_is_none_is_422(self, lovelace: Person, what: str, limit: str) -> None:
        answer = await lovelace.get(f"/api/auth/{what}?limit={limit}")
        message = "limit must be a whole number from 1 to 200"
        assert (answer.status_code, answer.json()) == (422, refused("limit", message))

    @pytest.mark.parametrize(
        "cursor",
        ["", "x", "none", "%00", "AAAA", "x" * 201, "WzEsImEiLDFd=", "é", "W10", "WzEsImEiLDBd", "Wy0xLCJhIiwxXQ",
         "WzE4NDQ2NzQ0MDczNzA5NTUxNjE2LCJhIiwxXQ", "WzEsIlx1MDAwMCIsMV0", "WzEsImEiLDIwMV0", "bnVsbA", "/8",
         "WzE3NjQ0OTc1MDAwMDAwMDAsImFiY2RlZiIsNV0"],
    )  # fmt: skip
    async def test_a_cursor_that_was_not_given_out_is_422(self, lovelace: Person, what: str, cursor: str) -> None:
        answer = await lovelace.get(f"/api/auth/{what}?cursor={cursor}")
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "INVALID_CURSOR")

    async def test_a_parameter_that_is_not_known_or_comes_twice_is_422(self, lovelace: Person, what: str) -> None:
        queries = {"x=1": "x", "limit=1&limit=2": "limit", "cursor=a&cursor=a": "cursor", "count=true": "count"}
        for query, name in queries.items():
            answer = await lovelace.get(f"/api/auth/{what}?{query}")
            assert (answer.status_code, answer.json()["error"]["fields"][0]["field"]) == (422, name)
