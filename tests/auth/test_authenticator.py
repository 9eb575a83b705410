"""Whose token it is: tried with the keys of whom it says that it is from, remembered, and forgotten in time."""

import asyncio
import base64
import hmac
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import asyncpg
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from litestar import Litestar

from app.auth import authenticator, opaque_tokens
from app.auth import jwt as auth_jwt
from app.auth.authenticator import MAX_CACHED_BYTES, Authenticator
from app.auth.jwt import User, VerifyingKey
from app.config.issuers import OUR_OWN, Issuer
from app.config.settings import Settings
from app.db.engine import database
from app.web.failures import InvalidToken
from tests.auth.test_jwks import Endpoint, Signer, a_set, an_endpoint, signer, until
from tests.conftest import SECRET, visitor, whom

OLD_SECRET = "the secret before the one of today: of 32 bytes or more"
A, B, E, R = (f"https://{name}.example.com" for name in ("a", "b", "es256", "rsa"))
AUDIENCE = "tasks"


def claims(issuer: str | None = A, **changed: Any) -> dict[str, Any]:
    """What a good token says; None takes a claim away."""
    everything = {"iss": issuer, "aud": AUDIENCE, "sub": "ada", "exp": int(time.time()) + 3600, **changed}
    return {name: value for name, value in everything.items() if value is not None}


def forged(key: bytes, content: dict[str, Any], **header: Any) -> bytes:
    """An HS256 token whose secret is any bytes at all, which PyJWT would not sign with."""
    parts = [{"alg": "HS256", "typ": "JWT", **header}, content]
    text = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    return text + b"." + base64.urlsafe_b64encode(hmac.digest(key, text, "sha256")).rstrip(b"=")


def at(endpoint: Endpoint, issuer: str = A, audience: Any = AUDIENCE, *algorithms: str) -> Issuer:
    return Issuer(issuer, endpoint.url, audience, [*algorithms] or ["EdDSA"])


@asynccontextmanager
async def believing(*issuers: Issuer, **more: Any) -> AsyncIterator[Authenticator]:
    """An authenticator that has fetched the keys of these issuers."""
    found = Authenticator(Settings(**{"database_url": None, "jwt_secrets": (SECRET,), "issuers": issuers, **more}))
    found.open()
    try:
        await until(lambda: all(store.generation for store in found.stores.values()))
        yield found
    finally:
        async with asyncio.timeout(5):
            await found.close()


@pytest.fixture(scope="module")
async def four() -> AsyncIterator[Authenticator]:
    """Four issuers, and a secret of our own."""
    with ExitStack() as stack:
        a, b, e, r = (
            stack.enter_context(an_endpoint(*members))
            for members in (
                [signer("a").member(), signer("same").member()],
                [signer("b").member(), Signer("same", "EdDSA", signer("b").private).member()],
                [signer("e", "ES256").member()],
                [signer("r", "RS256").member(), signer("p", "PS256").member()],
            )
        )
        issuers = [at(a), at(b, B), at(e, E, AUDIENCE, "ES256"), at(r, R, AUDIENCE, "RS256", "PS256")]
        async with believing(*issuers) as found:
            yield found


async def is_refused(found: Authenticator, token: bytes) -> bool:
    """Whether it is, both times that it is sent."""
    answers = []
    for _ in range(2):
        try:
            await found.user(token)
        except InvalidToken:
            answers.append(True)
        else:
            answers.append(False)
    assert answers[0] == answers[1]
    return answers[0]


