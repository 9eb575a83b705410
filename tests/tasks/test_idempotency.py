"""A request that is sent again under its Idempotency-Key is done once, and answered as the first time."""

import asyncio
import json
from typing import Any, NamedTuple

import asyncpg
import httpx
import pytest

from app.auth.idempotency import KEY_ATTEMPTS, STORE_KEY, idempotent_transaction
from app.auth.jwt import User
from app.db.engine import database
from app.db.statements import SET_RLS_OWNER
from app.main import ALWAYS
from app.openapi import document as openapi_document
from app.tasks import creation, queries
from app.tasks.change import Change
from app.tasks.idempotency import ChangeStatement, execute
from app.web.body import JSONRequest
from app.web.failures import KeyReused
from app.web.idempotency_key import RULE, Key
from tests.tasks.test_controller import created, refused

KEY = "8e03978e-40d5-43dd-bc93-6894a57f9324"
REUSED = {
    "error": {
        "code": "IDEMPOTENCY_KEY_REUSED",
        "message": "This Idempotency-Key was sent with another request. Take a new one for each.",
    }
}
# Taken by somebody, and gone whenever anybody looks.
NEVER_TO_BE_HAD = """
    CREATE SEQUENCE tries;
    GRANT USAGE ON tries TO PUBLIC;
    CREATE FUNCTION taken() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM nextval('tries');
        RAISE unique_violation USING TABLE = 'idempotency_keys';
    END $$;
    CREATE TRIGGER taken BEFORE INSERT ON idempotency_keys FOR EACH ROW EXECUTE FUNCTION taken();
"""
OF_THE_ANSWER = ("content-type", "location", "etag", "cache-control")


class Ask(NamedTuple):
    """One kind of change, of a task, and a second of that kind that is another request."""

    method: str
    path: str
    body: Any
    other: Any
    status: int = 200


PATCH = {"title": "patched", "description": None}
CHANGES = {
    "create": Ask("POST", "/api/tasks", {"title": "new"}, {"title": "newer"}, 201),
    "replace": Ask("PUT", "/api/tasks/{}", {"title": "replaced"}, {"title": "again"}),
    "patch": Ask("PATCH", "/api/tasks/{}", PATCH, {"title": "again"}),
    "patch nothing": Ask("PATCH", "/api/tasks/{}", {}, {"title": "again"}),
    "toggle": Ask("PATCH", "/api/tasks/{}/complete", None, {"completed": True}),
    "complete": Ask("PATCH", "/api/tasks/{}/complete", {"completed": True}, {"completed": False}),
    "delete": Ask("DELETE", "/api/tasks/{}", None, None, 204),
}
WITH_ANOTHER = {name: each for name, each in CHANGES.items() if each.body != each.other}


async def ask(
    client: httpx.AsyncClient,
    each: Ask,
    task_id: int,
    *,
    key: str | None = KEY,
    tag: str | None = None,
    other: bool = False,
) -> httpx.Response:
    body = each.other if other else each.body
    content = None if body is None else json.dumps(body)
    kind = None if content is None else "application/json"
    given = {"idempotency-key": key, "if-match": tag, "content-type": kind}
    headers = {name: value for name, value in given.items() if value is not None}
    return await client.request(each.method, each.path.format(task_id), content=content, headers=headers)


def told(answer: httpx.Response) -> tuple[int, bytes, list[str | None]]:
    """What an answer says, but for what differs from one to the next."""
    return answer.status_code, answer.content, [answer.headers.get(name) for name in OF_THE_ANSWER]


