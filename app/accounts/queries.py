"""Every question we ask about people and their passwords.

Each is one transaction: an account is there with its password, or not at all.
"""

from typing import NamedTuple

import asyncpg

from app.accounts import device_tokens
from app.accounts.failures import EmailTaken
from app.accounts.structs import Profile
from app.auth.jwt import User as Owner
from app.db.engine import database
from app.db.pooled_connection import Rows
from app.db.statements import SET_RLS_OWNER, STAMP, Statement
from app.db.user_table import IS_OUR_ROW, NO_ADDRESS, NOT_AN_ADDRESS, address_of

USER_CREATED = STAMP.format('u."createdAt"')
PROFILE = f'u."id", u."name", u."email", {USER_CREATED}'
ACCOUNT = f'{PROFILE}, c."password_hash", c."password_version"'

SIGN_UP = Statement(
    f"""
    WITH u AS (
        INSERT INTO "user" ("id", "name", "email", "emailVerified", "createdAt", "updatedAt")
        SELECT :owner::text, :name::text, :email::text || '{NOT_AN_ADDRESS}', false, now(), now()
        WHERE NOT EXISTS (SELECT 1 FROM "user" WHERE lower("email") IN (:email, :email || '{NOT_AN_ADDRESS}'))
        ON CONFLICT DO NOTHING RETURNING *
    ), kept AS (
        INSERT INTO "credentials" ("user_id", "password_hash") SELECT u."id", :password_hash::text FROM u
    )
    SELECT {PROFILE} FROM u
    """
)
BY_EMAIL = Statement(
    f"""
    SELECT {ACCOUNT} FROM "user" u JOIN "credentials" c ON c."user_id" = u."id"
    WHERE lower(u."email") IN (:email::text, :email || '{NOT_AN_ADDRESS}') AND {IS_OUR_ROW}
    """
)
BY_ID = Statement(
    f"""
    SELECT {ACCOUNT} FROM "user" u LEFT JOIN "credentials" c ON c."user_id" = u."id" WHERE u."id" = :owner
    """
)
RENAME = Statement(
    f"""
    UPDATE "user" u SET "name" = :name, "updatedAt" = now() WHERE u."id" = :owner RETURNING {PROFILE}
    """
)
# With another password, or (`changes` is 0) with another hash of the same one.
REPLACE_HASH = Statement(
    """
    UPDATE "credentials" SET "password_hash" = :password_hash, "updated_at" = now(),
        "password_version" = "password_version" + :changes::integer
    WHERE "user_id" = :owner AND "password_hash" = :old_hash RETURNING "user_id"
    """
)
# First in each transaction that counts something of an account, or ends all of a kind: so logins, new tokens and
# changes of the password take turns, and each sees all that the ones before it did. It locks no row, because the table
# of users may be somebody else's, which our login may not change.
LOCK_USER = Statement("SELECT pg_advisory_xact_lock(hashtextextended(:owner::text, 0))")
IS_CHANGED = 'EXISTS (SELECT 1 FROM "credentials" WHERE "user_id" = :owner AND "password_hash" = :password_hash)'
END_OTHERS = Statement(
    f"""
    DELETE FROM "login_sessions"
    WHERE "user_id" = :owner AND "id" IS DISTINCT FROM :session::text AND {IS_CHANGED}
    """
)
REVOKE_TOKENS = Statement(
    f'DELETE FROM "personal_access_tokens" WHERE "user_id" = :owner AND :revoke::boolean AND {IS_CHANGED}'
)
# A user who leaves can do nothing from then on, anywhere: there is no password, no login and no token any more, and
# no change of tasks, which would find no revision (`tasks_refuse_leaving`). The email is free, and the tasks are
# removed behind it. A change takes the revision first, and the lock then, where it takes one; so does this, or one
# might wait for the other.
STOP_CHANGES = Statement(f'SELECT 1 FROM "revisions" WHERE {SET_RLS_OWNER} AND "user_id" = :owner FOR UPDATE')
FORGET_NAME = Statement(
    f"""
    WITH limits AS (
        DELETE FROM "rate_limits" WHERE "email" IN (
            SELECT replace(lower("email"), '{NOT_AN_ADDRESS}', '') FROM "user" WHERE "id" = :owner
        ) OR "email" = :user_limit OR starts_with("email", :device_limits)
    ), named AS (
        UPDATE "user" SET "name" = '', "email" = gen_random_uuid() || '{NO_ADDRESS}', "image" = NULL
        WHERE "id" = :owner RETURNING "id"
    )
    INSERT INTO "leaving_users" ("user_id") SELECT "id" FROM named ON CONFLICT DO NOTHING
    """
)
# Each in a statement of its own, which sees what the one before has waited for.
FORGET_KEYS = [
    Statement(f'DELETE FROM "{table}" WHERE "user_id" = :owner')
    for table in ("credentials", "login_sessions", "personal_access_tokens")
]
FORGET_REVISION = Statement(f'DELETE FROM "revisions" WHERE {SET_RLS_OWNER} AND "user_id" = :owner')