class TestIssuers:
    @pytest.mark.parametrize(
        ("issuer", "kid", "algorithm"),
        [(A, "a", "EdDSA"), (B, "b", "EdDSA"), (E, "e", "ES256"), (R, "r", "RS256"), (R, "p", "PS256")],
    )
    async def test_a_token_of_each_is_believed(
        self, four: Authenticator, issuer: str, kid: str, algorithm: str
    ) -> None:
        token = signer(kid, algorithm).sign(claims(issuer, email="ada@example.com", name="Ada"))
        for _ in range(3):
            assert whom(await four.user(token)) == User("ada", "ada@example.com", "Ada")

    @pytest.mark.parametrize("typ", ["JWT", "at+jwt", None])
    async def test_an_access_token_may_say_that_it_is_one(self, four: Authenticator, typ: str | None) -> None:
        assert whom(await four.user(signer("a").sign(claims(), typ=typ))) == User("ada")

    @pytest.mark.parametrize("typ", ["id+jwt", "logout+jwt", "dpop+jwt", "application/at+jwt", "at+JWT"])
    async def test_a_token_for_something_else_is_refused(self, four: Authenticator, typ: str) -> None:
        assert await is_refused(four, signer("a").sign(claims(), typ=typ))

    async def test_the_keys_of_one_are_not_tried_on_the_tokens_of_another(self, four: Authenticator) -> None:
        assert not await is_refused(four, signer("b").sign(claims(B)))
        assert await is_refused(four, signer("b").sign(claims(A)))
        # Neither where both have a key of that id.
        assert not await is_refused(four, signer("same").sign(claims(A)))
        assert await is_refused(four, signer("same").sign(claims(B)))
        assert await is_refused(four, Signer("same", "EdDSA", signer("b").private).sign(claims(A)))

    @pytest.mark.parametrize(
        "issuer",
        [None, "", "https://c.example.com", A + "/", A.upper(), f" {A}", f"{A}\0", 5, True, [A], {"iss": A}, [], 1.5],
        ids=ascii,
    )
    async def test_who_is_no_issuer_of_ours_is_not_believed(self, four: Authenticator, issuer: Any) -> None:
        raw = {**claims(), "iss": issuer}
        token = jwt.PyJWS().encode(json.dumps(raw).encode(), signer("a").private, "EdDSA", headers={"kid": "a"})
        assert await is_refused(four, token.encode())

    async def test_an_unknown_key_is_refused(self, four: Authenticator) -> None:
        for kid in ("c", "A", "", "a ", "../a"):
            assert await is_refused(four, Signer(kid, "EdDSA", signer("a").private).sign(claims()))

    async def test_a_token_without_a_kid_is_tried_with_the_keys_of_its_issuer_and_no_others(
        self, four: Authenticator
    ) -> None:
        assert not await is_refused(four, Signer(None, "ES256", signer("e", "ES256").private).sign(claims(E)))
        for kid in ("a", "same"):
            assert not await is_refused(four, Signer(None, "EdDSA", signer(kid).private).sign(claims(A)))
        for kid in ("b", "c"):
            assert await is_refused(four, Signer(None, "EdDSA", signer(kid).private).sign(claims(A)))
        assert await is_refused(four, Signer(None, "PS256", signer("r", "RS256").private).sign(claims(R)))

    async def test_a_key_verifies_by_its_own_algorithm_alone(self, four: Authenticator) -> None:
        """RS256 and PS256 take the same kind of key, and this issuer may use both, but each with its own key."""
        private = signer("r", "RS256").private
        assert not await is_refused(four, Signer("r", "RS256", private).sign(claims(R)))
        assert await is_refused(four, Signer("r", "PS256", private).sign(claims(R)))
        assert await is_refused(four, Signer("r", "RS512", private).sign(claims(R)))

    @pytest.mark.parametrize("algorithm", ["ES256", "RS256", "PS256", "HS256", "none"])
    async def test_the_algorithm_is_one_that_the_issuer_uses(self, four: Authenticator, algorithm: str) -> None:
        key = {"HS256": SECRET, "none": None}.get(algorithm)
        private = signer("any", algorithm).private if algorithm not in ("HS256", "none") else key
        token = jwt.encode(claims(A), private, algorithm, headers={"kid": "a"})
        assert await is_refused(four, token.encode())

    async def test_keys_that_the_token_brings_along_are_of_no_interest(self, four: Authenticator) -> None:
        own = signer("own")
        for header in (
            {"jwk": own.member()},
            {"jku": "http://127.0.0.1/"},
            {"x5u": "http://127.0.0.1/"},
            {"x5c": ["AA"]},
        ):
            assert await is_refused(four, Signer("a", "EdDSA", own.private).sign(claims(), **header))
            assert not await is_refused(four, signer("a").sign(claims(), **header))

    async def test_whom_the_token_names_is_somebody_new_unless_users_are_made_elsewhere(self) -> None:
        with an_endpoint(signer("a").member()) as endpoint:
            for provision in (True, False):
                async with believing(at(endpoint), provision_users=provision) as found:
                    assert (await found.user(signer("a").sign(claims()))).auto_provision == provision
                    assert (await found.user(jwt.encode(claims(None), SECRET).encode())).auto_provision == provision

    async def test_closing_twice_or_without_having_opened_does_no_harm(self) -> None:
        with an_endpoint() as endpoint:
            found = Authenticator(Settings(database_url=None, jwt_secrets=(SECRET,), issuers=(at(endpoint),)))
            await found.close()
            found.open()
            await found.close()
            await found.close()