async def everything(sql: asyncpg.Connection) -> list[Any]:
    """All tasks and all that they were, as they lie in the database."""
    tasks = await sql.fetch("SELECT * FROM tasks ORDER BY id")
    return [*tasks, *await sql.fetch("SELECT * FROM task_versions ORDER BY task_id, version")]


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
class TestEveryChange:
    async def test_twice_is_once_and_the_answer_is_the_same_byte_for_byte(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, change: Ask
    ) -> None:
        task = await created(ada)
        first = await ask(ada, change, task["id"])
        before = await everything(sql)

        again = await ask(ada, change, task["id"])

        assert first.status_code == change.status
        assert told(again) == told(first)
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"
        assert await everything(sql) == before

    async def test_without_a_key_it_is_done_each_time_and_nothing_is_kept(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, change: Ask
    ) -> None:
        task = await created(ada)
        first, second = [await ask(ada, change, task["id"], key=None) for _ in range(2)]

        assert first.status_code == change.status
        assert second.status_code == (404 if change.method == "DELETE" else change.status)
        assert "idempotent-replayed" not in {**first.headers, **second.headers}
        assert await sql.fetchval("SELECT count(*) FROM idempotency_keys") == 0

    async def test_somebody_elses_same_key_is_another(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, change: Ask
    ) -> None:
        hers, his = await created(ada), await created(bob)
        answers = [await ask(ada, change, hers["id"]), await ask(bob, change, his["id"])]

        assert [answer.status_code for answer in answers] == [change.status] * 2
        assert not [answer for answer in answers if "idempotent-replayed" in answer.headers]

    async def test_two_concurrent_requests_are_one(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, change: Ask
    ) -> None:
        task = await created(ada)
        answers = await asyncio.gather(*(ask(ada, change, task["id"]) for _ in range(8)))

        assert len({json.dumps(told(answer), default=bytes.decode) for answer in answers}) == 1
        assert sorted(answer.headers.get("idempotent-replayed", "") for answer in answers) == ["", *["true"] * 7]
        expected = task["version"] + (change.method != "POST" and change.body != {})
        assert await sql.fetchval("SELECT version FROM tasks WHERE id = $1", task["id"]) == expected

    async def test_a_key_of_another_endpoint_is_refused(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, change: Ask
    ) -> None:
        task = await created(ada)
        await ada.put(f"/api/tasks/{task['id']}", json={"title": "x"}, headers={"idempotency-key": "other"})
        before = await everything(sql)

        answer = await ask(ada, change, task["id"], key="other")

        assert (answer.status_code, answer.json()) == (422, REUSED)
        assert await everything(sql) == before

    async def test_a_key_that_is_none_is_refused(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, change: Ask
    ) -> None:
        task = await created(ada)
        before = await everything(sql)
        for key in ("", "x" * 256, "a b", "\t", "caf\u00e9"):
            headers = [(b"idempotency-key", key.encode()), (b"content-type", b"application/json")]
            answer = await ada.request(
                change.method, change.path.format(task["id"]), content=json.dumps(change.body or {}), headers=headers
            )
            assert (answer.status_code, answer.json()) == (422, refused("Idempotency-Key", RULE)), key
        twice = [(b"idempotency-key", b"a"), (b"idempotency-key", b"a"), (b"content-type", b"application/json")]
        answer = await ada.request(change.method, change.path.format(task["id"]), content=b"{}", headers=twice)
        assert (answer.status_code, answer.json()) == (422, refused("Idempotency-Key", RULE))
        assert await everything(sql) == before


@pytest.mark.parametrize("change", WITH_ANOTHER.values(), ids=WITH_ANOTHER)
async def test_another_body_under_the_same_key_is_refused_and_nothing_is_done(
    ada: httpx.AsyncClient, sql: asyncpg.Connection, change: Ask
) -> None:
    task = await created(ada)
    await ask(ada, change, task["id"])
    before = await everything(sql)

    answer = await ask(ada, change, task["id"], other=True)

    assert (answer.status_code, answer.json()) == (422, REUSED)
    assert "idempotent-replayed" not in answer.headers
    assert await everything(sql) == before


@pytest.mark.parametrize(
    "body",
    [
        {"title": "Buy milk"},
        {"title": "  \u2003trimmed\n", "description": None},
        {"title": "quotes \" ' \\ / and {braces} $1 %s", "description": ""},
        {"title": "\u0001\u001f\u007fx\u0085\u2028\u2029", "description": "\b\f\n\r\t"},
        {
            "title": "caf\u00e9 cafe\u0301 \U0001f95b \U0001f468\u200d\U0001f467 \u202eklim\ufeff",
            "description": "\uffff",
        },
        {"title": "\U0001f95b" * 500, "description": "x\u00e9" * 16_384},
    ],
    ids=["plain", "trimmed", "quotes", "control characters", "scripts", "long"],
)
async def test_whatever_the_text_the_second_answer_is_the_first(ada: httpx.AsyncClient, body: Any) -> None:
    mine = {"idempotency-key": KEY}
    first, again = [await ada.post("/api/tasks", json=body, headers=mine) for _ in range(2)]

    assert first.status_code == 201
    assert told(again) == told(first)
    read = await ada.get(first.headers["location"])
    assert (read.content, read.headers["etag"]) == (again.content, again.headers["etag"])


