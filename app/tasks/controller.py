"""HTTP verb -> one query -> one envelope."""

import re
from typing import Any, ClassVar

from litestar import Controller, Response
from litestar.connection import ASGIConnection
from litestar.di import Provide
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody

from app.auth.middleware import CurrentUser, current_user
from app.bodies import check_body, check_body_headers
from app.failures import Invalid, TaskNotFound
from app.handlers import delete, get, patch, post, put
from app.openapi import failures
from app.tasks import queries
from app.tasks.structs import TaskContent, TaskData, TaskListData

PLAIN_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
MAX_ID = 2**63 - 1


async def check_task_id(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: refuse an id before the body is looked at. Raises Invalid, TaskNotFound."""
    task_id = connection.path_params.get("task_id", "1")
    if not PLAIN_INTEGER.fullmatch(task_id):
        raise Invalid("id", "The id must be an integer in its plain spelling")
    if task_id.startswith("-") or len(task_id) > len(str(MAX_ID)) or not 0 < int(task_id) <= MAX_ID:
        raise TaskNotFound


class TaskController(Controller):
    """The caller's tasks."""

    path = "/api/tasks"
    tags: ClassVar = ["Tasks"]
    guards: ClassVar = [check_task_id]
    dependencies: ClassVar = {"user": Provide(current_user, sync_to_thread=False)}
    security: ClassVar = [{"bearer": []}]

    @get(
        "/",
        guards=[check_body],
        operation_id="listTasks",
        summary="List my tasks",
        responses=failures(401, 413, 415, 429, 503),
    )
    async def list(self, user: CurrentUser) -> TaskListData:
        """All of them, newest first; of two created at the same moment, the one with the higher id first."""
        return TaskListData(await queries.list_tasks(user))

    @post(
        "/",
        guards=[check_body_headers],
        operation_id="createTask",
        summary="Create a task",
        responses=failures(400, 401, 403, 413, 415, 422, 429, 503),
    )
    async def create(self, user: CurrentUser, data: JSONBody[TaskContent]) -> Response[TaskData]:
        """The answer's `Location` is where the task can be read from then on."""
        task = await queries.create_task(user, data)
        return Response(TaskData(task), headers={"Location": f"/api/tasks/{task.id}"})

    @get(
        "/{task_id:str}",
        guards=[check_body],
        operation_id="getTask",
        summary="Read a task",
        responses=failures(401, 404, 413, 415, 422, 429, 503),
    )
    async def read(self, user: CurrentUser, task_id: FromPath[int]) -> TaskData:
        """Somebody else's task is not found, as one that never was."""
        return TaskData(await queries.get_task(user, task_id))

    @put(
        "/{task_id:str}",
        guards=[check_body_headers],
        operation_id="replaceTask",
        summary="Replace a task's title and description",
        responses=failures(400, 401, 403, 404, 413, 415, 422, 429, 503),
    )
    async def replace(self, user: CurrentUser, task_id: FromPath[int], data: JSONBody[TaskContent]) -> TaskData:
        """An absent description becomes null. Whether the task is completed stays as it is."""
        return TaskData(await queries.replace_task(user, task_id, data))

    @delete(
        "/{task_id:str}",
        guards=[check_body],
        operation_id="deleteTask",
        summary="Delete a task",
        responses=failures(401, 403, 404, 413, 415, 422, 429, 503),
    )
    async def remove(self, user: CurrentUser, task_id: FromPath[int]) -> None:
        """For good."""
        await queries.delete_task(user, task_id)

    @patch(
        "/{task_id:str}/complete",
        guards=[check_body],
        operation_id="flipTask",
        summary="Toggle a task's completed",
        responses=failures(401, 403, 404, 413, 415, 422, 429, 503),
    )
    async def flip(self, user: CurrentUser, task_id: FromPath[int]) -> TaskData:
        """Takes no body. Two of these at once are two flips."""
        return TaskData(await queries.flip_task(user, task_id))
