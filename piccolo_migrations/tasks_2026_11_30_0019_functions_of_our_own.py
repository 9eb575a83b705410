from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-30T12:00:00:000019"
VERSION = "1.38.0"
DESCRIPTION = "roles that belong to this database alone, and functions that nobody else can call or replace"

# The roles and their rights are no part of any migration: whoever migrates sees to them last, each time (app/db/roles.py).
FORWARDS = [
    # As they are by now: each of PostgreSQL's own functions is called by its schema, and what is left of calls and operators
    # has exactly the types of its arguments. Else one that somebody has made in our schema might fit better.
    r"""
    DO $$
    DECLARE
        each record;
        fresh text;
        called text;
    BEGIN
        FOR each IN
            SELECT p.oid::regprocedure AS name, pg_catalog.pg_get_functiondef(p.oid) AS definition
            FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_class AS c ON c.oid = 'tasks'::regclass
            WHERE p.pronamespace = c.relnamespace AND p.proowner = c.relowner AND p.prosqlbody IS NULL
                AND pg_catalog.starts_with(p.proname::text, 'tasks_'::text)
        LOOP
            fresh := each.definition;
            FOR called IN
                SELECT DISTINCT m[1] FROM pg_catalog.regexp_matches(fresh, '(?<![\w."])([a-z][a-z0-9_]*)\(', 'g') AS m
                JOIN pg_catalog.pg_proc AS p ON p.proname = m[1] AND p.pronamespace = 'pg_catalog'::regnamespace
                WHERE m[1] <> 'normalize'  -- which has a syntax of its own
            LOOP
                fresh := pg_catalog.regexp_replace(
                    fresh, '(?<![\w."])' || called || '\(', 'pg_catalog.' || called || '(', 'g'
                );
            END LOOP;
            fresh := replace(fresh, 'NEW.title <> OLD.title', 'NEW.title::text <> OLD.title::text');
            fresh := replace(fresh, 'tasks_next_revision(NEW.user_id, 0)', 'tasks_next_revision(NEW.user_id, 0::bigint)');
            fresh := replace(fresh, 'tasks_words(owner, title, description)', 'tasks_words(owner, title::text, description)');
            fresh := replace(fresh, '() * 9007199254740991)', '() * 9007199254740991::double precision)');
            IF fresh <> each.definition THEN
                EXECUTE fresh;
            END IF;
        END LOOP;
    END $$
    """,
]
BACKWARDS = [
    # What the versions before had: one role for all databases of a server, and functions that everybody may call.
    """
    DO $$
    DECLARE
        numbers text := (
            SELECT format('%s_%s', d.oid, c.relnamespace) FROM pg_catalog.pg_database AS d, pg_catalog.pg_class AS c
            WHERE d.datname = current_database() AND c.oid = 'tasks'::regclass
        );
        service text := 'tasks_app_' || numbers;
        definer text := 'tasks_definer_' || numbers;
        owner text := (SELECT c.relowner::regrole FROM pg_catalog.pg_class AS c WHERE c.oid = 'tasks'::regclass);
        how text := CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END;
        each record;
    BEGIN
        DROP POLICY IF EXISTS tasks_definer ON task_words;
        FOR each IN
            SELECT p.oid::regprocedure AS name, p.prosecdef AS is_definer, p.proowner = to_regrole(definer) AS is_given_away
            FROM pg_catalog.pg_proc AS p
            WHERE p.pronamespace = (SELECT c.relnamespace FROM pg_catalog.pg_class AS c WHERE c.oid = 'tasks'::regclass)
                AND starts_with(p.proname, 'tasks_')
                AND (p.proowner = owner::regrole OR p.proowner = to_regrole(definer))
        LOOP
            IF each.is_given_away THEN
                EXECUTE format('ALTER FUNCTION %s OWNER TO %s', each.name, owner);
            END IF;
            IF NOT each.is_definer THEN
                EXECUTE format('ALTER FUNCTION %s RESET search_path', each.name);
            END IF;
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO PUBLIC', each.name);
        END LOOP;
        BEGIN
            IF to_regrole(service) IS NOT NULL THEN
                EXECUTE format('DROP OWNED BY %I', service);
                EXECUTE format('DROP ROLE %I', service);
            END IF;
            IF to_regrole(definer) IS NOT NULL THEN
                EXECUTE format('DROP OWNED BY %I', definer);
                EXECUTE format('DROP ROLE %I', definer);
            END IF;
        EXCEPTION WHEN insufficient_privilege OR dependent_objects_still_exist THEN
            RAISE WARNING 'The roles % and % stay: %', service, definer, SQLERRM;
        END;
        FOR remaining IN REVERSE 50..0 LOOP  -- other databases of the server may make or drop the role at the same moment
            BEGIN
                IF to_regrole('tasks_app') IS NULL THEN
                    CREATE ROLE tasks_app NOLOGIN;
                END IF;
                IF NOT pg_has_role('tasks_app', how) THEN
                    GRANT tasks_app TO CURRENT_USER;
                END IF;
                EXECUTE format('GRANT USAGE ON SCHEMA %I TO tasks_app', current_schema());
                GRANT SELECT, INSERT, UPDATE, DELETE ON "user", tasks, revisions, task_versions, idempotency_keys, rate_limits,
                    credentials, login_sessions, personal_access_tokens TO tasks_app;
                GRANT USAGE ON SEQUENCE tasks_id_seq TO tasks_app;
                EXIT;
            EXCEPTION
                WHEN insufficient_privilege THEN
                    RAISE WARNING 'There will be no role tasks_app: %', SQLERRM;
                    EXIT;
                WHEN undefined_object OR duplicate_object OR unique_violation OR internal_error THEN
                    IF remaining = 0 THEN
                        RAISE;
                    END IF;
                    PERFORM pg_sleep(0.1);
            END;
        END LOOP;
    END $$
    """,
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
