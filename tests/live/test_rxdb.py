"""Two browsers of one user, each with RxDB's replication from npm: they edit offline, come back, and are of one mind.

The page is `rxdb/page.mjs`; what RxDB wants of a server and our API says otherwise is in `rxdb/remote.mjs`.
"""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, Page

from tests.conftest import token
from tests.live.chromium import TIMEOUT_MS
from tests.live.tools import from_npm

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).with_name("rxdb")
BUILD = ("node_modules/.bin/esbuild", "page.mjs", "--bundle", "--outfile=page.js", "--log-level=warning")
WANTED = re.compile(r"^access-control-request-headers: (.*)\r$", re.MULTILINE | re.IGNORECASE)


class Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """Where the page is."""
    folder = from_npm(SOURCE, *BUILD)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def url(serve_for_module: Callable[..., Any], origin: str) -> str:
    """Where the service is, which lets the page in."""
    return serve_for_module(env={"FRONTEND_URL": origin}).url


class Way:
    """The way to the service, on which answers can get lost: it has done what was asked, and nobody is told."""

    def __init__(self, service: str) -> None:
        self.lose = 0  # so many answers to a POST of a task
        self.heads: list[str] = []  # of the requests, as they came
        self.statuses: list[int] = []  # of the answers that arrived
        self.url = ""
        self._service = urlsplit(service)

    async def connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, to_there = await asyncio.open_connection(self._service.hostname, self._service.port)
        ways = [self._ask(reader, to_there), self._answer(there, writer)]
        _, rest = await asyncio.wait([asyncio.create_task(way) for way in ways], return_when=asyncio.FIRST_COMPLETED)
        for way in rest:
            way.cancel()
        for end in (writer, to_there):
            end.close()

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            self.heads.append(data.decode())
            writer.write(data)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self.lose and data.startswith(b"HTTP/1.1 201"):
                self.lose -= 1
                return
            if data.startswith(b"HTTP/1.1 "):
                self.statuses.append(int(data[9:12]))
            writer.write(data)

    def wanted(self) -> set[str]:
        """The headers that preflights asked for."""
        found = [WANTED.search(head) for head in self.heads if head.startswith("OPTIONS")]
        return {name for each in found if each for name in each[1].split(",")}


@pytest.fixture
async def way(url: str) -> AsyncIterator[Way]:
    way = Way(url)
    server = await asyncio.start_server(way.connect, "127.0.0.1", 0)
    way.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield way
    server.close()


class Device:
    """One browser of the user, with a database of its own."""

    def __init__(self, context: BrowserContext, page: Page) -> None:
        self.context, self.page = context, page
        self.crashes: list[str] = []
        page.set_default_timeout(TIMEOUT_MS)
        page.on("pageerror", lambda error: self.crashes.append(str(error)))

    async def do(self, action: str, *arguments: Any) -> Any:
        """Call one of the page's functions."""
        call = self.page.evaluate("([action, given]) => window[action](...given)", [action, arguments])
        return await asyncio.wait_for(call, 10)

    async def offline(self, is_so: bool = True) -> None:
        await self.context.set_offline(is_so)


class Desk:
    """Whose tasks they are, on two devices."""

    def __init__(self, laptop: Device, phone: Device, client: httpx.AsyncClient) -> None:
        self.laptop, self.phone, self.api = laptop, phone, client

    async def come_together(self) -> list[dict[str, Any]]:
        """Let both find the network, and return what is there for all; both must show the same."""
        for device in (self.laptop, self.phone):
            await device.offline(False)
        for device in (self.laptop, self.phone, self.laptop, self.phone):
            await device.do("sync")
        there = (await self.api.get("/api/tasks?sort=title")).json()["data"]
        for device in (self.laptop, self.phone):
            shown = await device.do("shown")
            assert facts(shown) == facts(there)
            assert device.crashes == []
        return there


