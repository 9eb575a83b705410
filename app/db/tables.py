"""Every table, one class each. `piccolo_migrations/` makes them; a test keeps the two alike.

`task_words`, `task_titles` and `task_indexes` are in the migrations alone: what searches and sorted lists are taken
from is worked out of the tasks, and nothing to be changed by hand. So are `task_settings`, `old_versions` and
`leaving_users`, which the service and its triggers see to.
"""

import warnings

from piccolo.columns import (
    JSON,
    JSONB,
    UUID,
    Array,
    BigInt,
    BigSerial,
    Boolean,
    Bytea,
    Date,
    ForeignKey,
    Integer,
    SmallInt,
    Text,
    Time,
    Timestamptz,
    Varchar,
)
from piccolo.columns.base import OnDelete
from piccolo.constraints import Check
from piccolo.table import Table

from app.db.piccolo_engine import engine

# The name is Better Auth's, whose table this may be, and Piccolo quotes it wherever it writes it.
warnings.filterwarnings("ignore", "We recommend giving your table a different name as `user`", UserWarning)


class User(Table, tablename="user", db=engine):
    """An owner of tasks, in the shape that Better Auth gives the same table in the same database."""

    id = Text(primary_key=True, default=None, help_text="The user id of the token.")
    name = Text(null=False)
    email = Text(
        null=False,
        unique=True,
        default=None,
        help_text="Of an account here, with `.user.invalid` behind it: so no other service finds it by its address.",
    )
    email_verified = Boolean(null=False, default=False, db_column_name="emailVerified")
    image = Text(null=True, default=None)
    created_at = Timestamptz(null=False, db_column_name="createdAt")
    updated_at = Timestamptz(null=False, db_column_name="updatedAt")


class TaskColumns:
    """The columns that a client can set, as `app/tasks/fields.py` declares them. The admin's tables have them too."""

    title = Varchar(length=500, null=False)
    description = Text(null=True, default=None)
    completed = Boolean(null=False, default=False)
    completed_at = Timestamptz(null=True, default=None)
    list_id = BigInt(null=True, default=None, help_text="One of its owner's lists; null is the inbox.")
    start_date = Date(null=True, default=None)
    due_date = Date(null=True, default=None)
    due_time = Time(null=True, default=None)
    time_zone = Text(null=True, default=None)
    priority = SmallInt(null=False, default=0)
    labels = JSONB(null=False, default="[]")
    estimate_minutes = SmallInt(null=True, default=None)
    extra = JSON(null=False, default="{}")


class Task(TaskColumns, Table, tablename="tasks", db=engine):
    """One task of one owner. The database sets both stamps, to the millisecond that JavaScript keeps."""

    id = BigSerial(primary_key=True)
    uid = UUID(null=True, default=None, help_text="Null where its client chose none: then it is derived from the id.")
    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=False)
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False, help_text="Moved by a trigger, strictly forwards, on every change.")
    version = BigInt(null=False, default=0, help_text="The owner's revision when it was last changed.")
    deleted_at = Timestamptz(null=True, default=None, help_text="When it was moved to the trash.")
    changed_by = Text(null=True, default=None, help_text="Whose change was the last.")
    changes = Integer(null=False, default=0, help_text="How often it was changed since that is counted.")

    title_has_text = Check("btrim(title) <> ''")


class TaskList(Table, tablename="task_lists", db=engine):
    """A list of one owner, in which tasks can be. A task in no list is in the inbox."""

    id = BigSerial(primary_key=True)
    uid = UUID(null=True, default=None, help_text="Null where its client chose none: then it is derived from the id.")
    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=False)
    name = Varchar(length=200, null=False)
    color = Text(null=True, default=None, help_text="`#rrggbb`.")
    position = Text(null=True, default=None, help_text="Null where its client chose none, as `uid`.")
    archived_at = Timestamptz(null=True, default=None)
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False)
    version = BigInt(null=False, default=0, help_text="The owner's revision when it was last changed.")
    deleted_at = Timestamptz(null=True, default=None, help_text="When it was moved to the trash.")
    changed_by = Text(null=True, default=None, help_text="Whose change was the last.")

    name_has_text = Check("btrim(name) <> ''")


class TaskVersion(Table, tablename="task_versions", db=engine):
    """What a task was before a change, which a trigger keeps. How it is now, the task itself tells.

    A text that the change did not replace is not here: it is that of the next version which keeps one, or the task's.
    Its key is `task_id` and `version` together; Piccolo knows keys of one column alone.
    """

    task_id = BigInt(primary_key=True, default=None)
    version = BigInt(null=False, default=None)
    user_id = Text(null=False, default=None)
    title = Text(null=True, default=None, help_text="Null where the change did not replace it.")
    description = Text(null=True, default=None)
    completed = Boolean(null=False, default=False)
    completed_at = Timestamptz(null=True, default=None)
    list_id = BigInt(null=True, default=None)
    start_date = Date(null=True, default=None)
    due_date = Date(null=True, default=None)
    due_time = Time(null=True, default=None)
    time_zone = Text(null=True, default=None)
    priority = SmallInt(null=False, default=0)
    labels = JSONB(null=True, default=None, help_text="Null where the change did not replace them.")
    estimate_minutes = SmallInt(null=True, default=None)
    extra = JSON(null=True, default=None, help_text="Null where the change did not replace it.")
    deleted_at = Timestamptz(null=True, default=None)
    changed_at = Timestamptz(null=False, default=None)
    changed_by = Text(null=True, default=None)
    keeps_description = Boolean(null=False, default=True, help_text="Whether the change replaced the description.")
    ordinal = Integer(
        null=False,
        default=0,
        help_text="Over 1 where there were states before it, which are gone, or are counted here.",
    )


