"""What Piccolo asks is for the staff and for migrations: as who we log in as, and for all owners.

It is said in each transaction, and until that ends: no state of a session, which a pooler would hand on.
"""

from collections.abc import Sequence
from typing import Any

import asyncpg
from piccolo.engine.postgres import PostgresTransaction

AS_STAFF = "SELECT set_config('role', 'none', true), set_config('tasks.staff', 'on', true)"


class StaffTransaction(PostgresTransaction):
    """A transaction of Piccolo's."""

    async def begin(self) -> None:
        """Begin it, for the staff."""
        await super().begin()
        await self.connection.execute(AS_STAFF)


async def fetch_as_staff(connection: asyncpg.Connection, query: str, args: Sequence[Any]) -> list[asyncpg.Record]:
    """Run one statement in a transaction of its own and return its rows. Raises what asyncpg does."""
    async with connection.transaction():
        await connection.execute(AS_STAFF)
        return await connection.fetch(query, *args)
