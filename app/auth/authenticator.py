"""A bearer token in, a user out: from memory, by its signature, or from the database.

A token that was verified is remembered until it expires, since a signature costs more than all the rest of a
request. What ends a token earlier ends the memory of it: a key that its issuer has withdrawn, a login that was
ended here. A login that another process ended is noticed a second later.
"""

import asyncio
import time
from contextlib import suppress
from typing import TypeVar

import msgspec

from app.auth import jwt, opaque_tokens, queries
from app.auth.jwks import KeyStore
from app.auth.jwt import HS256, User, VerifyingKey
from app.config.issuers import OUR_OWN
from app.config.settings import Settings
from app.db.engine import database
from app.web.failures import InvalidToken, Unavailable

T = TypeVar("T")

# Of a token that is no good for one of these reasons, nothing makes a good one.
LASTING = (jwt.NO_SIGNATURE, jwt.EXPIRED)
ENDED = "its login has ended, or it was revoked, or never given out"
OTHER_ALGORITHM = "its algorithm (alg) is none that is configured for its issuer"
MAX_CACHED_TOKENS = 10_000
MAX_CACHED_BYTES = 2048  # of one token: with larger ones the memory would be too
SESSION_CHECK_SECONDS = 1.0  # at the login behind a token
MAX_REFUSED_TOKENS = 1000  # anybody can send such
REFUSED_SECONDS = 30.0  # for which one is not verified, or asked for, again


class Verified(msgspec.Struct):
    """What is remembered of a token."""

    user: User
    until: float
    keys: KeyStore | None  # None: our own secret
    generation: int
    checked_at: float = 0.0  # when the database was last asked about the login

    def holds(self, now: float) -> bool:
        """Tell whether the token has not expired and its key has not been withdrawn."""
        return now < self.until and (self.keys is None or self.keys.generation == self.generation)


class Authenticator:
    """Who is calling? Answers for the tokens of our secrets, of our accounts, and of the issuers we believe."""

    def __init__(self, settings: Settings) -> None:
        """Believe whom the settings name."""
        self.stores = {each.issuer: KeyStore(each) for each in settings.issuers}
        self._secrets = [VerifyingKey(HS256, secret) for secret in settings.jwt_secrets]
        self._accounts = settings.accounts
        self._provision = settings.provision_users
        self._cache: dict[bytes, Verified] = {}
        self._owners: dict[bytes, str] = {}  # of personal tokens, when they were last asked for
        self._refused: dict[bytes, tuple[str, float]] = {}  # why, and since when
        self.hits = self.misses = 0  # of that memory
        self._fetching: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Begin to fetch the issuers' keys in the background."""
        self._fetching = [asyncio.create_task(store.run()) for store in self.stores.values()]

    async def close(self) -> None:
        """Fetch no more."""
        for task in self._fetching:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def user(self, token: bytes) -> User:
        """Return whom the token names, if it is valid now. Raises InvalidToken, and Unavailable for the database."""
        now = time.time()
        known = self._cache.get(token)
        if known is None:
            self._check_refused(token)
            if opaque_tokens.PERSONAL_SHAPE.fullmatch(token) and self.has_accounts():
                return await self._owner(token)
        if known is not None and known.holds(now):
            self.hits += 1
        else:
            self.misses += 1
            try:
                known = self.verify(token)
            except InvalidToken as error:
                self._cache.pop(token, None)
                if error.reason in LASTING:
                    self._refuse(token, error.reason)
                raise
            _keep(self._cache, token, known, MAX_CACHED_TOKENS)
        if known.user.session and not 0 <= now - known.checked_at < SESSION_CHECK_SECONDS:
            if not await queries.is_logged_in(known.user):
                self._cache.pop(token, None)
                raise self._refuse(token, ENDED)
            known.checked_at = now
        return known.user

    def has_accounts(self) -> bool:
        """Tell whether people can have accounts here. Raises Unavailable while nobody knows.

        It is as ACCOUNTS says; where that is unset, who made the table of users owns its people.
        """
        if self._accounts is not None:
            return self._accounts
        if database.users_are_ours is None:
            raise Unavailable
        return database.users_are_ours

    def last_owner(self, token: bytes) -> str | None:
        """Return the id of the user whose personal token this was when it was last asked for here."""
        return self._owners.get(token)

    async def _owner(self, token: bytes) -> User:
        """Ask each time, so that one that is revoked is refused everywhere and immediately. Raises InvalidToken."""
        owner = await queries.owner_of(token.decode(), self.last_owner(token))
        if owner is None:
            self._owners.pop(token, None)
            raise self._refuse(token, ENDED)
        if self._owners.get(token) != owner.id:
            _keep(self._owners, token, owner.id, MAX_CACHED_TOKENS)
        return owner

    def _check_refused(self, token: bytes) -> None:
        """Raises InvalidToken for one that was refused a moment ago.

        Personal tokens are random, so one that is unknown becomes known only where a backup or a replica comes up with
        it.
        """
        if token in self._refused:
            reason, since = self._refused[token]
            if time.monotonic() < since + REFUSED_SECONDS:
                raise InvalidToken(reason)

    def _refuse(self, token: bytes, reason: str) -> InvalidToken:
        """Remember that a token is refused, and return the failure."""
        _keep(self._refused, token, (reason, time.monotonic()), MAX_REFUSED_TOKENS)
        return InvalidToken(reason)

    def forget(self, user: User, session: str | None = None) -> None:
        """Forget the tokens of one login of the user, or of all."""
        for token, known in [*self._cache.items()]:
            if known.user.id == user.id and session in (None, known.user.session):
                del self._cache[token]

    def verify(self, token: bytes) -> Verified:
        """Return what the token says. It is tried with the keys of whom it says that it is from, and no others."""
        header, claims, issuer = jwt.parse(token)
        store = self.stores.get(issuer)
        if store is not None:
            if header.get("alg") not in store.issuer.algorithms:
                raise InvalidToken(OTHER_ALGORITHM)
            generation = store.generation
            keys = store.find(header.get("kid"))
            try:
                jwt.verify(token, keys)
            except InvalidToken:
                if "kid" not in header:
                    store.want()
                raise InvalidToken("no key of its issuer made its signature") from None
            jwt.check_audience(claims, store.issuer.audiences)
            user = jwt.user(claims, auto_provision=self._provision)
            return Verified(user, jwt.expiry(claims), store, generation)
        if header.get("alg") != HS256:
            raise InvalidToken(OTHER_ALGORITHM if not issuer else "its issuer (iss) is none that is configured")
        jwt.verify(token, self._secrets)
        if issuer != OUR_OWN:
            return Verified(jwt.user(claims, auto_provision=self._provision), jwt.expiry(claims), None, 0)
        if not self.has_accounts():
            raise InvalidToken("it is from an account, and there are none here (ACCOUNTS)")
        return Verified(jwt.own_user(claims), jwt.expiry(claims), None, 0)


def _keep(memory: dict[bytes, T], token: bytes, what: T, limit: int) -> None:
    """Remember something of a token, in place of the oldest where there are as many as the limit."""
    if len(token) > MAX_CACHED_BYTES:
        return
    memory.pop(token, None)
    if len(memory) >= limit:
        del memory[next(iter(memory))]
    memory[token] = what
