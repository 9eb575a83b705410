"""Logins: each is a family of refresh tokens, of which one is valid at a time.

A refresh token has two parts: one that the whole family shares, and one of its own. Whoever comes with a
family's part and a part that is not the valid one holds a token that was spent. Then somebody has a copy, and
the family ends (RFC 9700, section 4.14.2). Both parts are stored as hashes.
"""

import secrets
from typing import NamedTuple

from piccolo.querystring import QueryString

from app.accounts.failures import SessionNotFound
from app.accounts.queries import PROFILE, Account, profile
from app.accounts.structs import Login, Profile, Session
from app.auth import opaque, tokens
from app.auth.tokens import User as Owner
from app.database import database
from app.failures import InvalidCredentials, InvalidRefreshToken
from app.statements import Param, Statement, columns_of

ACCESS_SECONDS = 15 * 60
REFRESH_SECONDS = 30 * 24 * 60 * 60

OWNER, ID, FAMILY = Param("owner"), Param("id"), Param("family")
TOKEN, NEW_TOKEN = Param("token"), Param("new_token")
AGENT, ADDRESS, PASSWORD_HASH = Param("agent"), Param("address"), Param("password_hash")

EXPIRY = f"now() + interval '{REFRESH_SECONDS} seconds'"

LOG_IN = Statement(
    QueryString(
        f"""
        WITH expired AS (
            DELETE FROM "login_sessions" WHERE "id" IN (
                SELECT "id" FROM "login_sessions" WHERE "expires_at" < now() LIMIT 100 FOR UPDATE SKIP LOCKED
            )
        )
        INSERT INTO "login_sessions"
            ("user_id", "id", "family_hash", "token_hash", "user_agent", "ip_address", "expires_at")
        SELECT "user_id", {{}}, {{}}::bytea, {{}}::bytea, {{}}, {{}}, {EXPIRY} FROM "credentials"
        WHERE "user_id" = {{}} AND "password_hash" = {{}} FOR SHARE
        RETURNING "id"
        """,
        ID,
        FAMILY,
        TOKEN,
        AGENT,
        ADDRESS,
        OWNER,
        PASSWORD_HASH,
    )
)
ROTATE = Statement(
    QueryString(
        f"""
        UPDATE "login_sessions" s
        SET "token_hash" = {{}}, "user_agent" = {{}}, "ip_address" = {{}}, "last_used_at" = now(),
            "expires_at" = {EXPIRY}
        FROM "user" u
        WHERE s."family_hash" = {{}} AND s."token_hash" = {{}} AND s."expires_at" > now() AND u."id" = s."user_id"
        RETURNING {PROFILE}, s."id"
        """,
        NEW_TOKEN,
        AGENT,
        ADDRESS,
        FAMILY,
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
SESSIONS = Statement(
    QueryString(
        """
        SELECT {} FROM "login_sessions" WHERE "user_id" = {} AND "expires_at" > now()
        ORDER BY "login_sessions"."last_used_at" DESC, "id"
        """,
        columns_of(Session, without=("current",)),
        OWNER,
    )
)


class Device(NamedTuple):
    """Where somebody logs in from: the address on the network, and what the client says it is."""

    address: str | None
    agent: str | None


async def start(account: Account, device: Device, secret: str) -> Login:
    """Log somebody in: store the login and return its first pair of tokens.

    Raises InvalidCredentials where the user has gone, or the password has been changed since it was looked at.
    """
    session, token = secrets.token_urlsafe(12), opaque.new_refresh()
    values = _hashes(token) | device._asdict() | {"password_hash": account.password_hash}
    if not await database.fetch(LOG_IN, owner=account.profile.id, id=session, **values):
        raise InvalidCredentials
    return _pair(account.profile, session, token, secret)


async def rotate(token: str, device: Device, secret: str) -> Login:
    """Spend a refresh token and return the next pair. Raises InvalidRefreshToken for one that is none, or expired."""
    old = _hashes(token)
    new = opaque.next_refresh(token)
    rows = await database.fetch(ROTATE, **old, new_token=_hashes(new)["token"], **device._asdict())
    if not rows:
        raise InvalidRefreshToken
    return _pair(profile(rows[0]), rows[0][4], new, secret)


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


async def list_all(owner: Owner) -> list[Session]:
    """Return the logins that have not ended, the last used first."""
    rows = await database.fetch(SESSIONS, owner=owner.id)
    return [Session(*row, current=row[0] == owner.session) for row in rows]


def _hashes(token: str) -> dict[str, bytes]:
    """Return what is stored of both parts. Raises InvalidRefreshToken for what is no refresh token."""
    parts = opaque.split_refresh(token)
    if parts is None:
        raise InvalidRefreshToken
    return {"family": opaque.hashed(parts[0]), "token": opaque.hashed(parts[1])}


def _pair(who: Profile, session: str, refresh_token: str, secret: str) -> Login:
    user = Owner(id=who.id, email=who.email, name=who.name, session=session)
    return Login(who, tokens.mint(user, secret, ACCESS_SECONDS), refresh_token, ACCESS_SECONDS)
