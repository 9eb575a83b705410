"""What people and frontends do in a browser, done by Chromium: the admin, the docs page, and fetch from another origin.

With SCREENSHOTS naming a folder, pictures of the admin and the docs page are left there.
"""

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from litestar import Litestar
from playwright.async_api import Browser, Page, expect

from app.admin.staff import Staff
from tests.conftest import token
from tests.live.chromium import TIMEOUT_MS

PASSWORD = "correct horse battery"
SAMPLES = {
    "ada": ["Renew passport", "Buy milk", "Call the plumber", "Write to Charles"],
    "bob": ["Book a train", "Water the plants"],
}
DONE = ("Call the plumber", "Water the plants")

# A frontend's code, by somebody who has read the contract and nothing else.
FRONTEND = """<!doctype html>
<meta charset="utf-8"><link rel="icon" href="data:,"><title>A frontend</title>
<script>
async function send(api, token, method, path, body) {
  const headers = {};
  if (token) headers["Authorization"] = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(api + path, {method, headers, body: body && JSON.stringify(body)});
  const text = await answer.text();
  return {
    status: answer.status,
    body: text ? JSON.parse(text) : null,
    location: answer.headers.get("Location"),
    requestId: answer.headers.get("X-Request-ID"),
    challenge: answer.headers.get("WWW-Authenticate"),
  };
}
async function tour(api, token) {
  const created = await send(api, token, "POST", "/api/tasks/", {title: " Buy milk "});
  const path = created.location;
  return {
    created,
    listed: await send(api, token, "GET", "/api/tasks/"),
    edited: await send(api, token, "PUT", path, {...created.body.data, title: "Buy oats", description: "Two"}),
    completed: await send(api, token, "PATCH", `${path}/complete`),
    read: await send(api, token, "GET", path),
    deleted: await send(api, token, "DELETE", path),
    gone: await send(api, token, "GET", path),
    invalid: await send(api, token, "POST", "/api/tasks", {title: " "}),
    unknown: await send(api, null, "GET", "/api/tasks"),
    lost: await send(api, token, "GET", "/api/nothing"),
  };
}
async function refusals(api, token) {
  const attempts = {
    simple: () => fetch(`${api}/health/live`),
    simplePost: () => fetch(`${api}/api/tasks`, {method: "POST", body: "title"}),
    withCookies: () => fetch(`${api}/health/live`, {credentials: "include"}),
    preflighted: () => send(api, token, "GET", "/api/tasks"),
    preflightedPost: () => send(api, token, "POST", "/api/tasks", {title: "not from here"}),
  };
  const results = {};
  for (const [name, attempt] of Object.entries(attempts)) {
    results[name] = await attempt().then((answer) => answer.status, (error) => error.name);
  }
  return results;
}
</script>
"""


class Frontend(BaseHTTPRequestHandler):
    """Answers everything with the frontend's page."""

    def do_GET(self) -> None:
        body = FRONTEND.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def frontend(host: str) -> Iterator[str]:
    """The origin of a running frontend, reached under this name."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Frontend) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://{host}:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """The frontend whose origin is allowed."""
    with frontend("localhost") as origin:
        yield origin


@pytest.fixture(scope="module")
def stranger() -> Iterator[str]:
    """The same page at an origin that is not."""
    with frontend("127.0.0.1") as origin:
        yield origin


@pytest.fixture(scope="module")
def url(serve_for_module: Callable[..., Any], origin: str) -> str:
    """Where the service is."""
    return serve_for_module(env={"FRONTEND_URL": origin}).url


class Visit:
    """One page in a browser of its own, and what it asked for and complained of."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.asked: set[str] = set()
        self.crashes: list[str] = []
        page.set_default_timeout(TIMEOUT_MS)
        page.on("request", lambda request: self.asked.add(request.url))
        page.on("pageerror", lambda error: self.crashes.append(str(error)))

    def origins(self) -> set[str]:
        """Where the page's requests went."""
        addresses = [urlsplit(url) for url in self.asked if not url.startswith("data:")]
        return {f"{address.scheme}://{address.netloc}" for address in addresses}


@pytest.fixture
async def visit(chromium: Browser) -> AsyncIterator[Visit]:
    context = await chromium.new_context(viewport={"width": 1280, "height": 800}, locale="en-US", timezone_id="UTC")
    yield Visit(await context.new_page())
    await context.close()


