"""The failures we raise: each is one class with its status, code and sentence, of which `errors` makes responses."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from app.db import errors as database_errors
from app.web.envelopes import Error, FieldError


class Failure(Exception):
    """What a client is told: a status, a code for programs, which never changes, and a sentence for people."""

    status, code = 500, "INTERNAL_ERROR"
    message = "Something went wrong on our side."
    description = ""  # of its status in the document; without one, the message
    documented_as = "ErrorBody"  # the schema of its body
    fixed_headers: ClassVar[Mapping[str, str]] = {}
    of_example: ClassVar[tuple[Any, ...]] = ()  # the arguments of the document's example

    def __init__(self, message: str = "") -> None:
        super().__init__()
        if message:
            self.message = message

    @classmethod
    def example(cls) -> Self:
        return cls(*cls.of_example)

    def headers(self) -> dict[str, str]:
        """Return the headers that tell a client more."""
        return {**self.fixed_headers}

    def error(self) -> Error:
        return Error(self.code, self.message)


class BadRequest(Failure):
    """The body is not JSON, or not UTF-8; or the message is not HTTP."""

    status, code = 400, "BAD_REQUEST"
    message = "The request could not be read."


class NotJSON(BadRequest):
    """The body is not JSON, or not UTF-8."""

    message = "The body is not valid JSON in UTF-8."


class Unauthorized(Failure):
    """RFC 6750, section 3: no token was sent."""

    status, code = 401, "UNAUTHORIZED"
    message = "This needs a valid bearer token."
    fixed_headers: ClassVar = {"www-authenticate": "Bearer"}  # RFC 9110, section 11.6.1


class InvalidToken(Unauthorized):
    """RFC 6750, section 3.1: a token was sent and is no good. The log says why; the response does not."""

    fixed_headers: ClassVar = {"www-authenticate": 'Bearer error="invalid_token"'}

    def __init__(self, reason: str = "it is unknown") -> None:
        """Take the reason, in words that hold nothing of the token."""
        super().__init__()
        self.reason = reason


class Forbidden(Failure):
    """The caller is known, and may not do this."""

    status, code = 403, "FORBIDDEN"
    message = "This is not allowed."


class ReadOnlyToken(Forbidden):
    """RFC 6750, section 3.1: a change with a token that may only read."""

    message = "This token may only read."
    fixed_headers: ClassVar = {"www-authenticate": 'Bearer error="insufficient_scope", scope="write"'}


class NotFound(Failure):
    """No such route."""

    status, code = 404, "NOT_FOUND"
    message = "There is nothing here."


class MethodNotAllowed(Failure):
    """RFC 9110, section 15.5.6."""

    status, code = 405, "METHOD_NOT_ALLOWED"
    message = "This method is not allowed here."

    def __init__(self, allowed: set[str], message: str = "") -> None:
        super().__init__(message)
        self.allowed = {*allowed, "HEAD"} if "GET" in allowed else allowed

    def headers(self) -> dict[str, str]:
        return {"allow": ", ".join(sorted(self.allowed))}


class RequestTimeout(Failure):
    """A head or a body that never came."""

    status, code = 408, "REQUEST_TIMEOUT"
    message = "The request took too long to arrive."


class RowChanged(Failure):
    """RFC 9110, section 15.5.13: a row is not what the member of staff who would save it has seen."""

    status, code = 412, "PRECONDITION_FAILED"
    message = "This row has changed since it was opened. Open it again, and make your change once more."


class PayloadTooLarge(Failure):
    """A body over the limit."""

    status, code = 413, "PAYLOAD_TOO_LARGE"
    message = "The body is larger than 1 MiB."

    def __init__(self, limit: int = 1024 * 1024) -> None:
        super().__init__(f"The body is larger than {limit // 1024} KiB." if limit < 1024 * 1024 else "")


class UnsupportedMediaType(Failure):
    """A body that says it is something other than plain JSON in UTF-8."""

    status, code = 415, "UNSUPPORTED_MEDIA_TYPE"
    message = "The body must be application/json, in UTF-8 and not compressed."


class UnsupportedPatch(UnsupportedMediaType):
    """RFC 5789, section 2.2: a kind of patch that we do not know."""

    message = "A patch must be application/merge-patch+json or application/json, in UTF-8 and not compressed."
    fixed_headers: ClassVar = {"accept-patch": "application/merge-patch+json, application/json"}


class Invalid(Failure):
    """Understood, but not acceptable: names the field."""

    status, code = 422, "VALIDATION_ERROR"
    description = "Understood, but not acceptable: `fields` names what."

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field

    def error(self) -> Error:
        """Return the sentence twice: for people at the top, for forms beside the field."""
        return Error(self.code, self.message, fields=[FieldError(self.field, self.message)])


class KeyReused(Failure):
    """The draft of Idempotency-Key, section 2.6: a key that was sent with another request."""

    status, code = 422, "IDEMPOTENCY_KEY_REUSED"
    message = "This Idempotency-Key was sent with another request. Take a new one for each."


class TooManyRequests(Failure):
    """RFC 6585, section 4."""

    status, code = 429, "RATE_LIMIT_EXCEEDED"
    message = "Too many requests. Try again later."
    of_example = (42,)

    def __init__(self, seconds: int, message: str = "") -> None:
        super().__init__(message)
        self.seconds = max(seconds, 1)

    def headers(self) -> dict[str, str]:
        return {"retry-after": str(self.seconds)}

    def error(self) -> Error:
        return Error(self.code, self.message, retry_after=self.seconds)


class HeadersTooLarge(Failure):
    """RFC 6585, section 5."""

    status, code = 431, "HEADERS_TOO_LARGE"
    message = "The head of the request is larger than 32 KiB."


class Unavailable(Failure, database_errors.DatabaseUnavailable):
    """The database cannot be reached, or no connection is free in time."""

    status, code = 503, "SERVICE_UNAVAILABLE"
    message = "The service cannot reach its database. Try again in a moment."
    fixed_headers: ClassVar = {"retry-after": "1"}


class Busy(Unavailable):
    """More to do than there is time for."""

    message = "The service has more to do than there is time for. Try again in a moment."


class ShuttingDown(Unavailable):
    """The process was told to stop."""

    message = "The service is about to stop. Try again in a moment."
