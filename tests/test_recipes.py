"""The justfile: recipes install into .venv, which heals itself, and pass their arguments on."""

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.config.settings import ROOT
from tests.conftest import needs

ECHO = '\n[positional-arguments]\necho *ARGS: (install "requirements.txt")\n    @printf "%s\\n" "$@"\n'
NEEDED = (
    "Python 3.11 or later is needed, and none is in PATH. Install one, or say where it is: UV_PYTHON=/path/to/python\n"
)
TOOLS = ROOT / ".tools/bin"
PATH = f"{Path(sys.executable).resolve().parent}:/usr/bin:/bin"


def tool(name: str) -> str:
    """A program that `requirements-tools.txt` brings."""
    found = shutil.which(name, path=f"{TOOLS}:{os.environ['PATH']}")
    needs(found, name)
    return str(found)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose name has a space, with our justfile, a recipe more, and a lock file that asks for nothing."""
    folder = tmp_path / "tasks api"
    (folder / ".tools/bin").mkdir(parents=True)
    for name in ("just", "uv"):
        (folder / ".tools/bin" / name).symlink_to(tool(name))
    (folder / "justfile").write_text((ROOT / "justfile").read_text() + ECHO)
    (folder / "requirements.txt").touch()
    return folder


def begin(folder: Path, *arguments: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [".tools/bin/just", *arguments],
        cwd=folder,
        env={"PATH": PATH, "HOME": str(folder.parent), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def echo(folder: Path, **env: str) -> tuple[int | None, str, str]:
    process = begin(folder, "echo", "a b", "c'd", **env)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


DONE = (0, "a b\nc'd\n", "")


def test_a_recipe_installs_and_passes_its_arguments_on_as_they_are(folder: Path) -> None:
    assert echo(folder) == DONE
    assert (folder / ".venv/bin/python").exists()
    assert echo(folder) == DONE


def gone(python: Path) -> None:
    python.symlink_to("/nowhere/python3.11")


def broken(python: Path) -> None:
    python.write_text("#!/bin/sh\nexit 127\n")
    python.chmod(0o755)


def bare(python: Path) -> None:
    """What two recipes at once may find: the program is there, and pyvenv.cfg is not yet."""
    python.symlink_to(Path(sys.executable).resolve())
    (python.parent.parent / "pyvenv.cfg").unlink()


@pytest.mark.parametrize("harm", [gone, broken, bare])
def test_an_environment_whose_python_is_no_good_is_made_anew(folder: Path, harm: Callable[[Path], None]) -> None:
    assert echo(folder) == DONE
    python = folder / ".venv/bin/python"
    python.unlink()
    harm(python)
    assert echo(folder) == DONE
    assert subprocess.run([python, "-c", "import sys; assert sys.prefix != sys.base_prefix"]).returncode == 0


def test_recipes_that_make_it_together_make_one(folder: Path) -> None:
    together = [begin(folder, "echo", "done") for _ in range(4)]
    assert [(*process.communicate(timeout=60), process.returncode) for process in together] == [("done\n", "", 0)] * 4


def test_where_no_python_is_new_enough_it_is_told_which_one_is_needed(folder: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "cp", "mv", "cmp"):
        (programs / name).symlink_to(str(shutil.which(name)))
    old = programs / "python3"
    old.write_text("#!/bin/sh\necho 'Python 3.8.10'\nexit 1\n")
    old.chmod(0o755)
    assert echo(folder, PATH=str(programs)) == (1, "", NEEDED)
    assert echo(folder, PATH=str(programs), UV_PYTHON=str(Path(sys.executable).resolve())) == DONE


def test_on_a_terminal_the_install_shows_its_progress_once(folder: Path) -> None:
    def shown() -> str:
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [".tools/bin/just", "echo", "done"],
            cwd=folder,
            env={"PATH": PATH, "HOME": str(folder.parent)},
            stdout=subprocess.DEVNULL,
            stderr=theirs,
        )
        os.close(theirs)
        assert process.wait(60) == 0
        try:
            return os.read(ours, 65536).decode()
        except OSError:  # nothing was written, and the other side has gone
            return ""
        finally:
            os.close(ours)

    assert "in " in shown()  # how long it took
    assert shown() == ""
    (folder / "requirements.txt").write_text("# another\n")
    assert "in " in shown()


@pytest.mark.parametrize(
    ("recipe", "run"),
    [
        (["serve", "--port", "9000"], "-m app serve --migrate --port 9000"),
        (["dev", "--workers", "1"], "-m app serve --migrate --reload --workers 1"),
        (["rollback", "--yes"], "-m app rollback --yes"),
        (["psql", "-c", "SELECT 1"], "-m app psql -c SELECT 1"),
        (["admin-user", "a b"], "-m app admin-user a b"),
        (["migration", "it's new"], "-m app migration it's new"),
        (["test", "-k", "x"], "-m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder -k x"),
        (["test"], "-m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder"),
        (["test", "-n0", "--pdb"], "-m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder -n0 --pdb"),
        (["soak"], "-m pytest --capture=no tests/soak"),
        (["soak", "-k", "x"], "-m pytest --capture=no tests/soak -k x"),
        (["soak", "tests/soak/test_list.py"], "-m pytest --capture=no tests/soak/test_list.py"),
        (["bench", "quick"], "-m benchmarks quick"),
    ],
)
def test_each_recipe_takes_arguments(folder: Path, recipe: list[str], run: str) -> None:
    (folder / "requirements-dev.txt").touch()
    assert echo(folder) == DONE
    python = folder / ".venv/bin/python"
    python.rename(python.with_name("real"))
    # It says what it is asked to run, but for what the recipe and uv want to know of it.
    python.write_text('#!/bin/sh\ncase "$1" in -m) echo "$@";; *) exec "${0%/*}/real" "$@";; esac\n')
    python.chmod(0o755)
    process = begin(folder, *recipe)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out.strip(), err) == (0, run, "")


def test_a_command_that_fails_says_what_it_says_and_nothing_of_the_recipe(folder: Path) -> None:
    for name in ("app", "piccolo_conf.py", "piccolo_migrations"):
        (folder / name).symlink_to(ROOT / name)
    process = begin(folder, "migrate")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "recipe" not in err
