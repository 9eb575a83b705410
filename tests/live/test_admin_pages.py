"""The admin's pages in Chromium: what staff see, change, delete and download, table by table.

With SCREENSHOTS naming a folder, pictures of the pages are left there.
"""

import asyncio
import csv
import io
import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
import httpx
import pytest
from litestar import Litestar
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Route, expect

from app.admin.build import VIEWS
from app.admin.staff import Staff
from tests.conftest import token
from tests.live.chromium import TIMEOUT_MS
from tests.tasks.plain import CONTENT

pytestmark = pytest.mark.slow

OFFERED = [name for name in CONTENT if name != "list_id"]  # in forms of tasks
METHODS: dict[str, set[str]] = {table: view.methods() for table, view in VIEWS.items()}
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
def complaints() -> list[str]:
    """What the page has logged as an error. Browsers log each answer that is one, and whoever expects it clears it."""
    return []


@pytest.fixture(scope="module")
async def context(chromium: Browser) -> AsyncIterator[BrowserContext]:
    """One for all: its cache has the code of the pages, which each new one would fetch and compile again."""
    size = {"width": 1280, "height": 800}
    context = await chromium.new_context(viewport=size, locale="en-US", timezone_id="UTC")
    yield context
    await context.close()


@pytest.fixture
async def page(
    context: BrowserContext, url: str, cookies: list[Any], clean: None, complaints: list[str]
) -> AsyncIterator[Page]:
    """Margaret's page, which may complain of nothing. Nothing is stored there but that she has logged in."""
    page = await context.new_page()
    storage = await context.new_cdp_session(page)
    await storage.send("Storage.clearDataForOrigin", {"origin": url, "storageTypes": "cookies,local_storage"})
    await context.add_cookies(cookies)
    page.set_default_timeout(TIMEOUT_MS)

    def listen(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(message.text)

    page.on("console", listen)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    await page.close()
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


async def save(page: Page) -> int:
    """Save the form that is open, and return the status that it was answered with."""
    async with page.expect_response(lambda answer: answer.request.method == "PATCH") as answering:
        await page.get_by_role("button", name="Save").click()
    return (await answering.value).status


async def choose(page: Page, name: str, value: str) -> None:
    """Choose from a list, as people do: a script need not have the field in focus."""
    field = page.locator(f"form [name={name}]")
    await field.focus()
    await field.select_option(value)


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
    content = Path(await (await downloading.value).path()).read_bytes().decode()  # noqa: ASYNC240
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

        for table, column in {"user": "email", "tasks": "description", "failed_logins": "email"}.items():
            await page.goto(f"{url}/admin/#/{table}/")
            await expect(page.get_by_text(f"of {len(FORMULAS)} result")).to_be_visible()
            rows = await download(page, separator)
            assert sorted(row[column] for row in rows) == sorted(FORMULAS.values())
            for row in rows:
                for cell in row.values():
                    assert cell[:1] not in ("=", "+", "@", "\t", "\r", "\uff1d") or cell in FORMULAS.values()

    @pytest.mark.parametrize("space", ["\n", "\t", "\r\n", "; ", "\u200b\n", '""'])
    async def test_a_cell_of_much_space_takes_a_moment(self, page: Page, url: str, space: str) -> None:
        await page.goto(f"{url}/admin/")
        marked = "a" + "".join(f"{each}'" if each in "\t\r\n" else each for each in space) * 3
        made = """async (cell) => {
            const began = performance.now();
            const text = await new Blob([`"${cell}"`], { type: "text/csv" }).text();
            return [text, performance.now() - began];
        }"""
        for end, expected in (("x", f"a{space * 3}x"), ("=1", f"{marked}=1" if space.isspace() else None)):
            text, _ = await page.evaluate(made, f"a{space * 3}{end}")
            assert expected is None or text == f'"{expected}"'
            # Each line break would be the beginning of a search through the rest: a minute.
            text, milliseconds = await page.evaluate(made, f"a{space * 200_000}{end}")
            assert text.endswith(f'{end}"')
            assert milliseconds < 5_000


IDS = [
    "ada#2",
    "ada",
    "x/../victim",
    "victim",
    "a/b",
    "..",
    ".",
    "?",
    "%",
    "%2F",
    "a%2Fb",
    "auth0|5f1b",
    "https://idp.example/users/1?x=1#y",
    " space ",
    "+",
    "add",
    "new",
    "count",
    "schema",
    "ids",
    "references",
    "~YWRh",
    "12",
    "012",
    "-1",
    "null",
    "\u00e9",
    "e\u0301",
    "\U0001f600\u0646\u064a",
    "\\",
    "'\";--",
    "x" * 255,
    "\U0001f600" * 255,
]


# What a page holds that nobody can see: beyond the beginning of what scrolls, or outside of what does not scroll.
CUT_OFF = """() => {
    const cut = [];
    for (const each of document.querySelectorAll("a, button, input, select, textarea, td, th, h1, label, p")) {
        const box = each.getBoundingClientRect();
        if (!box.width || !box.height || !each.checkVisibility({ opacityProperty: true })) continue;
        const text = `${each.tagName} ${each.name ?? ""} ${each.textContent.slice(0, 40)}`;
        if (box.left + scrollX < 0 || box.top + scrollY < 0) cut.push(text);
        for (let around = each.parentElement; around && around !== document.body; around = around.parentElement) {
            const { overflowX, position } = getComputedStyle(around);
            const edge = around.getBoundingClientRect();
            if (["auto", "scroll"].includes(overflowX)) {
                if (box.left + around.scrollLeft < edge.left) cut.push(text);
                break;
            }
            if (["hidden", "clip"].includes(overflowX) && (box.right > edge.right + 1 || box.left < edge.left - 1))
                cut.push(text);
            if (position === "fixed" && box.right > innerWidth + 1) cut.push(text);
        }
    }
    return cut;
}"""


async def add_users(sql: asyncpg.Connection, *ids: str) -> None:
    await sql.executemany(
        'INSERT INTO "user" (id, name, email, "emailVerified", "createdAt", "updatedAt")'
        " VALUES ($1, $2, $3, false, '2026-01-01', '2026-01-01')",
        [(each, f"name {number}", f"{number}@example.com") for number, each in enumerate(ids)],
    )


class TestUsers:
    async def test_the_table_shows_them_as_they_are(self, page: Page, url: str, sql: asyncpg.Connection) -> None:
        await add_users(sql, "ada")
        await page.goto(f"{url}/admin/#/user/")

        row = page.get_by_role("row").nth(1)
        for text in ("ada", "name 0", "0@example.com", "2026"):
            await expect(row).to_contain_text(text)
        await picture(page, "users")
        await row.get_by_role("link").first.click()
        for name, value in {"name": "name 0", "email": "0@example.com", "emailVerified": "false"}.items():
            await expect(page.locator(f"form [name={name}]")).to_have_value(value)
        await picture(page, "user")

        await page.locator("[name=name]").fill("Ada")
        await choose(page, "emailVerified", "true")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("Successfully saved row")).to_be_visible()
        kept = await sql.fetchrow('SELECT name, email, "emailVerified", image FROM "user"')
        assert tuple(kept) == ("Ada", "0@example.com", True, None)

    async def test_each_id_is_opened_changed_and_deleted_as_itself(
        self, page: Page, url: str, sql: asyncpg.Connection
    ) -> None:
        await add_users(sql, *IDS)
        page.on("dialog", lambda dialog: dialog.accept())
        left = {*IDS}
        for number, user in enumerate(IDS):
            await page.goto("about:blank")  # or the list that a delete leads back to may come after the one asked for
            await page.goto(f"{url}/admin/#/user/?email={number}@example.com&email__match=exact")
            await expect(page.get_by_text("of 1 result")).to_be_visible()
            await page.get_by_role("row").filter(has_text=f" {number}@example.com").get_by_role("link").first.click()
            await expect(page.locator("form [name=email]")).to_have_value(f"{number}@example.com")
            if user in ("add", "..", "a/b", "%2F"):
                await page.reload()
            await page.locator("form [name=name]").fill("changed")
            assert await save(page) == 200
            changed = await sql.fetch("SELECT id FROM \"user\" WHERE name = 'changed'")
            assert [row["id"] for row in changed] == [user]

            await page.locator("[data-uitest=drop_down_button]").click()
            await page.locator("[data-uitest=delete_row_button]").click()
            await page.wait_for_url(f"{url}/admin/#/user/")
            left -= {user}
            assert {row["id"] for row in await sql.fetch('SELECT id FROM "user"')} == left

    async def test_a_list_that_comes_late_does_not_replace_one_that_was_asked_for_after_it(
        self, page: Page, url: str, sql: asyncpg.Connection
    ) -> None:
        await add_users(sql, *IDS[:3])

        def is_of_all(address: str) -> bool:
            return "/tables/user/?" in address and "email" not in address

        async def late(route: Route) -> None:
            await asyncio.sleep(2)
            await route.continue_()

        await page.goto(f"{url}/admin/#/tasks/")
        await expect(page.get_by_role("heading", name="Tasks").first).to_be_visible()
        await page.route(is_of_all, late)
        async with page.expect_response(lambda answer: is_of_all(answer.url)):
            async with page.expect_request(lambda request: is_of_all(request.url)):
                await page.goto(f"{url}/admin/#/user/")
            await page.goto(f"{url}/admin/#/user/?email=1@example.com&email__match=exact")
            await expect(page.get_by_text("of 1 result")).to_be_visible()
        await page.wait_for_timeout(200)
        await expect(page.get_by_role("row")).to_have_count(2)  # one of them the heads of columns

    async def test_all_are_deleted_in_bulk_and_none_besides(
        self, page: Page, url: str, sql: asyncpg.Connection
    ) -> None:
        await add_users(sql, *IDS[:15])
        await page.goto(f"{url}/admin/#/user/?__page_size=30")
        page.on("dialog", lambda dialog: dialog.accept())
        for user in ("0@", "2@", "4@"):
            await page.get_by_role("row").filter(has_text=f"{user}example.com").first.get_by_role("checkbox").check()
        await page.locator("[data-uitest=bulk_delete_button], .button", has_text="Delete").first.click()
        await expect(page.get_by_text("Successfully deleted rows")).to_be_visible()
        left = {row["email"] for row in await sql.fetch('SELECT email FROM "user"')}
        assert left == {f"{number}@example.com" for number in range(15)} - {
            f"{number}@example.com" for number in (0, 2, 4)
        }


