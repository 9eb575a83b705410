"""Ninety and more bad tokens, in every way that tokens are signed: each is 401, and none is 500.

`test_tokens` collects what is bad about a token of our secret. What is collected here is bad whoever signs, and is
sent to the whole application: to one that reads HS256, and to one that reads an issuer's tokens.
"""

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from typing import Any, NamedTuple

import httpx
import jwt
import msgspec
import pytest
from litestar import Litestar

from app.config import settings
from app.config.issuers import Issuer
from app.main import create_app
from tests.auth import test_jwt
from tests.auth.test_jwks import Endpoint, an_endpoint, signer, until
from tests.conftest import SECRET, visitor

UNKNOWN = {"error": {"code": "UNAUTHORIZED", "message": "This needs a valid bearer token."}}
NOW = int(time.time())
LATER = 4_102_444_800  # in the year 2100
AUDIENCE = "tasks"
OWN = "HS256"
KINDS = ("HS256", "EdDSA", "ES256", "RS256", "PS256")
LEFT_OUT = object()


def issuer(kind: str) -> str:
    return f"https://{kind.lower()}.example.com"


class Kind(NamedTuple):
    """How tokens are signed: by our secret, or by the key of an issuer who uses this algorithm."""

    name: str

    @property
    def header(self) -> dict[str, Any]:
        return {"alg": self.name, "typ": "JWT", **({} if self.name == OWN else {"kid": self.name})}

    @property
    def claims(self) -> dict[str, Any]:
        ours: dict[str, Any] = {"sub": "ada", "exp": LATER}
        return ours if self.name == OWN else {**ours, "iss": issuer(self.name), "aud": AUDIENCE}

    def signature(self, content: bytes) -> bytes:
        if self.name == OWN:
            return hmac.digest(SECRET.encode(), content, "sha256")
        return jwt.get_algorithm_by_name(self.name).sign(content, signer(self.name, self.name).private)

    def seal(self, header: Any, payload: Any) -> bytes:
        """A token with a good signature around whatever is in it."""
        return self.seal_as_it_is(spelled(header) + b"." + spelled(payload))

    def seal_as_it_is(self, content: bytes) -> bytes:
        return content + b"." + spelled(self.signature(content))

    def good(self) -> bytes:
        return self.seal(self.header, self.claims)

    def headed(self, **changed: Any) -> bytes:
        """A good token but for what is in its header; LEFT_OUT takes something away."""
        return self.seal(without(self.header, changed), self.claims)

    def claiming(self, **changed: Any) -> bytes:
        return self.seal(self.header, without(self.claims, changed))

    def saying(self, text: str) -> bytes:
        """A token whose payload is spelled by hand, behind the claims that have to be there."""
        return self.seal(self.header, (json.dumps(self.claims)[:-1] + "," + text + "}").encode())


def spelled(part: Any) -> bytes:
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def without(whole: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**whole, **changed}.items() if value is not LEFT_OUT}


def parts(kind: Kind) -> tuple[bytes, bytes, bytes]:
    header, payload, signature = kind.good().split(b".")
    return header, payload, signature


def resigned(change: Callable[[bytes], bytes]) -> Callable[[Kind], bytes]:
    """A good token with another signature."""

    def make(kind: Kind) -> bytes:
        header, payload, signature = parts(kind)
        raw = base64.urlsafe_b64decode(signature + b"==")
        return b".".join([header, payload, spelled(change(raw))])

    return make


def joined(make: Callable[[bytes, bytes, bytes], list[bytes]]) -> Callable[[Kind], bytes]:
    return lambda kind: b".".join(make(*parts(kind)))


def by_another(kind: Kind) -> bytes:
    """Signed with another key of the same kind, under the id of the good one."""
    content = spelled(kind.header) + b"." + spelled(kind.claims)
    if kind.name == OWN:
        return content + b"." + spelled(hmac.digest(b"somebody else's secret, of 32 bytes or more", content, "sha256"))
    other = jwt.get_algorithm_by_name(kind.name).sign(content, signer("another", kind.name).private)
    return content + b"." + spelled(other)


def with_the_key_in_it(kind: Kind) -> bytes:
    header = {**kind.header, "jwk": signer("another", "EdDSA").member(), "jku": "https://another.example.com/"}
    content = spelled(header) + b"." + spelled(kind.claims)
    return content + b"." + spelled(jwt.get_algorithm_by_name("EdDSA").sign(content, signer("another").private))


