"""The one place where any failure becomes a response.

Nothing of a foreign exception is ever shown: it is either understood here, or it is INTERNAL_ERROR, and the log
has it in full.
"""

import logging
from collections.abc import Iterator
from typing import Any, cast

import asyncpg
import msgspec
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException

from app.db import errors as database_errors
from app.web.envelopes import ErrorBody, encode
from app.web.failures import (
    BadRequest,
    Busy,
    Failure,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    Unauthorized,
    Unavailable,
)
from app.web.headers import RawHeaders

logger = logging.getLogger(__name__)


class Rendered(msgspec.Struct, frozen=True):
    """A failure, ready to be sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def raw_headers(self) -> RawHeaders:
        return [(name.encode(), value.encode()) for name, value in self.headers.items()]


# What a database in trouble raises, beyond OSError and TimeoutError. None of it is the caller's fault or ours.
DATABASE_TROUBLE = (
    asyncpg.PostgresConnectionError,  # class 08
    asyncpg.OperatorInterventionError,  # class 57: shut down, starting, cancelled by a timeout
    asyncpg.InsufficientResourcesError,  # class 53: too many connections, disk full
    asyncpg.PostgresSystemError,  # class 58: its disk
    asyncpg.InvalidAuthorizationSpecificationError,  # class 28: a password that was changed, a login that was closed
    asyncpg.InvalidCatalogNameError,  # 3D000: the database is gone, and perhaps on its way back from a backup
    asyncpg.IdleInTransactionSessionTimeoutError,  # 25P03
    asyncpg.LockNotAvailableError,  # 55P03
    asyncpg.ReadOnlySQLTransactionError,  # 25006: a replica, before it is promoted
    asyncpg.TransactionRollbackError,  # class 40: serialization, deadlock
    asyncpg.InterfaceError,  # closed, released, closing
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    database_errors.DatabaseUnavailable,
)
BY_STATUS: dict[int, type[Failure]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    413: PayloadTooLarge,
    503: Unavailable,
}


def failure_of(error: BaseException) -> Failure:
    """Return the failure that an exception means to a caller: 503 for a database in trouble, 500 for our bugs."""
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
        case database_errors.Overloaded():
            return Busy()
        case asyncpg.ClientConfigurationError():
            return Failure()  # an InterfaceError, but one that no waiting heals
        case _:
            return Unavailable() if isinstance(error, DATABASE_TROUBLE) else Failure()


def render(error: BaseException) -> Rendered:
    """Make any exception an answer in the envelope. Logs what is our bug, in full, and trouble in a line."""
    failure = failure_of(error)
    if failure.status == 500:
        logger.error("Unexpected %s", type(error).__name__, exc_info=_without_contents(error))
    elif type(failure) is Unavailable and not isinstance(error, database_errors.DatabaseUnavailable):
        logger.warning("The database is in trouble: %s", type(error).__name__)
    body = encode(ErrorBody(failure.error()))
    return Rendered(failure.status, {"content-type": "application/json", **failure.headers()}, body)


def broken_off(error: BaseException) -> Unavailable | None:
    """Return, and log in a line, the trouble that ends a response of which a part is sent; None where it is our bug."""
    failure = failure_of(error)
    if not isinstance(failure, Unavailable):
        return None
    logger.warning("An answer was broken off: %s", type(error).__name__)
    return failure


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
    """Yield an error, those in it where it is a group, and those that led to it."""
    while error is not None:
        yield error
        if isinstance(error, BaseExceptionGroup):
            for each in cast("BaseExceptionGroup[BaseException]", error).exceptions:
                yield from _chain(each)
        error = error.__cause__ or error.__context__
