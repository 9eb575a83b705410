"""Are the tables there? And, where it is asked for: make them."""

import asyncio
import os
import re
import secrets
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from app.pool import connect
from app.settings import ROOT, Settings

# The Piccolo apps of piccolo_conf.APP_REGISTRY, and the folders where their migrations lie.
FOLDERS = {
    "tasks": ROOT / "piccolo_migrations",
    "user": resources.files("piccolo.apps.user") / "piccolo_migrations",
    "session_auth": resources.files("piccolo_api.session_auth") / "piccolo_migrations",
}
ADVISORY_LOCK = 7_461_736_802  # any number, the same in every process that migrates


class MigrationError(Exception):
    """Piccolo could not apply a migration; the message is what it printed."""


def known() -> set[tuple[str, str]]:
    """Return (app, id) of every migration that this version brings, read without importing any."""
    return {
        (app, match[1])
        for app, folder in FOLDERS.items()
        for file in Path(str(folder)).glob("*.py")
        if (match := re.search(r'^ID = "(.+)"$', file.read_text(), re.MULTILINE))
    }


async def missing(connection: Any) -> set[tuple[str, str]]:
    """Return (app, id) of every migration that this version brings and the database lacks."""
    # Asked beforehand, since a failure would end the transaction that we may be in, and its locks.
    if (await connection.fetch("SELECT to_regclass('migration') IS NULL"))[0][0]:
        return known()
    rows = await connection.fetch("SELECT app_name, name FROM migration")
    return known() - {(row["app_name"], row["name"]) for row in rows}


async def migrate(settings: Settings) -> str:
    """Apply what is missing, once, however many processes ask for it at the same time.

    Returns what Piccolo printed, or nothing where there was nothing to do. Raises MigrationError, and what
    asyncpg raises where there is no database.
    """
    connection = await connect(settings)
    try:
        async with connection.transaction():
            await connection.execute(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
            # READ COMMITTED: this looks anew after the wait, and sees what somebody else migrated meanwhile.
            return await _forwards(settings) if await missing(connection) else ""
    finally:
        await connection.close(timeout=settings.database_timeout)


async def _forwards(settings: Settings) -> str:
    """Let Piccolo migrate in a process of its own: its queries have no timeout there, and it prints."""
    command = (sys.executable, "-m", "piccolo.main", "migrations", "forwards", "all")
    # The same database, whatever the environment says by now; and a secret, because there has to be one.
    chosen = {"DATABASE_URL": settings.database_url or "", "JWT_SECRET": secrets.token_hex(32)}
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=ROOT,
        env={**os.environ, **chosen},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output = (await process.communicate())[0].decode(errors="replace")
    if process.returncode != 0:
        raise MigrationError(output)
    return output
