"""Does a contender keep the contract, as far as it is asked here? Whoever does not is not timed."""

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import jwt

from benchmarks.data import STRIDE, Population
from benchmarks.lineup import Contender
from benchmarks.workloads import SECRET, token

# Of every task, those of our older commits too.
FIELDS = {"id", "user_id", "title", "description", "completed", "created_at", "updated_at"}
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z")
FLIPS_AT_ONCE = 31  # an odd number: the task is another one afterwards


class Broken(Exception):
    """The contract is broken; the message says where."""


def check(port: int, population: Population, contender: Contender) -> None:
    """Ask everything that is timed, and what must be refused. Raises Broken."""
    checks: list[Callable[[str, Population], None]] = [_lists, _writing, _flips_at_once, _refusals, _strangers]
    checks += [_keys] if contender.takes_keys else []
    checks += [_rate_limit] if contender.as_served else []
    for each in checks:
        try:
            each(f"http://127.0.0.1:{port}", population)
        except (httpx.HTTPError, KeyError, TypeError, ValueError, IndexError) as error:
            raise Broken(f"{each.__name__.strip('_')}: {type(error).__name__}: {error}") from error


def _client(url: str, user: int) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token(user)}"}, timeout=10)


def _want(is_so: object, what: str) -> None:
    if not is_so:
        raise Broken(what)


def _data(answer: httpx.Response, status: int, what: str) -> Any:
    """The data of a success that is as every success has to be."""
    _want(answer.status_code == status, f"{what} answers {answer.status_code}, not {status}")
    caching = "private, no-cache" if "etag" in answer.headers else "no-store"
    for name, value in (("cache-control", caching), ("x-content-type-options", "nosniff")):
        _want(answer.headers.get(name) == value, f"{what} has no {name}: {value}")
    _want("origin" in answer.headers.get("vary", "").lower(), f"{what} has no vary: Origin")
    _want(answer.headers.get("x-request-id"), f"{what} has no x-request-id")
    _want("server" not in answer.headers, f"{what} says which server it is")
    _want(answer.headers["content-type"].startswith("application/json"), f"{what} is not JSON")
    _want(answer.json().keys() == {"data"}, f"{what} has not the envelope of a success")
    return answer.json()["data"]


def _task(task: dict[str, Any], user: int, **wanted: Any) -> dict[str, Any]:
    _want(task.keys() >= FIELDS, f"a task has the fields {sorted(task)}")
    _want(type(task["id"]) is int, "an id is no integer")
    _want(type(task["completed"]) is bool, "completed is no boolean")
    for name in ("created_at", "updated_at"):
        _want(STAMP.fullmatch(task[name]), f"{name} is {task[name]}")
    for name, value in {**wanted, "user_id": str(user)}.items():
        _want(task[name] == value, f"{name} is {task[name]!r}, not {value!r}")
    return task


def _code(answer: httpx.Response, status: int, code: str, what: str) -> None:
    _want(answer.status_code == status, f"{what} is {answer.status_code}, not {status}")
    _want(answer.json()["error"]["code"] == code, f"{what} has not the envelope of a failure")
    _want(answer.headers.get("x-request-id"), f"{what} has no x-request-id")


def _lists(url: str, population: Population) -> None:
    for group in (population.short, population.readers, population.long):
        if not group.users:
            continue
        user = group.numbers[-1]
        with _client(url, user) as client:
            for path in ("/api/tasks", "/api/tasks/"):
                tasks = _data(client.get(path), 200, f"GET {path}")
                wanted = [number * STRIDE + user for number in reversed(range(group.tasks))]
                _want([task["id"] for task in tasks] == wanted, f"GET {path} does not list all tasks, newest first")
                for task in tasks:
                    _task(task, user)
            sent = client.get("/api/tasks", headers={"X-Request-ID": "mine-1"})
            _want(sent.headers["x-request-id"] == "mine-1", "the caller's x-request-id does not come back")


