"""Normal forms of texts: what they were, but for runs of combining marks that no language has."""

import re
import sys
import unicodedata
from pathlib import Path

import pytest

import app
from app.accounts import emails
from app.auth import passwords
from app.tasks.search import titles, words
from app.web import normalization
from app.web.failures import Invalid
from app.web.normalization import MAX_MARKS, marks, normalized
from tests.tasks.search.test_words import PAIRS, vector

ZALGO = "".join(letter + "\u0301\u0316\u0334\u0489\u0360" * 5 for letter in "Zalgo")
TEXTS = [
    *(text for pair in PAIRS for text in pair),
    *("שָׁלוֹם עֲלֵיכֶם", "بِسْمِ ٱللَّهِ ٱلرَّحْمَـٰنِ", "น้ำที่นี่", "བོད་སྐད་ཀྱི་ཧྐྵྨླྺྼྻྂ", "Tiếng Việt", ZALGO, "ﷺ", "각각", "e\u0301" * 100),
    "a" + "\u0316\u0301" * 15 + "b" + "\u0301" * 30,
]  # fmt: skip
HOSTILE = {
    "marks": "\u0301\u0316" * 16384,
    "marks behind a letter": "a" + "\u0316\u0301" * 16383,
    "marks of one kind": "\u0301" * 32768,
    "marks between which something vanishes": "\u0f72\u200d\u0f71\u200d" * 8192,
    "marks of two marks each": "\u0f73\u0344" * 16384,
    "marks of a width": "\uff9e\uff9f\u0301" * 10922,
    "runs as long as they may be": ("a" + "\u0301\u0316" * 15) * 1057,
    "letters that stand for many": "\ufdfa" * 32768,
}


@pytest.fixture
def longest(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many marks follow each other in what is normalised, one number for each text."""
    runs: list[int] = []
    normalize = unicodedata.normalize

    class Spy:
        @staticmethod
        def normalize(form: str, text: str) -> str:
            shape = "".join("x" if each in marks() else " " for each in text)
            runs.append(max(map(len, shape.split()), default=0))
            return normalize(form, text)

    monkeypatch.setattr(normalization, "unicodedata", Spy)
    return runs


@pytest.mark.slow
def test_the_marks_are_all_that_unicode_has() -> None:
    """Normalizing sorts a character by its combining class, or by that of the first one that it is decomposed to."""
    every = map(chr, range(sys.maxunicode + 1))
    assert {each for each in every if unicodedata.combining(unicodedata.normalize("NFKD", each)[0])} == marks()


@pytest.mark.parametrize("text", TEXTS)
def test_texts_of_all_languages_stay_what_they_are(text: str) -> None:
    for form in ("NFC", "NFKD"):
        assert normalized(form, text) == unicodedata.normalize(form, text)


def test_of_a_longer_run_the_first_thirty_marks_stay() -> None:
    for before in ("", "a", "a" * 30, "a" * 31):
        for count in range(100):
            expected = before + "\u0316" * min(count, MAX_MARKS) + "b"
            assert normalized("NFC", before + "\u0316" * count + "b") == expected


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_no_long_run_of_marks_is_sorted(longest: list[int], text: str) -> None:
    vector("x", text)
    titles.key("ada", text[:500])
    words.query("ada", text[:200])
    assert longest
    assert max(longest) <= MAX_MARKS


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_long_text_is_folded_in_steps(text: str) -> None:
    assert sum(1 for _ in words.WORD_FOLDING.fold_in_steps(text)) >= len(normalized("NFKD", text)) / 2048
    steps = words.WORD_FOLDING.fold_in_steps(text[:5000])
    assert words.WORD_FOLDING.fold(text[:5000]) == _last(steps)


def _last(steps: object) -> str:
    while True:
        try:
            next(steps)  # pyright: ignore[reportArgumentType, reportCallIssue, reportUnknownVariableType]
        except StopIteration as done:
            return done.value


def test_a_long_address_is_refused_before_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    library = emails._validator()
    validate = library.validate_email
    monkeypatch.setattr(library, "validate_email", lambda text, **how: (asked.append(text), validate(text, **how))[1])
    longest = f"{'x' * 64}@{'.'.join(['x' * 61] * 3)}.org"
    assert emails.normal(f"{longest}   ") == longest
    for text in ("a" + "\u0301\u0316" * 4000 + "@example.com", "@" * 16_000, "a@" + "a." * 8000 + "com", "x" * 255):
        with pytest.raises(Invalid):
            emails.normal(text)
    assert asked == [longest]


async def test_a_password_that_nobody_can_have_is_wrong_and_not_normalised(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    normal = passwords._normal
    monkeypatch.setattr(passwords, "_normal", lambda text: (asked.append(len(text)), normal(text))[1])
    kept = await passwords.hashed("x" * 1024)
    for known in (kept, None):
        assert not await passwords.matches(known, "x" * 1025)
        assert not await passwords.matches(known, "\u0301\u0316" * 4000)
    assert await passwords.matches(kept, "x" * 1024)
    assert asked == [1024, 1024]


def test_nothing_else_normalises() -> None:
    """But for passwords, of which nothing may be cut off; those are short."""
    root = Path(app.__file__).parent
    calls = {file for file in root.rglob("*.py") if re.search(r"unicodedata\.(is_)?normali[sz]", file.read_text())}
    assert {f"{file.relative_to(root)}" for file in calls} == {"web/normalization.py", "auth/passwords.py"}
