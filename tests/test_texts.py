"""What the document says about text that people type in is what the code does with it."""

import re
import sys

import msgspec
import pytest

from app.accounts.structs import MAX_NAME, ProfileChanges
from app.failures import Invalid
from app.texts import SPACE, pattern


def test_the_white_space_that_is_trimmed_is_pythons() -> None:
    trimmed = re.compile(f"[{SPACE}]")
    for code in range(sys.maxunicode + 1):
        assert bool(trimmed.fullmatch(chr(code))) == (not chr(code).strip()), hex(code)


@pytest.mark.parametrize(
    "name", ["", "\n", "x", "x" * 255, "x" * 256, " " * 300 + "x" * 255 + "\t", "\0", "a\0b", "\0 a"]
)
def test_a_name_is_accepted_where_the_document_says_so(name: str) -> None:
    try:
        ProfileChanges(name)
    except Invalid:
        accepted = False
    else:
        accepted = True
    described = msgspec.json.schema(ProfileChanges)["$defs"]["ProfileChanges"]["properties"]["name"]
    assert described["pattern"] == pattern(MAX_NAME)
    assert bool(re.search(described["pattern"], name)) == accepted
