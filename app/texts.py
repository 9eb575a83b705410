"""Text that people type in, as the document describes it: trimmed, neither empty nor too long, and without U+0000."""

import re

# The white space that `str.strip` takes away is spelled out, because it is another set in each language's `\s`.
SPACE = r"\t-\r\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
# Shown as nothing: Unicode's Default_Ignorable_Code_Point (format characters, fillers, variation selectors), controls
# but U+0000, interlinear annotation, and the blank of braille.
INVISIBLE = (
    r"\u0001-\u001f\u007f-\u009f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
)
# Those beyond U+FFFF, which no pattern can name in all languages.
INVISIBLE_BEYOND = r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f\U000e0100-\U000e01ef"
BLANK = re.compile(f"[{SPACE}{INVISIBLE}{INVISIBLE_BEYOND}]*")


def pattern(characters: int) -> str:
    """Return what a text matches that has 1 to so many characters once it is trimmed.

    `maxLength` would count what is trimmed.
    """
    return rf"^[{SPACE}]*[^{SPACE}\u0000]([^\u0000]{{0,{characters - 2}}}[^{SPACE}\u0000])?[{SPACE}]*$"


def visible_pattern(characters: int) -> str:
    """Return the same of a text that has a character to be seen. Of those beyond U+FFFF all count as such."""
    return rf"^(?![{SPACE}{INVISIBLE}]*$){pattern(characters)[1:]}"


def is_blank(text: str) -> bool:
    """Tell whether nothing of a text can be seen."""
    return BLANK.fullmatch(text) is not None
