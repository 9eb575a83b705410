"""Is it really them? A password, looked at under the limit of failed logins."""

from contextlib import suppress

from app.accounts import limits, passwords, queries
from app.accounts.limits import Attempt
from app.accounts.queries import Account
from app.auth.tokens import User
from app.failures import Busy, InvalidCredentials


async def by_email(email: str, password: str, address: str | None) -> Account:
    """Return the account with this email and this password.

    Raises InvalidCredentials, in the same time whether there is such an account or not; TooManyRequests; Busy.
    """
    attempt = await limits.begin(email, address)
    return await _decide(attempt, await queries.find(email), password)


async def again(user: User, password: str, address: str | None) -> None:
    """Let somebody who is logged in go on with something grave. Raises what `by_email` does."""
    account = await queries.get(user)
    if account is None or account.profile.email is None:
        raise InvalidCredentials  # somebody whom only a token has named
    attempt = await limits.begin(account.profile.email.lower(), address)
    await _decide(attempt, account, password)


async def _decide(attempt: Attempt, account: Account | None, password: str) -> Account:
    kept = account.password_hash if account else None
    try:
        matches = await passwords.matches(kept, password)
    except Busy:
        await limits.take_back(attempt)
        raise
    if account is None or kept is None or not matches:
        await limits.failed(attempt)
        raise InvalidCredentials
    await limits.succeeded(attempt)
    if passwords.is_outdated(kept):
        with suppress(Busy):  # then the next login does it
            renewed = await passwords.hashed(password)
            if await queries.renew_hash(account.profile.id, kept, renewed):
                return account._replace(password_hash=renewed)
    return account
