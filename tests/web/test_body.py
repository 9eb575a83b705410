"""A body is refused for what it says it is, for its size, for not being JSON, for not fitting. In that order."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.tasks.history.controller import TaskReversion
from app.tasks.structs import TaskContent
from app.web.body import MAX_BODY_BYTES, JSONRequest, Unfinished, decode
from app.web.failures import Busy, Invalid, NotJSON

NOT_JSON = {"error": {"code": "BAD_REQUEST", "message": "The body is not valid JSON in UTF-8."}}
NO_BODY = {"error": {"code": "BAD_REQUEST", "message": "The request could not be read."}}
NOT_OUR_TYPE = {
    "error": {
        "code": "UNSUPPORTED_MEDIA_TYPE",
        "message": "The body must be application/json, in UTF-8 and not compressed.",
    }
}
TOO_LARGE = {"error": {"code": "PAYLOAD_TOO_LARGE", "message": "The body is larger than 1 MiB."}}
GOOD = b'{"title":"x"}'


async def post(client: httpx.AsyncClient, content: Any, **headers: str) -> httpx.Response:
    return await client.post(
        "/api/tasks", content=content, headers={name.replace("_", "-"): headers[name] for name in headers}
    )


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        "application/json;charset=UTF-8",
        'Application/JSON ; Charset="utf-8"',
        "application/json; charset=utf8",
        "application/json; version=1",
        "application/vnd.tasks+json",
        "application/merge-patch+json",
    ],
)
async def test_json_under_any_of_its_names_is_read(ada: httpx.AsyncClient, content_type: str) -> None:
    assert (await post(ada, GOOD, content_type=content_type)).status_code == 201


async def test_no_content_type_at_all_is_read_as_json(ada: httpx.AsyncClient) -> None:
    request = ada.build_request("POST", "/api/tasks", content=GOOD)
    assert "content-type" not in request.headers
    assert (await ada.send(request)).status_code == 201


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/json",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/json; charset=latin-1",
        "application/json; charset=utf-8; charset=utf-16",
        "application/jsonp",
        "application/xjson",
        "application/msgpack",
        "json",
        "*/*",
        "",
        ";",
        "\xff",
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/api/tasks"), ("PUT", "/api/tasks/1")])
async def test_a_body_that_says_it_is_something_else_is_415(
    ada: httpx.AsyncClient, method: str, path: str, content_type: str
) -> None:
    headers = [(b"content-type", content_type.encode("latin-1"))]
    answer = await ada.request(method, path, content=GOOD, headers=headers)
    assert (answer.status_code, answer.json()) == (415, NOT_OUR_TYPE)


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity", "deflate, gzip", ""])
async def test_a_compressed_body_is_415(ada: httpx.AsyncClient, encoding: str) -> None:
    answer = await post(ada, GOOD, content_encoding=encoding)
    assert (answer.status_code, answer.json()) == (415, NOT_OUR_TYPE)


NOT_READ = [
    ("GET", "/api/tasks"),
    ("GET", "/api/tasks/1"),
    ("DELETE", "/api/tasks/1"),
]


@pytest.mark.parametrize(("method", "path"), NOT_READ)
async def test_a_body_that_nobody_reads_has_to_be_plain_and_small_all_the_same(
    ada: httpx.AsyncClient, method: str, path: str
) -> None:
    compressed = await ada.request(method, path, content=b"x", headers={"content-encoding": "gzip"})
    assert (compressed.status_code, compressed.json()) == (415, NOT_OUR_TYPE)
    large = await ada.request(method, path, content=b" " * (MAX_BODY_BYTES + 1))
    assert (large.status_code, large.json()) == (413, TOO_LARGE)
    small = await ada.request(method, path, content=b"x", headers={"content-type": "text/plain"})
    assert small.status_code in (200, 404)


async def test_two_content_types_are_read_if_both_are_json(ada: httpx.AsyncClient) -> None:
    for second, status in ((b"application/json", 201), (b"text/plain", 415)):
        headers = [(b"content-type", b"application/json"), (b"content-type", second)]
        assert (await ada.post("/api/tasks", content=GOOD, headers=headers)).status_code == status


def padded(size: int) -> bytes:
    return GOOD + b" " * (size - len(GOOD))


async def test_a_body_of_1_mib_is_read_and_one_more_byte_is_413(ada: httpx.AsyncClient) -> None:
    assert (await post(ada, padded(MAX_BODY_BYTES))).status_code == 201
    answer = await post(ada, padded(MAX_BODY_BYTES + 1))
    assert (answer.status_code, answer.json()) == (413, TOO_LARGE)


async def test_a_body_without_a_length_is_413_once_it_has_grown_too_large(ada: httpx.AsyncClient) -> None:
    async def chunks(size: int) -> AsyncIterator[bytes]:
        yield GOOD
        for _ in range(size // 1024):
            yield b" " * 1024

    assert (await post(ada, chunks(MAX_BODY_BYTES // 2))).status_code == 201
    answer = await post(ada, chunks(MAX_BODY_BYTES + 1024))
    assert (answer.status_code, answer.json()) == (413, TOO_LARGE)


async def test_the_media_type_comes_before_the_size_and_the_size_before_the_json(
    ada: httpx.AsyncClient,
) -> None:
    large = b"{" * (MAX_BODY_BYTES + 1)
    assert (await post(ada, large, content_type="text/plain")).status_code == 415
    assert (await post(ada, large)).status_code == 413


@pytest.mark.parametrize("path", ["/api/tasks/abc", "/api/tasks/01"])
async def test_the_id_comes_before_the_media_type(ada: httpx.AsyncClient, path: str) -> None:
    answer = await ada.put(path, content=b"x", headers={"content-type": "text/plain"})
    assert answer.status_code == 422


BROKEN = {
    "nothing that is JSON": b"title=x",
    "cut short": b'{"title":"x"',
    "cut short after a misfit": b'{"title":5',
    "a list cut short": b"[1, 2",
    "more behind it": b'{"title":"x"} {}',
    "a misfit and more behind it": b'{"title":5} x',
    "single quotes": b"{'title':'x'}",
    "a comma too many": b'{"title":"x",}',
    "a comment": b'{"title":"x"/**/}',
    "NaN": b'{"title":"x","n":NaN}',
    "a bare control character": b'{"title":"a\nb"}',
    "a lone surrogate": b'{"title":"\\ud800"}',
    "invalid UTF-8 in the title": b'{"title":"\xff"}',
    "invalid UTF-8 in what is ignored": b'{"title":"x","junk":"\xff"}',
    "invalid UTF-8 outside of any string": b'{"title":"x"}\xff',
    "an overlong encoding": b'{"title":"\xc0\x80"}',
    "an encoded surrogate": b'{"title":"\xed\xa0\x80"}',
    "UTF-16": '{"title":"x"}'.encode("utf-16"),
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "a hundred thousand brackets": b"[" * 100_000,
    "a hundred thousand brackets in what is ignored": b'{"title":"x","junk":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a NUL": b"\0",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize(("method", "path"), [("POST", "/api/tasks"), ("PUT", "/api/tasks/1")])
async def test_what_is_not_json_in_utf_8_is_400(ada: httpx.AsyncClient, method: str, path: str, body: bytes) -> None:
    answer = await ada.request(method, path, content=body)
    assert (answer.status_code, answer.json()) == (400, NOT_JSON)


async def test_no_body_at_all_is_400(ada: httpx.AsyncClient) -> None:
    answer = await ada.post("/api/tasks")
    assert (answer.status_code, answer.json()) == (400, NO_BODY)


@pytest.mark.parametrize(
    ("body", "field", "message"),
    [
        (b"null", "body", "The body must be a JSON object"),
        (b'"x"', "body", "The body must be a JSON object"),
        (b"{}", "title", "Title is required"),
        (b'{"Title":"x"}', "title", "Title is required"),
        (b'{"title":"x","description":{}}', "description", "Description must be a string or null"),
    ],
)
def test_a_misfit_is_told_in_a_sentence_beside_its_field(body: bytes, field: str, message: str) -> None:
    with pytest.raises(Invalid) as refusal:
        decode(body, TaskContent)
    assert (refusal.value.field, refusal.value.message) == (field, message)


@pytest.mark.parametrize("body", [b'{"version":1.0,', b'{"version":1.0}x', b'{"version":1.0,"x":1e999}'])
def test_what_follows_an_integer_with_a_point_must_be_json_too(body: bytes) -> None:
    with pytest.raises(NotJSON):
        decode(body, TaskReversion)


@pytest.mark.parametrize("version", [b"1.5", b"-1.0", b"1e300", b"9007199254740992.0", b'"1.0"', b"[1.0]"])
def test_an_integer_with_a_point_has_the_limits_of_any_other(version: bytes) -> None:
    with pytest.raises(Invalid) as refusal:
        decode(b'{"version":%b}' % version, TaskReversion)
    assert refusal.value.field == "version"


def test_a_field_that_is_there_twice_counts_as_its_last() -> None:
    assert decode(b'{"title":"a","title":"b"}', TaskContent) == TaskContent(title="b")


def test_a_number_past_every_range_is_not_json_we_can_read() -> None:
    with pytest.raises(NotJSON):
        decode(b'{"title":"x","n":1e999}', dict[str, Any])


async def test_what_litestar_knows_of_a_request_is_there_for_whoever_asks() -> None:
    headers = [(b"host", b"x"), (b"cookie", b"a=b")]
    request = JSONRequest({"type": "http", "path": "/y", "query_string": b"c=d", "headers": headers, "scheme": "http"})  # type: ignore[typeddict-item]
    assert (request.url.path, request.query_params["c"], request.cookies) == ("/y", "d", {"a": "b"})
    with pytest.raises(AttributeError):
        _ = request.nothing  # type: ignore[attr-defined]


async def test_a_large_body_counts_until_its_request_is_answered(
    ada: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = {"title": "x", "ignored": "x" * 70_000}
    monkeypatch.setattr("app.web.body.MAX_UNFINISHED_BYTES", 69_999)
    refused = await ada.post("/api/tasks", json=body)
    assert (refused.status_code, refused.headers["retry-after"], Unfinished.size) == (503, "1", 0)
    monkeypatch.setattr("app.web.body.MAX_UNFINISHED_BYTES", 71_000)
    assert ((await ada.post("/api/tasks", json=body)).status_code, Unfinished.size) == (201, 0)


async def test_so_does_one_that_is_here_in_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    async def whole() -> Any:
        return {"type": "http.request", "body": b"x" * 70_000, "more_body": False}

    monkeypatch.setattr("app.web.body.MAX_UNFINISHED_BYTES", 69_999)
    request = JSONRequest({"type": "http", "headers": [], "route_handler": None}, whole)
    with pytest.raises(Busy):
        await request.body()
    assert Unfinished.size == 0
