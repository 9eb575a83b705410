"""Two users and everything they can do, for long; and whether time tells what the bytes do not."""

import time
from collections import Counter
from statistics import median
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import settings
from litestar import Litestar

from tests.accounts.people import ADA, BOB, Person, signed_up
from tests.soak.conftest import Figure
from tests.statements import forget_the_owner
from tests.tasks.test_isolation import FOR_A_KEY, HARMLESS, NOTHING_IS_KEPT, WAYS, nothing_is_kept
from tests.two_users import FEW, NO_ID, NO_TASK, walk

STEPS = 20_000
ROUNDS = 3_000

# What can be asked for one thing by its id, and with what; each of them leaves it as it is where it is not theirs.
ONE_TASK = [
    ("GET", "/api/tasks/{}", None),
    ("PUT", "/api/tasks/{}", {"title": "mine"}),
    ("PATCH", "/api/tasks/{}", {"title": "mine"}),
    ("PATCH", "/api/tasks/{}/complete", None),
    ("DELETE", "/api/tasks/{}", None),
    ("POST", "/api/tasks/{}/restore", None),
    ("DELETE", "/api/trash/{}", None),
    ("GET", "/api/tasks/{}/history", None),
    ("POST", "/api/tasks/{}/revert", {"version": 1}),
]
OTHERS = [("DELETE", "/api/auth/tokens/{}", None), ("DELETE", "/api/auth/sessions/{}", None)]


async def test_neither_of_two_users_ever_sees_or_moves_what_is_the_others(
    figure: Figure, running: Litestar, clean: None
) -> None:
    steps = Counter[str]()
    while steps.total() < STEPS:
        await walk(running, settings(FEW, max_examples=50, stateful_step_count=100, database=None), steps)

    figure("isolation", f"0 leaks in {steps.total():,} steps, of {len(steps)} kinds")
    assert len(steps) == 45


@pytest.mark.parametrize("name", [*WAYS, *FOR_A_KEY, *HARMLESS])
async def test_with_the_row_level_security_alone_nothing_leaks_whichever_statement_has_lost_its_owner(
    figure: Figure, running: Litestar, clean: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    forget_the_owner(monkeypatch, name)
    if name in NOTHING_IS_KEPT:
        nothing_is_kept(running, monkeypatch)
    steps = Counter[str]()
    await walk(running, settings(FEW, database=None), steps)
    figure(f"isolation without the owner in {name}", f"0 leaks in {steps.total():,} steps")


@pytest.mark.parametrize(("method", "path", "body"), [*ONE_TASK, *OTHERS])
async def test_time_does_not_tell_what_is_somebody_elses_from_what_never_was(
    figure: Figure,
    running: Litestar,
    stranger: httpx.AsyncClient,
    sql: asyncpg.Connection,
    method: str,
    path: str,
    body: dict[str, Any] | None,
) -> None:
    async with (
        Person(running, await signed_up(stranger, **ADA)) as ada,
        Person(running, await signed_up(stranger, **BOB)) as bob,
    ):
        task = (await bob.post("/api/tasks", json={"title": "his"})).json()["data"]["id"]
        key = (await bob.post("/api/auth/tokens", json={"name": "his", "scope": "read"})).json()["data"]["id"]
        session = (await bob.get("/api/auth/sessions")).json()["data"][0]["id"]
        await ada.post("/api/tasks", json={"title": "hers"})
        await sql.execute("ANALYZE")
        is_task = "/auth/" not in path
        foreign = path.format(task if is_task else key if "tokens" in path else session)
        missing = path.format(NO_TASK if is_task else NO_ID)

        took: dict[str, list[float]] = {foreign: [], missing: []}
        for turn in range(ROUNDS):
            for each in (foreign, missing) if turn % 2 else (missing, foreign):
                began = time.perf_counter()
                answer = await ada.request(method, each, json=body)
                took[each].append(time.perf_counter() - began)
                assert answer.status_code == 404
        theirs, nobodys = (median(took[each]) for each in (foreign, missing))
        apart = abs(theirs - nobodys) / nobodys
        figure(
            f"isolation by time: {method} {path}",
            f"{1e6 * theirs:.0f} µs of another's, {1e6 * nobodys:.0f} µs of nobody's: {apart:.1%} apart",
        )
        assert apart < 0.05