class Account(NamedTuple):
    """A user, and the hash of the password, if it is an account of ours."""

    profile: Profile
    password_hash: str | None
    password_version: int = 0


async def sign_up(user_id: str, name: str, email: str, password_hash: str) -> Profile:
    """Add a user with a password. Raises EmailTaken."""
    rows = await database.fetch(SIGN_UP, owner=user_id, name=name, email=email, password_hash=password_hash)
    if not rows:
        raise EmailTaken
    return profile(rows[0])


async def find(email: str) -> Account | None:
    """Return the account with this address, in its normal spelling."""
    return _account(await database.fetch(BY_EMAIL, email=email))


async def get(owner: Owner) -> Account | None:
    """Return the owner's row, if the database has seen this user."""
    return _account(await database.fetch(BY_ID, owner=owner.id))


async def rename(owner: Owner, name: str) -> Profile | None:
    """Set the name."""
    rows = await database.fetch(RENAME, owner=owner.id, name=name)
    return profile(rows[0]) if rows else None


async def renew_hash(owner_id: str, old: str, new: str) -> bool:
    """Replace the hash of a password by another of the same. Returns whether the password was still that one."""
    values = {"owner": owner_id, "old_hash": old, "password_hash": new, "changes": 0}
    return bool(await database.fetch(REPLACE_HASH, **values))


async def change_password(owner: Owner, old: str, new: str, *, revoke_tokens: bool = False) -> bool:
    """Set the password, and end every login but the one that asks; and all personal access tokens, if wanted.

    Returns whether the password was still the old one. In one transaction, behind the lock: a login that the old
    password opens meanwhile, and a token that is made meanwhile, come before it and are seen, or after it and come to
    nothing.
    """
    owned = {"owner": owner.id, "session": owner.session, "revoke": revoke_tokens}
    values = {**owned, "old_hash": old, "password_hash": new, "changes": 1}
    steps = (LOCK_USER, REPLACE_HASH, END_OTHERS, REVOKE_TOKENS)
    _, changed, *_ = await database.fetch_all(*((each, values) for each in steps))
    return bool(changed)


async def close_account(owner: Owner) -> None:
    """Let nobody do anything in the user's name from now on. Whatever there is of theirs is left to the cleanup."""
    limits = {"user_limit": limit_key(owner.id), "device_limits": device_tokens.limit_prefix(owner.id)}
    steps = (STOP_CHANGES, LOCK_USER, FORGET_NAME, *FORGET_KEYS, FORGET_REVISION)
    await database.fetch_all(*((each, {"owner": owner.id, **limits}) for each in steps))


def _account(rows: Rows) -> Account | None:
    return Account(profile(rows[0]), *rows[0][4:]) if rows else None


def limit_key(owner_id: str) -> str:
    """Return by what wrong passwords of somebody who is logged in are counted; it is no email address."""
    return f"user:{owner_id}"


def profile(row: asyncpg.Record) -> Profile:
    """Return the profile in the first four columns of a row."""
    user_id, name, email, created_at = row[:4]
    return Profile(user_id, name, address_of(email), created_at)
