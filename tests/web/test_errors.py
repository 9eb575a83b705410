"""One shape for every failure, wherever it comes from; and what each exception means to a caller."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import asyncpg
import httpx
import litestar.exceptions as theirs
import msgspec
import pytest
from litestar import Litestar, get

from app.accounts import failures as accounts
from app.tasks import failures as tasks
from app.tasks.labels.failures import LabelHasChanged, LabelNotFound
from app.tasks.labels.structs import EXAMPLE_LABEL
from app.tasks.listing.pages import ListHasChanged
from app.tasks.lists import failures as lists
from app.tasks.lists.structs import EXAMPLE_LIST
from app.tasks.structs import EXAMPLE_TASK
from app.web import failures, query
from app.web.errors import failure_of, render, respond
from app.web.failures import Failure
from app.web.response_budget import TooManyBytes
from tests.conftest import visitor

READ = "The request could not be read."
ALONE = "This needs a valid bearer token."
NOWHERE = "There is nothing here."
BUG = "Something went wrong on our side."
WAIT = "The service cannot reach its database. Try again in a moment."


def envelope(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


CURRENT = msgspec.structs.replace(EXAMPLE_TASK, version=7)
TOO_MUCH_TEXT = "The tasks have more than 4 MiB of text. Ask for return=minimal, or for fewer."

# The whole vocabulary: status, code, sentence, telling headers.
FAILURES: list[tuple[Failure, int, dict[str, Any], dict[str, str]]] = [
    (failures.Failure(), 500, envelope("INTERNAL_ERROR", BUG), {}),
    (failures.BadRequest(), 400, envelope("BAD_REQUEST", READ), {}),
    (failures.NotJSON(), 400, envelope("BAD_REQUEST", "The body is not valid JSON in UTF-8."), {}),
    (failures.Unauthorized(), 401, envelope("UNAUTHORIZED", ALONE), {"www-authenticate": "Bearer"}),
    (
        failures.InvalidToken(),
        401,
        envelope("UNAUTHORIZED", ALONE),
        {"www-authenticate": 'Bearer error="invalid_token"'},
    ),
    (
        accounts.InvalidCredentials(),
        401,
        envelope("INVALID_CREDENTIALS", "Email and password do not match."),
        {"www-authenticate": "Bearer"},
    ),
    (
        accounts.InvalidRefreshToken(),
        401,
        envelope("UNAUTHORIZED", "This refresh token is not valid any more. Log in again."),
        {"www-authenticate": 'Bearer error="invalid_token"'},
    ),
    (failures.Forbidden(), 403, envelope("FORBIDDEN", "This is not allowed."), {}),
    (
        failures.ReadOnlyToken(),
        403,
        envelope("FORBIDDEN", "This token may only read."),
        {"www-authenticate": 'Bearer error="insufficient_scope", scope="write"'},
    ),
    (failures.NotFound(), 404, envelope("NOT_FOUND", NOWHERE), {}),
    (accounts.UserNotFound(), 404, envelope("NOT_FOUND", "There is no account for this token yet."), {}),
    (accounts.SessionNotFound(), 404, envelope("NOT_FOUND", "There is no such session."), {}),
    (accounts.TokenNotFound(), 404, envelope("NOT_FOUND", "There is no such token."), {}),
    (tasks.TaskNotFound(), 404, envelope("NOT_FOUND", "There is no such task."), {}),
    (
        failures.RowChanged(),
        412,
        envelope(
            "PRECONDITION_FAILED",
            "This row has changed since it was opened. Open it again, and make your change once more.",
        ),
        {},
    ),
    (
        tasks.PreconditionFailed(CURRENT),
        412,
        {
            "error": {
                "code": "PRECONDITION_FAILED",
                "message": "The task has changed in the meantime.",
                "current": json.loads(msgspec.json.encode(CURRENT)),
            }
        },
        {"etag": '"v7"', "cache-control": "private, no-cache"},
    ),
    (
        tasks.Conflict(CURRENT),
        409,
        {
            "error": {
                "code": "CONFLICT",
                "message": "There is a task with this uid already.",
                "current": json.loads(msgspec.json.encode(CURRENT)),
            }
        },
        {},
    ),
    (
        tasks.PreconditionRequired(),
        428,
        envelope("PRECONDITION_REQUIRED", "Say which version you mean to change: If-Match is required."),
        {},
    ),
    (
        failures.MethodNotAllowed({"PUT", "GET"}),
        405,
        envelope("METHOD_NOT_ALLOWED", "This method is not allowed here."),
        {"allow": "GET, HEAD, PUT"},
    ),
    (
        failures.RequestTimeout(),
        408,
        envelope("REQUEST_TIMEOUT", "The request took too long to arrive."),
        {},
    ),
    (
        accounts.EmailTaken(),
        409,
        envelope("EMAIL_ALREADY_EXISTS", "There is an account with this email address."),
        {},
    ),
    (
        failures.TooManyRequests(42),
        429,
        {
            "error": {
                "code": "RATE_LIMIT_EXCEEDED",
                "message": "Too many requests. Try again later.",
                "retryAfter": 42,
            }
        },
        {"retry-after": "42"},
    ),
    (failures.PayloadTooLarge(), 413, envelope("PAYLOAD_TOO_LARGE", "The body is larger than 1 MiB."), {}),
    (
        failures.UnsupportedMediaType(),
        415,
        envelope(
            "UNSUPPORTED_MEDIA_TYPE",
            "The body must be application/json, in UTF-8 and not compressed.",
        ),
        {},
    ),
    (
        failures.UnsupportedPatch(),
        415,
        envelope(
            "UNSUPPORTED_MEDIA_TYPE",
            "A patch must be application/merge-patch+json or application/json, in UTF-8 and not compressed.",
        ),
        {"accept-patch": "application/merge-patch+json, application/json"},
    ),
    (
        failures.Invalid("title", "Title is required"),
        422,
        {
            "error": {
                "code": "VALIDATION_ERROR",
                "message": "Title is required",
                "fields": [{"field": "title", "message": "Title is required"}],
            }
        },
        {},
    ),
    (
        accounts.NotForScripts(),
        403,
        envelope(
            "FORBIDDEN", "A personal access token manages no tokens, logins, passwords or accounts: log in for that."
        ),
        {},
    ),
    (
        accounts.TooManySignUps(3600),
        429,
        {
            "error": {
                "code": "RATE_LIMIT_EXCEEDED",
                "message": "Too many accounts from this network. Try again later.",
                "retryAfter": 3600,
            }
        },
        {"retry-after": "3600"},
    ),
    (
        accounts.TooManyTokens(50, 50),
        409,
        {
            "error": {
                "code": "LIMIT_REACHED",
                "message": "There are 50 personal access tokens, and 50 at most. Delete one first.",
            }
        },
        {},
    ),
    (
        query.InvalidCursor(),
        422,
        {
            "error": {
                "code": "INVALID_CURSOR",
                "message": "The cursor does not belong to this list. Begin again without one.",
                "fields": [
                    {
                        "field": "cursor",
                        "message": "The cursor does not belong to this list. Begin again without one.",
                    }
                ],
            }
        },
        {},
    ),
    (
        failures.KeyReused(),
        422,
        envelope(
            "IDEMPOTENCY_KEY_REUSED", "This Idempotency-Key was sent with another request. Take a new one for each."
        ),
        {},
    ),
    (
        tasks.InOperation(2, tasks.PreconditionFailed(CURRENT)),
        412,
        {
            "error": {
                "code": "PRECONDITION_FAILED",
                "message": "Operation 2: The task has changed in the meantime.",
                "current": json.loads(msgspec.json.encode(CURRENT)),
                "index": 2,
            }
        },
        {},
    ),
    (
        failures.HeadersTooLarge(),
        431,
        envelope("HEADERS_TOO_LARGE", "The head of the request is larger than 32 KiB."),
        {},
    ),
    (failures.Unavailable(), 503, envelope("SERVICE_UNAVAILABLE", WAIT), {"retry-after": "1"}),
    (tasks.IndexNotReady(), 503, envelope("SERVICE_UNAVAILABLE", tasks.IndexNotReady.message), {"retry-after": "2"}),
    (
        failures.Busy(),
        503,
        envelope("SERVICE_UNAVAILABLE", "The service has more to do than there is time for. Try again in a moment."),
        {"retry-after": "1"},
    ),
    (
        TooManyBytes(),
        503,
        envelope("SERVICE_UNAVAILABLE", TooManyBytes.message),
        {"retry-after": "1"},
    ),
    (tasks.LimitReached(7), 409, envelope("LIMIT_REACHED", tasks.LimitReached(7).message), {}),
    (lists.ListNotFound(), 404, envelope("NOT_FOUND", "There is no such list."), {}),
    (
        lists.ListIsAnother(EXAMPLE_LIST),
        412,
        {
            "error": {
                "code": "PRECONDITION_FAILED",
                "message": "The list has changed in the meantime.",
                "current": json.loads(msgspec.json.encode(EXAMPLE_LIST)),
            }
        },
        {"etag": '"v7"', "cache-control": "private, no-cache"},
    ),
    (
        lists.ListConflict(EXAMPLE_LIST),
        409,
        {
            "error": {
                "code": "CONFLICT",
                "message": "There is a list with this uid already.",
                "current": json.loads(msgspec.json.encode(EXAMPLE_LIST)),
            }
        },
        {},
    ),
    (lists.TooManyLists(7), 409, envelope("LIMIT_REACHED", lists.TooManyLists(7).message), {}),
    (tasks.LabelLimitReached(7), 409, envelope("LIMIT_REACHED", tasks.LabelLimitReached(7).message), {}),
    (LabelNotFound(), 404, envelope("NOT_FOUND", "There is no such label."), {}),
    (
        LabelHasChanged(EXAMPLE_LABEL),
        412,
        {
            "error": {
                "code": "PRECONDITION_FAILED",
                "message": "The label has changed in the meantime.",
                "current": json.loads(msgspec.json.encode(EXAMPLE_LABEL)),
            }
        },
        {"etag": '"v7"', "cache-control": "private, no-cache"},
    ),
    (ListHasChanged(), 503, envelope("SERVICE_UNAVAILABLE", ListHasChanged.message), {"retry-after": "1"}),
    (
        tasks.AnswerTooLarge(4 * 1024 * 1024),
        422,
        {
            "error": {
                "code": "VALIDATION_ERROR",
                "message": TOO_MUCH_TEXT,
                "fields": [{"field": "return", "message": TOO_MUCH_TEXT}],
            }
        },
        {},
    ),
    (
        failures.ShuttingDown(),
        503,
        envelope("SERVICE_UNAVAILABLE", "The service is about to stop. Try again in a moment."),
        {"retry-after": "1"},
    ),
]
IDS = [type(failure).__name__ for failure, *_ in FAILURES]


def everything(base: type[Failure]) -> Iterator[type[Failure]]:
    yield base
    for each in base.__subclasses__():
        yield from everything(each)


class TestFailures:
    def test_this_is_all_of_them(self) -> None:
        known = {each for each in everything(Failure) if each.__module__.startswith("app.")}
        assert known == {type(failure) for failure, *_ in FAILURES}

    @pytest.mark.parametrize(("failure", "status", "body", "headers"), FAILURES, ids=IDS)
    def test_a_failure_is_a_status_an_envelope_and_its_headers(
        self, failure: Failure, status: int, body: dict[str, Any], headers: dict[str, str]
    ) -> None:
        answer = render(failure)

        assert (answer.status, json.loads(answer.body)) == (status, body)
        assert answer.headers == {"content-type": "application/json", **headers}

    @pytest.mark.parametrize(("failure", "status", "body", "headers"), FAILURES, ids=IDS)
    async def test_it_is_the_same_where_a_handler_raises_it(
        self, failure: Failure, status: int, body: dict[str, Any], headers: dict[str, str]
    ) -> None:
        answer = await raised(failure)

        assert (answer.status_code, answer.json()) == (status, body)
        assert dict(answer.headers) == {
            "content-type": "application/json",
            "content-length": str(len(answer.content)),
            **headers,
        }

    def test_a_code_has_one_status_and_a_sentence_ends_like_one(self) -> None:
        assert len({(each.status, each.code) for each in everything(Failure)}) == len(
            {each.code for each in everything(Failure)}
        )
        for failure, _, body, _ in FAILURES:
            assert re.fullmatch(r"[A-Z]+(_[A-Z]+)*", failure.code)
            assert body["error"]["message"][-1] == "." or failure.status == 422

    @pytest.mark.parametrize(
        ("known", "allowed"),
        [
            (set(), ""),
            ({"GET"}, "GET, HEAD"),
            ({"POST", "GET", "OPTIONS"}, "GET, HEAD, OPTIONS, POST"),
            ({"PATCH", "OPTIONS"}, "OPTIONS, PATCH"),
            ({"HEAD", "GET"}, "GET, HEAD"),
        ],
    )
    def test_allow_lists_what_a_route_knows_and_head_wherever_get_is(self, known: set[str], allowed: str) -> None:
        assert render(failures.MethodNotAllowed(known)).headers["allow"] == allowed


async def raised(error: Exception) -> httpx.Response:
    """What an app with our one exception handler answers when a handler raises this."""

    @get("/")
    async def handler() -> None:
        raise error

    app = Litestar([handler], exception_handlers={Exception: respond}, logging_config=None, openapi_config=None)
    async with visitor(app) as client:
        return await client.get("/")


def postgres(sqlstate: str) -> asyncpg.PostgresError:
    """The exception that asyncpg makes of a server's message."""
    fields = {"S": "ERROR", "V": "ERROR", "C": sqlstate, "M": "secret", "D": "secret", "H": "secret"}
    return asyncpg.PostgresError.new(fields, "SELECT secret")


