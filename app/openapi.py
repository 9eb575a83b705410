"""The OpenAPI document.

Litestar writes down the routes. The schemas are msgspec's own, of the structs that encode and decode, and
the failures are those of `failures`; so the document says what the code does.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.spec import Components, License, SecurityScheme, Server, Tag
from litestar.types import ControllerRouterHandler

from app import __version__
from app.envelopes import ErrorBody
from app.failures import Failure
from app.handlers import App
from app.tasks.keys import PARAMETER as IDEMPOTENCY_KEY
from app.wording import (
    ALWAYS,
    CODES,
    DESCRIPTION,
    EXAMPLE,
    FAILURES,
    HEADERS,
    IF_MATCH,
    IF_NONE_MATCH,
    IN_WORDS,
    LIMITED,
    LINKS,
    OTHERS,
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
        Tag(name="Tasks", description="The caller's own tasks. Somebody else's are not found."),
        Tag(name="Accounts", description="For those who have no auth server: sign up, log in, and what belongs to it."),
        Tag(name="Service", description="What answers here, and how it is. No token needed."),
    ],
    components=Components(
        security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")}
    ),
    use_handler_docstrings=True,
)

LISTS_IN_PAGES = ("TaskListData", "TrashData", "SessionListData", "PersonalTokenListData")
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
    components["schemas"] = _schemas(components["schemas"])
    components["headers"] = HEADERS
    components["responses"] = _failures()
    schema["paths"] = dict(sorted(schema["paths"].items()))
    for path in schema["paths"].values():
        for method, operation in path.items():
            _complete(operation, components, takes_a_key=method != "get" and operation["tags"] == ["Tasks"])
    return schema


def _schemas(names: Iterable[str]) -> dict[str, Any]:
    """Return msgspec's schemas of these structs. The first paragraph of a docstring is for everybody."""
    structs = {struct.__name__: struct for struct in _structs(msgspec.Struct)}
    wanted = [structs[name] for name in names if name in structs]
    _, schemas = msgspec.json.schema_components(wanted, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        schema["description"] = schema["description"].partition("\n\n")[0]
    if "TaskCompletion" in schemas:
        schemas["TaskCompletion"] |= {"if": {"minProperties": 1}, "then": {"required": ["completed"]}}
    return dict(sorted(schemas.items()))


def _structs(base: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for struct in base.__subclasses__():
        yield struct
        yield from _structs(struct)


def _failures() -> dict[str, Any]:
    """Return a response for each code, with the examples that there are of it."""
    responses: dict[str, Any] = {}
    for failure in (*FAILURES, *OTHERS):
        body = {"schema": {"$ref": "#/components/schemas/ErrorBody"}, "examples": {}}
        fresh = {
            "description": IN_WORDS.get(failure.status, failure.message),
            "headers": _headers(LIMITED if failure.status not in UNLIMITED else ()),
            "content": {"application/json": body},
        }
        response = responses.setdefault(failure.code if failure in OTHERS else CODES[failure.status], fresh)
        response["headers"] |= _headers(failure.headers())
        examples = response["content"]["application/json"]["examples"]
        examples[failure.message] = {"value": msgspec.to_builtins(ErrorBody(failure.error()))}
    # Where a cursor or a key may be wrong, so may everything else.
    examples = {code: response["content"]["application/json"]["examples"] for code, response in responses.items()}
    for code in ("INVALID_CURSOR", "IDEMPOTENCY_KEY_REUSED"):
        examples[code].update(examples[CODES[422]])
    return responses


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
        if int(status) >= 400:
            code = response["description"]
            responses[status] = {"$ref": f"#/components/responses/{code}"}
            if status == "422" and "429" not in responses:  # of a request that is not counted
                responses[status] = components["responses"][code] | {"headers": _headers(())}
        else:
            _complete_success(name, status, response, counts="429" in responses, takes_a_key=takes_a_key)
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
