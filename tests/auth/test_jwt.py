"""A token in, a user out: which tokens are refused, and what the others say."""

import base64
import hashlib
import hmac
import json
import re
import time
import unicodedata
from typing import Any

import httpx
import jwt
import pytest
from litestar import Litestar

from app.auth import jwt as auth_jwt
from app.auth.authenticator import Authenticator
from app.auth.jwt import User
from app.config.settings import Settings
from app.web.failures import InvalidToken
from tests.conftest import SECRET, visitor, whom

OTHER_SECRET = "somebody else's secret, of more than 32 bytes, too"
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
NOW = int(time.time())
LATER = 4_102_444_800  # in the year 2100: what is collected here is the same in every run
LEFT_OUT = object()


def read(token: bytes, secret: str) -> User:
    """Whom a token names to a service that has this secret and believes nobody else."""
    return Authenticator(Settings(database_url=None, jwt_secrets=(secret,))).verify(token).user


def spelled(part: Any) -> bytes:
    """One segment: bytes as they are, everything else as JSON, in base64url without padding."""
    raw = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def sealed(header: Any, payload: Any, secret: str = SECRET, digest: str = "sha256") -> bytes:
    """A compact JWS with a good signature around whatever is in it."""
    return sealed_as_it_is(spelled(header) + b"." + spelled(payload), secret, digest)


def sealed_as_it_is(content: bytes, secret: str = SECRET, digest: str = "sha256") -> bytes:
    """Two segments, spelled by hand, and a good signature of them."""
    return content + b"." + spelled(hmac.digest(secret.encode(), content, digest))


def paid(payload: Any) -> bytes:
    """A good signature around any payload at all."""
    return sealed({"alg": "HS256"}, payload)


def claiming(**claims: Any) -> bytes:
    """A good token for Ada, but for these claims; LEFT_OUT takes one away."""
    everything = {"user_id": "ada", "exp": LATER, **claims}
    payload = {name: value for name, value in everything.items() if value is not LEFT_OUT}
    return sealed({"alg": "HS256", "typ": "JWT"}, payload)


def claiming_text(text: str) -> bytes:
    """A token whose payload is spelled by hand."""
    return paid(text.replace("LATER", str(LATER)).encode())


def headed(**header: Any) -> bytes:
    """A good token for Ada, but for what is in its header."""
    everything = {"alg": "HS256", **header}
    return sealed({name: value for name, value in everything.items() if value is not LEFT_OUT}, CLAIMS)


CLAIMS = {"user_id": "ada", "exp": LATER}
CLAIMS_TEXT = json.dumps(CLAIMS)
GOOD = claiming()
HEADER, PAYLOAD, SIGNATURE = GOOD.split(b".")


def with_last(bits: int) -> bytes:
    """The good token, bits of its last character turned: the last two of them stand for nothing."""
    return GOOD[:-1] + ALPHABET[ALPHABET.index(chr(GOOD[-1])) ^ bits].encode()


