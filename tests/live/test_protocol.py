"""Bytes on a socket: deadlines, sizes, one Host, and nothing ambiguous. Against a running server."""

import asyncio
import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from app.tasks.listing.parameters import SORTS
from tests.conftest import ORIGIN, token

LAST = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
NAMES = {400: "BAD_REQUEST", 408: "REQUEST_TIMEOUT", 431: "HEADERS_TOO_LARGE"}
AUTH = f"Authorization: Bearer {token('ada')}\r\n".encode()
HOST = b"Host: x\r\n"


class Answer:
    """One HTTP answer, taken apart by hand."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        self.status = int(line.split()[1])
        self.headers = {name.lower(): value for name, value in (field.split(": ", 1) for field in fields)}


def talk(port: int, *parts: bytes, pause: float = 0.0, wait: float = 15.0) -> bytes:
    """Send the parts with pauses between them, and return all that comes back until the other side hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as connection:
        received = b""
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)
            while chunk := connection.recv(65536):
                received += chunk
        except (ConnectionResetError, BrokenPipeError):
            pass
        return received


def refused(raw: bytes, status: int) -> None:
    """An answer of ours: the envelope, the headers of every answer, and the end of the connection."""
    answer = Answer(raw)
    assert answer.status == status
    assert json.loads(answer.body)["error"]["code"] == NAMES[status]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["connection"] == "close"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
    assert "server" not in answer.headers


AMBIGUOUS = {
    "not HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no host": b"GET /health/live HTTP/1.1\r\n\r\n",
    "an address without a host in 1.0": b"GET http://a/health/live HTTP/1.0\r\n\r\n",
    "two hosts in 1.0": b"GET /health/live HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n",
    "two hosts": b"GET /health/live HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "a host that is none": b"GET /health/live HTTP/1.1\r\nHost: a b\r\n\r\n",
    "a host with a path": b"GET /health/live HTTP/1.1\r\nHost: a/b\r\n\r\n",
    "two equal hosts": b"GET /health/live HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
    "HTTP/2.0": b"GET /health/live HTTP/2.0\r\n" + HOST + b"\r\n",
    "HTTP/0.9": b"GET /health/live\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a length and chunks": b"POST /api/tasks HTTP/1.1\r\n"
    + HOST
    + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"POST /api/tasks HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "a list of lengths": b"POST /api/tasks HTTP/1.1\r\n" + HOST + b"Content-Length: 5, 5\r\n\r\nhello",
    "a negative length": b"POST /api/tasks HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n",
    "a length with a sign": b"POST /api/tasks HTTP/1.1\r\n" + HOST + b"Content-Length: +5\r\n\r\nhello",
    "a length in hexadecimal": b"POST /api/tasks HTTP/1.1\r\n" + HOST + b"Content-Length: 0x5\r\n\r\nhello",
    "an endless length": b"POST /api/tasks HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    "an unknown coding": b"POST /api/tasks HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: cow\r\n\r\n",
    "chunked, but not last": b"POST /api/tasks HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked, gzip\r\n\r\n",
    "a size that is no number": b"POST /api/tasks HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "a folded header": b"GET /health/live HTTP/1.1\r\n" + HOST + b"X: a\r\n b\r\n\r\n",
    "a space before the colon": b"GET /health/live HTTP/1.1\r\nHost : a\r\n\r\n",
    "a header without a name": b"GET /health/live HTTP/1.1\r\n" + HOST + b": a\r\n\r\n",
    "a NUL in a header": b"GET /health/live HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n",
    "a NUL in the path": b"GET /health\0/live HTTP/1.1\r\n" + HOST + b"\r\n",
    "a bare carriage return": b"GET /health/live HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n",
    "a space in the path": b"GET /health /live HTTP/1.1\r\n" + HOST + b"\r\n",
    "a path of bytes": b"GET /\xff\xfe HTTP/1.1\r\n" + HOST + b"\r\n",
    "CONNECT": b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n",
}


