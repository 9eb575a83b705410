"""The staff's web UI: who gets in, what can be seen and changed there, and what it answers to nonsense."""

import asyncio
import re
import time
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import msgspec
import pytest
from litestar import Litestar
from piccolo_admin.endpoints import ASSET_PATH

from app.admin.build import VIEWS, build
from app.admin.failures import CANNOT_BE_TAKEN, enveloped
from app.admin.page import _theirs, mended
from app.admin.rows import answer_of
from app.admin.staff import DEVICE_SECONDS, LoginRequest, Staff, login_request, unlock
from app.db.engine import database
from app.tasks import cleanup
from app.web.body import MAX_BODY_BYTES
from app.web.failures import Invalid
from app.web.response_budget import LARGE_BYTES
from tests.accounts.people import time_goes_by
from tests.conftest import pieces_of

PASSWORD = "correct horse battery"
NOTHING = {"error": {"code": "NOT_FOUND", "message": "There is nothing here."}}
NO_JSON = {"error": {"code": "BAD_REQUEST", "message": "The body is not valid JSON in UTF-8."}}
NO_ENTRY = (401, {"error": {"code": "UNAUTHORIZED", "message": "This needs a login of staff."}})


def refused(field: str, message: str) -> tuple[int, dict[str, Any]]:
    fields = [{"field": field, "message": message}]
    return 422, {"error": {"code": "VALIDATION_ERROR", "message": message, "fields": fields}}


NOT_TAKEN = refused("value", CANNOT_BE_TAKEN)


def in_piccolos_words(status: int, code: str, message: str, **kept: Any) -> tuple[int, dict[str, Any]]:
    """A refusal with Piccolo's own keys beside ours, which its page reads."""
    fields: dict[str, Any] = {"fields": [{"field": "value", "message": message}]} if status == 422 else {}
    return status, {**(kept or {"detail": message}), "error": {"code": code, "message": message, **fields}}


def key(row_id: str) -> str:
    """How the page writes an id that is a text into a URL."""
    return "~" + urlsafe_b64encode(row_id.encode()).decode().rstrip("=")


def told(answer: httpx.Response) -> tuple[int, Any]:
    return answer.status_code, answer.json()


class Desk(httpx.AsyncClient):
    """A browser in front of the admin: keeps cookies, and sends the token that the admin's own page sends."""

    addresses = (f"10.{high}.{low}.1" for high in range(256) for low in range(256))

    def __init__(self, app: Litestar, scheme: str = "http", address: str | None = None) -> None:
        # Each on a network of its own: the limit of wrong passwords counts by network too.
        address = address or next(self.addresses)
        super().__init__(transport=httpx.ASGITransport(app, client=(address, 1)), base_url=f"{scheme}://desk.example")

    async def open(self) -> httpx.Response:
        page = await self.get("/admin/")
        self.headers["x-csrftoken"] = self.cookies["csrftoken"]
        return page

    async def log_in(self, username: Any = "grace", password: Any = PASSWORD, **more: Any) -> httpx.Response:
        body = {"username": username, "password": password}
        return await self.post("/admin/public/login/", json=body, **more)


@pytest.fixture(scope="session")
async def staff(running: Litestar) -> None:
    """Grace and Joan, who may come in; Henry, who may not any more; and Iris, who never could."""
    grace = await Staff.create_user("grace", PASSWORD, email="g@x", active=True, admin=True, superuser=True)
    for name, active, admin in (("joan", True, True), ("henry", False, True), ("iris", True, False)):
        row = Staff(username=name, password=grace.password, email=f"{name}@x", active=active, admin=admin)
        await row.save()


@pytest.fixture(scope="session")
async def session(running: Litestar, staff: None) -> str:
    """The cookie of a session of Grace's, whatever was tried with her name before."""
    await unlock("grace")
    async with Desk(running) as desk:
        await desk.open()
        assert told(await desk.log_in()) == (200, {"message": "logged in"})
        return desk.cookies["id"]


@pytest.fixture
async def desk(running: Litestar, clean: None) -> AsyncIterator[Desk]:
    """The login page, open."""
    async with Desk(running) as desk:
        await desk.open()
        yield desk


@pytest.fixture
async def grace(desk: Desk, session: str) -> Desk:
    """Grace, logged in."""
    desk.cookies.set("id", session, domain="desk.example")
    return desk


@pytest.fixture
async def task(ada: httpx.AsyncClient) -> dict[str, Any]:
    """A task of Ada's."""
    return (await ada.post("/api/tasks", json={"title": "Buy milk"})).json()["data"]


class TestEntry:
    async def test_the_page_is_there_for_everybody_with_the_headers_of_every_answer(
        self, stranger: httpx.AsyncClient
    ) -> None:
        page = await stranger.get("/admin/", headers={"x-request-id": "mine"})

        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert '<div id="app">' in page.text
        assert page.headers["x-request-id"] == "mine"
        assert page.headers["cache-control"] == "no-store"
        assert page.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assert (await stranger.head("/admin/")).status_code == 200

    @pytest.mark.slow
    async def test_what_the_page_loads_may_be_kept_and_comes_from_here(self, stranger: httpx.AsyncClient) -> None:
        page = (await stranger.get("/admin/")).text

        links = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert len(links) == 3
        assert re.fullmatch(r"\./assets/page\.js\?v=[0-9a-f]{8}", links[0])
        for link in links:
            assert link.startswith("./assets/")
            answer = await stranger.get(f"/admin/{link}")
            assert answer.status_code == 200
            assert answer.headers["cache-control"] == "max-age=86400, public"
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert (await stranger.get("/admin/assets/none.js")).headers["cache-control"] == "no-store"

    async def test_its_script_is_in_memory_once_and_comes_in_pieces(self, running: Litestar, desk: Desk) -> None:
        [source] = re.findall(r'src="\./(assets/index[^"]+)"', (await desk.get("/admin/")).text)
        sizes, whole = await pieces_of(running, f"/admin/{source}")
        assert sum(sizes) == whole > 1_000_000
        assert max(sizes) <= LARGE_BYTES
        path = Path(ASSET_PATH, source.partition("?")[0])
        assert (await desk.get(f"/admin/{source}")).content == _theirs(path)
        assert _theirs(path) is _theirs(path)

    def test_a_script_of_another_version_of_piccolos_is_not_served(self) -> None:
        with pytest.raises(RuntimeError) as refused:
            mended("globalThis.another = 1")
        assert "piccolo_admin has changed" in str(refused.value)

    async def test_without_its_slash_it_is_a_redirect(self, stranger: httpx.AsyncClient) -> None:
        answer = await stranger.get("/admin")
        assert (answer.status_code, answer.headers["location"]) == (307, "/admin/")

    @pytest.mark.parametrize("path", ["/administrator", "/admin.php", "/adminx/api/user/", "/x/admin/", "//admin/"])
    async def test_what_only_looks_like_it_is_not_there(self, stranger: httpx.AsyncClient, path: str) -> None:
        assert told(await stranger.get(httpx.URL("http://test").copy_with(raw_path=path.encode()))) == (
            404,
            NOTHING,
        )

    @pytest.mark.slow
    async def test_it_is_built_once_also_if_two_ask_first(self, running: Litestar) -> None:
        build.cache_clear()
        await asyncio.gather(*(Desk(running).open() for _ in range(2)))
        assert build.cache_info().misses == 1

    async def test_without_a_database_it_is_503(self, desk: Desk) -> None:
        try:
            database.ready = False
            answer = await desk.get("/admin/")
        finally:
            database.ready = True
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "SERVICE_UNAVAILABLE"
        assert answer.headers["retry-after"] == "1"

    @pytest.mark.parametrize(
        "path",
        ["user/", "tables/", "tables/tasks/", "tables/tasks/1/", "tables/user/ids/", "openapi.json", "x/"],
    )
    async def test_nobody_sees_anything_who_has_not_logged_in(self, desk: Desk, path: str) -> None:
        assert told(await desk.get(f"/admin/api/{path}")) == NO_ENTRY

    async def test_a_bearer_token_is_no_entry(self, ada: httpx.AsyncClient) -> None:
        assert told(await ada.get("/admin/api/tables/tasks/")) == NO_ENTRY

    @pytest.mark.slow
    async def test_its_cookie_is_no_entry_to_the_api(self, grace: Desk) -> None:
        answer = await grace.get("/api/tasks")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")


