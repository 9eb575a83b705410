"""Requests that are made once for a key, however often they are sent, and whatever breaks in between.

The transaction that makes a change stores the key, and with it what the answer is made from: either both are there, or
neither. Of two concurrent requests one finds the key taken, and is undone. A request that is refused stores nothing:
it is decided anew.
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg
import msgspec

from app.auth.jwt import User as Owner
from app.db.engine import database
from app.db.statements import SET_RLS_OWNER, Statement
from app.web.failures import Failure, KeyReused, Unavailable
from app.web.idempotency_key import Key

S = TypeVar("S")
T = TypeVar("T")

KEY_ATTEMPTS = 10  # two are enough but for a key that ends in between
HOURS = 24  # for which a key counts
# What a statement has seen of a key, it has to find when it asks for it, an hour later at most.
KEY_IS_FRESH = f"\"created_at\" > now() - interval '{HOURS - 1} hours'"
KEY_HAS_EXPIRED = f"\"created_at\" <= now() - interval '{HOURS} hours'"
THAT_KEY = f'{SET_RLS_OWNER} AND "user_id" = :owner AND "key" = :key'
KEY_IS_NEW = f'NOT EXISTS (SELECT 1 FROM "idempotency_keys" WHERE {THAT_KEY} AND {KEY_IS_FRESH})'

# For a change of several statements: the last of its transaction.
STORE_KEY = Statement(
    f"""
    INSERT INTO "idempotency_keys" ("user_id", "key", "fingerprint", "answer")
    SELECT :owner::text, :key::text, :fingerprint::bytea, :answer::text WHERE {SET_RLS_OWNER}
    """
)
RECALL = Statement(
    f"""
    WITH "gone" AS (DELETE FROM "idempotency_keys" WHERE {THAT_KEY} AND {KEY_HAS_EXPIRED})
    SELECT "fingerprint", "answer", {KEY_HAS_EXPIRED} AS "is_over" FROM "idempotency_keys" WHERE {THAT_KEY}
    """
)


async def idempotent_transaction(key: Key, owner: Owner, work: Callable[[], Awaitable[S]], kind: type[T]) -> S | T:
    """Do what takes several statements, or return what was kept of it when it was done.

    It is one transaction, and the last of its statements is STORE_KEY with what tells that, as JSON of this kind.
    Raises KeyReused, Unavailable where the key never becomes free, and what `work` does where no copy of the request
    was done.
    """
    found = await find(key, owner)
    for _ in range(KEY_ATTEMPTS):
        if found and not found["is_over"]:
            return msgspec.json.decode(answer_of(found, key), type=kind)
        refusal: Failure | None = None
        try:
            return await work()
        except asyncpg.UniqueViolationError as error:
            check_that_it_was_the_key(error)
        except Failure as failure:
            refusal = failure
        # A copy that began before the first was committed is refused for what the first has changed. By now it can see
        # the first one's key: whatever a change was refused for, the key is committed with it.
        found = await find(key, owner)
        if refusal is not None and not found:
            raise refusal
    raise Unavailable


async def is_known(key: Key, owner: Owner) -> bool:
    """Tell whether a request with this key has been answered. Raises KeyReused."""
    found = await find(key, owner)
    if not found or found["is_over"]:
        return False
    answer_of(found, key)
    return True


async def find(key: Key, owner: Owner) -> asyncpg.Record | None:
    """Return what is stored of a key, if it is; `is_over` tells whether it has expired."""
    found = await database.fetch(RECALL, owner=owner.id, key=key.text)
    return found[0] if found else None


def answer_of(found: asyncpg.Record, key: Key) -> str:
    """Return what the answer to the key's request was made from. Raises KeyReused for another request."""
    if found["fingerprint"] != key.fingerprint:
        raise KeyReused
    key.is_replay = True
    return found["answer"]


def check_that_it_was_the_key(error: asyncpg.UniqueViolationError) -> None:
    """Raise the error, unless another request has stored the same key meanwhile."""
    if getattr(error, "table_name", "") != "idempotency_keys":
        raise error
