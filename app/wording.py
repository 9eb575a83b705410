"""What the OpenAPI document says in words: headers, parameters, and what leads to what."""

from typing import Any

from app.examples import COMMON
from app.query import MAX_LIMIT
from app.tasks.parameters import DOCUMENTED

ROWS = "\n".join(f"| {failure.status} | `{failure.code}` | {failure.message} |" for failure in COMMON)
DESCRIPTION = f"""\
Every user's own tasks. Everything under `/api/tasks` and `/api/trash` needs a token, and is 401 without one. Sign up
or log in below, if there are accounts here, and this page takes the token over. Or press **Authorize** and paste one:
`just token ada` prints one, and so does your auth server.

<details><summary>What all requests have in common, and the failures that nearly every one can end with</summary>

A success is `{{"data": …}}`, a failure `{{"error": {{"code", "message"}}}}`. `code` is for programs and never changes,
`message` is for people.

A path that is not here is 404. A method that is not here is 405, and `Allow` lists those that are. `HEAD` works
wherever `GET` does. Paths may end in a slash.

A task has a `version`, which is its `ETag` too. A change with `If-Match` is made to that version or not at all, and
with `If-None-Match` what is known already is an empty 304. A change with an `Idempotency-Key` may be sent again until
there is an answer, and is made once.

Every answer carries `X-Request-ID`, `X-Content-Type-Options: nosniff` and `Cache-Control`, which is `no-store`, or
`private, no-cache` where there is an `ETag`. Where there is a rate limit, `RateLimit` tells how much of it is left: for
the user, or for your address where a token names none. A request counts as 1; a batch as 1 for each 10 operations, a
list without `limit` as 1 more for each 1,000 tasks, one that counts, filters or sorts many tasks as 1 more for each
5,000, a search as 1 more for each 2,500 that it finds.

Nearly every request can end with one of these:

| status | code | message |
|---|---|---|
{ROWS}

</details>"""
ALWAYS = (408, 422, 431, 500)  # they can happen to any request
LIMITED = ("ratelimit-policy", "ratelimit")
UNLIMITED = (408, 431, 500, 503)  # those that can happen to a request that is not counted
IN_WORDS = {
    200: "Here it is.",
    201: "Created.",
    204: "Done.",
    304: "What you have is what there is.",
    422: "Understood, but not acceptable: `fields` names what.",
}
HEADERS: dict[str, Any] = {
    "X-Request-ID": {
        "description": "The caller's, if it sent 1 to 128 of `A-Za-z0-9._-`; else a new one.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    },
    "Accept-Patch": {
        "description": "The kinds of patch that there are, where one was of another.",
        "schema": {"type": "string"},
    },
    "Cache-Control": {
        "description": "`private, no-cache` where there is an `ETag`: the caller alone may keep it, and asks each time "
        "whether it is still so. Else `no-store`, as everywhere.",
        "schema": {"type": "string", "enum": ["private, no-cache", "no-store"]},
    },
    "ETag": {
        "description": "The task's version: for `If-Match`, so that nothing that was changed since is overwritten, and "
        "`If-None-Match`, so that nothing that is known is sent.",
        "schema": {"type": "string", "pattern": '^"[^"]*"$', "examples": ['"v7"']},
    },
    "Idempotent-Replayed": {
        "description": "There where this was the answer to an earlier request with the same `Idempotency-Key`.",
        "schema": {"type": "string", "enum": ["true"]},
    },
    "Link": {
        "description": 'Where the next page is, with `rel="next"` (RFC 8288); not there on the last one.',
        "schema": {"type": "string", "examples": ['</api/tasks?limit=50&cursor=c2VhbA>; rel="next"']},
    },
    "Location": {
        "description": "Where the task can be read from now on.",
        "schema": {"type": "string", "format": "uri-reference", "examples": ["/api/tasks/42"]},
    },
    "Preference-Applied": {
        "description": "The preference of the header `Prefer` that was followed (RFC 7240, section 3).",
        "schema": {"type": "string", "examples": ["return=minimal"]},
    },
    "RateLimit-Policy": {
        "description": "The rate limit: `q` requests within `w` seconds. Not there where there is none.",
        "schema": {"type": "string", "examples": ['"default";q=600;w=60']},
    },
    "RateLimit": {
        "description": "`r` requests are left, and in `t` seconds there are more.",
        "schema": {"type": "string", "examples": ['"default";r=599;t=62']},
    },
    "Retry-After": {
        "description": "In how many seconds to try again.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": '`Bearer`, with `error="invalid_token"` where a token was sent.',
        "schema": {"type": "string"},
    },
}
PARAMETERS: dict[str, Any] = {
    "task_id": {
        "description": "The task's `id`.",
        "schema": {"type": "integer", "format": "int64", "minimum": 1, "maximum": 2**53 - 1},
        "example": 42,
    },
    "session_id": {"description": "The session's `id`.", "example": "Zk3v8wXq1mYt5RbL"},
    "token_id": {"description": "The token's `id`.", "example": "Zk3v8wXq1mYt5RbL"},
}
TAGS = {"type": "string", "examples": ['"v7"']}
IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The entity tag of the version that this change is for; of any other it is 412 (RFC 9110, section "
    "13.1.1).",
    "schema": TAGS,
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The entity tags of what is known already: then the answer is an empty 304 (RFC 9110, section "
    "13.1.2).",
    "schema": TAGS,
}
UNLESS_MATCH = {
    **IF_NONE_MATCH,
    "description": "The entity tags of versions that the task must not have; of one of them, and of `*`, it is 412 "
    "(RFC 9110, section 13.1.2).",
}
PREFER = {
    "name": "Prefer",
    "in": "header",
    "required": False,
    "description": "`return=minimal` or `return=representation`, where the parameter `return` says nothing (RFC 7240). "
    "Other preferences are ignored.",
    "schema": {"type": "string", "examples": ["return=minimal"]},
}
PAGES: dict[str, Any] = {
    "limit": {
        "description": "How many items a page has at most. Without a parameter, all of them are told.",
        "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "examples": [20]},
    },
    "cursor": {
        "description": "Where the page begins: `page.next` of the one before. It keeps its page's `limit`.",
        "schema": {"type": "string", "format": "cursor"},
    },
}
# What a handler reads out of the query by itself.
QUERIES: dict[str, dict[str, Any]] = {
    "listTasks": DOCUMENTED,
    "listSessions": PAGES,
    "listTokens": PAGES,
    "listTrash": PAGES,
    "getTaskHistory": {
        "limit": {
            "description": "How many changes at most.",
            "schema": {"type": "integer", "minimum": 1, "maximum": 200, "default": 50},
        },
        "before": {
            "description": "Changes that led to an earlier version than this one: the `next` of the page before.",
            "schema": {"type": "integer", "minimum": 0, "maximum": 2**53 - 1},
        },
    },
    "batchTasks": {
        "dry_run": {
            "description": "Whether to do all of it and then take it back: the answer tells what would come of it.",
            "schema": {"type": "boolean", "default": False},
        },
        "return": {
            "description": "With `minimal`, `data` has the ids and versions of tasks alone. The header "
            "`Prefer: return=minimal` (RFC 7240) asks for the same.",
            "schema": {"type": "string", "enum": ["minimal", "representation"], "default": "representation"},
        },
    },
}
EXAMPLE = [{"op": "create", "data": {"title": "Buy milk"}}, {"op": "update", "id": 42, "data": {"completed": True}}]


def _leads_to(*operations: str, by: str, source: str) -> dict[str, Any]:
    return {name: {"operationId": name, "parameters": {by: source}} for name in operations}


# What can be asked for next (OpenAPI 3.1.0, section 4.8.20), by what is in an answer, or by whose answer it is.
LINKS: dict[str, dict[str, Any]] = {
    "TaskData": _leads_to(
        "getTask",
        "replaceTask",
        "patchTask",
        "completeTask",
        "deleteTask",
        "getTaskHistory",
        "revertTask",
        by="task_id",
        source="$response.body#/data/id",
    ),
    "deleteTask": _leads_to("restoreTask", "purgeTask", by="task_id", source="$request.path.task_id"),
    "TrashData": _leads_to("restoreTask", "purgeTask", by="task_id", source="$response.body#/data/0/id"),
    "NewPersonalTokenData": _leads_to("deleteToken", by="token_id", source="$response.body#/data/id"),
}
LINKS["HistoryData"] = _leads_to("revertTask", by="task_id", source="$request.path.task_id")
LINKS["HistoryData"]["revertTask"]["requestBody"] = {"version": "$response.body#/data/0/version"}
