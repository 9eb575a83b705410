"""Names of labels, as they are stored, and their keys, by which two names are one label.

A name is in Unicode's normal form C, and trimmed. Its key has no case. Case is that of Unicode, and not of a database's
locale, so keys are made here (Unicode Standard, section 3.13, definition D145).
"""

import re
from collections.abc import Iterable
from typing import Annotated, Any, NamedTuple

from msgspec import Meta, Raw

from app.web import text as web_text
from app.web.failures import Invalid
from app.web.normalization import normalized

MAX_LABELS_OF_TASK = 50
MAX_LABEL_NAME = 50  # characters, that is Unicode code points
MAX_SENT_NAME = 4 * MAX_LABEL_NAME  # as normal form C makes one of four at most
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
# Those that no client can send in a path: a part of a path with this name is another path (RFC 3986, section 5.2.4).
PATH_SEGMENTS = (".", "..")
WITHOUT_CONTROLS = web_text.visible_pattern(MAX_LABEL_NAME).replace(r"\x01-\x1F\x7F-\x9F", "")
LABEL_PATTERN = WITHOUT_CONTROLS.replace(r"\x00", r"\x00-\x1F\x7F-\x9F")

SHOWN_LABELS: Any = Annotated[
    Raw,
    Meta(
        description="The names of its labels, in the order in which they were added.",
        examples=[["home"]],
        extra_json_schema={"type": "array", "items": {"type": "string"}, "maxItems": MAX_LABELS_OF_TASK},
    ),
]
LABEL_SCHEMA = {"minLength": 1, "pattern": LABEL_PATTERN}
SENT_LABELS: Any = Annotated[
    Annotated[
        list[Annotated[str, Meta(extra_json_schema=LABEL_SCHEMA)]],
        Meta(extra_json_schema={"maxItems": MAX_LABELS_OF_TASK}),
    ]
    | None,
    Meta(
        description=f"The names of its labels, {MAX_LABELS_OF_TASK} at most; they replace those that it has. A name is "
        f"trimmed and put into Unicode's normal form C; then it has 1 to {MAX_LABEL_NAME} characters, none of them a "
        "control character, and is not `.` or `..`. Case makes no difference: a label is shown as its owner wrote it "
        "first. One that is not there yet is made. Null means `[]`.",
        examples=[["home"]],
    ),
]


class LabelName(NamedTuple):
    """What a label is found by, and its name where there is none yet. As JSON it is what the trigger reads."""

    key: str
    name: str


def checked_label(text: str, field: str = "labels") -> LabelName:
    """Return the name of a label, and its key. Raises Invalid."""
    name = text.strip()
    name = normalized("NFC", name).strip() if len(name) <= MAX_SENT_NAME else ""
    if web_text.is_blank(name) or len(name) > MAX_LABEL_NAME:
        raise Invalid(field, f"A label must have 1 to {MAX_LABEL_NAME} characters")
    if CONTROL.search(name):
        raise Invalid(field, "A label must not contain control characters")
    if name in PATH_SEGMENTS:
        raise Invalid(field, "A label must not be . or ..")
    return LabelName(key_of(name), name)


def too_many_labels() -> Invalid:
    """Return the failure of a task with more labels than it can have."""
    return Invalid("labels", f"A task can have {MAX_LABELS_OF_TASK} labels at most")


def key_of(name: str) -> str:
    """Return the key of a name."""
    return normalized("NFC", name.casefold())


def checked_labels(names: Iterable[str] | None) -> list[LabelName]:
    """Return the labels of a task; of two with one key the first. Raises Invalid."""
    sent = [*names] if names else []
    if len(sent) > MAX_LABELS_OF_TASK:
        raise too_many_labels()
    found: dict[str, LabelName] = {}
    for label in map(checked_label, sent):
        found.setdefault(label.key, label)
    return [*found.values()]
