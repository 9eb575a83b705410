"""HTTP verb -> one query -> one envelope."""

import re
from functools import partial
from typing import Any, ClassVar

from litestar import Controller, Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import Provide
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, JSONBody
from msgspec import UNSET

from app import upkeep
from app.auth.middleware import CurrentUser, charge, current_user
from app.bodies import body_so_far, check_body, check_body_headers, check_optional_body, check_patch_headers
from app.failures import Invalid
from app.handlers import UNREAD, IsHead, Reply, delete, get, is_head, patch, post, put
from app.openapi import NOT_MODIFIED, failures
from app.query import InvalidCursor
from app.tasks import batch, costs, pages, parameters, queries
from app.tasks.conditions import IfMatch, IfNoneMatch, if_match, if_none_match, listed, states, tagged
from app.tasks.failures import KeyReused, LimitReached, TaskNotFound
from app.tasks.kept_descriptions import patch_beside
from app.tasks.keys import IdempotencyKey, idempotency_key, replayed
from app.tasks.operations import MAX_BATCH_BYTES, Batch, BatchData, BatchRequest, BatchWish, check_versions, wish
from app.tasks.states import version_of
from app.tasks.structs import (
    MAX_ID,
    TaskCompletion,
    TaskContent,
    TaskData,
    TaskListData,
    TaskPatch,
    check_completion,
    is_too_long,
    too_long,
)

