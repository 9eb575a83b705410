"""Whatever is stored, an answer takes a bounded number of bytes at a time; and nothing is lost by it."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest

from app.auth.jwt import User
from app.tasks.bounded import MAX_PIECE_BYTES, MAX_ROWS
from app.tasks.listing import pages
from app.tasks.listing.cache import MAX_SEEN, ROOM, ListCache
from app.tasks.listing.pages import ListHasChanged
from app.tasks.listing.parameters import Query
from app.web.response_budget import MAX_OWNER_BYTES, answers

LIST, TRASH, BATCH = "/api/tasks", "/api/trash", "/api/tasks/batch"
TOO_LONG = {
    "field": "description",
    "message": "Description must have 32768 characters at most",
}
OLD = "x\U0001f95b" * 60_000  # characters; 300,000 bytes
ADD = """
    INSERT INTO tasks (user_id, title, description, deleted_at)
    SELECT 'ada', 'Task ' || n, $2, CASE WHEN $3 THEN now() END FROM generate_series(1, $1::int) AS n
"""


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.tasks.listing.pages.lists", ListCache())


@pytest.fixture
async def old(ada: httpx.AsyncClient, sql: asyncpg.Connection) -> list[int]:
    """Eight tasks of Ada's from before there was a limit, 2.4 MB in all; their ids, the newest first."""
    await sql.execute("""INSERT INTO "user" (id, name, email) VALUES ('ada', '', 'ada@x')""")
    await sql.execute(ADD, 8, OLD, False)
    return [row["id"] for row in await sql.fetch("SELECT id FROM tasks ORDER BY created_at DESC, id DESC")]


def ids(answer: httpx.Response) -> list[int]:
    assert answer.status_code == 200, answer.text
    return [task["id"] for task in answer.json()["data"]]


async def all_pages(client: httpx.AsyncClient, path: str) -> list[list[int]]:
    found = [await client.get(path)]
    while (following := found[-1].json()["page"]["next"]) is not None:
        found.append(await client.get(f"{path}&cursor={following}"))
    return [ids(each) for each in found]


def joined(found: list[list[int]]) -> list[int]:
    return [each for page in found for each in page]


