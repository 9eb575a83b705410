"""Two users who walk at random through every endpoint there is, and a model of what each of them owns.

Every answer is held against the model. What is not theirs is refused like what never was, byte for byte.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from litestar import Litestar

from tests.accounts.people import ADA, BOB, signed_up
from tests.conftest import visitor

TEXTS = st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")
TITLES = st.text(TEXTS, min_size=1, max_size=20).filter(str.strip)
DESCRIPTIONS = st.none() | st.text(TEXTS, max_size=20)
WHO = st.sampled_from(["ada", "bob"])

NO_TASK, NO_ID = 2**53 - 1, "never-was"
SLOW = 2  # steps of a walk that may hash a password

FEW = settings(max_examples=20, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))

Ask = Callable[..., httpx.Response]


class Somebody:
    """A user with an account, and all that the user owns."""

    def __init__(self, login: dict[str, Any], password: str) -> None:
        self.password = password
        self.tasks: dict[int, dict[str, Any]] = {}
        self.keys: dict[str, dict[str, Any]] = {}  # personal access tokens
        self.logins: dict[str, str] = {}  # others than the one that asks, and their refresh tokens
        self.arrive(login)

    def arrive(self, login: dict[str, Any]) -> None:
        """Go on with another pair of tokens."""
        self.bearer, self.refresh_token, self.profile = login["token"], login["refresh_token"], login["user"]


def machine(ask: Ask, people: dict[str, Somebody], steps: Counter[str]) -> type[RuleBasedStateMachine]:
    """The walk, against a service that `ask(bearer, method, path, json)` asks. `steps` counts what was done."""

    class TwoUsers(RuleBasedStateMachine):
        """Keeps the model, and holds every answer against it."""

        task_ids = Bundle("task_ids")
        key_ids = Bundle("key_ids")
        login_ids = Bundle("login_ids")

        def __init__(self) -> None:
            super().__init__()
            self.slow = 0
            for who, somebody in people.items():
                self.arrive_anew(who)
                for task_id in somebody.tasks:
                    self.ask(who, "DELETE", f"/api/tasks/{task_id}")
                for key in somebody.keys:
                    self.ask(who, "DELETE", f"/api/auth/tokens/{key}")
                for session in somebody.logins:
                    self.ask(who, "DELETE", f"/api/auth/sessions/{session}")
                somebody.tasks.clear()
                somebody.keys.clear()
                somebody.logins.clear()

        def ask(self, who: str, method: str, path: str, json: Any = None) -> httpx.Response:
            return ask(people[who].bearer, method, path, json)

        def arrive_anew(self, who: str) -> None:
            body = {"refresh_token": people[who].refresh_token}
            people[who].arrive(ask(None, "POST", "/api/auth/refresh", body).json()["data"])

        def other_logins(self, who: str) -> set[str]:
            sessions = self.ask(who, "GET", "/api/auth/sessions").json()["data"]
            others = {each["id"] for each in sessions if not each["current"]}
            assert len(others) == len(sessions) - 1
            return others

        def on_one(self, who: str, mine: Any, the_id: Any, method: str, path: str, json: Any = None) -> Any:
            """Ask for one thing: it is found if it is theirs, else the answer is that to what never was."""
            steps[f"{method} {path}"] += 1
            answer = self.ask(who, method, path.format(the_id), json)
            if the_id in mine:
                assert answer.status_code in (200, 204), answer.text
                return answer.json()["data"] if answer.content else {}
            never_was = self.ask(who, method, path.format(NO_TASK if "tasks" in path else NO_ID), json)
            assert answer.status_code == 404
            assert (answer.content, telling(answer)) == (never_was.content, telling(never_was))
            return None

        # Tasks

        @rule(target=task_ids, who=WHO, title=TITLES, description=DESCRIPTIONS)
        def create(self, who: str, title: str, description: str | None) -> int:
            steps["POST /api/tasks"] += 1
            other = people["bob" if who == "ada" else "ada"].profile["id"]
            answer = self.ask(who, "POST", "/api/tasks", {"title": title, "description": description, "user_id": other})
            task = answer.json()["data"]
            owner = people[who].profile["id"]
            assert (answer.status_code, task["user_id"], task["title"]) == (201, owner, title.strip())
            assert all(task["id"] not in somebody.tasks for somebody in people.values())
            people[who].tasks[task["id"]] = task
            return task["id"]

        @rule(who=WHO, task_id=task_ids)
        def read(self, who: str, task_id: int) -> None:
            mine = people[who].tasks
            assert self.on_one(who, mine, task_id, "GET", "/api/tasks/{}") == mine.get(task_id)

        @rule(who=WHO, task_id=task_ids, title=TITLES, description=DESCRIPTIONS)
        def replace(self, who: str, task_id: int, title: str, description: str | None) -> None:
            body = {"title": title, "description": description, "id": 1, "user_id": "ada"}
            after = self.on_one(who, people[who].tasks, task_id, "PUT", "/api/tasks/{}", body)
            self.changed(who, task_id, after, title=title.strip(), description=description)

        @rule(who=WHO, task_id=task_ids)
        def flip(self, who: str, task_id: int) -> None:
            mine = people[who].tasks
            after = self.on_one(who, mine, task_id, "PATCH", "/api/tasks/{}/complete")
            if after:
                self.changed(who, task_id, after, completed=not mine[task_id]["completed"])

        @rule(who=WHO, task_id=consumes(task_ids))
        def delete(self, who: str, task_id: int) -> None:
            self.on_one(who, people[who].tasks, task_id, "DELETE", "/api/tasks/{}")
            people[who].tasks.pop(task_id, None)

        def changed(self, who: str, task_id: int, after: dict[str, Any] | None, **changes: Any) -> None:
            if after:
                before = people[who].tasks[task_id]
                assert after == {**before, **changes, "updated_at": after["updated_at"]}
                assert after["updated_at"] > before["updated_at"]
                people[who].tasks[task_id] = after

        # Personal access tokens

        @rule(target=key_ids, who=WHO, name=TITLES, scope=st.sampled_from(["read", "write"]))
        def make_key(self, who: str, name: str, scope: str) -> str:
            steps["POST /api/auth/tokens"] += 1
            answer = self.ask(who, "POST", "/api/auth/tokens", {"name": name, "scope": scope})
            key = answer.json()["data"]
            assert (answer.status_code, key["name"], key["scope"]) == (201, name.strip(), scope)
            people[who].keys[key["id"]] = key
            return key["id"]

        @rule(who=WHO, key=key_ids)
        def use_key(self, who: str, key: str) -> None:
            steps["GET /api/tasks with a personal token"] += 1
            if key in people[who].keys:
                self.lists_what_is_theirs(who, people[who].keys[key]["token"])

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
        @rule(who=WHO)
        def change_password(self, who: str) -> None:
            steps["POST /api/auth/me/password"] += 1
            self.slow += 1
            new = people[who].password[::-1]
            body = {"current_password": people[who].password, "new_password": new}
            assert self.ask(who, "POST", "/api/auth/me/password", body).status_code == 204
            people[who].password = new
            people[who].logins.clear()

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
                self.lists_what_is_theirs(who, somebody.bearer)
                assert self.ask(who, "GET", "/api/auth/me").json() == {"data": somebody.profile}
                assert self.other_logins(who) == set(somebody.logins)
                keys = self.ask(who, "GET", "/api/auth/tokens").json()["data"]
                assert {each["id"]: each["name"] for each in keys} == {
                    each["id"]: each["name"] for each in somebody.keys.values()
                }

        def lists_what_is_theirs(self, who: str, bearer: str) -> None:
            tasks = people[who].tasks.values()
            newest_first = sorted(tasks, key=lambda task: (task["created_at"], task["id"]), reverse=True)
            assert ask(bearer, "GET", "/api/tasks").json() == {"data": newest_first}

    return TwoUsers


def telling(answer: httpx.Response) -> dict[str, str]:
    """The headers, without what names the one request."""
    return {name: value for name, value in answer.headers.items() if name != "x-request-id"}


async def walk(running: Litestar, how: settings, steps: Counter[str] | None = None) -> None:
    """Let them sign up and walk. Raises AssertionError at the first answer that is not as it has to be."""
    loop = asyncio.get_running_loop()
    async with visitor(running) as client:
        people = {
            who: Somebody(
                await signed_up(client, **{**wish, "email": f"{secrets.token_hex(8)}@example.com"}), wish["password"]
            )
            for who, wish in (("ada", ADA), ("bob", BOB))
        }

        def ask(bearer: str | None, method: str, path: str, json: Any = None) -> httpx.Response:
            headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
            asking = client.request(method, path, json=json, headers=headers)
            return asyncio.run_coroutine_threadsafe(asking, loop).result(30)

        # Hypothesis drives from a thread; the application stays on the loop where its pool is.
        it = machine(ask, people, Counter() if steps is None else steps)
        await asyncio.to_thread(run_state_machine_as_test, it, settings=how)
