"""The tables as the admin has them: each is a query, without anything that logs somebody in.

Piccolo's admin takes the name of an attribute for the column's in the database in some places, so here the two agree.
`tables` has the tables themselves.
"""

import warnings
from typing import Any

from piccolo.columns import BigInt, BigSerial, Boolean, ForeignKey, Integer, Text, Timestamptz, Varchar
from piccolo.columns.combination import WhereRaw
from piccolo.columns.readable import Readable
from piccolo.table import Table

from app.admin_views import RowId, View
from app.database import database

# The name is Better Auth's, and Piccolo quotes it wherever it writes it.
warnings.filterwarnings("ignore", "We recommend giving your table a different name as `user`", UserWarning)


class UserRow(View, Table, tablename="user", db=database):
    """A user."""

    source = """
        SELECT u.*,
            (SELECT count(*) FROM tasks AS t WHERE t.user_id = u.id AND t.deleted_at IS NULL) AS tasks,
            (SELECT count(*) FROM tasks AS t WHERE t.user_id = u.id AND t.deleted_at IS NOT NULL) AS in_trash
        FROM "user" AS u
    """
    removal = 'DELETE FROM "user" WHERE id = {}'
    locks = ('SELECT 1 FROM "user" WHERE id = {} FOR NO KEY UPDATE',)
    beside = ("tasks", "in_trash")
    fixed = (*beside, "createdAt", "updatedAt")

    id = RowId(primary_key=True, default=None, help_text="The user id of the token.")
    name = Varchar(length=None, null=False)
    email = Varchar(length=None, null=False, unique=True, default=None)
    tasks = BigInt(null=False, default=0, help_text="How many tasks are listed.")
    in_trash = BigInt(null=False, default=0, help_text="How many tasks are in the trash.")
    emailVerified = Boolean(null=False, default=False)  # noqa: N815
    image = Text(null=True, default=None)
    createdAt = Timestamptz(null=False)  # noqa: N815
    updatedAt = Timestamptz(null=False)  # noqa: N815

    @classmethod
    def get_readable(cls) -> Readable:
        """How the admin names a user, and by what it finds one."""
        return Readable(template="%s <%s> (%s)", columns=[cls.name, cls.email, cls.id])


class TaskRow(View, Table, tablename="tasks", db=database):
    """A task that is listed."""

    source = "SELECT * FROM tasks WHERE deleted_at IS NULL"
    removal = "UPDATE tasks SET deleted_at = clock_timestamp() WHERE id = {} AND deleted_at IS NULL"
    locks = (
        """
        SELECT 1 FROM revisions WHERE user_id = (SELECT user_id FROM tasks WHERE id = {})
        FOR NO KEY UPDATE
        """,
        "SELECT 1 FROM tasks WHERE id = {} FOR NO KEY UPDATE",
    )
    fixed = ("user_id", "created_at", "updated_at", "version", "changed_by")
    set_once = ("user_id",)
    is_made_here = True

    id = BigSerial(primary_key=True)
    user_id = ForeignKey(references=UserRow, null=False)
    title = Varchar(length=500, null=False)
    description = Text(null=True, default=None)
    completed = Boolean(null=False, default=False)
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False, help_text="Moved by the database, strictly forwards, on every change.")
    version = BigInt(null=False, default=0, help_text="The owner's revision when it was last changed.")
    changed_by = Text(null=True, default=None, help_text="Whose change was the last.")


class TrashRow(View, Table, tablename="trash", db=database):
    """A task in the trash. To delete it is for good."""

    source = "SELECT * FROM tasks WHERE deleted_at IS NOT NULL"
    removal = "DELETE FROM tasks WHERE id = {} AND deleted_at IS NOT NULL"

    id = BigSerial(primary_key=True)
    user_id = ForeignKey(references=UserRow, null=False)
    title = Varchar(length=500, null=False)
    description = Text(null=True, default=None)
    completed = Boolean(null=False, default=False)
    created_at = Timestamptz(null=False)
    deleted_at = Timestamptz(null=False, help_text="When it was moved to the trash.")
    changed_by = Text(null=True, default=None, help_text="Whose change that was.")


