"""The history of a list: what was done to it, when and by whom. Its tasks have histories of their own."""

from functools import partial
from typing import Annotated, Any, Literal, TypeAlias

import asyncpg
import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.auth.jwt import User as Owner
from app.db.engine import database
from app.tasks.history.diff import Author, HistoryPage, TextChange, TimeChange, Version, author_of
from app.tasks.history.kept import Different, states_of, told
from app.tasks.lists.failures import ListNotFound
from app.tasks.lists.queries import THAT_LIST
from app.tasks.positions import derived_position
from app.web.envelopes import Data, Stamp

ListAction: TypeAlias = Literal["created", "changed", "archived", "unarchived", "deleted", "restored"]

CHANGES_OF_LIST: dict[str, Any] = {
    "name": TextChange,
    "color": TextChange,
    "position": TextChange,
    "archived_at": TimeChange,
}
LIST_HISTORY = states_of("list", f'{THAT_LIST} AND "deleted_at" IS NULL', [*CHANGES_OF_LIST], has_trash=True)


class ListChanges(msgspec.Struct, frozen=True, omit_defaults=True):
    """The fields of a list that are different, and no others. Before it was created, each was null."""

    name: TextChange | UnsetType = UNSET
    color: TextChange | UnsetType = UNSET
    position: TextChange | UnsetType = UNSET
    archived_at: TimeChange | UnsetType = UNSET


class ListChange(msgspec.Struct, frozen=True):
    """One change of a list, and the version that it led to."""

    version: Version
    at: Stamp
    by: Annotated[Author | None, Meta(description="null where it is not known.")]
    action: Annotated[ListAction, Meta(description="What it came to.", examples=["changed"])]
    changes: ListChanges


class ListHistoryData(Data[list[ListChange]], frozen=True):
    """Changes of a list in their envelope, the last one first."""

    page: HistoryPage


async def history_of_list(owner: Owner, list_id: int, before: int, limit: int) -> ListHistoryData:
    """Return up to so many changes of a list before a version, the last one first. Raises ListNotFound."""
    rows = await database.fetch(LIST_HISTORY, owner=owner.id, list_id=list_id, before=before, limit=limit)
    if not rows:
        raise ListNotFound
    return ListHistoryData(*told(rows, limit, partial(_content, list_id), _change))


def _content(list_id: int, state: asyncpg.Record) -> dict[str, Any]:
    content = {name: state[name] for name in CHANGES_OF_LIST}
    return content | {"position": content["position"] or derived_position(list_id)}


def _change(now: asyncpg.Record, before: asyncpg.Record | None, different: Different) -> ListChange:
    pairs = {name: CHANGES_OF_LIST[name](*pair) for name, pair in different.items()}
    author, action = author_of(now["changed_by"]), _action(now, before, {*different})
    return ListChange(now["version"], now["at"], author, action, ListChanges(**pairs))


def _action(now: asyncpg.Record, before: asyncpg.Record | None, different: set[str]) -> ListAction:
    if before is None:
        return "changed" if now["ordinal"] > 1 else "created"
    if now["is_deleted"] != before["is_deleted"]:
        return "deleted" if now["is_deleted"] else "restored"
    if different == {"archived_at"}:
        return "archived" if now["archived_at"] else "unarchived"
    return "changed"
