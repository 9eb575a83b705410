"""What can go wrong with accounts alone."""

from app.failures import Failure, NotFound

NOT_FOR_SCRIPTS = "A personal access token manages no tokens, logins, passwords or accounts: log in for that."


class UserNotFound(NotFound):
    """A user whom only a token has named so far."""

    message = "There is no account for this token yet."


class SessionNotFound(NotFound):
    """No such session of the caller's."""

    message = "There is no such session."


class TokenNotFound(NotFound):
    """No such personal access token of the caller's."""

    message = "There is no such token."


class TooManyTokens(Failure):
    """As many personal access tokens as an account may have."""

    status = 409
    code = "LIMIT_REACHED"

    def __init__(self, count: int, limit: int) -> None:
        """Take how many there are, and how many there may be."""
        super().__init__()
        self.message = f"There are {count} personal access tokens, and {limit} at most. Delete one first."
