"""The labels of a task: a set of names, of which each is one label of its owner's, however it is written."""

import asyncio
from typing import Any

import asyncpg
import httpx
import pytest

from app.tasks.columns import checked_columns
from app.tasks.label_names import MAX_LABELS_OF_TASK, checked_label
from app.web.failures import Invalid
from tests.tasks.test_planning import refused

TASKS = "/api/tasks"


async def make(client: httpx.AsyncClient, *labels: str, **others: Any) -> dict[str, Any]:
    answer = await client.post(TASKS, json={"title": "x", "labels": [*labels], **others})
    assert answer.status_code == 201, answer.text
    return answer.json()["data"]


async def labels_of(client: httpx.AsyncClient, task: dict[str, Any]) -> list[str]:
    return (await client.get(f"{TASKS}/{task['id']}")).json()["data"]["labels"]


async def kept_labels(sql: asyncpg.Connection) -> list[tuple[str, str, str]]:
    return [tuple(row) for row in await sql.fetch("SELECT user_id, key, name FROM task_labels ORDER BY id")]


class TestNames:
    @pytest.mark.parametrize(
        ("sent", "shown"),
        [
            ([], []),
            (None, []),
            (["home"], ["home"]),
            ([" home\t", "b", "a"], ["home", "b", "a"]),
            (["Home", "home", "HOME"], ["Home"]),
            (["caf\u00e9", "cafe\u0301", "CAFE\u0301"], ["caf\u00e9"]),
            (["cafe\u0301"], ["caf\u00e9"]),
            (["stra\u00dfe", "STRASSE"], ["stra\u00dfe"]),
            (["\u0130stanbul", "i\u0307stanbul"], ["\u0130stanbul"]),
            (["\u0131", "i"], ["\u0131", "i"]),  # not one in any locale but Turkish
            (["\u03a3\u03af\u03c3\u03c5\u03c6\u03bf\u03c2", "\u03a3\u038a\u03a3\u03a5\u03a6\u039f\u03a3"], None),
            (["a/b", "...", ".net", "#", "%2F", "a,b", '"', "\\", "\U0001f600"], None),
            (["x" * 50], ["x" * 50]),
            (["e\u0301" * 50], ["\u00e9" * 50]),
            (["\u0301\u0302"], ["\u0301\u0302"]),
            (["a" + "\u0301" * 40], ["\u00e1" + "\u0301" * 29]),  # more than 30 marks in a row are no text
        ],
    )
    async def test_they_are_shown_as_they_were_written_first(
        self, ada: httpx.AsyncClient, sent: list[str] | None, shown: list[str] | None
    ) -> None:
        answer = await ada.post(TASKS, json={"title": "x", "labels": sent})
        assert answer.status_code == 201, answer.text
        shown = shown if shown is not None else (sent or [])[:1] if "Σ" in str(sent) else sent
        assert answer.json()["data"]["labels"] == shown
        assert await labels_of(ada, answer.json()["data"]) == shown

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
    @pytest.mark.parametrize(
        ("sent", "message"),
        [
            ([f"label {n}" for n in range(51)], "A task can have 50 labels at most"),
            (["a"] * 51, "A task can have 50 labels at most"),
            ([""], "A label must have 1 to 50 characters"),
            (["a", " \t "], "A label must have 1 to 50 characters"),
            (["\u200b\u2060"], "A label must have 1 to 50 characters"),
            (["x" * 51], "A label must have 1 to 50 characters"),
            (["\u0958" * 50], "A label must have 1 to 50 characters"),  # two each in normal form C
            (["a\u0000b"], "A label must not contain control characters"),
            (["a\nb"], "A label must not contain control characters"),
            (["a\u0085b"], "A label must not contain control characters"),
            (["."], "A label must not be . or .."),
            ([" .. "], "A label must not be . or .."),
        ],
    )
    async def test_these_are_refused(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection, method: str, sent: list[str], message: str
    ) -> None:
        task = await make(ada)
        path = TASKS if method == "POST" else f"{TASKS}/{task['id']}"
        assert await refused(ada, method, path, {"title": "x", "labels": sent}, "labels") == message
        assert await kept_labels(sql) == []

    @pytest.mark.parametrize("sent", ['"home"', "[1]", "[null]", "[[]]", "{}", '["\\ud800"]', '[["a", "b"]]'])
    async def test_what_is_no_list_of_names_is_refused(self, ada: httpx.AsyncClient, sent: str) -> None:
        answer = await ada.post(TASKS, content=f'{{"title": "x", "labels": {sent}}}'.encode())
        assert answer.status_code in (400, 422)
        assert answer.json()["error"]["code"] in ("BAD_REQUEST", "VALIDATION_ERROR")

    def test_a_long_one_is_refused_as_fast_as_a_short_one(self) -> None:
        with pytest.raises(Invalid):
            checked_label("a" + "\u0301\u0316" * 400_000)


