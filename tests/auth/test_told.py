"""What the log says of refused tokens and of origins that are not ours: why, and nothing of the token."""

import logging
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest

from app.observability import logs
from tests.conftest import SECRET

Said = Callable[[], list[str]]
SOON = 600  # seconds


def signed(secret: str = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token, made now; of `exp` and `nbf` it is said how many seconds from now they are."""
    wanted: dict[str, Any] = {"user_id": "ada", "exp": SOON, **claims}
    now = int(time.time())
    stamps = {name: now + wanted[name] for name in ("exp", "nbf") if wanted.get(name) is not None}
    made = {name: value for name, value in (wanted | stamps).items() if value is not None}
    return jwt.encode(made, secret, algorithm, headers=headers)


REFUSED: dict[str, Callable[[], str]] = {
    "no key of ours made its signature": lambda: signed(secret="another secret, but as long as ours is"),
    "it has expired (exp)": lambda: signed(exp=-60),
    "it has no exp": lambda: signed(exp=None),
    "its exp is no number below 2^53": lambda: signed(exp=2**53),
    "it is not valid yet (nbf)": lambda: signed(nbf=SOON),
    "its algorithm (alg) is none that is configured for its issuer": lambda: signed(SECRET * 2, "HS512"),
    "its issuer (iss) is none that is configured": lambda: signed(SECRET * 2, "HS512", iss="https://elsewhere.example"),
    "it names no user (user_id, sub)": lambda: signed(user_id=None),
    "it is no JSON Web Token of 8 KiB at most": lambda: "not.a.jwt!",
    "its typ is another than JWT or at+jwt": lambda: signed(headers={"typ": "dpop+jwt"}),
    "its login has ended, or it was revoked, or never given out": lambda: "tsk_" + "x" * 43,
}


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Said:
    """What the log has said of them so far."""
    monkeypatch.setattr(logs, "_told", {})
    caplog.set_level(logging.INFO, "app")
    names = ("app.auth.middleware", "app.web.middleware")
    return lambda: [record.getMessage() for record in caplog.records if record.name in names]


@pytest.mark.parametrize(("reason", "token"), REFUSED.items(), ids=REFUSED)
async def test_it_says_why_a_token_was_refused(
    stranger: httpx.AsyncClient, said: Said, reason: str, token: Callable[[], str]
) -> None:
    answer = await stranger.get("/api/tasks", headers={"authorization": f"Bearer {token()}"})
    assert answer.status_code == 401
    assert said() == [f"A token was refused: {reason}."]
    assert reason not in answer.text


async def test_each_reason_is_told_once_a_second_at_most(
    stranger: httpx.AsyncClient, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(logs.time, "monotonic", lambda: clock[0])
    expired, unsigned = ({"authorization": f"Bearer {token()}"} for token in [*REFUSED.values()][1::-1])
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
