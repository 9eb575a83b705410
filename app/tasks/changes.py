"""What was done to a task: each state of it, told as the change that led to it."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.envelopes import Data, Stamp

Kind: TypeAlias = Literal["session", "token", "jwt", "staff"]
Action: TypeAlias = Literal["created", "changed", "completed", "reopened", "deleted", "restored"]
Version = Annotated[int, Meta(ge=0, le=2**53 - 1, examples=[7])]


class State(NamedTuple):
    """What a task was from one change to the next."""

    version: int
    at: str
    by: str | None
    title: str
    description: str | None
    completed: bool
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


class Changes(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fields that are different, and no others. Before a task was created, each was null."""

    title: TextChange | UnsetType = UNSET
    description: TextChange | UnsetType = UNSET
    completed: SwitchChange | UnsetType = UNSET


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


def changes(rows: Iterable[Iterable[Any]]) -> list[Change]:
    """Tell what led to each state of a page of the history, the latest first.

    The first row has the texts of the latest; the others are states, with the texts that the next change replaced.
    """
    states: list[State] = []
    title: Any = None
    description: Any = None
    for version, at, by, kept_title, kept_description, completed, is_deleted, keeps_description, ordinal in rows:
        title = title if kept_title is None else kept_title
        description = kept_description if keeps_description else description
        if version is not None:
            states.append(State(version, at, by, title, description, completed, is_deleted, ordinal))
    return [_change(now, before) for now, before in zip(states, [*states[1:], None], strict=False)]


def _change(now: State, before: State | None) -> Change:
    """Tell what led from one state to the next; from none, where it is the first, or the oldest that is kept."""
    author = _author(now.by)
    if before is None and now.ordinal > 1:
        return Change(now.version, now.at, author, "changed", Changes())
    return Change(now.version, now.at, author, _action(now, before), _changes(now, before))


def _author(by: str | None) -> Author | None:
    kind, _, the_id = (by or "").partition(":")
    return Author(kind, the_id or None) if kind in get_args(Kind) else None  # pyright: ignore[reportArgumentType]


def _action(now: State, before: State | None) -> Action:
    if before is None:
        return "created"
    if now.is_deleted != before.is_deleted:
        return "deleted" if now.is_deleted else "restored"
    if (now.title, now.description) != (before.title, before.description) or now.completed == before.completed:
        return "changed"
    return "completed" if now.completed else "reopened"


def _changes(now: State, before: State | None) -> Changes:
    kinds: dict[str, Any] = {"title": TextChange, "description": TextChange, "completed": SwitchChange}
    pairs = {name: (getattr(before, name, None), getattr(now, name)) for name in kinds}
    return Changes(**{name: kinds[name](*pair) for name, pair in pairs.items() if pair[0] != pair[1]})
