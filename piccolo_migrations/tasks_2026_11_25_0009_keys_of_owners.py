from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-25T23:30:00:000009"
VERSION = "1.38.0"
DESCRIPTION = "each owner has keys of their own; what is over is found without a search"

THEIR_OWN = "user_id = current_setting('tasks.owner', true) OR current_setting('tasks.staff', true) = 'on'"

FORWARDS = [
    "ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey, ADD PRIMARY KEY (user_id, key)",
    "CREATE INDEX tasks_by_deletion ON tasks (deleted_at) WHERE deleted_at IS NOT NULL",
    f"CREATE POLICY idempotency_keys_of_owner ON idempotency_keys USING ({THEIR_OWN})",
    "ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    """
    DO $$ BEGIN
        IF to_regrole('tasks_app') IS NOT NULL THEN
            GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO tasks_app;
        END IF;
    END $$
    """,
]
BACKWARDS = [
    "DROP POLICY idempotency_keys_of_owner ON idempotency_keys",
    "DROP INDEX tasks_by_deletion",
    "DELETE FROM idempotency_keys",
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
