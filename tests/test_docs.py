"""The OpenAPI document tells the truth, all of it, and its page needs nothing from elsewhere."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from app import __version__, docs
from app.bodies import MAX_BODY_BYTES
from app.database import database
from app.main import DOCUMENTED

MAX_ID = 9007199254740991
AT_THE_SOCKET_OR_A_BUG = {"408", "431", "500"}  # tests/live has the first two


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document, as JSON leaves it."""
    return json.loads(json.dumps(docs.document(DOCUMENTED)))


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def look_up(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """What a `$ref` stands for, or the value itself."""
    if "$ref" not in value:
        return value
    found: Any = document
    for part in value["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found


def responses(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(operation id, status, response) of all that is documented."""
    for _, _, operation in operations(document):
        for status, response in operation["responses"].items():
            yield operation["operationId"], status, look_up(document, response)


def fits(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    whole = {**schema, "components": document["components"]}
    Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)


def everything(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in the document."""
    if isinstance(value, dict):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from everything(each)


class TestDocument:
    def test_it_is_valid_openapi(self, document: dict[str, Any]) -> None:
        validate(document)
        assert document["openapi"] == "3.1.0"
        assert document["info"]["version"] == __version__
        assert document["servers"] == [{"url": "/", "description": "Wherever this document came from."}]

    def test_it_has_every_endpoint_and_no_other(self, document: dict[str, Any]) -> None:
        assert [(path, method) for path, method, _ in operations(document)] == [
            ("/", "get"),
            ("/api/health", "get"),
            ("/api/tasks", "get"),
            ("/api/tasks", "post"),
            ("/api/tasks/{task_id}", "get"),
            ("/api/tasks/{task_id}", "put"),
            ("/api/tasks/{task_id}", "delete"),
            ("/api/tasks/{task_id}/complete", "patch"),
            ("/health/live", "get"),
            ("/health/ready", "get"),
        ]

    def test_every_operation_has_an_id_of_its_own_a_summary_and_says_who_may_call_it(
        self, document: dict[str, Any]
    ) -> None:
        ids = [operation["operationId"] for _, _, operation in operations(document)]
        assert len(set(ids)) == len(ids)
        for path, _, operation in operations(document):
            assert operation["summary"]
            assert operation["description"]
            is_task = path.startswith("/api/tasks")
            assert operation["tags"] == (["Tasks"] if is_task else ["Service"])
            assert operation["security"] == ([{"bearer": []}] if is_task else [])
        assert document["components"]["securitySchemes"] == {
            "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
        }

    def test_every_failure_has_the_envelope_and_what_can_happen_to_all_is_told_of_all(
        self, document: dict[str, Any]
    ) -> None:
        for _, _, operation in operations(document):
            assert {"408", "431", "500"} <= operation["responses"].keys()
        for name, status, response in responses(document):
            if status >= "400":
                schema = response["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/ErrorBody"}, (name, status)

    def test_every_response_names_its_headers_as_they_are_spelt(self, document: dict[str, Any]) -> None:
        more = {"201": {"Location"}, "401": {"WWW-Authenticate"}, "503": {"Retry-After"}}
        for name, status, response in responses(document):
            assert response["headers"].keys() == {"X-Request-ID"} | more.get(status, set()), (name, status)
        headers = document["components"]["headers"]
        assert headers["Retry-After"]["schema"]["type"] == "integer"

    def test_422_is_described_for_all_of_its_reasons(self, document: dict[str, Any]) -> None:
        descriptions = {response["description"] for _, status, response in responses(document) if status == "422"}
        assert descriptions == {"Understood, but not acceptable: `fields` names what."}

    def test_ids_are_what_javascript_can_hold(self, document: dict[str, Any]) -> None:
        in_body = document["components"]["schemas"]["Task"]["properties"]["id"]
        assert (in_body["minimum"], in_body["maximum"]) == (1, MAX_ID)
        parameters = [
            parameter for _, _, operation in operations(document) for parameter in operation.get("parameters", [])
        ]
        assert len(parameters) == 4
        for parameter in parameters:
            assert (parameter["name"], parameter["in"], parameter["required"]) == ("task_id", "path", True)
            assert parameter["schema"] == {
                "type": "integer",
                "format": "int64",
                "minimum": 1,
                "maximum": MAX_ID,
            }

    def test_every_example_fits_its_schema(self, document: dict[str, Any]) -> None:
        checked = 0
        for each in everything(document):
            schema = each.get("schema", each)
            given = each.get("examples", [])
            examples = [one["value"] for one in given.values()] if isinstance(given, dict) else [*given]
            for example in [*examples, *([each["example"]] if "example" in each else [])]:
                fits(document, schema, example)
                checked += 1
        assert checked > 25

    def test_nothing_in_it_is_noise(self, document: dict[str, Any]) -> None:
        for each in everything(document):
            assert "deprecated" not in each
            if isinstance(text := each.get("description", ""), str):
                assert text == "\n".join(line.strip() for line in text.strip().splitlines()), text
        # What a docstring tells the developers of the service stays with them.
        said = " ".join(schema["description"] for schema in document["components"]["schemas"].values())
        assert not re.search(r"checked here|queries|select", said)


class TestTruth:
    async def test_it_is_what_a_client_gets(self, document: dict[str, Any], stranger: httpx.AsyncClient) -> None:
        for _ in range(2):
            answer = await stranger.get("/openapi.json")
            assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
            assert answer.json() == document

    async def test_every_answer_of_a_tour_is_as_documented_and_the_tour_sees_all_that_is(
        self, document: dict[str, Any], ada: httpx.AsyncClient, stranger: httpx.AsyncClient
    ) -> None:
        seen: set[tuple[str, str]] = set()
        mine = (await ada.post("/api/tasks", json={"title": "Buy milk"})).json()["data"]["id"]

        async def go(
            method: str, path: str, task_id: Any = mine, *, client: httpx.AsyncClient = ada, **request: Any
        ) -> None:
            answer = await client.request(method, path.format(task_id=task_id), **request)
            operation = document["paths"][path][method]
            status = str(answer.status_code)
            response = look_up(document, operation["responses"][status])
            seen.add((operation["operationId"], status))
            for name, header in response["headers"].items():
                schema = look_up(document, header)["schema"]
                value = answer.headers[name]
                fits(document, schema, int(value) if schema["type"] == "integer" else value)
            if "content" in response:
                assert answer.headers["content-type"] == "application/json"
                fits(document, response["content"]["application/json"]["schema"], answer.json())
            else:
                assert answer.content == b""

        tasks, task, flip = "/api/tasks", "/api/tasks/{task_id}", "/api/tasks/{task_id}/complete"
        service = ["/", "/health/live", "/health/ready", "/api/health"]
        known = [("get", tasks), ("get", task), ("put", task), ("patch", flip)]
        bodies: list[dict[str, Any]] = [
            {"content": b"{"},
            {"content": b"x" * (MAX_BODY_BYTES + 1)},
            {"content": b"{}", "headers": {"content-type": "text/plain"}},
            {"json": {"title": ""}},
            {"json": {"title": "Buy milk", "description": "Two litres"}},
        ]
        for body in bodies:
            await go("post", tasks, **body)
            await go("put", task, **body)
        for method, path in [("get", tasks), ("get", task), ("patch", flip), ("delete", task)]:
            await go(method, path, content=b"x", headers={"content-encoding": "gzip"})
            await go(method, path, content=b"x" * (MAX_BODY_BYTES + 1))
        for method, path in [*known, ("delete", task)]:
            await go(method, path, json={"title": "Buy oats"} if method == "put" else None)
        for method, path in [("post", tasks), *known, ("delete", task)]:
            await go(method, path, client=stranger)
            if path != tasks:
                await go(method, path, mine + 99, json={"title": "x"} if method == "put" else None)
                await go(method, path, "abc", json={"title": "x"} if method == "put" else None)
        for path in service:
            await go("get", path)
        try:
            database.ready = False
            for method, path in [
                ("post", tasks),
                *known,
                ("delete", task),
                ("get", service[2]),
                ("get", service[3]),
            ]:
                await go(method, path, json={"title": "x"} if method in ("post", "put") else None)
        finally:
            database.ready = True

        told = {(name, status) for name, status, _ in responses(document)}
        assert {each for each in told if each[1] not in AT_THE_SOCKET_OR_A_BUG} == seen

    async def test_what_the_body_s_schema_refuses_the_service_refuses_too(
        self, document: dict[str, Any], ada: httpx.AsyncClient
    ) -> None:
        schema = document["components"]["schemas"]["TaskContent"]
        validator = Draft202012Validator(schema)
        bodies: list[Any] = [
            {"title": "x"},
            {"title": "x", "description": None, "anything": [1]},
            {"title": "x" * 500},
            {"title": "x" * 501},
            {"title": ""},
            {"title": " \n"},
            {"title": None},
            {"title": 1},
            {"title": "x", "description": 1},
            {},
            [],
            "x",
        ]
        for body in bodies:
            answer = await ada.post("/api/tasks", content=json.dumps(body))
            assert (answer.status_code == 201) == validator.is_valid(body), body


class TestPage:
    async def test_the_page_loads_nothing_from_elsewhere(self, stranger: httpx.AsyncClient) -> None:
        page = await stranger.get("/docs")

        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert "default-src 'self'" in page.headers["content-security-policy"]
        links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert links == [
            "data:,",
            "/docs/assets/swagger-ui.css",
            "/docs/assets/swagger-ui-bundle.js",
            "/docs/start.js",
        ]
        assert (await stranger.get("/docs/")).content == page.content

    @pytest.mark.parametrize(
        ("path", "media_type"),
        [
            ("/docs/assets/swagger-ui.css", "text/css; charset=utf-8"),
            ("/docs/assets/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
        ],
    )
    async def test_what_it_loads_may_be_kept_for_a_day(
        self, stranger: httpx.AsyncClient, path: str, media_type: str
    ) -> None:
        answer = await stranger.get(path)

        assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
        assert answer.headers["cache-control"] == "max-age=86400, public"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert len(answer.content) > 100_000
        head = await stranger.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == answer.headers["content-length"]

    async def test_its_script_shows_our_document_and_asks_no_validator(self, stranger: httpx.AsyncClient) -> None:
        answer = await stranger.get("/docs/start.js")

        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
        assert 'url: "/openapi.json"' in answer.text
        assert "validatorUrl: null" in answer.text

    @pytest.mark.parametrize(
        "name",
        [
            "",
            ".",
            "%00",
            "swagger-ui.css%00",
            "%2e%2e%2f%2e%2e%2fcore.py",
            "..%2f__init__.py",
            "..%5c__init__.py",
            "../core.py",
            "%2fetc%2fpasswd",
            "/etc/passwd",
            "%ff",
            "x" * 300,
            "swagger-ui.css/x",
            "SWAGGER-UI.CSS",
            "redoc.standalone.js",
        ],
    )
    async def test_there_is_nothing_else_there(self, stranger: httpx.AsyncClient, name: str) -> None:
        answer = await stranger.get(f"/docs/assets/{name}")

        assert answer.status_code == 404
        assert answer.json() == {"error": {"code": "NOT_FOUND", "message": "There is nothing here."}}
