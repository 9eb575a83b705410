"""The tables as the admin has them: with an id that any URL can carry, and names that are the database's own.

Piccolo's admin writes a row's id into its URLs as it is, and takes the name of an attribute for the column's in the
database in some places. `tables` has the tables themselves.
"""

import re
import warnings
from base64 import urlsafe_b64decode
from typing import Any

from piccolo.columns import Array, BigInt, BigSerial, Boolean, ForeignKey, Integer, Text, Timestamptz, Varchar
from piccolo.columns.combination import Where
from piccolo.columns.readable import Readable
from piccolo.querystring import QueryString
from piccolo.table import Table
from pydantic_core import CoreSchema, core_schema

from app.database import database

# The name is Better Auth's, and Piccolo quotes it wherever it writes it.
warnings.filterwarnings("ignore", "We recommend giving your table a different name as `user`", UserWarning)

NOW = QueryString("clock_timestamp()")


class RowKey(str):
    """The id of a row, as the admin's page writes it into a URL: `~` and base64url (RFC 4648, section 5) of UTF-8.

    So it is never a part of a path, a query or a fragment, nor the name of another route. What is all digits stays as
    it is, for the sake of tables whose ids are numbers.
    """

    def __new__(cls, key: str) -> Any:
        """Return the id itself. Raises ValueError where the key is none."""
        if re.fullmatch(r"[0-9]+", key):
            return key
        if not re.fullmatch(r"~[A-Za-z0-9_-]+", key):
            raise ValueError("not a key of a row")
        return urlsafe_b64decode(key[1:] + "=" * (-len(key[1:]) % 4)).decode()

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> CoreSchema:
        """Be a plain string everywhere else: in rows, filters and forms."""
        return core_schema.str_schema()


class RowId(Text):
    """A text that is a primary key."""

    value_type = RowKey


class UserRow(Table, tablename="user", db=database):
    """A user."""

    id = RowId(primary_key=True, default=None, help_text="The user id of the token.")
    name = Varchar(length=None, null=False)
    email = Varchar(length=None, null=False, unique=True, default=None)
    emailVerified = Boolean(null=False, default=False)  # noqa: N815
    image = Text(null=True, default=None)
    createdAt = Timestamptz(null=False)  # noqa: N815
    updatedAt = Timestamptz(null=False)  # noqa: N815

    @classmethod
    def get_readable(cls) -> Readable:
        """How the admin names a user, and by what it finds one."""
        return Readable(template="%s <%s> (%s)", columns=[cls.name, cls.email, cls.id])


class TaskRow(Table, tablename="tasks", db=database):
    """A task, listed or in the trash."""

    id = BigSerial(primary_key=True)
    user_id = ForeignKey(references=UserRow, null=False)
    title = Varchar(length=500, null=False)
    description = Text(null=True, default=None)
    completed = Boolean(null=False, default=False)
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False, help_text="Moved by the database, strictly forwards, on every change.")
    version = BigInt(null=False, default=0, help_text="The owner's revision when it was last changed.")
    deleted_at = Timestamptz(null=True, default=None, help_text="When it was moved to the trash.")
    changed_by = Text(null=True, default=None, help_text="Whose change was the last.")

    @classmethod
    def delete(cls, force: bool = False) -> Any:
        """Return what moves a task to the trash, and deletes one that is there for good."""
        return _Deletion()


class _Deletion:
    """What Piccolo's admin asks of a query that deletes one row."""

    def where(self, where: Where) -> "_Deletion":
        """Take which row."""
        self._where = where
        return self

    async def run(self) -> None:
        """Delete it."""
        to_trash = TaskRow.update({TaskRow.deleted_at: NOW}).where(self._where, TaskRow.deleted_at.is_null())
        if not await to_trash.returning(TaskRow.id):
            await super(TaskRow, TaskRow).delete().where(self._where, TaskRow.deleted_at.is_not_null())


class RateLimitRow(Table, tablename="rate_limits", db=database):
    """Failed logins of an email address, or from a network, and until when they lock it."""

    email = RowId(primary_key=True, default=None, help_text="Or `ip:`, `user:`, `device:` or `staff…:` and a name.")
    failed_attempts = Integer(null=False, default=0)
    last_attempt = Timestamptz(null=False)
    locked_until = Timestamptz(null=True, default=None)
    created_at = Timestamptz(null=False)
    recent_attempts = Array(base_column=Timestamptz(), default=list, help_text="Those that count, oldest first.")
