"""What Piccolo asks is for the staff and for migrations: as who we log in as, and for all owners.

It is said in each transaction, and until that ends: no state of a session, which a pooler would hand on. The same goes
for the schema of DATABASE_SCHEMA.
"""

from collections.abc import Sequence
from typing import Any

import asyncpg
from piccolo.engine.postgres import PostgresTransaction

from app import search_path, settings

AS_STAFF = "SELECT set_config('role', 'none', true), set_config('tasks.staff', 'on', true)"


def as_staff(pool: object) -> str:
    """Return the statement with which such a transaction begins; the connections of a `pool` know the schema."""
    schema = settings.current().database_schema if pool is None else None
    return AS_STAFF if schema is None else f"{AS_STAFF}, {search_path.set_local(schema)}"


class StaffTransaction(PostgresTransaction):
    """A transaction of Piccolo's."""

    async def begin(self) -> None:
        """Begin it, for the staff."""
        await super().begin()
        await self.connection.execute(as_staff(self.engine.pool))


async def fetch_as_staff(
    connection: asyncpg.Connection, query: str, args: Sequence[Any], pool: object
) -> list[asyncpg.Record]:
    """Run one statement in a transaction of its own and return its rows. Raises what asyncpg does."""
    async with connection.transaction():
        await connection.execute(as_staff(pool))
        return await connection.fetch(query, *args)
