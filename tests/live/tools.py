"""What some tests need of npm and PyPI and the service does not: installed from lock files, once, into `.tools/`."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import fasteners

from app.config.settings import ROOT
from tests.conftest import needs

NPM_CI = ("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1", "--fetch-timeout=60000")
UV_INSTALL = ("uv", "pip", "install", "--quiet", "--python", "venv", "--require-hashes", "-r", "requirements.txt")
INSTALL_SECONDS = 240


def from_npm(source: Path, *build: str) -> Path:
    """Return a folder with these sources and their `node_modules`; `build` is run in it, once."""
    return _installed(source, ("node", "npm"), [NPM_CI, *([build] if build else [])])


def from_pypi(source: Path) -> Path:
    """Return the Python of an environment with what `requirements.txt` of these sources lists, and nothing else."""
    venv = ("uv", "venv", "--quiet", "--python", sys.executable, "--relocatable", "venv")
    return _installed(source, ("uv",), [venv, UV_INSTALL]) / "venv/bin/python"


def _installed(source: Path, programs: Sequence[str], commands: Sequence[Sequence[str]]) -> Path:
    """A copy of the folder in which these commands have been run: another one for each state of the sources."""
    for program in programs:
        needs(shutil.which(program), program)
    parts = hashlib.sha256()
    for path in sorted(source.glob("*.*")):
        parts.update(path.name.encode() + path.read_bytes())
    folder = ROOT / f".tools/{source.name}-{parts.hexdigest()[:12]}"
    with fasteners.InterProcessLock(ROOT / f".tools/{source.name}.lock"):
        if not folder.exists():
            with _draft(source, folder) as draft:
                for command in commands:
                    _run(command, draft)
    return folder


@contextmanager
def _draft(source: Path, folder: Path) -> Iterator[Path]:
    """A copy of the sources that becomes the folder when all has gone well."""
    draft = folder.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)
    shutil.copytree(source, draft, ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    yield draft
    draft.rename(folder)


def _run(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    print(done.stdout, done.stderr)
    # Without a network, most likely: as if the program itself were missing.
    needs(command[0] if done.returncode == 0 else None, f"what {' '.join(command[:3])} … of {folder.stem} brings")
