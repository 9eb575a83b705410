"""The lists of tasks: made, changed, archived; deleted and restored with their tasks."""

from functools import partial
from typing import Annotated, Any, TypeAlias

import msgspec
from litestar import Controller, Request
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from app.auth.middleware import CurrentUser, charge
from app.openapi.described import NOT_MODIFIED, failure_responses
from app.tasks import cleanup
from app.tasks.change import OF_ANY_VERSION, RequestedChange
from app.tasks.described import INVALID_ID
from app.tasks.etags import KNOWN, IfNoneMatch, listed, tagged
from app.tasks.history.parameters import REQUESTED_HISTORY, RequestedHistory
from app.tasks.lists import described, queries
from app.tasks.lists.changes import create_list, left_by, update_list
from app.tasks.lists.described import INVALID_NAME, ON_ONE_LIST
from app.tasks.lists.failures import ListConflict, ListIsAnother, ListNotFound, TooManyLists
from app.tasks.lists.history import ListHistoryData, history_of_list
from app.tasks.lists.moving import delete_list, restore_list
from app.tasks.lists.routes import changed_list, check_list_id, created_list
from app.tasks.lists.structs import TodoListContent, TodoListData, TodoListPatch, TodoListsData
from app.tasks.routes import DEPENDENCIES, done
from app.web.body import check_body_headers, check_ignored_body, check_patch_headers
from app.web.failures import UnsupportedPatch
from app.web.query import choice, in_query
from app.web.routing import UNREAD, IsHead, JSONResponse, delete, get, patch, post, put


class ListDeletion(msgspec.Struct, frozen=True):
    """What becomes of the tasks of a list that is deleted."""

    tasks: Annotated[
        str,
        choice(
            "trash",
            "inbox",
            description="Where the list's tasks go: to the trash with it, from which both are restored together; or "
            "to the inbox.",
            default="trash",
        ),
    ] = "trash"


RequestedDeletion: TypeAlias = NamedDependency[ListDeletion]