ALGORITHMS = {
    **{
        f"alg {alg!r}, {unsigned}": spelled({"alg": alg, "typ": "JWT"}) + b"." + PAYLOAD + b"." + signature
        for alg in ("none", "None", "NONE", "nOnE", "noNE", "none ", "")
        for unsigned, signature in (("no signature", b""), ("some signature", SIGNATURE))
    },
    **{f"alg {alg!r}, signed as HS256": headed(alg=alg) for alg in ("none", "NONE", "HS384", "HS512")},
    "HS384 with our secret": sealed({"alg": "HS384"}, CLAIMS, digest="sha384"),
    "HS512 with our secret": sealed({"alg": "HS512"}, CLAIMS, digest="sha512"),
    "SHA-512 that calls itself HS256": sealed({"alg": "HS256"}, CLAIMS, digest="sha512"),
    "RS256, our secret taken for a public key": headed(alg="RS256"),
    "ES256, our secret taken for a public key": headed(alg="ES256"),
    "EdDSA, our secret taken for a public key": headed(alg="EdDSA"),
    "alg in lower case": headed(alg="hs256"),
    "alg left out": headed(alg=LEFT_OUT),
    "alg null": headed(alg=None),
    "alg a number": headed(alg=256),
    "alg a list": headed(alg=["HS256"]),
    "alg an object": headed(alg={"HS256": True}),
    "a key of the sender's own in the header": sealed(
        {"alg": "HS256", "jwk": {"kty": "oct", "k": spelled(OTHER_SECRET.encode()).decode()}},
        CLAIMS,
        OTHER_SECRET,
    ),
    "an address of a key in the header": sealed(
        {"alg": "HS256", "jku": "http://localhost/keys", "kid": "1"}, CLAIMS, OTHER_SECRET
    ),
    "a kid that is a path": sealed({"alg": "HS256", "kid": "../../dev/null"}, CLAIMS, ""),
    "a kid that is a number": headed(kid=1),
}
SIGNATURES = {
    "another secret": sealed({"alg": "HS256"}, CLAIMS, OTHER_SECRET),
    "an empty secret": sealed({"alg": "HS256"}, CLAIMS, ""),
    "our secret but for its last byte": sealed({"alg": "HS256"}, CLAIMS, SECRET[:-1]),
    "our secret hashed": sealed({"alg": "HS256"}, CLAIMS, hashlib.sha256(SECRET.encode()).hexdigest()),
    "another payload": b".".join([HEADER, spelled({**CLAIMS, "user_id": "bob"}), SIGNATURE]),
    "another header": b".".join([spelled({"alg": "HS256"}), PAYLOAD, SIGNATURE]),
    "another token's signature": b".".join([HEADER, PAYLOAD, claiming(user_id="bob").split(b".")[2]]),
    "header and payload swapped": b".".join([PAYLOAD, HEADER, SIGNATURE]),
    "a changed last character": with_last(4),
    "an unused bit set": with_last(1),
    "the other unused bit set": with_last(2),
    "both unused bits set": with_last(3),
    "a signature cut short": GOOD[:-4],
    "a signature with more behind it": GOOD + b"AAAA",
    "a signature twice": GOOD + SIGNATURE,
    "a signature in hexadecimal": b".".join([HEADER, PAYLOAD, base64.b16encode(b"x" * 32)]),
}
SEGMENTS = {
    "a word": b"abc",
    "a dot": b".",
    "two dots": b"..",
    "one segment": HEADER,
    "two segments": HEADER + b"." + PAYLOAD,
    "four segments": GOOD + b"." + SIGNATURE,
    "five segments, as encrypted tokens have": b".".join([HEADER, b"key", b"iv", PAYLOAD, SIGNATURE]),
    "a dot behind": GOOD + b".",
    "a dot before": b"." + GOOD,
    "no header": b"." + PAYLOAD + b"." + SIGNATURE,
    "no payload": HEADER + b".." + SIGNATURE,
    "no signature": HEADER + b"." + PAYLOAD + b".",
    "padding behind": GOOD + b"=",
    "padding behind the header": b".".join([HEADER + b"=", PAYLOAD, SIGNATURE]),
    "padding behind the header, signed": sealed_as_it_is(HEADER + b"=." + PAYLOAD),
    "padding behind the payload, signed": sealed_as_it_is(HEADER + b"." + PAYLOAD + b"=="),
    "a space inside, signed": sealed_as_it_is(HEADER + b"." + PAYLOAD[:9] + b" " + PAYLOAD[9:]),
    "junk inside, signed": sealed_as_it_is(HEADER + b"." + PAYLOAD[:9] + b"!*" + PAYLOAD[9:]),
    "three segments, signed": sealed_as_it_is(HEADER + b"." + PAYLOAD + b"." + PAYLOAD),
    "a payload with unused bits set, signed": sealed_as_it_is(
        HEADER + b"." + spelled(CLAIMS_TEXT.encode() + b" ")[:-1] + b"B"
    ),
    "a space inside": b".".join([HEADER, PAYLOAD[:9] + b" " + PAYLOAD[9:], SIGNATURE]),
    "a space before a dot": HEADER + b" ." + PAYLOAD + b"." + SIGNATURE,
    "a line break inside": b".".join([HEADER, PAYLOAD[:9] + b"\n" + PAYLOAD[9:], SIGNATURE]),
    "a tab inside": b".".join([HEADER, PAYLOAD, SIGNATURE[:9] + b"\t" + SIGNATURE[9:]]),
    "a NUL inside": b".".join([HEADER, PAYLOAD[:9] + b"\0" + PAYLOAD[9:], SIGNATURE]),
    "quotation marks around": b'"' + GOOD + b'"',
    "angle brackets around": b"<" + GOOD + b">",
    "junk that lenient decoders skip": b".".join([HEADER, PAYLOAD[:9] + b"!*" + PAYLOAD[9:], SIGNATURE]),
    "the plain base64 alphabet": b".".join([HEADER, PAYLOAD, b"+/" + SIGNATURE[2:]]),
    "bytes past ASCII": b".".join([HEADER, PAYLOAD, b"\xff\xfe" + SIGNATURE[2:]]),
    "a Greek letter for a Latin one": GOOD.replace(b"A", "\u0391".encode(), 1),
    "a percent-encoded dot": GOOD.replace(b".", b"%2E", 1),
    "two tokens": GOOD + b", " + GOOD,
    "a length that base64 cannot have": b".".join([HEADER, PAYLOAD, b"A" * 41]),
    "8193 bytes of nothing": b"A" * 8193,
    "a good one over 8 KiB": claiming(pad="x" * 8192),
    "a megabyte": claiming(pad="x" * 1024 * 1024),
}
HEADERS = {
    "a header that is a list": sealed([{"alg": "HS256"}], CLAIMS),
    "a header that is a string": sealed("HS256", CLAIMS),
    "a header that is null": sealed(None, CLAIMS),
    "a header that is a number": sealed(1, CLAIMS),
    "a header that is not JSON": sealed(b"alg=HS256", CLAIMS),
    "a header that is empty": sealed({}, CLAIMS),
    "a header that is not UTF-8": sealed(b'{"alg":"HS256","x":"\xff"}', CLAIMS),
    "a header with more behind it": sealed(b'{"alg":"HS256"}{}', CLAIMS),
    "brackets in the header": sealed(b"[" * 5000, CLAIMS),
    "objects in the header": sealed(b'{"x":' * 1150, CLAIMS),
    **{
        f"typ {typ!r}": headed(typ=typ)
        for typ in (
            "dpop+jwt",
            "logout+jwt",
            "secevent+jwt",
            "id+jwt",
            "rt+jwt",
            "JWE",
            "JOSE",
            "jwt",
            "AT+JWT",
            "JWT ",
            "application/jwt",
            "",
            5,
            None,
            True,
            ["JWT"],
            {"JWT": 1},
        )
    },
    **{
        f"crit {crit!r}": headed(crit=crit)
        for crit in (["exp"], ["b64"], [], ["unheard-of"], None, "b64", {"b64": 1}, 5, [None])
    },
    "crit that is there": headed(crit=["unheard-of"], **{"unheard-of": True}),
    "b64 false": headed(b64=False),
    "b64 false and crit": headed(b64=False, crit=["b64"]),
    "b64 true and crit": headed(b64=True, crit=["b64"]),
    "b64 false and no payload": HEADER + b".." + SIGNATURE,
    "b64 null": headed(b64=None),
    "b64 zero": headed(b64=0),
}
PAYLOADS = {
    "a payload that is a list": paid([CLAIMS]),
    "a payload that is a list of pairs": paid(list(CLAIMS.items())),
    "a payload that is a number": paid(5),
    "a payload that is a string": paid(CLAIMS_TEXT),
    "a payload that is null": paid(None),
    "a payload that is true": paid(True),
    "a payload that is an empty object": paid({}),
    "a payload that is not JSON": paid(b"user_id=ada"),
    "a payload that is cut off": paid(CLAIMS_TEXT[:-1].encode()),
    "a payload with more behind it": paid(CLAIMS_TEXT.encode() + b" {}"),
    "a payload that is not UTF-8": paid(CLAIMS_TEXT.replace("ada", "\xe9").encode("latin-1")),
    "a payload in UTF-16": paid(CLAIMS_TEXT.encode("utf-16")),
    "a payload in UTF-16 without its mark": paid(CLAIMS_TEXT.encode("utf-16-be")),
    "a payload in UTF-32": paid(CLAIMS_TEXT.encode("utf-32-le")),
    "a payload with a byte order mark": paid(CLAIMS_TEXT.encode("utf-8-sig")),
    "a surrogate in UTF-8": paid(CLAIMS_TEXT.encode().replace(b"ada", b"ada\xed\xa0\x80")),
    "a compressed payload": headed(zip="DEF", crit=["zip"]),
    "brackets in the payload": paid(b"[" * 6000),
    "objects in a claim": claiming_text('{"user_id":"ada","exp":LATER,"x":' + '{"x":' * 1100),
    "brackets for an id": claiming_text(f'{{"exp":LATER,"user_id":{"[" * 2900}{"]" * 2900}}}'),
    "a claim twice": claiming_text('{"user_id":"ada","user_id":"ada","exp":LATER}'),
    "two users": claiming_text('{"user_id":"ada","exp":LATER,"user_id":"bob"}'),
    "two users, one escaped": claiming_text('{"user_id":"ada","exp":LATER,"\\u0075ser_id":"bob"}'),
    "two expiries": claiming_text(f'{{"user_id":"ada","exp":{NOW - 60},"exp":LATER}}'),
    "a claim twice, further in": claiming_text('{"user_id":"ada","exp":LATER,"x":{"y":1,"y":2}}'),
}
TIMES = {
    "exp left out": claiming(exp=LEFT_OUT),
    "exp past the leeway": claiming(exp=NOW - 31),
    "exp long past": claiming(exp=1),
    "exp zero": claiming(exp=0),
    "exp negative": claiming(exp=-LATER),
    "exp past, as a fraction": claiming(exp=NOW - 30.5),
    **{
        f"exp {exp!r}": claiming(exp=exp)
        for exp in (None, str(LATER), "", True, False, [LATER], {"at": LATER}, 1e20, 2**53, -(2**53), 2**64)
    },
    **{
        f"exp spelled {exp}": claiming_text(f'{{"user_id":"ada","exp":{exp}}}')
        for exp in (
            "NaN",
            "Infinity",
            "-Infinity",
            "1e400",
            "9007199254740992.0",
            "01",
            "0x7fffffff",
            "1_000",
        )
    },
    "exp of 401 digits": claiming(exp=10**400),
    "exp of 5000 digits": claiming_text(f'{{"user_id":"ada","exp":{"9" * 5000}}}'),
    **{
        f"{name} {label}": claiming(**{name: value})
        for name in ("nbf", "iat")
        for label, value in {
            "in the future": LATER,
            "far in the future": 2**53,
            "of 401 digits": -(10**400),
            "a string": str(NOW),
            "a date": "2026-01-01T00:00:00Z",
            "true": True,
            "false": False,
            "null": None,
            "a list": [NOW],
            "NaN": float("nan"),
            "-Infinity": float("-inf"),
        }.items()
    },
}
UNUSABLE_IDS = {
    "null": None,
    "empty": "",
    "a space": " ",
    "blank": " \t\u00a0\u2003\n",
    "256 characters": "x" * 256,
    "a NUL": "\0",
    "a NUL inside": "a\0da",
    "a lone surrogate": "ada\ud800",
    "a lone low surrogate": "\udc00ada",
    "1.0": 1.0,
    "1.5": 1.5,
    "NaN": float("nan"),
    "true": True,
    "false": False,
    "a list": ["ada"],
    "an object": {"id": "ada"},
    "256 digits": 10**255,
}
IDENTITIES = {
    "no user_id and no sub": claiming(user_id=LEFT_OUT),
    "the id under another name": claiming(user_id=LEFT_OUT, userId="ada", id="ada", uid="ada", USER_ID="ada"),
    **{f"user_id {label}, and a good sub": claiming(user_id=bad, sub="bob") for label, bad in UNUSABLE_IDS.items()},
    **{f"sub {label}": claiming(user_id=LEFT_OUT, sub=bad) for label, bad in UNUSABLE_IDS.items()},
}
BAD = {**ALGORITHMS, **SIGNATURES, **SEGMENTS, **HEADERS, **PAYLOADS, **TIMES, **IDENTITIES}


