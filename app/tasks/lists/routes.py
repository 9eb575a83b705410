"""What the routes of lists have in common: the guard of ids, and answers."""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from app.tasks.change import Change, creates
from app.tasks.described import INVALID_ID
from app.tasks.etags import tagged
from app.tasks.in_list import list_id_of
from app.tasks.lists.failures import ListNotFound
from app.tasks.lists.structs import TodoList, TodoListData
from app.tasks.routes import PLAIN_INTEGER, revised
from app.tasks.structs import MAX_ID
from app.tasks.uids import is_derived, parse_uid
from app.web.failures import Invalid
from app.web.headers import forbid_storing
from app.web.routing import JSONResponse


async def check_list_id(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """Guard: refuse an id before the body is looked at, and put the id in place of a uid. Raises Invalid, ListNotFound.

    A PUT that is to create the list with a uid has none yet: it finds the uid in the scope.
    """
    list_id = connection.path_params.get("list_id", "1")
    if (uid := parse_uid(list_id)) is not None:
        scope: Any = connection.scope
        if scope["method"] == "PUT" and creates(scope) and not is_derived(uid):
            scope["new_uid"], number = uid, 0
        elif (number := await list_id_of(scope["user"], uid)) is None:
            raise ListNotFound
        elif not is_derived(uid):
            forbid_storing(scope)
        connection.path_params["list_id"] = f"{number}"
        return
    if not PLAIN_INTEGER.fullmatch(list_id):
        raise Invalid(INVALID_ID.field, INVALID_ID.message)
    if list_id.startswith("-") or len(list_id) > len(str(MAX_ID)) or not 0 < int(list_id) <= MAX_ID:
        raise ListNotFound


def changed_list(
    change: Change, changed: TodoList, *more: tuple[bytes, bytes], revision: int | None = None
) -> JSONResponse[TodoListData]:
    """Return the answer to a change: the list, with its entity tag. Its version is the revision, or else `revision`."""
    headers = revised(change, revision or changed.version)
    return tagged(TodoListData(changed), changed.version, b"", *more, *headers)


def created_list(change: Change, created: TodoList) -> JSONResponse[TodoListData]:
    """Return the answer to a request that has created a list."""
    answer = changed_list(change, created, (b"location", b"/api/lists/%d" % created.id))
    return JSONResponse(answer.content, answer.raw_headers, 201)
