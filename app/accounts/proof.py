"""Is it really them? A password, looked at under the limit of failed logins."""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from app.accounts import limits, passwords, queries
from app.accounts.queries import Account
from app.auth.tokens import User
from app.failures import Busy, InvalidCredentials


async def by_email(email: str, password: str, address: str | None) -> Account:
    """Return the account with this email and this password.

    Raises InvalidCredentials, in the same time whether there is such an account or not; TooManyRequests; Busy.
    """
    return await _proved(email, password, address, lambda: queries.find(email))


async def again(user: User, password: str, address: str | None) -> Account:
    """Let somebody who is logged in go on with something grave. Raises what `by_email` does."""
    known = await queries.get(user)
    if known is None or known.profile.email is None:
        raise InvalidCredentials  # somebody whom only a token has named
    return await _proved(known.profile.email.lower(), password, address, lambda: queries.get(user))


async def _proved(
    email: str, password: str, address: str | None, find: Callable[[], Awaitable[Account | None]]
) -> Account:
    attempt = await limits.begin(email, address)
    try:
        account = await find()
        matches = await passwords.matches(account.password_hash if account else None, password)
    except Exception:
        # Not looked at, so no attempt. If that cannot be said either, the limits count it after a while.
        with suppress(Exception):
            await limits.take_back(attempt)
        raise
    if account is None or account.password_hash is None or not matches:
        await limits.failed(attempt)
        raise InvalidCredentials
    await limits.succeeded(attempt)
    return await _up_to_date(account, account.password_hash, password)


async def _up_to_date(account: Account, kept: str, password: str) -> Account:
    """Hash the password anew where the parameters have moved on."""
    if passwords.is_outdated(kept):
        with suppress(Busy):  # then the next login does it
            renewed = await passwords.hashed(password)
            if await queries.renew_hash(account.profile.id, kept, renewed):
                return account._replace(password_hash=renewed)
    return account