@pytest.mark.parametrize("message", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
def test_a_message_that_is_not_http_or_can_be_read_in_two_ways_is_400_or_closed(service: Any, message: bytes) -> None:
    raw = talk(service.port, message, b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    assert raw.count(b"HTTP/1.1 ") <= 1
    if raw:
        refused(raw, 400)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/health/live", 200),
        ("/health/ready", 200),
        ("/", 200),
        ("/openapi.json", 200),
        ("/docs", 200),
        ("/docs/", 200),
        ("/admin", 307),
        ("/admin/", 200),
        ("/admin/api/tables/", 401),
        ("/api/tasks", 401),
        ("/nowhere", 404),
    ],
)
def test_http_1_0_needs_no_host(service: Any, path: str, status: int) -> None:
    answer = Answer(talk(service.port, f"GET {path} HTTP/1.0\r\n\r\n".encode()))
    assert answer.status == status
    # Wherever it leads, it leads by a path.
    assert answer.headers.get("location", "/").startswith("/")


def test_a_method_without_a_route_is_401_or_405_and_one_that_the_parser_does_not_know_400(service: Any) -> None:
    def ask(method: bytes, more: bytes = b"") -> Answer:
        return Answer(
            talk(service.port, method + b" /api/tasks HTTP/1.1\r\nConnection: close\r\n" + HOST + more + b"\r\n")
        )

    assert ask(b"PROPFIND").status == 401
    answer = ask(b"PROPFIND", AUTH)
    assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD, OPTIONS, POST")
    for answer in (ask(b"BREW"), ask(b"BREW", AUTH)):
        assert answer.status == 400
        assert json.loads(answer.body)["error"].keys() == {"code", "message"}
        assert json.loads(answer.body)["error"]["code"] == "BAD_REQUEST"
        kept = {name: answer.headers.get(name) for name in ("cache-control", "x-content-type-options", "server")}
        assert kept == {"cache-control": "no-store", "x-content-type-options": "nosniff", "server": None}
        assert answer.headers["x-request-id"]


def test_the_tag_of_a_task_that_has_changed_may_be_kept_and_is_asked_for_again(service: Any) -> None:
    def ask(method: str, path: str, body: str, *more: str) -> Answer:
        lines = [f"{method} {path} HTTP/1.0", f"Authorization: Bearer {token('etag')}", f"Content-Length: {len(body)}"]
        return Answer(talk(service.port, "\r\n".join([*lines, *more, "", body]).encode()))

    made = json.loads(ask("POST", "/api/tasks", '{"title": "x"}').body)["data"]
    failed = ask("DELETE", f"/api/tasks/{made['id']}", "", 'If-Match: "v0"')
    assert (failed.status, failed.headers["etag"]) == (412, f'"v{made["version"]}"')
    assert failed.headers["cache-control"] == "private, no-cache"


@pytest.mark.parametrize("char", ["\u0001", "\U0001f95b", "\ufdfa", '"', "9"])
@pytest.mark.parametrize("sort", SORTS)
def test_the_link_of_a_page_can_be_asked_for_as_it_is(service: Any, sort: str, char: str) -> None:
    bearer = f"Authorization: Bearer {token(f'pages-{sort}-{ord(char)}')}\r\n".encode()

    def ask(line: str, body: bytes = b"") -> Answer:
        length = f"Content-Length: {len(body)}\r\n\r\n".encode()
        return Answer(talk(service.port, f"{line} HTTP/1.0\r\n".encode() + bearer + length + body))

    for title in (f"{char * 494} milk", f"{char * 493}x milk"):
        assert ask("POST /api/tasks", json.dumps({"title": title}).encode()).status == 201
    first = ask(f"GET /api/tasks?limit=1&sort={sort}&q=milk")
    link = re.fullmatch('<(.+)>; rel="next"', first.headers["link"])
    assert link
    second = ask(f"GET {link[1]}")
    assert second.status == 200
    titles = [json.loads(answer.body)["data"][0]["title"] for answer in (first, second)]
    assert len({*titles}) == 2