class TestLogin:
    async def test_staff_log_in_and_out(self, desk: Desk, staff: None, sql: asyncpg.Connection) -> None:
        answer = await desk.log_in()

        assert told(answer) == (200, {"message": "logged in"})
        cookie = answer.headers.get_list("set-cookie")[0]
        assert re.fullmatch(r"id=[\w-]{40,}; HttpOnly; Max-Age=604800; Path=/; SameSite=lax", cookie)
        assert (await desk.get("/admin/api/user/")).json()["username"] == "grace"
        last = "SELECT now()::timestamp - last_login < '1 minute' FROM piccolo_user WHERE username = 'grace'"
        assert await sql.fetchval(last)

        token = desk.cookies["id"]
        assert (await desk.post("/admin/public/logout/")).status_code == 200
        assert told(await desk.get("/admin/api/user/", headers={"cookie": f"id={token}"})) == NO_ENTRY

    @pytest.mark.parametrize(
        ("username", "password"),
        [
            ("grace", "wrong"),
            ("nobody", PASSWORD),
            ("Grace", PASSWORD),
            ("grace", "x" * 1025),
            ("x" * 101, PASSWORD),
            ("grace' OR '1'='1", PASSWORD),
        ],
    )
    async def test_nobody_else_does(self, desk: Desk, staff: None, username: str, password: str) -> None:
        assert told(await desk.log_in(username, password)) == in_piccolos_words(401, "UNAUTHORIZED", "Login failed")
        assert "id" not in desk.cookies

    @pytest.mark.parametrize("name", ["henry", "iris"])
    async def test_who_is_not_active_or_no_admin_gets_nowhere(self, desk: Desk, staff: None, name: str) -> None:
        await desk.log_in(name)
        assert told(await desk.get("/admin/api/tables/tasks/")) == NO_ENTRY

    @pytest.mark.slow
    async def test_an_unknown_name_takes_as_long_as_a_wrong_password(self, desk: Desk, staff: None) -> None:
        async def seconds(name: str) -> float:
            began = time.perf_counter()
            await desk.log_in(name, "wrong")
            return time.perf_counter() - began

        known, unknown = [min([await seconds(name) for _ in range(2)]) for name in ("grace", "nobody")]
        assert 0.2 < known / unknown < 5

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            ({"username": 5, "password": "x"}, refused("username", "Username must be a string")),
            ({"username": "x", "password": ["x"]}, refused("password", "Password must be a string")),
            ({"username": None}, refused("username", "Username must be a string")),
            ({"username": "a\0b", "password": "x"}, NOT_TAKEN),
            (["grace"], refused("body", "The body must be a JSON object")),
            ({}, in_piccolos_words(422, "VALIDATION_ERROR", "Missing username or password")),
        ],
    )
    async def test_what_is_no_name_and_no_password_is_422(self, desk: Desk, body: Any, expected: Any) -> None:
        assert told(await desk.post("/admin/public/login/", json=body)) == expected

    @pytest.mark.slow
    async def test_the_event_loop_goes_on_while_passwords_are_hashed(self, running: Litestar, staff: None) -> None:
        async def longest_gap() -> float:
            """Of a ticker that ticks every 10 ms, while three log in."""
            desks = [Desk(running) for _ in range(3)]
            await asyncio.gather(*(desk.open() for desk in desks))
            logins = asyncio.gather(*(desk.log_in() for desk in desks))
            gaps: list[float] = []
            while not logins.done():
                began = time.perf_counter()
                await asyncio.sleep(0.01)
                gaps.append(time.perf_counter() - began)
            assert [answer.status_code for answer in await logins] == [200] * 3
            return max(gaps)

        # Somebody else's work on the machine makes gaps too, but not each time.
        assert any([await longest_gap() < 0.1 for _ in range(3)])

    @pytest.mark.slow
    async def test_a_password_is_changed_by_its_owner_which_ends_all_sessions(self, desk: Desk, staff: None) -> None:
        async def change(old: Any, new: Any) -> httpx.Response:
            body = {"current_password": old, "new_password": new, "confirm_new_password": new}
            return await desk.post("/admin/api/change-password/", json=body)

        await desk.log_in("joan")
        assert told(await change("wrong", "another one")) == in_piccolos_words(
            422, "VALIDATION_ERROR", "Incorrect password."
        )
        assert (await change(PASSWORD, "short")).status_code == 422
        too_long = refused("password", "A password has 8 to 1024 characters")
        assert told(await change(PASSWORD, "x" * 1025)) == too_long
        assert told(await change(PASSWORD, [1] * 9)) == refused("new_password", "New password must be a string or null")
        assert (await change(PASSWORD, "another one")).status_code == 303
        assert told(await desk.get("/admin/api/user/")) == NO_ENTRY
        assert (await desk.log_in("joan", PASSWORD)).status_code == 401
        assert (await desk.log_in("joan", "another one")).status_code == 200
        assert (await change("another one", PASSWORD)).status_code == 303


def locked_for(answer: httpx.Response) -> int:
    """The seconds that a 429 names, in the header and in the body alike."""
    seconds = answer.json()["error"]["retryAfter"]
    message = "Too many failed logins. Try again later."
    error = {"code": "RATE_LIMIT_EXCEEDED", "message": message, "retryAfter": seconds}
    assert (answer.status_code, answer.headers["retry-after"], answer.json()) == (429, f"{seconds}", {"error": error})
    return seconds


