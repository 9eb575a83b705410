"""Group commit: many people change their tasks, and try to change each other's, over sockets and over two workers."""

import asyncio
import json
import secrets
from collections.abc import Callable
from typing import Any, NamedTuple

import asyncpg
import pytest

from tests.conftest import token
from tests.live.conftest import Served

pytestmark = pytest.mark.slow

PEOPLE = 24
IN_ONE_TRANSACTION = """
    SELECT count(DISTINCT user_id) AS owners FROM tasks WHERE user_id LIKE $1 || '%'
    GROUP BY xmin::text ORDER BY owners DESC LIMIT 1
"""


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Answer(NamedTuple):
    """What somebody is told."""

    status: int
    data: Any


def message(who: str, method: str, path: str, content: Any = None, *, keyed: bool = False) -> bytes:
    body = b"" if content is None else json.dumps(content).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(who)}\r\nConnection: close\r\n"
    kind = "" if content is None else f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    key = f"Idempotency-Key: {secrets.token_hex(8)}\r\n" if keyed and method != "GET" else ""
    return f"{head}{kind}{key}\r\n".encode() + body


async def send(service: Served, messages: list[bytes]) -> list[Stream]:
    """Send each on a connection of its own, all in one moment."""
    streams = [await asyncio.open_connection("127.0.0.1", service.port) for _ in messages]
    for (_, writer), each in zip(streams, messages, strict=True):
        writer.write(each)
    return streams


async def read(stream: Stream) -> Answer:
    reader, writer = stream
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return Answer(int(head.split()[1]), json.loads(body or b"{}").get("data"))


async def at_once(service: Served, sql: asyncpg.Connection, messages: list[bytes]) -> list[Answer]:
    """What each is told; none of them gets through before all are sent."""
    async with sql.transaction():
        await sql.execute("LOCK TABLE revisions IN SHARE ROW EXCLUSIVE MODE")
        streams = await send(service, messages)
        await asyncio.sleep(0.3)
    return [await read(each) for each in streams]


@pytest.mark.parametrize("keyed", [False, True], ids=["without keys", "with a key each"])
async def test_each_is_told_what_became_of_their_own_and_nobody_moves_anothers(
    serve: Callable[..., Served], sql: asyncpg.Connection, keyed: bool
) -> None:
    service = await asyncio.to_thread(serve, workers=2)
    prefix = f"group-{secrets.token_hex(4)}-"
    everybody = [f"{prefix}{number:02}" for number in range(PEOPLE)]

    async def all_ask(*asked: tuple[str, str, list[str], Callable[[str], Any] | None]) -> list[list[Answer]]:
        """What everybody is told who asks this of the path that is theirs to ask for, and says what is said of them."""
        messages = [
            message(who, method, path + more, says and says(who), keyed=keyed)
            for method, more, paths, says in asked
            for who, path in zip(everybody, paths, strict=True)
        ]
        answers = await at_once(service, sql, messages)
        return [answers[start : start + PEOPLE] for start in range(0, len(answers), PEOPLE)]

    tasks = ["/api/tasks"] * PEOPLE
    for _ in range(2):  # the first finds that nobody knows them yet
        [made] = await all_ask(("POST", "", tasks, lambda who: {"title": f"of {who}"}))
        assert [(status, data["user_id"], data["title"]) for status, data in made] == [
            (201, who, f"of {who}") for who in everybody
        ]
    paths = [f"/api/tasks/{data['id']}" for _, data in made]

    together = []
    for turn in range(1, 6):
        others = [*paths[turn:], *paths[:turn]]
        mine, flipped, *refused = await all_ask(
            ("PUT", "", paths, lambda who: {"title": f"{who} again"}),
            ("PATCH", "/complete", paths, None),
            ("PUT", "", others, lambda who: {"title": f"by {who}"}),
            ("PATCH", "", others, lambda who: {"title": f"by {who}"}),
            ("PATCH", "/complete", others, None),
            ("DELETE", "", others, None),
        )
        assert [(status, data["user_id"]) for status, data in [*mine, *flipped]] == [
            (200, who) for who in everybody
        ] * 2
        assert [data["title"] for _, data in mine] == [f"{who} again" for who in everybody]
        assert {data["completed"] for _, data in flipped} == {turn % 2 == 1}
        assert {each for kind in refused for each in kind} == {(404, None)}
        together.append((await sql.fetchrow(IN_ONE_TRANSACTION, prefix))["owners"])

    lists, histories = await all_ask(("GET", "", tasks, None), ("GET", "/history", paths, None))
    told = [[(task["title"], task["completed"]) for task in data] for _, data in lists]
    assert told == [[(f"{who} again", True), (f"of {who}", False)] for who in everybody]
    assert {len(data) for _, data in histories} == {11}
    assert max(together) > 3, "no two owners have shared a transaction"
    assert not [line for line in service.log() if '"level":"ERROR"' in line]


@pytest.mark.parametrize("keyed", [False, True], ids=["without keys", "with a key each"])
async def test_those_whose_rows_nobody_holds_do_not_wait_for_one_whose_row_somebody_holds(
    serve: Callable[..., Served], sql: asyncpg.Connection, keyed: bool
) -> None:
    service = await asyncio.to_thread(serve)
    prefix = f"held-{secrets.token_hex(4)}-"
    everybody = [f"{prefix}{number:02}" for number in range(PEOPLE)]

    def messages() -> list[bytes]:
        return [message(who, "POST", "/api/tasks", {"title": f"of {who}"}, keyed=keyed) for who in everybody]

    for _ in range(2):
        assert {each.status for each in await at_once(service, sql, messages())} == {201}

    streams: dict[bool, list[Stream]] = {True: [], False: []}
    async with sql.transaction():
        await sql.execute("SELECT FROM revisions WHERE user_id = $1 FOR UPDATE", everybody[0])
        for place, stream in enumerate(await send(service, [each for _ in range(4) for each in messages()])):
            streams[place % PEOPLE == 0].append(stream)
        async with asyncio.timeout(4):
            assert {(await read(each)).status for each in streams[False]} == {201}
    assert [(await read(each)).status for each in streams[True]] == [201] * 4