def _writing(url: str, population: Population) -> None:
    user = population.posters.first
    with _client(url, user) as client:
        made = client.post("/api/tasks", json={"title": "  Bücher\u2009kaufen ✓ ", "description": "1\n2", "id": 1})
        first = _data(made, 201, "POST /api/tasks")
        _task(first, user, title="Bücher\u2009kaufen ✓", description="1\n2", completed=False)
        path = f"/api/tasks/{first['id']}"
        _want(made.headers["location"] == path, "POST /api/tasks has no Location")
        _want(_data(client.get(path), 200, "GET") == first, "GET is not what POST has made")
        flipped = _data(client.patch(f"{path}/complete"), 200, "PATCH")
        _task(flipped, user, completed=True, title=first["title"], created_at=first["created_at"])
        replaced = _data(client.put(path, json={"title": "New"}), 200, "PUT")
        _task(replaced, user, title="New", description=None, completed=True, created_at=first["created_at"])
        stamps = [_moment(each["updated_at"]) for each in (first, flipped, replaced)]
        _want(stamps[0] < stamps[1] < stamps[2], "updated_at does not move on with every change")
        _want(_data(client.get("/api/tasks"), 200, "GET")[0] == replaced, "the list does not know what PUT has done")


def _moment(stamp: str) -> str:
    """A stamp in a form in which earlier ones sort before later ones."""
    whole, _, fraction = stamp.removesuffix("Z").partition(".")
    return f"{whole}.{fraction:0<6}"


def _flips_at_once(url: str, population: Population) -> None:
    user = population.posters.first
    with _client(url, user) as client, ThreadPoolExecutor(8) as threads:
        task = _data(client.post("/api/tasks", json={"title": "Flip me"}), 201, "POST /api/tasks")
        path = f"/api/tasks/{task['id']}"
        flips = [threads.submit(client.patch, f"{path}/complete") for _ in range(FLIPS_AT_ONCE)]
        for flip in flips:
            _data(flip.result(), 200, "concurrent PATCH,")
        _want(_data(client.get(path), 200, "GET")["completed"], "concurrent flips get lost")


def _keys(url: str, population: Population) -> None:
    user = population.posters.first
    with _client(url, user) as client:
        key = {"Idempotency-Key": "one-key"}
        first, again = (client.post("/api/tasks", json={"title": "Once"}, headers=key) for _ in range(2))
        _want(_data(first, 201, "POST with a key") == _data(again, 201, "the same POST"), "a key makes two tasks")
        path = f"{first.headers['location']}/complete"
        for _ in range(2):
            toggled = _data(client.patch(path, headers={"Idempotency-Key": "another-key"}), 200, "PATCH with a key")
            _want(toggled["completed"], "a key toggles twice")


def _rate_limit(url: str, population: Population) -> None:
    with _client(url, population.posters.first) as client:
        _want("ratelimit" in client.get("/api/tasks").headers, "no request is counted for the rate limit")


def _refusals(url: str, population: Population) -> None:
    theirs = f"/api/tasks/{population.short.first}"
    with _client(url, population.posters.first) as client:
        for path in (theirs, "/api/tasks/999999999"):
            _code(client.get(path), 404, "NOT_FOUND", f"GET of {path}, which is not the caller's,")
            _code(client.put(path, json={"title": "Mine"}), 404, "NOT_FOUND", f"PUT of {path}, not the caller's,")
            _code(client.patch(f"{path}/complete"), 404, "NOT_FOUND", f"PATCH of {path}, not the caller's,")
        for body in ({"title": "   "}, {"title": "x" * 501}, {}, {"title": 1}):
            _code(client.post("/api/tasks", json=body), 422, "VALIDATION_ERROR", f"POST of {str(body)[:40]}")
        _code(client.get("/api/tasks/abc"), 422, "VALIDATION_ERROR", "GET /api/tasks/abc")


def _strangers(url: str, population: Population) -> None:
    user = population.short.first
    unsigned = jwt.encode({"user_id": str(user), "exp": int(time.time()) + 3600}, "", "none")
    endless = jwt.encode({"user_id": str(user)}, SECRET, "HS256")
    tokens = (None, "abc", token(user, secret="x" * 40), token(user, seconds=-3600), unsigned, endless)
    with httpx.Client(base_url=url, timeout=10) as client:
        for each in tokens:
            headers = {} if each is None else {"Authorization": f"Bearer {each}"}
            for method, path in (("GET", "/api/tasks"), ("POST", "/api/tasks"), ("PATCH", "/api/tasks/1/complete")):
                answer = client.request(method, path, headers=headers)
                _code(answer, 401, "UNAUTHORIZED", f"{method} {path} with a bad token")
                _want("bearer" in answer.headers.get("www-authenticate", "").lower(), "a 401 has no WWW-Authenticate")
