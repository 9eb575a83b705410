"""How a batch is made and answered: by its query, the header Prefer (RFC 7240), and the settings."""

import re
from typing import Annotated, Any, NamedTuple, TypeAlias

import msgspec
from litestar import Request
from litestar.di import NamedDependency

from app.web.headers import RawHeaders, joined
from app.web.query import SWITCH_RULE, Documented, Parameter, choice, read_query, switch

# RFC 7240, sections 2 and 4.2. Preferences that the service does not know are ignored.
PREFERENCE = re.compile(rb'(?:^|,)[ \t]*return[ \t]*=[ \t]*"?(minimal|representation)"?[ \t]*(?=$|[,;])', re.IGNORECASE)
PREFER = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`return=minimal` or `return=representation`, where the parameter `return` says nothing (RFC 7240). "
    "Other preferences are ignored.",
    "schema": {"type": "string", "examples": ["return=minimal"]},
}


class BatchQuery(msgspec.Struct, frozen=True):
    """What the query of a batch says."""

    dry_run: Annotated[
        bool,
        Parameter(
            switch,
            SWITCH_RULE,
            "Whether to do all of it and then take it back: the answer tells what would come of it.",
            {"type": "boolean", "default": False},
        ),
    ] = False
    returned: Annotated[
        str | None,
        choice(
            "minimal",
            "representation",
            description="With `minimal`, `data` has the ids and versions of tasks alone. The header "
            "`Prefer: return=minimal` (RFC 7240) asks for the same.",
            default="representation",
        ),
    ] = msgspec.field(default=None, name="return")


class BatchOptions(NamedTuple):
    """How a batch is made and answered."""

    is_dry_run: bool = False  # it is rolled back
    is_minimal: bool = False  # it is answered with ids and versions alone
    headers: RawHeaders = []  # noqa: RUF012 # that say so, and that nobody changes
    needs_versions: bool = False  # of each operation that changes a task
    keeps_trash: bool = True
    max_tasks: int = 0  # that an owner may store; 0: any number
    max_lists: int = 0  # also


RequestedOptions: TypeAlias = NamedDependency[BatchOptions]


def batch_options(request: Request[Any, Any, Any]) -> BatchOptions:
    """Return how the batch of a request is made and answered. Raises Invalid for a parameter that is not known."""
    asked = read_query(request, BatchQuery)
    preferred = None if asked.returned else PREFERENCE.search(joined(request.scope, b"prefer"))
    returned = preferred[1].lower() if preferred else (asked.returned or "").encode()
    applied = [(b"preference-applied", b"return=%b" % returned)] if preferred else []
    chosen = request.app.state["settings"]
    rules = chosen.require_if_match, chosen.trash_days > 0, chosen.max_tasks, chosen.max_lists
    return BatchOptions(asked.dry_run, returned == b"minimal", applied, *rules)


BATCH_OPTIONS = Documented(batch_options, PREFER, query=BatchQuery)
