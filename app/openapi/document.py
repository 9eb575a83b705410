"""The OpenAPI document.

Litestar writes down the routes. The schemas are msgspec's own, of the structs that encode and decode; parameters
are those that dependencies document; failures, headers and links are those that each handler tells of itself
(`described`). So the document says what the code does.
"""

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import msgspec
from litestar import Router
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, License, SecurityScheme, Server, Tag
from litestar.routes import HTTPRoute
from litestar.types import ControllerRouterHandler

from app import __version__
from app.openapi.described import CACHED, HEADER_OBJECTS, LIMITED, UNLIMITED, Described, FailureSpec
from app.openapi.introduction import DESCRIPTION
from app.openapi.schemas import REF, schemas
from app.web.application import App
from app.web.body import JSONRequest
from app.web.envelopes import ErrorBody, encode
from app.web.query import Documented

TAGS = [
    Tag(name="Login", description="Begin here where there is no auth server: sign up, or log in."),
    Tag(name="Tasks", description="The caller's own tasks. Somebody else's are not found."),
    Tag(name="Lists", description="Lists, in which tasks can be. Those in none are in the inbox."),
    Tag(name="Labels", description="The caller's labels, and one label of a task."),
    Tag(name="Trash", description="Deleted tasks: they can be restored, or deleted for good."),
    Tag(name="History", description="What was changed of a task, by whom, and how to bring it back."),
    Tag(name="Accounts", description="The caller's own account: profile, password, logins, personal access tokens."),
    Tag(name="Service", description="What answers here, and how it is. No token needed."),
]
CONFIG = partial(
    OpenAPIConfig,
    title="Tasks API",
    version=__version__,
    description=DESCRIPTION,
    license=License(name="MIT", identifier="MIT"),
    servers=[Server(url="/", description="Wherever this document came from.")],
    tags=TAGS,
    components=Components(
        security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")}
    ),
    use_handler_docstrings=True,
)

FIRST = ("/api/auth/signup", "/api/auth/login")  # within their tag
SUCCESSES = {
    200: "OK",
    201: "Created",
    204: "Done, with nothing to tell",
    304: "Not modified: the entity tag that was sent is current",
}


def document(handlers: Sequence[ControllerRouterHandler]) -> dict[str, Any]:
    """Return the OpenAPI document of these handlers as JSON-like data.

    They are registered with an application of their own, which is never served: with the document, Litestar
    would bring pages to it that load their scripts from elsewhere.
    """
    pages = Router("/schema", route_handlers=[], include_in_schema=False, opt={"needs_token": False})
    config = CONFIG(openapi_router=pages)
    app = App(handlers, openapi_config=config, logging_config=None, request_class=JSONRequest)
    schema: dict[str, Any] = app.openapi_schema.to_schema()
    handlers_by_id = {
        handler.operation_id: handler
        for route in app.routes
        if isinstance(route, HTTPRoute)
        for handler in route.route_handlers
    }
    described = [handler.opt.get("described", Described()) for handler in handlers_by_id.values()]
    components = schema["components"]
    bodies = {
        failure.documented_as
        for handler in handlers_by_id.values()
        for spec in (handler.responses or {}).values()
        if isinstance(spec, FailureSpec)
        for failure in spec.failures
    }
    more = (each.also.__name__ for each in described if each.also)
    components["schemas"] = schemas([*components["schemas"], *more, *bodies])
    components["headers"] = dict(HEADER_OBJECTS)
    for each in described:
        components["headers"] |= each.headers | each.when_created
    components["responses"] = {}
    schema["paths"] = dict(sorted(schema["paths"].items(), key=_place))
    for path in schema["paths"].values():
        for operation in path.values():
            _complete(operation, handlers_by_id[operation["operationId"]], components)
    used = {operation["tags"][0] for path in schema["paths"].values() for operation in path.values()}
    schema["tags"] = [tag for tag in schema["tags"] if tag["name"] in used]
    return schema


