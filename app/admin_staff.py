"""The logins of staff, as the admin has them: listed, made, changed and removed, and nobody's password shown."""

from typing import Any

import asyncpg
from piccolo.columns import Boolean, Serial, Timestamp, Varchar
from piccolo.columns.combination import Where
from piccolo.table import Table

from app import staff
from app.admin_views import View
from app.database import database
from app.failures import Forbidden, Invalid
from app.staff import Staff


class StaffRow(View, Table, tablename="staff", db=database):
    """A login for the admin. To remove it, to change its password or to make it inactive ends its sessions."""

    source = """
        SELECT id, username, NULL::text AS new_password, active AND admin AS active, last_login FROM piccolo_user
    """
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
        return _Addition(self)

    @classmethod
    def update(cls, values: Any = None, *_: Any, **__: Any) -> Any:
        """Return what changes a login."""
        return _Change({column._meta.name: value for column, value in values.items()})


class _Addition:
    def __init__(self, row: Any) -> None:
        self._row = row

    async def run(self) -> list[dict[str, int]]:
        """Add it, and return its id. Raises Invalid."""
        added = await Staff.add(self._row.username or "", self._row.new_password or "")
        if not self._row.active:
            await Staff.update({Staff.active: False}).where(Staff.id == added)
        return [{"id": added}]


class _Change:
    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def where(self, where: Where) -> "_Change":
        """Take which login."""
        self._id: Any = where.value
        return self

    async def run(self) -> None:
        """Change it. Raises Invalid."""
        mine, values = Staff.id == self._id, self._values
        if "username" in values:
            staff.check_username(values["username"])
            try:
                await Staff.update({Staff.username: values["username"]}).where(mine)
            except asyncpg.UniqueViolationError:
                raise Invalid("username", staff.NAME_TAKEN) from None
        if "active" in values:
            await Staff.update({Staff.active: values["active"], Staff.admin: True}).where(mine)
            await staff.end_sessions(self._id)
        if values.get("new_password"):
            await Staff.update_password(self._id, values["new_password"])


def check_other(request: Any, row_id: int) -> None:
    """Raises Forbidden for somebody's own login: a stranger at an open browser could lock its owner out."""
    if request.user.user_id == row_id:
        raise Forbidden("Your own login is changed by another member of staff, and your password in the menu.")


def check_superuser(piccolo_crud: Any, request: Any) -> None:
    """Raises HTTPException for staff who may log in, and not say who else may."""
    from starlette.exceptions import HTTPException

    if request.method != "GET" and not request.user.user.superuser:
        raise HTTPException(403, "Only a superuser changes the logins of staff.")
