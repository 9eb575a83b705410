"""Messages that two servers may read in two ways, each with another request hidden in it or behind it.

Most are of the literature on request smuggling: CL.TE, TE.CL, TE.TE, and what there is about lines, names and chunks.
"""

from tests.conftest import token

AUTH = f"Authorization: Bearer {token('mallory', exp=4_102_444_800)}\r\n".encode()
HOST = b"Host: x\r\n"
LINE = b"POST /api/tasks HTTP/1.1\r\n"
POST = LINE + HOST + AUTH
GET = b"GET /health/live HTTP/1.1\r\n"
BODY = b'{"title":"of the message itself"}'
SMUGGLED = POST + b"Connection: close\r\nContent-Length: 20\r\n\r\n" + b'{"title":"smuggled"}'
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def chunked(body: bytes) -> bytes:
    return b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def sized(lines: bytes) -> bytes:
    """A message whose length is said by these lines, with what they might hide."""
    return POST + lines + b"\r\n" + BODY


def in_chunks(body: bytes, lines: bytes = CHUNKED) -> bytes:
    return POST + lines + b"\r\n" + body


def headed(*lines: bytes) -> bytes:
    """A message without a body, with these lines in its head."""
    return GET + HOST + b"".join(lines) + b"\r\n"


FRAMING = {
    "CL.TE": in_chunks(b"0\r\n\r\n" + SMUGGLED, b"Content-Length: %d\r\n" % (5 + len(SMUGGLED)) + CHUNKED),
    "TE.CL": in_chunks(chunked(SMUGGLED), CHUNKED + b"Content-Length: 4\r\n"),
    "CL.0 and TE": in_chunks(chunked(BODY), b"Content-Length: 0\r\n" + CHUNKED),
    "TE and an upgrade and CL": in_chunks(
        chunked(BODY), b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 5\r\n" + CHUNKED
    ),
    "TE in 1.0": b"POST /api/tasks HTTP/1.0\r\n" + HOST + AUTH + CHUNKED + b"\r\n" + chunked(BODY),
    "TE and CL in 1.0": b"POST /api/tasks HTTP/1.0\r\n"
    + HOST
    + AUTH
    + CHUNKED
    + b"Connection: keep-alive\r\nContent-Length: 5\r\n\r\n"
    + chunked(BODY),
}
CODINGS = {
    label: in_chunks(chunked(BODY), lines)
    for label, lines in {
        "xchunked": b"Transfer-Encoding: xchunked\r\n",
        "chunkedx": b"Transfer-Encoding: chunkedx\r\n",
        "chunk": b"Transfer-Encoding: chunk\r\n",
        "identity": b"Transfer-Encoding: identity\r\n",
        "chunked, identity": b"Transfer-Encoding: chunked, identity\r\n",
        "identity, chunked": b"Transfer-Encoding: identity, chunked\r\n",
        "gzip, chunked": b"Transfer-Encoding: gzip, chunked\r\n",
        "x, chunked": b"Transfer-Encoding: x, chunked\r\n",
        "chunked twice in a line": b"Transfer-Encoding: chunked, chunked\r\n",
        "chunked twice": CHUNKED * 2,
        "chunked, then another": CHUNKED + b"Transfer-Encoding: x\r\n",
        "another, then chunked": b"Transfer-Encoding: x\r\n" + CHUNKED,
        "identity, then chunked, on two lines": b"Transfer-Encoding: identity\r\n" + CHUNKED,
        "chunked, then nothing": CHUNKED + b"Transfer-Encoding:\r\n",
        "nothing": b"Transfer-Encoding:\r\n",
        "white space": b"Transfer-Encoding: \t \r\n",
        "a comma before": b"Transfer-Encoding: , chunked\r\n",
        "a comma behind": b"Transfer-Encoding: chunked,\r\n",
        "a parameter": b"Transfer-Encoding: chunked;q=1\r\n",
        "quotes": b'Transfer-Encoding: "chunked"\r\n',
        "apostrophes": b"Transfer-Encoding: 'chunked'\r\n",
        "a vertical tab before": b"Transfer-Encoding: \x0bchunked\r\n",
        "a form feed behind": b"Transfer-Encoding: chunked\x0c\r\n",
        "a NUL behind": b"Transfer-Encoding: chunked\0\r\n",
        "a byte past ASCII": b"Transfer-Encoding: chunked\xa0\r\n",
        "a space before the colon": b"Transfer-Encoding : chunked\r\n",
        "a tab before the colon": b"Transfer-Encoding\t: chunked\r\n",
        "a line end before the colon": b"Transfer-Encoding\n: chunked\r\n",
        "a space before the name": b" Transfer-Encoding: chunked\r\n",
        "in a folded line": b"X: y\r\n Transfer-Encoding: chunked\r\n",
        "folded itself": b"Transfer-Encoding:\r\n chunked\r\n",
        "folded by a tab": b"Transfer-Encoding: x\r\n\tchunked\r\n",
        "behind a bare line feed": b"X: y\nTransfer-Encoding: chunked\r\n",
        "behind a bare carriage return": b"X: y\rTransfer-Encoding: chunked\r\n",
        "behind a NUL": b"X: y\0Transfer-Encoding: chunked\r\n",
    }.items()
}
LENGTHS = {
    label: sized(b"Content-Length: " + value + b"\r\n")
    for label, value in {
        "nothing": b"",
        "white space": b" \t",
        "a plus": b"+33",
        "a minus": b"-33",
        "minus nothing": b"-0",
        "hexadecimal": b"0x21",
        "octal": b"0o41",
        "a fraction": b"33.0",
        "an exponent": b"33e0",
        "an underscore": b"3_3",
        "two numbers": b"33 33",
        "a list": b"33, 33",
        "a list of different ones": b"33, 5",
        "a list with a gap": b"33,",
        "a list with a gap before": b",33",
        "a semicolon": b"33;",
        "a letter": b"33a",
        "a vertical tab": b"\x0b33",
        "a NUL": b"33\0",
        "another script's digits": "\u0663\u0663".encode(),
        "Latin-1's digits": b"\xb3\xb3",
        "2^64 and 33": b"18446744073709551649",
        "2^32 times 2^32": b"1" + b"0" * 40,
        "two lines": b"33\r\nContent-Length: 33",
        "two lines that differ": b"33\r\nContent-Length: 0",
        "two lines, one empty": b"33\r\nContent-Length:",
        "two spellings": b"0\r\ncontent-length: 33",
        "a zero and a length": b"0\r\nContent-Length: 33",
        "a space before the colon": b"0\r\nContent-Length : 33",
        "folded": b"\r\n 33",
        "continued": b"3\r\n 3",
        "behind a bare line feed": b"0\nContent-Length: 33",
        "behind a bare carriage return": b"0\rContent-Length: 33",
    }.items()
}
CHUNKS = {
    label: in_chunks(body)
    for label, body in {
        "no size": b"\r\n" + BODY + b"\r\n0\r\n\r\n",
        "a minus": b"-21\r\n" + BODY + b"\r\n0\r\n\r\n",
        "a plus": b"+21\r\n" + BODY + b"\r\n0\r\n\r\n",
        "0x": b"0x21\r\n" + BODY + b"\r\n0\r\n\r\n",
        "an underscore": b"2_1\r\n" + BODY + b"\r\n0\r\n\r\n",
        "a space before": b" 21\r\n" + BODY + b"\r\n0\r\n\r\n",
        "a tab behind": b"21\t\r\n" + BODY + b"\r\n0\r\n\r\n",
        "a NUL behind": b"21\0\r\n" + BODY + b"\r\n0\r\n\r\n",
        "a comma": b"21,\r\n" + BODY + b"\r\n0\r\n\r\n",
        "a letter that is no digit": b"2g\r\n" + BODY + b"\r\n0\r\n\r\n",
        "2^64 and a bit": b"10000000000000021\r\n" + BODY + b"\r\n0\r\n\r\n",
        "of forty digits": b"f" * 40 + b"\r\n" + BODY + b"\r\n0\r\n\r\n",
        "a line feed behind the size": b"21\n" + BODY + b"\r\n0\r\n\r\n",
        "a carriage return behind the size": b"21\r" + BODY + b"\r\n0\r\n\r\n",
        "a line feed behind the data": b"21\r\n" + BODY + b"\n0\r\n\r\n",
        "a carriage return behind the data": b"21\r\n" + BODY + b"\r0\r\n\r\n",
        "nothing behind the data": b"21\r\n" + BODY + b"0\r\n\r\n",
        "two bytes of something else behind the data": b"21\r\n" + BODY + b"XX0\r\n\r\n",
        "more data than was said": b"20\r\n" + BODY + b"\r\n0\r\n\r\n",
        "a line feed in an extension": b"21;a\nb\r\n" + BODY + b"\r\n0\r\n\r\n",
        "a carriage return in an extension": b"21;a\rb\r\n" + BODY + b"\r\n0\r\n\r\n",
        "a NUL in an extension": b"21;a\0b\r\n" + BODY + b"\r\n0\r\n\r\n",
        "a line end in a quoted extension": b'21;a="\r\n"\r\n' + BODY + b"\r\n0\r\n\r\n",
        "a line feed behind an extension": b"21;\n" + BODY + b"\r\n0\r\n\r\n",
        "a line feed behind the last size": b"21\r\n" + BODY + b"\r\n0\n\r\n",
        "a line feed at the end": b"21\r\n" + BODY + b"\r\n0\r\n\n",
        "a carriage return at the end": b"21\r\n" + BODY + b"\r\n0\r\n\rX",
        "a trailer without a colon": b"21\r\n" + BODY + b"\r\n0\r\nX\r\n\r\n",
        "a trailer that is folded": b"21\r\n" + BODY + b"\r\n0\r\nX: a\r\n b\r\n\r\n",
        "a trailer behind a line feed": b"21\r\n" + BODY + b"\r\n0\r\nX: a\nY: b\r\n\r\n",
        "a trailer with a NUL": b"21\r\n" + BODY + b"\r\n0\r\nX: \0\r\n\r\n",
        "a length as a trailer": b"21\r\n" + BODY + b"\r\n0\r\nContent-Length: 5\r\n\r\n",
        "a coding as a trailer": b"21\r\n" + BODY + b"\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    }.items()
}
LINES = {
    "a line feed behind the first line": GET.replace(b"\r\n", b"\n") + HOST + b"\r\n",
    "a carriage return behind the first line": GET.replace(b"\r\n", b"\r") + HOST + b"\r\n",
    "a line feed behind a header": headed(b"X: y\n"),
    "a carriage return behind a header": headed(b"X: y\r"),
    "line feeds all over": headed(b"X: y\r\n").replace(b"\r\n", b"\n"),
    "a line feed at the end": GET + HOST + b"\n",
    "two carriage returns": headed(b"X: y\r\r\n"),
    "a carriage return in a value": headed(b"X: a\rb\r\n"),
    "a fold by a space": headed(b"X: a\r\n b\r\n"),
    "a fold by a tab": headed(b"X: a\r\n\tb\r\n"),
    "a fold of nothing": headed(b"X: a\r\n \r\n"),
    "a fold of the first line": GET + b" X: y\r\n" + HOST + b"\r\n",
    "a NUL in a name": headed(b"X\0Y: a\r\n"),
    "a NUL in a value": headed(b"X: a\0b\r\n"),
    "a NUL as a value": headed(b"X: \0\r\n"),
    "a NUL behind the head": headed(b"X: y\r\n")[:-2] + b"\0\r\n",
    "a control character in a value": headed(b"X: a\x01b\r\n"),
    "a delete in a value": headed(b"X: a\x7fb\r\n"),
    "no colon": headed(b"X\r\n"),
    "no name": headed(b": y\r\n"),
    "a space in a name": headed(b"X Y: a\r\n"),
    "a space before the colon": headed(b"X : y\r\n"),
    "a tab before the colon": headed(b"X\t: y\r\n"),
    "a bracket in a name": headed(b"X(Y): a\r\n"),
    "a byte past ASCII in a name": headed(b"X\xff: a\r\n"),
    "a slash in a name": headed(b"X/Y: a\r\n"),
    "quotes around a name": headed(b'"X": a\r\n'),
    "a tab before the target": GET.replace(b" ", b"\t", 1) + HOST + b"\r\n",
    "a tab before the version": GET.replace(b" HTTP", b"\tHTTP") + HOST + b"\r\n",
    "a space before the method": b" " + GET + HOST + b"\r\n",
    "a space behind the version": GET.replace(b"1.1", b"1.1 ") + HOST + b"\r\n",
    "more behind the version": GET.replace(b"1.1", b"1.1 x") + HOST + b"\r\n",
    "a space in the target": GET.replace(b"/live", b" /live") + HOST + b"\r\n",
    "a NUL in the target": GET.replace(b"live", b"\0live") + HOST + b"\r\n",
    "a NUL in the method": GET.replace(b"GET", b"G\0T") + HOST + b"\r\n",
    "a control character in the target": GET.replace(b"live", b"\x01live") + HOST + b"\r\n",
    "a byte past ASCII in the target": GET.replace(b"live", b"\xfflive") + HOST + b"\r\n",
    "a target that is none": GET.replace(b"/health/live", b"health") + HOST + b"\r\n",
    "a target of a query": GET.replace(b"/health/live", b"?x") + HOST + b"\r\n",
    "a target of a fragment": GET.replace(b"/health/live", b"#x") + HOST + b"\r\n",
    "a target with a fragment": GET.replace(b"live", b"live#x") + HOST + b"\r\n",
    "a target of a backslash": GET.replace(b"/health/live", b"\\health") + HOST + b"\r\n",
    "a method in lower case": GET.lower().replace(b"http", b"HTTP") + HOST + b"\r\n",
    "a method that nobody knows": GET.replace(b"GET", b"BREW") + HOST + b"\r\n",
    "a method with a dot": GET.replace(b"GET", b"G.T") + HOST + b"\r\n",
    "a method of 1 MB": b"G" * 1_000_000,
    "no method": GET.replace(b"GET ", b"") + HOST + b"\r\n",
    "no target": GET.replace(b"/health/live ", b"") + HOST + b"\r\n",
    "no version": GET.replace(b" HTTP/1.1", b"") + HOST + b"\r\n",
    **{
        f"version {version}": GET.replace(b"HTTP/1.1", version.encode()) + HOST + b"\r\n"
        for version in (
            "HTTP/0.9", "HTTP/1.2", "HTTP/1.9", "HTTP/1.10", "HTTP/1.01", "HTTP/01.1", "HTTP/11.1", "HTTP/1", "HTTP/1.",
            "HTTP/.1", "HTTP/2", "HTTP/2.0", "HTTP/3.0", "HTTP/+1.1", "HTTP/1,1", "HTTP /1.1", "http/1.1", "HTTPS/1.1",
            "ICE/1.0", "XTTP/1.1",
        )
    },
}  # fmt: skip
HOSTS = {
    label: GET + lines + b"\r\n"
    for label, lines in {
        "two": b"Host: x\r\nHost: y\r\n",
        "two, one empty": b"Host: x\r\nHost:\r\n",
        "two in two spellings": b"Host: x\r\nhOST: x\r\n",
        "two around others": b"Host: x\r\nX: y\r\nHost: x\r\n",
        "folded": b"Host: x\r\n y\r\n",
        "a space before the colon": b"Host : x\r\n",
        "two words": b"Host: x y\r\n",
        "a path": b"Host: x/y\r\n",
        "a query": b"Host: x?y\r\n",
        "a fragment": b"Host: x#y\r\n",
        "a scheme": b"Host: http://x\r\n",
        "a backslash": b"Host: x\\y\r\n",
        "a NUL": b"Host: x\0y\r\n",
        "a byte past ASCII": b"Host: x\xff\r\n",
        "a bracket": b"Host: <x>\r\n",
        "quotes": b'Host: "x"\r\n',
    }.items()
}
TARGETS = {
    label: b"GET " + target + b" HTTP/1.1\r\n" + HOST + b"\r\n"
    for label, target in {
        "another host": b"http://y/health/live",
        "another port": b"http://x:81/health/live",
        "a user": b"http://y@x/health/live",
        "no host": b"http:///health/live",
        "no path": b"http://y",
        "another scheme": b"ftp://y/health/live",
        "https": b"https://y/health/live",
        "a host and a port": b"y:80",
        "a scheme alone": b"http:",
        "a file": b"file:///etc/passwd",
    }.items()
}
OTHERS = {
    "a TLS hello": b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(range(32)) + b"\x00\x00\x1c",
    "a TLS hello of SSL 2": b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    "HTTP/0.9": b"GET /health/live\r\n",
    "HTTP/0.9 with a line feed": b"GET /health/live\n",
    "an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.6\r\n",
    "SMTP": b"EHLO x\r\n",
    "a PROXY line": b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + headed(),
    "a PROXY line of version 2": b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(12) + headed(),
    "zeros": bytes(1000),
    "a WebSocket frame": b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
    "CONNECT": b"CONNECT x:80 HTTP/1.1\r\n" + HOST + b"\r\n",
    "CONNECT with a length": b"CONNECT x:80 HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
}
KINDS = {
    "framing": FRAMING, "coding": CODINGS, "length": LENGTHS, "chunk": CHUNKS, "line": LINES, "host": HOSTS,
    "target": TARGETS, "no HTTP": OTHERS,
}  # fmt: skip
AMBIGUOUS = {f"{kind}: {label}": message for kind, those in KINDS.items() for label, message in those.items()}

# What may look odd, and has one reading all the same: (message, its status)
PLAIN = {
    "absolute": (b"GET http://x/health/live HTTP/1.1\r\n" + HOST + b"\r\n", 200),
    "absolute, in capitals": (b"GET HTTP://X/health/live HTTP/1.1\r\n" + HOST + b"\r\n", 200),
    "absolute, with a port": (b"GET http://x:8000/health/live HTTP/1.1\r\nHost: x:8000\r\n\r\n", 200),
    "an asterisk": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "two spaces": (GET.replace(b" ", b"  ") + HOST + b"\r\n", 200),
    "an empty line before it": (b"\r\n" + headed(), 200),
    "an empty header": (headed(b"X:\r\n"), 200),
    "white space around a value": (headed(b"X: \t y \t\r\n"), 200),
    "bytes past ASCII in a value": (headed(b"X: \xff\xfe\r\n"), 200),
    "a name of every character that is allowed": (headed(b"!#$%&'*+-.^_`|~09azAZ: y\r\n"), 200),
    "a length with zeros before it": (sized(b"Content-Length: 0033\r\n"), 201),
    "a length in capitals": (sized(b"CONTENT-LENGTH: 33\r\n"), 201),
    "chunked in capitals": (in_chunks(chunked(BODY), b"TRANSFER-ENCODING: CHUNKED\r\n"), 201),
    "chunked behind a tab": (in_chunks(chunked(BODY), b"Transfer-Encoding:\tchunked \r\n"), 201),
    "two chunks": (in_chunks(b"10\r\n" + BODY[:16] + b"\r\n11\r\n" + BODY[16:] + b"\r\n0\r\n\r\n"), 201),
    "zeros before a size": (in_chunks(b"0000021\r\n" + BODY + b"\r\n000\r\n\r\n"), 201),
    "an extension": (in_chunks(b'21;a=b;c="d"\r\n' + BODY + b"\r\n0;e\r\n\r\n"), 201),
    "a trailer": (in_chunks(b"21\r\n" + BODY + b"\r\n0\r\nX: y\r\n\r\n"), 201),
    "a body where none is wanted": (headed(b"Content-Length: 5\r\n") + b"hello", 200),
}
# The parser tells no other protocol's name from HTTP's; as one of 1.0, such a message is the last on its connection.
OTHER_PROTOCOLS = {
    "RTSP": b"GET /health/live RTSP/1.0\r\n" + HOST + b"Connection: keep-alive\r\n\r\n",
    "a method of RTSP": b"DESCRIBE /health/live RTSP/1.0\r\n" + HOST + b"Connection: keep-alive\r\n\r\n",
    "Icecast": b"SOURCE /health/live ICE/1.0\r\n" + HOST + b"Connection: keep-alive\r\n\r\n",
}
