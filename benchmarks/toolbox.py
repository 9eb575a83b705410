"""What has to be there to measure, and how to get it: programs of the system, and the rivals' own packages."""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from app.db.embedded import BIN

ROOT = Path(__file__).absolute().parent.parent
HERE = Path(__file__).absolute().parent
TOOLS = ROOT / ".tools"
VENV = TOOLS / "bench-venv"
CONTENDERS = HERE / "contenders"
INSTALL_SECONDS = 600

HOW_TO_GET = {
    "wrk": "apt-get install wrk, or brew install wrk",
    "node": "Node.js 20 or newer, from nodejs.org or your package manager",
    "npm": "it comes with Node.js",
    "go": "apt-get install golang-go",
    "pgbench": "apt-get install postgresql-contrib; other packages of PostgreSQL have it too",
    "uv": "pip install uv, or as README.md says",
}
# Debian packages the sources of Go's libraries here. Its own proxy is not asked.
GO_LIBRARIES = Path("/usr/share/gocode")
PGX = GO_LIBRARIES / "src/github.com/jackc/pgx/v4/pgxpool"
GO_ENVIRONMENT = {"GO111MODULE": "off", "GOPATH": str(GO_LIBRARIES), "GOTOOLCHAIN": "local", "GOFLAGS": ""}
NPM_CI = ("ci", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts")


class CannotInstall(Exception):
    """A rival's packages cannot be had; the message says why."""


def say(line: str) -> None:
    """Tell whoever is waiting how far we are."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def find(program: str) -> str | None:
    """Return where the program is. The embedded PostgreSQL brings some, `.tools` others."""
    for folder in (BIN, TOOLS / "bin"):
        if (folder / program).exists():
            return str(folder / program)
    return shutil.which(program)


def missing(*programs: str) -> str:
    """Return what is missing of them and how to get it; an empty text where nothing is."""
    absent = [program for program in programs if find(program) is None]
    return "; ".join(f"{program} is not installed ({HOW_TO_GET[program]})" for program in absent)


def output(*command: str, good: tuple[int, ...] = (0,)) -> str:
    """Return what a short command says; nothing where it cannot be run, or does not end well."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)  # noqa: S603
    except OSError:
        return ""
    return (done.stdout or done.stderr).strip() if done.returncode in good else ""


def folder_of(name: str) -> Path:
    """Return where a contender from `contenders/<name>` is installed: another folder for each state of its sources."""
    parts = hashlib.sha256()
    for path in sorted((CONTENDERS / name).glob("*.*")):
        parts.update(path.name.encode() + path.read_bytes())
    return TOOLS / f"bench-{name}-{parts.hexdigest()[:12]}"


def bun(folder: Path) -> str:
    """Return where npm puts the Bun of this machine: `@oven` has a package for each kind of machine."""
    machine = {"arm64": "aarch64", "x86_64": "x64", "amd64": "x64"}.get(platform.machine().lower(), platform.machine())
    return str(folder / f"node_modules/@oven/bun-{sys.platform}-{machine}/bin/bun")


def install_from_npm(name: str) -> None:
    """Put a contender and its locked packages into `.tools`, once. Raises CannotInstall."""
    if folder_of(name).exists():
        return
    if lacking := missing("node", "npm"):
        raise CannotInstall(lacking)
    _install_from_sources(name, str(find("npm")), *NPM_CI)


def install_go() -> None:
    """Build the contender in Go from Debian's packages into `.tools`, once. Raises CannotInstall."""
    if folder_of("go").exists():
        return
    if lacking := missing("go"):
        raise CannotInstall(lacking)
    if not PGX.exists():
        raise CannotInstall("pgx is not installed (apt-get install golang-github-jackc-pgx-v4-dev)")
    with tempfile.TemporaryDirectory(prefix="tasks-go-cache-") as cache:
        environment = {**GO_ENVIRONMENT, "GOCACHE": cache}
        _install_from_sources("go", str(find("go")), "build", "-o", "service", "service.go", **environment)


def _install_from_sources(name: str, *command: str, **environment: str) -> None:
    say(f"Installing the contender {name} ...")
    folder = folder_of(name)
    draft = folder.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(CONTENDERS / name, draft, ignore=shutil.ignore_patterns("node_modules"))
    _install(*command, folder=draft, **environment)
    for old in TOOLS.glob(f"bench-{name}-" + "[0-9a-f]" * 12):
        shutil.rmtree(old)
    draft.rename(folder)


def install_fastapi() -> None:
    """Put the packages of the services in FastAPI into an environment of their own. Raises CannotInstall."""
    if lacking := missing("uv"):
        raise CannotInstall(lacking)
    uv, lock, mark = str(find("uv")), HERE / "requirements.txt", VENV / "installed"
    wanted = hashlib.sha256(lock.read_bytes()).hexdigest()
    if mark.exists() and mark.read_text() == wanted:
        return
    say("Installing the rivals from PyPI ...")
    _install(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(VENV), folder=ROOT)
    packages = ("--python", str(VENV), "--require-hashes", "-r", str(lock))
    _install(uv, "pip", "install", "--quiet", *packages, folder=ROOT)
    mark.write_text(wanted)


def _install(*command: str, folder: Path, **environment: str) -> None:
    try:
        done = subprocess.run(  # noqa: S603
            command,
            cwd=folder,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotInstall(f"{command[0]} did not come to an end") from None
    if done.returncode:
        raise CannotInstall((done.stderr or done.stdout).strip()[-500:])