class TestDescriptions:
    @pytest.mark.parametrize("description", ["x" * 32_769, "\U0001f95b" * 32_769, "x" * 1_000_000])
    async def test_a_new_one_has_32768_characters_at_most(self, ada: httpx.AsyncClient, description: str) -> None:
        task = (await ada.post(LIST, json={"title": "x", "description": description[:32_768]})).json()["data"]
        path, body = f"{LIST}/{task['id']}", {"title": "y", "description": description}
        refusals = [
            await ada.post(LIST, json=body),
            await ada.put(path, json=body),
            await ada.patch(path, json=body),
            await ada.put(f"{LIST}/{task['id'] + 1}", json=body),  # the same where there is none
            await ada.patch(f"{LIST}/{task['id'] + 1}", json=body),
        ]

        for answer in refusals:
            assert (answer.status_code, answer.json()["error"]["fields"]) == (422, [TOO_LONG])
        assert (await ada.get(path)).json()["data"] == task

    @pytest.mark.parametrize("key", [None, "mine"])
    async def test_one_from_before_stays_where_it_is_not_named_or_sent_back(
        self, ada: httpx.AsyncClient, old: list[int], key: str | None
    ) -> None:
        path, headers = f"{LIST}/{old[0]}", {"idempotency-key": key} if key else {}
        changes = [
            await ada.patch(f"{path}/complete"),
            await ada.patch(path, json={"title": "other"}),
            await ada.put(path, json={"title": "replaced", "description": OLD}, headers=headers),
            await ada.patch(path, json={"description": OLD, "completed": False}),
        ]
        assert [answer.status_code for answer in changes] == [200] * 4
        after = changes[-1].json()["data"]
        assert (after["title"], after["description"], after["completed"]) == ("replaced", OLD, False)
        versions = [answer.json()["data"]["version"] for answer in changes]
        assert versions == sorted({*versions})

        await ada.delete(path)
        assert (await ada.post(f"{path}/restore")).json()["data"]["description"] == OLD
        await ada.patch(path, json={"description": "short"})
        reverted = await ada.post(f"{path}/revert", json={"version": versions[0]})
        assert reverted.json()["data"]["description"] == OLD

    async def test_it_is_sent_back_to_the_version_that_is_meant(self, ada: httpx.AsyncClient, old: list[int]) -> None:
        path, stale = f"{LIST}/{old[0]}", {"if-match": '"v999"'}
        answer = await ada.put(path, json={"title": "y", "description": OLD}, headers=stale)
        assert answer.status_code == 412
        assert answer.json()["error"]["current"]["description"] == OLD
        other = await ada.put(path, json={"title": "y", "description": f"{OLD}."}, headers=stale)
        assert (other.status_code, other.json()["error"]["fields"]) == (422, [TOO_LONG])

    async def test_a_batch_does_so_too(self, ada: httpx.AsyncClient, old: list[int], sql: asyncpg.Connection) -> None:
        kept = "y" * 40_000
        await sql.execute("UPDATE tasks SET description = $1 WHERE id <> $2", kept, old[-1])

        async def send(*operations: dict[str, Any]) -> httpx.Response:
            return await ada.post(BATCH, json={"operations": operations})

        good = await send(
            {"op": "update", "id": old[0], "data": {"description": kept, "completed": True}},
            {"op": "replace", "id": old[1], "data": {"title": "y", "description": kept}},
        )
        assert [each["data"]["description"] for each in good.json()["data"]] == [kept, kept]
        assert (good.json()["data"][0]["data"]["completed"], good.json()["data"][1]["data"]["title"]) == (True, "y")
        before = (await ada.get(LIST)).headers["etag"]
        content = {"title": "y", "description": kept}
        for bad in (
            {"op": "create", "data": content},
            {"op": "update", "id": old[-1], "data": {"description": kept}},
            {"op": "replace", "id": old[-1], "data": content},
            {"op": "replace", "id": 99, "data": content},
        ):
            refused = (await send({"op": "complete", "id": old[2]}, bad)).json()["error"]
            assert (refused["index"], refused["fields"]) == (
                1,
                [{**TOO_LONG, "field": "operations[1].data.description"}],
            )
        stale = await send({"op": "replace", "id": old[0], "version": 1, "data": content})
        assert (stale.status_code, stale.json()["error"]["current"]["description"]) == (412, kept)
        assert (await ada.get(LIST)).headers["etag"] == before


