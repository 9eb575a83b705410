"""Device tokens: a device that has logged in before is not locked out by strangers' guesses.

They are OWASP's device cookies ("Slow Down Online Guessing Attacks with Device Cookies"), sent in the body. A login
returns one, and the next login may bring it along: its failures are then counted by the token instead of by the email
address. So a stolen one is worth five guesses in 15 minutes. It proves nothing: the password is asked for as ever.

A device token is `tsd_`, 22 random characters, and 43 of an HMAC over these, the user and how often the password was
changed. So nothing is stored of it until a login fails; it is of one account; and a changed password ends it.
"""

import hmac
import re
import secrets
from collections.abc import Iterable

from app.auth import opaque

PREFIX = "tsd_"
SHAPE = re.compile(r"tsd_([A-Za-z0-9_-]{22})([A-Za-z0-9_-]{43})")


def issue(secret: str, user_id: str, password_version: int) -> str:
    """Return a new one for the account."""
    device = secrets.token_urlsafe(16)
    return PREFIX + device + _signature(secret, device, user_id, password_version)


def limit_key(token: str, keys: Iterable[str], user_id: str, password_version: int) -> str | None:
    """Return by what failures of this device are counted; None where the token is not of this account or password."""
    match = SHAPE.fullmatch(token)
    if match is None:
        return None
    device, signature = match.groups()
    valid = [hmac.compare_digest(signature, _signature(key, device, user_id, password_version)) for key in keys]
    return f"{limit_prefix(user_id)}{opaque.hashed(device).hex()}" if any(valid) else None


def limit_prefix(user_id: str) -> str:
    """Return what the limits of all devices of the account begin with; no email address does."""
    return f"device:{user_id}:"


def _signature(secret: str, device: str, user_id: str, password_version: int) -> str:
    return opaque.keyed_hash(secret, "device tokens", f"{device} {password_version} {user_id}")