async def picture(page: Page, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        await page.screenshot(path=Path(folder) / f"{name}.png")


async def call(url: str, user: str, method: str, path: str, **body: Any) -> Any:
    headers = {"authorization": f"Bearer {token(user, name=user.title(), email=f'{user}@example.com')}"}
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        answer = await client.request(method, path, json=body or None)
        assert answer.status_code < 300, answer.text
        return answer.json()["data"]


@pytest.mark.slow
async def test_staff_log_in_find_a_task_change_it_and_log_out(
    visit: Visit, url: str, running: Litestar, clean: None
) -> None:
    await Staff.create_user("margaret", PASSWORD, email="margaret@x", active=True, admin=True, superuser=True)
    for user, titles in SAMPLES.items():
        for title in titles:
            task = await call(url, user, "POST", "/api/tasks", title=title)
            if title in DONE:
                await call(url, user, "PATCH", f"/api/tasks/{task['id']}/complete")
    before = next(task for task in await call(url, "ada", "GET", "/api/tasks") if task["title"] == "Buy milk")
    page = visit.page

    await page.goto(f"{url}/admin")
    await page.locator("input[name=username]").fill("margaret")
    await page.locator("input[name=password]").fill(PASSWORD)
    await page.get_by_role("button", name="Login").click()
    await expect(page.get_by_text("margaret")).to_be_visible()

    await page.get_by_role("link", name="tasks", exact=True).click()
    await expect(page.get_by_text("Showing 6 of 6 result")).to_be_visible()
    await expect(page.get_by_role("row").nth(1)).to_contain_text("Water the plants")
    await picture(page, "admin")

    await page.get_by_role("row").filter(has_text="Buy milk").get_by_role("link").first.click()
    await expect(page.locator("input[name=title]")).to_have_value("Buy milk")
    await page.locator("input[name=title]").fill("Buy oats")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Successfully saved row")).to_be_visible()

    after = await call(url, "ada", "GET", f"/api/tasks/{before['id']}")
    latest = max(task["version"] for task in await call(url, "ada", "GET", "/api/tasks"))
    assert after == {**before, "title": "Buy oats", "updated_at": after["updated_at"], "version": latest}
    assert latest > before["version"]
    assert after["updated_at"] > before["updated_at"]

    page.once("dialog", lambda dialog: dialog.accept())
    await page.get_by_text("margaret").click()
    await page.get_by_text("Log out").click()
    await expect(page.locator("input[name=username]")).to_be_visible()
    status = await page.evaluate("fetch('./api/user/').then((answer) => answer.status)")
    assert (status, visit.crashes, visit.origins()) == (401, [], {url})


def test_behind_a_proxy_that_speaks_https_the_admins_cookies_stay_on_https(url: str) -> None:
    cookies = [
        httpx.get(f"{url}/admin/", headers={"x-forwarded-proto": scheme}).headers["set-cookie"]
        for scheme in ("https", "http")
    ]
    assert [cookie.endswith("; Secure") for cookie in cookies] == [True, False]


async def test_a_browser_finds_a_small_page_at_the_root_that_leads_to_the_docs(visit: Visit, url: str) -> None:
    page, complaints = visit.page, []
    page.on("console", lambda message: complaints.append(message.text))
    await page.goto(url)
    await expect(page.get_by_role("heading", name="Tasks API")).to_be_visible()
    assert await page.locator("body").evaluate("body => getComputedStyle(body).maxWidth") == "512px"
    await picture(page, "home")
    await page.get_by_role("link", name="Documentation").click()
    await page.wait_for_url(f"{url}/docs")
    assert (complaints, visit.crashes, visit.origins()) == ([], [], {url})


@pytest.mark.slow
async def test_the_docs_page_shows_the_api_and_tries_it_out(visit: Visit, url: str, clean: None) -> None:
    await call(url, "ada", "POST", "/api/tasks", title="Buy milk")
    page = visit.page

    await page.goto(f"{url}/docs")
    async with httpx.AsyncClient() as client:
        document = (await client.get(f"{url}/openapi.json")).json()
    await expect(page.locator(".opblock")).to_have_count(sum(map(len, document["paths"].values())))
    await picture(page, "docs")

    await page.get_by_role("button", name="Authorize").click()
    await page.locator(".auth-container input").fill(token("ada"))
    await page.locator(".auth-btn-wrapper").get_by_role("button", name="Apply credentials").click()
    await page.locator(".auth-btn-wrapper").get_by_role("button", name="Close").click()

    operation = page.locator("#operations-Tasks-listTasks")
    await operation.locator(".opblock-summary-control").click()
    await operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table tbody .response").first
    await expect(answer.locator(".response-col_status")).to_have_text("200")
    await expect(answer).to_contain_text('"title": "Buy milk"')
    documented = operation.locator(".responses-table:not(.live-responses-table) tr.response")
    codes = await documented.evaluate_all("rows => rows.map((row) => row.dataset.code)")
    assert codes == ["200", "304", "401", "422"]  # what nearly every request can end with is told once, at the top
    await expect(page.locator(".info table code")).to_have_count(8)
    await expect(page.locator(".info table")).to_contain_text("SERVICE_UNAVAILABLE")
    titles = page.locator(".opblock-tag a span")
    assert await titles.all_inner_texts() == [tag["name"] for tag in document["tags"]]
    first = page.locator(".opblock-summary-path")
    assert (await first.all_inner_texts())[:2] == ["/api/auth/signup", "/api/auth/login"]
    assert (visit.crashes, visit.origins()) == ([], {url})


@pytest.mark.slow
@pytest.mark.parametrize("root", ["", "/todo"])
async def test_on_the_docs_page_somebody_signs_up_logs_in_and_tries_the_tasks(
    visit: Visit, serve: Callable[..., Any], clean: None, root: str
) -> None:
    page = visit.page
    service = await asyncio.to_thread(serve, env={"ROOT_PATH": root})
    url = service.url + root

    async def execute(tag: str, operation: str, body: dict[str, str] | None, status: str) -> str:
        block = page.locator(f"#operations-{tag}-{operation}")
        await block.locator(".opblock-summary-control").click()
        if body is not None:
            await block.locator("textarea.body-param__text").fill(json.dumps(body))
        await block.get_by_role("button", name="Execute").click()
        answer = block.locator(".live-responses-table tbody .response").first
        await expect(answer.locator(".response-col_status")).to_contain_text(status)
        return await answer.inner_text()

    await page.goto(f"{url}/docs")
    await execute("Tasks", "listTasks", None, "401")
    joan = {"email": "joan@example.com", "password": "correct horse"}
    await execute("Login", "signUp", {"name": "Joan", **joan}, "201")
    await execute("Tasks", "createTask", {"title": "Buy milk"}, "201")
    await page.reload()
    assert '"title": "Buy milk"' in await execute("Tasks", "listTasks", None, "200")
    await execute("Login", "logOut", None, "204")
    assert await page.evaluate("Object.values(localStorage)") == ["{}"]
    await execute("Accounts", "getMe", None, "401")
    await page.goto(f"{url}/docs?again")
    await execute("Accounts", "getMe", None, "401")
    await execute("Login", "logIn", joan, "200")
    assert '"title": "Buy milk"' in await execute("Tasks", "listTasks", None, "200")
    await picture(page, "docs-signed-in")
    assert (visit.crashes, visit.origins()) == ([], {service.url})
    assert [asked for asked in visit.asked if not asked.startswith(("data:", f"{url}/"))] == []


@pytest.mark.slow
async def test_the_docs_page_refreshes_a_login_that_ends_and_ends_what_was_refused(
    visit: Visit, serve: Callable[..., Any], clean: None
) -> None:
    service = serve(env={"LOG_LEVEL": "debug"})
    page = visit.page
    refreshed = 0

    def count(request: Any) -> None:
        nonlocal refreshed
        refreshed += request.url.endswith("/api/auth/refresh")

    page.on("request", count)
    kept = "JSON.parse(localStorage.getItem('tasks-login'))"

    async def execute(operation: str, status: str) -> None:
        block = page.locator(f"#operations-{operation}")
        await block.locator(".opblock-summary-control").click()
        await block.get_by_role("button", name="Execute").click()
        answer = block.locator(".live-responses-table tbody .response").first
        await expect(answer.locator(".response-col_status")).to_contain_text(status)

    async def age(**other: str) -> None:
        """The login is about to end."""
        login = {**await page.evaluate(kept), "until": 0, **other}
        await page.evaluate("login => localStorage.setItem('tasks-login', JSON.stringify(login))", login)

    await page.goto(f"{service.url}/docs")
    await execute("Login-signUp", "201")  # by its example
    first = await page.evaluate(kept)
    await age()
    async with page.expect_response("**/api/auth/refresh"):
        await page.reload()
    await page.wait_for_function(f"{kept}.until > 0")
    second = await page.evaluate(kept)
    assert second["refresh_token"] != first["refresh_token"]
    await age()
    await execute("Accounts-getMe", "200")  # before this one
    assert (await page.evaluate(kept))["refresh_token"] != second["refresh_token"]
    assert refreshed == 2

    await age(refresh_token="tsr_nothing")
    await execute("Tasks-listTasks", "200")  # with the token of before, which is good for a while
    assert await page.evaluate("Object.values(localStorage)") == ["{}"]
    assert (visit.crashes, visit.origins(), refreshed) == ([], {service.url}, 3)
    assert not [line for line in service.log() if "tsr_" in line or "eyJ" in line or "correct horse" in line]


async def test_a_frontend_at_an_allowed_origin_does_all_that_the_contract_says(
    visit: Visit, url: str, origin: str, clean: None
) -> None:
    await visit.page.goto(origin)
    results = await visit.page.evaluate("([api, token]) => tour(api, token)", [url, token("ada")])

    statuses = {name: result["status"] for name, result in results.items()}
    assert statuses == {
        "created": 201,
        "listed": 200,
        "edited": 200,
        "completed": 200,
        "read": 200,
        "deleted": 204,
        "gone": 404,
        "invalid": 422,
        "unknown": 401,
        "lost": 404,
    }
    created, edited, completed = (results[name]["body"]["data"] for name in ("created", "edited", "completed"))
    assert results["created"]["location"] == f"/api/tasks/{created['id']}"
    assert (created["title"], created["completed"]) == ("Buy milk", False)
    assert results["listed"]["body"] == {"data": [created]}
    assert (edited["title"], edited["description"], edited["completed"]) == ("Buy oats", "Two", False)
    assert completed == {
        **edited,
        "completed": True,
        "completed_at": completed["updated_at"],
        "updated_at": completed["updated_at"],
        "version": 3,
    }
    assert created["updated_at"] < edited["updated_at"] < completed["updated_at"]
    assert results["read"]["body"] == {"data": completed}
    assert results["deleted"]["body"] is None
    assert results["gone"]["body"] == {"error": {"code": "NOT_FOUND", "message": "There is no such task."}}
    assert results["invalid"]["body"]["error"]["fields"] == [{"field": "title", "message": "Title is required"}]
    assert results["unknown"]["body"]["error"]["code"] == "UNAUTHORIZED"
    assert results["unknown"]["challenge"] == "Bearer"
    assert results["lost"]["body"] == {"error": {"code": "NOT_FOUND", "message": "There is nothing here."}}
    ids = [result["requestId"] for result in results.values()]
    assert all(ids)
    assert len(set(ids)) == len(ids)


async def test_the_headers_of_tracing_pass_and_those_of_answers_can_be_read(
    visit: Visit, url: str, origin: str, clean: None
) -> None:
    await visit.page.goto(origin)
    read = await visit.page.evaluate(
        """async ([api, token]) => {
          const headers = {
            Authorization: `Bearer ${token}`,
            "Content-Type": "application/json",
            "Idempotency-Key": "one",
            Prefer: "return=minimal",
            baggage: "sentry-environment=production",
            "sentry-trace": "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-1",
            traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            tracestate: "a=b",
            "X-Requested-With": "XMLHttpRequest",
          };
          const body = JSON.stringify({operations: [{op: "create", data: {title: "x"}}]});
          const send = () => fetch(`${api}/api/tasks/batch`, {method: "POST", headers, body});
          await send();
          const answer = await send();
          const list = await fetch(`${api}/api/tasks`, {headers});
          return [answer.status, answer.headers.get("Preference-Applied"), answer.headers.get("Idempotent-Replayed"),
            list.status, list.headers.get("ETag") !== null];
        }""",
        [url, token("ada")],
    )
    assert read == [200, "return=minimal", "true", 200, True]


@pytest.mark.parametrize(("path", "field"), [("tasks", "title"), ("lists", "name")])
async def test_a_browser_shows_nobody_what_it_has_of_another_user_with_the_same_uid(
    visit: Visit, url: str, origin: str, clean: None, path: str, field: str
) -> None:
    """The two have the same version, and so the same entity tag, which a browser sends by itself."""
    there = f"/api/{path}/01936c1e-7c3a-7000-9b1d-0d9d6f1d2a11"
    for user in ("ada", "bob"):
        headers = {"authorization": f"Bearer {token(user)}", "if-none-match": "*"}
        async with httpx.AsyncClient(base_url=url, headers=headers) as client:
            assert (await client.put(there, json={field: f"of {user}"})).status_code == 201
    await visit.page.goto(origin)
    shown = await visit.page.evaluate(
        """async ([api, path, field, tokens]) => {
          const shown = [];
          for (const token of tokens) shown.push((await send(api, token, "GET", path)).body.data[field]);
          return shown;
        }""",
        [url, there, field, [token("ada"), token("bob"), token("ada")]],
    )
    assert shown == ["of ada", "of bob", "of ada"]


async def test_the_same_page_at_another_origin_is_refused_by_the_browser(
    visit: Visit, url: str, stranger: str, clean: None
) -> None:
    await visit.page.goto(stranger)
    results = await visit.page.evaluate("([api, token]) => refusals(api, token)", [url, token("ada")])

    assert results == dict.fromkeys(
        ("simple", "simplePost", "withCookies", "preflighted", "preflightedPost"), "TypeError"
    )
    assert await call(url, "ada", "GET", "/api/tasks") == []
