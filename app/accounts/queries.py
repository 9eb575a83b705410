"""Every question we ask about people and their passwords.

Each is one transaction: an account is there with its password, or not at all.
"""

from typing import NamedTuple

import asyncpg
from piccolo.querystring import QueryString

from app.accounts import device_tokens
from app.accounts.structs import Profile
from app.auth.tokens import User as Owner
from app.database import database
from app.failures import EmailTaken
from app.statements import STAMP, Param, Statement, as_owner
from app.user_table import IS_OUR_ROW, NO_ADDRESS, NOT_AN_ADDRESS, address_of

OWNER, NAME, EMAIL, PASSWORD_HASH = Param("owner"), Param("name"), Param("email"), Param("password_hash")
SESSION, OLD_HASH, REVOKE = Param("session"), Param("old_hash"), Param("revoke")

USER_LIMIT, DEVICE_LIMITS = Param("user_limit"), Param("device_limits")

CREATED = STAMP.format('u."createdAt"')
PROFILE = f'u."id", u."name", u."email", {CREATED}'

SIGN_UP = Statement(
    QueryString(
        f"""
        WITH u AS (
            INSERT INTO "user" ("id", "name", "email", "emailVerified", "createdAt", "updatedAt")
            SELECT {{}}::text, {{}}::text, {{}}::text || '{NOT_AN_ADDRESS}', false, now(), now()
            WHERE NOT EXISTS (
                SELECT 1 FROM "user" WHERE lower("email") IN ({{}}::text, {{}}::text || '{NOT_AN_ADDRESS}')
            )
            ON CONFLICT DO NOTHING RETURNING *
        ), kept AS (
            INSERT INTO "credentials" ("user_id", "password_hash") SELECT u."id", {{}}::text FROM u
        )
        SELECT {PROFILE} FROM u
        """,
        OWNER,
        NAME,
        EMAIL,
        EMAIL,
        EMAIL,
        PASSWORD_HASH,
    )
)
BY_EMAIL = Statement(
    QueryString(
        f"""
        SELECT {PROFILE}, c."password_hash", c."password_version"
        FROM "user" u JOIN "credentials" c ON c."user_id" = u."id"
        WHERE lower(u."email") IN ({{}}::text, {{}}::text || '{NOT_AN_ADDRESS}') AND {IS_OUR_ROW}
        """,
        EMAIL,
        EMAIL,
    )
)
BY_ID = Statement(
    QueryString(
        f"""
        SELECT {PROFILE}, c."password_hash", c."password_version"
        FROM "user" u LEFT JOIN "credentials" c ON c."user_id" = u."id" WHERE u."id" = {{}}
        """,
        OWNER,
    )
)
RENAME = Statement(
    QueryString(
        f"""
        UPDATE "user" u SET "name" = {{}}, "updatedAt" = now() WHERE u."id" = {{}} RETURNING {PROFILE}
        """,
        NAME,
        OWNER,
    )
)
REPLACE_HASH = Statement(
    QueryString(
        """
        UPDATE "credentials" SET "password_hash" = {}, "updated_at" = now()
        WHERE "user_id" = {} AND "password_hash" = {} RETURNING "user_id"
        """,
        PASSWORD_HASH,
        OWNER,
        OLD_HASH,
    )
)
CHANGE_PASSWORD = Statement(
    QueryString(
        """
        UPDATE "credentials" SET
            "password_hash" = {}, "password_version" = "password_version" + 1, "updated_at" = now()
        WHERE "user_id" = {} AND "password_hash" = {} RETURNING "user_id"
        """,
        PASSWORD_HASH,
        OWNER,
        OLD_HASH,
    )
)
# First in each transaction that counts something of an account, or ends all of a kind: so logins, new tokens and
# changes of the password take turns, and each sees all that the ones before it did. It locks no row, because the table
# of users may be somebody else's, which our login may not change.
LOCK = Statement(QueryString("SELECT pg_advisory_xact_lock(hashtextextended({}::text, 0))", OWNER))
END_OTHERS = Statement(
    QueryString(
        """
        DELETE FROM "login_sessions" WHERE "user_id" = {} AND "id" IS DISTINCT FROM {}::text
        AND EXISTS (SELECT 1 FROM "credentials" WHERE "user_id" = {} AND "password_hash" = {})
        """,
        OWNER,
        SESSION,
        OWNER,
        PASSWORD_HASH,
    )
)
REVOKE_TOKENS = Statement(
    QueryString(
        """
        DELETE FROM "personal_access_tokens" WHERE "user_id" = {} AND {}::boolean
        AND EXISTS (SELECT 1 FROM "credentials" WHERE "user_id" = {} AND "password_hash" = {})
        """,
        OWNER,
        REVOKE,
        OWNER,
        PASSWORD_HASH,
    )
)
# A user who leaves can do nothing from then on, anywhere: there is no password, no login and no token any more, and
# no change of tasks, which would find no revision (`tasks_refuse_leaving`). The email is free, and the tasks are
# removed behind it. A change takes the revision first, and the lock then, where it takes one; so does this, or one
# might wait for the other.
STOP_CHANGES = Statement(
    QueryString('SELECT 1 FROM "revisions" WHERE {} AND "user_id" = {} FOR UPDATE', as_owner(OWNER).querystring, OWNER)
)
FORGET_NAME = Statement(
    QueryString(
        f"""
        WITH limits AS (
            DELETE FROM "rate_limits" WHERE "email" IN (
                SELECT replace(lower("email"), '{NOT_AN_ADDRESS}', '') FROM "user" WHERE "id" = {{}}
            ) OR "email" = {{}} OR starts_with("email", {{}})
        ), named AS (
            UPDATE "user" SET "name" = '', "email" = gen_random_uuid() || '{NO_ADDRESS}', "image" = NULL
            WHERE "id" = {{}} RETURNING "id"
        )
        INSERT INTO "leaving_users" ("user_id") SELECT "id" FROM named ON CONFLICT DO NOTHING
        """,
        OWNER,
        USER_LIMIT,
        DEVICE_LIMITS,
        OWNER,
    )
)
# Each in a statement of its own, which sees what the one before has waited for.
FORGET_KEYS = [
    Statement(QueryString(f'DELETE FROM "{table}" WHERE "user_id" = {{}}', OWNER))
    for table in ("credentials", "login_sessions", "personal_access_tokens")
]
FORGET_REVISION = Statement(
    QueryString('DELETE FROM "revisions" WHERE {} AND "user_id" = {}', as_owner(OWNER).querystring, OWNER)
)


