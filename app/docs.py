"""The OpenAPI document, and a page to try it on that needs no internet.

Litestar writes down the routes. The schemas are msgspec's own, of the structs that encode and decode, and
the failures are those of `errors`; so the document says what the code does.
"""

from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import msgspec
from litestar import Litestar, MediaType, Response, get
from litestar.datastructures import CacheControlHeader, State
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.spec import Components, License, SecurityScheme, Server, Tag
from litestar.params import FromPath
from litestar.response import File
from litestar.types import ControllerRouterHandler

from app import __version__, errors
from app.envelopes import ErrorBody

DESCRIPTION = """\
Every user's own tasks. Press **Authorize** and paste a token (`just token ada` prints one); without it,
everything under `/api/tasks` is 401.

A success is `{"data": …}`, a failure `{"error": {"code", "message"}}`. `code` is for programs and never changes,
`message` is for people.

A path that is not here is 404. A method that is not here is 405, and `Allow` lists those that are. `HEAD` works
wherever `GET` does. Paths may end in a slash.

Every answer carries `X-Request-ID`, `Cache-Control: no-store` and `X-Content-Type-Options: nosniff`."""
FAILURES: tuple[errors.Failure, ...] = (
    errors.NotJSON(),
    errors.InvalidToken(),
    errors.TaskNotFound(),
    errors.RequestTimeout(),
    errors.PayloadTooLarge(),
    errors.UnsupportedMediaType(),
    errors.Invalid("title", "Title is required"),
    errors.Invalid("id", "The id must be an integer in its plain spelling"),
    errors.HeadersTooLarge(),
    errors.Failure(),
    errors.Unavailable(),
)
CODES = {failure.status: failure.code for failure in FAILURES}
ALWAYS = (408, 431, 500)  # they can happen to any request
IN_WORDS = {
    200: "Here it is.",
    201: "Created.",
    204: "Gone.",
    422: "Understood, but not acceptable: `fields` names what.",
}
HEADERS: dict[str, Any] = {
    "X-Request-ID": {
        "description": "The caller's, if it sent 1 to 128 of `A-Za-z0-9._-`; else a new one.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
    },
    "Location": {
        "description": "Where the task can be read from now on.",
        "schema": {"type": "string", "format": "uri-reference", "examples": ["/api/tasks/42"]},
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
TASK_ID = {
    "description": "The task's `id`.",
    "schema": {"type": "integer", "format": "int64", "minimum": 1, "maximum": 2**53 - 1},
    "example": 42,
}

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tasks API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="docs"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""
START = """\
SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#docs",
  deepLinking: true,
  persistAuthorization: true,
  tryItOutEnabled: true,
  validatorUrl: null,
});
"""
# Swagger UI styles its elements inline; everything else comes from here.
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
ONE_DAY = CacheControlHeader(max_age=86_400, public=True)
ASSETS = {"swagger-ui.css": "text/css", "swagger-ui-bundle.js": "text/javascript"}

CONFIG = OpenAPIConfig(
    title="Tasks API",
    version=__version__,
    description=DESCRIPTION,
    license=License(name="MIT", identifier="MIT"),
    servers=[Server(url="/", description="Wherever this document came from.")],
    tags=[
        Tag(name="Tasks", description="The caller's own tasks. Somebody else's are not found."),
        Tag(name="Service", description="What answers here, and how it is. No token needed."),
    ],
    components=Components(
        security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")}
    ),
    use_handler_docstrings=True,
)


def failures(*statuses: int) -> dict[int, ResponseSpec]:
    """Return the `responses=` of a handler that can fail with these statuses, and as any other can."""
    return {status: ResponseSpec(ErrorBody, generate_examples=False) for status in (*statuses, *ALWAYS)}


def document(handlers: Sequence[ControllerRouterHandler]) -> dict[str, Any]:
    """Return the OpenAPI document of these handlers as JSON-like data.

    They are registered with an application of their own, which is never served: with the document, Litestar
    would bring pages to it that load their scripts from elsewhere.
    """
    schema: dict[str, Any] = Litestar(handlers, openapi_config=CONFIG, logging_config=None).openapi_schema.to_schema()
    components = schema["components"]
    components["schemas"] = _schemas(components["schemas"])
    components["headers"] = HEADERS
    components["responses"] = _failures()
    schema["paths"] = dict(sorted(schema["paths"].items()))
    for path in schema["paths"].values():
        for operation in path.values():
            _complete(operation)
    return schema


@get("/openapi.json", include_in_schema=False)
async def openapi(state: State) -> Response[bytes]:
    """The document itself, made when it is first asked for."""
    if "openapi" not in state:
        state.openapi = msgspec.json.encode(document(state.documented))
    return Response(state.openapi, media_type=MediaType.JSON)


@get("/docs", include_in_schema=False)
async def docs() -> Response[str]:
    """The page, which reads the document and sends requests from the browser."""
    return Response(PAGE, media_type=MediaType.HTML, headers={"content-security-policy": POLICY})


@get("/docs/start.js", include_in_schema=False)
async def start() -> Response[str]:
    """What the page runs; a file of its own, so that the page may forbid inline scripts."""
    return Response(START, media_type="text/javascript")


def assets() -> HTTPRouteHandler:
    """Serve Swagger UI from the package that brings it. To import that would bring FastAPI along."""
    folder = Path(str(distribution("fastapi-offline").locate_file("fastapi_offline/static")))

    @get("/docs/assets/{name:str}", cache_control=ONE_DAY, include_in_schema=False)
    async def asset(name: FromPath[str]) -> File:
        if name not in ASSETS:
            raise NotFoundException
        return File(folder / name, media_type=ASSETS[name], content_disposition_type="inline")

    return asset


def _schemas(names: Iterable[str]) -> dict[str, Any]:
    """Return msgspec's schemas of these structs. The first paragraph of a docstring is for everybody."""
    structs = {struct.__name__: struct for struct in _structs(msgspec.Struct)}
    wanted = [structs[name] for name in names if name in structs]
    _, schemas = msgspec.json.schema_components(wanted, ref_template="#/components/schemas/{name}")
    for schema in schemas.values():
        schema["description"] = schema["description"].partition("\n\n")[0]
    return dict(sorted(schemas.items()))


def _structs(base: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for struct in base.__subclasses__():
        yield struct
        yield from _structs(struct)


def _failures() -> dict[str, Any]:
    """Return a response for each code, with the examples that there are of it."""
    responses: dict[str, Any] = {}
    for failure in FAILURES:
        body = {"schema": {"$ref": "#/components/schemas/ErrorBody"}, "examples": {}}
        fresh = {
            "description": IN_WORDS.get(failure.status, failure.message),
            "headers": _headers(failure.headers()),
            "content": {"application/json": body},
        }
        examples = responses.setdefault(failure.code, fresh)["content"]["application/json"]["examples"]
        examples[failure.message] = {"value": msgspec.to_builtins(ErrorBody(failure.error()))}
    return responses


def _headers(names: Iterable[str]) -> dict[str, Any]:
    wanted = {"x-request-id", *names}
    return {name: {"$ref": f"#/components/headers/{name}"} for name in HEADERS if name.lower() in wanted}


def _complete(operation: dict[str, Any]) -> None:
    """Say what Litestar cannot know, and nothing that goes without saying."""
    del operation["deprecated"]
    operation.setdefault("security", [])
    for parameter in operation.get("parameters", []):
        del parameter["deprecated"]
        parameter.update(TASK_ID)
    responses = operation["responses"]
    if "requestBody" not in operation:
        responses.pop("400", None)  # Litestar's own, for parameters; ours are 422
    for status, response in responses.items():
        if code := CODES.get(int(status)):
            responses[status] = {"$ref": f"#/components/responses/{code}"}
        else:
            response["description"] = IN_WORDS[int(status)]
            response["headers"] = _headers(["location"] if status == "201" else [])
    operation["responses"] = dict(sorted(responses.items()))
