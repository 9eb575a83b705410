"""The logins of staff, as the admin has them: listed, made, changed and removed, and nobody's password shown."""

from typing import Any

import asyncpg
from piccolo.columns import Boolean, Serial, Timestamp, Varchar
from piccolo.table import Table

from app.admin import staff
from app.admin.staff import Staff
from app.admin.views import RowAction, View, run_sql
from app.db.piccolo_engine import engine
from app.web.failures import Forbidden, Invalid


class StaffRow(View, Table, tablename="staff", db=engine):
    """A login for the admin. To remove it, to change its password or to make it inactive ends its sessions."""

    source = """
        SELECT id, username, NULL::text AS new_password, active AND admin AS active, last_login FROM piccolo_user
    """
    shown, newest = "id username active last_login", "id"
    removal = """
        WITH gone AS (DELETE FROM piccolo_user WHERE id = {} RETURNING id)
        DELETE FROM sessions WHERE user_id IN (SELECT id FROM gone)
    """
    locks = ("SELECT 1 FROM piccolo_user WHERE id = {} FOR NO KEY UPDATE",)
    is_made_here = True
    fixed = ("last_login",)

    id = Serial(primary_key=True)
    username = Varchar(length=100, null=False, default=None)
    new_password = Varchar(
        length=None,
        null=True,
        default=None,
        secret=True,
        help_text="8 to 1024 characters. Left empty, the password stays.",
    )
    active = Boolean(null=False, default=True, help_text="Whether it may log in.")
    last_login = Timestamp(null=True, default=None)

    def save(self, columns: Any = None) -> Any:
        """Return what adds the login."""
        return RowAction(lambda _: _add(self))

    @classmethod
    def update(cls, values: Any = None, *_: Any, **__: Any) -> Any:
        """Return what changes a login."""
        named = {column._meta.name: value for column, value in values.items()}
        return RowAction(lambda row_id: _change(row_id, named))


async def _add(row: Any) -> list[dict[str, int]]:
    """Add a login, and return its id as Piccolo does. Raises Invalid."""
    added = await Staff.add(row.username or "", row.new_password or "")
    if not row.active:
        await run_sql("UPDATE piccolo_user SET active = false WHERE id = {}", added)
    return [{"id": added}]


async def _change(row_id: int, values: dict[str, Any]) -> None:
    """Change a login. Raises Invalid."""
    if "username" in values:
        staff.check_username(values["username"])
        try:
            await run_sql("UPDATE piccolo_user SET username = {} WHERE id = {}", values["username"], row_id)
        except asyncpg.UniqueViolationError:
            raise Invalid("username", staff.NAME_TAKEN) from None
    if "active" in values:
        await run_sql("UPDATE piccolo_user SET active = {}, admin = true WHERE id = {}", values["active"], row_id)
        await staff.end_sessions(row_id)
    if values.get("new_password"):
        await Staff.update_password(row_id, values["new_password"])


def check_other(row_id: int, request: Any, values: Any = None) -> Any:
    """Hook: nobody changes their own login; a stranger at an open browser could lock them out. Raises Forbidden."""
    if request.user.user_id == row_id:
        raise Forbidden("Your own login is changed by another member of staff, and your password in the menu.")
    return values


def check_superuser(piccolo_crud: Any, request: Any) -> None:
    """Raises HTTPException for staff who may log in, and not say who else may."""
    from starlette.exceptions import HTTPException

    if request.method != "GET" and not request.user.user.superuser:
        raise HTTPException(403, "Only a superuser changes the logins of staff.")
