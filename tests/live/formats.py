"""What Schemathesis is told about formats that say less than they mean. SCHEMATHESIS_HOOKS names this module."""

from datetime import UTC, datetime

import schemathesis
from hypothesis import strategies

AHEAD = strategies.datetimes(datetime(2030, 1, 1), datetime(9000, 1, 1), timezones=strategies.just(UTC))

NAMES = strategies.from_regex(r"[a-z0-9]{1,20}", fullmatch=True)
EMAILS = strategies.builds("{}@{}.example.com".format, NAMES, NAMES)

# A schema cannot say that a time has to be in the future, nor that a domain has two labels at least.
schemathesis.openapi.format("date-time", AHEAD.map(lambda time: time.isoformat()))
schemathesis.openapi.format("email", EMAILS)
