"""The OpenAPI document tells the truth, all of it, and its page needs nothing from elsewhere."""

import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from jsonschema import Draft202012Validator
from litestar import Litestar
from openapi_spec_validator import validate

from app import __version__
from app.config import settings
from app.config.parsing import Rate
from app.db.engine import database
from app.main import ACCOUNTS, ALWAYS, create_app
from app.openapi import document as openapi_document
from app.web.body import MAX_BODY_BYTES
from app.web.failures import Failure
from app.web.response_budget import LARGE_BYTES
from tests.conftest import pieces_of, visitor
from tests.conftest import token as token_of

MAX_ID = 9007199254740991
LIMITED = ("RateLimit-Policy", "RateLimit")
REPLAYED = "Idempotent-Replayed"  # seen in tests/tasks/test_idempotency.py
REVISION = "X-Revision"  # seen in tests/tasks/test_revisions.py; a dry run has none
SOMETIMES = (*LIMITED, REPLAYED, REVISION, "Link", "Accept-Patch", "Preference-Applied")  # headers
SEEN_ELSEWHERE = {"408", "431", "500", "429"}  # the first two in tests/live, the last below

# In tests/tasks/test_documented.py.
TOURED_ELSEWHERE = {
    "listTrash",
    "restoreTask",
    "purgeTask",
    "emptyTrash",
    "getTaskHistory",
    "revertTask",
    "patchTask",
    "batchTasks",
}
# In tests/tasks/lists/test_documented.py.
OF_LISTS = {
    *("listLists", "createList", "getList", "replaceList", "patchList", "deleteList", "restoreList", "getListHistory")
}
# `test_label_routes.py` tours them.
OF_LABELS = {"listLabels", "getLabel", "patchLabel", "deleteLabel", "getLabelHistory", "addLabel", "takeLabel"}
OF_ACCOUNTS = ("Login", "Accounts")
IN_PAGES = {"listTasks", "listTrash", "listSessions", "listTokens"}
BEFORE_ALL = {f"/api/auth/{what}" for what in ("signup", "login", "refresh", "logout")}
TASKS = "/api/tasks"
TASK, FLIP = f"{TASKS}/{{task_id}}", f"{TASKS}/{{task_id}}/complete"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The document, as JSON leaves it."""
    return json.loads(json.dumps(openapi_document.document([*ALWAYS, *ACCOUNTS])))


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


def without_some(answers: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Those answers, by operation and status, that a tour is about."""
    return {each for each in answers if each[1] not in SEEN_ELSEWHERE}


