"""The keys by which limits count network addresses, where no user is known."""

import ipaddress
from functools import lru_cache


@lru_cache(1024)
def address_key(address: str | None) -> str:
    """Return the name that an address is counted by; of IPv6 a network is one (RFC 6177, section 2)."""
    try:
        found = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "ip:unknown"
    if isinstance(found, ipaddress.IPv6Address):
        found = found.ipv4_mapped or ipaddress.ip_network((found, 64), strict=False)
    return f"ip:{found}"
