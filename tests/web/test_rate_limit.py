"""Who may ask how often: users for themselves, strangers by their address, over all workers together."""

import asyncio
import fcntl
import itertools
import os
import re
import resource
import shutil
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from litestar import Litestar

from app.auth import authenticator, opaque_tokens, passwords
from app.auth import queries as auth
from app.config import settings
from app.config.parsing import Rate
from app.db.engine import database
from app.main import create_app
from app.tasks import costs
from app.tasks.search import indexing
from app.web import rate_limit
from app.web.rate_limit import SlidingWindowLimiter
from tests.conftest import ORIGIN, token

ELSEWHERE = "203.0.113.9"
KEYS = 200_000


def told(answer: httpx.Response) -> tuple[str, int, int]:
    """The policy, how much is left, and in how many seconds there is more."""
    found = re.fullmatch(r'"default";r=(\d+);t=(\d+)', answer.headers["ratelimit"])
    assert found, answer.headers
    return answer.headers["ratelimit-policy"], int(found[1]), int(found[2])


@pytest.fixture
def limited(running: Litestar, clean: None) -> Callable[..., Litestar]:
    """A function that makes a service with a limit."""

    def make(requests: int = 3, seconds: int = 60, **other: Any) -> Litestar:
        rate = Rate(requests, seconds)
        return create_app(msgspec.structs.replace(settings.current(), rate_limit=rate, **other))

    return make


def somebody(app: Litestar, user_id: str | None = None, address: str = "127.0.0.1") -> httpx.AsyncClient:
    """Somebody at an address, with a token if a user."""
    headers = {"authorization": f"Bearer {token(user_id)}"} if user_id else {}
    transport = httpx.ASGITransport(app, client=(address, 50000))
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)


async def statuses(client: httpx.AsyncClient, times: int, path: str = "/api/tasks", **more: Any) -> list[int]:
    return [(await client.get(path, **more)).status_code for _ in range(times)]


class TestAUser:
    async def test_every_answer_tells_what_is_left_and_one_too_many_is_429(
        self, limited: Callable[..., Litestar]
    ) -> None:
        async with somebody(limited(), "ada") as ada:
            for left, ask in ((2, ada.get("/api/tasks")), (1, ada.get("/api/tasks/7")), (0, ada.post("/api/tasks"))):
                answer = await ask
                policy, r, t = told(answer)
                assert (policy, r) == ('"default";q=3;w=60', left)
                assert 59 <= t <= 63
                assert "retry-after" not in answer.headers

            answer = await ada.get("/api/tasks", headers={"origin": ORIGIN})
            _, r, t = told(answer)
            message = "Too many requests. Try again later."
            assert answer.status_code == 429
            assert answer.json() == {"error": {"code": "RATE_LIMIT_EXCEEDED", "message": message, "retryAfter": t}}
            assert (answer.headers["retry-after"], r) == (f"{t}", 0)
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            assert {"RateLimit", "RateLimit-Policy"} <= {
                *answer.headers["access-control-expose-headers"].split(", "),
            }

    async def test_others_are_not_limited_with_one(self, limited: Callable[..., Litestar]) -> None:
        app = limited()
        async with somebody(app, "ada") as ada, somebody(app, "bob") as bob:
            assert await statuses(ada, 4) == [200] * 3 + [429]
            assert await statuses(bob, 4) == [200] * 3 + [429]

    async def test_one_is_the_same_with_every_token_and_from_everywhere(self, limited: Callable[..., Litestar]) -> None:
        app = limited()
        async with somebody(app, "ada") as here, somebody(app, "ada", ELSEWHERE) as there:
            assert await statuses(here, 2) == [200] * 2
            there.headers["authorization"] = f"Bearer {token('ada', name='Ada')}"
            assert await statuses(there, 2) == [200, 429]

    async def test_what_is_429_comes_before_all_but_401(self, limited: Callable[..., Litestar]) -> None:
        async with somebody(limited(1), "ada") as ada:
            await ada.get("/api/tasks")
            for method, path in (("GET", "/api/tasks/abc"), ("DELETE", "/api/tasks"), ("PUT", "/api/tasks/1")):
                assert (await ada.request(method, path, content=b"{")).status_code == 429
            ada.headers["authorization"] = "Bearer x"
            assert (await ada.get("/api/tasks")).status_code == 401

    async def test_an_id_that_looks_like_an_address_is_none(self, limited: Callable[..., Litestar]) -> None:
        app = limited()
        async with somebody(app, "ip:127.0.0.1") as odd, somebody(app) as stranger:
            assert await statuses(odd, 4) == [200] * 3 + [429]
            assert await statuses(stranger, 4) == [401] * 3 + [429]

    async def test_where_there_is_no_limit_nothing_is_told_of_one(self, ada: httpx.AsyncClient) -> None:
        answer = await ada.get("/api/tasks")
        assert "ratelimit" not in answer.headers
        assert "ratelimit-policy" not in answer.headers

    async def test_head_is_told_as_get_is(self, limited: Callable[..., Litestar]) -> None:
        async with somebody(limited(), "ada") as ada:
            assert told(await ada.head("/api/tasks"))[1] == 2


