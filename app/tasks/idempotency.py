"""Changes that are made once for a key, however often they are asked for, and whatever breaks in between.

The statement that makes a change stores the key, and with it what the answer is made from: either both are there, or
neither. It does nothing where the key is there already; and of two at the same moment one finds the key taken, and is
undone. Then the answer is made from what was stored: the task as it was at that version. A request that is refused has
changed nothing and stores nothing: it is decided anew.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import asyncpg
import msgspec

from app.auth import provisioning
from app.auth.idempotency import KEY_ATTEMPTS, KEY_IS_NEW, answer_of, check_that_it_was_the_key, find
from app.auth.jwt import User as Owner
from app.db.engine import database
from app.db.statements import PLACE_IN_GROUP, SHORT_LOCK_TIMEOUT, Statement, with_condition
from app.tasks.change import Change
from app.tasks.failures import TaskNotFound, label_refusal
from app.tasks.past_versions import as_they_were
from app.tasks.structs import Task
from app.tasks.uids import UidKind, uid_of
from app.web.failures import Unavailable

# A whole task that was stored then had none of the other fields.
BEFORE_0_2: dict[str, Any] = dict.fromkeys(Task.__struct_fields__) | {"priority": 0, "labels": "[]", "extra": "{}"}
STORED_ID_AND_VERSION, STORED_ROW = """json_build_object('id', "id", 'version', "version")""", 'row_to_json("changed")'


class ChangeStatement(Statement):
    """A change of what is an owner's, which returns one row where it changes something.

    `with_key` is the same for a request with a key, made of the same parts, with two more: `changed` and `kept`.
    Wherever the one asks for the owner's rows, the other asks for them as long as the key is new. That spares the work;
    that it is done once hangs on the key alone, of which there can be no second.
    """

    def __init__(self, change: str, *before: str, grouped: bool = False, returns_task: bool = False) -> None:
        """Take the change, and the common table expressions that come before it.

        Of one that returns a task, the key stores the id and version; else the whole row, which has to be short.

        One that can be in a batch ends in the list of what it returns. It raises its owner's revision before it locks
        anything else, so that two batches wait for each other's owners only, which are in order.
        """
        alone = _with(before, change)
        super().__init__(alone)
        self.returns_task = returns_task
        stored = f"""
            "kept" AS (
                INSERT INTO "idempotency_keys" ("user_id", "key", "fingerprint", "answer")
                SELECT :owner::text, :key::text, :fingerprint::bytea,
                    {STORED_ID_AND_VERSION if returns_task else STORED_ROW}::text FROM "changed"
            )
        """
        with_key = _with((*before, f'"changed" AS ({change})', stored), "SELECT *")
        self.with_key = Statement(with_condition(f'{with_key} FROM "changed"', KEY_IS_NEW))
        if grouped:
            self.group_sql = Statement(f"{with_condition(alone, SHORT_LOCK_TIMEOUT)}, {PLACE_IN_GROUP}").sql
            with_key = with_condition(with_key, f"{KEY_IS_NEW} AND {SHORT_LOCK_TIMEOUT}")
            self.with_key.group_sql = Statement(f'{with_key}, {PLACE_IN_GROUP} FROM "changed"').sql


def _with(before: Sequence[str], query: str) -> str:
    return f"WITH {', '.join(before)} {query}" if before else query


async def execute(statement: ChangeStatement, change: Change, **values: object) -> Sequence[Any]:
    """Make a change, or return what it returned when it was made: one row, or none where it finds nothing to change.

    Raises KeyReused, TaskNotFound where the task that it returned is gone for good, Unavailable where the key never
    becomes free, LabelLimitReached and Invalid for labels, and what `provisioning.store` does.
    """
    try:
        return await _execute(statement, change, values)
    except asyncpg.CheckViolationError as error:
        raise label_refusal(error) from None


async def _execute(statement: ChangeStatement, change: Change, values: dict[str, object]) -> Sequence[Any]:
    owner, condition, key = change
    values |= {"by": owner.by, "versions": condition.as_array(), "wanted": condition.wanted}
    if key is None:
        return await provisioning.provisioned(owner, partial(database.change, statement, owner=owner.id, **values))
    values |= key.values()
    for _ in range(KEY_ATTEMPTS):
        is_first = True
        try:
            if rows := await provisioning.store(statement.with_key, owner, **values):
                return rows
        except asyncpg.UniqueViolationError as error:
            check_that_it_was_the_key(error)
            is_first = False
        found = await find(key, owner)
        if found and not found["is_over"]:
            return [await _returned(statement, owner, msgspec.json.decode(answer_of(found, key)))]
        if is_first and not found:
            return []
    raise Unavailable


async def _returned(statement: ChangeStatement, owner: Owner, stored: dict[str, Any]) -> tuple[object, ...]:
    """Return the row that the change returned."""
    if not statement.returns_task or "title" in stored:  # whole tasks were stored before version 0.2
        if statement.returns_task:
            stored = BEFORE_0_2 | {"uid": uid_of(UidKind.TASK, stored["id"])} | stored
        return tuple(stored.values())
    [task] = await as_they_were(owner, [(stored["id"], stored["version"])])
    if task is None:
        raise TaskNotFound
    return msgspec.structs.astuple(task)
