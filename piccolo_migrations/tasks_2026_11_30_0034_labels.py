from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.base import OnDelete, OnUpdate
from piccolo.columns.column_types import JSONB, BigInt, BigSerial, ForeignKey, Text, Timestamptz
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.columns.indexes import IndexMethod
from piccolo.table import Table


class User(Table, tablename="user", schema=None):
    id = Text(
        default=None,
        null=False,
        primary_key=True,
        unique=False,
        index=False,
        index_method=IndexMethod.btree,
        choices=None,
        db_column_name=None,
        secret=False,
    )


ID = "2026-11-30T12:00:00:000034"
VERSION = "1.38.0"
DESCRIPTION = "labels of tasks"

# Null, or constants, so that PostgreSQL writes no row anew.
OF_LABELS = (
    ("id", BigSerial, None, {"primary_key": True}),
    (
        "user_id",
        ForeignKey,
        None,
        {
            "references": User,
            "on_delete": OnDelete.cascade,
            "on_update": OnUpdate.cascade,
            "target_column": None,
        },
    ),
    ("name", Text, None, {}),
    ("key", Text, None, {}),
    ("color", Text, None, {"null": True}),
    ("version", BigInt, 0, {}),
    ("created_at", Timestamptz, TimestamptzNow(), {}),
    ("updated_at", Timestamptz, TimestamptzNow(), {}),
)


def params(default: Any, **others: Any) -> dict[str, Any]:
    """The parameters of a column: those of most, and some others."""
    usual = {
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
    if not {"references", "primary_key"}.isdisjoint(others):
        del usual["default"]
    return usual | others


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="tasks", description=DESCRIPTION)
    manager.add_table(class_name="TaskLabel", tablename="task_labels", schema=None, columns=None)
    columns = [("TaskLabel", "task_labels", *each) for each in OF_LABELS]
    columns.append(("Task", "tasks", "labels", JSONB, "[]", {}))
    columns.append(("TaskVersion", "task_versions", "labels", JSONB, None, {"null": True}))
    for table_class, table, column, kind, default, others in columns:
        manager.add_column(
            table_class_name=table_class,
            tablename=table,
            column_name=column,
            db_column_name=column,
            column_class_name=kind.__name__,
            column_class=kind,
            params=params(default, **others),
            schema=None,
        )
    return manager
