"""The failures of tasks."""

from typing import Annotated, Any

import asyncpg
import msgspec

from app.tasks.etags import etag
from app.tasks.label_names import too_many_labels
from app.tasks.structs import EXAMPLE_TASK, Task
from app.web.envelopes import Error
from app.web.failures import Failure, Invalid, NotFound, Unavailable


class TaskNotFound(NotFound):
    """No such task of the caller's: it never was, it was deleted, or it is somebody else's."""

    message = "There is no such task."


class IndexNotReady(Unavailable):
    """The index for a search, or for the order of titles, lacks more changes than a request can wait for.

    It is being brought up to date meanwhile.
    """

    message = "Your tasks are being indexed for this. Try again in a moment."

    def headers(self) -> dict[str, str]:
        return {"retry-after": "2"}


class PreconditionFailed(Failure):
    """RFC 9110, section 15.5.13: the task has another version than the change is for."""

    status = 412
    code = "PRECONDITION_FAILED"
    message = "The task has changed in the meantime."
    of_example = (EXAMPLE_TASK,)

    def __init__(self, current: Task) -> None:
        super().__init__()
        self.current = current

    def headers(self) -> dict[str, str]:
        return {"etag": etag(self.current.version), "cache-control": "private, no-cache"}

    def error(self) -> Error:
        return Error(self.code, self.message, current=self.current)


class Conflict(Failure):
    """RFC 9110, section 15.5.10: the owner has a task with this uid already."""

    status = 409
    code = "CONFLICT"
    message = "There is a task with this uid already."
    of_example = (EXAMPLE_TASK,)

    def __init__(self, current: Task) -> None:
        super().__init__()
        self.current = current

    def error(self) -> Error:
        return Error(self.code, self.message, current=self.current)


class AnswerTooLarge(Invalid):
    """A batch whose answer would take too much memory."""

    def __init__(self, limit_bytes: int) -> None:
        mib = limit_bytes // 1024 // 1024
        super().__init__("return", f"The tasks have more than {mib} MiB of text. Ask for return=minimal, or for fewer.")


class LimitReached(Failure):
    """The owner stores as many tasks as MAX_TASKS allows, those in the trash included."""

    status = 409
    code = "LIMIT_REACHED"
    of_example = (50_000,)

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.message = f"You have {limit} tasks, the trash included, and there can be no more. Delete some for good."


class LabelLimitReached(LimitReached):
    """The owner has as many labels as MAX_LABELS allows."""

    of_example = (500,)

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.message = f"You have {limit} labels, and there can be no more. Delete some."


def label_refusal(error: asyncpg.CheckViolationError) -> Exception:
    """Return the failure that `tasks_label` has raised; the error itself where something else has."""
    found = getattr(error, "constraint_name", "")
    if found == "labels_of_owner":
        return LabelLimitReached(int(getattr(error, "detail", "0")))
    return too_many_labels() if found == "labels_of_task" else error


class PreconditionRequired(Failure):
    """RFC 6585, section 3: a change has to name the version that it is for."""

    status = 428
    code = "PRECONDITION_REQUIRED"
    message = "Say which version you mean to change: If-Match is required."


# For the document alone, as the next one.
class BatchError(Error, frozen=True, omit_defaults=True, rename={"retry_after": "retryAfter"}):
    """A failure of a batch, which may show the task, list or label that an operation is about."""

    current: Annotated[
        Any,
        msgspec.Meta(
            description="The task, list or label as it is now.",
            extra_json_schema={
                "anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("Task", "TodoList", "Label")]
            },
        ),
    ] = msgspec.UNSET


class BatchErrorBody(msgspec.Struct, frozen=True):
    """The body of a failure of a batch."""

    error: BatchError


class InOperation(Failure):
    """The failure of one operation of a batch, by its place from 0; so nothing of the batch has happened."""

    documented_as = BatchErrorBody.__name__

    def __init__(self, index: int, reason: Failure) -> None:
        super().__init__()
        self.index = index
        self.reason = reason
        self.status, self.code = reason.status, reason.code
        self.message = f"Operation {index}: {reason.message}"
        self.description = reason.description

    def error(self) -> Error:
        return msgspec.structs.replace(self.reason.error(), message=self.message, index=self.index)
