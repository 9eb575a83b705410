"""What every answer is wrapped in: `{"data": ...}` or `{"error": ...}`; and how all of them tell a time."""

from collections.abc import Callable
from typing import Annotated, Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


Stamp = Annotated[
    str,
    msgspec.Meta(
        description="RFC 3339, in UTC and to the millisecond: what JavaScript's `toISOString` writes.",
        examples=["2026-11-21T09:30:00.125Z"],
        extra_json_schema={"format": "date-time"},
    ),
]


class Data(msgspec.Struct, Generic[T], frozen=True):
    """A success."""

    data: T


class NextPage(msgspec.Struct, frozen=True):
    """Where a list goes on."""

    next: Annotated[
        str | None, msgspec.Meta(description="The `cursor` of the next page; null where this is the last one.")
    ]


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field of a request."""

    field: Annotated[str, msgspec.Meta(examples=["title"])]
    message: Annotated[str, msgspec.Meta(examples=["Title is required"])]


class Error(msgspec.Struct, frozen=True, omit_defaults=True, rename={"retry_after": "retryAfter"}):
    """A failure. `code` is for programs and never changes; `message` is a sentence for people."""

    code: Annotated[str, msgspec.Meta(examples=["VALIDATION_ERROR"])]
    message: Annotated[str, msgspec.Meta(examples=["Title is required"])]
    fields: list[FieldError] | msgspec.UnsetType = msgspec.UNSET
    retry_after: int | msgspec.UnsetType = msgspec.UNSET
    current: Annotated[
        Any, msgspec.Meta(description="The task as it is now.", extra_json_schema={"$ref": "#/components/schemas/Task"})
    ] = msgspec.UNSET
    index: (
        Annotated[
            int, msgspec.Meta(description="Which operation of a batch it is about; the first is 0.", ge=0, examples=[3])
        ]
        | msgspec.UnsetType
    ) = msgspec.UNSET


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every failure."""

    error: Error


encode: Callable[[object], bytes] = msgspec.json.Encoder().encode
