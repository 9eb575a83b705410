"""No request hides in another: what can be read in two ways is refused, and nothing in it or behind it is done."""

import asyncio
import random
import re
from typing import Any

import asyncpg
import pytest

from tests.live import test_protocol
from tests.live.second_reader import STRICTER, mutant, read
from tests.live.smuggling import AMBIGUOUS, GET, HOST, OTHER_PROTOCOLS, PLAIN, SMUGGLED
from tests.live.test_protocol import refused, talk

GOOD = GET + HOST + b"\r\n"
CLOSING = b"connection: close\r\n"
STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")


async def done(sql: asyncpg.Connection) -> list[str]:
    """What has been asked for in Mallory's name, and was done."""
    rows = await sql.fetch("DELETE FROM tasks WHERE user_id = 'mallory' RETURNING title")
    return [row["title"] for row in rows]


async def say(service: Any, *parts: bytes) -> bytes:
    return await asyncio.to_thread(talk, service.port, *parts)


EVERYTHING = {**AMBIGUOUS, **{f"protocol: {label}": message for label, message in test_protocol.AMBIGUOUS.items()}}


@pytest.mark.parametrize("message", EVERYTHING.values(), ids=EVERYTHING)
async def test_an_ambiguous_message_is_400_or_closed_and_nothing_behind_it_is_done(
    service: Any, sql: asyncpg.Connection, message: bytes
) -> None:
    raw = await say(service, message + SMUGGLED)
    assert STATUS.findall(raw) in ([], [b"400"], [b"431"])
    if raw:
        refused(raw, int(STATUS.findall(raw)[0]))

    raw = await say(service, GOOD + message + SMUGGLED)
    assert STATUS.findall(raw)[:1] == [b"200"]
    assert STATUS.findall(raw)[1:] in ([], [b"400"], [b"431"])

    assert await done(sql) == []


@pytest.mark.parametrize(("message", "status"), PLAIN.values(), ids=PLAIN)
async def test_what_has_one_reading_is_answered_and_so_is_what_follows_it(
    service: Any, sql: asyncpg.Connection, message: bytes, status: int
) -> None:
    raw = await say(service, message + SMUGGLED)
    assert STATUS.findall(raw) == [b"%d" % status, b"201"]
    assert sorted(await done(sql)) == (["of the message itself"] if status == 201 else []) + ["smuggled"]


@pytest.mark.parametrize("message", OTHER_PROTOCOLS.values(), ids=OTHER_PROTOCOLS)
async def test_behind_a_message_of_another_protocol_nothing_is_done(
    service: Any, sql: asyncpg.Connection, message: bytes
) -> None:
    raw = await say(service, message + SMUGGLED)
    assert len(STATUS.findall(raw)) == 1
    assert await done(sql) == []


@pytest.mark.slow
@pytest.mark.parametrize("what", ["a name", "a target", "a method", "empty lines"])
async def test_a_megabyte_before_the_end_of_a_head_is_refused(service: Any, what: str) -> None:
    mega = b"a" * 1_000_000
    head = {
        "a name": GET + HOST + mega + b": y\r\n\r\n",
        "a target": b"GET /" + mega + b" HTTP/1.1\r\n" + HOST + b"\r\n",
        "a method": mega + b" / HTTP/1.1\r\n" + HOST + b"\r\n",
        "empty lines": b"\r\n" * 500_000,
    }[what]
    raw = await say(service, *(head[at : at + 16_384] for at in range(0, len(head), 16_384)))
    assert STATUS.findall(raw) in ([], [b"431"], [b"400"])


async def compare(service: Any, sql: asyncpg.Connection, message: bytes) -> None:
    """What we serve of this message and the one behind it is no more than another parser finds in them."""
    raw = await say(service, message + SMUGGLED)
    statuses = STATUS.findall(raw)
    refusals = sum(status in (b"400", b"408", b"431") for status in statuses[-1:]) if raw.count(CLOSING) else 0
    theirs = read(message + SMUGGLED)
    assert b"500" not in statuses, message
    smuggled = (await done(sql)).count("smuggled")
    if not theirs.complaint.startswith(STRICTER):
        assert len(statuses) - refusals <= theirs.heads, (message, raw, theirs)
        assert smuggled <= theirs.bodies.count(b'{"title":"smuggled"}'), (message, raw, theirs)


@pytest.mark.slow
async def test_nothing_is_served_that_another_parser_does_not_find(service: Any, sql: asyncpg.Connection) -> None:
    chance = random.Random(1)
    for _ in range(400):
        await compare(service, sql, mutant(chance))


async def test_whatever_was_thrown_at_it_the_server_logged_no_error(service: Any) -> None:
    assert [line for line in service.log() if '"level":"ERROR"' in line] == []
