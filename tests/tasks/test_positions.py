"""Positions: there is always room between two, and an id has one too. Beside those of npm: `tests/live`."""

import random

import asyncpg
import pytest

from app.tasks.positions import (
    MAX_POSITION_LENGTH,
    SMALLEST,
    checked_position,
    derived_position,
    is_position,
    last_id_at,
    position_between,
    position_sql,
    positions_between,
)
from app.web.failures import Invalid

IDS = [1, 9, 10, 15, 16, 255, 256, 2**31, 2**53 - 1]


@pytest.mark.parametrize(
    ("after", "before", "between"),
    [
        (None, None, "a0"),
        (None, "a0", "Zz"),
        (None, "a0V", "a0"),
        (None, "Z0", "Yzz"),
        (None, SMALLEST[:-1] + "1", SMALLEST + "V"),
        (None, SMALLEST + "V", SMALLEST + "G"),
        ("a0", None, "a1"),
        ("az", None, "b00"),
        ("Zz", None, "a0"),
        ("Yzz", None, "Z0"),
        ("z" * 27, None, "z" * 27 + "V"),
        ("a0", "a1", "a0V"),
        ("a0", "a2", "a1"),
        ("a0", "a0V", "a0G"),
        ("a0V", "a0W", "a0VV"),
        ("a0V", "a0W5", "a0W"),
        ("a0", "a001", "a000V"),
    ],
)
def test_there_is_one_between_two(after: str | None, before: str | None, between: str) -> None:
    assert position_between(after, before) == between
    assert is_position(between)


def test_there_is_none_between_a_position_and_itself_or_an_earlier_one() -> None:
    for before in ("a1", "a0"):
        with pytest.raises(ValueError, match="a1 is not before"):
            position_between("a1", before)


def test_several_between_two_are_in_order() -> None:
    for after, before in [(None, None), ("a0", None), (None, "a0"), ("a0", "a1"), ("a0V", "b00")]:
        made = positions_between(after, before, 20)
        assert [*made] == sorted({*made})
        assert [each for each in (after, *made, before) if each] == sorted(filter(None, [after, *made, before]))
    assert positions_between("a0", "a1", 0) == []


@pytest.mark.parametrize(
    "bad",
    ["", "a", "a00", "a0V0", "0", "1a", "a!", "ä0", "a0\n", SMALLEST, "b0", "a0" + "V" * MAX_POSITION_LENGTH],
)
def test_what_is_no_position_is_refused(bad: str) -> None:
    with pytest.raises(Invalid):
        checked_position(bad)


def test_the_longest_is_taken_and_null_is_the_default() -> None:
    longest = "a0" + "V" * (MAX_POSITION_LENGTH - 2)
    assert checked_position(longest) == longest
    assert checked_position(None) is None


def test_derived_positions_are_in_the_order_of_ids_with_room_around_them() -> None:
    derived = [derived_position(each) for each in IDS]
    assert derived == sorted(derived)
    assert all(map(is_position, derived))
    for each in derived:
        assert len(each) == 17
        assert position_between(each, None) == each[:-1] + "1"
        assert is_position(position_between(None, each))


def test_the_last_id_at_a_position_is_found() -> None:
    for each in IDS:
        derived = derived_position(each)
        assert last_id_at(derived) == each
        assert last_id_at(position_between(derived, None)) == each
        assert last_id_at(position_between(None, derived)) == each - 1
    assert (last_id_at("a0"), last_id_at("o" + "z" * 15), last_id_at("Zz")) == (0, 0, 0)
    assert last_id_at("q" + "0" * 17) > 2**53


def test_it_is_found_at_any_other_position() -> None:
    chance = random.Random(5)
    for _ in range(2000):
        position = "p" + "".join(chance.choices("09AZafgz", k=16))
        found = last_id_at(position)
        assert derived_position(found) <= position
        assert derived_position(found + 1) > position or found == 16**14 - 1


async def test_postgresql_derives_the_same(sql: asyncpg.Connection) -> None:
    rows = await sql.fetch(
        f"""
        SELECT {position_sql("its")} AS "position"
        FROM unnest($1::bigint[], ARRAY[NULL, 'a0']::text[]) AS "its" ("id", "position")
        """,
        IDS,
    )
    assert [row["position"] for row in rows] == [derived_position(IDS[0]), "a0", *map(derived_position, IDS[2:])]
