"""The tables as the admin has them: each is a query, without anything that logs somebody in.

Piccolo's admin takes the name of an attribute for the column's in the database in some places, so here the two agree.
`tables` has the tables themselves.
"""

import warnings

from piccolo.columns import BigInt, BigSerial, Boolean, Column, ForeignKey, Integer, Text, Timestamptz, Varchar
from piccolo.columns.readable import Readable
from piccolo.table import Table

from app.admin.views import RowId, VersionId, View
from app.db.piccolo_engine import engine
from app.db.tables import TaskColumns

# The name is Better Auth's, and Piccolo quotes it wherever it writes it.
warnings.filterwarnings("ignore", "We recommend giving your table a different name as `user`", UserWarning)


class UserRow(View, Table, tablename="user", db=engine):
    """A user."""

    source = """
        SELECT u.*,
            (SELECT count(*) FROM tasks AS t WHERE t.user_id = u.id AND t.deleted_at IS NULL) AS tasks,
            (SELECT count(*) FROM tasks AS t WHERE t.user_id = u.id AND t.deleted_at IS NOT NULL) AS in_trash
        FROM "user" AS u
    """
    shown, newest = "id name email tasks in_trash emailVerified createdAt", "createdAt"
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


class _OwnedTask:
    """The columns of a task before those that a client can set: the admin shows columns in the order of the bases."""

    id = BigSerial(primary_key=True)
    user_id = ForeignKey(references=UserRow, null=False)


class TaskRow(View, TaskColumns, _OwnedTask, Table, tablename="tasks", db=engine):
    """A task that is listed."""

    source = "SELECT * FROM tasks WHERE deleted_at IS NULL"
    shown, newest = "id user_id title completed list_id due_date priority created_at updated_at", "id"
    removal = "UPDATE tasks SET deleted_at = clock_timestamp() WHERE id = {} AND deleted_at IS NULL"
    locks = (
        """
        SELECT 1 FROM revisions WHERE user_id = (SELECT user_id FROM tasks WHERE id = {})
        FOR NO KEY UPDATE
        """,
        "SELECT 1 FROM tasks WHERE id = {} FOR NO KEY UPDATE",
    )
    fixed = ("user_id", "list_id", "created_at", "updated_at", "version", "changed_by")
    set_once = ("user_id",)
    is_made_here = True

    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False, help_text="Moved by the database, strictly forwards, on every change.")
    version = BigInt(null=False, default=0, help_text="The owner's revision when it was last changed.")
    changed_by = Text(null=True, default=None, help_text="Whose change was the last.")


class ListRow(View, Table, tablename="lists", db=engine):
    """A list of a user's, in the trash too."""

    source = """
        SELECT l.*,
            (SELECT count(*) FROM tasks AS t WHERE t.user_id = l.user_id AND t.list_id = l.id AND t.deleted_at IS NULL)
                AS tasks
        FROM task_lists AS l
    """
    shown, newest = "id user_id name tasks archived_at deleted_at created_at updated_at", "id"

    id = BigSerial(primary_key=True)
    user_id = ForeignKey(references=UserRow, null=False)
    name = Varchar(length=200, null=False)
    tasks = BigInt(null=False, default=0, help_text="How many tasks in it are listed.")
    color = Text(null=True, default=None)
    position = Text(null=True, default=None, help_text="Null where it is derived from the id.")
    archived_at = Timestamptz(null=True, default=None)
    deleted_at = Timestamptz(null=True, default=None, help_text="When it was moved to the trash.")
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False)
    version = BigInt(null=False, default=0, help_text="The owner's revision when it was last changed.")
    changed_by = Text(null=True, default=None, help_text="Whose change was the last.")


class TrashRow(View, TaskColumns, _OwnedTask, Table, tablename="trash", db=engine):
    """A task in the trash. To delete it is for good."""

    source = "SELECT * FROM tasks WHERE deleted_at IS NOT NULL"
    shown, newest = "id user_id title completed due_date priority created_at deleted_at", "deleted_at"
    removal = "DELETE FROM tasks WHERE id = {} AND deleted_at IS NOT NULL"

    created_at = Timestamptz(null=False)
    deleted_at = Timestamptz(null=False, help_text="When it was moved to the trash.")
    changed_by = Text(null=True, default=None, help_text="Whose change that was.")


class LabelRow(View, Table, tablename="labels", db=engine):
    """A label of an owner's. Tasks have its name; its owner renames it."""

    source = "SELECT id, user_id, name, color, version, created_at, updated_at, changed_by FROM task_labels"
    shown, newest = "id user_id name color created_at updated_at", "id"

    id = BigSerial(primary_key=True)
    user_id = ForeignKey(references=UserRow, null=False)
    name = Text(null=False, default=None)
    color = Text(null=True, default=None)
    version = BigInt(null=False, default=0, help_text="The owner's revision when it was last changed.")
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False)
    changed_by = Text(null=True, default=None, help_text="Whose change was the last.")


