"""Neither of two users ever sees or changes what is the other's.

The query filter asks for the owner's rows; row-level security shows a statement no others. Each of them holds alone.
"""

import re
from collections.abc import Callable
from typing import Any

import asyncpg
import msgspec
import pytest
from hypothesis import settings
from litestar import Litestar

from app.db import group_commit
from app.db.group_commit import GroupCommit
from app.db.statements import Statement
from app.tasks import creation, queries
from app.tasks.idempotency import ChangeStatement
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
from tests.two_users import FEW, UIDS, walk, walk_along

Way = Callable[[Any, list[int], str | None], object]  # of the walk, with the ids of a task of each, and perhaps a key

HERS, HIS = 0, 1
SAME_UID = ("ada", "bob", "ada", "bob")  # the last two are told of a task; which row is found first is not known


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


def both_label(it: Any, ids: list[int], _: str | None) -> None:
    for who in ("ada", "bob"):
        for task_id in ids:
            it.label(who, task_id, "b", True, None, None)


def look_at_long_trash(it: Any, ids: list[int], _: str | None) -> None:
    for who, whose in (("ada", HERS), ("bob", HIS)):
        it.patch(who, ids[whose], {"description": who}, None, None)
        it.delete(who, ids[whose], None, None)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("app.tasks.trash.queries.inline", lambda _: -1)  # nothing is short enough
        it.each_sees_their_own_and_nothing_else()


def in_a_list(it: Any, ids: list[int]) -> int:
    """Put Ada's task into a list, if it is hers and there."""
    hers = it.make_list("ada", "Home", None)
    it.put_into_list("ada", ids[HERS], hers, None)
    return hers


def empty_both_of_lists(it: Any) -> None:
    lists = {who: it.make_list(who, "Home", None) for who in ("ada", "bob")}
    for who, each in lists.items():
        it.delete_list(who, each, False, None, None)
    it.empty_the_trash("bob", None)
    it.restore_list("ada", lists["ada"], None)


