"""What the controllers of tasks have in common: the guard of ids, dependencies, and answers."""

import re
from typing import Any

from litestar import Controller
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.handlers import BaseRouteHandler

from app.auth.middleware import current_user
from app.tasks.by_uid import id_of
from app.tasks.change import OF_A_VERSION, Change, creates
from app.tasks.described import INVALID_ID, TASK_ID
from app.tasks.etags import tagged
from app.tasks.failures import TaskNotFound
from app.tasks.structs import MAX_ID, Task, TaskData
from app.tasks.uids import is_derived, parse_uid
from app.web.failures import Invalid
from app.web.headers import RawHeaders, forbid_storing
from app.web.idempotency_key import replayed
from app.web.routing import JSONResponse, is_head

TASK_OPT = {"needs_token": True, "path_parameters": TASK_ID}
DEPENDENCIES = {
    "user": Provide(current_user, sync_to_thread=False),
    "is_head": Provide(is_head, sync_to_thread=False),
    **OF_A_VERSION,
}
PLAIN_INTEGER = re.compile(r"0|-?[1-9][0-9]*")


async def check_task_id(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: refuse an id before the body is looked at, and put the id in place of a uid. Raises Invalid, TaskNotFound.

    A PUT that is to create the task with a uid has none yet: it finds the uid in the scope.
    """
    task_id = connection.path_params.get("task_id", "1")
    if (uid := parse_uid(task_id)) is not None:
        scope: Any = connection.scope
        if scope["method"] == "PUT" and creates(scope) and not is_derived(uid):
            scope["new_uid"], number = uid, 0
        else:
            number = await id_of(scope["user"], uid)
            if not is_derived(uid):
                forbid_storing(scope)
        connection.path_params["task_id"] = f"{number}"
        return
    if not PLAIN_INTEGER.fullmatch(task_id):
        raise Invalid(INVALID_ID.field, INVALID_ID.message)
    if task_id.startswith("-") or len(task_id) > len(str(MAX_ID)) or not 0 < int(task_id) <= MAX_ID:
        raise TaskNotFound


class TaskRoutes(Controller):
    """Routes below `/api/tasks`."""

    path = "/api/tasks"
    opt = TASK_OPT
    guards = (check_task_id,)
    dependencies = DEPENDENCIES


def changed(change: Change, task: Task, *more: tuple[bytes, bytes]) -> JSONResponse[TaskData]:
    """Return the answer to a change: the task, with its entity tag."""
    return tagged(TaskData(task), task.version, b"", _revision(task.version), *more, *replayed(change.key))


def created(change: Change, task: Task) -> JSONResponse[TaskData]:
    """Return the answer to a request that has created a task."""
    answer = changed(change, task, (b"location", b"/api/tasks/%d" % task.id))
    return JSONResponse(answer.content, answer.raw_headers, 201)


def done(change: Change, revision: int | None) -> JSONResponse[None]:
    """Return the answer to a change that leaves nothing to show, with the owner's revision that it made, if it did."""
    return JSONResponse(None, revised(change, revision))


def revised(change: Change, revision: int | None) -> RawHeaders:
    """Return the headers of a change: the owner's revision that it made, if it did, and whether it is a replay."""
    return [*([] if revision is None else [_revision(revision)]), *replayed(change.key)]


def _revision(number: int) -> tuple[bytes, bytes]:
    return b"x-revision", b"%d" % number
