from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import BigInt, Boolean, Integer, Text
from piccolo.columns.indexes import IndexMethod

ID = "2026-11-30T12:00:00:000011"
VERSION = "1.38.0"
DESCRIPTION = "columns for a history of what was replaced, and for how many tasks an owner stores"

# All of them constants, so that PostgreSQL writes no row anew.
ADDED = (
    ("TaskVersion", "task_versions", "keeps_description", Boolean, True),
    ("TaskVersion", "task_versions", "ordinal", Integer, 0),
    ("Revision", "revisions", "stored", BigInt, 0),
)


def params(default: Any) -> dict[str, Any]:
    return {
        "default": default,
        "null": False,
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
    for table_class, table, column, kind, default in ADDED:
        manager.add_column(
            table_class_name=table_class,
            tablename=table,
            column_name=column,
            db_column_name=column,
            column_class_name=kind.__name__,
            column_class=kind,
            params=params(default),
            schema=None,
        )
    manager.alter_column(
        table_class_name="TaskVersion",
        tablename="task_versions",
        column_name="title",
        db_column_name="title",
        params={"null": True},
        old_params={"null": False},
        column_class=Text,
        old_column_class=Text,
        schema=None,
    )
    return manager
