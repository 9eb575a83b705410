"""The JSON of tasks: bodies of requests, checked, and answers. The fields that a client can set are in `fields`."""

import re
from typing import Annotated, Any, ClassVar, cast, get_type_hints

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import force_setattr

from app.tasks import extra, zones
from app.tasks.checks import NEEDS, check_together, needs
from app.tasks.extra import NO_EXTRA
from app.tasks.fields import FIELDS, MAX_DESCRIPTION
from app.tasks.uids import UidKind, uid_sql
from app.web.envelopes import Data, NextPage, Stamp
from app.web.failures import Invalid

MAX_ID = 2**63 - 1  # that PostgreSQL could look for; those that it gives out stay below 2**53
NOT_COMPLETED = "Completed is required in a body that is not empty"
NO_LABELS = msgspec.Raw("[]")
EMPTY_OBJECT = re.compile(rb"\s*\{\s*\}\s*")


class TaskIdentity(msgspec.Struct, frozen=True, gc=False):
    """Which task it is, and whose."""

    id: Annotated[int, Meta(description="Unique, and below 2^53.", ge=1, le=2**53 - 1, examples=[42])]
    uid: Annotated[
        str,
        Meta(
            description="The UUID that its client chose, or one that is derived from the id. The service takes it "
            "wherever it takes the id.",
            examples=["01936c1e-7c3a-7000-9b1d-0d9d6f1d2a11"],
            extra_json_schema={"format": "uuid"},
        ),
    ]
    user_id: Annotated[str, Meta(description="The owner, from the token.", examples=["ada"])]


SHOWN: Any = msgspec.defstruct(
    "Shown", [(field.name, field.shown) for field in FIELDS], bases=(TaskIdentity,), frozen=True, gc=False
)


# `queries` selects the columns that these fields name, in this order.
class Task(SHOWN):
    """One task."""

    computed: ClassVar = {"uid": uid_sql(UidKind.TASK, "tasks"), "due_at": "NULL::text"}  # of what no column has, SQL
    due_at: Annotated[
        str | None,
        Meta(
            description="When it is due, in UTC, where there is a `time_zone`. A time that the day does not have there "
            "counts by the offset before the gap; of one that it has twice, it is the first.",
            examples=["2026-12-04T16:30:00Z"],
            extra_json_schema={"format": "date-time"},
        ),
    ]
    created_at: Stamp
    updated_at: Stamp
    version: Annotated[
        int, Meta(description="Higher after every change; it is the task's entity tag too.", ge=0, le=2**53 - 1)
    ]

    def __post_init__(self) -> None:
        """Put what a row has no column for, and JSON as it is stored."""
        if self.time_zone is not None:
            force_setattr(self, "due_at", zones.due_at(self.due_date, self.due_time, self.time_zone))
        if isinstance(stored := self.extra, str):
            force_setattr(self, "extra", NO_EXTRA if stored == "{}" else msgspec.Raw(stored))
        if isinstance(names := self.labels, str):
            force_setattr(self, "labels", NO_LABELS if names == "[]" else msgspec.Raw(names))


EXAMPLE_TASK = Task(
    id=42,
    uid="01936c1e-7c3a-7000-9b1d-0d9d6f1d2a11",
    user_id="ada",
    due_at=None,
    created_at="2026-11-21T09:30:00.125Z",
    updated_at="2026-11-21T09:30:00.125Z",
    version=7,
    **{field.name: field.example for field in FIELDS} | {"completed": True, "labels": '["home"]', "extra": "{}"},
)


class TaskVersion(msgspec.Struct, frozen=True, gc=False):
    """Which task it is, and in which version, where no more of it was asked for."""

    id: Annotated[int, Meta(ge=1, le=2**53 - 1, examples=[42])]
    version: Annotated[int, Meta(ge=0, le=2**53 - 1, examples=[7])]


class TrashedTask(Task):
    """A task in the trash."""

    deleted_at: Stamp


class TaskData(Data[Task], frozen=True):
    """One task in its envelope."""


class Page(NextPage, frozen=True):
    """Where a list goes on."""

    total: Annotated[int, Meta(description="How many tasks all pages have, where `count` asks for it.", ge=0)] | (
        UnsetType
    ) = UNSET


class TrashData(Data[list[TrashedTask]], frozen=True):
    """What is in the caller's trash, in its envelope: what was deleted last comes first. With `limit`, a page of it."""

    page: Page | UnsetType = UNSET


class TaskListData(Data[list[Task]], frozen=True):
    """The caller's tasks in their envelope; and where more was asked than for all of them, the page."""

    page: Page | UnsetType = UNSET


