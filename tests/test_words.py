"""Names and texts use the field's words: a reader should not have to learn a private one here.

FORBIDDEN has the words. `words_allowed.json` counts those that are left in each file. A count may only fall: a file
with more fails, and so does a file with fewer until `python -m tests.test_words` has lowered the count. That command
lets counts move with a file that is renamed, and refuses to raise the total of a word.
"""

import ast
import io
import json
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = ROOT / "tests" / "words_allowed.json"
DOCUMENT = "openapi.json"
COMMAND = "python -m tests.test_words"


class Word(NamedTuple):
    """A private word, the field's word for it, and where it is found.

    `name` is searched for in names, `text` in prose, whose white space is single spaces. A pattern leaves out the
    contexts in which the word is an everyday one, or a term of the field.
    """

    word: str
    instead: str
    name: str | None = None
    text: str | None = None


def part(words: str) -> str:
    """A part of a name, in snake_case, CAPITALS or CamelCase."""
    camel = "|".join(word.title().replace("_", "") for word in words.split("|"))
    return rf"(?:^|^def |_)(?i:{words})(?=_|$)|(?:^|(?<=[a-z_]))(?:{camel})(?=[A-Z_]|$)"


FORBIDDEN = (
    # Argon2 has lanes.
    Word("lane", "pooled connection, lease", part("lanes?"), r"(?<!\d )(?<!passes, one )\blanes?\b"),
    Word("on loan", "lease", part("on_loan"), r"\bon loan\b"),
    Word("stepwise", "transaction", part("stepwise"), r"\bstepwise\b"),
    Word("travel", "group commit, batch of writes, pending write", part("travels?|travelled"), r"\btravel\w*"),
    Word("pulse", "readiness probe", part("pulses?"), r"\bpulses?\b"),
    Word("head start", "wait_until_ready", part("head_start"), r"\bhead start\b"),
    Word("crowd", "overloaded, max waiters per connection", part("crowd|crowded"), r"\bcrowd(s|ed)?\b"),
    Word("patience", "acquire timeout", part("patience|patient"), r"\bpatien(ce|t)\b"),
    Word("hurry", "cancel, abort", part("hurry"), r"\bhurr(y|ies|ied)\b"),
    Word("give up", "cancel, abort", part("gives?_up"), r"\b(gives?|gave|given|giving) up\b"),
    # `leaving_users` and `user_is_leaving` are names in the database.
    Word("leaving", "shutdown", r"^leaving$|^Leaving$"),
    Word("departure", "shutdown", part("departures?"), r"\bdepartures?\b"),
    Word("is near", "is_set", part("is_near"), r"\b(stop|end|shutdown|departure) is near\b"),
    Word("upkeep", "cleanup", part("upkeep"), r"\bupkeep\b"),
    Word("what is over", "expired rows", part("is_over"), r"\bwhat is over\b"),
    Word("ring", "middleware, server/http1", part("rings?"), r"(?<!\.)\brings?\b"),
    Word("edge", "middleware, server/http1", r"^edge$|^Edge$", r"\b(rest of|at|in|of) the edge\b(?! of)|`app/edge"),
    # Garbage collection and imports have cycles.
    Word("cycle", "exchange", r"^_?cycles?$|Cycle", r"(?<!garbage )(?<!import )(?<!reference )\bcycles?\b"),
    Word("ending", "closing", r"^_?ending$|^Ending"),
    Word("served", "request events", r"^def _?served$|^Served$"),
    Word("tell", "emit", r"^def _?tell$"),
    Word("Direct", "fast handler", r"^_?Direct$", r"`Direct`"),
    Word("Dispatch", "router", r"^_?Dispatch$", r"`Dispatch`"),
    Word("Reply", "response with headers", r"^_?Reply$", r"`Reply`"),
    Word("proof", "reauthentication", r"^proofs?$|^Proof"),
    Word("again", "reauthenticate", r"^again\.py$|^Again$"),
    Word("farewell", "account deletion", part("farewells?"), r"\bfarewells?\b"),
    Word("opaque", "opaque tokens", r"^opaque$"),
    Word("once", "idempotency", r"^def _?once(_|$)"),
    Word("KEEP", "store_key", r"^_?KEEP$"),
    Word("SURELY", "key_is_fresh", r"^_?SURELY$"),
    Word("owners", "provisioning", r"^owners\.py$"),
    Word("may be new", "auto_provision", part("may_be_new"), r"\bmay_be_new\b"),
    Word("THEIR_OWN", "OWNED_BY_CALLER", r"THEIR_OWN", r"\bTHEIR_OWN\b"),
    Word("FOR_THEM", "SET_RLS_OWNER", r"FOR_THEM", r"\bFOR_THEM\b"),
    Word("RAISED", "NEXT_REVISION", r"^RAISED$", r"\bRAISED\b"),
    Word("ANYWAY", "UNCONDITIONAL", r"^ANYWAY$", r"\bANYWAY\b"),
    Word("LEARN", "REFRESH_SEARCH_INDEX", r"^LEARN$", r"\bLEARN\b"),
    Word("wall", "row-level security, query filter", part("walls?"), r"\bwalls?\b(?![ -](clock|time))"),
    Word("door", "route", part("doors?"), r"\bdoors?\b"),
    # There is room for a row, or no room: that is the everyday word.
    Word("room", "package", part("rooms"), r"\brooms\b|\broom's\b|\b(a|of|in|its|each|own) room\b(?! for)"),
    Word("house", "layout", part("houses?"), r"\bhouses?\b"),
    # A version, too, has a floor.
    Word("floor", "layer", None, r"\bfloors (below|above|of (the|a) house)\b|\b(on|of) floors\b|\bnumbered floors?\b"),
    # It has two meanings, so one of these two is always clearer.
    Word("at once", "immediately; concurrently", part("at_once"), r"\bat once\b"),
    Word("behind too many others", "the queue is full", None, r"\btoo many others\b"),
    Word("goes away by itself", "is removed in the background", None, r"\bgoes? away by (itself|themselves)\b"),
    Word("Here it is.", "OK", None, r"\bHere (it is|they are)\."),
    Word("who is whom", "Email and password.", None, r"\bWho says they are whom\b"),
)


