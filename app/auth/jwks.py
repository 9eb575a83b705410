"""The public keys of an issuer: fetched in the background, while no request waits for them.

The last good set serves for a day while the issuer's endpoint is down. A key that is no longer in the set is
believed no longer than it takes to fetch the set again.
"""

import asyncio
import json
import logging
import random
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from itertools import chain
from typing import TYPE_CHECKING

import jwt
import msgspec

from app.auth.jwt import VerifyingKey, is_array, is_object
from app.config.issuers import KEY_TYPES, Issuer
from app.web.failures import InvalidToken

if TYPE_CHECKING:
    import httpx

logger = logging.getLogger(__name__)

MAX_SET_BYTES = 64 * 1024
MIN_RSA_BITS = 2048  # RFC 7518, section 3.3
CURVES = {"OKP": ("Ed25519", "Ed448"), "EC": ("P-256",)}  # RFC 8037, section 3.1; RFC 7518, section 3.4
FETCH_SECONDS = 3.0
MAX_TRIED = 8  # keys, for one token


class RefreshPolicy(msgspec.Struct, frozen=True):
    """How often, in seconds."""

    interval: float = 300.0  # at the longest, from one good fetch to the next
    min_interval: float = 30.0  # at the least, from one fetch to the next: also for unknown keys, also after a failure
    max_age: float = 24 * 60 * 60.0  # for which the last good set serves


class KeyStore:
    """The keys of one issuer. `generation` counts the sets there have been."""

    def __init__(self, issuer: Issuer, policy: RefreshPolicy | None = None) -> None:
        """Know no key yet: `run` fetches them."""
        self.issuer = issuer
        self.generation = 0
        self._policy = policy or RefreshPolicy()
        self._document = b""
        self._keys: Mapping[str | None, list[VerifyingKey]] = {}
        self._good_at = 0.0
        self._wanted = asyncio.Event()
        self._logged: str | None = None

    def find(self, kid: object) -> list[VerifyingKey]:
        """Return the keys of that id; for a token without one, all of them, or the first few.

        Raises InvalidToken where there are none. Then they are fetched soon, because a new one may be among them.
        """
        keys: list[VerifyingKey] | None = None
        if kid is None:
            keys = [*chain.from_iterable(self._keys.values())][:MAX_TRIED]
        elif isinstance(kid, str):
            keys = self._keys.get(kid)
        if not keys:
            self.want()
            raise InvalidToken("no key of its issuer has its kid")
        return keys

    def want(self) -> None:
        """Have the keys fetched soon: a token came that none of them verifies, and that does not name its own."""
        self._wanted.set()

    async def run(self) -> None:
        """Fetch the keys, and again and again, until cancelled. Never raises."""
        async with AsyncExitStack() as stack:
            client = None
            while True:
                began = time.monotonic()
                self._wanted.clear()
                try:
                    if client is None:
                        # In a thread: it reads the certificates of everybody whom this machine trusts.
                        client = await asyncio.to_thread(_client, self.issuer.jwks_url)
                        await stack.enter_async_context(client)
                    await self._refresh(client)
                    pause = random.uniform(0.75, 0.88) * self._policy.interval  # noqa: S311 # one may fail, and the next is in time
                except Exception as error:
                    # Whatever it is: this is a background task, whose failure nobody else would hear of.
                    self._failed(error)
                    pause = self._policy.min_interval
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause):
                        await self._wanted.wait()
                await asyncio.sleep(began + self._policy.min_interval - time.monotonic())

    async def _refresh(self, client: "httpx.AsyncClient") -> None:
        document = await _fetch(client, self.issuer.jwks_url)
        if document != self._document:
            self._take(await asyncio.to_thread(read_set, document, self.issuer.algorithms))
            self._document = document
        self._good_at = time.time()
        self._log(f"are here: {sum(map(len, self._keys.values()))}", logging.INFO)

    def _failed(self, error: Exception) -> None:
        self._log(f"cannot be fetched ({type(error).__name__})", logging.WARNING)
        if self._keys and self._good_at + self._policy.max_age < time.time():
            self._take({})
            self._document = b""
            self._log("are too old to be believed any longer", logging.WARNING)

    def _take(self, keys: Mapping[str | None, list[VerifyingKey]]) -> None:
        self._keys = keys
        self.generation += 1

    def _log(self, what: str, level: int) -> None:
        """Say it once, until there is something else to say."""
        if what != self._logged:
            logger.log(level, "The keys of %s %s.", self.issuer.issuer, what)
            self._logged = what


def read_set(document: bytes, algorithms: list[str]) -> dict[str | None, list[VerifyingKey]]:
    """Return the usable keys of a JWK Set (RFC 7517, section 5) by their ids. Raises ValueError for what is none."""
    members = json.loads(document.decode())["keys"]
    if not is_array(members):
        raise TypeError
    keys: dict[str | None, list[VerifyingKey]] = {}
    for member in members:
        with suppress(jwt.PyJWTError, ValueError, TypeError, KeyError, ArithmeticError):
            key = _read_key(member, algorithms)
            kid = member.get("kid")
            if kid is None or isinstance(kid, str):
                keys.setdefault(kid, []).append(key)
    return keys


def _read_key(member: object, algorithms: list[str]) -> VerifyingKey:
    """Return a member of a set as the key it is. Raises ValueError, KeyError or PyJWT's errors."""
    if not is_object(member):
        raise TypeError("no key at all")
    algorithm = member.get("alg", algorithms[0])
    kind = member["kty"]
    if algorithm not in algorithms or kind != KEY_TYPES[algorithm]:
        raise ValueError("a key for something else")
    if member.get("use", "sig") != "sig" or "verify" not in member.get("key_ops", ["verify"]):
        raise ValueError("a key to encrypt with")
    if "d" in member:
        raise ValueError("a private key that everybody can read")
    if kind in CURVES and member["crv"] not in CURVES[kind]:
        raise ValueError("a key on another curve")
    key = jwt.PyJWK(member, algorithm).key
    if kind == "RSA" and key.key_size < MIN_RSA_BITS:
        raise ValueError("a key that is too short")
    return VerifyingKey(algorithm, key)


def _client(url: str) -> "httpx.AsyncClient":
    import httpx  # takes a while, and only those who have issuers need it

    # Without TLS, through a proxy of the environment, it would be the proxy's word.
    return httpx.AsyncClient(follow_redirects=False, timeout=FETCH_SECONDS, trust_env=url.startswith("https:"))


async def _fetch(client: "httpx.AsyncClient", url: str) -> bytes:
    """Return what is there, within three seconds and 64 KiB. Raises httpx's errors, TimeoutError and ValueError."""
    async with asyncio.timeout(FETCH_SECONDS):
        # Not compressed: little on the wire could be a lot in memory.
        async with client.stream("GET", url, headers={"accept-encoding": "identity"}) as answer:
            if answer.status_code != 200 or "content-encoding" in answer.headers:
                raise ValueError("no answer to read")
            document = b""
            async for piece in answer.aiter_raw():
                document += piece
                if len(document) > MAX_SET_BYTES:
                    raise ValueError("too much to read")
            return document
