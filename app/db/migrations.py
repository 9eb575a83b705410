"""Are the tables there? And, where it is asked for: make them."""

import asyncio
import logging
import os
import re
import secrets
import sys
from datetime import datetime
from importlib import resources
from pathlib import Path

import asyncpg

from app.config.settings import ROOT, Settings
from app.db import occupied, roles, search_path
from app.db.connect import connected, is_pooler
from app.db.errors import just

logger = logging.getLogger(__name__)

# The Piccolo apps of piccolo_conf.APP_REGISTRY, and the folders where their migrations lie.
FOLDERS = {
    "tasks": ROOT / "piccolo_migrations",
    "user": resources.files("piccolo.apps.user") / "piccolo_migrations",
    "session_auth": resources.files("piccolo_api.session_auth") / "piccolo_migrations",
}
ADVISORY_LOCK = 7_461_736_802  # any number, the same in every process that migrates


COMMAND = ("-m", "app.db.migrator")
start_process = asyncio.create_subprocess_exec  # the tests, which start a hundred, have them forked
# With what the process that migrates ends, beside 0.
FAILED, UNREACHABLE, BLOCKED = 1, 69, 75  # the last two as sysexits.h has them

# What the migrations make of which a former version may have applied the last one without recording it. Closed: all
# that come after these are recorded by the transaction that applies them.
_HAS_COLUMN = "EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('{}') AND attname = '{}')"
MADE = {
    ("tasks", "2026-11-21T02:50:00:000001"): """to_regclass('"user"') IS NOT NULL""",
    ("tasks", "2026-11-21T02:50:00:000002"): (
        "EXISTS (SELECT FROM pg_constraint WHERE conrelid = to_regclass('tasks') AND conname = 'title_has_text')"
    ),
    ("tasks", "2026-11-21T02:50:00:000003"): "to_regprocedure('tasks_stamp()') IS NOT NULL",
    ("tasks", "2026-11-21T06:00:00:000004"): _HAS_COLUMN.format("credentials", "password_hash"),
    ("tasks", "2026-11-25T20:00:00:000005"): (
        "EXISTS (SELECT FROM pg_policy WHERE polrelid = to_regclass('tasks') AND polname = 'tasks_of_owner')"
    ),
    ("tasks", "2026-11-25T23:00:00:000006"): _HAS_COLUMN.format("revisions", "epoch"),
    ("tasks", "2026-11-25T23:00:00:000007"): "to_regprocedure('tasks_begin()') IS NOT NULL",
    ("tasks", "2026-11-25T23:30:00:000008"): "to_regprocedure('tasks_found(text, text)') IS NOT NULL",
    ("user", "2019-11-14T21:52:21"): _HAS_COLUMN.format("piccolo_user", "username"),
    ("user", "2020-06-11T21:38:55"): _HAS_COLUMN.format("piccolo_user", "first_name"),
    ("user", "2021-04-30T16:14:15"): _HAS_COLUMN.format("piccolo_user", "superuser"),
    ("session_auth", "2019-11-12T20:47:17"): _HAS_COLUMN.format("sessions", "max_expiry_date"),
}


class MigrationError(Exception):
    """A migration could not be applied, and nothing was changed; the message tells why."""


class Occupied(MigrationError):
    """There are tables of somebody else's, which have the names of ours."""


class Blocked(MigrationError):
    """Somebody uses a table that is to be changed, and went on with it all the while."""


def known() -> set[tuple[str, str]]:
    """Return (app, id) of every migration that this version brings, read without importing any."""
    return {
        (app, match[1])
        for app, folder in FOLDERS.items()
        for file in Path(str(folder)).glob("*.py")
        if (match := re.search(r'^ID = "(.+)"$', file.read_text(), re.MULTILINE))
    }


async def missing(connection: asyncpg.Connection, schema: str | None = None) -> set[tuple[str, str]]:
    """Return (app, id) of every migration that this version brings and the database, or the schema, lacks."""
    return known() - await occupied.recorded(connection, schema)


async def reach(settings: Settings) -> str | None:
    """Connect, and return the `search_path` to set in a session of one's own; None where there is none to be set.

    Raises what asyncpg raises where the database cannot be used.
    """
    async with connected(settings) as connection, connection.transaction():
        if settings.database_schema is None or await is_pooler(connection):
            return None
        await connection.execute(f"SELECT {search_path.set_local(settings.database_schema)}")
        return await connection.fetchval("SELECT current_setting('search_path')")


