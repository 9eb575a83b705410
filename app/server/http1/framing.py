"""Whether a message can be read in one way only. Others are refused before they are served.

Where two servers disagree on the host that a message is for, or on its end, a request can hide in another (RFC 9112,
sections 3.2, 6.1 and 11.2). The parser checks lengths, line ends and names; this module checks the rest.
"""

import re

from app.web.headers import Singles

HOST = re.compile(rb"[\w!$&'()*+,;=.~:\[\]@%-]*", re.ASCII)  # the characters of a host (RFC 3986, section 3.2.2)
ABSOLUTE = re.compile(rb"https?://([^/?]+)/", re.IGNORECASE)


def is_unambiguous(target: bytes, version: str, sent: Singles) -> bool:
    """Tell whether there is one Host, no other in the target, and no transfer coding but chunked.

    HTTP/1.0 needs no Host (RFC 9112, section 3.2): plain health checks send none.
    """
    host = sent.get(b"host", b"" if version == "1.0" else None)
    if host is None or not HOST.fullmatch(host) or not _is_at(host, target):
        return False
    if b"transfer-encoding" not in sent:
        return True
    coding = sent[b"transfer-encoding"] or b""
    return version == "1.1" and coding.strip().lower() == b"chunked"  # the parser leaves white space behind it


def _is_at(host: bytes, target: bytes) -> bool:
    """Tell whether a target is a path, an asterisk, or a URL at this host; a fragment is no part of any."""
    if b"#" in target:
        return False
    if target.startswith(b"/") or target == b"*":
        return True
    absolute = ABSOLUTE.match(target)
    return absolute is not None and absolute[1].lower() == host.lower()