class TestAudience:
    @pytest.mark.parametrize(
        ("wanted", "named"),
        [
            ("tasks", "tasks"),
            ("tasks", ["tasks"]),
            ("tasks", ["others", "tasks"]),
            ("tasks", ["tasks", 5, None]),
            (["tasks", "api"], "api"),
            (["tasks", "api"], ["others", "tasks"]),
            (None, "whatever"),
            (None, None),
            (None, 5),
        ],
        ids=repr,
    )
    async def test_a_token_that_is_meant_for_us_is_believed(self, wanted: Any, named: Any) -> None:
        with an_endpoint(signer("a").member()) as endpoint:
            async with believing(at(endpoint, A, wanted)) as found:
                token = jwt.PyJWS().encode(
                    json.dumps(claims(aud=named)).encode(), signer("a").private, "EdDSA", headers={"kid": "a"}
                )
                assert whom(await found.user(token.encode())) == User("ada")

    @pytest.mark.parametrize(
        "named",
        [
            None, "", "others", "task", "tasks ", "TASKS", "tasks,others", [], ["others"], [["tasks"]], [None],
            5, True, {"tasks": 1}, [{"tasks": 1}], "https://tasks",
        ],
        ids=repr,
    )  # fmt: skip
    async def test_one_that_is_meant_for_others_or_for_nobody_is_not(self, four: Authenticator, named: Any) -> None:
        whole = {**claims(aud=named), **({"aud": named} if named is not None else {})}
        token = jwt.PyJWS().encode(json.dumps(whole).encode(), signer("a").private, "EdDSA", headers={"kid": "a"})
        assert await is_refused(four, token.encode())


class TestConfusion:
    """RFC 8725, sections 2.1 and 3.1: a public key is never a secret, and a secret is for HS256 alone."""

    async def test_a_token_of_our_secret_may_not_say_that_it_is_from_an_issuer(self, four: Authenticator) -> None:
        assert not await is_refused(four, jwt.encode(claims(None), SECRET).encode())
        for issuer in (A, B, E, R):
            for kid in ("a", "b", "e", "r"):
                token = jwt.encode(claims(issuer), SECRET, headers={"kid": kid})
                assert await is_refused(four, token.encode())
            assert await is_refused(four, jwt.encode(claims(issuer), SECRET).encode())

    @pytest.mark.parametrize(
        ("issuer", "kid", "algorithm"),
        [(A, "a", "EdDSA"), (E, "e", "ES256"), (R, "r", "RS256"), (R, "p", "PS256")],
    )
    async def test_a_public_key_in_any_spelling_is_no_secret(
        self, four: Authenticator, issuer: str, kid: str, algorithm: str
    ) -> None:
        one = signer(kid, algorithm)
        public, member = one.private.public_key(), one.member()
        info, pem, der = (
            serialization.PublicFormat.SubjectPublicKeyInfo,
            serialization.Encoding.PEM,
            serialization.Encoding.DER,
        )
        spellings = [
            public.public_bytes(pem, info),
            public.public_bytes(pem, info).strip(),
            public.public_bytes(der, info),
            json.dumps(member).encode(),
            json.dumps(member, separators=(",", ":"), sort_keys=True).encode(),
            a_set(member),
            *(base64.urlsafe_b64decode(member[part] + "==") for part in ("x", "y", "n", "e") if part in member),
            *(member[part].encode() for part in ("x", "y", "n", "e") if part in member),
            b"",
        ]
        for spelling in spellings:
            for named in (issuer, None, OUR_OWN):
                assert await is_refused(four, forged(spelling, claims(named, sid="s"), kid=kid))

    async def test_without_a_secret_of_ours_no_hs256_passes(self) -> None:
        with an_endpoint(signer("a").member()) as endpoint:
            async with believing(at(endpoint), jwt_secrets=(), accounts=False) as found:
                assert not await is_refused(found, signer("a").sign(claims()))
                for secret in (b"", SECRET.encode(), b"\0", b"None"):
                    for issuer in (None, A, OUR_OWN, "https://c.example.com"):
                        assert await is_refused(found, forged(secret, claims(issuer, sid="s"), kid="a"))


