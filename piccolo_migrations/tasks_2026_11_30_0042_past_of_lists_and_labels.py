from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import BigInt, Integer, Text, Timestamptz
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.columns.indexes import IndexMethod

ID = "2026-11-30T12:00:00:000042"
VERSION = "1.38.0"
DESCRIPTION = "what lists and labels were before each change, and whose change was the last"

# Of a version: what it was, since when, and by whom.
IT = (("version", BigInt, {"null": False}), ("user_id", Text, {"null": False}))
SINCE = (
    ("changed_at", Timestamptz, {"null": False, "default": TimestamptzNow()}),
    ("changed_by", Text, {}),
    ("ordinal", Integer, {"null": False, "default": 1}),
)
KEY = {"null": False, "primary_key": True}
# New tables; and in others columns that are null, so that PostgreSQL writes no row anew.
ADDED = {
    ("TaskListVersion", "task_list_versions"): (
        ("list_id", BigInt, KEY),
        *IT,
        ("name", Text, {"null": False}),
        ("color", Text, {}),
        ("position", Text, {}),
        ("archived_at", Timestamptz, {}),
        ("deleted_at", Timestamptz, {}),
        *SINCE,
    ),
    ("TaskLabelVersion", "task_label_versions"): (
        ("label_id", BigInt, KEY),
        *IT,
        ("name", Text, {"null": False}),
        ("color", Text, {}),
        ("merged", Text, {}),
        *SINCE,
    ),
    ("TaskList", "task_lists"): (("changed_by", Text, {}),),
    ("TaskLabel", "task_labels"): (("changed_by", Text, {}), ("merged", Text, {})),
}


def params(different: dict[str, Any]) -> dict[str, Any]:
    return {
        "default": None,
        "null": True,
        "primary_key": False,
        "unique": False,
        "index": False,
        "index_method": IndexMethod.btree,
        "choices": None,
        "db_column_name": None,
        "secret": False,
    } | different


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="tasks", description=DESCRIPTION)
    for (table_class, table), columns in ADDED.items():
        if table_class.endswith("Version"):
            manager.add_table(class_name=table_class, tablename=table, schema=None, columns=None)
        for name, kind, different in columns:
            manager.add_column(
                table_class_name=table_class,
                tablename=table,
                column_name=name,
                db_column_name=name,
                column_class_name=kind.__name__,
                column_class=kind,
                params=params(different),
                schema=None,
            )
    return manager
