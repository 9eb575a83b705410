"""A batch does what the same requests would do one after the other; query filter and row-level security each hold."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litestar import Litestar

from app.db.statements import Statement
from app.tasks.batch import queries
from app.web import text
from tests.conftest import token, visitor
from tests.statements import no_second_wall, without_owner
from tests.tasks.batch.test_batch import create, delete, done, everything, listed, send, update

THERE = 6

TITLES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=9)
TITLES = TITLES.filter(lambda title: not text.is_blank(title))
DESCRIPTIONS = st.none() | st.sampled_from(["", "of it", "\u2028"])
CONTENTS = st.fixed_dictionaries({"title": TITLES}, optional={"description": DESCRIPTIONS})
PATCHES = st.fixed_dictionaries({}, optional={"title": TITLES, "description": DESCRIPTIONS, "completed": st.booleans()})
WITH_VERSION: Any = {"version": st.integers(1, THERE)}
CHANGES = st.one_of(
    st.fixed_dictionaries({"op": st.just("update"), "data": PATCHES}, optional=WITH_VERSION),
    st.fixed_dictionaries({"op": st.just("replace"), "data": CONTENTS}, optional=WITH_VERSION),
    st.fixed_dictionaries(
        {"op": st.just("complete")},
        optional={"data": st.fixed_dictionaries({}, optional={"completed": st.booleans()}), **WITH_VERSION},
    ),
    st.fixed_dictionaries({"op": st.just("delete")}, optional=WITH_VERSION),
)
ABOUT = st.tuples(st.sampled_from([*range(1, THERE + 1)] * 4 + [99]), CHANGES)
BATCHES = st.lists(
    st.builds(lambda data: {"op": "create", "data": data}, CONTENTS)
    | ABOUT.map(lambda pair: {**pair[1], "id": pair[0]}),
    min_size=1,
    max_size=8,
    unique_by=lambda operation: operation.get("id", id(operation)),
)


async def attack(ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    """All that Bob could do to Ada's tasks by a batch. Fails where one of them, or what she is told, is different."""
    await done(ada, *[create("hers")] * 3)
    await done(bob, create("his"))
    hers = await listed(ada)
    theirs = """SELECT (SELECT revision FROM revisions WHERE user_id = 'ada'), (SELECT array_agg(t) FROM (
                SELECT id, title, version, completed, deleted_at FROM tasks WHERE user_id = 'ada' ORDER BY id) t)"""
    before = await sql.fetchrow(theirs)
    for operation in (update(1, title="stolen"), update(2), update(3, title="x", version=3), delete(1)):
        answer = await send(bob, create("more"), operation)
        assert answer.status_code == 404, answer.text
        assert "hers" not in answer.text
    await done(bob, update(4, title="x"))
    await done(bob, create("last"))
    assert await listed(ada) == hers
    assert await sql.fetchrow(theirs) == before