class TestSecrets:
    def test_a_token_of_each_secret_is_read(self) -> None:
        found = Authenticator(Settings(database_url=None, jwt_secrets=(SECRET, OLD_SECRET)))
        for secret in (SECRET, OLD_SECRET):
            assert whom(found.verify(jwt.encode(claims(None), secret).encode()).user) == User("ada")
        with pytest.raises(InvalidToken):
            found.verify(jwt.encode(claims(None), "a third secret, of more than 32 bytes").encode())

    def test_a_secret_that_has_been_taken_away_opens_nothing(self) -> None:
        token = jwt.encode(claims(None), OLD_SECRET).encode()
        assert Authenticator(Settings(database_url=None, jwt_secrets=(SECRET, OLD_SECRET))).verify(token)
        with pytest.raises(InvalidToken):
            Authenticator(Settings(database_url=None, jwt_secrets=(SECRET,))).verify(token)

    def test_the_tokens_of_a_rotation_are_read_before_within_and_after_it(self) -> None:
        before, within, after = ((OLD_SECRET,), (SECRET, OLD_SECRET), (SECRET,))
        for minting, reading in ((before, within), (within, within), (within, after)):
            token = auth_jwt.mint(User("ada"), minting[0], 60).encode()
            found = Authenticator(Settings(database_url=None, jwt_secrets=reading))
            assert whom(found.verify(token).user) == User("ada")

    def test_both_secrets_read_what_they_have_signed_and_no_more(self) -> None:
        """A token that the first secret refuses is tried with the second, its claims are not taken more lightly."""
        found = Authenticator(Settings(database_url=None, jwt_secrets=(SECRET, OLD_SECRET)))
        for changed in ({"exp": 1}, {"exp": None}, {"sub": ""}, {"nbf": 2**40}):
            with pytest.raises(InvalidToken):
                found.verify(jwt.encode(claims(None, **changed), OLD_SECRET).encode())

    def test_an_issuer_whom_nobody_knows_may_stand_in_a_token_of_our_secret(self) -> None:
        """As ever: whoever has the secret may write there what they like, but the names that mean something."""
        found = Authenticator(Settings(database_url=None, jwt_secrets=(SECRET,)))
        assert whom(found.verify(jwt.encode(claims("https://c.example.com"), SECRET).encode()).user) == User("ada")


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every token whose signature was looked at."""
    seen: list[bytes] = []
    verify = auth_jwt.verify

    def counting(token: bytes, keys: Any) -> None:
        seen.append(token)
        verify(token, keys)

    monkeypatch.setattr(auth_jwt, "verify", counting)
    return seen


@pytest.fixture
def ours() -> Authenticator:
    return Authenticator(Settings(database_url=None, jwt_secrets=(SECRET,)))


def minted(user: str = "ada", **more: Any) -> bytes:
    content = {"user_id": user, "exp": int(time.time()) + 3600, "jti": secrets.token_hex(8), **more}
    return jwt.encode(content, SECRET).encode()


class TestMemory:
    async def test_a_signature_is_verified_once(self, ours: Authenticator, counted: list[bytes]) -> None:
        token = minted()
        for _ in range(5):
            assert whom(await ours.user(token)) == User("ada")
        assert counted == [token]

    @pytest.mark.parametrize("exp", [None, -60], ids=["forged", "expired"])
    async def test_one_that_nothing_makes_good_is_verified_again_after_a_while(
        self, ours: Authenticator, counted: list[bytes], monkeypatch: pytest.MonkeyPatch, exp: int | None
    ) -> None:
        token = minted()[:-8] + b"AAAAAAAA" if exp is None else minted(exp=int(time.time()) + exp)
        assert await is_refused(ours, token)
        assert (len(counted), ours._cache) == (1, {})
        later = time.monotonic() + 30
        monkeypatch.setattr(time, "monotonic", lambda: later)
        assert await is_refused(ours, token)
        assert counted == [token] * 2

    async def test_one_that_becomes_good_is_taken_then(
        self, ours: Authenticator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = time.time()
        token = minted(nbf=int(now) + 40)
        assert await is_refused(ours, token)
        monkeypatch.setattr(time, "time", lambda: now + 20)
        assert not await is_refused(ours, token)

    async def test_one_that_has_expired_is_not_kept_with_the_good(
        self, ours: Authenticator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = time.time()
        token = minted(exp=int(now) + 60)
        await ours.user(token)
        monkeypatch.setattr(time, "time", lambda: now + 92)
        assert await is_refused(ours, token)
        assert (ours._cache, [*ours._refused]) == ({}, [token])

    async def test_of_more_than_1000_refused_ones_the_oldest_is_forgotten(self, ours: Authenticator) -> None:
        for number in range(1001):
            assert await is_refused(ours, minted(f"user {number}")[:-8] + b"AAAAAAAA")
        assert len(ours._refused) == 1000

    async def test_a_key_that_an_issuer_adds_takes_effect_immediately(self) -> None:
        old, new = signer("a"), Signer(None, "EdDSA", signer("b").private)
        with an_endpoint(old.member()) as endpoint:
            async with believing(at(endpoint)) as found:
                token = new.sign(claims())
                assert await is_refused(found, token)
                found.stores[A]._take({"b": [VerifyingKey("EdDSA", signer("b").private.public_key())]})
                assert not await is_refused(found, token)

    async def test_it_knows_a_token_to_the_letter(self, ours: Authenticator) -> None:
        token = minted()
        await ours.user(token)
        for other in (token[:-1], token + b"A", token + b"=", token[:-1] + (b"A" if token[-1:] != b"A" else b"E")):
            assert await is_refused(ours, other)

    async def test_it_ends_with_the_token_and_the_leeway(
        self, ours: Authenticator, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = time.time()
        token = minted(exp=int(now) + 60)
        await ours.user(token)
        for later, is_valid in ((89, True), (92, False), (10**6, False)):
            monkeypatch.setattr(time, "time", lambda later=later: now + later)
            assert await is_refused(ours, token) != is_valid

    async def test_it_has_room_for_so_many_and_the_oldest_goes(
        self, ours: Authenticator, counted: list[bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert authenticator.MAX_CACHED_TOKENS == 10_000
        monkeypatch.setattr(authenticator, "MAX_CACHED_TOKENS", 10)
        sent = [minted() for _ in range(25)]
        for token in sent:
            await ours.user(token)
            assert len(ours._cache) <= 10
        assert [*ours._cache] == sent[15:]
        counted.clear()
        await ours.user(sent[24])
        assert counted == []
        await ours.user(sent[0])
        assert counted == [sent[0]]
        assert [*ours._cache] == [*sent[16:], sent[0]]

    async def test_a_token_over_2_kib_is_believed_and_not_remembered(
        self, ours: Authenticator, counted: list[bytes]
    ) -> None:
        sizes = {len(token): token for token in (minted(pad="x" * n) for n in range(1300, 1500))}
        fitting = sizes[max(size for size in sizes if size <= MAX_CACHED_BYTES)]
        larger = sizes[min(size for size in sizes if size > MAX_CACHED_BYTES)]
        assert MAX_CACHED_BYTES == 2048
        for token in (fitting, larger):
            for _ in range(2):
                assert whom(await ours.user(token)) == User("ada")
        assert counted == [fitting, larger, larger]
        assert [*ours._cache] == [fitting]

    async def test_one_users_tokens_are_forgotten_and_no_others(self, ours: Authenticator) -> None:
        adas, bobs = [minted() for _ in range(3)], minted("bob")
        for token in (*adas, bobs):
            await ours.user(token)
        ours.forget(User("ada"), "a login")  # none of theirs is of that login
        assert len(ours._cache) == 4
        ours.forget(User("ada"))
        assert [*ours._cache] == [bobs]
        ours.forget(User("nobody"))
        assert [*ours._cache] == [bobs]

    async def test_a_key_that_is_withdrawn_takes_what_is_remembered_along(self, counted: list[bytes]) -> None:
        with an_endpoint(signer("a").member(), signer("b").member()) as endpoint:
            async with believing(at(endpoint)) as found:
                gone, kept = signer("a").sign(claims()), signer("b").sign(claims(sub="bob"))
                own = minted()
                for token in (gone, kept, own) * 2:
                    await found.user(token)
                assert counted == [gone, kept, own]

                store = found.stores[A]
                store._take({kid: keys for kid, keys in store._keys.items() if kid == "b"})
                assert await is_refused(found, gone)
                assert (whom(await found.user(kept)), whom(await found.user(own))) == (User("bob"), User("ada"))
                # Ours has not been withdrawn, so it was not looked at again.
                assert counted == [gone, kept, own, kept]

    async def test_a_key_that_comes_back_is_believed_again(self) -> None:
        with an_endpoint(signer("a").member()) as endpoint:
            async with believing(at(endpoint)) as found:
                token, store = signer("a").sign(claims()), found.stores[A]
                await found.user(token)
                keys = store._keys
                store._take({})
                assert await is_refused(found, token)
                store._take(keys)
                assert whom(await found.user(token)) == User("ada")

    async def test_another_key_of_the_same_id_does_not_inherit_what_the_first_has_signed(self) -> None:
        with an_endpoint(signer("a").member()) as endpoint:
            async with believing(at(endpoint)) as found:
                token = signer("a").sign(claims())
                await found.user(token)
                found.stores[A]._take({"a": [auth_jwt.VerifyingKey("EdDSA", signer("b").private.public_key())]})
                assert await is_refused(found, token)


@pytest.fixture
async def logged_in(running: Litestar, clean: None, sql: asyncpg.Connection) -> Callable[..., Awaitable[bytes]]:
    """A function that logs somebody in, and returns an access token of that login."""

    async def log_in(user: str = "ada", session: str = "s1", **changed: Any) -> bytes:
        await sql.execute(
            'INSERT INTO "user" (id, name, email, "emailVerified", "createdAt", "updatedAt")'
            " VALUES ($1, $1, $1 || '@example.com', false, now(), now()) ON CONFLICT DO NOTHING",
            user,
        )
        await sql.execute(
            "INSERT INTO login_sessions (id, user_id, family_hash, token_hash, expires_at)"
            " VALUES ($1, $2, $3, $3, now() + interval '1 day')",
            session, user, secrets.token_bytes(32),
        )  # fmt: skip
        return own_token(user, session, **changed)

    return log_in


def own_token(user: str = "ada", session: Any = "s1", **changed: Any) -> bytes:
    content = {"iss": OUR_OWN, "sid": session, "user_id": user, "exp": int(time.time()) + 900, **changed}
    return jwt.encode({name: value for name, value in content.items() if value is not None}, SECRET).encode()


LogIn = Callable[..., Awaitable[bytes]]


class TestOwnAccounts:
    async def test_a_token_of_a_living_login_is_believed(self, ours: Authenticator, logged_in: LogIn) -> None:
        token = await logged_in(email="ada@example.com", name="Ada")
        for _ in range(2):
            assert whom(await ours.user(token)) == User(
                "ada", "ada@example.com", "Ada", session="s1", auto_provision=False
            )

    async def test_one_of_a_login_that_never_was_or_is_somebody_elses_is_not(
        self, ours: Authenticator, logged_in: LogIn
    ) -> None:
        assert not await is_refused(ours, await logged_in("ada", "s1"))
        assert not await is_refused(ours, await logged_in("bob", "s2"))
        others = [("ada", "s2"), ("bob", "s1"), ("ada", "s3"), ("eve", "s1"), ("ada", "S1"), ("ada", "s1 ")]
        for user, session in others:
            assert await is_refused(ours, own_token(user, session))

    @pytest.mark.parametrize(
        "session", [None, "", "\0", "s\0", "\ud800", 5, True, ["s1"], {"s1": 1}, "s" * 256], ids=ascii
    )
    async def test_a_token_of_ours_without_a_login_is_refused(
        self, ours: Authenticator, logged_in: LogIn, session: Any
    ) -> None:
        await logged_in()
        assert await is_refused(ours, own_token(session=session))

    async def test_a_login_that_has_expired_is_refused(
        self, ours: Authenticator, logged_in: LogIn, sql: asyncpg.Connection
    ) -> None:
        token = await logged_in()
        await sql.execute("UPDATE login_sessions SET expires_at = now() - interval '1 second'")
        assert await is_refused(ours, token)

    async def test_one_that_is_ended_here_is_refused_immediately(
        self, ours: Authenticator, logged_in: LogIn, sql: asyncpg.Connection
    ) -> None:
        first, second, bobs = await logged_in(), await logged_in("ada", "s2"), await logged_in("bob", "s3")
        for token in (first, second, bobs):
            await ours.user(token)
        await sql.execute("DELETE FROM login_sessions WHERE id = 's1'")
        ours.forget(User("ada"), "s1")

        assert await is_refused(ours, first)
        assert [*ours._cache] == [second, bobs]
        assert (await ours.user(second)).session == "s2"

    async def test_one_that_is_ended_elsewhere_is_refused_a_second_later_and_forgotten(
        self, ours: Authenticator, logged_in: LogIn, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token, now = await logged_in(), time.time()
        monkeypatch.setattr(time, "time", lambda: now)
        await ours.user(token)
        await sql.execute("DELETE FROM login_sessions")

        monkeypatch.setattr(time, "time", lambda: now + 0.9)
        assert (await ours.user(token)).id == "ada"
        monkeypatch.setattr(time, "time", lambda: now + 1)
        assert await is_refused(ours, token)
        assert ours._cache == {}

    async def test_a_clock_that_is_set_back_does_not_put_off_the_look(
        self, ours: Authenticator, logged_in: LogIn, sql: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        token, now = await logged_in(), time.time()
        await ours.user(token)
        await sql.execute("DELETE FROM login_sessions")
        monkeypatch.setattr(time, "time", lambda: now - 600)
        assert await is_refused(ours, token)

    async def test_a_token_of_ours_means_nothing_where_there_are_no_accounts(self, logged_in: LogIn) -> None:
        token = await logged_in()
        found = Authenticator(Settings(database_url=None, jwt_secrets=(SECRET,), accounts=False))
        assert await is_refused(found, token)

    async def test_a_token_of_the_secret_that_names_a_login_but_not_us_has_none(self, ours: Authenticator) -> None:
        assert whom(await ours.user(minted(sid="s1"))) == User("ada")

    async def test_what_is_minted_for_a_login_says_that_it_is_ours(self, ours: Authenticator, logged_in: LogIn) -> None:
        await logged_in()
        user = User("ada", "ada@example.com", "Ada", session="s1", auto_provision=False)
        assert whom(await ours.user(auth_jwt.mint(user, SECRET, 60).encode())) == user

    async def test_a_word_that_looks_like_a_personal_token_is_none_where_there_are_no_accounts(self) -> None:
        found = Authenticator(Settings(database_url=None, jwt_secrets=(SECRET,), accounts=False))
        assert await is_refused(found, b"tsk_" + b"A" * 43)


WAITING = """
    SELECT count(*) FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND datname = current_database() AND query ILIKE '%personal_access_tokens%'