class ListController(Controller):
    """The caller's lists."""

    path = "/api/lists"
    tags = ("Lists",)
    opt = {"needs_token": True, "path_parameters": described.LIST_ID}  # noqa: RUF012 # Litestar's own declaration
    guards = (check_list_id,)
    dependencies = DEPENDENCIES | {"known": KNOWN, "asked": in_query(ListDeletion), "wanted": REQUESTED_HISTORY}

    @get(
        "/",
        guards=[check_ignored_body],
        operation_id="listLists",
        summary="List my lists",
        described=described.LISTED_LISTS,
        responses=NOT_MODIFIED | failure_responses(401, 413, 415, 429, 503),
    )
    async def list(self, user: CurrentUser, known: IfNoneMatch, is_head: IsHead) -> JSONResponse[TodoListsData]:
        """All of them, in the order of their positions, archived ones too."""
        state, lists = await queries.all_lists(user)
        return listed(UNREAD if is_head else TodoListsData(lists), state, known)

    @post(
        "/",
        guards=[check_body_headers],
        operation_id="createList",
        dependencies=OF_ANY_VERSION,
        summary="Create a list",
        described=described.CREATED_LIST,
        responses=failure_responses(*described.WHEN_LIST_CREATED),
    )
    async def create(
        self, change: RequestedChange, state: State, data: JSONBody[TodoListContent]
    ) -> JSONResponse[TodoListData]:
        """The answer's `Location` is where the list can be read from then on."""
        return created_list(change, await create_list(change, data, state["settings"].max_lists))

    @get(
        "/{list_id:str}",
        guards=[check_ignored_body],
        operation_id="getList",
        summary="Read a list",
        described=described.READ_LIST,
        responses=NOT_MODIFIED | failure_responses(401, ListNotFound, 413, 415, INVALID_ID, 429, 503),
    )
    async def read(
        self, user: CurrentUser, list_id: FromPath[int], known: IfNoneMatch, is_head: IsHead
    ) -> JSONResponse[TodoListData]:
        """Somebody else's list is not found, as one that never was."""
        found = await queries.get_list(user, list_id)
        return tagged(UNREAD if is_head else TodoListData(found), found.version, known)

    @put(
        "/{list_id:str}",
        guards=[check_body_headers],
        operation_id="replaceList",
        summary="Replace a list",
        described=described.REPLACED_LIST,
        responses=described.LIST_CREATED | failure_responses(400, 415, TooManyLists, INVALID_NAME, *ON_ONE_LIST),
    )
    async def replace(
        self,
        request: Request[Any, Any, Any],
        change: RequestedChange,
        list_id: FromPath[int],
        data: JSONBody[TodoListContent],
    ) -> JSONResponse[TodoListData]:
        """A field that is absent stays as it is.

        With a UUID of the client's own in the path, and `If-None-Match: *`, the list is created (201), unless there is
        one with this uid (412).
        """
        scope: Any = request.scope
        if (uid := scope.get("new_uid")) is None:
            return changed_list(change, await update_list(change, list_id, data))
        try:
            return created_list(change, await create_list(change, data, request.app.state["settings"].max_lists, uid))
        except ListConflict as conflict:
            raise ListIsAnother(conflict.current) from None

    @patch(
        "/{list_id:str}",
        guards=[check_patch_headers],
        operation_id="patchList",
        summary="Change some of a list's fields",
        described=described.PATCHED_LIST,
        responses=failure_responses(400, UnsupportedPatch, INVALID_NAME, *ON_ONE_LIST),
    )
    async def change(
        self, change: RequestedChange, list_id: FromPath[int], data: JSONBody[TodoListPatch]
    ) -> JSONResponse[TodoListData]:
        """A JSON Merge Patch (RFC 7396). `{"archived": true}` archives it, `{"archived": false}` takes it back."""
        return changed_list(change, await update_list(change, list_id, data))

    @delete(
        "/{list_id:str}",
        guards=[check_ignored_body],
        operation_id="deleteList",
        reads_query=True,
        summary="Delete a list",
        described=described.DELETED_LIST,
        responses=failure_responses(415, *ON_ONE_LIST),
    )
    async def remove(
        self,
        request: Request[Any, Any, Any],
        change: RequestedChange,
        list_id: FromPath[int],
        asked: RequestedDeletion,
    ) -> JSONResponse[None]:
        """It goes to the trash with its tasks, as one operation; unless nothing is kept here (`TRASH_DAYS=0`)."""
        for_good = not request.app.state["settings"].trash_days
        if change.key is not None and asked.tasks == "inbox":
            change.key.query = b"tasks=inbox"
        paid = partial(charge, request)
        revision = await delete_list(change, list_id, paid, to_inbox=asked.tasks == "inbox", for_good=for_good)
        if for_good:
            cleanup.wake()
        return done(change, revision)

    @post(
        "/{list_id:str}/restore",
        status_code=200,
        guards=[check_ignored_body],
        operation_id="restoreList",
        summary="Restore a deleted list",
        described=described.CHANGED_LIST,
        responses=failure_responses(415, *ON_ONE_LIST),
    )
    async def restore(
        self, request: Request[Any, Any, Any], change: RequestedChange, list_id: FromPath[int]
    ) -> JSONResponse[TodoListData]:
        """With it come the tasks that went to the trash with it. What is not in the trash is not found."""
        came = await restore_list(change, list_id, partial(charge, request))
        return changed_list(change, left_by(came), revision=came.revision)

    @get(
        "/{list_id:str}/history",
        guards=[check_ignored_body],
        operation_id="getListHistory",
        reads_query=True,
        summary="List the changes of a list",
        responses=failure_responses(401, ListNotFound, 413, 415, INVALID_ID, 429, 503),
    )
    async def history(
        self, user: CurrentUser, list_id: FromPath[int], wanted: RequestedHistory, is_head: IsHead
    ) -> JSONResponse[ListHistoryData]:
        """The last one first. A list that is in the trash is not found."""
        if is_head:
            await queries.get_list(user, list_id)
            return JSONResponse(UNREAD, [])
        return JSONResponse(await history_of_list(user, list_id, wanted.before, wanted.limit), [])