class TestKey:
    @pytest.mark.parametrize("key", ["!", "~", '"quoted"', "x" * 255, "'; DROP TABLE tasks --".replace(" ", "")])
    async def test_it_is_1_to_255_visible_characters(self, ada: httpx.AsyncClient, key: str) -> None:
        answers = [await ask(ada, CHANGES["create"], 0, key=key) for _ in range(2)]

        assert [answer.status_code for answer in answers] == [201, 201]
        assert answers[1].headers["idempotent-replayed"] == "true"
        other = await ask(ada, CHANGES["create"], 0, key=f"{key[:-1]}#")
        assert "idempotent-replayed" not in other.headers

    async def test_white_space_around_it_is_none_of_it(self, ada: httpx.AsyncClient) -> None:
        first, again = [await ask(ada, CHANGES["create"], 0, key=key) for key in (KEY, f" {KEY}\t ")]

        assert told(again) == told(first)

    async def test_what_reads_does_not_look_at_it(self, ada: httpx.AsyncClient) -> None:
        task = await created(ada)
        for method in ("GET", "HEAD"):
            for path in ("/api/tasks", f"/api/tasks/{task['id']}"):
                answer = await ada.request(method, path, headers={"idempotency-key": "not a key"})
                assert answer.status_code == 200
                assert "idempotent-replayed" not in answer.headers

    async def test_it_comes_after_what_is_wrong_with_the_request_itself(
        self, ada: httpx.AsyncClient, stranger: httpx.AsyncClient
    ) -> None:
        bad = {"idempotency-key": "not a key"}
        assert (await stranger.post("/api/tasks", json={}, headers=bad)).status_code == 401
        assert (await ada.post("/api/nothing", json={}, headers=bad)).status_code == 404
        assert (await ada.put("/api/tasks/0", json={}, headers=bad)).status_code == 404
        assert (await ada.put("/api/tasks/x", json={}, headers=bad)).json() != refused("Idempotency-Key", RULE)
        text = {**bad, "content-type": "text/plain"}
        assert (await ada.post("/api/tasks", content="{}", headers=text)).status_code == 415

    async def test_one_of_another_method_is_refused_though_all_else_is_the_same(self, ada: httpx.AsyncClient) -> None:
        path = f"/api/tasks/{(await created(ada))['id']}"
        headers = {"idempotency-key": "one"}

        answers = [await ada.request(method, path, json={"title": "x"}, headers=headers) for method in ("PUT", "PATCH")]

        assert [answer.status_code for answer in answers] == [200, 422]
        assert answers[1].json() == REUSED

    async def test_it_lives_for_a_day(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        first = await ask(ada, CHANGES["create"], 0)
        for age in ("22 hours", "23 hours 30 minutes", "23 hours 59 minutes 50 seconds"):
            await sql.execute(f"UPDATE idempotency_keys SET created_at = now() - interval '{age}'")
            assert told(await ask(ada, CHANGES["create"], 0)) == told(first), age
        await sql.execute("UPDATE idempotency_keys SET created_at = now() - interval '24 hours'")

        later = await ask(ada, CHANGES["create"], 0, other=True)

        assert (later.status_code, later.json()["data"]["title"]) == (201, "newer")
        assert "idempotent-replayed" not in later.headers
        assert told(await ask(ada, CHANGES["create"], 0, other=True)) == told(later)
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 2

    async def test_no_change_counts_on_one_that_may_be_gone_a_moment_later(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await ask(ada, CHANGES["create"], 0)
        values = {
            "owner": "ada",
            "key": "one",
            "fingerprint": b"",
            "title": "x",
            "description": None,
            "completed": False,
            "by": None,
            "max_tasks": 0,
        }
        await sql.execute("UPDATE idempotency_keys SET key = 'one', created_at = now() - interval '22 hours'")
        assert await database.fetch(creation.CREATE.with_key, **values) == []

        await sql.execute("UPDATE idempotency_keys SET created_at = now() - interval '23 hours 30 minutes'")
        with pytest.raises(asyncpg.UniqueViolationError):  # which leads to the answer, or to another attempt
            await database.fetch(creation.CREATE.with_key, **values)

    async def test_an_expired_key_is_used_once_by_many_concurrent_requests(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await ask(ada, CHANGES["create"], 0)
        await sql.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")

        answers = await asyncio.gather(*(ask(ada, CHANGES["create"], 0) for _ in range(20)))

        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.content for answer in answers}) == 1
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 2

    @pytest.mark.parametrize("kind", ["create", "batch"])
    async def test_nobody_tries_for_ever_to_have_it(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, kind: str
    ) -> None:
        batch = Ask("POST", "/api/tasks/batch", {"operations": [{"op": "create", "data": {"title": "new"}}]}, None)
        await created(ada)
        await sql.execute(NEVER_TO_BE_HAD)
        try:
            answer = await ask(ada, {**CHANGES, "batch": batch}[kind], 0)
            tries = await sql.fetchval("SELECT last_value FROM tries")
        finally:
            await sql.execute("DROP FUNCTION taken() CASCADE; DROP SEQUENCE tries")

        assert (answer.status_code, answer.headers["retry-after"], tries) == (503, "1", KEY_ATTEMPTS)
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 1
        assert (await ask(ada, CHANGES["create"], 0)).status_code == 201

    async def test_it_goes_with_the_account(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        await ask(ada, CHANGES["create"], 0)
        await sql.execute('DELETE FROM "user" WHERE id = $1', "ada")

        assert await sql.fetchval("SELECT count(*) FROM idempotency_keys") == 0
        assert "idempotent-replayed" not in (await ask(ada, CHANGES["create"], 0)).headers

    async def test_nobody_sees_those_of_others(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, role: str
    ) -> None:
        await ask(ada, CHANGES["create"], 0)
        async with sql.transaction():
            for owner, seen in (("ada", 1), ("bob", 0), ("", 0)):
                await sql.execute(
                    "SELECT set_config('tasks.staff', '', true), set_config('tasks.owner', $1, true)", owner
                )
                await sql.execute(f"SET LOCAL ROLE {role}")
                assert await sql.fetchval("SELECT count(*) FROM idempotency_keys") == seen, owner


class TestRequest:
    async def test_a_slash_at_its_end_makes_no_other(self, ada: httpx.AsyncClient) -> None:
        first = await ada.post("/api/tasks", json={"title": "x"}, headers={"idempotency-key": KEY})
        again = await ada.post("/api/tasks/", json={"title": "x"}, headers={"idempotency-key": KEY})

        assert told(again) == told(first)

    async def test_its_bytes_count_and_not_what_they_mean(self, ada: httpx.AsyncClient) -> None:
        await ada.post("/api/tasks", content=b'{"title":"x"}', headers={"idempotency-key": KEY})
        again = await ada.post("/api/tasks", content=b'{"title": "x"}', headers={"idempotency-key": KEY})

        assert (again.status_code, again.json()) == (422, REUSED)

    async def test_a_replay_is_not_held_to_the_version_that_the_first_was_meant_for(
        self, ada: httpx.AsyncClient
    ) -> None:
        task = await created(ada)
        first = await ask(ada, CHANGES["replace"], task["id"], tag='"v1"')
        await ada.patch(f"/api/tasks/{task['id']}/complete")

        for tag in ('"v1"', '"v77"', "*"):
            assert told(await ask(ada, CHANGES["replace"], task["id"], tag=tag)) == told(first)
        assert (await ada.get(f"/api/tasks/{task['id']}")).json()["data"]["completed"] is True

    async def test_what_was_made_is_told_again_even_when_it_is_gone(self, ada: httpx.AsyncClient) -> None:
        first = await ask(ada, CHANGES["create"], 0)
        await ada.delete(first.headers["location"])

        assert told(await ask(ada, CHANGES["create"], 0)) == told(first)
        assert (await ada.get(first.headers["location"])).status_code == 404

    async def test_a_refusal_keeps_nothing_and_is_decided_anew(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task = await created(ada)
        path, mine = f"/api/tasks/{task['id']}", {"idempotency-key": KEY}
        refusals = [
            await ada.put(path, json={"title": "new"}, headers={**mine, "if-match": '"v9"'}),
            await ada.put(path, json={"title": ""}, headers=mine),
            await ada.put(path, content=b"{", headers=mine),
            await ada.put("/api/tasks/999", json={"title": "new"}, headers=mine),
            await ada.patch(path, json={}, headers={**mine, "if-match": '"v9"'}),
        ]

        assert [answer.status_code for answer in refusals] == [412, 422, 400, 404, 412]
        assert refusals[0].json()["error"]["current"] == task
        assert await sql.fetchval("SELECT count(*) FROM idempotency_keys") == 0
        assert (await ada.put(path, json={"title": "new"}, headers=mine)).status_code == 200

    async def test_a_copy_of_a_batch_that_waited_for_the_first_is_answered_as_the_first(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task = await created(ada)
        deletes = Ask("POST", "/api/tasks/batch", {"operations": [{"op": "delete", "id": task["id"]}]}, None)
        async with sql.transaction():
            await sql.execute("SELECT FROM revisions FOR UPDATE")
            asked = [asyncio.create_task(ask(ada, deletes, 0)) for _ in range(4)]
            await asyncio.sleep(0.2)

        answers = [await each for each in asked]
        assert [answer.status_code for answer in answers] == [200] * 4
        assert len({answer.content for answer in answers}) == 1
        assert sorted(answer.headers.get("idempotent-replayed", "") for answer in answers) == ["", *["true"] * 3]
        assert (await ask(ada, deletes, 0, key="another")).status_code == 404

    async def test_a_user_nobody_has_seen_before_makes_one_task_of_many_concurrent_requests(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        answers = await asyncio.gather(*(ask(ada, CHANGES["create"], 0) for _ in range(20)))

        assert {answer.status_code for answer in answers} == {201}
        assert len({answer.content for answer in answers}) == 1
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 1

    async def test_another_rule_of_the_tables_is_not_taken_for_a_key(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await sql.execute("CREATE UNIQUE INDEX for_this_test ON tasks (title)")
        try:
            answers = [await ask(ada, CHANGES["create"], 0, key=key) for key in "ab"]
        finally:
            await sql.execute("DROP INDEX for_this_test")

        assert [answer.status_code for answer in answers] == [201, 500]


class TestTransaction:
    """What takes several statements is done once as well: the last of them keeps what came of it."""

    @staticmethod
    def key(path: str = "/api/tasks/batch") -> Key:
        return Key(KEY, JSONRequest({"type": "http", "method": "POST", "path": path}))

    @staticmethod
    async def make(key: Key, *titles: str, owner: str = "ada") -> list[str]:
        async def work() -> list[str]:
            content = {"owner": owner, "description": None, "completed": False, "by": None, "max_tasks": 0}
            keep = {"owner": owner, "answer": json.dumps(titles), **key.values()}
            creates = [(creation.CREATE, {**content, "title": title}) for title in titles]
            await database.fetch_all(*creates, (STORE_KEY, keep))
            return [*titles]

        return await idempotent_transaction(key, User(owner), work, list[str])

    async def test_again_it_is_what_came_of_it_the_first_time(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await created(ada)
        await created(bob)
        first, again, his = self.key(), self.key(), self.key()

        assert await self.make(first, "one", "two") == ["one", "two"]
        assert await self.make(again, "never", "made") == ["one", "two"]
        assert await self.make(his, "his", owner="bob") == ["his"]
        assert [key.is_replay for key in (first, again, his)] == [False, True, False]
        with pytest.raises(KeyReused):
            await self.make(self.key("/api/tasks/other"), "three")
        titles = [row["title"] for row in await sql.fetch("SELECT title FROM tasks ORDER BY id")]
        assert titles == ["Buy milk", "Buy milk", "one", "two", "his"]

    async def test_of_many_concurrent_ones_one_is_done(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        await created(ada)
        made = await asyncio.gather(*(self.make(self.key(), f"task {number}") for number in range(8)))

        assert len({title for [title] in made}) == 1
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 2

    async def test_it_expires_after_a_day_as_well(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        await created(ada)
        await self.make(self.key(), "one")
        await sql.execute("UPDATE idempotency_keys SET created_at = now() - interval '24 hours'")

        assert await self.make(self.key(), "two") == ["two"]
        assert await sql.fetchval("SELECT count(*) FROM idempotency_keys") == 1

    async def test_a_change_of_many_rows_tells_how_many_and_is_done_once(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await created(ada)
        await created(ada)
        gone = f'"gone" AS (DELETE FROM "tasks" WHERE {SET_RLS_OWNER} AND "user_id" = :owner RETURNING 1)'
        change = ChangeStatement('SELECT count(*)::integer AS "count" FROM "gone"', gone)

        assert [tuple(row) for row in await execute(change, Change(User("ada"), key=self.key()))] == [(2,)]
        await created(ada)
        assert [tuple(row) for row in await execute(change, Change(User("ada"), key=self.key()))] == [(2,)]
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 1


CHANGING = {name: each for name, each in vars(queries).items() if isinstance(each, ChangeStatement)}


@pytest.mark.parametrize("name", CHANGING)
def test_wherever_a_change_asks_for_the_owners_rows_it_asks_for_the_key_too(name: str) -> None:
    change = CHANGING[name]
    conditions = change.sql.count("tasks.owner")

    assert conditions >= 1
    assert change.with_key.sql.count('AND NOT EXISTS (SELECT 1 FROM "idempotency_keys"') == conditions
    assert "idempotency_keys" not in change.sql


def test_the_document_tells_of_it() -> None:
    document = openapi_document.document(ALWAYS)
    told_of = {
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
        if any(parameter["name"] == "Idempotency-Key" for parameter in operation.get("parameters", []))
    }
    refusal = document["paths"]["/api/tasks"]["post"]["responses"]["422"]["$ref"].rpartition("/")[2]
    answers = document["components"]["responses"][refusal]["content"]["application/json"]["examples"]

    assert {"createTask", "replaceTask", "patchTask", "completeTask", "deleteTask"} <= told_of
    assert not told_of & {"listTasks", "getTask", "live"}
    assert REUSED in [example["value"] for example in answers.values()]
    assert "Idempotent-Replayed" in document["paths"]["/api/tasks"]["post"]["responses"]["201"]["headers"]


class TestWhatIsKept:
    """Ids and versions, of which the answer is made again; and whole tasks, as a version before this one kept them."""

    async def test_a_key_keeps_no_text(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        made = (await ada.post("/api/tasks", json={"title": "a secret"}, headers={"idempotency-key": "1"})).json()[
            "data"
        ]
        operations = [{"op": "update", "id": made["id"], "data": {"title": "another secret"}}]
        await ada.post("/api/tasks/batch", json={"operations": operations}, headers={"idempotency-key": "2"})
        kept = [json.loads(row[0]) for row in await sql.fetch("SELECT answer FROM idempotency_keys ORDER BY key")]
        assert kept == [
            {"id": made["id"], "version": made["version"]},
            [{"op": "update", "status": 200, "id": made["id"], "version": made["version"] + 1}],
        ]

    async def test_a_whole_answer_from_before_is_told_as_it_is(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        one = {"idempotency-key": "1"}
        first = await ada.post("/api/tasks", json={"title": "x"}, headers=one)
        await sql.execute("UPDATE idempotency_keys SET answer = $1", json.dumps(first.json()["data"]))
        await sql.execute("UPDATE tasks SET title = 'y'")
        await sql.execute("DELETE FROM task_versions")
        assert told(await ada.post("/api/tasks", json={"title": "x"}, headers=one)) == told(first)

        two, path = {"idempotency-key": "2"}, "/api/tasks/batch"
        task = first.json()["data"]["id"]
        body = {"operations": [{"op": "create", "data": {"title": "x"}}, {"op": "delete", "id": task}]}
        batch = await ada.post(path, json=body, headers=two)
        await sql.execute("UPDATE idempotency_keys SET answer = $1 WHERE key = '2'", json.dumps(batch.json()["data"]))
        await sql.execute("DELETE FROM tasks")
        assert told(await ada.post(path, json=body, headers=two)) == told(batch)

    async def test_what_is_gone_for_good_is_not_found_and_not_made_again(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        first = await ask(ada, CHANGES["create"], 0)
        other = await created(ada)
        both = {"operations": [{"op": "complete", "id": each} for each in (first.json()["data"]["id"], other["id"])]}
        batch = await ada.post("/api/tasks/batch", json=both, headers={"idempotency-key": "2"})
        await ada.delete(first.headers["location"])
        assert told(await ask(ada, CHANGES["create"], 0)) == told(first)  # from the trash
        await ada.delete("/api/trash")

        answer = await ask(ada, CHANGES["create"], 0)
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")
        again = await ada.post("/api/tasks/batch", json=both, headers={"idempotency-key": "2"})
        gone, there = batch.json()["data"]
        assert (again.status_code, again.json()["data"]) == (200, [{**gone, "data": None}, there])
        assert await sql.fetchval("SELECT count(*) FROM tasks") == 1

    async def test_of_a_version_that_the_history_has_lost_it_is_the_task_as_it_is_now(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        first = await ask(ada, CHANGES["create"], 0)
        now = (await ada.patch(f"{first.headers['location']}/complete")).json()["data"]
        await sql.execute("DELETE FROM task_versions")
        again = await ask(ada, CHANGES["create"], 0)
        assert (again.status_code, again.json()["data"], again.headers["etag"]) == (201, now, f'"v{now["version"]}"')

    async def test_what_has_been_given_to_somebody_else_is_not_told(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await created(bob)
        await ask(ada, CHANGES["create"], 0)
        await sql.execute("UPDATE tasks SET user_id = 'bob', title = 'his'")
        answer = await ask(ada, CHANGES["create"], 0)
        assert answer.status_code == 404
        assert "his" not in answer.text