"""


class TestPersonalTokens:
    """Asked of the database each time: what is not remembered need not be forgotten."""

    @pytest.fixture
    async def keep(self, logged_in: LogIn, sql: asyncpg.Connection) -> Callable[..., Awaitable[bytes]]:
        """A function that keeps a token of Ada's for the scope, and returns it."""

        async def keep(scope: str, seconds: int | None = None) -> bytes:
            if not await sql.fetchval("""SELECT count(*) FROM "user" WHERE id = 'ada'"""):
                await logged_in("ada")
            made = opaque_tokens.new_personal()
            await sql.execute(
                "INSERT INTO personal_access_tokens (id, user_id, name, scope, token_hash, expires_at)"
                " VALUES ($1, 'ada', 'laptop', $2, $3, now() + $4 * interval '1 second')",
                secrets.token_hex(8), scope, opaque_tokens.hashed(made), seconds,
            )  # fmt: skip
            return made.encode()

        return keep

    async def test_one_names_its_owner_and_what_they_may_do_until_it_is_revoked(
        self, ours: Authenticator, keep: Callable[..., Awaitable[bytes]], sql: asyncpg.Connection
    ) -> None:
        write, read = await keep("write"), await keep("read", 60)
        assert whom(await ours.user(write)) == User("ada", auto_provision=False)
        assert whom(await ours.user(read)) == User("ada", auto_provision=False, may_write=False)
        assert ours._cache == {}

        await sql.execute("DELETE FROM personal_access_tokens WHERE scope = 'write'")
        assert await is_refused(ours, write)
        assert not await is_refused(ours, read)

    async def test_copies_of_one_wait_for_each_other_and_keep_nobody_else_waiting(
        self, ours: Authenticator, keep: Callable[..., Awaitable[bytes]], sql: asyncpg.Connection
    ) -> None:
        """A row that somebody holds makes each lookup wait that tells when the token was last used."""
        first, second = await keep("write"), await keep("read")
        for last_used in ("NULL", "now() - interval '1 hour'"):  # known by the token alone, and by its owner
            await sql.execute(f"UPDATE personal_access_tokens SET last_used_at = {last_used}")
            async with sql.transaction():
                await sql.execute("SELECT FROM personal_access_tokens WHERE scope = 'write' FOR UPDATE")
                asking = [asyncio.create_task(ours.user(first)) for _ in range(12)]
                async with asyncio.timeout(4):
                    while await sql.fetchval(WAITING) < 2:
                        await sql.execute("SELECT pg_sleep(0.01), pg_stat_clear_snapshot()")
                if ours.last_owner(first) is None:
                    assert whom(await ours.user(second)).id == "ada"
                assert database.get_waiting_size() == 10
                assert await sql.fetchval(WAITING) == 2
            assert {whom(user).id for user in await asyncio.gather(*asking)} == {"ada"}

    async def test_a_copy_that_waited_while_it_was_revoked_is_refused(
        self, ours: Authenticator, keep: Callable[..., Awaitable[bytes]], sql: asyncpg.Connection
    ) -> None:
        token = await keep("write")
        async with sql.transaction():
            await sql.execute("DELETE FROM personal_access_tokens")
            early = [asyncio.create_task(ours.user(token)) for _ in range(6)]
            await asyncio.sleep(0.05)
        late = [asyncio.create_task(ours.user(token)) for _ in range(6)]
        told = await asyncio.gather(*early, *late, return_exceptions=True)
        assert {type(each) for each in told[2:]} == {InvalidToken}  # two had been looked up before

    async def test_one_that_has_expired_or_never_was_is_refused(
        self, ours: Authenticator, keep: Callable[..., Awaitable[bytes]]
    ) -> None:
        assert await is_refused(ours, await keep("write", -1))
        good = await keep("write")
        others = (
            opaque_tokens.new_personal().encode(),
            good.swapcase(),
            good[:-1],
            good + b"A",
            good[4:],
            good + b"\n",
        )
        for other in others:
            assert await is_refused(ours, other)

    async def test_one_that_may_only_read_changes_nothing(
        self, running: Litestar, keep: Callable[..., Awaitable[bytes]]
    ) -> None:
        async with visitor(running, authorization=f"Bearer {(await keep('read')).decode()}") as client:
            assert (await client.get("/api/tasks")).json() == {"data": []}
            for method in ("POST", "PUT", "PATCH", "DELETE"):
                answer = await client.request(method, "/api/tasks/1", json={"title": "x"})
                assert (answer.status_code, answer.json()) == (
                    403,
                    {"error": {"code": "FORBIDDEN", "message": "This token may only read."}},
                )
                challenge = 'Bearer error="insufficient_scope", scope="write"'
                assert answer.headers["www-authenticate"] == challenge
