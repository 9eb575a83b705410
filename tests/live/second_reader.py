"""How another parser reads the same bytes: h11. Where the two differ, a request could hide from one of them."""

import random
from typing import NamedTuple

import h11

from tests.live.smuggling import BODY, PLAIN, chunked, in_chunks, sized

# What h11 takes more strictly than we do, and nobody takes for anything else: two spaces in the first line, and
# empty lines before it (RFC 9112, sections 2.2 and 3).
STRICTER = ("illegal request line", "no request line received")
ODD = ("two spaces", "an empty line before it")
PLAIN_ENOUGH = [message for label, (message, _) in PLAIN.items() if label not in ODD]
SEEDS = [*PLAIN_ENOUGH, *[sized(b"Content-Length: 33\r\n"), in_chunks(chunked(BODY))] * 5]
SPLICES = [
    *(bytes([byte]) for byte in b'\r\n\0 \t:;,01fx-+"\\/#?\x0b\x0c\x7f\x80\xff'),
    b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"chunked", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 5\r\n",
    b"Content-Length: 0\r\n", b"Host: y\r\n", b"Connection: close\r\n",
]  # fmt: skip


class Reading(NamedTuple):
    """How many heads were found, the bodies that were all there, and what was wrong with what was not found."""

    heads: int
    bodies: list[bytes]
    complaint: str


def read(raw: bytes) -> Reading:
    """Read all messages, up to the first that is none or that is the last on its connection."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=len(raw) + 1)
    connection.receive_data(raw)
    bodies: list[bytes] = []
    heads, body = 0, b""
    try:
        while True:
            match connection.next_event():
                case h11.Request():
                    heads, body = heads + 1, b""
                case h11.Data(data=data):
                    body += data
                case h11.EndOfMessage():
                    bodies.append(body)
                    connection.send(h11.Response(status_code=200, headers=[("Content-Length", "0")]))
                    connection.send(h11.EndOfMessage())
                    if connection.our_state is h11.MUST_CLOSE:
                        return Reading(heads, bodies, "")
                    connection.start_next_cycle()
                case _:
                    return Reading(heads, bodies, "")
    except h11.RemoteProtocolError as error:
        return Reading(heads, bodies, str(error))


def mutant(chance: random.Random) -> bytes:
    """A message with one to three things wrong: something put in, written over, taken out, or said twice."""
    message = bytearray(chance.choice(SEEDS))
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at, splice = chance.randrange(len(message) + 1), chance.choice(SPLICES)
        match chance.randrange(4):
            case 0:
                message[at:at] = splice
            case 1:
                message[at : at + len(splice)] = splice
            case 2:
                del message[at : at + chance.choice((1, 1, 2, 4))]
            case _:
                message[at:at] = message[chance.randrange(at + 1) : at][:40]
    return bytes(message)
