"""Two users who walk at random through every endpoint there is, and a model of what each of them owns.

Every answer is held against the model. What is not theirs is refused like what never was, byte for byte.
"""

import asyncio
import json
import re
import secrets
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from litestar import Litestar

from app.accounts.personal_tokens import MAX_TOKENS
from app.tasks.listing.parameters import SORTS
from app.web import text as web_text
from tests.accounts.people import ADA, BOB, signed_up
from tests.conftest import visitor
from tests.tasks.plain import CONTENT, PLAIN

TEXTS = st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")
# What is searched for, and which of the texts it finds; by chance no other text has such words.
SAID = ["Buy milk", "MILK and bread", "bread"]
SEARCHES: dict[str, Callable[[str], bool]] = {
    "milk": lambda text: "milk" in text,
    "bread -milk": lambda text: "bread" in text and "milk" not in text,
    "buy mi": lambda text: "buy" in text and "milk" in text,
    "zucchini": lambda _: False,
}
TITLES = st.sampled_from(SAID) | st.text(TEXTS, min_size=1, max_size=20).filter(
    lambda title: not web_text.is_blank(title)
)
DESCRIPTIONS = st.none() | st.sampled_from(SAID) | st.text(TEXTS, max_size=20)
PATCHES = st.fixed_dictionaries({}, optional={"title": TITLES, "description": DESCRIPTIONS, "completed": st.booleans()})
MATCHES = st.sampled_from([None, None, "right", "wrong"])  # what If-Match says
WHO = st.sampled_from(["ada", "bob"])
KEYS = st.sampled_from([None, None, None, "1", "2", "3"])  # Idempotency-Key: both have the same ones
CREATE = st.fixed_dictionaries({"title": TITLES}, optional={"description": DESCRIPTIONS})
CHANGE = st.one_of(
    st.fixed_dictionaries({"op": st.just("update"), "data": PATCHES}),
    st.fixed_dictionaries({"op": st.just("replace"), "data": CREATE}),
    st.fixed_dictionaries(
        {"op": st.just("complete")},
        optional={"data": st.fixed_dictionaries({}, optional={"completed": st.booleans()})},
    ),
    st.fixed_dictionaries({"op": st.just("delete")}),
)
# `tests/tasks/listing/test_planned.py` has a model of the other orders.
MODELLED = [sort for sort in SORTS if sort.lstrip("-") in ("created_at", "updated_at", "title")]
PAGES = st.fixed_dictionaries({"limit": st.just(1), "sort": st.sampled_from(MODELLED)})
LISTS = PAGES | st.fixed_dictionaries(
    {},
    optional={
        "limit": st.sampled_from([1, 1, 2, 200]),
        "completed": st.booleans(),
        "sort": st.sampled_from(MODELLED),
        "q": st.sampled_from([*SEARCHES]),
        "fields": st.sampled_from(["id", "id,title,user_id"]),
        "count": st.booleans(),
    },
)

LABELS = st.sampled_from(["home", "b", "a/b"])
UIDS = ["01936c1e-7c3a-7000-9b1d-0d9d6f1d2a11", "01936c1e-7c3a-7000-9b1d-0d9d6f1d2a12"]  # of both of them
NO_TASK, NO_ID = 2**53 - 1, "never-was"
SLOW = 2  # steps of a walk that may hash a password

FEW = settings(max_examples=15, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))

Ask = Callable[..., httpx.Response]
Request = tuple[str, str, str]  # method, path and body


class Somebody:
    """A user with an account, and all that the user owns."""

    def __init__(self, login: dict[str, Any], password: str) -> None:
        self.password = password
        self.tasks: dict[int, dict[str, Any]] = {}
        self.trash: dict[int, dict[str, Any]] = {}
        self.lists: dict[int, dict[str, Any]] = {}
        self.trashed_lists: dict[int, tuple[dict[str, Any], set[int]]] = {}  # and the tasks that went with each
        self.past: dict[int, dict[int, tuple[str, dict[str, Any]]]] = {}  # what led to each version, and its content
        self.used: dict[str, tuple[Request, httpx.Response]] = {}  # by its Idempotency-Key, and what came of it
        self.keys: dict[str, dict[str, Any]] = {}  # personal access tokens
        self.logins: dict[str, str] = {}  # others than the one that asks, and their refresh tokens
        self.arrive(login)

    def arrive(self, login: dict[str, Any]) -> None:
        """Go on with another pair of tokens."""
        self.bearer, self.refresh_token, self.profile = login["token"], login["refresh_token"], login["user"]


