# ruff: noqa: RUF001
"""The order of titles."""

import random

import pytest

from app.tasks.search import titles

ORDERED = [
    ["2", "10"], ["a2", "a10", "a100"], ["a 2", "a2", "a10"], ["007", "7", "8"], ["file 9.txt", "file 10.txt"],
    ["v1.9", "v1.10", "v2"], ["٢ كتب", "١٠ كتب"], ["२", "१०"], ["a٣", "a10"], ["0", "00", "1"],
    ["9" * 70, "1" + "0" * 70],
    ["a", "Äa", "ab"], ["apfel", "Äpfel", "b"], ["Éclair", "eclairs"], ["Straße", "strasse", "strasze"],
    ["_x", "1", "a"], ["🛒 milk", "1", "milk"], ["“quoted”", "zebra"], ["zebra", "Ωmega", "яблоко", "日本"],
    ["x" * 499 + "a", "x" * 499 + "b"], ["é" * 499 + "a", "é" * 499 + "b"], ["日" * 499 + "一", "日" * 499 + "二"],
    ["Ab", "aB"], ["resume", "résumé"],
]  # fmt: skip


def by_key(title: str) -> bytes:
    return titles.key("ada", title).encode()


@pytest.mark.parametrize("ordered", ORDERED, ids=range(len(ORDERED)))
def test_titles_come_as_people_expect(ordered: list[str]) -> None:
    mixed = random.Random(1).sample(ordered, len(ordered))
    assert sorted(mixed, key=by_key) == ordered


@pytest.mark.parametrize("title", ["ﷺ" * 500, "\U0001f9c0" * 500, "x\x01y", "\t", "9" * 500, "㏾" * 500])
def test_any_title_has_a_key_that_an_index_can_hold(title: str) -> None:
    assert len(by_key(title)) <= titles.MAX_KEY_BYTES - 3
    assert len(titles.key("é" * 255, title).encode()) <= titles.MAX_KEY_BYTES - 510