PLAIN_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
REMOVAL = (401, 403, 404, 412, 413, 415, KeyReused, 428, 429, 503)
CHANGE = (400, *REMOVAL)
# What the handlers of the whole room may ask for.
DEPENDENCIES = {
    "user": Provide(current_user, sync_to_thread=False),
    "condition": Provide(if_match, sync_to_thread=False),
    "key": Provide(idempotency_key, sync_to_thread=False),
    "is_head": Provide(is_head, sync_to_thread=False),
}


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
    dependencies: ClassVar = DEPENDENCIES | {
        "known": Provide(if_none_match, sync_to_thread=False),
        "wish": Provide(wish, sync_to_thread=False),
    }
    security: ClassVar = [{"bearer": []}]

    @get(
        "/",
        guards=[check_body],
        operation_id="listTasks",
        reads_query=True,
        summary="List my tasks",
        responses=NOT_MODIFIED | failures(401, 413, 415, InvalidCursor, 429, 503),
    )
    async def list(
        self, request: Request[Any, Any, Any], user: CurrentUser, known: IfNoneMatch, is_head: IsHead
    ) -> Reply[TaskListData]:
        """All of them, newest first; of two created at the same moment, the one with the higher id first.

        With a parameter, those that it asks for; with `limit`, page by page.
        """
        said = request.scope["query_string"]
        query = parameters.read(said) if said else None
        paid = partial(charge, request)
        if query is None and not is_head:
            found = await pages.all_tasks(user, states(known), paid)
            return listed(found.content, found.state, known)
        secret = request.app.state["settings"].secret
        if query is None or is_head:
            return listed(UNREAD, await pages.state_of(user, query, secret), known)
        found = await pages.some_tasks(user, query, states(known), secret, paid)
        link = [(b"link", b'</api/tasks?%b>; rel="next"' % query.beyond(found.next))] if found.next else []
        return listed(found.content, found.state, known, *link)

    @post(
        "/",
        guards=[check_body_headers],
        operation_id="createTask",
        summary="Create a task",
        responses=failures(400, 401, 403, 404, LimitReached, 413, 415, KeyReused, 429, 503),
    )
    async def create(
        self, user: CurrentUser, state: State, key: IdempotencyKey, data: JSONBody[TaskContent]
    ) -> Reply[TaskData]:
        """The answer's `Location` is where the task can be read from then on."""
        if is_too_long(data.description):
            raise too_long()
        task = await queries.create_task(user, data, key, state["settings"].max_tasks)
        location = (b"location", b"/api/tasks/%d" % task.id)
        return tagged(TaskData(task), task.version, b"", location, *replayed(key))

    @post(
        "/batch",
        guards=[check_body_headers],
        operation_id="batchTasks",
        reads_query=True,
        summary="Change many tasks, all or nothing",
        status_code=200,
        request_class=BatchRequest,
        request_max_body_size=MAX_BATCH_BYTES,
        responses=failures(*CHANGE, LimitReached),
    )
    async def batch(
        self,
        request: Request[Any, Any, Any],
        user: CurrentUser,
        state: State,
        wish: BatchWish,
        key: IdempotencyKey,
        data: JSONBody[Batch],
    ) -> Reply[BatchData]:
        """Of a bad batch nothing happens, and `error.index` says which operation it was, the first being 0."""
        charge(request, costs.of_batch(len(data.operations)))
        if state.settings.require_if_match:
            check_versions(data.operations)
        rules = batch.Rules(state.settings.trash_days > 0, state.settings.max_tasks)
        keep, briefly = not wish.is_dry, wish.briefly
        results = await batch.run(user, data.operations, key, keep=keep, rules=rules, briefly=briefly)
        if not rules.keeps_trash:
            upkeep.wake()
        return Reply(BatchData(results, wish.is_dry or UNSET), [*wish.headers, *replayed(key)])

    @get(
        "/{task_id:str}",
        guards=[check_body],
        operation_id="getTask",
        summary="Read a task",
        responses=NOT_MODIFIED | failures(401, 404, 413, 415, 429, 503),
    )
    async def read(
        self, user: CurrentUser, task_id: FromPath[int], known: IfNoneMatch, is_head: IsHead
    ) -> Reply[TaskData]:
        """Somebody else's task is not found, as one that never was."""
        if is_head:
            return tagged(UNREAD, await version_of(user, task_id), known)
        task = await queries.get_task(user, task_id)
        return tagged(TaskData(task), task.version, known)

    @put(
        "/{task_id:str}",
        guards=[check_body_headers],
        operation_id="replaceTask",
        summary="Replace a task",
        responses=failures(*CHANGE),
    )
    async def replace(
        self,
        user: CurrentUser,
        task_id: FromPath[int],
        condition: IfMatch,
        key: IdempotencyKey,
        data: JSONBody[TaskContent],
    ) -> Reply[TaskData]:
        """An absent description becomes null; an absent `completed` stays as it is."""
        change = patch_beside if is_too_long(data.description) else queries.replace_task
        task = await change(user, task_id, data, condition, key)
        return tagged(TaskData(task), task.version, b"", *replayed(key))

    @patch(
        "/{task_id:str}",
        guards=[check_patch_headers],
        operation_id="patchTask",
        summary="Change some of a task's fields",
        responses=failures(*CHANGE),
    )
    async def change(
        self,
        user: CurrentUser,
        task_id: FromPath[int],
        condition: IfMatch,
        key: IdempotencyKey,
        data: JSONBody[TaskPatch],
    ) -> Reply[TaskData]:
        """A JSON Merge Patch (RFC 7396): what is absent stays as it is, and null clears the description."""
        change = patch_beside if is_too_long(data.description) else queries.patch_task
        task = await change(user, task_id, data, condition, key)
        return tagged(TaskData(task), task.version, b"", *replayed(key))

    @delete(
        "/{task_id:str}",
        guards=[check_body],
        operation_id="deleteTask",
        summary="Delete a task",
        responses=failures(*REMOVAL),
    )
    async def remove(
        self, state: State, user: CurrentUser, task_id: FromPath[int], condition: IfMatch, key: IdempotencyKey
    ) -> Reply[None]:
        """It goes to the trash, from which it can be restored; unless nothing is kept here (`TRASH_DAYS=0`)."""
        for_good = not state["settings"].trash_days
        await queries.delete_task(user, task_id, condition, key, for_good=for_good)
        if for_good:
            upkeep.wake()
        return Reply(None, [*replayed(key)])

    @patch(
        "/{task_id:str}/complete",
        guards=[check_optional_body],
        operation_id="completeTask",
        summary="Set or toggle a task's completed",
        responses=failures(*CHANGE),
    )
    async def complete(
        self,
        request: Request[Any, Any, Any],
        user: CurrentUser,
        task_id: FromPath[int],
        condition: IfMatch,
        key: IdempotencyKey,
        data: JSONBody[TaskCompletion | None] = None,
    ) -> Reply[TaskData]:
        """Without a body, or with an empty object, it is turned round: two of these at once are two flips."""
        completed = check_completion(data, body_so_far(request))
        task = await queries.complete_task(user, task_id, completed, condition, key)
        return tagged(TaskData(task), task.version, b"", *replayed(key))
