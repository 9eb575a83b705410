"""The failures we raise, and the one place where any failure becomes a response.

Each is one subclass with its status, its code and its sentence. Nothing of a foreign exception is ever shown:
it is either understood here, or it is INTERNAL_ERROR, and the log has it in full.
"""

import logging
from collections.abc import Iterator
from typing import Any

import asyncpg
import msgspec
from litestar import MediaType, Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
)

from app.envelopes import Error, ErrorBody, FieldError, encode

logger = logging.getLogger(__name__)

RETRY_SECONDS = 1


class Failure(Exception):
    """Something that a caller is told: a status, a stable code and a sentence."""

    status = 500
    code = "INTERNAL_ERROR"
    message = "Something went wrong on our side."

    def headers(self) -> dict[str, str]:
        """Return the headers that tell a client more."""
        return {}

    def error(self) -> Error:
        """Return what the envelope holds."""
        return Error(self.code, self.message)


class BadRequest(Failure):
    """The body is not JSON, or not UTF-8; or the message is not HTTP."""

    status = 400
    code = "BAD_REQUEST"
    message = "The request could not be read."


class NotJSON(BadRequest):
    """The body is not JSON, or not UTF-8."""

    message = "The body is not valid JSON in UTF-8."


class Unauthorized(Failure):
    """RFC 6750, section 3: no token was sent."""

    status = 401
    code = "UNAUTHORIZED"
    message = "This needs a valid bearer token."

    def headers(self) -> dict[str, str]:
        """Name the scheme, as RFC 9110, section 11.6.1 asks."""
        return {"www-authenticate": "Bearer"}


class InvalidToken(Unauthorized):
    """RFC 6750, section 3.1: a token was sent and is no good. Which part of it is not told."""

    def headers(self) -> dict[str, str]:
        """Say that it was the token."""
        return {"www-authenticate": 'Bearer error="invalid_token"'}


class NotFound(Failure):
    """No such route."""

    status = 404
    code = "NOT_FOUND"
    message = "There is nothing here."


class TaskNotFound(NotFound):
    """No such task of the caller's: it never was, or it is somebody else's."""

    message = "There is no such task."


class MethodNotAllowed(Failure):
    """RFC 9110, section 15.5.6."""

    status = 405
    code = "METHOD_NOT_ALLOWED"
    message = "This method is not allowed here."

    def __init__(self, allowed: set[str]) -> None:
        """Take the methods that the route knows; HEAD comes with GET."""
        super().__init__()
        self.allowed = allowed | ({"HEAD"} if "GET" in allowed else set())

    def headers(self) -> dict[str, str]:
        """List what is allowed."""
        return {"allow": ", ".join(sorted(self.allowed))}


class RequestTimeout(Failure):
    """A head or a body that never came."""

    status = 408
    code = "REQUEST_TIMEOUT"
    message = "The request took too long to arrive."


class PayloadTooLarge(Failure):
    """A body over the limit."""

    status = 413
    code = "PAYLOAD_TOO_LARGE"
    message = "The body is larger than 1 MiB."


class UnsupportedMediaType(Failure):
    """A body that says it is something other than plain JSON in UTF-8."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"
    message = "The body must be application/json, in UTF-8 and not compressed."


class Invalid(Failure):
    """Understood, but not acceptable: names the field."""

    status = 422
    code = "VALIDATION_ERROR"

    def __init__(self, field: str, message: str) -> None:
        """Take the field as the client spells it, and a sentence about it."""
        super().__init__()
        self.field = field
        self.message = message

    def error(self) -> Error:
        """Return the sentence twice: for people at the top, for forms beside the field."""
        return Error(self.code, self.message, fields=[FieldError(self.field, self.message)])


class HeadersTooLarge(Failure):
    """RFC 6585, section 5."""

    status = 431
    code = "HEADERS_TOO_LARGE"
    message = "The head of the request is larger than 32 KiB."


class Unavailable(Failure):
    """The database cannot be reached, or no connection is free in time."""

    status = 503
    code = "SERVICE_UNAVAILABLE"
    message = "The service cannot reach its database. Try again in a moment."

    def headers(self) -> dict[str, str]:
        """Say when to try again."""
        return {"retry-after": str(RETRY_SECONDS)}


class Rendered(msgspec.Struct, frozen=True):
    """A failure, ready to be sent."""

    status: int
    headers: dict[str, str]
    body: bytes


# What a database in trouble raises, beyond OSError and TimeoutError. None of it is the caller's fault or ours.
DATABASE_TROUBLE = (
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.OperatorInterventionError,  # class 57: shut down, starting, cancelled by a timeout
    asyncpg.InsufficientResourcesError,  # class 53: too many connections, disk full
    asyncpg.LockNotAvailableError,  # 55P03
    asyncpg.ReadOnlySQLTransactionError,  # 25006: a replica, before it is promoted
    asyncpg.TransactionRollbackError,  # class 40: serialization, deadlock
    asyncpg.InterfaceError,  # closed, released, closing
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
)
BY_STATUS: dict[int, type[Failure]] = {400: BadRequest, 413: PayloadTooLarge}


def understand(error: BaseException) -> Failure:
    """Return the failure that an exception means to a caller. What nobody understands is our bug."""
    match error:
        case Failure():
            return error
        case NotFoundException():
            return NotFound()
        case MethodNotAllowedException():
            allowed = (error.headers or {}).get("allow", "")
            return MethodNotAllowed({method.strip() for method in allowed.split(",")})
        case HTTPException():
            return BY_STATUS.get(error.status_code, Failure)()
        case asyncpg.ClientConfigurationError():
            return Failure()  # an InterfaceError, but one that no waiting heals
        case _ if isinstance(error, DATABASE_TROUBLE):
            return Unavailable()
        case _:
            return Failure()


def render(error: BaseException) -> Rendered:
    """Make any exception an answer in the envelope. Logs what is our bug, in full, and trouble in a line."""
    failure = understand(error)
    if failure.status == 500:
        logger.error("Unexpected %s", type(error).__name__, exc_info=_without_contents(error))
    elif failure is not error and failure.status == 503:
        logger.warning("The database is in trouble: %s", type(error).__name__)
    body = encode(ErrorBody(failure.error()))
    return Rendered(failure.status, {"content-type": "application/json", **failure.headers()}, body)


def respond(_request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer a failure that reached Litestar."""
    answer = render(error)
    return Response(answer.body, status_code=answer.status, headers=answer.headers, media_type=MediaType.JSON)


def _without_contents(error: BaseException) -> BaseException:
    """Take out of a database's errors what they quote of rows and arguments: logs are not for titles."""
    for each in _chain(error):
        if isinstance(each, asyncpg.PostgresError):
            each.args = (f"SQLSTATE {getattr(each, 'sqlstate', '?')}",)
            vars(each).update(detail=None, hint=None, query=None)
        elif isinstance(each, asyncpg.ClientConfigurationError):
            each.args = ("asyncpg cannot use what it was told",)  # it quotes the URL
    return error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                yield from _chain(each)
        error = error.__cause__ or error.__context__
