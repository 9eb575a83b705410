"""Our positions beside those of npm's `fractional-indexing`: clients that use it and the service make the same ones."""

import json
import random
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app.tasks.positions import (
    BASE_62,
    SMALLEST,
    derived_position,
    is_position,
    position_between,
    positions_between,
)
from tests.live.tools import from_npm

pytestmark = pytest.mark.slow

EDGES = ["A" + "0" * 25 + "1", SMALLEST + "V", "Zz", "a0", "az", "b00", "bzz", "z" * 27, "z" * 27 + "V"]


def npm(cases: list[Any]) -> list[Any]:
    """What npm's package makes of each case; None where it refuses it."""
    folder = from_npm(Path(__file__).with_name("fractional_indexing"))
    ran = subprocess.run(
        ["node", "keys.mjs"], cwd=folder, input=json.dumps(cases), capture_output=True, text=True, check=True
    )
    return json.loads(ran.stdout)


def keys_of(chance: random.Random, count: int) -> list[str]:
    """Positions as they come of insertions at random places."""
    keys = sorted({"a0", *EDGES, *(derived_position(chance.randrange(1, 2**53)) for _ in range(20))})
    for _ in range(count):
        place = chance.randrange(len(keys) + 1)
        made = position_between(keys[place - 1] if place else None, keys[place] if place < len(keys) else None)
        keys.insert(place, made)
    return keys


def test_a_position_between_two_is_the_one_that_npm_makes() -> None:
    keys = keys_of(random.Random(1), 1500)
    assert keys == sorted({*keys})
    cases = [*zip([None, *keys], [*keys, None], strict=True)]
    chance = random.Random(2)
    cases += [tuple(sorted(chance.sample(keys, 2))) for _ in range(1500)]
    theirs = npm([[*case, None] for case in cases])
    ours = [position_between(*case) for case in cases]
    # npm's takes the smallest integer there, which it then refuses, for there is nothing before it.
    different = [case for case, one, other in zip(cases, ours, theirs, strict=True) if one != other and other]
    assert different == []
    assert all(map(is_position, ours))


def test_several_are_those_that_npm_makes() -> None:
    keys = keys_of(random.Random(3), 100)
    cases = [(None, None), (None, keys[5]), (keys[-5], None), *pairwise(keys)]
    theirs = npm([[*case, 7] for case in cases])
    assert [positions_between(*case, 7) for case in cases] == theirs


def test_what_npm_takes_is_a_position_and_what_it_refuses_is_none() -> None:
    chance = random.Random(4)
    texts = ["a", "0", "a00", "a0V0", "A0", SMALLEST, SMALLEST + "0", *EDGES, *map(derived_position, (1, 2**53 - 1))]
    texts += ["".join(chance.choices(BASE_62, k=chance.randrange(1, 30))) for _ in range(3000)]
    taken = npm([[text, None, None] for text in texts])
    assert [is_position(text) for text in texts] == [made is not None for made in taken]
