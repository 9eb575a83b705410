"""What Schemathesis is told about formats that say less than they mean. SCHEMATHESIS_HOOKS names this module."""

from datetime import UTC, datetime

import schemathesis
from hypothesis import strategies

AHEAD = strategies.datetimes(datetime(2030, 1, 1), datetime(9000, 1, 1), timezones=strategies.just(UTC))

# A schema cannot say that a time has to be in the future.
schemathesis.openapi.format("date-time", AHEAD.map(lambda time: time.isoformat()))
