"""The admin behind a proxy that ends TLS, on a port that is not 443, and passes `Host` without it; in Chromium."""

import asyncio
import re
import secrets
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from playwright.async_api import Browser, expect

from tests.conftest import token
from tests.live.staff import PASSWORD, make_staff

pytestmark = pytest.mark.slow

OURS = re.compile(rb"\r\n(host|connection):[^\r]*", re.IGNORECASE)  # headers that the proxy sets itself


def certificate(folder: Path) -> ssl.SSLContext:
    """A server's certificate for localhost that nobody has signed."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()


async def close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


@pytest.fixture(params=["localhost", "localhost:{port}"], ids=["Host without its port", "Host as it is"])
async def proxy(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> AsyncIterator[str]:
    """The URL of the proxy: one request on each connection, with the Host and the scheme that it is told."""
    upstream = int(url.rpartition(":")[2])
    told = "\r\nHost: {host}\r\nX-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.7\r\nConnection: close\r\n"
    under_way: set[asyncio.Task[None]] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", upstream)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                head = OURS.sub(b"", await reader.readuntil(b"\r\n\r\n"))
                host = request.param.format(port=port)
                ours.write(head.replace(b"\r\n", told.format(host=host).encode(), 1))
                body = asyncio.create_task(copy(reader, ours))
                await copy(theirs, writer)
                body.cancel()
                await asyncio.wait({body})
        finally:
            await close(ours)
            await close(writer)

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        under_way.add(asyncio.create_task(pass_on(reader, writer)))

    server = await asyncio.start_server(begin, "127.0.0.1", 0, ssl=certificate(tmp_path))
    port = server.sockets[0].getsockname()[1]
    yield f"https://localhost:{port}"
    server.close()
    for task in under_way:
        task.cancel()
    await asyncio.wait(under_way)


@pytest.fixture(scope="module")
def url(serve_for_module: Callable[..., Any]) -> str:
    return serve_for_module().url


@pytest.fixture
async def name(database_url: str, sql: asyncpg.Connection) -> AsyncIterator[str]:
    """Of a member of staff, for as long as the test runs."""
    name = f"staff-{secrets.token_hex(4)}"
    await asyncio.to_thread(make_staff, name, database_url)
    yield name
    await sql.execute("DELETE FROM piccolo_user WHERE username = $1", name)


async def test_staff_log_in_and_change_a_task(chromium: Browser, proxy: str, url: str, name: str, clean: None) -> None:
    headers = {"authorization": f"Bearer {token('ada')}"}
    async with httpx.AsyncClient(base_url=url, headers=headers) as ada:
        task = (await ada.post("/api/tasks", json={"title": "Buy milk"})).json()["data"]
        context = await chromium.new_context(ignore_https_errors=True, locale="en-US")
        page = await context.new_page()
        await page.goto(f"{proxy}/admin")
        await page.locator("input[name=username]").fill(name)
        await page.locator("input[name=password]").fill(PASSWORD)
        await page.get_by_role("button", name="Login").click()
        await expect(page.get_by_text(name)).to_be_visible()
        assert {(each["name"], each["secure"]) for each in await context.cookies()} >= {("id", True)}

        await page.goto(f"{proxy}/admin/#/tasks/{task['id']}/")
        await page.locator("form [name=title]").fill("Buy oats")
        await page.get_by_role("button", name="Save").click()
        await expect(page.get_by_text("Successfully saved row")).to_be_visible()
        assert (await ada.get(f"/api/tasks/{task['id']}")).json()["data"]["title"] == "Buy oats"
        await context.close()


async def test_a_client_that_says_only_its_origin_is_told_what_to_set(
    proxy: str, request: pytest.FixtureRequest
) -> None:
    """As browsers before 2023 did: with `Origin` and `Referer`, and no `Sec-Fetch-Site`."""
    headers = {"origin": proxy, "referer": f"{proxy}/admin/"}
    async with httpx.AsyncClient(base_url=proxy, headers=headers, verify=False) as client:
        await client.get("/admin/")
        client.headers["x-csrftoken"] = client.cookies["csrftoken"]
        answer = await client.post("/admin/public/login/", json={"username": "nobody", "password": "x"})
    if "without" in request.node.name:
        assert answer.status_code == 403
        assert "let it pass Host with its port (nginx: $http_host)" in answer.json()["error"]["message"]
    else:
        assert (answer.status_code, answer.json()["error"]["message"]) == (401, "Login failed")
