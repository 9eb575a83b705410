r"""Text that people type in, as the document describes it: trimmed, neither empty nor too long, and without U+0000.

The patterns mean the same in Python and in JavaScript (ECMA-262), but that there `\s` has U+FEFF too. They do not name
U+2028 and U+2029: some generators of clients write the character itself, which ends the line.
"""

import re

SPACE = r"\s\x1c-\x1f\x85"  # what `str.strip` takes away
# Shown as nothing: Unicode's Default_Ignorable_Code_Point (format characters, fillers, variation selectors), controls
# but U+0000, interlinear annotation, and the blank of braille.
INVISIBLE = (
    r"\x01-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
)
# Those beyond U+FFFF, which no pattern can name in all languages.
INVISIBLE_BEYOND = r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f\U000e0100-\U000e01ef"
BLANK = re.compile(f"[{SPACE}{INVISIBLE}{INVISIBLE_BEYOND}]*")


def pattern(characters: int) -> str:
    """Return what a text matches that has 1 to so many characters once it is trimmed.

    `maxLength` would count what is trimmed.
    """
    return rf"^[{SPACE}]*[^{SPACE}\x00]([^\x00]{{0,{characters - 2}}}[^{SPACE}\x00])?[{SPACE}]*$"


def visible_pattern(characters: int) -> str:
    """Return the same of a text that has a character to be seen. Of those beyond U+FFFF all count as such."""
    return rf"^(?![{SPACE}{INVISIBLE}]*$){pattern(characters)[1:]}"


def is_blank(text: str) -> bool:
    """Tell whether nothing of a text can be seen."""
    return BLANK.fullmatch(text) is not None
