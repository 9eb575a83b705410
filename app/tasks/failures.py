"""What can go wrong with tasks alone."""

from typing import Any

import msgspec

from app.envelopes import Error
from app.failures import Failure, Invalid, NotFound, Unavailable


class TaskNotFound(NotFound):
    """No such task of the caller's: it never was, it was deleted, or it is somebody else's."""

    message = "There is no such task."


class IndexNotReady(Unavailable):
    """The index that a search, or the order of titles, is answered from lacks more changes than a request can wait for.

    It is being brought up to date meanwhile.
    """

    message = "Your tasks are being indexed for this. Try again in a moment."

    def headers(self) -> dict[str, str]:
        """Say when to try again."""
        return {"retry-after": "2"}


class PreconditionFailed(Failure):
    """RFC 9110, section 15.5.13: the task is not what the caller takes it for."""

    status = 412
    code = "PRECONDITION_FAILED"
    message = "The task has changed in the meantime."

    def __init__(self, current: Any, etag: str) -> None:
        """Take the task as it is now, and its entity tag."""
        super().__init__()
        self.current = current
        self.etag = etag

    def headers(self) -> dict[str, str]:
        """Tell the tag to try again with, and that a cache has to ask again each time."""
        return {"etag": self.etag, "cache-control": "private, no-cache"}

    def error(self) -> Error:
        """Show the task, so that nobody has to ask for it."""
        return Error(self.code, self.message, current=self.current)


class AnswerTooLarge(Invalid):
    """A batch whose answer would take too much memory."""

    def __init__(self, limit: int) -> None:
        """Take the limit in bytes, and say what can be done."""
        mib = limit // 1024 // 1024
        super().__init__("return", f"The tasks have more than {mib} MiB of text. Ask for return=minimal, or for fewer.")


class KeyReused(Failure):
    """The draft of Idempotency-Key, section 2.6: a key that was sent with another request."""

    status = 422
    code = "IDEMPOTENCY_KEY_REUSED"
    message = "This Idempotency-Key was sent with another request. Take a new one for each."


class LimitReached(Failure):
    """The owner stores as many tasks as MAX_TASKS allows, those in the trash included."""

    status = 409
    code = "LIMIT_REACHED"

    def __init__(self, limit: int) -> None:
        """Take the limit."""
        super().__init__()
        self.message = f"You have {limit} tasks, the trash included, and there can be no more. Delete some for good."


class PreconditionRequired(Failure):
    """RFC 6585, section 3: a change of whatever is there by now, where that is not wanted."""

    status = 428
    code = "PRECONDITION_REQUIRED"
    message = "Say which version you mean to change: If-Match is required."


class InOperation(Failure):
    """What is wrong with one operation of a batch, for which nothing of the batch has happened."""

    def __init__(self, index: int, reason: Failure) -> None:
        """Take the operation's place among the others, from 0, and the failure."""
        super().__init__()
        self.index = index
        self.reason = reason
        self.status, self.code = reason.status, reason.code
        self.message = f"Operation {index}: {reason.message}"

    def error(self) -> Error:
        """Show what the failure alone would, and where."""
        return msgspec.structs.replace(self.reason.error(), message=self.message, index=self.index)
