"""HTTP verb -> one query -> one envelope."""

from functools import partial
from typing import Any

from litestar import Request
from litestar.datastructures import State
from litestar.params import FromPath, JSONBody
from msgspec import UNSET

from app.auth.middleware import CurrentUser, charge
from app.openapi.described import NOT_MODIFIED, OF_PAGES, failure_responses
from app.tasks import cleanup, described, queries
from app.tasks.batch.operations import MAX_BATCH_BYTES, Batch, BatchData
from app.tasks.batch.options import BATCH_OPTIONS, RequestedOptions
from app.tasks.batch.reading import BatchRequest, check_versions
from app.tasks.batch.run import cost_of, run
from app.tasks.change import OF_ANY_VERSION, RequestedChange
from app.tasks.creation import create_task
from app.tasks.described import CREATED, INVALID_ID, INVALID_TITLE, ON_ONE
from app.tasks.etags import KNOWN, IfNoneMatch, listed, states, tagged
from app.tasks.failures import (
    Conflict,
    IndexNotReady,
    LabelLimitReached,
    LimitReached,
    PreconditionFailed,
    TaskNotFound,
)
from app.tasks.listing import pages
from app.tasks.listing.parameters import REQUESTED_LIST, RequestedList
from app.tasks.routes import DEPENDENCIES, TaskRoutes, changed, created, done, revised
from app.tasks.structs import (
    TaskCompletion,
    TaskContent,
    TaskData,
    TaskListData,
    TaskPatch,
    check_completion,
)
from app.web.body import (
    body_so_far,
    check_body_headers,
    check_ignored_body,
    check_optional_body,
    check_patch_headers,
)
from app.web.cursors import next_link
from app.web.failures import UnsupportedPatch
from app.web.routing import UNREAD, IsHead, JSONResponse, delete, get, patch, post, put


