"""FastAPI and SQLAlchemy on asyncpg, by somebody who minds speed: async, plain ASGI middleware, one statement each."""

import uuid
from collections.abc import AsyncIterator
from datetime import date, datetime, time
from typing import Annotated, Any

from fastapi import Depends, Response
from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    FetchedValue,
    SmallInteger,
    case,
    func,
    insert,
    not_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from starlette.datastructures import Headers, MutableHeaders

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


class Base(DeclarativeBase):
    """Where the tables are declared."""


class Task(Base):
    """A row."""

    __tablename__ = "tasks"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    uid: Mapped[uuid.UUID] = mapped_column(server_default=FetchedValue())
    user_id: Mapped[str]
    title: Mapped[str]
    description: Mapped[str | None]
    completed: Mapped[bool] = mapped_column(server_default=FetchedValue())
    completed_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    list_id: Mapped[int | None] = mapped_column(BigInteger)
    parent_id: Mapped[int | None] = mapped_column(BigInteger)
    position: Mapped[str] = mapped_column(server_default=FetchedValue())
    start_date: Mapped[date | None]
    due_date: Mapped[date | None]
    due_time: Mapped[time | None]
    time_zone: Mapped[str | None]
    due_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    priority: Mapped[int] = mapped_column(SmallInteger, server_default=FetchedValue())
    labels: Mapped[list[str]] = mapped_column(JSON, server_default=FetchedValue())
    estimate_minutes: Mapped[int | None] = mapped_column(SmallInteger)
    extra: Mapped[dict[str, Any]] = mapped_column(JSON, server_default=FetchedValue())
    created_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=FetchedValue())
    updated_at: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=FetchedValue())


engine = create_async_engine(
    DATABASE_URL.replace("postgresql://", "postgresql+asyncpg://", 1), pool_size=POOL, max_overflow=0
)
new_session = async_sessionmaker(engine, expire_on_commit=False)


class CommonHeaders:
    """Gives each answer what every answer carries."""

    def __init__(self, app: Any) -> None:
        """Wrap an application."""
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        common = common_headers(Headers(scope=scope).get("x-request-id"))

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(common)
            await send(message)

        await self.app(scope, receive, send_with_headers)


app = new_app()
app.add_middleware(CommonHeaders)


async def get_session() -> AsyncIterator[AsyncSession]:
    """Open a session for one request."""
    async with new_session() as session:
        yield session


Sessions = Annotated[AsyncSession, Depends(get_session)]


@app.get("/api/tasks/", response_model=TaskListData, include_in_schema=False)
@app.get("/api/tasks", response_model=TaskListData)
async def list_tasks(user: Caller, session: Sessions) -> object:
    """All of the caller's tasks, newest first."""
    query = select(Task).where(Task.user_id == user).order_by(Task.created_at.desc(), Task.id.desc())
    return {"data": (await session.scalars(query)).all()}


@app.post("/api/tasks/", status_code=201, response_model=TaskData, include_in_schema=False)
@app.post("/api/tasks", status_code=201, response_model=TaskData)
async def create_task(user: Caller, session: Sessions, content: TaskContent, response: Response) -> object:
    """Make a task."""
    statement = insert(Task).values(user_id=user, **content.model_dump()).returning(Task)
    task = (await session.scalars(statement)).one()
    await session.commit()
    response.headers["Location"] = f"/api/tasks/{task.id}"
    return {"data": task}


@app.get("/api/tasks/{task_id}", response_model=TaskData)
async def get_task(user: Caller, session: Sessions, task_id: TaskId) -> object:
    """Return one of the caller's tasks."""
    return await _the_one(session, select(Task).where(Task.user_id == user, Task.id == task_id))


@app.put("/api/tasks/{task_id}", response_model=TaskData)
async def replace_task(user: Caller, session: Sessions, task_id: TaskId, content: TaskContent) -> object:
    """Set title and description."""
    change = update(Task).where(Task.user_id == user, Task.id == task_id).values(**content.model_dump())
    return await _the_one(session, change.returning(Task))


@app.patch("/api/tasks/{task_id}/complete", response_model=TaskData)
async def flip_task(user: Caller, session: Sessions, task_id: TaskId) -> object:
    """Turn `completed` round, in one statement."""
    completed_at = case((not_(Task.completed), func.now()))
    change = update(Task).where(Task.user_id == user, Task.id == task_id)
    change = change.values(completed=not_(Task.completed), completed_at=completed_at)
    return await _the_one(session, change.returning(Task))


async def _the_one(session: AsyncSession, statement: Any) -> dict[str, Task]:
    task = (await session.scalars(statement)).one_or_none()
    if task is None:
        raise not_found()
    await session.commit()
    return {"data": task}
