"""What titles are sorted by: a text whose order, byte by byte, is the order that people expect.

Punctuation comes before digits, digits before letters; numbers by what they are worth (2 before 10), whatever script
their digits are of; letters whatever their case and accents. Of titles that are alike in all that, the titles
themselves decide.
"""

import re

from app.tasks.folding import Folding

MAX_BYTES = 2600  # of a key and its owner's id: an entry of an index holds 2,704
NUMBER = re.compile("[0-9]+")

FOLDING = Folding(lambda category: " " if category[0] in "ZC" else "!")


def key(owner: str, title: str) -> str:
    """Return what a title is sorted by. What does not fit into an index is left off, if it has 500 rare characters."""
    room = MAX_BYTES - len(owner.encode())
    whole = f"{NUMBER.sub(_number, FOLDING.fold(title))}\1{title}".encode()
    return whole[:room].decode(errors="ignore")


def _number(digits: re.Match[str]) -> str:
    """Return a number so that of two the one with more digits comes last; and where they have as many, the greater."""
    worth = digits[0].lstrip("0")
    return f"{chr(0x30 + len(worth) // 64)}{chr(0x30 + len(worth) % 64)}{worth}"
