"""What is asked of a contender, workload by workload: its requests, and the same as statements for pgbench."""

import functools
import json
import random
import re
import time
from collections.abc import Callable
from typing import NamedTuple

import jwt

from benchmarks.contenders import statements
from benchmarks.data import STRIDE, Group, Population

SECRET = "a secret for benchmarks alone: of more than 32 bytes"  # noqa: S105
TOKEN_SECONDS = 2 * 60 * 60
TASKS_PER_USER = 4  # that are asked for, of a reader's or an editor's
MIX = {"list20": 60, "get": 15, "post": 10, "toggle": 10, "put": 5}  # in percent
MIXED_REQUESTS = 2000
KEYED = "-keyed"  # ends the name of a workload whose changes have an Idempotency-Key
KEY = "{key}"  # in a request: the load puts another one here each time

Requests = list[bytes]


def token(user: int, secret: str = SECRET, seconds: int = TOKEN_SECONDS) -> str:
    """Return a token for the user of this number."""
    now = int(time.time())
    return jwt.encode({"user_id": str(user), "iat": now - 7200, "exp": now + seconds}, secret, "HS256")


def request(method: str, path: str, bearer: str | None, body: object = None, *, keyed: bool = False) -> bytes:
    """Return one request as it goes over the wire; a keyed one with a place for its key."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if keyed:
        lines.append(f"Idempotency-Key: {KEY}")
    if bearer is not None:
        lines.append(f"Authorization: Bearer {bearer}")
    content = b""
    if body is not None:
        content = json.dumps(body).encode()
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


class Asking:
    """Makes the requests. The same each time, tokens aside."""

    def __init__(self, population: Population) -> None:
        """Ask as these people."""
        self.population = population
        self.random = random.Random(7)  # noqa: S311
        self._tokens: dict[int, str] = {}

    def requests(self, workload: str) -> Requests:
        """Return the requests of a workload, of which the load picks at random."""
        make: dict[str, Callable[[], Requests]] = {
            "list20": lambda: self._lists(self.population.short),
            "list100": lambda: self._lists(self.population.readers),
            "list1000": lambda: self._lists(self.population.long),
            "get": lambda: self._tasks("GET", self.population.readers),
            "post": self._posts,
            "put": lambda: self._tasks("PUT", self.population.editors),
            "toggle": lambda: self._tasks("PATCH", self.population.editors),
            "post-keyed": lambda: self._posts(keyed=True),
            "put-keyed": lambda: self._tasks("PUT", self.population.editors, keyed=True),
            "toggle-keyed": lambda: self._tasks("PATCH", self.population.editors, keyed=True),
            "401": self._strangers,
            "mixed": self._mixed,
            "mixed-keyed": functools.partial(self._mixed, KEYED),
        }
        return make[workload]()

    def _token(self, user: int) -> str:
        if user not in self._tokens:
            self._tokens[user] = token(user)
        return self._tokens[user]

    def _lists(self, group: Group) -> Requests:
        return [request("GET", "/api/tasks", self._token(user)) for user in group.numbers]

    def _tasks(self, method: str, group: Group, *, keyed: bool = False) -> Requests:
        path = "/api/tasks/{}/complete" if method == "PATCH" else "/api/tasks/{}"
        made = []
        for user in group.numbers:
            for number in self.random.sample(range(group.tasks), TASKS_PER_USER):
                body = self._content() if method == "PUT" else None
                made.append(request(method, path.format(number * STRIDE + user), self._token(user), body, keyed=keyed))
        return made

    def _posts(self, *, keyed: bool = False) -> Requests:
        users = [user for user in self.population.posters.numbers for _ in range(TASKS_PER_USER)]
        return [request("POST", "/api/tasks", self._token(user), self._content(), keyed=keyed) for user in users]

    def _content(self) -> dict[str, str | None]:
        number = self.random.randrange(1000)
        text = f"Somebody said something about number {number} that should be kept" if number % 3 else None
        return {"title": f"Something new, number {number}, to be done", "description": text}

    def _strangers(self) -> Requests:
        forged = [token(user, secret="another secret, but just as long as ours is") for user in range(1, 251)]  # noqa: S106
        expired = [token(user, seconds=-3600) for user in range(1, 251)]
        none: list[str | None] = [None, "abc"] * 250
        return [request("GET", "/api/tasks", bearer) for bearer in (*none, *forged, *expired)]

    def _mixed(self, changes: str = "") -> Requests:
        made: Requests = []
        for part, percent in MIX.items():
            workload = part + changes if WORKLOADS[part].writes else part
            made += self.random.choices(self.requests(workload), k=MIXED_REQUESTS * percent // 100)
        return made


class Workload(NamedTuple):
    """What a workload is, in words, and what it leaves behind."""

    words: str
    writes: bool = False
    status: int = 2  # the first digits of the answers that it wants


WORKLOADS = {
    "list20": Workload("GET /api/tasks, 20 tasks"),
    "list100": Workload("GET /api/tasks, 100 tasks"),
    "list1000": Workload("GET /api/tasks, 1,000 tasks"),
    "get": Workload("GET /api/tasks/{id}"),
    "post": Workload("POST /api/tasks", writes=True),
    "put": Workload("PUT /api/tasks/{id}", writes=True),
    "toggle": Workload("PATCH /api/tasks/{id}/complete", writes=True),
    "401": Workload("GET /api/tasks without a valid token", status=401),
    "mixed": Workload("60 % lists of 20, 15 % gets, 10 % posts, 10 % toggles, 5 % puts", writes=True),
    **{
        f"{name}{KEYED}": Workload(f"{words}, each change with an Idempotency-Key of its own", writes=True)
        for name, words in (
            ("post", "POST /api/tasks"),
            ("put", "PUT /api/tasks/{id}"),
            ("toggle", "PATCH /api/tasks/{id}/complete"),
            ("mixed", "the mixture"),
        )
    },
}


# Whose tasks are asked for, the statement, and the names of its values.
STATEMENTS: dict[str, tuple[str, str, str]] = {
    "list20": ("short", statements.LIST, "user"),
    "list100": ("readers", statements.LIST, "user"),
    "list1000": ("long", statements.LIST, "user"),
    "get": ("readers", statements.GET, "user id"),
    "post": ("posters", statements.POST, "user title description"),
    "put": ("editors", statements.PUT, "user id title description"),
    "toggle": ("editors", statements.TOGGLE, "user id"),
}


def scripts(workload: str, population: Population) -> list[tuple[str, int]]:
    """Return the workload as scripts for pgbench, each with its weight; none where the database alone has no part."""
    if workload == "mixed":
        return [(_script(part, population), percent) for part, percent in MIX.items()]
    return [(_script(workload, population), 1)] if workload in STATEMENTS else []


def _script(workload: str, population: Population) -> str:
    who, statement, values = STATEMENTS[workload]
    group: Group = getattr(population, who)
    names = values.split()
    statement = statement.replace("HH24:MI:SS", 'HH24":"MI":"SS')  # pgbench takes :MI for one of its variables
    sql = re.sub(r"\$(\d)", lambda number: f":{names[int(number[1]) - 1]}", statement)
    lines = [rf"\set user random({group.numbers[0]}, {group.numbers[-1]})"]
    if "id" in names:
        lines.append(rf"\set id random(0, {group.tasks - 1}) * {STRIDE} + :user")
    return "\n".join([*lines, f"{' '.join(sql.split())};", ""])