# Where the walk comes to each statement that asks for an owner's rows, and sees that it has lost the owner.
WAYS: dict[str, Way] = {
    "queries.GET": lambda it, ids, _: it.read("bob", ids[HERS]),
    "queries.PATCH": lambda it, ids, key: it.patch("bob", ids[HERS], {"title": "x"}, None, key),
    "queries.PATCH_WHOLE": behind(
        describe_as_it_is, lambda it, ids, key: it.patch("bob", ids[HERS], {"priority": 2}, None, key)
    ),
    "queries.VERSION": lambda it, ids, _: it.look_at_one("bob", ids[HERS]),
    "queries.UNCHANGED": lambda it, ids, key: it.patch("bob", ids[HERS], {}, None, key),
    "queries.COMPLETE": lambda it, ids, key: it.complete("bob", ids[HERS], None, None, key),
    "queries.DELETE": lambda it, ids, key: it.delete("bob", ids[HERS], None, key),
    "queries.DELETE_FOR_GOOD": lambda it, ids, key: it.delete("bob", ids[HERS], None, key),
    "listing.queries.ALL": lambda it, ids, _: None,
    "listing.queries.STATE_OF_LIST": lambda it, ids, _: (it.look_at_the_head("ada"), it.look_at_the_head("bob")),
    "listing.queries._page": lambda it, ids, _: it.list_some("bob", {"sort": "updated_at"}),
    "listing.queries._page searches": lambda it, ids, _: it.list_some("bob", {"q": "milk"}),
    "listing.queries._page follows": lambda it, ids, _: it.list_some("bob", {"sort": "created_at", "limit": 1}),
    "listing.queries._page counts": lambda it, ids, _: it.list_some("bob", {"count": True}),
    "trash.queries.LIST_TRASH": ada_deletes,
    "trash.queries.LIST_LONG_TRASH": look_at_long_trash,
    "trash.queries.GET_TRASHED": behind(ada_deletes, lambda it, ids, key: it.restore("bob", ids[HERS], "wrong", key)),
    "trash.queries.RESTORE": behind(ada_deletes, lambda it, ids, key: it.restore("bob", ids[HERS], None, key)),
    "trash.queries.PURGE": behind(ada_deletes, lambda it, ids, key: it.purge("bob", ids[HERS], None, key)),
    "trash.queries.EMPTY": behind(ada_deletes, lambda it, ids, key: it.empty_the_trash("bob", key)),
    "history.queries.HISTORY": lambda it, ids, _: it.look_back("bob", ids[HERS], 200),
    "history.queries.REVERT": lambda it, ids, key: it.revert("bob", ids[HERS], 0, None, key),
    "batch.queries.RAISE_REVISION": batch({"op": "complete"}, HIS),
    "batch.queries.CHANGE_TASKS": batch({"op": "complete"}),
    "batch.queries.SHOW": batch({"op": "update", "data": {}}),
    "batch.queries.CHANGE_TASKS_BRIEFLY": lambda it, ids, key: it.complete_briefly("bob", ids[HERS], key),
    "batch.queries.SHOW_BRIEFLY": lambda it, ids, key: it.leave_briefly("bob", ids[HERS]),
    "auth.idempotency.RECALL": same_key,
    "listing.queries._page rare": lambda it, ids, _: it.list_one("bob", in_a_list(it, ids)),
    "lists.queries.LIST_ALL": lambda it, ids, _: it.make_list("ada", "Home", None),
    "lists.queries.FIND_LIST": lambda it, ids, _: it.read_list("bob", it.make_list("ada", "Home", None)),
    "lists.history.LIST_HISTORY": lambda it, ids, _: it.look_back_at_list("bob", it.make_list("ada", "Home", None)),
    "lists.queries.LIST_WITH_UID": lambda it, ids, _: [it.make_list_with_uid(who, "Home", UIDS[0]) for who in SAME_UID],
    "lists.queries.DELETE_TRASHED_LISTS": lambda it, ids, key: empty_both_of_lists(it),
    "labels.of_task.ADD_LABEL": lambda it, ids, key: it.label("bob", ids[HERS], "home", True, None, key),
    "labels.of_task.TAKE_LABEL": behind(
        both_label, lambda it, ids, key: it.label("bob", ids[HERS], "b", False, None, key)
    ),
    "by_uid.WITH_UID": lambda it, ids, _: [it.create_with_uid(who, "x", UIDS[0], True, None) for who in SAME_UID],
}
CREATES: dict[str, Way] = {
    "creation.CREATE": lambda it, ids, key: it.create("bob", "new", None, key),
    "creation.CREATE_WHOLE": lambda it, ids, key: it.create_urgent("bob", "new", key),
}
CREATES |= {f"{name} once": way for name, way in CREATES.items()}
FOR_A_KEY = {f"{name} once": WAYS[name] for name in WAYS if f"{name} once" in declared()}
ALONE = WAYS | FOR_A_KEY | CREATES
IN_A_GROUP = {f"{name} together": ALONE[name] for name in ALONE if f"{name} together" in declared()}
EVERY_WAY = ALONE | IN_A_GROUP
CHANGES = {name: each for name, each in declared().items() if isinstance(each, ChangeStatement)}
RAISING = [name for name, each in CHANGES.items() if OF_THE_REVISION.search(each.sql)]
# Without an owner these do no harm, with row-level security or not. They read what is the caller's by then: a task that
# has just been found for the caller, or that the key names, whose states are all the caller's; and tasks that the same
# transaction has just moved to the trash. `tests/tasks/batch/test_isolation.py` tries row-level security alone.
HARMLESS = {
    *("history.queries.THAT_STATE", "history.queries.LONG_HISTORY", "past_versions.AS_THEY_WERE"),
    *("batch.queries.FORGET", "batch.queries.STORED", "batch.queries.LENGTH", "batch.queries.DESCRIBE"),
    *("queries.EXTRA", "batch.queries.EXTRAS"),  # for a patch, which finds no task of another's
    *("history.queries.REFERRED", "batch.in_lists.ARE_IN_LISTS"),  # of tasks that the caller has
    "batch.queries.STILL_THERE",  # of lists and labels that the key names
    # Of a list that has just been found for the caller, in a transaction that holds the caller's revision; and no task
    # can be in another's list.
    *(f"lists.queries.{name}" for name in ("UPDATE_LIST", "TRASH_LIST", "RESTORE_LIST", "DELETE_LIST")),
    "lists.queries.HOLD_AS_IT_IS",  # it holds rows, and tells none
    *(f"lists.moving.{name}" for name in ("TASKS_TO_TRASH", "TASKS_TO_INBOX", "TASKS_OUT_OF_TRASH", "UNLINK_TASKS")),
    *("lists.moving.DELETE_TASKS", "lists.purging.UNLINK_TASKS_OF_TRASHED"),
    *("in_list.LIST_ID_OF", "batch.in_lists.NAMED_LISTS"),  # ids of lists, as the next two
    "batch.labels.KEYS_OF_LABELS",  # keys of labels, of which it counts those that are new
    *("by_uid.ID_OF", "batch.queries.IDS_OF"),  # ids of tasks, which the statements behind them ask for by their owner
}
# These name the owner in the rows that they insert, which is tried by the next test but one and in
# `tests/tasks/batch/test_isolation.py`.
PUT_IN = {
    *(
        "creation.CREATE",
        "creation.CREATE once",
        "creation.CREATE_WHOLE",
        "creation.CREATE_WHOLE once",
        "batch.queries.CREATE_TASKS",
        "batch.queries.CREATE_TASKS_BRIEFLY",
        "batch.queries.BEGIN_REVISION",
        "lists.queries.CREATE_LIST",
    ),
    "auth.idempotency.STORE_KEY",
}
# Entries of other owners' tasks would be found by nobody: lists read the tasks with the query filter. The indexes
# themselves are tried in `tests/db/test_row_level_security.py`.
INDEXES = {
    *("search.index_queries.CLAIM", "search.index_queries.PENDING_WORDS", "search.index_queries.PENDING_TITLES"),
    *("search.index_queries.STORE_WORDS", "search.index_queries.STORE_TITLES", "costs.SIZE_OF_ALL"),
}
# For all owners, as the staff are.
OF_ALL = {
    *(f"removal.{name}" for name in ("FIND_KEYS", "REMOVE_KEYS", "FIND_TRASH", "REMOVE_TRASH", "FORGET_HISTORIES")),
    *("removal.FIND_LISTS", "removal.REMOVE_LISTS"),
    *(
        f"removal.{name}"
        for name in ("OLD_VERSIONS", "VERSIONS_OF_TASKS", "TASKS_OF_USER", "REMOVE_TASKS", "KEYS_OF_USER")
    ),
    *("removal.HISTORIES_OF_LISTS", "removal.HISTORIES_OF_LABELS"),
}
# `tests/tasks/test_label_isolation.py` tries each of these.
OF_LABELS = {
    *(f"labels.queries.{name}" for name in ("LIST_LABELS", "HOLD_REVISION", "THAT_LABEL", "COUNT_LABELLED", "RELABEL")),
    *("labels.queries.SET_LABEL", "labels.queries.DROP_LABEL", "labels.one.ONE_LABEL", "labels.history.LABEL_HISTORY"),
}
# Of whoever leaves: `tests/accounts/test_deletion.py` asks them of two.
LEAVING = {"accounts.queries.STOP_CHANGES", "accounts.queries.FORGET_REVISION"}
NOTHING_IS_KEPT = {"queries.DELETE_FOR_GOOD", "queries.DELETE_FOR_GOOD once"}


