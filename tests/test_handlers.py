"""Handlers whose way is laid at the start: what they may take, and that Litestar's own still work beside them."""

import httpx
import pytest
from litestar import Litestar, Response
from litestar import get as litestars_get
from litestar.params import FromPath

from app.handlers import Dispatch, get


@get("/numbers/{number:int}")
async def number(number: FromPath[int]) -> dict[str, int]:
    return {"number": number}


@get("/boxed")
async def boxed() -> Response[dict[str, int]]:
    return Response({"a": 1}, headers={"X-Box": "yes"})


@litestars_get("/theirs")
async def theirs() -> dict[str, int]:
    return {"theirs": 1}


@get("/nowhere")
async def nowhere(mystery: int) -> dict[str, int]:
    return {"mystery": mystery}


async def test_ours_and_litestars_own_are_served_side_by_side() -> None:
    app = Litestar([number, boxed, theirs], openapi_config=None)
    app.asgi_handler = Dispatch(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        answers = [await client.get(path) for path in ("/numbers/7", "/boxed", "/theirs", "/numbers/7/")]

    assert [answer.json() for answer in answers] == [{"number": 7}, {"a": 1}, {"theirs": 1}, {"number": 7}]
    assert {answer.headers["content-type"] for answer in answers} == {"application/json"}
    assert answers[1].headers["x-box"] == "yes"


def test_an_argument_that_comes_from_nowhere_stops_the_start() -> None:
    with pytest.raises(TypeError, match="mystery comes from nowhere"):
        Litestar([nowhere], openapi_config=None)
