"""An object of the client's own stays as it was sent, within its limits, and is patched as RFC 7396 says."""

import asyncio
import json
from typing import Any

import asyncpg
import httpx
import pytest

from app.tasks.extra import MAX_EXTRA_BYTES, patched
from tests.tasks.test_planning import ask, content_of, refused

TASKS = "/api/tasks"


def nested(levels: int) -> Any:
    return {"a": nested(levels - 1)} if levels > 1 else {}


async def post(client: httpx.AsyncClient, text: str) -> httpx.Response:
    return await client.post(TASKS, content=f'{{"title": "x", "extra": {text}}}'.encode())


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ('{"b": 1, "a": 2, "1": 3}', '{"b":1,"a":2,"1":3}'),
        (f'{{"n": {2**70}}}', f'{{"n":{2**70}}}'),
        ('{"n": [1.0, 1.10, -0.0, 1E+5, 0.1000000000000000055511151231257827]}',
         '{"n":[1.0,1.10,-0.0,1E+5,0.1000000000000000055511151231257827]}'),
        ('{"\\u00e9": "\\ud83d\\ude00 \\u2028 \\"/\\\\"}', '{"é":"😀 \u2028 \\"/\\\\"}'),
        ('{"a": 1, "a": {"b": null}}', '{"a":{"b":null}}'),
        ('{"a": [[], {}, null, true, ""]}', '{"a":[[],{},null,true,""]}'),
        ("{}", "{}"),
        ("null", "{}"),
    ],
)  # fmt: skip
async def test_it_is_shown_as_it_was_sent(
    ada: httpx.AsyncClient, sql: asyncpg.Connection, sent: str, shown: str
) -> None:
    answer = await post(ada, sent)
    assert f'"extra":{shown},' in answer.text
    task_id = answer.json()["data"]["id"]
    await ada.patch(f"{TASKS}/{task_id}", json={"title": "y"})
    for path in (f"{TASKS}/{task_id}", TASKS, f"{TASKS}?fields=extra"):
        assert f'"extra":{shown}' in (await ada.get(path)).text
    assert f'"extra":{{"from":null,"to":{shown}}}' in (await ada.get(f"{TASKS}/{task_id}/history")).text
    assert await sql.fetchval("SELECT extra FROM tasks") == shown
    assert await sql.fetchval("SELECT extra FROM task_versions") is None  # it was not replaced


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (json.dumps({"a": "x" * (MAX_EXTRA_BYTES - 7)}), "Extra must have 4096 bytes of compact JSON at most"),
        (json.dumps({"a": "é" * 2045}), "Extra must have 4096 bytes of compact JSON at most"),
        (json.dumps(nested(6)), "Extra must have 5 levels of objects and arrays at most"),
        ('{"a": [[[[[]]]]]}', "Extra must have 5 levels of objects and arrays at most"),
        ('{"a": "\\u0000"}', "Extra must not contain the character U+0000"),
        ('{"a": ["\\u0000"]}', "Extra must not contain the character U+0000"),
        ('{"\\u0000": 1}', "Extra must not contain the character U+0000"),
        ("[]", "Extra must be an object or null"),
        ('"{}"', "Extra must be an object or null"),
        ("1.0", "Extra must be an object or null"),
    ],
)
async def test_what_it_cannot_be_is_refused(ada: httpx.AsyncClient, sent: str, message: str) -> None:
    answer = await post(ada, sent)
    assert (answer.status_code, answer.json()["error"]["message"]) == (422, message)
    assert answer.json()["error"]["fields"][0]["field"] == "extra"
    body = {"operations": [{"op": "create", "data": {"title": "x", "extra": json.loads(sent)}}]}
    batch = await ada.post(f"{TASKS}/batch", json=body)
    assert batch.json()["error"]["fields"] == [{"field": "operations[0].data.extra", "message": message}]


async def test_its_limits_are_within_them(ada: httpx.AsyncClient) -> None:
    for fits in (json.dumps({"a": "x" * (MAX_EXTRA_BYTES - 8)}), json.dumps({"a": "é" * 2044}), json.dumps(nested(5))):
        assert (await post(ada, fits)).status_code == 201


@pytest.mark.parametrize(
    "sent",
    ['{"a": NaN}', '{"a": 1e999}', '{"a": 1e-99999999999999999999}', '{"a": "\\ud800"}', "{'a': 1}",
     '{"a":' * 5000 + "1" + "}" * 5000],
)  # fmt: skip
async def test_what_is_no_json_is_400(ada: httpx.AsyncClient, sent: str) -> None:
    answer = await post(ada, sent)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "BAD_REQUEST")


@pytest.mark.parametrize("levels", [*range(60, 1100, 65)])
async def test_however_deep_a_body_is_it_is_a_refusal(ada: httpx.AsyncClient, levels: int) -> None:
    deep = '{"a":' * levels + "1" + "}" * levels
    assert (await post(ada, deep)).status_code in (400, 422)
    batch = f'{{"operations": [{{"op": "create", "data": {{"title": "x", "extra": {deep}}}}}]}}'
    assert (await ada.post(f"{TASKS}/batch", content=batch.encode())).status_code in (400, 422)


