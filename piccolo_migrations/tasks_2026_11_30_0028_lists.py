from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.base import OnDelete, OnUpdate
from piccolo.columns.column_types import UUID, BigInt, BigSerial, ForeignKey, Text, Timestamptz, Varchar
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.columns.indexes import IndexMethod
from piccolo.constraints import Check
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


ID = "2026-11-30T12:00:00:000028"
VERSION = "1.38.0"
DESCRIPTION = "lists of tasks"


def params(**different: Any) -> dict[str, Any]:
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


OF_OWNER = {"references": User, "on_delete": OnDelete.cascade, "on_update": OnUpdate.cascade, "target_column": None}
OF_LISTS = (
    ("id", BigSerial, params(null=False, primary_key=True, default=0)),
    ("uid", UUID, params()),
    ("user_id", ForeignKey, {name: each for name, each in params(null=False, **OF_OWNER).items() if name != "default"}),
    ("name", Varchar, params(null=False, default="", length=200)),
    ("color", Text, params()),
    ("position", Text, params()),
    ("archived_at", Timestamptz, params()),
    ("created_at", Timestamptz, params(null=False, default=TimestamptzNow())),
    ("updated_at", Timestamptz, params(null=False, default=TimestamptzNow())),
    ("version", BigInt, params(null=False, default=0)),
    ("deleted_at", Timestamptz, params()),
)
# Null, so that PostgreSQL writes no row anew.
LIST_ID = ("list_id", BigInt, params())


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="tasks", description=DESCRIPTION)
    manager.add_table(class_name="TaskList", tablename="task_lists", schema=None, columns=None)
    columns = [
        *(("TaskList", "task_lists", each) for each in OF_LISTS),
        ("Task", "tasks", LIST_ID),
        ("TaskVersion", "task_versions", LIST_ID),
    ]
    for table_class, table, (name, kind, how) in columns:
        manager.add_column(
            table_class_name=table_class,
            tablename=table,
            column_name=name,
            db_column_name=name,
            column_class_name=kind.__name__,
            column_class=kind,
            params=how,
            schema=None,
        )
    manager.add_constraint(
        table_class_name="TaskList",
        tablename="task_lists",
        constraint_name="name_has_text",
        constraint_class=Check,
        params={"condition": "btrim(name) <> ''"},
        schema=None,
    )
    return manager