async def test_nothing_leaks(ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    await attack(ada, bob, sql)


@pytest.mark.parametrize("name", ["RAISE_REVISION", "CHANGE_TASKS", "SHOW"])
async def test_with_row_level_security_alone_nothing_leaks(
    ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(queries, name, without_owner(getattr(queries, name)))
    await attack(ada, bob, sql)


@pytest.mark.parametrize("name", ["RAISE_REVISION", "CHANGE_TASKS", "SHOW"])
async def test_with_neither_it_is_noticed(
    ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(queries, name, without_owner(getattr(queries, name)))
    async with no_second_wall(sql):
        with pytest.raises(AssertionError):
            await attack(ada, bob, sql)


async def test_what_is_gone_for_good_is_the_owners_alone(
    ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    from app.db.engine import database

    await done(ada, create())
    await done(ada, delete(1))
    values = {"owner": "bob", "ids": "{1}"}
    for statement in (queries.FORGET, without_owner(queries.FORGET)):
        await database.fetch(statement, **values)
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 1
    async with no_second_wall(sql):
        await database.fetch(queries.FORGET, **values)
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 1
        await database.fetch(without_owner(queries.FORGET), **values)
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 0


async def test_nobody_is_given_a_task_or_a_revision_by_somebody_else(
    ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    from app.db.engine import database

    await done(ada, create())
    for statement, values in (
        (queries.CREATE_TASKS, {"by": None, "stamped": None, "rows": '[{"number": 9, "title": "x"}]', "inline": 1}),
        (queries.CREATE_TASKS_BRIEFLY, {"by": None, "stamped": None, "rows": '[{"number": 9, "title": "x"}]'}),
        (queries.BEGIN_REVISION, {"count": 9, "added": 0, "max_tasks": 0}),
    ):
        mutant = Statement.__new__(Statement)
        mutant.sql = statement.sql.replace("SELECT $1", "SELECT 'ada'::text || left($1, 0)", 1)
        assert mutant.sql != statement.sql
        mutant.names = statement.names
        before = await everything(sql)
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.fetch(mutant, owner="bob", **values)
        assert await everything(sql) == before


async def alone(client: httpx.AsyncClient, operation: dict[str, Any]) -> httpx.Response:
    """The same as a request of its own."""
    body = operation.get("data")
    headers = {"if-match": f'"v{operation["version"]}"'} if "version" in operation else {}
    path = f"/api/tasks/{operation.get('id', '')}"
    match operation["op"]:
        case "create":
            return await client.post("/api/tasks", json=body)
        case "complete":
            content = b"" if body is None else json.dumps(body).encode()
            return await client.patch(f"{path}/complete", content=content, headers=headers)
        case "delete":
            return await client.delete(path, headers=headers)
        case other:
            return await client.request("PATCH" if other == "update" else "PUT", path, json=body, headers=headers)


def seen(task: dict[str, Any] | None, first: int) -> Any:
    """A task without its times, its uid and its owner, and its id counted from the first."""
    if task is None:
        return None
    return {
        **{name: value for name, value in task.items() if not name.endswith("_at") and name not in ("uid", "user_id")},
        "id": task["id"] - first,
    }


class TestEquality:
    """The same operations, in one batch of Ada's and one by one by Bob."""

    @pytest.mark.slow
    async def test_a_batch_is_the_same_as_its_operations_one_after_the_other(self, running: Litestar, sql: Any) -> None:
        loop = asyncio.get_running_loop()
        users = iter(range(10**6))

        async def newcomer() -> tuple[httpx.AsyncClient, int]:
            client = visitor(running, authorization=f"Bearer {token(f'equal{next(users)}')}")
            results = await done(client, *(create(f"{n}") for n in range(THERE)))
            return client, results[0]["data"]["id"] - 1

        async def compare(those: list[dict[str, Any]]) -> None:
            (one, first), (other, others_first) = await newcomer(), await newcomer()
            ids = [{**each, "id": each["id"] + first} if "id" in each else each for each in those]
            untouched = await listed(one)
            answer = await send(one, *ids)
            singles: list[httpx.Response] = []
            for each in those:
                own = {**each, "id": each["id"] + others_first} if "id" in each else each
                singles.append(await alone(other, own))
                if singles[-1].status_code >= 400:
                    break
            last = singles[-1]
            if last.status_code >= 400:
                error, expected = answer.json()["error"], last.json()["error"]
                assert (answer.status_code, error["code"]) == (last.status_code, expected["code"])
                assert error["index"] == len(singles) - 1
                assert seen(error.get("current"), first) == seen(expected.get("current"), others_first)
                assert await listed(one) == untouched
                return
            for each, result, single in zip(those, answer.json()["data"], singles, strict=True):
                assert (result["op"], result["status"]) == (each["op"], single.status_code)
                if each["op"] != "create":  # whose id hangs on what others do meanwhile
                    data = single.json()["data"] if single.content else None
                    assert seen(result["data"], first) == seen(data, others_first)
            after, others = await listed(one), await listed(other)
            assert [{**seen(task, 0), "id": 0} for task in after] == [{**seen(task, 0), "id": 0} for task in others]

        await asyncio.to_thread(_every_batch, lambda those: asyncio.run_coroutine_threadsafe(compare(those), loop))


def _every_batch(ask: Callable[[list[dict[str, Any]]], Any]) -> None:
    @settings(max_examples=60, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(BATCHES)
    def walk(those: list[dict[str, Any]]) -> None:
        ask(those).result()

    walk()