async def lacks(settings: Settings) -> str:
    """Return what to tell about a database that is not migrated; nothing where it is. Raises as `reach`."""
    async with connected(settings) as connection:
        lacking = await missing(connection, settings.database_schema)
        if not lacking:
            return ""
        told = await occupied.told(connection, settings.database_schema, known())
        return told or f"The database lacks {len(lacking)} migrations. Apply them: {just('migrate')}"


async def newest(settings: Settings) -> str | None:
    """Return the newest of our migrations that the database has, or None where it has none. Raises as `reach`."""
    async with connected(settings) as connection:
        ours = known() - await missing(connection, settings.database_schema)
        return max((name for app, name in ours if app == "tasks"), default=None)


async def heal(connection: asyncpg.Connection) -> None:
    """Record what a former version applied, and was killed before it could record it; and the other way round.

    Each migration was a transaction of its own then: all of it is there or nothing, and one of its objects tells.
    """
    if not await connection.fetchval("SELECT to_regclass('migration') IS NOT NULL"):
        return
    rows = await connection.fetch("SELECT app_name, name FROM migration")
    recorded = {(row["app_name"], row["name"]) for row in rows}
    for app in FOLDERS:
        ids = sorted(name for of, name in known() if of == app)
        lacking = [name for name in ids if (app, name) not in recorded]
        last = next((name for name in reversed(ids) if (app, name) in recorded), "")
        if lacking and lacking[0] > last and await _is_applied(connection, app, lacking[0]):
            # By our clock, as Piccolo does: the order in which they were applied is read from it.
            values = (app, lacking[0], datetime.now())
            await connection.execute("INSERT INTO migration (app_name, name, ran_on) VALUES ($1, $2, $3)", *values)
        elif await _is_applied(connection, app, last) is False:
            await connection.execute("DELETE FROM migration WHERE app_name = $1 AND name = $2", app, last)


async def _is_applied(connection: asyncpg.Connection, app: str, name: str) -> bool | None:
    """Tell whether the database has what a migration makes; None where nobody can tell."""
    made = MADE.get((app, name))
    return None if made is None else await connection.fetchval(f"SELECT {made}")


async def migrate(settings: Settings) -> str:
    """Apply what is missing: all of it or nothing, and once, however many processes ask for it at the same time.

    Returns what Piccolo printed, or nothing where there was nothing to do. Raises MigrationError, Occupied and Blocked,
    and what asyncpg raises where there is no database.
    """
    schema = settings.database_schema
    async with connected(settings) as connection:
        lacking = await missing(connection, schema)
        if not lacking and not await _needs_roles(connection, schema):
            return ""
        if lacking and (told := await occupied.told(connection, schema, known())):
            raise Occupied(told)
        if lacking == known() and (others := await occupied.others(connection, schema)):
            logger.warning(occupied.BESIDE, ", ".join(others))
    return await _run(settings, "forwards")


async def _needs_roles(connection: asyncpg.Connection, schema: str | None) -> bool:
    async with connection.transaction():
        if schema is not None:
            await connection.execute(f"SELECT {search_path.set_local(schema)}")
        return bool(await roles.needed(connection))


async def rollback(settings: Settings) -> str:
    """Take the newest migration of ours back, all of it or nothing. Returns and raises what `migrate` does."""
    return await _run(settings, "backwards")


async def _run(settings: Settings, direction: str) -> str:
    """Let Piccolo work in a process of its own: its queries have no timeout there, and it prints."""
    command = (sys.executable, *COMMAND, direction)
    # The same database, whatever the environment says by now; and a secret, because there has to be one.
    chosen = {
        "DATABASE_URL": settings.database_url or "",
        "DATABASE_SCHEMA": settings.database_schema or "",
        "JWT_SECRET": secrets.token_hex(32),
    }
    process = await start_process(
        *command, cwd=ROOT, env={**os.environ, **chosen}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        printed, told = (output.decode(errors="replace") for output in await process.communicate())
    finally:
        if process.returncode is None:
            process.terminate()  # and with it ends its transaction
            await process.wait()
    if process.returncode == UNREACHABLE:
        raise ConnectionError(told.strip())
    if process.returncode != 0:
        raise (Blocked if process.returncode == BLOCKED else MigrationError)(told.strip())
    return printed
