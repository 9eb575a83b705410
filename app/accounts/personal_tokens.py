"""Personal access tokens: made for scripts, shown once, kept as hashes. All questions are asked for an owner."""

import secrets
from typing import Any

import asyncpg
import msgspec

from app.accounts.failures import TokenNotFound, TooManyTokens
from app.accounts.paging import PagedList
from app.accounts.queries import LOCK_USER
from app.accounts.structs import NewPersonalToken, PersonalToken, PersonalTokenRequest
from app.auth import idempotency, opaque_tokens, provisioning
from app.auth.jwt import User as Owner
from app.db.engine import database
from app.db.statements import Statement, columns_of
from app.db.user_table import IS_OUR_ROW
from app.web.envelopes import encode
from app.web.failures import Forbidden, InvalidToken
from app.web.idempotency_key import Key

MAX_TOKENS = 50  # of an account, the expired ones aside

# Behind the lock, so that no token is made meanwhile, and no login ended by a new password.
COUNT_TOKENS = Statement(
    f"""
    SELECT count(*), :session::text IS NULL OR EXISTS (
        SELECT 1 FROM "login_sessions" WHERE "id" = :session AND "user_id" = :owner AND "expires_at" > now()
    ), EXISTS (SELECT 1 FROM "user" u WHERE u."id" = :owner AND NOT {IS_OUR_ROW})
    FROM "personal_access_tokens" WHERE "user_id" = :owner AND coalesce("expires_at", 'infinity') > now()
    """
)
CREATE_TOKEN = Statement(
    f"""
    WITH expired AS (
        DELETE FROM "personal_access_tokens" WHERE "expires_at" <= now() AND "id" IN (
            SELECT "id" FROM "personal_access_tokens" WHERE "user_id" = :owner
            ORDER BY coalesce("expires_at", 'infinity') > now() DESC, "created_at" DESC OFFSET {MAX_TOKENS - 1}
        )
    )
    INSERT INTO "personal_access_tokens" ("id", "user_id", "name", "scope", "token_hash", "expires_at")
    VALUES (:id, :owner, :name, :scope, :hash, :expires) RETURNING {columns_of(PersonalToken)}
    """
)
TOKENS = PagedList("tokens", "personal_access_tokens", columns_of(PersonalToken), at="created_at")
HASH_OF_TOKEN = Statement('SELECT "token_hash" FROM "personal_access_tokens" WHERE "user_id" = :owner AND "id" = :id')
DELETE_TOKEN = Statement('DELETE FROM "personal_access_tokens" WHERE "user_id" = :owner AND "id" = :id RETURNING "id"')


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
    token = opaque_tokens.personal_of(token_id, secrets_[0]) if key else opaque_tokens.new_personal()
    values = {"id": token_id, "name": wish.name, "scope": wish.scope, "expires": wish.expires_at}
    values |= {"hash": opaque_tokens.hashed(token)}

    async def store() -> NewPersonalToken:
        row = await provisioning.provisioned(owner, lambda: _store(owner, values, key))
        return NewPersonalToken(*row, token=token)

    if key is None:
        return await store()
    made = await idempotency.idempotent_transaction(key, owner, store, PersonalToken)
    return made if isinstance(made, NewPersonalToken) else await _told_again(owner, made, secrets_)


async def _told_again(owner: Owner, made: PersonalToken, secrets_: tuple[str, ...]) -> NewPersonalToken:
    rows = await database.fetch(HASH_OF_TOKEN, owner=owner.id, id=made.id)
    for token in [opaque_tokens.personal_of(made.id, secret) for secret in secrets_]:
        if rows and rows[0][0] == opaque_tokens.hashed(token):
            return NewPersonalToken(**msgspec.structs.asdict(made), token=token)
    raise TokenNotFound


async def _store(owner: Owner, values: dict[str, Any], key: Key | None) -> asyncpg.Record:
    async with database.begin(owner.id) as transaction:
        await transaction.fetch(LOCK_USER, owner=owner.id)
        [(count, is_logged_in, is_foreign)] = await transaction.fetch(
            COUNT_TOKENS, owner=owner.id, session=owner.session
        )
        if not is_logged_in:
            raise InvalidToken
        if is_foreign:
            raise Forbidden("This user logs in at another service, and cannot have tokens here.")
        if count >= MAX_TOKENS:
            raise TooManyTokens(count, MAX_TOKENS)
        [row] = await transaction.fetch(CREATE_TOKEN, owner=owner.id, **values)
        if key is not None:
            answer = encode(PersonalToken(*row)).decode()
            await transaction.fetch(idempotency.STORE_KEY, owner=owner.id, answer=answer, **key.values())
        return row


async def delete(owner: Owner, token_id: str) -> None:
    """Raises TokenNotFound."""
    if not await database.fetch(DELETE_TOKEN, owner=owner.id, id=token_id):
        raise TokenNotFound
