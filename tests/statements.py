"""Every statement that the service declares about what somebody owns; and each as it would be without its owner."""

import copy
import importlib
import pkgutil
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import product
from typing import Any

import asyncpg
import pytest

import app
from app.statements import Param, Statement
from app.tasks import listing
from app.tasks.once import ChangeStatement
from app.tasks.parameters import SORTS

OWNED = ("tasks", "task_versions", "revisions", "idempotency_keys", "task_indexes", "task_words", "task_titles")
OF_OWNER = re.compile(r'(?:"\w+"\.)?"user_id" = (?=\$\d)')
# Whose rows a statement is about; what else it asks of its owner serves that.
OF_ITS_ROWS = re.compile(r'"(?:tasks|task_versions)"\."user_id" = (?=\$\d)')
OF_THE_KEY = re.compile(r'"user_id" = (?=\$\d+ AND "key")')
OF_THE_REVISION = re.compile(r'(?<!\.)"user_id" = (?=\$\d)')  # of a change that is made without a key
ABOUT_WHAT_IS_OWNED = re.compile(rf'"(?:{"|".join(OWNED)})"')


def declared() -> dict[str, Statement]:
    """All that are about what is owned, by the module and the name, and how: as a page, for a key, or in a group."""
    found: dict[int, tuple[str, Statement]] = {}
    for module in pkgutil.walk_packages(app.__path__, "app."):
        values = {} if module.name == "app.__main__" else vars(importlib.import_module(module.name))
        for name, value in values.items():
            if isinstance(value, Statement):  # where it is declared comes after where it is imported
                where = module.name.removeprefix("app.").removeprefix("tasks.")
                found[id(value)] = f"{where}.{name}", value
    once = [(f"{name} once", each.once) for name, each in found.values() if isinstance(each, ChangeStatement)]
    together = [(f"{name} together", in_a_group(each)) for name, each in found.values() if each.together]
    named = dict([*found.values(), *once, *together])
    return {name: each for name, each in named.items() if ABOUT_WHAT_IS_OWNED.search(each.sql)} | pages()


def pages() -> dict[str, Statement]:
    kinds = ("searches", "follows", "counts", "adds_up")
    found = {}
    for sort, *how in product(SORTS, *[(False, True)] * len(kinds)):
        chosen = dict(zip(kinds, how, strict=True))
        if chosen["searches"] or sort != "relevance":
            name = " ".join([f"listing._page {sort}", *(kind for kind, is_so in chosen.items() if is_so)])
            found[name] = listing._page(sort, **chosen)
    return found


def in_a_group(whole: Statement) -> Statement:
    """The same, as it is where it travels with others."""
    grouped = copy.copy(whole)
    grouped.sql = whole.together or ""
    grouped._arguments = [*whole._arguments, Param("place")]
    return grouped


def without_owner(whole: Statement, of_owner: re.Pattern[str] | None = None) -> Statement:
    """The same, for everybody's tasks: as it would be if somebody forgot the owner."""
    mutant = copy.copy(whole)
    # What is found by words is the owner's, as long as the revision is: there it is the whole that matters.
    its_rows = OF_ITS_ROWS.search(whole.sql) and "tasks_found" not in whole.sql
    mutant.sql = (of_owner or (OF_ITS_ROWS if its_rows else OF_OWNER)).sub("'' <> ", whole.sql)  # as every user id is
    assert mutant.sql != whole.sql
    return mutant


def forget_the_owner(monkeypatch: pytest.MonkeyPatch, name: str, of_owner: re.Pattern[str] | None = None) -> None:
    """Let the service go on with a statement that has lost its owner, by its name in `declared`.

    Of pages, all that are of a kind; and of what is done once for a key or in a group, all may have lost a part.
    """
    module_name, _, what = name.partition(".")
    module: Any = importlib.import_module(f"app.tasks.{module_name}")
    what, *kinds = what.split()
    whole = getattr(module, what)
    if what == "_page":
        mutant = _forgetful(whole, {*kinds})
    elif kinds == ["together"]:
        mutant = copy.copy(whole)
        mutant.together = without_owner(in_a_group(whole), of_owner).sql
    elif kinds:
        mutant = copy.copy(whole)
        mutant.once = without_owner(whole.once, of_owner)
    else:
        mutant = without_owner(whole, of_owner)
    monkeypatch.setattr(module, what, mutant)


def _forgetful(page: Callable[..., Statement], kinds: set[str]) -> Callable[..., Statement]:
    def forgetful(sort: str, **how: bool) -> Statement:
        whole = page(sort, **how)
        return without_owner(whole) if kinds <= {name for name, is_so in how.items() if is_so} else whole

    return forgetful


# For all owners, as the staff are; and of accounts, which nobody but the one who leaves can be the owner of.
ELSEWHERE = ("removal.", "accounts.")


@asynccontextmanager
async def no_second_wall(sql: asyncpg.Connection) -> AsyncIterator[None]:
    for table in OWNED:
        await sql.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    try:
        yield
    finally:
        for table in OWNED:
            await sql.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
