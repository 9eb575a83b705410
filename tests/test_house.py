"""The plan of the house: a module imports only from floors below its own; and the small promises of its walls."""

import ast
import json
import re
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import asyncpg
import pytest

import app
from app.environment import NAMES

ROOT = Path(app.__file__).parent.parent

# Who may import whom: only from a lower floor. Within a floor, only as the tuples below allow.
FLOORS = {
    "app.__main__": 10,
    "app.server": 9,
    "app.edge.protocol": 9,
    "app.workers": 7,
    "app.main": 8,
    "app.tasks.indexing": 6,
    "app.upkeep": 5,
    "app.removal": 5,
    "app.piccolo_app": 7,
    "app.admin": 7,
    "app.admin_page": 0,
    "app.admin_failures": 3,
    "app.admin_house": 6.9,
    "app.admin_rows": 5,
    "app.admin_staff": 6.5,
    "app.admin_tables": 4,
    "app.admin_views": 3,
    "app.staff": 6,
    "app.health": 6,
    "app.home_page": 0,
    "app.tasks.controller": 7,
    "app.tasks.history": 6,
    "app.tasks.trash": 6,
    "app.accounts.access": 6,
    "app.accounts.controller": 6,
    "app.auth.middleware": 5,
    "app.metrics": 5,
    "app.accounts.proof": 5,
    "app.accounts.logins": 5,
    "app.accounts.personal_tokens": 5,
    "app.accounts.queries": 5,
    "app.accounts.limits": 5,
    "app.tasks.queries": 5,
    "app.tasks.batch": 6,
    "app.tasks.batch_answers": 6,
    "app.tasks.bulk": 5,
    "app.tasks.operations": 5,
    "app.tasks.once": 5,
    "app.tasks.states": 4,
    "app.tasks.keys": 4,
    "app.tasks.conditions": 4,
    "app.tasks.failures": 3,
    "app.tasks.listing": 6,
    "app.tasks.costs": 6,
    "app.tasks.index_queries": 5,
    "app.tasks.search_queries": 5,
    "app.tasks.words": 1,
    "app.tasks.titles": 4,
    "app.tasks.folding": 0,
    "app.normalization": -1,
    "app.tasks.pages": 6,
    "app.tasks.trash_list": 5,
    "app.tasks.kept_descriptions": 6,
    "app.tasks.parameters": 3,
    "app.cursors": 3,
    "app.tasks.remembered": 1,
    "app.tasks.bounded": 0,
    "app.auth.authenticator": 4,
    "app.auth.queries": 4,
    "app.auth.keys": 4,
    "app.bodies": 3,
    "app.docs": 6,
    "app.edge.ring": 4,
    "app.owners": 4,
    "app.tables": 4,
    "app.accounts.structs": 4,
    "app.accounts.paging": 4,
    "app.accounts.device_tokens": 4,
    "app.accounts.emails": 3,
    "app.accounts.passwords": 3,
    "app.tasks.changes": 3,
    "app.tasks.structs": 3,
    "app.tasks.versions": 0,
    "app.accounts.failures": 3,
    "app.auth.tokens": 3,
    "app.auth.opaque": 3,
    "app.openapi": 5,
    "app.wording": 4.5,
    "app.schemas": 4.5,
    "app.examples": 4,
    "app.handlers": 3,
    "app.database": 3,
    "app.as_staff": 1,
    "app.limits": 2,
    "app.addresses": 0,
    "app.user_table": 0,
    "app.edge.budget": 2,
    "app.edge.framing": 3,
    "app.edge.headers": 1,
    "app.edge.served": 2,
    "app.exposition": 0,
    "app.tracing": 3,
    "app.edge.clock": 0,
    "app.edge.cycle": 3,
    "app.edge.ending": 4,
    "app.edge.head": 2,
    "app.edge.refusal": 4,
    "app.errors": 3,
    "app.failures": 2,
    "app.query": 2.5,
    "app.migrations": 2,
    "app.occupied": 1,
    "app.search_path": -1,
    "app.pulse": 2,
    "app.pool": 1,
    "app.roles": 0,
    "app.migrator": 4,
    "app.groups": 0,
    "app.owner_queue": -1,
    "app.steps": -2,
    "app.lanes": -3,
    "app.lane": -4,
    "app.primary": 0,
    "app.envelopes": 1,
    "app.texts": 1,
    "app.integers": 2.5,
    "app.logs": 1,
    "app.statements": -3,
    "app.embedded": 0,
    "app.server_user": -1,
    "app.connection_errors": 1,
    "app.leaving": 0,
    "app.settings": 0,
    "app.issuers": -1,
    "app.environment": -1,
    "app.variables": -2,
    "app": -3,
}
NEIGHBOURS = {
    ("app.tasks.states", "app.tables"),
    ("app.removal", "app.tasks.once"),
    ("app.upkeep", "app.removal"),
    # What a room's steps have among themselves.
    ("app.accounts.access", "app.accounts.controller"),
    ("app.accounts.logins", "app.accounts.queries"),
    ("app.accounts.personal_tokens", "app.accounts.queries"),
    ("app.accounts.personal_tokens", "app.tasks.once"),
    ("app.tasks.history", "app.tasks.controller"),
    ("app.tasks.trash", "app.tasks.controller"),
    ("app.accounts.proof", "app.accounts.queries"),
    ("app.accounts.proof", "app.accounts.limits"),
    ("app.tasks.batch", "app.tasks.bulk"),
    ("app.tasks.batch", "app.tasks.operations"),
    ("app.tasks.batch", "app.tasks.batch_answers"),
    ("app.tasks.bulk", "app.tasks.operations"),
    ("app.tasks.trash_list", "app.tasks.queries"),
    ("app.tasks.pages", "app.tasks.costs"),
    ("app.tasks.pages", "app.tasks.listing"),
    ("app.edge.budget", "app.failures"),
    ("app.tasks.bulk", "app.tasks.queries"),
    ("app.tasks.queries", "app.tasks.once"),
    ("app.openapi", "app.tasks.conditions"),
    ("app.openapi", "app.tasks.keys"),
    ("app.pool", "app.tracing"),  # a pool of another kind, where traces are wanted
    ("app.auth.authenticator", "app.auth.queries"),
    ("app.auth.authenticator", "app.auth.keys"),
    ("app.tasks.listing", "app.tasks.costs"),
    ("app.tasks.listing", "app.tasks.indexing"),
    ("app.tasks.index_queries", "app.tasks.queries"),
    ("app.tasks.search_queries", "app.tasks.index_queries"),
    ("app.tasks.search_queries", "app.tasks.queries"),
    ("app.tasks.parameters", "app.tasks.structs"),
}
ROOMS = ("app.auth", "app.accounts", "app.tasks")
# What one room may use of another.
DOORS = {"app.auth.middleware", "app.auth.tokens", "app.auth.opaque", "app.tasks.keys", "app.tasks.once"}


