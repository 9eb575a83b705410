"""`PROVISION_USERS`: what `docs/shared-secret.md` says of it, for tables of users that another program fills."""

import secrets
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.conftest import token
from tests.db.test_migrations import BETTER_AUTH, connected
from tests.live.conftest import Serve

pytestmark = pytest.mark.slow

OURS_CANNOT_ADD = [
    (
        BETTER_AUTH
        + """ALTER TABLE "user" ADD username text; UPDATE "user" SET username = id;
        ALTER TABLE "user" ALTER username SET NOT NULL""",
        "NotNullViolationError",
    ),
    (
        """CREATE TABLE "user" (id text PRIMARY KEY, email text NOT NULL UNIQUE, created_at timestamptz DEFAULT now());
        INSERT INTO "user" VALUES ('u1', 'ada@example.com'), ('u2', 'bob@example.com')""",
        "UndefinedColumnError",
    ),
]
IDS = 'SELECT id FROM "user" ORDER BY id'


async def write(url: str, user: str) -> int:
    headers = {"Authorization": f"Bearer {token(user, email=f'{user}@example.com')}"}
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        answer = await client.post("/api/tasks", json={"title": "x"})
        if answer.status_code == 401:
            assert (await client.get("/api/tasks")).json() == {"data": []}
        return answer.status_code


async def prepared(url: str, *statements: str) -> list[Any]:
    async with connected(url) as sql:
        for statement in statements:
            await sql.execute(statement)
        return [row[0] for row in await sql.fetch(IDS)]


@pytest.mark.parametrize(("users", "error"), OURS_CANNOT_ADD, ids=["a column that has no default", "other columns"])
async def test_to_a_table_of_another_shape_nobody_can_be_added(
    new_database: Callable[[], str], serve: Serve, users: str, error: str
) -> None:
    url, unknown = new_database(), f"u-{secrets.token_hex(6)}"
    await prepared(url, users)
    on = serve(env={"DATABASE_URL": url}, arguments=["--migrate"])
    off = serve(env={"DATABASE_URL": url, "PROVISION_USERS": "off"})
    assert [await write(each.url, "u1") for each in (on, off)] == [201, 201]
    assert [await write(each.url, unknown) for each in (on, off)] == [500, 401]
    assert sum(f"Unexpected {error}" in line for line in on.log()) == 1
    assert not any("Unexpected" in line for line in off.log())
    assert await prepared(url) == ["u1", "u2"]


async def test_a_user_who_was_deleted_comes_back_with_it_alone(new_database: Callable[[], str], serve: Serve) -> None:
    url = new_database()
    await prepared(url, BETTER_AUTH)
    on = serve(env={"DATABASE_URL": url}, arguments=["--migrate"])
    off = serve(env={"DATABASE_URL": url, "PROVISION_USERS": "off"})
    assert [await write(each.url, "u1") for each in (on, off)] == [201, 201]
    assert await prepared(url, """DELETE FROM "user" WHERE id = 'u1'""") == ["u2"]
    assert await write(off.url, "u1") == 401
    assert await prepared(url) == ["u2"]
    assert await write(on.url, "u1") == 201
    assert await prepared(url) == ["u1", "u2"]
    # With `off` a user can write as soon as the row is there, whoever adds it.
    assert await write(off.url, "late") == 401
    await prepared(url, """INSERT INTO "user" VALUES ('late', '', 'late@example.com', false)""")
    assert await write(off.url, "late") == 201
