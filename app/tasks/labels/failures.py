"""The failures of labels."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.tasks.etags import etag
from app.tasks.labels.structs import EXAMPLE_LABEL, Label
from app.web.envelopes import Error
from app.web.failures import Failure, NotFound


# For the document alone, as the next one.
class LabelError(Error, frozen=True, omit_defaults=True, rename={"retry_after": "retryAfter"}):
    """A failure of a label, which may show it."""

    current: Annotated[Label, Meta(description="The label as it is now.")] | UnsetType = UNSET


class LabelErrorBody(msgspec.Struct, frozen=True):
    """The body of a failure of a label."""

    error: LabelError


class LabelNotFound(NotFound):
    """No such label of the caller's."""

    message = "There is no such label."


class LabelHasChanged(Failure):
    """RFC 9110, section 15.5.13: the label has another version than the change is for."""

    status, code = 412, "PRECONDITION_FAILED"
    message = "The label has changed in the meantime."
    documented_as = LabelErrorBody.__name__
    of_example = (EXAMPLE_LABEL,)

    def __init__(self, current: Label) -> None:
        super().__init__()
        self.current = current

    def headers(self) -> dict[str, str]:
        return {"etag": etag(self.current.version), "cache-control": "private, no-cache"}

    def error(self) -> Error:
        return Error(self.code, self.message, current=self.current)
