from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-30T12:00:00:000027"
VERSION = "1.38.0"
DESCRIPTION = "UUIDs that clients have chosen are unique for their owner"

# Of tasks whose clients chose none it has nothing, so that no other change writes to it. While it is made, PostgreSQL
# reads the table once, and changes wait: of a million tasks some 0.2 s.
INDEX = "CREATE UNIQUE INDEX tasks_by_uid ON tasks (user_id, uid) WHERE uid IS NOT NULL"


class Raw(Table):
    """Runs SQL on the connection of the migration."""


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="tasks", description=DESCRIPTION)

    async def run():
        await Raw.raw(INDEX)

    async def run_backwards():
        await Raw.raw("DROP INDEX tasks_by_uid")

    manager.add_raw(run)
    manager.add_raw_backwards(run_backwards)
    return manager