def test_the_collection_starts_from_a_token_that_is_good() -> None:
    assert read(GOOD, SECRET) == User("ada")
    assert read(headed(), SECRET) == User("ada")
    assert read(paid(CLAIMS_TEXT.encode()), SECRET) == User("ada")


@pytest.mark.parametrize("token", BAD.values(), ids=BAD)
def test_a_bad_token_is_refused(token: bytes) -> None:
    with pytest.raises(InvalidToken):
        read(token, SECRET)


@pytest.mark.parametrize("token", BAD.values(), ids=BAD)
async def test_a_bad_token_is_401_and_nothing_tells_what_was_wrong_with_it(running: Litestar, token: bytes) -> None:
    async with visitor(running) as client:
        answer = await client.get("/api/tasks", headers=[(b"authorization", b"Bearer " + token)])

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert answer.json() == {"error": {"code": "UNAUTHORIZED", "message": "This needs a valid bearer token."}}


@pytest.mark.parametrize(
    "token",
    [
        sealed(b'{"alg":"HS256","x":' + b"[" * 2900 + b"]" * 2900 + b"}", CLAIMS),
        claiming_text(f'{{"user_id":"ada","exp":LATER,"x":{"[" * 2900}{"]" * 2900}}}'),
    ],
    ids=["in the header", "in a claim"],
)
async def test_brackets_as_deep_as_a_token_is_long_are_read_or_refused(running: Litestar, token: bytes) -> None:
    """How deep Python reads differs from version to version; that it copes does not."""
    async with visitor(running) as client:
        answer = await client.get("/api/tasks", headers=[(b"authorization", b"Bearer " + token)])
    assert answer.status_code in (200, 401)


