"""What the document says about text that people type in is what the code does with it."""

import json
import re
import shutil
import subprocess
import sys
import unicodedata

import msgspec
import pytest

from app.accounts.structs import MAX_USER_NAME, ProfileChanges
from app.tasks.fields import MAX_TITLE
from app.tasks.structs import TaskContent
from app.web.failures import Invalid
from app.web.text import SPACE, pattern, visible_pattern
from tests.conftest import needs


@pytest.mark.slow
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
    assert described["pattern"] == pattern(MAX_USER_NAME)
    assert bool(re.search(described["pattern"], name)) == accepted


INVISIBLE = [
    *(
        "\u200b",
        "\u200c",
        "\u200d",
        "\u2060",
        "\ufeff",
        "\u00ad",
        "\u180e",
        "\u3164",
        "\u2800",
        "\ufe0f",
        "\u0001",
        "\u009f",
    ),
    *("\u034f", "\u061c", "\u115f", "\u17b4", "\u180b", "\u202e", "\u2066", "\uffa0", "\ufff9", "\u007f"),
]
BEYOND = ["\U0001d173", "\U000e0001", "\U000e0041", "\U000e0100", "\U000e01ef"]


def is_taken(title: str) -> bool:
    try:
        TaskContent(title)
    except Invalid:
        return False
    return True


@pytest.mark.parametrize(
    "title",
    ["x", "x" * 500, "x" * 501, " " * 300 + "x" * 500 + "\t", "\0", "\u200b\0", *INVISIBLE, "\u200b" * 500,
     "\u200b" * 499 + "x", "\u200bx", "x\u200b", "\ufeff \u00ad\n", "\n", "\u200b\n", "\u0600", "\u0640", "\ufffc",
     "\u0301", "\U0001f95b"],
)  # fmt: skip
def test_a_title_is_accepted_where_the_document_says_so(title: str) -> None:
    described = msgspec.json.schema(TaskContent)["$defs"]["TaskContent"]["properties"]["title"]
    assert described["pattern"] == visible_pattern(MAX_TITLE)
    assert bool(re.search(described["pattern"], title)) == is_taken(title)


# Before the first character that can be seen: the document does not count it, and the service does.
def test_what_cannot_be_seen_at_the_beginning_counts_for_the_service_alone() -> None:
    title = "\u200b" + "x" * MAX_TITLE
    assert (bool(re.search(visible_pattern(MAX_TITLE), title)), is_taken(title)) == (True, False)


TITLES = [
    *("", " \u3000", "x", "\u3000" * 9 + "x" * 500 + "\u2003", "x" * 501, "a\0", "\u200b" * 500, "\u200bx"),
    *("x\u202e", *INVISIBLE, "\u0600", "\u0301", "\ufffd"),
]


@pytest.mark.parametrize("flag", ["", "u", "v"])
def test_the_patterns_mean_the_same_in_javascript(flag: str) -> None:
    needs(shutil.which("node"), "node")
    patterns = [visible_pattern(MAX_TITLE), pattern(MAX_USER_NAME)]
    script = "const [patterns, texts, flag] = JSON.parse(require('fs').readFileSync(0));" + (
        "console.log(JSON.stringify(patterns.map((each) => texts.map((text) => new RegExp(each, flag).test(text)))))"
    )
    texts = [text for text in TITLES if text != "\ufeff"]  # there it is white space, which makes an empty name
    asked = json.dumps([patterns, texts, flag])
    done = subprocess.run(["node", "-e", script], input=asked, capture_output=True, text=True, timeout=60, check=True)
    assert json.loads(done.stdout) == [[bool(re.search(each, text)) for text in texts] for each in patterns]


def test_the_patterns_mean_the_same_where_white_space_is_of_ascii_alone() -> None:
    """As in RE2."""
    for each in (visible_pattern(MAX_TITLE), pattern(MAX_USER_NAME)):
        assert [re.search(each, text, re.ASCII) is None for text in TITLES] == [
            re.search(each, text) is None for text in TITLES
        ]


@pytest.mark.parametrize("char", [*INVISIBLE, *BEYOND])
def test_a_title_of_which_nothing_is_seen_is_none_and_beside_a_letter_it_is_kept(char: str) -> None:
    assert not is_taken(char)
    assert not is_taken(f"\t{char * 3} {char}\u3000")
    assert TaskContent(f"{char}x").title == f"{char}x".strip()


@pytest.mark.slow
def test_every_letter_digit_mark_and_symbol_is_seen() -> None:
    ignorable = re.compile(
        "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
    )
    for code in range(sys.maxunicode + 1):
        if unicodedata.category(chr(code))[0] in "LMNPS" and not ignorable.fullmatch(chr(code)):
            assert is_taken(chr(code)), hex(code)
