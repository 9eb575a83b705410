"""Clients who change the same tasks whatever breaks, and a judge who holds every answer against the history.

Every change of an owner has a version of its own, and the versions are totally ordered. So the history is the order in
which the changes happened, and the judge need not search for one, as Jepsen's checkers do: each acknowledged change is
in it once, follows from the version before it, and comes after every change that was acknowledged before it was asked
for. What was not acknowledged is in it once or not at all.
"""

import asyncio
import json
import random
import secrets
import time
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from itertools import accumulate, count
from typing import Any, NamedTuple

from tests.conftest import token

CLIENTS_EACH = 4
MANY = 25  # tasks of one owner, from which on fewer are made
TRIES = 400  # of a request with a key, until there is an answer
PAUSE = 0.05  # seconds between two tries
HANG_UP = 0.05  # of all requests, in the first 30 ms
BATCH = "/api/tasks/batch"
CONTENT = ("title", "description", "completed")
KINDS = {"patch": 6, "put": 3, "toggle": 5, "delete": 3, "restore": 3, "revert": 2, "purge": 1, "batch": 3, "dry": 1}

Content = tuple[Any, ...]


class Answer(NamedTuple):
    """What came back."""

    status: int
    body: Any
    is_replay: bool


async def exchange(port: int, said: bytes, *, hang_up: float | None = None) -> Answer | None:
    """Send a request on a connection of its own. Returns nothing where no answer came, or the client hung up first."""
    with suppress(OSError, TimeoutError, ValueError, IndexError):
        async with asyncio.timeout(hang_up or 30):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(said)
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
                return Answer(int(head.split()[1]), json.loads(body or "null"), b"idempotent-replayed" in head.lower())
            finally:
                writer.close()
    return None


class Asked:
    """One request, what came of it in the end, and what it should have done."""

    def __init__(self, kind: str, method: str, path: str, body: Any = None, **more: Any) -> None:
        self.kind, self.method, self.path, self.body = kind, method, path, body
        self.task: int | None = more.get("task")
        self.condition: int | None = more.get("condition")
        self.marks: list[str] = more.get("marks", [])
        self.began = self.ended = 0.0
        self.answer: Answer | None = None

    def __repr__(self) -> str:
        return f"{self.kind} {self.method} {self.path} {self.body} If-Match {self.condition}: {self.answer}"

    @property
    def is_done(self) -> bool:
        return self.answer is not None and self.answer.status < 300

    @property
    def may_be_done(self) -> bool:
        return self.answer is None and self.kind != "dry"

    def results(self) -> list[tuple[str, int | None, Any]]:
        """What was done, one change after the other: the kind, the task, and what was told of it."""
        if self.answer is None or self.kind == "dry":
            return []
        if self.kind != "batch":
            return [(self.kind, self.task, self.answer.body and self.answer.body["data"])]
        told = zip(self.body["operations"], self.answer.body["data"], strict=True)
        return [(operation["op"], operation.get("id"), each["data"]) for operation, each in told]

    def parts(self) -> list[tuple[str, int | None]]:
        """The changes that it asks for: the kind and the task of each."""
        if self.kind != "batch":
            return [(self.kind, self.task)]
        return [(each["op"], each.get("id")) for each in self.body["operations"]]

    def names(self, task: int) -> bool:
        """Whether it may have put this task into the trash, or out of it."""
        return any(kind in ("delete", "purge") and each == task for kind, each in self.parts())


