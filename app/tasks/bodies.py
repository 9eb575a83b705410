"""Bodies as SQL reads them: a JSON object each, so that a statement has few parameters, however many fields there are.

`NEW_VALUES` and `FITS` refer to such an object by the columns that `GIVEN` lists; `initial_values` by those of `FRESH`.
"""

from typing import Any, cast

import msgspec
from msgspec import UNSET

from app.tasks.extra import patched
from app.tasks.fields import FIELDS
from app.tasks.structs import TaskBody, TaskCompletion, is_too_long
from app.web.failures import Invalid

CLEARABLE = {field.name: field.is_set for field in FIELDS if field.is_nullable}
GIVEN = ", ".join(
    [
        *(f'"to_{field.name}" {field.sql}' for field in FIELDS),
        *(f'"{is_set}" boolean' for is_set in CLEARABLE.values()),
        '"described_as" text, "extra_was" text',
    ]
)
NEW_VALUES = {field.name: field.assigned(f'"to_{field.name}"', f'"{field.is_set}"') for field in FIELDS}
# What hangs on the task as it is in this very moment; `structs.check_fits` tells afterwards what it was.
FITS = """
    coalesce("tasks"."description" = "described_as", "described_as" IS NULL)
    AND coalesce("tasks"."extra"::text = "extra_was", "extra_was" IS NULL)
    AND ("to_due_time" IS NULL OR coalesce("to_due_date", "tasks"."due_date") IS NOT NULL)
    AND ("to_time_zone" IS NULL OR coalesce("to_due_time", "tasks"."due_time") IS NOT NULL)
"""
FRESH = ", ".join(['"uid" uuid', *(f'"{field.name}" {field.sql}' for field in FIELDS)])
NEVER = ""  # an `extra_was` that no task has


def initial_values(at: str) -> str:
    """Return the SQL of a new task's columns, from the columns of `FRESH`."""
    return ", ".join(['"new"."uid"', *(field.created('"new"."{}"', at) for field in FIELDS)])


def given(content: TaskBody | TaskCompletion) -> dict[str, Any]:
    """Return the fields that a body has."""
    return {name: value for name, value in msgspec.structs.asdict(content).items() if value is not UNSET}


def changes_of(content: TaskBody | TaskCompletion, extra: str | None = None) -> dict[str, object]:
    """Return what SQL reads of a body: a field that is absent stays as it is.

    A patch of `extra` is merged into the text that the task has; where that is another by then, the body does not fit.
    """
    fields = given(content)
    row: dict[str, object] = {}
    if is_too_long(fields.get("description")):  # no new one is as long: it has to be there already
        row["described_as"] = fields.pop("description")
    if isinstance(patch := fields.get("extra"), dict):
        try:
            fields["extra"], row["extra_was"] = (
                patched((extra or "{}").encode(), cast("dict[str, Any]", patch)),
                extra or NEVER,
            )
        except Invalid:
            fields["extra"], row["extra_was"] = None, NEVER
    row |= {f"to_{name}": value for name, value in fields.items() if value is not None}
    return row | {CLEARABLE[name]: True for name in fields if name in CLEARABLE}


def merges(operation: TaskBody) -> bool:
    """Tell whether a body has a patch of `extra`."""
    return isinstance(operation.extra, dict)  # pyright: ignore