class TaskLabel(Table, tablename="task_labels", db=engine):
    """A label of an owner's. Its tasks have its name, in their column `labels`; the key of each is unique."""

    id = BigSerial(primary_key=True)
    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=False)
    name = Text(null=False, default=None)
    key = Text(null=False, default=None, help_text="The name without regard to case.")
    color = Text(null=True, default=None)
    version = BigInt(null=False, default=0, help_text="The owner's revision when it was last changed.")
    created_at = Timestamptz(null=False)
    updated_at = Timestamptz(null=False)
    changed_by = Text(null=True, default=None, help_text="Whose change was the last.")
    merged = Text(null=True, default=None, help_text="The label that became one with it by that change.")


class Revision(Table, tablename="revisions", db=engine):
    """How often an owner's tasks have changed.

    Every change raises it in its own statement and holds the row until it is committed, so one owner's changes
    become visible in the order of their numbers. The `epoch` tells two changes of the same number apart: of a user
    who was deleted and came back, or of a database that was restored from a backup.
    """

    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=False, primary_key=True)
    revision = BigInt(null=False, default=0)
    epoch = BigInt(null=False, default=0, help_text="At random, and another after each change.")
    searched = BigInt(null=False, default=-1, help_text="Not used any more; versions before 0013 read it.")
    stored = BigInt(null=False, default=0, help_text="How many tasks there are of theirs, the trash included.")
    stamped = Timestamptz(null=True, default=None, help_text="When the last change was. Each is later than the last.")


class IdempotencyKey(Table, tablename="idempotency_keys", db=engine):
    """An Idempotency-Key that an owner has used, and what the answer to it is made from. It counts for a day.

    Its key is `user_id` and `key` together.
    """

    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=False, primary_key=True)
    key = Text(null=False, default=None)
    fingerprint = Bytea(null=False, default=None, help_text="Of the request: its method, path and body.")
    answer = Text(null=False, default=None, help_text="The ids and versions that the change led to, as JSON.")
    created_at = Timestamptz(null=False, index=True)


class Credential(Table, tablename="credentials", db=engine):
    """The password of an account of ours: Argon2id, in the PHC string format."""

    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=False, primary_key=True)
    password_hash = Text(null=False, default=None, secret=True)
    updated_at = Timestamptz(null=False)
    password_version = Integer(null=False, default=0, help_text="How often the password was changed.")


class LoginSession(Table, tablename="login_sessions", db=engine):
    """One login on one device, and the refresh tokens that come of it, of which one is valid at a time."""

    id = Text(primary_key=True, default=None)
    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=False, index=True)
    family_hash = Bytea(null=False, default=None, unique=True, secret=True, help_text="What its tokens share.")
    token_hash = Bytea(null=False, default=None, secret=True, help_text="What is the valid one's own.")
    user_agent = Text(null=True, default=None)
    ip_address = Text(null=True, default=None)
    created_at = Timestamptz(null=False)
    last_used_at = Timestamptz(null=False)
    expires_at = Timestamptz(null=False, default=None, index=True)
    previous_hash = Bytea(null=True, default=None, secret=True, help_text="What was the own of the one before it.")
    rotated_at = Timestamptz(null=True, default=None, help_text="When that one was spent.")


class PersonalAccessToken(Table, tablename="personal_access_tokens", db=engine):
    """A token for a script: shown once, and kept as a hash."""

    id = Text(primary_key=True, default=None)
    user_id = ForeignKey(references=User, on_delete=OnDelete.cascade, null=False, index=True)
    name = Text(null=False, default=None)
    scope = Text(null=False, default=None, help_text="`read` or `write`.")
    token_hash = Bytea(null=False, default=None, unique=True, secret=True)
    created_at = Timestamptz(null=False)
    last_used_at = Timestamptz(null=True, default=None)
    expires_at = Timestamptz(null=True, default=None)

    scope_is_known = Check("scope IN ('read', 'write')")


class RateLimit(Table, tablename="rate_limits", db=engine):
    """Failed attempts to prove an identity, by what they are counted by, and until when they lock it.

    That is an email address, or a prefix and a name, which is no email: `ip:` and a network, `user:` and the id of
    somebody who is logged in, `device:` and the hash of a device token, `staff…:` and the like of `app/admin/staff.py`.
    """

    email = Text(primary_key=True, default=None, help_text="Or `ip:`, `user:` or `device:` and a name.")
    failed_attempts = Integer(null=False, default=0)
    last_attempt = Timestamptz(null=False, index=True)
    locked_until = Timestamptz(null=True, default=None)
    created_at = Timestamptz(null=False)
    recent_attempts = Array(base_column=Timestamptz(), default=list, help_text="Those that count, oldest first.")
