"""The admin is another house, over a socket: its login, its limit, and what belongs to one side alone."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import Any

import httpx
import pytest

from tests.conftest import token
from tests.live.staff import desk, log_in, make_staff, staff_session

pytestmark = pytest.mark.slow

BAD_LOGINS = 30


@pytest.fixture(scope="module")
def house(migrated_database: Callable[[], str], serve_for_module: Callable[..., Any]) -> Iterator[Any]:
    """A service of two workers on a database of its own, with two members of staff."""
    url = migrated_database()
    service = serve_for_module(env={"DATABASE_URL": url}, arguments=["--migrate"], workers=2)
    make_staff("rosa", url)
    make_staff("vera", url)
    yield service
    assert [line for line in service.log() if '"level":"ERROR"' in line] == []


@pytest.mark.parametrize("name", ["rosa", "nobody"])
def test_of_thirty_wrong_passwords_at_once_over_two_workers_five_are_looked_at(house: Any, name: str) -> None:
    with ExitStack() as stack:
        desks = [stack.enter_context(closing(desk(house.url, f"203.0.{len(name)}.{number}"))) for number in range(30)]
        with ThreadPoolExecutor(30) as threads:
            answers = [*threads.map(lambda guesser: log_in(guesser, name, "wrong"), desks)]
        assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 25
        for answer in answers:
            if answer.status_code == 429:
                assert answer.json()["error"]["code"] == "RATE_LIMIT_EXCEEDED"
                assert 890 < int(answer.headers["retry-after"]) <= 900
        assert log_in(desks[0], name).status_code == 429, "also with the right password"


def test_ten_bad_logins_from_a_network_lock_it_in_all_workers_and_no_other_network(house: Any) -> None:
    with ExitStack() as stack:
        desks = [
            stack.enter_context(closing(desk(house.url, f"2001:db8:7:7::{number}"))) for number in range(BAD_LOGINS)
        ]
        answers = [log_in(guesser, f"name {number}", "wrong") for number, guesser in enumerate(desks)]
        assert [answer.status_code for answer in answers] == [401] * 10 + [429] * (BAD_LOGINS - 10)
        assert log_in(desks[0], "vera").status_code == 429
        assert desks[0].get("/admin/").status_code == 200
        assert desks[0].get("/api/tasks", headers={"authorization": f"Bearer {token()}"}).status_code == 200
        another = stack.enter_context(closing(desk(house.url, "2001:db8:7:8::1")))
        assert log_in(another, "vera").status_code == 200


def test_a_token_of_the_api_is_no_entry_here_and_a_cookie_of_staff_is_none_there(house: Any) -> None:
    bearer = {"authorization": f"Bearer {token()}"}
    session = staff_session(house.url, "vera")
    paths = ("user/", "tables/", "tables/tasks/", "tables/user/ada/")
    for path in paths:
        assert httpx.get(f"{house.url}/admin/api/{path}", headers=bearer).status_code == 401
        assert httpx.get(f"{house.url}/admin/api/{path}", headers={"cookie": f"id={token()}"}).status_code == 401
    assert httpx.get(f"{house.url}/admin/api/tables/tasks/", headers=session).status_code == 200
    for path in ("/api/tasks", "/api/tasks/1", "/api/auth/me", "/api/auth/sessions"):
        answer = httpx.get(f"{house.url}{path}", headers=session)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    cookie = dict(session)[b"Cookie"].decode().partition("id=")[2].partition(";")[0]
    answer = httpx.get(f"{house.url}/api/tasks", headers={"authorization": f"Bearer {cookie}"})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')