def test_what_is_refused_by_the_socket_can_be_read_by_the_frontend(service: Any) -> None:
    answer = Answer(talk(service.port, f"GET / HTTP/1.1\r\nOrigin: {ORIGIN}\r\nX-Request-ID: mine\r\n\r\n".encode()))
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["x-request-id"] == "mine"
    stranger = Answer(talk(service.port, b"GET / HTTP/1.1\r\nOrigin: http://evil.example\r\n\r\n"))
    assert "access-control-allow-origin" not in stranger.headers


LARGE_HEADS = {
    "one long header": b"X: " + b"a" * 40_000 + b"\r\n",
    "a megabyte": b"X: " + b"a" * 1_000_000 + b"\r\n",
    "thousands of short ones": b"X: a\r\n" * 10_000,
    "one that never ends": b"X: " + b"a" * 100_000,
}


@pytest.mark.parametrize("fields", LARGE_HEADS.values(), ids=LARGE_HEADS.keys())
def test_a_head_over_32_kib_is_431(service: Any, fields: bytes) -> None:
    end = b"" if not fields.endswith(b"\r\n") else b"\r\n"
    head = b"GET /health/live HTTP/1.1\r\n" + HOST + fields + end
    refused(talk(service.port, *(head[at : at + 16_384] for at in range(0, len(head), 16_384))), 431)


