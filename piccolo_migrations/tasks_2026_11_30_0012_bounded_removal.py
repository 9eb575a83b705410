from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-30T12:00:00:000012"
VERSION = "1.38.0"
DESCRIPTION = "the history keeps what was replaced, up to a limit; tasks are counted; deleting is done in bounded steps"

FUNCTIONS = ("tasks_begin", "tasks_stamp", "tasks_forget", "tasks_forget_all", "tasks_refuse_leaving")
KEPT_SHUT = "revisions, login_sessions, personal_access_tokens, credentials"

FORWARDS = [
    # What the triggers have to know of the service's settings, which a pooler would not pass on with a connection.
    """
    CREATE TABLE task_settings (
        is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
        history_versions integer NOT NULL DEFAULT 1000
    )
    """,
    "INSERT INTO task_settings DEFAULT VALUES",
    # Histories that are too much to be removed by the statement that ends them: those of tasks that are gone, and what
    # lies below a version of those that are there.
    "CREATE TABLE old_versions (task_id bigint PRIMARY KEY, below bigint NOT NULL)",
    # Users who have deleted their accounts, until nothing is left of them.
    """
    CREATE TABLE leaving_users (
        user_id text PRIMARY KEY REFERENCES "user" (id) ON UPDATE CASCADE ON DELETE CASCADE,
        since timestamptz(3) NOT NULL DEFAULT now()
    )
    """,
    # A user who is leaving logs in nowhere, and begins nothing anew. A change finds no revision of theirs, and would
    # have to add one. The locks: whatever has not seen that they leave is there before whoever closes the account goes
    # on; in the order in which a change takes them. No row of a user is locked: the table may be somebody else's.
    """
    CREATE FUNCTION tasks_refuse_leaving() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_TABLE_NAME = 'revisions' THEN
            PERFORM FROM revisions WHERE user_id = NEW.user_id FOR NO KEY UPDATE;
        END IF;
        PERFORM pg_advisory_xact_lock_shared(hashtextextended(NEW.user_id, 0::bigint));
        IF EXISTS (SELECT FROM leaving_users WHERE user_id = NEW.user_id) THEN
            RAISE foreign_key_violation
            USING MESSAGE = 'the user is leaving', TABLE = TG_TABLE_NAME::text, CONSTRAINT = 'user_is_leaving';
        END IF;
        RETURN NEW;
    END $$
    """,
    *(
        f"""
        CREATE TRIGGER refuse_leaving BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION tasks_refuse_leaving()
        """
        for table in KEPT_SHUT.split(", ")
    ),
    # Of an owner's first task, or of a task that is added without the service's statements, which count by themselves.
    # `tasks.max_tasks` is said by the service alone: the staff may add more.
    """
    CREATE OR REPLACE FUNCTION tasks_begin() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        most bigint := coalesce(nullif(current_setting('tasks.max_tasks', true), ''), '0')::bigint;
    BEGIN
        IF most > 0 AND EXISTS (
            SELECT FROM (SELECT stored FROM revisions WHERE user_id = NEW.user_id FOR NO KEY UPDATE) AS mine
            WHERE stored >= most
        ) THEN
            RETURN NULL;
        END IF;
        NEW.version := tasks_next_revision(NEW.user_id, 0::bigint);
        UPDATE revisions SET stored = stored + 1 WHERE user_id = NEW.user_id AND (most = 0 OR stored < most);
        IF NOT FOUND THEN  -- several at once, of somebody who had none
            RETURN NULL;
        END IF;
        IF NEW.changed_by IS NULL AND current_setting('tasks.staff', true) = 'on' THEN
            NEW.changed_by := 'staff';
        END IF;
        RETURN NEW;
    END $$
    """,
    # A text that the change leaves as it is stays where it is: in a later state, or in the task.
    """
    CREATE OR REPLACE FUNCTION tasks_stamp() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        redescribes boolean := NEW.description IS DISTINCT FROM OLD.description;
        is_same_user boolean;
        most integer;
        latest integer;
        oldest bigint;
    BEGIN
        NEW.created_at := OLD.created_at;
        NEW.updated_at := greatest(clock_timestamp(), OLD.updated_at + interval '1 millisecond');
        IF NEW.version IS NULL OR NEW.version <= OLD.version OR NEW.user_id <> OLD.user_id THEN
            IF NEW.version = OLD.version THEN  -- whoever this is does not know about versions
                NEW.changed_by := CASE WHEN current_setting('tasks.staff', true) = 'on' THEN 'staff' END;
            END IF;
            IF NEW.user_id <> OLD.user_id THEN
                is_same_user := NOT EXISTS (SELECT FROM "user" WHERE id = OLD.user_id);  -- by another id
                IF is_same_user THEN
                    UPDATE revisions SET user_id = NEW.user_id WHERE user_id = OLD.user_id;
                END IF;
            END IF;
            NEW.version := tasks_next_revision(NEW.user_id, OLD.version);
            IF NEW.user_id <> OLD.user_id THEN  -- its history goes with it
                UPDATE revisions SET revision = revision + 1, epoch = DEFAULT, stored = greatest(stored - 1, 0)
                WHERE user_id = OLD.user_id;
                UPDATE revisions SET stored = stored + 1 WHERE user_id = NEW.user_id AND NOT is_same_user;
                UPDATE task_versions SET user_id = NEW.user_id WHERE task_id = NEW.id;
            END IF;
        END IF;
        INSERT INTO task_versions (
            task_id, version, user_id, title, description, keeps_description, completed, deleted_at, changed_at,
            changed_by, ordinal
        ) VALUES (
            OLD.id, OLD.version, NEW.user_id, CASE WHEN NEW.title <> OLD.title THEN OLD.title END,
            CASE WHEN redescribes THEN OLD.description END, redescribes, OLD.completed, OLD.deleted_at, OLD.updated_at,
            OLD.changed_by, 1 + coalesce(
                (SELECT v.ordinal FROM task_versions AS v WHERE v.task_id = OLD.id ORDER BY v.version DESC LIMIT 1), 0
            )
        ) RETURNING ordinal INTO latest;
        IF latest % 100 = 0 THEN  -- so that no change pays for it measurably
            SELECT history_versions INTO most FROM task_settings;
            SELECT version INTO oldest FROM task_versions
            WHERE task_id = OLD.id ORDER BY version DESC OFFSET greatest(most - 1, 0) LIMIT 1;
            IF FOUND AND most > 0 THEN
                DELETE FROM task_versions WHERE ctid = ANY (ARRAY(
                    SELECT place FROM (
                        SELECT few.ctid AS place, sum(pg_column_size(few.description)) OVER (ROWS UNBOUNDED PRECEDING) AS size
                        FROM (
                            SELECT v.ctid, v.description FROM task_versions AS v
                            WHERE v.task_id = OLD.id AND v.version < oldest ORDER BY v.version LIMIT 200
                        ) AS few
                    ) AS sized WHERE coalesce(size, 0) <= 16777216
                ));
                INSERT INTO old_versions (task_id, below)
                SELECT OLD.id, oldest
                WHERE EXISTS (SELECT FROM task_versions WHERE task_id = OLD.id AND version < oldest)
                ON CONFLICT (task_id) DO UPDATE SET below = excluded.below;
                UPDATE task_versions SET ordinal = 2 WHERE task_id = OLD.id AND version = oldest AND ordinal < 2;
            END IF;
        END IF;
        RETURN NEW;
    END $$
    """,
    # What is short goes at once, and of the rest the background takes a little at a time: whoever deletes a task waits
    # for no more than 1,000 states or 16 MiB.
    """
    CREATE OR REPLACE FUNCTION tasks_forget() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        asker text := coalesce(current_setting('tasks.owner', true), '');
        theirs record;
        removed record;
        rows_left integer := 1000;
        bytes_left bigint := 16777216;
    BEGIN
        FOR theirs IN
            SELECT user_id, array_agg(id) AS ids, count(*) AS count, bool_or(deleted_at IS NULL) AS were_listed
            FROM gone GROUP BY user_id
        LOOP
            PERFORM set_config('tasks.owner', theirs.user_id, true);
            WITH removed AS (
                DELETE FROM task_versions WHERE ctid = ANY (ARRAY(
                    SELECT place FROM (
                        SELECT few.ctid AS place, sum(pg_column_size(few.description)) OVER (ROWS UNBOUNDED PRECEDING) AS size
                        FROM (
                            SELECT v.ctid, v.description FROM task_versions AS v
                            WHERE v.task_id = ANY (theirs.ids) LIMIT rows_left
                        ) AS few
                    ) AS sized WHERE coalesce(size, 0) <= bytes_left
                )) RETURNING pg_column_size(description) AS size
            )
            SELECT count(*) AS count, coalesce(sum(size), 0) AS size INTO removed FROM removed;
            rows_left := rows_left - removed.count;
            bytes_left := bytes_left - removed.size;
            INSERT INTO old_versions (task_id, below)
            SELECT id, 9223372036854775807 FROM unnest(theirs.ids) AS id
            WHERE EXISTS (SELECT FROM task_versions WHERE task_id = id)
            ON CONFLICT (task_id) DO UPDATE SET below = excluded.below;
            UPDATE revisions SET
                stored = greatest(stored - theirs.count, 0),
                revision = revision + theirs.were_listed::integer,
                epoch = CASE WHEN theirs.were_listed THEN (random() * 9007199254740991)::bigint ELSE epoch END
            WHERE user_id = theirs.user_id;
        END LOOP;
        PERFORM set_config('tasks.owner', asker, true);
        RETURN NULL;
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION tasks_forget_all() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        staff text := coalesce(current_setting('tasks.staff', true), '');
    BEGIN
        IF pg_relation_size('task_versions') > 0 THEN
            TRUNCATE task_versions;
        END IF;
        DELETE FROM old_versions;
        PERFORM set_config('tasks.staff', 'on', true);
        UPDATE revisions SET revision = revision + 1, epoch = DEFAULT, stored = 0;
        PERFORM set_config('tasks.staff', staff, true);
        RETURN NULL;
    END $$
    """,
    # While nobody adds or removes any, for as long as it takes to count them.
    "LOCK TABLE revisions IN ACCESS EXCLUSIVE MODE",
    "LOCK TABLE tasks IN SHARE ROW EXCLUSIVE MODE",
    """
    UPDATE revisions AS mine SET stored = theirs.count
    FROM (SELECT user_id, count(*) AS count FROM tasks GROUP BY user_id) AS theirs WHERE theirs.user_id = mine.user_id
    """,
    """
    DO $$
    DECLARE
        name text;
        -- The table of users may be somebody else's, in another schema.
        path text := (
            SELECT concat_ws(', ', quote_ident(current_schema()), quote_ident(nullif(n.nspname, current_schema())), 'pg_temp')
            FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace WHERE c.oid = to_regclass('"user"')
        );
    BEGIN
        FOREACH name IN ARRAY %s LOOP
            EXECUTE format('ALTER FUNCTION %%I() SET search_path = %%s', name, path);
            EXECUTE format('REVOKE EXECUTE ON FUNCTION %%I() FROM PUBLIC', name);
        END LOOP;
        IF to_regrole('tasks_app') IS NOT NULL THEN
            GRANT SELECT, UPDATE ON task_settings TO tasks_app;
            GRANT SELECT, INSERT, UPDATE, DELETE ON old_versions, leaving_users TO tasks_app;
        END IF;
    END $$
    """
    % f"ARRAY{[*FUNCTIONS]}",
]
BACKWARDS = [
    # What was still to be removed.
    'DELETE FROM "user" WHERE id IN (SELECT user_id FROM leaving_users)',
    "DELETE FROM task_versions AS v USING old_versions AS old WHERE v.task_id = old.task_id AND v.version < old.below",
    *(f"DROP TRIGGER refuse_leaving ON {table}" for table in KEPT_SHUT.split(", ")),
    "DROP FUNCTION tasks_refuse_leaving()",
    "DROP TABLE leaving_users",
    "DROP TABLE old_versions",
    "DROP TABLE task_settings",
    *(f"ALTER FUNCTION {name}() RESET search_path" for name in FUNCTIONS[:-1]),
    *(f"GRANT EXECUTE ON FUNCTION {name}() TO PUBLIC" for name in FUNCTIONS[:-1]),
    """
    CREATE OR REPLACE FUNCTION tasks_begin() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.version := tasks_next_revision(NEW.user_id, 0);
        IF NEW.changed_by IS NULL AND current_setting('tasks.staff', true) = 'on' THEN
            NEW.changed_by := 'staff';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION tasks_stamp() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.created_at := OLD.created_at;
        NEW.updated_at := greatest(clock_timestamp(), OLD.updated_at + interval '1 millisecond');
        IF NEW.version IS NULL OR NEW.version <= OLD.version OR NEW.user_id <> OLD.user_id THEN
            IF NEW.version = OLD.version THEN  -- whoever this is does not know about versions
                NEW.changed_by := CASE WHEN current_setting('tasks.staff', true) = 'on' THEN 'staff' END;
            END IF;
            IF NEW.user_id <> OLD.user_id AND NOT EXISTS (SELECT FROM "user" WHERE id = OLD.user_id) THEN
                UPDATE revisions SET user_id = NEW.user_id WHERE user_id = OLD.user_id;  -- the same user, by another id
            END IF;
            NEW.version := tasks_next_revision(NEW.user_id, OLD.version);
            IF NEW.user_id <> OLD.user_id THEN  -- its history goes with it
                UPDATE revisions SET revision = revision + 1, epoch = DEFAULT WHERE user_id = OLD.user_id;
                UPDATE task_versions SET user_id = NEW.user_id WHERE task_id = NEW.id;
            END IF;
        END IF;
        INSERT INTO task_versions (
            task_id, version, user_id, title, description, completed, deleted_at, changed_at, changed_by
        ) VALUES (
            OLD.id, OLD.version, NEW.user_id, OLD.title, OLD.description, OLD.completed, OLD.deleted_at,
            OLD.updated_at, OLD.changed_by
        );
        RETURN NEW;
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION tasks_forget() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        asker text := coalesce(current_setting('tasks.owner', true), '');
        theirs record;
    BEGIN
        FOR theirs IN
            SELECT user_id, array_agg(id) AS ids, bool_or(deleted_at IS NULL) AS were_listed FROM gone GROUP BY user_id
        LOOP
            PERFORM set_config('tasks.owner', theirs.user_id, true);
            DELETE FROM task_versions WHERE task_id = ANY (theirs.ids);
            IF theirs.were_listed THEN
                UPDATE revisions SET revision = revision + 1, epoch = DEFAULT WHERE user_id = theirs.user_id;
            END IF;
        END LOOP;
        PERFORM set_config('tasks.owner', asker, true);
        RETURN NULL;
    END $$
    """,
    """
    CREATE OR REPLACE FUNCTION tasks_forget_all() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        staff text := coalesce(current_setting('tasks.staff', true), '');
    BEGIN
        IF pg_relation_size('task_versions') > 0 THEN
            TRUNCATE task_versions;
        END IF;
        PERFORM set_config('tasks.staff', 'on', true);
        UPDATE revisions SET revision = revision + 1, epoch = DEFAULT;
        PERFORM set_config('tasks.staff', staff, true);
        RETURN NULL;
    END $$
    """,
    # Each state whole again.
    """
    UPDATE task_versions AS v SET title = coalesce(
        v.title,
        (
            SELECT w.title FROM task_versions AS w
            WHERE w.task_id = v.task_id AND w.version > v.version AND w.title IS NOT NULL ORDER BY w.version LIMIT 1
        ),
        (SELECT t.title FROM tasks AS t WHERE t.id = v.task_id)
    ), description = CASE
        WHEN v.keeps_description THEN v.description
        WHEN EXISTS (
            SELECT FROM task_versions AS w
            WHERE w.task_id = v.task_id AND w.version > v.version AND w.keeps_description
        ) THEN (
            SELECT w.description FROM task_versions AS w
            WHERE w.task_id = v.task_id AND w.version > v.version AND w.keeps_description ORDER BY w.version LIMIT 1
        )
        ELSE (SELECT t.description FROM tasks AS t WHERE t.id = v.task_id)
    END
    """,
    # The version before this one reads whole tasks there.
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