TROUBLE: dict[str, Exception] = {
    **{
        f"SQLSTATE {sqlstate}": postgres(sqlstate)
        for sqlstate in (
            "08000",
            "08001",
            "08003",
            "08006",
            "08P01",
            "25006",
            "25P03",
            "28000",
            "28P01",
            "3D000",
            "40001",
            "40P01",
            "53100",
            "53200",
            "53300",
            "55P03",
            "57014",
            "57P01",
            "57P02",
            "57P03",
            "57P04",
            "57P05",
            "58030",
        )
    },
    "refused": ConnectionRefusedError(111, "secret"),
    "reset": ConnectionResetError(104, "secret"),
    "broken pipe": BrokenPipeError(32, "secret"),
    "no route": OSError(113, "secret"),
    "no such host": OSError(-2, "secret"),
    "no such socket": FileNotFoundError(2, "secret"),
    "too late": TimeoutError("secret"),
    "too late, as asyncio says": asyncio.TimeoutError(),  # noqa: UP041 # the name that older code raises
    "connection closed": asyncpg.InterfaceError("connection is closed"),
    "connection released": asyncpg.InterfaceError("connection has been released back to the pool"),
    "pool closing": asyncpg.InterfaceError("pool is closing"),
    "driver confused": asyncpg.InternalClientError("secret"),
    "protocol broken": asyncpg.exceptions.ProtocolError("secret"),
}
BUGS: dict[str, Exception] = {
    **{
        f"SQLSTATE {sqlstate}": postgres(sqlstate)
        for sqlstate in (
            "22000",
            "22003",
            "22021",
            "22P05",
            "23502",
            "23503",
            "23505",
            "23514",
            "25P02",
            "42501",
            "42601",
            "42P01",
            "42703",
            "P0001",
            "XX000",
            "ZZZZZ",
        )
    },
    "a value that a driver cannot send": asyncpg.DataError("secret"),
    "a URL that a driver cannot use": asyncpg.ClientConfigurationError("secret"),
    "a key": KeyError("secret"),
    "a value": ValueError("secret"),
    "a type": TypeError("secret"),
    "bytes": UnicodeDecodeError("utf-8", b"secret", 0, 1, "secret"),
    "depth": RecursionError("secret"),
    "memory": MemoryError("secret"),
    "a promise": NotImplementedError("secret"),
    "an assertion": AssertionError("secret"),
    "many": ExceptionGroup("secret", [postgres("57P01")]),
    "a bare one": Exception("secret"),
}
THEIRS: dict[str, tuple[Exception, type[Failure]]] = {
    "400": (theirs.ClientException("secret"), failures.BadRequest),
    "400 for a parameter": (theirs.ValidationException("secret", extra=["secret"]), failures.BadRequest),
    "401": (theirs.NotAuthorizedException("secret"), failures.Unauthorized),
    "403": (theirs.PermissionDeniedException("secret"), failures.Forbidden),
    "404": (theirs.NotFoundException("secret"), failures.NotFound),
    "405": (theirs.MethodNotAllowedException(headers={"allow": "PUT, GET"}), failures.MethodNotAllowed),
    "405 without Allow": (theirs.MethodNotAllowedException("secret"), failures.MethodNotAllowed),
    "413": (theirs.ClientException("secret", status_code=413), failures.PayloadTooLarge),
    "500": (theirs.InternalServerException("secret"), failures.Failure),
    "500 for what no JSON can hold": (theirs.SerializationException("secret"), failures.Failure),
    "500 for a template": (theirs.TemplateNotFoundException(template_name="secret"), failures.Failure),
    "a misconfiguration": (theirs.ImproperlyConfiguredException("secret"), failures.Failure),
    "a status that we never answer": (theirs.HTTPException("secret", status_code=418), failures.Failure),
}


