"""Users whom only a token has named so far: their row is added with the first thing that they own."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import asyncpg

from app.auth.jwt import User
from app.db.engine import database
from app.db.statements import Statement
from app.db.user_table import IS_OURS_ALONE, NO_ADDRESS, NOT_AN_ADDRESS
from app.web.failures import InvalidToken

T = TypeVar("T")
PROVISION_ATTEMPTS = 4

# The table wants an email, and wants it unique. A token may have none, or somebody else's: then a random one stands in.
ADD_OWNER = Statement(
    f"""
    INSERT INTO "user" ("id", "name", "email", "emailVerified", "createdAt", "updatedAt")
    SELECT :owner::text, coalesce(:name::text, ''),
           CASE WHEN :email::text IS NULL OR EXISTS (
                    SELECT 1 FROM "user" WHERE lower("email") IN (lower(:email), lower(:email) || '{NOT_AN_ADDRESS}')
                )
                THEN gen_random_uuid() || '{NO_ADDRESS}'
                WHEN {IS_OURS_ALONE} THEN :email
                ELSE :email || '{NOT_AN_ADDRESS}' END,
           false, now(), now()
    ON CONFLICT DO NOTHING
    """
)


def is_leaving(error: asyncpg.ForeignKeyViolationError) -> bool:
    """Tell whether what failed was for a user who has deleted the account, and not for one who is not there (yet)."""
    return getattr(error, "constraint_name", None) == "user_is_leaving"


async def store(statement: Statement, owner: User, **values: Any) -> Sequence[Any]:
    """Run a statement that stores something of `owner`, and return its rows. Raises what `provisioned` does."""
    return await provisioned(owner, lambda: database.change(statement, owner=owner.id, **values))


async def provisioned(owner: User, attempt: Callable[[], Awaitable[T]]) -> T:
    """Return what comes of storing something of `owner`.

    An owner whom the database has not seen is added when the attempt fails for that, so that nobody else's
    write pays for the question. Raises InvalidToken for an owner who may not be added, or has deleted the account.
    """
    attempts_left = PROVISION_ATTEMPTS
    while True:
        attempts_left -= 1
        try:
            return await attempt()
        except asyncpg.ForeignKeyViolationError as error:
            if not owner.auto_provision or is_leaving(error):
                raise InvalidToken from None
            if not attempts_left:
                raise
        # Comes to nothing where another user takes the same email in the same instant. Then the next attempt
        # sees that it is taken.
        await database.fetch(ADD_OWNER, owner=owner.id, email=owner.email, name=owner.name)
