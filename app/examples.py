"""Examples of each failure in the OpenAPI document, and which operations they fit."""

from app import failures as known
from app.accounts.failures import NOT_FOR_SCRIPTS, SessionNotFound, TokenNotFound, TooManyTokens, UserNotFound
from app.failures import Failure, Invalid
from app.query import LIMIT_RULE, InvalidCursor
from app.tasks.failures import (
    IndexNotReady,
    InOperation,
    KeyReused,
    LimitReached,
    PreconditionFailed,
    PreconditionRequired,
    TaskNotFound,
)
from app.tasks.structs import Task
from app.tasks.versions import etag

STAMP = "2026-11-21T09:30:00.125Z"
TASK = Task(42, "ada", "Buy milk", "Two litres, the blue one", True, STAMP, STAMP, 7)
ACCOUNTS = "Login Accounts"  # the tags
REAUTHENTICATED = "changePassword deleteMe"
# Those with the id of a task in their path.
WITH_ID = "getTask replaceTask patchTask deleteTask completeTask getTaskHistory revertTask restoreTask purgeTask"

# Each with the operations or tags that it fits; without any, it fits those of its status that have none of their own.
EXAMPLES: tuple[tuple[Failure, str], ...] = (
    (known.NotJSON(), ""),
    (known.InvalidToken(), ""),
    (known.InvalidToken(), REAUTHENTICATED),
    (known.InvalidRefreshToken(), "refresh"),
    (known.InvalidCredentials(), f"logIn {REAUTHENTICATED}"),
    (known.ReadOnlyToken(), ""),
    (known.Forbidden(NOT_FOR_SCRIPTS), ACCOUNTS),
    (TaskNotFound(), ""),
    (InOperation(1, TaskNotFound()), "batchTasks"),
    (UserNotFound(), "changeMe"),
    (SessionNotFound(), "endSession"),
    (TokenNotFound(), "createToken deleteToken"),
    (known.RequestTimeout(), ""),
    (known.EmailTaken(), "signUp"),
    (LimitReached(50_000), "createTask batchTasks"),
    (TooManyTokens(50, 50), "createToken"),
    (PreconditionFailed(TASK, etag(TASK.version)), ""),
    (InOperation(0, PreconditionFailed(TASK, etag(TASK.version))), "batchTasks"),
    (known.PayloadTooLarge(), ""),
    (known.PayloadTooLarge(256 * 1024), "batchTasks"),
    (known.PayloadTooLarge(16 * 1024), ACCOUNTS),
    (known.UnsupportedMediaType(), ""),
    (known.UnsupportedPatch(), "patchTask"),
    (Invalid("page", "There is no such parameter here"), ""),
    (Invalid("title", "Title is required"), "createTask replaceTask patchTask"),
    (Invalid("id", "The id must be an integer in its plain spelling"), WITH_ID),
    (Invalid("completed", "Completed is required in a body that is not empty"), "completeTask"),
    (Invalid("version", "Version is required"), "revertTask"),
    (Invalid("limit", f"limit must be {LIMIT_RULE}"), "listTasks listTrash listSessions listTokens"),
    (InvalidCursor(), "listTasks listTrash listSessions listTokens"),
    (InOperation(3, Invalid("operations[3].data.title", "Title is required")), "batchTasks"),
    (Invalid("email", "Email is not a valid address"), "signUp logIn"),
    (Invalid("password", "Password is required"), "deleteMe"),
    (Invalid("refresh_token", "Refresh token is required"), "refresh"),
    (Invalid("name", "Name is required"), "changeMe createToken"),
    (Invalid("new_password", "New password must have 8 characters at least"), "changePassword"),
    (PreconditionRequired(), ""),
    (InOperation(0, PreconditionRequired()), "batchTasks"),
    (known.TooManyRequests(42), ""),
    (known.TooManyRequests(900, "Too many failed logins. Try again later."), f"logIn {REAUTHENTICATED}"),
    (known.TooManyRequests(3600, "Too many accounts from this network. Try again later."), "signUp"),
    (known.HeadersTooLarge(), ""),
    (Failure(), ""),
    (known.Unavailable(), ""),
    (known.Unavailable(), "listTasks"),
    (IndexNotReady(), "listTasks"),
)
KEY_REUSED = KeyReused()
ERROR_CODES = sorted({known.MethodNotAllowed.code, KEY_REUSED.code} | {failure.code for failure, _ in EXAMPLES})
# What can happen to nearly every request. The page tells it once.
COMMON: tuple[Failure, ...] = (
    known.NotJSON(),
    known.RequestTimeout(),
    known.PayloadTooLarge(),
    known.UnsupportedMediaType(),
    known.TooManyRequests(1),
    known.HeadersTooLarge(),
    Failure(),
    known.Unavailable(),
)


def fitting(status: int, operation: str, tags: list[str]) -> list[Failure]:
    """Return the failures with this status that this operation can end with."""
    there = [(failure, fits.split()) for failure, fits in EXAMPLES if failure.status == status]
    own = [failure for failure, fits in there if {operation, *tags} & {*fits}]
    return own or [failure for failure, fits in there if not fits]
