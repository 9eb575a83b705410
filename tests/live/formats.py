"""What Schemathesis is told about formats that say less than they mean. SCHEMATHESIS_HOOKS names this module."""

import json
import re
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import schemathesis
from hypothesis import strategies

GOOD_KEY = re.compile(r"[!-~]{1,255}")
AHEAD = strategies.datetimes(datetime(2030, 1, 1), datetime(9000, 1, 1), timezones=strategies.just(UTC))

NAMES = strategies.from_regex(r"[a-z0-9]{1,20}", fullmatch=True)
EMAILS = strategies.builds("{}@{}.example.com".format, NAMES, NAMES)

# A schema cannot say that a time has to be in the future, nor that a domain has two labels at least.
schemathesis.openapi.format("date-time", AHEAD.map(lambda time: time.isoformat()))
schemathesis.openapi.format("email", EMAILS)
schemathesis.openapi.format("time-zone", strategies.sampled_from(["Europe/Berlin", "UTC", "America/St_Johns"]))


@schemathesis.hook
def before_call(_context: Any, case: Any, _kwargs: Any) -> None:
    """Nor that a key is for one request, which cursors were given out, nor that one thing hangs on another."""
    # Before anything is changed: later this would be about what the case has become.
    is_good = case.meta is not None and case.meta.generation.mode.is_positive
    key = (case.headers or {}).get("Idempotency-Key")
    if isinstance(key, str) and GOOD_KEY.fullmatch(key):
        case.headers["Idempotency-Key"] = f"{key[:200]}{uuid4().hex}"
    if case.query and is_good:
        case.query.pop("cursor", None)
        if case.query.get("sort") == "relevance":
            case.query.setdefault("q", "milk")
        if isinstance(words := case.query.get("q"), str):
            case.query["q"] = words.strip()[:48]  # which have room for 24 words
    if is_good and isinstance(case.body, dict):
        for content in (case.body, *(each.get("data") for each in case.body.get("operations", []))):
            if isinstance(content, dict):
                _plan(content)
    if is_good and isinstance(case.body, dict) and str(case.body.get("expires_at", "9")) < "2030":
        case.body["expires_at"] = "2030-01-01T00:00:00Z"  # a time that was in an answer is over
    if is_good and isinstance(case.body, dict) and "operations" in case.body:
        # A task may be in one operation of a batch only; those that create one have no id yet.
        numbered = enumerate(case.body["operations"])
        case.body["operations"] = [*{each.get("id", -place): each for place, each in numbered}.values()]
    case._sync_validated_hashes()  # what the case is a case of stays as it was


def _plan(content: dict[str, Any]) -> None:
    """Nor what a task needs to have a time or a zone, which days a month has, and how large an object is."""
    for name in ("start_date", "due_date"):
        if isinstance(content.get(name), str):
            content[name] = f"{content[name][:8]}{min(content[name][8:], '28')}"
    if isinstance(content.get("time_zone"), str) and not isinstance(content.get("due_time"), str):
        content["due_time"] = "17:30"
    if isinstance(content.get("due_time"), str) and not isinstance(content.get("due_date"), str):
        content["due_date"] = "2026-12-04"
    if isinstance(content.get("completed_at"), str):
        content |= {"completed": True, "completed_at": "2026-11-21T09:30:00.125Z"}
    if isinstance(extra := content.get("extra"), dict):
        text = json.dumps(extra, ensure_ascii=False)
        if len(text.encode(errors="replace")) > 4000 or "u0000" in text or text.count("{") + text.count("[") > 5:
            content["extra"] = {"color": "blue"}