class TestSaving:
    @pytest.fixture
    async def task(self, url: str, clean: None) -> dict[str, Any]:
        """A task whose texts no single line of a form can show."""
        return await call(url, "ada", "POST", "/api/tasks", title="Buy milk\nand oats", description="one\r\ntwo\r\n")

    async def row(self, sql: asyncpg.Connection) -> dict[str, Any]:
        return dict(await sql.fetchrow("SELECT * FROM tasks"))

    async def open(self, page: Page, url: str, task: dict[str, Any]) -> None:
        await page.goto(f"{url}/admin/#/tasks/{task['id']}/")
        await expect(page.locator("form [name=user_id]")).to_have_value("ada")

    async def test_a_save_changes_what_was_changed_and_nothing_else(
        self, page: Page, url: str, sql: asyncpg.Connection, task: dict[str, Any]
    ) -> None:
        before = await self.row(sql)
        await self.open(page, url, task)
        await choose(page, "completed", "true")
        assert await save(page) == 200
        await expect(page.get_by_text("Successfully saved row")).to_be_visible()
        after = await self.row(sql)
        moved = {name: after[name] for name in ("updated_at", "version", "changed_by", "changes")}
        assert after == {**before, "completed": True, "completed_at": after["updated_at"], **moved}

        # Saved again, and turned back, from the same form.
        await choose(page, "completed", "false")
        await page.locator("form textarea[name=description]").first.fill("one\ntwo\nthree")
        assert await save(page) == 200
        after = await self.row(sql)
        assert (after["completed"], after["description"], after["title"]) == (
            False,
            "one\r\ntwo\r\nthree",
            before["title"],
        )
        await picture(page, "task")

    async def test_nothing_is_saved_where_nothing_was_changed(
        self, page: Page, url: str, sql: asyncpg.Connection, task: dict[str, Any], complaints: list[str]
    ) -> None:
        before = await self.row(sql)
        await self.open(page, url, task)
        assert await save(page) == 422
        await expect(page.get_by_text("Nothing was changed")).to_be_visible()
        assert await self.row(sql) == before
        complaints.clear()

    async def test_the_owners_newer_edit_stays_and_the_page_says_so(
        self, page: Page, url: str, sql: asyncpg.Connection, task: dict[str, Any], complaints: list[str]
    ) -> None:
        await self.open(page, url, task)
        await call(url, "ada", "PATCH", f"/api/tasks/{task['id']}", title="Buy tea")
        before = await self.row(sql)
        await choose(page, "completed", "true")
        assert await save(page) == 412
        await expect(page.get_by_text("This row has changed since it was opened.")).to_be_visible()
        assert await self.row(sql) == before
        await picture(page, "changed")
        complaints.clear()

    async def test_a_title_is_held_to_the_rules_of_the_api_in_a_sentence(
        self, page: Page, url: str, task: dict[str, Any], complaints: list[str]
    ) -> None:
        await self.open(page, url, task)
        await page.locator("form [name=title]").fill("   ")
        assert await save(page) == 422
        await expect(page.get_by_text("Title is required")).to_be_visible()
        complaints.clear()

    async def test_a_task_that_is_deleted_is_in_the_trash_of_its_owner(
        self, page: Page, url: str, task: dict[str, Any]
    ) -> None:
        await self.open(page, url, task)
        page.on("dialog", lambda dialog: dialog.accept())
        await page.locator("[data-uitest=drop_down_button]").click()
        await page.locator("[data-uitest=delete_row_button]").click()
        await page.wait_for_url(f"{url}/admin/#/tasks/")
        [trashed] = await call(url, "ada", "GET", "/api/trash")
        assert (trashed["id"], trashed["title"]) == (task["id"], task["title"])
        await call(url, "ada", "POST", f"/api/tasks/{task['id']}/restore")
        history = await call(url, "ada", "GET", f"/api/tasks/{task['id']}/history")
        assert [(each["action"], each["by"]["kind"]) for each in history[:2]] == [
            ("restored", "jwt"),
            ("deleted", "staff"),
        ]