class TestLimit:
    """Wrong passwords: five for a name, ten from a network, within 15 minutes."""

    KEYS = "SELECT email FROM rate_limits ORDER BY email"

    @staticmethod
    async def wrong(app: Litestar, name: str, *addresses: str | None) -> list[int]:
        """The answers to one wrong password after the other."""
        statuses = []
        for address in addresses:
            async with Desk(app, address=address) as guesser:
                await guesser.open()
                statuses.append((await guesser.log_in(name, "wrong")).status_code)
        return statuses

    @pytest.fixture
    def no_hash(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What is hashed, which costs nothing here."""
        hashed: list[str] = []

        def hash_password(password: str, *_: Any) -> str:
            hashed.append(password)
            return "none"

        monkeypatch.setattr(Staff, "hash_password", hash_password)
        return hashed

    @pytest.mark.parametrize(
        "name", ["grace", "nobody", "GRACE", "grace ", "ip:10.0.0.1", "a@b.example", "x" * 101, "x" * 5000, "\u0130"]
    )
    async def test_five_lock_a_name_from_everywhere_whether_it_exists_or_not(
        self, running: Litestar, desk: Desk, staff: None, no_hash: list[str], name: str
    ) -> None:
        assert await self.wrong(running, name, *[None] * 6) == [401] * 5 + [429]
        assert no_hash == ["wrong"] * 5
        assert 890 < locked_for(await desk.log_in(name, "wrong")) <= 900
        assert 890 < locked_for(await desk.log_in(name)) <= 900, "also with the right password"
        assert no_hash == ["wrong"] * 5

    @pytest.mark.slow
    async def test_other_names_and_accounts_of_that_name_are_not_locked_with_it(
        self, running: Litestar, desk: Desk, staff: None, sql: asyncpg.Connection
    ) -> None:
        assert await self.wrong(running, "grace", *[f"192.0.2.{number}" for number in range(6)]) == [401] * 5 + [429]

        assert (await desk.log_in("joan")).status_code == 200
        keys = [row[0] for row in await sql.fetch(self.KEYS)]
        assert keys == [*(f"staff-ip:192.0.2.{number}" for number in range(5)), "staff:grace"]

    @pytest.mark.slow
    async def test_it_expires_after_15_minutes_and_a_success_clears_the_count(
        self, running: Litestar, desk: Desk, staff: None, sql: asyncpg.Connection
    ) -> None:
        assert await self.wrong(running, "grace", *[None] * 6) == [401] * 5 + [429]
        await time_goes_by(sql, "15 minutes")
        assert await self.wrong(running, "grace", *[None] * 4) == [401] * 4
        assert (await desk.log_in()).status_code == 200
        assert await self.wrong(running, "grace", *[None] * 6) == [401] * 5 + [429]

    @pytest.mark.parametrize("name", ["grace", "nobody"])
    async def test_of_thirty_concurrent_ones_five_are_looked_at(
        self, running: Litestar, clean: None, staff: None, no_hash: list[str], name: str
    ) -> None:
        statuses = await asyncio.gather(*(self.wrong(running, name, None) for _ in range(30)))
        assert sorted(each for (each,) in statuses) == [401] * 5 + [429] * 25
        assert no_hash == ["wrong"] * 5

    @pytest.mark.parametrize(
        ("addresses", "another"),
        [
            (["192.0.2.1"] * 10, "192.0.2.2"),
            ([f"2001:db8:0:1:{number}::1" for number in range(10)], "2001:db8:0:2::1"),
        ],
    )
    async def test_ten_from_a_network_lock_it_for_all_names_and_no_other_network(
        self, running: Litestar, clean: None, staff: None, no_hash: list[str], addresses: list[str], another: str
    ) -> None:
        statuses = [await self.wrong(running, f"name {number}", each) for number, each in enumerate(addresses)]
        assert statuses == [[401]] * 10
        assert await self.wrong(running, "grace", addresses[0], addresses[-1], another) == [429, 429, 401]
        assert no_hash == ["wrong"] * 11

    async def test_more_concurrent_ones_than_can_be_served_in_time_are_503_and_no_attempts(
        self, running: Litestar, clean: None, staff: None, monkeypatch: pytest.MonkeyPatch, sql: asyncpg.Connection
    ) -> None:
        for name in ("app.admin.staff.MAX_LOGINS_UNDER_WAY", "app.auth.passwords.WAIT_SECONDS"):
            with monkeypatch.context() as none:
                none.setattr(name, 0)
                assert await self.wrong(running, "grace", *[None] * 6) == [503] * 6
            assert await sql.fetch(self.KEYS) == []
        assert await self.wrong(running, "grace", None) == [401]

    @pytest.mark.slow
    async def test_a_device_that_logged_in_before_is_not_locked_by_others_and_has_five_tries_of_its_own(
        self, running: Litestar, desk: Desk, staff: None
    ) -> None:
        answer = await desk.log_in()
        cookie = answer.headers.get_list("set-cookie")[1]
        assert re.fullmatch(
            r"staff_device=\d+\.[\w-]{22}\.[0-9a-f]{64}; HttpOnly; Max-Age=7776000; SameSite=lax", cookie
        )
        await desk.post("/admin/public/logout/")
        theirs = desk.cookies["staff_device"]
        assert await self.wrong(running, "grace", *[None] * 6) == [401] * 5 + [429]

        assert (await desk.log_in()).status_code == 200
        assert await self.wrong(running, "grace", None) == [429], "its success clears its own count alone"
        desk.cookies.clear()
        await desk.open()
        desk.cookies.set("staff_device", theirs, domain="desk.example")
        assert [(await desk.log_in(password="wrong")).status_code for _ in range(6)] == [401] * 5 + [429]
        assert 890 < locked_for(await desk.log_in()) <= 900

    @pytest.mark.slow
    async def test_a_cookie_that_is_forged_another_persons_or_old_makes_no_known_device(
        self, running: Litestar, desk: Desk, staff: None, sql: asyncpg.Connection
    ) -> None:
        assert (await desk.log_in("joan")).status_code == 200
        joans = desk.cookies["staff_device"]
        made, nonce, signature = joans.split(".")
        assert await self.wrong(running, "grace", *[None] * 5) == [401] * 5
        for cookie in (
            joans,
            f"{made}.other.{signature}",
            f"{made}.{nonce}.",
            f"{made}.{nonce}",
            "..",
            "x",
            "\xe9.1.2",
        ):
            async with Desk(running) as guesser:
                await guesser.open()
                for name in ("grace", "joan"):
                    guesser.cookies.clear()
                    header = f"csrftoken={guesser.headers['x-csrftoken']}; staff_device={cookie}".encode("latin-1")
                    answer = await guesser.log_in(name, "wrong", headers={b"cookie": header})
                    if name == "grace":
                        assert 0 < locked_for(answer) <= 900
        keys = [row[0] for row in await sql.fetch(self.KEYS)]
        assert "staff:joan" in keys
        assert [key for key in keys if key.startswith("staff-device:")] == [f"staff-device:{nonce}"], "joan's own, once"

        await sql.execute("DELETE FROM rate_limits")
        old = time.time() - DEVICE_SECONDS - 1
        with pytest.MonkeyPatch.context() as earlier:
            earlier.setattr("app.admin.staff.time.time", lambda: old)
            request = LoginRequest()
            login_request.set(request)
            assert await Staff.login("grace", PASSWORD)
        assert f"{request.new_device}".startswith(f"{int(old)}.")
        login_request.set(LoginRequest(device=request.new_device))
        assert await Staff.login("grace", "wrong") is None
        assert [row[0] for row in await sql.fetch(self.KEYS)] == ["staff-ip:unknown", "staff:grace"]

    @pytest.mark.slow
    async def test_whoever_is_logged_in_proves_themselves_under_a_count_of_their_own(
        self, running: Litestar, grace: Desk, sql: asyncpg.Connection
    ) -> None:
        async def change(old: str) -> httpx.Response:
            body = {"current_password": old, "new_password": PASSWORD, "confirm_new_password": PASSWORD}
            return await grace.post("/admin/api/change-password/", json=body)

        assert await self.wrong(running, "grace", *[None] * 6) == [401] * 5 + [429]
        assert [(await change("wrong")).status_code for _ in range(6)] == [422] * 5 + [429]
        assert 890 < locked_for(await change(PASSWORD)) <= 900
        assert await sql.fetchval("SELECT count(*) FROM rate_limits WHERE email = 'staff-again:grace'") == 1
        assert "set-cookie" not in (await change("wrong")).headers

    @pytest.mark.slow
    async def test_a_login_can_be_unlocked(self, running: Litestar, clean: None, staff: None) -> None:
        assert await self.wrong(running, "grace", *["192.0.2.1"] * 6) == [401] * 5 + [429]
        assert await self.wrong(running, "nobody", *["192.0.2.1"] * 6) == [401] * 5 + [429]
        assert await self.wrong(running, "grace", "192.0.2.2") == [429]

        assert not await unlock("nobody")
        assert await self.wrong(running, "grace", "192.0.2.2") == [429]
        assert await unlock("grace")
        assert await self.wrong(running, "grace", "192.0.2.1", "192.0.2.2") == [401, 401]
        assert await self.wrong(running, "nobody", "192.0.2.1") == [429]


class TestOrigin:
    @pytest.mark.parametrize(
        "origin",
        ["http://evil.example", "null", "http://desk.example.evil", "http://["],
    )
    async def test_another_sites_page_changes_nothing(self, grace: Desk, task: Any, origin: str) -> None:
        path = f"/admin/api/tables/tasks/{task['id']}/"
        expected = {"error": {"code": "FORBIDDEN", "message": "The admin takes requests from its own pages alone."}}
        for method, body in (("PATCH", {"title": "x"}), ("DELETE", None), ("POST", {})):
            answer = await grace.request(method, path, json=body, headers={"origin": origin})
            assert told(answer) == (403, expected)
            assert "access-control-allow-origin" not in answer.headers

    async def test_a_host_without_its_port_is_what_a_proxy_passes_and_the_browser_says_whose_page_it_is(
        self, grace: Desk, task: Any
    ) -> None:
        path = f"/admin/api/tables/tasks/{task['id']}/"
        message = (
            "The admin takes requests from its own pages alone."
            " Behind a proxy, let it pass Host with its port (nginx: $http_host)."
        )
        headers = {"origin": "https://desk.example:8443"}
        for site in ({}, {"sec-fetch-site": "same-site"}, {"sec-fetch-site": "cross-site"}):
            answer = await grace.patch(path, json={"title": "x"}, headers={**headers, **site})
            assert told(answer) == (403, {"error": {"code": "FORBIDDEN", "message": message}})
        mine = {**headers, "sec-fetch-site": "same-origin"}
        assert (await grace.patch(path, json={"title": "x"}, headers=mine)).status_code == 200
        assert (await grace.log_in(headers=mine)).status_code == 200

    async def test_its_own_page_does(self, grace: Desk, task: Any) -> None:
        answer = await grace.patch(
            f"/admin/api/tables/tasks/{task['id']}/",
            json={"title": "x"},
            headers={"origin": "http://desk.example"},
        )
        assert answer.status_code == 200

    async def test_nothing_is_changed_without_the_pages_token(self, grace: Desk, task: Any) -> None:
        del grace.headers["x-csrftoken"]
        answer = await grace.patch(f"/admin/api/tables/tasks/{task['id']}/", json={"title": "x"})
        assert answer.status_code == 403

    async def test_over_https_it_works_alike_and_cookies_never_leave_https(
        self, running: Litestar, staff: None, ada: httpx.AsyncClient, task: Any
    ) -> None:
        async with Desk(running, "https") as desk:
            page = await desk.open()
            mine = {"origin": "https://desk.example"}
            answer = await desk.log_in(headers=mine)
            assert answer.status_code == 200
            for each in (page, answer):
                assert each.headers["set-cookie"].endswith("; SameSite=lax; Secure")
            path = f"/admin/api/tables/tasks/{task['id']}/"
            assert (await desk.patch(path, json={"title": "Buy oats"}, headers=mine)).status_code == 200
            assert (await desk.patch(path, json={}, headers={"origin": "https://evil.example"})).status_code == 403
        assert (await ada.get(f"/api/tasks/{task['id']}")).json()["data"]["title"] == "Buy oats"


A_ZONE = "a name of the IANA time zone database, such as Europe/Berlin"
A_TIME = "a time of day from 00:00 to 23:59, such as 17:30"
OF_TASKS = ("id", "user_id", "title", "completed", "due_date", "priority")


class TestTables:
    async def test_staff_see_all_tables_and_nothing_that_logs_anybody_in(self, grace: Desk, task: Any) -> None:
        assert (await grace.get("/admin/api/tables/")).json() == sorted(VIEWS)
        for name in ("piccolo_user", "sessions", "migration", "rate_limits", "login_sessions", "credentials"):
            assert (await grace.get(f"/admin/api/tables/{name}/")).status_code == 404
        for name in VIEWS:
            for path in ("", "schema/", "new/", "ids/"):
                answer = await grace.get(f"/admin/api/tables/{name}/{path}")
                assert answer.status_code == 200
                assert not re.search("hash|pbkdf2|argon", answer.text)
        assert (await grace.get("/admin/api/user/")).json().keys() == {"username", "user_id"}

    @pytest.mark.parametrize(
        ("table", "columns", "order"),
        [
            ("user", ["id", "name", "email", "tasks", "in_trash", "emailVerified", "createdAt"], "createdAt"),
            (
                "tasks",
                ["id", "user_id", "title", "completed", "list_id", "due_date", "priority", "created_at", "updated_at"],
                "id",
            ),
            (
                "trash",
                ["id", "user_id", "title", "completed", "due_date", "priority", "created_at", "deleted_at"],
                "deleted_at",
            ),
            ("staff", ["id", "username", "active", "last_login"], "id"),
            ("failed_logins", ["email", "failed_attempts", "last_attempt", "locked_until"], "last_attempt"),
        ],
    )
    async def test_a_list_shows_and_filters_what_matters_newest_first(
        self, grace: Desk, table: str, columns: list[str], order: str
    ) -> None:
        extra = (await grace.get(f"/admin/api/tables/{table}/schema/")).json()["extra"]

        assert extra["visible_column_names"] == extra["visible_filter_names"] == columns
        assert extra["order_by"] == [{"column": order, "ascending": False}]
        assert extra["link_column_name"] == columns[0]

    async def test_tasks_are_found_by_owner_and_by_a_part_of_their_title(
        self, grace: Desk, ada: httpx.AsyncClient, bob: httpx.AsyncClient
    ) -> None:
        for client, title in ((ada, "Buy milk"), (ada, "Buy oats"), (bob, "Sell milk")):
            await client.post("/api/tasks", json={"title": title})

        async def found(query: str) -> list[str]:
            rows = (await grace.get(f"/admin/api/tables/tasks/?{query}")).json()["rows"]
            return [row["title"] for row in rows]

        assert await found("__order=-id") == ["Sell milk", "Buy oats", "Buy milk"]
        assert await found("title=MILK&__order=id") == ["Buy milk", "Sell milk"]
        assert await found("user_id=ada&user_id__match=exact&title=milk") == ["Buy milk"]
        assert await found("completed=true") == []
        assert (await grace.get("/admin/api/tables/user/ids/?search=ad")).json() == {
            "ada": "Ada <ada@example.com> (ada)"
        }

    async def test_staff_change_a_task_as_its_owner_would_see_it(
        self, grace: Desk, ada: httpx.AsyncClient, task: dict[str, Any]
    ) -> None:
        path = f"/admin/api/tables/tasks/{task['id']}/"
        form = {**(await grace.get(path)).json(), "title": "Buy oats", "completed": True}

        assert (await grace.patch(path, json=form)).status_code == 200

        after = (await ada.get(f"/api/tasks/{task['id']}")).json()["data"]
        assert after == {
            **task,
            "title": "Buy oats",
            "completed": True,
            "completed_at": after["updated_at"],
            "updated_at": after["updated_at"],
            "version": task["version"] + 1,
        }
        assert after["updated_at"] > task["updated_at"]

    async def test_a_row_that_has_changed_since_it_was_opened_is_not_saved(
        self, grace: Desk, ada: httpx.AsyncClient, task: Any
    ) -> None:
        path = f"/admin/api/tables/tasks/{task['id']}/"
        tag = (await grace.get(f"{path}?__readable=true")).headers["etag"]
        for spelling in ("", "W/"):
            saved = await grace.patch(path, json={"title": " Buy oats "}, headers={"if-match": f"{spelling}{tag}"})
            assert saved.status_code == 200, saved.text
            assert saved.json()["title"] == "Buy oats"
            tag = (await grace.get(f"{path}?__readable=true")).headers["etag"]

        await ada.patch(f"/api/tasks/{task['id']}", json={"description": "Two"})
        late = await grace.patch(path, json={"title": "Buy tea"}, headers={"if-match": tag})
        message = "This row has changed since it was opened. Open it again, and make your change once more."
        assert told(late) == (412, {"error": {"code": "PRECONDITION_FAILED", "message": message}})
        after = (await ada.get(f"/api/tasks/{task['id']}")).json()["data"]
        assert (after["title"], after["description"]) == ("Buy oats", "Two")

        gone = await grace.patch("/admin/api/tables/tasks/999/", json={"title": "x"}, headers={"if-match": tag})
        assert gone.status_code == 404
        assert (
            await grace.patch(path, json={"title": "x"}, headers={"if-match": tag, "cookie": ""})
        ).status_code == 403
        assert "etag" not in (await grace.get("/admin/api/tables/tasks/999/")).headers

    async def test_a_new_task_is_held_to_the_rules_of_the_api(self, grace: Desk, task: Any) -> None:
        form = {**(await grace.get("/admin/api/tables/tasks/new/")).json(), "user_id": "ada"}
        blank = await grace.post("/admin/api/tables/tasks/", json={**form, "title": " \u2003\u200b"})
        assert told(blank) == refused("title", "Title is required")
        made = await grace.post("/admin/api/tables/tasks/", json={**form, "title": "\u2003Call us "})
        [row] = (await grace.get("/admin/api/tables/tasks/?title=Call")).json()["rows"]
        assert (made.status_code, row["title"]) == (201, "Call us")

    async def test_staff_plan_a_task_by_the_rules_of_the_api(
        self, grace: Desk, ada: httpx.AsyncClient, task: Any
    ) -> None:
        path, told_to_ada = f"/admin/api/tables/tasks/{task['id']}/", f"/api/tasks/{task['id']}"
        planned = {
            "start_date": "2026-12-01",
            "due_date": "2026-12-04",
            "due_time": "17:30",
            "time_zone": "Europe/Berlin",
            "priority": 3,
            "estimate_minutes": 30,
            "extra": '{"b": 1.50, "a": null}',
            "completed": True,
        }
        assert (await grace.patch(path, json=planned)).status_code == 200
        after = (await ada.get(told_to_ada)).json()["data"]
        done = {"completed_at": after["updated_at"]}
        assert {name: after[name] for name in planned} == {**planned, "extra": {"b": 1.5, "a": None}}
        assert (after["due_at"], after["completed_at"]) == ("2026-12-04T16:30:00Z", done["completed_at"])
        assert '"extra":{"b":1.50,"a":null}' in (await ada.get(told_to_ada)).text

        form = (await grace.get(path)).json()
        assert (await grace.patch(path, json={**form, "title": "Buy oats"})).status_code == 200
        whole = (await ada.get(told_to_ada)).json()["data"]
        stamps = {name: whole[name] for name in ("updated_at", "version")}
        assert whole == {**after, "title": "Buy oats", **stamps}
        [filtered] = (await grace.get("/admin/api/tables/tasks/?due_date=2026-12-04&priority=3")).json()["rows"]
        assert (filtered["id"], filtered["due_date"], filtered["priority"]) == (task["id"], "2026-12-04", 3)
        assert (await grace.get("/admin/api/tables/tasks/?priority=4")).json() == {"rows": []}

        for body, field, message in (
            ({"priority": 5}, "priority", "Priority must be an integer from 0 to 4"),
            ({"estimate_minutes": 0}, "estimate_minutes", "Estimate minutes must be an integer from 1 to 14400"),
            ({"time_zone": "Berlin"}, "time_zone", f"Time zone must be {A_ZONE}"),
            ({"due_date": None, "due_time": "17:30"}, "due_time", "Due time needs a due date"),
            ({"due_time": "17:30:05"}, "due_time", f"Due time must be {A_TIME}"),
            ({"completed_at": "2100-01-01T00:00:00Z"}, "completed_at", "Completed at must not be in the future"),
            ({"extra": "[]"}, "extra", "Extra must be a JSON object"),
            ({"extra": '{"a": "\\u0000"}'}, "extra", "Extra must not contain the character U+0000"),
        ):
            assert told(await grace.patch(path, json=body)) == refused(field, message)
        assert (await ada.get(told_to_ada)).json()["data"] == whole

        assert (await grace.patch(path, json={"due_date": None})).status_code == 200
        cleared = (await ada.get(told_to_ada)).json()["data"]
        assert [cleared[name] for name in ("due_date", "due_time", "time_zone", "due_at")] == [None] * 4
        assert (await grace.patch(path, json={"completed_at": "2020-01-01T00:00:00Z"})).status_code == 200
        assert (await ada.get(told_to_ada)).json()["data"]["completed_at"] == "2020-01-01T00:00:00.000Z"
        lone = await grace.patch(path, json={"due_time": "17:30"})
        assert told(lone) == refused("due_time", "Due time needs a due date")

        new = {**(await grace.get("/admin/api/tables/tasks/new/")).json(), "title": "Call us", "user_id": "ada"}
        made = await grace.post("/admin/api/tables/tasks/", json={**new, **planned})
        assert made.status_code == 201, made.text
        theirs = (await ada.get(f"/api/tasks/{made.json()[0]['id']}")).json()["data"]
        assert {name: theirs[name] for name in planned} == {**planned, "extra": {"b": 1.5, "a": None}}
        assert theirs["completed_at"] == theirs["created_at"]
        late = await grace.post("/admin/api/tables/tasks/", json={**new, "due_time": "17:30"})
        assert told(late) == refused("due_time", "Due time needs a due date")

        rows = (await grace.get(f"/admin/api/tables/history/?task_id={task['id']}&__order=version")).json()["rows"]
        assert [row["extra"] for row in rows][:2] == ["{}", '{"b":1.50,"a":null}']

    async def test_what_the_owner_changes_while_a_save_is_under_way_stays(
        self, grace: Desk, sql: asyncpg.Connection, task: Any
    ) -> None:
        path = f"/admin/api/tables/tasks/{task['id']}/"
        tag = (await grace.get(f"{path}?__readable=true")).headers["etag"]
        async with sql.transaction():
            await sql.execute("UPDATE tasks SET title = 'Buy tea'")
            saving = asyncio.create_task(grace.patch(path, json={"title": "Buy oats"}, headers={"if-match": tag}))
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
            while not await sql.fetchval(waiting):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await saving).status_code == 412
        assert await sql.fetchval("SELECT title FROM tasks") == "Buy tea"

    async def test_nobody_locks_a_row_who_has_not_logged_in(
        self, desk: Desk, sql: asyncpg.Connection, task: Any
    ) -> None:
        async with sql.transaction():
            await sql.execute("UPDATE tasks SET title = 'Buy tea'")
            saving = desk.patch(f"/admin/api/tables/tasks/{task['id']}/", json={"title": "x"})
            assert told(await asyncio.wait_for(saving, 20)) == NO_ENTRY

    async def test_a_save_that_is_refused_leaves_nothing(self, grace: Desk, bob: httpx.AsyncClient, task: Any) -> None:
        await bob.post("/api/tasks", json={"title": "x"})
        path = f"/admin/api/tables/user/{key('bob')}/"
        before = (await grace.get(path)).json()
        taken = await grace.patch(path, json={"name": "changed", "email": "ada@example.com"})
        assert told(taken) == refused("value", "Another row has one of these values already")
        form = {**(await grace.get("/admin/api/tables/tasks/new/")).json(), "title": "x", "user_id": "nobody"}
        assert told(await grace.post("/admin/api/tables/tasks/", json=form)) == refused(
            "value", "There is no such user"
        )
        assert (await grace.get(path)).json() == before

    @pytest.mark.slow
    async def test_what_is_not_theirs_to_change_is_refused_in_a_sentence(
        self, grace: Desk, task: Any, bob: httpx.AsyncClient
    ) -> None:
        await bob.post("/api/tasks", json={"title": "x"})
        long_ago = "2001-01-01T00:00:00Z"
        stamps = {"created_at": long_ago, "updated_at": long_ago}
        changes = {
            f"tasks/{task['id']}": (
                {"id": 77, "user_id": "bob", "version": 9, "changed_by": "bob", **stamps},
                {"title": "changed"},
                "DELETE, GET, HEAD, PATCH, POST",
            ),
            f"user/{key('ada')}": (
                {"id": "eve", "tasks": 7, "in_trash": 7, "createdAt": long_ago, "updatedAt": long_ago},
                {"name": "changed", "emailVerified": True},
                "DELETE, GET, HEAD, PATCH",
            ),
        }
        for path, (fixed, free, allowed) in changes.items():
            before = (await grace.get(f"/admin/api/tables/{path}/")).json()
            for name, value in fixed.items():
                for body in ({name: value}, {**free, name: value}):
                    answer = await grace.patch(f"/admin/api/tables/{path}/", json=body)
                    assert told(answer) == refused(name, f"{name} cannot be changed here")
            assert (await grace.get(f"/admin/api/tables/{path}/")).json() == before

            assert (await grace.patch(f"/admin/api/tables/{path}/", json={**before, **free})).status_code == 200
            after = (await grace.get(f"/admin/api/tables/{path}/")).json()
            moves = ("updated_at", "version", "changed_by") if path.startswith("tasks") else ()
            moved = {name: after[name] for name in moves}
            assert after == {**before, **free, **moved}
            assert moved.get("updated_at", "2027") > before.get("updated_at", "2026")
            unchanged = await grace.patch(f"/admin/api/tables/{path}/", json={name: after[name] for name in fixed})
            assert told(unchanged) == refused("value", "Nothing was changed")

            put = await grace.put(f"/admin/api/tables/{path}/", json={**before, **fixed})
            assert (put.status_code, put.json()["error"]["code"]) == (405, "METHOD_NOT_ALLOWED")
            assert put.headers["allow"] == allowed
            assert (await grace.get(f"/admin/api/tables/{path}/")).json() == after

    async def test_staff_make_a_task_for_a_user_and_delete_it(
        self, grace: Desk, ada: httpx.AsyncClient, task: Any
    ) -> None:
        form = {
            **(await grace.get("/admin/api/tables/tasks/new/")).json(),
            "title": "Call us",
            "user_id": "ada",
        }
        made = await grace.post("/admin/api/tables/tasks/", json=form)
        assert made.status_code == 201
        titles = [each["title"] for each in (await ada.get("/api/tasks")).json()["data"]]
        assert titles == ["Call us", "Buy milk"]

        path = f"/admin/api/tables/tasks/{made.json()[0]['id']}/"
        assert (await grace.delete(path)).status_code == 204
        assert [each["id"] for each in (await ada.get("/api/tasks")).json()["data"]] == [task["id"]]
        assert [each["title"] for each in (await ada.get("/api/trash")).json()["data"]] == ["Call us"]
        restored = await ada.post(f"/api/tasks/{made.json()[0]['id']}/restore")
        assert (restored.status_code, restored.json()["data"]["title"]) == (200, "Call us")

    @pytest.mark.slow
    async def test_what_the_service_sets_is_not_asked_for_and_is_ignored_in_a_new_row(
        self, grace: Desk, ada: httpx.AsyncClient, task: Any, sql: asyncpg.Connection
    ) -> None:
        then = "2001-01-01T00:00:00Z"
        named = {"id": 777, "version": 999, "changed_by": "bob", "changes": 7, "deleted_at": then}
        named |= {"created_at": then, "updated_at": then}
        table, new = "/admin/api/tables/tasks/", {"user_id": "ada", "title": "Call us", "completed": True}
        [plain], [made] = [(await grace.post(table, json=each)).json() for each in (new, {**new, **named})]
        rows = [dict(await sql.fetchrow("SELECT * FROM tasks WHERE id = $1", each["id"])) for each in (plain, made)]
        for row in rows:
            assert row.pop("completed_at") == row["updated_at"]
            assert row.pop("updated_at") == row.pop("created_at") > datetime.now(UTC) - timedelta(minutes=1)
        assert rows[1] == {**rows[0], "id": plain["id"] + 1, "version": rows[0]["version"] + 1}
        assert (rows[0]["version"], rows[0]["changed_by"]) == (task["version"] + 1, "staff")

        login = {"username": "leo", "new_password": PASSWORD, "id": 777, "last_login": "2001-01-01T00:00:00"}
        [made] = (await grace.post("/admin/api/tables/staff/", json=login)).json()
        row = (await grace.get(f"/admin/api/tables/staff/{made['id']}/")).json()
        assert (row["last_login"], made["id"] == 777) == (None, False)
        assert (await grace.delete(f"/admin/api/tables/staff/{made['id']}/")).status_code == 204

    async def test_what_staff_do_to_a_task_is_in_its_history(
        self, grace: Desk, ada: httpx.AsyncClient, task: Any
    ) -> None:
        await grace.patch(f"/admin/api/tables/tasks/{task['id']}/", json={"title": "Buy oats"})
        form = (await grace.get("/admin/api/tables/tasks/new/")).json()
        theirs = {**form, "title": "Read this", "user_id": "ada"}
        made = (await grace.post("/admin/api/tables/tasks/", json=theirs)).json()[0]["id"]
        assert (await grace.delete(f"/admin/api/tables/tasks/{made}/")).status_code == 204
        assert (await ada.post(f"/api/tasks/{made}/restore")).status_code == 200

        changes = {
            task_id: [
                (each["action"], each["by"]["kind"])
                for each in (await ada.get(f"/api/tasks/{task_id}/history")).json()["data"]
            ]
            for task_id in (task["id"], made)
        }
        assert changes == {
            task["id"]: [("changed", "staff"), ("created", "jwt")],
            made: [("restored", "jwt"), ("deleted", "staff"), ("created", "staff")],
        }

    async def test_staff_see_what_is_in_the_trash_and_delete_for_good(
        self, grace: Desk, ada: httpx.AsyncClient, task: Any, sql: asyncpg.Connection
    ) -> None:
        path = f"/admin/api/tables/tasks/{task['id']}/"
        assert (await grace.delete(f"/admin/api/tables/trash/{task['id']}/")).status_code == 404
        assert (await grace.delete(path)).status_code == 204
        assert (await grace.delete(path)).status_code == 404
        assert (await grace.get("/admin/api/tables/tasks/")).json() == {"rows": []}
        (row,) = (await grace.get("/admin/api/tables/trash/")).json()["rows"]
        assert row["deleted_at"]
        assert (await grace.get("/admin/api/tables/trash/count/")).json()["count"] == 1
        assert (await grace.patch(f"/admin/api/tables/trash/{task['id']}/", json={"title": "x"})).status_code == 405

        assert (await grace.delete(f"/admin/api/tables/trash/{task['id']}/")).status_code == 204
        assert (await ada.get("/api/trash")).json() == {"data": []}
        assert await sql.fetchval("SELECT count(*) FROM task_versions") == 0

    async def test_a_user_shows_how_many_tasks_there_are(self, grace: Desk, ada: httpx.AsyncClient, task: Any) -> None:
        for title in ("x", "y"):
            made = await ada.post("/api/tasks", json={"title": title})
        path = f"/admin/api/tables/user/{key('ada')}/?__readable=true"
        tag = (await grace.get(path)).headers["etag"]
        await ada.delete(f"/api/tasks/{made.json()['data']['id']}")
        for query in ("__order=-tasks", "tasks=2&tasks__operator=gte", "in_trash=1", f"id={'ada'}"):
            (row,) = (await grace.get(f"/admin/api/tables/user/?{query}")).json()["rows"]
            assert (row["id"], row["tasks"], row["in_trash"]) == ("ada", 2, 1)
        # They are not the row's own, so a form that was opened before can be saved.
        saved = await grace.patch(path, json={"name": "Ada L."}, headers={"if-match": tag})
        assert (saved.status_code, (await grace.get(path)).json()["name"]) == (200, "Ada L.")

    async def test_the_history_shows_each_state_as_it_was(
        self, grace: Desk, ada: httpx.AsyncClient, bob: httpx.AsyncClient, task: Any
    ) -> None:
        for body in ({"description": "One"}, {"title": "Buy oats"}, {"description": None}, {"completed": True}):
            await ada.patch(f"/api/tasks/{task['id']}", json=body)
        await bob.post("/api/tasks", json={"title": "x"})
        rows = (await grace.get("/admin/api/tables/history/?__order=version&__readable=true")).json()["rows"]
        assert [(row["title"], row["description"], row["completed"]) for row in rows] == [
            ("Buy milk", None, False),
            ("Buy milk", "One", False),
            ("Buy oats", "One", False),
            ("Buy oats", None, False),
        ]
        assert {row["user_id_readable"] for row in rows} == {"Ada <ada@example.com> (ada)"}
        for row in rows:
            answer = await grace.get(f"/admin/api/tables/history/{key(row['id'])}/?__readable=true")
            assert answer.json() == row
            assert (await grace.patch(str(answer.url), json={"title": "x"})).status_code == 405
            assert (await grace.delete(str(answer.url))).status_code == 405
        for absent in (f"{task['id']}.999", "x", "", "1.x", f"{task['id']}.{'9' * 30}"):
            assert (await grace.get(f"/admin/api/tables/history/{key(absent) or '~'}/")).status_code in (400, 404, 422)
        found = (await grace.get("/admin/api/tables/history/?title=oats&user_id=ada")).json()["rows"]
        assert len(found) == 2

    async def test_so_do_those_of_lists_and_labels(self, grace: Desk, ada: httpx.AsyncClient) -> None:
        made = (await ada.post("/api/lists", json={"name": "Groceries"})).json()["data"]
        await ada.post("/api/tasks", json={"title": "x", "labels": ["home"]})
        label = (await ada.get("/api/labels/home")).json()["data"]
        await ada.patch(f"/api/lists/{made['id']}", json={"name": "Shop"})
        await ada.patch("/api/labels/home", json={"name": "House"})
        for table, one, name in (("list_history", made, "Groceries"), ("label_history", label, "home")):
            [row] = (await grace.get(f"/admin/api/tables/{table}/?__readable=true")).json()["rows"]
            assert (row["id"], row["version"]) == (f"{one['id']}.{one['version']}", one["version"])
            assert (row["name"], row["changed_by"]) == (name, "jwt")
            assert row["user_id_readable"] == "Ada <ada@example.com> (ada)"
            path = f"/admin/api/tables/{table}/{key(row['id'])}/"
            assert (await grace.get(f"{path}?__readable=true")).json() == row
            assert (await grace.patch(path, json={"name": "x"})).status_code == 405
            assert (await grace.delete(path)).status_code == 405
            absent = f"/admin/api/tables/{table}/{key(row['id'] + '9')}/"
            assert (await grace.get(absent)).status_code == 404

    async def test_nobody_deletes_a_whole_table(self, grace: Desk, ada: httpx.AsyncClient, task: Any) -> None:
        for every in ("", f"?__ids={task['id']}", "?title=milk"):
            assert (await grace.delete(f"/admin/api/tables/tasks/{every}")).status_code == 405
        assert (await ada.get("/api/tasks")).json() == {"data": [task]}

    @pytest.mark.parametrize("table", sorted({*VIEWS} - {"tasks", "staff"}))
    async def test_what_comes_into_being_elsewhere_is_not_made_by_hand(self, grace: Desk, table: str) -> None:
        form = (await grace.get(f"/admin/api/tables/{table}/new/")).json()
        answer = await grace.post(f"/admin/api/tables/{table}/", json=form)
        message = "Rows of this table are not made, changed or deleted in that way here."
        assert told(answer) == (405, {"error": {"code": "METHOD_NOT_ALLOWED", "message": message}})

    async def test_a_user_is_deleted_with_all_tasks(self, grace: Desk, ada: httpx.AsyncClient, task: Any) -> None:
        assert (await grace.delete(f"/admin/api/tables/user/{key('ada')}/")).status_code == 204
        assert (await ada.get("/api/tasks")).json() == {"data": []}

    async def test_what_a_deletion_leaves_is_removed_immediately(
        self, grace: Desk, task: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        woken: list[str] = []
        monkeypatch.setattr(cleanup, "wake", lambda: woken.append("woken"))
        for path in (f"tasks/{task['id']}", f"user/{key('ada')}"):
            assert (await grace.get(f"/admin/api/tables/{path}/")).status_code == 200
            assert woken == []
            assert (await grace.delete(f"/admin/api/tables/{path}/")).status_code == 204
            assert woken == ["woken"]
            woken.clear()


class TestPeople:
    """Logins, personal tokens, failed logins, and the logins of staff."""

    @pytest.fixture
    async def owned(self, grace: Desk, task: Any, sql: asyncpg.Connection) -> None:
        """A login, a personal token and a failed login of Ada's."""
        stamps = "now(), now(), now() + interval '1 day'"
        await sql.execute(
            "INSERT INTO login_sessions (id, user_id, family_hash, token_hash, user_agent, created_at, last_used_at,"
            f" expires_at) VALUES ('l/1', 'ada', '\\x0102aabb', '\\x0304ccdd', 'Firefox', {stamps})"
        )
        await sql.execute(
            "INSERT INTO personal_access_tokens (id, user_id, name, scope, token_hash, created_at, last_used_at,"
            f" expires_at) VALUES ('t/1', 'ada', 'backup', 'read', '\\x0506eeff', {stamps})"
        )
        await sql.execute("INSERT INTO rate_limits VALUES ('ada@example.com', 5, now(), now(), now())")

    TABLES = (("logins", "l/1"), ("personal_tokens", "t/1"), ("failed_logins", "ada@example.com"))

    @pytest.mark.slow
    async def test_they_are_looked_at_and_ended_and_no_hash_is_shown(
        self, grace: Desk, owned: None, sql: asyncpg.Connection
    ) -> None:
        for table, row_id in self.TABLES:
            path = f"/admin/api/tables/{table}/{key(row_id)}/"
            for each in (path, f"{path}?__readable=true", f"/admin/api/tables/{table}/"):
                answer = await grace.get(each)
                assert answer.status_code == 200, answer.text
                assert not re.search("hash|0102aabb|0304ccdd|0506eeff", answer.text)
            for column in ("token_hash", "family_hash", "previous_hash"):
                for query in (f"{column}=x", f"__visible_fields={column}", f"user_id.{column}=x"):
                    assert (await grace.get(f"/admin/api/tables/{table}/?{query}")).status_code == 400
            assert (await grace.patch(path, json={"name": "x"})).status_code == 405
            assert (await grace.delete(path)).status_code == 204
            assert (await grace.delete(path)).status_code == 404
        assert (
            await sql.fetchval(
                "SELECT (SELECT count(*) FROM login_sessions) + (SELECT count(*) FROM personal_access_tokens)"
                " + (SELECT count(*) FROM rate_limits WHERE email = 'ada@example.com')"
            )
            == 0
        )

    async def test_the_tables_that_are_an_owners_lead_back_from_the_user(self, grace: Desk, owned: None) -> None:
        references = (await grace.get("/admin/api/tables/user/references/")).json()["references"]
        tables = ["history", "label_history", "labels", "list_history", "lists", "logins", "personal_tokens", "tasks"]
        tables.append("trash")
        assert sorted(each["tableName"] for each in references) == tables
        for table in tables:
            rows = (await grace.get(f"/admin/api/tables/{table}/?user_id=ada&__readable=true")).json()["rows"]
            assert [row["user_id_readable"] for row in rows] == ["Ada <ada@example.com> (ada)"] * (
                1 if table in ("logins", "personal_tokens", "tasks") else 0
            )

    @pytest.mark.slow
    async def test_a_login_of_staff_is_made_changed_and_removed(self, grace: Desk, running: Litestar) -> None:
        table, new = "/admin/api/tables/staff/", {"username": "ken", "new_password": PASSWORD, "active": True}
        for body, field, message in (
            ({"new_password": "1234567"}, "password", "A password has 8 to 1024 characters"),
            ({"new_password": None}, "password", "A password has 8 to 1024 characters"),
            ({"new_password": "pbkdf2_sha256$x"}, "password", "A password does not begin with pbkdf2_sha256"),
            ({"username": "grace"}, "username", "There is a login of that name already"),
            ({"username": " "}, "username", "A username has 1 to 100 characters, and is not blank"),
        ):
            assert told(await grace.post(table, json={**new, **body})) == refused(field, message)
        idle = await grace.post(table, json={**new, "username": "ivan", "active": False})
        assert (await grace.get(f"{table}{idle.json()[0]['id']}/")).json()["active"] is False
        assert (await grace.delete(f"{table}{idle.json()[0]['id']}/")).status_code == 204
        made = await grace.post(table, json=new)
        assert made.status_code == 201
        path = f"{table}{made.json()[0]['id']}/"

        async with Desk(running) as ken:
            await ken.open()
            assert (await ken.log_in("ken")).status_code == 200
            assert (await ken.get("/admin/api/user/")).status_code == 200
            for body in ({"new_password": "another one"}, {"active": False}):
                assert (await grace.patch(path, json=body)).status_code == 200
                assert told(await ken.get("/admin/api/user/")) == NO_ENTRY
                assert (await grace.patch(path, json={"username": "ken t", "active": True})).status_code == 200
                assert (await ken.log_in("ken t", "another one")).status_code == 200
                assert (await ken.get("/admin/api/user/")).status_code == 200
            for body, field in (({"new_password": "short"}, "password"), ({"username": "grace"}, "username")):
                refusal = await grace.patch(path, json={"active": False, **body})
                assert (refusal.status_code, refusal.json()["error"]["fields"][0]["field"]) == (422, field)
            assert (await ken.get("/admin/api/user/")).status_code == 200, "nothing of it is kept"
            assert (await grace.delete(path)).status_code == 204
            assert told(await ken.get("/admin/api/user/")) == NO_ENTRY
            assert (await ken.log_in("ken t", "another one")).status_code == 401
        assert (await grace.get(path)).status_code == 404

    @pytest.mark.slow
    async def test_nobody_changes_their_own_login_there_and_only_a_superuser_anybodys(
        self, grace: Desk, running: Litestar
    ) -> None:
        rows = (await grace.get("/admin/api/tables/staff/")).json()["rows"]
        ids = {row["username"]: row["id"] for row in rows}
        assert {row["username"]: row["active"] for row in rows if row["username"] in ("grace", "henry", "iris")} == {
            "grace": True,
            "henry": False,
            "iris": False,
        }
        mine, joans = (f"/admin/api/tables/staff/{ids[name]}/" for name in ("grace", "joan"))
        own = "Your own login is changed by another member of staff, and your password in the menu."
        for answer in (await grace.patch(mine, json={"active": False}), await grace.delete(mine)):
            assert told(answer) == (403, {"error": {"code": "FORBIDDEN", "message": own}})
        async with Desk(running) as joan:
            await joan.open()
            await joan.log_in("joan")
            for path in (mine, joans):
                assert (await joan.get(path)).status_code == 200
                for answer in (await joan.patch(path, json={"active": False}), await joan.delete(path)):
                    only = "Only a superuser changes the logins of staff."
                    assert told(answer) == in_piccolos_words(403, "FORBIDDEN", only)


class TestNonsense:
    @pytest.mark.parametrize(
        "path",
        [
            "tables/tasks/99999999999999999999/",
            "tables/tasks/-99999999999999999999/",
            "tables/user/~AA/",
            "tables/tasks/?__order=bogus",
            "tables/tasks/?__order=-user_id.name",
            "tables/tasks/?title=%00",
            "tables/tasks/?__page_size=-1",
            "tables/tasks/?__page=999999999999999999999999",
            "tables/tasks/ids/?limit=-1",
            "tables/tasks/ids/?offset=-1&limit=1",
            "tables/tasks/ids/?search=%00",
        ],
    )
    async def test_a_value_that_cannot_be_is_422(self, grace: Desk, path: str) -> None:
        assert told(await grace.get(f"/admin/api/{path}")) == NOT_TAKEN

    @pytest.mark.parametrize(
        ("path", "status"),
        [
            ("tables/tasks/%00/", 400),
            ("tables/user/ada/", 400),
            ("tables/user/%00/", 400),
            ("tables/user/~/", 400),
            ("tables/user/~%2F/", 400),
            ("tables/user/~gICA/", 400),
            ("tables/user/~A/", 400),
            ("tables/tasks/abc/", 400),
            ("tables/tasks/7777/", 404),
            ("tables/tasks/?nope=1", 400),
            ("tables/tasks/?id=abc", 422),
            ("tables/tasks/?__page=x", 422),
            ("tables/tasks/?__page_size=1001", 403),
            ("tables/tasks/?__visible_fields=bogus", 400),
            ("tables/tasks/?title__operator=bogus", 400),
            ("tables/nothing/", 404),
            ("%ff/", 404),
            ("../assets/%00", 404),
            ("../assets/..%2f..%2f__init__.py", 404),
            ("../public/translations/%00/", 404),
        ],
    )
    async def test_other_nonsense_is_refused_in_the_envelope_of_every_failure(
        self, grace: Desk, path: str, status: int
    ) -> None:
        answer = await grace.get(f"/admin/api/{path}")
        codes = {400: "BAD_REQUEST", 403: "FORBIDDEN", 404: "NOT_FOUND", 422: "VALIDATION_ERROR"}
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (status, codes[status])
        assert error.keys() == {"code", "message", *(["fields"] if status == 422 else [])}
        assert re.fullmatch(r"[^\n]{5,200}", error["message"])
        assert answer.headers["content-type"] == "application/json"
        assert int(answer.headers["content-length"]) == len(answer.content)

    @pytest.mark.parametrize(
        ("body", "expected"),
        [
            (b"{", (400, NO_JSON)),
            (b'{"title": "\xff"}', (400, NO_JSON)),
            (b'{"title": "\\ud800"}', (400, NO_JSON)),
            (b"[" * 100_000, (400, NO_JSON)),
            (b"[]", refused("body", "The body must be a JSON object")),
            (b'{"title": "a\\u0000b"}', refused("title", "Title must not contain the character U+0000")),
            (b'{"title": " "}', refused("title", "Title is required")),
            (b'{"__dict__": 1}', NOT_TAKEN),
            (b'{"__class__": 1}', refused("value", "None of these fields can be changed here")),
            (b"{}", refused("value", "Nothing was changed")),
            (
                b" " * (MAX_BODY_BYTES + 1),
                (413, {"error": {"code": "PAYLOAD_TOO_LARGE", "message": "The body is larger than 1 MiB."}}),
            ),
        ],
    )
    async def test_a_body_that_cannot_be_is_4xx(self, grace: Desk, task: Any, body: bytes, expected: Any) -> None:
        async def chunks() -> AsyncIterator[bytes]:
            for at in range(0, len(body), 65_536):
                yield body[at : at + 65_536]

        path, headers = f"/admin/api/tables/tasks/{task['id']}/", {"content-type": "application/json"}
        assert told(await grace.patch(path, content=body, headers=headers)) == expected
        assert told(await grace.patch(path, content=chunks(), headers=headers)) == expected

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            ({"nope": 1}, 400),
            ({"title": 5}, 422),
            ({"title": None}, 422),
            ({"title": " "}, 422),
            ({"title": "x" * 501}, 422),
            ({"completed": "perhaps"}, 422),
        ],
    )
    async def test_what_a_task_cannot_be_is_not_saved(self, grace: Desk, task: Any, body: Any, status: int) -> None:
        path = f"/admin/api/tables/tasks/{task['id']}/"
        assert (await grace.patch(path, json=body)).status_code == status
        assert (await grace.get(path)).json()["title"] == "Buy milk"

    async def test_a_number_that_its_column_cannot_hold_is_422(self, grace: Desk) -> None:
        assert told(await grace.get(f"/admin/api/tables/failed_logins/?failed_attempts={10**12}")) == NOT_TAKEN

    async def test_a_body_that_is_no_json_is_415(self, grace: Desk) -> None:
        answer = await grace.post("/admin/public/login/", data={"username": "grace", "password": PASSWORD})
        assert (answer.status_code, answer.json()["error"]["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")

    async def test_nothing_of_a_row_gets_into_the_log(
        self, grace: Desk, ada: httpx.AsyncClient, bob: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
    ) -> None:
        for client in (ada, bob):
            await client.post("/api/tasks", json={"title": "x"})
        taken = await grace.patch(f"/admin/api/tables/user/{key('bob')}/", json={"email": "ada@example.com"})
        assert taken.status_code == 422
        assert told(await grace.patch(f"/admin/api/tables/user/{key('bob')}/", json={"name": "hush\0"})) == NOT_TAKEN

        assert "ada@example.com" not in caplog.text
        assert "hush" not in caplog.text
        assert "The admin could not take a value: CharacterNotInRepertoireError" in caplog.text


async def nothing_to_read() -> Any:
    raise AssertionError


class TestAnswersOfPiccolos:
    """What would be told in the words of others."""

    async def test_a_text_of_the_databases_is_a_sentence(self) -> None:
        for text, sentence in (
            (b"unique constraint", "Another row has one of these values already"),
            (b"deadlock detected", "One of the values cannot be taken"),
        ):
            with pytest.raises(Invalid) as refusal:
                enveloped(422, b'{"db_error":"%b"}' % text)
            assert refusal.value.message == sentence

    @pytest.mark.parametrize(
        ("status", "body", "field", "message"),
        [
            (400, b"The ID is invalid", None, "The ID is invalid"),
            (
                400,
                b"1 validation error for TaskRowIn\ncompleted\n  Input should be a valid boolean [type=bool_parsing, "
                b"input_value='x', input_type=str]\n    For further information visit https://errors.pydantic.dev/",
                None,
                "completed: Input should be a valid boolean",
            ),
            (400, b"Traceback\nof somebody's", None, "The request could not be read."),
            (403, b"x" * 201, None, "This is not allowed."),
            (404, b"", None, "There is nothing here."),
            (405, b"[]", None, "This method is not allowed here."),
            (429, b'{"detail": []}', None, "The request could not be read."),
            (422, b'{"detail": [{"loc": ["query", "x"], "msg": "Not a number"}]}', "x", "x: Not a number"),
            (422, b'{"detail": [{"msg": "Not a number"}]}', "value", "value: Not a number"),
            (422, b'"\xff"', "value", '"\ufffd"'),
        ],
    )
    async def test_a_refusal_is_a_sentence(self, status: int, body: bytes, field: str | None, message: str) -> None:
        error = msgspec.json.decode(enveloped(status, body))["error"]
        assert error["message"] == message
        assert error.get("fields") == ([{"field": field, "message": message}] if field else None)

    async def test_a_crash_is_not_answered_by_piccolo(self) -> None:
        async def crash(_scope: Any, _receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"Unable to save the resource."})

        with pytest.raises(ValueError, match="does not fit"):
            await answer_of(crash, {"method": "POST", "path": "/api/tables/tasks/"}, nothing_to_read)


