"""What lists and labels were before each change, as the admin has it."""

from typing import ClassVar

from piccolo.columns import BigInt, ForeignKey, Text, Timestamptz
from piccolo.table import Table

from app.admin.tables import UserRow
from app.admin.views import VersionId, View
from app.db.piccolo_engine import engine


class _ListVersionId(VersionId):
    found_by: ClassVar[str] = '"list_history"."list_id" = {} AND "list_history"."version" = {}'


class _LabelVersionId(VersionId):
    found_by: ClassVar[str] = '"label_history"."label_id" = {} AND "label_history"."version" = {}'


class ListHistoryRow(View, Table, tablename="list_history", db=engine):
    """What a list was before a change. How it is now, the list itself tells."""

    source = "SELECT v.list_id || '.' || v.version AS id, v.* FROM task_list_versions AS v"
    shown, newest = "id user_id list_id name archived_at deleted_at changed_at changed_by", "changed_at"

    id = _ListVersionId(primary_key=True, default=None, help_text="The list and the version.")
    list_id = BigInt(null=False, default=0)
    version = BigInt(null=False, default=0, help_text="The owner's revision when it became so.")
    user_id = ForeignKey(references=UserRow, null=False)
    name = Text(null=False, default=None)
    color = Text(null=True, default=None)
    position = Text(null=True, default=None, help_text="Null where it is derived from the id.")
    archived_at = Timestamptz(null=True, default=None)
    deleted_at = Timestamptz(null=True, default=None, help_text="Whether it was in the trash, and since when.")
    changed_at = Timestamptz(null=False, help_text="When it became so.")
    changed_by = Text(null=True, default=None, help_text="Whose change made it so.")


class LabelHistoryRow(View, Table, tablename="label_history", db=engine):
    """What a label was before a change. How it is now, the label itself tells."""

    source = "SELECT v.label_id || '.' || v.version AS id, v.* FROM task_label_versions AS v"
    shown, newest = "id user_id label_id name color changed_at changed_by", "changed_at"

    id = _LabelVersionId(primary_key=True, default=None, help_text="The label and the version.")
    label_id = BigInt(null=False, default=0)
    version = BigInt(null=False, default=0, help_text="The owner's revision when it became so.")
    user_id = ForeignKey(references=UserRow, null=False)
    name = Text(null=False, default=None)
    color = Text(null=True, default=None)
    merged = Text(null=True, default=None, help_text="The label that became one with it by that change.")
    changed_at = Timestamptz(null=False, help_text="When it became so.")
    changed_by = Text(null=True, default=None, help_text="Whose change made it so.")