def names(tree: ast.AST) -> Iterator[str]:
    """The names that a module gives: to classes, functions (as `def name`), parameters, variables and attributes."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield f"def {name}"
            case ast.ClassDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.alias(asname=str(name)):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case _:
                pass


def prose(source: str, tree: ast.AST, *, messages: bool) -> Iterator[str]:
    """The comments and docstrings of a module, and with `messages` its other texts of several words."""
    comment: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comment.append(token.string.lstrip("#: "))
        elif token.type not in (tokenize.NL, tokenize.NEWLINE) and comment:
            yield " ".join(comment)
            comment = []
    yield " ".join(comment)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
        if is_text and (messages or id(node) in docstrings):
            yield node.value


def texts(value: object) -> Iterator[str]:
    """The summaries, descriptions and examples of an OpenAPI document: each of its strings with several words."""
    if isinstance(value, str) and " " in value:
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(key)
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def found(named: list[str], said: list[str]) -> dict[str, int]:
    """How often each word is in names and in prose."""
    said = [re.sub(r"\s+", " ", text) for text in said]
    counts = Counter[str]()
    for word in FORBIDDEN:
        for pattern, where in ((word.name, named), (word.text, said)):
            if pattern is not None:
                counts[word.word] += sum(len(re.findall(pattern, text)) for text in where)
    return dict(sorted((+counts).items()))


def in_module(path: Path) -> dict[str, int]:
    source = path.read_text()
    tree = ast.parse(source)
    is_ours = path.relative_to(ROOT).parts[0] == "app"
    module = path.parent if path.name == "__init__.py" else path
    return found([module.stem, module.name, *names(tree)], [*prose(source, tree, messages=is_ours)])


def in_document() -> dict[str, int]:
    from app.main import ACCOUNTS, ALWAYS
    from app.openapi.document import document

    return found([], [*texts(json.loads(json.dumps(document([*ALWAYS, *ACCOUNTS]))))])


def everywhere() -> dict[str, dict[str, int]]:
    """Which words are left in which file, and how often."""
    modules = [path for folder in ("app", "tests", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")]
    counts = {str(path.relative_to(ROOT)): in_module(path) for path in modules}
    counts |= {
        str(path.relative_to(ROOT)): found([], [path.read_text()])
        for path in sorted(pages)
        if path.name != "CHANGELOG.md"  # what it says of former versions stays
    }
    counts[DOCUMENT] = in_document()
    return {path: count for path, count in counts.items() if count}


def lines(counts: dict[str, dict[str, int]]) -> str:
    """One line of JSON for each file, so that a change of one file is a change of one line."""
    return "{\n" + ",\n".join(f"{json.dumps(path)}: {json.dumps(counts[path])}" for path in sorted(counts)) + "\n}\n"


def allowed() -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = json.loads(ALLOWED.read_text())
    return counts


def total(counts: dict[str, dict[str, int]]) -> Counter[str]:
    return sum(map(Counter, counts.values()), Counter[str]())


@pytest.mark.slow
def test_names_and_texts_use_the_fields_words() -> None:
    left, may_be_left = everywhere(), allowed()
    instead = {word.word: word.instead for word in FORBIDDEN}
    more, fewer = [], []
    for path in sorted(left.keys() | may_be_left.keys()):
        has, may_have = left.get(path, {}), may_be_left.get(path, {})
        for word in sorted(has.keys() | may_have.keys()):
            count, limit = has.get(word, 0), may_have.get(word, 0)
            line = f'{path}: "{word}" {count} times, {limit} allowed'
            if count > limit:
                more.append(f"{line}. Say instead: {instead[word]}")
            elif count < limit:
                fewer.append(line)
    assert not more, "\n".join(more)
    assert not fewer, "\n".join([f"Fewer are left than allowed. Lower the counts: {COMMAND}", *fewer])


@pytest.mark.parametrize(
    ("word", "named", "said"),
    [
        ("lane", ["lanes", "def free_lane", "def lane", "LaneError", "MAX_LANES"], ["a lane\nof our own"]),
        ("travel", ["travels"], ["they travel together"]),
        ("crowd", ["CROWD", "is_crowded"], ["a crowd"]),
        ("give up", ["SOON_GIVES_UP"], ["it gives\n    up"]),
        ("ring", ["Ring", "the_ring"], ["the ring"]),
        ("wall", ["wall", "second_wall"], ["two walls"]),
        ("at once", ["all_at_once"], ["both at\nonce"]),
        ("room", ["rooms"], ["the room's queries"]),
        ("Here it is.", [], ["Here it is."]),
    ],
)
def test_a_word_is_found_in_names_and_texts(word: str, named: list[str], said: list[str]) -> None:
    assert found(named, said) == {word: len(named) + len(said)}


def test_everyday_words_and_terms_of_the_field_are_none_of_them() -> None:
    named = ["string", "settings", "airplane", "crowds_out", "served_by", "keep", "leaving_users", "wallet", "group"]
    said = [
        "Argon2id hashes (2 passes, 1 lane)",
        "the wall clock, and 5 s of wall time",
        "no room is left, and there is room for more",
        "a garbage cycle",
        "a group of that kind",
        "the floor of a version",
        "a string of settings",
    ]
    assert found(named, said) == {}


def test_what_is_looked_at_is_names_comments_docstrings_and_messages() -> None:
    source = (
        'def lane(wall, *, door):\n    """A ring."""\n    # a crowd, at\n    # once\n'
        '    self.pulse = x.house("so they travel")\n'
    )
    tree = ast.parse(source)
    assert [*names(tree)] == ["def lane", "wall", "door", "pulse"]
    assert {*prose(source, tree, messages=False)} - {""} == {"A ring.", "a crowd, at once"}
    assert "so they travel" in {*prose(source, tree, messages=True)}


def lower() -> None:
    """Write the counts of today. Refuses to raise the total of a word."""
    today = everywhere()
    if ALLOWED.exists() and (raised := total(today) - total(allowed())):
        sys.exit(f"There are more than before, so nothing was written: {dict(raised)}")
    ALLOWED.write_text(lines(today))


if __name__ == "__main__":
    lower()
