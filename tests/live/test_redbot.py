"""What REDbot, which is lint for HTTP, says of our answers, of the conditional ones above all."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import ORIGIN, token
from tests.live.tools import from_pypi

pytestmark = pytest.mark.slow

SOURCE = Path(__file__).with_name("redbot")
GRACE = {"authorization": f"Bearer {token('grace')}"}
# What RFC 9110, section 15.4.5, does not want in a 304: the client has it, beside the body.
OF_THE_CONTENT = {"content-type", "content-length", "link"}
OF_THE_MOMENT = {"date", "x-request-id"}


@pytest.fixture(scope="session")
def python() -> Path:
    """The Python that has REDbot."""
    return from_pypi(SOURCE)


@pytest.fixture
def grace(service: Any) -> Iterator[httpx.Client]:
    """Grace, who has three tasks."""
    with httpx.Client(base_url=service.url, headers=GRACE) as client:
        for title in ("Buy milk", "Water the plants", "Call the plumber"):
            assert client.post("/api/tasks", json={"title": title}).status_code == 201
        yield client


@pytest.fixture
def task(grace: httpx.Client) -> str:
    """The path of one of her tasks."""
    return f"/api/tasks/{grace.get('/api/tasks').json()['data'][0]['id']}"


def examined(python: Path, *requests: dict[str, Any]) -> list[Any]:
    """What REDbot has to say about each of these requests, as redbot/examine.py tells it."""
    command = [f"{python}", f"{SOURCE / 'examine.py'}"]
    done = subprocess.run(command, input=json.dumps(requests), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_finds_no_fault(python: Path, grace: httpx.Client, task: str) -> None:
    tag = grace.get(task).headers["etag"]
    tagged = [task, "/api/tasks", "/api/tasks?limit=2", "/api/tasks?limit=2&sort=title&fields=id,title"]
    plain = ["/", "/openapi.json", "/health/live", "/health/ready", "/api/trash", f"{task}/history"]
    asked = [(path, 200, {**GRACE, **origin}) for path in tagged for origin in ({}, {"origin": ORIGIN})]
    asked += [(path, 200, GRACE) for path in plain]
    asked += [(path, 404, GRACE) for path in ("/api/tasks/0", "/nothing")]
    asked += [(task, 304, {**GRACE, "if-none-match": tag}), (task, 401, {}), ("/api/tasks?limit=0", 422, GRACE)]

    url = str(grace.base_url).rstrip("/")
    requests = [{"method": "GET", "url": url + path, "headers": headers} for path, _, headers in asked]
    found = examined(python, *requests)

    for (path, status, _), what in zip(asked, found, strict=True):
        assert what["status"] == status, path
        assert what["validated"] == (path in tagged and status == 200), path
        assert not [note for note in what["notes"] if not note.startswith(("good", "info"))], path


@pytest.mark.parametrize("origin", [{}, {"origin": ORIGIN}], ids=["here", "from a frontend"])
@pytest.mark.parametrize("path", ["/api/tasks", "/api/tasks?limit=2", "a task"])
def test_a_304_has_the_headers_that_the_200_had_but_for_those_of_its_content(
    path: str, origin: dict[str, str], grace: httpx.Client, task: str
) -> None:
    path = task if path == "a task" else path
    whole = grace.get(path, headers=origin)
    same = grace.get(path, headers={**origin, "if-none-match": whole.headers["etag"]})

    assert (whole.status_code, same.status_code, same.content) == (200, 304, b"")
    assert {*whole.headers} - {*same.headers} <= OF_THE_CONTENT
    assert {*same.headers} >= {"cache-control", "date", "etag", "vary", "x-request-id"}
    for name in {*same.headers} - OF_THE_MOMENT:
        assert same.headers[name] == whole.headers[name]
