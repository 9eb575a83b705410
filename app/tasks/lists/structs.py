"""The JSON of lists: bodies of requests, checked, and answers."""

from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import force_setattr

from app.tasks.colors import COLOR_PATTERN, checked_color
from app.tasks.positions import checked_position, derived_position
from app.tasks.uids import UidKind, chosen_uid, parse_uid, uid_sql
from app.web import text as web_text
from app.web.envelopes import Data, Stamp
from app.web.failures import Invalid

MAX_NAME = 200  # characters
# Of an integer, whose first letter tells how many digits follow, and a fraction that does not end in 0.
ORDER_DIGIT = "[0-9A-Za-z]"
INTEGERS = "|".join(f"[{chr(90 - count)}{chr(97 + count)}]{ORDER_DIGIT}{{{count + 1}}}" for count in range(26))
POSITION_PATTERN = f"^({INTEGERS})({ORDER_DIGIT}*[1-9A-Za-z])?$"
EXAMPLE_UID = "01936c1e-7c3a-7000-9b1d-0d9d6f1d2a21"
HEX = {"pattern": COLOR_PATTERN}
PLACE = {"pattern": POSITION_PATTERN, "maxLength": 255}

SentName = Annotated[
    str,
    Meta(
        description=f"White space around it is trimmed; what is left has 1 to {MAX_NAME} characters, none of them "
        "U+0000, and not only characters that are shown as nothing. Two lists may have the same.",
        examples=["Groceries"],
        extra_json_schema={"minLength": 1, "pattern": web_text.visible_pattern(MAX_NAME)},
    ),
]
SentColor = Annotated[str | None, Meta(description="`#rrggbb`.", examples=["#1e90ff"], extra_json_schema=HEX)]
SentPosition = Annotated[
    str | None,
    Meta(
        description="Lists are in the order of the bytes of their positions. A key of npm's `fractional-indexing`; "
        "null means one that is derived from the id, behind all of lists before it.",
        examples=["a1"],
        extra_json_schema=PLACE,
    ),
]
SentArchived = Annotated[bool, Meta(description="Whether the list is archived: then no task can be put into it.")]


class TodoList(msgspec.Struct, frozen=True, gc=False):
    """A list, in which tasks can be."""

    computed: ClassVar = {"uid": uid_sql(UidKind.LIST, "task_lists")}
    id: Annotated[int, Meta(description="Unique among lists, and below 2^53.", ge=1, le=2**53 - 1, examples=[7])]
    uid: Annotated[
        str,
        Meta(
            description="The UUID that its client chose, or one that is derived from the id. The service takes it "
            "wherever it takes the id.",
            examples=[EXAMPLE_UID],
            extra_json_schema={"format": "uuid"},
        ),
    ]
    name: Annotated[str, Meta(min_length=1, max_length=MAX_NAME, examples=["Groceries"])]
    color: Annotated[str | None, Meta(examples=["#1e90ff"], extra_json_schema=HEX)]
    position: Annotated[
        str,
        Meta(
            description="Lists are in the order of the bytes of their positions, and of their ids where those are "
            "alike.",
            examples=["a1"],
            extra_json_schema=PLACE,
        ),
    ]
    archived_at: Annotated[
        str | None,
        Meta(
            description="When it was archived; null where it is not.",
            examples=["2026-11-21T09:30:00.125Z"],
            extra_json_schema={"format": "date-time"},
        ),
    ]
    created_at: Stamp
    updated_at: Stamp
    version: Annotated[
        int, Meta(description="Higher after every change; it is the list's entity tag too.", ge=0, le=2**53 - 1)
    ]

    def __post_init__(self) -> None:
        """Put what a row has no text for."""
        stored: Any = self.position
        if stored is None:
            force_setattr(self, "position", derived_position(self.id))


class TrashedTodoList(TodoList, frozen=True):
    """A list in the trash."""

    deleted_at: Stamp


EXAMPLE_LIST = TodoList(
    id=7,
    uid=EXAMPLE_UID,
    name="Groceries",
    color="#1e90ff",
    position="a1",
    archived_at=None,
    created_at="2026-11-21T09:30:00.125Z",
    updated_at="2026-11-21T09:30:00.125Z",
    version=7,
)


class TodoListData(Data[TodoList], frozen=True):
    """One list in its envelope."""


class TodoListsData(Data[list[TodoList]], frozen=True):
    """All of the caller's lists in their envelope, in their order; those in the trash are not among them."""


class ListBody(msgspec.Struct, frozen=True):
    """The fields of a list in a body."""

    def __post_init__(self) -> None:
        """Put the values to be stored in place of those that were sent. Raises Invalid."""
        sent: Any = self
        if sent.name is not UNSET:
            force_setattr(self, "name", _checked_name(sent.name))
        if isinstance(sent.color, str):
            force_setattr(self, "color", checked_color(sent.color))
        if isinstance(sent.position, str):
            checked_position(sent.position)


class TodoListContent(ListBody, frozen=True):
    """What a client may say about a list; what is absent stays as it is. Fields that are not known are ignored."""

    name: SentName
    color: SentColor | UnsetType = UNSET
    position: SentPosition | UnsetType = UNSET
    archived: SentArchived | UnsetType = UNSET
    uid: (
        Annotated[
            str | None,
            Meta(
                description="Of a new list, a UUID that the client has chosen, which no other list of the caller's "
                "has, those in the trash included. It never changes: of a list that there is already, it is ignored.",
                examples=[EXAMPLE_UID],
                extra_json_schema={"format": "uuid"},
            ),
        ]
        | UnsetType
    ) = UNSET

    def __post_init__(self) -> None:
        """Put the values to be stored in place of those that were sent. Raises Invalid."""
        ListBody.__post_init__(self)
        if isinstance(self.uid, str) and parse_uid(self.uid) is None:
            chosen_uid(self.uid)  # raises Invalid


class TodoListPatch(ListBody, frozen=True):
    """What is to be different of a list (RFC 7396): what is absent stays as it is, and null clears."""

    name: SentName | UnsetType = UNSET
    color: SentColor | UnsetType = UNSET
    position: SentPosition | UnsetType = UNSET
    archived: SentArchived | UnsetType = UNSET


def _checked_name(name: str) -> str:
    name = name.strip()
    if web_text.is_blank(name):
        raise Invalid("name", "Name is required")
    if len(name) > MAX_NAME:
        raise Invalid("name", f"Name must have {MAX_NAME} characters at most")
    if "\0" in name:
        raise Invalid("name", "Name must not contain the character U+0000")
    return name


def values_of_list(content: TodoListContent | TodoListPatch) -> dict[str, Any]:
    """Return what a body binds: null for what is to stay as it is."""
    given = {name: None if (each := getattr(content, name)) is UNSET else each for name in ("name", "archived")}
    for name in ("color", "position"):
        value = getattr(content, name)
        given |= {f"sets_{name}": value is not UNSET, name: None if value is UNSET else value}
    return given
