"""Neither of two users ever sees or moves what is the other's; and each wall that sees to it holds alone.

The first is the query, which asks for the owner's rows; the second PostgreSQL, which shows a statement no others.
"""

import re
from collections.abc import Callable
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import settings
from litestar import Litestar

from app import groups
from app.statements import Statement
from app.tasks import queries
from app.tasks.once import ChangeStatement
from tests.statements import (
    ELSEWHERE,
    OF_OWNER,
    OF_THE_KEY,
    OF_THE_REVISION,
    declared,
    forget_the_owner,
    no_second_wall,
    pages,
)
from tests.two_users import FEW, walk, walk_along

Way = Callable[[Any, list[int], str | None], object]  # of the walk, with the ids of a task of each, and perhaps a key

HERS, HIS = 0, 1


def batch(operation: dict[str, Any], whose: int = HERS) -> Way:
    return lambda it, ids, key: it.batch("bob", [ids[whose]], [operation], [None], [], True, False, key)


def behind(first: Way, then: Way) -> Way:
    return lambda it, ids, key: (first(it, ids, None), then(it, ids, key))


def ada_deletes(it: Any, ids: list[int], _: str | None) -> None:
    it.delete("ada", ids[HERS], None, None)


def same_key(it: Any, ids: list[int], _: str | None) -> None:
    for who, whose in (("ada", HERS), ("bob", HIS)):
        it.complete(who, ids[whose], None, None, "1")
    for who in ("ada", "bob"):
        it.send_again(who, "1")


def describe_as_it_is(it: Any, ids: list[int], key: str | None) -> None:
    """Bob sends a description that is too long to be new, and is there."""
    path = f"/api/tasks/{ids[HERS]}"
    [owner] = [who for who in ("ada", "bob") if it.ask(who, "GET", path).status_code == 200]
    it.patch(owner, ids[HERS], {"description": "theirs"}, None, None)
    it.each_sees_their_own_and_nothing_else()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("app.tasks.structs.MAX_DESCRIPTION", 0)
        body = {"title": "x", "description": "theirs"}
        answer = it.ask("bob", "PUT", path, body, it.under(key))
    assert answer.status_code == (200 if owner == "bob" else 422)
    if owner == "bob":
        it.changed("bob", ids[HERS], answer.json()["data"], title="x")


def look_at_long_trash(it: Any, ids: list[int], _: str | None) -> None:
    for who, whose in (("ada", HERS), ("bob", HIS)):
        it.patch(who, ids[whose], {"description": who}, None, None)
        it.delete(who, ids[whose], None, None)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("app.tasks.trash_list.inline", lambda _: -1)  # nothing is short enough
        it.each_sees_their_own_and_nothing_else()


