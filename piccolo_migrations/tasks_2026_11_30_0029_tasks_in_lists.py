from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-30T12:00:00:000029"
VERSION = "1.38.0"
DESCRIPTION = "a task can be in one of its owner's lists, which is neither in the trash nor archived when the task comes"

THEIR_OWN = "user_id = current_setting('tasks.owner', true) OR current_setting('tasks.staff', true) = 'on'"

FORWARDS = [
    """
    ALTER TABLE task_lists ALTER archived_at TYPE timestamptz(3), ALTER deleted_at TYPE timestamptz(3),
        ALTER created_at TYPE timestamptz(3), ALTER updated_at TYPE timestamptz(3),
        ADD CONSTRAINT task_lists_of_their_owner UNIQUE (user_id, id)
    """,
    "ALTER SEQUENCE task_lists_id_seq MAXVALUE 9007199254740991",
    "CREATE UNIQUE INDEX task_lists_by_uid ON task_lists (user_id, uid) WHERE uid IS NOT NULL",
    "CREATE INDEX task_lists_by_deletion ON task_lists (deleted_at) WHERE deleted_at IS NOT NULL",
    f"CREATE POLICY task_lists_of_owner ON task_lists USING ({THEIR_OWN})",
    "ALTER TABLE task_lists ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    # Of both owners at once, so that no task can be in another's list. No task is in one yet: to see that, PostgreSQL reads
    # the table twice, here and for the index, and changes wait: of a million tasks some 0.2 s.
    "ALTER TABLE tasks ADD CONSTRAINT tasks_in_list FOREIGN KEY (user_id, list_id) REFERENCES task_lists (user_id, id)",
    # Of tasks in no list it has nothing, and no toggle writes to it.
    "CREATE INDEX tasks_by_list ON tasks (user_id, list_id, created_at DESC, id DESC) WHERE list_id IS NOT NULL",
    # The change holds its owner's revision by then, and so did each that has moved or archived a list: so the function sees
    # the list as it is. A task that is restored without its list has none; nor has one that is given to another user.
    """
    CREATE FUNCTION tasks_enter_list() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'UPDATE'::text THEN
            IF NEW.user_id <> OLD.user_id THEN
                IF EXISTS (SELECT FROM "user" WHERE id = OLD.user_id) THEN  -- else it is the same user, by another id
                    NEW.list_id := NULL;
                END IF;
                RETURN NEW;
            END IF;
            IF NEW.list_id = OLD.list_id THEN
                IF NOT EXISTS (
                    SELECT FROM task_lists WHERE id = NEW.list_id AND user_id = NEW.user_id AND deleted_at IS NULL
                ) THEN
                    NEW.list_id := NULL;
                END IF;
                RETURN NEW;
            END IF;
        END IF;
        IF NOT EXISTS (
            SELECT FROM task_lists
            WHERE id = NEW.list_id AND user_id = NEW.user_id AND deleted_at IS NULL AND archived_at IS NULL
        ) THEN
            RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'list_takes_tasks',
                MESSAGE = 'the owner of the task has no such list, or it is archived';
        END IF;
        RETURN NEW;
    END $$
    """,
    """
    CREATE TRIGGER tasks_enter_list BEFORE INSERT ON tasks FOR EACH ROW WHEN (NEW.list_id IS NOT NULL)
    EXECUTE FUNCTION tasks_enter_list()
    """,
    """
    CREATE TRIGGER tasks_change_list BEFORE UPDATE ON tasks FOR EACH ROW
    WHEN (NEW.list_id IS NOT NULL AND (
        NEW.list_id IS DISTINCT FROM OLD.list_id OR NEW.user_id <> OLD.user_id
        OR OLD.deleted_at IS NOT NULL AND NEW.deleted_at IS NULL
    ))
    EXECUTE FUNCTION tasks_enter_list()
    """,
]
BACKWARDS = [
    "DROP TRIGGER tasks_change_list ON tasks",
    "DROP TRIGGER tasks_enter_list ON tasks",
    "DROP FUNCTION tasks_enter_list()",
    "DROP INDEX tasks_by_list",
    "ALTER TABLE tasks DROP CONSTRAINT tasks_in_list",
    "ALTER TABLE task_lists NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY",
    "DROP POLICY task_lists_of_owner ON task_lists",
    "DROP INDEX task_lists_by_deletion",
    "DROP INDEX task_lists_by_uid",
    "ALTER TABLE task_lists DROP CONSTRAINT task_lists_of_their_owner",
    "ALTER SEQUENCE task_lists_id_seq NO MAXVALUE",
]
# What was there, and what is there instead, by function.
REPLACED = {
    "tasks_stamp": [
        ("completed, completed_at, start_date,", "completed, completed_at, list_id, start_date,"),
        ("OLD.completed_at, OLD.start_date,", "OLD.completed_at, OLD.list_id, OLD.start_date,"),
    ],
}


class Raw(Table):
    """Runs SQL on the connection of the migration."""


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

    async def run():
        for statement in FORWARDS:
            await Raw.raw(statement)
        for name, pairs in REPLACED.items():
            await replace(name, pairs)

    async def run_backwards():
        for name, pairs in REPLACED.items():
            await replace(name, [(new, old) for old, new in pairs])
        for statement in BACKWARDS:
            await Raw.raw(statement)

    manager.add_raw(run)
    manager.add_raw_backwards(run_backwards)
    return manager
