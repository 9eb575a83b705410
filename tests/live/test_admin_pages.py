"""The admin's pages in Chromium: what staff see, change, delete and download, table by table.

With SCREENSHOTS naming a folder, pictures of the pages are left there.
"""

import csv
import io
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from litestar import Litestar
from playwright.async_api import Browser, ConsoleMessage, Page, expect

from app.staff import Staff
from tests.conftest import token

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def url(serve_for_module: Callable[..., Any]) -> str:
    """Where the service is."""
    return serve_for_module().url


@pytest.fixture(scope="module")
async def cookies(chromium: Browser, url: str, running: Litestar) -> list[Any]:
    """The cookies of Margaret, who has logged in through the page."""
    await Staff.create_user("margaret p", PASSWORD, email="mp@x", active=True, admin=True, superuser=True)
    context = await chromium.new_context()
    page = await context.new_page()
    await page.goto(f"{url}/admin")
    await page.locator("input[name=username]").fill("margaret p")
    await page.locator("input[name=password]").fill(PASSWORD)
    await page.get_by_role("button", name="Login").click()
    await expect(page.get_by_text("margaret p")).to_be_visible()
    kept = await context.cookies()
    await context.close()
    return kept


@pytest.fixture
async def page(chromium: Browser, url: str, cookies: list[Any], clean: None) -> AsyncIterator[Page]:
    """Margaret's page, which may complain of nothing."""
    context = await chromium.new_context(viewport={"width": 1280, "height": 800}, locale="en-US", timezone_id="UTC")
    await context.add_cookies(cookies)
    page = await context.new_page()
    page.set_default_timeout(10_000)
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    page.on("console", listen)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    await context.close()
    assert complaints == []


async def call(url: str, user: str, method: str, path: str, **body: Any) -> Any:
    headers = {"authorization": f"Bearer {token(user, name=user.title(), email=None)}"}
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        answer = await client.request(method, path, json=body or None)
        assert answer.status_code < 300, answer.text
        return answer.json()["data"] if answer.content else None


async def picture(page: Page, name: str) -> None:
    if folder := os.environ.get("SCREENSHOTS"):
        await page.screenshot(path=Path(folder) / f"{name}.png")


async def download(page: Page, separator: str = ",") -> list[dict[str, str]]:
    """The rows of the table that is shown, with all columns, as the page's CSV has them."""
    await page.get_by_text("Export CSV").first.click()
    modal = page.locator("[data-uitest=csv_modal]")
    await modal.locator("#delimiter").select_option(separator)
    await modal.get_by_text("Columns").click()
    for box in await modal.locator(".column_list tbody input[type=checkbox]").all():
        await box.set_checked(True)
    async with page.expect_download() as downloading:
        await modal.locator("[data-uitest=download_csv_button]").click()
    content = Path(await (await downloading.value).path()).read_bytes().decode()
    return [*csv.DictReader(io.StringIO(content, newline=""), delimiter=separator)]


FORMULAS = {
    '=HYPERLINK("https://evil.example")': '\'=HYPERLINK("https://evil.example")',
    "+1-1": "'+1-1",
    "-2+3+cmd|' /C calc'!A0": "'-2+3+cmd|' /C calc'!A0",
    "@SUM(A1)": "'@SUM(A1)",
    "\t=1": "'\t=1",
    "\r\nx": "'\r\nx",
    "\uff1d1+1": "'\uff1d1+1",
    "\uff0b1": "'\uff0b1",
    "\uff0d1-": "'\uff0d1-",
    "\uff20A1": "'\uff20A1",
    "\u00a0=1+1": "'\u00a0=1+1",
    "\u200b=1+1": "'\u200b=1+1",
    "\ufeff@A1": "'\ufeff@A1",
    "a,=1+1": "a,'=1+1",
    'a";=1+1': "a\";'=1+1",
    "first\n=1+1": "first\n'=1+1",
    "-5": "-5",
    "-5.25": "-5.25",
    "1-1": "1-1",
    'Buy milk - and "oats", 2 = two': 'Buy milk - and "oats", 2 = two',
}


class TestCSV:
    @pytest.mark.parametrize("separator", [",", ";"])
    async def test_no_cell_of_any_table_is_a_formula_to_a_spreadsheet(
        self, page: Page, url: str, sql: asyncpg.Connection, separator: str
    ) -> None:
        for number, text in enumerate(FORMULAS):
            await sql.execute(
                'INSERT INTO "user" (id, name, email, "emailVerified", image, "createdAt", "updatedAt")'
                " VALUES ($1, $2, $2, false, $2, now(), now())",
                f"user {number}",
                text,
            )
            await sql.execute(
                "INSERT INTO tasks (user_id, title, description)"
                " SELECT id, 'x' || $1, $1 FROM \"user\" WHERE name = $1",
                text,
            )
            await sql.execute("INSERT INTO rate_limits (email) VALUES ($1)", text)

        for table, column in {"tasks": "description", "rate_limits": "email"}.items():
            await page.goto(f"{url}/admin/#/{table}/")
            await expect(page.get_by_text(f"of {len(FORMULAS)} result")).to_be_visible()
            rows = await download(page, separator)
            assert sorted(row[column] for row in rows) == sorted(FORMULAS.values())
            for row in rows:
                for cell in row.values():
                    assert cell[:1] not in ("=", "+", "@", "\t", "\r", "\uff1d") or cell in FORMULAS.values()