TYPES = get_type_hints(Task, include_extras=True)
# For the document alone, as the next one.
TaskFields: Any = msgspec.defstruct(
    "TaskFields",
    [(name, TYPES[name] | UnsetType, UNSET) for name in Task.__struct_fields__],
    namespace={"__doc__": "Some fields of a task: those that `fields` names."},
    forbid_unknown_fields=True,
)


class TaskFieldsData(Data[list[TaskFields]], frozen=True):
    """Where `fields` are given, the caller's tasks with those fields alone, and the page."""

    page: Page


CHECKS = [(field.name, field.check) for field in FIELDS if field.check]
# Those that not every client sends.
UNCOMMON = [field.name for field in FIELDS if not field.is_common]


class TaskBody(msgspec.Struct, frozen=True):
    """The fields of a task in a body."""

    def __post_init__(self) -> None:
        """Put the values to be stored in place of those that were sent. Raises Invalid."""
        for name, check in CHECKS:
            if (value := getattr(self, name)) is not UNSET:
                force_setattr(self, name, check(value))
        if not self.is_common:
            check_together(self)

    @property
    def is_common(self) -> bool:
        """Tell whether it has no field but those that every client sends."""
        for name in UNCOMMON:  # noqa: SIM110 # which takes half of the time
            if getattr(self, name) is not UNSET:
                return False
        return True


SENT: Any = msgspec.defstruct(
    "Sent",
    [(field.name, field.sent | UnsetType if field.absent is UNSET else field.sent, field.absent) for field in FIELDS],
    bases=(TaskBody,),
    frozen=True,
)
PATCHED: Any = msgspec.defstruct(
    "Patched",
    [(field.name, field.sent | UnsetType, UNSET) for field in FIELDS],
    bases=(TaskBody,),
    frozen=True,
)


class TaskContent(SENT):
    """What a client may say about a task; an absent description is null, any other field that is absent stays as it is.

    Fields that are not known are ignored. The title's limits count after trimming, so its type cannot check them.
    """

    uid: (
        Annotated[
            str | None,
            Meta(
                description="Of a new task, a UUID that the client has chosen, which no other task of the caller's "
                "has, those in the trash included. Where there is none, or null, the service derives one from the id. "
                "It never changes: of a task that there is already, it is ignored.",
                examples=["01936c1e-7c3a-7000-9b1d-0d9d6f1d2a11"],
                extra_json_schema={"format": "uuid"},
            ),
        ]
        | UnsetType
    ) = UNSET

    def __post_init__(self) -> None:
        """Put the values to be stored in place of those that were sent. Raises Invalid."""
        TaskBody.__post_init__(self)
        sent: Any = self.extra
        if isinstance(sent, dict):
            force_setattr(self, "extra", extra.compact(cast("dict[str, Any]", sent)))


class TaskPatch(PATCHED):
    """What is to be different (RFC 7396): what is absent stays as it is, and null clears, or means the default."""


class TaskCompletion(msgspec.Struct, frozen=True):
    """What `completed` is set to, so that a repeated request does no harm. `{}` toggles it."""

    extra_schema: ClassVar = {"if": {"minProperties": 1}, "then": {"required": ["completed"]}}
    completed: bool | UnsetType = UNSET


def check_completion(completion: TaskCompletion | None, body: bytes) -> bool | None:
    """Return what `completed` is set to; None where it is toggled, for which the body is `{}` or empty.

    Raises Invalid for any other body: a client that misspells `completed` must not toggle what it wants to set.
    """
    if completion is not None and completion.completed is not UNSET:
        return completion.completed
    if body and not EMPTY_OBJECT.fullmatch(body):
        raise Invalid("completed", NOT_COMPLETED)
    return None


def is_too_long(description: str | UnsetType | None) -> bool:
    """Tell whether a description is longer than a new one may be; a task that has it already keeps it."""
    return isinstance(description, str) and len(description) > MAX_DESCRIPTION


def too_long() -> Invalid:
    """Return the failure for such a description."""
    return Invalid("description", f"Description must have {MAX_DESCRIPTION} characters at most")


def check_fits(content: Any, task: Task | None) -> None:
    """Check what hangs on the task that a body is for; None is a new one. Raises Invalid."""
    patch: Any = content.extra
    if task is not None and isinstance(patch, dict):
        extra.patched(bytes(task.extra), cast("dict[str, Any]", patch))
    if is_too_long(content.description) and (task is None or task.description != content.description):
        raise too_long()
    for field, needed in NEEDS.items():
        is_there = isinstance(getattr(content, needed), str) or (task is not None and getattr(task, needed) is not None)
        if isinstance(getattr(content, field), str) and not is_there:
            raise needs(field)
