"""Changes that are made once for a key, however often they are asked for, and whatever breaks in between.

The statement that makes a change keeps the key, and with it what the answer is made from: either both are there, or
neither. It does nothing where the key is there already; and of two at the same moment one finds the key taken, and is
undone. Then the answer is made from what was kept: the task as it was at that version. A request that is refused has
changed nothing and keeps nothing: it is decided anew.
"""

import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import asyncpg
import msgspec
from piccolo.querystring import QueryString

from app import owners
from app.auth.tokens import User as Owner
from app.database import database
from app.failures import Failure, Unavailable
from app.statements import AS_OWNER, Param, Statement, as_owner
from app.tasks.failures import KeyReused, TaskNotFound
from app.tasks.keys import Key
from app.tasks.states import as_they_were

S = TypeVar("S")
T = TypeVar("T")

ATTEMPTS = 10  # two are enough but for a key that ends in between
HOURS = 24  # for which a key counts
# What a statement has seen of a key, it has to find when it asks for it, an hour later at most.
SURELY = f"\"created_at\" > now() - interval '{HOURS - 1} hours'"
OWNER, KEY, FINGERPRINT, ANSWER = Param("owner"), Param("key"), Param("fingerprint"), Param("answer")

FOR_THEM = as_owner(OWNER).querystring
THAT_KEY = QueryString('{} AND "user_id" = {} AND "key" = {}', FOR_THEM, OWNER, KEY)
IS_OVER = QueryString(f"\"created_at\" <= now() - interval '{HOURS} hours'")
# Of whoever waits for a row in a group, so that those who go with them do not have to.
SOON_GIVES_UP = "(SELECT set_config('lock_timeout', '50ms', true)) IS NOT NULL"
ID_AND_VERSION, ROW = """json_build_object('id', "id", 'version', "version")""", 'row_to_json("changed")'
FOR_OWNER = re.compile(re.escape(AS_OWNER).replace(r"\{\}", r"(\$\d+)"))

# For a change of several statements: the last of its transaction.
KEEP = Statement(
    QueryString(
        """
        INSERT INTO "idempotency_keys" ("user_id", "key", "fingerprint", "answer")
        SELECT {}::text, {}::text, {}::bytea, {}::text WHERE {}
        """,
        OWNER,
        KEY,
        FINGERPRINT,
        ANSWER,
        FOR_THEM,
    )
)
RECALL = Statement(
    QueryString(
        """
        WITH "gone" AS (DELETE FROM "idempotency_keys" WHERE {} AND {})
        SELECT "fingerprint", "answer", {} AS "is_over" FROM "idempotency_keys" WHERE {}
        """,
        THAT_KEY,
        IS_OVER,
        IS_OVER,
        THAT_KEY,
    )
)


class ChangeStatement(Statement):
    """A change of what is an owner's, which returns one row where it changes something.

    `once` is the same for a request with a key, made of the same parts, with two more: `changed` and `kept`. Wherever
    the one asks for the owner's rows, the other asks for them as long as the key is new. That spares the work; that it
    is done once hangs on the key alone, of which there can be no second.
    """

    def __init__(
        self, change: QueryString, *before: QueryString, travels: bool = False, returns_task: bool = False
    ) -> None:
        """Take the change, and the common table expressions that come before it.

        Of one that returns a task, its id and version are kept for the key; else the whole row, which has to be short.

        One that travels with others of its kind ends in the list of what it returns. It raises its owner's revision
        before it locks anything else, so that two groups wait for each other's owners only, which are in order.
        """
        super().__init__(_with(before, change))
        if travels:
            impatient = FOR_OWNER.sub(rf"\g<0> AND {SOON_GIVES_UP}", self.sql)
            self.together = f'{impatient}, ${len(self._arguments) + 1}::int AS "place"'
        self.returns_task = returns_task
        answer = ID_AND_VERSION if returns_task else ROW
        changed = QueryString('"changed" AS ({})', change)
        kept = QueryString(
            f"""
            "kept" AS (
                INSERT INTO "idempotency_keys" ("user_id", "key", "fingerprint", "answer")
                SELECT {{}}::text, {{}}::text, {{}}::bytea, {answer}::text FROM "changed"
            )
            """,
            OWNER,
            KEY,
            FINGERPRINT,
        )
        self.once = Statement(_with((*before, changed, kept), QueryString('SELECT * FROM "changed"')))
        self.once.sql = FOR_OWNER.sub(_while_new(self.once.number_of(KEY)), self.once.sql)


