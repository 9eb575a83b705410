"""The OpenAPI document.

Litestar writes down the routes. The schemas are msgspec's own, of the structs that encode and decode, and
the failures are those of `failures`; so the document says what the code does.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.spec import Components, License, SecurityScheme, Server, Tag
from litestar.types import ControllerRouterHandler

from app import __version__
from app.envelopes import ErrorBody
from app.examples import EXAMPLES, KEY_REUSED, fitting
from app.failures import Failure
from app.handlers import App
from app.schemas import REF, schemas
from app.tasks.keys import PARAMETER as IDEMPOTENCY_KEY
from app.wording import (
    ALWAYS,
    DESCRIPTION,
    EXAMPLE,
    HEADERS,
    IF_MATCH,
    IF_NONE_MATCH,
    IN_WORDS,
    LIMITED,
    LINKS,
    PARAMETERS,
    PREFER,
    QUERIES,
    UNLESS_MATCH,
    UNLIMITED,
)

CONFIG = OpenAPIConfig(
    title="Tasks API",
    version=__version__,
    description=DESCRIPTION,
    license=License(name="MIT", identifier="MIT"),
    servers=[Server(url="/", description="Wherever this document came from.")],
    tags=[
        Tag(name="Login", description="Begin here where there is no auth server: sign up, or log in."),
        Tag(name="Tasks", description="The caller's own tasks. Somebody else's are not found."),
        Tag(name="Trash", description="Deleted tasks: they can be restored, or deleted for good."),
        Tag(name="History", description="What was changed of a task, by whom, and how to bring it back."),
        Tag(
            name="Accounts", description="The caller's own account: profile, password, logins, personal access tokens."
        ),
        Tag(name="Service", description="What answers here, and how it is. No token needed."),
    ],
    components=Components(
        security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")}
    ),
    use_handler_docstrings=True,
)

OF_TASKS = ("Tasks", "Trash", "History")
FIRST = ("/api/auth/signup", "/api/auth/login")  # within their tag
LISTS_IN_PAGES = ("TaskListData", "TrashData", "SessionListData", "PersonalTokenListData")
CODES = {failure.status: failure.code for failure, _ in reversed(EXAMPLES)}
# The `responses=` of a handler whose answer may be known already.
NOT_MODIFIED: dict[int, ResponseSpec] = {304: ResponseSpec(None, description=IN_WORDS[304])}


def failures(*those: int | type[Failure]) -> dict[int, ResponseSpec]:
    """Return the `responses=` of a handler that can fail with these statuses or failures, and as any other can."""
    codes = {each: CODES[each] for each in ALWAYS}
    for each in those:
        codes |= {each: CODES[each]} if isinstance(each, int) else {each.status: each.code}
    return {
        status: ResponseSpec(ErrorBody, generate_examples=False, description=code) for status, code in codes.items()
    }


def document(handlers: Sequence[ControllerRouterHandler]) -> dict[str, Any]:
    """Return the OpenAPI document of these handlers as JSON-like data.

    They are registered with an application of their own, which is never served: with the document, Litestar
    would bring pages to it that load their scripts from elsewhere.
    """
    schema: dict[str, Any] = App(handlers, openapi_config=CONFIG, logging_config=None).openapi_schema.to_schema()
    components = schema["components"]
    components["schemas"] = schemas([*components["schemas"], "TaskFieldsData"])
    components["headers"] = HEADERS
    components["responses"] = {}
    schema["paths"] = dict(sorted(schema["paths"].items(), key=_place))
    for path in schema["paths"].values():
        for method, operation in path.items():
            changes_tasks = method != "get" and operation["tags"][0] in OF_TASKS
            takes_a_key = changes_tasks or operation["operationId"] == "createToken"
            _complete(operation, components, takes_a_key=takes_a_key)
    used = {operation["tags"][0] for path in schema["paths"].values() for operation in path.values()}
    schema["tags"] = [tag for tag in schema["tags"] if tag["name"] in used]
    return schema


def _failure(status: int, code: str, operation: dict[str, Any], *, counts: bool) -> dict[str, Any]:
    """Return the response of an operation with this status, with examples that fit the operation."""
    those = fitting(status, operation["operationId"], operation["tags"])
    those += [KEY_REUSED] if code == KEY_REUSED.code else []
    telling = [*LIMITED] if counts and status not in UNLIMITED else []
    body = {
        "schema": {"$ref": REF.format(name="ErrorBody")},
        "examples": {each.message: {"value": msgspec.to_builtins(ErrorBody(each.error()))} for each in those},
    }
    return {
        "description": IN_WORDS.get(status, those[0].message),
        "headers": _headers([*telling, *(name for each in those for name in each.headers())]),
        "content": {"application/json": body},
    }


def _place(item: tuple[str, dict[str, Any]]) -> tuple[int, int, str]:
    """Return what paths are sorted by: their tag, and then themselves."""
    path, methods = item
    [tag, *_] = next(iter(methods.values()))["tags"]
    names = [each.name for each in CONFIG.tags or ()]
    return names.index(tag), FIRST.index(path) if path in FIRST else len(FIRST), path


def _headers(names: Iterable[str]) -> dict[str, Any]:
    wanted = {"x-request-id", *names}
    return {name: {"$ref": f"#/components/headers/{name}"} for name in HEADERS if name.lower() in wanted}


def _complete(operation: dict[str, Any], components: dict[str, Any], *, takes_a_key: bool) -> None:
    """Say what Litestar cannot know, and nothing that goes without saying."""
    name, responses = operation["operationId"], operation["responses"]
    del operation["deprecated"]
    operation.setdefault("security", [])
    parameters = operation.pop("parameters", [])
    for parameter in parameters:
        del parameter["deprecated"]
        parameter.update(PARAMETERS[parameter["name"]])
    for query, parameter in QUERIES.get(name, {}).items():
        parameters.append({"name": query, "in": "query", "required": False, **parameter})
    parameters += [IDEMPOTENCY_KEY] if takes_a_key else []
    if "412" in responses:
        parameters += [PREFER] if name == "batchTasks" else [IF_MATCH, UNLESS_MATCH]
    parameters += [IF_NONE_MATCH] if "304" in responses else []
    if parameters:
        operation["parameters"] = parameters
    if "requestBody" in operation:
        _complete_body(name, operation["requestBody"])
    else:
        responses.pop("400", None)  # Litestar's own, for parameters; ours are 422
    for status, response in responses.items():
        counts = "429" in responses
        if int(status) >= 400:
            code = response["description"]
            failure = _failure(int(status), code, operation, counts=counts)
            # The first of its code has the name; another one with it says the same, or something of its own.
            is_shared = components["responses"].setdefault(code, failure) == failure
            responses[status] = {"$ref": f"#/components/responses/{code}"} if is_shared else failure
        else:
            _complete_success(name, status, response, counts=counts, takes_a_key=takes_a_key)
    operation["responses"] = dict(sorted(responses.items()))


def _complete_body(name: str, body: dict[str, Any]) -> None:
    content = body["content"]["application/json"]
    kinds = content["schema"].get("oneOf", [])
    body["required"] = {"type": "null"} not in kinds
    if not body["required"]:  # one that is not there is not null
        [content["schema"]] = [kind for kind in kinds if kind != {"type": "null"}]
    if name == "batchTasks":
        content["example"] = {"operations": EXAMPLE}
    if name == "patchTask":
        body["content"] = {"application/merge-patch+json": content, "application/json": content}


def _complete_success(name: str, status: str, response: dict[str, Any], *, counts: bool, takes_a_key: bool) -> None:
    kind = _kind(response)
    telling = [*LIMITED] if counts else []
    telling += ["location"] if name == "createTask" else []
    telling += ["etag", "cache-control"] if status == "304" or kind in ("TaskData", "TaskListData") else []
    telling += ["preference-applied"] if name == "batchTasks" else []
    telling += ["idempotent-replayed"] if takes_a_key else []
    telling += ["link"] if kind in LISTS_IN_PAGES else []
    if kind == "TaskListData":
        whole, some = ({"$ref": REF.format(name=name)} for name in ("TaskListData", "TaskFieldsData"))
        response["content"]["application/json"]["schema"] = {"anyOf": [whole, some]}
    response["description"] = IN_WORDS[int(status)]
    response["headers"] = _headers(telling)
    if status in ("204", "304"):
        response.pop("content", None)
    if links := LINKS.get(kind) or LINKS.get(name):
        response["links"] = links


def _kind(response: dict[str, Any]) -> str:
    """Return the name of what a response holds."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    return schema.get("$ref", "").rpartition("/")[2]