_TEXTS = ("title", "description", "labels", "extra")
# A text that a change did not replace is that of the next version which keeps one, or the task's.
_NEXT = "FROM task_versions AS n WHERE n.task_id = v.task_id AND n.version > v.version AND"


class _Version:
    """The columns of a version before those that a client can set."""

    id = VersionId(primary_key=True, default=None, help_text="The task and the version.")
    task_id = BigInt(null=False, default=0)
    version = BigInt(null=False, default=0, help_text="The owner's revision when it became so.")
    user_id = ForeignKey(references=UserRow, null=False)


# The fields that each version keeps.
_KEPT_EACH_TIME = ", ".join(
    f'v."{name}"' for name, each in vars(TaskColumns).items() if isinstance(each, Column) and name not in _TEXTS
)


class HistoryRow(View, TaskColumns, _Version, Table, tablename="history", db=engine):
    """What a task was before a change. How it is now, the task itself tells."""

    source = f"""
        SELECT v.task_id || '.' || v.version AS id, v.task_id, v.version, v.user_id, {_KEPT_EACH_TIME}, v.deleted_at,
            v.changed_at, v.changed_by,
            coalesce(v.title, (SELECT n.title {_NEXT} n.title IS NOT NULL ORDER BY n.version LIMIT 1), t.title)
                AS title,
            coalesce(v.labels, (SELECT n.labels {_NEXT} n.labels IS NOT NULL ORDER BY n.version LIMIT 1), t.labels)
                AS labels,
            coalesce(v.extra, (SELECT n.extra {_NEXT} n.extra IS NOT NULL ORDER BY n.version LIMIT 1), t.extra)
                AS extra,
            CASE WHEN v.keeps_description THEN v.description
                WHEN EXISTS (SELECT 1 {_NEXT} n.keeps_description)
                    THEN (SELECT n.description {_NEXT} n.keeps_description ORDER BY n.version LIMIT 1)
                ELSE t.description END AS description
        FROM task_versions AS v JOIN tasks AS t ON t.id = v.task_id
        WHERE NOT EXISTS (SELECT 1 FROM old_versions AS o WHERE o.task_id = v.task_id AND v.version < o.below)
    """
    shown, newest = "id user_id task_id title completed deleted_at changed_at changed_by", "changed_at"

    deleted_at = Timestamptz(null=True, default=None, help_text="Whether it was in the trash, and since when.")
    changed_at = Timestamptz(null=False, help_text="When it became so.")
    changed_by = Text(null=True, default=None, help_text="Whose change made it so.")


class LoginRow(View, Table, tablename="logins", db=engine):
    """One login on one device. To delete it logs that device out within 15 minutes."""

    source = """
        SELECT id, user_id, user_agent, ip_address, created_at, last_used_at, expires_at FROM login_sessions
    """
    shown, newest = "id user_id user_agent ip_address created_at last_used_at expires_at", "created_at"
    removal = "DELETE FROM login_sessions WHERE id = {}"

    id = RowId(primary_key=True, default=None)
    user_id = ForeignKey(references=UserRow, null=False)
    user_agent = Text(null=True, default=None)
    ip_address = Text(null=True, default=None)
    created_at = Timestamptz(null=False)
    last_used_at = Timestamptz(null=False)
    expires_at = Timestamptz(null=False)


class PersonalTokenRow(View, Table, tablename="personal_tokens", db=engine):
    """A personal access token, as its owner sees it: not the token, nor its hash. To delete it is to revoke it."""

    source = "SELECT id, user_id, name, scope, created_at, last_used_at, expires_at FROM personal_access_tokens"
    shown, newest = "id user_id name scope created_at last_used_at expires_at", "created_at"
    removal = "DELETE FROM personal_access_tokens WHERE id = {}"

    id = RowId(primary_key=True, default=None)
    user_id = ForeignKey(references=UserRow, null=False)
    name = Text(null=False, default=None)
    scope = Text(null=False, default=None, help_text="`read` or `write`.")
    created_at = Timestamptz(null=False)
    last_used_at = Timestamptz(null=True, default=None)
    expires_at = Timestamptz(null=True, default=None)


class FailedLoginRow(View, Table, tablename="failed_logins", db=engine):
    """Failed logins of an email address, or from a network, and until when they lock it. To delete it unlocks it."""

    source = "SELECT email AS id, email, failed_attempts, last_attempt, locked_until, created_at FROM rate_limits"
    shown, newest = "email failed_attempts last_attempt locked_until", "last_attempt"
    removal = "DELETE FROM rate_limits WHERE email = {}"

    id = RowId(primary_key=True, default=None)  # a form and a filter show no primary key
    email = Text(null=False, default=None, help_text="Or `ip:`, `user:`, `device:` or `staff…:` and a name.")
    failed_attempts = Integer(null=False, default=0)
    last_attempt = Timestamptz(null=False)
    locked_until = Timestamptz(null=True, default=None)
    created_at = Timestamptz(null=False)
