"""Authorization header -> request.user, before anything else is looked at.

The middleware stands before the router, so that a caller without a token learns nothing of routes, methods, ids or
bodies. Which paths need a token, the handlers declare (`app/web/access.py`); the path is compared as the router will
see it. A handler that takes `CurrentUser` and declares that it needs no token answers 401 to everybody.

The middleware counts requests, because here it turns out for whom: for the user, or where the user is not known, for
the address. So callers without a token use up what callers at that address have, and nothing of a user's.
"""

import logging
import re
from typing import Any, TypeAlias

from litestar import Request
from litestar.di import NamedDependency
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send
from litestar.utils.path import normalize_path

from app.auth import opaque_tokens
from app.auth.authenticator import Authenticator
from app.auth.jwt import User
from app.observability import logs
from app.web.access import Access
from app.web.addresses import address_key
from app.web.escaped_slashes import path_of
from app.web.failures import InvalidToken, NotFound, ReadOnlyToken, TooManyRequests, Unauthorized
from app.web.headers import RawHeaders, Singles, singles
from app.web.rate_limit import SlidingWindowLimiter

logger = logging.getLogger(__name__)

BEARER = re.compile(rb"bearer +(.+)", re.IGNORECASE | re.DOTALL)  # RFC 6750, section 2.1; RFC 9110, section 11.1
OPAQUE = opaque_tokens.PERSONAL_PREFIX.encode()
CHANGES = ("POST", "PUT", "PATCH", "DELETE")

CurrentUser: TypeAlias = NamedDependency[User]


class JWTAuthMiddleware:
    """Put the User that the bearer token names on the scope, where `request.user` finds it."""

    def __init__(
        self, app: ASGIApp, access: Access, authenticator: Authenticator, limiter: SlidingWindowLimiter | None = None
    ) -> None:
        """Protect the paths of `app` that `access` knows to need a token."""
        self.app = app
        self.access = access
        self.authenticator = authenticator
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a known caller through.

        Raises Unauthorized for a caller without a valid token, TooManyRequests, and ReadOnlyToken for a change with a
        token that may only read; NotFound for accounts where there are none, and Unavailable.
        """
        if scope["type"] == "http":
            scope["path"] = path = normalize_path(path_of(scope))
            if (declared := self.access.of(path)) is not None:
                if declared.get("needs_accounts") and not self.authenticator.has_accounts():
                    raise NotFound
                if declared["needs_token"]:
                    await self._authenticate(scope)
                elif declared.get("rate_limited"):
                    self._count(scope, _address(scope))
        await self.app(scope, receive, send)

    async def _authenticate(self, scope: HTTPScope) -> None:
        try:
            try:
                token = _bearer_token(singles(scope))
                user = None if token.startswith(OPAQUE) else await self.authenticator.user(token)
            except Unauthorized:
                self._count(scope, _address(scope))
                raise
            if user is None:
                user = await self._owner(scope, token)
            else:
                self._count(scope, _named(user.id))
        except Unauthorized as error:
            _log_refusal(error)
            raise
        scope["user"] = user
        if not user.may_write and scope["method"] in CHANGES:
            raise ReadOnlyToken

    async def _owner(self, scope: Any, token: bytes) -> User:
        """Return whose personal token this is, which the database has to say: never for somebody over the limit.

        So it is counted beforehand: for whom it was the last time, or else for the address. Where that turns out to be
        wrong it is given back. Raises what the authenticator does, and TooManyRequests.
        """
        if self._limiter is None:
            return await self.authenticator.user(token)
        last = self.authenticator.last_owner(token)
        counted = _address(scope) if last is None else _named(last)
        others = len(scope["answer_headers"])
        self._count(scope, counted)
        found = None
        try:
            user = await self.authenticator.user(token)
            found = _named(user.id)
        except Unauthorized:
            found = _address(scope)
            raise
        finally:
            if found != counted:
                self._limiter.give_back(counted)
                del scope["answer_headers"][others:]
                if found is not None:
                    self._count(scope, found)
        return user

    def _count(self, scope: Any, name: str) -> None:
        """Count a request, and have its answer tell. Raises TooManyRequests."""
        if self._limiter is None:
            return
        headers, wait = self._limiter.take(name)
        scope["answer_headers"] += headers
        if wait:
            raise TooManyRequests(wait)


def current_user(request: Request[User | None, Any, Any]) -> User:
    """Return the caller, for handlers that take a `user: CurrentUser`."""
    scope: Any = request.scope
    if (user := scope.get("user")) is None:
        raise Unauthorized
    return user


def charge(request: Request[User, Any, Any], cost: int) -> None:
    """Charge the caller for what a request costs beyond the 1 that it was counted as, and have its answer tell."""
    limiter: SlidingWindowLimiter | None = request.app.state["limiter"]
    if limiter is not None and cost > 0:
        scope: Any = request.scope
        headers: RawHeaders = [each for each in scope["answer_headers"] if not each[0].startswith(b"ratelimit")]
        scope["answer_headers"][:] = [*headers, *limiter.charge(_named(request.user.id), cost)]


def _named(user_id: str) -> str:
    """Return the name that a user is counted by, unlike any address's."""
    return f"user:{user_id}"


def _log_refusal(error: Unauthorized) -> None:
    """Say why a token was refused: its owner is told that it was, and nothing more."""
    if isinstance(error, InvalidToken):
        logs.seldom(logger, error.reason, "A token was refused: %s.", error.reason)


def _address(scope: Any) -> str:
    client = scope.get("client")
    return address_key(client[0] if client else None)


def _bearer_token(sent: Singles) -> bytes:
    value = sent.get(b"authorization", b"")
    if value is None:
        raise InvalidToken("there are two headers Authorization")
    if not (match := BEARER.fullmatch(value.strip())):
        raise Unauthorized
    return match[1]
