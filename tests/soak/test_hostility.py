"""Hostile clients at full length, in this order: the quarter of an hour for which the admin is shut runs meanwhile."""

import json
import random
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from app.admin.staff import FAILURES_PER_NETWORK
from tests.auth.test_bad_tokens import KINDS, Kind
from tests.conftest import SECRET
from tests.live.conftest import serve_for_module as serve_for_module
from tests.live.explorer import explore
from tests.live.hostility import (
    ADA,
    ADMIN,
    API,
    Header,
    Line,
    Request,
    Victim,
    check,
    corpus,
    corpus_of_headers,
    requests,
)
from tests.live.second_reader import mutant
from tests.live.smuggling import AMBIGUOUS, AUTH, SMUGGLED
from tests.live.staff import PASSWORD, desk, log_in, make_staff, staff_session
from tests.live.test_bad_tokens import PATHS, UNFIT, bearing, tokens
from tests.live.test_bad_tokens import trusting as trusting
from tests.live.test_protocol import talk
from tests.live.test_smuggling import STATUS, compare, done
from tests.soak.conftest import Figure

CASES, REQUESTS, MUTANTS, SEEDS = 10_000, 50_000, 20_000, 3
BAD_LOGINS = 30
LOCK_SECONDS = 15 * 60


class ShutOut(NamedTuple):
    """An address that may not log in, since when, and what it was answered."""

    address: str
    since: float
    statuses: list[int]


@pytest.fixture(scope="module")
def victim(new_database: Callable[[], str], serve_for_module: Callable[..., Any]) -> Victim:
    """A service on a database of its own, in which Ada has forty tasks."""
    victim = Victim(new_database(), serve_for_module)
    make_staff("vera", victim.database_url)
    return victim


@pytest.fixture(scope="module")
def staff(victim: Victim) -> list[Header]:
    return staff_session(victim.url, "vera")


@pytest.fixture(scope="module")
def shut_out(victim: Victim) -> ShutOut:
    with closing(desk(victim.url, "203.0.113.2")) as guesser:
        answers = [log_in(guesser, f"nobody {number}", "wrong") for number in range(BAD_LOGINS)]
    return ShutOut("203.0.113.2", time.monotonic(), [answer.status_code for answer in answers])


@pytest.fixture
async def meddler(victim: Victim) -> AsyncIterator[asyncpg.Connection]:
    """A connection to the victim's database."""
    connection = await asyncpg.connect(victim.database_url)
    yield connection
    await connection.close()


@pytest.fixture
def line(victim: Victim) -> Iterator[Line]:
    line = Line(victim.port)
    yield line
    line.close()


def ask_all(line: Line, those: Any) -> dict[int, int]:
    statuses: dict[int, int] = {}
    for request in those:
        answer = line.ask(request)
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
        check(request, answer)
    return statuses


def test_the_admin_shuts_out_who_guesses_and_nobody_else(victim: Victim, shut_out: ShutOut, figure: Figure) -> None:
    refused = shut_out.statuses.count(429)
    with closing(desk(victim.url, "203.0.113.3")) as another:
        status = log_in(another, "vera").status_code
    figure("the admin is another house", f"{refused} of {BAD_LOGINS} bad logins refused; another address: {status}")
    assert shut_out.statuses == [401] * FAILURES_PER_NETWORK + [429] * (BAD_LOGINS - FAILURES_PER_NETWORK)
    assert status == 200


def test_the_document_is_the_behaviour(victim: Victim, figure: Figure, tmp_path: Path) -> None:
    cases, failures = 0, []
    for number in count(1):
        found = explore(victim.url, seed=number, examples=220, folder=tmp_path)
        cases += found.cases
        failures += found.failures
        assert set(found.phases.values()) == {"success"} or found.failures, found.said
        if number >= SEEDS and cases >= CASES:
            break
    figure("the document is the behaviour", f"{len(failures)} failures in {cases:,} cases, {number} seeds")
    assert failures == []


