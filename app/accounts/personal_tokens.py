"""Personal access tokens: made for scripts, shown once, kept as hashes. All questions are asked for an owner."""

import secrets

from piccolo.querystring import QueryString

from app import owners
from app.accounts.failures import TokenNotFound
from app.accounts.structs import NewPersonalToken, PersonalToken, PersonalTokenRequest
from app.auth import opaque
from app.auth.tokens import User as Owner
from app.database import database
from app.statements import Param, Statement, columns_of

OWNER, ID, NAME, SCOPE = Param("owner"), Param("id"), Param("name"), Param("scope")
TOKEN, EXPIRES = Param("token"), Param("expires")

CREATE = Statement(
    QueryString(
        """
        INSERT INTO "personal_access_tokens" ("id", "user_id", "name", "scope", "token_hash", "expires_at")
        VALUES ({}, {}, {}, {}, {}, {}) RETURNING {}
        """,
        ID,
        OWNER,
        NAME,
        SCOPE,
        TOKEN,
        EXPIRES,
        columns_of(PersonalToken),
    )
)
LIST = Statement(
    QueryString(
        """
        SELECT {} FROM "personal_access_tokens" WHERE "user_id" = {}
        ORDER BY "personal_access_tokens"."created_at" DESC, "id"
        """,
        columns_of(PersonalToken),
        OWNER,
    )
)
DELETE = Statement(
    QueryString('DELETE FROM "personal_access_tokens" WHERE "user_id" = {} AND "id" = {} RETURNING "id"', OWNER, ID)
)


async def create(owner: Owner, wish: PersonalTokenRequest) -> NewPersonalToken:
    """Store a new token and return it, for the only time. Raises InvalidToken for an owner who may not be added."""
    token = opaque.new_personal()
    values = {"id": secrets.token_urlsafe(12), "token": opaque.hashed(token), "expires": wish.expires_at}
    rows = await owners.store(CREATE, owner, name=wish.name, scope=wish.scope, **values)
    return NewPersonalToken(*rows[0], token=token)


async def list_all(owner: Owner) -> list[PersonalToken]:
    """Return the owner's tokens, the newest first, expired ones too."""
    return [PersonalToken(*row) for row in await database.fetch(LIST, owner=owner.id)]


async def delete(owner: Owner, token_id: str) -> None:
    """Raises TokenNotFound."""
    if not await database.fetch(DELETE, owner=owner.id, id=token_id):
        raise TokenNotFound
