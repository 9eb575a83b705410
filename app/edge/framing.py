"""Can a message be read in one way only? What another server might read differently is refused before it is served.

Where two servers disagree on whom a message is for, or on where it ends, a request can hide in another (RFC 9112,
sections 3.2, 6.1 and 11.2). The parser knows about lengths, line ends and names; this is the rest.
"""

import re

from app.edge.headers import RawHeaders

HOST = re.compile(rb"[\w!$&'()*+,;=.~:\[\]@%-]*", re.ASCII)  # what a host is made of (RFC 3986, section 3.2.2)
ABSOLUTE = re.compile(rb"https?://([^/?]+)/", re.IGNORECASE)


def can_be_read_in_one_way(target: bytes, version: str, headers: RawHeaders) -> bool:
    """Tell whether there is one Host, no other in the target, and no coding of the body but chunks."""
    hosts: list[bytes] = []
    codings: list[bytes] = []
    for name, value in headers:
        if name == b"host":
            hosts.append(value)
        elif name == b"transfer-encoding":
            codings.append(value.strip().lower())  # the parser leaves white space behind it
    if len(hosts) != 1 or not HOST.fullmatch(hosts[0]) or not _is_for(target, hosts[0]):
        return False
    return not codings or (version == "1.1" and codings == [b"chunked"])


def _is_for(target: bytes, host: bytes) -> bool:
    """Tell whether a target is a path, an asterisk, or an address at this host; a fragment is no part of any."""
    if b"#" in target:
        return False
    if target.startswith(b"/") or target == b"*":
        return True
    absolute = ABSOLUTE.match(target)
    return absolute is not None and absolute[1].lower() == host.lower()
