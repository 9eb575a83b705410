"""Tasks on the wire: what a client sends, checked, and what it gets back."""

import re
from typing import Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta

from app import texts
from app.envelopes import Data, Stamp
from app.failures import Invalid

MAX_ID = 2**63 - 1  # that PostgreSQL could look for; those that it gives out stay below 2**53
MAX_TITLE = 500  # characters, that is Unicode code points, as PostgreSQL counts them
MAX_DESCRIPTION = 32_768  # characters of a new one; there are longer ones from before
EMPTY_OBJECT = re.compile(rb"\s*\{\s*\}\s*")


# `queries` selects the columns that these fields name, in this order.
class Task(msgspec.Struct, frozen=True, gc=False):
    """One task."""

    id: Annotated[int, Meta(description="Unique, and below 2^53.", ge=1, le=2**53 - 1, examples=[42])]
    user_id: Annotated[str, Meta(description="The owner, from the token.", examples=["ada"])]
    title: Annotated[str, Meta(min_length=1, max_length=MAX_TITLE, examples=["Buy milk"])]
    description: Annotated[str | None, Meta(examples=["Two litres, the blue one"])]
    completed: Annotated[bool, Meta(examples=[False])]
    created_at: Stamp
    updated_at: Stamp
    version: Annotated[
        int, Meta(description="Higher after every change; it is the task's entity tag too.", ge=0, le=2**53 - 1)
    ]


class TaskVersion(msgspec.Struct, frozen=True, gc=False):
    """Which task it is, and in which version, where no more of it was asked for."""

    id: Annotated[int, Meta(ge=1, le=2**53 - 1, examples=[42])]
    version: Annotated[int, Meta(ge=0, le=2**53 - 1, examples=[7])]


class TrashedTask(Task, frozen=True, gc=False):
    """A task in the trash."""

    deleted_at: Stamp


class TaskData(Data[Task], frozen=True):
    """One task in its envelope."""


class Page(msgspec.Struct, frozen=True):
    """Where a list goes on."""

    next: Annotated[str | None, Meta(description="The `cursor` of the next page; null where this is the last one.")]
    total: Annotated[int, Meta(description="How many tasks all pages have, where `count` asks for it.", ge=0)] | (
        msgspec.UnsetType
    ) = msgspec.UNSET


class TrashData(Data[list[TrashedTask]], frozen=True):
    """What is in the caller's trash, in its envelope: what was deleted last comes first. With `limit`, a page of it."""

    page: Page | msgspec.UnsetType = msgspec.UNSET


class TaskListData(Data[list[Task]], frozen=True):
    """The caller's tasks in their envelope; and where more was asked than for all of them, the page."""

    page: Page | msgspec.UnsetType = msgspec.UNSET


# For the document alone, as the next one.
TaskFields: Any = msgspec.defstruct(
    "TaskFields",
    [
        (name, field | msgspec.UnsetType, msgspec.UNSET)
        for name, field in get_type_hints(Task, include_extras=True).items()
    ],
    namespace={"__doc__": "Some fields of a task: those that `fields` names."},
    forbid_unknown_fields=True,
)


class TaskFieldsData(Data[list[TaskFields]], frozen=True):
    """Where `fields` are given, the caller's tasks with those fields alone, and the page."""

    page: Page


Title = Annotated[
    str,
    Meta(
        description="White space around it is trimmed; what is left has 1 to 500 characters, none of them U+0000, and "
        "not only characters that are shown as nothing.",
        examples=["Buy milk"],
        extra_json_schema={"minLength": 1, "pattern": texts.visible_pattern(MAX_TITLE)},
    ),
]
Description = Annotated[
    str | None,
    Meta(
        description="Any text without U+0000, of 32,768 characters at most. A longer one from before may be sent back.",
        examples=["Two litres, the blue one"],
        extra_json_schema={"pattern": r"^[^\x00]*$", "maxLength": MAX_DESCRIPTION},
    ),
]


class TaskContent(msgspec.Struct, frozen=True):
    """What a client may say about a task; an absent description is null, an absent `completed` stays as it is.

    Fields that are not known are ignored. The title's limits count after trimming, so they are checked here and not by
    its type. How long a description may be hangs on the one that is there: `is_too_long`.
    """

    title: Title
    description: Description = None
    completed: bool | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        """Trim the title. Raises Invalid for what PostgreSQL would not hold."""
        msgspec.structs.force_setattr(self, "title", _checked_title(self.title))
        _check_description(self.description)


class TaskPatch(msgspec.Struct, frozen=True):
    """What is to be different (RFC 7396): what is absent stays as it is, and null clears the description."""

    title: Title | msgspec.UnsetType = msgspec.UNSET
    description: Description | msgspec.UnsetType = msgspec.UNSET
    completed: bool | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        """Trim the title. Raises Invalid for what PostgreSQL would not hold."""
        if self.title is not msgspec.UNSET:
            msgspec.structs.force_setattr(self, "title", _checked_title(self.title))
        if self.description is not msgspec.UNSET:
            _check_description(self.description)


class TaskCompletion(msgspec.Struct, frozen=True):
    """What `completed` is to be, for a client that may have to ask again. `{}` turns it round."""

    completed: bool | msgspec.UnsetType = msgspec.UNSET


def check_completion(completion: TaskCompletion | None, body: bytes) -> bool | None:
    """Return what `completed` is to be; None where it is to be turned round, which no body asks for but `{}`.

    Raises Invalid: a client that misspells `completed` must not turn round what it wants to set.
    """
    if completion is not None and completion.completed is not msgspec.UNSET:
        return completion.completed
    if body and not EMPTY_OBJECT.fullmatch(body):
        raise Invalid("completed", "Completed is required in a body that is not empty")
    return None


def is_too_long(description: str | msgspec.UnsetType | None) -> bool:
    """Tell whether no task may have this description but the one that has it already."""
    return isinstance(description, str) and len(description) > MAX_DESCRIPTION


def too_long() -> Invalid:
    """Return the refusal of such a description."""
    return Invalid("description", f"Description must have {MAX_DESCRIPTION} characters at most")


def _checked_title(title: str) -> str:
    title = title.strip()
    if texts.is_blank(title):
        raise Invalid("title", "Title is required")
    if len(title) > MAX_TITLE:
        raise Invalid("title", f"Title must have {MAX_TITLE} characters at most")
    _check_text("title", title)
    return title


def _check_description(description: str | None) -> None:
    _check_text("description", description or "")


def _check_text(field: str, text: str) -> None:
    if "\0" in text:
        raise Invalid(field, f"{field.capitalize()} must not contain the character U+0000")
