"""Tasks on the wire: what a client sends, checked, and what it gets back."""

from typing import Annotated

import msgspec
from msgspec import Meta

from app import texts
from app.envelopes import Data, Stamp
from app.failures import Invalid

MAX_TITLE = 500  # characters, that is Unicode code points, as PostgreSQL counts them


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


class TaskData(Data[Task], frozen=True):
    """One task in its envelope."""


class TaskListData(Data[list[Task]], frozen=True):
    """All of the caller's tasks in their envelope, newest first."""


class TaskContent(msgspec.Struct, frozen=True):
    """What a client may say about a task. Fields that the service does not know are ignored.

    The title's limits count after trimming, so they are checked here and not by its type.
    """

    title: Annotated[
        str,
        Meta(
            description="White space around it is trimmed; what is left has 1 to 500 characters, none of them U+0000.",
            examples=["Buy milk"],
            extra_json_schema={"minLength": 1, "pattern": texts.pattern(MAX_TITLE)},
        ),
    ]
    description: Annotated[
        str | None,
        Meta(
            description="Any text without U+0000. Absent means null.",
            examples=["Two litres, the blue one"],
            extra_json_schema={"pattern": r"^[^\u0000]*$"},
        ),
    ] = None

    def __post_init__(self) -> None:
        """Trim the title. Raises Invalid for what PostgreSQL would not hold."""
        title = self.title.strip()
        if not title:
            raise Invalid("title", "Title is required")
        if len(title) > MAX_TITLE:
            raise Invalid("title", f"Title must have {MAX_TITLE} characters at most")
        for field, text in (("title", title), ("description", self.description or "")):
            if "\0" in text:
                raise Invalid(field, f"{field.capitalize()} must not contain the character U+0000")
        msgspec.structs.force_setattr(self, "title", title)
