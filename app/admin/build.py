"""The admin is built here, of its tables; and it is said what may be changed of their rows."""

import logging
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple

from piccolo.columns import Column
from piccolo.querystring import QueryString

from app.admin import page
from app.admin.history_tables import LabelHistoryRow, ListHistoryRow
from app.admin.mount import TaskCheck
from app.admin.staff import Staff
from app.admin.staff_tables import StaffRow, check_other, check_superuser
from app.admin.tables import (
    FailedLoginRow,
    HistoryRow,
    LabelRow,
    ListRow,
    LoginRow,
    PersonalTokenRow,
    TaskRow,
    TrashRow,
    UserRow,
)
from app.db.piccolo_engine import engine
from app.db.tables import TaskColumns
from app.web.failures import Invalid

SHOWN_VIEWS = (
    *(UserRow, TaskRow, ListRow, LabelRow, TrashRow, HistoryRow, ListHistoryRow, LabelHistoryRow),
    *(LoginRow, PersonalTokenRow, FailedLoginRow),
)
VIEWS: dict[str, Any] = {view.table_name(): view for view in (*SHOWN_VIEWS, StaffRow)}

OF_CONTENT = [name for name, column in vars(TaskColumns).items() if isinstance(column, Column)]

FREE_CONTENT = [name for name in OF_CONTENT if name not in TaskRow.fixed]


class Admin(NamedTuple):
    """Piccolo's app, and the scripts that its page loads, by their paths."""

    app: Any
    scripts: Mapping[str, Callable[[], bytes]]


@cache
def build(check_task: TaskCheck) -> Admin:
    """Build the admin. Once: it takes 40 ms. `check_task` has the rules of a task's columns."""
    from piccolo_admin.endpoints import TableConfig, create_admin
    from piccolo_api.crud.endpoints import OrderBy
    from piccolo_api.crud.hooks import Hook, HookType
    from piccolo_api.crud.validators import Validators
    from piccolo_api.rate_limiting.middleware import RateLimitProvider
    from piccolo_api.session_auth.tables import SessionsBase

    class StaffSession(SessionsBase, tablename="sessions", db=engine):
        """Piccolo's own sessions."""

    class NoLimit(RateLimitProvider):
        """Piccolo's own counts for each process, and by exact address. `Staff.login` counts for all."""

        def increment(self, identifier: str) -> None:
            pass

    def table(view: Any) -> TableConfig:
        async def changes(row_id: Any, values: dict[Any, Any]) -> dict[Any, Any]:
            free = await _without(view, row_id, values)
            return await _checked(check_task, row_id, free) if view is TaskRow else free

        def new(row: Any) -> Any:
            for name in view.set_by_service():  # a request may name them, and they are ignored
                setattr(row, name, QueryString("DEFAULT"))
            if isinstance(row, TaskRow):
                for name, value in check_task({name: getattr(row, name) for name in FREE_CONTENT}, {}).items():
                    setattr(row, name, value)
            return row

        checks = [check_other] if view is StaffRow else []
        columns = [getattr(view, name) for name in view.shown.split()]
        return TableConfig(
            view,
            visible_columns=columns,
            visible_filters=columns,
            hooks=[
                *(Hook(HookType.pre_patch, each) for each in (*checks, changes)),
                Hook(HookType.pre_save, new),
                *(Hook(HookType.pre_delete, each) for each in checks),
            ],
            validators=Validators(every=[check_superuser]) if view is StaffRow else None,
            link_column=columns[0],
            order_by=[OrderBy(getattr(view, view.newest), ascending=False)],
        )

    for name in ("piccolo_admin.endpoints", "piccolo_api.crud.exceptions"):
        logging.getLogger(name).disabled = True  # their tracebacks quote rows; what we log does not
    built = create_admin(
        [table(view) for view in VIEWS.values()],
        auth_table=Staff,
        session_table=StaffSession,
        rate_limit_provider=NoLimit(),
        production=True,  # all that it changes is a cookie, on which `mount` has the last word
        site_name="Tasks API",
    )
    tables = {
        name: {"methods": sorted(view.methods()), "fixed": view.fixed, "set_by_service": view.set_by_service()}
        for name, view in VIEWS.items()
    }
    return Admin(built, page.scripts(built, tables))


async def _without(view: Any, row_id: Any, values: dict[Any, Any]) -> dict[Any, Any]:
    """Return what may be changed of a row. A form may send all of it, as it is. Raises Invalid."""
    given: dict[str, Any] = {each._meta.name: each for each in values if isinstance(each, Column)}  # pyright: ignore[reportPrivateUsage]
    kept = {name: given.pop(name) for name in (view.row_key()._meta.name, *view.fixed) if name in given}
    row = await view.select(*kept.values()).where(view.row_key() == row_id).first() if kept else None
    for name, column in kept.items():
        if row and values[column] != row[name]:
            raise Invalid(name, f"{name} cannot be changed here")
    if not given:
        message = "Nothing was changed" if kept or not values else "None of these fields can be changed here"
        raise Invalid("value", message)
    return {column: values[column] for column in given.values()}


async def _checked(check_task: TaskCheck, row_id: Any, values: dict[Any, Any]) -> dict[Any, Any]:
    """Hold the columns of a task to the API's rules, by the row that the save has locked. Raises Invalid."""
    row = await TaskRow.select(*(getattr(TaskRow, name) for name in OF_CONTENT)).where(TaskRow.id == row_id).first()
    given = {column._meta.name: value for column, value in values.items()}
    content = {name: value for name, value in given.items() if name in OF_CONTENT}
    stored = given | (check_task(content, row) if row else content)
    return {getattr(TaskRow, name): value for name, value in stored.items()}
