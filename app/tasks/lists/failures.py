"""The failures of lists."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from app.tasks.etags import etag
from app.tasks.lists.structs import EXAMPLE_LIST, TodoList
from app.web.envelopes import Error
from app.web.failures import Failure, NotFound


# For the document alone, as the next one.
class ListError(Error, frozen=True, omit_defaults=True, rename={"retry_after": "retryAfter"}):
    """A failure of a list, which may show it."""

    current: Annotated[TodoList, Meta(description="The list as it is now.")] | UnsetType = UNSET


class ListErrorBody(msgspec.Struct, frozen=True):
    """The body of a failure of a list."""

    error: ListError


class ListNotFound(NotFound):
    """No such list of the caller's: it never was, it was deleted, or it is somebody else's."""

    message = "There is no such list."


class ListIsAnother(Failure):
    """RFC 9110, section 15.5.13: the list has another version than the change is for."""

    status = 412
    code = "PRECONDITION_FAILED"
    message = "The list has changed in the meantime."
    documented_as = ListErrorBody.__name__
    of_example = (EXAMPLE_LIST,)

    def __init__(self, current: TodoList) -> None:
        super().__init__()
        self.current = current

    def headers(self) -> dict[str, str]:
        return {"etag": etag(self.current.version), "cache-control": "private, no-cache"}

    def error(self) -> Error:
        return Error(self.code, self.message, current=self.current)


class ListConflict(Failure):
    """RFC 9110, section 15.5.10: the owner has a list with this uid already."""

    status = 409
    code = "CONFLICT"
    message = "There is a list with this uid already."
    documented_as = ListErrorBody.__name__
    of_example = (EXAMPLE_LIST,)

    def __init__(self, current: TodoList) -> None:
        super().__init__()
        self.current = current

    def error(self) -> Error:
        return Error(self.code, self.message, current=self.current)


class TooManyLists(Failure):
    """The owner stores as many lists as MAX_LISTS allows, those in the trash included."""

    status = 409
    code = "LIMIT_REACHED"
    of_example = (500,)

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.message = f"You have {limit} lists, the trash included, and there can be no more. Delete some for good."