def machine(
    ask: Ask, people: dict[str, Somebody], steps: Counter[str], *, keeps: bool = True
) -> type[RuleBasedStateMachine]:
    """The walk, against a service that `ask(bearer, method, path, json, headers)` asks.

    `steps` counts what was done. The service `keeps` what was deleted, or does not.
    """

    class TwoUsers(RuleBasedStateMachine):
        """Keeps the model, and holds every answer against it."""

        task_ids = Bundle("task_ids")
        deleted_ids = Bundle("deleted_ids")
        list_ids = Bundle("list_ids")
        key_ids = Bundle("key_ids")
        login_ids = Bundle("login_ids")

        def __init__(self) -> None:
            super().__init__()
            self.slow = 0
            self.acted: set[str] = set()  # since what they see was looked at
            self.tags: dict[str, str | None] = {}  # of their lists
            self.walk = secrets.token_hex(8)  # keys of the walk before are none of this one's
            for who, somebody in people.items():
                self.arrive_anew(who)
                # What is there, not what should be: the walk before may have found a fault.
                for task in self.ask(who, "GET", "/api/tasks").json()["data"]:
                    self.ask(who, "DELETE", f"/api/tasks/{task['id']}")
                for each in self.ask(who, "GET", "/api/lists").json()["data"]:
                    self.ask(who, "DELETE", f"/api/lists/{each['id']}")
                for key in somebody.keys:
                    self.ask(who, "DELETE", f"/api/auth/tokens/{key}")
                for session in somebody.logins:
                    self.ask(who, "DELETE", f"/api/auth/sessions/{session}")
                self.ask(who, "DELETE", "/api/trash")
                for what in (somebody.tasks, somebody.trash, somebody.past, somebody.used):
                    what.clear()
                somebody.lists.clear()
                somebody.trashed_lists.clear()
                somebody.keys.clear()
                somebody.logins.clear()

        def ask(
            self, who: str, method: str, path: str, json: Any = None, headers: dict[str, str] | None = None
        ) -> httpx.Response:
            if method != "GET":
                self.acted.add(who)
            return ask(people[who].bearer, method, path, json, headers)

        def arrive_anew(self, who: str) -> None:
            body = {"refresh_token": people[who].refresh_token}
            people[who].arrive(ask(None, "POST", "/api/auth/refresh", body).json()["data"])

        def other_logins(self, who: str) -> set[str]:
            sessions = self.ask(who, "GET", "/api/auth/sessions").json()["data"]
            others = {each["id"] for each in sessions if not each["current"]}
            assert len(others) == len(sessions) - 1
            return others

        def on_one(
            self,
            who: str,
            mine: Any,
            the_id: Any,
            method: str,
            path: str,
            json: Any = None,
            headers: dict[str, str] | None = None,
            key: str | None = None,
        ) -> Any:
            """Ask for one thing: it is found if it is theirs, else the answer is that to what never was."""
            steps[f"{method} {path.partition('?')[0]}"] += 1
            answer = self.send(who, method, path.format(the_id), json, headers, key)
            if answer is None:
                return None
            if the_id in mine:
                assert answer.status_code in (200, 204), answer.text
                return answer.json()["data"] if answer.content else {}
            never_was = self.ask(
                who, method, path.format(NO_ID if "/auth/" in path else NO_TASK), json, self.under(key, headers)
            )
            assert answer.status_code == 404
            assert (answer.content, telling(answer)) == (never_was.content, telling(never_was))
            return None

        def under(self, key: str | None, headers: dict[str, str] | None = None) -> dict[str, str]:
            return {**(headers or {}), **({"idempotency-key": f"{self.walk}-{key}"} if key else {})}

        def send(
            self,
            who: str,
            method: str,
            path: str,
            body: Any = None,
            headers: dict[str, str] | None = None,
            key: str | None = None,
        ) -> httpx.Response | None:
            """Ask for a change. Returns no answer where they used the key before: then nothing is done."""
            answer = self.ask(who, method, path, body, self.under(key, headers))
            if key is None:
                return answer
            used, request = people[who].used, (method, path, json.dumps(body))
            if key not in used:
                assert "idempotent-replayed" not in answer.headers
                if answer.is_success:
                    used[key] = request, answer
                return answer
            before, first = used[key]
            if before == request:
                steps["a change that was made before"] += 1
                self.is_told_again(who, first, answer, of_lists=path.startswith("/api/lists"))
            else:
                steps["a key of another change"] += 1
                assert answer.status_code == 422
                assert answer.json()["error"]["code"] == "IDEMPOTENCY_KEY_REUSED"
            return None

        def is_told_again(
            self, who: str, first: httpx.Response, answer: httpx.Response, *, of_lists: bool = False
        ) -> None:
            """It is the first answer, but for tasks that are gone for good."""
            told = first.json()["data"] if first.content else None
            there = {*people[who].tasks, *people[who].trash}
            if of_lists:
                there = {*people[who].lists, *people[who].trashed_lists}
            if isinstance(told, dict) and told["id"] not in there:
                assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")
                return
            assert answer.status_code == first.status_code
            assert telling(answer) == {**telling(first), "idempotent-replayed": "true"}
            if isinstance(told, list) and any(each["data"] and each["data"]["id"] not in there for each in told):
                left = [
                    {**each, "data": each["data"] if (each["data"] or {}).get("id") in there else None} for each in told
                ]
                assert answer.json()["data"] == left
            else:
                assert answer.content == first.content

        @rule(who=WHO, key=KEYS)
        def send_again(self, who: str, key: str | None) -> None:
            if key not in people[who].used:
                return
            method, path, body = people[who].used[key][0]
            assert self.send(who, method, path, json.loads(body), key=key) is None
            other = "bob" if who == "ada" else "ada"
            if re.search(r"/\d+(?:/|$)", path) and key not in people[other].used:
                steps["a change that somebody else made"] += 1
                answer = self.ask(other, method, path, json.loads(body), self.under(key))
                assert (answer.status_code, "idempotent-replayed" in answer.headers) == (404, False)

        # Tasks

        @rule(target=task_ids, who=WHO, title=TITLES, description=DESCRIPTIONS, key=KEYS)
        def create(self, who: str, title: str, description: str | None, key: str | None) -> Any:
            steps["POST /api/tasks"] += 1
            other = people["bob" if who == "ada" else "ada"].profile["id"]
            body = {"title": title, "description": description, "user_id": other}
            answer = self.send(who, "POST", "/api/tasks", body, key=key)
            if answer is None:
                return multiple()
            assert answer.status_code == 201
            return self.created(who, answer.json()["data"], title, description)

        def create_urgent(self, who: str, title: str, key: str | None) -> None:
            more = {"priority": 4, "due_date": "2026-12-04"}
            answer = self.send(who, "POST", "/api/tasks", {"title": title, **more}, key=key)
            if answer is not None:
                assert answer.status_code == 201
                self.created(who, answer.json()["data"], title, None, **more)

        @rule(target=task_ids, who=WHO, title=TITLES, uid=st.sampled_from(UIDS), by_put=st.booleans(), key=KEYS)
        def create_with_uid(self, who: str, title: str, uid: str, by_put: bool, key: str | None) -> Any:
            there = [task for task in [*people[who].tasks.values(), *people[who].trash.values()] if task["uid"] == uid]
            if by_put:
                steps["PUT /api/tasks/{} that creates"] += 1
                new = {"if-none-match": "*"}
                answer = self.send(
                    who, "PUT", f"/api/tasks/{uid}", {"title": title}, new
                )  # `send_again` has no headers
            else:
                steps["POST /api/tasks with a uid"] += 1
                answer = self.send(who, "POST", "/api/tasks", {"title": title, "uid": uid}, key=key)
            if answer is None:
                return multiple()
            if there:
                assert answer.status_code == (412 if by_put else 409)
                assert answer.json()["error"]["current"] == there[0]
                return multiple()
            assert answer.status_code == 201, answer.text
            return self.created(who, answer.json()["data"], title, None)

        @rule(who=WHO, task_id=task_ids)
        def read_by_uid(self, who: str, task_id: int) -> None:
            uids = [each.tasks[task_id]["uid"] for each in people.values() if task_id in each.tasks]
            if uids:
                mine = {task["uid"]: task for task in people[who].tasks.values()}
                assert self.on_one(who, mine, uids[0], "GET", "/api/tasks/{}") == mine.get(uids[0])

        def created(self, who: str, task: dict[str, Any], title: str, description: str | None, **more: object) -> int:
            told = {name: task[name] for name in ("id", "uid", "created_at", "updated_at", "version")}
            content = {"title": title.strip(), "description": description, "completed": False}
            assert task == {**PLAIN, **more, **content, **told, "user_id": people[who].profile["id"]}
            assert all(task["id"] not in somebody.past for somebody in people.values())
            people[who].tasks[task["id"]] = task
            self.remember(who, task, "created")
            return task["id"]

        @rule(who=WHO, task_id=task_ids)
        def read(self, who: str, task_id: int) -> None:
            mine = people[who].tasks
            assert self.on_one(who, mine, task_id, "GET", "/api/tasks/{}") == mine.get(task_id)

        @rule(who=WHO, task_id=task_ids, right=st.booleans())
        def read_what_is_known(self, who: str, task_id: int, right: bool) -> None:
            tasks = [each.tasks[task_id] for each in people.values() if task_id in each.tasks]
            version = tasks[0]["version"] if tasks else 1
            known = {"if-none-match": f'"v{version if right else version + 1}"'}
            if right and task_id in people[who].tasks:
                steps["GET /api/tasks/{} that is known"] += 1
                answer = self.ask(who, "GET", f"/api/tasks/{task_id}", headers=known)
                assert (answer.status_code, answer.content) == (304, b"")
            else:
                found = self.on_one(who, people[who].tasks, task_id, "GET", "/api/tasks/{}", headers=known)
                assert found == people[who].tasks.get(task_id)

        @rule(who=WHO, task_id=task_ids, title=TITLES, description=DESCRIPTIONS, match=MATCHES, key=KEYS)
        def replace(
            self, who: str, task_id: int, title: str, description: str | None, match: str | None, key: str | None
        ) -> None:
            body = {"title": title, "description": description, "id": 1, "user_id": "ada"}
            after = self.change(who, task_id, "PUT", "/api/tasks/{}", body, match, key=key)
            self.changed(who, task_id, after, title=title.strip(), description=description)

        @rule(who=WHO, task_id=task_ids, patch=PATCHES, match=MATCHES, key=KEYS)
        def patch(self, who: str, task_id: int, patch: dict[str, Any], match: str | None, key: str | None) -> None:
            after = self.change(who, task_id, "PATCH", "/api/tasks/{}", patch, match, key=key)
            self.patched(who, task_id, after, patch)

        def patched(self, who: str, task_id: int, after: dict[str, Any] | None, patch: dict[str, Any]) -> None:
            if patch:
                wanted = {**patch, "title": patch["title"].strip()} if "title" in patch else patch
                self.changed(who, task_id, after, **wanted)
            else:
                assert after == (people[who].tasks[task_id] if after else None)

        @rule(who=WHO, task_id=task_ids, completed=st.none() | st.booleans(), match=MATCHES, key=KEYS)
        def complete(self, who: str, task_id: int, completed: bool | None, match: str | None, key: str | None) -> None:
            body = None if completed is None else {"completed": completed}
            after = self.change(who, task_id, "PATCH", "/api/tasks/{}/complete", body, match, key=key)
            self.completed(who, task_id, after, completed)

        def completed(self, who: str, task_id: int, after: dict[str, Any] | None, completed: bool | None) -> None:
            if after:
                flipped = not people[who].tasks[task_id]["completed"]
                self.changed(who, task_id, after, completed=flipped if completed is None else completed)

        @rule(who=WHO, task_id=task_ids, name=LABELS, is_wanted=st.booleans(), match=MATCHES, key=KEYS)
        def label(self, who: str, task_id: int, name: str, is_wanted: bool, match: str | None, key: str | None) -> None:
            path = f"/api/tasks/{{}}/labels/{name.replace('/', '%2F')}"
            method = "PUT" if is_wanted else "DELETE"
            after = self.change(who, task_id, method, path, None, match, key=key)
            if after:
                before = people[who].tasks[task_id]
                names = [each for each in before["labels"] if each != name]
                if is_wanted == (name in before["labels"]):
                    assert after == before
                else:
                    self.changed(who, task_id, after, labels=names + [name] * is_wanted)

        @rule(who=WHO, name=LABELS, other=LABELS, color=st.sampled_from(["#c0ffee", None]), deletes=st.booleans())
        def change_label(self, who: str, name: str, other: str, color: str | None, deletes: bool) -> None:
            path = f"/api/labels/{name.replace('/', '%2F')}"
            steps["PATCH or DELETE /api/labels/{}"] += 1
            body = None if deletes else {"name": other, "color": color}
            there = {each["name"] for each in self.ask(who, "GET", "/api/labels").json()["data"]}
            answer = self.ask(who, "DELETE" if deletes else "PATCH", path, body)
            assert answer.status_code == (404 if name not in there else 204 if deletes else 200), answer.text
            if answer.is_success and (deletes or name != other):
                self.relabelled(who, name, None if deletes else other)

        @rule(who=WHO, name=LABELS)
        def look_at_label(self, who: str, name: str) -> None:
            path = f"/api/labels/{name.replace('/', '%2F')}"
            steps["GET /api/labels/{}"] += 1
            there = {each["name"]: each for each in self.ask(who, "GET", "/api/labels").json()["data"]}
            one, past = self.ask(who, "GET", path), self.ask(who, "GET", f"{path}/history?limit=200")
            assert one.status_code == past.status_code == (200 if name in there else 404)
            if name in there:
                told = past.json()["data"]
                assert one.json() == {"data": there[name]}
                assert told[0]["version"] == there[name]["version"]
                names = [each["changes"]["name"]["to"] for each in told if "name" in each["changes"]]
                assert names[:1] == [name]

        def relabelled(self, who: str, name: str, other: str | None) -> None:
            mine, trash = people[who].tasks, people[who].trash
            listed = {task["id"]: task for task in self.ask(who, "GET", "/api/tasks").json()["data"]}
            for task_id, before in [*mine.items()]:
                if name in before["labels"]:
                    names = [other if each == name else each for each in before["labels"]]
                    self.changed(who, task_id, listed[task_id], labels=[*dict.fromkeys(filter(None, names))])
            for trashed in self.trash(who):
                before = trash[trashed["id"]]
                if name in before["labels"]:
                    names = [other if each == name else each for each in before["labels"]]
                    told = {each: trashed[each] for each in ("updated_at", "version")}
                    assert trashed == {**before, **told, "labels": [*dict.fromkeys(filter(None, names))]}
                    trash[trashed["id"]] = trashed
                    self.remember(who, trashed, "changed")

        @rule(target=deleted_ids, who=WHO, task_id=task_ids, match=MATCHES, key=KEYS)
        def delete(self, who: str, task_id: int, match: str | None, key: str | None) -> Any:
            if self.change(who, task_id, "DELETE", "/api/tasks/{}", match=match, key=key) is None:
                return multiple()
            self.deleted(who, task_id)
            return task_id

        def deleted(self, who: str, task_id: int) -> None:
            before = people[who].tasks.pop(task_id)
            if not keeps:
                del people[who].past[task_id]
                return
            (trashed,) = [each for each in self.trash(who) if each["id"] == task_id]
            told = {name: trashed[name] for name in ("updated_at", "version", "deleted_at")}
            assert trashed == {**before, **told}
            people[who].trash[task_id] = trashed
            self.remember(who, trashed, "deleted")

        def change(
            self,
            who: str,
            task_id: int,
            method: str,
            path: str,
            body: Any = None,
            match: str | None = None,
            mine: dict[int, dict[str, Any]] | None = None,
            key: str | None = None,
        ) -> dict[str, Any] | None:
            """Change one task, if it is theirs and is what they take it for; and return what it is then."""
            mine = people[who].tasks if mine is None else mine
            now = mine.get(task_id)
            version = now["version"] if now else 1
            headers = {"if-match": f'"v{version + (match == "wrong")}"'} if match else {}
            if now and match == "wrong":
                answer = self.send(who, method, path.format(task_id), body, headers, key)
                if answer is None:
                    return None
                steps[f"{method} {path} of another version"] += 1
                assert answer.status_code == 412
                assert answer.headers["etag"] == f'"v{version}"'
                assert answer.json()["error"]["current"] == now
                return None
            return self.on_one(who, mine, task_id, method, path, body, headers, key)

        def changed(self, who: str, task_id: int, after: dict[str, Any] | None, **changes: Any) -> None:
            if after:
                before = people[who].tasks[task_id]
                told = {name: after[name] for name in ("updated_at", "version")}
                is_done = changes.get("completed", before["completed"])
                if "completed_at" not in changes and is_done != before["completed"]:
                    told["completed_at"] = after["updated_at"] if is_done else None
                assert after == {**before, **changes, **told}
                assert after["version"] > before["version"]
                assert after["updated_at"] > before["updated_at"]
                people[who].tasks[task_id] = after
                self.remember(who, after, "changed")

        # Lists

        @rule(target=list_ids, who=WHO, name=TITLES, key=KEYS)
        def make_list(self, who: str, name: str, key: str | None) -> Any:
            steps["POST /api/lists"] += 1
            answer = self.send(who, "POST", "/api/lists", {"name": name}, key=key)
            return multiple() if answer is None else self.made(who, answer, name)

        @rule(target=list_ids, who=WHO, name=TITLES, uid=st.sampled_from(UIDS))
        def make_list_with_uid(self, who: str, name: str, uid: str) -> Any:
            steps["PUT /api/lists/{} that creates"] += 1
            answer = self.ask(who, "PUT", f"/api/lists/{uid}", {"name": name}, {"if-none-match": "*"})
            there = [*people[who].lists.values(), *(each for each, _ in people[who].trashed_lists.values())]
            if taken := [each for each in there if each["uid"] == uid]:
                assert (answer.status_code, answer.json()["error"]["current"]["id"]) == (412, taken[0]["id"])
                return multiple()
            return self.made(who, answer, name)

        def made(self, who: str, answer: httpx.Response, name: str) -> int:
            assert answer.status_code == 201, answer.text
            told = answer.json()["data"]
            assert (told["name"], told["color"], told["archived_at"]) == (name.strip(), None, None)
            people[who].lists[told["id"]] = told
            return told["id"]

        @rule(who=WHO, list_id=list_ids)
        def read_list(self, who: str, list_id: int) -> None:
            mine = people[who].lists
            assert self.on_one(who, mine, list_id, "GET", "/api/lists/{}") == mine.get(list_id)

        @rule(who=WHO, list_id=list_ids)
        def look_back_at_list(self, who: str, list_id: int) -> None:
            mine = people[who].lists
            told = self.on_one(who, mine, list_id, "GET", "/api/lists/{}/history?limit=200")
            if told is not None:
                assert (told[0]["version"], told[-1]["action"]) == (mine[list_id]["version"], "created")
                content: dict[str, Any] = {}
                for each in reversed(told):
                    content |= {name: change["to"] for name, change in each["changes"].items()}
                assert content.items() <= mine[list_id].items()

        @rule(who=WHO, list_id=list_ids, archived=st.booleans(), match=MATCHES, key=KEYS)
        def archive_list(self, who: str, list_id: int, archived: bool, match: str | None, key: str | None) -> None:
            mine = people[who].lists
            after = self.change(who, list_id, "PATCH", "/api/lists/{}", {"archived": archived}, match, mine, key)
            if after:
                told = {name: after[name] for name in ("updated_at", "version", "archived_at")}
                assert after == {**mine[list_id], **told}
                assert (after["archived_at"] is not None) == archived
                mine[list_id] = after

        @rule(who=WHO, list_id=list_ids, to_inbox=st.booleans(), match=MATCHES, key=KEYS)
        def delete_list(self, who: str, list_id: int, to_inbox: bool, match: str | None, key: str | None) -> None:
            somebody, path = people[who], f"/api/lists/{{}}{'?tasks=inbox' if to_inbox else ''}"
            if self.change(who, list_id, "DELETE", path, match=match, mine=somebody.lists, key=key) is None:
                return
            inside = [task_id for task_id, task in somebody.tasks.items() if task["list_id"] == list_id]
            gone = somebody.lists.pop(list_id)
            for task_id in inside:
                if to_inbox:
                    self.changed(
                        who, task_id, self.ask(who, "GET", f"/api/tasks/{task_id}").json()["data"], list_id=None
                    )
                else:
                    self.deleted(who, task_id)
            if keeps:
                somebody.trashed_lists[list_id] = gone, set() if to_inbox else {*inside}

        @rule(who=WHO, list_id=list_ids, key=KEYS)
        def restore_list(self, who: str, list_id: int, key: str | None) -> None:
            somebody = people[who]
            mine = {list_id: before for list_id, (before, _) in somebody.trashed_lists.items()}
            after = self.change(who, list_id, "POST", "/api/lists/{}/restore", mine=mine, key=key)
            if after:
                before, inside = somebody.trashed_lists.pop(list_id)
                assert after == {**before, **{name: after[name] for name in ("updated_at", "version")}}
                somebody.lists[list_id] = after
                for task_id in inside & {*somebody.trash}:
                    if somebody.trash[task_id]["list_id"] == list_id:
                        self.restored(who, task_id, self.ask(who, "GET", f"/api/tasks/{task_id}").json()["data"])

        def takes_tasks(self, who: str, list_id: int, task: dict[str, Any]) -> bool:
            found = people[who].lists.get(list_id)
            return found is not None and (found["archived_at"] is None or task["list_id"] == list_id)

        @rule(who=WHO, task_id=task_ids, list_id=list_ids, key=KEYS)
        def put_into_list(self, who: str, task_id: int, list_id: int, key: str | None) -> None:
            task, path = people[who].tasks.get(task_id), "/api/tasks/{}"
            if task is None or self.takes_tasks(who, list_id, task):
                after = self.change(who, task_id, "PATCH", path, {"list_id": list_id}, key=key)
                self.changed(who, task_id, after, list_id=list_id)
                return
            steps["PATCH /api/tasks/{} into no list"] += 1
            answer = self.send(who, "PATCH", path.format(task_id), {"list_id": list_id}, key=key)
            never_was = self.ask(who, "PATCH", path.format(task_id), {"list_id": NO_TASK})
            if answer is not None:
                assert answer.status_code == 422, answer.text
                assert (answer.content, telling(answer)) == (never_was.content, telling(never_was))

        @rule(who=WHO, list_id=list_ids)
        def list_one(self, who: str, list_id: int) -> None:
            steps["GET /api/tasks of a list"] += 1
            archived = {the_id for the_id, each in people[who].lists.items() if each["archived_at"]}
            for query, wanted in ((f"list={list_id}", {list_id}), ("archived=true", archived), ("list=inbox", {None})):
                found = self.ask(who, "GET", f"/api/tasks?{query}").json()["data"]
                mine = [task for task in people[who].tasks.values() if task["list_id"] in wanted]
                assert {task["id"]: task for task in found} == {task["id"]: task for task in mine}

        # Many changes at once

        @rule(
            target=task_ids,
            who=WHO,
            ids=st.lists(task_ids, min_size=1, max_size=3, unique=True),
            changes=st.lists(CHANGE, min_size=3, max_size=3),
            matches=st.lists(st.sampled_from([None, "right", "wrong"]), min_size=3, max_size=3),
            new=st.lists(CREATE, max_size=2),
            first=st.booleans(),
            tries=st.booleans(),
            key=KEYS,
        )
        def batch(
            self,
            who: str,
            ids: list[int],
            changes: list[dict[str, Any]],
            matches: list[str | None],
            new: list[dict[str, Any]],
            first: bool,
            tries: bool,
            key: str | None,
        ) -> Any:
            mine = people[who].tasks
            about: list[dict[str, Any]] = []
            for task_id, change, match in zip(ids, changes, matches, strict=False):
                version = mine[task_id]["version"] if task_id in mine else 1
                about.append({**change, "id": task_id} | ({"version": version + (match == "wrong")} if match else {}))
            creates = [{"op": "create", "data": data} for data in new]
            operations = creates + about if first else about + creates
            path = f"/api/tasks/batch{'?dry_run=true' if tries else ''}"
            steps[f"POST {path}"] += 1
            key = None if tries else key
            answer = self.send(who, "POST", path, {"operations": operations}, key=key)
            if answer is None:
                return multiple()
            for index, each in enumerate(operations):
                if each["op"] != "create" and not (now := mine.get(each["id"])):
                    self.missing(who, path, operations, index, answer, key)
                    return multiple()
                if "version" in each and each["version"] != now["version"]:
                    steps["POST /api/tasks/batch of another version"] += 1
                    assert answer.status_code == 412
                    error = answer.json()["error"]
                    assert (error["index"], error["current"]) == (index, now)
                    return multiple()
            assert answer.status_code == 200, answer.text
            results = answer.json()["data"]
            assert [each["op"] for each in results] == [each["op"] for each in operations]
            if tries:
                assert answer.json()["dry_run"] is True
                return multiple()
            return multiple(*filter(None, map(self.came_of_it, [who] * len(results), operations, results)))

        @rule(who=WHO, task_id=task_ids, key=KEYS)
        def complete_briefly(self, who: str, task_id: int, key: str | None) -> None:
            mine = people[who].tasks
            path = "/api/tasks/batch?return=minimal"
            steps[f"POST {path}"] += 1
            operations = [{"op": "complete", "id": task_id}]
            answer = self.send(who, "POST", path, {"operations": operations}, key=key)
            if answer is None:
                return
            if task_id not in mine:
                self.missing(who, path, operations, 0, answer, key)
                return
            after = self.ask(who, "GET", f"/api/tasks/{task_id}").json()["data"]
            told = {"id": task_id, "version": after["version"]}
            assert answer.json() == {"data": [{"op": "complete", "status": 200, "data": told}]}
            self.completed(who, task_id, after, None)

        def missing(
            self,
            who: str,
            path: str,
            operations: list[dict[str, Any]],
            index: int,
            answer: httpx.Response,
            key: str | None,
        ) -> None:
            steps[f"POST {path} of what is not theirs"] += 1
            never = [*operations[:index], {**operations[index], "id": NO_TASK}, *operations[index + 1 :]]
            never_was = self.ask(who, "POST", path, {"operations": never}, self.under(key))
            assert answer.status_code == 404
            assert answer.json()["error"]["index"] == index
            assert (answer.content, telling(answer)) == (never_was.content, telling(never_was))

        def came_of_it(self, who: str, operation: dict[str, Any], result: dict[str, Any]) -> int | None:
            """Do to the model what one operation has done. Returns the id of a task that is new."""
            task, data = result["data"], operation.get("data") or {}
            match operation["op"]:
                case "create":
                    return self.created(who, task, data["title"], data.get("description"))
                case "update":
                    self.patched(who, operation["id"], task, data)
                case "replace":
                    title, description = data["title"].strip(), data.get("description")
                    self.changed(who, operation["id"], task, title=title, description=description)
                case "complete":
                    self.completed(who, operation["id"], task, data.get("completed"))
                case _:
                    assert task is None
                    self.deleted(who, operation["id"])
            return None

        # Lists of some

        @rule(who=WHO, asked=LISTS)
        def list_some(self, who: str, asked: dict[str, Any]) -> None:
            query = {name: str(value).lower() for name, value in asked.items()}
            if not query:
                return
            steps["GET /api/tasks of some"] += 1
            steps["GET /api/tasks of what is found"] += "q" in query
            wanted = [task for task in people[who].tasks.values() if is_asked_for(task, asked)]
            pages = [self.page(who, query)]
            while following := pages[-1]["page"]["next"]:
                steps["GET /api/tasks that goes on"] += 1
                pages.append(self.page(who, query, following))
                self.is_sealed(who, query, following)
            found = [task for page in pages for task in page["data"]]
            fields = asked.get("fields", ",".join(wanted[0]) if wanted else "id").split(",")
            shown = {task["id"]: {name: task[name] for name in fields} for task in wanted}
            assert len(found) == len(shown)
            assert {task["id"]: task for task in found} == shown
            sort = asked.get("sort", "-created_at")
            if not sort.endswith("title"):  # whose order hangs on the server's collations
                ordered = sorted(wanted, key=lambda task: (task[sort.strip("-")], task["id"]), reverse=sort[0] == "-")
                assert [task["id"] for task in found] == [task["id"] for task in ordered]
            assert all(len(page["data"]) <= asked.get("limit", len(found)) for page in pages)
            assert {page["page"].get("total") for page in pages} == {len(shown) if asked.get("count") else None}

        def page(self, who: str, query: dict[str, str], cursor: str | None = None) -> Any:
            path = f"/api/tasks?{httpx.QueryParams({**query, **({'cursor': cursor} if cursor else {})})}"
            answer = self.ask(who, "GET", path)
            assert answer.status_code == 200, answer.text
            if tag := answer.headers.get("etag"):
                again = self.ask(who, "GET", path, headers={"if-none-match": tag})
                assert (again.status_code, again.content) == (304, b"")
            return answer.json()

        def is_sealed(self, who: str, query: dict[str, str], cursor: str) -> None:
            other = "bob" if who == "ada" else "ada"
            answer = self.ask(other, "GET", f"/api/tasks?{httpx.QueryParams({**query, 'cursor': cursor})}")
            assert answer.status_code == 422
            assert answer.json()["error"]["code"] == "INVALID_CURSOR"

        @rule(who=WHO, whose=WHO)
        def list_what_is_known(self, who: str, whose: str) -> None:
            tag = self.ask(whose, "GET", "/api/tasks").headers.get("etag")
            if tag:
                steps["GET /api/tasks that is known"] += 1
                answer = self.ask(who, "GET", "/api/tasks", headers={"if-none-match": tag})
                assert answer.status_code == (304 if who == whose else 200)

        @rule(who=WHO, task_id=task_ids)
        def look_at_one(self, who: str, task_id: int) -> None:
            steps["HEAD /api/tasks/{id}"] += 1
            answer = self.ask(who, "HEAD", f"/api/tasks/{task_id}")
            mine = people[who].tasks.get(task_id)
            assert answer.status_code == (200 if mine else 404)
            assert answer.headers.get("etag") == (f'"v{mine["version"]}"' if mine else None)

        @rule(who=WHO, task_id=task_ids)
        def leave_briefly(self, who: str, task_id: int) -> None:
            path = "/api/tasks/batch?return=minimal"
            operations = [{"op": "update", "id": task_id, "data": {}}]
            answer = self.ask(who, "POST", path, {"operations": operations})
            mine = people[who].tasks.get(task_id)
            assert answer.status_code == (200 if mine else 404)
            if mine:
                assert answer.json()["data"][0]["data"] == {"id": task_id, "version": mine["version"]}

        @rule(who=WHO)
        def look_at_the_head(self, who: str) -> None:
            steps["HEAD /api/tasks"] += 1
            asked, looked = (self.ask(who, method, "/api/tasks") for method in ("GET", "HEAD"))
            assert (looked.status_code, looked.content) == (200, b"")
            assert looked.headers.get("etag") == asked.headers.get("etag")

        # What was deleted

        @rule(who=WHO, task_id=deleted_ids, match=MATCHES, key=KEYS)
        def restore(self, who: str, task_id: int, match: str | None, key: str | None) -> None:
            mine = people[who].trash
            after = self.change(who, task_id, "POST", "/api/tasks/{}/restore", match=match, mine=mine, key=key)
            if after:
                self.restored(who, task_id, after)

        def restored(self, who: str, task_id: int, after: dict[str, Any]) -> None:
            before = people[who].trash.pop(task_id)
            told = {name: after[name] for name in ("updated_at", "version")}
            if before["list_id"] not in people[who].lists:
                told["list_id"] = None
            assert {**after, "deleted_at": before["deleted_at"]} == {**before, **told}
            assert after["version"] > before["version"]
            people[who].tasks[task_id] = after
            self.remember(who, after, "restored")

        @rule(who=WHO, task_id=deleted_ids, match=MATCHES, key=KEYS)
        def purge(self, who: str, task_id: int, match: str | None, key: str | None) -> None:
            mine = people[who].trash
            if self.change(who, task_id, "DELETE", "/api/trash/{}", match=match, mine=mine, key=key) is not None:
                del mine[task_id], people[who].past[task_id]

        @precondition(lambda _: any(each.trash or each.trashed_lists for each in people.values()))
        @rule(who=WHO, key=KEYS)
        def empty_the_trash(self, who: str, key: str | None) -> None:
            steps["DELETE /api/trash"] += 1
            answer = self.send(who, "DELETE", "/api/trash", key=key)
            if answer is None:
                return
            assert answer.status_code == 204
            for task_id in people[who].trash:
                del people[who].past[task_id]
            people[who].trash.clear()
            people[who].trashed_lists.clear()

        def trash(self, who: str) -> list[dict[str, Any]]:
            answer = self.ask(who, "GET", "/api/trash")
            assert answer.status_code == 200
            return answer.json()["data"]

        # What was done to a task

        def remember(self, who: str, task: dict[str, Any], action: str) -> None:
            content = {name: task[name] for name in CONTENT}
            past = people[who].past.setdefault(task["id"], {})
            done = {name: content[name] for name in ("completed", "completed_at")}
            if action == "changed" and {**past[max(past)][1], **done} == content:
                turned = past[max(past)][1]["completed"] != content["completed"]
                action = ("completed" if content["completed"] else "reopened") if turned else "changed"
            if action == "changed" and [name for name in CONTENT if past[max(past)][1][name] != content[name]] == [
                "labels"
            ]:
                action = "labelled"
            past[task["version"]] = (action, content)

        @rule(who=WHO, task_id=task_ids, limit=st.sampled_from([1, 2, 200]))
        def look_back(self, who: str, task_id: int, limit: int) -> None:
            path = f"/api/tasks/{{}}/history?limit={limit}"
            if self.on_one(who, people[who].tasks, task_id, "GET", path) is None:
                return
            told, before = [], NO_TASK
            while before is not None:
                page = self.ask(who, "GET", f"{path.format(task_id)}&before={before}").json()
                assert len(page["data"]) <= limit
                told += page["data"]
                before = page["page"]["next"]
            content: dict[str, Any] = dict.fromkeys(CONTENT)
            past = {}
            for each in reversed(told):
                for name, change in each["changes"].items():
                    assert change["from"] == content[name] != change["to"]
                    content = {**content, name: change["to"]}
                past[each["version"]] = (each["action"], content)
                assert (each["by"]["kind"], len(each["by"]["id"])) == ("session", 16)
            assert past == people[who].past[task_id]
            assert told[0]["at"] == people[who].tasks[task_id]["updated_at"]

        @rule(who=WHO, task_id=task_ids, which=st.integers(0, 50), match=MATCHES, key=KEYS)
        def revert(self, who: str, task_id: int, which: int, match: str | None, key: str | None) -> None:
            versions = [version for one in people.values() for version in one.past.get(task_id, ())] or [0]
            self.go_back(who, task_id, versions[which % len(versions)], match, key)

        @rule(who=WHO, task_id=task_ids, version=st.integers(0, NO_TASK), match=MATCHES)
        def revert_to_what_never_was(self, who: str, task_id: int, version: int, match: str | None) -> None:
            if version not in people[who].past.get(task_id, {}):
                steps["POST /api/tasks/{}/revert to no version"] += 1
                if task_id in people[who].tasks:
                    answer = self.ask(who, "POST", f"/api/tasks/{task_id}/revert", {"version": version})
                    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "VALIDATION_ERROR")
                else:
                    self.go_back(who, task_id, version, match)

        def go_back(
            self, who: str, task_id: int, version: int, match: str | None = None, key: str | None = None
        ) -> None:
            after = self.change(who, task_id, "POST", "/api/tasks/{}/revert", {"version": version}, match, key=key)
            if after:
                content = people[who].past[task_id][version][1]
                if content["list_id"] and not self.takes_tasks(who, content["list_id"], people[who].tasks[task_id]):
                    content = {**content, "list_id": None}
                self.changed(who, task_id, after, **content)

        def teardown(self) -> None:
            """Every state that anything was ever in can be brought back."""
            if sys.exception() is not None:  # the walk has found something: it is that which counts
                return
            for who, somebody in people.items():
                for task_id in [*somebody.trash]:
                    self.restore(who, task_id, None, None)
                for task_id in somebody.tasks:
                    for version in [*somebody.past[task_id]]:
                        self.go_back(who, task_id, version)

        # Personal access tokens

        @rule(target=key_ids, who=WHO, name=TITLES, scope=st.sampled_from(["read", "write"]))
        def make_key(self, who: str, name: str, scope: str) -> Any:
            steps["POST /api/auth/tokens"] += 1
            answer = self.ask(who, "POST", "/api/auth/tokens", {"name": name, "scope": scope})
            if len(people[who].keys) >= MAX_TOKENS:
                assert (answer.status_code, answer.json()["error"]["code"]) == (409, "LIMIT_REACHED")
                return multiple()
            key = answer.json()["data"]
            assert (answer.status_code, key["name"], key["scope"]) == (201, name.strip(), scope)
            people[who].keys[key["id"]] = key
            return key["id"]

        @rule(who=WHO, key=key_ids)
        def use_key(self, who: str, key: str) -> None:
            steps["GET /api/tasks with a personal token"] += 1
            if key in people[who].keys:
                self.lists_what_is_theirs(who, people[who].keys[key]["token"])
                for path in ("sessions", "tokens"):
                    assert ask(people[who].keys[key]["token"], "GET", f"/api/auth/{path}").status_code == 403

        @rule(who=WHO, key=consumes(key_ids))
        def delete_key(self, who: str, key: str) -> None:
            self.on_one(who, people[who].keys, key, "DELETE", "/api/auth/tokens/{}")
            gone = people[who].keys.pop(key, None)
            if gone:
                assert ask(gone["token"], "GET", "/api/tasks").status_code == 401

        # Accounts and logins

        @rule(who=WHO, name=TITLES)
        def rename(self, who: str, name: str) -> None:
            steps["PATCH /api/auth/me"] += 1
            people[who].profile = {**people[who].profile, "name": name.strip()}
            assert self.ask(who, "PATCH", "/api/auth/me", {"name": name}).json() == {"data": people[who].profile}

        @precondition(lambda self: self.slow < SLOW)
        @rule(target=login_ids, who=WHO)
        def log_in(self, who: str) -> str:
            steps["POST /api/auth/login"] += 1
            self.slow += 1
            login = self.new_login(who)
            (session,) = self.other_logins(who) - set(people[who].logins)
            people[who].logins[session] = login["refresh_token"]
            return session

        def new_login(self, who: str) -> dict[str, Any]:
            somebody = people[who]
            body = {"email": somebody.profile["email"], "password": somebody.password}
            return ask(None, "POST", "/api/auth/login", body).json()["data"]

        @rule(who=WHO, session=login_ids)
        def refresh(self, who: str, session: str) -> None:
            steps["POST /api/auth/refresh"] += 1
            if session in people[who].logins:
                answer = ask(None, "POST", "/api/auth/refresh", {"refresh_token": people[who].logins[session]})
                login = answer.json()["data"]
                assert login["user"] == people[who].profile
                again = ask(None, "POST", "/api/auth/refresh", {"refresh_token": people[who].logins[session]})
                assert again.json()["data"]["refresh_token"] == login["refresh_token"]
                people[who].logins[session] = login["refresh_token"]
                self.lists_what_is_theirs(who, login["token"])

        @rule(who=WHO, session=consumes(login_ids))
        def end_login(self, who: str, session: str) -> None:
            mine = people[who].logins
            self.on_one(who, mine, session, "DELETE", "/api/auth/sessions/{}")
            if ended := mine.pop(session, None):
                assert ask(None, "POST", "/api/auth/refresh", {"refresh_token": ended}).status_code == 401

        @precondition(lambda self: self.slow < SLOW)
        @rule(who=WHO, everywhere=st.booleans())
        def log_out(self, who: str, everywhere: bool) -> None:
            path = "/api/auth/logout-all" if everywhere else "/api/auth/logout"
            steps[f"POST {path}"] += 1
            self.slow += 1
            assert self.ask(who, "POST", path).status_code == 204
            assert self.ask(who, "GET", "/api/tasks").status_code == 401
            people[who].arrive(self.new_login(who))
            if everywhere:
                people[who].logins.clear()

        @precondition(lambda self: self.slow < SLOW)
        @rule(who=WHO, revoke=st.booleans())
        def change_password(self, who: str, revoke: bool) -> None:
            steps["POST /api/auth/me/password"] += 1
            self.slow += 1
            new = people[who].password[::-1]
            body = {"current_password": people[who].password, "new_password": new, "revoke_tokens": revoke}
            assert self.ask(who, "POST", "/api/auth/me/password", body).status_code == 204
            people[who].password = new
            people[who].logins.clear()
            if revoke:
                keys = [key["token"] for key in people[who].keys.values()]
                people[who].keys.clear()
                assert {ask(key, "GET", "/api/tasks").status_code for key in keys} <= {401}

        @precondition(lambda self: self.slow < SLOW)
        @rule(who=WHO)
        def leave_and_come_back(self, who: str) -> None:
            steps["DELETE /api/auth/me, POST /api/auth/signup"] += 1
            self.slow += 1
            somebody = people[who]
            assert self.ask(who, "DELETE", "/api/auth/me", {"password": somebody.password}).status_code == 204
            assert self.ask(who, "GET", "/api/auth/me").status_code == 401
            body = {name: somebody.profile[name] for name in ("name", "email")} | {"password": somebody.password}
            people[who] = Somebody(ask(None, "POST", "/api/auth/signup", body).json()["data"], somebody.password)

        # What each of them sees after each step

        @invariant()
        def each_sees_their_own_and_nothing_else(self) -> None:
            for who, somebody in people.items():
                tag = self.lists_what_is_theirs(who, somebody.bearer)
                assert who in self.acted or tag == self.tags.get(who, tag), "what one does has changed the other's list"
                self.tags[who] = tag
            self.acted.clear()

        @invariant()
        def each_has_their_own_logins_and_keys(self) -> None:
            for who, somebody in people.items():
                assert self.ask(who, "GET", "/api/auth/me").json() == {"data": somebody.profile}
                assert self.other_logins(who) == set(somebody.logins)
                keys = self.ask(who, "GET", "/api/auth/tokens").json()["data"]
                assert {each["id"]: each["name"] for each in keys} == {
                    each["id"]: each["name"] for each in somebody.keys.values()
                }

        def lists_what_is_theirs(self, who: str, bearer: str) -> str | None:
            """Returns the entity tag of their list."""
            tasks = people[who].tasks.values()
            last_deleted_first = sorted(
                people[who].trash.values(), key=lambda task: (task["deleted_at"], task["id"]), reverse=True
            )
            newest_first = sorted(tasks, key=lambda task: (task["created_at"], task["id"]), reverse=True)
            listed = ask(bearer, "GET", "/api/tasks")
            assert listed.json() == {"data": newest_first}
            assert ask(bearer, "GET", "/api/trash").json() == {"data": last_deleted_first}
            lists = sorted(people[who].lists.values(), key=lambda each: (each["position"], each["id"]))
            assert ask(bearer, "GET", "/api/lists").json() == {"data": lists}
            return listed.headers.get("etag")

    return TwoUsers


