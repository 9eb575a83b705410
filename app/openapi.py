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
from app import failures as known
from app.envelopes import ErrorBody
from app.failures import Failure
from app.handlers import App

DESCRIPTION = """\
Every user's own tasks. Everything under `/api/tasks` needs a token, and is 401 without one. Sign up or log in
below, if there are accounts here, and this page takes the token over. Or press **Authorize** and paste one:
`just token ada` prints one, and so does your auth server.

A success is `{"data": …}`, a failure `{"error": {"code", "message"}}`. `code` is for programs and never changes,
`message` is for people.

A path that is not here is 404. A method that is not here is 405, and `Allow` lists those that are. `HEAD` works
wherever `GET` does. Paths may end in a slash.

Every answer carries `X-Request-ID`, `Cache-Control: no-store` and `X-Content-Type-Options: nosniff`. Where there is a
rate limit, `RateLimit` tells how much of it is left: for the user, or for your address where a token names none."""
FAILURES: tuple[Failure, ...] = (
    known.NotJSON(),
    known.InvalidToken(),
    known.Forbidden("This token may only read."),
    known.TaskNotFound(),
    known.RequestTimeout(),
    known.EmailTaken(),
    known.PayloadTooLarge(),
    known.UnsupportedMediaType(),
    known.Invalid("title", "Title is required"),
    known.Invalid("id", "The id must be an integer in its plain spelling"),
    known.TooManyRequests(42),
    known.TooManyRequests(900, "Too many failed logins. Try again later."),
    known.HeadersTooLarge(),
    Failure(),
    known.Unavailable(),
)
# Those that share their status with another, which the handlers that raise them name by class.
OTHERS: tuple[Failure, ...] = (known.InvalidCredentials(),)
CODES = {failure.status: failure.code for failure in FAILURES}
ALWAYS = (408, 431, 500)  # they can happen to any request
LIMITED = ("ratelimit-policy", "ratelimit")
UNLIMITED = (*ALWAYS, 503)  # those that can happen to a request that is not counted
IN_WORDS = {
    200: "Here it is.",
    201: "Created.",
    204: "Done.",
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
# What an answer holds can be asked for next, by its id.
LINKS = {
    "TaskData": ("task_id", ("getTask", "replaceTask", "flipTask", "deleteTask")),
    "NewPersonalTokenData": ("token_id", ("deleteToken",)),
}

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
        for operation in path.values():
            _complete(operation)
    return schema


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
    for failure in (*FAILURES, *OTHERS):
        body = {"schema": {"$ref": "#/components/schemas/ErrorBody"}, "examples": {}}
        fresh = {
            "description": IN_WORDS.get(failure.status, failure.message),
            "headers": _headers([*failure.headers(), *(LIMITED if failure.status not in UNLIMITED else ())]),
            "content": {"application/json": body},
        }
        examples = responses.setdefault(failure.code, fresh)["content"]["application/json"]["examples"]
        examples[failure.message] = {"value": msgspec.to_builtins(ErrorBody(failure.error()))}
    return responses


def _headers(names: Iterable[str]) -> dict[str, Any]:
    wanted = {"x-request-id", *names}
    return {name: {"$ref": f"#/components/headers/{name}"} for name in HEADERS if name.lower() in wanted}


def _links(response: dict[str, Any]) -> dict[str, Any]:
    """Return what can be done next with what a response holds (OpenAPI 3.1.0, section 4.8.20)."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    parameter, operations = LINKS.get(schema.get("$ref", "").rpartition("/")[2], ("", ()))
    return {name: {"operationId": name, "parameters": {parameter: "$response.body#/data/id"}} for name in operations}


def _complete(operation: dict[str, Any]) -> None:
    """Say what Litestar cannot know, and nothing that goes without saying."""
    del operation["deprecated"]
    operation.setdefault("security", [])
    for parameter in operation.get("parameters", []):
        del parameter["deprecated"]
        parameter.update(PARAMETERS[parameter["name"]])
    responses = operation["responses"]
    if "requestBody" not in operation:
        responses.pop("400", None)  # Litestar's own, for parameters; ours are 422
    for status, response in responses.items():
        if int(status) >= 400:
            responses[status] = {"$ref": f"#/components/responses/{response['description']}"}
        else:
            response["description"] = IN_WORDS[int(status)]
            telling = [*(LIMITED if "429" in responses else ())]
            telling += ["location"] if operation["operationId"] == "createTask" else []
            response["headers"] = _headers(telling)
            if links := _links(response):
                response["links"] = links
    operation["responses"] = dict(sorted(responses.items()))
