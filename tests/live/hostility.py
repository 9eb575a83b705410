"""What hostile clients send: a corpus of values that have broken services, and whatever Hypothesis makes up.

Everything here is HTTP that can be read in one way (`smuggling` has the rest), and never is the service's answer 5xx.
"""

import json
import socket
from collections.abc import Callable, Iterator
from http.client import HTTPException, HTTPResponse
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
from hypothesis import strategies as st

from app.tasks.listing.parameters import Query
from app.web.body import MAX_BODY_BYTES
from app.web.query import parameters_of
from tests.conftest import token

TEXTS = [
    "", " ", "\t\n", "\0", "a\0b", "\x01", "\x1b[31m", "\x7f", "\x85", "\u00a0", "\u200b", "\u2028", "\u202e",
    "\ufeff", "\ufffe", "\uffff", "\U0010ffff", "\U0001f95b" * 500, "\u0300" * 600, "x" * 255, "x" * 256, "x" * 500,
    "x" * 501, "x" * 70_000, "0", "-0", "-1", "+1", "01", "1.0", "1e3", "0x1", "1_000", "\u0661", "\uff11", "\u00b2",
    "2147483647", "2147483648", "-2147483649", "9007199254740993", "9223372036854775807", "9223372036854775808",
    "-9223372036854775809", "18446744073709551616", "9" * 400, "9" * 5000, "NaN", "Infinity", "1e309", "null", "true",
    "undefined", "[]", "{}", '{"$ne":null}', "' OR '1'='1", "'; DROP TABLE tasks;--", '"', "\\", "\\u0000", "$1",
    "%s%n%x", "%", "%%", "%00", "%zz", "%ff", "%2e%2e%2f", "../../../etc/passwd", "..\\..\\", "file:///etc/passwd",
    "http://127.0.0.1:1/", "{{7*7}}", "${jndi:ldap://x/a}", "<script>alert(1)</script>", "`id`", "$(id)", "|id",
    "a;b", "a&b=c", "a#b", "a?b", "\r\nSet-Cookie: x=y", "__proto__", "constructor", "__class__", "CON", ".", "..",
    "/", "//", "*", "ada@example.com", "a@b", "@", "a@" + "b" * 300, "\u1e9e@\u00df.de", "2027-01-01T00:00:00Z",
    "9999-12-31T23:59:59-23:59", "0000-00-00T00:00:00Z", "-infinity", "10000-01-01", "tsk_" + "x" * 43, "read",
    "\u0130", "\ufdfa" * 100, "\udcff",
]  # fmt: skip
BODIES = [
    b"", b" ", b"{", b"}", b"[]", b"null", b"nul", b"true", b"0", b"-", b"NaN", b'""', b'"', b"{}", b"{}{}", b"{},",
    b"[1,]", b"\0", b"\xff", b"\xef\xbb\xbf{}", '{"title":"x"}'.encode("utf-16"), '{"title":"x"}'.encode("utf-32"),
    b"a=b&c=d", b"<a/>", b"\x1f\x8b\x08\0", b"{'title':'x'}", b'{"title":"\xff"}', b'{"title":"\xed\xa0\x80"}',
    b'{"title":"\\ud800"}', b'{"title":"\\udc00\\ud800"}', b'{"title":"\\u0000"}', b'{"title":"\\x41"}',
    b'{"title":"\n"}', b'{"title":"x","title":"y"}', b'{"title":"x",}', b'{"title":"x"}//', b'{title:"x"}',
    b'{"title":"x","description":1e999}', b'{"title":"x","n":' + b"9" * 5000 + b"}",
    b'{"title":"x","n":-1e-999999999}', b'{"title":"x","n":' + b"[" * 20_000 + b"]" * 20_000 + b"}", b"[" * 100_000,
    b'{"a":' * 50_000, b'{"title":"' + b"\\u0041" * 500 + b'"}', b'{"title":"' + b" " * 900_000 + b'x"}',
    b" " * MAX_BODY_BYTES, b" " * (MAX_BODY_BYTES + 1), b'{"\\u0000":1,"title":"x"}',
    b'{"":"","title":"x","__proto__":{}}', b'{"title":{"title":"x"}}',
]  # fmt: skip
VALUES: list[Any] = [None, True, 0, -1, 2**31, 2**53, 2**63, 2**64, 10**400, 0.5, 1e308, [], {}, [[]], ["x"], {"x": 1}]
Operation = tuple[str, str, dict[str, Any] | None]  # method, path and a good body; {} is where an id goes
Header = tuple[bytes, bytes]

