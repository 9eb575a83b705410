"""The admin is another house, over a socket: its door, its limit, and what belongs to one side alone."""

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from app.admin import BLOCK_SECONDS, LOGINS
from tests.conftest import token
from tests.live.staff import desk, log_in, make_staff, staff_session

BAD_LOGINS = 30


@pytest.fixture(scope="module")
def house(new_database: Callable[[], str], serve_for_module: Callable[..., Any]) -> Iterator[Any]:
    """A service on a database of its own, with one member of staff."""
    url = new_database()
    service = serve_for_module(env={"DATABASE_URL": url}, arguments=["--migrate"])
    make_staff("rosa", url)
    yield service
    assert [line for line in service.log() if '"level":"ERROR"' in line] == []


def test_after_ten_bad_logins_an_address_is_shut_out_for_a_quarter_of_an_hour_and_no_other_is(house: Any) -> None:
    with closing(desk(house.url, "203.0.113.2")) as guesser:
        answers = [log_in(guesser, "rosa", f"wrong {number}") for number in range(BAD_LOGINS)]
        assert [answer.status_code for answer in answers] == [401] * LOGINS + [429] * (BAD_LOGINS - LOGINS)
        for answer in answers[LOGINS:]:
            assert answer.json()["error"]["code"] == "RATE_LIMIT_EXCEEDED"
            assert BLOCK_SECONDS - 60 < int(answer.headers["retry-after"]) <= BLOCK_SECONDS
        assert log_in(guesser, "rosa").status_code == 429, "also with the right password"
        assert guesser.get("/admin/").status_code == 200
        assert guesser.get("/api/tasks", headers={"authorization": f"Bearer {token()}"}).status_code == 200
    with closing(desk(house.url, "203.0.113.3")) as another:
        assert log_in(another, "rosa").status_code == 200


def test_a_token_of_the_api_is_no_entry_here_and_a_cookie_of_staff_is_none_there(house: Any) -> None:
    bearer = {"authorization": f"Bearer {token()}"}
    session = staff_session(house.url, "rosa")
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
