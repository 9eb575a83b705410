"""Reads requests out of a connection's bytes: those within the sizes, and with one reading. httptools parses."""

from enum import Enum
from typing import TYPE_CHECKING

import httptools

from app.server.http1 import head
from app.server.http1.framing import is_unambiguous
from app.server.http1.limits import Limits
from app.web.failures import BadRequest, Failure, HeadersTooLarge
from app.web.headers import RawHeaders, single

if TYPE_CHECKING:
    from app.server.http1.connection import Connection


# Where in a message the parser is.
BETWEEN, HEAD, BODY = Enum("Part", "BETWEEN HEAD BODY")


class RequestReader:
    """The messages of one connection. Of a line that never ends the parser says nothing, so its input counts."""

    def __init__(self, connection: "Connection", limits: Limits) -> None:
        self.part = BETWEEN
        self.headers: RawHeaders = []
        self._connection = connection
        self._limits = limits
        self._messages = 0  # that have begun
        self._feeding = 0  # bytes that the parser is reading just now
        self._fed_head = self._fed_body = 0  # bytes of this message that the parser has read
        self._body = 0  # bytes of its body alone
        self._next_step = 0  # bytes that the body has to have for another deadline
        self._target = b""
        self._failure: Failure | None = None  # of the head that the parser is reading
        self._parser = self._new_parser()

    @property
    def method(self) -> bytes:
        return self._parser.get_method()

    def feed(self, data: bytes) -> float | None:
        """Read on. Return in how many seconds this part of the message must end or grow, where that begins anew.

        Raises HeadersTooLarge, and BadRequest for what is ambiguous or not HTTP/1.1.
        """
        part, messages, limits = self.part, self._messages, self._limits
        self._parse(data)
        goes_on = self._messages == messages  # all of the data is of the same message as before
        if self.part is HEAD:
            if goes_on or (part is BETWEEN and self._messages == messages + 1):
                self._fed_head += len(data)
                if self._fed_head > limits.head_bytes:
                    raise HeadersTooLarge
            return None if goes_on else limits.head_seconds
        if self.part is BODY:
            if goes_on and part is BODY:
                self._fed_body += len(data)  # chunk sizes, extensions and trailers too
                if self._fed_body > limits.head_bytes + (1 + limits.framing_ratio) * self._body:
                    raise HeadersTooLarge
            if self._body >= self._next_step:
                self._next_step = self._body + limits.body_step_bytes
                return limits.body_seconds
        return None

    def close(self) -> None:
        """Let go of the parser, which refers to the reader as the reader does to it, and of the connection."""
        del self._parser, self._connection

    # What follows up to `on_message_complete` is called by httptools.

    def on_message_begin(self) -> None:
        self.part = HEAD
        self._messages += 1
        self._target, self.headers = b"", []
        self._fed_head = self._fed_body = self._body = self._next_step = 0

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.part is HEAD:  # a trailer is no header: it must not speak for the caller (RFC 9110, section 6.5.1)
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser, headers, target = self._parser, self.headers, self._target
        if parser.should_upgrade():
            return  # `_ignore_upgrade` reads it again
        version, method, sent = parser.get_http_version(), parser.get_method(), single(headers)
        # Only where so much was fed can so much be head.
        is_long = self._fed_head + self._feeding > self._limits.head_bytes
        if is_long and head.size(method, target, headers) > self._limits.head_bytes:
            self._failure = HeadersTooLarge()
        elif version not in ("1.1", "1.0") or not is_unambiguous(target, version, sent):
            self._failure = BadRequest()
        if self._failure is not None:
            raise ValueError  # stops the parser
        scope = head.scope(version, method, target, headers, sent)
        self.part = BODY
        self._connection.on_request(scope, keep_alive=version == "1.1" and parser.should_keep_alive())

    def on_body(self, body: bytes) -> None:
        self._body += len(body)
        self._connection.on_body(body)

    def on_message_complete(self) -> None:
        if not self._parser.should_upgrade():
            self.part = BETWEEN
            self._connection.on_request_complete()

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # Or what follows a request with `Connection: close` would be an error before the response is out.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    def _parse(self, data: bytes) -> None:
        self._feeding = len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            raise self._failure or BadRequest from error

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read the same message again as if no upgrade had been offered."""
        method, version = self._parser.get_method(), self._parser.get_http_version()
        if method == b"CONNECT":
            raise BadRequest
        self._parser = self._new_parser()
        self._parse(head.without_upgrade(method, self._target, version, self.headers) + rest)
