from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-25T20:00:00:000005"
VERSION = "1.38.0"
DESCRIPTION = "row-level security: a wall between the owners of tasks, and a role that stands behind it"

TABLES = 'tasks, rate_limits, credentials, login_sessions, personal_access_tokens, "user"'

FORWARDS = [
    # A statement says for whom it is; one that does not finds nothing. Forced: also where the tables' owner asks.
    """
    CREATE POLICY tasks_of_owner ON tasks USING (
        user_id = current_setting('tasks.owner', true) OR current_setting('tasks.staff', true) = 'on'
    )
    """,
    "ALTER TABLE tasks ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    # Superusers pass every wall. So the service takes on a role that owns nothing. Servers keep their roles for all
    # their databases, and not everybody may make one: then the service goes on as who it logs in as.
    f"""
    DO $$
    DECLARE
        how text := CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END;
    BEGIN
        IF to_regrole('tasks_app') IS NULL THEN
            BEGIN
                CREATE ROLE tasks_app NOLOGIN;
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- for another database, at the same moment
            END;
        END IF;
        IF NOT pg_has_role('tasks_app', how) THEN
            GRANT tasks_app TO CURRENT_USER;
        END IF;
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO tasks_app', current_schema());
        GRANT SELECT, INSERT, UPDATE, DELETE ON {TABLES} TO tasks_app;
        GRANT USAGE ON SEQUENCE tasks_id_seq TO tasks_app;
    EXCEPTION WHEN insufficient_privilege THEN
        RAISE WARNING 'There will be no role tasks_app: %', SQLERRM;
    END $$
    """,
]
BACKWARDS = [
    f"""
    DO $$
    BEGIN
        IF to_regrole('tasks_app') IS NOT NULL THEN
            REVOKE ALL ON SEQUENCE tasks_id_seq FROM tasks_app;
            REVOKE ALL ON {TABLES} FROM tasks_app;
            EXECUTE format('REVOKE ALL ON SCHEMA %I FROM tasks_app', current_schema());
            BEGIN
                DROP ROLE tasks_app;
            EXCEPTION WHEN insufficient_privilege OR dependent_objects_still_exist OR undefined_object OR internal_error THEN
                NULL;  -- not ours to drop, another database's as well, or another database changes it at this moment
            END;
        END IF;
    END $$
    """,
    "ALTER TABLE tasks NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY",
    "DROP POLICY tasks_of_owner ON tasks",
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
