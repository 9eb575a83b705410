"""What guessing at the staff's passwords brings, and what it costs, over two workers."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.live.conftest import Served
from tests.live.conftest import serve_for_module as serve_for_module
from tests.live.staff import desk, log_in, make_staff
from tests.soak.conftest import Figure

LOGINS = 60


class Guesses(NamedTuple):
    """The statuses that a number of wrong passwords at once were answered with, and the seconds of CPU they took."""

    statuses: list[int]
    seconds: float


@pytest.fixture(scope="module")
def service(new_database: Callable[[], str], serve_for_module: Callable[..., Served]) -> Served:
    """A service of two workers on a database of its own, with one member of staff."""
    url = new_database()
    service = serve_for_module(env={"DATABASE_URL": url}, arguments=["--migrate"], workers=2)
    make_staff("vera", url)
    return service


def cpu_seconds(pids: Sequence[int]) -> float:
    """What processes have used of the processors, for themselves and for the kernel (proc_pid_stat(5))."""
    stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(user) + int(system) for *_, user, system in (stat[:13] for stat in stats)) / os.sysconf("SC_CLK_TCK")


def guess(service: Served, names: Sequence[str], addresses: Sequence[str]) -> Guesses:
    with ExitStack() as stack:
        desks = [stack.enter_context(closing(desk(service.url, address))) for address in addresses]
        before = cpu_seconds(service.pids())
        with ThreadPoolExecutor(len(desks)) as threads:
            answers: Any = threads.map(lambda guesser, name: log_in(guesser, name, "wrong"), desks, names)
            statuses = [answer.status_code for answer in answers]
        return Guesses(statuses, cpu_seconds(service.pids()) - before)


def test_five_wrong_passwords_for_a_name_exactly(service: Served, figure: Figure) -> None:
    looked_at = []
    for number in range(20):
        addresses = [f"10.{number}.{each}.1" for each in range(20)]
        looked_at.append(guess(service, [f"name {number}"] * 20, addresses).statuses.count(401))
    figure("staff logins are limited", f"20 times 20 wrong passwords at once: {set(looked_at)} looked at")
    assert set(looked_at) == {5}


def test_what_sixty_anonymous_logins_cost(service: Served, figure: Figure) -> None:
    names = [f"nobody {number}" for number in range(LOGINS)]
    statuses, seconds = guess(service, names, [f"2001:db8::{number}" for number in range(LOGINS)])
    figure(
        "staff logins are limited", f"{LOGINS} names from one /64: {statuses.count(401)} hashed, {seconds:.1f} s of CPU"
    )
    _, again = guess(service, names, [f"2001:db8::{number}" for number in range(LOGINS)])
    figure("staff logins are limited", f"{LOGINS} more from there: {again:.2f} s of CPU")
    assert statuses.count(401) == 10
    assert seconds < 3
    assert again < 1
