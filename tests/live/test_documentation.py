"""Each code block of the README and the docs does what its page says: pasted into bash and zsh, or read and run."""

import configparser
import inspect
import json
import os
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import asyncpg
import httpx
import pytest
import yaml

from app.config import dotenv
from app.config.settings import ROOT, load
from app.config.variables import NAMES
from app.db import server_user
from app.server.serve import welcome
from tests.conftest import needs, token
from tests.live.clusters import Cluster
from tests.live.conftest import free_port
from tests.live.test_tracing import Collector

PAGES = ["README.md", "CONTRIBUTING.md", *(str(path.relative_to(ROOT)) for path in sorted(ROOT.glob("docs/**/*.md")))]
# Those whose commands follow each other, in their order.
OF_API = [
    "docs/api.md",
    *(f"docs/{page}" for page in re.findall(r"\]\((api/.+\.md)\) \|", (ROOT / "docs/api.md").read_text())),
]
KINDS = {"sh", "text", "dotenv", "yaml", "ini", "js", "sql"}
SHELLS = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}

# Blocks that have a test of their own, by a line of theirs: each of these tests takes its blocks by `apart(line)`.
APART = {
    "-r requirements-tools.txt": "test_the_lines_that_install_call_pip_and_just",
    "  Tasks API": "test_the_service_greets_as_the_readme_shows",
    "RateLimit-Policy": "test_a_service_is_watched_as_the_page_says",
    "METRICS_PORT=9100": "test_a_service_is_watched_as_the_page_says",
    "127.0.0.1:9100/metrics": "test_a_service_is_watched_as_the_page_says",
    "OTEL_EXPORTER_OTLP_ENDPOINT=": "test_a_service_sends_traces_as_the_page_says",
    "CREATE ROLE replica": "test_a_replica_is_made_and_promoted_as_the_page_says",
    "pg_basebackup": "test_a_replica_is_made_and_promoted_as_the_page_says",
    "promote": "test_a_replica_is_made_and_promoted_as_the_page_says",
    "synchronous_standby_names": "test_a_replica_is_made_and_promoted_as_the_page_says",
    "CREATE POLICY": "test_the_policy_is_the_one_that_the_page_shows",
    "RETURNING …": "test_statements_that_say_for_whom_they_are_find_that_owners_rows",
}
# The page whose statements and lines are each run in an order of their own, and by which file; it takes all of them.
STATEMENTS_APART = {"docs/existing-database.md": "tests/live/test_existing_database.py"}
STAMP = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")


class Block(NamedTuple):
    """A block of code: its page, its kind, and its text."""

    page: str
    kind: str
    text: str

    @property
    def is_apart(self) -> bool:
        return any(line in self.text for line in APART) or (
            self.page in STATEMENTS_APART and self.kind in ("sql", "text")
        )


def blocks(*pages: str, kind: str | None = None) -> list[Block]:
    """The blocks of these pages that have no test of their own."""
    return [block for block in every_block(*pages) if not block.is_apart and kind in (None, block.kind)]


def apart(line: str) -> list[Block]:
    """The blocks with this line, which have a test of their own."""
    assert line in APART
    found = [block for block in every_block() if line in block.text]
    assert found
    return found


