"""The response to a request that never reaches the application, with the envelope and headers of every response."""

from app.config import settings
from app.server.http1 import head
from app.web.errors import render
from app.web.failures import Failure
from app.web.headers import COMMON, CORS, NO_STORE, RawHeaders, Singles


def refusal(failure: Failure, sent: Singles, method: bytes, request_id: bytes, date: RawHeaders) -> bytes:
    """Return the connection's last response, head and body, to a request with the headers `sent`."""
    rendered, config = render(failure), settings.current()
    headers = [
        *date,
        *rendered.raw_headers,
        (b"x-request-id", request_id),
        *COMMON,
        *CORS(config.frontend_origins, any_local=config.database_url is None).headers(sent),
        NO_STORE,
        (b"content-length", b"%d" % len(rendered.body)),
        (b"connection", b"close"),
    ]
    return head.response(rendered.status, headers) + (b"" if method == b"HEAD" else rendered.body)
