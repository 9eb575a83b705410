"""Authorization header -> request.user, before anything else is looked at.

It stands before the router, so that a stranger learns nothing about routes, methods, ids or bodies. What it
guards is decided on the path as the router will see it. A handler that takes `CurrentUser` without having
been guarded answers 401 too: forgetting is safe.

Requests are counted here, because here it turns out for whom: for the user, or where nobody is known, for the
address. So a stranger can spend what strangers at that address have, and nothing of a user's.
"""

import logging
import re
from typing import Any, TypeAlias

from litestar import Request
from litestar.di import NamedDependency
from litestar.types import ASGIApp, HTTPScope, Receive, Scope, Send
from litestar.utils.path import normalize_path

from app import logs
from app.addresses import address_key
from app.auth import opaque
from app.auth.authenticator import Authenticator
from app.auth.tokens import User
from app.edge.headers import Singles, singles
from app.failures import InvalidToken, NotFound, ReadOnlyToken, TooManyRequests, Unauthorized
from app.limits import Limiter

logger = logging.getLogger(__name__)

TASKS = r"/api/(?:tasks|trash)"
DOORS = r"/api/auth/(?:signup|login|refresh)\Z"  # which are for those who have no token yet
ACCOUNTS = rf"(?!{DOORS})/api/auth"
BEARER = re.compile(rb"bearer +(.+)", re.IGNORECASE | re.DOTALL)  # RFC 6750, section 2.1; RFC 9110, section 11.1
PERSONAL = opaque.PERSONAL.encode()
CHANGES = ("POST", "PUT", "PATCH", "DELETE")

CurrentUser: TypeAlias = NamedDependency[User]


class JWTAuthMiddleware:
    """Put the User that the bearer token names on the scope, where `request.user` finds it."""

    def __init__(
        self, app: ASGIApp, authenticator: Authenticator, limiter: Limiter | None = None, *, accounts: bool
    ) -> None:
        """Guard `app`, and the accounts in it where it has them."""
        self.app = app
        self.authenticator = authenticator
        self._limiter = limiter
        self._doors = re.compile(DOORS if accounts else r"(?!)")
        self._guarded = re.compile(rf"(?:{TASKS}|({ACCOUNTS}))(?:/|\Z)" if accounts else rf"{TASKS}(?:/|\Z)")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a known caller through.

        Raises Unauthorized for a stranger, TooManyRequests, and ReadOnlyToken for one who may only look; NotFound for
        accounts where there are none, and Unavailable.
        """
        if scope["type"] == "http":
            scope["path"] = normalize_path(scope["path"])
            if found := self._guarded.match(scope["path"]):
                if found.lastindex:
                    self._check_accounts()
                try:
                    token = _bearer_token(singles(scope))
                    user = None if token.startswith(PERSONAL) else await self.authenticator.user(token)
                except Unauthorized as error:
                    self._count(scope, _address(scope))
                    _tell(error)
                    raise
                if user is None:
                    user = await self._looked_up(scope, token)
                else:
                    self._count(scope, _named(user.id))
                scope["user"] = user
                if not user.may_write and scope["method"] in CHANGES:
                    raise ReadOnlyToken
            elif self._doors.match(scope["path"]):
                self._check_accounts()
                self._count(scope, _address(scope))
        await self.app(scope, receive, send)

    def _check_accounts(self) -> None:
        """Raises NotFound where there are no accounts here, and Unavailable while nobody knows."""
        if not self.authenticator.has_accounts():
            raise NotFound

    async def _looked_up(self, scope: Any, token: bytes) -> User:
        """Return whose personal token this is, which the database has to say: never for somebody over the limit.

        So it is counted beforehand: for whom it was the last time, or else for the address. Where that turns out to be
        wrong it is given back. Raises what the authenticator does, and TooManyRequests.
        """
        if self._limiter is None:
            return await self._asked(token)
        last = self.authenticator.last_owner(token)
        counted = _address(scope) if last is None else _named(last)
        others = len(scope["answer_headers"])
        self._count(scope, counted)
        found = None
        try:
            user = await self._asked(token)
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

    async def _asked(self, token: bytes) -> User:
        try:
            return await self.authenticator.user(token)
        except Unauthorized as error:
            _tell(error)
            raise

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
    if (user := request.scope.get("user")) is None:
        raise Unauthorized
    return user


def charge(request: Request[User, Any, Any], cost: int) -> None:
    """Charge the caller for what a request costs beyond the 1 that it was counted as, and have its answer tell."""
    limiter: Limiter | None = request.app.state["limiter"]
    if limiter is not None and cost > 0:
        told = request.scope["answer_headers"]  # type: ignore[typeddict-item] # ours
        headers = limiter.charge(_named(request.user.id), cost)
        told[:] = [*(header for header in told if not header[0].startswith(b"ratelimit")), *headers]


def _named(user_id: str) -> str:
    """Return the name that a user is counted by, unlike any address's."""
    return f"user:{user_id}"


def _tell(error: Unauthorized) -> None:
    """Say why a token was refused: its owner is told that it was, and nothing more."""
    if isinstance(error, InvalidToken):
        logs.seldom(logger, error.reason, "A token was refused: %s.", error.reason)


def _address(scope: HTTPScope) -> str:
    client = scope.get("client")
    return address_key(client[0] if client else None)


def _bearer_token(sent: Singles) -> bytes:
    value = sent.get(b"authorization", b"")
    if value is None:
        raise InvalidToken("there are two headers Authorization")
    if not (match := BEARER.fullmatch(value.strip())):
        raise Unauthorized
    return match[1]
