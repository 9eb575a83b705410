"""Whatever one user does, everybody else is served: by one worker, and by two."""

import asyncio
import json
import random
import secrets
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import cycle, islice

import asyncpg
import pytest

from tests.conftest import token
from tests.live.conftest import Served
from tests.soak.conftest import Figure

SECONDS = 20
REQUESTS = 546  # of the attacker in these seconds
VOLLEYS = 10
BYSTANDERS = 4
PAUSE = 0.1  # seconds between two requests of a bystander
MEDIAN_MS, P95_MS = 25, 400

OWN = """
    INSERT INTO tasks (user_id, title, description)
    SELECT $1, 'Task ' || md5(n::text), 'milk and bread ' || repeat('x', 200) FROM generate_series(1, $2::int) n
    RETURNING id
"""

Request = tuple[str, str, object, dict[str, str]]
Attack = Callable[[list[int]], Iterator[Request]]


def batch(ids: list[int], *, dry: bool) -> Request:
    some = [{"op": "update", "id": each, "data": {"description": "y" * 2000}} for each in random.sample(ids, 100)]
    return "POST", f"/api/tasks/batch?dry_run={'true' if dry else 'false'}", {"operations": some}, {}


def change(ids: list[int], **headers: str) -> Request:
    return "PATCH", f"/api/tasks/{random.choice(ids)}/complete", None, headers


def dry_runs(ids: list[int]) -> Iterator[Request]:
    while True:
        yield batch(ids, dry=True)


def batches_and_changes(ids: list[int]) -> Iterator[Request]:
    while True:
        yield from (batch(ids, dry=True), change(ids), batch(ids, dry=False), change(ids))


def bursts(_: list[int]) -> Iterator[Request]:
    while True:
        yield "POST", "/api/tasks", {"title": "one of many", "description": "x" * 2000}, {}


def searches(ids: list[int]) -> Iterator[Request]:
    while True:
        yield "GET", "/api/tasks?q=milk%20-bread%20or%20xx&sort=relevance&limit=50", None, {}
        yield "GET", "/api/tasks?q=mil&count=true&limit=50", None, {}
        yield change(ids)


def sorts(_: list[int]) -> Iterator[Request]:
    while True:
        yield from (("GET", f"/api/tasks?sort={sign}title&limit=1", None, dict[str, str]()) for sign in ("", "-"))


def conditions(ids: list[int]) -> Iterator[Request]:
    tags = ", ".join(f'"v{number}"' for number in range(3000))
    while True:
        yield change(ids, **{"if-match": tags})


def keys(ids: list[int]) -> Iterator[Request]:
    while True:
        one, other = ({"idempotency-key": secrets.token_hex(16)} for _ in range(2))
        again = [(*batch(ids, dry=False)[:3], one), ("POST", "/api/tasks", {"title": "once"}, other)]
        yield from again * 5


def mixture(ids: list[int]) -> Iterator[Request]:
    kinds = [each(ids) for each in (dry_runs, batches_and_changes, bursts, searches, sorts, conditions, keys)]
    while True:
        yield from (next(each) for each in kinds)


ATTACKS: dict[Attack, int] = {  # and how many tasks the attacker has
    dry_runs: 2_000,
    batches_and_changes: 2_000,
    bursts: 2_000,
    searches: 10_000,
    sorts: 100_000,
    conditions: 2_000,
    keys: 2_000,
    mixture: 20_000,
}


def message(who: str, request: Request) -> bytes:
    """A request on a connection of its own, so that any worker may get it."""
    method, path, content, headers = request
    body = b"" if content is None else json.dumps(content).encode()
    given = {"Host": "x", "Authorization": f"Bearer {token(who)}", "Connection": "close", **headers}
    given |= {} if content is None else {"Content-Type": "application/json", "Content-Length": f"{len(body)}"}
    return (
        "".join([f"{method} {path} HTTP/1.1\r\n", *(f"{k}: {v}\r\n" for k, v in given.items()), "\r\n"]).encode() + body
    )