def test_no_single_character_of_a_good_token_can_be_another() -> None:
    for position, byte in enumerate(GOOD):
        other = b"B" if byte == ord("A") else b"A"
        with pytest.raises(InvalidToken):
            read(GOOD[:position] + other + GOOD[position + 1 :], SECRET)


def test_no_single_character_of_a_good_token_can_be_missing_or_more() -> None:
    for position in range(len(GOOD)):
        for variant in (GOOD[:position] + GOOD[position + 1 :], GOOD[:position] + b"A" + GOOD[position:]):
            with pytest.raises(InvalidToken):
                read(variant, SECRET)


@pytest.mark.parametrize("around", [b"%s ", b" %s", b"%s\n", b"%s\r\n", b"\xef\xbb\xbf%s", b"%s\0"])
def test_nothing_is_trimmed_off_a_token(around: bytes) -> None:
    with pytest.raises(InvalidToken):
        read(around % GOOD, SECRET)


@pytest.mark.parametrize("typ", [LEFT_OUT, "JWT", "at+jwt"])
def test_a_token_says_that_it_is_a_jwt_or_an_access_token_or_nothing(typ: object) -> None:
    assert read(headed(typ=typ), SECRET) == User("ada")


def test_what_else_a_header_says_is_of_no_interest() -> None:
    token = headed(kid="2026-11", cty="JWT", b64=True, jku="http://localhost/", x5t="x", note={"a": [1]})
    assert read(token, SECRET) == User("ada")


