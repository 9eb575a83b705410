"""Each code block of the README and the docs does what its page says: pasted into bash and zsh, or read and run."""

import configparser
import json
import os
import re
import secrets
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import asyncpg
import pytest
import yaml

from app import environment, server_user
from app.settings import ROOT, load
from tests.conftest import needs

PAGES = ["README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted(ROOT.glob("docs/*.md")))]
KINDS = {"sh", "text", "dotenv", "yaml", "ini", "js", "sql"}
SHELLS = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}

# Blocks that another test runs, or whose other side does, by a line of theirs.
ELSEWHERE = {
    "-r requirements-tools.txt": ".ci/run",
    "  Tasks API": "tests/live/test_serve.py",
    " passed in ": ".ci/run",
    "RateLimit-Policy": "tests/tasks/test_limits.py",
    "METRICS_PORT=9100": "tests/live/test_metrics.py",
    "127.0.0.1:9100/metrics": "tests/live/test_metrics.py",
    "requirements-otel.txt": "tests/live/test_tracing.py",
    "CREATE ROLE replica": "tests/live/clusters.py",
    "pg_basebackup": "tests/live/clusters.py",
    "pg_ctl": "tests/live/clusters.py",
    "synchronous_standby_names": "tests/live/clusters.py",
    "CREATE POLICY": "tests/test_wall.py",
    "RETURNING …": "tests/test_wall.py",
}
STAMP = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


class Block(NamedTuple):
    """A block of code: its page, its kind, and its text."""

    page: str
    kind: str
    text: str

    @property
    def elsewhere(self) -> str | None:
        return next((test for line, test in ELSEWHERE.items() if line in self.text), None)


def blocks(*pages: str, kind: str | None = None) -> list[Block]:
    """The blocks of these pages that are looked at here."""
    found = (
        Block(page, name, text)
        for page in pages or PAGES
        for name, text in re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    )
    return [block for block in found if not block.elsewhere and kind in (None, block.kind)]


def test_every_block_is_of_a_kind_that_is_looked_at_or_is_run_elsewhere() -> None:
    assert {block.kind for block in blocks()} <= KINDS
    assert [test for test in ELSEWHERE.values() if not (ROOT / test).exists()] == []


def test_every_block_that_can_be_pasted_has_no_comment_which_zsh_would_run() -> None:
    whole = [(ROOT / page).read_text() for page in PAGES]
    pasted = [text for page in whole for text in re.findall(r"^```sh\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)]
    assert len(pasted) > 20
    assert [text for text in pasted if re.search(r"(^|\s)#", text, re.MULTILINE)] == []


def shape(answer: str) -> str:
    """An answer without what is another's each time, and without white space."""
    return re.sub(r"\s+", "", STAMP.sub("…", answer))


def matches(shown: str, said: str) -> bool:
    """Whether the page shows what was said, where `…` stands for anything."""
    return re.fullmatch(".*".join(map(re.escape, shape(shown).split("…"))), shape(said)) is not None


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder where `.tools/bin/just` runs the command of a recipe, and installs nothing."""
    program = tmp_path / ".tools/bin/just"
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\nPYTHONPATH={shlex.quote(str(ROOT))} exec {sys.executable} -m app "$@"\n')
    program.chmod(0o755)
    return tmp_path


class Shell:
    """An interactive shell, into which blocks are pasted one after the other."""

    def __init__(self, name: str, folder: Path) -> None:
        needs(shutil.which(name), name)
        self._process = subprocess.Popen(
            SHELLS[name],
            cwd=folder,
            env={**os.environ, "HOME": str(folder), "HISTFILE": "", "PS1": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )

    def paste(self, text: str) -> str:
        """What it prints for a block."""
        assert self._process.stdin
        assert self._process.stdout
        end = f"end-{secrets.token_hex(8)}"
        self._process.stdin.write(f"{text}\nprintf '\\n%s\\n' {end} 2>/dev/null\n")
        self._process.stdin.flush()
        lines = iter(self._process.stdout.readline, f"{end}\n")
        return "".join(line for line in lines)

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, place: Path) -> Iterator[Shell]:
    shell = Shell(request.param, place)
    yield shell
    shell.close()


@pytest.mark.parametrize("page", ["README.md", "docs/api.md", "docs/own-accounts.md"])
def test_every_command_is_answered_as_the_page_says(shell: Shell, service: Any, page: str) -> None:
    who = f"ada-{secrets.token_hex(6)}"
    said = ""
    answers = 0
    for block in blocks(page):
        if block.kind == "sh":
            pasted = block.text.replace("localhost:8000", service.url.partition("//")[2])
            pasted = pasted.replace("token ada", f"token {who}").replace("ada@example.com", f"{who}@example.com")
            said = shell.paste(pasted).replace(who, "ada")
        elif block.kind == "text":
            assert matches(block.text, said), f"{block.text}\n{said}"
            answers += 1
    assert answers >= {"README.md": 3, "docs/api.md": 15, "docs/own-accounts.md": 1}[page]
    assert json.loads(said.splitlines()[-2] if said.endswith("\n\n") else said.splitlines()[-1])  # the last is one, too


def test_every_other_page_has_nothing_to_be_pasted_but_a_dump() -> None:
    rest = [page for page in PAGES if page not in ("README.md", "docs/api.md", "docs/own-accounts.md")]
    assert [(block.page, "pg_dump" in block.text) for block in blocks(*rest, kind="sh")] == [
        ("docs/configuration.md", True)
    ]


def test_the_dump_of_the_embedded_database_is_one(shell: Shell, place: Path, database_url: str) -> None:
    if os.environ.get("TEST_DATABASE_URL"):
        pytest.skip("this is another server")
    [dump] = blocks("docs/configuration.md", kind="sh")
    (place / ".venv").symlink_to(sys.prefix)
    (place / ".data").symlink_to(Path(unquote(urlsplit(database_url).query.partition("host=")[2])).parent)
    shell.paste(dump.text)
    assert "PostgreSQL database dump complete" in (place / "tasks.sql").read_text()


@pytest.mark.parametrize("block", blocks(kind="dotenv"), ids=lambda block: block.page)
def test_every_env_file_is_taken(block: Block, tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(block.text.replace("=...\n", f"={'s' * 32}\n"))
    found = environment.read(file)
    assert found.keys() <= {*environment.NAMES}
    # What a page leaves out, such as the secret, another page says.
    assert load({"JWT_SECRET": "s" * 32, **found}, tmp_path / ".data")


@pytest.mark.parametrize("block", blocks(kind="yaml"), ids=lambda block: block.page)
def test_every_yaml_can_be_read(block: Block) -> None:
    assert yaml.safe_load(block.text)


@pytest.mark.parametrize("block", blocks(kind="ini"), ids=lambda block: block.page)
def test_every_ini_can_be_read(block: Block) -> None:
    parser = configparser.ConfigParser()
    parser.read_string(block.text)
    assert parser.sections()


@pytest.mark.parametrize("block", blocks(kind="js"), ids=lambda block: block.page)
def test_every_script_can_be_read(block: Block, tmp_path: Path) -> None:
    needs(shutil.which("node"), "node")
    script = tmp_path / "script.mjs"
    script.write_text(block.text)
    done = subprocess.run(["node", "--check", script], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_readmes_function_for_a_frontend_makes_a_task_and_tells_a_failure(service: Any, tmp_path: Path) -> None:
    needs(shutil.which("node"), "node")
    from tests.conftest import token

    [function, *_] = blocks("README.md", kind="js")
    script = tmp_path / "script.mjs"
    script.write_text(
        f"const token = '{token(secrets.token_hex(8))}';\n"
        + function.text.replace("http://localhost:8000", service.url)
        + "console.log((await api(''))[0].title);\n"
        + "await api('/0').catch((error) => console.log(error.code));\n"
    )
    done = subprocess.run(["node", script], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Buy milk\nNOT_FOUND\n", "")


def test_the_command_that_makes_the_role_makes_it(new_database: Callable[[], str]) -> None:
    [block] = [block for block in blocks(kind="sql") if "gexec" in block.text]
    count = "SELECT count(*) FROM pg_roles, pg_database AS d WHERE starts_with(rolname, format('tasks_app_%s_', d.oid))"
    lines = f"CREATE ROLE tasks;\n{block.text}{count} AND datname = current_database();\nDROP ROLE tasks;\n"
    arguments = [server_user.BIN / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", new_database()]
    done = subprocess.run(arguments, input=lines, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1\n", "")


@pytest.mark.parametrize(
    "block", [block for block in blocks(kind="sql") if "gexec" not in block.text], ids=lambda block: block.page
)
async def test_every_statement_is_one(block: Block, sql: asyncpg.Connection) -> None:
    """In a transaction that is taken back."""
    transaction = sql.transaction()
    await transaction.start()
    try:
        if await sql.fetchval("SELECT to_regrole('tasks') IS NULL"):
            await sql.execute("CREATE ROLE tasks")
        await sql.execute(block.text)
    finally:
        await transaction.rollback()
