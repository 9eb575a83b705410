"""Which messages can be read in one way only. `tests/live/test_smuggling.py` asks a running server the same."""

import pytest

from app.server.http1 import framing
from app.web.headers import RawHeaders, single

HOST = (b"host", b"x:8000")
CHUNKED = (b"transfer-encoding", b"chunked")


def is_unambiguous(target: bytes, version: str, headers: RawHeaders) -> bool:
    return framing.is_unambiguous(target, version, single(headers))


@pytest.mark.parametrize(
    "target", [b"/", b"/api/tasks?x=y", b"//x", b"*", b"http://x:8000/", b"HTTPS://X:8000/api/tasks"]
)
def test_a_target_is_a_path_or_an_address_at_this_host(target: bytes) -> None:
    assert is_unambiguous(target, "1.1", [HOST])


@pytest.mark.parametrize(
    "target",
    [
        b"",
        b"api",
        b"/#x",
        b"http://y/",
        b"http://x/",
        b"http://y@x:8000/",
        b"http://x:8000",
        b"http:///",
        b"ftp://x:8000/",
        b"x:8000",
    ],
)
def test_no_other_target_is(target: bytes) -> None:
    assert not is_unambiguous(target, "1.1", [HOST])


@pytest.mark.parametrize("hosts", [[], [b"x", b"x"], [b"x", b""], [b"x y"], [b"x/y"], [b"x\xff"]])
def test_there_is_one_host(hosts: list[bytes]) -> None:
    assert not is_unambiguous(b"/", "1.1", [(b"host", host) for host in hosts])


def test_http_1_0_needs_none_and_has_one_at_most() -> None:
    assert is_unambiguous(b"/", "1.0", [])
    assert not is_unambiguous(b"http://x/", "1.0", [])
    assert not is_unambiguous(b"/", "1.0", [(b"host", b"x"), (b"host", b"x")])
    assert not is_unambiguous(b"/", "1.0", [(b"host", b"x y")])


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b"chunked \t"])
def test_chunks_are_a_coding(coding: bytes) -> None:
    assert is_unambiguous(b"/", "1.1", [HOST, (b"transfer-encoding", coding)])


@pytest.mark.parametrize("coding", [b"", b"gzip, chunked", b"identity", b"chunked, chunked", b",chunked", b"xchunked"])
def test_nothing_else_is_and_none_is_in_http_1_0(coding: bytes) -> None:
    assert not is_unambiguous(b"/", "1.1", [HOST, (b"transfer-encoding", coding)])
    assert not is_unambiguous(b"/", "1.1", [HOST, CHUNKED, (b"transfer-encoding", coding)])
    assert not is_unambiguous(b"/", "1.0", [HOST, CHUNKED])
