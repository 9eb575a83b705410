"""Logins: each is a family of refresh tokens, of which one is valid at a time.

A refresh token has two parts: one that the whole family shares, and one of its own. A request with a family's part
and a part that is not the valid one holds a token that was spent. Then somebody has a copy, and the family ends
(RFC 9700, section 4.14.2). Both parts are stored as hashes.

Two tabs that refresh together, and a client that never got its answer, send a spent token too. So the one that was
spent last is answered for 30 s more, with the very token that followed it: the family stays one line of tokens, and has
no branches. A thief's copy that is used within these 30 s gets that token as well; it is noticed as soon as one of the
two spends it and the other one does so more than 30 s later, or after another one.
"""

from typing import NamedTuple

import asyncpg
from piccolo.querystring import QueryString

from app.accounts import device_tokens, paging
from app.accounts.failures import SessionNotFound
from app.accounts.paging import Found, Window
from app.accounts.queries import LOCK, PROFILE, Account, profile
from app.accounts.structs import Login, Profile, Session
from app.auth import opaque, tokens
from app.auth.tokens import User as Owner
from app.database import database
from app.failures import InvalidCredentials, InvalidRefreshToken
from app.statements import Param, Statement, columns_of
from app.user_table import IS_OUR_ROW

ACCESS_SECONDS = 15 * 60
REFRESH_DAYS = 30  # from the last use
LOGIN_DAYS = 90  # from the beginning, however often it is refreshed
RESEND_SECONDS = 30
MAX_LOGINS = 100  # of an account

OWNER, ID, FAMILY = Param("owner"), Param("id"), Param("family")
TOKEN, NEW_TOKEN = Param("token"), Param("new_token")
AGENT, ADDRESS, PASSWORD_HASH = Param("agent"), Param("address"), Param("password_hash")

PASSWORD_VERSION = Statement(
    QueryString(
        f"""
        SELECT c."password_version" FROM "credentials" c JOIN "user" u ON u."id" = c."user_id"
        WHERE c."user_id" = {{}} AND c."password_hash" = {{}} AND {IS_OUR_ROW}
        """,
        OWNER,
        PASSWORD_HASH,
    )
)
LOG_IN = Statement(
    QueryString(
        f"""
        WITH expired AS (
            DELETE FROM "login_sessions" WHERE "id" IN (
                SELECT "id" FROM "login_sessions" WHERE "expires_at" < now() LIMIT 100 FOR UPDATE SKIP LOCKED
            )
        ), least_recently_used AS (
            DELETE FROM "login_sessions" WHERE "id" IN (
                SELECT "id" FROM "login_sessions" WHERE "user_id" = {{}}
                ORDER BY "expires_at" > now() DESC, "last_used_at" DESC OFFSET {MAX_LOGINS - 1}
            )
        )
        INSERT INTO "login_sessions"
            ("user_id", "id", "family_hash", "token_hash", "user_agent", "ip_address", "expires_at")
        VALUES ({{}}, {{}}, {{}}::bytea, {{}}::bytea, {{}}, {{}}, now() + interval '{REFRESH_DAYS} days')
        """,
        OWNER,
        OWNER,
        ID,
        FAMILY,
        TOKEN,
        AGENT,
        ADDRESS,
    )
)
# Copies that come together wait for the first one's lock, and then find what it has left behind.
ROTATE = Statement(
    QueryString(
        f"""
        UPDATE "login_sessions" s SET
            "token_hash" = CASE WHEN s."token_hash" = {{}} THEN {{}} ELSE s."token_hash" END,
            "rotated_at" = CASE WHEN s."token_hash" = {{}} THEN now() ELSE s."rotated_at" END,
            "previous_hash" = {{}}, "user_agent" = {{}}, "ip_address" = {{}}, "last_used_at" = now(),
            "expires_at" = least(
                now() + interval '{REFRESH_DAYS} days', s."created_at" + interval '{LOGIN_DAYS} days'
            )
        FROM "user" u LEFT JOIN "credentials" c ON c."user_id" = u."id"
        WHERE s."family_hash" = {{}} AND s."expires_at" > now() AND u."id" = s."user_id" AND (
            s."token_hash" = {{}}
            OR (s."previous_hash" = {{}} AND s."rotated_at" > now() - interval '{RESEND_SECONDS} seconds')
        ) AND {IS_OUR_ROW}
        RETURNING {PROFILE}, s."id", s."token_hash",
            extract(epoch FROM s."expires_at" - now())::float8, coalesce(c."password_version", 0)
        """,
        TOKEN,
        NEW_TOKEN,
        TOKEN,
        TOKEN,
        AGENT,
        ADDRESS,
        FAMILY,
        TOKEN,
        TOKEN,
    )
)
END_FAMILY = Statement(
    QueryString('DELETE FROM "login_sessions" WHERE "family_hash" = {} RETURNING "user_id", "id"', FAMILY)
)
END_SESSION = Statement(
    QueryString('DELETE FROM "login_sessions" WHERE "user_id" = {} AND "id" = {} RETURNING "id"', OWNER, ID)
)
END_ALL = Statement(QueryString('DELETE FROM "login_sessions" WHERE "user_id" = {}', OWNER))
LAST_USED = '"login_sessions"."last_used_at"'
SESSIONS = Statement(
    QueryString(
        """
        SELECT {}, {} FROM "login_sessions" WHERE "user_id" = {} AND "expires_at" > now() AND {}
        ORDER BY "login_sessions"."last_used_at" DESC, "id" LIMIT {}
        """,
        columns_of(Session, without=("current",)),
        QueryString(paging.microseconds(LAST_USED)),
        OWNER,
        QueryString(paging.follows(LAST_USED), paging.AFTER, paging.AFTER, paging.AFTER_ID),
        paging.LIMIT,
    )
)


