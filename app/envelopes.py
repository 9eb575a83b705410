"""What every answer is wrapped in: `{"data": ...}` or `{"error": ...}`."""

from typing import Annotated, Any, Generic, TypeVar

import msgspec

T = TypeVar("T")


class Data(msgspec.Struct, Generic[T], frozen=True):
    """A success."""

    data: T


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


class ErrorBody(msgspec.Struct, frozen=True):
    """The body of every failure."""

    error: Error


encode: Any = msgspec.json.Encoder().encode
