"""No input makes a 500: values that have broken services, in every place, and what Hypothesis makes up."""

import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
from tests.live.staff import make_staff, staff_session

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def victim(migrated_database: Callable[[], str], serve_for_module: Callable[..., Any]) -> Iterator[Victim]:
    """A service on a database of its own, in which Ada has forty tasks, from id 1 on."""
    victim = Victim(migrated_database(), serve_for_module)
    yield victim
    assert victim.errors() == []


@pytest.fixture
def line(victim: Victim) -> Iterator[Line]:
    line = Line(victim.port)
    yield line
    line.close()


@pytest.fixture(scope="module")
def staff(victim: Victim) -> list[Header]:
    """What somebody sends who has logged in to the admin."""
    make_staff("vera", victim.database_url)
    return staff_session(victim.url, "vera")


def ask_all(line: Line, those: Iterable[Request]) -> int:
    for request in those:
        check(request, line.ask(request))
    return line.asked


def test_values_that_have_broken_services_are_answered_in_every_place(line: Line) -> None:
    assert ask_all(line, corpus(API, ADA)) > 3000


def test_so_are_they_in_every_header(line: Line) -> None:
    assert ask_all(line, corpus_of_headers(ADA)) > 2000


def test_so_are_they_by_the_admin(line: Line, staff: list[Header]) -> None:
    assert ask_all(line, islice(corpus(ADMIN, *staff), 0, None, 7)) > 900


@settings(max_examples=60, deadline=None, derandomize=True, database=None, suppress_health_check=[*HealthCheck])
@given(batch=st.lists(requests(API, ADA), min_size=10, max_size=20))
def test_requests_that_nobody_thought_of_are_answered(line: Line, batch: list[Request]) -> None:
    ask_all(line, batch)


@settings(max_examples=30, deadline=None, derandomize=True, database=None, suppress_health_check=[*HealthCheck])
@given(data=st.data())
def test_so_are_they_by_the_admin_too(line: Line, staff: list[Header], data: st.DataObject) -> None:
    ask_all(line, data.draw(st.lists(requests(ADMIN, *staff), min_size=10, max_size=20)))


def test_afterwards_all_is_as_it_was(line: Line, victim: Victim) -> None:
    began = time.monotonic()
    assert httpx.get(f"{victim.url}/api/tasks", headers=[ADA]).status_code == 200
    assert httpx.get(f"{victim.url}/health/ready").status_code == 200
    assert time.monotonic() - began < 5