class Device(NamedTuple):
    """Where somebody logs in from: the address on the network, and what the client says it is."""

    address: str | None
    agent: str | None


async def start(account: Account, device: Device, keys: tuple[str, ...], device_token: str | None = None) -> Login:
    """Log somebody in: store the login and return its first pair of tokens, made with the first key.

    A valid device token keeps its device. The 101st login of an account ends the one that was not used for longest.
    Raises InvalidCredentials where the user has gone, or the password has been changed since it was looked at.
    """
    owner, token = account.profile.id, opaque.new_refresh()
    known = device_tokens.read(device_token, keys, owner, account.password_version) if device_token else None
    session = device_tokens.new_session_id(known)
    try:
        async with database.stepwise(owner) as transaction:
            await transaction.fetch(LOCK, owner=owner)
            rows = await transaction.fetch(PASSWORD_VERSION, owner=owner, password_hash=account.password_hash)
            if not rows:
                raise InvalidCredentials
            await transaction.fetch(LOG_IN, owner=owner, id=session, **_hashes(token), **device._asdict())
    except asyncpg.ForeignKeyViolationError:  # the user is being deleted
        raise InvalidCredentials from None
    return _login(account.profile, session, token, ACCESS_SECONDS, rows[0][0], keys[0])


async def rotate(token: str, device: Device, keys: tuple[str, ...]) -> Login:
    """Spend a refresh token and return the next pair; of one that was spent within the last 30 s, the same next one.

    Raises InvalidRefreshToken for one that is none, was spent before, or has expired.
    """
    following = [opaque.next_refresh(token, key) for key in keys]
    new = {"new_token": _hashes(following[0])["token"]}
    rows = await database.fetch(ROTATE, **_hashes(token), **new, **device._asdict())
    if rows:
        session, token_hash, seconds_left, password_version = rows[0][4:]
        for each in following:  # a worker with another first key may have spent it
            if _hashes(each)["token"] == token_hash:
                return _login(profile(rows[0]), session, each, int(seconds_left), password_version, keys[0])
    raise InvalidRefreshToken


async def end_family(token: str) -> Owner | None:
    """End the login of a refresh token. Returns whose it was, if there was one."""
    rows = await database.fetch(END_FAMILY, family=_hashes(token)["family"])
    return Owner(id=rows[0][0], session=rows[0][1]) if rows else None


async def end(owner: Owner, session: str) -> None:
    """Raises SessionNotFound."""
    if not await database.fetch(END_SESSION, owner=owner.id, id=session):
        raise SessionNotFound


async def end_all(owner: Owner) -> None:
    """Log the owner out everywhere."""
    await database.fetch(END_ALL, owner=owner.id)


async def listed(owner: Owner, window: Window) -> Found:
    """Return the logins that have not ended, the last used first."""
    rows = await database.fetch(SESSIONS, owner=owner.id, **window.values())
    return paging.found(rows, window, [Session(*row[:-1], current=row[0] == owner.session) for row in rows])


def _hashes(token: str) -> dict[str, bytes]:
    """Return what is stored of both parts. Raises InvalidRefreshToken for what is no refresh token."""
    parts = opaque.split_refresh(token)
    if parts is None:
        raise InvalidRefreshToken
    return {"family": opaque.hashed(parts[0]), "token": opaque.hashed(parts[1])}


def _login(who: Profile, session: str, refresh_token: str, seconds_left: int, password_version: int, key: str) -> Login:
    """Return what a client gets. The access token does not outlive the login."""
    user = Owner(id=who.id, email=who.email, name=who.name, session=session)
    seconds = min(ACCESS_SECONDS, seconds_left)
    device_token = device_tokens.issue(key, session, who.id, password_version)
    return Login(who, tokens.mint(user, key, seconds), refresh_token, seconds, device_token)
