"""Logs tell and don't leak: over a socket, from a server with canaries in its settings, and in all that it is sent."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest

from tests.conftest import token
from tests.live.staff import PASSWORD, desk, log_in, make_staff
from tests.live.test_protocol import LAST, talk

LOST = re.compile(r"([1-9]\d+) lines were lost here: nobody read them\.")
ASK = b"GET /api/tasks HTTP/1.1\r\nHost: x\r\n\r\n"

SECRET = "canary-secret of more than thirty-two bytes"
TEXT = {"title": "canary-title", "description": "canary-description"}
BEARER = token("canary-id", secret=SECRET, email="canary@example.com", name="Canary", note="canary-claim")
# What is not to be seen, beside what says so itself: the token's parts, and what is derived from it.
HIDDEN = [*BEARER.split("."), PASSWORD]


def lines(log: list[str]) -> list[dict[str, Any]]:
    """Every line is one JSON object, and says when, how bad, from where and what."""
    found = [json.loads(line) for line in log]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in found)
    return found


def check_that_nothing_leaks(log: list[str]) -> None:
    said = "\n".join(log)
    assert not re.search("canary|Set-Cookie|forged", said, re.IGNORECASE)
    assert [part for part in HIDDEN if part in said] == []


def with_password(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.replace("postgres@", "postgres:canary-password@", 1)).geturl()


@pytest.fixture
def talkative(migrated_database: Callable[[], str], serve: Callable[..., Any]) -> tuple[str, Any]:
    """A service that says all that it can, with a canary wherever its settings hold a secret; and its database."""
    url = migrated_database()
    env = {"DATABASE_URL": with_password(url), "JWT_SECRET": SECRET, "LOG_LEVEL": "debug"}
    return url, serve(env=env, arguments=["--migrate"])


def bring_canaries(url: str, port: int) -> None:
    """Say canaries in every way that a client can, right and wrong."""
    with httpx.Client(base_url=url, headers={"authorization": f"Bearer {BEARER}"}) as client:
        task = client.post("/api/tasks", json=TEXT).json()["data"]
        joan = {"name": "Canary", "email": "canary@example.org", "password": "canary-password"}
        login = client.post("/api/auth/signup", json=joan).json()["data"]
        HIDDEN.extend([login["refresh_token"], login["device_token"], *login["token"].split(".")[1:]])
        script = client.post("/api/auth/tokens", json={"name": "canary", "scope": "read"}).json()["data"]
        HIDDEN.append(script["token"])
        for method, path, body in [
            ("GET", "/api/tasks?canary=canary", None),
            ("PUT", f"/api/tasks/{task['id']}", {"title": "canary\0"}),
            ("PUT", f"/api/tasks/{task['id']}", {"title": ["canary"]}),
            ("PUT", "/api/tasks/canary", TEXT),
            ("GET", "/canary", None),
            ("GET", "/docs/assets/canary", None),
            ("POST", "/api/auth/login", {**joan, "password": "canary-wrong"}),
            ("POST", "/api/auth/login", joan),
            ("POST", "/api/auth/refresh", {"refresh_token": "tsr_canary"}),
            ("POST", "/api/auth/refresh", {"refresh_token": login["refresh_token"]}),
            ("POST", "/api/auth/me/password", {"current_password": "canary", "new_password": "canary-new"}),
            ("DELETE", "/api/auth/sessions/canary", None),
            ("DELETE", "/api/auth/tokens/canary", None),
            ("GET", "/admin/canary", None),
            ("GET", "/admin/api/tables/canary/?canary=canary", None),
            ("CANARY", "/api/tasks", None),
        ]:
            client.request(method, path, json=body, headers={"x-request-id": "canary id", "cookie": "id=canary"})
        for bad in ("canary", f"{BEARER}canary", token("canary", secret="canary" * 9), script["token"]):
            client.post("/api/tasks", json=TEXT, headers={"authorization": f"Bearer {bad}"})
        client.post("/api/tasks", content=b'{"title": "canary')
    forged = b'%0d%0a{"level":"ERROR","message":"forged"}%0aSet-Cookie:canary'
    for message in [
        b"GET /" + forged + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/tasks/" + forged + b" HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + BEARER.encode() + b"\r\n\r\n",
        b"GET /?" + forged + b" HTTP/1.1\r\nHost: x\r\nX-Request-ID: canary" + forged + b"\r\n\r\n",
        b"GET /canary HTTP/1.1\r\nHost: canary\r\nHost: canary\r\n\r\n",
        b"GET /canary HTTP/1.1\r\nHost: x\r\nCanary: " + b"canary" * 7000 + b"\r\n\r\n",
        b"CANARY canary\r\n\r\n",
    ]:
        talk(port, message + b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


def bring_canaries_to_the_admin(url: str, name: str) -> None:
    client = desk(url)
    log_in(client, "canary", "canary-password")
    assert log_in(client, name).status_code == 200
    HIDDEN.extend(client.cookies.values())
    key = "user/~Y2FuYXJ5LWlk/"  # canary-id
    for path in (
        "tasks/?title=canary",
        "tasks/?title=canary%00",
        "user/canary%0d%0acanary/",
        "tasks/?__order=canary",
        key,
    ):
        client.get(f"/admin/api/tables/{path}")
    client.get(f"/admin/api/tables/{key}")
    for body in ({"name": "canary\0"}, {"email": "canary@example.org"}, {"canary": "canary"}):
        client.patch(f"/admin/api/tables/{key}", json=body)
    client.close()


async def every_500(url: str, sql: asyncpg.Connection) -> list[str]:
    """Break the database in ways that no retry heals, ask, and return the ids that the answers carried."""
    ids = []
    async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {BEARER}"}) as client:

        async def ask(method: str, path: str, body: Any = None) -> None:
            answer = await client.request(method, path, json=body)
            assert answer.status_code == 500, (method, path, answer.text)
            assert answer.json()["error"] == {
                "code": "INTERNAL_ERROR",
                "message": "Something went wrong on our side.",
            }
            ids.append(answer.headers["x-request-id"])

        await sql.execute("ALTER TABLE tasks ADD CONSTRAINT meddled CHECK (title NOT LIKE 'canary%') NOT VALID")
        await ask("POST", "/api/tasks", TEXT)
        await sql.execute("ALTER TABLE tasks RENAME TO tasks_elsewhere")
        for _ in range(20):
            await ask("GET", "/api/tasks")
            await ask("POST", "/api/tasks", TEXT)
            await ask("PUT", "/api/tasks/1", TEXT)
            await ask("PATCH", "/api/tasks/1/complete")
            await ask("DELETE", "/api/tasks/1")
        await sql.execute('ALTER TABLE "user" RENAME TO user_elsewhere')
        await ask("GET", "/api/auth/me")
        await ask("POST", "/api/auth/signup", {"name": "x", "email": "canary@example.net", "password": "canary-new"})
    return ids


@pytest.mark.slow
async def test_every_500_is_found_by_its_request_id_and_no_line_holds_a_canary(talkative: tuple[str, Any]) -> None:
    url, service = talkative
    await asyncio.to_thread(make_staff, "olga", url)
    await asyncio.to_thread(bring_canaries, service.url, service.port)
    await asyncio.to_thread(bring_canaries_to_the_admin, service.url, "olga")
    sql = await asyncpg.connect(url)
    ids = await every_500(service.url, sql)
    await sql.close()
    assert service.stop() == 0

    said = lines(service.log())
    assert len(said) > 130
    for identifier in ids:
        [crash] = [line for line in said if line["level"] == "ERROR" and line.get("request_id") == identifier]
        assert crash["traceback"].startswith("Traceback (most recent call last):\n")
        [served] = [line for line in said if line["logger"] == "app.requests" and line.get("request_id") == identifier]
        assert served["status"] == 500
    assert sum(line["level"] == "ERROR" for line in said) == len(ids)
    check_that_nothing_leaks(service.log())


async def test_a_database_that_is_not_there_is_named_without_its_password(
    serve: Callable[..., Any], unused_port: int
) -> None:
    dsn = f"postgresql://owner:canary-password@127.0.0.1:{unused_port}/tasks?application_name=canary"
    service = serve(env={"DATABASE_URL": dsn, "JWT_SECRET": SECRET, "LOG_LEVEL": "debug"}, wait="live")
    async with httpx.AsyncClient(base_url=service.url, headers={"authorization": f"Bearer {BEARER}"}) as client:
        assert (await client.post("/api/tasks", json=TEXT)).status_code == 503
        assert (await client.get("/health/ready")).status_code == 503
        assert (await client.get("/admin/")).status_code == 503
    assert service.stop() == 0

    assert [line for line in lines(service.log()) if line["level"] == "WARNING"]
    assert any(f"127.0.0.1:{unused_port}" in line["message"] for line in lines(service.log()))
    check_that_nothing_leaks(service.log())


@pytest.mark.slow
def test_a_log_that_nobody_reads_stops_nothing_and_tells_later_what_was_lost(
    database_url: str, unused_port: int
) -> None:
    unread, ours = os.pipe()
    os.set_blocking(unread, False)
    place = {"HOST": "127.0.0.1", "PORT": f"{unused_port}"}
    service = subprocess.Popen([sys.executable, "-m", "app", "serve"], env={**os.environ, **place}, stderr=ours)
    try:
        with httpx.Client(transport=httpx.HTTPTransport(retries=10)) as client:
            client.get(f"http://127.0.0.1:{unused_port}/health/live")
        for _ in range(30):
            assert talk(unused_port, ASK * 100 + LAST).count(b"HTTP/1.1 401") == 100
        said = b""
        for _ in range(500):
            said += _read(unread)
            if b"were lost here" in said:
                break
            time.sleep(0.01)
        assert talk(unused_port, ASK + LAST).startswith(b"HTTP/1.1 401")
        service.terminate()
        assert service.wait(10) == 0
        told = [json.loads(line)["message"] for line in (said + _read(unread)).splitlines()]
    finally:
        service.kill()
        service.wait()
        os.close(unread)
        os.close(ours)

    [(at, lost)] = [(at, match[1]) for at, line in enumerate(told) if (match := LOST.fullmatch(line))]
    assert told[at + 1].startswith("GET - 401")
    served = [line for line in told if line.startswith("GET ")]
    assert len(served) + int(lost) == 1 + 30 * 101 + 2
    assert int(lost) > 100


def _read(file: int) -> bytes:
    try:
        return os.read(file, 1024 * 1024)
    except BlockingIOError:
        return b""
