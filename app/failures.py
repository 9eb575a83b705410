"""The failures we raise: each is one class with its status, its code and its sentence.

`errors` makes responses of them, and of whatever else goes wrong.
"""

from app.envelopes import Error, FieldError


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
    """RFC 6750, section 3.1: a token was sent and is no good. Which part of it the log says, and not the answer."""

    def __init__(self, reason: str = "it is unknown") -> None:
        """Take why, in words that hold nothing of the token."""
        super().__init__()
        self.reason = reason

    def headers(self) -> dict[str, str]:
        """Say that it was the token."""
        return {"www-authenticate": 'Bearer error="invalid_token"'}


class InvalidRefreshToken(InvalidToken):
    """A refresh token that is none, was spent, or has expired; or its login has ended."""

    message = "This refresh token is not valid any more. Log in again."


class InvalidCredentials(Unauthorized):
    """A password that is not the account's; or no such account, which is not told apart."""

    code = "INVALID_CREDENTIALS"
    message = "Email and password do not match."


class Forbidden(Failure):
    """The caller is known, and may not do this."""

    status = 403
    code = "FORBIDDEN"

    def __init__(self, message: str = "This is not allowed.") -> None:
        """Take the sentence that says why."""
        super().__init__()
        self.message = message


class ReadOnlyToken(Forbidden):
    """RFC 6750, section 3.1: a token that may look, and tried to change something."""

    def __init__(self) -> None:
        """Say it as a sentence too."""
        super().__init__("This token may only read.")

    def headers(self) -> dict[str, str]:
        """Name what would be needed."""
        return {"www-authenticate": 'Bearer error="insufficient_scope", scope="write"'}


class NotFound(Failure):
    """No such route."""

    status = 404
    code = "NOT_FOUND"
    message = "There is nothing here."


class MethodNotAllowed(Failure):
    """RFC 9110, section 15.5.6."""

    status = 405
    code = "METHOD_NOT_ALLOWED"
    message = "This method is not allowed here."

    def __init__(self, allowed: set[str], message: str = message) -> None:
        """Take the methods that the route knows, and a sentence; HEAD comes with GET."""
        super().__init__()
        self.message = message
        self.allowed = allowed | ({"HEAD"} if "GET" in allowed else set())

    def headers(self) -> dict[str, str]:
        """List what is allowed."""
        return {"allow": ", ".join(sorted(self.allowed))}


class RequestTimeout(Failure):
    """A head or a body that never came."""

    status = 408
    code = "REQUEST_TIMEOUT"
    message = "The request took too long to arrive."


class EmailTaken(Failure):
    """Somebody has signed up with this address."""

    status = 409
    code = "EMAIL_ALREADY_EXISTS"
    message = "There is an account with this email address."


class RowChanged(Failure):
    """RFC 9110, section 15.5.13: a row is not what the member of staff who would save it has seen."""

    status = 412
    code = "PRECONDITION_FAILED"
    message = "This row has changed since it was opened. Open it again, and make your change once more."


class PayloadTooLarge(Failure):
    """A body over the limit."""

    status = 413
    code = "PAYLOAD_TOO_LARGE"
    message = "The body is larger than 1 MiB."

    def __init__(self, limit: int = 1024 * 1024) -> None:
        """Take the limit in bytes."""
        super().__init__()
        if limit < 1024 * 1024:
            self.message = f"The body is larger than {limit // 1024} KiB."


class UnsupportedMediaType(Failure):
    """A body that says it is something other than plain JSON in UTF-8."""

    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"
    message = "The body must be application/json, in UTF-8 and not compressed."


class UnsupportedPatch(UnsupportedMediaType):
    """RFC 5789, section 2.2: a kind of patch that we do not know."""

    message = "A patch must be application/merge-patch+json or application/json, in UTF-8 and not compressed."

    def headers(self) -> dict[str, str]:
        """Name those that we do."""
        return {"accept-patch": "application/merge-patch+json, application/json"}


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


class TooManyRequests(Failure):
    """RFC 6585, section 4."""

    status = 429
    code = "RATE_LIMIT_EXCEEDED"

    def __init__(self, seconds: int, message: str = "Too many requests. Try again later.") -> None:
        """Take how long to wait, and a sentence about what was too much."""
        super().__init__()
        self.seconds = max(seconds, 1)
        self.message = message

    def headers(self) -> dict[str, str]:
        """Say when to try again."""
        return {"retry-after": str(self.seconds)}

    def error(self) -> Error:
        """Say it in the body too."""
        return Error(self.code, self.message, retry_after=self.seconds)


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
        return {"retry-after": "1"}


class Busy(Unavailable):
    """More to do than there is time for."""

    message = "The service has more to do than there is time for. Try again in a moment."


class Leaving(Unavailable):
    """The process was told to stop."""

    message = "The service is about to stop. Try again in a moment."