class TestMeanings:
    @pytest.mark.parametrize("error", TROUBLE.values(), ids=TROUBLE)
    async def test_a_database_in_trouble_is_503_and_worth_another_try(self, error: Exception) -> None:
        assert type(failure_of(error)) is failures.Unavailable

        answer = await raised(error)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json() == envelope("SERVICE_UNAVAILABLE", WAIT)

    @pytest.mark.parametrize("error", BUGS.values(), ids=BUGS)
    async def test_whatever_else_goes_wrong_is_our_bug_and_says_nothing(self, error: Exception) -> None:
        assert type(failure_of(error)) is failures.Failure

        answer = await raised(error)
        assert (answer.status_code, answer.json()) == (500, envelope("INTERNAL_ERROR", BUG))
        assert "retry-after" not in answer.headers

    @pytest.mark.parametrize(("error", "meaning"), THEIRS.values(), ids=THEIRS)
    async def test_what_litestar_raises_is_said_in_our_words(self, error: Exception, meaning: type[Failure]) -> None:
        assert type(failure_of(error)) is meaning

        answer = await raised(error)
        assert (answer.status_code, answer.json()) == (
            meaning.status,
            envelope(meaning.code, meaning.message),
        )
        assert "secret" not in str(answer.headers)

    def test_the_methods_that_a_route_knows_come_from_litestar(self) -> None:
        for given, allow in (
            ({"allow": "PUT, GET,  OPTIONS"}, "GET, HEAD, OPTIONS, PUT"),
            ({"allow": "PATCH"}, "PATCH"),
            ({"allow": ""}, ""),
            (None, ""),
        ):
            failure = failure_of(theirs.MethodNotAllowedException(headers=given))
            assert failure.headers() == {"allow": allow}

    def test_one_of_our_own_means_itself(self) -> None:
        for failure, *_ in FAILURES:
            assert failure_of(failure) is failure


