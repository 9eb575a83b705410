"""Columns of a task as staff fill them in, held to the rules of the API."""

from collections.abc import Mapping
from datetime import date, time
from types import SimpleNamespace
from typing import Any

import msgspec
from msgspec import UNSET

from app.tasks.extra import checked_extra, compact
from app.tasks.label_names import checked_labels
from app.tasks.structs import TaskPatch, check_fits
from app.web.envelopes import encode
from app.web.failures import Invalid
from app.web.integers import decoder


def checked_columns(columns: Mapping[str, Any], row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is to be stored of a task that has this row, or of a new one. Raises Invalid."""
    sent = {name: _sent(value) for name, value in columns.items() if name not in ("title", "labels", "extra")}
    if columns.get("title") is not None:
        sent["title"] = columns["title"]
    if "completed_at" in sent and "completed" not in sent:
        sent["completed"] = row["completed"]
    body: Any = TaskPatch(**sent)
    task: Any = SimpleNamespace(**{name: _sent(value) for name, value in row.items()}) if row else None
    check_fits(body, task)
    stored = {
        name: columns[name] if isinstance(columns.get(name), date | time) else value
        for name, value in msgspec.structs.asdict(body).items()
        if value is not UNSET and (name in columns or value is None)
    }
    if "labels" in columns:
        stored["labels"] = _labels(columns["labels"])
    return stored | ({"extra": _whole(columns["extra"])} if "extra" in columns else {})


def _sent(value: Any) -> Any:
    """Return a day or a time as a body has it; a moment stays what it is."""
    if isinstance(value, time):
        return value.isoformat("minutes" if value == value.replace(second=0, microsecond=0) else "auto")
    return value.isoformat() if type(value) is date else value


def _labels(names: Any) -> str:
    """Return the labels of a task as `tasks_label` reads them. Raises Invalid."""
    try:
        given = msgspec.json.decode(names, type=list[str] | None) if isinstance(names, str) else names
        sent = msgspec.convert(given, list[str] | None)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise Invalid("labels", "Labels must be a JSON array of names") from error
    return encode(checked_labels(sent)).decode()


def _whole(extra: Any) -> str:
    """Return an object as it is stored. Raises Invalid."""
    try:
        given = decoder(dict[str, Any] | None)(extra.encode()) if isinstance(extra, str) else extra
    except msgspec.DecodeError as error:
        raise Invalid("extra", "Extra must be a JSON object") from error
    checked = checked_extra(given)
    return bytes(compact(checked) if isinstance(checked, dict) else checked).decode()