async def test_staff_see_lists_and_what_is_in_them_and_move_nothing(grace: Desk, ada: httpx.AsyncClient) -> None:
    lists = (await ada.post("/api/lists", json={"name": "Groceries", "color": "#1e90ff"})).json()["data"]
    task = (await ada.post("/api/tasks", json={"title": "x", "list_id": lists["id"]})).json()["data"]
    [row] = (await grace.get("/admin/api/tables/lists/")).json()["rows"]
    assert (row["name"], row["color"], row["tasks"]) == ("Groceries", "#1e90ff", 1)
    [row] = (await grace.get(f"/admin/api/tables/tasks/?list_id={lists['id']}")).json()["rows"]
    assert (row["id"], row["list_id"]) == (task["id"], lists["id"])
    path = f"/admin/api/tables/tasks/{task['id']}/"
    refused_so = told(await grace.patch(path, json={"list_id": None}))
    assert "list_id cannot be changed here" in str(refused_so)
    assert (await grace.patch(path, json={"title": "y", "list_id": lists["id"]})).status_code == 200
    assert (await grace.delete(f"/admin/api/tables/lists/{lists['id']}/")).status_code == 405
    new = {"user_id": "ada", "title": "z", "completed": False, "list_id": 99}
    answer = await grace.post("/admin/api/tables/tasks/", json=new)
    assert answer.status_code == 201, answer.text
    assert [each["list_id"] for each in (await ada.get("/api/tasks")).json()["data"]] == [None, lists["id"]]
    assert (await ada.get(f"/api/tasks/{task['id']}/history")).json()["data"][0]["by"]["kind"] == "staff"
