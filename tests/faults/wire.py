"""A wire to a PostgreSQL: it can be slow, hold everything back, lose everything, or not be there."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit


class Wire:
    """Forwards a port of the loopback to a server, as long as it is let. `url` leads through it."""

    def __init__(self, url: str) -> None:
        self.delay = 0.0  # seconds, for each way
        self.is_cut = False
        self._behind = urlsplit(url)
        self._flows = asyncio.Event()
        self._flows.set()
        self._port = 0
        self._links: set[_Link] = set()

    @property
    def url(self) -> str:
        """Without TLS: asyncpg complains to the event loop where somebody gives up while it is agreed on."""
        who = self._behind.netloc.rpartition("@")[0]
        return f"postgresql://{who}@127.0.0.1:{self._port}{self._behind.path}?sslmode=disable"

    def hold(self) -> None:
        """Let nothing through until `heal`. It is kept, and arrives then."""
        self._flows.clear()

    def cut(self) -> None:
        """Lose everything until `heal`, the news that somebody hung up too. What is connected by then stays silent."""
        self.is_cut = True
        for link in self._links:
            link.is_dead = True

    def heal(self) -> None:
        """Let everything through again."""
        self.is_cut = False
        self._flows.set()

    async def refuse(self) -> None:
        """End every connection, and refuse new ones until `accept`."""
        self._server.close()
        self.hang_up()

    async def accept(self) -> None:
        """Be there."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    def hang_up(self) -> None:
        """End every connection, on both sides."""
        for link in [*self._links]:
            link.close()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        options = parse_qs(self._behind.query)
        try:
            if "host" in options:
                there = await asyncio.open_unix_connection(f"{options['host'][0]}/.s.PGSQL.5432")
            else:
                there = await asyncio.open_connection(self._behind.hostname, self._behind.port or 5432)
        except OSError:
            writer.close()
            return
        link = _Link(self, (reader, writer), there)
        self._links.add(link)
        try:
            await link.run()
        finally:
            link.close()
            self._links.discard(link)

    async def through(self, link: "_Link") -> bool:
        """Wait for as long as things take on this wire, and tell whether they arrive."""
        if self.delay:
            await asyncio.sleep(self.delay)
        await self._flows.wait()
        return not link.is_dead


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Link:
    def __init__(self, wire: Wire, here: Ends, there: Ends) -> None:
        self.is_dead = wire.is_cut
        self._wire = wire
        self._writers = (here[1], there[1])
        self._ways = ((here[0], there[1]), (there[0], here[1]))
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        self._tasks = [asyncio.create_task(self._forward(*way)) for way in self._ways]
        await asyncio.wait(self._tasks)

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        for writer in self._writers:
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if await self._wire.through(self):
                writer.write(data)
                await writer.drain()
        if await self._wire.through(self):
            writer.close()


@asynccontextmanager
async def wire_to(url: str) -> AsyncIterator[Wire]:
    """A wire to the server of `url`."""
    wire = Wire(url)
    await wire.accept()
    try:
        yield wire
    finally:
        await wire.refuse()
        async with asyncio.timeout(5):
            while wire._links:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
