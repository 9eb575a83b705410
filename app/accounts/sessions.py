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

from app.accounts import device_tokens
from app.accounts.failures import InvalidCredentials, InvalidRefreshToken, SessionNotFound
from app.accounts.paging import PagedList
from app.accounts.queries import LOCK_USER, PROFILE, Account, profile
from app.accounts.structs import Login, Profile, Session
from app.auth import jwt, opaque_tokens
from app.auth.jwt import User as Owner
from app.db.engine import database
from app.db.statements import Statement, columns_of
from app.db.user_table import IS_OUR_ROW

ACCESS_SECONDS = 15 * 60
REFRESH_DAYS = 30  # from the last use
LOGIN_DAYS = 90  # from the beginning, however often it is refreshed
RESEND_SECONDS = 30
MAX_LOGINS = 100  # of an account

LOG_IN = Statement(
    f"""
    WITH "account" AS (
        SELECT c."password_version" FROM "credentials" c JOIN "user" u ON u."id" = c."user_id"
        WHERE c."user_id" = :owner AND c."password_hash" = :password_hash AND {IS_OUR_ROW}
    ), "expired" AS (
        DELETE FROM "login_sessions" WHERE "id" IN (
            SELECT "id" FROM "login_sessions" WHERE "expires_at" < now() LIMIT 100 FOR UPDATE SKIP LOCKED
        )
    ), "least_recently_used" AS (
        DELETE FROM "login_sessions" WHERE EXISTS (SELECT FROM "account") AND "id" IN (
            SELECT "id" FROM "login_sessions" WHERE "user_id" = :owner
            ORDER BY "expires_at" > now() DESC, "last_used_at" DESC OFFSET {MAX_LOGINS - 1}
        )
    ), "session" AS (
        INSERT INTO "login_sessions"
            ("user_id", "id", "family_hash", "token_hash", "user_agent", "ip_address", "expires_at")
        SELECT :owner, :id::text, :family::bytea, :token::bytea, :agent::text, :address::text,
            now() + interval '{REFRESH_DAYS} days' FROM "account"
    )
    SELECT "password_version" FROM "account"
    """
)
# Copies that come together wait for the first one's lock, and then find what it has left behind.
ROTATE = Statement(
    f"""
    UPDATE "login_sessions" s SET
        "token_hash" = CASE WHEN s."token_hash" = :token THEN :new_token ELSE s."token_hash" END,
        "rotated_at" = CASE WHEN s."token_hash" = :token THEN now() ELSE s."rotated_at" END,
        "previous_hash" = :token, "user_agent" = :agent, "ip_address" = :address, "last_used_at" = now(),
        "expires_at" = least(now() + interval '{REFRESH_DAYS} days', s."created_at" + interval '{LOGIN_DAYS} days')
    FROM "user" u LEFT JOIN "credentials" c ON c."user_id" = u."id"
    WHERE s."family_hash" = :family AND s."expires_at" > now() AND u."id" = s."user_id" AND (
        s."token_hash" = :token
        OR (s."previous_hash" = :token AND s."rotated_at" > now() - interval '{RESEND_SECONDS} seconds')
    ) AND {IS_OUR_ROW}
    RETURNING {PROFILE}, s."id", s."token_hash",
        extract(epoch FROM s."expires_at" - now())::float8, coalesce(c."password_version", 0)
    """
)
END_FAMILY = Statement('DELETE FROM "login_sessions" WHERE "family_hash" = :family RETURNING "user_id", "id"')
END_SESSION = Statement('DELETE FROM "login_sessions" WHERE "user_id" = :owner AND "id" = :id RETURNING "id"')
END_ALL = Statement('DELETE FROM "login_sessions" WHERE "user_id" = :owner')
SESSIONS = PagedList(
    "sessions",
    "login_sessions",
    columns_of(Session, without=("current",)),
    at="last_used_at",
    condition='"expires_at" > now()',
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
    owner, token = account.profile.id, opaque_tokens.new_refresh()
    known = device_tokens.read(device_token, keys, owner, account.password_version) if device_token else None
    session = device_tokens.new_session_id(known)
    values = {"owner": owner, "id": session, "password_hash": account.password_hash}
    values |= {**_hashes(token), **device._asdict()}
    try:
        _, rows = await database.fetch_all((LOCK_USER, values), (LOG_IN, values))
    except asyncpg.ForeignKeyViolationError:  # the user is being deleted
        raise InvalidCredentials from None
    if not rows:
        raise InvalidCredentials
    return _login(account.profile, session, token, ACCESS_SECONDS, rows[0][0], keys[0])


async def rotate(token: str, device: Device, keys: tuple[str, ...]) -> Login:
    """Spend a refresh token and return the next pair; of one that was spent within the last 30 s, the same next one.

    Raises InvalidRefreshToken for one that is none, was spent before, or has expired.
    """
    following = [opaque_tokens.next_refresh(token, key) for key in keys]
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


def _hashes(token: str) -> dict[str, bytes]:
    """Return what is stored of both parts. Raises InvalidRefreshToken for what is no refresh token."""
    match = opaque_tokens.REFRESH_SHAPE.fullmatch(token)
    if match is None:
        raise InvalidRefreshToken
    return {"family": opaque_tokens.hashed(match[1]), "token": opaque_tokens.hashed(match[2])}


def _login(who: Profile, session: str, refresh_token: str, seconds_left: int, password_version: int, key: str) -> Login:
    """Return what a client gets. The access token does not outlive the login."""
    user = Owner(id=who.id, email=who.email, name=who.name, session=session)
    seconds = min(ACCESS_SECONDS, seconds_left)
    device_token = device_tokens.issue(key, session, who.id, password_version)
    return Login(who, jwt.mint(user, key, seconds), refresh_token, seconds, device_token)
