"""The routes of labels, and of one label of a task."""

from functools import partial
from typing import Any

from litestar import Controller, Request
from litestar.params import FromPath, JSONBody

from app.auth.middleware import CurrentUser, charge
from app.openapi.described import NOT_MODIFIED, Described, Object, failure_responses
from app.tasks.change import RequestedChange
from app.tasks.described import CHANGED_TASK, ETAG, OF_CHANGES, ON_ONE, TASK_ID
from app.tasks.etags import KNOWN, IfNoneMatch, listed, tagged
from app.tasks.failures import LabelLimitReached, PreconditionRequired
from app.tasks.history.parameters import REQUESTED_HISTORY, RequestedHistory
from app.tasks.labels.failures import LabelHasChanged, LabelNotFound
from app.tasks.labels.history import LabelHistoryData, history_of_label
from app.tasks.labels.of_task import set_label
from app.tasks.labels.one import get_label
from app.tasks.labels.paths import LABEL_IN_PATH, check_label_before, check_label_name, label_named_in
from app.tasks.labels.queries import delete_label, labels_of, patch_label
from app.tasks.labels.structs import LabelData, LabelListData, LabelPatch
from app.tasks.routes import DEPENDENCIES, TaskRoutes, changed, check_task_id, done, revised
from app.tasks.structs import TaskData
from app.web.body import check_ignored_body, check_patch_headers
from app.web.failures import Invalid, KeyReused, UnsupportedPatch
from app.web.headers import forbid_storing
from app.web.routing import UNREAD, IsHead, JSONResponse, delete, get, patch, put

INVALID_LABEL = Invalid("label_name", "A label must have 1 to 50 characters")
ON_LABEL = (401, 403, LabelNotFound, LabelHasChanged, 413, INVALID_LABEL, KeyReused, PreconditionRequired, 429, 503)
READ_LABEL = (401, LabelNotFound, 413, 415, INVALID_LABEL, 429, 503)
TAG_OF_LABEL: Object = ETAG | {
    "ETag": ETAG["ETag"]
    | {
        "description": "The label's version, and `open` behind it. `If-Match` with it changes this version alone, "
        "whatever `open` is by now; `If-None-Match` with it is answered with 304 while both are the same.",
        "schema": ETAG["ETag"]["schema"] | {"examples": ['"v7-3"']},
    }
}
CHANGED_LABEL = Described(ETAG | OF_CHANGES, media_types=("application/merge-patch+json", "application/json"))
OF_LABEL = {"needs_token": True, "path_parameters": TASK_ID | LABEL_IN_PATH}


class LabelController(Controller):
    """The caller's labels."""

    path = "/api/labels"
    tags = ("Labels",)
    opt = OF_LABEL
    dependencies = DEPENDENCIES | {"known": KNOWN, "wanted": REQUESTED_HISTORY}

    @get(
        "/",
        guards=[check_ignored_body],
        operation_id="listLabels",
        summary="List my labels",
        described=Described(ETAG),
        responses=NOT_MODIFIED | failure_responses(401, 413, 415, 429, 503),
    )
    async def list(
        self, request: Request[Any, Any, Any], user: CurrentUser, known: IfNoneMatch, is_head: IsHead
    ) -> JSONResponse[LabelListData]:
        """In the order of their names, and each with how many tasks have it that are still to be done."""
        state, labels = await labels_of(user, partial(charge, request))
        return listed(UNREAD if is_head else LabelListData(labels), state, known)

    @get(
        "/{label_name:str}",
        guards=[check_label_name, check_ignored_body],
        operation_id="getLabel",
        summary="Read a label",
        described=Described(TAG_OF_LABEL),
        responses=NOT_MODIFIED | failure_responses(*READ_LABEL),
    )
    async def read(
        self, request: Request[Any, Any, Any], user: CurrentUser, known: IfNoneMatch, is_head: IsHead
    ) -> JSONResponse[LabelData]:
        """Somebody else's label is not found, as one that never was."""
        forbid_storing(request.scope)
        label = await get_label(user, label_named_in(request), partial(charge, request))
        return tagged(UNREAD if is_head else LabelData(label), label.state, known)

    @patch(
        "/{label_name:str}",
        guards=[check_label_name, check_patch_headers],
        operation_id="patchLabel",
        summary="Rename a label, or color it",
        described=CHANGED_LABEL,
        responses=failure_responses(400, UnsupportedPatch, Invalid("name", INVALID_LABEL.message), *ON_LABEL),
    )
    async def change(
        self, request: Request[Any, Any, Any], change: RequestedChange, data: JSONBody[LabelPatch]
    ) -> JSONResponse[LabelData]:
        """All tasks that have it are changed with it, the trash included; onto another's name, the two become one."""
        label = await patch_label(change, label_named_in(request), data, partial(charge, request))
        return tagged(LabelData(label), label.version, b"", *revised(change, label.version))

    @delete(
        "/{label_name:str}",
        guards=[check_label_name, check_ignored_body],
        operation_id="deleteLabel",
        summary="Delete a label",
        described=Described(OF_CHANGES),
        responses=failure_responses(415, *ON_LABEL),
    )
    async def remove(self, request: Request[Any, Any, Any], change: RequestedChange) -> JSONResponse[None]:
        """It is taken off all tasks, the trash included. The tasks stay."""
        return done(change, await delete_label(change, label_named_in(request), partial(charge, request)))

    @get(
        "/{label_name:str}/history",
        guards=[check_label_before, check_ignored_body],
        operation_id="getLabelHistory",
        reads_query=True,
        summary="List the changes of a label",
        responses=failure_responses(*READ_LABEL),
    )
    async def history(
        self, request: Request[Any, Any, Any], user: CurrentUser, wanted: RequestedHistory, is_head: IsHead
    ) -> JSONResponse[LabelHistoryData]:
        """The last one first."""
        told = await history_of_label(user, label_named_in(request), wanted.before, wanted.limit)
        return JSONResponse(UNREAD if is_head else told, [])


class TaskLabelController(TaskRoutes):
    """One label of a task."""

    tags = ("Labels",)
    opt = OF_LABEL
    guards = (check_task_id, check_label_name, check_ignored_body)

    @put(
        "/{task_id:str}/labels/{label_name:str}",
        operation_id="addLabel",
        summary="Give a task a label",
        described=CHANGED_TASK,
        responses=failure_responses(LabelLimitReached, 415, INVALID_LABEL, *ON_ONE),
    )
    async def add(
        self, request: Request[Any, Any, Any], change: RequestedChange, task_id: FromPath[int]
    ) -> JSONResponse[TaskData]:
        """Its other labels stay, whatever they are by now. Where it has the label, nothing changes."""
        return changed(change, await set_label(change, task_id, label_named_in(request), is_wanted=True))

    @delete(
        "/{task_id:str}/labels/{label_name:str}",
        status_code=200,
        operation_id="takeLabel",
        summary="Take a label off a task",
        described=CHANGED_TASK,
        responses=failure_responses(415, INVALID_LABEL, *ON_ONE),
    )
    async def take(
        self, request: Request[Any, Any, Any], change: RequestedChange, task_id: FromPath[int]
    ) -> JSONResponse[TaskData]:
        """Its other labels stay. Where it has not got the label, nothing changes."""
        return changed(change, await set_label(change, task_id, label_named_in(request), is_wanted=False))