# Where the walk comes to each statement that asks for an owner's rows, and sees that it has lost the owner.
WAYS: dict[str, Way] = {
    "queries.GET": lambda it, ids, _: it.read("bob", ids[HERS]),
    "queries.PATCH": lambda it, ids, key: it.patch("bob", ids[HERS], {"title": "x"}, None, key),
    "kept_descriptions.PATCH_BESIDE": describe_as_it_is,
    "states.VERSION": lambda it, ids, _: it.look_at_one("bob", ids[HERS]),
    "queries.UNCHANGED": lambda it, ids, key: it.patch("bob", ids[HERS], {}, None, key),
    "queries.COMPLETE": lambda it, ids, key: it.complete("bob", ids[HERS], None, None, key),
    "queries.DELETE": lambda it, ids, key: it.delete("bob", ids[HERS], None, key),
    "queries.DELETE_FOR_GOOD": lambda it, ids, key: it.delete("bob", ids[HERS], None, key),
    "listing.ALL": lambda it, ids, _: None,
    "listing.STATE": lambda it, ids, _: (it.look_at_the_head("ada"), it.look_at_the_head("bob")),
    "listing._page": lambda it, ids, _: it.list_some("bob", {"sort": "updated_at"}),
    "listing._page searches": lambda it, ids, _: it.list_some("bob", {"q": "milk"}),
    "listing._page follows": lambda it, ids, _: it.list_some("bob", {"sort": "created_at", "limit": 1}),
    "listing._page counts": lambda it, ids, _: it.list_some("bob", {"count": True}),
    "trash_list.LIST_TRASH": ada_deletes,
    "trash_list.LIST_LONG_TRASH": look_at_long_trash,
    "trash.GET_TRASHED": behind(ada_deletes, lambda it, ids, key: it.restore("bob", ids[HERS], "wrong", key)),
    "trash.RESTORE": behind(ada_deletes, lambda it, ids, key: it.restore("bob", ids[HERS], None, key)),
    "trash.PURGE": behind(ada_deletes, lambda it, ids, key: it.purge("bob", ids[HERS], None, key)),
    "trash.EMPTY": behind(ada_deletes, lambda it, ids, key: it.empty_the_trash("bob", key)),
    "history.HISTORY": lambda it, ids, _: it.look_back("bob", ids[HERS], 200),
    "history.REVERT": lambda it, ids, key: it.revert("bob", ids[HERS], 0, None, key),
    "bulk.RAISE": batch({"op": "complete"}, HIS),
    "bulk.CHANGE": batch({"op": "complete"}),
    "bulk.SHOW": batch({"op": "update", "data": {}}),
    "bulk.CHANGE_BRIEFLY": lambda it, ids, key: it.complete_briefly("bob", ids[HERS], key),
    "bulk.SHOW_BRIEFLY": lambda it, ids, key: it.leave_briefly("bob", ids[HERS]),
    "once.RECALL": same_key,
}
CREATES: dict[str, Way] = {"queries.CREATE": lambda it, ids, key: it.create("bob", "new", None, key)}
CREATES["queries.CREATE once"] = CREATES["queries.CREATE"]
FOR_A_KEY = {f"{name} once": WAYS[name] for name in WAYS if f"{name} once" in declared()}
IN_A_GROUP = {f"{name} together": (WAYS | CREATES)[name] for name in WAYS | CREATES if f"{name} together" in declared()}
EVERY_WAY = WAYS | FOR_A_KEY | CREATES | IN_A_GROUP
CHANGES = {name: each for name, each in declared().items() if isinstance(each, ChangeStatement)}
RAISING = [name for name, each in CHANGES.items() if OF_THE_REVISION.search(each.sql)]
# Without an owner these do no harm, the second wall or not. They are asked of what is the caller's by then: of a task
# that has just been found for them, or that their key names, whose states are all theirs; and of tasks that they have
# just moved to the trash, in the transaction that did. `tests/tasks/test_batch_walls.py` asks the second by itself.
HARMLESS = {
    *("history.THAT_STATE", "history.LONG_HISTORY", "states.AS_THEY_WERE"),
    *("bulk.FORGET", "bulk.STORED", "bulk.LENGTH", "bulk.DESCRIBE"),
}
# These name the owner in what they put in: that is for the next test but one, and for `test_batch_walls`.
PUT_IN = {
    *("queries.CREATE", "queries.CREATE once", "bulk.CREATE", "bulk.CREATE_BRIEFLY", "bulk.BEGIN"),
    "once.KEEP",
}
# What is indexed of others' tasks by mistake is found by nobody: the tasks are asked for the owner once more. The walls
# around the indexes themselves are looked at in `test_wall`.
INDEXES = {
    *("index_queries.CLAIM", "index_queries.PENDING_WORDS", "index_queries.PENDING_TITLES"),
    *("index_queries.STORE_WORDS", "index_queries.STORE_TITLES", "costs.SIZE"),
}
# For all owners, as the staff are.
OF_ALL = {
    *(f"removal.{name}" for name in ("FIND_KEYS", "REMOVE_KEYS", "FIND_TRASH", "REMOVE_TRASH", "FORGET_HISTORIES")),
    *(f"removal.{name}" for name in ("OLD_VERSIONS", "VERSIONS", "TASKS", "REMOVE_TASKS", "KEYS_OF_USER")),
}
# Of whoever leaves: `tests/accounts/test_deletion.py` asks them of two.
LEAVING = {"accounts.queries.STOP_CHANGES", "accounts.queries.FORGET_REVISION"}
NOTHING_IS_KEPT = {"queries.DELETE_FOR_GOOD", "queries.DELETE_FOR_GOOD once"}


