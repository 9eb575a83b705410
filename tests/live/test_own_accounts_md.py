"""The page of docs/own-accounts.md, in three tabs of one Chromium."""

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, Page, Request, Route

from app.config.settings import ROOT
from tests.accounts.people import PASSWORD
from tests.live.test_browser import frontend

pytestmark = pytest.mark.slow

TABS = 3
CALLS = 4  # of each tab at the same moment


def scripts() -> dict[str, str]:
    """The page's script, as it keeps the login in each of the two ways."""
    text = (ROOT / "docs/own-accounts.md").read_text()
    page, _, in_memory = re.findall(r"^```js\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    kept, rest = page.split("const ask = ")
    assert kept.startswith("const kept = ")
    both = {"localStorage": page, "memory": f"{in_memory}\nconst ask = {rest}"}
    # A busy machine may take longer than a network.
    return {way: script.replace("timeout(6000)", "timeout(20000)") for way, script in both.items()}


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with frontend("localhost") as origin:
        yield origin


@pytest.fixture(scope="module")
def url(serve_for_module: Callable[..., Any], origin: str) -> str:
    return serve_for_module(workers=2, env={"FRONTEND_URL": origin}).url


@pytest.fixture
async def context(chromium: Browser) -> AsyncIterator[BrowserContext]:
    context = await chromium.new_context()
    yield context
    await context.close()


class Tabs:
    """Some tabs of one browser, with one login, and how often they have refreshed it."""

    def __init__(self, context: BrowserContext, script: str) -> None:
        self.context, self.script = context, script
        self.pages: list[Page] = []
        self.refreshes = 0
        context.on("request", self._count)

    def _count(self, request: Request) -> None:
        self.refreshes += request.method == "POST" and request.url.endswith("/auth/refresh")

    async def open(self, origin: str) -> Page:
        page = await self.context.new_page()
        await page.goto(origin)
        await page.add_script_tag(content=self.script)
        self.pages.append(page)
        return page

    async def expire(self) -> None:
        """Let the access token be one that is not valid any more, in all of them."""
        stale = await self.pages[0].evaluate("keep({...kept(), token: `x${Math.random()}`}).token")
        for page in self.pages:
            await page.wait_for_function("token => kept()?.token === token", arg=stale)

    async def all_call(self) -> list[int]:
        """Let each of them ask for the tasks, all at the same moment. Returns how many each answer had."""
        calls = f"Promise.all(Array.from({{length: {CALLS}}}, () => api('/tasks')))"
        told = await asyncio.gather(
            *(page.evaluate(f"{calls}.then((all) => all.map((one) => one.length))") for page in self.pages)
        )
        return [number for numbers in told for number in numbers]


@pytest.mark.parametrize("way", ["localStorage", "memory"])
async def test_tabs_share_a_login_refresh_it_together_and_survive_a_lost_answer(
    context: BrowserContext, url: str, origin: str, way: str
) -> None:
    tabs = Tabs(context, scripts()[way].replace("http://localhost:8000", url))
    ada = {"email": f"{secrets.token_hex(8)}@example.com", "password": PASSWORD}
    async with httpx.AsyncClient(base_url=f"{url}/api") as client:
        assert (await client.post("/auth/signup", json={"name": "Ada", **ada})).status_code == 201

        first = await tabs.open(origin)
        await first.evaluate("({email, password}) => logIn(email, password)", ada)
        await first.evaluate("api('/tasks', {title: 'Buy milk'})")
        for _ in range(TABS - 1):
            page = await tabs.open(origin)
            await page.wait_for_function("kept() !== null")

        for _ in range(5):
            tabs.refreshes = 0
            await tabs.expire()
            assert await tabs.all_call() == [1] * TABS * CALLS
            # One as a rule. What another tab has kept may reach a process of the browser after the lock does.
            assert 1 <= tabs.refreshes <= TABS

        lost: list[int] = []

        async def lose(route: Route) -> None:
            if lost:
                await route.continue_()
            else:
                lost.append((await route.fetch()).status)
                await route.abort()

        await context.route("**/auth/refresh", lose)
        await tabs.expire()
        assert await tabs.all_call() == [1] * TABS * CALLS
        assert lost == [200]

        before = await first.evaluate("kept().refresh_token")
        for _ in range(6):
            await client.post("/auth/login", json={**ada, "password": "a guess"})
        assert (await client.post("/auth/login", json=ada)).status_code == 429
        await first.evaluate("({email, password}) => logIn(email, password)", ada)
        assert (await first.evaluate("kept().refresh_token"))[:26] != before[:26]


async def test_a_login_that_has_ended_is_told_to_the_page(context: BrowserContext, url: str, origin: str) -> None:
    tabs = Tabs(context, scripts()["localStorage"].replace("http://localhost:8000", url))
    async with httpx.AsyncClient(base_url=f"{url}/api") as client:
        ada = {"name": "Ada", "email": f"{secrets.token_hex(8)}@example.com", "password": PASSWORD}
        login = (await client.post("/auth/signup", json=ada)).json()["data"]
        page = await tabs.open(origin)
        await page.evaluate("keep", login)
        await client.post("/auth/logout", headers={"authorization": f"Bearer {login['token']}"})
    await asyncio.sleep(1.1)
    for _ in range(2):  # the second time there is no login any more
        assert await page.evaluate("api('/tasks').catch((error) => error.code)") == "UNAUTHORIZED"
        assert await page.evaluate("kept()") is None
