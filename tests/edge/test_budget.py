"""How many bytes of answers may be under way."""

from contextlib import ExitStack

import pytest

from app.edge.budget import MAX_BYTES, MAX_OWNER_BYTES, MAX_UNSENT_BYTES, Budget, TooManyBytes


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
            with budget.reserved(MAX_BYTES, "dan", surely=True):
                assert budget.size == 2 * MAX_BYTES
    assert budget.size == 0


def test_where_too_much_is_not_taken_the_oldest_connection_is_cut() -> None:
    budget = Budget()
    cut: list[str] = []
    for name in ("a", "b", "a", "c"):
        budget.keep(name, MAX_UNSENT_BYTES // 3, None, lambda name=name: cut.append(name))
    assert cut == []
    budget.keep("d", 3, None, lambda: cut.append("d"))
    assert cut == ["b"]
    for name in "abcd":
        budget.drop(name)
    assert budget.size == 0
