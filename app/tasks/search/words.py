"""The words of tasks as PostgreSQL's tsvector, and queries as its tsquery.

A word is a run of letters, marks and digits. In scripts that put no spaces between words each character is a word, and
each pair of characters, so that any part of a text is found.

Every word of an owner begins with the same few letters, so that a search looks at that owner's words alone, however
many others' there are. (They are no secret: the query filter and row-level security hold as well.)
"""

import re
from base64 import b32encode
from collections.abc import Generator, Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise

from app.tasks.search.folding import APOSTROPHES, Folding

MAX_INDEXED_CHARACTERS = 65_536  # of each text, once it is folded
MAX_WORD = 255  # characters
MAX_VECTOR_BYTES = 900_000  # of all words of a task; a tsvector holds 1 MiB
MAX_POSITION = 16_383  # of a tsvector
MAX_POSITIONS = 255  # of one word
SCOPE_LETTERS = 6
WORDS_BETWEEN_YIELDS = 512  # which take a millisecond

# Thai, Lao, Myanmar, Khmer, Tai, Balinese, Javanese, ideographs, kana, Bopomofo, Yi, Tangut, Nushu.
SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u1b00-\u1b7f\u2e80-\u2fdf\u3005-\u3007"
    "\u3021-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\ua4cf\ua980-\ua9ff\uaa60-\uaadf\uf900-\ufaff"
    "\U00016fe0-\U00018dff\U0001aff0-\U0001b2ff\U00020000-\U0003ffff"
)
RUNS = re.compile(f"([{SPACELESS}]+)|[^ {SPACELESS}]+")
QUOTES = str.maketrans(dict.fromkeys("\u201c\u201d\u201e\u201f\u00ab\u00bb\uff02", '"'))
OPERANDS = re.compile(r'(?P<without>(?<!\S)-)?(?:"(?P<phrase>[^"]*)(?P<closed>"?)|(?P<word>[^\s"]+))')

WORD_FOLDING = Folding(lambda _: " ")

Placed = tuple[int, str]  # a word and where it stands


@lru_cache(4096)
def scope(owner: str) -> str:
    """Return the letters that each of an owner's words begins with."""
    return b32encode(blake2b(owner.encode(), digest_size=5).digest()).decode()[:SCOPE_LETTERS].lower()


def vector(owner: str, title: str, description: str | None, labels: Sequence[str] = ()) -> Generator[None, None, str]:
    """Return the words of a task as a tsvector: those of the title weigh A, those of the description and labels B.

    Yields each WORDS_BETWEEN_YIELDS, for other requests to go on: the longest texts take 60 ms.
    """
    prefix = scope(owner)
    places: dict[str, list[str]] = {}
    size = 0
    begin = 1
    for text, weight in ((title, "A"), (description or "", "B"), *((label, "B") for label in labels)):
        place = begin
        folded = yield from WORD_FOLDING.fold_in_steps(text[:MAX_INDEXED_CHARACTERS])
        for number, (place, word) in enumerate(_placed(folded, begin, is_indexed=True), 1):
            if number % WORDS_BETWEEN_YIELDS == 0:
                yield
            found = places.get(word)
            if found is None:
                size += len(prefix) + len(word.encode()) + 4
                if size > MAX_VECTOR_BYTES:
                    break
                found = places[word] = []
            if len(found) < MAX_POSITIONS:
                size += 2
                found.append(f"{min(place, MAX_POSITION)}{weight}")
        begin = place + 2  # no two words are next to each other that are in two of these texts
    return " ".join([f"'{prefix}'", *(f"'{prefix}{word}':{','.join(at)}" for word, at in places.items())])


def query(owner: str, q: str) -> str | None:
    """Return what is looked for as a tsquery; None where no word is left.

    All words are wanted; `"two words"` next to each other, `a or b` either, `-a` none with it. The last one may be its
    beginning, unless it is in quotes.
    """
    alternatives: list[list[str]] = [[]]
    operands = [*OPERANDS.finditer(q.translate(QUOTES))]
    for number, operand in enumerate(operands):
        is_last = number == len(operands) - 1
        if (operand["word"] or "").lower() == "or" and alternatives[-1] and not is_last:
            alternatives.append([])
        elif wanted := _wanted(scope(owner), operand, may_go_on=is_last and not operand["closed"]):
            alternatives[-1].append(f"!{wanted}" if operand["without"] else wanted)
    return " | ".join(f"({' & '.join(each)})" for each in alternatives if each) or None


def count(q: str) -> int:
    """Return how many different words a query has. What has no spaces between its words is one, `or` is none."""
    return len({run[0] for run in RUNS.finditer(WORD_FOLDING.fold(q))} - {"or"})


def _wanted(prefix: str, operand: re.Match[str], *, may_go_on: bool) -> str:
    text = operand["word"] or operand["phrase"]
    placed = [*_placed(WORD_FOLDING.fold(text), 0, is_indexed=False)]
    if not placed:
        return ""
    words = [f"'{prefix}{word}'" for _, word in placed]
    if may_go_on and not RUNS.fullmatch(placed[-1][1])[1]:  # pyright: ignore[reportOptionalSubscript] # it is one
        words[-1] += ":*"
    are_together = operand["word"] is None or not APOSTROPHES.isdisjoint(text)
    if not are_together:
        return f"({' & '.join(words)})"
    steps = [f"<{there - here}>" for (here, _), (there, _) in pairwise(placed)]
    return f"({words[0]}{''.join(map(''.join, zip(steps, words[1:], strict=True)))})"


def _placed(folded: str, place: int, *, is_indexed: bool) -> Iterator[Placed]:
    """Return the words of a folded text and their places; in a query, of characters without spaces the pairs alone."""
    for run in RUNS.finditer(folded, 0, MAX_INDEXED_CHARACTERS):
        if run[1] is None:
            yield place, run[0][:MAX_WORD]
            place += 1
            continue
        characters = run[1]
        for number, character in enumerate(characters):
            pair = characters[number : number + 2]
            if is_indexed or len(characters) == 1:
                yield place + number, character
            if len(pair) == 2:
                yield place + number, pair
        place += len(characters)
