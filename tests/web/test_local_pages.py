"""Whose pages may read the answers: with the embedded database any of this machine, else those of FRONTEND_URL."""

from typing import Any

import httpx
import msgspec
import pytest
from litestar import Litestar

from app.main import create_app

EVERYWHERE = ["http://localhost:3000"]
LOCAL = ["http://localhost", "http://localhost:5173", "http://127.0.0.1:8081", "http://127.0.0.1"]
NEITHER = [
    *("https://localhost:5173", "http://localhost.example", "http://127.0.0.1.example", "http://localhost:5173/"),
    *("http://LOCALHOST:5173", "http://[::1]:5173", "http://127.0.0.2", "http://xlocalhost", "http://localhost:123456"),
    *("null", "http://localhost:", "http://user@localhost", "http://localhost:80:80", "capacitor://localhost"),
]


@pytest.mark.parametrize("is_embedded", [True, False])
@pytest.mark.parametrize("origin", [*EVERYWHERE, *LOCAL, *NEITHER])
async def test_a_local_page_is_let_in_where_the_database_is_the_embedded_one(
    running: Litestar, origin: str, is_embedded: bool
) -> None:
    url = None if is_embedded else "postgresql://nobody@127.0.0.1:1/none"
    app: Any = create_app(msgspec.structs.replace(running.state["settings"], database_url=url))
    ask = {"origin": origin, "access-control-request-method": "PATCH"}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answers = [
            await client.get("/health/live", headers={"origin": origin}),
            await client.get("/api/tasks", headers={"origin": origin}),
            await client.options("/api/tasks", headers=ask),
        ]
    is_let_in = origin in EVERYWHERE or (is_embedded and origin in LOCAL)
    for answer in answers:
        allowed = {name: value for name, value in answer.headers.items() if name.startswith("access-control")}
        assert allowed.get("access-control-allow-origin") == (origin if is_let_in else None)
        assert bool(allowed) == is_let_in
