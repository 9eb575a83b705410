"""FastAPI and SQLModel as their documentation teaches them: plain functions, a session for each request."""

import uuid
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, date, datetime, time
from typing import Annotated, Any

from fastapi import Depends, Request, Response
from sqlalchemy import JSON, BigInteger, DateTime, FetchedValue, SmallInteger
from sqlmodel import Field, Session, SQLModel, create_engine, select

from benchmarks.contenders.fastapi_shared import (
    DATABASE_URL,
    POOL,
    Caller,
    TaskContent,
    TaskData,
    TaskId,
    TaskListData,
    common_headers,
    new_app,
    not_found,
)

BY_THE_DATABASE = {"server_default": FetchedValue()}


class Task(SQLModel, table=True):
    """A row."""

    __tablename__ = "tasks"

    id: int | None = Field(default=None, primary_key=True, sa_type=BigInteger)
    uid: uuid.UUID | None = Field(default=None, sa_column_kwargs=BY_THE_DATABASE)
    user_id: str
    title: str
    description: str | None = None
    completed: bool = False
    completed_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    list_id: int | None = Field(default=None, sa_type=BigInteger)
    parent_id: int | None = Field(default=None, sa_type=BigInteger)
    position: str | None = Field(default=None, sa_column_kwargs=BY_THE_DATABASE)
    start_date: date | None = None
    due_date: date | None = None
    due_time: time | None = None
    time_zone: str | None = None
    due_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True))
    priority: int = Field(default=0, sa_type=SmallInteger)
    labels: list[str] = Field(default_factory=list, sa_type=JSON)
    estimate_minutes: int | None = Field(default=None, sa_type=SmallInteger)
    extra: dict[str, Any] = Field(default_factory=dict, sa_type=JSON)
    created_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True), sa_column_kwargs=BY_THE_DATABASE)
    updated_at: datetime | None = Field(default=None, sa_type=DateTime(timezone=True), sa_column_kwargs=BY_THE_DATABASE)


engine = create_engine(
    DATABASE_URL.replace("postgresql://", "postgresql+psycopg://", 1), pool_size=POOL, max_overflow=0
)
app = new_app()


def get_session() -> Iterator[Session]:
    """Open a session for one request."""
    with Session(engine) as session:
        yield session


Sessions = Annotated[Session, Depends(get_session)]


@app.middleware("http")
async def add_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Give each answer what every answer carries."""
    response = await call_next(request)
    response.headers.update(common_headers(request.headers.get("x-request-id")))
    return response


@app.get("/api/tasks/", response_model=TaskListData, include_in_schema=False)
@app.get("/api/tasks", response_model=TaskListData)
def list_tasks(user: Caller, session: Sessions) -> object:
    """All of the caller's tasks, newest first."""
    query = select(Task).where(Task.user_id == user).order_by(Task.created_at.desc(), Task.id.desc())
    return {"data": session.exec(query).all()}


@app.post("/api/tasks/", status_code=201, response_model=TaskData, include_in_schema=False)
@app.post("/api/tasks", status_code=201, response_model=TaskData)
def create_task(user: Caller, session: Sessions, content: TaskContent, response: Response) -> object:
    """Make a task."""
    task = Task(user_id=user, **content.model_dump())
    session.add(task)
    session.commit()
    session.refresh(task)
    response.headers["Location"] = f"/api/tasks/{task.id}"
    return {"data": task}


@app.get("/api/tasks/{task_id}", response_model=TaskData)
def get_task(user: Caller, session: Sessions, task_id: TaskId) -> object:
    """Return one of the caller's tasks."""
    return {"data": _find(session, user, task_id)}


@app.put("/api/tasks/{task_id}", response_model=TaskData)
def replace_task(user: Caller, session: Sessions, task_id: TaskId, content: TaskContent) -> object:
    """Set title and description."""
    task = _find(session, user, task_id, lock=True)
    task.sqlmodel_update(content.model_dump())
    session.add(task)
    session.commit()
    session.refresh(task)
    return {"data": task}


@app.patch("/api/tasks/{task_id}/complete", response_model=TaskData)
def flip_task(user: Caller, session: Sessions, task_id: TaskId) -> object:
    """Turn `completed` round. The row is locked from reading to writing: two concurrent flips are two flips."""
    task = _find(session, user, task_id, lock=True)
    task.completed = not task.completed
    task.completed_at = datetime.now(UTC) if task.completed else None
    session.add(task)
    session.commit()
    session.refresh(task)
    return {"data": task}


def _find(session: Session, user: str, task_id: int, *, lock: bool = False) -> Task:
    query = select(Task).where(Task.user_id == user, Task.id == task_id)
    task = session.exec(query.with_for_update() if lock else query).first()
    if task is None:
        raise not_found()
    return task
