"""The tables of the histories of lists and labels, as `tables` has all others."""

from piccolo.columns import BigInt, Integer, Text, Timestamptz
from piccolo.table import Table

from app.db.piccolo_engine import engine


class TaskListVersion(Table, tablename="task_list_versions", db=engine):
    """What a list was before a change, which a trigger keeps. How it is now, the list itself tells.

    Its key is `list_id` and `version` together.
    """

    list_id = BigInt(primary_key=True, default=None)
    version = BigInt(null=False, default=None)
    user_id = Text(null=False, default=None)
    name = Text(null=False, default=None)
    color = Text(null=True, default=None)
    position = Text(null=True, default=None)
    archived_at = Timestamptz(null=True, default=None)
    deleted_at = Timestamptz(null=True, default=None)
    changed_at = Timestamptz(null=False)
    changed_by = Text(null=True, default=None)
    ordinal = Integer(null=False, default=1, help_text="How many states of it were kept, with this one.")


class TaskLabelVersion(Table, tablename="task_label_versions", db=engine):
    """What a label was before a change, as `TaskListVersion`. Its key is `label_id` and `version` together."""

    label_id = BigInt(primary_key=True, default=None)
    version = BigInt(null=False, default=None)
    user_id = Text(null=False, default=None)
    name = Text(null=False, default=None)
    color = Text(null=True, default=None)
    merged = Text(null=True, default=None)
    changed_at = Timestamptz(null=False)
    changed_by = Text(null=True, default=None)
    ordinal = Integer(null=False, default=1, help_text="How many states of it were kept, with this one.")
