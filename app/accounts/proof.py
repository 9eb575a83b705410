"""Is it really them? A password, looked at under the limit of failed attempts.

Attempts of strangers are counted by the email address, and by their network; those of a device that has logged in
before by its device token; those of somebody who is logged in by the user. No count touches another. So guesses from
outside keep nobody from logging in on a known device, from changing the password or from leaving; and a stolen access
token, or all device tokens of a login together, are worth five guesses in 15 minutes.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from app.accounts import device_tokens, limits, passwords, queries
from app.accounts.limits import FAILURES_PER_EMAIL, Attempt, Limit
from app.accounts.queries import Account
from app.accounts.structs import Credentials
from app.auth.tokens import User
from app.failures import Busy, InvalidCredentials


async def by_email(credentials: Credentials, address: str | None, keys: tuple[str, ...]) -> Account:
    """Return the account with this email and this password. Device tokens are of one of the keys.

    Raises InvalidCredentials, in the same time whether there is such an account or not; TooManyRequests; Busy.
    """
    email = credentials.email
    device = await _known_device(email, credentials.device_token, keys) if credentials.device_token else None
    attempt = await (_begin(device) if device else limits.begin(email, address))
    return await _proved(attempt, credentials.password, lambda: queries.find(email))


async def again(user: User, password: str) -> Account:
    """Let somebody who is logged in go on with something grave. Raises what `by_email` does."""
    known = await queries.get(user)
    if known is None or known.password_hash is None:
        raise InvalidCredentials  # somebody whom only a token has named
    return await _proved(await _begin(queries.limit_key(user.id)), password, lambda: queries.get(user))


async def _begin(key: str) -> Attempt:
    return await limits.begin_under(Limit(key, FAILURES_PER_EMAIL), None)


async def _known_device(email: str, token: str, keys: tuple[str, ...]) -> str | None:
    """Return what the failures of a device are counted by; None for a token that is not of this account."""
    account = await queries.find(email)
    whose = (account.profile.id, account.password_version) if account else ("", 0)
    device = device_tokens.read(token, keys, *whose)
    return device_tokens.limit_key(device, whose[0]) if device else None


async def _proved(attempt: Attempt, password: str, find: Callable[[], Awaitable[Account | None]]) -> Account:
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