class TaskController(TaskRoutes):
    """The caller's tasks."""

    tags = ("Tasks",)
    dependencies = DEPENDENCIES | {"known": KNOWN, "wanted": REQUESTED_LIST, "options": BATCH_OPTIONS}

    @get(
        "/",
        guards=[check_ignored_body],
        operation_id="listTasks",
        reads_query=True,
        summary="List my tasks",
        described=described.LISTED_TASKS,
        responses=NOT_MODIFIED | failure_responses(401, 413, 415, *OF_PAGES, 429, 503, IndexNotReady),
    )
    async def list(
        self,
        request: Request[Any, Any, Any],
        user: CurrentUser,
        wanted: RequestedList,
        known: IfNoneMatch,
        is_head: IsHead,
    ) -> JSONResponse[TaskListData]:
        """All of them, newest first; of two created at the same moment, the one with the higher id first.

        With a parameter, those that it asks for; with `limit`, page by page.
        """
        paid = partial(charge, request)
        if wanted is None and not is_head:
            found = await pages.all_tasks(user, states(known), paid)
            return listed(found.content, found.state, known)
        secret = request.app.state["settings"].secret
        if wanted is None or is_head:
            return listed(UNREAD, await pages.state_of(user, wanted, secret), known)
        found = await pages.some_tasks(user, wanted, states(known), secret, paid)
        return listed(found.content, found.state, known, *next_link("/api/tasks", wanted.said, found.next))

    @post(
        "/",
        guards=[check_body_headers],
        operation_id="createTask",
        dependencies=OF_ANY_VERSION,
        summary="Create a task",
        described=described.CREATED_TASK,
        responses=failure_responses(*described.WHEN_CREATED),
    )
    async def create(
        self, change: RequestedChange, state: State, data: JSONBody[TaskContent]
    ) -> JSONResponse[TaskData]:
        """The answer's `Location` is where the task can be read from then on."""
        return created(change, await create_task(change, data, state["settings"].max_tasks))

    @post(
        "/batch",
        guards=[check_body_headers],
        operation_id="batchTasks",
        dependencies=OF_ANY_VERSION,
        reads_query=True,
        summary="Change many tasks, all or nothing",
        status_code=200,
        request_class=BatchRequest,
        request_max_body_size=MAX_BATCH_BYTES,
        described=described.TASKS_IN_BATCH,
        responses=failure_responses(*described.IN_BATCH),
    )
    async def batch(
        self,
        request: Request[Any, Any, Any],
        options: RequestedOptions,
        change: RequestedChange,
        data: JSONBody[Batch],
    ) -> JSONResponse[BatchData]:
        """Of a bad batch nothing happens, and `error.index` says which operation it was, the first being 0."""
        charge(request, await cost_of(change.owner, data.operations))
        if request.app.state["settings"].require_if_match:
            check_versions(data.operations)
        results, revision = await run(change, data.operations, options, partial(charge, request))
        if not options.keeps_trash:
            cleanup.wake()
        told = revised(change, None if options.is_dry_run else revision)
        return JSONResponse(BatchData(results, options.is_dry_run or UNSET), [*options.headers, *told])

    @get(
        "/{task_id:str}",
        guards=[check_ignored_body],
        operation_id="getTask",
        summary="Read a task",
        described=described.READ_TASK,
        responses=NOT_MODIFIED | failure_responses(401, TaskNotFound, 413, 415, INVALID_ID, 429, 503),
    )
    async def read(
        self, user: CurrentUser, task_id: FromPath[int], known: IfNoneMatch, is_head: IsHead
    ) -> JSONResponse[TaskData]:
        """Somebody else's task is not found, as one that never was."""
        if is_head:
            return tagged(UNREAD, await queries.get_version(user, task_id), known)
        task = await queries.get_task(user, task_id)
        return tagged(TaskData(task), task.version, known)

    @put(
        "/{task_id:str}",
        guards=[check_body_headers],
        operation_id="replaceTask",
        summary="Replace a task",
        described=described.REPLACED_TASK,
        responses=CREATED | failure_responses(400, 415, LimitReached, LabelLimitReached, INVALID_TITLE, *ON_ONE),
    )
    async def replace(
        self,
        request: Request[Any, Any, Any],
        change: RequestedChange,
        task_id: FromPath[int],
        data: JSONBody[TaskContent],
    ) -> JSONResponse[TaskData]:
        """An absent description becomes null; any other field that is absent stays as it is.

        With a UUID of the client's own in the path, and `If-None-Match: *`, the task is created (201), unless there is
        one with this uid (412).
        """
        scope: Any = request.scope
        if (uid := scope.get("new_uid")) is None:
            return changed(change, await queries.update_task(change, task_id, data))
        try:
            return created(change, await create_task(change, data, request.app.state["settings"].max_tasks, uid))
        except Conflict as conflict:
            raise PreconditionFailed(conflict.current) from None

    @patch(
        "/{task_id:str}",
        guards=[check_patch_headers],
        operation_id="patchTask",
        summary="Change some of a task's fields",
        described=described.PATCHED_TASK,
        responses=failure_responses(400, LabelLimitReached, UnsupportedPatch, INVALID_TITLE, *ON_ONE),
    )
    async def change(
        self, change: RequestedChange, task_id: FromPath[int], data: JSONBody[TaskPatch]
    ) -> JSONResponse[TaskData]:
        """A JSON Merge Patch (RFC 7396): what is absent stays as it is, and null clears the description."""
        return changed(change, await queries.update_task(change, task_id, data))

    @delete(
        "/{task_id:str}",
        guards=[check_ignored_body],
        operation_id="deleteTask",
        summary="Delete a task",
        described=described.DELETED_TASK,
        responses=failure_responses(415, *ON_ONE),
    )
    async def remove(self, state: State, change: RequestedChange, task_id: FromPath[int]) -> JSONResponse[None]:
        """It goes to the trash, from which it can be restored; unless nothing is kept here (`TRASH_DAYS=0`)."""
        for_good = not state["settings"].trash_days
        revision = await queries.delete_task(change, task_id, for_good=for_good)
        if for_good:
            cleanup.wake()
        return done(change, revision)

    @patch(
        "/{task_id:str}/complete",
        guards=[check_optional_body],
        operation_id="completeTask",
        summary="Set or toggle a task's completed",
        described=described.CHANGED_TASK,
        responses=failure_responses(*described.WHEN_COMPLETED),
    )
    async def complete(
        self,
        request: Request[Any, Any, Any],
        change: RequestedChange,
        task_id: FromPath[int],
        data: JSONBody[TaskCompletion | None] = None,
    ) -> JSONResponse[TaskData]:
        """Without a body, or with an empty object, it is toggled: two concurrent requests toggle it twice."""
        completed = check_completion(data, body_so_far(request))
        return changed(change, await queries.complete_task(change, task_id, completed))
