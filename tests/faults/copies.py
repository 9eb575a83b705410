"""Requests that are sent several times under one Idempotency-Key, while the first of them is still being served."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import httpx

from tests.conftest import token

BATCH = "/api/tasks/batch"
SAME = ("location", "etag", "content-type", "cache-control")
TITLES = 12  # tasks that somebody has to begin with; the last two are in the trash
KEY_REUSED = (422, "IDEMPOTENCY_KEY_REUSED")


class Task(NamedTuple):
    """A task as it was before the request."""

    id: int
    version: int

    @property
    def tag(self) -> str:
        return f'"v{self.version}"'

    def __str__(self) -> str:
        return str(self.id)


Body = Callable[[list[Task]], Any]


def fixed(content: Any) -> Body:
    """A body that is the same whatever tasks there are."""

    def make(_: list[Task]) -> Any:
        return content

    return make


class Request(NamedTuple):
    """A request: its path and its If-Match may name tasks, as `{0}` and `{0.tag}`; its body is made of tasks."""

    method: str
    path: str
    body: Body = fixed(None)
    tag: str | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.tag} {self.body([Task(n, n) for n in range(TITLES)])}"


def batch(*makes: Body) -> Request:
    def make(tasks: list[Task]) -> Any:
        return {"operations": [each for some in makes for each in some(tasks)]}

    return Request("POST", BATCH, make)


def operations(op: str, part: slice, *, versions: bool = False, **more: Any) -> Body:
    """So many operations of one kind; each may say which version it means."""

    def make(tasks: list[Task]) -> list[dict[str, Any]]:
        said = [{"version": task.version} if versions else {} for task in tasks[part]]
        return [{"op": op, "id": task.id} | each | more for task, each in zip(tasks[part], said, strict=True)]

    return make


def creates(title: str) -> Body:
    return fixed([{"op": "create", "data": {"title": f"{title} {number}"}} for number in range(3)])


def of_one(method: str, path: str, body: Any = None) -> list[Request]:
    return [Request(method, path, fixed(body)), Request(method, path, fixed(body), "{0.tag}")]


def trashed(method: str, path: str) -> list[Request]:
    return [Request(method, path), Request(method, path, tag="{10.tag}")]


def before(tasks: list[Task]) -> Any:
    """Name the first version of the first task."""
    return {"version": tasks[1].version - 1}


# The first two are somebody's first write ever.
FIRST = [Request("POST", "/api/tasks", fixed({"title": "first"})), batch(creates("first"))]
REQUESTS = [
    *FIRST,
    Request("POST", "/api/tasks", fixed({"title": "new", "description": "more"})),
    *of_one("PUT", "/api/tasks/{0}", {"title": "replaced"}),
    *of_one("PATCH", "/api/tasks/{0}", {"title": "patched"}),
    *of_one("PATCH", "/api/tasks/{0}", {}),
    *of_one("PATCH", "/api/tasks/{0}/complete"),
    *of_one("DELETE", "/api/tasks/{0}"),
    Request("POST", "/api/tasks/{0}/revert", before),
    Request("POST", "/api/tasks/{0}/revert", before, "{0.tag}"),
    *trashed("POST", "/api/tasks/{10}/restore"),
    *trashed("DELETE", "/api/trash/{10}"),
    Request("DELETE", "/api/trash"),
    batch(operations("complete", slice(9))),
    batch(operations("complete", slice(9), versions=True)),
    batch(operations("delete", slice(9))),
    batch(operations("delete", slice(9), versions=True)),
    batch(operations("update", slice(9), data={"title": "updated"})),
    batch(operations("update", slice(9), versions=True, data={"title": "updated"})),
    batch(operations("update", slice(9), versions=True, data={})),
    batch(operations("replace", slice(9), versions=True, data={"title": "replaced"})),
    batch(creates("more"), operations("delete", slice(4)), operations("complete", slice(4, 9), versions=True)),
]
ANOTHER = Request("PATCH", "/api/tasks/{0}", fixed({"title": "another"}))
ANOTHER_BATCH = batch(operations("delete", slice(6)), creates("another"))


class Person:
    """Somebody whom the database has not seen."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        """Take a client that opens a connection for each request, so that any worker may get it."""
        self._client = client
        self._headers = {"authorization": f"Bearer {token(f'copies-{secrets.token_hex(8)}')}"}
        self.tasks: list[Task] = []

    async def ask(
        self, method: str, path: str, json: Any = None, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        return await self._client.request(method, path, json=json, headers={**self._headers, **(headers or {})})

    async def settle(self) -> None:
        """Have tasks, one of them changed, some in the trash."""
        made = await self.ask(
            "POST", BATCH, {"operations": [{"op": "create", "data": {"title": f"{n}"}} for n in range(TITLES)]}
        )
        ids = [each["data"]["id"] for each in made.json()["data"]]
        changed = await self.ask("PATCH", f"/api/tasks/{ids[0]}", {"title": "changed"})
        for each in ids[10:]:
            await self.ask("DELETE", f"/api/tasks/{each}")
        there = [
            *(await self.ask("GET", "/api/tasks")).json()["data"],
            *(await self.ask("GET", "/api/trash")).json()["data"],
        ]
        versions = {task["id"]: task["version"] for task in there}
        assert versions[ids[0]] == changed.json()["data"]["version"]
        self.tasks = [Task(each, versions.get(each, 1)) for each in ids]

    async def send(self, request: Request, key: str) -> httpx.Response:
        tag = {} if request.tag is None else {"if-match": request.tag.format(*self.tasks)}
        path = request.path.format(*self.tasks)
        return await self.ask(request.method, path, request.body(self.tasks), {"idempotency-key": key, **tag})

    async def state(self) -> list[Any]:
        """All that there is, but for what differs from one person to the next."""
        tasks = (await self.ask("GET", "/api/tasks")).json()["data"]
        pasts = [await self.ask("GET", f"/api/tasks/{task['id']}/history") for task in tasks]
        trash = (await self.ask("GET", "/api/trash")).json()["data"]
        content = sorted((each["title"], each["description"], each["completed"]) for each in trash)
        return content + [
            (task["title"], task["description"], task["completed"], len(past.json()["data"]))
            for task, past in zip(tasks, pasts, strict=True)
        ]


async def copied(client: httpx.AsyncClient, request: Request, copies: int) -> str:
    """Send a request so many times in one moment; returns what is wrong with answers or effect, or nothing."""
    person, twin = Person(client), Person(client)
    if request not in FIRST:
        await asyncio.gather(person.settle(), twin.settle())
    key = secrets.token_hex(16)
    answers = await asyncio.gather(*(person.send(request, key) for _ in range(copies)))
    once = await twin.send(request, key)
    told = {(each.status_code, each.content, *(each.headers.get(name) for name in SAME)) for each in answers}
    first = sum("idempotent-replayed" not in each.headers for each in answers)
    states = await asyncio.gather(person.state(), twin.state())
    if len(told) == first == 1 and once.is_success and answers[0].status_code == once.status_code:
        return "" if states[0] == states[1] else f"{request}: {states[0]} instead of {states[1]}"
    return f"{request}: {sorted(each.status_code for each in answers)}, {first} of them as the first"


async def contested(client: httpx.AsyncClient, one: Request, other: Request) -> str:
    """Send two requests under one key in one moment: whichever comes second is told so."""
    person = Person(client)
    await person.settle()
    key = secrets.token_hex(16)
    answers: list[httpx.Response] = await asyncio.gather(*(person.send(each, key) for each in (one, other)))
    lost = [each for each in answers if not each.is_success]
    told = [(each.status_code, each.json()["error"]["code"]) for each in lost]
    return "" if told == [KEY_REUSED] else f"{one} against {other}: {told}"


async def wrong_rounds(client: httpx.AsyncClient, count: int, *, keeps_trash: bool = True) -> list[str]:
    """Go so many rounds through every kind of request, a quarter against another one; return what is wrong."""
    requests = [each for each in REQUESTS if keeps_trash or "{10}" not in each.path]
    found: list[str] = []
    for number in range(count):
        request = requests[number % len(requests)]
        if number % 4 == 3 and request not in FIRST:
            found.append(await contested(client, request, ANOTHER_BATCH if number % 8 == 7 else ANOTHER))
        else:
            found.append(await copied(client, request, 2 + number % 4))
    return [each for each in found if each]