class TestList:
    async def test_a_page_ends_by_its_bytes_and_says_so(self, ada: httpx.AsyncClient, old: list[int]) -> None:
        found = await all_pages(ada, f"{LIST}?limit=200")
        assert [len(each) for each in found] == [3, 3, 2]  # of 300,000 bytes each
        assert joined(found) == old
        assert [len(each) for each in await all_pages(ada, f"{LIST}?limit=2&sort=created_at")] == [2, 2, 2, 2]

    async def test_there_is_always_one(self, ada: httpx.AsyncClient, old: list[int], sql: asyncpg.Connection) -> None:
        await sql.execute("UPDATE tasks SET description = repeat('x', $1)", MAX_PIECE_BYTES + 1)
        assert await all_pages(ada, f"{LIST}?limit=200&sort=-created_at") == [[each] for each in old]

    async def test_without_descriptions_their_length_does_not_count(
        self, ada: httpx.AsyncClient, old: list[int]
    ) -> None:
        assert [len(each) for each in await all_pages(ada, f"{LIST}?limit=200&fields=id,title")] == [8]

    @pytest.mark.parametrize("query", ["", "?sort=title", "?completed=false&count=true", "?fields=id,description"])
    async def test_all_of_it_is_streamed(self, ada: httpx.AsyncClient, old: list[int], query: str) -> None:
        answer = await ada.get(LIST + query)
        for _ in range(2):  # the second time it is known to be long
            answer = await ada.get(LIST + query)
            assert sorted(ids(answer)) == sorted(old)
            assert "content-length" not in answer.headers
            assert {task["description"] for task in answer.json()["data"]} == {OLD}
        page = {"next": None, "total": 8} if "count" in query else {"next": None}
        assert answer.json().get("page") == (page if query else None)
        assert (await ada.get(LIST + query, headers={"if-none-match": answer.headers["etag"]})).status_code == 304

    async def test_so_is_one_of_many_and_a_short_one_is_not(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await ada.post(LIST, json={"title": "x"})
        assert (await ada.get(LIST)).headers["content-length"]
        await sql.execute(ADD, MAX_ROWS + 1, "short", False)
        for path in (LIST, LIST, f"{LIST}?fields=id", f"{LIST}?q=task"):
            answer = await ada.get(path)
            assert len(ids(answer)) == MAX_ROWS + 1 + (path != f"{LIST}?q=task")
            assert "content-length" not in answer.headers

    @pytest.mark.parametrize(
        "change",
        ["UPDATE tasks SET completed = true WHERE id = $1", "DELETE FROM tasks WHERE id = $1"],
        ids=["changed", "gone"],
    )
    async def test_what_is_sent_is_one_state_of_it_or_broken_off(
        self, ada: httpx.AsyncClient, old: list[int], sql: asyncpg.Connection, change: str
    ) -> None:
        async def listed(meddle: str, *values: Any) -> tuple[bytes, bool]:
            found = await pages.all_tasks(User("ada"), [])
            sent = b""
            pieces: AsyncIterator[bytes] = found.content.pieces
            try:
                async for piece in pieces:
                    if not sent:
                        await sql.execute(meddle, *values)
                    sent += piece
            except ListHasChanged:
                return sent, False
            return sent, True

        whole, is_whole = await listed("INSERT INTO tasks (user_id, title) VALUES ('ada', 'new')")
        assert is_whole
        assert whole.endswith(b"]}")
        part, is_whole = await listed(change, old[-1])
        assert not is_whole
        assert part.startswith(b'{"data":[{')
        assert not part.endswith(b"]}")

    async def test_head_reads_none_of_it(self, ada: httpx.AsyncClient, old: list[int]) -> None:
        for path in (f"{LIST}/{old[0]}", f"{LIST}/{old[0]}/history", TRASH, f"{TRASH}?limit=1"):
            same = {"x-request-id": "same"}
            looked, got = await ada.head(path, headers=same), await ada.get(path, headers=same)
            assert (looked.status_code, looked.content) == (200, b"")
            assert {*looked.headers.items()} <= {*got.headers.items()}
        assert (await ada.head(f"{LIST}/999/history")).status_code == 404
        assert (await ada.head(f"{TRASH}?cursor=x")).status_code == 422

    def test_how_long_lists_were_is_not_known_of_everybody(self) -> None:
        lists = ListCache()
        for number in range(MAX_SEEN + 1):
            lists.expect(f"{number}", number)
        assert lists.room("0") == ROOM
        assert lists.room(f"{MAX_SEEN}")[0] > MAX_SEEN


class TestTrash:
    @pytest.fixture
    async def trashed(self, old: list[int], sql: asyncpg.Connection) -> list[int]:
        await sql.execute("UPDATE tasks SET deleted_at = now()")
        return [row["id"] for row in await sql.fetch("SELECT id FROM tasks ORDER BY version DESC")]

    async def test_it_has_pages(self, ada: httpx.AsyncClient, trashed: list[int]) -> None:
        found = await all_pages(ada, f"{TRASH}?limit=3")
        assert found == [trashed[:3], trashed[3:6], trashed[6:]]
        assert joined(await all_pages(ada, f"{TRASH}?limit=1")) == trashed
        first = await ada.get(f"{TRASH}?limit=1")
        cursor = first.json()["page"]["next"]
        assert first.headers["link"] == f'</api/trash?limit=1&cursor={cursor}>; rel="next"'
        second = await ada.get(f"{TRASH}?cursor={cursor}")
        assert second.headers["link"] == f'</api/trash?cursor={second.json()["page"]["next"]}>; rel="next"'

    async def test_all_of_it_is_streamed(
        self, ada: httpx.AsyncClient, trashed: list[int], sql: asyncpg.Connection
    ) -> None:
        answer = await ada.get(TRASH)
        assert (ids(answer), [*answer.json()], "content-length" in answer.headers) == (trashed, ["data"], False)
        await sql.execute("UPDATE tasks SET description = 'short'")
        assert "content-length" in (await ada.get(TRASH)).headers

    async def test_what_leaves_it_meanwhile_is_missing_and_nothing_else(
        self, ada: httpx.AsyncClient, trashed: list[int], sql: asyncpg.Connection
    ) -> None:
        from app.tasks.keyset import PageRequest
        from app.tasks.trash.queries import trash_of

        stream, _ = await trash_of(User("ada"), PageRequest("", ""))
        sent = b""
        async for piece in stream.pieces:
            if not sent:
                await sql.execute("UPDATE tasks SET deleted_at = NULL WHERE id = ANY($1::bigint[])", trashed[3:])
            sent += piece
        assert sent.count(b'"id":') == 3
        assert sent.endswith(b"}]}")

    @pytest.mark.parametrize("query", ["limit=0", "limit=201", "before=1", "limit=1&limit=1", "cursor=x"])
    async def test_another_question_is_422(self, ada: httpx.AsyncClient, query: str) -> None:
        assert (await ada.get(f"{TRASH}?{query}")).status_code == 422

    async def test_a_cursor_is_its_owners(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, trashed: list[int]
    ) -> None:
        cursor = (await ada.get(f"{TRASH}?limit=1")).json()["page"]["next"]
        assert (await bob.get(TRASH, params={"cursor": cursor})).json()["error"]["code"] == "INVALID_CURSOR"
        assert (await ada.get(LIST, params={"cursor": cursor})).json()["error"]["code"] == "INVALID_CURSOR"


class TestHistory:
    async def test_a_page_ends_by_its_bytes_and_says_so(
        self, ada: httpx.AsyncClient, old: list[int], sql: asyncpg.Connection
    ) -> None:
        for number in range(7):
            await sql.execute("UPDATE tasks SET description = $2::text || $3 WHERE id = $1", old[0], f"{number}", OLD)
        path, told, sizes = f"{LIST}/{old[0]}/history", [], []
        before = "?limit=200"
        while True:
            page = (await ada.get(path + before)).json()
            told += page["data"]
            sizes.append(len(page["data"]))
            if page["page"]["next"] is None:
                break
            before = f"?before={page['page']['next']}"
        assert sizes == [2, 1, 1, 1, 1, 2]  # of what it begins with, each page has the text once more
        assert [each["action"] for each in told] == ["changed"] * 7 + ["created"]
        descriptions = [each["changes"]["description"] for each in told]
        assert [each["from"] for each in descriptions[:-1]] == [each["to"] for each in descriptions[1:]]


class TestBatch:
    async def test_it_is_answered_with_ids_and_versions_alone(self, ada: httpx.AsyncClient, old: list[int]) -> None:
        operations = [
            {"op": "complete", "id": old[0]},
            {"op": "create", "data": {"title": "new"}},
            {"op": "delete", "id": old[1]},
            {"op": "update", "id": old[2], "data": {}},
        ]
        asks: list[dict[str, Any]] = [
            {"params": {"return": "minimal", "dry_run": "true"}},
            {"headers": {"prefer": "return=minimal"}},
        ]
        answer = httpx.Response(500)
        for ask in asks:
            answer = await ada.post(BATCH, json={"operations": operations}, **ask)
            assert answer.headers.get("preference-applied") == ("return=minimal" if "headers" in ask else None)
        results = answer.json()["data"]
        assert [each["status"] for each in results] == [200, 201, 204, 200]
        told = [[*(each["data"] or [])] for each in results]
        assert told == [["id", "version"], ["id", "version"], [], ["id", "version"]]
        for each in (results[0], results[1], results[3]):
            task = (await ada.get(f"{LIST}/{each['data']['id']}")).json()["data"]
            assert each["data"] == {"id": task["id"], "version": task["version"]}
        refused = await ada.post(
            BATCH, json={"operations": [{"op": "complete", "id": old[0], "version": 1}]}, params={"return": "minimal"}
        )
        assert refused.json()["error"]["current"]["description"] == OLD

    @pytest.mark.parametrize(
        ("headers", "query", "is_brief"),
        [
            (["Return=Minimal"], "", True),
            (["respond-async, return=minimal; x=y"], "", True),
            (["wait=1", 'return="minimal"'], "", True),
            (["return=representation, return=minimal"], "", False),
            (["return=minimal"], "?return=representation", False),
            (["return=minimalist", "x-return=minimal", "return"], "", False),
        ],
    )
    async def test_how_it_can_be_asked_for(
        self, ada: httpx.AsyncClient, headers: list[str], query: str, is_brief: bool
    ) -> None:
        answer = await ada.post(
            BATCH + query,
            json={"operations": [{"op": "create", "data": {"title": "x"}}]},
            headers=[("prefer", each) for each in headers],
        )
        assert ([*answer.json()["data"][0]["data"]] == ["id", "version"]) == is_brief

    async def test_nothing_else_can(self, ada: httpx.AsyncClient) -> None:
        answer = await ada.post(BATCH, json={"operations": []}, params={"return": "all"})
        assert answer.json()["error"]["message"] in (
            "return must be minimal or representation",
            "There must be 1 to 100 operations",
        )

    async def test_a_key_gets_the_first_answer_however_it_is_asked_for(self, ada: httpx.AsyncClient) -> None:
        body = {"operations": [{"op": "create", "data": {"title": "x"}}]}
        said = [
            (await ada.post(BATCH + query, json=body, headers={"idempotency-key": "k"})).json()
            for query in ("?return=minimal", "?return=minimal")
        ]
        assert said[0] == said[1]

    async def test_so_it_does_where_there_is_too_much_text_for_a_whole_one(
        self, ada: httpx.AsyncClient, old: list[int], sql: asyncpg.Connection
    ) -> None:
        await sql.execute("UPDATE tasks SET description = repeat('x', 600000)")
        body = {"operations": [{"op": "complete", "id": each} for each in old]}
        mine = {"idempotency-key": "k"}
        brief = (await ada.post(f"{BATCH}?return=minimal", json=body, headers=mine)).json()["data"]
        again = [each["data"] for each in (await ada.post(BATCH, json=body, headers=mine)).json()["data"]]
        assert [len(each.get("description", "")) for each in again] == [600_000] * 7 + [0]
        assert [{"id": each["id"], "version": each["version"]} for each in again] == [each["data"] for each in brief]

    async def test_long_descriptions_are_in_the_answer_as_far_as_there_is_room(
        self, ada: httpx.AsyncClient, old: list[int], sql: asyncpg.Connection
    ) -> None:
        body = {"operations": [{"op": "complete", "id": each} for each in old]}
        gone = {"operations": [{"op": "delete", "id": old[0]}]}
        results = (await ada.post(BATCH, json=body)).json()["data"]
        assert [each["data"]["description"] for each in results] == [OLD] * 8
        assert not answers.size

        before = (await ada.get(LIST)).headers["etag"]
        with answers.reserved(MAX_OWNER_BYTES - 1, "ada"):
            full = await ada.post(BATCH, json=body)
            assert (full.status_code, full.headers["retry-after"]) == (503, "1")
            assert (
                await ada.post(BATCH, json=body, params={"return": "minimal", "dry_run": "true"})
            ).status_code == 200
        await sql.execute("UPDATE tasks SET description = repeat('x', 600000)")
        large = await ada.post(BATCH, json=body)
        assert (large.status_code, large.json()["error"]["fields"][0]["field"]) == (422, "return")
        assert not answers.size
        assert (await ada.get(LIST)).headers["etag"] != before  # by the UPDATE, and nothing else
        assert not any(task["completed"] is False for task in (await ada.get(LIST)).json()["data"])
        assert (await ada.post(BATCH, json=gone)).status_code == 200


async def test_a_large_answer_that_only_reads_is_refused_while_there_is_no_room(
    ada: httpx.AsyncClient, old: list[int]
) -> None:
    path = f"{LIST}/{old[0]}"
    with answers.reserved(MAX_OWNER_BYTES, "ada"):
        for each in (path, LIST, f"{LIST}?limit=2", f"{path}/history"):
            refused = await ada.get(each)
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1"), each
        assert (await ada.get(f"{LIST}?fields=id")).status_code == 200
        assert (await ada.patch(f"{path}/complete")).json()["data"]["completed"] is True  # it is done, and told
    assert not answers.size
    assert (await ada.get(path)).status_code == 200


def test_a_query_of_everything_is_the_one_without_parameters() -> None:
    assert Query() == pages.EVERYTHING


async def test_a_list_that_may_soon_be_long_is_remembered_as_any_other(
    ada: httpx.AsyncClient, sql: asyncpg.Connection
) -> None:
    await sql.execute("""INSERT INTO "user" (id, name, email) VALUES ('ada', '', 'ada@x')""")
    await sql.execute(ADD, MAX_ROWS - 100, None, False)
    first, *others = [await ada.get(LIST) for _ in range(4)]
    assert len(ids(first)) == MAX_ROWS - 100
    assert {answer.content for answer in others} == {first.content}
    await sql.execute(ADD, 1, None, False)
    assert len(ids(await ada.get(LIST))) == MAX_ROWS - 99
