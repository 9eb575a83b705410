r"""Text that people type in, as the document describes it: trimmed, neither empty nor too long, and without U+0000.

The patterns mean the same in Python and in JavaScript (ECMA-262), but that there `\s` has U+FEFF too. They look neither
ahead nor behind, which RE2 (Go, Rust) cannot; its `\s` is of ASCII alone, so they name the other white space. They do
not name U+2028 and U+2029: some generators of clients write the character itself, which ends the line. Hexadecimal
digits are capitals: kin-openapi reads no others when it makes a pattern of Go's.
"""

import re

SPACE = r"\s\x0B\x1C-\x1F\x85\xA0\u1680\u2000-\u200A\u202F\u205F\u3000"  # what `str.strip` takes away
# Shown as nothing: Unicode's Default_Ignorable_Code_Point (format characters, fillers, variation selectors), controls
# but U+0000, interlinear annotation, and the blank of braille.
INVISIBLE = (
    r"\x01-\x1F\x7F-\x9F\xAD\u034F\u061C\u115F\u1160\u17B4\u17B5\u180B-\u180F\u200B-\u200F\u202A-\u202E"
    r"\u2060-\u206F\u2800\u3164\uFE00-\uFE0F\uFEFF\uFFA0\uFFF0-\uFFFB"
)
# Those beyond U+FFFF, which no pattern can name in all languages.
INVISIBLE_BEYOND = r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f\U000e0100-\U000e01ef"
BLANK = re.compile(f"[{SPACE}{INVISIBLE}{INVISIBLE_BEYOND}]*")


def pattern(characters: int) -> str:
    """Return what a text matches that has 1 to so many characters once it is trimmed.

    `maxLength` would count what is trimmed.
    """
    return rf"^[{SPACE}]*[^{SPACE}\x00]{_rest(characters)}"


def _rest(characters: int) -> str:
    """Return what follows the first of so many characters, and the white space behind them."""
    return rf"([^\x00]{{0,{characters - 2}}}[^{SPACE}\x00])?[{SPACE}]*$"


def visible_pattern(characters: int) -> str:
    """Return the same of a text that has a character to be seen. Of those beyond U+FFFF all count as such.

    What cannot be seen before the first such character is not counted here; the service counts it.
    """
    return rf"^[{SPACE}{INVISIBLE}]*[^{SPACE}{INVISIBLE}\x00]{_rest(characters)}"


def is_blank(text: str) -> bool:
    """Tell whether nothing of a text can be seen."""
    return BLANK.fullmatch(text) is not None
