"""What the two services in FastAPI have in common: who is calling, what comes in and goes out, and failures."""

import os
import uuid
from datetime import date, datetime, time
from typing import Annotated, Any

import jwt
from fastapi import Depends, FastAPI, HTTPException, Path, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints
from starlette.exceptions import HTTPException as StarletteHTTPException

POOL = 10
SECRET = os.environ["JWT_SECRET"]
DATABASE_URL = os.environ["DATABASE_URL"]
ORIGIN = os.environ.get("FRONTEND_URL", "http://localhost:3000")
CODES = {401: "UNAUTHORIZED", 404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 422: "VALIDATION_ERROR"}

bearer = HTTPBearer(auto_error=False)


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("U+0000 is not allowed")
    return text


Text = Annotated[str, AfterValidator(_without_nul)]
Title = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500), AfterValidator(_without_nul)
]


class TaskContent(BaseModel):
    """What a client says about a task."""

    title: Title
    description: Text | None = None


class TaskPublic(BaseModel):
    """A task as clients see it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    uid: uuid.UUID
    user_id: str
    title: str
    description: str | None
    completed: bool
    completed_at: datetime | None
    list_id: int | None
    parent_id: int | None
    position: str
    start_date: date | None
    due_date: date | None
    due_time: time | None
    time_zone: str | None
    due_at: datetime | None
    priority: int
    labels: list[str]
    estimate_minutes: int | None
    extra: dict[str, Any]
    created_at: datetime
    updated_at: datetime


class TaskData(BaseModel):
    """One task in its envelope."""

    data: TaskPublic


class TaskListData(BaseModel):
    """Tasks in their envelope."""

    data: list[TaskPublic]


def caller(credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)]) -> str:
    """Return the id of the user whom the token names. Raises HTTPException."""
    refusal = HTTPException(401, "This needs a valid bearer token.", {"WWW-Authenticate": "Bearer"})
    if credentials is None:
        raise refusal
    try:
        claims = jwt.decode(credentials.credentials, SECRET, ["HS256"], options={"require": ["exp"]}, leeway=30)
    except jwt.InvalidTokenError:
        raise refusal from None
    user = claims.get("user_id", claims.get("sub"))
    if not isinstance(user, str) or not user:
        raise refusal
    return user


Caller = Annotated[str, Depends(caller)]
TaskId = Annotated[int, Path(ge=1, le=2**63 - 1)]


def not_found() -> HTTPException:
    """Return what to raise for a task that is not the caller's."""
    return HTTPException(404, "There is no such task.")


def common_headers(sent_id: str | None) -> dict[str, str]:
    """Return what each answer carries."""
    return {
        "X-Request-ID": sent_id or uuid.uuid4().hex,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Origin",
    }


def new_app(**options: Any) -> FastAPI:
    """Return an application that knows no tasks yet, but how to fail."""
    app = FastAPI(redirect_slashes=False, **options)
    app.add_middleware(CORSMiddleware, allow_origins=[ORIGIN], allow_credentials=True, allow_methods=["*"])

    @app.exception_handler(StarletteHTTPException)
    async def refuse(_: Request, error: StarletteHTTPException) -> JSONResponse:
        return _failure(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def refuse_input(_: Request, error: RequestValidationError) -> JSONResponse:
        fields = [{"field": str(each["loc"][-1]), "message": each["msg"]} for each in error.errors()]
        return _failure(422, fields[0]["message"], None, fields=fields)

    return app


def _failure(status: int, message: str, headers: Any, **more: Any) -> JSONResponse:
    error = {"code": CODES.get(status, "BAD_REQUEST"), "message": message, **more}
    return JSONResponse({"error": error}, status, headers)