def nothing_is_kept(running: Litestar, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = msgspec.structs.replace(running.state["settings"], trash_days=0)
    monkeypatch.setitem(running.state, "settings", nothing)


def let_all_go_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """No change goes by itself, be it the only one, or refused."""
    monkeypatch.setattr(group_commit, "_is_rolled_back", lambda _: False)
    monkeypatch.setattr(GroupCommit, "is_idle", False)
    monkeypatch.setattr(group_commit, "MAX_DELAY_SECONDS", 0)
    monkeypatch.setattr(GroupCommit, "_run_alone", lambda group, write: group._run_together([write]))


def test_these_are_all_the_statements_about_what_is_owned() -> None:
    known = {*WAYS, *FOR_A_KEY, *IN_A_GROUP, *HARMLESS, *PUT_IN, *INDEXES, *OF_ALL, *LEAVING, *OF_LABELS}
    assert {name for name in declared() if "_page" not in name} == {name for name in known if "_page" not in name}
    assert len(pages()) == 200


@pytest.mark.slow
@pytest.mark.parametrize("how", ["with a trash", "without one", "in groups"])
async def test_neither_of_two_users_ever_sees_or_moves_what_is_the_others(
    running: Litestar, clean: None, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "without one":
        nothing_is_kept(running, monkeypatch)
    if how == "in groups":
        let_all_go_in_groups(monkeypatch)
    await walk(running, FEW if how == "with a trash" else settings(FEW, max_examples=5))


@pytest.mark.slow
@pytest.mark.parametrize("in_groups", [False, True], ids=["alone", "in groups"])
async def test_with_row_level_security_alone_nothing_leaks(
    running: Litestar, clean: None, monkeypatch: pytest.MonkeyPatch, in_groups: bool
) -> None:
    """All of them have lost their owners, and each part of them. The soak takes one after the other."""
    if in_groups:
        let_all_go_in_groups(monkeypatch)
    for name, statement in declared().items():
        if "_page" not in name and not name.startswith(ELSEWHERE) and OF_OWNER.search(statement.sql):
            forget_the_owner(monkeypatch, name, OF_OWNER)
    forget_the_owner(monkeypatch, "listing.queries._page")
    await walk(running, settings(FEW, max_examples=8, database=None))


@pytest.mark.parametrize("how", ["without keys", "with keys", "in groups", "in groups with keys"])
async def test_with_the_query_filter_alone_nothing_leaks(
    running: Litestar, clean: None, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """On all the ways on which the next tests notice something."""
    if how.startswith("in groups"):
        let_all_go_in_groups(monkeypatch)

    def ways(it: Any, hers: int, his: int) -> None:
        for name, way in (WAYS | CREATES).items():
            new = it.create("ada", name, None, None)
            way(it, [new, his], name.replace(" ", "-") if how.endswith("with keys") else None)
            it.each_sees_their_own_and_nothing_else()

    async with no_second_wall(sql):
        await walk_along(running, ways)


@pytest.mark.parametrize("name", [*WAYS, *FOR_A_KEY, *(name for name in IN_A_GROUP if "CREATE" not in name)])
async def test_with_neither_the_walk_notices(
    running: Litestar, clean: None, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def way(it: Any, hers: int, his: int) -> None:
        EVERY_WAY[name](it, [hers, his], "1" if " once" in name else None)

    forget_the_owner(monkeypatch, name)
    await check_that_it_is_noticed(running, sql, monkeypatch, name, way)


@pytest.mark.parametrize("name", RAISING)
async def test_with_neither_the_walk_notices_that_everybodys_revision_is_raised(
    running: Litestar, clean: None, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    forget_the_owner(monkeypatch, name, OF_THE_REVISION)
    await check_that_it_is_noticed(running, sql, monkeypatch, name, with_his_own(name, None))


# The trash is looked into for the key beforehand, by `auth.idempotency.RECALL`.
@pytest.mark.parametrize(
    "name",
    [
        *sorted({*FOR_A_KEY} - {"trash.queries.EMPTY once"}),
        "creation.CREATE once",
        "creation.CREATE_WHOLE once",
        *(name for name in IN_A_GROUP if " once" in name),
    ],
)
async def test_with_neither_the_walk_notices_that_anybodys_key_counts(
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
        self.names = whole.names


async def test_nobody_can_be_given_a_task_by_somebody_else(
    running: Litestar, clean: None, sql: asyncpg.Connection
) -> None:
    values = {"owner": "bob", "title": "x", "description": None, "completed": False, "by": "jwt", "max_tasks": 0}
    mutant = ForTheOldestUser(creation.CREATE)
    await sql.execute(
        """INSERT INTO "user" (id, name, email, "createdAt") VALUES
           ('ada', '', 'a@x', '2000-01-01'), ('bob', '', 'b@x', '2001-01-01')"""
    )
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await queries.database.fetch(mutant, **values)
    assert await sql.fetchval("SELECT count(*) FROM tasks") == 0

    async with no_second_wall(sql):
        assert (await queries.database.fetch(mutant, **values))[0]["user_id"] == "ada"
