"""The list: what can be asked of it, page by page; and what it costs to ask again."""

import asyncio
from typing import Any
from urllib.parse import urlencode

import asyncpg
import httpx
import msgspec
import pytest

from app.db.engine import database
from app.db.statements import Statement
from app.tasks.listing import cache
from app.tasks.listing.cache import ListCache, State
from app.tasks.listing.parameters import SHOWN_FIELDS, SORTS, Query
from app.tasks.search import words
from app.tasks.search.indexing import indexer
from app.web import cursors
from app.web.cursors import Place, seal, unseal
from app.web.query import MAX_QUERY_BYTES, InvalidCursor

LIST = "/api/tasks"


async def add(client: httpx.AsyncClient, *titles: str, **more: Any) -> list[dict[str, Any]]:
    answers = [await client.post(LIST, json={"title": title, **more}) for title in titles]
    return [answer.json()["data"] for answer in answers]


async def ask(client: httpx.AsyncClient, **parameters: Any) -> dict[str, Any]:
    answer = await client.get(LIST, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def titles(client: httpx.AsyncClient, **parameters: Any) -> list[str]:
    return [task["title"] for task in (await ask(client, **parameters))["data"]]


async def refused(client: httpx.AsyncClient, query: str) -> tuple[str, str, str]:
    answer = await client.get(f"{LIST}?{query}")
    error = answer.json()["error"]
    assert answer.status_code == 422, answer.text
    assert [each["message"] for each in error["fields"]] == [error["message"]]
    return error["code"], error["fields"][0]["field"], error["message"]


class Rows:
    """What the database answers, counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.counts: list[int] = []
        fetch = database.fetch

        async def counted(statement: Statement, **values: Any) -> list[asyncpg.Record]:
            rows = await fetch(statement, **values)
            self.counts.append(len(rows))
            return rows

        monkeypatch.setattr(database, "fetch", counted)


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> Rows:
    monkeypatch.setattr("app.tasks.listing.pages.lists", ListCache())
    return Rows(monkeypatch)


class TestAsBefore:
    async def test_with_no_parameter_it_is_all_tasks_newest_first_and_no_page(self, ada: httpx.AsyncClient) -> None:
        tasks = await add(ada, "a", "b", "c")
        for path in (LIST, f"{LIST}/", f"{LIST}?"):
            assert (await ada.get(path)).json() == {"data": tasks[::-1]}

    async def test_who_has_none_gets_none(self, ada: httpx.AsyncClient) -> None:
        answer = await ada.get(LIST)
        assert (answer.json(), "etag" in answer.headers) == ({"data": []}, False)
        assert await ask(ada, count="true", q="x") == {"data": [], "page": {"next": None, "total": 0}}

    async def test_tasks_that_were_put_in_past_the_triggers_are_listed_without_a_tag(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await add(ada, "a")
        await sql.execute("DELETE FROM revisions")
        answer = await ada.get(LIST)
        assert [task["title"] for task in answer.json()["data"]] == ["a"]
        assert "etag" not in answer.headers


class TestEntityTag:
    async def test_a_list_that_has_not_changed_is_304_and_no_row_is_read(
        self, ada: httpx.AsyncClient, rows: Rows
    ) -> None:
        await add(ada, "a", "b")
        for query in ("", "?limit=1", "?sort=title&count=true", "?q=a"):
            first = await ada.get(LIST + query)
            tag = first.headers["etag"]
            assert first.headers["cache-control"] == "private, no-cache"
            rows.counts.clear()
            for sent in (tag, f"W/{tag}", f'"x", {tag}'):
                again = await ada.get(LIST + query, headers={"if-none-match": sent})
                assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
            assert rows.counts == [1, 1, 1]

    @pytest.mark.parametrize("change", ["post", "put", "complete", "patch", "delete", "psql"])
    async def test_every_change_makes_another(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, change: str
    ) -> None:
        path = f"{LIST}/{(await add(ada, 'a'))[0]['id']}"
        before = (await ada.get(LIST)).headers["etag"]
        match change:
            case "post":
                await add(ada, "b")
            case "put":
                await ada.put(path, json={"title": "b"})
            case "complete":
                await ada.patch(f"{path}/complete")
            case "patch":
                await ada.patch(path, json={"title": "b"})
            case "delete":
                await ada.delete(path)
            case _:
                await sql.execute("UPDATE tasks SET title = 'b'")
        after = await ada.get(LIST, headers={"if-none-match": before})
        assert (after.status_code, after.headers["etag"] != before) == (200, True)

    async def test_none_of_a_future_that_was_lost_comes_back_with_another_list(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await add(ada, "a")
        backup = await sql.fetchrow("SELECT epoch, revision FROM revisions")
        await add(ada, "lost")
        for _ in range(3):
            known = (await ada.get(LIST)).headers["etag"]
        await sql.execute("SET session_replication_role = replica; DELETE FROM tasks WHERE title = 'lost'")
        await sql.execute("UPDATE revisions SET epoch = $1, revision = $2", *backup)
        await sql.execute("RESET session_replication_role")
        await add(ada, "b")
        again = await ada.get(LIST, headers={"if-none-match": known})
        assert again.status_code == 200
        assert [task["title"] for task in again.json()["data"]] == ["b", "a"]

    async def test_two_users_lists_never_have_the_same(self, ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
        await add(ada, "a")
        await add(bob, "b")
        hers = (await ada.get(LIST)).headers["etag"]
        assert (await bob.get(LIST, headers={"if-none-match": hers})).status_code == 200

    async def test_whatever_else_a_client_claims_to_have_the_list_comes(self, ada: httpx.AsyncClient) -> None:
        await add(ada, "a")
        for sent in ('"r0-0"', '"r1-', '"v1"', '"rff-99999999999999999999"', '"r{}-1"', '"' + "x" * 5000 + '"'):
            assert (await ada.get(LIST, headers={"if-none-match": sent})).status_code == 200
        assert (await ada.get(LIST, headers={"if-none-match": "*"})).status_code == 304

    @pytest.mark.parametrize("query", ["", "?limit=1", "?q=a"])
    async def test_another_spelling_of_it_is_another(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, query: str
    ) -> None:
        await add(ada, "a")
        await sql.execute("UPDATE revisions SET epoch = 255")
        got = await ada.get(LIST + query)
        assert got.headers["etag"].startswith('"rff-')
        again = await ada.get(LIST + query, headers={"if-none-match": got.headers["etag"].replace("rff", "r0ff")})
        assert (again.status_code, again.content) == (200, got.content)

    async def test_head_is_get_without_a_body(self, ada: httpx.AsyncClient) -> None:
        await add(ada, "a", "b")
        for query in ("", "?limit=1"):
            got, head = await ada.get(LIST + query), await ada.head(LIST + query)
            assert (head.status_code, head.content) == (200, b"")
            assert head.headers["etag"] == got.headers["etag"]
            # RFC 9110, section 9.3.2: these hang on what is not read.
            assert {*got.headers} - {*head.headers} == {"content-length", "link"} & {*got.headers}
            known = await ada.head(LIST + query, headers={"if-none-match": got.headers["etag"]})
            assert known.status_code == 304

    async def test_head_reads_no_task(self, ada: httpx.AsyncClient, rows: Rows) -> None:
        await add(ada, "a", "b")
        cursor = (await ada.get(f"{LIST}?limit=1")).json()["page"]["next"]
        rows.counts.clear()
        assert (await ada.head(LIST)).status_code == (await ada.head(f"{LIST}?cursor={cursor}")).status_code == 200
        assert (await ada.head(f"{LIST}?cursor={cursor[::-1]}")).status_code == 422
        assert rows.counts == [1, 1]


class TestRemembered:
    async def test_a_list_that_was_sent_before_is_not_read_again(self, ada: httpx.AsyncClient, rows: Rows) -> None:
        await add(ada, "a", "b")
        first = await ada.get(LIST)
        await ada.get(LIST)
        assert rows.counts[-2:] == [3, 3]  # once might be all
        rows.counts.clear()
        again = await ada.get(LIST)
        assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
        assert rows.counts == [1]

    async def test_it_is_forgotten_with_the_account(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        await add(ada, "a")
        for _ in range(3):
            before = await ada.get(LIST)
        await sql.execute('DELETE FROM "user"')
        assert (await ada.get(LIST)).json() == {"data": []}
        await add(ada, "b")  # the first revision once more
        after = await ada.get(LIST, headers={"if-none-match": before.headers["etag"]})
        assert [task["title"] for task in after.json()["data"]] == ["b"]

    async def test_whoever_deletes_a_task_of_it_by_hand_is_noticed_and_one_in_the_trash_is_none_of_it(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        _, there, trashed = await add(ada, "gone", "there", "trashed")
        await ada.delete(f"{LIST}/{trashed['id']}")
        for _ in range(3):
            before = await ada.get(LIST)

        await sql.execute("DELETE FROM tasks WHERE title = 'trashed'")
        assert (await ada.get(LIST)).headers["etag"] == before.headers["etag"]
        await sql.execute("DELETE FROM tasks WHERE title = 'gone'")

        after = await ada.get(LIST, headers={"if-none-match": before.headers["etag"]})
        assert (after.status_code, after.json()["data"]) == (200, [there])

    async def test_a_task_that_is_given_to_somebody_else_by_hand_is_in_their_list_and_in_no_other(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await add(ada, "given", "kept")
        await add(bob, "had")
        for _ in range(3):
            before = [await each.get(LIST) for each in (ada, bob)]

        await sql.execute("UPDATE tasks SET user_id = 'bob' WHERE title = 'given'")

        assert [await titles(each) for each in (ada, bob)] == [["kept"], ["had", "given"]]
        known = [{"if-none-match": each.headers["etag"]} for each in before]
        after = [await ada.get(LIST, headers=known[0]), await bob.get(LIST, headers=known[1])]
        assert [each.status_code for each in after] == [200, 200]

    def test_it_keeps_what_was_asked_for_last_and_not_more_than_it_may(self) -> None:
        lists = ListCache(10)
        for owner in "abc":
            for _ in range(2):
                lists.keep(owner, State(1, 1), b"1234")
            assert lists.find("a") == (State(1, 1), b"1234")
        assert (lists.find("b"), lists.size) == (None, 8)
        for _ in range(2):
            lists.keep("a", State(1, 2), b"12")
        assert (lists.find("a"), lists.size) == ((State(1, 2), b"12"), 6)

    def test_one_that_is_too_long_is_not_kept_nor_what_was_before_it(self) -> None:
        lists = ListCache()
        for body in (b"1", bytes(cache.MAX_LIST_BYTES + 1)):
            for _ in range(2):
                lists.keep("a", State(1, len(body)), body)
        assert (lists.find("a"), lists.size) == (None, 0)

    def test_it_knows_of_so_many_owners_and_no_more(self) -> None:
        lists = ListCache()
        lists.keep("a", State(1, 1), b"1")
        for number in range(cache.MAX_SEEN):
            lists.keep(f"{number}", State(1, 1), b"1")
        lists.keep("a", State(1, 1), b"1")
        assert lists.find("a") is None


class TestPages:
    @pytest.mark.parametrize("sort", SORTS)
    @pytest.mark.parametrize("limit", [1, 3, 7])
    async def test_together_they_are_the_whole_list_in_its_order(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, sort: str, limit: int
    ) -> None:
        await add(ada, "Zebra", "ant", "Ant", "äpfel", "b", "b", "B b")
        await sql.execute("UPDATE tasks SET completed = true WHERE id % 2 = 0")  # at one moment
        parameters = {"sort": sort, "q": "a OR b"} if sort == "relevance" else {"sort": sort}
        whole = await ask(ada, **parameters)
        path: str | None = f"{LIST}?{httpx.QueryParams(parameters)}&limit={limit}"
        found: list[Any] = []
        while path:
            answer = await ada.get(path)
            page = answer.json()
            assert len(page["data"]) <= limit
            found += page["data"]
            link = answer.headers.get("link", "")
            assert (page["page"]["next"] is None) == (link == "")
            path = link[1 : link.index(">")] if link else None
            if path:
                assert link.endswith('; rel="next"')
                assert httpx.URL(path).params["cursor"] == page["page"]["next"]
        assert found == whole["data"]
        assert whole["page"] == {"next": None}

    async def test_a_cursor_keeps_its_limit_and_takes_another(self, ada: httpx.AsyncClient) -> None:
        await add(ada, *"abcdef")
        cursor = (await ask(ada, limit=2))["page"]["next"]
        assert await titles(ada, cursor=cursor) == ["d", "c"]
        assert await titles(ada, cursor=cursor, limit=3) == ["d", "c", "b"]

    async def test_what_stands_still_is_seen_once_whatever_is_written_meanwhile(self, ada: httpx.AsyncClient) -> None:
        tasks = await add(ada, *"abcdef")
        first = await ask(ada, limit=2)
        await ada.delete(f"{LIST}/{tasks[4]['id']}")  # the last of the first page
        await ada.put(f"{LIST}/{tasks[5]['id']}", json={"title": "changed"})
        await add(ada, "new")
        assert await titles(ada, cursor=first["page"]["next"], limit=200) == ["d", "c", "b", "a"]

    @pytest.mark.parametrize("sort", SORTS)
    async def test_a_title_of_any_length_and_kind_can_be_the_place(self, ada: httpx.AsyncClient, sort: str) -> None:
        rare = ("\U0001f9c0", "\u00e9", "\u0001", '"', "\\", "\ufdfa", "\U0001d54f", "\u2028", "\U0010ffff", "9")
        long = [f"milk {char * 494}x" for char in rare]
        await add(ada, *long)
        # Of what a client may ask besides, as much as there is room for.
        query = {"sort": sort, "limit": "1", "q": "milk " + "-\U0001f9c0 " * 60, "fields": ",".join(SHOWN_FIELDS)}
        query |= dict.fromkeys(("created_after", "updated_after"), f"2020-01-01T00:00:00.{'1' * 2000}Z")
        seen, path = [], f"{LIST}?{urlencode(query)}"
        while path:
            answer = await ada.get(path)
            assert answer.status_code == 200, answer.text
            seen += [task["title"] for task in answer.json()["data"]]
            path = answer.headers.get("link", "").removeprefix("<").removesuffix('>; rel="next"')
            assert len(path) < MAX_QUERY_BYTES
        assert sorted(seen) == sorted(long)

    async def test_count_tells_how_many_there_are_on_all_of_them(self, ada: httpx.AsyncClient) -> None:
        tasks = await add(ada, *"abc")
        await ada.patch(f"{LIST}/{tasks[0]['id']}/complete")
        first = await ask(ada, limit=2, count="true")
        assert first["page"]["total"] == 3
        assert (await ask(ada, count="true", cursor=first["page"]["next"]))["page"] == {"next": None, "total": 3}
        assert (await ask(ada, count="true", completed="false"))["page"]["total"] == 2
        assert (await ask(ada, count="true", q="a"))["page"]["total"] == 1
        assert (await ask(ada, count="false"))["page"] == {"next": None}


class TestCursor:
    def test_it_has_one_spelling(self) -> None:
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        places = [Place(1, "x" * length, 1) for length in range(3)]
        sealed = [cursor for cursor in (seal("secret", "a list", place) for place in places) if len(cursor) % 4]
        assert sealed
        for cursor in sealed:
            assert unseal("secret", "a list", cursor)
            with pytest.raises(InvalidCursor):  # the bits that base64 has too many are others
                unseal("secret", "a list", cursor[:-1] + letters[letters.index(cursor[-1]) ^ 1])

    @pytest.fixture
    async def cursor(self, ada: httpx.AsyncClient) -> str:
        await add(ada, "a", "b", "c")
        return (await ask(ada, limit=1, sort="title", completed="false"))["page"]["next"]

    async def test_it_is_for_its_own_user_and_query_alone(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, cursor: str
    ) -> None:
        good = f"sort=title&completed=false&cursor={cursor}"
        assert (await ada.get(f"{LIST}?{good}")).status_code == 200
        assert (await refused(bob, good))[0] == "INVALID_CURSOR"
        for other in ("sort=title", "completed=false", "sort=title&completed=true", "sort=-title&completed=false"):
            assert (await refused(ada, f"{other}&cursor={cursor}"))[:2] == ("INVALID_CURSOR", "cursor")

    async def test_the_least_change_of_it_is_noticed(self, ada: httpx.AsyncClient, cursor: str) -> None:
        for place in range(len(cursor)):
            other = "A" if cursor[place] != "A" else "B"
            spoilt = cursor[:place] + other + cursor[place + 1 :]
            assert (await refused(ada, f"sort=title&completed=false&cursor={spoilt}"))[0] == "INVALID_CURSOR"
        for spoilt in ("", "x", cursor[:-1], cursor + "A", cursor + "=", "é" * 30, "A" * 5000, "A" * 40):
            answer = await ada.get(LIST, params={"sort": "title", "completed": "false", "cursor": spoilt})
            assert (answer.status_code, answer.json()["error"]["code"]) == (422, "INVALID_CURSOR")

    def test_one_of_a_version_that_wrote_places_in_json_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as earlier:
            earlier.setattr(cursors.msgspec, "msgpack", msgspec.json)
            cursor = seal("secret", "about", Place(1, "a", None))
        with pytest.raises(InvalidCursor):
            unseal("secret", "about", cursor)

    def test_another_secret_makes_others(self) -> None:
        with pytest.raises(InvalidCursor):
            unseal("another", "about", seal("secret", "about", Place(1, "a", None)))


class TestFilters:
    async def test_completed(self, ada: httpx.AsyncClient) -> None:
        tasks = await add(ada, "a", "b")
        await ada.patch(f"{LIST}/{tasks[0]['id']}/complete")
        assert await titles(ada, completed="true") == ["a"]
        assert await titles(ada, completed="false") == ["b"]

    async def test_times_leave_out_the_moment_itself_and_know_nanoseconds(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await add(ada, "a")
        await sql.execute("SET session_replication_role = replica")
        stamp = "'2026-02-28T23:30:00.123Z'"
        await sql.execute(f"UPDATE tasks SET created_at = {stamp}, updated_at = {stamp}, version = 9")
        await sql.execute("RESET session_replication_role")
        there: list[str] = ["a"]
        for name, moment, found in [
            ("created_after", "2026-02-28T23:30:00.122999999Z", there),
            ("created_after", "2026-02-28T23:30:00.123Z", []),
            ("created_after", "2026-02-28T23:30:00.1230001Z", []),
            ("created_before", "2026-02-28T23:30:00.123000001Z", there),
            ("created_before", "2026-02-28T23:30:00.123000000Z", []),
            ("created_before", "2026-03-01T01:30:00.124+02:00", there),
            ("created_after", "2026-02-28t23:29:60z", there),
            ("created_before", "2026-02-28T23:29:60.124Z", there),
            ("updated_after", "2026-02-28T23:30:00Z", there),
            ("updated_after", "2026-02-28T18:30:00.123-05:00", []),
            ("created_after", "0001-01-01T00:00:00Z", there),
            ("created_before", "9999-12-31T23:59:59.999999Z", there),
            ("created_before", "9999-12-31T23:59:59.9999999Z", there),
            ("created_before", "9999-12-31T23:59:60Z", there),
            ("created_before", "9999-12-31T23:59:59-01:00", there),
            ("created_after", "9999-12-31T23:59:59-01:00", []),
            ("updated_after", "0001-01-01T00:00:00+01:00", there),
        ]:
            assert await titles(ada, **{name: moment}) == found, (name, moment)

    async def test_fields_are_those_and_no_others(self, ada: httpx.AsyncClient) -> None:
        (task,) = await add(ada, "a")
        assert (await ask(ada, fields="title,id"))["data"] == [{"title": "a", "id": task["id"]}]
        assert (await ask(ada, fields=",".join(task)))["data"] == [task]

    async def test_fields_may_be_one_parameter_each_as_generated_clients_send_them(
        self, ada: httpx.AsyncClient
    ) -> None:
        await add(ada, "a", "b")
        with_commas = await ada.get("/api/tasks?limit=1&fields=id,title,version")
        for query in ("fields=id&fields=title&limit=1&fields=version", "limit=1&fields=id&fields=title%2Cversion"):
            answer = await ada.get(f"/api/tasks?{query}")
            assert answer.json() == with_commas.json()
            following = await ada.get(answer.links["next"]["url"])
            assert [[*task] for task in following.json()["data"]] == [["id", "title", "version"]]

    async def test_title_sorts_as_people_expect(self, ada: httpx.AsyncClient) -> None:
        await add(ada, "zebra", "Äpfel", "apfel", "Ähre", "Straße", "strasse", "Strasze", "Ørsted", "Œuvre", "b")
        assert await titles(ada, sort="title") == [
            "Ähre", "apfel", "Äpfel", "b", "Œuvre", "Ørsted", "Straße", "strasse", "Strasze", "zebra",
        ]  # fmt: skip


class TestSearch:
    @pytest.mark.parametrize(
        ("q", "found"),
        [
            ("milk", ["milk"]),
            ("MIL", ["milk"]),
            ("lk", []),
            ("two milk", ["milk"]),
            ("eclair", ["éclair"]),
            ("ÉCL", ["éclair"]),
            ("e\u0301cl", ["éclair"]),
            ('"oat drink"', ["oat"]),
            ('"drink oat"', []),
            ('"oat dri"', []),
            ('"oat dri', ["oat"]),
            ("milk or oat", ["oat", "milk"]),
            ("-milk", ["percent", "éclair", "oat"]),
            ("drink -oat", ["milk"]),
            ("100%", ["percent"]),
            ("file_na", ["percent"]),
            ("c:\\temp\\x", ["percent"]),
            ("foo-bar", ["percent"]),
            ("bar's", ["percent"]),
            ("ada@exam", ["percent"]),
            ("1.5", ["percent"]),
            ("日本", ["percent"]),
            ("🥛mil", ["milk"]),
            *[
                (mark, [])
                for mark in ["%", "_", "\\", "'", '"', "''", '""', "🎉", "-", "--", "!", ":*", "()", "& |", "<->"]
            ],
        ],
    )
    async def test_it_finds_words_and_the_rest_is_just_text(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, q: str, found: list[str]
    ) -> None:
        await add(bob, "milk oat éclair percent 100", description="Two litres")
        await add(ada, "milk", description="Two litres to drink 🥛milk")
        await add(ada, "oat", description="an oat-drink")
        await add(ada, "éclair")
        odd = "100% file_name C:\\temp\\x foo-bar's ada@example.com 1.5 日本語 < > & | ! ( ) : *"
        await add(ada, "percent", description=odd)
        assert await titles(ada, q=q) == found

    async def test_it_knows_every_change(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        (task,) = await add(ada, "milk")
        path = f"{LIST}/{task['id']}"
        assert await titles(ada, q="milk") == ["milk"]
        await ada.put(path, json={"title": "oats"})
        assert (await titles(ada, q="milk"), await titles(ada, q="oats")) == ([], ["oats"])
        await ada.delete(path)
        assert await titles(ada, q="oats") == []
        await sql.execute("DELETE FROM tasks")
        assert await sql.fetchval("SELECT count(*) FROM task_words") == 0
        assert await sql.fetchval("SELECT count(*) FROM task_titles") == 0

    async def test_a_task_that_is_given_to_somebody_else_is_found_there(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await add(ada, "milk")
        await add(bob, "oats")
        assert await titles(ada, q="milk") == ["milk"]
        await sql.execute("UPDATE tasks SET user_id = 'bob' WHERE title = 'milk'")
        assert (await titles(ada, q="milk"), await titles(bob, q="milk")) == ([], ["milk"])

    async def test_the_title_weighs_more_than_the_description(self, ada: httpx.AsyncClient) -> None:
        await add(ada, "milk")
        await add(ada, "a", description="milk")
        await add(ada, "milk milk", description="milk")
        assert await titles(ada, q="milk", sort="relevance") == ["milk milk", "milk", "a"]

    @pytest.mark.slow
    async def test_texts_of_any_length_are_searched_as_far_as_they_can_be(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await add(ada, "short")
        from_before = {
            "a": "first " + "x" * 900_000,
            "b": " ".join(f"word{number}" for number in range(80_000)),
            "c": "ﷺ" * 300_000,
            "d": "\U00020000 " * 200_000,
        }
        for task in from_before.items():
            await sql.execute("INSERT INTO tasks (user_id, title, description) VALUES ('ada', $1, $2)", *task)
        assert await titles(ada, q="first") == ["a"]
        assert await titles(ada, q="x" * 200) == ["a"]
        assert await titles(ada, q="word77") == ["b"]

    async def test_concurrent_searches_index_the_same_words(self, ada: httpx.AsyncClient) -> None:
        await asyncio.gather(*[add(ada, f"milk {number}") for number in range(30)])
        found = await asyncio.gather(*[titles(ada, q="milk") for _ in range(10)])
        assert [len(each) for each in found] == [30] * 10

    async def test_a_search_while_tasks_change_answers(self, ada: httpx.AsyncClient) -> None:
        await add(ada, "milk")

        async def search() -> int:
            return len(await titles(ada, q="milk"))

        found = await asyncio.gather(*[step for _ in range(20) for step in (add(ada, "oats"), search())])
        assert [each for each in found if isinstance(each, int)] == [1] * 20

    async def test_what_changes_while_it_learns_is_not_left_out_for_good(
        self, ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        bring_up_to_date = indexer.bring_up_to_date

        async def and_then_change(*what: Any) -> None:
            await bring_up_to_date(*what)
            monkeypatch.undo()
            await add(ada, "milk too")

        await add(ada, "milk")
        monkeypatch.setattr(indexer, "bring_up_to_date", and_then_change)
        short = await ada.get(f"{LIST}?q=milk")
        assert [task["title"] for task in short.json()["data"]] == ["milk"]
        assert "etag" not in short.headers
        known = (await ada.get(LIST)).headers["etag"]
        assert await titles(ada, q="milk") == ["milk too", "milk"]
        assert (await ada.get(f"{LIST}?q=milk", headers={"if-none-match": known})).status_code == 304

    async def test_nobody_but_the_search_sees_the_words(self, ada: httpx.AsyncClient) -> None:
        await add(ada, "milk")
        assert await titles(ada, q="milk") == ["milk"]
        assert await database.pool.run("SELECT * FROM task_words", []) == []
        wanted = f"'{words.scope('ada')}milk'"
        found = "SELECT * FROM tasks_found('ada', $1, $2, false)"
        assert await database.pool.run(found, [words.scope("ada"), wanted]) == []


class TestRefusals:
    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("limit=0", "limit"), ("limit=201", "limit"), ("limit=-1", "limit"), ("limit=1.0", "limit"),
            ("limit=01", "limit"), ("limit=%2B1", "limit"), ("limit=", "limit"), ("limit", "limit"),
            ("limit=%D9%A1", "limit"), ("limit=99999999999999999999", "limit"),
            ("completed=1", "completed"), ("completed=True", "completed"), ("completed=null", "completed"),
            ("count=yes", "count"), ("count=", "count"),
            ("sort=id", "sort"), ("sort=-", "sort"), ("sort=", "sort"), ("sort=+title", "sort"),
            ("sort=-relevance&q=x", "sort"), ("sort=relevance", "sort"), ("sort=Title", "sort"),
            ("q=", "q"), ("q=%20", "q"), ("q=%00", "q"), (f"q={'x' * 201}", "q"),
            ("fields=", "fields"), ("fields=id,", "fields"), ("fields=id,id", "fields"), ("fields=nope", "fields"),
            ("fields=id,%20title", "fields"), ("fields=id&fields=id", "fields"), ("fields=id&fields=", "fields"),
            ("fields=id&fields=nope", "fields"), ("sort=title&fields=id&sort=title", "sort"),
            ("created_after=2026", "created_after"), ("created_after=2026-01-01", "created_after"),
            ("created_after=2026-01-01T00:00:00", "created_after"), ("created_before=now", "created_before"),
            ("created_before=2026-02-30T00:00:00Z", "created_before"),
            ("created_before=2026-01-01T00:00:00+02:00", "created_before"),
            ("created_before=2026-01-01T00:00:00%2B25:00", "created_before"),
            ("updated_after=0000-01-01T00:00:00Z", "updated_after"), ("updated_after=infinity", "updated_after"),
            ("updated_after=2026-01-01T24:00:00Z", "updated_after"),
            ("updated_after=%D9%A2026-01-01T00:00:00Z", "updated_after"),
            ("limit=1&limit=1", "limit"), ("limit=1&%6Cimit=2", "limit"),
            ("Limit=1", "Limit"), ("page=2", "page"), ("User_id=bob", "User_id"), ("%20limit=1", " limit"),
            ("=", ""), (f"{'x' * 80}=1", "x" * 50),
            ("q=%ff", "query"), ("q=%ed%a0%80", "query"), ("q=%", "query"), ("q=%4", "query"), ("%zz=1", "query"),
            (f"q={'x' * 9000}", "query"),
        ],
    )  # fmt: skip
    async def test_they_name_the_parameter_and_what_is_allowed(
        self, ada: httpx.AsyncClient, query: str, field: str
    ) -> None:
        code, named, message = await refused(ada, query)
        assert (code, named) == ("VALIDATION_ERROR", field)
        assert len(message) < 400  # nothing of what was sent is told back at length

    async def test_an_unknown_one_is_told_which_there_are(self, ada: httpx.AsyncClient) -> None:
        names = ", ".join(name for name in Query.__struct_fields__ if name != "said")
        sentence = f"There is no such parameter here, only {names}"
        assert await refused(ada, "lmit=1") == ("VALIDATION_ERROR", "lmit", sentence)

    async def test_they_come_after_401_and_415(self, ada: httpx.AsyncClient, stranger: httpx.AsyncClient) -> None:
        assert (await stranger.get(f"{LIST}?x=1")).status_code == 401
        gzipped = {"content-encoding": "gzip"}
        answer = await ada.request("GET", f"{LIST}?x=1", content=b"x", headers=gzipped)
        assert answer.status_code == 415


@pytest.mark.parametrize(
    ("path", "body"),
    [(LIST, {"title": "New"}), (f"{LIST}/batch", {"operations": [{"op": "create", "data": {"title": "New"}}] * 2})],
)
async def test_a_task_that_had_to_wait_is_found_by_who_asks_for_what_is_later_than_what_they_have(
    ada: httpx.AsyncClient, sql: asyncpg.Connection, path: str, body: dict[str, Any]
) -> None:
    [first] = await add(ada, "First")
    waiting = (
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%\"revisions\"%'"
    )
    async with sql.transaction():
        await sql.execute("SELECT 1 FROM revisions WHERE user_id = 'ada' FOR UPDATE")
        making = asyncio.create_task(ada.post(path, json=body))
        async with asyncio.timeout(3):
            while not await sql.fetchval(waiting):
                await sql.execute("SELECT pg_sleep(0.01), pg_stat_clear_snapshot()")
        await sql.execute("UPDATE tasks SET title = 'Changed' WHERE id = $1", first["id"])
    assert (await making).status_code < 300

    changed = (await ada.get(f"{LIST}/{first['id']}")).json()["data"]
    made = [task for task in (await ask(ada))["data"] if task["title"] == "New"]
    assert made
    assert all(task["created_at"] == task["updated_at"] >= changed["updated_at"] for task in made)