def nothing_is_kept(running: Litestar, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = msgspec.structs.replace(running.state["settings"], trash_days=0)
    monkeypatch.setitem(running.state, "settings", nothing)


def let_all_go_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """No change goes by itself, be it the only one, or refused."""
    monkeypatch.setattr(groups, "_has_taken_back", lambda _: False)
    monkeypatch.setattr(groups._Kind, "are_few", False)
    monkeypatch.setattr(groups, "PATIENCE_SECONDS", 0)
    monkeypatch.setattr(groups._Kind, "_send_alone", lambda kind, member: kind._send_together([member]))


def test_these_are_all_the_statements_about_what_is_owned() -> None:
    known = {*WAYS, *FOR_A_KEY, *IN_A_GROUP, *HARMLESS, *PUT_IN, *INDEXES, *OF_ALL, *LEAVING}
    assert {name for name in declared() if "_page" not in name} == {name for name in known if "_page" not in name}
    assert len(pages()) == 104


@pytest.mark.parametrize("how", ["with a trash", "without one", "in groups"])
async def test_neither_of_two_users_ever_sees_or_moves_what_is_the_others(
    running: Litestar, clean: None, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "without one":
        nothing_is_kept(running, monkeypatch)
    if how == "in groups":
        let_all_go_in_groups(monkeypatch)
    await walk(running, FEW if how == "with a trash" else settings(FEW, max_examples=5))


@pytest.mark.parametrize("in_groups", [False, True], ids=["alone", "in groups"])
async def test_with_the_second_wall_alone_nothing_leaks(
    running: Litestar, clean: None, monkeypatch: pytest.MonkeyPatch, in_groups: bool
) -> None:
    """All of them have lost their owners, and each part of them. The soak takes one after the other."""
    if in_groups:
        let_all_go_in_groups(monkeypatch)
    for name, statement in declared().items():
        if "_page" not in name and not name.startswith(ELSEWHERE) and OF_OWNER.search(statement.sql):
            forget_the_owner(monkeypatch, name, OF_OWNER)
    forget_the_owner(monkeypatch, "listing._page")
    await walk(running, settings(FEW, max_examples=8, database=None))


@pytest.mark.parametrize("how", ["without keys", "with keys", "in groups"])
async def test_with_the_first_wall_alone_nothing_leaks(
    running: Litestar, clean: None, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """On all the ways on which the next tests notice something."""
    if how == "in groups":
        let_all_go_in_groups(monkeypatch)

    def ways(it: Any, hers: int, his: int) -> None:
        for name, way in (WAYS | CREATES).items():
            new = it.create("ada", name, None, None)
            way(it, [new, his], name.replace(" ", "-") if how == "with keys" else None)
            it.each_sees_their_own_and_nothing_else()

    async with no_second_wall(sql):
        await walk_along(running, ways)


@pytest.mark.parametrize("name", [*WAYS, *FOR_A_KEY, *(name for name in IN_A_GROUP if "CREATE" not in name)])
async def test_with_neither_wall_the_walk_notices(
    running: Litestar, clean: None, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def way(it: Any, hers: int, his: int) -> None:
        EVERY_WAY[name](it, [hers, his], "1" if name.endswith(" once") else None)

    forget_the_owner(monkeypatch, name)
    await check_that_it_is_noticed(running, sql, monkeypatch, name, way)


@pytest.mark.parametrize("name", RAISING)
async def test_with_neither_wall_the_walk_notices_that_everybodys_revision_is_raised(
    running: Litestar, clean: None, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    forget_the_owner(monkeypatch, name, OF_THE_REVISION)
    await check_that_it_is_noticed(running, sql, monkeypatch, name, with_his_own(name, None))


# The trash is looked into for the key beforehand, by `once.RECALL`.
@pytest.mark.parametrize("name", [*sorted({*FOR_A_KEY} - {"trash.EMPTY once"}), "queries.CREATE once"])
async def test_with_neither_wall_the_walk_notices_that_anybodys_key_counts(
    running: Litestar, clean: None, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    forget_the_owner(monkeypatch, name, OF_THE_KEY)
    await check_that_it_is_noticed(running, sql, monkeypatch, name, with_his_own(name, "1"))


def with_his_own(name: str, key: str | None) -> Callable[[Any, int, int], None]:
    """Bob does it to what is his, under a key that Ada has used."""

    def way(it: Any, hers: int, his: int) -> None:
        it.complete("ada", hers, None, None, "1")
        if name.startswith("trash."):
            it.delete("bob", his, None, None)
        it.each_sees_their_own_and_nothing_else()
        EVERY_WAY[name](it, [his, his], key)

    return way


async def check_that_it_is_noticed(
    running: Litestar,
    sql: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    way: Callable[[Any, int, int], None],
) -> None:
    if name in NOTHING_IS_KEPT:
        nothing_is_kept(running, monkeypatch)
    if name in IN_A_GROUP:
        let_all_go_in_groups(monkeypatch)
    async with no_second_wall(sql):
        with pytest.raises(AssertionError):
            await walk_along(running, way)


class ForTheOldestUser(Statement):
    """An INSERT as it would be if somebody took the owner from elsewhere."""

    def __init__(self, whole: Statement) -> None:
        oldest = r'SELECT coalesce((SELECT "id" FROM "user" ORDER BY "createdAt" LIMIT 1), \1),'
        self.sql = re.sub(r"SELECT (\$\d),", oldest, whole.sql)
        assert self.sql != whole.sql
        self._arguments = whole._arguments


async def test_nobody_can_be_given_a_task_by_somebody_else(
    running: Litestar, clean: None, sql: asyncpg.Connection
) -> None:
    values = {"owner": "bob", "title": "x", "description": None, "completed": False, "by": "jwt", "max_tasks": 0}
    mutant = ForTheOldestUser(queries.CREATE)
    await sql.execute(
        """INSERT INTO "user" (id, name, email, "createdAt") VALUES
           ('ada', '', 'a@x', '2000-01-01'), ('bob', '', 'b@x', '2001-01-01')"""
    )
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await queries.database.fetch(mutant, **values)
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 0

    async with no_second_wall(sql):
        assert (await queries.database.fetch(mutant, **values))[0]["user_id"] == "ada"
