"""Each of the bad tokens of `tests/auth`, over a socket, to a service that reads our secret's and four issuers'."""

import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import httpx
import pytest

from tests.auth import test_jwt
from tests.auth.test_bad_tokens import AUDIENCE, BAD, EVERYTHING, KINDS, OWN, UNKNOWN, Kind, issuer
from tests.auth.test_jwks import an_endpoint, signer
from tests.live.hostility import Header, Line, Request

pytestmark = pytest.mark.slow

UNFIT = re.compile(rb"[\r\n\0]|.{32000}", re.DOTALL)  # what no header can carry: the socket refuses it, 400 or 431
PATHS = (b"/api/tasks", b"/api/tasks/1", b"//api/tasks", b"/api/auth/me")


@pytest.fixture(scope="module")
def trusting(serve_for_module: Callable[..., Any]) -> Iterator[Any]:
    with ExitStack() as stack:
        issuers = []
        for kind in KINDS[1:]:
            endpoint = stack.enter_context(an_endpoint(signer(kind, kind).member()))
            issuers.append(
                {"issuer": issuer(kind), "jwks_url": endpoint.url, "audience": AUDIENCE, "algorithms": [kind]}
            )
        service = serve_for_module(env={"JWT_ISSUERS": json.dumps(issuers)})
        yield service
    assert [line for line in service.log() if '"level":"ERROR"' in line] == []


def bearing(token: bytes, path: bytes = b"/api/tasks") -> Request:
    header: Header = (b"Authorization", b"Bearer " + token)
    return Request("GET", path, [header])


def tokens() -> Iterator[bytes]:
    yield from test_jwt.BAD.values()
    for name in KINDS:
        for make in (BAD if name == OWN else EVERYTHING).values():
            yield make(Kind(name))


def test_every_bad_token_is_401_wherever_it_is_sent(trusting: Any) -> None:
    with closing(Line(trusting.port)) as line:
        for name in KINDS:  # the good ones are good, once the keys are here
            deadline = time.monotonic() + 10
            while line.ask(bearing(Kind(name).good())).status != 200:
                assert time.monotonic() < deadline
                time.sleep(0.05)

        asked = 0
        for token in tokens():
            if UNFIT.search(token):
                continue
            for path in PATHS:
                answer = line.ask(bearing(token, path))
                assert (answer.status, json.loads(answer.body)) == (401, UNKNOWN), token
                challenge = answer.headers["www-authenticate"]
                # White space around a header's value is no part of it: what is left may be no token at all.
                assert challenge == 'Bearer error="invalid_token"' if token.strip() else challenge == "Bearer"
                asked += 1
        assert asked > 4000


def test_two_good_tokens_are_none(trusting: Any) -> None:
    good: Header = (b"Authorization", b"Bearer " + test_jwt.GOOD)
    with closing(Line(trusting.port)) as line:
        for headers in ([good, good], [good, (b"authorization", b"Bearer x")], [(b"Authorization", b"Basic x"), good]):
            assert line.ask(Request("GET", b"/api/tasks", headers)).status == 401
    assert httpx.get(f"{trusting.url}/api/tasks").headers["www-authenticate"] == "Bearer"