def fits(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    whole = {**schema, "components": document["components"]}
    Draft202012Validator(whole, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)


def is_as_documented(document: dict[str, Any], operation: dict[str, Any], answer: httpx.Response) -> None:
    response = look_up(document, operation["responses"][str(answer.status_code)])
    for name, header in response["headers"].items():
        if name in answer.headers or name not in SOMETIMES:
            schema = look_up(document, header)["schema"]
            value = answer.headers[name]
            fits(document, schema, int(value) if schema["type"] == "integer" else value)
    if "content" in response:
        assert answer.headers["content-type"] == "application/json"
        fits(document, response["content"]["application/json"]["schema"], answer.json())
    else:
        assert answer.content == b""


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
            ("/api/auth/signup", "post"),
            ("/api/auth/login", "post"),
            ("/api/auth/logout", "post"),
            ("/api/auth/refresh", "post"),
            ("/api/tasks", "get"),
            ("/api/tasks", "post"),
            ("/api/tasks/batch", "post"),
            ("/api/tasks/{task_id}", "get"),
            ("/api/tasks/{task_id}", "put"),
            ("/api/tasks/{task_id}", "delete"),
            ("/api/tasks/{task_id}", "patch"),
            ("/api/tasks/{task_id}/complete", "patch"),
            ("/api/lists", "get"),
            ("/api/lists", "post"),
            ("/api/lists/{list_id}", "get"),
            ("/api/lists/{list_id}", "put"),
            ("/api/lists/{list_id}", "delete"),
            ("/api/lists/{list_id}", "patch"),
            ("/api/lists/{list_id}/history", "get"),
            ("/api/lists/{list_id}/restore", "post"),
            ("/api/labels", "get"),
            ("/api/labels/{label_name}", "get"),
            ("/api/labels/{label_name}", "delete"),
            ("/api/labels/{label_name}", "patch"),
            ("/api/labels/{label_name}/history", "get"),
            ("/api/tasks/{task_id}/labels/{label_name}", "put"),
            ("/api/tasks/{task_id}/labels/{label_name}", "delete"),
            ("/api/tasks/{task_id}/restore", "post"),
            ("/api/trash", "get"),
            ("/api/trash", "delete"),
            ("/api/trash/{task_id}", "delete"),
            ("/api/tasks/{task_id}/history", "get"),
            ("/api/tasks/{task_id}/revert", "post"),
            ("/api/auth/logout-all", "post"),
            ("/api/auth/me", "get"),
            ("/api/auth/me", "delete"),
            ("/api/auth/me", "patch"),
            ("/api/auth/me/password", "post"),
            ("/api/auth/sessions", "get"),
            ("/api/auth/sessions/{session_id}", "delete"),
            ("/api/auth/tokens", "get"),
            ("/api/auth/tokens", "post"),
            ("/api/auth/tokens/{token_id}", "delete"),
            ("/", "get"),
            ("/api/health", "get"),
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
            subject = path.partition("/api/")[2].partition("/")[0]
            tag = {"lists": "Lists", "labels": "Labels"}.get(subject, "Service")
            tag = {"tasks": "Tasks", "trash": "Trash", "auth": "Accounts"}.get(subject, tag)
            tag = "Labels" if "/labels" in path else tag
            if subject == "tasks":
                tag = {"restore": "Trash", "history": "History", "revert": "History"}.get(path.rpartition("/")[2], tag)
            assert operation["tags"] == ["Login" if path in BEFORE_ALL else tag]
            is_open = subject not in ("tasks", "trash", "auth", "lists", "labels") or path.endswith(
                ("/signup", "/login", "/refresh")
            )
            assert operation["security"] == ([] if is_open else [{"bearer": []}])
        assert document["components"]["securitySchemes"] == {
            "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
        }

    def test_its_sections_come_in_the_order_in_which_they_are_needed(self, document: dict[str, Any]) -> None:
        names = ["Login", "Tasks", "Lists", "Labels", "Trash", "History", "Accounts", "Service"]
        assert [tag["name"] for tag in document["tags"]] == names
        told = [operation["tags"][0] for _, _, operation in operations(document)]
        assert list(dict.fromkeys(told)) == names
        without_accounts = openapi_document.document(ALWAYS)
        assert [tag["name"] for tag in without_accounts["tags"]] == [name for name in names[1:] if name != "Accounts"]

    def test_every_failure_has_the_envelope_and_what_can_happen_to_all_is_told_of_all(
        self, document: dict[str, Any]
    ) -> None:
        for _, _, operation in operations(document):
            assert {"408", "431", "500"} <= operation["responses"].keys()
        for name, status, response in responses(document):
            if status >= "400":
                schema = response["content"]["application/json"]["schema"]
                of_lists = name in OF_LISTS and (status == "412" or (name, status) == ("createList", "409"))
                of_labels = (name, status) in (("patchLabel", "412"), ("deleteLabel", "412"))
                of_batch = name == "batchTasks" and status in ("404", "409", "412", "422", "428")
                of_many = "LabelErrorBody" if of_labels else "BatchErrorBody" if of_batch else "ErrorBody"
                body = "ListErrorBody" if of_lists else of_many
                assert schema == {"$ref": f"#/components/schemas/{body}"}, (name, status)

    def test_every_response_names_its_headers_as_they_are_spelt(self, document: dict[str, Any]) -> None:
        more = {
            "304": {"ETag", "Cache-Control"},
            "401": {"WWW-Authenticate"},
            "412": {"ETag", "Cache-Control"},
            "429": {"Retry-After"},
            "503": {"Retry-After"},
        }
        limited = {
            operation["operationId"] for _, _, operation in operations(document) if "429" in operation["responses"]
        }
        keyed = {
            operation["operationId"]
            for path, method, operation in operations(document)
            if path.startswith(("/api/tasks", "/api/trash", "/api/lists", "/api/labels")) and method != "get"
        }
        remembered = keyed | {"createToken"}
        for name, status, response in responses(document):
            is_created = status == "201" and name in ("createTask", "replaceTask", "createList", "replaceList")
            telling = {"Location"} if is_created else more.get(status, set())
            if (name, status) == ("batchTasks", "412"):  # it names the task, and no tag
                telling = set[str]()
            if status == "403" and name in keyed:  # a token that may only read
                telling = {"WWW-Authenticate"}
            if (name, status) in (("patchTask", "415"), ("patchList", "415"), ("patchLabel", "415")):
                telling = {"Accept-Patch"}
            if (name, status) in (("listTasks", "200"), ("listLists", "200"), ("listLabels", "200")):
                telling = {"ETag", "Cache-Control"}
            schema = response.get("content", {}).get("application/json", {}).get("schema", {}).get("$ref", "")
            if schema.endswith(("/TaskData", "/TodoListData", "/RevertedTaskData", "/LabelData")):
                telling = telling | {"ETag", "Cache-Control"}
            if name == "batchTasks" and status == "200":
                telling = telling | {"Preference-Applied"}
            if name in IN_PAGES and status == "200":
                telling = telling | {"Link"}
            if name in limited and status not in ("408", "431", "500", "503"):
                telling = telling | set(LIMITED)
            if name in remembered and status < "400":
                telling = telling | {REPLAYED}
            if name in keyed and status < "400":
                telling = telling | {REVISION}
            assert response["headers"].keys() == {"X-Request-ID"} | telling, (name, status)
        headers = document["components"]["headers"]
        assert headers["Retry-After"]["schema"]["type"] == "integer"

    def test_what_is_known_from_an_answer_can_be_asked_for_next(self, document: dict[str, Any]) -> None:
        ids = {operation["operationId"] for _, _, operation in operations(document)}
        linked: dict[str, set[tuple[str, str]]] = {}
        for name, _, response in responses(document):
            for link in response.get("links", {}).values():
                assert link["operationId"] in ids
                [source] = link["parameters"].values()
                linked.setdefault(name, set()).add((link["operationId"], source))
        answered = {"createTask", "getTask", "replaceTask", "patchTask", "completeTask", "restoreTask", "revertTask"}
        with_a_list = {"getList", "replaceList", "patchList", "deleteList"}
        answered_with_lists = (with_a_list | {"createList", "restoreList"}) - {"deleteList"}
        with_a_list.add("getListHistory")
        with_a_task = (answered | {"deleteTask", "getTaskHistory"}) - {"createTask", "restoreTask"}
        answered |= {"addLabel", "takeLabel"}
        assert linked == {
            **{name: {(each, "$response.body#/data/id") for each in with_a_task} for name in answered},
            "deleteTask": {(name, "$request.path.task_id") for name in ("restoreTask", "purgeTask")},
            "listTrash": {(name, "$response.body#/data/0/id") for name in ("restoreTask", "purgeTask")},
            "getTaskHistory": {("revertTask", "$request.path.task_id")},
            "createToken": {("deleteToken", "$response.body#/data/id")},
            **{name: {(each, "$response.body#/data/id") for each in with_a_list} for name in answered_with_lists},
            "deleteList": {("restoreList", "$request.path.list_id")},
        }

    def test_headers_that_a_request_may_have_are_told_where_they_count(self, document: dict[str, Any]) -> None:
        told: dict[str, set[str]] = {}
        for _, _, operation in operations(document):
            for parameter in operation.get("parameters", []):
                if parameter["in"] == "header":
                    assert not parameter.get("required")
                    told.setdefault(parameter["name"], set()).add(operation["operationId"])
        on_one = {"replaceTask", "patchTask", "completeTask", "deleteTask", "restoreTask", "revertTask", "purgeTask"}
        on_one |= {"replaceList", "patchList", "deleteList", "restoreList"}
        on_one |= {"addLabel", "takeLabel", "patchLabel", "deleteLabel"}
        assert told == {
            "If-None-Match": {"listTasks", "getTask", "listLists", "getList", "listLabels", "getLabel"} | on_one,
            "Prefer": {"batchTasks"},
            "If-Match": on_one,
            "Idempotency-Key": on_one | {"createTask", "createList", "batchTasks", "emptyTrash", "createToken"},
        }

    def test_a_body_that_is_not_needed_is_not_required_and_a_patch_has_two_types(
        self, document: dict[str, Any]
    ) -> None:
        bodies = {
            operation["operationId"]: operation["requestBody"]
            for _, _, operation in operations(document)
            if "requestBody" in operation
        }
        assert [name for name, body in bodies.items() if not body["required"]] == ["completeTask"]
        assert {
            name: [*body["content"]] for name, body in bodies.items() if [*body["content"]] != ["application/json"]
        } == {
            name: ["application/merge-patch+json", "application/json"]
            for name in ("patchTask", "patchList", "patchLabel")
        }

    def test_every_code_of_a_refusal_has_an_example_where_it_can_happen(self, document: dict[str, Any]) -> None:
        codes: dict[str, set[str]] = {}
        for name, status, response in responses(document):
            if status >= "400":
                examples = response["content"]["application/json"]["examples"].values()
                codes[name] = codes.get(name, set()) | {each["value"]["error"]["code"] for each in examples}
        assert {name for name in codes if "INVALID_CURSOR" in codes[name]} == IN_PAGES
        assert {name for name in codes if "LIMIT_REACHED" in codes[name]} == {
            *("createToken", "createTask", "replaceTask", "batchTasks", "patchTask", "revertTask", "addLabel"),
            *("createList", "replaceList"),
        }
        for path, method, operation in operations(document):
            is_change = path.startswith(("/api/tasks", "/api/trash", "/api/lists", "/api/labels"))
            takes_a_key = is_change and method != "get"
            takes_a_key |= operation["operationId"] == "createToken"
            assert ("IDEMPOTENCY_KEY_REUSED" in codes[operation["operationId"]]) == takes_a_key
        assert {"VALIDATION_ERROR", "PRECONDITION_FAILED", "PRECONDITION_REQUIRED"} <= codes["batchTasks"]

    def test_the_examples_of_a_refusal_fit_their_operation(self, document: dict[str, Any]) -> None:
        for path, _, operation in operations(document):
            name = operation["operationId"]
            fields = {
                each["name"].removeprefix("task_").removeprefix("list_") for each in operation.get("parameters", [])
            }
            for body in operation.get("requestBody", {}).get("content", {}).values():
                fields |= look_up(document, body["schema"])["properties"].keys()
            for status, response in operation["responses"].items():
                examples = look_up(document, response).get("content", {}).get("application/json", {})
                errors = [each["value"]["error"] for each in examples.get("examples", {}).values()]
                assert errors or status < "400", (name, status)
                for error in errors if status >= "400" else []:
                    assert ("index" in error) == (
                        name == "batchTasks" and status in ("404", "409", "412", "422", "428")
                    ) or (error["code"] == "IDEMPOTENCY_KEY_REUSED")
                    for each in error.get("fields", []):
                        place = each["field"].partition("[")[0]
                        assert place in fields or place == "page", (name, each)
                    if status == "404" and "{" in path:
                        assert error["message"].endswith(f"{path.partition('{')[2].partition('_')[0]}.")
                    assert "logins" not in error["message"] or operation["tags"][0] in ("Login", "Accounts")

    def test_422_is_described_for_all_of_its_reasons(self, document: dict[str, Any]) -> None:
        descriptions = {response["description"] for _, status, response in responses(document) if status == "422"}
        assert descriptions == {"Understood, but not acceptable: `fields` names what."}

    def test_ids_are_what_javascript_can_hold(self, document: dict[str, Any]) -> None:
        in_body = document["components"]["schemas"]["Task"]["properties"]["id"]
        assert (in_body["minimum"], in_body["maximum"]) == (1, MAX_ID)
        parameters = [
            parameter
            for _, _, operation in operations(document)
            for parameter in operation.get("parameters", [])
            if parameter["in"] == "path" and operation["tags"] != ["Labels"]
        ]
        assert [each["name"] for each in parameters] == [
            *["task_id"] * 5,
            *["list_id"] * 6,
            *["task_id"] * 4,
            *("session_id", "token_id"),
        ]
        for parameter in parameters[:15]:
            assert (parameter["in"], parameter["required"]) == ("path", True)
            assert parameter["schema"]["anyOf"] == [
                {"type": "integer", "format": "int64", "minimum": 1, "maximum": MAX_ID},
                {"type": "string", "format": "uuid"},
            ]

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

    def test_the_example_of_a_body_is_about_what_it_makes(self, document: dict[str, Any]) -> None:
        schemas = document["components"]["schemas"]
        names = [schemas[each]["properties"]["name"]["examples"] for each in ("SignUp", "PersonalTokenRequest")]
        assert names == [["Ada Lovelace"], ["Backup script"]]
        [old], [new] = (
            schemas["PasswordChange"]["properties"][each]["examples"] for each in ("current_password", "new_password")
        )
        assert old != new

    def test_it_knows_no_modules_of_ours(self, document: dict[str, Any]) -> None:
        names = [name for those in document["components"].values() for name in those]
        assert len(names) > 50
        assert not [name for name in names if not re.fullmatch(r"[A-Za-z]+([_-][A-Za-z]+)*", name)]
        assert not re.search(r"\bapp[._/][a-z]", json.dumps(document))

    def test_generators_can_make_types_of_its_schemas(self, document: dict[str, Any]) -> None:
        schemas = document["components"]["schemas"]
        assert not [name for name in schemas if not re.fullmatch(r"[A-Z][A-Za-z]+", name)]
        whole = [f"#/components/{kind}/{name}" for kind, those in document["components"].items() for name in those]
        for each in everything(document):
            if isinstance(reference := each.get("$ref"), str):
                assert reference in whole
            if "anyOf" in each:
                assert not each.keys() & {"type", "format", "pattern", "minLength", "maxLength", "enum"}
            if isinstance(each.get("enum"), list):
                assert "type" in each
            # Some write the character that is escaped, which ends a line of their code.
            assert not re.search(r"\\u202[89]|\\u000[ad]", each.get("pattern", ""), re.IGNORECASE)
            # Go and Rust look neither ahead nor behind; kin-openapi reads digits that are capitals alone.
            assert not re.search(r"\(\?(?!:)|\\u(?![0-9A-F]{4})|\\[1-9bBpP]", each.get("pattern", ""))
        for schema in schemas.values():
            assert schema.get("required") != []
            assert not [name for name, each in schema.get("properties", {}).items() if "default" in each]

    def test_a_list_has_whole_tasks_or_those_fields_that_were_asked_for(self, document: dict[str, Any]) -> None:
        answer = document["paths"][TASKS]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert answer == {
            "anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in ("TaskListData", "TaskFieldsData")]
        }
        schemas = document["components"]["schemas"]
        items = [schemas[name]["properties"]["data"]["items"] for name in ("TaskListData", "TaskFieldsData")]
        assert items == [{"$ref": f"#/components/schemas/{name}"} for name in ("Task", "TaskFields")]
        assert schemas["TaskFields"]["properties"] == schemas["Task"]["properties"]
        assert "required" not in schemas["TaskFields"]

    def test_the_code_of_a_failure_is_one_of_those_that_there_are(self, document: dict[str, Any]) -> None:
        def classes(base: type[Failure]) -> Iterator[type[Failure]]:
            yield base
            for each in base.__subclasses__():
                yield from classes(each)

        codes = {each.code for each in classes(Failure) if each.__module__.startswith("app.")}
        assert document["components"]["schemas"]["ErrorCode"]["enum"] == sorted(codes)
        code = document["components"]["schemas"]["Error"]["properties"]["code"]
        assert code == {"$ref": "#/components/schemas/ErrorCode"}

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
        self,
        document: dict[str, Any],
        running: Litestar,
        ada: httpx.AsyncClient,
        stranger: httpx.AsyncClient,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        seen: set[tuple[str, str]] = set()
        mine = (await ada.post("/api/tasks", json={"title": "Buy milk"})).json()["data"]["id"]

        async def go(
            method: str, path: str, task_id: Any = mine, *, client: httpx.AsyncClient = ada, **request: Any
        ) -> None:
            answer = await client.request(method, path.format(task_id=task_id), **request)
            operation = document["paths"][path][method]
            is_as_documented(document, operation, answer)
            seen.add((operation["operationId"], str(answer.status_code)))

        tasks, task, flip = TASKS, TASK, FLIP
        changes: list[tuple[str, str, dict[str, Any]]] = [
            ("put", task, {"json": {"title": "Buy oats"}}),
            ("patch", flip, {}),
            ("delete", task, {}),
        ]
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
        for content in (b"{", b'{"completed": 1}'):
            await go("patch", flip, content=content)
        await go("get", tasks, params={"limit": 0})
        for path in (tasks, task):
            await go("get", path, headers={"if-none-match": "*"})
        for method, path, body in changes:
            await go(method, path, headers={"if-match": '"v999"'}, **body)
        with monkeypatch.context() as patched:
            strict = msgspec.structs.replace(running.state["settings"], require_if_match=True)
            patched.setitem(running.state, "settings", strict)
            for method, path, body in changes:
                await go(method, path, **body)
        for method, path in [*known, ("delete", task)]:
            await go(method, path, json={"title": "Buy oats"} if method == "put" else None)
        for method, path in [("post", tasks), *known, ("delete", task)]:
            await go(method, path, client=stranger)
            if path != tasks:
                await go(method, path, mine + 99, json={"title": "x"} if method == "put" else None)
                await go(method, path, "abc", json={"title": "x"} if method == "put" else None)
        once = {"json": {"title": "Buy milk"}, "headers": {"idempotency-key": "gone"}}
        gone = (await ada.post(tasks, **once)).json()["data"]["id"]
        await ada.delete(f"{tasks}/{gone}")
        await ada.delete(f"/api/trash/{gone}")
        await go("post", tasks, **once)
        uid = "01936c1e-7c3a-7000-9b1d-0d9d6f1d2a11"
        with monkeypatch.context() as patched:
            few = msgspec.structs.replace(running.state["settings"], max_tasks=1)
            patched.setitem(running.state, "settings", few)
            await go("post", tasks, json={"title": "One too many"})
            await go("put", task, uid, json={"title": "One too many"}, headers={"if-none-match": "*"})
        await go("put", task, uid, json={"title": "Buy milk"}, headers={"if-none-match": "*"})
        joan = {"name": "Joan", "email": "joan@example.com", "password": "correct horse"}
        login = (await stranger.post("/api/auth/signup", json=joan)).json()["data"]
        bearer = {"authorization": f"Bearer {login['token']}"}
        wish = {"name": "A script", "scope": "read"}
        script = (await stranger.post("/api/auth/tokens", json=wish, headers=bearer)).json()["data"]
        for method, path in [("post", tasks), ("put", task), ("patch", flip), ("delete", task)]:
            await go(method, path, client=stranger, headers={"authorization": f"Bearer {script['token']}"})
        for path in service:
            await go("get", path)
            await go("get", path, params={"limit": 1})
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

        ids = (
            {
                operation["operationId"]
                for _, _, operation in operations(document)
                if operation["tags"][0] not in OF_ACCOUNTS
            }
            - TOURED_ELSEWHERE
            - OF_LISTS
            - OF_LABELS
        )
        told = {(name, status) for name, status, _ in responses(document) if name in ids}
        assert without_some(told) == without_some(seen)

    @pytest.mark.slow
    async def test_the_same_is_true_of_the_accounts(
        self, document: dict[str, Any], stranger: httpx.AsyncClient, ada: httpx.AsyncClient
    ) -> None:
        seen: set[tuple[str, str]] = set()

        async def go(method: str, path: str, token: str | None = None, /, **request: Any) -> Any:
            names = {name: request.pop(name) for name in ("session_id", "token_id") if name in request}
            headers = {**request.pop("headers", {}), **({"authorization": f"Bearer {token}"} if token else {})}
            answer = await stranger.request(method, path.format(**names), headers=headers, **request)
            operation = document["paths"][path][method]
            is_as_documented(document, operation, answer)
            seen.add((operation["operationId"], str(answer.status_code)))
            return answer.json().get("data") if answer.content else None

        auth = "/api/auth"
        joan = {"name": "Joan", "email": "joan@example.com", "password": "correct horse"}
        login = {"email": joan["email"], "password": joan["password"]}
        first = await go("post", f"{auth}/signup", json=joan)
        await go("post", f"{auth}/signup", json=joan)
        second = await go("post", f"{auth}/login", json=login)
        await go("post", f"{auth}/refresh", json={"refresh_token": second["refresh_token"]})
        await go("post", f"{auth}/refresh", json={"refresh_token": "none"})
        await go("post", f"{auth}/login", json={**login, "password": "wrong"})
        mine = first["token"]

        expected = {"name": "A script", "scope": "read"}
        change = {"current_password": joan["password"], "new_password": "another one"}
        script = await go("post", f"{auth}/tokens", mine, json=expected)
        with_bodies = {
            f"{auth}/signup": ("post", joan, None),
            f"{auth}/login": ("post", login, None),
            f"{auth}/refresh": ("post", {"refresh_token": first["refresh_token"]}, None),
            f"{auth}/me": ("patch", {"name": "Joan of Arc"}, mine),
            f"{auth}/me/password": (
                "post",
                {"current_password": joan["password"], "new_password": "another one"},
                mine,
            ),
            f"{auth}/tokens": ("post", expected, mine),
        }
        sent = [(path, *rest) for path, rest in with_bodies.items()]
        sent.append((f"{auth}/me", "delete", {"password": "wrong"}, mine))
        without = [
            (f"{auth}/logout", "post"),
            (f"{auth}/logout-all", "post"),
            (f"{auth}/me", "get"),
            (f"{auth}/sessions", "get"),
            (f"{auth}/sessions/{{session_id}}", "delete"),
            (f"{auth}/tokens", "get"),
            (f"{auth}/tokens/{{token_id}}", "delete"),
        ]
        ids = {"session_id": "nobody", "token_id": "nobody"}
        for path, method, body, token in sent:
            for bad in (
                {"content": b"{"},
                {"content": b"{}"},
                {"content": b"x" * 17_000},
                {"content": b"{}", "headers": {"content-type": "text/plain"}},
            ):
                await go(method, path, token, **bad)
            if token:
                await go(method, path, script["token"], json=body)
                await go(method, path, json=body)
        for path, method in without:
            await go(method, path, mine, content=b"x", headers={"content-encoding": "gzip"}, **ids)
            await go(method, path, mine, content=b"x" * 17_000, **ids)
            await go(method, path, script["token"], **ids)
            await go(method, path, **ids)
        for path, method in without[2:]:
            await go(method, path, mine, **ids)
        for path, method in without:
            await go(method, path, mine, params={"page": 1}, **ids)
        await go("patch", f"{auth}/me", str(ada.headers["authorization"]).split()[1], json={"name": "Ada"})
        try:
            database.ready = False
            for path, method, body, token in sent:
                await go(method, path, token, json=body)
            for path, method in without:
                await go(method, path, mine, **ids)
        finally:
            database.ready = True

        await go("patch", f"{auth}/me", mine, json={"name": "Joan of Arc"})
        await go("delete", f"{auth}/tokens/{{token_id}}", mine, token_id=script["id"])
        once: dict[str, Any] = {"json": expected, "headers": {"idempotency-key": "gone"}}
        gone = await go("post", f"{auth}/tokens", mine, **once)
        await go("post", f"{auth}/tokens", mine, **once)
        await go("delete", f"{auth}/tokens/{{token_id}}", mine, token_id=gone["id"])
        await go("post", f"{auth}/tokens", mine, **once)
        await go("delete", f"{auth}/sessions/{{session_id}}", mine, session_id="nobody")
        await go("post", f"{auth}/me/password", mine, json=change)
        login["password"] = "another one"
        other = await go("post", f"{auth}/login", json=login)
        [session] = [each for each in await go("get", f"{auth}/sessions", mine) if not each["current"]]
        await go("delete", f"{auth}/sessions/{{session_id}}", mine, session_id=session["id"])
        for listed in ("sessions", "tokens"):
            await go("get", f"{auth}/{listed}", mine, params={"limit": "1"})
            await go("get", f"{auth}/{listed}", mine, params={"cursor": "none"})
        for _ in range(51):
            await go("post", f"{auth}/tokens", mine, json=expected)
        await go("get", f"{auth}/tokens", mine, params={"limit": "1"})
        await go("post", f"{auth}/logout", mine)
        other = await go("post", f"{auth}/login", json=login)
        await go("post", f"{auth}/logout-all", other["token"])
        other = await go("post", f"{auth}/login", json=login)
        for _ in range(6):
            await go("post", f"{auth}/me/password", other["token"], json=change)
        await go("delete", f"{auth}/me", other["token"], json={"password": "another one"})
        await go("post", f"{auth}/login", json=login)
        eve = await go("post", f"{auth}/signup", json={**joan, "email": "eve@example.com"})
        await go("delete", f"{auth}/me", eve["token"], json={"password": joan["password"]})

        names = {
            operation["operationId"] for _, _, operation in operations(document) if operation["tags"][0] in OF_ACCOUNTS
        }
        told = {(name, status) for name, status, _ in responses(document) if name in names}
        assert without_some(told) == without_some(seen)

    async def test_one_request_too_many_is_429_wherever_that_is_documented(
        self, document: dict[str, Any], running: Litestar, clean: None
    ) -> None:
        config = msgspec.structs.replace(settings.current(), rate_limit=Rate(1, 3600))
        limited = create_app(config)
        schema = document["components"]["schemas"]["ErrorBody"]
        async with visitor(limited, authorization=f"Bearer {token_of()}") as client:
            await client.get("/api/tasks")  # the one for her
            await client.post("/api/auth/login")  # and for her address
            for path, method, operation in operations(document):
                ids = {"task_id": 1, "list_id": 1, "session_id": 1, "token_id": 1, "label_name": 1}
                answer = await client.request(method, path.format(**ids))
                assert (answer.status_code == 429) == ("429" in operation["responses"]), path
                assert ("ratelimit" in answer.headers) == ("429" in operation["responses"]), path
                if answer.status_code == 429:
                    response = look_up(document, operation["responses"]["429"])
                    assert {name.lower() for name in response["headers"]} <= answer.headers.keys()
                    fits(document, schema, answer.json())

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

    async def test_its_script_comes_in_pieces_so_that_no_slow_client_holds_all_of_it(self, running: Litestar) -> None:
        sizes, whole = await pieces_of(running, "/docs/assets/swagger-ui-bundle.js")
        assert sum(sizes) == whole > 1_000_000
        assert max(sizes) <= LARGE_BYTES

    async def test_its_script_shows_our_document_and_asks_no_validator(self, stranger: httpx.AsyncClient) -> None:
        answer = await stranger.get("/docs/start.js")

        assert (answer.status_code, answer.headers["content-type"]) == (200, "text/javascript; charset=utf-8")
        assert "url: location.pathname.replace(" in answer.text
        assert '"/openapi.json")' in answer.text
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