# RFC 7396, appendix A, where both are objects.
@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ('{"a":"b"}', {"a": "c"}, '{"a":"c"}'),
        ('{"a":"b"}', {"b": "c"}, '{"a":"b","b":"c"}'),
        ('{"a":"b"}', {"a": None}, "{}"),
        ('{"a":"b","b":"c"}', {"a": None}, '{"b":"c"}'),
        ('{"a":["b"]}', {"a": "c"}, '{"a":"c"}'),
        ('{"a":"c"}', {"a": ["b"]}, '{"a":["b"]}'),
        ('{"a":{"b":"c"}}', {"a": {"b": "d", "c": None}}, '{"a":{"b":"d"}}'),
        ('{"a":[{"b":"c"}]}', {"a": [1]}, '{"a":[1]}'),
        ('{"e":null}', {"a": 1}, '{"e":null,"a":1}'),
        ("{}", {"a": {"bb": {"ccc": None}}}, '{"a":{"bb":{}}}'),
        ('{"n":1.10,"z":1,"a":2}', {"b": 3}, '{"n":1.10,"z":1,"a":2,"b":3}'),
    ],
)
def test_a_patch_is_merged(target: str, patch: dict[str, Any], merged: str) -> None:
    assert bytes(patched(target.encode(), patch)).decode() == merged


async def test_a_put_replaces_it(ada: httpx.AsyncClient) -> None:
    path = f"{TASKS}/{(await ask(ada, 'POST', TASKS, {'title': 'x', 'extra': {'a': 1}}))['id']}"
    assert (await ask(ada, "PUT", path, {"title": "x", "extra": {"b": 2}}))["extra"] == {"b": 2}
    assert (await ask(ada, "PUT", path, {"title": "x"}))["extra"] == {"b": 2}
    assert (await ask(ada, "PATCH", path, {"extra": {}}))["extra"] == {"b": 2}
    assert (await ask(ada, "PATCH", path, {"extra": None}))["extra"] == {}


async def test_what_a_patch_makes_too_large_is_refused(ada: httpx.AsyncClient) -> None:
    task = await ask(ada, "POST", TASKS, {"title": "x", "extra": {"a": "x" * 4000}})
    path = f"{TASKS}/{task['id']}"
    message = "Extra must have 4096 bytes of compact JSON at most"
    for patch in ({"b": "x" * 100}, {"b": "x" * 20_000}):
        assert await refused(ada, "PATCH", path, {"extra": patch}, "extra") == message
        batch = {"operations": [{"op": "update", "id": task["id"], "data": {"extra": patch}}]}
        answer = await ada.post(f"{TASKS}/batch", json=batch)
        assert answer.json()["error"]["fields"] == [{"field": "operations[0].data.extra", "message": message}]
    assert content_of((await ada.get(path)).json()["data"]) == content_of(task)
    assert (await ada.patch(f"{TASKS}/999", json={"extra": {"b": 1}})).status_code == 404
    after = await ask(ada, "PATCH", path, {"extra": {"a": None, "b": "x" * 4000}})
    assert after["extra"] == {"b": "x" * 4000}


async def test_patches_that_come_concurrently_are_all_merged(ada: httpx.AsyncClient) -> None:
    path = f"{TASKS}/{(await ask(ada, 'POST', TASKS, {'title': 'x'}))['id']}"
    answers = await asyncio.gather(*(ada.patch(path, json={"extra": {f"{n}": n}}) for n in range(12)))
    assert {answer.status_code for answer in answers} == {200}
    assert (await ada.get(path)).json()["data"]["extra"] == {f"{n}": n for n in range(12)}


@pytest.mark.slow
async def test_a_list_of_large_ones_is_read_in_pieces(ada: httpx.AsyncClient, sql: asyncpg.Connection) -> None:
    large = json.dumps({"a": "x" * 4000}, separators=(",", ":"))
    await ada.post(TASKS, json={"title": "x"})
    many = "INSERT INTO tasks (user_id, title, extra) SELECT 'ada', 'x', $1::text::json FROM generate_series(1, 600)"
    await sql.execute(many, large)
    for query in ("", "?fields=extra", "?fields=id", "?sort=title&fields=id,extra"):
        answer = await ada.get(f"{TASKS}{query}")
        assert len(answer.json()["data"]) == 601
        if "id" not in query:
            assert answer.text.count(large) == 600
            assert "content-length" not in answer.headers
    assert (await ada.patch(f"{TASKS}/{601}/complete")).status_code == 200
    await sql.execute("UPDATE tasks SET deleted_at = now()")
    assert (await ada.get("/api/trash")).text.count(large) == 600
