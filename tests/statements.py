"""Every statement that the service declares about what somebody owns; and each as it would be without its owner."""

import copy
import importlib
import pkgutil
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from itertools import product
from typing import Any

import asyncpg
import pytest

import app
from app.db.statements import Statement
from app.tasks.idempotency import ChangeStatement
from app.tasks.listing import queries
from app.tasks.listing.parameters import SORTS

OWNED = (
    *("tasks", "task_versions", "revisions", "idempotency_keys", "task_indexes", "task_words", "task_titles"),
    *("task_lists", "task_labels", "task_list_versions", "task_label_versions"),
)
OF_OWNER = re.compile(r'(?:"\w+"\.)?"user_id" = (?=\$\d)')
# Whose rows a statement is about; what else it asks of its owner serves that.
OF_ITS_ROWS = re.compile(r'"(?:tasks|task_versions)"\."user_id" = (?=\$\d)')
OF_THE_KEY = re.compile(r'"user_id" = (?=\$\d+ AND "key")')
OF_THE_REVISION = re.compile(r'(?<!\.)"user_id" = (?=\$\d)')  # of a change that is made without a key
ABOUT_WHAT_IS_OWNED = re.compile(rf'"(?:{"|".join(OWNED)})"')


@cache
def declared() -> dict[str, Statement]:
    """All that are about what is owned, by the module and the name, and how: as a page, for a key, or in a group."""
    found: dict[int, tuple[str, Statement]] = {}
    for module in pkgutil.walk_packages(app.__path__, "app."):
        values = {} if module.name == "app.__main__" else vars(importlib.import_module(module.name))
        for name, value in values.items():
            if isinstance(value, Statement):  # where it is declared comes after where it is imported
                where = module.name.removeprefix("app.").removeprefix("tasks.")
                found[id(value)] = f"{where}.{name}", value
    once = [(f"{name} once", each.with_key) for name, each in found.values() if isinstance(each, ChangeStatement)]
    together = [(f"{name} together", in_a_group(each)) for name, each in [*found.values(), *once] if each.group_sql]
    named = dict([*found.values(), *once, *together])
    return {name: each for name, each in named.items() if ABOUT_WHAT_IS_OWNED.search(each.sql)} | pages()


def pages() -> dict[str, Statement]:
    kinds = ("searches", "follows", "counts", "adds_up")
    found = {}
    for sort, *how in product(SORTS, *[(False, True)] * len(kinds)):
        chosen = dict(zip(kinds, how, strict=True))
        if chosen["searches"] or sort != "relevance":
            name = " ".join([f"listing.queries._page {sort}", *(kind for kind, is_so in chosen.items() if is_so)])
            found[name] = queries._page(sort, **chosen)
    return found


def in_a_group(whole: Statement) -> Statement:
    """The same, as it is where it is in a batch of writes."""
    grouped = copy.copy(whole)
    grouped.sql = whole.group_sql or ""
    grouped.names = [*whole.names, "place"]
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
    path, *kinds = name.split()
    module_name, _, what = path.rpartition(".")
    package = "app" if path.startswith("auth.") else "app.tasks"
    module: Any = importlib.import_module(f"{package}.{module_name}")
    whole = getattr(module, what)
    if what == "_page":
        mutant = _forgetful(whole, {*kinds})
    elif kinds:
        mutant = copy.copy(whole)
        mutated = mutant
        if kinds[0] == "once":
            mutated = mutant.with_key = copy.copy(whole.with_key)
        if kinds[-1] == "together":
            mutated.group_sql = without_owner(in_a_group(mutated), of_owner).sql
        else:
            mutated.sql = without_owner(mutated, of_owner).sql
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


async def heap_only(sql: asyncpg.Connection, change: str) -> tuple[int, int]:
    """Change tasks, and return how many rows were written anew, and how many of them to their page and to no index.

    Of the session's earlier transactions PostgreSQL may still have some in the same counters.
    """
    counted = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'tasks'"
    async with sql.transaction():
        before = await sql.fetchrow(counted) or (0, 0)
        await sql.execute(change)
        after = await sql.fetchrow(counted) or (0, 0)
    return after[0] - before[0], after[1] - before[1]
