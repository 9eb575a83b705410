"""The public keys of an issuer: which members of a set are taken, and when the set is fetched again.

The issuer is a real HTTP server on the loopback. Only the paces are shorter than in life.
"""

import asyncio
import base64
import gzip
import json
import logging
import ssl
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from app.auth import jwks
from app.auth.jwks import MAX_SET_BYTES, KeyStore, RefreshPolicy, read_set
from app.auth.jwt import VerifyingKey
from app.config.issuers import Issuer
from app.web.failures import InvalidToken

ISSUER = "https://issuer.example.com"
MAKERS: dict[str, Callable[[], Any]] = {
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "PS256": lambda: rsa.generate_private_key(65537, 2048),
}


class Signer(NamedTuple):
    """A private key, its id and its algorithm."""

    kid: str | None
    algorithm: str
    private: Any

    def member(self, **changed: Any) -> dict[str, Any]:
        """Its public half as a member of a JWK Set; None takes a part away."""
        named = {"kid": self.kid, "alg": self.algorithm, "use": "sig"}
        whole = {**public(self.private.public_key()), **named, **changed}
        return {name: value for name, value in whole.items() if value is not None}

    def sign(self, claims: dict[str, Any], **header: Any) -> bytes:
        """A token with these claims."""
        whole = {"kid": self.kid, **header}
        headers = {name: value for name, value in whole.items() if value is not None}
        return jwt.encode(claims, self.private, self.algorithm, headers=headers).encode()


def signer(kid: str = "first", algorithm: str = "EdDSA") -> Signer:
    """The one of that id and algorithm; each is made once in a process."""
    return Signer(kid, algorithm, _private(kid, algorithm))


@cache
def _private(_kid: str, algorithm: str) -> Any:
    return MAKERS[algorithm]()


