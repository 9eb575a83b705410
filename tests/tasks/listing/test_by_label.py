"""The list of tasks with some labels."""

import asyncpg
import httpx
import pytest

from tests.tasks.test_labels import TASKS, make


async def titles(client: httpx.AsyncClient, query: str) -> list[str]:
    answer = await client.get(f"{TASKS}?{query}")
    assert answer.status_code == 200, answer.text
    return [task["title"] for task in answer.json()["data"]]


async def test_it_has_those_with_all_of_them(ada: httpx.AsyncClient, bob: httpx.AsyncClient) -> None:
    for title, labels in {"1": ["a, b"], "2": ["Café", "a, b"], "3": ["Café", "c/d"], "4": []}.items():
        await make(ada, *labels, title=title)
    await make(bob, "c/d", "only his", title="his")
    assert await titles(ada, "label=a,+b") == ["2", "1"]
    assert await titles(ada, "label=CAFE%CC%81") == ["3", "2"]
    assert await titles(ada, "label=caf%C3%A9&label=A,%20B&label=Caf%C3%A9") == ["2"]
    assert await titles(ada, "label=c/d&label=a,+b") == []
    assert await titles(ada, "label=c%2Fd&completed=false&q=3") == ["3"]
    for nothing in ("label=never", "label=never&label=a,+b", "label=only+his"):
        assert await titles(ada, nothing) == []
        assert (await ada.get(f"{TASKS}?{nothing}&count=true")).json()["page"] == {"next": None, "total": 0}


async def test_pages_of_it_go_on(ada: httpx.AsyncClient) -> None:
    for title in ("1", "2", "3"):
        await make(ada, "a", "b,c", title=title)
    first = await ada.get(f"{TASKS}?label=a&label=B,C&limit=2&count=true")
    assert first.json()["page"]["total"] == 3
    following = first.links["next"]["url"]
    assert "label=a&label=B%2CC&" in following
    assert [task["title"] for task in (await ada.get(following)).json()["data"]] == ["1"]
    cursor = first.json()["page"]["next"]
    assert (await ada.get(f"{TASKS}?label=a&limit=2&cursor={cursor}")).status_code == 422


@pytest.mark.parametrize("wrong", ["", "%00", "a%0Ab", ".", "x" * 51, "a&label=", "&".join(["label=a"] * 51)[6:]])
async def test_what_is_no_name_is_refused(ada: httpx.AsyncClient, sql: asyncpg.Connection, wrong: str) -> None:
    answer = await ada.get(f"{TASKS}?label={wrong}")
    assert answer.status_code == 422
    assert answer.json()["error"]["fields"][0]["field"] == "label"