def of_one_bit(kind: Kind) -> bytes:
    """The good token with an unused bit of its last character set, where there is one."""
    header, payload, signature = parts(kind)
    alphabet = test_jwt.ALPHABET.encode()
    last = alphabet[alphabet.index(signature[-1]) ^ 1]
    return b".".join([header, payload, signature[:-1] + bytes([last])])


USELESS_IDS = {
    "null": None,
    "empty": "",
    "blank": " \t\u00a0",
    "256 characters": "x" * 256,
    "a NUL inside": "a\0da",
    "a lone surrogate": "ada\ud800",
    "a fraction": 1.5,
    "NaN": float("nan"),
    "true": True,
    "a list": ["ada"],
    "an object": {"id": "ada"},
    "256 digits": 10**255,
}
TIMES: dict[str, Any] = {
    "a string": f"{LATER}",
    "a date": "2100-01-01T00:00:00Z",
    "true": True,
    "null": None,
    "a list": [LATER],
    "an object": {"at": LATER},
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "-Infinity": float("-inf"),
    "2^53": 2**53,
    "-2^53": -(2**53),
    "of 401 digits": 10**400,
}
BAD: dict[str, Callable[[Kind], bytes]] = {
    # The signature.
    "no signature": joined(lambda header, payload, _: [header, payload, b""]),
    "no signature and no dot": joined(lambda header, payload, _: [header, payload]),
    "a signature of zeros": resigned(lambda raw: bytes(len(raw))),
    "a signature of ones": resigned(lambda raw: b"\xff" * len(raw)),
    "a signature turned round": resigned(lambda raw: raw[::-1]),
    "its first bit turned": resigned(lambda raw: bytes([raw[0] ^ 0x80]) + raw[1:]),
    "its last bit turned": resigned(lambda raw: raw[:-1] + bytes([raw[-1] ^ 1])),
    "cut short": resigned(lambda raw: raw[:-1]),
    "cut to a byte": resigned(lambda raw: raw[:1]),
    "cut to half": resigned(lambda raw: raw[: len(raw) // 2]),
    "with more behind it": resigned(lambda raw: raw + b"\0"),
    "with a zero before it": resigned(lambda raw: b"\0" + raw),
    "twice": resigned(lambda raw: raw * 2),
    "of 4 KiB": resigned(lambda raw: raw + b"x" * 4096),
    "an unused bit set": of_one_bit,
    "a DER signature": resigned(lambda raw: b"\x30\x06\x02\x01\x01\x02\x01\x01" + raw),
    "by another key": by_another,
    "by a key that it brings along": with_the_key_in_it,
    "of another payload": lambda kind: b".".join(
        [parts(kind)[0], spelled({**kind.claims, "sub": "bob"}), parts(kind)[2]]
    ),
    "of another header": lambda kind: b".".join([spelled({**kind.header, "more": 1}), parts(kind)[1], parts(kind)[2]]),
    "of another token": lambda kind: b".".join([*parts(kind)[:2], kind.claiming(sub="bob").split(b".")[2]]),
    "header and payload swapped": joined(lambda header, payload, signature: [payload, header, signature]),
    # The algorithm.
    **{
        f"alg {alg!r}, {how}": lambda kind, alg=alg, tail=tail: b".".join(
            [spelled({**kind.header, "alg": alg}), parts(kind)[1], tail(kind)]
        )
        for alg in ("none", "None", "NONE", "nOnE")
        for how, tail in (("not signed", lambda _: b""), ("signed", lambda kind: parts(kind)[2]))
    },
    **{
        f"alg {alg!r}": lambda kind, alg=alg: kind.headed(alg=alg)
        for alg in ("none", "HS384", "HS512", "RS384", "ES384", "ES256K", "Ed448", "dir", "A256GCM", "", 256, None)
    },
    "alg a list": lambda kind: kind.headed(alg=[kind.name]),
    "alg an object": lambda kind: kind.headed(alg={kind.name: 1}),
    "alg left out": lambda kind: kind.headed(alg=LEFT_OUT),
    "alg in other letters": lambda kind: kind.headed(alg=kind.name.swapcase()),
    "alg with a space": lambda kind: kind.headed(alg=f"{kind.name} "),
    "another's alg": lambda kind: kind.headed(alg="ES256" if kind.name != "ES256" else "EdDSA"),
    # The header.
    "a header that is a list": lambda kind: kind.seal([kind.header], kind.claims),
    "a header that is null": lambda kind: kind.seal(None, kind.claims),
    "a header that is text": lambda kind: kind.seal(kind.name, kind.claims),
    "a header that is empty": lambda kind: kind.seal({}, kind.claims),
    "a header that is no JSON": lambda kind: kind.seal(b"alg", kind.claims),
    "a header that is not UTF-8": lambda kind: kind.seal(
        json.dumps(kind.header).encode()[:-1] + b',"x":"\xff"}', kind.claims
    ),
    **{
        f"{name} twice": lambda kind, name=name: kind.seal(
            json.dumps({**kind.header, "kid": kind.name})[:-1].encode() + f',"{name}":"{kind.name}"}}'.encode(),
            kind.claims,
        )
        for name in ("alg", "kid")
    },
    "a header of brackets": lambda kind: kind.seal(b"[" * 4000, kind.claims),
    "a header with more behind it": lambda kind: kind.seal(json.dumps(kind.header).encode() + b"{}", kind.claims),
    **{
        f"typ {typ!r}": lambda kind, typ=typ: kind.headed(typ=typ)
        for typ in ("id+jwt", "logout+jwt", "dpop+jwt", "JOSE", "jwt", "AT+JWT", "application/at+jwt", "", 5, None)
    },
    **{
        f"crit {crit!r}": lambda kind, crit=crit: kind.headed(crit=crit)
        for crit in (["exp"], ["b64"], [], None, "exp", 5)
    },
    "b64 false": lambda kind: kind.headed(b64=False, crit=["b64"]),
    "b64 false, not critical": lambda kind: kind.headed(b64=False),
    **{
        f"kid {label}": lambda kind, kid=kid: kind.headed(kid=kid)
        for label, kid in {"5": 5, "null": None, "true": True, "a list": ["EdDSA"], "an object": {}}.items()
    },
    # The segments.
    "a word": lambda _: b"token",
    "two dots": lambda _: b"..",
    "no header": joined(lambda _, payload, signature: [b"", payload, signature]),
    "no payload": joined(lambda header, _, signature: [header, b"", signature]),
    "four segments": joined(lambda *each: [*each, each[2]]),
    "five segments": joined(lambda header, payload, signature: [header, b"key", b"iv", payload, signature]),
    "padding behind": lambda kind: kind.good() + b"=",
    "padding in it, signed": lambda kind: kind.seal_as_it_is(parts(kind)[0] + b"=." + parts(kind)[1]),
    "a line break in it, signed": lambda kind: kind.seal_as_it_is(
        parts(kind)[0] + b"." + parts(kind)[1][:8] + b"\n" + parts(kind)[1][8:]
    ),
    "the other alphabet": joined(lambda header, payload, signature: [header, payload, b"+/" + signature[2:]]),
    "bytes past ASCII": joined(lambda header, payload, signature: [header, payload, b"\xff" + signature[1:]]),
    "a token twice": lambda kind: kind.good() + b", " + kind.good(),
    "over 8 KiB": lambda kind: kind.claiming(pad="x" * 8192),
    # The payload.
    "a payload that is a list": lambda kind: kind.seal(kind.header, [kind.claims]),
    "a payload that is null": lambda kind: kind.seal(kind.header, None),
    "a payload that is a number": lambda kind: kind.seal(kind.header, 5),
    "a payload that is text": lambda kind: kind.seal(kind.header, json.dumps(kind.claims)),
    "a payload that is empty": lambda kind: kind.seal(kind.header, {}),
    "a payload that is no JSON": lambda kind: kind.seal(kind.header, b"sub=ada"),
    "a payload cut off": lambda kind: kind.seal(kind.header, json.dumps(kind.claims)[:-1].encode()),
    "a payload with more behind it": lambda kind: kind.seal(kind.header, json.dumps(kind.claims).encode() + b"{}"),
    "a payload in UTF-16": lambda kind: kind.seal(kind.header, json.dumps(kind.claims).encode("utf-16")),
    "a payload with a mark": lambda kind: kind.seal(kind.header, json.dumps(kind.claims).encode("utf-8-sig")),
    "a payload in Latin-1": lambda kind: kind.seal(
        kind.header, json.dumps(kind.claims).replace("ada", "\xe4da").encode("latin-1")
    ),
    "a payload of brackets": lambda kind: kind.seal(kind.header, b"[" * 5000),
    "a claim twice": lambda kind: kind.saying('"sub":"ada"'),
    "two users": lambda kind: kind.saying('"sub":"bob"'),
    "two users, one escaped": lambda kind: kind.saying('"\\u0073ub":"bob"'),
    "two expiries": lambda kind: kind.saying(f'"exp":{NOW - 60}'),
    "a claim twice, further in": lambda kind: kind.saying('"x":{"y":1,"y":2}'),
    # Whom it names.
    "nobody": lambda kind: kind.claiming(sub=LEFT_OUT),
    **{f"sub {label}": lambda kind, bad=bad: kind.claiming(sub=bad) for label, bad in USELESS_IDS.items()},
    **{f"user_id {label}": lambda kind, bad=bad: kind.claiming(user_id=bad) for label, bad in USELESS_IDS.items()},
    # Who it is from.
    **{
        f"iss {label}": lambda kind, bad=bad: kind.claiming(iss=bad)
        for label, bad in {
            "null": None,
            "a number": 5,
            "true": True,
            "a list": ["https://eddsa.example.com"],
            "an object": {},
        }.items()
    },
    # When it is valid.
    "no exp": lambda kind: kind.claiming(exp=LEFT_OUT),
    "exp zero": lambda kind: kind.claiming(exp=0),
    "exp past the leeway": lambda kind: kind.claiming(exp=NOW - 31),
    "exp long past": lambda kind: kind.claiming(exp=-LATER),
    **{f"exp {label}": lambda kind, bad=bad: kind.claiming(exp=bad) for label, bad in TIMES.items()},
    **{
        f"{name} {label}": lambda kind, name=name, bad=bad: kind.claiming(**{name: bad})
        for name in ("nbf", "iat")
        for label, bad in {**TIMES, "in the future": LATER}.items()
    },
    "exp of 5000 digits": lambda kind: kind.seal(
        kind.header, json.dumps(kind.claims).replace(str(LATER), "9" * 5000).encode()
    ),
}
# Only an issuer's: who it is from, whom it is for, and which key it was.
BAD_OF_ISSUERS: dict[str, Callable[[Kind], bytes]] = {
    **{
        f"iss {label}": lambda kind, bad=bad: kind.claiming(iss=bad)
        for label, bad in {
            "of nobody": "https://nobody.example.com",
            "empty": "",
            "our own accounts": "urn:tasks-api:accounts",
        }.items()
    },
    "iss left out": lambda kind: kind.claiming(iss=LEFT_OUT),
    "iss with a slash more": lambda kind: kind.claiming(iss=issuer(kind.name) + "/"),
    "iss in capitals": lambda kind: kind.claiming(iss=issuer(kind.name).upper()),
    "iss of another": lambda kind: kind.claiming(iss=issuer("ES256" if kind.name != "ES256" else "EdDSA")),
    "iss twice": lambda kind: kind.saying(f'"iss":"{issuer(kind.name)}"'),
    **{
        f"aud {label}": lambda kind, bad=bad: kind.claiming(aud=bad)
        for label, bad in {
            "of others": "others",
            "empty": "",
            "null": None,
            "in capitals": "TASKS",
            "a list of others": ["others"],
            "an empty list": [],
            "a list in a list": [["tasks"]],
            "a number": 5,
            "an object": {"tasks": 1},
        }.items()
    },
    "aud left out": lambda kind: kind.claiming(aud=LEFT_OUT),
    **{
        f"kid {label}": lambda kind, kid=kid: kind.headed(kid=kid)
        for label, kid in {
            "of nobody": "nobody",
            "empty": "",
            "a path": "../../dev/null",
            "SQL": "' OR ''='",
            "an address": "https://nobody.example.com/jwks",
            "of 4000 characters": "k" * 4000,
            "of another issuer": "another's",
        }.items()
    },
    "signed by the secret": lambda kind: jwt.encode(kind.claims, SECRET, headers={"kid": kind.name}).encode(),
    "signed by nothing": lambda kind: jwt.encode(kind.claims, None, "none", headers={"kid": kind.name}).encode(),
    "signed by the public key": lambda kind: test_jwt.sealed(
        {"alg": "HS256", "kid": kind.name}, kind.claims, json.dumps(signer(kind.name, kind.name).member())
    ),
}
EVERYTHING = {**BAD, **BAD_OF_ISSUERS}


class Apps(NamedTuple):
    """The application twice: with our secret and every issuer, and with the issuers alone."""

    both: Litestar
    issuers: Litestar


@pytest.fixture(scope="module")
async def apps(running: Litestar) -> AsyncIterator[Apps]:
    with ExitStack() as stack:
        issuers = []
        for kind in KINDS[1:]:
            endpoint: Endpoint = stack.enter_context(an_endpoint(signer(kind, kind).member()))
            issuers.append(Issuer(issuer(kind), endpoint.url, AUDIENCE, [kind]))
        ours = msgspec.structs.replace(settings.current(), issuers=tuple(issuers))
        apps = Apps(create_app(ours), create_app(msgspec.structs.replace(ours, accounts=False, jwt_secrets=())))
        found = [app.state["authenticator"] for app in apps]
        for each in found:
            each.open()
        await until(lambda: all(store.generation for each in found for store in each.stores.values()))
        yield apps
        for each in found:
            await each.close()


async def answer(app: Litestar, token: bytes, path: str = "/api/tasks") -> httpx.Response:
    async with visitor(app) as client:
        return await client.get(path, headers=[(b"authorization", b"Bearer " + token)])


async def check_refused(app: Litestar, token: bytes) -> None:
    found = await answer(app, token)
    assert (found.status_code, found.json()) == (401, UNKNOWN)
    assert found.headers["www-authenticate"] == 'Bearer error="invalid_token"'


def test_there_are_ninety_and_more_and_no_two_are_the_same() -> None:
    for name in KINDS:
        kind = Kind(name)
        made = {make(kind) for make in (BAD if name == OWN else EVERYTHING).values()}
        assert len(made) > 150
        assert kind.good() not in made


@pytest.mark.parametrize("name", KINDS)
async def test_the_token_that_they_are_made_of_is_good(apps: Apps, clean: None, name: str) -> None:
    kind = Kind(name)
    for token in (kind.good(), kind.headed(typ=LEFT_OUT), kind.headed(typ="at+jwt"), kind.claiming(user_id=7)):
        for app in (apps.both, apps.issuers):
            found = await answer(app, token)
            if name == OWN and app is apps.issuers:
                assert (found.status_code, found.json()) == (401, UNKNOWN)
            else:
                assert (found.status_code, found.json()) == (200, {"data": []})


@pytest.mark.parametrize("make", BAD.values(), ids=BAD)
async def test_a_bad_token_is_401_whoever_has_signed_it(apps: Apps, make: Callable[[Kind], bytes]) -> None:
    for name in KINDS:
        await check_refused(apps.both, make(Kind(name)))
        await check_refused(apps.issuers, make(Kind(name)))


@pytest.mark.parametrize("make", BAD_OF_ISSUERS.values(), ids=BAD_OF_ISSUERS)
async def test_a_bad_token_of_an_issuer_is_401(apps: Apps, make: Callable[[Kind], bytes]) -> None:
    for name in KINDS[1:]:
        await check_refused(apps.both, make(Kind(name)))
        await check_refused(apps.issuers, make(Kind(name)))


async def test_every_token_of_a_secret_is_401_to_those_who_have_none(apps: Apps) -> None:
    for token in (test_jwt.GOOD, *test_jwt.BAD.values()):
        await check_refused(apps.issuers, token)


async def test_every_bad_token_of_our_secret_is_401_also_beside_issuers(apps: Apps) -> None:
    for token in test_jwt.BAD.values():
        await check_refused(apps.both, token)
    assert (await answer(apps.both, test_jwt.GOOD)).status_code == 200


@pytest.mark.parametrize("path", ["/api/auth/me", "/api/auth/sessions", "/api/auth/tokens"])
async def test_the_accounts_refuse_them_as_the_tasks_do(apps: Apps, path: str) -> None:
    for name in KINDS:
        for label in ("by another key", "exp long past", "alg 'none', not signed", "a word", "nobody"):
            found = await answer(apps.both, BAD[label](Kind(name)), path)
            assert (found.status_code, found.json()) == (401, UNKNOWN)
            assert found.headers["www-authenticate"] == 'Bearer error="invalid_token"'
