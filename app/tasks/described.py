"""What the OpenAPI document tells of the routes of tasks: their failures, path parameters, headers and links."""

from typing import Any

from litestar.openapi import ResponseSpec

from app.openapi.described import HEADER_OBJECTS, IDEMPOTENT_REPLAYED, LINK, Described, Object, links
from app.tasks.batch.operations import MAX_BATCH_BYTES
from app.tasks.failures import (
    Conflict,
    InOperation,
    LabelLimitReached,
    LimitReached,
    PreconditionFailed,
    PreconditionRequired,
    TaskNotFound,
)
from app.tasks.structs import NOT_COMPLETED, TaskData, TaskFieldsData
from app.web.failures import Invalid, KeyReused, PayloadTooLarge

TASK_ID: Object = {
    "task_id": {
        "description": "The task's `id` or `uid`.",
        "schema": {
            "anyOf": [
                {"type": "integer", "format": "int64", "minimum": 1, "maximum": 2**53 - 1},
                {"type": "string", "format": "uuid"},
            ]
        },
        "example": 42,
    }
}
ETAG: Object = {
    "Cache-Control": HEADER_OBJECTS["Cache-Control"],
    "ETag": {
        "description": "The task's version. `If-Match` with it changes this version alone; `If-None-Match` with it is "
        "answered with 304 while the task has it.",
        "schema": {"type": "string", "pattern": '^"[^"]*"$', "examples": ['"v7"']},
    },
}
LOCATION: Object = {
    "Location": {
        "description": "The path of the new task.",
        "schema": {"type": "string", "format": "uri-reference", "examples": ["/api/tasks/42"]},
    }
}
PREFERENCE_APPLIED: Object = {
    "Preference-Applied": {
        "description": "The preference of the header `Prefer` that the service applied (RFC 7240, section 3).",
        "schema": {"type": "string", "examples": ["return=minimal"]},
    }
}
OF_CHANGES: Object = IDEMPOTENT_REPLAYED | {
    "X-Revision": {
        "description": "The revision that this change made: the version of its task, list or label; of several tasks "
        "the highest.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 2**53 - 1, "examples": [7]},
    }
}

CREATED: dict[int, ResponseSpec] = {201: ResponseSpec(TaskData, generate_examples=False)}

# Failures of what is done to one task; 415 and those of the body come on top.
INVALID_ID = Invalid("id", "The id must be an integer in its plain spelling, or a UUID")
INVALID_TITLE = Invalid("title", "Title is required")
ON_ONE = (401, 403, TaskNotFound, PreconditionFailed, 413, INVALID_ID, KeyReused, PreconditionRequired, 429, 503)
WHEN_CREATED = (
    *(400, 401, 403, TaskNotFound, LimitReached, LabelLimitReached, Conflict, 413, 415, INVALID_TITLE, KeyReused),
    *(429, 503),
)
WHEN_COMPLETED = (400, 415, INVALID_ID, Invalid("completed", NOT_COMPLETED), *ON_ONE)
IN_BATCH = (
    *(400, 401, 403, PayloadTooLarge(MAX_BATCH_BYTES), 415, 429, 503),
    InOperation(7, LimitReached.example()),
    InOperation(7, LabelLimitReached.example()),
    InOperation(1, TaskNotFound()),
    InOperation(0, Conflict.example()),
    InOperation(0, PreconditionFailed.example()),
    InOperation(3, Invalid("operations[3].data.title", INVALID_TITLE.message)),
    KeyReused,
    InOperation(0, PreconditionRequired()),
)

OF_TASK = links(
    *("getTask", "replaceTask", "patchTask", "completeTask", "deleteTask", "getTaskHistory", "revertTask"),
    by="task_id",
    source="$response.body#/data/id",
)
FROM_TRASH = ("restoreTask", "purgeTask")
TO_REVERT: dict[str, Any] = links("revertTask", by="task_id", source="$request.path.task_id")
TO_REVERT["revertTask"]["requestBody"] = {"version": "$response.body#/data/0/version"}

LISTED_TASKS = Described(ETAG | LINK, also=TaskFieldsData)
READ_TASK = Described(ETAG, OF_TASK)
CREATED_TASK = Described(ETAG | LOCATION | OF_CHANGES, OF_TASK)
CHANGED_TASK = Described(ETAG | OF_CHANGES, OF_TASK)
REPLACED_TASK = CHANGED_TASK._replace(when_created=LOCATION)
PATCHED_TASK = CHANGED_TASK._replace(media_types=("application/merge-patch+json", "application/json"))
PURGED_TASK = EMPTIED_TRASH = Described(OF_CHANGES)
DELETED_TASK = Described(OF_CHANGES, links(*FROM_TRASH, by="task_id", source="$request.path.task_id"))
LISTED_TRASH = Described(LINK, links(*FROM_TRASH, by="task_id", source="$response.body#/data/0/id"))
LISTED_HISTORY = Described(links=TO_REVERT)
TASKS_IN_BATCH = Described(
    PREFERENCE_APPLIED | OF_CHANGES,
    example={
        "operations": [
            {"op": "create", "data": {"title": "Buy milk"}},
            {"op": "update", "id": 42, "data": {"completed": True}},
        ]
    },
)
