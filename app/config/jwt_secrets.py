"""The secrets that sign tokens: those of the environment, or one that is made and kept beside the embedded database."""

import os
import re
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from app.config.parsing import refuse

MIN_SECRET_BYTES = 32  # RFC 7518, section 3.2: a key as long as the hash's output, at least
# One half of a pair of keys, which signs no HS256 and which PyJWT refuses to try.
KEY_OF_A_PAIR = re.compile(r"^(ssh|ecdsa)-|----[- ]BEGIN ")


def jwt_secrets(
    given: Mapping[str, str], database_url: str | None, data_dir: Path, *, is_needed: bool
) -> tuple[str, ...]:
    """Return the secrets, newest first. Better Auth knows no list: a comma in its secret is part of it.

    Makes one in the data directory where one is needed and missing. Raises ConfigurationError.
    """
    if text := given.get("JWT_SECRET"):
        return tuple(_good_enough("JWT_SECRET", each.strip()) for each in text.split(","))
    if secret := given.get("BETTER_AUTH_SECRET"):
        return (_good_enough("BETTER_AUTH_SECRET", secret),)
    if database_url is not None:
        if not is_needed:
            return ()
        raise refuse("JWT_SECRET", "not set", f"a secret of {MIN_SECRET_BYTES} bytes or more")
    path = data_dir / "jwt_secret"
    name = str(path.relative_to(data_dir.parent))
    try:
        return (_good_enough(name, _kept_secret(path)),)
    except OSError as error:
        held = f"not set, and {name} cannot be stored ({error.strerror})"
        raise refuse("JWT_SECRET", held, f"a secret of {MIN_SECRET_BYTES} bytes or more, then") from None


def _good_enough(name: str, secret: str) -> str:
    allowed = f"a secret of {MIN_SECRET_BYTES} bytes or more"
    try:
        size = len(secret.encode())
    except UnicodeEncodeError:
        raise refuse(name, "not UTF-8", allowed) from None
    if size < MIN_SECRET_BYTES:
        raise refuse(name, f"{size} bytes long", allowed)
    if KEY_OF_A_PAIR.search(secret):
        raise refuse(name, "a key of a key pair", allowed)
    return secret


def _kept_secret(path: Path) -> str:
    """The secret in the file, made first where there is none; one alone wins if several start concurrently."""
    path.parent.mkdir(exist_ok=True)
    if not path.exists():
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_urlsafe(48))
        with suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_text().strip()
