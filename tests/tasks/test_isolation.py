"""Two users walk at random through everything there is, and neither ever sees or moves the other's tasks."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    rule,
    run_state_machine_as_test,
)
from litestar import Litestar

from app.statements import Statement
from app.tasks import queries
from tests.conftest import token, visitor

WHO = st.sampled_from(["ada", "bob"])
TITLES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=20).filter(
    str.strip
)
DESCRIPTIONS = st.none() | st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=20)


def machine(ask: Callable[..., httpx.Response]) -> type[RuleBasedStateMachine]:
    """The walk, against a service that `ask(who, method, path, json)` asks."""

    class TwoUsers(RuleBasedStateMachine):
        """Keeps a model of each user's tasks and holds every answer against it."""

        ids = Bundle("ids")

        def __init__(self) -> None:
            super().__init__()
            self.model: dict[str, dict[int, dict[str, Any]]] = {"ada": {}, "bob": {}}
            for who in self.model:
                for task in ask(who, "GET", "/api/tasks").json()["data"]:
                    ask(who, "DELETE", f"/api/tasks/{task['id']}")

        def expect(self, who: str, task_id: int, answer: httpx.Response, status: int) -> dict[str, Any] | None:
            if task_id not in self.model[who]:
                assert answer.status_code == 404
                assert answer.json() == {"error": {"code": "NOT_FOUND", "message": "There is no such task."}}
                return None
            assert answer.status_code == status
            return answer.json()["data"] if status == 200 else {}

        @rule(target=ids, who=WHO, title=TITLES, description=DESCRIPTIONS)
        def create(self, who: str, title: str, description: str | None) -> int:
            answer = ask(who, "POST", "/api/tasks", {"title": title, "description": description, "user_id": "bob"})
            task = answer.json()["data"]
            assert (answer.status_code, task["user_id"], task["title"]) == (201, who, title.strip())
            assert all(task["id"] not in tasks for tasks in self.model.values())
            self.model[who][task["id"]] = task
            return task["id"]

        @rule(who=WHO, task_id=ids)
        def read(self, who: str, task_id: int) -> None:
            task = self.expect(who, task_id, ask(who, "GET", f"/api/tasks/{task_id}"), 200)
            assert task == self.model[who].get(task_id)

        @rule(who=WHO, task_id=ids, title=TITLES, description=DESCRIPTIONS)
        def replace(self, who: str, task_id: int, title: str, description: str | None) -> None:
            body = {"title": title, "description": description, "id": 1, "user_id": "ada"}
            after = self.expect(who, task_id, ask(who, "PUT", f"/api/tasks/{task_id}", body), 200)
            self.changed(who, task_id, after, title=title.strip(), description=description)

        @rule(who=WHO, task_id=ids)
        def flip(self, who: str, task_id: int) -> None:
            after = self.expect(who, task_id, ask(who, "PATCH", f"/api/tasks/{task_id}/complete"), 200)
            if after:
                self.changed(who, task_id, after, completed=not self.model[who][task_id]["completed"])

        @rule(who=WHO, task_id=consumes(ids))
        def delete(self, who: str, task_id: int) -> None:
            self.expect(who, task_id, ask(who, "DELETE", f"/api/tasks/{task_id}"), 204)
            self.model[who].pop(task_id, None)

        def changed(self, who: str, task_id: int, after: dict[str, Any] | None, **changes: Any) -> None:
            if after:
                before = self.model[who][task_id]
                assert after == {**before, **changes, "updated_at": after["updated_at"]}
                assert after["updated_at"] > before["updated_at"]
                self.model[who][task_id] = after

        @invariant()
        def each_sees_their_own_and_nothing_else(self) -> None:
            for who, tasks in self.model.items():
                newest_first = sorted(tasks.values(), key=lambda task: (task["created_at"], task["id"]), reverse=True)
                assert ask(who, "GET", "/api/tasks").json() == {"data": newest_first}

    return TwoUsers


FEW = settings(max_examples=20, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck))


async def walk(running: Litestar, how: settings) -> None:
    loop = asyncio.get_running_loop()
    clients = {who: visitor(running, authorization=f"Bearer {token(who)}") for who in ("ada", "bob")}

    def ask(who: str, method: str, path: str, json: Any = None) -> httpx.Response:
        return asyncio.run_coroutine_threadsafe(clients[who].request(method, path, json=json), loop).result(30)

    # Hypothesis drives from a thread; the application stays on the loop where its pool is.
    await asyncio.to_thread(run_state_machine_as_test, machine(ask), settings=how)


async def test_neither_of_two_users_ever_sees_or_moves_the_others_tasks(running: Litestar, clean: None) -> None:
    await walk(running, FEW)


class WithoutOwner(Statement):
    """A statement as it would be if somebody forgot the owner: the same, for everybody's tasks."""

    def __init__(self, whole: Statement) -> None:
        self.sql = whole.sql.replace('"tasks"."user_id" = ', "'' <> ")  # which every user id is
        assert self.sql != whole.sql
        self._arguments = whole._arguments


@pytest.mark.parametrize("name", ["LIST", "GET", "REPLACE", "FLIP", "DELETE"])
async def test_the_walk_notices_a_query_that_forgets_its_owner(
    running: Litestar, clean: None, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(queries, name, WithoutOwner(getattr(queries, name)))
    until_found = settings(FEW, max_examples=200, database=None, phases=[Phase.generate])

    with pytest.raises(AssertionError):
        await walk(running, until_found)
