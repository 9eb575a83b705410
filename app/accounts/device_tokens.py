"""Device tokens: a device that has logged in before is not locked out by strangers' guesses.

They are OWASP's device cookies ("Slow Down Online Guessing Attacks with Device Cookies"), sent in the body: failures of
a login that brings one along are counted by its device, and not by the email address. They prove nothing: the password
is asked for as ever. All device tokens of one login, and of later ones that bring one along, are of one device; so
stolen ones are together worth five guesses in 15 minutes.

A device token is `tsd_`, 22 characters that name the device, and 43 of an HMAC over these, the user and how often the
password was changed. So it is of one account, a changed password ends it, and nothing of it is stored until a login
fails: the device is in the id of the login, or follows from it.
"""

import hmac
import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable

from app.auth import opaque_tokens

PREFIX = "tsd_"
DEVICE_CHARACTERS = 22
DEVICE_TOKEN = re.compile(r"tsd_([A-Za-z0-9_-]{22})([A-Za-z0-9_-]{43})")


def new_session_id(device: str | None) -> str:
    """Return the id of a new login: 16 random characters, or the device that has logged in before and 12 of them."""
    return f"{device}{secrets.token_urlsafe(9)}" if device else secrets.token_urlsafe(12)


def issue(secret: str, session_id: str, user_id: str, password_version: int) -> str:
    """Return the device token of a login."""
    device = _device_of(session_id)
    return PREFIX + device + _signature(secret, device, user_id, password_version)


def read(token: str, keys: Iterable[str], user_id: str, password_version: int) -> str | None:
    """Return the device that a token names; None where the token is not of this account or password."""
    match = DEVICE_TOKEN.fullmatch(token)
    if match is None:
        return None
    device, signature = match.groups()
    valid = [hmac.compare_digest(signature, _signature(key, device, user_id, password_version)) for key in keys]
    return device if any(valid) else None


def limit_key(device: str, user_id: str) -> str:
    """Return by what failures of this device are counted."""
    return f"{limit_prefix(user_id)}{opaque_tokens.hashed(device).hex()}"


def limit_prefix(user_id: str) -> str:
    """Return what the limits of all devices of the account begin with; no email address does."""
    return f"device:{user_id}:"


def _device_of(session_id: str) -> str:
    if len(session_id) > DEVICE_CHARACTERS:
        return session_id[:DEVICE_CHARACTERS]
    return urlsafe_b64encode(opaque_tokens.hashed(session_id)).decode()[:DEVICE_CHARACTERS]


def _signature(secret: str, device: str, user_id: str, password_version: int) -> str:
    return opaque_tokens.keyed_hash(secret, "device tokens", f"{device} {password_version} {user_id}")