def is_asked_for(task: dict[str, Any], asked: dict[str, Any]) -> bool:
    """Tell whether a list that is asked for in this way has the task."""
    text = f"{task['title']} {task['description'] or ''}".lower()
    return task["completed"] == asked.get("completed", task["completed"]) and (
        "q" not in asked or SEARCHES[asked["q"]](text)
    )


def telling(answer: httpx.Response) -> dict[str, str]:
    """The headers, without what names the one request."""
    return {name: value for name, value in answer.headers.items() if name != "x-request-id"}


async def walk(running: Litestar, how: settings, steps: Counter[str] | None = None) -> None:
    """Let them sign up and walk. Raises AssertionError at the first answer that is not as it has to be."""
    async with two_users(running, Counter() if steps is None else steps) as it:
        # Hypothesis drives from a thread; the application stays on the loop where its pool is.
        await asyncio.to_thread(run_state_machine_as_test, it, settings=how)


async def walk_along(running: Litestar, way: Callable[[Any, int, int], object]) -> None:
    """The same, by steps that are chosen, of two users with a task each, and one more of Bob's."""
    async with two_users(running, Counter()) as machine:

        def walk() -> None:
            it: Any = machine()
            his = it.create("bob", "Buy milk", None, None)
            hers = it.create("ada", "Buy milk", None, None)
            it.create("bob", "bread", None, None)
            it.each_sees_their_own_and_nothing_else()
            way(it, hers, his)
            it.each_sees_their_own_and_nothing_else()

        await asyncio.to_thread(walk)


@asynccontextmanager
async def two_users(running: Litestar, steps: Counter[str]) -> AsyncIterator[type[RuleBasedStateMachine]]:
    loop = asyncio.get_running_loop()
    async with visitor(running) as client:
        people = {
            who: Somebody(
                await signed_up(client, **{**wish, "email": f"{secrets.token_hex(8)}@example.com"}), wish["password"]
            )
            for who, wish in (("ada", ADA), ("bob", BOB))
        }

        def ask(
            bearer: str | None, method: str, path: str, json: Any = None, headers: dict[str, str] | None = None
        ) -> httpx.Response:
            token = {"authorization": f"Bearer {bearer}"} if bearer else {}
            asking = client.request(method, path, json=json, headers={**token, **(headers or {})})
            return asyncio.run_coroutine_threadsafe(asking, loop).result(30)

        yield machine(ask, people, steps, keeps=running.state["settings"].trash_days > 0)
