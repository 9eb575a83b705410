"""Unicode's normal forms, in a time that grows as the text does.

CPython sorts each run of combining marks by insertion: the time for one run grows with the square of its length. So
runs are cut to 30 first, the limit of the Stream-Safe Text Format (Unicode Standard Annex 15, section 13); no language
needs as many.
"""

import re
import unicodedata
from functools import cache
from typing import Literal

MAX_MARKS = 30  # in a row
DECOMPOSED = "\u0f73\u0f75\u0f81\uff9e\uff9f"  # of class 0; the first characters of their decompositions are not


@cache
def marks() -> frozenset[str]:
    """Return the characters that are sorted by their combining class, or whose decomposition is. Takes some ms once."""
    return frozenset(filter(unicodedata.combining, map(chr, range(0x300, 0x1F000)))).union(DECOMPOSED)


@cache
def _long_run() -> re.Pattern[str]:
    mark = f"[{''.join(sorted(marks()))}]"
    return re.compile(f"(?<!{mark})({mark}{{{MAX_MARKS}}}){mark}+")


def normalized(form: Literal["NFC", "NFKD"], text: str) -> str:
    """Return the text in a normal form, without the marks that follow 30 others. 32,768 characters take up to 10 ms."""
    # Of a longer run each 31st character is one.
    some = text[MAX_MARKS :: MAX_MARKS + 1]
    if not some.isascii() and not marks().isdisjoint(some):
        text = _long_run().sub(r"\1", text)
    return unicodedata.normalize(form, text)
