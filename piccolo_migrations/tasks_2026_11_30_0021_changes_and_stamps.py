from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import Integer, Timestamptz
from piccolo.columns.indexes import IndexMethod

ID = "2026-11-30T12:00:00:000021"
VERSION = "1.38.0"
DESCRIPTION = "columns for how often a task has changed, and for when an owner's tasks last did"

# Constants, so that PostgreSQL writes no row anew.
ADDED = (
    ("Task", "tasks", "changes", Integer, 0, False),
    ("Revision", "revisions", "stamped", Timestamptz, None, True),
)


def params(default: Any, *, null: bool) -> dict[str, Any]:
    return {
        "default": default,
        "null": null,
        "primary_key": False,
        "unique": False,
        "index": False,
        "index_method": IndexMethod.btree,
        "choices": None,
        "db_column_name": None,
        "secret": False,
    }


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="tasks", description=DESCRIPTION)
    for table_class, table, column, kind, default, null in ADDED:
        manager.add_column(
            table_class_name=table_class,
            tablename=table,
            column_name=column,
            db_column_name=column,
            column_class_name=kind.__name__,
            column_class=kind,
            params=params(default, null=null),
            schema=None,
        )
    return manager