CREDENTIALS = {"name": "Joan", "email": "joan@example.com", "password": "correct horse"}
TASK = {"title": "Buy milk", "description": "Two litres"}
CHANGE = {"current_password": "correct horse", "new_password": "another one"}
API: list[Operation] = [
    ("GET", "/", None),
    ("GET", "/health/live", None),
    ("GET", "/health/ready", None),
    ("GET", "/openapi.json", None),
    ("GET", "/docs/assets/{}", None),
    ("GET", "/api/tasks", None),
    ("POST", "/api/tasks", TASK),
    ("GET", "/api/tasks/{}", None),
    ("PUT", "/api/tasks/{}", TASK),
    ("PATCH", "/api/tasks/{}", {**TASK, "completed": True}),
    ("PATCH", "/api/tasks/{}/complete", {"completed": True}),
    ("DELETE", "/api/tasks/{}", None),
    ("POST", "/api/tasks/batch", {"operations": [{"op": "update", "id": 1, "version": 1, "data": TASK}]}),
    ("GET", "/api/tasks/{}/history", None),
    ("POST", "/api/tasks/{}/revert", {"version": 1}),
    ("POST", "/api/tasks/{}/restore", None),
    ("GET", "/api/trash", None),
    ("DELETE", "/api/trash/{}", None),
    *(("GET", f"/api/tasks?{name}={{}}", None) for name in parameters_of(Query)),
    ("GET", "/api/tasks?limit=2&sort=title&q={}&cursor={}", None),
    ("POST", "/api/auth/signup", CREDENTIALS),
    ("POST", "/api/auth/login", {"email": "joan@example.com", "password": "correct horse"}),
    ("POST", "/api/auth/refresh", {"refresh_token": "tsr_x.y"}),
    ("POST", "/api/auth/logout", None),
    ("GET", "/api/auth/me", None),
    ("PATCH", "/api/auth/me", {"name": "Joan"}),
    ("POST", "/api/auth/me/password", CHANGE),
    ("DELETE", "/api/auth/me", {"password": "correct horse"}),
    ("GET", "/api/auth/sessions", None),
    ("DELETE", "/api/auth/sessions/{}", None),
    ("GET", "/api/auth/tokens", None),
    ("POST", "/api/auth/tokens", {"name": "A script", "scope": "read", "expires_at": "2100-01-01T00:00:00Z"}),
    ("DELETE", "/api/auth/tokens/{}", None),
    ("GET", "/{}", None),
]
FORM = {"title": "Buy milk", "description": None, "completed": True, "user_id": "ada"}
ADMIN: list[Operation] = [
    ("GET", "/admin/{}", None),
    ("GET", "/admin/api/{}", None),
    ("GET", "/admin/api/tables/{}/", None),
    *(
        ("GET", f"/admin/api/tables/{table}/{{}}/", None)
        for table in ("tasks", "user", "failed_logins", "trash", "history", "logins", "personal_tokens", "staff")
    ),
    *(
        ("GET", f"/admin/api/tables/{table}/?{name}={{}}", None)
        for table, names in {
            "tasks": ["id", "user_id", "title", "title__operator", "user_id__match", "completed", "created_at"],
            "user": ["id", "email", "emailVerified", "createdAt"],
            "history": ["id", "task_id", "title", "deleted_at", "changed_by"],
            "staff": ["id", "username", "new_password", "last_login"],
            "failed_logins": ["email", "failed_attempts", "locked_until"],
        }.items()
        for name in [*names, "__order", "__page", "__page_size", "__visible_fields", "__cursor", "__readable", "{}"]
    ),
    *(("GET", f"/admin/api/tables/tasks/ids/?{name}={{}}", None) for name in ("search", "limit", "offset")),
    ("POST", "/admin/api/tables/tasks/", FORM),
    ("PATCH", "/admin/api/tables/tasks/{}/", FORM),
    ("PATCH", "/admin/api/tables/user/~YWRh/", {"name": "Ada", "email": "ada@example.com", "emailVerified": True}),
    ("DELETE", "/admin/api/tables/tasks/{}/", None),
    ("POST", "/admin/api/tables/user/", {"id": "x", "name": "x", "email": "x"}),
    ("GET", "/admin/public/translations/{}/", None),
    ("GET", "/admin/assets/{}", None),
]
HEADERS = [
    "Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Content-Encoding", "Content-Type", "Cookie",
    "Forwarded", "Idempotency-Key", "If-Match", "If-Modified-Since", "If-None-Match", "Origin", "Range", "Referer",
    "User-Agent", "X-CSRFToken", "X-Forwarded-For", "X-Forwarded-Proto", "X-HTTP-Method-Override", "X-Original-URL",
    "X-Real-IP", "X-Request-ID", "Access-Control-Request-Method", "Date", "Via",
]  # fmt: skip
METHODS = [
    "GET",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "QUERY",
    "PROPFIND",
    "LOCK",
    "PURGE",
    "M-SEARCH",
]


