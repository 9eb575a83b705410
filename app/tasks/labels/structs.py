"""The JSON of labels."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import force_setattr

from app.tasks.colors import COLOR_PATTERN, checked_color
from app.tasks.label_names import LABEL_SCHEMA, MAX_LABEL_NAME, checked_label
from app.web.envelopes import Data, Stamp


class Label(msgspec.Struct, frozen=True):
    """One label."""

    id: Annotated[int, Meta(description="Unique, and below 2^53.", ge=1, le=2**53 - 1, examples=[7])]
    uid: Annotated[
        str,
        Meta(
            description="A UUID that is derived from the id.",
            examples=["6a1dc0f5-e27b-8002-8000-000000000007"],
            extra_json_schema={"format": "uuid"},
        ),
    ]
    name: Annotated[str, Meta(min_length=1, max_length=MAX_LABEL_NAME, examples=["home"])]
    color: Annotated[str | None, Meta(examples=["#c0ffee"])]
    open: Annotated[int, Meta(description="How many tasks have it that are not completed.", ge=0, examples=[3])]
    created_at: Stamp
    updated_at: Stamp
    version: Annotated[int, Meta(description="Higher after every change of the label.", ge=0, le=2**53 - 1)]

    @property
    def state(self) -> str:
        """What its entity tag says: a change is for the version alone, and `open` changes without it."""
        return f"{self.version}-{self.open}"


EXAMPLE_LABEL = Label(
    id=7,
    uid="6a1dc0f5-e27b-8002-8000-000000000007",
    name="home",
    color="#c0ffee",
    open=3,
    created_at="2026-11-21T09:30:00.125Z",
    updated_at="2026-11-21T09:30:00.125Z",
    version=7,
)


class LabelData(Data[Label], frozen=True):
    """One label in its envelope."""


class LabelListData(Data[list[Label]], frozen=True):
    """The caller's labels in their envelope, in the order of their names without case."""


class LabelPatch(msgspec.Struct, frozen=True):
    """What is to be different of a label: what is absent stays as it is."""

    name: (
        Annotated[str, Meta(description="As for a task.", examples=["garden"], extra_json_schema=LABEL_SCHEMA)]
        | UnsetType
    ) = UNSET
    color: (
        Annotated[
            str | None,
            Meta(
                description="`#` and six hexadecimal digits, or null.",
                examples=["#c0ffee"],
                extra_json_schema={"pattern": COLOR_PATTERN},
            ),
        ]
        | UnsetType
    ) = UNSET

    def __post_init__(self) -> None:
        """Put the color in lower case. Raises Invalid."""
        if self.name is not UNSET:
            checked_label(self.name, "name")
        if isinstance(self.color, str):
            force_setattr(self, "color", checked_color(self.color))
