"""The changes of a task, from the states that they led to."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, get_args

import asyncpg
import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import force_setattr

from app.tasks.fields import FIELDS
from app.web.envelopes import Data, Stamp

Kind: TypeAlias = Literal["session", "token", "jwt", "staff"]
Action: TypeAlias = Literal["created", "changed", "completed", "reopened", "labelled", "deleted", "restored"]
Version = Annotated[int, Meta(ge=0, le=2**53 - 1, examples=[7])]


NAMES_SCHEMA: dict[str, Any] = {"type": "array", "items": {"type": "string"}}


class PastState(NamedTuple):
    """A task from one change to the next."""

    version: int
    at: str
    by: str | None
    content: Mapping[str, Any]
    is_deleted: bool
    ordinal: int  # of the oldest that is kept: over 1 where there were states before it


class Author(msgspec.Struct, frozen=True):
    """Who made a change: a login, a personal access token, a token of another issuer, or the staff."""

    kind: Annotated[Kind, Meta(description="`jwt` is a token that no login here gave out.", examples=["session"])]
    id: Annotated[
        str | None,
        Meta(description="The session's or token's `id`, or the `jti` of a JWT.", examples=["Zk3v8wXq1mYt5RbL"]),
    ]


class TextChange(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}):
    """A text, before and after."""

    before: Annotated[str | None, Meta(examples=["Buy milk"])]
    after: Annotated[str | None, Meta(examples=["Buy oat milk"])]


class SwitchChange(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}):
    """Yes or no, before and after."""

    before: Annotated[bool | None, Meta(examples=[False])]
    after: Annotated[bool, Meta(examples=[True])]


class NumberChange(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}):
    """A number, before and after."""

    before: Annotated[int | None, Meta(examples=[0])]
    after: Annotated[int | None, Meta(examples=[3])]


class TimeChange(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}):
    """A day, a time of day or a moment, before and after."""

    before: Annotated[str | None, Meta(examples=["2026-12-04"])]
    after: Annotated[str | None, Meta(examples=["2026-12-05"])]


class ObjectChange(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}):
    """An object, before and after."""

    before: Annotated[Any, Meta(extra_json_schema={"anyOf": [{"type": "object"}, {"type": "null"}]})]
    after: Annotated[Any, Meta(extra_json_schema={"type": "object"})]

    def __post_init__(self) -> None:
        """Put JSON in place of the text that is stored."""
        _put_json(self)


class LabelsChange(msgspec.Struct, frozen=True, rename={"before": "from", "after": "to"}):
    """Names of labels, before and after."""

    before: Annotated[Any, Meta(extra_json_schema={"anyOf": [NAMES_SCHEMA, {"type": "null"}]})]
    after: Annotated[Any, Meta(extra_json_schema=NAMES_SCHEMA)]

    def __post_init__(self) -> None:
        """Put JSON in place of the text that is stored."""
        _put_json(self)


def _put_json(change: ObjectChange | LabelsChange) -> None:
    for name in change.__struct_fields__:
        if isinstance(stored := getattr(change, name), str):
            force_setattr(change, name, msgspec.Raw(stored))


CHANGE_OF_TYPE = {
    "text": TextChange,
    "boolean": SwitchChange,
    "smallint": NumberChange,
    "bigint": NumberChange,
    "json": ObjectChange,
    "jsonb": LabelsChange,
    **dict.fromkeys(("date", "time", "timestamptz"), TimeChange),
}
CHANGE_KINDS: dict[str, Any] = {each.name: CHANGE_OF_TYPE[each.sql] for each in FIELDS}
CHANGED: Any = msgspec.defstruct(
    "Changed", [(name, kind | UnsetType, UNSET) for name, kind in CHANGE_KINDS.items()], frozen=True, omit_defaults=True
)


class Changes(CHANGED):
    """The fields that are different, and no others. Before a task was created, each was null."""


class Change(msgspec.Struct, frozen=True):
    """One change of a task, and the version that it led to."""

    version: Version
    at: Stamp
    by: Annotated[Author | None, Meta(description="null where it is not known.")]
    action: Annotated[Action, Meta(description="What it came to.", examples=["changed"])]
    changes: Changes


class HistoryPage(msgspec.Struct, frozen=True):
    """Where to go on."""

    next: Annotated[Version | None, Meta(description="`before` of the next page; null where there is none.")]


class HistoryData(Data[list[Change]], frozen=True):
    """Changes of a task in their envelope, the last one first."""

    page: HistoryPage


def changes(rows: Iterable[asyncpg.Record]) -> list[Change]:
    """Return the change that led to each state of a page of the history, the latest first.

    The first row has the texts of the latest state; the others are states with the texts that the next change replaced.
    """
    states: list[PastState] = []
    content: dict[str, Any] = {}
    for row in rows:
        content = content | {each.name: row[each.name] for each in FIELDS if not each.kept or row[f"tells_{each.name}"]}
        if row["version"] is not None:
            about = row["version"], row["at"], row["changed_by"]
            states.append(PastState(*about, content, row["is_deleted"], row["ordinal"]))
    return [_change(now, before) for now, before in zip(states, [*states[1:], None], strict=False)]


def _change(now: PastState, before: PastState | None) -> Change:
    """Return the change from one state to the next; from none, where it is the first, or the oldest that is kept."""
    author = author_of(now.by)
    if before is None and now.ordinal > 1:
        return Change(now.version, now.at, author, "changed", Changes())
    former: Mapping[str, Any] = before.content if before else {}
    pairs = {name: (former.get(name), value) for name, value in now.content.items()}
    different = {name: (old, new) for name, (old, new) in pairs.items() if old != new}
    changes = Changes(**{name: CHANGE_KINDS[name](*pair) for name, pair in different.items()})
    return Change(now.version, now.at, author, _action(now, before, {*different}), changes)


def author_of(by: str | None) -> Author | None:
    """Return who it was, from `changed_by`."""
    kind, _, the_id = (by or "").partition(":")
    return Author(kind, the_id or None) if kind in get_args(Kind) else None  # pyright: ignore[reportArgumentType]


def _action(now: PastState, before: PastState | None, different: set[str]) -> Action:
    if before is None:
        return "created"
    if now.is_deleted != before.is_deleted:
        return "deleted" if now.is_deleted else "restored"
    if different == {"labels"}:
        return "labelled"
    if not {"completed"} <= different <= {"completed", "completed_at"}:
        return "changed"
    return "completed" if now.content["completed"] else "reopened"
