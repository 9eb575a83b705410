"""What the tests of accounts have in common: people who sign up, and what they are told."""

import re
from typing import Any

import asyncpg
import httpx
from litestar import Litestar

from tests.conftest import visitor

PASSWORD = "correct horse battery staple"
ADA = {"name": "Ada Lovelace", "email": "ada@example.com", "password": PASSWORD}
BOB = {"name": "Bob", "email": "bob@example.com", "password": "bob's very own password"}

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ACCESS = re.compile(r"[\w-]+\.[\w-]+\.[\w-]+")
REFRESH = re.compile(r"tsr_[\w-]{65}")
DEVICE = re.compile(r"tsd_[\w-]{65}")

NO_TOKEN = {"error": {"code": "UNAUTHORIZED", "message": "This needs a valid bearer token."}}
WRONG = {"error": {"code": "INVALID_CREDENTIALS", "message": "Email and password do not match."}}
SPENT = {
    "error": {"code": "UNAUTHORIZED", "message": "This refresh token is not valid any more. Log in again."},
}
NOTHING_HERE = {"error": {"code": "NOT_FOUND", "message": "There is nothing here."}}
NOT_FOR_SCRIPTS = {
    "error": {
        "code": "FORBIDDEN",
        "message": "A personal access token manages no tokens, logins, passwords or accounts: log in for that.",
    }
}
READ_ONLY = {"error": {"code": "FORBIDDEN", "message": "This token may only read."}}

NOT_SENT = "Bearer"
NO_GOOD = 'Bearer error="invalid_token"'


class Person(httpx.AsyncClient):
    """Somebody who has logged in and sends the token of that with everything."""

    def __init__(self, app: Any, login: dict[str, Any], address: str = "127.0.0.1", **headers: str) -> None:
        transport = httpx.ASGITransport(app, client=(address, 50000))
        headers = {"authorization": f"Bearer {login['token']}", **headers}
        super().__init__(transport=transport, base_url="http://test", headers=headers)
        self.login = login
        self.id = login["user"]["id"]


def bearing(app: Litestar, token: str) -> httpx.AsyncClient:
    """Somebody with this token."""
    return visitor(app, authorization=f"Bearer {token}")


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


async def signed_up(client: httpx.AsyncClient, **wish: Any) -> dict[str, Any]:
    answer = await client.post("/api/auth/signup", json={**ADA, **wish})
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


async def logged_in(client: httpx.AsyncClient, **wish: Any) -> dict[str, Any]:
    answer = await attempt(client, **wish)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


async def attempt(
    client: httpx.AsyncClient, email: str = ADA["email"], password: str = PASSWORD, **more: Any
) -> httpx.Response:
    return await client.post("/api/auth/login", json={"email": email, "password": password}, **more)


async def refreshed(client: httpx.AsyncClient, token: str) -> httpx.Response:
    return await client.post("/api/auth/refresh", json={"refresh_token": token})


async def time_goes_by(sql: asyncpg.Connection, span: str) -> None:
    """As far as failed logins are concerned."""
    await sql.execute(
        f"""
        UPDATE rate_limits SET
            last_attempt = last_attempt - interval '{span}',
            locked_until = locked_until - interval '{span}',
            recent_attempts = ARRAY(SELECT "at" - interval '{span}' FROM unnest(recent_attempts) AS "at")
        """
    )


def refused(field: str, message: str) -> dict[str, Any]:
    return {"error": {"code": "VALIDATION_ERROR", "message": message, "fields": [{"field": field, "message": message}]}}


def who(answer: httpx.Response) -> tuple[int, str | None, Any]:
    """All of a 401: status, the telling header, body."""
    return answer.status_code, answer.headers.get("www-authenticate"), answer.json()


async def everything(sql: asyncpg.Connection) -> dict[str, list[str]]:
    """All that the database holds, by table and column, each value as the text of it; of bytes also as text."""
    columns = await sql.fetch(
        """
        SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns
        JOIN information_schema.tables USING (table_schema, table_name)
        WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_type = 'BASE TABLE'
        """
    )
    found: dict[str, list[str]] = {}
    for schema, table, column, kind in columns:
        texts = [f'"{column}"::text']
        if kind == "bytea":
            texts.append(f"encode(\"{column}\", 'escape')")
        for text in texts:
            rows = await sql.fetch(f'SELECT {text} FROM "{schema}"."{table}" WHERE "{column}" IS NOT NULL')
            found.setdefault(f"{table}.{column}", []).extend(row[0] for row in rows)
    return found


async def where(sql: asyncpg.Connection, *needles: str) -> list[str]:
    """The columns in which one of these occurs, in any case."""
    wanted = [needle.lower() for needle in needles]
    return sorted(
        name
        for name, values in (await everything(sql)).items()
        if any(needle in value.lower() for value in values for needle in wanted)
    )
