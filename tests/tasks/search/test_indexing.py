"""The indexes of tasks: brought up to date in steps, behind the requests, by one worker at a time."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import asyncpg
import httpx
import pytest

from app.db.engine import database
from app.db.owner_queue import LIMIT
from app.db.statements import Statement
from app.tasks.failures import IndexNotReady
from app.tasks.search import index_queries, indexing
from app.tasks.search.index_queries import STORE, TITLES, WORDS
from app.tasks.search.indexing import Indexer, indexer
from app.web.failures import Unavailable

LIST = "/api/tasks"
PUT_IN = """
    INSERT INTO "user" (id, name, email) VALUES ('ada', '', 'ada@x') ON CONFLICT DO NOTHING;
    INSERT INTO revisions (user_id, revision) VALUES ('ada', 0) ON CONFLICT DO NOTHING;
    INSERT INTO tasks (user_id, title, description, created_at, version)
    SELECT 'ada', 'Task ' || n, repeat('word' || n || ' ', {size}), timestamptz '2026-01-01' + n * interval '1 s', n
    FROM generate_series(1, {count}) AS n;
    UPDATE revisions SET revision = {count};
"""


async def put_in(sql: asyncpg.Connection, count: int, size: int = 1) -> None:
    await sql.execute(PUT_IN.format(count=count, size=size))


async def titles(client: httpx.AsyncClient, **parameters: Any) -> list[str]:
    answer = await client.get(LIST, params=parameters)
    assert answer.status_code == 200, answer.text
    return [task["title"] for task in answer.json()["data"]]


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Statement, dict[str, Any]]]:
    """What the database is asked, with which values."""
    log: list[tuple[Statement, dict[str, Any]]] = []
    fetch = database.fetch_beside

    async def logged(statement: Statement, **values: Any) -> list[asyncpg.Record]:
        log.append((statement, values))
        return await fetch(statement, **values)

    monkeypatch.setattr(database, "fetch_beside", logged)
    return log


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(indexing, "FIRST_ROWS", 10)
    monkeypatch.setattr(indexing, "MORE_ROWS", 10)
    yield
    assert not indexer._works


def stored(sent: list[tuple[Statement, dict[str, Any]]], kind: str = WORDS) -> list[str]:
    """What was stored, step by step."""
    return [values["entries"] for statement, values in sent if statement is STORE[kind]]


CHANGES: dict[str, Any] = {
    "toggle": lambda ada, path: ada.patch(f"{path}/complete"),
    "same text": lambda ada, path: ada.put(path, json={"title": "milk", "description": "two"}),
    "delete and restore": lambda ada, path: restored(ada, path),
}


async def restored(ada: httpx.AsyncClient, path: str) -> httpx.Response:
    await ada.delete(path)
    return await ada.post(f"{path}/restore")


class TestWhatIsMadeAnew:
    @pytest.mark.parametrize("change", CHANGES)
    async def test_nothing_is_unless_the_text_has_changed(
        self, ada: httpx.AsyncClient, sent: list[tuple[Statement, dict[str, Any]]], change: str
    ) -> None:
        made = await ada.post(LIST, json={"title": "milk", "description": "two"})
        assert await titles(ada, q="milk", sort="title") == ["milk"]
        sent.clear()
        assert (await CHANGES[change](ada, f"{LIST}/{made.json()['data']['id']}")).status_code == 200
        assert await titles(ada, q="milk", sort="title") == ["milk"]
        assert (stored(sent, WORDS), stored(sent, TITLES)) == (["[]"], ["[]"])

    async def test_a_description_that_changes_leaves_the_title_as_it_is(
        self, ada: httpx.AsyncClient, sent: list[tuple[Statement, dict[str, Any]]]
    ) -> None:
        made = await ada.post(LIST, json={"title": "milk", "description": "two"})
        assert await titles(ada, q="two", sort="title") == ["milk"]
        sent.clear()
        await ada.patch(f"{LIST}/{made.json()['data']['id']}", json={"description": "three"})
        assert (await titles(ada, q="two", sort="title"), await titles(ada, q="three", sort="title")) == ([], ["milk"])
        assert (len(stored(sent, WORDS)), stored(sent, TITLES)) == (1, ["[]"])

    async def test_where_one_text_ends_and_the_other_begins_makes_a_difference(self, ada: httpx.AsyncClient) -> None:
        made = await ada.post(LIST, json={"title": "a b", "description": "c"})
        assert await titles(ada, q='"b c"') == []
        await ada.put(f"{LIST}/{made.json()['data']['id']}", json={"title": "a", "description": "b c"})
        assert await titles(ada, q='"b c"') == ["a"]


class TestSteps:
    async def test_each_is_bounded_and_together_they_are_all(
        self,
        ada: httpx.AsyncClient,
        sql: asyncpg.Connection,
        small_steps: None,
        sent: list[tuple[Statement, dict[str, Any]]],
    ) -> None:
        await put_in(sql, 35)
        assert await titles(ada, sort="title") == [f"Task {n}" for n in range(1, 36)]
        assert [entries.count('"id"') for entries in stored(sent, TITLES)] == [10, 10, 10, 5]

    async def test_long_texts_make_shorter_steps(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, sent: list[tuple[Statement, dict[str, Any]]]
    ) -> None:
        await put_in(sql, 12, size=10_000)
        assert len(await titles(ada, q="task")) == 12
        assert 3 <= len(stored(sent)) <= 6

    async def test_one_looks_at_no_more_bytes_than_it_may(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        texts = '"title", "description", "labels"'
        statement = index_queries._pending("task_words", "5000000", index_queries.TEXT_HASH, texts)
        monkeypatch.setitem(index_queries.PENDING, WORDS, statement)
        await put_in(sql, 7)
        assert len(await titles(ada, q="task")) == 7

    async def test_who_comes_after_a_kill_goes_on_where_it_was(
        self,
        ada: httpx.AsyncClient,
        sql: asyncpg.Connection,
        small_steps: None,
        sent: list[tuple[Statement, dict[str, Any]]],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        await put_in(sql, 35)
        killed, fetch, held = Indexer(), database.fetch_beside, asyncio.Event()

        async def holding(statement: Statement, **values: Any) -> list[asyncpg.Record]:
            if statement is STORE[TITLES] and len(stored(sent, TITLES)) == 2:
                held.set()
                await asyncio.Event().wait()
            return await fetch(statement, **values)

        monkeypatch.setattr(database, "fetch_beside", holding)
        waiting = asyncio.create_task(killed.bring_up_to_date("ada", TITLES, 35))
        await held.wait()
        await killed.close()
        with pytest.raises(IndexNotReady):
            await waiting
        monkeypatch.setattr(database, "fetch_beside", fetch)
        sent.clear()
        await sql.execute("UPDATE task_indexes SET leased_until = now() - interval '1 s'")
        assert len(await titles(ada, sort="title")) == 35
        assert sum(entries.count('"id"') for entries in stored(sent, TITLES)) == 15

    async def test_changes_behind_a_round_are_in_the_next(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, small_steps: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await put_in(sql, 25)
        fetch, is_first = database.fetch_beside, True

        async def changing(statement: Statement, **values: Any) -> list[asyncpg.Record]:
            nonlocal is_first
            rows = await fetch(statement, **values)
            if statement is STORE[WORDS] and is_first:
                is_first = False
                await sql.execute("UPDATE tasks SET title = 'Changed' WHERE title = 'Task 25'")
            return rows

        monkeypatch.setattr(database, "fetch_beside", changing)
        assert len(await titles(ada, q="task")) == 25  # as it was when that was asked
        assert (len(await titles(ada, q="task")), await titles(ada, q="changed")) == (24, ["Changed"])

    async def test_a_task_that_goes_meanwhile_leaves_nothing_behind(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await put_in(sql, 3)
        fetch = database.fetch_beside

        async def deleting(statement: Statement, **values: Any) -> list[asyncpg.Record]:
            if statement is STORE[WORDS]:
                await sql.execute("DELETE FROM tasks WHERE title = 'Task 2'")
            return await fetch(statement, **values)

        monkeypatch.setattr(database, "fetch_beside", deleting)
        assert await titles(ada, q="task", sort="title") == ["Task 1", "Task 3"]
        assert await sql.fetchval("SELECT count(*) FROM task_words") == 2

    @pytest.mark.slow
    async def test_one_waits_for_a_task_that_somebody_is_deleting(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await put_in(sql, 3)
        async with sql.transaction():
            await sql.execute("DELETE FROM tasks WHERE title = 'Task 2'")
            asking = asyncio.create_task(titles(ada, q="task"))
            await asyncio.sleep(0.5)
        assert await asking == ["Task 3", "Task 1"]
        assert await sql.fetchval("SELECT count(*) FROM task_words") == 2


class TestWhoMustWait:
    @pytest.mark.slow
    async def test_is_told_to_ask_again_and_is_answered_then(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, small_steps: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await put_in(sql, 300)
        monkeypatch.setattr(indexing, "SECONDS_TO_WAIT", 0.01)
        for parameters in ({"q": "task"}, {"sort": "title"}):
            refused = 0
            while (answer := await ada.get(LIST, params=parameters)).status_code == 503:
                error = {"code": "SERVICE_UNAVAILABLE", "message": IndexNotReady.message}
                assert (answer.json(), answer.headers["retry-after"]) == ({"error": error}, "2")
                refused += 1
                await asyncio.sleep(0.05)
            assert refused
            assert len(answer.json()["data"]) == 300

    async def test_one_worker_at_a_time_does_an_index_and_the_other_waits_for_it(
        self,
        ada: httpx.AsyncClient,
        sql: asyncpg.Connection,
        small_steps: None,
        sent: list[tuple[Statement, dict[str, Any]]],
    ) -> None:
        await put_in(sql, 55)
        await asyncio.gather(*(each.bring_up_to_date("ada", WORDS, 55) for each in (Indexer(), Indexer())))
        assert sum(entries.count('"id"') for entries in stored(sent)) == 55

    async def test_a_worker_that_was_stopped_for_too_long_takes_nothing_back(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        await put_in(sql, 2)
        stopped, fetch = Indexer(), database.fetch_beside
        held, go_on = asyncio.Event(), asyncio.Event()

        async def stopping(statement: Statement, **values: Any) -> list[asyncpg.Record]:
            if statement is STORE[TITLES] and values["worker"] == stopped._worker:
                held.set()
                await go_on.wait()
            return await fetch(statement, **values)

        monkeypatch.setattr(database, "fetch_beside", stopping)
        waiting = asyncio.create_task(stopped.bring_up_to_date("ada", TITLES, 2))
        await held.wait()
        await sql.execute("UPDATE task_indexes SET leased_until = now() - interval '1 s'")
        await sql.execute("UPDATE tasks SET title = 'A new one' WHERE title = 'Task 2'")
        assert await titles(ada, sort="title") == ["A new one", "Task 1"]
        go_on.set()
        await waiting
        assert await titles(ada, sort="title") == ["A new one", "Task 1"]
        assert await sql.fetchval("SELECT min(version) FROM task_titles WHERE key LIKE 'a new%'") == 3

    @pytest.mark.slow
    async def test_who_has_little_does_not_wait_for_who_has_much(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection, small_steps: None
    ) -> None:
        await bob.post(LIST, json={"title": "milk"})
        await put_in(sql, 3000)
        asking = asyncio.create_task(ada.get(LIST, params={"q": "task"}))
        await asyncio.sleep(0.2)
        assert await titles(bob, q="milk") == ["milk"]
        assert not asking.done()
        await asking
        while indexer._works:  # noqa: ASYNC110
            await asyncio.sleep(0.05)

    async def test_who_has_no_turn_left_keeps_nobody_elses_waiting(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient
    ) -> None:
        for client in (ada, bob):
            await client.post(LIST, json={"title": "milk"})
        owners = database.owners
        while owners.try_acquire("ada"):
            pass
        try:
            async with asyncio.timeout(3):
                await asyncio.gather(*(indexer.bring_up_to_date(name, WORDS, 1) for name in ("ada", "bob")))
        finally:
            for _ in range(LIMIT):
                owners.release("ada")

    @pytest.mark.parametrize(("error", "is_told"), [(Unavailable(), False), (ValueError("a secret"), True)])
    async def test_trouble_is_503_and_the_next_tries_again(
        self,
        ada: httpx.AsyncClient,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        error: Exception,
        is_told: bool,
    ) -> None:
        await ada.post(LIST, json={"title": "milk"})
        fetch = database.fetch_beside

        async def failing(statement: Statement, **values: Any) -> list[asyncpg.Record]:
            if statement is STORE[WORDS]:
                raise error
            return await fetch(statement, **values)

        monkeypatch.setattr(database, "fetch_beside", failing)
        assert (await ada.get(LIST, params={"q": "milk"})).status_code == 503
        assert ("Could not bring the words of tasks up to date (ValueError)." in caplog.messages) == is_told
        monkeypatch.undo()
        assert await titles(ada, q="milk") == ["milk"]

    async def test_an_owner_who_has_gone_keeps_nobody(self, running: object, clean: None) -> None:
        await indexer.bring_up_to_date("nobody", WORDS, 5)

    async def test_long_texts_leave_the_event_loop_to_others(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await put_in(sql, 20, size=3000)
        turns, asking = 0, asyncio.create_task(titles(ada, q="task"))
        began = time.monotonic()
        while not asking.done():
            await asyncio.sleep(0)
            turns += 1
        assert len(await asking) == 20
        assert turns > 20, time.monotonic() - began