class Request(NamedTuple):
    """One request, as it goes out."""

    method: str
    target: bytes
    headers: list[Header]
    body: bytes = b""

    def message(self) -> bytes:
        lines = [b"%b: %b\r\n" % header for header in self.headers]
        length = b"Content-Length: %d\r\n" % len(self.body) if self.body else b""
        return b"".join(
            [self.method.encode(), b" ", self.target, b" HTTP/1.1\r\nHost: x\r\n", *lines, length, b"\r\n", self.body]
        )


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes


class Line:
    """A connection that is opened again whenever the service has closed it."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked = 0
        self._socket: socket.socket | None = None

    def ask(self, request: Request) -> Answer:
        """Send one request and wait for its answer."""
        self.asked += 1
        try:
            return self._ask(request)
        except (HTTPException, OSError):  # it was closed while nobody looked
            self.close()
            return self._ask(request)

    def _ask(self, request: Request) -> Answer:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self._socket.sendall(request.message())
        with HTTPResponse(self._socket, method=request.method) as response:
            response.begin()
            answer = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
            if response.will_close:
                self.close()
        return answer

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def check(request: Request, answer: Answer) -> None:
    """Whatever was asked: never 5xx, always with an id, and a failure of the API has its envelope."""
    about = f"{request!r:.1500} -> {answer!r:.1500}"
    assert answer.status < 500, about
    assert answer.headers.get("x-request-id"), about
    assert "server" not in answer.headers, about
    if answer.status >= 400 and request.method != "HEAD" and not request.target.startswith(b"/admin"):
        assert answer.headers["content-type"] == "application/json", about
        assert {"code", "message"} <= json.loads(answer.body)["error"].keys(), about


ADA = (b"Authorization", f"Bearer {token('ada', exp=4_102_444_800)}".encode())
JSON = (b"Content-Type", b"application/json")


def spelled(text: str) -> bytes:
    """A text in a target."""
    return quote(text, safe="", errors="surrogatepass").encode()


def corpus(operations: list[Operation], *headers: Header) -> Iterator[Request]:
    """Each of the values in each of the places where operations take one."""
    for method, path, content in operations:
        good = json.dumps(content).encode() if content else b""
        for text in TEXTS:
            if len(text) < 2000 and "{}" in path:
                yield Request(method, spelled_into(path, text), [*headers, JSON], good)
        target = spelled_into(path, "1")
        for body in BODIES if content else BODIES[:3]:
            yield Request(method, target, [*headers, JSON], body)
        for name in content or ():
            for value in [*TEXTS, *VALUES]:
                yield Request(method, target, [*headers, JSON], json.dumps({**(content or {}), name: value}).encode())


def spelled_into(path: str, text: str) -> bytes:
    return path.replace("{}", spelled(text).decode()).encode()


def corpus_of_headers(*headers: Header) -> Iterator[Request]:
    """Each of the values in each header, and in a query."""
    for text in TEXTS:
        if len(text) > 2000:
            continue
        raw = text.encode("utf-8", "surrogatepass").replace(b"\r", b"").replace(b"\n", b"")
        for name in HEADERS:
            mine = [] if name in ("Authorization", "Cookie") else headers
            yield Request("POST", b"/api/tasks", [*mine, (name.encode(), raw)], b'{"title":"x"}')
            if name.startswith("I"):  # what a change, or a list, may hang on
                yield Request("PUT", b"/api/tasks/1", [*mine, (name.encode(), raw)], b'{"title":"x"}')
                yield Request("GET", b"/api/tasks", [*mine, (name.encode(), raw)])
        yield Request("GET", b"/api/tasks?" + spelled(text) + b"=" + spelled(text), [*headers])
        yield Request("GET", b"/api/tasks/1?x=" + raw.replace(b" ", b""), [*headers])


TEXT = st.sampled_from(TEXTS) | st.text(max_size=30)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.sampled_from(VALUES),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
RAW = st.binary(max_size=40).map(lambda raw: bytes(byte for byte in raw if byte not in b"\r\n"))
HEADER = st.tuples(
    st.sampled_from([name.encode() for name in HEADERS]), RAW | TEXT.map(lambda text: spelled(text)[:3000])
)


@st.composite
def requests(draw: st.DrawFn, operations: list[Operation], *headers: Header) -> Request:
    """A request that is nearly right, mostly."""
    method, path, content = draw(st.sampled_from(operations))
    if draw(st.integers(0, 9)) == 0:
        method = draw(st.sampled_from(METHODS))
    target = path.replace("{}", "\x7f").encode()
    while b"\x7f" in target:
        target = target.replace(
            b"\x7f",
            draw(st.integers(0, 40).map(lambda n: b"%d" % n) | TEXT.map(spelled) | RAW.map(_in_target))[:3000],
            1,
        )
    if draw(st.integers(0, 4)) == 0:
        target += b"?" + draw(RAW.map(_in_target) | TEXT.map(spelled))[:3000]
    body = b""
    if content is not None or draw(st.integers(0, 9)) == 0:
        fields = dict(content or {})
        for name in [*fields]:
            if draw(st.booleans()):
                fields[name] = draw(ANY_JSON)
        body = draw(
            st.just(json.dumps(fields).encode())
            | st.sampled_from(BODIES)
            | ANY_JSON.map(lambda value: json.dumps(value).encode())
            | RAW
        )
    sent = [*headers, *([JSON] if draw(st.booleans()) else []), *draw(st.lists(HEADER, max_size=2))]
    return Request(method, target, sent, body)


def _in_target(raw: bytes) -> bytes:
    return raw.replace(b" ", b"+").replace(b"\x7f", b"")


class Victim:
    """A service on a database of its own, in which Ada has forty tasks, from id 1 on."""

    def __init__(self, database_url: str, serve: Callable[..., Any]) -> None:
        self.database_url = database_url
        self._service = serve(env={"DATABASE_URL": database_url}, arguments=["--migrate"])
        self.url, self.port = self._service.url, self._service.port
        with httpx.Client(base_url=self.url, headers=[ADA]) as ada:
            for number in range(40):
                assert ada.post("/api/tasks", json={"title": f"{number}"}).status_code == 201

    def log(self) -> list[str]:
        """What it has said so far."""
        return self._service.log()

    def errors(self) -> list[str]:
        """What it has logged as errors of its own."""
        return [line for line in self.log() if '"level":"ERROR"' in line]
