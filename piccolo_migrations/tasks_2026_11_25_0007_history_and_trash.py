from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-25T23:00:00:000007"
VERSION = "1.38.0"
DESCRIPTION = "each change has a number and leaves behind what was there before; the trash; each owner has keys of their own"

THEIR_OWN = "user_id = current_setting('tasks.owner', true) OR current_setting('tasks.staff', true) = 'on'"

FORWARDS = [
    # Anew, and empty as it was: another type would have the whole table written again, with everybody waiting.
    "ALTER TABLE tasks DROP deleted_at, ADD deleted_at timestamptz(3)",
    "ALTER TABLE task_versions ALTER deleted_at TYPE timestamptz(3), ALTER changed_at TYPE timestamptz(3)",
    "ALTER TABLE task_versions DROP CONSTRAINT task_versions_pkey, ADD PRIMARY KEY (task_id, version)",
    "ALTER TABLE idempotency_keys DROP CONSTRAINT idempotency_keys_pkey, ADD PRIMARY KEY (user_id, key)",
    # Drawn with each change: a user who is deleted and comes back begins anew, and so does a database that was restored
    # from a backup. Entity tags of before must not fit by chance.
    "ALTER TABLE revisions ALTER epoch SET DEFAULT (random() * 9007199254740991)::bigint",
    # Changed in place, as long as there is room on the page.
    "ALTER TABLE revisions SET (fillfactor = 50)",
    "ALTER TABLE tasks SET (fillfactor = 90)",
    # It means the same with half the words, which PostgreSQL reads anew with each statement that changes a task.
    """
    ALTER TABLE tasks DROP CONSTRAINT title_has_text,
    ADD CONSTRAINT title_has_text CHECK (btrim(title) <> '')
    """,
    "INSERT INTO revisions (user_id) SELECT user_id FROM tasks GROUP BY user_id",
    # No index names what a toggle or a replacement changes, so that neither touches any.
    "DROP INDEX tasks_by_completed",
    "DROP INDEX tasks_in_order",
    "CREATE INDEX tasks_in_order ON tasks (user_id, created_at DESC, id DESC) WHERE deleted_at IS NULL",
    "CREATE INDEX tasks_in_trash ON tasks (user_id, deleted_at DESC) WHERE deleted_at IS NOT NULL",
    # For whatever empties everybody's.
    "CREATE INDEX tasks_by_deletion ON tasks (deleted_at) WHERE deleted_at IS NOT NULL",
    # For those who change tasks without the service's statements, which raise the revision themselves.
    """
    CREATE FUNCTION tasks_next_revision(owner text, above bigint) RETURNS bigint LANGUAGE sql AS $$
        INSERT INTO revisions AS mine (user_id, revision) VALUES (owner, above + 1)
        ON CONFLICT (user_id) DO UPDATE SET revision = greatest(mine.revision, above) + 1, epoch = DEFAULT
        RETURNING revision
    $$
    """,
    """
    CREATE FUNCTION tasks_begin() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.version := tasks_next_revision(NEW.user_id, 0);
        IF NEW.changed_by IS NULL AND current_setting('tasks.staff', true) = 'on' THEN
            NEW.changed_by := 'staff';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER tasks_begin BEFORE INSERT ON tasks FOR EACH ROW
    WHEN (NEW.version IS NULL OR NEW.version = 0) EXECUTE FUNCTION tasks_begin()
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
    # In place of a foreign key, which would have to be looked up with every change. An array, and no join: the plan that
    # is kept for few rows must do for many, and the other way round.
    """
    CREATE FUNCTION tasks_forget() RETURNS trigger LANGUAGE plpgsql AS $$
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
    CREATE TRIGGER tasks_forget AFTER DELETE ON tasks REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION tasks_forget()
    """,
    # Unless it was emptied by the same TRUNCATE: then it is in use, and empty. (That a function sets it, only superusers
    # may say in its head.)
    """
    CREATE FUNCTION tasks_forget_all() RETURNS trigger LANGUAGE plpgsql AS $$
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
    "CREATE TRIGGER tasks_forget_all AFTER TRUNCATE ON tasks EXECUTE FUNCTION tasks_forget_all()",
    f"CREATE POLICY task_versions_of_owner ON task_versions USING ({THEIR_OWN})",
    f"CREATE POLICY revisions_of_owner ON revisions USING ({THEIR_OWN})",
    f"CREATE POLICY idempotency_keys_of_owner ON idempotency_keys USING ({THEIR_OWN})",
    "ALTER TABLE task_versions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    "ALTER TABLE revisions ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    "ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    """
    DO $$ BEGIN
        IF to_regrole('tasks_app') IS NOT NULL THEN
            GRANT SELECT, INSERT, UPDATE, DELETE ON revisions, task_versions, idempotency_keys TO tasks_app;
        END IF;
    END $$
    """,
]
BACKWARDS = [
    "DROP TRIGGER tasks_forget_all ON tasks",
    "DROP FUNCTION tasks_forget_all()",
    "DROP TRIGGER tasks_forget ON tasks",
    "DROP FUNCTION tasks_forget()",
    "DROP TRIGGER tasks_begin ON tasks",
    "DROP FUNCTION tasks_begin()",
    "DELETE FROM tasks WHERE deleted_at IS NOT NULL",
    """
    CREATE OR REPLACE FUNCTION tasks_stamp() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.created_at := OLD.created_at;
        NEW.updated_at := greatest(clock_timestamp(), OLD.updated_at + interval '1 millisecond');
        RETURN NEW;
    END $$
    """,
    "DROP FUNCTION tasks_next_revision(text, bigint)",
    "DROP POLICY idempotency_keys_of_owner ON idempotency_keys",
    "DROP POLICY revisions_of_owner ON revisions",
    "DROP POLICY task_versions_of_owner ON task_versions",
    "DROP INDEX tasks_by_deletion",
    "DROP INDEX tasks_in_trash",
    "DROP INDEX tasks_in_order",
    "CREATE INDEX tasks_in_order ON tasks (user_id, created_at DESC, id DESC)",
    "CREATE INDEX tasks_by_completed ON tasks (user_id, completed, created_at DESC, id DESC)",
    "ALTER TABLE tasks RESET (fillfactor)",
    """
    ALTER TABLE tasks DROP CONSTRAINT title_has_text,
    ADD CONSTRAINT title_has_text CHECK (char_length(btrim(title)) BETWEEN 1 AND 500)
    """,
    "DELETE FROM idempotency_keys",
    "DELETE FROM revisions",
    "DELETE FROM task_versions",
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
