"""The readiness probe: asks the primary on a connection of its own, so that it can be asked when the pool has none.

Concurrent checks are one question. A check takes a second at most, also where nothing comes back.
"""

import asyncio

import asyncpg

from app.config.settings import Settings
from app.db import connect, search_path
from app.db.primary import NoPrimary

# A database that was made anew under us does not answer before it is migrated.
QUESTION = "SELECT pg_is_in_recovery() OR {} IS NULL"
SECONDS = 1.0  # for which a check waits; one that comes later asks anew


class ReadinessProbe:
    """The question, and the connection that is kept for it from the first check on."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._question = QUESTION.format(search_path.oid(settings.database_schema, "rate_limits"))
        self._connection: asyncpg.Connection | None = None
        self._questions: set[asyncio.Task[None]] = set()
        self._latest: asyncio.Task[None] | None = None
        self._asked = 0.0

    async def check(self) -> None:
        """Return when the database has answered. Raises what asyncpg does, and TimeoutError."""
        now = asyncio.get_running_loop().time()
        if self._latest is None or self._latest.done() or self._asked + SECONDS <= now:
            self._latest, self._asked = asyncio.create_task(self._ask()), now
            self._questions.add(self._latest)
            self._latest.add_done_callback(self._forget)
        question = self._latest
        await asyncio.wait({question}, timeout=SECONDS)
        if not question.done() or question.cancelled():
            raise TimeoutError
        question.result()

    async def close(self) -> None:
        """Take the connection down, and whatever is still asked."""
        for question in self._questions:
            question.cancel()
        if self._questions:
            await asyncio.wait(self._questions, timeout=SECONDS)
        if self._connection:
            self._connection.terminate()

    async def _ask(self) -> None:
        # To connect may take longer than a second, as may a server that wakes up first. Then the next ones ask beside.
        connection, self._connection = self._connection, None
        if connection is None or connection.is_closed():
            connection = await connect.connect(self._settings)
        # To cancel a question asks the server too, which may be silent. To hang up does not.
        limit = asyncio.get_running_loop().call_later(SECONDS, connection.terminate)
        try:
            if await connection.fetchval(self._question):
                raise NoPrimary
        except BaseException:
            connection.terminate()
            raise
        finally:
            limit.cancel()
        if self._connection:
            self._connection.terminate()
        self._connection = connection

    def _forget(self, question: asyncio.Task[None]) -> None:
        self._questions.discard(question)
        if not question.cancelled():
            question.exception()  # or asyncio complains that nobody looked
