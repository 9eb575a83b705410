"""How the text of one variable is read. What is no good is refused in one line that names the variable.

A reader takes the name of a variable and its text, and raises ConfigurationError.
"""

import importlib.util
import ipaddress
import re
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import idna
import msgspec

# What can be listened on: a name, an IPv4 or an IPv6 address.
HOST_NAME = re.compile(r"[\w-]{1,63}(\.[\w-]{1,63})*|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(%\w+)?", re.ASCII)
# RFC 6454, section 6.2. App shells have schemes of their own; of these four no page is ever loaded with an origin.
ORIGIN = re.compile(r"(?!(?:ftp|file|wss?):)([a-z][a-z0-9+.-]*)://([^]\s/?#@:*[]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
PLAIN_HOST = re.compile(r"[a-z0-9._-]+")
DEFAULT_PORTS = {"http": 80, "https": 443}

OWN_PATHS = (["api"], ["admin"], ["docs"], ["health"], ["openapi.json"])
PATH_PREFIX = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*", re.ASCII)
ENDPOINT = re.compile(r"(https?://(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[\w./~%-]*[\w.~%-])?)/*", re.ASCII)
# RFC 3986, appendix B.
POSTGRES_URL = re.compile(r"postgres(?:ql)?://([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
URL_OPTIONS = {
    "sslmode": ("disable", "allow", "prefer", "require", "verify-ca", "verify-full"),
    "target_session_attrs": ("primary", "read-write", "any"),  # libpq's others are replicas, and we write
}
# Of PostgreSQL's identifiers those that need no escape in quotes.
SCHEMA = re.compile(r"(?!pg_|information_schema$)[^\W\d][\w-]*")
MAX_IDENTIFIER_BYTES = 63
RATE = re.compile(r"([0-9]{1,10})(?:/(second|minute|hour))?")
SECONDS_OF = {"second": 1, "minute": 60, "hour": 3600}
MAX_REQUESTS = 1_000_000_000

T = TypeVar("T")
Reader: TypeAlias = Callable[[str, str], T]


class Variable(msgspec.Struct, frozen=True):
    """The variable that a setting is read from."""

    name: str
    read: Reader[Any] | None  # None: it depends on others, and `load` reads it
    example: str = ""  # shown where there is no default
    field: str = ""  # of `Settings`, as are these two
    about: str = ""
    default: str = ""


class Rate(NamedTuple):
    """So many requests within so many seconds."""

    requests: int
    seconds: int

    def __str__(self) -> str:
        """Return it as `rate` reads it."""
        return f"{self.requests}/{next(unit for unit, length in SECONDS_OF.items() if length == self.seconds)}"


class ConfigurationError(Exception):
    """A variable holds what it may not. The message is one line, fit for a terminal, without secrets."""


def refuse(name: str, held: str, allowed: str) -> ConfigurationError:
    """Return the one line to raise. `held` is for people to see, so never a secret."""
    return ConfigurationError(f"{name} is {held}, but must be {allowed}.")


def whole_number(low: int, high: int) -> Reader[int]:
    """Return the reader of a number from `low` to `high`."""

    def read(name: str, text: str) -> int:
        if re.fullmatch(r"[0-9]{1,9}", text) and low <= int(text) <= high:
            return int(text)
        raise refuse(name, repr(text), f"a whole number from {low} to {high}")

    return read


def seconds(name: str, text: str) -> float:
    """Return the seconds, from 0.01 to 3600. Raises ConfigurationError."""
    if re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) and 0.01 <= float(text) <= 3600:
        return float(text)
    raise refuse(name, repr(text), "a number of seconds from 0.01 to 3600")


def rate(name: str, text: str) -> Rate | None:
    """Return how many requests within which time, a minute if none is said; of 0, None. Raises ConfigurationError."""
    if (match := RATE.fullmatch(text)) and int(match[1]) <= MAX_REQUESTS:
        return Rate(int(match[1]), SECONDS_OF[match[2] or "minute"]) if int(match[1]) else None
    raise refuse(
        name, repr(text), "a number of requests per second, minute or hour, like 600/minute, or 0 for no limit"
    )


def choice(*allowed: str) -> Reader[str]:
    """Return the reader of one of these words, in whatever case."""

    def read(name: str, text: str) -> str:
        if (word := text.lower()) in allowed:
            return word
        raise refuse(name, repr(text.lower()), f"one of {', '.join(allowed)}")

    return read


def switch(name: str, text: str) -> bool:
    """Return whether it is on. Raises ConfigurationError."""
    return choice("on", "off")(name, text) == "on"


def host(name: str, text: str) -> str:
    """Return a host name or an address to listen on. Raises ConfigurationError."""
    if HOST_NAME.fullmatch(text):
        return text
    raise refuse(name, repr(text), "a host name or an IP address")


def origins(name: str, text: str) -> tuple[str, ...]:
    """Return the origins as browsers send them (RFC 6454, section 6.2). Raises ConfigurationError."""
    return tuple(_origin(name, each.strip().lower().removesuffix("/")) for each in text.split(","))


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


def path_prefix(name: str, text: str) -> str:
    """Return the path below which the service is seen from outside, without its last slash; none is empty.

    Raises ConfigurationError, also for one that begins as a path of ours: who leaves it off could not be told from who
    does not.
    """
    text = text.rstrip("/")
    if PATH_PREFIX.fullmatch(text) and text.split("/")[1:2] not in OWN_PATHS:
        return text
    raise refuse(
        name, repr(text), "a path like /todo, of letters, digits and - . _ ~, and not /api, /admin, /docs or /health"
    )


def schema(name: str, text: str) -> str:
    """Return the name of a schema as it is written, capitals too. Raises ConfigurationError."""
    if SCHEMA.fullmatch(text) and len(text.encode()) <= MAX_IDENTIFIER_BYTES:
        return text
    allowed = (
        f"the name of one schema: 1 to {MAX_IDENTIFIER_BYTES} bytes of letters, digits, _ and -, not beginning with a"
        " digit, - or pg_, and not information_schema"
    )
    raise refuse(name, repr(text), allowed)


def endpoint(name: str, text: str) -> str:
    """Return a base URL to send traces to, without its last slash. Raises ConfigurationError.

    It holds no login, since the exporter logs the URL; and the packages that send traces are installed.
    """
    if (match := ENDPOINT.fullmatch(text)) is None:
        # Nothing of the value is shown: what is wrong with it may be that it holds a password.
        raise refuse(name, "not readable as a URL", "like http://localhost:4318, without login, query and fragment")
    if importlib.util.find_spec("opentelemetry.sdk") is None:
        raise refuse(name, "set", "left out unless the packages of requirements-otel.txt are installed")
    return match[1]


def networks(name: str, text: str) -> tuple[str, ...]:
    """Return IP addresses and networks in CIDR's spelling (RFC 4632, section 3.1). Raises ConfigurationError."""
    texts = tuple(each.strip() for each in text.split(","))
    for each in texts:
        try:
            ipaddress.ip_network(each)
        except ValueError:
            raise refuse(name, repr(each), "IP addresses or networks like 10.0.0.0/8, comma-separated") from None
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
    parts = POSTGRES_URL.fullmatch(url)
    if parts is None:
        return False
    network, path, query, fragment = parts.groups("")
    login = network.rpartition("@")[0]
    at = network.count("@") > 1 or "@" in path or (not path and "@" in query.partition("=")[0])
    return at or bool(fragment) or re.search(r"%(?![0-9A-Fa-f]{2})|[\[\]]", login) is not None


def database_url(name: str, url: str) -> str:
    """Return a URL of PostgreSQL, as it is. Raises ConfigurationError."""
    if wants_encoding(url):
        held = "holding a character in its user, password or name that means something else in a URL"
        raise refuse(name, held, "percent-encoded there: @ : / ? # % as %40 %3A %2F %3F %23 %25")
    try:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        readable = parts.scheme in ("postgresql", "postgres") and _are_servers(each_host(url))
    except ValueError:
        readable, options = False, {}
    if readable and url.isprintable():
        for option, allowed in URL_OPTIONS.items():
            if options.get(option, allowed[0]) not in allowed:
                raise refuse(f"{option} in {name}", repr(options[option]), f"one of {', '.join(allowed)}")
        return url
    # Nothing of the value is shown: it usually holds a password.
    raise refuse(name, "not readable as a URL of PostgreSQL", "postgresql://user:password@host/name")


def _are_servers(urls: list[str]) -> bool:
    """Tell whether each names a port that can be, and a host, where there are several. Raises ValueError."""
    parts = [urlsplit(url) for url in urls]
    return all(each.port != 0 and (each.hostname or len(urls) == 1) for each in parts)