def modules() -> dict[str, Path]:
    found = {}
    for path in sorted((ROOT / "app").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = path
    return found


def imports(path: Path) -> set[str]:
    known = modules()
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {full if (full := f"{node.module}.{alias.name}") in known else node.module for alias in node.names}
    return {name for name in found if name == "app" or name.startswith("app.")}


@pytest.mark.parametrize("name", sorted(modules()))
def test_a_module_imports_only_from_floors_below_its_own(name: str) -> None:
    if name in ("app.auth", "app.accounts", "app.tasks", "app.edge"):
        assert imports(modules()[name]) == set()
        return
    for other in imports(modules()[name]):
        assert FLOORS[other] < FLOORS[name] or (name, other) in NEIGHBOURS, f"{name} imports {other}"


@pytest.mark.parametrize("name", [name for name in sorted(modules()) if name.startswith(ROOMS)])
def test_a_room_reaches_another_room_only_through_its_door(name: str) -> None:
    room = name.rsplit(".", 1)[0]
    for other in imports(modules()[name]):
        assert not other.startswith(ROOMS) or other.startswith(room) or other in DOORS, f"{name} imports {other}"


def test_queries_know_no_http_and_structs_know_no_queries() -> None:
    assert "litestar" not in modules()["app.tasks.queries"].read_text()
    assert not {"app.tasks.queries", "app.database", "app.tables"} & imports(modules()["app.tasks.structs"])


def test_nothing_in_app_imports_piccolo_conf_and_no_migration_imports_app() -> None:
    assert not [
        name
        for name, path in modules().items()
        if re.search(r"import piccolo_conf|from piccolo_conf", path.read_text())
    ]
    assert not [
        path
        for path in (ROOT / "piccolo_migrations").glob("*.py")
        if re.search(r"^\s*(from|import) app\b", path.read_text(), re.MULTILINE)
    ]


def test_every_module_opens_with_what_lives_there_and_fits_the_house() -> None:
    for name, path in modules().items():
        text = path.read_text()
        assert ast.get_docstring(ast.parse(text)), f"{name} has no docstring"
        assert text.count("\n") <= 250, f"{name} has more than 250 lines"


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == app.__version__
    assert f"## {app.__version__}" in (ROOT / "CHANGELOG.md").read_text()


LOCKS = (
    "requirements.txt",
    "requirements-otel.txt",
    "requirements-dev.txt",
    "requirements-tools.txt",
    "benchmarks/requirements.txt",
    "tests/live/redbot/requirements.txt",
    "tests/live/python_client/requirements.txt",
)


def pins(lock: str) -> dict[str, str]:
    """The packages of a lock file, and their versions."""
    return dict(re.findall(r"^([a-z0-9][\w.-]*)(?:\[\S+\])?==([^\s;]+)", (ROOT / lock).read_text(), re.MULTILINE))


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_file_carries_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    packages = re.findall(r"^[^\s#][^\n]*", text, re.MULTILINE)
    assert len(packages) > 1
    assert {re.split(r"\[|==", line)[0] for line in packages} == pins(lock).keys()
    assert len(re.findall(r"^[a-z0-9][^\n]*\\\n    --hash=sha256:[0-9a-f]{64}\b", text, re.MULTILINE)) == len(packages)
    assert "://" not in text
    assert "--index" not in text


@pytest.mark.parametrize("name", ["better_auth", "generators", "rxdb"])
def test_a_lock_file_of_npm_does_so_too(name: str) -> None:
    packages = json.loads((ROOT / f"tests/live/{name}/package-lock.json").read_text())["packages"]
    wanted = packages.pop("")["dependencies"]
    assert len(packages) > 20
    assert not [name for name, package in packages.items() if not package["integrity"].startswith("sha512-")]
    assert not [name for name, package in packages.items() if "resolved" in package]
    assert wanted == {name: packages[f"node_modules/{name}"]["version"] for name in wanted}


def test_what_is_developed_with_is_what_is_served() -> None:
    served, traced, developed = (pins(f"requirements{each}.txt") for each in ("", "-otel", "-dev"))
    assert served.items() < traced.items() < developed.items()
    assert not [name for name in served if name.startswith("opentelemetry-sdk")]


FLOORS_OF_VERSIONS = {
    "litestar": "2.25",
    "pyjwt": "2.15.1",
    "cryptography": "50",
    "starlette": "1.10",
    "python-multipart": "0.0.34",
    "h11": "0.16",
    "multipart": "2.0.1",
}
FLOORS_OF_POSTGRES = {14: 23, 15: 18, 16: 14, 17: 10, 18: 4}


@pytest.mark.parametrize(("package", "floor"), FLOORS_OF_VERSIONS.items())
def test_no_dependency_is_below_the_version_where_its_known_holes_end(package: str, floor: str) -> None:
    def numbers(text: str) -> list[int]:
        return [int(part) for part in re.findall(r"\d+", text)]

    assert numbers(version(package)) >= numbers(floor)
    for lock in LOCKS:
        assert numbers(pins(lock).get(package, floor)) >= numbers(floor), lock
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    [least] = re.findall(rf"^{package}(?:\[\w+\])?>=([\d.]+)", "\n".join(declared), re.MULTILINE)
    assert numbers(least) >= numbers(floor)


async def test_neither_is_the_postgresql_that_comes_along(sql: asyncpg.Connection) -> None:
    major, minor = divmod(int(await sql.fetchval("SHOW server_version_num")), 10_000)
    assert minor >= FLOORS_OF_POSTGRES.get(major, 0)


def test_what_the_recipes_leave_behind_is_ignored_by_git() -> None:
    left = [".data/postgres", ".tools/bin/uv", ".venv/bin/python", ".env", "uv.lock", "app/__pycache__/x.pyc"]
    result = subprocess.run(["git", "check-ignore", *left], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.split() == left


def test_env_example_and_the_table_show_every_variable_that_is_read_once() -> None:
    names = sorted({*re.findall(r'"([A-Z_]{4,})"', (ROOT / "app/settings.py").read_text())})
    shown = re.findall(r"^#? ?([A-Z_]{4,})=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    rows = re.findall(r"^\| (`[A-Z].*?) \|", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE)
    assert names == sorted(NAMES) == sorted(shown)
    assert names == sorted(name for row in rows for name in re.findall(r"[A-Z_]{4,}", row))


def test_the_map_names_every_module() -> None:
    text = app.__doc__ or ""
    missing = [name for name in modules() if name.partition(".")[2].replace(".", "/") not in text]
    assert missing == []


def test_the_readmes_commands_are_the_ones_that_are_run() -> None:
    readme = (ROOT / "README.md").read_text()
    block = readme.split("```")[1]
    assert block == "sh\npython3 -m pip install -U -t .tools -r requirements-tools.txt && .tools/bin/just serve\n"
    assert len(re.findall(r"^python3 -m pip install .*/just test$", readme, re.MULTILINE)) == 1
    assert "@@" not in readme


def anchors(document: Path) -> set[str]:
    """Where links into a document can lead: its headings, as GitHub spells them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))])
def test_every_link_to_another_page_leads_there(name: str) -> None:
    page = ROOT / name
    for path, _, anchor in (link.partition("#") for link in re.findall(r"\]\(([^):]*)\)", page.read_text())):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), anchor