def test_the_largest_token_has_8_kib() -> None:
    fitting = {len(token): token for n in range(6000, 6090) for token in (claiming(pad="x" * n), headed(pad="x" * n))}

    assert read(fitting[8192], SECRET) == User("ada")
    with pytest.raises(InvalidToken):
        read(fitting[8193], SECRET)


@pytest.mark.parametrize(
    ("claim", "user_id"),
    [
        ("ada", "ada"),
        ("x", "x"),
        ("x" * 255, "x" * 255),
        ("\U0001f95b" * 255, "\U0001f95b" * 255),
        (" ada ", " ada "),
        ("\tada\n", "\tada\n"),
        ("\u200b", "\u200b"),
        ("0", "0"),
        ("null", "null"),
        ("../bob", "../bob"),
        ("ada@example.com", "ada@example.com"),
        ("5f6c1c3e-2a51-4c51-9b0e-0d9b1f3f7a10", "5f6c1c3e-2a51-4c51-9b0e-0d9b1f3f7a10"),
        ("\ud83d\ude00", "\U0001f600"),
        (7, "7"),
        (0, "0"),
        (-7, "-7"),
        (2**53 + 1, "9007199254740993"),
        (2**64, "18446744073709551616"),
        (10**254, "1" + "0" * 254),
    ],
    ids=ascii,
)
def test_an_id_is_taken_as_it_is_from_user_id_or_else_from_sub(claim: object, user_id: str) -> None:
    assert read(claiming(user_id=claim), SECRET) == User(user_id)
    assert read(claiming(user_id=claim, sub="bob"), SECRET) == User(user_id)
    assert read(claiming(user_id=LEFT_OUT, sub=claim), SECRET) == User(user_id)


def test_a_sub_is_not_looked_at_where_there_is_a_user_id() -> None:
    assert read(claiming(sub=["no", "use"]), SECRET) == User("ada")


@pytest.mark.parametrize("name", ["Zoë", "Ångström", "한글", "ﬁ"], ids=ascii)
def test_two_spellings_of_one_name_are_two_users(name: str) -> None:
    spellings = {unicodedata.normalize(form, name) for form in ("NFC", "NFD", "NFKC")}

    assert len(spellings) > 1
    assert {read(claiming(user_id=each), SECRET).id for each in spellings} == spellings


def test_case_and_white_space_tell_users_apart() -> None:
    spellings = {"ada", "Ada", "ADA", " ada", "ada ", "ada\u00a0", "\u0430da"}
    assert {read(claiming(user_id=each), SECRET).id for each in spellings} == spellings


