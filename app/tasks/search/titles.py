"""The sort keys of titles: texts whose order, byte by byte, is the order that people expect.

Punctuation comes before digits, digits before letters; numbers by what they are worth (2 before 10), whatever script
their digits are of; letters whatever their case and accents. Of titles that are alike in all that, the titles
themselves decide.
"""

import re

from app.tasks.search.folding import Folding

MAX_KEY_BYTES = 2600  # of a key and its owner's id: an entry of an index holds 2,704
DIGITS = re.compile("[0-9]+")

TITLE_FOLDING = Folding(lambda category: " " if category[0] in "ZC" else "!")


def key(owner: str, title: str) -> str:
    """Return the sort key of a title, cut to what fits into an entry of an index: 500 rare characters may not."""
    room = MAX_KEY_BYTES - len(owner.encode())
    whole = f"{DIGITS.sub(_number, TITLE_FOLDING.fold(title))}\1{title}".encode()
    return whole[:room].decode(errors="ignore")


def _number(digits: re.Match[str]) -> str:
    """Return a number so that of two the one with more digits comes last; and where they have as many, the greater."""
    worth = digits[0].lstrip("0")
    return f"{chr(0x30 + len(worth) // 64)}{chr(0x30 + len(worth) % 64)}{worth}"
