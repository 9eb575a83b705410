"""The history of a label: how it was named and colored, and which labels became one with it."""

from typing import Annotated, Any, Literal, TypeAlias

import asyncpg
import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.auth.jwt import User as Owner
from app.db.engine import database
from app.tasks.history.diff import Author, HistoryPage, TextChange, Version, author_of
from app.tasks.history.kept import Different, states_of, told
from app.tasks.label_names import LabelName
from app.tasks.labels.failures import LabelNotFound
from app.tasks.labels.one import LABELS_OF_CALLER
from app.web.envelopes import Data, Stamp

LabelAction: TypeAlias = Literal["created", "changed", "merged"]

CHANGES_OF_LABEL: dict[str, Any] = {"name": TextChange, "color": TextChange}
LABEL_HISTORY = states_of("label", f'{LABELS_OF_CALLER} AND "key" = :label_key::text', [*CHANGES_OF_LABEL, "merged"])


class LabelChanges(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fields of a label that are different, and no others. Before it was created, each was null."""

    name: TextChange | UnsetType = UNSET
    color: TextChange | UnsetType = UNSET


class LabelChange(msgspec.Struct, frozen=True):
    """One change of a label, and the version that it led to."""

    version: Version
    at: Stamp
    by: Annotated[Author | None, Meta(description="null where it is not known.")]
    action: Annotated[LabelAction, Meta(description="What it came to.", examples=["changed"])]
    changes: LabelChanges
    merged: (
        Annotated[str, Meta(description="The name of the label that became one with it.", examples=["House"])]
        | UnsetType
    ) = UNSET


class LabelHistoryData(Data[list[LabelChange]], frozen=True):
    """Changes of a label in their envelope, the last one first."""

    page: HistoryPage


async def history_of_label(owner: Owner, label: LabelName, before: int, limit: int) -> LabelHistoryData:
    """Return up to so many changes of a label before a version, the last one first. Raises LabelNotFound."""
    rows = await database.fetch(LABEL_HISTORY, owner=owner.id, label_key=label.key, before=before, limit=limit)
    if not rows:
        raise LabelNotFound
    return LabelHistoryData(*told(rows, limit, _content, _change))


def _content(state: asyncpg.Record) -> dict[str, Any]:
    return {name: state[name] for name in CHANGES_OF_LABEL}


def _change(now: asyncpg.Record, before: asyncpg.Record | None, different: Different) -> LabelChange:
    changes = LabelChanges(**{name: CHANGES_OF_LABEL[name](*pair) for name, pair in different.items()})
    merged: str | None = now["merged"]
    action: LabelAction = "merged" if merged else "changed" if before or now["ordinal"] > 1 else "created"
    about = now["version"], now["at"], author_of(now["changed_by"])
    return LabelChange(*about, action, changes, UNSET if merged is None else merged)