def _failure(spec: FailureSpec, components: dict[str, Any], *, counts: bool) -> dict[str, Any]:
    """Return the response of an operation that can end with these failures, which have one status."""
    first, *_, last = spec.failures[0], spec.failures[-1]
    telling = [*LIMITED] if counts and first.status not in UNLIMITED else []
    body = {
        "schema": {"$ref": REF.format(name=max((each.documented_as for each in spec.failures), key=len))},
        "examples": {
            each.message: {"value": msgspec.json.decode(encode(ErrorBody(each.error())))} for each in spec.failures
        },
    }
    failure = {
        "description": first.description or first.message,
        "headers": _headers([*telling, *(name for each in spec.failures for name in each.headers())], components),
        "content": {"application/json": body},
    }
    # The first of its code has the name; another one with it says the same, or something of its own.
    is_shared = components["responses"].setdefault(last.code, failure) == failure
    return {"$ref": f"#/components/responses/{last.code}"} if is_shared else failure


def _place(item: tuple[str, dict[str, Any]]) -> tuple[int, int, str]:
    """Return what paths are sorted by: their tag, and then themselves."""
    path, methods = item
    [tag, *_] = next(iter(methods.values()))["tags"]
    names = [each.name for each in TAGS]
    return names.index(tag), FIRST.index(path) if path in FIRST else len(FIRST), path


def _headers(names: Iterable[str], components: dict[str, Any]) -> dict[str, Any]:
    """Return references to these headers. Raises KeyError for one that nobody has described."""
    described = {name.lower(): name for name in components["headers"]}
    wanted = {described[name.lower()] for name in ("X-Request-ID", *names)}
    return {name: {"$ref": f"#/components/headers/{name}"} for name in described.values() if name in wanted}


def _complete(operation: dict[str, Any], handler: HTTPRouteHandler, components: dict[str, Any]) -> None:
    """Say what Litestar cannot know, and nothing that goes without saying."""
    responses, described = operation["responses"], handler.opt.get("described", Described())
    del operation["deprecated"]
    operation["security"] = [{"bearer": []}] if handler.opt["needs_token"] else []
    parameters = operation.pop("parameters", [])
    for parameter in parameters:
        del parameter["deprecated"]
        parameter.update(handler.opt["path_parameters"][parameter["name"]])
    dependencies = handler.resolve_dependencies()
    for name in handler.parsed_fn_signature.parameters:
        if isinstance(dependency := dependencies.get(name), Documented):
            parameters += dependency.parameters
    if parameters:
        operation["parameters"] = parameters
    if "requestBody" in operation:
        _complete_body(operation["requestBody"], described)
    else:
        responses.pop("400", None)  # Litestar's own, for parameters; ours are 422
    counts = "429" in responses
    for status, response in responses.items():
        spec = (handler.responses or {}).get(int(status))
        if isinstance(spec, FailureSpec):
            responses[status] = _failure(spec, components, counts=counts)
        else:
            _complete_success(int(status), response, described, components, counts=counts)
    operation["responses"] = dict(sorted(responses.items()))


def _complete_body(body: dict[str, Any], described: Described) -> None:
    content = body["content"]["application/json"]
    kinds = content["schema"].get("oneOf", [])
    body["required"] = {"type": "null"} not in kinds
    if not body["required"]:  # one that is not there is not null
        [content["schema"]] = [kind for kind in kinds if kind != {"type": "null"}]
    if described.example:
        content["example"] = described.example
    body["content"] = dict.fromkeys(described.media_types, content)


def _complete_success(
    status: int, response: dict[str, Any], described: Described, components: dict[str, Any], *, counts: bool
) -> None:
    if described.also and "content" in response:
        content = response["content"]["application/json"]
        content["schema"] = {"anyOf": [content["schema"], {"$ref": REF.format(name=described.also.__name__)}]}
    response["description"] = SUCCESSES[status]
    headers = CACHED if status == 304 else {**described.headers, **(described.when_created if status == 201 else {})}
    response["headers"] = _headers([*LIMITED * counts, *headers], components)
    if status in (204, 304):
        response.pop("content", None)
    if described.links and status != 304:
        response["links"] = described.links