def test_no_input_makes_a_500(victim: Victim, line: Line, staff: list[Header], figure: Figure) -> None:
    statuses = ask_all(line, corpus(API, ADA))  # `check` has an opinion on each
    ask_all(line, corpus_of_headers(ADA))
    ask_all(line, corpus(ADMIN, *staff))
    figure("no input makes a 500", f"0 in {line.asked:,} requests of the corpus")
    assert statuses.keys() >= {200, 201, 400, 401, 404, 413, 422}

    made_up = Line(victim.port)
    for number in count(1):
        ask_what_nobody_thought_of(made_up, requests(API, ADA), number, examples=1000)
        ask_what_nobody_thought_of(made_up, requests(ADMIN, *staff), number, examples=200)
        if number >= SEEDS and made_up.asked >= REQUESTS:
            break
    made_up.close()
    figure("no input makes a 500", f"0 in {made_up.asked:,} requests of Hypothesis, {number} seeds")
    assert victim.errors() == []


def ask_what_nobody_thought_of(line: Line, those: st.SearchStrategy[Request], number: int, examples: int) -> None:
    @seed(number)
    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=[*HealthCheck])
    @given(st.lists(those, min_size=10, max_size=20))
    def ask(batch: list[Request]) -> None:
        ask_all(line, batch)

    ask()


async def test_parsing_is_unambiguous(victim: Victim, meddler: asyncpg.Connection, figure: Figure) -> None:
    sent = executed = 0
    for message in AMBIGUOUS.values():
        if len(message) > 2000:
            continue
        within = message.find(AUTH)
        for at in range(1, len(message)):
            if within < at < within + len(AUTH) - 1:
                continue
            raw = talk(victim.port, message[:at], message[at:] + SMUGGLED, pause=0.001)
            sent += 1
            assert STATUS.findall(raw) in ([], [b"400"], [b"431"]), (message, at, raw)
        executed += len(await done(meddler))
    figure(
        "parsing is unambiguous", f"{executed} requests smuggled by {len(AMBIGUOUS)} messages, cut at {sent:,} places"
    )
    assert executed == 0


async def test_nothing_is_served_that_another_parser_does_not_find(
    victim: Victim, meddler: asyncpg.Connection, figure: Figure
) -> None:
    chance = random.Random(2)
    for _ in range(MUTANTS):
        await compare(victim, meddler, mutant(chance))
    figure("parsing is unambiguous", f"0 of {MUTANTS:,} broken messages served where h11 reads none")


def test_tokens(trusting: Any, figure: Figure) -> None:
    asked, refused = 0, 0
    with closing(Line(trusting.port)) as line:
        while any(line.ask(bearing(Kind(name).good())).status != 200 for name in KINDS):
            time.sleep(0.05)
        for token in tokens():
            for path in PATHS if not UNFIT.search(token) else ():
                asked += 1
                refused += line.ask(bearing(token, path)).status == 401
    figure("tokens", f"{refused:,} of {asked:,} are 401")
    assert asked == refused


def test_logs_tell_and_dont_leak(victim: Victim, staff: list[Header], figure: Figure) -> None:
    said = victim.log()
    objects = [json.loads(line) for line in said]
    secrets = [SECRET, PASSWORD, *ADA[1].decode().split()[1].split("."), *re.findall(r"=([^;]{20,})", f"{staff}")]
    leaks = sum(secret in line for line in said for secret in secrets)
    figure("logs tell and don't leak", f"{len(objects):,} lines, each one JSON object; {leaks} canaries")
    assert all(isinstance(each, dict) and {"time", "level", "message"} <= each.keys() for each in objects)
    assert leaks == 0


def test_the_admin_shuts_out_for_a_quarter_of_an_hour_and_not_for_ever(
    victim: Victim, shut_out: ShutOut, figure: Figure
) -> None:
    with closing(desk(victim.url, shut_out.address)) as guesser:
        while (answer := log_in(guesser, "vera")).status_code == 429:
            time.sleep(min(float(answer.headers["retry-after"]), 30.0))
        seconds = time.monotonic() - shut_out.since
        assert answer.status_code == 200
    figure("the admin is another house", f"shut out for {seconds:.0f} s, then let in")
    assert LOCK_SECONDS - 20 < seconds < LOCK_SECONDS + 60
    assert httpx.get(f"{victim.url}/health/ready").status_code == 200
