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

from app.auth import opaque, queries, tokens
from app.auth.keys import KeyStore
from app.auth.tokens import HS256, Key, User
from app.database import database
from app.failures import InvalidToken, Unavailable
from app.issuers import OUR_OWN
from app.settings import Settings

T = TypeVar("T")

ENDED = "its login has ended, or it was revoked, or never given out"
OTHER_ALGORITHM = "its algorithm (alg) is none that is configured for its issuer"
MAX_REMEMBERED = 10_000
MAX_REMEMBERED_BYTES = 2048  # of one token: with larger ones the memory would be too
SECONDS_BETWEEN_LOOKS = 1.0  # at the login behind a token
SECONDS_UNKNOWN = 30.0  # for which a token that the database does not know is not asked for again


class Verified(msgspec.Struct):
    """What is remembered of a token."""

    user: User
    until: float
    keys: KeyStore | None  # None: our own secret
    generation: int
    looked: float = 0.0  # when the database was last asked about the login

    def holds(self, now: float) -> bool:
        """Tell whether the token has not expired and its key has not been withdrawn."""
        return now < self.until and (self.keys is None or self.keys.generation == self.generation)


class Authenticator:
    """Who is calling? Answers for the tokens of our secrets, of our accounts, and of the issuers we believe."""

    def __init__(self, settings: Settings) -> None:
        """Believe whom the settings name."""
        self.stores = {each.issuer: KeyStore(each) for each in settings.issuers}
        self._secrets = [Key(HS256, secret) for secret in settings.jwt_secrets]
        self._accounts = settings.accounts
        self._provision = settings.provision_users
        self._memory: dict[bytes, Verified] = {}
        self._owners: dict[bytes, str] = {}  # of personal tokens, when they were last asked for
        self._unknown: dict[bytes, float] = {}  # tokens without an owner or a login, and when they were asked for
        self.hits = self.misses = 0  # of that memory
        self._fetching: list[asyncio.Task[None]] = []

    def open(self) -> None:
        """Begin to fetch the issuers' keys, behind everybody's back."""
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
        known = self._memory.get(token)
        if known is None:
            self._check_unknown(token)
            if opaque.PERSONAL_SHAPE.fullmatch(token) and self.has_accounts():
                return await self._owner(token)
        if known is not None and known.holds(now):
            self.hits += 1
        else:
            self.misses += 1
            known = self.verify(token)
            _keep(self._memory, token, known)
        if known.user.session and not 0 <= now - known.looked < SECONDS_BETWEEN_LOOKS:
            if not await queries.is_logged_in(known.user):
                self._memory.pop(token, None)
                _keep(self._unknown, token, time.monotonic())
                raise InvalidToken(ENDED)
            known.looked = now
        return known.user

    def has_accounts(self) -> bool:
        """Tell whether people can have accounts here. Raises Unavailable while nobody knows.

        It is as ACCOUNTS says; where that is unset, whoever made the table of users owns its people.
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
            _keep(self._unknown, token, time.monotonic())
            raise InvalidToken(ENDED)
        if self._owners.get(token) != owner.id:
            _keep(self._owners, token, owner.id)
        return owner

    def _check_unknown(self, token: bytes) -> None:
        """Raises InvalidToken for one that was asked for in vain a moment ago.

        They are random, so one that is unknown becomes known only where a backup or a replica comes up with it.
        """
        if time.monotonic() < self._unknown.get(token, -SECONDS_UNKNOWN) + SECONDS_UNKNOWN:
            raise InvalidToken(ENDED)

    def forget(self, user: User, session: str | None = None) -> None:
        """Forget the tokens of one login of the user, or of all."""
        for token, known in [*self._memory.items()]:
            if known.user.id == user.id and session in (None, known.user.session):
                del self._memory[token]

    def verify(self, token: bytes) -> Verified:
        """Return what the token says. It is tried with the keys of whom it says that it is from, and no others."""
        header, claims = tokens.parse(token)
        issuer = claims.get("iss")
        store = self.stores.get(issuer) if issuer else None
        if store is not None:
            if header.get("alg") not in store.issuer.algorithms:
                raise InvalidToken(OTHER_ALGORITHM)
            generation = store.generation
            try:
                tokens.verify(token, store.find(header.get("kid")))
            except InvalidToken:
                if "kid" not in header:
                    store.want()
                raise
            tokens.check_audience(claims, store.issuer.audiences)
            user = tokens.user(claims, may_be_new=self._provision)
            return Verified(user, tokens.expiry(claims), store, generation)
        if header.get("alg") != HS256:
            raise InvalidToken(OTHER_ALGORITHM if issuer is None else "its issuer (iss) is none that is configured")
        tokens.verify(token, self._secrets)
        if issuer != OUR_OWN:
            return Verified(tokens.user(claims, may_be_new=self._provision), tokens.expiry(claims), None, 0)
        if not self.has_accounts():
            raise InvalidToken("it is from an account, and there are none here (ACCOUNTS)")
        return Verified(tokens.own_user(claims), tokens.expiry(claims), None, 0)


def _keep(memory: dict[bytes, T], token: bytes, what: T) -> None:
    """Remember something of a token, in place of the oldest where there are too many."""
    if len(token) > MAX_REMEMBERED_BYTES:
        return
    memory.pop(token, None)
    if len(memory) >= MAX_REMEMBERED:
        del memory[next(iter(memory))]
    memory[token] = what
