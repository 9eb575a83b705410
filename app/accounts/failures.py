"""What can go wrong with accounts alone."""

from app.web.failures import Failure, Forbidden, InvalidToken, NotFound, TooManyRequests, Unauthorized


class NotForScripts(Forbidden):
    """A personal access token manages nothing of its account."""

    def __init__(self) -> None:
        """Say it as a sentence too."""
        super().__init__("A personal access token manages no tokens, logins, passwords or accounts: log in for that.")


class TooManySignUps(TooManyRequests):
    """As many new accounts as a network may make."""

    of_example = (3600,)

    def __init__(self, seconds: int) -> None:
        """Take how long to wait."""
        super().__init__(seconds, "Too many accounts from this network. Try again later.")


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
    of_example = (50, 50)

    def __init__(self, count: int, limit: int) -> None:
        """Take how many there are, and how many there may be."""
        super().__init__()
        self.message = f"There are {count} personal access tokens, and {limit} at most. Delete one first."


class InvalidRefreshToken(InvalidToken):
    """A refresh token that is none, was spent, or has expired; or its login has ended."""

    message = "This refresh token is not valid any more. Log in again."


class InvalidCredentials(Unauthorized):
    """A password that is not the account's; or no such account, which is not told apart."""

    code = "INVALID_CREDENTIALS"
    message = "Email and password do not match."


class EmailTaken(Failure):
    """Somebody has signed up with this address."""

    status = 409
    code = "EMAIL_ALREADY_EXISTS"
    message = "There is an account with this email address."
