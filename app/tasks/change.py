"""What belongs to one change of tasks, as one value: whose it is, which versions it is for, and its key."""

import re
from typing import Any, NamedTuple, TypeAlias

from litestar import Request
from litestar.di import NamedDependency

from app.auth.jwt import User as Owner
from app.auth.middleware import current_user
from app.tasks.etags import IF_NONE_MATCH
from app.tasks.failures import PreconditionRequired
from app.web.headers import joined, singles
from app.web.idempotency_key import IDEMPOTENCY_KEY, Key, idempotency_key
from app.web.query import Documented

# In one pass: a head has room for some thousands, which are not to keep everybody else waiting. What a label's tag has
# behind the version does not count.
VERSION_TAGS = re.compile(rb'(?<![^,\t ])(?:W/)?"v(0|[1-9][0-9]{0,15})(?:-[0-9]+)?"')

IF_MATCH = IF_NONE_MATCH | {
    "name": "If-Match",
    "description": "The entity tag of the version that this change is for; of any other it is 412 (RFC 9110, section "
    "13.1.1).",
}
UNLESS_MATCH = IF_NONE_MATCH | {
    "description": "The entity tags of versions that the task must not have; of one of them, and of `*`, it is 412 "
    "(RFC 9110, section 13.1.2).",
}


class Condition(NamedTuple):
    """The versions that a task must have to be changed, or where they are not `wanted`, must not have."""

    versions: list[int] | None = None  # None: any
    wanted: bool = True

    def without(self, versions: list[int]) -> "Condition":
        """Return the condition that the task has none of these versions either."""
        if self.versions is None:
            return Condition(versions, wanted=False)
        refused = set(versions)  # thousands may be sent of each
        return Condition([each for each in self.versions if each not in refused])

    def allows(self, version: int) -> bool:
        """Tell whether a task that has this version may be changed."""
        return self.versions is None or (version in self.versions) == self.wanted

    def as_array(self) -> str | None:
        """Return the versions as PostgreSQL writes an array."""
        return None if self.versions is None else f"{{{','.join(map(str, self.versions))}}}"


UNCONDITIONAL = Condition()


class Change(NamedTuple):
    """A change that an owner asks for: of a task in whatever version, and each time anew, unless it says otherwise."""

    owner: Owner
    condition: Condition = UNCONDITIONAL
    key: Key | None = None


RequestedChange: TypeAlias = NamedDependency[Change]


def requested_change(request: Request[Any, Any, Any]) -> Change:
    """Return the change of a task that a request asks for. Raises PreconditionRequired, Invalid."""
    return Change(current_user(request), _condition(request), idempotency_key(request))


def unconditional_change(request: Request[Any, Any, Any]) -> Change:
    """Return the change that a request asks for, which is for no version of a task. Raises Invalid."""
    return Change(current_user(request), key=idempotency_key(request))


# The dependencies of handlers that take a `change`.
OF_A_VERSION = {"change": Documented(requested_change, IDEMPOTENCY_KEY, IF_MATCH, UNLESS_MATCH)}
OF_ANY_VERSION = {"change": Documented(unconditional_change, IDEMPOTENCY_KEY)}


def creates(scope: Any) -> bool:
    """Tell whether a request is for a task that there is not yet: `If-None-Match: *` (RFC 9110, section 13.1.2)."""
    return (singles(scope).get(b"if-none-match") or b"").strip() == b"*"


def _condition(request: Request[Any, Any, Any]) -> Condition:
    """Return the condition of a change. Raises PreconditionRequired where there is none, and has to be one."""
    sent = singles(request.scope)
    condition = UNCONDITIONAL
    if b"if-match" in sent:
        value = joined(request.scope, b"if-match").strip()
        if value != b"*":
            condition = Condition(_versions(value))
    elif request.app.state["settings"].require_if_match and not creates(request.scope):
        raise PreconditionRequired
    if b"if-none-match" in sent:
        value = joined(request.scope, b"if-none-match").strip()
        return Condition([]) if value == b"*" else condition.without(_versions(value))
    return condition


def _versions(value: bytes) -> list[int]:
    """Return the versions among the tags in a header. A tag that is none of ours fits no task."""
    return [int(version) for version in VERSION_TAGS.findall(value)]
