"""Folded text, for searching and sorting: by Unicode's properties, and so alike on every database server.

Case, accents and the vowel signs of Hebrew and Arabic are folded away, compatibility characters and decimal digits of
all scripts become the plain ones, and format characters vanish (Unicode Standard Annexes 15 and 44). PostgreSQL takes
no part in it: what it calls a letter depends on the locale of each database.
"""

import unicodedata
from collections.abc import Callable, Generator

from app.web.normalization import normalized

MAX_REMEMBERED_CHARACTERS = 20_000  # characters; 2 MB
CHARACTERS_BETWEEN_YIELDS = 2_048  # which take 1 ms, or 10 where none of them was met before

# Letters that are others with a stroke or a ligature to those who look for them, and have no decomposition.
ALIKE = str.maketrans({"ø": "o", "ł": "l", "đ": "d", "ħ": "h", "ŧ": "t", "\u0131": "i", "æ": "ae", "œ": "oe"})
# Some are letters by their category.
APOSTROPHES = frozenset("'\u2018\u2019\u201b\u02b9\u02bb\u02bc\u02bd\u02be\u02bf\u02c8\u02ee\ua78b\ua78c\uff07")
# Shown as nothing, and neither a format character nor an accent by their category: joiners, fillers, variation
# selectors, and the stroke that makes Arabic words longer.
UNSEEN = frozenset(
    [
        *(0x034F, 0x0640, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F, 0x3164, 0xFFA0),
        *range(0xFE00, 0xFE10),
        *range(0xE0100, 0xE01F0),
    ]
)


class Folding(dict[int, str | None]):
    """What each character becomes, for `str.translate`: None is nothing. It is looked up when it is met first."""

    def __init__(self, separator: Callable[[str], str]) -> None:
        """Take what stands for a character that is neither letter nor digit, by its category."""
        super().__init__()
        self._separator = separator

    def __missing__(self, code: int) -> str | None:
        folded = self._folded(code)
        if len(self) < MAX_REMEMBERED_CHARACTERS:
            self[code] = folded
        return folded

    def _folded(self, code: int) -> str | None:
        char = chr(code)
        category = unicodedata.category(char)
        if code in UNSEEN or category in ("Cf", "Cs") or _is_accent(char, category):
            return None
        if char in APOSTROPHES or category[0] not in "LMN":
            return self._separator(category)
        digit = unicodedata.decimal(char, None)
        return char.casefold().translate(ALIKE) if digit is None else f"{digit}"

    def fold(self, text: str) -> str:
        """Return the text folded."""
        steps = self.fold_in_steps(text)
        while True:
            try:
                next(steps)
            except StopIteration as done:
                return done.value

    def fold_in_steps(self, text: str) -> Generator[None, None, str]:
        """Return the text folded, and yield each CHARACTERS_BETWEEN_YIELDS: one may stand for 18."""
        if text.isascii():
            return text.translate(self)
        text = normalized("NFKD", text)
        pieces: list[str] = []
        for begin in range(0, len(text), CHARACTERS_BETWEEN_YIELDS):
            pieces.append(text[begin : begin + CHARACTERS_BETWEEN_YIELDS].translate(self))
            yield
        # Composed again: kana with their voicing marks are letters of their own.
        return normalized("NFC", "".join(pieces))


def _is_accent(char: str, category: str) -> bool:
    """Tell marks that are left out in writing from those that are vowels, tones or joiners (Indic, Thai, kana, …)."""
    combining = unicodedata.combining(char)
    return category == "Me" or combining == 1 or 10 <= combining <= 36 or combining >= 200
