"""The mark of a table of users that we made lasts as long as the table; and accounts of before are made safe."""

import os
import secrets
import subprocess
from collections.abc import AsyncIterator, Callable
from urllib.parse import urlsplit

import asyncpg
import pytest

from app.db import migrations
from app.db.embedded import BIN
from app.db.user_table import IS_OURS, IS_OURS_ALONE
from tests.db.test_migrations import BETTER_AUTH, configured, connected, piccolo

BEFORE = "2026-11-25T23:30:00:000008"
THIS = "2026-11-30T12:00:00:000009"

# Two accounts, made by signing up with version 8, and somebody whom only a token has named.
PEOPLE = """
    INSERT INTO "user" (id, name, email, "emailVerified") VALUES
        ('u5', 'Eve', 'Eve@example.com', false), ('u6', 'Guy', 'guy@example.com', false),
        ('u7', 'Jo', 'Jo@example.com', false);
    INSERT INTO credentials (user_id, password_hash) VALUES ('u5', 'x'), ('u6', 'x');
"""
EMAILS = """SELECT id, email FROM "user" WHERE id >= 'u5' ORDER BY id"""
AS_THEY_WERE = {"u5": "Eve@example.com", "u6": "guy@example.com", "u7": "Jo@example.com"}
SAFE = {"u5": "eve@example.com.user.invalid", "u6": "guy@example.com.user.invalid"}
# Eve's row has got a password there, since somebody owns the address.
ACCOUNT = """
    CREATE TABLE account (id text PRIMARY KEY, password text, "userId" text NOT NULL REFERENCES "user" (id));
    INSERT INTO account VALUES ('a1', 'y', 'u5');
"""
PICTURES = """
    CREATE TABLE pictures (id text PRIMARY KEY, "userId" text NOT NULL REFERENCES "user" (id));
    INSERT INTO pictures VALUES ('p1', 'u5'), ('p2', 'u6');
"""


async def to(url: str, version: str, *, forwards: bool = True) -> None:
    way = ("forwards", "tasks", version) if forwards else ("backwards", "tasks", version, "--auto_agree")
    await piccolo(*way, **{**os.environ, "DATABASE_URL": url})


async def emails(connection: asyncpg.Connection) -> dict[str, str]:
    return dict(await connection.fetch(EMAILS))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "beside", "after"),
    [
        ("SELECT 1", "SELECT 1", SAFE),
        ("SELECT 1", PICTURES, SAFE),
        ("SELECT 1", ACCOUNT, SAFE | {"u5": "Eve@example.com"}),
        (BETTER_AUTH, "SELECT 1", SAFE),
        (BETTER_AUTH, ACCOUNT, SAFE | {"u5": "Eve@example.com"}),
    ],
    ids=["ours", "ours with pictures", "ours, and another's too", "another's", "another's, which has claimed one"],
)
async def test_accounts_of_before_have_no_address_any_more_that_others_find_unless_one_is_anothers_by_now(
    new_database: Callable[[], str], first: str, beside: str, after: dict[str, str]
) -> None:
    url = new_database()
    async with connected(url) as connection:
        await connection.execute(first)
        await to(url, BEFORE)
        await connection.execute(PEOPLE)
        await connection.execute(beside)

        await to(url, THIS)
        assert await emails(connection) == AS_THEY_WERE | after
        assert await connection.fetchval("SHOW row_security") == "on"

        await to(url, THIS, forwards=False)
        lower = {"u5": AS_THEY_WERE["u5"] if after["u5"] == AS_THEY_WERE["u5"] else "eve@example.com"}
        assert await emails(connection) == AS_THEY_WERE | lower


@pytest.fixture
async def an_owner(new_database: Callable[[], str]) -> AsyncIterator[tuple[str, asyncpg.Connection]]:
    """A database of version 8 as its owner sees it, who is no superuser; and a connection of one who is."""
    url, role = new_database(), f"tasks_test_{secrets.token_hex(4)}"
    place = urlsplit(url)
    async with connected(url) as superuser:
        await superuser.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{role}'")
        await superuser.execute(f"ALTER DATABASE {place.path[1:]} OWNER TO {role}")
        owners = place._replace(netloc=f"{role}:{role}@{place.netloc.rpartition('@')[2]}").geturl()
        await to(owners, BEFORE)
        await superuser.execute(PEOPLE)
        await superuser.execute(ACCOUNT)
        yield owners, superuser
        await superuser.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER; DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "hides",
    ["SELECT 1", "GRANT SELECT ON account TO PUBLIC; ALTER TABLE account ENABLE ROW LEVEL SECURITY"],
    ids=["no grant", "a policy"],
)
async def test_where_nobody_may_see_whom_the_other_service_knows_all_may_be_its_own(
    an_owner: tuple[str, asyncpg.Connection], hides: str
) -> None:
    url, superuser = an_owner
    await superuser.execute(hides)
    await to(url, THIS)
    assert await emails(superuser) == AS_THEY_WERE


@pytest.fixture
async def made(new_database: Callable[[], str]) -> str:
    """A database whose tables are all ours."""
    url = new_database()
    await migrations.migrate(configured(url))
    return url


async def is_ours(url: str, what: str = IS_OURS) -> bool:
    async with connected(url) as connection:
        return await connection.fetchval(f"SELECT {what}")


def copied(url: str, elsewhere: str, *options: str) -> None:
    """Dump a database, and restore it into another."""
    dump = subprocess.run([BIN / "pg_dump", *options, url], capture_output=True, check=True).stdout
    subprocess.run([BIN / "psql", "-qX", elsewhere], input=dump, capture_output=True, check=True)


@pytest.mark.slow
async def test_the_mark_is_dumped_and_restored_with_its_table(made: str, new_database: Callable[[], str]) -> None:
    assert await is_ours(made)
    elsewhere, without = new_database(), new_database()
    copied(made, elsewhere)
    assert await is_ours(elsewhere)
    copied(made, without, "--no-comments")  # then nothing shows it
    assert not await is_ours(without)


@pytest.mark.slow
async def test_the_mark_goes_where_its_table_goes_and_nowhere_else(made: str) -> None:
    async with connected(made) as connection:
        await connection.execute('ALTER TABLE "user" RENAME TO people')
        assert not await is_ours(made)
        await connection.execute('CREATE TABLE "user" (LIKE people INCLUDING ALL)')
        assert not await is_ours(made)
        await connection.execute('DROP TABLE "user"; ALTER TABLE people RENAME TO "user"')
        assert await is_ours(made)
        await connection.execute('CREATE SCHEMA other; ALTER TABLE "user" SET SCHEMA other')
        assert not await is_ours(made)
        await connection.execute('ALTER TABLE other."user" SET SCHEMA public')
        await connection.execute("""COMMENT ON TABLE "user" IS 'made by the tasks api'""")
        assert not await is_ours(made)


@pytest.mark.slow
async def test_another_service_that_comes_later_is_seen_wherever_its_tables_are(made: str) -> None:
    assert await is_ours(made, IS_OURS_ALONE)
    async with connected(made) as connection:
        await connection.execute(PICTURES.partition(";")[0])
        assert await is_ours(made, IS_OURS_ALONE)
        await connection.execute("CREATE SCHEMA auth")
        await connection.execute(
            'CREATE TABLE auth.session (id text, "sessionToken" text, who text REFERENCES "user" (id))'
        )
        assert not await is_ours(made, IS_OURS_ALONE)
        assert await is_ours(made)
