"""Text that people type in, as the document describes it: trimmed, neither empty nor too long, and without U+0000."""

# The white space that `str.strip` takes away is spelled out, because it is another set in each language's `\s`.
SPACE = r"\t-\r\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"


def pattern(characters: int) -> str:
    """Return what a text matches that has 1 to so many characters once it is trimmed.

    `maxLength` would count what is trimmed.
    """
    return rf"^[{SPACE}]*[^{SPACE}\u0000]([^\u0000]{{0,{characters - 2}}}[^{SPACE}\u0000])?[{SPACE}]*$"