def test_a_long_path_is_431_too(service: Any) -> None:
    refused(talk(service.port, b"GET /" + b"a" * 33_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"), 431)


def test_a_head_of_nearly_32_kib_is_read(service: Any) -> None:
    fields = b"X: " + b"a" * 32_000 + b"\r\nConnection: close\r\n\r\n"
    assert Answer(talk(service.port, b"GET /health/live HTTP/1.1\r\n" + HOST + fields)).status == 200


def test_a_token_of_over_8_kib_is_401_and_not_read(service: Any) -> None:
    fields = HOST + b"Authorization: Bearer " + b"a" * 9000 + b"\r\nConnection: close\r\n\r\n"
    answer = Answer(talk(service.port, b"GET /api/tasks HTTP/1.1\r\n" + fields))
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')


def test_messages_that_follow_each_other_at_once_are_answered_in_order(service: Any) -> None:
    get = b"GET /health/live HTTP/1.1\r\n" + HOST + b"X-Request-ID: %d\r\n%b\r\n"
    raw = talk(service.port, b"".join(get % (n, b"Connection: close\r\n" if n == 9 else b"") for n in range(10)))
    assert re.findall(rb"x-request-id: (\d)", raw) == [b"%d" % n for n in range(10)]


def test_a_broken_message_behind_a_good_one_does_not_spoil_the_good_ones_answer(service: Any) -> None:
    raw = talk(service.port, b"GET /health/ready HTTP/1.1\r\n" + HOST + b"\r\n" + b"\0\0\0\r\n\r\n")
    assert Answer(raw).status == 200
    assert raw.count(b"HTTP/1.1 200 OK") == 1


def test_a_client_that_has_said_all_and_closed_its_side_still_gets_its_answer(service: Any) -> None:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(b"GET /api/tasks HTTP/1.1\r\n" + HOST + AUTH + b"\r\n")
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    assert Answer(received).status == 200


@pytest.mark.parametrize("offer", [b"websocket", b"h2c", b"foo/2"])
@pytest.mark.parametrize(
    "framing", [b"Content-Length: 13\r\n\r\n%b", b"Transfer-Encoding: chunked\r\n\r\nd\r\n%b\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("pause", [0, 0.1])
def test_an_upgrade_that_is_offered_is_not_taken_and_the_message_is_read_as_it_is(
    service: Any, offer: bytes, framing: bytes, pause: float
) -> None:
    head = b"POST /api/tasks HTTP/1.1\r\n" + HOST + AUTH + b"Connection: Upgrade\r\nUpgrade: " + offer + b"\r\n"
    body = framing % b'{"title":"x"}'
    at = body.index(b"\r\n\r\n") + 6
    raw = talk(service.port, head + body[:at], body[at:] + LAST, pause=pause)
    assert re.findall(rb"HTTP/1.1 (\d+)", raw) == [b"201", b"200"]


def test_expect_100_continue_is_answered_before_the_body_comes(service: Any) -> None:
    body = b'{"title":"x"}'
    head = (
        b"POST /api/tasks HTTP/1.1\r\n"
        + HOST
        + AUTH
        + b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    )
    raw = talk(service.port, head % len(body), body, pause=0.2)
    assert raw.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 ")


def test_a_refused_body_is_thrown_away_up_to_a_limit(service: Any) -> None:
    head = b"POST /api/tasks HTTP/1.1\r\n" + HOST + b"Content-Length: 50000000\r\n\r\n"
    began = time.monotonic()
    raw = talk(service.port, head, *[b" " * 1_000_000] * 49)
    assert time.monotonic() - began < 4
    assert not raw or Answer(raw).status == 401


def test_a_trailer_is_no_header_and_speaks_for_nobody(service: Any) -> None:
    chunked = HOST + b"Connection: close\r\nX-Request-ID: real\r\nTransfer-Encoding: chunked\r\n"
    trailers = b"X-Request-ID: false\r\nOrigin: " + ORIGIN.encode() + b"\r\nContent-Type: text/plain\r\n\r\n"
    answer = Answer(talk(service.port, b"GET /api/tasks HTTP/1.1\r\n" + chunked + b"\r\n0\r\n" + AUTH + trailers))
    assert (answer.status, answer.headers["x-request-id"]) == (401, "real")
    assert "access-control-allow-origin" not in answer.headers

    post = b"POST /api/tasks HTTP/1.1\r\n" + chunked + AUTH + b"\r\nd\r\n" + b'{"title":"x"}' + b"\r\n0\r\n"
    assert Answer(talk(service.port, post + b"Authorization: Bearer x\r\n" + trailers)).status == 201


def test_trailers_and_chunk_extensions_have_a_limit_too(service: Any) -> None:
    post = b"POST /api/tasks HTTP/1.1\r\n" + HOST + AUTH + b"Transfer-Encoding: chunked\r\n\r\n"
    for flood in (b"0\r\n" + b"X: y\r\n" * 50_000, b"0\r\nX: " + b"y" * 300_000, b"1;" + b"y" * 300_000):
        raw = talk(service.port, post, *(flood[at : at + 16_384] for at in range(0, len(flood), 16_384)))
        assert not raw or Answer(raw).status in (400, 431)
    assert Answer(talk(service.port, LAST)).status == 200


def test_a_body_in_chunks_of_one_byte_is_read(service: Any) -> None:
    head = b"POST /api/tasks HTTP/1.1\r\n" + HOST + AUTH + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in b'{"title":"' + b"x" * 400 + b'"' + b" " * 50_000 + b"}")
    assert Answer(talk(service.port, head, body + b"0\r\n\r\n")).status == 201


BROKEN_BEHIND = {
    "a chunk": b"POST /api/tasks HTTP/1.1\r\n" + HOST + AUTH + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "a head": b"\0\0\0\r\n\r\n",
    "a host": b"GET / HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("broken", BROKEN_BEHIND.values(), ids=BROKEN_BEHIND)
@pytest.mark.parametrize("good", [1, 3])
def test_what_is_broken_costs_none_of_the_messages_before_it_their_answer(
    service: Any, broken: bytes, good: int
) -> None:
    body = b'{"title":"x"}'
    post = b"POST /api/tasks HTTP/1.1\r\n" + HOST + AUTH + b"X-Request-ID: good\r\nContent-Length: 13\r\n\r\n" + body
    raw = talk(service.port, post * good + broken)
    assert re.findall(rb"HTTP/1.1 (\d+)", raw) == [b"201"] * good
    assert raw.count(b"x-request-id: good") == good


@pytest.mark.parametrize("content_type", [b"", b"Content-Type: text/plain\r\n" + AUTH])
def test_a_message_that_has_its_answer_gets_no_second_one(service: Any, content_type: bytes) -> None:
    head = b"POST /api/tasks HTTP/1.1\r\n" + HOST + content_type + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"
    raw = talk(service.port, head, b"zz\r\n", pause=0.3)
    assert len(re.findall(rb"HTTP/1.1 (\d+)", raw)) == 1
    assert Answer(raw).status in (401, 415)


@pytest.mark.parametrize("version", [b"HTTP/1.1\r\nConnection: close", b"HTTP/1.0"])
@pytest.mark.parametrize(("headers", "status"), [(b"", 401), (AUTH, 413)])
def test_a_large_body_that_is_refused_is_heard_to_its_end_and_told_so(
    service: Any, version: bytes, headers: bytes, status: int
) -> None:
    size = 10_000_000
    head = b"POST /api/tasks " + version + b"\r\n" + HOST + headers + b"Content-Length: %d\r\n\r\n" % size
    with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
        connection.sendall(head + b" " * size)  # and only then listen
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
    assert Answer(received).status == status


def test_head_is_refused_without_a_body(service: Any) -> None:
    answer = Answer(talk(service.port, b"HEAD /health/live HTTP/1.1\r\n\r\n"))
    assert (answer.status, answer.body) == (400, b"")


def test_head_is_answered_whether_it_is_the_last_on_its_connection_or_not(service: Any) -> None:
    head = b"HEAD /health/live HTTP/1.1\r\nHost: x\r\n"
    heard = talk(service.port, head + b"\r\n", head + b"Connection: close\r\n\r\n", pause=0.1)

    first, _, rest = heard.partition(b"\r\n\r\n")
    for raw in (first + b"\r\n\r\n", rest):
        answer = Answer(raw)
        assert (answer.status, answer.body, answer.headers["content-length"]) == (200, b"", "24")
    assert Answer(rest).headers["connection"] == "close"


class TestDeadlines:
    """Those of a served socket. `tests/server/test_connection.py` has each of them, in a short form."""

    @pytest.mark.slow
    async def test_a_head_has_5_s_on_a_socket_that_is_served(self, service: Any) -> None:
        """`tests/live/test_overload.py` waits for the 10 s of a body."""
        began = time.monotonic()
        silent, half = await asyncio.gather(
            *(asyncio.to_thread(talk, service.port, head) for head in (b"", b"GET / HTTP/1.1\r\nHos"))
        )
        assert 4 < time.monotonic() - began < 8
        assert silent == b""
        refused(half, 408)

    async def test_fifty_silent_sockets_are_in_nobodys_way(self, service: Any) -> None:
        crowd = [await asyncio.open_connection("127.0.0.1", service.port) for _ in range(50)]
        began = time.monotonic()
        for _ in range(20):
            raw = await asyncio.to_thread(
                talk, service.port, b"GET /health/live HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"
            )
            assert Answer(raw).status == 200
        assert time.monotonic() - began < 4
        for _, writer in crowd:
            writer.close()


@pytest.fixture(scope="module", autouse=True)
def untroubled(service: Any) -> Iterator[None]:
    """Whatever was thrown at the server, it logged no error of its own."""
    yield
    errors = [line for line in service.log() if '"level":"ERROR"' in line]
    assert errors == []


@pytest.mark.slow
def test_what_came_while_the_process_was_stopped_is_read_before_it_is_too_late(serve: Any) -> None:
    service = serve()
    with (
        socket.create_connection(("127.0.0.1", service.port), timeout=5) as head,
        socket.create_connection(("127.0.0.1", service.port), timeout=5) as idle,
    ):
        head.sendall(LAST[:10])
        idle.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
        idle.recv(65536)
        time.sleep(0.5)
        os.kill(service.process.pid, signal.SIGSTOP)
        time.sleep(5.5)
        head.sendall(LAST[10:])
        idle.sendall(LAST)
        os.kill(service.process.pid, signal.SIGCONT)
        assert [Answer(each.recv(65536)).status for each in (head, idle)] == [200, 200]
