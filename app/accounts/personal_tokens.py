"""Personal access tokens: made for scripts, shown once, kept as hashes. All questions are asked for an owner."""

import secrets
from typing import Any

import asyncpg
import msgspec
from piccolo.querystring import QueryString

from app import owners
from app.accounts import paging
from app.accounts.failures import TokenNotFound, TooManyTokens
from app.accounts.paging import Found, Window
from app.accounts.queries import LOCK
from app.accounts.structs import NewPersonalToken, PersonalToken, PersonalTokenRequest
from app.auth import opaque
from app.auth.tokens import User as Owner
from app.database import database
from app.envelopes import encode
from app.failures import Forbidden, InvalidToken
from app.statements import Param, Statement, columns_of
from app.tasks.keys import Key
from app.tasks.once import KEEP, once_together
from app.user_table import IS_OUR_ROW

OWNER, ID, NAME, SCOPE = Param("owner"), Param("id"), Param("name"), Param("scope")
TOKEN, EXPIRES, SESSION = Param("token"), Param("expires"), Param("session")

MAX_TOKENS = 50  # of an account, the expired ones aside

# Behind the lock, so that no token is made meanwhile, and no login ended by a new password.
COUNT = Statement(
    QueryString(
        f"""
        SELECT count(*), {{}}::text IS NULL OR EXISTS (
            SELECT 1 FROM "login_sessions" WHERE "id" = {{}}::text AND "user_id" = {{}} AND "expires_at" > now()
        ), EXISTS (SELECT 1 FROM "user" u WHERE u."id" = {{}} AND NOT {IS_OUR_ROW})
        FROM "personal_access_tokens" WHERE "user_id" = {{}} AND coalesce("expires_at", 'infinity') > now()
        """,
        SESSION,
        SESSION,
        OWNER,
        OWNER,
        OWNER,
    )
)
CREATE = Statement(
    QueryString(
        f"""
        WITH expired AS (
            DELETE FROM "personal_access_tokens" WHERE "expires_at" <= now() AND "id" IN (
                SELECT "id" FROM "personal_access_tokens" WHERE "user_id" = {{}}
                ORDER BY coalesce("expires_at", 'infinity') > now() DESC, "created_at" DESC OFFSET {MAX_TOKENS - 1}
            )
        )
        INSERT INTO "personal_access_tokens" ("id", "user_id", "name", "scope", "token_hash", "expires_at")
        VALUES ({{}}, {{}}, {{}}, {{}}, {{}}, {{}}) RETURNING {{}}
        """,
        OWNER,
        ID,
        OWNER,
        NAME,
        SCOPE,
        TOKEN,
        EXPIRES,
        columns_of(PersonalToken),
    )
)
CREATED = '"personal_access_tokens"."created_at"'
LIST = Statement(
    QueryString(
        """
        SELECT {}, {} FROM "personal_access_tokens" WHERE "user_id" = {} AND {}
        ORDER BY "personal_access_tokens"."created_at" DESC, "id" LIMIT {}
        """,
        columns_of(PersonalToken),
        QueryString(paging.microseconds(CREATED)),
        OWNER,
        QueryString(paging.follows(CREATED), paging.AFTER, paging.AFTER, paging.AFTER_ID),
        paging.LIMIT,
    )
)
HASH = Statement(
    QueryString('SELECT "token_hash" FROM "personal_access_tokens" WHERE "user_id" = {} AND "id" = {}', OWNER, ID)
)
DELETE = Statement(
    QueryString('DELETE FROM "personal_access_tokens" WHERE "user_id" = {} AND "id" = {} RETURNING "id"', OWNER, ID)
)


async def create(
    owner: Owner, wish: PersonalTokenRequest, secrets_: tuple[str, ...], key: Key | None = None
) -> NewPersonalToken:
    """Store a new token and return it, for the only time; or once more to a request that is sent again with its key.

    With a key the token is made of its id and the first secret, so that it can be told again and is kept nowhere.

    Where there are 50 already, the oldest of the expired ones makes room. Raises TooManyTokens where none has expired,
    InvalidToken for an owner who may not be added or whose login has ended meanwhile, and Forbidden for one who logs in
    at another service: a token would outlive whatever ends a login there, a new password for one. With a key, also
    KeyReused, and TokenNotFound where the token has been deleted since, or the secret has been replaced.
    """
    token_id = secrets.token_urlsafe(12)
    token = opaque.personal_of(token_id, secrets_[0]) if key else opaque.new_personal()
    values: dict[str, Any] = {"id": token_id, "name": wish.name, "scope": wish.scope, "expires": wish.expires_at}
    values |= {"token": opaque.hashed(token)}

    async def store() -> NewPersonalToken:
        row = await owners.provisioned(owner, lambda: _store(owner, values, key))
        return NewPersonalToken(*row, token=token)

    if key is None:
        return await store()
    made = await once_together(key, owner, store, PersonalToken)
    return made if isinstance(made, NewPersonalToken) else await _told_again(owner, made, secrets_)


async def _told_again(owner: Owner, made: PersonalToken, secrets_: tuple[str, ...]) -> NewPersonalToken:
    rows = await database.fetch(HASH, owner=owner.id, id=made.id)
    for token in [opaque.personal_of(made.id, secret) for secret in secrets_]:
        if rows and rows[0][0] == opaque.hashed(token):
            return NewPersonalToken(**msgspec.structs.asdict(made), token=token)
    raise TokenNotFound


async def _store(owner: Owner, values: dict[str, Any], key: Key | None) -> asyncpg.Record:
    async with database.stepwise(owner.id) as transaction:
        await transaction.fetch(LOCK, owner=owner.id)
        [(count, is_logged_in, is_foreign)] = await transaction.fetch(COUNT, owner=owner.id, session=owner.session)
        if not is_logged_in:
            raise InvalidToken
        if is_foreign:
            raise Forbidden("This user logs in at another service, and cannot have tokens here.")
        if count >= MAX_TOKENS:
            raise TooManyTokens(count, MAX_TOKENS)
        [row] = await transaction.fetch(CREATE, owner=owner.id, **values)
        if key is not None:
            answer = encode(PersonalToken(*row)).decode()
            await transaction.fetch(KEEP, owner=owner.id, answer=answer, **key.values())
        return row


async def listed(owner: Owner, window: Window) -> Found:
    """Return the owner's tokens, the newest first, expired ones too."""
    rows = await database.fetch(LIST, owner=owner.id, **window.values())
    return paging.found(rows, window, [PersonalToken(*row[:-1]) for row in rows])


async def delete(owner: Owner, token_id: str) -> None:
    """Raises TokenNotFound."""
    if not await database.fetch(DELETE, owner=owner.id, id=token_id):
        raise TokenNotFound