class Account(NamedTuple):
    """A user, and the hash of the password, if it is an account of ours."""

    profile: Profile
    password_hash: str | None
    password_version: int = 0


async def sign_up(user_id: str, name: str, email: str, password_hash: str) -> Profile:
    """Add a user with a password. Raises EmailTaken."""
    values = {"owner": user_id, "name": name, "email": email, "password_hash": password_hash}
    rows = await database.fetch(SIGN_UP, **values)
    if not rows:
        raise EmailTaken
    return profile(rows[0])


async def find(email: str) -> Account | None:
    """Return the account with this address, in its normal spelling."""
    rows = await database.fetch(BY_EMAIL, email=email)
    return Account(profile(rows[0]), *rows[0][4:]) if rows else None


async def get(owner: Owner) -> Account | None:
    """Return the owner's row, if the database has seen this user."""
    rows = await database.fetch(BY_ID, owner=owner.id)
    return Account(profile(rows[0]), *rows[0][4:]) if rows else None


async def rename(owner: Owner, name: str) -> Profile | None:
    """Set the name."""
    rows = await database.fetch(RENAME, owner=owner.id, name=name)
    return profile(rows[0]) if rows else None


async def renew_hash(owner_id: str, old: str, new: str) -> bool:
    """Replace the hash of a password by another of the same. Returns whether the password was still that one."""
    return bool(await database.fetch(REPLACE_HASH, owner=owner_id, old_hash=old, password_hash=new))


async def change_password(owner: Owner, old: str, new: str, *, revoke_tokens: bool = False) -> bool:
    """Set the password, and end every login but the one that asks; and all personal access tokens, if wanted.

    Returns whether the password was still the old one. In one transaction, behind the lock: a login that the old
    password opens meanwhile, and a token that is made meanwhile, come before it and are seen, or after it and come to
    nothing.
    """
    _, changed, *_ = await database.fetch_all(
        (LOCK, {"owner": owner.id}),
        (CHANGE_PASSWORD, {"owner": owner.id, "old_hash": old, "password_hash": new}),
        (END_OTHERS, {"owner": owner.id, "session": owner.session, "password_hash": new}),
        (REVOKE_TOKENS, {"owner": owner.id, "password_hash": new, "revoke": revoke_tokens}),
    )
    return bool(changed)


async def close_account(owner: Owner) -> None:
    """Let nobody do anything in the user's name from now on. Whatever there is of theirs is left to the cleanup."""
    limits = {"user_limit": limit_key(owner.id), "device_limits": device_tokens.limit_prefix(owner.id)}
    steps = (STOP_CHANGES, LOCK, FORGET_NAME, *FORGET_KEYS, FORGET_REVISION)
    await database.fetch_all(*((each, {"owner": owner.id, **limits}) for each in steps))


def limit_key(owner_id: str) -> str:
    """Return by what wrong passwords of somebody who is logged in are counted; it is no email address."""
    return f"user:{owner_id}"


def profile(row: asyncpg.Record) -> Profile:
    """Return the profile in the first four columns of a row."""
    user_id, name, email, created_at = row[:4]
    return Profile(user_id, name, address_of(email), created_at)
