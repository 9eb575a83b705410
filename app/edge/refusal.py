"""The answer to what never reaches the application, with the envelope and the headers of every other answer."""

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from app import settings
from app.edge.headers import COMMON, CORS, NO_STORE, RawHeaders, Singles
from app.errors import render
from app.failures import Failure


def refusal(failure: Failure, sent: Singles, method: bytes, identifier: bytes, date: RawHeaders) -> bytes:
    """Return the connection's last answer, head and body, to a request with the headers `sent`."""
    answer, chosen = render(failure), settings.current()
    headers = [
        *date,
        *((name.encode(), value.encode()) for name, value in answer.headers.items()),
        (b"x-request-id", identifier),
        *COMMON,
        *CORS(chosen.frontend_origins, any_local=chosen.database_url is None).headers(sent),
        NO_STORE,
        (b"content-length", b"%d" % len(answer.body)),
        (b"connection", b"close"),
    ]
    lines = [b"%b: %b\r\n" % header for header in headers]
    return b"".join([STATUS_LINE[answer.status], *lines, b"\r\n", b"" if method == b"HEAD" else answer.body])
