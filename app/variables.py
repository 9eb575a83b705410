"""How the text of one variable is read. What is no good is refused in one line that names the variable."""

import ipaddress
import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import idna

# What can be listened on: a name, an IPv4 or an IPv6 address.
HOST = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(%\w+)?", re.ASCII)
# RFC 6454, section 6.2. App shells have schemes of their own; of these four no page is ever loaded with an origin.
ORIGIN = re.compile(r"(?!(?:ftp|file|wss?):)([a-z][a-z0-9+.-]*)://([^]\s/?#@:*[]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
PLAIN_HOST = re.compile(r"[a-z0-9._-]+")
DEFAULT_PORTS = {"http": 80, "https": 443}

OWN_PATHS = (["api"], ["admin"], ["docs"], ["health"], ["openapi.json"])
PATH_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*", re.ASCII)
ENDPOINT = re.compile(r"(https?://(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[\w./~%-]*[\w.~%-])?)/*", re.ASCII)
# RFC 3986, appendix B.
URL = re.compile(r"postgres(?:ql)?://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
# Of PostgreSQL's identifiers those that need no escape in quotes.
SCHEMA = re.compile(r"(?!pg_|information_schema$)[^\W\d][\w-]*")
MAX_IDENTIFIER_BYTES = 63
RATE = re.compile(r"([0-9]{1,10})(?:/(second|minute|hour))?")
SECONDS = {"second": 1, "minute": 60, "hour": 3600}
MAX_REQUESTS = 1_000_000_000


class Rate(NamedTuple):
    """So many requests within so many seconds."""

    requests: int
    seconds: int


class ConfigurationError(Exception):
    """A variable holds what it may not. The message is one line, fit for a terminal, without secrets."""


def refuse(name: str, held: str, allowed: str) -> ConfigurationError:
    """Return the one line to raise. `held` is for people to see, so never a secret."""
    return ConfigurationError(f"{name} is {held}, but must be {allowed}.")


def whole_number(given: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """Return the number, from `low` to `high`. Raises ConfigurationError."""
    text = given.get(name, str(default))
    if re.fullmatch(r"[0-9]{1,9}", text) and low <= int(text) <= high:
        return int(text)
    raise refuse(name, repr(text), f"a whole number from {low} to {high}")


def seconds(given: Mapping[str, str], name: str, default: float) -> float:
    """Return the seconds, from 0.01 to 3600. Raises ConfigurationError."""
    text = given.get(name, str(default))
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) and 0.01 <= float(text) <= 3600:
        return float(text)
    raise refuse(name, repr(text), "a number of seconds from 0.01 to 3600")


def rate(given: Mapping[str, str], name: str, default: Rate) -> Rate | None:
    """Return how many requests within which time, a minute if none is said; of 0, None. Raises ConfigurationError."""
    text = given.get(name)
    if text is None:
        return default
    if (match := RATE.fullmatch(text)) and int(match[1]) <= MAX_REQUESTS:
        return Rate(int(match[1]), SECONDS[match[2] or "minute"]) if int(match[1]) else None
    raise refuse(
        name, repr(text), "a number of requests per second, minute or hour, like 600/minute, or 0 for no limit"
    )


def choice(given: Mapping[str, str], name: str, default: str, allowed: tuple[str, ...]) -> str:
    """Return the word, in lower case. Raises ConfigurationError."""
    text = given.get(name, default).lower()
    if text in allowed:
        return text
    raise refuse(name, repr(text), f"one of {', '.join(allowed)}")


def switch(given: Mapping[str, str], name: str, *, default: bool) -> bool:
    """Return whether it is on. Raises ConfigurationError."""
    return choice(given, name, "on" if default else "off", ("on", "off")) == "on"


def host(given: Mapping[str, str], name: str, default: str) -> str:
    """Return a host name or an address to listen on. Raises ConfigurationError."""
    text = given.get(name, default)
    if HOST.fullmatch(text):
        return text
    raise refuse(name, repr(text), "a host name or an IP address")


def origins(given: Mapping[str, str], name: str, default: str) -> tuple[str, ...]:
    """Return the origins as browsers send them (RFC 6454, section 6.2). Raises ConfigurationError."""
    texts = [text.strip().lower().removesuffix("/") for text in given.get(name, default).split(",")]
    return tuple(_origin(name, text) for text in texts)


def _origin(name: str, text: str) -> str:
    """Return an origin without its scheme's default port, its host in ASCII. Raises ConfigurationError."""
    try:
        if (match := ORIGIN.fullmatch(text)) is None:
            raise ValueError
        scheme, host, port = match[1], _ascii_host(match[1], match[2]), int(match[3] or DEFAULT_PORTS.get(match[1], -1))
        if port > 65535:
            raise ValueError
    except ValueError:
        held = repr(re.sub(r"(?<=//).*@", "***@", text))
        raise refuse(name, held, "origins like https://app.example.com, comma-separated, never *") from None
    return f"{scheme}://{host}" if port == DEFAULT_PORTS.get(scheme, -1) else f"{scheme}://{host}:{port}"


def _ascii_host(scheme: str, host: str) -> str:
    """Return a host as browsers write it: names in Punycode (RFC 5891), IPv6 compressed. Raises ValueError."""
    if host.startswith("["):
        return f"[{ipaddress.IPv6Address(host[1:-1])}]"
    if not host.isascii() and scheme in DEFAULT_PORTS:
        host = idna.encode(host, uts46=True).decode()
    if not PLAIN_HOST.fullmatch(host):
        raise ValueError
    return host


def path_prefix(given: Mapping[str, str], name: str) -> str:
    """Return the path below which the service is seen from outside, without its last slash; none is empty.

    Raises ConfigurationError, also for one that begins as a path of ours: who leaves it off could not be told from who
    does not.
    """
    text = given.get(name, "").rstrip("/")
    if PATH_PREFIX.fullmatch(text) and text.split("/")[1:2] not in OWN_PATHS:
        return text
    raise refuse(
        name, repr(text), "a path like /todo, of letters, digits and - . _ ~, and not /api, /admin, /docs or /health"
    )


def schema(given: Mapping[str, str], name: str) -> str | None:
    """Return the name of a schema as it is written, capitals too, or None where none is. Raises ConfigurationError."""
    text = given.get(name)
    if text is None or (SCHEMA.fullmatch(text) and len(text.encode()) <= MAX_IDENTIFIER_BYTES):
        return text
    allowed = (
        f"the name of one schema: 1 to {MAX_IDENTIFIER_BYTES} bytes of letters, digits, _ and -, not beginning with a"
        " digit, - or pg_, and not information_schema"
    )
    raise refuse(name, repr(text), allowed)


def endpoint(given: Mapping[str, str], name: str) -> str | None:
    """Return a base URL to send to, without its last slash, or None where nothing is given. Raises ConfigurationError.

    It holds no login, since whoever sends there logs the URL.
    """
    if name not in given:
        return None
    if match := ENDPOINT.fullmatch(given[name]):
        return match[1]
    # Nothing of the value is shown: what is wrong with it may be that it holds a password.
    raise refuse(name, "not readable as a URL", "like http://localhost:4318, without login, query and fragment")


def networks(given: Mapping[str, str], name: str, default: str) -> tuple[str, ...]:
    """Return IP addresses and networks in CIDR's spelling (RFC 4632, section 3.1). Raises ConfigurationError."""
    texts = tuple(text.strip() for text in given.get(name, default).split(","))
    for text in texts:
        try:
            ipaddress.ip_network(text)
        except ValueError:
            raise refuse(name, repr(text), "IP addresses or networks like 10.0.0.0/8, comma-separated") from None
    return texts


def each_host(url: str) -> list[str]:
    """Return one URL for each host that a URL of PostgreSQL names, in their order. Raises ValueError."""
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    if "," not in hosts:
        return [url]
    return [urlunsplit(parts._replace(netloc=login + at + host)) for host in hosts.split(",")]


def wants_encoding(url: str) -> bool:
    """Tell whether a URL of PostgreSQL has a character in its login or name that clients take for its syntax.

    Then asyncpg and libpq would look for another host than is meant, or find no URL at all.
    """
    parts = URL.fullmatch(url)
    if parts is None:
        return False
    network, path, query, fragment = parts.groups("")
    login = network.rpartition("@")[0]
    at = network.count("@") > 1 or "@" in path or (not path and "@" in query.partition("=")[0])
    return at or bool(fragment) or re.search(r"%(?![0-9A-Fa-f]{2})|[\[\]]", login) is not None
