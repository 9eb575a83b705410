"""Whose tokens are believed besides those that our own secret signs: the issuers of JWT_ISSUERS."""

import ipaddress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from app.config.parsing import refuse

OUR_OWN = "urn:tasks-api:accounts"  # the `iss` of the tokens of our own accounts
ISSUERS_RULE = "a JSON list of {issuer, jwks_url, audience, algorithms}, or a file that holds one"

# The kind of key (RFC 7517, section 4.1) that each algorithm takes. Symmetric ones are not among them: to the
# holder of a public key, that key must never be a secret (RFC 8725, section 2.1).
KEY_TYPES = {"EdDSA": "OKP", "ES256": "EC", "RS256": "RSA", "PS256": "RSA"}

Text = Annotated[str, Meta(min_length=1, max_length=2000)]


class Issuer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One who issues tokens, and where its public keys are."""

    issuer: Text  # what `iss` says, to the letter
    jwks_url: Text  # https, or http on this machine; a JWK Set (RFC 7517, section 5)
    audience: Text | Annotated[list[Text], Meta(min_length=1)] | None  # what `aud` has to name; null: not looked at
    algorithms: Annotated[list[Text], Meta(min_length=1)]  # of one kind of key; the first is that of keys without `alg`

    @property
    def audiences(self) -> frozenset[str] | None:
        """The names of which a token's `aud` must have one (RFC 7519, section 4.1.3), or None where none is asked."""
        if self.audience is None:
            return None
        return frozenset([self.audience] if isinstance(self.audience, str) else self.audience)


def issuers(name: str, text: str, root: Path) -> tuple[Issuer, ...]:
    """Return those that the variable lists, or the file that it names, seen from `root`.

    Raises ConfigurationError.
    """
    if not text.startswith(("[", "{")):
        try:
            text = (root / text).read_text().strip()
        except (OSError, ValueError):
            raise refuse(name, "not JSON, and no file that can be read", ISSUERS_RULE) from None
    try:
        found = tuple(msgspec.json.decode(text, type=list[Issuer]))
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise refuse(name, f"not readable ({error})", ISSUERS_RULE) from None
    for each in found:
        _check(name, each)
    if OUR_OWN in {each.issuer for each in found}:
        raise refuse(name, f"a list with {OUR_OWN}", "one of others: that is the name of our own accounts")
    if len({each.issuer for each in found}) < len(found):
        raise refuse(name, "a list with an issuer in it twice", ISSUERS_RULE)
    return found


def _check(name: str, issuer: Issuer) -> None:
    unknown = [each for each in issuer.algorithms if each not in KEY_TYPES]
    if unknown or len({KEY_TYPES[each] for each in issuer.algorithms}) > 1:
        held = f"a list with the algorithms {', '.join(repr(each)[1:-1] for each in issuer.algorithms)}"
        raise refuse(name, held, "one with EdDSA, ES256, or RS256 and PS256, for each issuer")
    try:
        url = urlsplit(issuer.jwks_url)
        host = url.hostname or ""
        is_there = bool(host) and url.port != 0 and "@" not in url.netloc
        is_good = is_there and (url.scheme == "https" or (url.scheme == "http" and _is_here(host)))
    except ValueError:
        is_good = False
    if not is_good or not issuer.jwks_url.isprintable() or " " in issuer.jwks_url:
        raise refuse(name, "a list with a jwks_url that cannot be trusted", "one with https, or http on this machine")


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
