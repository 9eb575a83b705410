"""Whether the primary answers: asked on a connection of its own, so that it is told at once when the pool has none.

However many ask at once, it is one question. Nobody waits for more than a second, also where nothing comes back.
"""

import asyncio

import asyncpg

from app import pool, search_path
from app.primary import NoPrimary
from app.settings import Settings

# A database that was made anew under us does not answer before it is migrated.
QUESTION = "SELECT pg_is_in_recovery() OR {} IS NULL"
SECONDS = 1.0  # for which an answer is waited for; whoever asks later asks anew


class Pulse:
    """The question, and the connection that is kept for it from the first time on."""

    def __init__(self, settings: Settings) -> None:
        """Connect to nothing yet."""
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
            connection = await pool.connect(self._settings)
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
