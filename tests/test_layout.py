"""The layout: a module imports only from the rows below its own; and other rules that hold for all modules."""

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

ROOT = Path(app.__file__).parent.parent

# A module imports from rows below its own, and from its own package: never from a package beside it.
ROWS = (
    {"app.main", "app.__main__"},
    {"app.tasks", "app.accounts", "app.admin", "app.health"},
    {"app.auth", "app.openapi", "app.server"},
    {"app.web"},
    {"app.db", "app.observability"},
    {"app.config", "app.shutdown"},
)


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


def row(name: str) -> int:
    package = ".".join(name.split(".")[:2])
    return next(number for number, packages in enumerate(ROWS) if package in packages)


@pytest.mark.parametrize("name", sorted(modules().keys() - {"app"}))
def test_a_module_imports_only_from_rows_below_its_own(name: str) -> None:
    package = ".".join(name.split(".")[:2])
    for other in imports(modules()[name]) - {"app"}:
        is_own = f"{other}.".startswith(f"{package}.")
        assert is_own or row(other) > row(name), f"{name} imports {other}"


# Names of which there may be more than one: of types that stand for any, and of a table and the struct of its rows.
EVERYDAY = {"S", "T", "logger", "Task", "TaskVersion", "User"}
TWICE = {  # that are to go
    *("ACCOUNTS", "BODILESS", "FEW", "NAME", "PERSONAL"),
    *("SECONDS_BETWEEN_ATTEMPTS", "TASKS"),
    "Change",  # the history's is the name of its schema in the OpenAPI document
}


def definitions(path: Path) -> set[str]:
    """The public constants and classes of a module. A function is called by its module's name too."""
    found: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        found |= {each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)}
        found |= {node.name} if isinstance(node, ast.ClassDef) else set()
    return {name for name in found if name[0].isupper() or name in EVERYDAY}


def test_each_constant_and_each_class_is_defined_in_one_module() -> None:
    where: dict[str, list[str]] = {}
    for module, path in modules().items():
        for name in definitions(path):
            where.setdefault(name, []).append(module)
    assert {name: those for name, those in where.items() if len(those) > 1 and name not in EVERYDAY | TWICE} == {}


def test_queries_know_no_http_and_structs_know_no_queries() -> None:
    assert "litestar" not in modules()["app.tasks.queries"].read_text()
    assert not {"app.tasks.queries", "app.db.engine", "app.db.tables"} & imports(modules()["app.tasks.structs"])


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


FROM_NPM = (
    "benchmarks/contenders/bun",
    "benchmarks/contenders/fastify",
    "tests/live/better_auth",
    "tests/live/generators",
    "tests/live/rxdb",
)


@pytest.mark.parametrize("folder", FROM_NPM)
def test_a_lock_file_of_npm_does_so_too(folder: str) -> None:
    packages = json.loads((ROOT / folder / "package-lock.json").read_text())["packages"]
    root = packages.pop("")
    wanted = root["dependencies"] | root.get("optionalDependencies", {})
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


@pytest.mark.parametrize("name", sorted(name for name, path in modules().items() if path.stem != "__init__"))
def test_the_docstring_of_a_package_names_its_modules(name: str) -> None:
    package, _, module = name.rpartition(".")
    text = ast.get_docstring(ast.parse((ROOT / package.replace(".", "/") / "__init__.py").read_text())) or ""
    assert package == "app" or f"`{module}`" in text


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


PAGES = ["README.md", "CONTRIBUTING.md", *(str(page.relative_to(ROOT)) for page in sorted(ROOT.glob("docs/**/*.md")))]


@pytest.mark.parametrize("name", PAGES)
def test_every_link_to_another_page_leads_there(name: str) -> None:
    page = ROOT / name
    for path, _, anchor in (link.partition("#") for link in re.findall(r"\]\(([^):]*)\)", page.read_text())):
        target = page.parent / path if path else page
        assert target.exists(), path
        assert not anchor or anchor in anchors(target), anchor


def test_every_decision_is_dated_and_in_the_index() -> None:
    folder = ROOT / "docs/decisions"
    rows = re.findall(r"^\| ([\d-]+) \| .+ \| \[.+\]\((.+)\) \|$", (folder / "README.md").read_text(), re.MULTILINE)
    records = sorted(path.name for path in folder.glob("2*.md"))
    assert sorted(file for _, file in rows) == records
    assert [file for date, file in rows if not file.startswith(f"{date}-")] == []
    for record in records:
        lines = (folder / record).read_text().splitlines()
        assert record[:10] in lines[2], record
        assert [line for line in lines if line.startswith("## ")] == [
            f"## {part}" for part in ("Context", "Decision", "Consequences", "Alternatives")
        ]