def facts(tasks: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """What both sides have of a task; their ids are their own."""
    names = ("title", "description", "completed", "version")
    return sorted([tuple(task[name] for name in names) for task in tasks], key=repr)


@pytest.fixture
async def desk(chromium: Browser, origin: str, way: Way, clean: None) -> AsyncIterator[Desk]:
    devices: list[Device] = []
    ada = token("ada")
    for _ in range(2):
        context = await chromium.new_context()
        devices.append(Device(context, await context.new_page()))
        await devices[-1].page.goto(origin)
        await devices[-1].do("start", way.url, ada)
    async with httpx.AsyncClient(base_url=way.url, headers={"authorization": f"Bearer {ada}"}) as client:
        yield Desk(*devices, client)
    for device in devices:
        await device.context.close()


async def test_what_two_devices_did_offline_is_all_there_in_the_end(desk: Desk, way: Way) -> None:
    laptop, phone = desk.laptop, desk.phone
    for number in range(1, 13):
        await laptop.do("add", f"Task {number:02}")
    assert len(await desk.come_together()) == 12

    for device in (laptop, phone):
        await device.offline()
    before = len(way.heads)
    await laptop.do("edit", "Task 01", {"title": "Task 01, renamed"})
    await phone.do("edit", "Task 01", {"description": "described", "completed": True})
    await laptop.do("edit", "Task 02", {"title": "Task 02, by the laptop"})
    await phone.do("edit", "Task 02", {"title": "Task 02, by the phone"})
    await laptop.do("remove", "Task 03")
    await laptop.do("remove", "Task 04")
    await phone.do("edit", "Task 04", {"description": "still wanted"})
    await phone.do("remove", "Task 05")
    await laptop.do("edit", "Task 05", {"completed": True})
    await laptop.do("add", "By the laptop", {"completed": True})
    await phone.do("add", "By the phone", {"description": "on the way"})
    # Playwright's offline lets Chromium's preflights through, and no request behind them.
    assert {head.split()[0] for head in way.heads[before:]} <= {"OPTIONS"}
    there = {task["title"]: task for task in await desk.come_together()}

    one, four, five = there["Task 01, renamed"], there["Task 04"], there["Task 05"]
    assert (one["description"], one["completed"]) == ("described", True)
    assert (four["description"], five["completed"]) == ("still wanted", True)
    assert there["By the laptop"]["completed"]
    assert there["By the phone"]["description"] == "on the way"
    assert "Task 03" not in there
    assert len(there) == 13
    # Of two titles one can stay. The other is in the history.
    [two] = [task for title, task in there.items() if title.startswith("Task 02, ")]
    history = (await desk.api.get(f"/api/tasks/{two['id']}/history")).json()["data"]
    titles = {change["changes"]["title"]["to"] for change in history if "title" in change["changes"]}
    assert titles == {"Task 02", "Task 02, by the laptop", "Task 02, by the phone"}
    assert 412 in way.statuses
    # It was other than a simple request each time, and Chromium asked whether it may.
    assert way.wanted() >= {"authorization", "content-type", "idempotency-key", "if-match", "if-none-match"}


async def test_a_task_whose_answer_was_lost_is_one_task(desk: Desk, way: Way) -> None:
    way.lose = 3
    await desk.laptop.do("add", "Buy milk")
    await desk.laptop.do("edit", "Buy milk", {"description": "Two litres"})
    await desk.phone.do("add", "Buy bread")
    there = await desk.come_together()

    assert [(task["title"], task["description"]) for task in there] == [("Buy bread", None), ("Buy milk", "Two litres")]
    assert way.lose == 0
    assert len([head for head in way.heads if head.startswith("POST /api/tasks ")]) >= 5


async def test_what_did_not_change_is_not_sent_again(desk: Desk, way: Way) -> None:
    await desk.laptop.do("add", "Buy milk")
    await desk.come_together()
    before = len(way.heads)
    way.statuses.clear()
    await desk.phone.do("sync")

    assert {head.split()[0] for head in way.heads[before:]} <= {"OPTIONS", "GET"}
    assert {*way.statuses} <= {204, 304}
    assert 304 in way.statuses
