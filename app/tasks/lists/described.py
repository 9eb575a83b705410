"""What the OpenAPI document tells of the routes of lists."""

from litestar.openapi import ResponseSpec

from app.openapi.described import Described, Object, links
from app.tasks.described import ETAG, INVALID_ID, LOCATION, OF_CHANGES, TASK_ID
from app.tasks.failures import PreconditionRequired
from app.tasks.lists.failures import ListConflict, ListIsAnother, ListNotFound, TooManyLists
from app.tasks.lists.structs import TodoListData
from app.web.failures import Invalid, KeyReused

LIST_ID: Object = {"list_id": TASK_ID["task_id"] | {"description": "The list's `id` or `uid`.", "example": 7}}
LIST_CREATED: dict[int, ResponseSpec] = {201: ResponseSpec(TodoListData, generate_examples=False)}
INVALID_NAME = Invalid("name", "Name is required")
ON_ONE_LIST = (401, 403, ListNotFound, ListIsAnother, 413, INVALID_ID, KeyReused, PreconditionRequired, 429, 503)
WHEN_LIST_CREATED = (
    *(400, 401, 403, ListNotFound, TooManyLists, ListConflict),
    *(413, 415, INVALID_NAME, KeyReused, 429, 503),
)

OF_LIST = links(
    *("getList", "replaceList", "patchList", "deleteList", "getListHistory"),
    by="list_id",
    source="$response.body#/data/id",
)
LISTED_LISTS = Described(ETAG)
READ_LIST = Described(ETAG, OF_LIST)
CREATED_LIST = Described(ETAG | LOCATION | OF_CHANGES, OF_LIST)
CHANGED_LIST = Described(ETAG | OF_CHANGES, OF_LIST)
REPLACED_LIST = CHANGED_LIST._replace(when_created=LOCATION)
PATCHED_LIST = CHANGED_LIST._replace(media_types=("application/merge-patch+json", "application/json"))
DELETED_LIST = Described(OF_CHANGES, links("restoreList", by="list_id", source="$request.path.list_id"))
