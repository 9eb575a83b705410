"""The fields of a task that a client can set: each is declared here once.

The structs of bodies and answers, the SQL of changes and of the history, and the OpenAPI document follow from it.
"""

from datetime import datetime
from typing import Annotated, Any

from msgspec import NODEFAULT, Meta, Raw

from app.tasks import checks, zones
from app.tasks.checks import MAX_ESTIMATE, MAX_PRIORITY, MAX_TITLE
from app.tasks.extra import MAX_DEPTH, MAX_EXTRA_BYTES, checked_extra
from app.tasks.field import Field
from app.tasks.label_names import SENT_LABELS, SHOWN_LABELS, checked_labels
from app.tasks.uids import SentReference, ShownReference
from app.web import text as web_text

MAX_DESCRIPTION = 32_768  # characters of a new one; there are longer ones from before


def _day(name: str, description: str, example: str) -> Field:
    return Field(
        name,
        sql="date",
        shown=Annotated[str | None, Meta(examples=[example], extra_json_schema={"format": "date"})],
        sent=Annotated[
            str | None,
            Meta(
                description=f"{description} From 1900-01-01 to 2200-12-31.",
                examples=[example],
                extra_json_schema={"format": "date", "pattern": DAY_PATTERN},
            ),
        ],
        check=checks.checked_day(name),
    )


DAY_PATTERN = "^(19[0-9]{2}|2[01][0-9]{2}|2200)-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$"
TIME_PATTERN = "^([01][0-9]|2[0-3]):[0-5][0-9]$"
FIELDS = (
    Field(
        "title",
        sql="text",
        shown=Annotated[str, Meta(min_length=1, max_length=MAX_TITLE, examples=["Buy milk"])],
        sent=Annotated[
            str,
            Meta(
                description="White space around it is trimmed; what is left has 1 to 500 characters, none of them "
                "U+0000, and not only characters that are shown as nothing.",
                examples=["Buy milk"],
                extra_json_schema={"minLength": 1, "pattern": web_text.visible_pattern(MAX_TITLE)},
            ),
        ],
        absent=NODEFAULT,
        is_nullable=False,
        check=checks.checked_title,
        kept='"title" IS NOT NULL',
        is_common=True,
    ),
    Field(
        "description",
        sql="text",
        shown=Annotated[str | None, Meta(examples=["Two litres, the blue one"])],
        sent=Annotated[
            str | None,
            Meta(
                description="Any text without U+0000, of 32,768 characters at most. A longer one from before may be "
                "sent back.",
                examples=["Two litres, the blue one"],
                extra_json_schema={"pattern": r"^[^\x00]*$", "maxLength": MAX_DESCRIPTION},
            ),
        ],
        absent=None,
        check=checks.checked_description,
        kept='"keeps_description"',
        is_common=True,
    ),
    Field(
        "completed",
        sql="boolean",
        shown=Annotated[bool, Meta(examples=[False])],
        sent=bool,
        initial="false",
        is_nullable=False,
        is_common=True,
    ),
    Field(
        "completed_at",
        sql="timestamptz",
        shown=Annotated[
            str | None,
            Meta(
                description="When it was completed; null where it is not, or was before the service noted it.",
                examples=["2026-11-21T09:30:00.125Z"],
                extra_json_schema={"format": "date-time"},
            ),
        ],
        sent=Annotated[
            Annotated[datetime, Meta(tz=True)] | None,
            Meta(
                description="A time from 1900 on that is not in the future, beside a `completed` that is true; beside "
                "one that is false it is ignored. Without it, the service sets it where `completed` becomes true, and "
                "null where it becomes false."
            ),
        ],
        initial="CASE WHEN {completed} THEN {at} END",
        is_nullable=False,
        check=checks.checked_completed_at,
    ),
    Field(
        "list_id",
        sql="bigint",
        shown=Annotated[ShownReference, Meta(description="The list that it is in; null is the inbox.", examples=[7])],
        sent=Annotated[SentReference, Meta(description="A list's `id` or `uid`; null is the inbox.", examples=[7])],
        check=checks.checked_list_id,
    ),
    _day("start_date", "A day before which the task need not be shown.", "2026-12-01"),
    _day("due_date", "The day, wherever its reader is. Null clears `due_time` and `time_zone` too.", "2026-12-04"),
    Field(
        "due_time",
        sql="time",
        shown=Annotated[str | None, Meta(examples=["17:30"], extra_json_schema={"pattern": TIME_PATTERN})],
        sent=Annotated[
            str | None,
            Meta(
                description="The time of day, on a `due_date`, which it needs. Null clears `time_zone` too.",
                examples=["17:30"],
                extra_json_schema={"pattern": TIME_PATTERN},
            ),
        ],
        check=checks.checked_due_time,
    ),
    Field(
        "time_zone",
        sql="text",
        shown=Annotated[
            str | None,
            Meta(
                description="Where it is that time; null is wherever the reader is.",
                examples=["Europe/Berlin"],
            ),
        ],
        sent=Annotated[
            str | None,
            Meta(
                description="A name of the IANA time zone database, of which the service has version "
                f"{zones.TZ_VERSION}. It needs a `due_time`; null is wherever the reader is.",
                examples=["Europe/Berlin"],
                extra_json_schema={"format": "time-zone"},
            ),
        ],
        check=checks.checked_time_zone,
    ),
    Field(
        "priority",
        sql="smallint",
        shown=Annotated[int, Meta(description="0 is none, 4 the highest.", ge=0, le=MAX_PRIORITY, examples=[3])],
        sent=Annotated[
            Annotated[int, Meta(extra_json_schema={"minimum": 0, "maximum": MAX_PRIORITY})] | None,
            Meta(description="0 is none, 4 the highest; null means 0.", examples=[3]),
        ],
        initial="0",
        is_nullable=False,
        check=checks.checked_number("priority", 0, MAX_PRIORITY, 0),
    ),
    Field(
        "labels",
        sql="jsonb",
        shown=SHOWN_LABELS,
        sent=SENT_LABELS,
        initial="'[]'",
        is_nullable=False,
        check=checked_labels,
        kept='"labels" IS NOT NULL',
    ),
    Field(
        "estimate_minutes",
        sql="smallint",
        shown=Annotated[int | None, Meta(description="How long it takes.", examples=[30])],
        sent=Annotated[
            Annotated[int, Meta(extra_json_schema={"minimum": 1, "maximum": MAX_ESTIMATE})] | None,
            Meta(description="How long it takes.", examples=[30]),
        ],
        check=checks.checked_number("estimate_minutes", 1, MAX_ESTIMATE, None),
    ),
    Field(
        "extra",
        sql="json",
        shown=Annotated[
            Raw, Meta(description="An object of the client's own.", examples=[{}], extra_json_schema={"type": "object"})
        ],
        sent=Annotated[
            dict[str, Any] | None,
            Meta(
                description=f"An object of the client's own: {MAX_EXTRA_BYTES} bytes as compact JSON in UTF-8, and "
                f"{MAX_DEPTH} levels of objects and arrays, at most; no U+0000. A patch is merged into it (RFC 7396). "
                "Null means `{}`.",
                examples=[{"color": "blue"}],
            ),
        ],
        initial="'{{}}'",
        is_nullable=False,
        check=checked_extra,
        kept='"extra" IS NOT NULL',
    ),
)