class TestChanges:
    async def test_the_first_spelling_counts_for_all_tasks_of_an_owner_and_for_no_others(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await make(ada, "Home")
        assert (await make(ada, "work", "HOME"))["labels"] == ["work", "Home"]
        assert (await make(bob, "home"))["labels"] == ["home"]
        assert [(key, name) for _, key, name in await kept_labels(sql)] == [
            ("home", "Home"),
            ("work", "work"),
            ("home", "home"),
        ]

    async def test_put_without_them_keeps_them_and_a_patch_replaces_them(self, ada: httpx.AsyncClient) -> None:
        task = await make(ada, "a", "b")
        path = f"{TASKS}/{task['id']}"
        for method, body, shown in (
            ("PUT", {"title": "y"}, ["a", "b"]),
            ("PATCH", {"priority": 3}, ["a", "b"]),
            ("PATCH", {"labels": ["c", "B"]}, ["c", "b"]),
            ("PUT", {"title": "y", "labels": ["a"]}, ["a"]),
            ("PATCH", {"labels": None}, []),
            ("PUT", {"title": "y", "labels": ["a"]}, ["a"]),
            ("PUT", {"title": "y", "labels": []}, []),
        ):
            answer = await ada.request(method, path, json=body)
            assert (answer.status_code, answer.json()["data"]["labels"]) == (200, shown)
        assert (await ada.patch(f"{path}/complete")).json()["data"]["labels"] == []

    async def test_each_label_has_a_version_of_its_own(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        task = await make(ada, "a", "b")
        other = await make(ada, "a", "c")
        versions = [row[0] for row in await sql.fetch("SELECT version FROM task_labels")]
        versions += [task["version"], other["version"]]
        assert len({*versions}) == 5
        assert await sql.fetchval("SELECT revision FROM revisions") == max(versions)
        assert await sql.fetchval("SELECT count(*) FROM task_labels WHERE created_at <> updated_at") == 0

    async def test_the_first_change_of_an_owner_may_have_labels(self, ada: httpx.AsyncClient) -> None:
        assert (await make(ada, "a"))["labels"] == ["a"]

    async def test_fields_and_the_trash_have_them(self, ada: httpx.AsyncClient) -> None:
        task = await make(ada, "a", "b")
        assert (await ada.get(f"{TASKS}?fields=labels")).json()["data"] == [{"labels": ["a", "b"]}]
        await ada.delete(f"{TASKS}/{task['id']}")
        assert (await ada.get("/api/trash")).json()["data"][0]["labels"] == ["a", "b"]
        assert (await ada.post(f"{TASKS}/{task['id']}/restore")).json()["data"]["labels"] == ["a", "b"]

    async def test_a_search_finds_their_words(self, ada: httpx.AsyncClient) -> None:
        task, other = await make(ada, "Garden work"), await make(ada)

        async def found(q: str) -> list[int]:
            return [each["id"] for each in (await ada.get(TASKS, params={"q": q})).json()["data"]]

        assert await found("garden") == [task["id"]]
        assert await found('"garden work"') == [task["id"]]
        assert await found('"x garden"') == []
        await ada.patch(f"{TASKS}/{task['id']}", json={"labels": []})
        await ada.patch(f"{TASKS}/{other['id']}", json={"labels": ["GARDEN work"]})
        assert await found("garden") == [other["id"]]

    async def test_long_lists_are_told_whole(self, ada: httpx.AsyncClient) -> None:
        """Each task has 10 KB of labels: more than fits into a statement that adds nothing up."""
        names = ["\U00010348" * 48 + f"{n:02}" for n in range(50)]
        operations = [{"op": "create", "data": {"title": "x", "labels": names}}] * 20
        for _ in range(9):
            assert (await ada.post(f"{TASKS}/batch", json={"operations": operations})).status_code == 200
        for path in (TASKS, f"{TASKS}?limit=200", f"{TASKS}?fields=labels"):
            found = (await ada.get(path)).json()["data"]
            assert found
            assert all(task["labels"] == names for task in found)

    async def test_two_devices_make_the_same_label_concurrently(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        made = await asyncio.gather(*(make(ada, name) for name in ("home", "Home", "HOME", "hOme") * 5))
        [(_, key, name)] = await kept_labels(sql)
        assert key == "home"
        assert {each["labels"][0] for each in made} == {name}


class TestHistory:
    async def test_it_tells_them_and_a_change_of_labels_alone_is_labelled(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task = await make(ada, "a")
        path = f"{TASKS}/{task['id']}"
        await ada.patch(path, json={"labels": ["a", "b"]})
        await ada.patch(path, json={"labels": [], "title": "y"})
        await ada.patch(path, json={"title": "z"})
        changes = (await ada.get(f"{path}/history")).json()["data"]
        assert [(each["action"], each["changes"].get("labels")) for each in changes] == [
            ("changed", None),
            ("changed", {"from": ["a", "b"], "to": []}),
            ("labelled", {"from": ["a"], "to": ["a", "b"]}),
            ("created", {"from": None, "to": ["a"]}),
        ]
        kept = await sql.fetch("SELECT labels FROM task_versions ORDER BY version")
        assert [row[0] for row in kept] == ['["a"]', '["a", "b"]', None]

    async def test_a_revert_brings_them_back_and_makes_those_anew_that_are_gone(
        self, ada: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task = await make(ada, "a", "Home")
        path = f"{TASKS}/{task['id']}"
        await ada.patch(path, json={"labels": []})
        await sql.execute("DELETE FROM task_labels WHERE name = 'Home'")
        answer = await ada.post(f"{path}/revert", json={"version": task["version"]})
        assert answer.json()["data"]["labels"] == ["a", "Home"]
        assert [name for *_, name in await kept_labels(sql)] == ["a", "Home"]

    async def test_a_request_that_is_sent_again_is_told_them_as_they_were(self, ada: httpx.AsyncClient) -> None:
        key = {"Idempotency-Key": "1"}
        first = await ada.post(TASKS, json={"title": "x", "labels": ["a"]}, headers=key)
        await ada.patch(f"{TASKS}/{first.json()['data']['id']}", json={"labels": ["b"]})
        again = await ada.post(TASKS, json={"title": "x", "labels": ["a"]}, headers=key)
        assert again.json() == first.json()
        assert again.headers["idempotent-replayed"] == "true"


class TestBatches:
    async def test_they_make_change_and_take_away_labels(self, ada: httpx.AsyncClient) -> None:
        one, two = await make(ada, "a"), await make(ada, "b")
        operations = [
            {"op": "create", "data": {"title": "new", "labels": ["New", "A"]}},
            {"op": "update", "id": one["id"], "data": {"labels": ["NEW", "b"]}},
            {"op": "replace", "id": two["id"], "data": {"title": "y"}},
            {"op": "create", "data": {"title": "none"}},
        ]
        answer = await ada.post(f"{TASKS}/batch", json={"operations": operations})
        assert answer.status_code == 200
        shown = [each["data"]["labels"] for each in answer.json()["data"]]
        # What is there is changed first.
        assert shown == [["NEW", "a"], ["NEW", "b"], ["b"], []]

    async def test_a_bad_one_is_named_by_its_operation(self, ada: httpx.AsyncClient) -> None:
        operations = [
            {"op": "create", "data": {"title": "x"}},
            {"op": "create", "data": {"title": "x", "labels": [""]}},
        ]
        answer = await ada.post(f"{TASKS}/batch", json={"operations": operations})
        error = answer.json()["error"]
        assert (error["index"], error["fields"][0]["field"]) == (1, "operations[1].data.labels")


class TestLimit:
    @pytest.fixture(autouse=True)
    async def few(self, running: object, sql: asyncpg.Connection) -> Any:
        await sql.execute("UPDATE task_settings SET max_labels = 3")
        yield
        await sql.execute("UPDATE task_settings SET max_labels = 500")

    async def test_a_body_that_would_make_one_too_many_changes_nothing(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task = await make(ada, "a", "b")
        await make(bob, "a", "b", "c")
        path = f"{TASKS}/{task['id']}"
        for method, where, body in (
            ("POST", TASKS, {"title": "x", "labels": ["a", "c", "d"]}),
            ("PUT", path, {"title": "x", "labels": ["c", "d"]}),
            ("PATCH", path, {"labels": ["c", "d"]}),
        ):
            for headers in ({}, {"Idempotency-Key": f"{method}"}):
                answer = await ada.request(method, where, json=body, headers=headers)
                assert (answer.status_code, answer.json()["error"]) == (
                    409,
                    {
                        "code": "LIMIT_REACHED",
                        "message": "You have 3 labels, and there can be no more. Delete some.",
                    },
                )
        assert await labels_of(ada, task) == ["a", "b"]
        assert len(await kept_labels(sql)) == 5
        assert (await make(ada, "A", "B", "c"))["labels"] == ["a", "b", "c"]

    async def test_so_does_a_batch_which_says_where(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        await make(ada, "a")
        operations = [
            {"op": "create", "data": {"title": "x", "labels": names}} for names in (["b"], ["c", "A"], ["B"], ["d"])
        ]
        answer = await ada.post(f"{TASKS}/batch", json={"operations": operations})
        assert answer.status_code == 409
        assert (answer.json()["error"]["code"], answer.json()["error"]["index"]) == ("LIMIT_REACHED", 3)
        assert len(await kept_labels(sql)) == 1
        assert (await ada.post(f"{TASKS}/batch", json={"operations": operations[:3]})).status_code == 200

    async def test_a_revert_does_too(self, ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
        task = await make(ada, "a")
        await ada.patch(f"{TASKS}/{task['id']}", json={"labels": []})
        await sql.execute("DELETE FROM task_labels")
        await make(ada, "b", "c", "d")
        answer = await ada.post(f"{TASKS}/{task['id']}/revert", json={"version": task["version"]})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "LIMIT_REACHED")


class TestByHand:
    async def test_psql_can_give_a_task_the_names_of_its_owners_labels_alone(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task = await make(ada, "a", "b")
        await make(bob, "c")
        await sql.execute("""UPDATE tasks SET labels = '["b", "b"]' WHERE id = $1""", task["id"])
        assert await labels_of(ada, task) == ["b"]
        for names in ('["c"]', '["A"]'):
            with pytest.raises(asyncpg.CheckViolationError, match="names of its owner's labels"):
                await sql.execute("UPDATE tasks SET labels = $1::text::jsonb WHERE id = $2", names, task["id"])
        many = str([[f"{n}", f"{n}"] for n in range(MAX_LABELS_OF_TASK + 1)]).replace("'", '"')
        with pytest.raises(asyncpg.CheckViolationError, match="50 labels"):
            await sql.execute("UPDATE tasks SET labels = $1::text::jsonb WHERE id = $2", many, task["id"])

    async def test_a_task_that_is_given_to_another_owner_takes_its_labels_along(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        await make(ada, "c", "b")
        task = await make(ada, "Home", "b", "c", "a")
        other = await make(bob, "home")
        await sql.execute("UPDATE tasks SET user_id = $1 WHERE id = $2", other["user_id"], task["id"])
        assert await labels_of(bob, task) == ["home", "b", "c", "a"]
        assert len(await kept_labels(sql)) == 8

    async def test_a_user_who_gets_another_id_keeps_them(
        self, ada: httpx.AsyncClient, bob: httpx.AsyncClient, sql: asyncpg.Connection
    ) -> None:
        task = await make(ada, "a")
        await sql.execute("""UPDATE "user" SET id = 'bob' WHERE id = $1""", task["user_id"])
        assert await labels_of(bob, task) == ["a"]
        assert await kept_labels(sql) == [("bob", "a", "a")]
        assert (await make(bob, "A"))["labels"] == ["a"]

    def test_staff_give_a_task_labels_as_a_json_array_of_names(self) -> None:
        assert checked_columns({"labels": '["HOME", " b "]'}, {}) == {"labels": '[["home","HOME"],["b","b"]]'}
        assert checked_columns({"labels": None}, {}) == {"labels": "[]"}
        for wrong in ("{", "{}", "[1]", '["."]', 1):
            with pytest.raises(Invalid):
                checked_columns({"labels": wrong}, {})
