from typing import Any

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import JSON, Date, SmallInt, Text, Time, Timestamptz
from piccolo.columns.indexes import IndexMethod
from piccolo.table import Table

ID = "2026-11-30T12:00:00:000024"
VERSION = "1.38.0"
DESCRIPTION = "when a task was completed, when it is due, how urgent and how long it is, and an object of the client's own"

# Null, or constants, so that PostgreSQL writes no row anew: both tables are locked for some milliseconds, however many
# rows they have. No index: one on what a toggle changes would be written by each toggle.
ADDED = (
    ("completed_at", Timestamptz, None),
    ("start_date", Date, None),
    ("due_date", Date, None),
    ("due_time", Time, None),
    ("time_zone", Text, None),
    ("priority", SmallInt, 0),
    ("estimate_minutes", SmallInt, None),
    ("extra", JSON, "{}"),
)
# In the triggers, and no constraints of the table, whose text PostgreSQL reads anew for each statement. The service checks
# them itself; this is for psql.
CHECKED = """
        IF NEW.priority < 0::smallint OR NEW.priority > 4::smallint
            OR NEW.estimate_minutes < 1::smallint OR NEW.estimate_minutes > 14400::smallint
            OR NEW.due_time IS NOT NULL AND NEW.due_date IS NULL OR NEW.time_zone IS NOT NULL AND NEW.due_time IS NULL
            OR pg_catalog.json_typeof(NEW.extra) <> 'object'::text THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation', MESSAGE = 'a task cannot have this priority, '
                'estimate_minutes or extra, a due_time without a due_date, or a time_zone without a due_time';
        END IF;"""
# What was there, and what is there instead, by function.
REPLACED = {
    "tasks_begin": [
        (
            """
            NEW.updated_at := raised.stamped;
        END IF;""",
            f"""
            NEW.updated_at := raised.stamped;
            IF NEW.completed THEN
                NEW.completed_at := coalesce(NEW.completed_at, raised.stamped);
            END IF;
        END IF;{CHECKED}""",
        ),
    ],
    "tasks_stamp": [
        (
            """
        INSERT INTO task_versions (
            task_id, version, user_id, title, description, keeps_description, completed, deleted_at, changed_at,
            changed_by, ordinal
        )""",
            f"""
        IF NOT NEW.completed THEN
            NEW.completed_at := NULL;
        ELSIF NOT OLD.completed THEN
            NEW.completed_at := coalesce(NEW.completed_at, NEW.updated_at);
        END IF;{CHECKED}
        INSERT INTO task_versions (
            task_id, version, user_id, title, description, keeps_description, completed, completed_at, start_date,
            due_date, due_time, time_zone, priority, estimate_minutes, extra, deleted_at, changed_at, changed_by, ordinal
        )""",
        ),
        (
            "OLD.completed, OLD.deleted_at,",
            """OLD.completed,
            OLD.completed_at, OLD.start_date, OLD.due_date, OLD.due_time, OLD.time_zone, OLD.priority,
            OLD.estimate_minutes, CASE WHEN NEW.extra::text <> OLD.extra::text THEN OLD.extra END, OLD.deleted_at,""",
        ),
    ],
}


class Raw(Table):
    """Runs SQL on the connection of the migration."""


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


async def replace(name: str, pairs: list[tuple[str, str]]) -> None:
    """Put texts in place of others in a function of ours. Raises RuntimeError where one is not there."""
    [function] = await Raw.raw(
        """
        SELECT pg_catalog.pg_get_functiondef(p.oid) AS definition
        FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_class AS c ON c.oid = 'tasks'::regclass
        WHERE p.pronamespace = c.relnamespace AND p.proname = {}
        """,
        name,
    )
    definition = function["definition"]
    for old, new in pairs:
        if definition.count(old) != 1:
            raise RuntimeError(f"{name} is not as the migration before left it")
        definition = definition.replace(old, new)
    await Raw.raw(definition.replace("{", "{{").replace("}", "}}"))


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="tasks", description=DESCRIPTION)
    for table_class, table in (("Task", "tasks"), ("TaskVersion", "task_versions")):
        for column, kind, default in ADDED:
            is_kept_if_replaced = (table, column) == ("task_versions", "extra")
            manager.add_column(
                table_class_name=table_class,
                tablename=table,
                column_name=column,
                db_column_name=column,
                column_class_name=kind.__name__,
                column_class=kind,
                params=params(None, null=True) if is_kept_if_replaced else params(default, null=default is None),
                schema=None,
            )

    async def run():
        for name, pairs in REPLACED.items():
            await replace(name, pairs)

    async def run_backwards():
        for name, pairs in REPLACED.items():
            await replace(name, [(new, old) for old, new in pairs])

    manager.add_raw(run)
    manager.add_raw_backwards(run_backwards)
    return manager
