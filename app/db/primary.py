"""Finds the primary among the servers that a URL names. A replica is no use to a service that writes.

asyncpg would look for it too, but it waits for the first server until the time for all of them is up, and it believes
what it is told when it connects; a pooler goes on telling what its server was once.
"""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import asyncpg

from app.config.parsing import each_host

# What a server raises that is not there, not well, or not willing. (TimeoutError is an OSError.)
CONNECT_ERRORS = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)

# What to ask a server, by `target_session_attrs`.
QUESTIONS = {
    "primary": "SELECT NOT pg_is_in_recovery()",
    "read-write": "SELECT current_setting('transaction_read_only') = 'off'",
    "any": "SELECT true",
}


class NoPrimary(ConnectionError):
    """The server that answers is not what `target_session_attrs` asks for."""


class Servers:
    """The servers of one URL, the one that was right the last time first."""

    def __init__(self, url: str) -> None:
        self._urls = each_host(url)
        options = dict(parse_qsl(urlsplit(url).query))
        self._question = QUESTIONS[options.get("target_session_attrs", "primary")]

    async def connect(self, *, timeout: float, **arguments: Any) -> asyncpg.Connection:  # noqa: ASYNC109 # asyncpg's
        """Connect to the first that is right; each has its share of the timeout. Raises what the last one did."""
        share = timeout / len(self._urls)
        trouble: BaseException = NoPrimary()
        for url in [*self._urls]:
            try:
                connection = await self._connect(url, share, arguments)
            except CONNECT_ERRORS as error:
                trouble = error
            else:
                self._urls.sort(key=lambda each: each != url)
                return connection
        raise trouble

    async def _connect(self, url: str, seconds: float, arguments: dict[str, Any]) -> asyncpg.Connection:
        every: dict[str, Any] = {"timeout": seconds, "target_session_attrs": "any", **arguments}
        connection: asyncpg.Connection = await asyncpg.connect(url, **every)
        is_right = False
        try:
            is_right = await connection.fetchval(self._question, timeout=seconds)
        finally:
            if not is_right:
                connection.terminate()
        if not is_right:
            raise NoPrimary
        return connection