def public(key: Any) -> dict[str, Any]:
    """A public key as a JWK, with nothing in it but what the kind of key needs."""
    if isinstance(key, rsa.RSAPublicKey):
        found = RSAAlgorithm.to_jwk(key, as_dict=True)
    elif isinstance(key, ec.EllipticCurvePublicKey):
        found = ECAlgorithm.to_jwk(key, as_dict=True)
    else:
        found = OKPAlgorithm.to_jwk(key, as_dict=True)
    return {name: found[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in found}


def a_set(*members: Any) -> bytes:
    return json.dumps({"keys": members}).encode()


def number(value: int) -> str:
    """Base64urlUInt (RFC 7518, section 2)."""
    return base64.urlsafe_b64encode(value.to_bytes((value.bit_length() + 7) // 8, "big")).rstrip(b"=").decode()


class Endpoint:
    """A real HTTP server on the loopback, which serves a JWK Set, or whatever it is told to."""

    def __init__(self, document: bytes = b"", context: ssl.SSLContext | None = None) -> None:
        """Serve `document`, with TLS where there is a context."""
        self.asked: list[float] = []
        self.headers: list[dict[str, str]] = []
        self._context = context
        self.serve(document)
        self.start()

    @property
    def url(self) -> str:
        return f"http{'s' if self._context else ''}://127.0.0.1:{self.port}/jwks"

    def serve(self, document: bytes, status: int = 200, **headers: str) -> None:
        """Answer like this from now on."""

        def reply(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            for name, value in {"content_length": f"{len(document)}", **headers}.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            handler.wfile.write(document)

        self.reply: Callable[[BaseHTTPRequestHandler], None] = reply

    def start(self) -> None:
        """Listen; again on the same port after a stop."""
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:  # http.server's name
                endpoint.asked.append(time.monotonic())
                endpoint.headers.append({name.lower(): value for name, value in self.headers.items()})
                with suppress(OSError):  # whoever asked has gone
                    endpoint.reply(self)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                pass

        self._server = Server(("127.0.0.1", getattr(self, "port", 0)), Handler)
        self.port = self._server.server_port
        if self._context:
            self._server.socket = self._context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Listen no more: who connects is refused."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def an_endpoint(*members: Any, context: ssl.SSLContext | None = None) -> Iterator[Endpoint]:
    """An endpoint with these members in its set, until the end of the block."""
    endpoint = Endpoint(a_set(*members), context)
    try:
        yield endpoint
    finally:
        endpoint.stop()


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Wait until it holds."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def knows(store: KeyStore, kid: object) -> bool:
    try:
        return bool(store.find(kid))
    except InvalidToken:
        return False


class TestSet:
    """Which members are taken. What else is in the set never matters."""

    @pytest.mark.parametrize("algorithm", MAKERS)
    @pytest.mark.parametrize(
        "changed",
        [
            {},
            {"alg": None},
            {"use": None},
            {"use": None, "key_ops": ["verify"]},
            {"key_ops": ["sign", "verify"]},
            {"x5c": ["AAAA"], "x5t": "AAAA", "x5u": "http://127.0.0.1/", "of our own": {"deep": [1]}},
        ],
        ids=["whole", "no alg", "no use", "key_ops alone", "more key_ops", "more than we know"],
    )
    def test_a_good_member_verifies_by_its_algorithm_alone(self, algorithm: str, changed: dict[str, Any]) -> None:
        one = signer("one", algorithm)
        found = read_set(a_set(one.member(**changed)), [algorithm])

        assert found == {"one": [VerifyingKey(algorithm, one.private.public_key())]}

    def test_a_key_without_alg_is_for_the_first_algorithm_of_its_issuer(self) -> None:
        member = signer("one", "RS256").member(alg=None)
        assert read_set(a_set(member), ["PS256", "RS256"])["one"][0].algorithm == "PS256"
        assert read_set(a_set(member), ["RS256", "PS256"])["one"][0].algorithm == "RS256"

    def test_a_key_with_alg_is_for_that_one_of_its_issuers_algorithms(self) -> None:
        members = [signer("one", "RS256").member(), signer("two", "PS256").member()]
        found = read_set(a_set(*members), ["PS256", "RS256"])
        assert {kid: key.algorithm for kid, [key] in found.items()} == {"one": "RS256", "two": "PS256"}

    def test_ed448_is_eddsa_too(self) -> None:
        key = ed448.Ed448PrivateKey.generate().public_key()
        assert read_set(a_set(public(key)), ["EdDSA"]) == {None: [VerifyingKey("EdDSA", key)]}

    def test_members_of_one_id_are_both_taken_and_so_are_those_without_one(self) -> None:
        members = [signer("one").member(), signer("two").member(kid="one"), signer("three").member(kid=None)]
        assert read_set(a_set(*members), ["EdDSA"]) == {
            "one": [VerifyingKey("EdDSA", signer(kid).private.public_key()) for kid in ("one", "two")],
            None: [VerifyingKey("EdDSA", signer("three").private.public_key())],
        }

    @pytest.mark.parametrize("kid", ["", " ", "../../etc/passwd", "' OR 1=1 --", "\U0001f511", "k" * 5000], ids=ascii)
    def test_an_id_is_any_text(self, kid: str) -> None:
        assert [*read_set(a_set(signer().member(kid=kid)), ["EdDSA"])] == [kid]

    def test_no_members_are_no_keys(self) -> None:
        assert read_set(b'{"keys": []}', ["EdDSA"]) == {}
        assert read_set(b'{"keys": [], "more": 1}', ["EdDSA"]) == {}

    def test_hundreds_of_members_are_read(self) -> None:
        members = [signer().member(kid=f"{n}") for n in range(400)]
        assert len(a_set(*members)) < MAX_SET_BYTES
        assert [*read_set(a_set(*members), ["EdDSA"])] == [f"{n}" for n in range(400)]

    @pytest.mark.parametrize(
        "document",
        [
            b"",
            b"null",
            b"5",
            b'"keys"',
            b"[]",
            b"{}",
            b'{"keys": null}',
            b'{"keys": {}}',
            b'{"keys": "none"}',
            b'{"keys": 1}',
            b'{"keys": []',
            b'{"keys": []} more',
            b"\xff\xfe",
            '{"keys": []}'.encode("utf-16"),
            b"<html></html>",
            b'{"keys": [' + b"9" * 5000 + b"]}",
            b'{"keys": ' + b"[" * 60_000,
        ],
        ids=lambda document: ascii(document[:24]),
    )
    def test_what_is_no_set_is_an_error_and_not_an_empty_set(self, document: bytes) -> None:
        with pytest.raises((ValueError, TypeError, KeyError, RecursionError)):
            read_set(document, ["EdDSA"])


def odd(algorithm: str, **changed: Any) -> tuple[str, Callable[[], Any]]:
    return algorithm, lambda: signer("bad", algorithm).member(**changed)


def private_half() -> dict[str, Any]:
    return {**OKPAlgorithm.to_jwk(signer("bad").private, as_dict=True), "kid": "bad"}


def private_rsa() -> dict[str, Any]:
    return {**RSAAlgorithm.to_jwk(signer("bad", "RS256").private, as_dict=True), "key_ops": ["verify"], "kid": "bad"}


def short_rsa() -> dict[str, Any]:
    return {**public(rsa.generate_private_key(65537, 1024).public_key()), "kid": "bad"}


def on_p384() -> dict[str, Any]:
    return {**public(ec.generate_private_key(ec.SECP384R1()).public_key()), "kid": "bad"}


UNUSABLE = {
    "a symmetric key": ("EdDSA", lambda: {"kty": "oct", "k": "A" * 43, "kid": "bad"}),
    "a symmetric key for HS256": ("EdDSA", lambda: {"kty": "oct", "k": "A" * 43, "kid": "bad", "alg": "HS256"}),
    "a symmetric key that calls itself EdDSA": (
        "EdDSA",
        lambda: {"kty": "oct", "k": "A" * 43, "kid": "bad", "alg": "EdDSA"},
    ),
    "a public key for HS256": odd("EdDSA", alg="HS256"),
    "a key for none": odd("EdDSA", alg="none"),
    "a key of another kind": ("EdDSA", lambda: signer("bad", "ES256").member(alg=None)),
    "a key of another kind that says otherwise": ("EdDSA", lambda: signer("bad", "ES256").member(alg="EdDSA")),
    "another algorithm of the same kind": odd("RS256", alg="PS256"),
    "an algorithm that nobody believes": odd("RS256", alg="RS512"),
    "the name of its curve for an algorithm": odd("EdDSA", alg="Ed25519"),
    "an algorithm that is a list": odd("EdDSA", alg=["EdDSA"]),
    "an algorithm that is an object": odd("EdDSA", alg={}),
    "an algorithm that is a number": odd("EdDSA", alg=5),
    "an algorithm that is empty": odd("EdDSA", alg=""),
    "a kind that is a list": odd("EdDSA", kty=["OKP"]),
    "a kind in lower case": odd("EdDSA", kty="okp"),
    "no kind": odd("EdDSA", kty=None),
    "to encrypt with": odd("EdDSA", use="enc"),
    "a use that nobody knows": odd("EdDSA", use="SIG"),
    "a use that is a list": odd("EdDSA", use=["sig"]),
    "to sign with": odd("EdDSA", key_ops=["sign"]),
    "to wrap with": odd("RS256", key_ops=["wrapKey", "encrypt"]),
    "to do nothing with": odd("EdDSA", key_ops=[]),
    "operations that are a number": odd("EdDSA", key_ops=5),
    "a private key": ("EdDSA", private_half),
    "a private RSA key": ("RS256", private_rsa),
    "a private part that is empty": odd("EdDSA", d=""),
    "RSA of 1024 bits": ("RS256", short_rsa),
    "RSA of one number": odd("RS256", n=None),
    "RSA of no numbers": odd("RS256", n="", e=""),
    "RSA of numbers that are no text": odd("RS256", n=5, e=65537),
    "RSA with an exponent of 1": odd("RS256", e=number(1)),
    "RSA with an even exponent": odd("RS256", e=number(2)),
    "RSA with an exponent larger than its modulus": odd("RS256", e=number((1 << 2049) + 1)),
    "P-384": ("ES256", on_p384),
    "P-384 that calls itself P-256": ("ES256", lambda: {**on_p384(), "crv": "P-256"}),
    "P-256 that calls itself P-384": odd("ES256", crv="P-384"),
    "secp256k1": odd("ES256", crv="secp256k1"),
    "no curve": odd("ES256", crv=None),
    "a curve that is a list": odd("ES256", crv=["P-256"]),
    "a point on no curve": odd("ES256", y=number(3 << 250)),
    "a point at nothing": odd("ES256", x="A" * 43, y="A" * 43),
    "half a point": odd("ES256", y=None),
    "X25519": odd("EdDSA", crv="X25519"),
    "Ed25519 that calls itself Ed448": odd("EdDSA", crv="Ed448"),
    "bytes that are too few": odd("EdDSA", x="AAAA"),
    "bytes that are too many": odd("EdDSA", x="A" * 86),
    "broken base64": odd("EdDSA", x="A"),
    "no base64 at all": odd("EdDSA", x="\u00fc!\ud800"),
    "bytes that are a number": odd("EdDSA", x=5),
    "bytes that are a list": odd("EdDSA", x=[1]),
    "no bytes": odd("EdDSA", x=None),
    "an id that is a number": odd("EdDSA", kid=5),
    "an id that is a list": odd("EdDSA", kid=["bad"]),
    "an id that is an object": odd("EdDSA", kid={}),
    "an id that is true": odd("EdDSA", kid=True),
    "an empty object": ("EdDSA", dict),
    "a word": ("EdDSA", lambda: "bad"),
    "a number": ("EdDSA", lambda: 5),
    "null": ("EdDSA", lambda: None),
    "true": ("EdDSA", lambda: True),
    "a list": ("EdDSA", lambda: [signer("bad").member()]),
}


@pytest.mark.parametrize(("algorithm", "make"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_unusable_member_is_dropped_and_the_others_work(algorithm: str, make: Callable[[], Any]) -> None:
    good = [signer("before", algorithm), signer("behind", algorithm)]
    found = read_set(a_set(good[0].member(), make(), good[1].member()), [algorithm])

    assert found == {each.kid: [VerifyingKey(algorithm, each.private.public_key())] for each in good}


class TestFind:
    def test_a_store_that_has_fetched_nothing_knows_no_key_and_says_so_immediately(self) -> None:
        store = KeyStore(Issuer(ISSUER, "https://issuer.example.com/jwks", None, ["EdDSA"]))
        for kid in (None, "one", "", 5, ["one"], {"one": 1}):
            assert not knows(store, kid)
        assert store.generation == 0

    async def test_a_token_without_an_id_is_tried_with_all_keys_and_one_with_an_id_with_its_own(self) -> None:
        with an_endpoint(signer().member()) as endpoint:
            async with fetching(endpoint, RefreshPolicy(0.1, 0.01)) as store:
                await until(lambda: knows(store, None))
                assert store.find(None) == store.find("first")
                for kid in ("second", "FIRST", "first ", "", 5, True, ["first"]):
                    assert not knows(store, kid)
                endpoint.serve(a_set(signer().member(), signer("second").member(), signer("third").member(kid=None)))
                await until(lambda: knows(store, "second"))
                both = [*store.find("first"), *store.find("second")]
                assert store.find(None) == [*both, VerifyingKey("EdDSA", signer("third").private.public_key())]
                assert len(both) == 2

    async def test_no_token_is_tried_with_more_keys_than_eight(self) -> None:
        with an_endpoint(*(signer().member(kid=f"{n}") for n in range(50))) as endpoint:
            async with fetching(endpoint) as store:
                await until(lambda: store.generation)
                assert len(store.find(None)) == 8

    async def test_a_key_without_an_id_is_for_tokens_without_one(self) -> None:
        with an_endpoint(signer().member(kid=None)) as endpoint:
            async with fetching(endpoint) as store:
                await until(lambda: knows(store, None))
                assert not knows(store, "first")


@asynccontextmanager
async def fetching(endpoint: Endpoint, policy: RefreshPolicy | None = None) -> AsyncIterator[KeyStore]:
    """A store that fetches, as quickly as it may if not told otherwise."""
    store = KeyStore(
        Issuer(ISSUER, endpoint.url, None, ["EdDSA"]), policy or RefreshPolicy(interval=0.05, min_interval=0.01)
    )
    task = asyncio.create_task(store.run())
    try:
        yield store
    finally:
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=2)
        assert done


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An issuer with one key, `first`."""
    with an_endpoint(signer().member()) as endpoint:
        yield endpoint


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What the store has said so far."""
    caplog.set_level(logging.INFO, jwks.__name__)
    return lambda: [
        f"{record.levelname}: {record.message}" for record in caplog.records if record.name == jwks.__name__
    ]


GOOD = f"INFO: The keys of {ISSUER} are here: 1."
BAD = f"WARNING: The keys of {ISSUER} cannot be fetched"


class TestFetching:
    @pytest.mark.slow
    async def test_keys_are_fetched_immediately_and_then_every_so_often(
        self, endpoint: Endpoint, said: Callable[[], list[str]]
    ) -> None:
        async with fetching(endpoint, RefreshPolicy(interval=0.15, min_interval=0.01)) as store:
            await until(lambda: len(endpoint.asked) >= 5)

            pauses = [later - earlier for earlier, later in pairwise(endpoint.asked)]
            assert min(pauses) > 0.05
            assert len({round(pause, 4) for pause in pauses}) > 1  # not in step with others
            assert store.find("first") == [VerifyingKey("EdDSA", signer().private.public_key())]
        # A set that has not changed is no new generation, and nothing to talk about.
        assert store.generation == 1
        assert said() == [GOOD]

    def test_the_paces_are_those_that_were_promised(self) -> None:
        assert RefreshPolicy() == RefreshPolicy(interval=5 * 60, min_interval=30, max_age=24 * 60 * 60)
        assert (jwks.FETCH_SECONDS, MAX_SET_BYTES) == (3, 64 * 1024)
        assert KeyStore(Issuer(ISSUER, "https://issuer.example.com", None, ["EdDSA"]))._policy == RefreshPolicy()

    async def test_nothing_is_asked_for_that_could_be_larger_than_it_looks(self, endpoint: Endpoint) -> None:
        async with fetching(endpoint):
            await until(lambda: endpoint.headers)
        assert endpoint.headers[0]["accept-encoding"] == "identity"
        assert not {"authorization", "cookie"} & endpoint.headers[0].keys()

    async def test_a_new_key_is_found_beside_the_old_one_and_the_old_one_ends_when_it_is_gone(
        self, endpoint: Endpoint
    ) -> None:
        async with fetching(endpoint) as store:
            await until(lambda: knows(store, "first"))
            endpoint.serve(a_set(signer().member(), signer("second").member()))
            await until(lambda: knows(store, "second"))
            assert (store.generation, knows(store, "first")) == (2, True)

            endpoint.serve(a_set(signer("second").member()))
            await until(lambda: not knows(store, "first"))
            assert (store.generation, knows(store, "second")) == (3, True)

    async def test_another_key_of_the_same_id_takes_its_place(self, endpoint: Endpoint) -> None:
        async with fetching(endpoint) as store:
            await until(lambda: knows(store, "first"))
            endpoint.serve(a_set(signer("second").member(kid="first")))
            await until(lambda: store.generation == 2)
            assert store.find("first") == [VerifyingKey("EdDSA", signer("second").private.public_key())]

    async def test_an_empty_set_is_taken_as_what_it_is(self, endpoint: Endpoint, said: Callable[[], list[str]]) -> None:
        async with fetching(endpoint) as store:
            await until(lambda: knows(store, "first"))
            endpoint.serve(a_set())
            await until(lambda: not knows(store, "first"))
            await until(lambda: len(said()) == 2)
        assert said() == [GOOD, f"INFO: The keys of {ISSUER} are here: 0."]

    async def test_the_largest_set_has_64_kib(self, endpoint: Endpoint) -> None:
        whole = a_set(signer().member(), signer("second").member())
        endpoint.serve(whole + b" " * (MAX_SET_BYTES - len(whole)))
        async with fetching(endpoint) as store:
            await until(lambda: knows(store, "second"))

    async def test_one_that_has_no_length_to_tell_is_read_to_its_end(self, endpoint: Endpoint) -> None:
        endpoint.reply = drip(a_set(signer("second").member()), 100, 0.001)
        async with fetching(endpoint) as store:
            await until(lambda: knows(store, "second"))

    async def test_a_store_can_be_stopped_while_it_waits_for_an_answer(self, endpoint: Endpoint) -> None:
        endpoint.reply = hang
        async with fetching(endpoint):
            await until(lambda: endpoint.asked)
            began = time.monotonic()
        assert time.monotonic() - began < 1

    async def test_a_store_stops_also_when_a_key_is_asked_for_in_the_same_moment(self, endpoint: Endpoint) -> None:
        store = KeyStore(Issuer(ISSUER, endpoint.url, None, ["EdDSA"]), RefreshPolicy(interval=60, min_interval=0.01))
        task = asyncio.create_task(store.run())
        await until(lambda: store.generation)
        await asyncio.sleep(0.05)
        assert not knows(store, "unknown")
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=0.5)
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=0.1)
        assert done

    async def test_nobody_waits_for_an_answer_that_does_not_come(self, endpoint: Endpoint) -> None:
        """Neither who asks for a key nor anybody else on the loop."""
        endpoint.reply = hang
        async with fetching(endpoint) as store:
            await until(lambda: endpoint.asked)
            began = time.monotonic()
            for _ in range(100):
                assert not knows(store, "first")
                await asyncio.sleep(0)
            assert time.monotonic() - began < 0.5


def drip(document: bytes, size: int, pause: float) -> Callable[[BaseHTTPRequestHandler], None]:
    """An answer in pieces of so many bytes, with a pause behind each."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        for start in range(0, len(document), size):
            handler.wfile.write(document[start : start + size])
            time.sleep(pause)

    return reply


def drip_head(handler: BaseHTTPRequestHandler) -> None:
    """A head of which a byte comes now and then."""
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 200:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.05)


def hang(handler: BaseHTTPRequestHandler) -> None:
    """No answer, until whoever asked has gone."""
    handler.connection.settimeout(5)
    handler.rfile.read(1)


def say(text: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(text)

    return reply


def answering(*arguments: Any, **headers: str) -> Callable[[Endpoint], None]:
    return lambda endpoint: endpoint.serve(*arguments, **headers)


def replying(reply: Callable[[BaseHTTPRequestHandler], None]) -> Callable[[Endpoint], None]:
    return lambda endpoint: setattr(endpoint, "reply", reply)


# A set that would take the first key away, if it were taken.
OTHERS = a_set(signer("second").member())
OUTAGES: dict[str, tuple[str, Callable[[Endpoint], None]]] = {
    "nobody listens": ("ConnectError", Endpoint.stop),
    "500": ("ValueError", answering(OTHERS, 500)),
    "503": ("ValueError", answering(b"", 503, retry_after="3600")),
    "404": ("ValueError", answering(OTHERS, 404)),
    "403": ("ValueError", answering(OTHERS, 403)),
    "201": ("ValueError", answering(OTHERS, 201)),
    "204": ("ValueError", answering(b"", 204)),
    "304": ("ValueError", answering(b"", 304)),
    "no JSON": ("JSONDecodeError", answering(b"<html>Back soon</html>")),
    "nothing": ("JSONDecodeError", answering(b"")),
    "not UTF-8": ("UnicodeDecodeError", answering(b'{"keys": ["\xff"]}')),
    "no set": ("KeyError", answering(b"{}")),
    "a set that is a list": ("TypeError", answering(b"[]")),
    "keys that are no list": ("TypeError", answering(b'{"keys": {"first": {}}}')),
    "brackets without end": ("RecursionError", answering(b'{"keys":' + b"[" * 60_000)),
    "a number without end": ("ValueError", answering(b'{"keys":[' + b"9" * 60_000 + b"]}")),
    "gzip": ("ValueError", answering(gzip.compress(OTHERS), content_encoding="gzip")),
    "a bomb": ("ValueError", answering(gzip.compress(b" " * 9_999_999), content_encoding="gzip")),
    "gzip in name alone": ("ValueError", answering(OTHERS, content_encoding="gzip")),
    "a byte over 64 KiB": ("ValueError", answering(OTHERS + b" " * (MAX_SET_BYTES + 1 - len(OTHERS)))),
    "a megabyte of a key": ("ValueError", answering(a_set({**signer("second").member(), "pad": "x" * 1024 * 1024}))),
    "much without a length": ("ValueError", replying(drip(OTHERS + b" " * 999_999, 9999, 0))),
    "cut short": ("RemoteProtocolError", answering(OTHERS, content_length="9999")),
    "no HTTP": ("RemoteProtocolError", replying(say(b"SSH-2.0-OpenSSH\r\n"))),
    "no answer": ("RemoteProtocolError", replying(say(b""))),
    "a hang": ("TimeoutError", replying(hang)),
    "a byte at a time": ("TimeoutError", replying(drip(OTHERS, 1, 0.05))),
    "a head, a byte at a time": ("TimeoutError", replying(drip_head)),
}


class TestOutage:
    @pytest.mark.slow
    @pytest.mark.parametrize(("kind", "begin"), OUTAGES.values(), ids=OUTAGES)
    async def test_the_last_good_set_serves_and_one_line_says_what_is_wrong(
        self,
        endpoint: Endpoint,
        said: Callable[[], list[str]],
        monkeypatch: pytest.MonkeyPatch,
        kind: str,
        begin: Callable[[Endpoint], None],
    ) -> None:
        fetched: list[float] = []
        fetch = jwks._fetch

        async def timed(client: Any, url: str) -> bytes:
            began = time.monotonic()
            try:
                return await fetch(client, url)
            finally:
                fetched.append(time.monotonic() - began)

        monkeypatch.setattr(jwks, "_fetch", timed)
        async with fetching(endpoint) as store:
            await until(lambda: knows(store, "first"))
            monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.2 if kind == "TimeoutError" else 3)
            begin(endpoint)
            await until(lambda: f"{BAD} ({kind})." in said())
            fetched.clear()
            await until(lambda: len(fetched) >= 2)
            assert (store.generation, knows(store, "first"), knows(store, "second")) == (1, True, False)
            assert max(fetched) < 1

            # When it is over, what has changed meanwhile counts.
            monkeypatch.setattr(jwks, "FETCH_SECONDS", 3)
            if begin is Endpoint.stop:
                endpoint.start()
            endpoint.serve(OTHERS)
            await until(lambda: knows(store, "second"))
            assert (store.generation, knows(store, "first")) == (2, False)
            await until(lambda: said()[-1] == GOOD)

        # An answer that was under way when nobody listened any more may have broken off before.
        cut = f"{BAD} (ReadError)." if begin is Endpoint.stop else None
        assert [line for line in said() if line != cut] == [GOOD, f"{BAD} ({kind}).", GOOD]

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    async def test_no_redirect_is_followed(
        self, endpoint: Endpoint, said: Callable[[], list[str]], status: int
    ) -> None:
        with an_endpoint(signer("second").member()) as elsewhere:
            async with fetching(endpoint) as store:
                await until(lambda: knows(store, "first"))
                endpoint.serve(b"", status, location=elsewhere.url)
                await until(lambda: len(said()) == 2)
                assert (knows(store, "first"), knows(store, "second")) == (True, False)
            assert elsewhere.asked == []
        assert said() == [GOOD, f"{BAD} (ValueError)."]

    async def test_at_the_start_it_is_one_line_and_keys_as_soon_as_there_are_some(
        self, endpoint: Endpoint, said: Callable[[], list[str]]
    ) -> None:
        endpoint.stop()
        async with fetching(endpoint) as store:
            await until(said)
            await asyncio.sleep(0.1)
            assert said() == [f"{BAD} (ConnectError)."]
            assert (store.generation, knows(store, "first")) == (0, False)

            endpoint.start()
            await until(lambda: knows(store, "first"))
            await until(lambda: len(said()) == 2)
        assert said() == [f"{BAD} (ConnectError).", GOOD]

    @pytest.mark.slow
    async def test_after_a_day_the_last_good_set_has_served_its_time(self, endpoint: Endpoint) -> None:
        async with fetching(endpoint, RefreshPolicy(interval=0.05, min_interval=0.01, max_age=0.4)) as store:
            await until(lambda: knows(store, "first"))
            await asyncio.sleep(0.5)
            assert (store.generation, knows(store, "first")) == (1, True)  # it counts from the last good fetch

            endpoint.stop()
            began = time.monotonic()
            await until(lambda: not knows(store, "first"))
            assert time.monotonic() - began > 0.2
            assert store.generation == 2  # so that what was remembered of it is forgotten too

            endpoint.start()
            await until(lambda: knows(store, "first"))  # although the set is the same as before
            assert store.generation == 3

    @pytest.mark.slow
    @pytest.mark.parametrize("outage", ["500", "nobody listens"])
    async def test_an_outage_is_not_hammered(self, endpoint: Endpoint, outage: str) -> None:
        async with fetching(endpoint, RefreshPolicy(interval=0.1, min_interval=0.2)) as store:
            await until(lambda: knows(store, "first"))
            OUTAGES[outage][1](endpoint)
            endpoint.asked.clear()
            began = time.monotonic()
            while time.monotonic() - began < 0.7:
                knows(store, "unknown")
                await asyncio.sleep(0.001)
            assert len(endpoint.asked) <= 5
            if outage == "nobody listens":
                endpoint.start()


class TestUnknownKeys:
    async def test_one_brings_a_new_key_without_waiting_for_the_next_turn(self, endpoint: Endpoint) -> None:
        async with fetching(endpoint, RefreshPolicy(interval=60, min_interval=0.05)) as store:
            await until(lambda: store.generation)
            endpoint.serve(a_set(signer().member(), signer("second").member()))
            await asyncio.sleep(0.2)
            assert len(endpoint.asked) == 1  # nobody has asked for it yet
            began = time.monotonic()
            await until(lambda: knows(store, "second"))
            assert time.monotonic() - began < 1
        assert len(endpoint.asked) in (2, 3)  # it is asked for again while the answer is being read

    @pytest.mark.slow
    @pytest.mark.parametrize("is_up", [True, False], ids=["up", "down"])
    async def test_thousands_cause_no_more_fetches_than_one(
        self, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, is_up: bool
    ) -> None:
        began: list[float] = []
        fetch = jwks._fetch

        async def timed(client: Any, url: str) -> bytes:
            began.append(time.monotonic())
            return await fetch(client, url)

        monkeypatch.setattr(jwks, "_fetch", timed)
        if not is_up:
            endpoint.serve(b"", 500)
        async with fetching(endpoint, RefreshPolicy(interval=60, min_interval=0.2)) as store:
            asked = 0
            while len(began) < 5:
                for _ in range(50):
                    assert not knows(store, f"unknown {asked}")
                    asked += 1
                await asyncio.sleep(0.001)
        # The first has to wait for the certificates to be read, which the second does not wait for.
        assert min(later - earlier for earlier, later in pairwise(began[1:])) > 0.19
        assert asked > 1000

    async def test_those_that_are_known_cause_none(self, endpoint: Endpoint) -> None:
        async with fetching(endpoint, RefreshPolicy(interval=60, min_interval=0.01)) as store:
            await until(lambda: store.generation)
            for _ in range(100):
                assert store.find("first") == store.find(None)
                await asyncio.sleep(0.001)
        assert len(endpoint.asked) == 1


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's certificate for 127.0.0.1 that nobody has signed, and the file that it is in."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = tmp_path / "server.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context, pem


class TestTrust:
    async def test_a_certificate_that_nobody_vouches_for_is_not_believed(
        self, tls: tuple[ssl.SSLContext, Path], said: Callable[[], list[str]]
    ) -> None:
        with an_endpoint(signer().member(), context=tls[0]) as endpoint:
            async with fetching(endpoint) as store:
                await until(said)
                assert not knows(store, "first")
        assert (said(), endpoint.asked) == ([f"{BAD} (ConnectError)."], [])

    async def test_one_that_the_machine_trusts_is(
        self, tls: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))
        with an_endpoint(signer().member(), context=tls[0]) as endpoint:
            async with fetching(endpoint) as store:
                await until(lambda: store.generation)

    async def test_a_proxy_of_the_environment_does_not_see_what_is_on_this_machine(
        self, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """http is believed on this machine alone: through a proxy, it would be another machine's word."""
        with an_endpoint(signer("forged").member()) as proxy:
            for name in ("NO_PROXY", "no_proxy"):
                monkeypatch.delenv(name, raising=False)
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            async with fetching(endpoint) as store:
                await until(lambda: endpoint.asked or proxy.asked)
                await asyncio.sleep(0.05)
                assert not knows(store, "forged")
        assert proxy.asked == []

    @pytest.mark.slow
    async def test_certificates_that_cannot_be_read_are_said_and_end_nothing(
        self, endpoint: Endpoint, said: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
        store = KeyStore(Issuer(ISSUER, endpoint.url, None, ["EdDSA"]), RefreshPolicy(interval=0.05, min_interval=0.01))
        task = asyncio.create_task(store.run())
        done, _ = await asyncio.wait([task], timeout=0.5)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task  # "Never raises"
        assert not done
        assert len(said()) == 1
