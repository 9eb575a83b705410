"""Can a message be read in one way only? What another server might read differently is refused before it is served.

Where two servers disagree on whom a message is for, or on where it ends, a request can hide in another (RFC 9112,
sections 3.2, 6.1 and 11.2). The parser knows about lengths, line ends and names; this is the rest.
"""

import re

from app.edge.headers import Singles

HOST = re.compile(rb"[\w!$&'()*+,;=.~:\[\]@%-]*", re.ASCII)  # what a host is made of (RFC 3986, section 3.2.2)
ABSOLUTE = re.compile(rb"https?://([^/?]+)/", re.IGNORECASE)


def can_be_read_in_one_way(target: bytes, version: str, sent: Singles) -> bool:
    """Tell whether there is one Host, no other in the target, and no coding of the body but chunks.

    HTTP/1.0 needs no Host (RFC 9112, section 3.2): plain health checks send none.
    """
    host = sent.get(b"host", b"" if version == "1.0" else None)
    if host is None or not HOST.fullmatch(host) or not _is_for(target, host):
        return False
    if b"transfer-encoding" not in sent:
        return True
    coding = sent[b"transfer-encoding"] or b""
    return version == "1.1" and coding.strip().lower() == b"chunked"  # the parser leaves white space behind it


def _is_for(target: bytes, host: bytes) -> bool:
    """Tell whether a target is a path, an asterisk, or an address at this host; a fragment is no part of any."""
    if b"#" in target:
        return False
    if target.startswith(b"/") or target == b"*":
        return True
    absolute = ABSOLUTE.match(target)
    return absolute is not None and absolute[1].lower() == host.lower()