# A request for every status that a caller can bring about alone.
REQUESTS: dict[str, tuple[str, str, dict[str, Any], int, dict[str, Any]]] = {
    "400": (
        "POST",
        "/api/tasks",
        {"content": b"{"},
        400,
        envelope("BAD_REQUEST", "The body is not valid JSON in UTF-8."),
    ),
    "401": ("GET", "/api/tasks", {"headers": {"authorization": "x"}}, 401, envelope("UNAUTHORIZED", ALONE)),
    "404": ("GET", "/nowhere", {}, 404, envelope("NOT_FOUND", NOWHERE)),
    "404 for a task": ("GET", "/api/tasks/1", {}, 404, envelope("NOT_FOUND", "There is no such task.")),
    "405": (
        "PUT",
        "/health/live",
        {},
        405,
        envelope("METHOD_NOT_ALLOWED", "This method is not allowed here."),
    ),
    "413": (
        "POST",
        "/api/tasks",
        {"content": b" " * (1024 * 1024 + 1)},
        413,
        envelope("PAYLOAD_TOO_LARGE", "The body is larger than 1 MiB."),
    ),
    "415": (
        "POST",
        "/api/tasks",
        {"content": b"{}", "headers": {"content-type": "text/plain"}},
        415,
        envelope(
            "UNSUPPORTED_MEDIA_TYPE",
            "The body must be application/json, in UTF-8 and not compressed.",
        ),
    ),
    "422": (
        "POST",
        "/api/tasks",
        {"json": {}},
        422,
        {
            "error": {
                "code": "VALIDATION_ERROR",
                "message": "Title is required",
                "fields": [{"field": "title", "message": "Title is required"}],
            }
        },
    ),
}


class TestOneShape:
    @pytest.mark.parametrize(("method", "path", "rest", "status", "body"), REQUESTS.values(), ids=REQUESTS)
    async def test_a_failure_has_the_envelope_and_the_headers_of_every_answer(
        self,
        ada: httpx.AsyncClient,
        method: str,
        path: str,
        rest: dict[str, Any],
        status: int,
        body: dict[str, Any],
    ) -> None:
        answer = await ada.request(method, path, **rest)

        assert (answer.status_code, answer.json()) == (status, body)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["x-request-id"])
        assert "server" not in answer.headers
        telling = {"www-authenticate", "allow", "retry-after", "location"} & set(answer.headers)
        assert telling == {401: {"www-authenticate"}, 405: {"allow"}}.get(status, set())
