"""What the log says of refused tokens and of origins that are not ours: why, and nothing of the token."""

import logging
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest

from app import logs
from tests.conftest import SECRET

Said = Callable[[], list[str]]
NOW = int(time.time())
CLAIMS: dict[str, Any] = {"user_id": "ada", "exp": NOW + 600}


def signed(secret: str = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **claims: Any) -> str:
    wanted = {name: value for name, value in (CLAIMS | claims).items() if value is not None}
    return jwt.encode(wanted, secret, algorithm, headers=headers)


REFUSED = {
    "no key of ours made its signature": signed(secret="another secret, but as long as ours is"),
    "it has expired (exp)": signed(exp=NOW - 60),
    "it has no exp": signed(exp=None),
    "its exp is no number below 2^53": signed(exp=2**53),
    "it is not valid yet (nbf)": signed(nbf=NOW + 600),
    "its algorithm (alg) is none that is configured for its issuer": signed(SECRET * 2, "HS512"),
    "its issuer (iss) is none that is configured": signed(SECRET * 2, "HS512", iss="https://elsewhere.example"),
    "it names no user (user_id, sub)": signed(user_id=None),
    "it is no JSON Web Token of 8 KiB at most": "not.a.jwt!",
    "its typ is another than JWT or at+jwt": signed(headers={"typ": "dpop+jwt"}),
    "its login has ended, or it was revoked, or never given out": "tsk_" + "x" * 43,
}


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Said:
    """What the log has said of them so far."""
    monkeypatch.setattr(logs, "_told", {})
    caplog.set_level(logging.INFO, "app")
    names = ("app.auth.middleware", "app.edge.ring")
    return lambda: [record.getMessage() for record in caplog.records if record.name in names]


@pytest.mark.parametrize(("reason", "token"), REFUSED.items(), ids=REFUSED)
async def test_it_says_why_a_token_was_refused(
    stranger: httpx.AsyncClient, said: Said, reason: str, token: str
) -> None:
    answer = await stranger.get("/api/tasks", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert said() == [f"A token was refused: {reason}."]
    assert reason not in answer.text


async def test_each_reason_is_told_once_a_second_at_most(
    stranger: httpx.AsyncClient, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: clock[0])
    expired, unsigned = ({"authorization": f"Bearer {token}"} for token in [*REFUSED.values()][1::-1])
    for _ in range(3):
        for headers in (expired, unsigned):
            await stranger.get("/api/tasks", headers=headers)
    assert len(said()) == 2
    clock[0] += 1
    await stranger.get("/api/tasks", headers=expired)
    assert len(said()) == 3


async def test_where_no_token_was_sent_or_a_good_one_nothing_is_told(
    stranger: httpx.AsyncClient, ada: httpx.AsyncClient, said: Said
) -> None:
    await stranger.get("/api/tasks")
    await ada.get("/api/tasks")
    assert said() == []


@pytest.mark.parametrize(
    "origin", ["https://elsewhere.example", "http://localhost:5173", "capacitor://localhost", "null"]
)
async def test_it_says_which_origin_is_not_allowed(ada: httpx.AsyncClient, said: Said, origin: str) -> None:
    answer = await ada.get("/api/tasks", headers={"origin": origin})
    assert "access-control-allow-origin" not in answer.headers
    await ada.options("/api/tasks", headers={"origin": origin, "access-control-request-method": "GET"})
    assert said() == [f"The origin {origin} is not in FRONTEND_URL."]


async def test_our_own_and_what_no_browser_sends_are_not_told(ada: httpx.AsyncClient, said: Said) -> None:
    for origin in (f"http://{ada.base_url.host}", "x", "https://a b", "https://a\x1b[31m", "https://" + "x" * 300):
        await ada.get("/api/tasks", headers={"origin": origin.encode("latin-1")})  # type: ignore[dict-item]
    assert said() == []
