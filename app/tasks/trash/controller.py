"""The trash: what was deleted, until it is restored or gone for good.

What is in it is none of the caller's tasks any more: no other endpoint finds it. It keeps its id, its fields and its
history; what is gone for good takes its history along.
"""

from litestar.datastructures import State
from litestar.params import FromPath

from app.auth.middleware import CurrentUser
from app.openapi.described import OF_PAGES, failure_responses
from app.tasks import cleanup, described
from app.tasks.change import OF_ANY_VERSION, RequestedChange
from app.tasks.described import ON_ONE, TASK_ID
from app.tasks.keyset import page_request
from app.tasks.routes import DEPENDENCIES, TaskRoutes, changed, check_task_id, done
from app.tasks.structs import TaskData, TrashData
from app.tasks.trash.queries import empty_trash, purge_task, restore_task, trash_of
from app.web.body import check_ignored_body
from app.web.cursors import next_link
from app.web.failures import KeyReused
from app.web.query import PageQuery, WantedPage, in_query
from app.web.routing import UNREAD, IsHead, JSONResponse, delete, get, post

OF_TASK_ID = {"path_parameters": TASK_ID}


class TrashController(TaskRoutes):
    """What the caller has deleted."""

    path = "/api"
    tags = ("Trash",)
    opt = OF_TASK_ID
    guards = (check_task_id, check_ignored_body)
    dependencies = DEPENDENCIES | {"wanted": in_query(PageQuery)}

    @get(
        "/trash",
        operation_id="listTrash",
        needs_token=True,
        reads_query=True,
        summary="List my deleted tasks",
        described=described.LISTED_TRASH,
        responses=failure_responses(401, 413, 415, *OF_PAGES, 429, 503),
    )
    async def list(
        self, state: State, user: CurrentUser, wanted: WantedPage, is_head: IsHead
    ) -> JSONResponse[TrashData]:
        """All of them, the last deleted first; with `limit`, page by page."""
        page = page_request(user, "trash", wanted, state["settings"].secret)
        if is_head:
            return JSONResponse(UNREAD, [])
        content, following = await trash_of(user, page)
        said = [("limit", wanted.limit)] if wanted.limit else []
        return JSONResponse(content, next_link("/api/trash", said, following))

    @post(
        "/tasks/{task_id:str}/restore",
        status_code=200,
        operation_id="restoreTask",
        needs_token=True,
        summary="Restore a deleted task",
        described=described.CHANGED_TASK,
        responses=failure_responses(415, *ON_ONE),
    )
    async def restore(self, change: RequestedChange, task_id: FromPath[int]) -> JSONResponse[TaskData]:
        """It is as it was, with its id and its history. What is not in the trash is not found."""
        return changed(change, await restore_task(change, task_id))

    @delete(
        "/trash/{task_id:str}",
        operation_id="purgeTask",
        needs_token=True,
        summary="Delete a task in the trash for good",
        described=described.PURGED_TASK,
        responses=failure_responses(415, *ON_ONE),
    )
    async def purge(self, change: RequestedChange, task_id: FromPath[int]) -> JSONResponse[None]:
        """Its history goes too. What is not in the trash is not found."""
        revision = await purge_task(change, task_id)
        cleanup.wake()
        return done(change, revision)

    @delete(
        "/trash",
        operation_id="emptyTrash",
        dependencies=OF_ANY_VERSION,
        needs_token=True,
        summary="Empty my trash",
        described=described.EMPTIED_TRASH,
        responses=failure_responses(401, 403, 413, 415, 422, KeyReused, 429, 503),
    )
    async def empty(self, change: RequestedChange) -> JSONResponse[None]:
        """All that is in it is deleted for good."""
        revision = await empty_trash(change)
        cleanup.wake()
        return done(change, revision)