class TestEachTable:
    """Every table is listed, sorted, filtered, searched by its owner, opened and downloaded, wide and narrow."""

    OWNERS = ("ada#2", "x/../victim", "auth0|5f1b", "https://idp.example/users/1?x=1#y", "add", "%2F", "\U0001f600")
    TEXTS = ("Buy milk", "=1+1", "<b>x</b>", "line\r\nbreak", "' OR 1=1 --", "\u202eright", "x" * 300)
    # By which column it is sorted, and what is typed into which filter to find the second row alone.
    LISTS: ClassVar = {
        "user": ("email", "email", "1@example.com"),
        "tasks": ("title", "title", "=1+1"),
        "lists": ("name", "name", "=1+1"),
        "labels": ("name", "name", "=1+1"),
        "trash": ("title", "title", "=1+1"),
        "history": ("title", "title", "=1+1"),
        "list_history": ("name", "name", "=1+1"),
        "label_history": ("name", "name", "=1+1"),
        "logins": ("user_agent", "user_agent", "=1+1"),
        "personal_tokens": ("name", "name", "=1+1"),
        "failed_logins": ("email", "email", "1@example.com"),
        "staff": ("username", "username", "x/../victim"),
    }
    OWNED = (
        *("tasks", "lists", "labels", "trash", "history", "list_history", "label_history"),
        *("logins", "personal_tokens"),
    )

    @pytest.fixture
    async def rows(self, page: Page, sql: asyncpg.Connection) -> AsyncIterator[None]:
        """Of each table a row for each owner."""
        await add_users(sql, *self.OWNERS)
        for number, (owner, text) in enumerate(zip(self.OWNERS, self.TEXTS, strict=True)):
            email = f"{number}@example.com"
            await sql.execute("INSERT INTO tasks (user_id, title, description) VALUES ($1, $2::text, $2)", owner, text)
            await sql.execute("UPDATE tasks SET completed = true WHERE user_id = $1", owner)
            await sql.execute("INSERT INTO tasks (user_id, title) VALUES ($1, $2)", owner, f"{text} (old)")
            await sql.execute("UPDATE tasks SET deleted_at = now() WHERE user_id = $1 AND title LIKE '%(old)'", owner)
            await sql.execute("INSERT INTO task_lists (user_id, name) VALUES ($1, left($2, 200))", owner, text)
            await sql.execute("INSERT INTO task_labels (user_id, name, key) VALUES ($1, $2, $2)", owner, text)
            for table in ("task_lists", "task_labels"):
                await sql.execute(f"UPDATE {table} SET color = '#c0ffee' WHERE user_id = $1", owner)
            await sql.execute(
                "INSERT INTO login_sessions (id, user_id, family_hash, token_hash, user_agent, created_at,"
                " last_used_at, expires_at) VALUES ($1, $2, $3, $3, $4, now(), now(), now() + interval '1 day')",
                f"login {email}",
                owner,
                email.encode(),
                text,
            )
            await sql.execute(
                "INSERT INTO personal_access_tokens (id, user_id, name, scope, token_hash, created_at)"
                " VALUES ($1, $2, $4, 'read', $3, now())",
                f"token {email}",
                owner,
                email.encode(),
                text,
            )
            await sql.execute("INSERT INTO rate_limits (email, failed_attempts) VALUES ($1, 3)", email)
            await sql.execute(
                "INSERT INTO piccolo_user (username, password, email, active, admin, superuser)"
                " VALUES ($1::text, 'none', $1, true, true, true)",
                owner,
            )
        yield
        await sql.execute("DELETE FROM piccolo_user WHERE password = 'none'")

    def count(self, table: str) -> int:
        return len(self.OWNERS) * (2 if table == "history" else 1) + (table == "staff")

    async def open_list(self, page: Page, url: str, table: str) -> None:
        await page.goto(f"{url}/admin/#/{table}/?__page_size=50")
        await expect(page.get_by_text(f"of {self.count(table)} result")).to_be_visible()

    @pytest.mark.parametrize("width", [1280, 390])
    @pytest.mark.parametrize("table", LISTS)
    async def test_it_is_listed_sorted_filtered_opened_and_downloaded(
        self, page: Page, url: str, rows: None, sql: asyncpg.Connection, table: str, width: int
    ) -> None:
        async def look(name: str) -> None:
            await page.wait_for_timeout(300)
            await picture(page, f"{table}-{name}-{width}")
            assert await page.evaluate(CUT_OFF) == []

        await page.set_viewport_size({"width": width, "height": 800})
        column, filtered, value = self.LISTS[table]
        await self.open_list(page, url, table)
        await look("list")
        assert len(await download(page)) == self.count(table)
        await page.reload()

        await page.locator("[data-uitest=sort_button]").click()
        await page.locator("[data-uitest=sort_by_selector]").first.select_option(column)
        await page.locator("select[name=ordering]").first.select_option(label="Descending")
        await look("sort")
        await page.locator("[data-uitest=sort_form_button]").click()
        shown = await page.evaluate(
            "async ([table, column]) => (await (await fetch(`./api/tables/${table}/?__order=-${column}`)).json())"
            ".rows[0][column]",
            [table, column],
        )
        await expect(page.get_by_role("row").nth(1)).to_contain_text(shown[:20].strip())

        await page.locator("[data-uitest=filter_button]").click()
        sidebar = page.locator("[data-uitest=right_sidebar]")
        await sidebar.locator(f"input[name={filtered}]").fill(value)
        await look("filter")
        await page.locator("[data-uitest=submit_filter_button]").click()
        await expect(page.get_by_text(f"Showing {2 if table == 'history' else 1} of")).to_be_visible()
        await sidebar.locator("#sidebar-close").click()
        await page.get_by_role("row").nth(1).get_by_role("link").first.click()
        await expect(page.locator("[data-uitest=save_button]")).to_be_attached()
        await expect(page.locator(f"form [name={filtered}]").first).to_be_attached()
        await look("row")

    @pytest.mark.parametrize("table", OWNED)
    async def test_an_owner_is_found_by_the_email(self, page: Page, url: str, rows: None, table: str) -> None:
        await self.open_list(page, url, table)
        await page.locator("[data-uitest=filter_button]").click()
        await page.locator("[data-uitest=right_sidebar] .key_search input[type=text]").first.click()
        await page.locator(".input_wrapper input").last.fill("3@example")
        await page.locator(".results_list").get_by_text("name 3 <3@example.com>").click()
        await page.locator("[data-uitest=submit_filter_button]").click()
        await expect(page.get_by_text(f"Showing {2 if table == 'history' else 1} of")).to_be_visible()
        await expect(page.get_by_role("row").nth(1)).to_contain_text("name 3 <3@example.com>")
        await picture(page, f"{table}-owner")

    @pytest.mark.parametrize("table", [table for table in LISTS if "DELETE" in METHODS[table]])
    async def test_rows_are_deleted_one_by_one_and_in_bulk_and_none_besides(
        self, page: Page, url: str, rows: None, sql: asyncpg.Connection, table: str
    ) -> None:
        page.on("dialog", lambda dialog: dialog.accept())
        await self.open_list(page, url, table)
        _, column, value = self.LISTS[table]
        await page.get_by_role("row").filter(has_text=value).get_by_role("link").first.click()
        field = page.locator(f"form [name={column}]").first
        await expect(field).to_have_value(re.compile(re.escape(value)))  # or it is asked for when gone
        await expect(page.locator("[data-uitest=save_button]")).to_be_visible(visible="PATCH" in METHODS[table])
        await page.locator("[data-uitest=drop_down_button]").click()
        await page.locator("[data-uitest=delete_row_button]").click()
        await page.wait_for_url(f"{url}/admin/#/{table}/")
        left = self.count(table) - 1
        await expect(page.get_by_text(f"of {left} result")).to_be_visible()
        await expect(page.get_by_role("row").filter(has_text=value)).to_have_count(0)

        for number in (1, 2):
            row = page.get_by_role("row").filter(has_not_text="margaret").nth(number)
            await row.get_by_role("checkbox").check()
        await page.locator(".button[title='Delete selected Rows']").click()
        await expect(page.get_by_text("Successfully deleted rows")).to_be_visible()
        await expect(page.get_by_text(f"of {left - 2} result")).to_be_visible()
        if table == "tasks":
            assert await sql.fetchval("SELECT count(*) FROM tasks WHERE deleted_at IS NOT NULL") == 10
        if table == "trash":
            assert await sql.fetchval("SELECT count(*) FROM tasks") == 11

    async def test_what_is_not_changed_by_hand_is_not_offered(self, page: Page, url: str, rows: None) -> None:
        for table, methods in METHODS.items():
            await self.open_list(page, url, table)
            await expect(page.get_by_text("Add Row")).to_be_visible(visible="POST" in methods)
            boxes = page.locator(".table_wrapper input[type=checkbox]").nth(1)
            await expect(boxes).to_be_visible(visible="DELETE" in methods)
            if "DELETE" in methods:
                await boxes.check()
                await expect(page.get_by_text("Update 1 rows")).to_be_visible(visible="PATCH" in methods)
        await page.goto(f"{url}/admin/#/history/")
        await page.get_by_role("row").nth(1).get_by_role("link").first.click()
        await expect(page.locator("form [name=title]")).to_have_attribute("readonly", "")
        for name in ("save_button", "drop_down_button"):
            await expect(page.locator(f"[data-uitest={name}]")).to_be_hidden()
        await page.goto(f"{url}/admin/#/tasks/")
        await page.get_by_role("row").nth(1).get_by_role("link").first.click()
        await expect(page.locator("form [name=version]")).to_have_attribute("readonly", "")
        await expect(page.locator("form [name=title]")).to_be_editable()
        await expect(page.locator("form .key_search input[type=text]").first).to_have_attribute("inert", "")
        await page.locator("[data-uitest=nav_dropdown_button]").click()
        await expect(page.get_by_text("Change Password")).to_be_visible()
        await expect(page.get_by_text("MFA")).to_have_count(0)

    async def test_a_form_that_adds_a_row_asks_for_what_people_say_and_for_nothing_else(
        self, page: Page, url: str, rows: None, sql: asyncpg.Connection
    ) -> None:
        asked = {"tasks": ["user_id", *OFFERED]}
        asked["staff"] = ["username", "new_password", "active"]
        assert {table for table, methods in METHODS.items() if "POST" in methods} == {*asked}
        names = "fields => [...new Set(fields.map(field => field.name))]"
        fields = page.locator("form:has([data-uitest=create_button]) [name]")
        for table, wanted in asked.items():
            await page.goto("about:blank")
            await page.goto(f"{url}/admin/#/{table}/add/row/")
            await expect(page.locator(f"form [name={wanted[-1]}]")).to_be_visible()
            assert await fields.evaluate_all(names) == wanted
            await self.open_list(page, url, table)
            await page.get_by_text("Add Row").click()
            await expect(page.locator(f"form [name={wanted[-1]}]")).to_be_visible()
            assert await fields.evaluate_all(names) == wanted

        await page.goto("about:blank")
        await page.goto(f"{url}/admin/#/tasks/add/row/")
        await page.locator("form .key_search input[type=text]").first.click()
        await page.locator(".input_wrapper input").last.fill("3@example")
        await page.locator(".results_list").get_by_text("name 3 <3@example.com>").click()
        await page.locator("form [name=title]").fill("Call us")
        await picture(page, "tasks-added")
        await page.locator("[data-uitest=create_button]").click()
        await expect(page.get_by_text("Successfully added row")).to_be_visible()
        row = await sql.fetchrow("SELECT user_id, changed_by, version > 0 AS counts FROM tasks WHERE title = 'Call us'")
        assert tuple(row or ()) == (self.OWNERS[3], "staff", True)

    async def update(self, page: Page, column: str, value: str) -> list[str]:
        """Update one column of the rows that are chosen, in the page's dialog. Returns the columns that it offers."""
        await page.locator(".buttons .button:has([data-icon=arrow-up])").click()
        offered = await page.locator("select[name=property] option:enabled").all_inner_texts()
        await page.locator("select[name=property]").select_option(column)
        field = page.locator(f"form [name={column}]")
        if await field.evaluate("field => field.tagName") == "SELECT":
            await field.select_option(value)
        else:
            await field.fill(value)
        await picture(page, f"update-{column}")
        await page.get_by_role("button", name="Update", exact=True).click()
        return offered

    async def test_the_tasks_that_are_chosen_are_updated_together_and_none_besides(
        self, page: Page, url: str, rows: None, sql: asyncpg.Connection, complaints: list[str]
    ) -> None:
        async def stored() -> dict[int, dict[str, Any]]:
            return {row["id"]: dict(row) for row in await sql.fetch("SELECT * FROM tasks")}

        async def choose_rows() -> list[int]:
            shown = [page.get_by_role("row").nth(number) for number in (1, 3, 4)]
            for row in shown:
                await row.get_by_role("checkbox").check()
            return [int(await row.get_by_role("link").first.inner_text()) for row in shown]

        # The first was open in a form, and its owner has changed it since.
        await self.open_list(page, url, "tasks")
        await page.get_by_role("row").nth(1).get_by_role("link").first.click()
        await expect(page.locator("form [name=title]")).to_be_editable()
        first = await sql.fetchrow("SELECT id, user_id FROM tasks WHERE deleted_at IS NULL ORDER BY id DESC LIMIT 1")
        assert first
        await call(url, first["user_id"], "PATCH", f"/api/tasks/{first['id']}", description="newer")
        await page.go_back()
        await expect(page.get_by_text(f"of {self.count('tasks')} result")).to_be_visible()

        chosen, before = await choose_rows(), await stored()
        assert chosen[0] == first["id"]
        assert await self.update(page, "completed", "false") == [name.replace("_", " ").title() for name in OFFERED]
        await expect(page.get_by_text("Successfully updated rows")).to_be_visible()

        after = await stored()
        moved = ("updated_at", "version", "changed_by", "changes")
        assert after == {
            task_id: {**row, "completed": False, "completed_at": None, **{name: after[task_id][name] for name in moved}}
            if task_id in chosen
            else row
            for task_id, row in before.items()
        }
        for task_id in chosen:
            history = await call(url, after[task_id]["user_id"], "GET", f"/api/tasks/{task_id}/history")
            assert (history[0]["by"]["kind"], history[0]["action"]) == ("staff", "reopened")
            assert history[0]["version"] == after[task_id]["version"] > before[task_id]["version"]

        # What cannot be is refused in a sentence, and the list shows what is.
        await expect(page.locator("select[name=property]")).to_have_count(0)
        await choose_rows()
        await self.update(page, "title", "   ")
        await expect(page.get_by_text("Title is required")).to_be_visible()
        await expect(page.locator("select[name=property]")).to_have_count(0)
        await expect(page.get_by_role("row").nth(1).get_by_role("checkbox")).not_to_be_checked()
        assert await stored() == after
        complaints.clear()

    async def test_a_user_leads_to_everything_of_theirs(self, page: Page, url: str, rows: None) -> None:
        await self.open_list(page, url, "user")
        await page.get_by_role("row").filter(has_text="https://idp.example").get_by_role("link").first.click()
        for name in ("tasks", "in_trash"):
            await expect(page.locator(f"form [name={name}]")).to_have_value("1")
            await expect(page.locator(f"form [name={name}]")).to_have_attribute("readonly", "")
        for table in self.OWNED:
            await page.get_by_text("Show referencing tables").click()
            await page.locator(".related_tables a").filter(has=page.get_by_text(table, exact=True)).click()
            await expect(page.get_by_text(f"Showing {2 if table == 'history' else 1} of")).to_be_visible()
            await expect(page.get_by_role("row").nth(1)).to_contain_text("name 3 <3@example.com>")
            await page.go_back()

    @pytest.mark.parametrize("width", [1280, 390])
    async def test_menus_and_forms_fit_the_screen(self, page: Page, url: str, rows: None, width: int) -> None:
        async def look(name: str) -> None:
            await page.wait_for_timeout(300)
            await picture(page, f"{name}-{width}")
            assert await page.evaluate(CUT_OFF) == []

        await page.set_viewport_size({"width": width, "height": 800})
        await page.goto(f"{url}/admin/")
        await expect(page.get_by_text("Welcome to")).to_be_visible()
        await look("home")
        if width == 390:
            await page.locator("#burger_menu a").click()
            await look("sidebar")
            await page.locator("#sidebar_overlay").get_by_text("personal tokens").click()
            await expect(page.get_by_text("of 7 result")).to_be_visible()
        await page.locator("[data-uitest=nav_dropdown_button]").click()
        await look("menu")
        await page.goto(f"{url}/admin/#/tasks/")
        await page.get_by_text("Add Row").click()
        await look("add")
        await page.goto(f"{url}/admin/#/change-password/")
        await look("password")
        await page.goto(f"{url}/admin/#/user/")
        await page.get_by_text("Export CSV").first.click()
        await look("csv")

    async def test_a_login_of_staff_is_made_changed_and_ended(
        self, page: Page, url: str, chromium: Browser, complaints: list[str], sql: asyncpg.Connection
    ) -> None:
        async with page.expect_response("**/staff/new/"):  # which fills the form
            await page.goto(f"{url}/admin/#/staff/add/row/")
        await expect(page.locator("[name=active]")).to_have_value("true")
        await page.locator("[name=username]").fill("rosa@x/2")
        await page.locator("[name=new_password]").fill("1234567")
        await page.locator("[data-uitest=create_button]").click()
        await expect(page.get_by_text("A password has 8 to 1024 characters")).to_be_visible()
        await page.locator("[name=new_password]").fill(PASSWORD)
        await page.locator("[data-uitest=create_button]").click()
        await expect(page.get_by_text("Successfully added row")).to_be_visible()
        complaints.clear()  # the refusal

        async def log_in(password: str) -> str:
            context = await chromium.new_context()
            theirs = await context.new_page()
            await theirs.goto(f"{url}/admin")
            await theirs.locator("input[name=username]").fill("rosa@x/2")
            await theirs.locator("input[name=password]").fill(password)
            async with theirs.expect_response("**/public/login/") as answering:
                await theirs.get_by_role("button", name="Login").click()
            await context.close()
            return str((await answering.value).status)

        assert await log_in(PASSWORD) == "200"
        await page.goto(f"{url}/admin/#/staff/")
        await page.get_by_role("row").filter(has_text="rosa").get_by_role("link").first.click()
        await page.locator("form [name=new_password]").fill("another password")
        assert await save(page) == 200
        assert [await log_in(each) for each in (PASSWORD, "another password")] == ["401", "200"]
        assert (
            await sql.fetchval(
                "SELECT count(*) FROM sessions JOIN piccolo_user u ON u.id = user_id WHERE username = 'rosa@x/2'"
            )
            == 1
        )
        page.on("dialog", lambda dialog: dialog.accept())
        await page.locator("[data-uitest=drop_down_button]").click()
        await page.locator("[data-uitest=delete_row_button]").click()
        await page.wait_for_url(f"{url}/admin/#/staff/")
        assert await log_in("another password") == "401"