class TestWhatARequestCosts:
    """Beyond the 1 that each is counted as, by what the database has to look at."""

    @pytest.fixture
    async def ada(
        self, limited: Callable[..., Litestar], sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> AsyncIterator[httpx.AsyncClient]:
        """Somebody with 12,000 tasks, and a hundred requests."""
        monkeypatch.setattr(costs, "_sizes", {})
        monkeypatch.setattr(indexing, "SECONDS_TO_WAIT", 30)
        await sql.execute(
            """
            INSERT INTO "user" (id, name, email) VALUES ('ada', '', 'ada@x');
            INSERT INTO revisions (user_id, revision) VALUES ('ada', 1);
            INSERT INTO tasks (user_id, title, version)
            SELECT 'ada', 'Task ' || n, 1 FROM generate_series(1, 12000) AS n
            """
        )
        async with somebody(limited(100), "ada") as ada:
            yield ada

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("queries", "spent"),
        [
            (["?limit=200", "?sort=created_at&limit=1"], [1, 1]),
            (["", ""], [13, 13]),
            (["?fields=id"], [13]),
            (["?count=true&limit=1", "?completed=true", "?sort=updated_at&limit=1"], [3, 3, 3]),
            (["?updated_after=2026-01-01T00:00:00Z&limit=1", "?created_before=2026-01-01T00:00:00Z"], [3, 3]),
            (["?sort=title&limit=1", "?sort=title&limit=1"], [3, 1]),  # once the titles are indexed
            (["?q=task&limit=1", "?q=task&limit=1", "?q=12000&limit=1"], [7, 5, 1]),
        ],
    )
    async def test_a_list_costs_what_is_looked_at_for_it(
        self, ada: httpx.AsyncClient, queries: list[str], spent: list[int]
    ) -> None:
        left = [100]
        for query in queries:
            answer = await ada.get(f"/api/tasks{query}")
            assert answer.status_code == 200, answer.text
            names = [name for name in answer.headers if name.startswith("ratelimit")]
            assert names == ["ratelimit-policy", "ratelimit"]
            left.append(told(answer)[1])
        assert [before - after for before, after in itertools.pairwise(left)] == spent

    async def test_a_list_that_is_known_or_remembered_costs_1(self, ada: httpx.AsyncClient) -> None:
        tag = (await ada.get("/api/tasks")).headers["etag"]
        before = told(await ada.get("/api/tasks/1"))[1]
        for query in ("", "?q=x"):
            answer = await ada.get(f"/api/tasks{query}", headers={"if-none-match": tag})
            assert answer.status_code == 304
        assert before - told(answer)[1] == 2

    @pytest.mark.slow
    async def test_a_batch_costs_1_for_each_10_operations(self, ada: httpx.AsyncClient) -> None:
        left = 100
        for count, cost in ((1, 1), (10, 1), (11, 2), (100, 10)):
            operations = [{"op": "create", "data": {"title": "x"}}] * count
            answer = await ada.post("/api/tasks/batch", json={"operations": operations})
            assert answer.status_code == 200
            left -= cost
            assert told(answer)[1] == left

    async def test_who_has_anything_left_is_let_through_and_then_waits_for_longer(
        self, limited: Callable[..., Litestar]
    ) -> None:
        operations = [{"op": "create", "data": {"title": "x"}}] * 100
        async with somebody(limited(3), "bob") as bob:
            answer = await bob.post("/api/tasks/batch", json={"operations": operations})
            assert (answer.status_code, told(answer)[1]) == (200, 0)
            assert (await bob.get("/api/tasks")).status_code == 429

    async def test_the_numbers_of_tasks_are_remembered_of_so_many_owners(
        self, ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(costs, "MAX_SIZES", 1)
        costs._sizes["bob"] = 1, 0.0
        await ada.get("/api/tasks?count=true&limit=1")
        assert [*costs._sizes] == ["ada"]


class TestAStranger:
    async def test_401_is_counted_for_the_address(self, limited: Callable[..., Litestar]) -> None:
        app = limited()
        async with somebody(app) as here, somebody(app, address=ELSEWHERE) as there:
            first = await here.get("/api/tasks")
            assert (first.status_code, told(first)[1]) == (401, 2)
            assert await statuses(here, 3) == [401] * 2 + [429]
            assert (await there.get("/api/tasks", headers={"authorization": "Bearer x"})).status_code == 401

    async def test_a_flood_of_them_locks_no_user_out_not_even_at_that_address(
        self, limited: Callable[..., Litestar]
    ) -> None:
        app = limited()
        async with somebody(app) as stranger, somebody(app, "ada") as ada:
            assert await statuses(stranger, 50) == [401] * 3 + [429] * 47
            assert await statuses(ada, 3) == [200] * 3

    async def test_signing_up_and_logging_in_are_counted_for_it_too(self, limited: Callable[..., Litestar]) -> None:
        async with somebody(limited()) as stranger:
            for path in ("signup", "login/", "refresh"):
                assert (await stranger.post(f"/api/auth/{path}", json={})).status_code == 422
            for path in ("signup", "login/", "refresh"):
                assert (await stranger.post(f"/api/auth/{path}", json={})).status_code == 429

    async def test_where_there_are_no_accounts_those_routes_are_paths_like_any_other(
        self, limited: Callable[..., Litestar]
    ) -> None:
        async with somebody(limited(accounts=False)) as stranger:
            answers = [await stranger.post("/api/auth/login", json={}) for _ in range(5)]
        assert {answer.status_code for answer in answers} == {404}

    @pytest.mark.slow
    async def test_what_is_free_stays_so(self, limited: Callable[..., Litestar]) -> None:
        wish = {"origin": ORIGIN, "access-control-request-method": "GET"}
        async with somebody(limited(1)) as stranger:
            assert await statuses(stranger, 2) == [401, 429]
            for path in ("/", "/health/live", "/health/ready", "/api/health", "/docs", "/openapi.json"):
                answer = await stranger.get(path)
                assert (answer.status_code, "ratelimit" in answer.headers) == (200, False), path
            assert (await stranger.options("/api/tasks", headers=wish)).status_code == 204
            assert (await stranger.get("/nowhere")).status_code == 404

    @pytest.mark.parametrize(
        ("address", "forwarded"),
        [
            ("127.0.0.1", ["198.51.100.1", "198.51.100.2"]),  # a proxy that is trusted
            ("127.0.0.1", ["2001:db8:0:1::1", "2001:db8:0:2::1"]),
        ],
    )
    async def test_a_trusted_proxy_tells_the_address(
        self, limited: Callable[..., Litestar], address: str, forwarded: list[str]
    ) -> None:
        async with somebody(limited(1), address=address) as proxy:
            for each in forwarded:
                assert await statuses(proxy, 2, headers={"x-forwarded-for": each}) == [401, 429]

    async def test_nobody_else_does(self, limited: Callable[..., Litestar]) -> None:
        async with somebody(limited(1), address=ELSEWHERE) as liar:
            sent = [await statuses(liar, 1, headers={"x-forwarded-for": f"198.51.100.{n}"}) for n in range(3)]
        assert sent == [[401], [429], [429]]

    async def test_a_network_of_ipv6_is_one_address(self, limited: Callable[..., Litestar]) -> None:
        app = limited(1)
        for last, expected in (("1:2:3:4", 401), ("ffff::", 429)):
            async with somebody(app, address=f"2001:db8:0:0:{last}".replace("ffff::", "ffff:0:0:0")) as client:
                assert await statuses(client, 1) == [expected]


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The tokens and logins that the database is asked for, as it is asked."""
    found: list[Any] = []

    def noted(whole: Callable[..., Any]) -> Callable[..., Any]:
        async def ask(about: Any, *more: Any) -> Any:
            found.append(about)
            return await whole(about, *more)

        return ask

    for each in (auth.owner_of, auth.is_logged_in):
        monkeypatch.setattr(auth, each.__name__, noted(each))
    return found


async def kept(client: httpx.AsyncClient) -> str:
    """A personal token of whoever the client is."""
    answer = await client.post("/api/auth/tokens", json={"name": "a script", "scope": "write"})
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]["token"]


class TestSignUps:
    async def test_a_network_has_so_many_and_is_told_when_to_come_again(self, limited: Callable[..., Litestar]) -> None:
        app = limited(1000, signup_limit=Rate(2, 3600))
        async with somebody(app) as here, somebody(app, address=ELSEWHERE) as there:
            answers = [await here.post("/api/auth/signup", json=person(n)) for n in range(3)]
            assert [answer.status_code for answer in answers] == [201, 201, 429]
            refused = answers[-1].json()["error"]
            assert refused == {
                "code": "RATE_LIMIT_EXCEEDED",
                "message": "Too many accounts from this network. Try again later.",
                "retryAfter": int(answers[-1].headers["retry-after"]),
            }
            assert 3600 <= refused["retryAfter"] <= 3781
            assert (await here.post("/api/auth/login", json=person(0))).status_code == 200
            assert (await there.post("/api/auth/signup", json=person(3))).status_code == 201

    async def test_a_network_of_ipv6_is_one(self, limited: Callable[..., Litestar]) -> None:
        app = limited(1000, signup_limit=Rate(1, 3600))
        for address, status in (("2001:db8::1", 201), ("2001:db8::ffff:1", 429), ("2001:db8:0:1::1", 201)):
            async with somebody(app, address=address) as client:
                assert (await client.post("/api/auth/signup", json=person(address))).status_code == status

    async def test_what_comes_to_nothing_counts_too_unless_it_was_never_looked_at(
        self, limited: Callable[..., Litestar]
    ) -> None:
        async with somebody(limited(1000, signup_limit=Rate(2, 3600))) as client:
            bad = [{}, person(1) | {"password": "short"}, person(1) | {"email": "none"}, person(1) | {"name": " "}]
            wishes = [*bad, person(1), person(1), person(2)]
            answers = [(await client.post("/api/auth/signup", json=wish)).status_code for wish in wishes]
            assert answers == [422] * 4 + [201, 409, 429]

    async def test_who_has_none_left_costs_no_hash(
        self, limited: Callable[..., Litestar], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hashes: list[str] = []

        async def hashed(password: str, whole: Any = passwords.hashed) -> str:
            hashes.append(password)
            return await whole(password)

        monkeypatch.setattr(passwords, "hashed", hashed)
        async with somebody(limited(1000, signup_limit=Rate(3, 3600))) as client:
            sent = [client.post("/api/auth/signup", json=person(n)) for n in range(10)]
            answers = [answer.status_code for answer in await asyncio.gather(*sent)]
        assert sorted(answers) == [201] * 3 + [429] * 7
        assert len(hashes) == 3

    @pytest.mark.slow
    async def test_with_0_there_is_no_limit(self, limited: Callable[..., Litestar]) -> None:
        async with somebody(limited(1000, signup_limit=None)) as client:
            for n in range(25):
                assert (await client.post("/api/auth/signup", json=person(n))).status_code == 201


def person(n: Any) -> dict[str, str]:
    return {"name": "Ada", "email": f"ada-{str(n).replace(':', '.0')}@example.com", "password": "correct horse"}


class TestWhatOnlyTheDatabaseKnows:
    async def test_an_unknown_token_is_asked_for_once_and_again_after_a_while(
        self, limited: Callable[..., Litestar], looked_up: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        unknown = opaque_tokens.new_personal()
        async with somebody(limited(1000)) as client:
            client.headers["authorization"] = f"Bearer {unknown}"
            assert await statuses(client, 5) == [401] * 5
            assert looked_up == [unknown]
            later = time.monotonic() + 30
            monkeypatch.setattr(time, "monotonic", lambda: later)
            assert await statuses(client, 2) == [401] * 2
            assert looked_up == [unknown] * 2

    @pytest.mark.slow
    async def test_one_that_comes_back_with_a_backup_works_after_a_while(
        self, limited: Callable[..., Litestar], sql: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app = limited(1000)
        async with somebody(app, "ada") as ada:
            token = await kept(ada)
        async with somebody(app) as script:
            script.headers["authorization"] = f"Bearer {token}"
            await sql.execute("CREATE TABLE backup AS TABLE personal_access_tokens; DELETE FROM personal_access_tokens")
            assert await statuses(script, 2) == [401] * 2
            await sql.execute("INSERT INTO personal_access_tokens TABLE backup; DROP TABLE backup")
            later = time.monotonic() + 31
            monkeypatch.setattr(time, "monotonic", lambda: later)
            assert await statuses(script, 2) == [200] * 2

    async def test_of_more_unknown_ones_than_fit_the_oldest_are_forgotten(
        self, limited: Callable[..., Litestar], looked_up: list[Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(authenticator, "MAX_REFUSED_TOKENS", 3)
        app = limited(1000)
        sent = [opaque_tokens.new_personal() for _ in range(5)]
        async with somebody(app) as client:
            for token in (*sent, *sent[2:], sent[0]):
                assert (await client.get("/api/tasks", headers={"authorization": f"Bearer {token}"})).status_code == 401
        assert looked_up == [*sent, sent[0]]
        assert len(app.state.authenticator._refused) == 3

    async def test_an_ended_login_is_asked_for_once(
        self, limited: Callable[..., Litestar], looked_up: list[Any]
    ) -> None:
        app = limited(1000)
        async with somebody(app) as client:
            login = (await client.post("/api/auth/signup", json=person(1))).json()["data"]
            client.headers["authorization"] = f"Bearer {login['token']}"
            assert (await client.post("/api/auth/logout")).status_code == 204
            looked_up.clear()
            assert await statuses(client, 5) == [401] * 5
        assert len(looked_up) == 1

    async def test_nobody_over_the_limit_of_an_address_is_looked_up(
        self, limited: Callable[..., Litestar], looked_up: list[Any]
    ) -> None:
        async with somebody(limited(4)) as client:
            sent = [{"authorization": f"Bearer {opaque_tokens.new_personal()}"} for _ in range(20)]
            answers = await asyncio.gather(*(client.get("/api/tasks", headers=each) for each in sent))
            assert sorted(answer.status_code for answer in answers) == [401] * 4 + [429] * 16
            assert len(looked_up) == 4
            assert sorted(told(answer)[1] for answer in answers) == [0] * 17 + [1, 2, 3]
            assert all(len(answer.headers.get_list("ratelimit")) == 1 for answer in answers)

    async def test_a_token_that_is_known_counts_for_its_owner_wherever_it_comes_from(
        self, limited: Callable[..., Litestar], looked_up: list[Any]
    ) -> None:
        app = limited(4)
        async with somebody(app, "ada", ELSEWHERE) as ada:
            token = await kept(ada)
        async with somebody(app, address=ELSEWHERE) as script, somebody(app) as stranger:
            script.headers["authorization"] = f"Bearer {token}"
            assert told(await script.get("/api/tasks"))[1] == 2
            stranger.headers["authorization"] = "Bearer x"
            assert await statuses(stranger, 5) == [401] * 4 + [429]
            stranger.headers["authorization"] = f"Bearer {token}"
            answer = await stranger.get("/api/tasks")
            assert (answer.status_code, told(answer)[1]) == (200, 1)
            assert answer.headers.get_list("ratelimit-policy") == ['"default";q=4;w=60']
            assert await statuses(script, 3) == [200, 429, 429]
        assert looked_up == [token] * 3

    async def test_one_that_was_never_seen_here_has_to_wait_where_strangers_have_spent_all(
        self, limited: Callable[..., Litestar], looked_up: list[Any]
    ) -> None:
        app = limited(3)
        async with somebody(app, "ada") as ada:
            token = await kept(ada)
        async with somebody(app) as stranger:
            assert await statuses(stranger, 3) == [401] * 3
            stranger.headers["authorization"] = f"Bearer {token}"
            assert await statuses(stranger, 1) == [429]
        assert looked_up == []

    async def test_one_that_was_good_costs_its_address_nothing(self, limited: Callable[..., Litestar]) -> None:
        app = limited(3)
        async with somebody(app, "ada") as ada:
            first, second = await kept(ada), await kept(ada)
        async with somebody(app) as client:
            for token, status in ((first, 200), (second, 429)):  # of Ada's three
                answer = await client.get("/api/tasks", headers={"authorization": f"Bearer {token}"})
                assert answer.status_code == status
            assert await statuses(client, 4) == [401] * 3 + [429]

    async def test_one_that_is_revoked_counts_for_its_address_from_then_on(
        self, limited: Callable[..., Litestar], sql: Any, looked_up: list[Any]
    ) -> None:
        app = limited(4)
        async with somebody(app, "ada") as ada, somebody(app) as script:
            script.headers["authorization"] = f"Bearer {await kept(ada)}"
            assert await statuses(script, 1) == [200]
            await sql.execute("DELETE FROM personal_access_tokens")
            answer = await script.get("/api/tasks")
            assert (answer.status_code, told(answer)[1]) == (401, 3)
            assert await statuses(script, 4) == [401] * 3 + [429]
            assert told(await ada.get("/api/tasks"))[1] == 1
        assert len(looked_up) == 2

    async def test_while_the_database_is_away_nobody_is_charged(
        self, limited: Callable[..., Litestar], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with somebody(limited(3)) as client:
            client.headers["authorization"] = f"Bearer {opaque_tokens.new_personal()}"
            with monkeypatch.context() as away:
                away.setattr(database, "ready", False)
                answers = [await client.get("/api/tasks") for _ in range(5)]
                assert {(each.status_code, each.headers.get("ratelimit")) for each in answers} == {(503, None)}
            assert await statuses(client, 4) == [401] * 3 + [429]


@pytest.fixture
def together() -> Iterator[Callable[[Rate], SlidingWindowLimiter]]:
    """A function that makes limiters which count together, as those of several workers do."""
    with rate_limit.shared():
        path = os.environ[rate_limit.SHARED]
        yield lambda rate: SlidingWindowLimiter(rate, path)
    assert rate_limit.SHARED not in os.environ


class TestTheWindow:
    @pytest.mark.slow
    def test_within_any_time_as_long_as_it_no_more_are_let_through_and_little_later_as_many_again(self) -> None:
        limiter = SlidingWindowLimiter(Rate(10, 1))
        began, let = time.monotonic(), []
        while (now := time.monotonic()) < began + 3.3:
            if not limiter.take("ada")[1]:
                let.append(now)
            time.sleep(0.001)
        assert max(sum(start <= each < start + 0.999 for each in let) for start in let) == 10
        assert len(let) == 40

    @pytest.mark.slow
    def test_who_comes_at_its_edges_gets_no_more(self) -> None:
        limiter = SlidingWindowLimiter(Rate(100, 1))
        limiter.take("ada")
        time.sleep(0.9)
        assert sum(not limiter.take("ada")[1] for _ in range(120)) == 99
        time.sleep(0.2)
        assert sum(not limiter.take("ada")[1] for _ in range(120)) == 1

    @pytest.mark.slow
    def test_whoever_waits_as_told_is_let_through(self) -> None:
        limiter = SlidingWindowLimiter(Rate(3, 1))
        waits = [limiter.take("ada")[1] for _ in range(4)]
        assert waits[:3] == [0, 0, 0]
        assert waits[3] in (1, 2)
        time.sleep(waits[3])
        assert limiter.take("ada")[1] == 0

    @pytest.mark.slow
    def test_what_a_request_costs_is_counted_and_whoever_waits_as_told_is_let_through(self) -> None:
        limiter = SlidingWindowLimiter(Rate(10, 1))
        assert limiter.take("ada", 4)[0][1][1].startswith(b'"default";r=6;')
        time.sleep(0.3)
        assert limiter.charge("ada", 20)[1][1].startswith(b'"default";r=0;t=')
        _, wait = limiter.take("ada")
        assert wait in (1, 2)
        time.sleep(wait)
        assert limiter.take("ada")[1] == 0

    @pytest.mark.slow
    def test_who_owes_more_than_is_back_with_the_first_waits_for_what_is(self) -> None:
        limiter = SlidingWindowLimiter(Rate(10, 20))
        limiter.take("ada", 1)
        time.sleep(1.1)
        limiter.charge("ada", 30)
        _, wait = limiter.take("ada")
        assert wait in (21, 22)  # with the second, and not with the first, which comes a second earlier

    def test_the_largest_limit_counts_too(self) -> None:
        headers, wait = SlidingWindowLimiter(Rate(1_000_000_000, 3600)).take("ada")
        assert (headers[0][1], wait) == (b'"default";q=1000000000;w=3600', 0)
        assert headers[1][1].startswith(b'"default";r=999999999;t=')


class TestGivingBack:
    def test_who_is_given_back_has_as_many_again(self) -> None:
        limiter = SlidingWindowLimiter(Rate(3, 3600))
        for _ in range(10):
            assert limiter.take("ada")[1] == 0
            limiter.give_back("ada")
        assert [limiter.take("ada")[1] > 0 for _ in range(4)] == [False] * 3 + [True]
        limiter.give_back("ada")
        assert [limiter.take("ada")[1] > 0 for _ in range(2)] == [False, True]

    def test_also_what_was_counted_a_while_ago(self) -> None:
        limiter = SlidingWindowLimiter(Rate(2, 2))
        assert [limiter.take("ada")[1] > 0 for _ in range(3)] == [False, False, True]
        time.sleep(0.25)  # two twentieths
        limiter.give_back("ada")
        assert [limiter.take("ada")[1] > 0 for _ in range(2)] == [False, True]

    def test_who_has_nothing_counted_stays_so(self) -> None:
        limiter = SlidingWindowLimiter(Rate(2, 3600))
        for name in ("ada", "bob"):
            limiter.give_back(name)
        limiter.take("ada")
        for _ in range(3):
            limiter.give_back("ada")
        assert [limiter.take("ada")[1] > 0 for _ in range(3)] == [False, False, True]

    def test_it_is_so_for_all_who_count_together(self, together: Callable[..., SlidingWindowLimiter]) -> None:
        one, two = together(Rate(1, 3600)), together(Rate(1, 3600))
        assert one.take("ada")[1] == 0
        two.give_back("ada")
        assert [limiter.take("ada")[1] > 0 for limiter in (one, two)] == [False, True]


class TestTheMemory:
    def test_what_is_counted_apart_is_apart(self) -> None:
        with rate_limit.shared():
            requests = [rate_limit.limiter(Rate(1, 60)) for _ in range(2)]
            sign_ups = [rate_limit.limiter(Rate(2, 3600), rate_limit.SIGN_UPS) for _ in range(2)]
            found = [each.take("ada")[1] > 0 for each in (*requests, *sign_ups, *sign_ups) if each]
        assert found == [False, True, False, False, True, True]

    @pytest.mark.slow
    def test_it_stays_as_it_is_whoever_asks_and_who_has_spent_all_is_not_forgotten_for_it(self) -> None:
        limiter = SlidingWindowLimiter(Rate(20, 3600))
        assert [limiter.take("ada")[1] > 0 for _ in range(21)] == [False] * 20 + [True]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for number in range(KEYS):
            limiter.take(f"ip:{number}")
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * 1024  # KB
        assert limiter.take("ada")[1] > 0

    def test_several_count_together(self, together: Callable[[Rate], SlidingWindowLimiter]) -> None:
        one, two = together(Rate(5, 60)), together(Rate(5, 60))
        waits = [limiter.take("ada")[1] for limiter in itertools.islice(itertools.cycle((one, two)), 8)]
        assert [wait > 0 for wait in waits] == [False] * 5 + [True] * 3

    def test_who_comes_later_counts_on_even_if_the_file_was_tidied_away(
        self, together: Callable[[Rate], SlidingWindowLimiter]
    ) -> None:
        first = together(Rate(1, 60))
        assert first.take("ada")[1] == 0
        for each in Path(tempfile.gettempdir()).glob("tasks-limits-*/counts"):
            if each.samefile(os.environ[rate_limit.SHARED]):
                shutil.rmtree(each.parent)
        assert together(Rate(1, 60)).take("ada")[1] > 0

    def test_of_many_concurrent_ones_all_are_counted(self, together: Callable[[Rate], SlidingWindowLimiter]) -> None:
        let: list[int] = []

        def ask(limiter: SlidingWindowLimiter) -> None:
            let.append(sum(not limiter.take("ada")[1] for _ in range(2000)))

        threads = [threading.Thread(target=ask, args=(together(Rate(5000, 3600)),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(let) == 5000

    @pytest.mark.slow
    def test_one_that_is_stopped_while_it_counts_does_not_stop_the_others(
        self, together: Callable[[Rate], SlidingWindowLimiter]
    ) -> None:
        limiter = together(Rate(5, 60))
        with Path(os.environ[rate_limit.SHARED]).open() as stopped:
            fcntl.flock(stopped, fcntl.LOCK_EX)
            began = time.monotonic()
            assert limiter.take("ada")[1] == 0
            assert time.monotonic() - began < 2  # and not until it goes on
        assert limiter.take("ada")[1] == 0