def test_a_number_and_its_spelling_are_the_same_user() -> None:
    assert read(claiming(user_id=7), SECRET) == read(claiming(user_id="7"), SECRET)


@pytest.mark.parametrize(
    "times",
    [
        {"exp": LATER},
        {"exp": LATER + 0.5},
        {"exp": 2**53 - 1},
        {"exp": 4e9},
        {"exp": LATER, "nbf": NOW, "iat": NOW},
        {"exp": LATER, "nbf": NOW - 0.5, "iat": NOW - 0.5},
        {"exp": LATER, "nbf": 0, "iat": -1},
        {"exp": LATER, "iat": 1 - 2**53},
    ],
    ids=["exp", "half a second", "the largest", "a float", "all three", "halves", "long ago", "the smallest"],
)
def test_a_token_is_valid_between_its_times(times: dict[str, float]) -> None:
    assert read(claiming(**times), SECRET) == User("ada")


@pytest.mark.parametrize(("claim", "within", "beyond"), [("exp", -25, -31), ("nbf", 25, 36), ("iat", 25, 36)])
def test_clocks_may_be_30_seconds_apart_and_no_more(claim: str, within: int, beyond: int) -> None:
    now = time.time()

    assert read(claiming(**{claim: now + within}), SECRET) == User("ada")
    with pytest.raises(InvalidToken):
        read(claiming(**{claim: now + beyond}), SECRET)


def test_email_and_name_come_along() -> None:
    token = claiming(email="ada@example.com", name="Ada Lovelace", role="admin")
    assert read(token, SECRET) == User("ada", "ada@example.com", "Ada Lovelace")


def test_the_longest_email_has_320_characters_and_the_longest_name_255() -> None:
    assert read(claiming(email="e" * 320, name="n" * 255), SECRET) == User("ada", "e" * 320, "n" * 255)
    assert read(claiming(email="e" * 321, name="n" * 256), SECRET) == User("ada", None, None)


@pytest.mark.parametrize(
    "useless", [None, "", "\0", "a\0b", "\ud800", 5, True, 1.5, ["x"], {"x": 1}, "x" * 321], ids=ascii
)
def test_an_email_or_a_name_that_is_of_no_use_is_none_and_no_reason_to_refuse(useless: object) -> None:
    assert read(claiming(email=useless, name=useless), SECRET) == User("ada", None, None)


@pytest.mark.parametrize(
    "user",
    [
        User("ada"),
        User("7"),
        User("ada", "ada@example.com", "Ada"),
        User(" Zoë\u0301 \U0001f95b", None, "Zoë"),
        User("x" * 255, "e" * 320, "n" * 255),
    ],
    ids=ascii,
)
def test_what_is_minted_can_be_read_again(user: User) -> None:
    assert whom(read(auth_jwt.mint(user, SECRET, 60).encode(), SECRET)) == user


def test_what_tells_a_token_from_others_is_its_id_where_it_has_one() -> None:
    assert read(claiming(), SECRET).by == "jwt"
    assert read(claiming(jti="k4"), SECRET).by == "jwt:k4"
    assert read(claiming(jti=5), SECRET).by == "jwt"
    assert (
        read(auth_jwt.mint(User("ada"), SECRET, 60).encode(), SECRET).by
        != read(auth_jwt.mint(User("ada"), SECRET, 60).encode(), SECRET).by
    )
    assert User("ada", session="s1", token="jwt:k4").by == "session:s1"


def test_a_minted_token_is_one_that_everybody_reads_and_ends_when_it_should() -> None:
    token = auth_jwt.mint(User("ada", email="ada@example.com"), SECRET, 60)

    claims = jwt.decode(token, SECRET, ["HS256"])
    assert claims == {
        "user_id": "ada",
        "email": "ada@example.com",
        "jti": claims["jti"],
        "iat": claims["iat"],
        "exp": claims["iat"] + 60,
    }
    assert abs(claims["iat"] - time.time()) < 5
    assert re.fullmatch(r"[0-9a-f]{16}", claims["jti"])
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}


async def test_a_token_in_the_cookie_or_the_query_or_the_body_is_no_token(running: Litestar) -> None:
    async with visitor(running, cookie=f"token={GOOD.decode()}") as client:
        answer: httpx.Response = await client.post(
            f"/api/tasks?access_token={GOOD.decode()}", data={"access_token": GOOD.decode()}
        )

    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
