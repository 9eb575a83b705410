"""The deadlines and the sizes of a connection, in one place."""

import msgspec


class Limits(msgspec.Struct, frozen=True):
    """Deadlines in seconds and sizes in bytes, each for one connection."""

    head_seconds: float = 5  # from the connection, or from a head's first byte, to the end of the head
    head_bytes: int = 32 * 1024
    body_seconds: float = 10  # for a body to end, or to grow by `body_step_bytes`
    body_step_bytes: int = 16 * 1024
    framing_ratio: int = 8  # bytes of chunk sizes and line ends for each byte of a body; a chunk of one byte needs 5
    discarded_bytes: int = 16 * 1024 * 1024  # of a body whose response is out already
    response_seconds: float = 60  # for the application to respond, whatever the database's timeout is
    sending_seconds: float = 10  # for the client to take `sending_step_bytes` of what is sent, or the rest
    sending_step_bytes: int = 16 * 1024
    keep_alive_seconds: float = 5
    last_request_seconds: float = 1  # at shutdown: for a request that is on its way on an idle connection
    linger_seconds: float = 1  # for a client that is still sending to read the refusal (RFC 9112, section 9.6)


DEFAULTS = Limits()