async def ask(service: Served, said: bytes) -> tuple[int, bytes]:
    """Send bytes; returns the status and the body of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(said)
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return int(head.split()[1]), body


async def attack(service: Served, messages: list[bytes], volleys: int) -> Counter[int]:
    """Send so many volleys, whatever became of the ones before; returns how often which answer came."""
    sent: list[asyncio.Task[tuple[int, bytes]]] = []
    for number in range(volleys):
        sent += [asyncio.create_task(ask(service, each)) for each in messages[number::volleys]]
        await asyncio.sleep(SECONDS / volleys)
    return Counter(status for status, _ in await asyncio.gather(*sent))


async def stand_by(service: Served, until: float) -> list[tuple[float, int]]:
    """How long each answer took somebody who reads and changes a few tasks, and what it was."""
    who = f"bystander-{secrets.token_hex(4)}"
    made = [await ask(service, message(who, ("POST", "/api/tasks", {"title": "mine"}, {}))) for _ in range(20)]
    path = f"/api/tasks/{json.loads(made[-1][1])['data']['id']}"
    usual = [("GET", "/api/tasks?limit=20"), ("PATCH", f"{path}/complete"), ("GET", path)]
    messages = cycle(message(who, (method, where, None, {})) for method, where in usual)
    seen: list[tuple[float, int]] = []
    while time.monotonic() < until:
        began = time.monotonic()
        status, _ = await ask(service, next(messages))
        seen.append((time.monotonic() - began, status))
        await asyncio.sleep(PAUSE)
    return seen


async def together(service: Served, seconds: float) -> list[tuple[float, int]]:
    until = time.monotonic() + seconds
    return [
        each for one in await asyncio.gather(*(stand_by(service, until) for _ in range(BYSTANDERS))) for each in one
    ]


def told_in_ms(seen: list[tuple[float, int]]) -> tuple[float, float, float]:
    seconds = [1000 * each for each, _ in seen]
    return statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1], max(seconds)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("kind", ATTACKS, ids=[each.__name__ for each in ATTACKS])
async def test_bystanders_are_served(
    figure: Figure, serve: Callable[..., Served], clean: None, sql: asyncpg.Connection, workers: int, kind: Attack
) -> None:
    # Without the rate limit, which charges batches and searches more: what is measured is what holds beside it.
    service = await asyncio.to_thread(serve, env={"RATE_LIMIT": "0"}, workers=workers)
    who = f"attacker-{secrets.token_hex(4)}"
    await sql.execute("INSERT INTO \"user\" (id, name, email) VALUES ($1, $1, $1 || '@example.com')", who)
    ids = [row["id"] for row in await sql.fetch(OWN, who, ATTACKS[kind], timeout=600)]
    await sql.execute("ANALYZE tasks")
    messages = [message(who, each) for each in islice(kind(ids), REQUESTS)]

    before, _, _ = told_in_ms(await together(service, 4))
    # In a thread: what the attack costs its client is not to be measured.
    attacking = asyncio.to_thread(asyncio.run, attack(service, messages, 1 if kind is bursts else VOLLEYS))
    told, seen = await asyncio.gather(attacking, together(service, SECONDS))

    median, p95, slowest = told_in_ms(seen)
    figure(
        f"one user's {kind.__name__.replace('_', ' ')}, {workers} worker{'s' * (workers > 1)}",
        f"bystanders' median {median:.0f} ms (before {before:.0f}), p95 {p95:.0f} ms, slowest {slowest:.0f} ms of "
        f"{len(seen)}; the attacker's answers: {', '.join(f'{n} x {status}' for status, n in sorted(told.items()))}",
    )
    assert {status for _, status in seen} == {200}
    assert told[429] == 0
    assert median <= MEDIAN_MS
    assert p95 <= P95_MS
