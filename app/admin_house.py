"""The admin is built here: what each table shows and in which order, and what may be changed of its rows."""

import logging
from functools import cache
from typing import Any

from piccolo.columns import Column
from piccolo.querystring import QueryString

from app import admin_page
from app.admin_staff import StaffRow, check_other, check_superuser
from app.admin_tables import FailedLoginRow, HistoryRow, LoginRow, PersonalTokenRow, TaskRow, TrashRow, UserRow
from app.database import database
from app.failures import Invalid
from app.staff import Staff
from app.tasks.structs import TaskPatch

VIEWS: Any = {
    view.table_name(): view
    for view in (
        *(UserRow, TaskRow, TrashRow, HistoryRow),
        *(LoginRow, PersonalTokenRow, FailedLoginRow, StaffRow),
    )
}


@cache
def house() -> Any:
    """Build the admin. Once: it takes 40 ms."""
    from piccolo_admin.endpoints import TableConfig, create_admin
    from piccolo_api.crud.endpoints import OrderBy
    from piccolo_api.crud.hooks import Hook, HookType
    from piccolo_api.crud.validators import Validators
    from piccolo_api.rate_limiting.middleware import RateLimitProvider
    from piccolo_api.session_auth.tables import SessionsBase

    class StaffSession(SessionsBase, tablename="sessions", db=database):
        """Piccolo's own sessions."""

    class NoLimit(RateLimitProvider):
        """Piccolo's own counts for each process, and by exact address. `Staff.login` counts for all."""

        def increment(self, identifier: str) -> None:
            pass

    def table(view: Any, shown: str, newest: Column) -> TableConfig:
        async def changes(row_id: Any, values: dict[Any, Any], request: Any) -> dict[Any, Any]:
            if view is StaffRow:
                check_other(request, row_id)
            free = await _without(view, row_id, values)
            return {column: _text(column, value) for column, value in free.items()}

        def new(row: Any) -> Any:
            for name in view.set_by_service():  # a request may name them, and they are ignored
                setattr(row, name, QueryString("DEFAULT"))
            if isinstance(row, TaskRow):
                row.title, row.description = (
                    _text(TaskRow.title, row.title),
                    _text(TaskRow.description, row.description),
                )
            return row

        def removal(row_id: Any, request: Any) -> None:
            if view is StaffRow:
                check_other(request, row_id)

        columns = [getattr(view, name) for name in shown.split()]
        return TableConfig(
            view,
            visible_columns=columns,
            visible_filters=columns,
            hooks=[Hook(HookType.pre_patch, changes), Hook(HookType.pre_save, new), Hook(HookType.pre_delete, removal)],
            validators=Validators(every=[check_superuser]) if view is StaffRow else None,
            link_column=columns[0],
            order_by=[OrderBy(newest, ascending=False)],
        )

    for name in ("piccolo_admin.endpoints", "piccolo_api.crud.exceptions"):
        logging.getLogger(name).disabled = True  # their tracebacks quote rows; what we log does not
    built = create_admin(
        [
            table(UserRow, "id name email tasks in_trash emailVerified createdAt", UserRow.createdAt),
            table(TaskRow, "id user_id title completed created_at updated_at", TaskRow.id),
            table(TrashRow, "id user_id title completed created_at deleted_at", TrashRow.deleted_at),
            table(
                HistoryRow,
                "id user_id task_id title completed deleted_at changed_at changed_by",
                HistoryRow.changed_at,
            ),
            table(LoginRow, "id user_id user_agent ip_address created_at last_used_at expires_at", LoginRow.created_at),
            table(
                PersonalTokenRow,
                "id user_id name scope created_at last_used_at expires_at",
                PersonalTokenRow.created_at,
            ),
            table(FailedLoginRow, "email failed_attempts last_attempt locked_until", FailedLoginRow.last_attempt),
            table(StaffRow, "id username active last_login", StaffRow.id),
        ],
        auth_table=Staff,
        session_table=StaffSession,
        rate_limit_provider=NoLimit(),
        production=True,  # all that it changes is a cookie, on which `_outwards` has the last word
        site_name="Tasks API",
    )
    tables = {
        name: {"methods": sorted(view.methods()), "fixed": view.fixed, "set_by_service": view.set_by_service()}
        for name, view in VIEWS.items()
    }
    admin_page.serve(built, tables)
    return built


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


def _text(column: Column, value: Any) -> Any:
    """Hold the texts of a task to the API's rules. Raises Invalid."""
    if column is TaskRow.title and value is not None:
        return TaskPatch(title=value).title
    if column is TaskRow.description:
        return TaskPatch(description=value).description
    return value
