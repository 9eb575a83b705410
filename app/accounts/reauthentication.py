"""Is it really them? A password, looked at under the limit of failed attempts.

Attempts of strangers are counted by the email address, and by their network; those of a device that has logged in
before by its device token; those of somebody who is logged in by the user. No count touches another. So guesses from
outside keep nobody from logging in on a known device, from changing the password or from leaving; and a stolen access
token, or all device tokens of a login together, are worth five guesses in 15 minutes.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress

from app.accounts import device_tokens, queries
from app.accounts.failures import InvalidCredentials
from app.accounts.queries import Account
from app.accounts.structs import Credentials
from app.auth import lockout, passwords
from app.auth.jwt import User
from app.auth.lockout import Limit
from app.web.addresses import address_key
from app.web.failures import Busy

FAILURES_PER_ADDRESS = 100


async def by_email(credentials: Credentials, address: str | None, keys: tuple[str, ...]) -> Account:
    """Return the account with this email and this password. Device tokens are of one of the keys.

    Raises InvalidCredentials, in the same time whether there is such an account or not; TooManyRequests; Busy.
    """
    email, password, device = credentials.email, credentials.password, None
    if credentials.device_token:
        device = await _known_device(email, credentials.device_token, keys)
    limits = [device] if device else [Limit(email), Limit(address_key(address), FAILURES_PER_ADDRESS)]
    return await _verified(lambda: queries.find(email), password, *limits)


async def reauthenticate(user: User, password: str) -> Account:
    """Let somebody who is logged in go on with something grave. Raises what `by_email` does."""
    known = await queries.get(user)
    if known is None or known.password_hash is None:
        raise InvalidCredentials  # somebody whom only a token has named
    return await _verified(lambda: queries.get(user), password, Limit(queries.limit_key(user.id)))


async def _known_device(email: str, token: str, keys: tuple[str, ...]) -> Limit | None:
    """Return what the failures of a device are counted by; None for a token that is not of this account."""
    account = await queries.find(email)
    owner, version = (account.profile.id, account.password_version) if account else ("", 0)
    device = device_tokens.read(token, keys, owner, version)
    return Limit(device_tokens.limit_key(device, owner)) if device else None


async def _verified(find: Callable[[], Awaitable[Account | None]], password: str, *limits: Limit) -> Account:
    async def verify() -> Account | None:
        account = await find()
        stored = account.password_hash if account else None
        matches = await passwords.matches(stored, password)
        return account if stored and matches else None

    account = await lockout.attempt(verify, *limits)
    if account is None:
        raise InvalidCredentials
    return await _up_to_date(account, f"{account.password_hash}", password)


async def _up_to_date(account: Account, stored: str, password: str) -> Account:
    """Hash the password anew where the parameters have moved on."""
    if passwords.is_outdated(stored):
        with suppress(Busy):  # then the next login does it
            renewed = await passwords.hashed(password)
            if await queries.renew_hash(account.profile.id, stored, renewed):
                return account._replace(password_hash=renewed)
    return account