def _with(before: Sequence[QueryString], query: QueryString) -> QueryString:
    ahead = f"WITH {', '.join('{}' for _ in before)} " if before else ""
    return QueryString(f"{ahead}{{}}", *before, query)


def _while_new(key: int) -> str:
    """Return what becomes of the condition that says for whom a statement is."""
    mine = rf'SELECT 1 FROM "idempotency_keys" WHERE \g<0> AND "user_id" = \1 AND "key" = ${key} AND {SURELY}'
    return rf"\g<0> AND NOT EXISTS ({mine})"


async def once(change: ChangeStatement, key: Key, owner: Owner, **values: Any) -> Sequence[Any]:
    """Make a change, or return what it returned when it was made: one row, or none where it finds nothing to change.

    Raises KeyReused, TaskNotFound where the task that it returned is gone for good, Unavailable where the key is never
    to be had, and what `owners.store` does.
    """
    values |= key.values()
    for _ in range(ATTEMPTS):
        is_first = True
        try:
            if rows := await owners.store(change.once, owner, **values):
                return rows
        except asyncpg.UniqueViolationError as error:
            _check_that_it_was_the_key(error)
            is_first = False
        found = await _find(key, owner)
        if found and not found["is_over"]:
            return [await _returned(change, owner, msgspec.json.decode(_answer(found, key)))]
        if is_first and not found:
            return []
    raise Unavailable


async def _returned(change: ChangeStatement, owner: Owner, kept: dict[str, Any]) -> tuple[Any, ...]:
    """Return the row that the change returned."""
    if not change.returns_task or "title" in kept:  # whole tasks were kept before version 0.2
        return tuple(kept.values())
    [task] = await as_they_were(owner, [(kept["id"], kept["version"])])
    if task is None:
        raise TaskNotFound
    return msgspec.structs.astuple(task)


async def once_together(key: Key, owner: Owner, work: Callable[[], Awaitable[S]], kind: type[T]) -> S | T:
    """Do what takes several statements, or return what was kept of it when it was done.

    It is one transaction, and the last of its statements is KEEP with what tells that, as JSON of this kind. Raises
    KeyReused, Unavailable where the key is never to be had, and what `work` does where no copy of the request was done.
    """
    found = await _find(key, owner)
    for _ in range(ATTEMPTS):
        if found and not found["is_over"]:
            return msgspec.json.decode(_answer(found, key), type=kind)
        refusal: Failure | None = None
        try:
            return await work()
        except asyncpg.UniqueViolationError as error:
            _check_that_it_was_the_key(error)
        except Failure as failure:
            refusal = failure
        # A copy that began before the first was committed is refused for what the first has changed. By now it can see
        # the first one's key: whatever a change was refused for, the key is committed with it.
        found = await _find(key, owner)
        if refusal is not None and not found:
            raise refusal
    raise Unavailable


async def is_known(key: Key, owner: Owner) -> bool:
    """Tell whether a request with this key has been answered. Raises KeyReused."""
    found = await _find(key, owner)
    if not found or found["is_over"]:
        return False
    _answer(found, key)
    return True


async def _find(key: Key, owner: Owner) -> asyncpg.Record | None:
    found = await database.fetch(RECALL, owner=owner.id, key=key.text)
    return found[0] if found else None


def _answer(found: asyncpg.Record, key: Key) -> str:
    if found["fingerprint"] != key.fingerprint:
        raise KeyReused
    key.is_replay = True
    return found["answer"]


def _check_that_it_was_the_key(error: asyncpg.UniqueViolationError) -> None:
    if getattr(error, "table_name", "") != "idempotency_keys":
        raise error
