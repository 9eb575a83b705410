"""Whose requests and failures are counted as one where no user is known."""

import pytest

from app.web.addresses import address_key


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("203.0.113.9", "ip:203.0.113.9"),
        ("::ffff:203.0.113.9", "ip:203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "ip:2001:db8:1:2::/64"),
        ("2001:DB8:1:2::", "ip:2001:db8:1:2::/64"),
        ("fe80::1%eth0", "ip:fe80::/64"),
        ("::1", "ip:::/64"),
        ("", "ip:unknown"),
        (None, "ip:unknown"),
        ("testclient", "ip:unknown"),
        ("ada@example.com", "ip:unknown"),
    ],
)
def test_a_network_of_ipv6_is_one_address(address: str | None, key: str) -> None:
    assert address_key(address) == key
