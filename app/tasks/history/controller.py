"""The history of a task: what was done to it, when and by whom; and how to bring a state of it back."""

from typing import Annotated

import msgspec
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, Meta, UnsetType

from app.auth.middleware import CurrentUser
from app.openapi.described import failure_responses
from app.tasks import described
from app.tasks.change import RequestedChange
from app.tasks.described import INVALID_ID, ON_ONE
from app.tasks.failures import LabelLimitReached, TaskNotFound
from app.tasks.history.diff import HistoryData, Version
from app.tasks.history.parameters import REQUESTED_HISTORY, RequestedHistory
from app.tasks.history.queries import LOSABLE, history_of, lost_in, revert_task
from app.tasks.queries import get_version
from app.tasks.routes import DEPENDENCIES, TaskRoutes, changed
from app.tasks.structs import Task
from app.web.body import check_body_headers, check_ignored_body
from app.web.envelopes import Data
from app.web.failures import Invalid
from app.web.routing import UNREAD, IsHead, JSONResponse, get, post


class RevertedTaskData(Data[Task], frozen=True):
    """A task that was brought back to an earlier version, in its envelope."""

    lost: (
        Annotated[
            list[str],
            Meta(
                description="The fields that could not have again what they had, because it is gone: they are null.",
                extra_json_schema={"items": {"type": "string", "enum": [*LOSABLE]}},
            ),
        ]
        | UnsetType
    ) = UNSET


class TaskReversion(msgspec.Struct, frozen=True):
    """The version of the task that is to be brought back."""

    version: Version


class HistoryController(TaskRoutes):
    """What was done to one of the caller's tasks."""

    tags = ("History",)
    dependencies = DEPENDENCIES | {"wanted": REQUESTED_HISTORY}

    @get(
        "/{task_id:str}/history",
        guards=[check_ignored_body],
        operation_id="getTaskHistory",
        reads_query=True,
        summary="List the changes of a task",
        described=described.LISTED_HISTORY,
        responses=failure_responses(401, TaskNotFound, 413, 415, INVALID_ID, 429, 503),
    )
    async def history(
        self, user: CurrentUser, task_id: FromPath[int], wanted: RequestedHistory, is_head: IsHead
    ) -> JSONResponse[HistoryData]:
        """The last one first. A task that is in the trash is not found."""
        if is_head:
            await get_version(user, task_id)
            return JSONResponse(UNREAD, [])
        return JSONResponse(await history_of(user, task_id, wanted.before, wanted.limit), [])

    @post(
        "/{task_id:str}/revert",
        guards=[check_body_headers],
        status_code=200,
        operation_id="revertTask",
        summary="Bring an earlier version of a task back",
        described=described.CHANGED_TASK,
        responses=failure_responses(
            *(400, LabelLimitReached, 415, INVALID_ID, Invalid("version", "Version is required"), *ON_ONE)
        ),
    )
    async def revert(
        self, change: RequestedChange, task_id: FromPath[int], data: JSONBody[TaskReversion]
    ) -> JSONResponse[RevertedTaskData]:
        """What it had then in each field that a client can set, as a new version."""
        task = await revert_task(change, task_id, data.version)
        lost = await lost_in(change.owner, task, data.version)
        answer = changed(change, task)
        return JSONResponse(RevertedTaskData(task, lost or UNSET), answer.raw_headers)