class _VersionId(RowId):
    """The id of a task and a version, with a point between: the rows are found by their index."""

    def __eq__(self, value: Any) -> Any:
        task, _, version = str(value).partition(".")
        if not (task.isdecimal() and version.isdecimal()):
            return WhereRaw("false")
        return WhereRaw('"history"."task_id" = {} AND "history"."version" = {}', int(task), int(version))

    def __hash__(self) -> int:
        return super().__hash__()


# A text that a change did not replace is that of the next version which keeps one, or the task's.
_NEXT = "FROM task_versions AS n WHERE n.task_id = v.task_id AND n.version > v.version AND"


class HistoryRow(View, Table, tablename="history", db=database):
    """What a task was before a change. How it is now, the task itself tells."""

    source = f"""
        SELECT v.task_id || '.' || v.version AS id, v.task_id, v.version, v.user_id, v.completed, v.deleted_at,
            v.changed_at, v.changed_by,
            coalesce(v.title, (SELECT n.title {_NEXT} n.title IS NOT NULL ORDER BY n.version LIMIT 1), t.title)
                AS title,
            CASE WHEN v.keeps_description THEN v.description
                WHEN EXISTS (SELECT 1 {_NEXT} n.keeps_description)
                    THEN (SELECT n.description {_NEXT} n.keeps_description ORDER BY n.version LIMIT 1)
                ELSE t.description END AS description
        FROM task_versions AS v JOIN tasks AS t ON t.id = v.task_id
        WHERE NOT EXISTS (SELECT 1 FROM old_versions AS o WHERE o.task_id = v.task_id AND v.version < o.below)
    """

    id = _VersionId(primary_key=True, default=None, help_text="The task and the version.")
    task_id = BigInt(null=False, default=0)
    version = BigInt(null=False, default=0, help_text="The owner's revision when it became so.")
    user_id = ForeignKey(references=UserRow, null=False)
    title = Varchar(length=500, null=False)
    description = Text(null=True, default=None)
    completed = Boolean(null=False, default=False)
    deleted_at = Timestamptz(null=True, default=None, help_text="Whether it was in the trash, and since when.")
    changed_at = Timestamptz(null=False, help_text="When it became so.")
    changed_by = Text(null=True, default=None, help_text="Whose change made it so.")


class LoginRow(View, Table, tablename="logins", db=database):
    """One login on one device. To delete it logs that device out within 15 minutes."""

    source = """
        SELECT id, user_id, user_agent, ip_address, created_at, last_used_at, expires_at FROM login_sessions
    """
    removal = "DELETE FROM login_sessions WHERE id = {}"

    id = RowId(primary_key=True, default=None)
    user_id = ForeignKey(references=UserRow, null=False)
    user_agent = Text(null=True, default=None)
    ip_address = Text(null=True, default=None)
    created_at = Timestamptz(null=False)
    last_used_at = Timestamptz(null=False)
    expires_at = Timestamptz(null=False)


class PersonalTokenRow(View, Table, tablename="personal_tokens", db=database):
    """A personal access token, as its owner sees it: not the token, nor its hash. To delete it is to revoke it."""

    source = "SELECT id, user_id, name, scope, created_at, last_used_at, expires_at FROM personal_access_tokens"
    removal = "DELETE FROM personal_access_tokens WHERE id = {}"

    id = RowId(primary_key=True, default=None)
    user_id = ForeignKey(references=UserRow, null=False)
    name = Text(null=False, default=None)
    scope = Text(null=False, default=None, help_text="`read` or `write`.")
    created_at = Timestamptz(null=False)
    last_used_at = Timestamptz(null=True, default=None)
    expires_at = Timestamptz(null=True, default=None)


class FailedLoginRow(View, Table, tablename="failed_logins", db=database):
    """Failed logins of an email address, or from a network, and until when they lock it. To delete it unlocks it."""

    source = "SELECT email AS id, email, failed_attempts, last_attempt, locked_until, created_at FROM rate_limits"
    removal = "DELETE FROM rate_limits WHERE email = {}"

    id = RowId(primary_key=True, default=None)  # a form and a filter show no primary key
    email = Text(null=False, default=None, help_text="Or `ip:`, `user:`, `device:` or `staff…:` and a name.")
    failed_attempts = Integer(null=False, default=0)
    last_attempt = Timestamptz(null=False)
    locked_until = Timestamptz(null=True, default=None)
    created_at = Timestamptz(null=False)
