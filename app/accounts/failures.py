"""What can go wrong with accounts alone."""

from app.failures import NotFound


class UserNotFound(NotFound):
    """A user whom only a token has named so far."""

    message = "There is no account for this token yet."


class SessionNotFound(NotFound):
    """No such session of the caller's."""

    message = "There is no such session."


class TokenNotFound(NotFound):
    """No such personal access token of the caller's."""

    message = "There is no such token."