def every_block(*pages: str) -> list[Block]:
    return [
        Block(page, name, text)
        for page in pages or PAGES
        for name, text in re.findall(r"^```(\w*)\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
    ]


def test_every_block_is_of_a_kind_that_is_looked_at_or_has_a_test_of_its_own() -> None:
    assert {block.kind for block in blocks()} <= KINDS
    assert [line for line, test in APART.items() if f'apart("{line}")' not in inspect.getsource(globals()[test])] == []
    assert [
        page for page, test in STATEMENTS_APART.items() if f'PAGE = "{page}"' not in (ROOT / test).read_text()
    ] == []


def test_every_block_that_can_be_pasted_has_no_comment_which_zsh_would_run() -> None:
    pasted = [block.text for block in every_block() if block.kind == "sh"]
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
    command = f'PYTHONPATH={shlex.quote(str(ROOT))} exec {sys.executable} -m app "$@"'
    program.write_text(f"#!/bin/sh\n[ $1 = install ] || {command}\n")
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


@pytest.mark.parametrize("pages", [["README.md"], OF_API, ["docs/own-accounts.md"]], ids=lambda pages: pages[0])
def test_every_command_is_answered_as_the_page_says(shell: Shell, service: Any, pages: list[str]) -> None:
    who = f"ada-{secrets.token_hex(6)}"
    said = ""
    answers = 0
    for block in blocks(*pages):
        if block.kind == "sh":
            pasted = block.text.replace("localhost:8000", service.url.partition("//")[2])
            pasted = pasted.replace("token ada", f"token {who}").replace("ada@example.com", f"{who}@example.com")
            said = shell.paste(pasted).replace(who, "ada")
        elif block.kind == "text":
            assert matches(block.text, said), f"{block.text}\n{said}"
            answers += 1
    assert answers >= {"README.md": 3, "docs/api.md": 15, "docs/own-accounts.md": 1}[pages[0]]
    assert json.loads(said.splitlines()[-2] if said.endswith("\n\n") else said.splitlines()[-1])  # the last is one, too


def test_every_other_page_has_nothing_to_be_pasted_but_a_dump() -> None:
    rest = [page for page in PAGES if page not in ("README.md", *OF_API, "docs/own-accounts.md")]
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
    found = dotenv.read(file, NAMES)
    assert found.keys() <= {*NAMES}
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


def test_the_function_for_a_frontend_makes_a_task_and_tells_a_failure(service: Any, tmp_path: Path) -> None:
    needs(shutil.which("node"), "node")
    [function, *_] = blocks("docs/frontend.md", kind="js")
    script = tmp_path / "script.mjs"
    script.write_text(
        f"const token = '{token(secrets.token_hex(8))}';\n"
        + function.text.replace("http://localhost:8000", service.url)
        + "console.log((await api(''))[0].title);\n"
        + "await api('/0').catch((error) => console.log(error.code));\n"
    )
    done = subprocess.run(["node", script], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Buy milk\nNOT_FOUND\n", "")


def test_the_recipes_print_what_the_page_says(service: Any, tmp_path: Path) -> None:
    needs(shutil.which("node"), "node")
    script = tmp_path / "script.mjs"
    page = blocks("docs/cookbook.md")
    between = secrets.token_hex(8)
    script.write_text(
        f"const token = '{token(secrets.token_hex(8))}';\n"
        + "".join(f"{each.text}console.log('{between}');\n" for each in page if each.kind == "js").replace(
            "http://localhost:8000", service.url
        )
    )
    done = subprocess.run(["node", script], capture_output=True, text=True, timeout=30, env=os.environ | {"TZ": "UTC"})
    assert (done.returncode, done.stderr) == (0, "")
    said = iter(done.stdout.split(f"{between}\n"))
    shown = ""
    for each, following in zip(page, [*page[1:], None], strict=True):
        if each.kind == "js":
            shown = next(said)
            assert (shown == "") == (following is None or following.kind != "text"), each.text
        else:
            assert shown == each.text


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


def test_the_lines_that_install_call_pip_and_just(shell: Shell, place: Path) -> None:
    """pip itself is run by `.ci/run`, in these words; and there the README's line that tests is the last command."""
    for program in ("python3", ".tools/bin/just"):
        (place / program).write_text('#!/bin/sh\necho "${0##*/}" "$@"\n')
        (place / program).chmod(0o755)
    shell.paste('PATH="$PWD:$PATH"')
    installs = "python3 -m pip install -U -t .tools -r requirements-tools.txt\n"
    said = [shell.paste(each.text).lstrip("\n") for each in apart("-r requirements-tools.txt")]
    assert [text.replace("\n\n", "\n") for text in said] == [
        f"{installs}just serve\n",
        f"{installs}just test\n",
        installs,
    ]
    run = (ROOT / ".ci/run").read_text()
    assert f"\n{installs}" in run
    [line] = re.findall(r"^line=.+$", run, re.MULTILINE)
    tests = subprocess.run(["bash", "-c", f"{line}; echo $line"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert tests.stdout == apart("-r requirements-tools.txt")[1].text
    assert re.search(r'^eval "\$\{line:.+\}"\n\Z', run, re.MULTILINE)


def test_the_service_greets_as_the_readme_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKS_JUST", str(ROOT / ".tools/bin/just"))
    [block] = apart("  Tasks API")
    shown = block.text.replace("/home/you/tasks-api", str(ROOT))
    assert welcome(load({"JWT_SECRET": "s" * 32}, ROOT / ".data")).strip("\n") == shown.strip("\n")


@contextmanager
def served_by(shell: Shell, text: str) -> Iterator[str]:
    """Paste a block that serves, and let it go on behind. Yields where it serves."""
    port = free_port()
    shell.paste(f"export PORT={port}")
    pid = int(shell.paste(f"{text.rstrip()} &\necho $!"))
    try:
        deadline = time.monotonic() + 30
        while True:
            assert time.monotonic() < deadline
            with suppress(httpx.TransportError):
                if httpx.get(f"http://127.0.0.1:{port}/health/ready").status_code == 200:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.kill(pid, signal.SIGTERM)


@pytest.mark.slow
def test_a_service_is_watched_as_the_page_says(shell: Shell, database_url: str) -> None:
    [serves], [asks], [limits] = apart("METRICS_PORT=9100"), apart("127.0.0.1:9100/metrics"), apart("RateLimit-Policy")
    metrics = str(free_port())
    shell.paste("export RATE_LIMIT=600/minute")
    with served_by(shell, serves.text.replace("9100", metrics)) as url:
        who = {"authorization": f"Bearer {token(secrets.token_hex(8))}"}
        headers = httpx.get(f"{url}/api/tasks", headers=who).headers
        said = "".join(f"{name}: {headers[name]}\n" for name in ("RateLimit-Policy", "RateLimit"))
        moment = re.compile(r"t=\d+")
        assert moment.sub("t=…", said) == moment.sub("t=…", limits.text)
        assert 'tasks_http_requests_total{method="GET",route="/api/tasks",status="200"}' in shell.paste(
            asks.text.replace("9100", metrics)
        )


@pytest.mark.slow
def test_a_service_sends_traces_as_the_page_says(shell: Shell, database_url: str) -> None:
    [block] = apart("OTEL_EXPORTER_OTLP_ENDPOINT=")
    collector = Collector()
    try:
        with served_by(shell, block.text.replace("http://localhost:4318", collector.url)) as url:
            httpx.get(f"{url}/health/live")
            deadline = time.monotonic() + 20
            while not collector.received:
                assert time.monotonic() < deadline
                time.sleep(0.1)
    finally:
        collector.server.shutdown()
        collector.server.server_close()


# PostgreSQL refuses to run as root: so do these, as `app/db/embedded.py` does.
AS_SERVER_USER = """#!{python}
import subprocess, sys
sys.path.insert(0, {root!r})
from app.db.server_user import BIN, server_user
user = server_user()
whom = dict(user=user.pw_uid, group=user.pw_gid, extra_groups=[]) if user else {{}}
raise SystemExit(subprocess.call([BIN / {program!r}, *sys.argv[1:]], stdin=subprocess.DEVNULL, cwd="/", **whom))
"""


@pytest.mark.slow
def test_a_replica_is_made_and_promoted_as_the_page_says(shell: Shell, place: Path) -> None:
    [role], [copies], [promotes] = apart("CREATE ROLE replica"), apart("pg_basebackup"), apart("promote")
    [waits] = apart("synchronous_standby_names")
    for program in ("psql", "pg_basebackup", "pg_ctl"):
        (place / program).write_text(AS_SERVER_USER.format(python=sys.executable, root=str(ROOT), program=program))
        (place / program).chmod(0o755)

    def ask(statement: str) -> list[str]:
        """The lines of the answer, and what the replica says meanwhile: its log is the shell's."""
        return shell.paste(f"psql -Atc '{statement}'").splitlines()

    with tempfile.TemporaryDirectory(prefix="tasks-tests-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o777)
        primary = Cluster(Path(folder, "one")).make()
        with (primary._server.cluster / "postgresql.conf").open("a") as settings:
            settings.write("listen_addresses = '127.0.0.1'\n")  # which the embedded server leaves empty
        primary.start()
        port = free_port()
        shell.paste(f'PATH="$PWD:$PATH"; export PGHOST=127.0.0.1 PGPORT={primary.port} PGUSER=postgres')
        shell.paste(f"export PGDATA={folder}/two")
        try:
            assert "CREATE ROLE" in shell.paste(role.text)
            copy, start = copies.text.replace("-h db1", "-h 127.0.0.1").splitlines()
            shell.paste(copy)
            shell.paste(f"export PGPORT={port}")  # on the second machine it would be the same
            assert "server started" in shell.paste(start)
            assert "t" in ask("SELECT pg_is_in_recovery()")
            shell.paste(f"export PGPORT={primary.port}")
            for statement in waits.text.splitlines():
                shell.paste(f"psql -c {shlex.quote(statement)}")
            assert "ANY 1 (*)" in ask("SHOW synchronous_standby_names")
            assert "CREATE TABLE" in shell.paste("psql -c 'CREATE TABLE acknowledged ()'")
            shell.paste(f"export PGPORT={port}")
            assert "server promoted" in shell.paste(promotes.text)
            assert "f" in ask("SELECT pg_is_in_recovery()")
            assert "acknowledged" in shell.paste("psql -c '\\d'")
        finally:
            shell.paste("pg_ctl -m immediate stop")
            primary.end()


async def test_the_policy_is_the_one_that_the_page_shows(sql: asyncpg.Connection) -> None:
    [block] = apart("CREATE POLICY")
    shown = "SELECT pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polname = 'tasks_of_owner'"
    transaction = sql.transaction()
    await transaction.start()
    try:
        made = await sql.fetchval(shown)
        await sql.execute("DROP POLICY tasks_of_owner ON tasks")
        await sql.execute(block.text)
        assert made == await sql.fetchval(shown)
    finally:
        await transaction.rollback()


async def test_statements_that_say_for_whom_they_are_find_that_owners_rows(
    ada: httpx.AsyncClient, bob: httpx.AsyncClient, database_url: str, role: str
) -> None:
    hers, his = [(await each.post("/api/tasks", json={"title": "x"})).json()["data"]["id"] for each in (ada, bob)]
    [block] = apart("RETURNING …")
    update, insert = block.text.replace("RETURNING …", "RETURNING user_id;").split(";")[:2]
    connection = await asyncpg.connect(database_url, server_settings={"role": role})
    try:
        assert await connection.fetch("SELECT * FROM tasks") == []
        found = [[row["user_id"] for row in await connection.fetch(update, "ada", "ada", task)] for task in (hers, his)]
        assert found == [["ada"], []]
        made = await connection.fetch(insert, "ada", "x", None, "ada")
        assert [row["user_id"] for row in made] == ["ada"]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.fetch(insert, "bob", "x", None, "ada")
    finally:
        await connection.close()
