"""What a task has of which nothing was said: in answers, and in its history."""

from typing import Any

PLAIN: dict[str, Any] = {
    "completed_at": None,
    "list_id": None,
    "start_date": None,
    "due_date": None,
    "due_time": None,
    "time_zone": None,
    "due_at": None,
    "priority": 0,
    "labels": [],
    "estimate_minutes": None,
    "extra": {},
}
# Of the change that created it.
PLAIN_CHANGES: dict[str, Any] = {
    "priority": {"from": None, "to": 0},
    "labels": {"from": None, "to": []},
    "extra": {"from": None, "to": {}},
}
# Those that a client can set.
CONTENT = ("title", "description", "completed", *(name for name in PLAIN if name != "due_at"))
