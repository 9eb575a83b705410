from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-21T02:50:00:000003"
VERSION = "1.38.0"
DESCRIPTION = "what Piccolo has no words for: indexes, stamps, the largest id"

FORWARDS = [
    # The list's order, and the same for those that are done or not.
    "CREATE INDEX tasks_in_order ON tasks (user_id, created_at DESC, id DESC)",
    "CREATE INDEX tasks_by_completed ON tasks (user_id, completed, created_at DESC, id DESC)",
    # JavaScript's numbers are whole up to here.
    "ALTER SEQUENCE tasks_id_seq MAXVALUE 9007199254740991",
    # JavaScript's dates have milliseconds: with more, a client's copy of a stamp would be another stamp.
    "ALTER TABLE tasks ALTER created_at TYPE timestamptz(3), ALTER updated_at TYPE timestamptz(3)",
    # Whoever changes a task, by the API, in the admin or in psql: one stands still, the other moves on.
    """
    CREATE FUNCTION tasks_stamp() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.created_at := OLD.created_at;
        NEW.updated_at := greatest(clock_timestamp(), OLD.updated_at + interval '1 millisecond');
        RETURN NEW;
    END $$
    """,
    "CREATE TRIGGER tasks_stamp BEFORE UPDATE ON tasks FOR EACH ROW EXECUTE FUNCTION tasks_stamp()",
]
BACKWARDS = [
    "DROP TRIGGER tasks_stamp ON tasks",
    "DROP FUNCTION tasks_stamp()",
    "ALTER TABLE tasks ALTER created_at TYPE timestamptz, ALTER updated_at TYPE timestamptz",
    "ALTER SEQUENCE tasks_id_seq NO MAXVALUE",
    "DROP INDEX tasks_by_completed",
    "DROP INDEX tasks_in_order",
]


class Raw(Table):
    """Runs SQL on the connection of the migration."""


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="tasks", description=DESCRIPTION)

    async def run():
        for statement in FORWARDS:
            await Raw.raw(statement)

    async def run_backwards():
        for statement in BACKWARDS:
            await Raw.raw(statement)

    manager.add_raw(run)
    manager.add_raw_backwards(run_backwards)
    return manager
