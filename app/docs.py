"""The OpenAPI document, and a page to try it on that needs no internet.

Litestar writes down the routes. The schemas are msgspec's own, of the structs that encode and decode, and
the failures are those of `errors`; so the document says what the code does.
"""

from collections.abc import Iterable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec
from litestar import Litestar, MediaType, Response, Router, get
from litestar.datastructures import CacheControlHeader, State
from litestar.openapi import OpenAPIConfig, ResponseSpec
from litestar.openapi.spec import Components, License, SecurityScheme, Tag
from litestar.static_files import create_static_files_router
from litestar.types import ControllerRouterHandler

from app import __version__
from app.envelopes import ErrorBody
from app.errors import (
    BadRequest,
    Failure,
    Invalid,
    InvalidToken,
    PayloadTooLarge,
    TaskNotFound,
    Unavailable,
    UnsupportedMediaType,
)

DESCRIPTION = """\
Every user's own tasks. Press **Authorize** and paste a token (`just token ada` prints one); without it,
everything under `/api/tasks` is 401.

A success is `{"data": …}`, a failure `{"error": {"code", "message"}}`. Paths work with and without a trailing
slash. Every answer carries `X-Request-ID`, `Cache-Control: no-store` and `X-Content-Type-Options: nosniff`.
"""
EXAMPLES: tuple[Failure, ...] = (
    BadRequest(),
    InvalidToken(),
    TaskNotFound(),
    PayloadTooLarge(),
    UnsupportedMediaType(),
    Invalid("title", "Title is required"),
    Failure(),
    Unavailable(),
)
BY_STATUS = {failure.status: failure for failure in EXAMPLES}
HEADERS = {
    "location": "Where the task can be read.",
    "retry-after": "In how many seconds to try again.",
    "www-authenticate": '`Bearer`, with `error="invalid_token"` where a token was sent.',
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

CONFIG = OpenAPIConfig(
    title="Tasks API",
    version=__version__,
    description=DESCRIPTION,
    license=License(name="MIT", identifier="MIT"),
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
    """Return the `responses=` of a handler that can fail with these statuses, and with a 500 like any other."""
    return {
        status: ResponseSpec(ErrorBody, description=BY_STATUS[status].message, generate_examples=False)
        for status in (*statuses, 500)
    }


def document(handlers: Sequence[ControllerRouterHandler]) -> dict[str, Any]:
    """Return the OpenAPI document of these handlers as JSON-like data.

    They are registered with an application of their own, which is never served: with the document, Litestar
    would bring pages to it that load their scripts from elsewhere.
    """
    schema: dict[str, Any] = Litestar(
        handlers, openapi_config=CONFIG, logging_config=None
    ).openapi_schema.to_schema()
    named = {struct.__name__: struct for struct in _structs(msgspec.Struct)}
    wanted = [named[name] for name in sorted(schema["components"]["schemas"]) if name in named]
    _, schema["components"]["schemas"] = msgspec.json.schema_components(
        wanted, ref_template="#/components/schemas/{name}"
    )
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


def assets() -> Router:
    """Serve Swagger UI from the package that brings it, which is never imported: it would bring FastAPI along."""
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise RuntimeError("fastapi-offline is not installed")
    folder = Path(spec.origin).parent / "static"
    return create_static_files_router(
        "/docs/assets", [folder], cache_control=ONE_DAY, include_in_schema=False
    )


def _structs(base: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for struct in base.__subclasses__():
        yield struct
        yield from _structs(struct)


def _complete(operation: dict[str, Any]) -> None:
    """Add what Litestar cannot know: examples of failures, and the headers that tell a client more."""
    responses = operation["responses"]
    if "requestBody" not in operation:
        responses.pop("400", None)  # Litestar's own, for parameters; ours are 422
    for status, response in responses.items():
        if failure := BY_STATUS.get(int(status)):
            example = ErrorBody(failure.error())
            response["content"]["application/json"]["example"] = msgspec.to_builtins(example)
            names: Iterable[str] = failure.headers()
        else:
            names = ["location"] if status == "201" else []
        response["headers"] = {
            name.title(): {"description": HEADERS[name], "schema": {"type": "string"}} for name in names
        }
