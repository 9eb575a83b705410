"""What only the database knows about a caller: whether a login has ended, and whose a personal token is."""

from app.auth import opaque_tokens
from app.auth.jwt import User
from app.db.engine import database
from app.db.statements import Statement
from app.db.user_table import IS_OUR_ROW

SESSION_LIVES = Statement(
    f"""
    SELECT 1 FROM "login_sessions" AS s JOIN "user" AS u ON u."id" = s."user_id"
    WHERE s."id" = :session AND s."user_id" = :owner AND s."expires_at" > now() AND {IS_OUR_ROW}
    """
)
PERSONAL_TOKEN = Statement(
    f"""
    WITH "used" AS (
        UPDATE "personal_access_tokens" SET "last_used_at" = now()
        WHERE "token_hash" = :hash AND coalesce("last_used_at", '-infinity') < now() - interval '1 minute'
    )
    SELECT t."user_id", t."scope", t."id"
    FROM "personal_access_tokens" AS t JOIN "user" AS u ON u."id" = t."user_id"
    WHERE t."token_hash" = :hash AND coalesce(t."expires_at", 'infinity') > now() AND {IS_OUR_ROW}
    """
)


async def is_logged_in(user: User) -> bool:
    """Tell whether the login behind a user's token has not been ended."""
    return bool(await database.fetch(SESSION_LIVES, session=user.session, owner=user.id))


async def owner_of(token: str, last: str | None) -> User | None:
    """Return whose personal access token this is, if it is anybody's and still valid.

    It is asked for in the turn of the owner whose it was the `last` time, or of the token itself: so copies of one
    token take two connections at most. Each is looked up by itself, or one could be let in after it was revoked.
    Raises what `database.fetch` does.
    """
    hashed = opaque_tokens.hashed(token)
    rows = await database.fetch(PERSONAL_TOKEN, owner=last or f"token:{hashed.hex()}", hash=hashed)
    if not rows:
        return None
    owner, scope, token_id = rows[0]
    return User(id=owner, auto_provision=False, may_write=scope == "write", token=f"token:{token_id}")