class Owner:
    """A user, and all that was asked in the user's name."""

    def __init__(self, port: int, numbers: "count[int]") -> None:
        self.id = f"linear-{secrets.token_hex(4)}"
        self.port = port
        self.asked: list[Asked] = []
        self.known: dict[int, int] = {}  # tasks, and the last version that was told of each
        self.trashed: set[int] = set()
        self.statuses = Counter[str]()
        self.wrong: list[str] = []
        self._numbers = numbers
        self._bearer = f"Authorization: Bearer {token(self.id)}\r\n"

    def message(self, asked: Asked, key: str | None = None) -> bytes:
        body = b"" if asked.body is None else json.dumps(asked.body).encode()
        lines = [f"{asked.method} {asked.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n", self._bearer]
        lines += [f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"] if body else []
        lines += [] if asked.condition is None else [f'If-Match: "v{asked.condition}"\r\n']
        lines += [] if key is None else [f"Idempotency-Key: {key}\r\n"]
        return "".join([*lines, "\r\n"]).encode() + body

    async def live(self) -> None:
        """Ask for one thing after the other until cancelled; what is under way then is never answered."""
        while True:
            await (self.read() if random.random() < 0.2 else self.change(self.invent()))

    async def read(self) -> None:
        path = f"/api/tasks/{random.choice([*self.known])}" if self.known and random.random() < 0.9 else "/api/tasks"
        asked = Asked("read", "GET", path)
        asked.began = time.monotonic()
        asked.answer = await exchange(self.port, self.message(asked))
        await self.take_in(asked)

    async def change(self, asked: Asked) -> None:
        """Ask for a change; with a key until there is an answer, and sometimes twice in one moment."""
        surely = {"revert": 1.0, "dry": 0.0}.get(asked.kind, 0.5)
        key = secrets.token_hex(16) if random.random() < surely else None
        said = self.message(asked, key)
        asked.began = time.monotonic()
        self.asked.append(asked)
        for _ in range(TRIES if key else 1):
            copies = 2 if key and random.random() < 0.2 else 1
            hang_ups = [random.uniform(0.001, 0.03) if random.random() < HANG_UP else None for _ in range(copies)]
            told = await asyncio.gather(*(exchange(self.port, said, hang_up=each) for each in hang_ups))
            self.statuses.update("503" for each in told if each and each.status == 503)
            answers = [each for each in told if each and each.status != 503]
            if answers:
                asked.answer = min(answers, key=lambda each: each.status)
                self.compare(asked, answers)
                break
            await asyncio.sleep(PAUSE)
        await self.take_in(asked)

    def compare(self, asked: Asked, answers: list[Answer]) -> None:
        """Two copies of a request are one; but one that was refused keeps nothing, and the task may come back."""
        statuses = sorted(each.status for each in answers)
        if statuses[0] < 300 and (
            412 in statuses or (statuses[-1] < 300 and any(each.body != answers[0].body for each in answers))
        ):
            self.wrong.append(f"copies differ: {asked} and {answers}")

    async def take_in(self, asked: Asked) -> None:
        asked.ended = time.monotonic()
        if asked.kind == "read":
            self.asked.append(asked)
        if asked.answer is None:
            self.statuses["none"] += 1
            await asyncio.sleep(PAUSE)
            return
        self.statuses[str(asked.answer.status)] += 1
        if asked.answer.status not in (200, 201, 204, 404, 412, 503):
            self.wrong.append(f"not an answer to expect: {asked}")
        if not asked.is_done or asked.kind == "dry":
            return
        for kind, task, data in [] if asked.kind == "read" else asked.results():
            if kind == "delete" and task is not None:
                self.trashed.add(task)
            elif kind == "purge" and task is not None:
                self.known.pop(task, None)
                self.trashed.discard(task)
            else:
                self.known[data["id"]] = max(self.known.get(data["id"], 0), data["version"])
                self.trashed.discard(data["id"])

    def mark(self) -> str:
        return f"mark {next(self._numbers)}"

    def invent(self) -> Asked:
        there = [each for each in self.known if each not in self.trashed]
        if len(there) < 3 or random.random() < 1 / (2 + len(there) if len(there) < MANY else 100):
            mark = self.mark()
            return Asked("create", "POST", "/api/tasks", {"title": mark}, marks=[mark])
        [kind] = random.choices([*KINDS], weights=[*KINDS.values()])
        if kind in ("restore", "purge") and not self.trashed:
            kind = "toggle"
        if kind in ("batch", "dry"):
            return self.invent_batch(kind, there)
        task = random.choice([*self.trashed] if kind in ("restore", "purge") else there)
        condition = self.known[task] if kind != "restore" and random.random() < 0.3 else None
        mark = self.mark()
        path = f"/api/tasks/{task}"
        more: dict[str, Any] = {"task": task, "condition": condition}
        match kind:
            case "patch":
                return Asked(kind, "PATCH", path, {"description": mark}, marks=[mark], **more)
            case "put":
                return Asked(kind, "PUT", path, {"title": mark, "description": mark}, marks=[mark], **more)
            case "toggle":
                return Asked(kind, "PATCH", f"{path}/complete", **more)
            case "delete":
                return Asked(kind, "DELETE", path, **more)
            case "restore":
                return Asked(kind, "POST", f"{path}/restore", **more)
            case "revert":
                return Asked(kind, "POST", f"{path}/revert", {"version": self.known[task]}, **more)
            case _:
                return Asked("purge", "DELETE", f"/api/trash/{task}", task=task)

    def invent_batch(self, kind: str, there: list[int]) -> Asked:
        marks = [self.mark() for _ in range(4)]
        tasks = random.sample(there, 3)
        version = {"version": self.known[tasks[0]]} if random.random() < 0.3 else {}
        operations: list[dict[str, Any]] = [
            {"op": "create", "data": {"title": marks[0]}},
            {"op": "update", "id": tasks[0], "data": {"description": marks[1]}, **version},
            {"op": "replace", "id": tasks[1], "data": {"title": marks[2], "description": marks[3]}},
            {"op": random.choice(["complete", "delete"]), "id": tasks[2]},
        ]
        random.shuffle(operations)
        path = BATCH + "?dry_run=true" * (kind == "dry")
        return Asked(kind, "POST", path, {"operations": operations}, marks=marks)


class Event(NamedTuple):
    """One change of one task, as the history tells it."""

    task: int
    version: int
    action: str
    before: Content
    after: Content
    previous: int  # version of the task

    @property
    def written(self) -> set[str]:
        """The texts that it has put there."""
        return {text for text in self.after[:2] if text is not None} - {*self.before[:2]}


class Judge:
    """What has happened to an owner's tasks, and what is wrong with what was told of it."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.wrong = owner.wrong
        self.events: dict[int, Event] = {}
        self.there: set[int] = set()
        self.explained: dict[int, Asked] = {}

    async def ask(self, method: str, path: str) -> Any:
        answer = await exchange(self.owner.port, self.owner.message(Asked("look", method, path)))
        assert answer is not None
        assert answer.status == 200, answer
        return answer.body

    async def look(self) -> None:
        """Take all tasks out of the trash, and read all histories."""
        for task in (await self.ask("GET", "/api/trash"))["data"]:
            await self.ask("POST", f"/api/tasks/{task['id']}/restore")
        for task in (await self.ask("GET", "/api/tasks"))["data"]:
            self.there.add(task["id"])
            if task["user_id"] != self.owner.id:
                self.wrong.append(f"foreign: {task}")
            changes: list[Any] = []
            path = more = f"/api/tasks/{task['id']}/history?limit=200"
            while more:
                page = await self.ask("GET", more)
                changes += page["data"]
                more = page["page"]["next"] and f"{path}&before={page['page']['next']}"
            self.read_history(task, changes[::-1])

    def read_history(self, task: Any, changes: list[Any]) -> None:
        state: Content = (None, None, None)
        previous = 0
        for each in changes:
            told = each["changes"]
            after = tuple(told[name]["to"] if name in told else was for name, was in zip(CONTENT, state, strict=True))
            if each["version"] in self.events:
                self.wrong.append(f"one version for two changes: {each} and {self.events[each['version']]}")
            self.events[each["version"]] = Event(task["id"], each["version"], each["action"], state, after, previous)
            state, previous = after, each["version"]
        if (previous, state) != (task["version"], content(task)):
            self.wrong.append(f"the history does not end with the task: {task} and {changes[-1:]}")

    def judge(self) -> None:
        asked = self.owner.asked
        for each in asked:
            if each.is_done and each.kind not in ("read", "dry"):
                self.judge_done(each)
        self.judge_marks([each for each in asked if each.kind != "read"])
        self.judge_the_rest([each for each in asked if each.kind != "read"])
        self.judge_order()
        self.judge_reads([each for each in asked if each.kind == "read" and each.is_done])
        for each in asked:
            if each.answer and each.answer.status == 404:
                self.judge_missing(each)

    def judge_missing(self, refused: Asked) -> None:
        """Only what somebody has tried to delete may be not found."""
        if refused.kind in ("restore", "purge", "batch", "dry"):
            return
        task = refused.task or int(refused.path.rpartition("/")[2])
        if not any(each.names(task) and each.began < refused.ended for each in self.owner.asked):
            self.wrong.append(f"not found, but never deleted: {refused}")

    def judge_done(self, asked: Asked) -> None:
        """What was acknowledged is in the history, once, and follows from the version before."""
        results = asked.results()
        places = [(data["version"] - place) for place, (_, _, data) in enumerate(results) if data]
        if len(set(places)) > 1:
            self.wrong.append(f"a batch with other changes between: {asked}")
        for place, (kind, task, data) in enumerate(results):
            if data is None:
                if places and task in self.there:  # a delete in a batch: its version is its place
                    self.explain(asked, places[0] + place, "delete", task, None)
                continue
            if data["user_id"] != self.owner.id:
                self.wrong.append(f"foreign: {asked}")
            if data["id"] in self.there:
                self.explain(asked, data["version"], kind, data["id"], data)

    def explain(self, asked: Asked, version: int, kind: str, task: int, data: Any) -> None:
        event = self.events.get(version)
        if event is None or event.task != task:
            self.wrong.append(f"lost: {asked}, version {version}")
            return
        if version in self.explained:
            self.wrong.append(f"two changes, one version: {asked} and {self.explained[version]}")
        self.explained[version] = asked
        if data is not None and content(data) != event.after:
            self.wrong.append(f"told otherwise: {asked} and {event}")
        if asked.condition is not None and event.previous != asked.condition:
            self.wrong.append(f"made in spite of its If-Match: {asked} and {event}")
        if not self.follows(kind, asked, event):
            self.wrong.append(f"does not follow: {asked} and {event}")

    def follows(self, kind: str, asked: Asked, event: Event) -> bool:
        title, description, completed = event.before
        match kind:
            case "create":
                return event.after[0] in asked.marks and event.after[1:] == (None, False)
            case "patch" | "update":
                return event.after == (title, event.after[1], completed) and event.after[1] in asked.marks
            case "put" | "replace":
                return {*event.after[:2]} <= {*asked.marks} and event.after[2] == completed
            case "toggle" | "complete":
                return event.after == (title, description, not completed)
            case "revert":
                then = self.events.get(asked.body["version"])
                return then is None or (then.task == event.task and event.after == then.after)
            case "delete":
                return event.action == "deleted" and event.after == event.before
            case _:
                return event.action == "restored" and event.after == event.before

    def judge_marks(self, asked: list[Asked]) -> None:
        """What a change has written is in the history once; what was refused, or a dry run, is not."""
        written = Counter[str]()
        reverts = {each.task for each in asked if each.kind == "revert" and each.may_be_done}
        for version, event in self.events.items():
            by = self.explained.get(version)
            if by.kind != "revert" if by else event.task not in reverts:  # a revert writes what was there before
                written.update(event.written)
        for each in asked:
            most = each.kind != "dry" and (each.is_done or each.may_be_done)
            for mark in each.marks:
                if written[mark] > most:
                    self.wrong.append(f"made {written[mark]} times: {each}, {mark}")

    def judge_the_rest(self, asked: list[Asked]) -> None:
        """Every change in the history was asked for; one that nobody was told of, by a request without an answer."""
        open_ones: dict[tuple[str, int | None], int] = defaultdict(int)
        deleted = Counter(each.task for each in asked if each.kind == "delete" and each.is_done)
        marks = {mark for each in asked if each.may_be_done for mark in each.marks}
        for each in asked:
            if each.may_be_done:
                for kind, task in each.parts():
                    open_ones[kind, task] += 1
        unexplained = defaultdict[tuple[str, int], int](int)
        for version, event in self.events.items():
            if version not in self.explained and not marks & event.written:
                unexplained[event.action, event.task] += 1
        for (action, task), number in unexplained.items():
            match action:
                case "deleted":
                    least, most = deleted[task], deleted[task] + open_ones["delete", task]
                case "restored":
                    least, most = 0, open_ones["restore", task] + 1  # the judge's own
                case _:
                    least, most = 0, sum(open_ones[kind, task] for kind in ("toggle", "complete", "revert"))
            if not least <= number <= most:
                self.wrong.append(f"{number} x {action} of {task}, but {least} to {most} were asked for")
        for task in self.there:
            if deleted[task] > unexplained["deleted", task]:
                self.wrong.append(f"lost: a delete of {task}")
        for each in asked:
            if each.kind == "purge" and each.is_done and each.task in self.there:
                self.wrong.append(f"not purged: {each}")

    def judge_order(self) -> None:
        """A change that was asked for after another was acknowledged has the higher version."""
        done = [self.explained[version] for version in sorted(self.explained)]
        soonest = [*accumulate((each.ended for each in reversed(done)), min)][::-1]  # end of any from here on
        for place, each in enumerate(done[:-1]):
            if soonest[place + 1] < each.began:
                self.wrong.append(f"out of order: {each}")

    def judge_reads(self, reads: Iterable[Asked]) -> None:
        """What was read was so, and is no older than what had been acknowledged before."""
        told: dict[int, list[tuple[float, int]]] = defaultdict(list)
        for version, asked in self.explained.items():
            told[self.events[version].task].append((asked.ended, version))
        ends = {task: sorted(pairs) for task, pairs in told.items()}
        latest = {task: [*accumulate((version for _, version in pairs), max)] for task, pairs in ends.items()}
        for each in reads:
            assert each.answer is not None
            data = each.answer.body["data"]
            for task in data if isinstance(data, list) else [data]:
                if task["user_id"] != self.owner.id:
                    self.wrong.append(f"foreign: {each}")
                if task["id"] not in self.there:
                    continue
                event = self.events.get(task["version"])
                if event is None or (event.task, event.after) != (task["id"], content(task)):
                    self.wrong.append(f"read what never was: {task} and {event}")
                place = bisect_left(ends.get(task["id"], []), (each.began, 0))
                if place and latest[task["id"]][place - 1] > task["version"]:
                    self.wrong.append(f"read what was over: {task}")


def content(task: Any) -> Content:
    return tuple(task[name] for name in CONTENT)
