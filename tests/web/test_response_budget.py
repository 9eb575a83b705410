"""How many bytes of answers may be under way, and whose connections are cut for it."""

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from app.web.response_budget import MAX_BYTES, MAX_OWNER_BYTES, MAX_UNSENT_BYTES, Budget, TooManyBytes, owner_of

MIB = 1024 * 1024


class Clients:
    """A budget, and clients that do not take what they have asked for."""

    def __init__(self) -> None:
        self.budget = Budget()
        self.cut: list[str] = []

    def ask(self, connection: str, size: int, owner: str) -> None:
        self.budget.keep(connection, size, owner, self._cutter(connection))

    def _cutter(self, connection: str) -> Callable[[], None]:
        return lambda: self.cut.append(connection)

    def has_room(self, size: int, owner: str) -> bool:
        try:
            with self.budget.reserved(size, owner):
                return True
        except TooManyBytes:
            return False


@pytest.fixture
def clients() -> Clients:
    return Clients()


def test_no_more_is_made_than_there_is_room_for() -> None:
    budget = Budget()
    with budget.reserved(MAX_OWNER_BYTES, "ada"):
        with pytest.raises(TooManyBytes), budget.reserved(1, "ada"):
            pass
        with ExitStack() as others:
            for name in ("bob", "eve", "joan"):
                others.enter_context(budget.reserved(MAX_OWNER_BYTES, name))
            assert budget.size == MAX_BYTES
            with pytest.raises(TooManyBytes), budget.reserved(1, "dan"):
                pass
            with budget.reserved(MAX_BYTES, "dan", is_required=True):
                assert budget.size == 2 * MAX_BYTES
    assert budget.size == 0


def test_an_owner_who_takes_too_little_loses_the_oldest_connections_and_nobody_else_does(clients: Clients) -> None:
    clients.ask("bob", MIB, "bob")
    for number in range(100):
        clients.ask(f"{number}", MIB, "ada")
    assert clients.cut == [f"{number}" for number in range(84)]
    assert clients.budget.size == MAX_OWNER_BYTES + MIB
    clients.ask("84", MIB, "ada")  # has taken some, so it is not the oldest any more
    clients.ask("large", 4 * MIB, "ada")
    assert clients.cut[84:] == ["85", "86", "87", "88"]
    assert clients.has_room(MIB, "bob")
    assert not clients.has_room(MIB, "ada")


def test_what_has_to_be_made_counts_for_its_owner_as_well(clients: Clients) -> None:
    clients.ask("bob", MAX_OWNER_BYTES, "bob")
    for number in range(3):
        clients.ask(f"{number}", 4 * MIB, "ada")
    with clients.budget.reserved(10 * MIB, "ada", is_required=True):
        assert clients.cut == ["0", "1"]


def test_an_answer_larger_than_an_owner_may_have_is_sent_all_the_same(clients: Clients) -> None:
    clients.ask("a", 2 * MAX_OWNER_BYTES, "ada")
    assert clients.cut == []


def test_four_who_have_all_of_it_make_room_for_whoever_has_less(clients: Clients) -> None:
    for number in range(16):
        clients.ask(f"{number}", 4 * MIB, f"{number % 4}")
    assert clients.budget.size == MAX_BYTES
    assert clients.has_room(MIB, "bob")
    assert clients.cut == ["0"]
    assert clients.has_room(4 * MIB, "bob")
    clients.ask("bob", 4 * MIB, "bob")
    assert not clients.has_room(MAX_OWNER_BYTES - 4 * MIB, "bob")  # nobody has more than he would have
    clients.ask("more", 4 * MIB, "dan")
    assert clients.has_room(MIB, "dan")
    assert clients.cut == ["0", "1", "2"]


def test_whoever_has_most_is_cut_where_all_of_it_is_too_much(clients: Clients) -> None:
    for number in range(int(MAX_UNSENT_BYTES / MIB) - 10):
        clients.ask(f"{number}", MIB, f"{number}")
    clients.ask("first", 5 * MIB, "ada")
    clients.ask("second", 5 * MIB, "ada")
    clients.ask("last", 2 * MIB, "bob")
    assert clients.cut == ["first"]


def test_nothing_is_left_of_clients_that_have_gone(clients: Clients) -> None:
    for number in range(6):
        clients.ask(f"{number}", 4 * MIB, "ada")
    for number in range(6):
        clients.budget.drop(f"{number}")
    assert clients.budget.size == 0
    assert clients.has_room(MAX_OWNER_BYTES, "ada")


def test_a_client_whom_nobody_knows_is_counted_by_its_network() -> None:
    class User:
        id = "ip:192.0.2.1"

    def by(address: str | None) -> str:
        return owner_of({"client": (address, 1) if address else None})

    assert by("192.0.2.1") == by("::ffff:192.0.2.1") != by("192.0.2.2")
    assert by("2001:db8::1") == by("2001:db8::2") != by("2001:db8:0:1::1")
    assert by(None) == owner_of({})
    assert owner_of({"client": ("192.0.2.1", 1), "user": User}) == User.id != by("192.0.2.1")
