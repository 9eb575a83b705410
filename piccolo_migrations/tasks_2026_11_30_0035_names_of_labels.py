from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-30T12:00:00:000035"
VERSION = "1.38.0"
DESCRIPTION = (
    "a task has names of its owner's labels, in the owner's spelling; the history keeps those that were replaced"
)

# The labels of a task are names, so that to read a task reads nothing else, and each is as the owner's label is spelt. The
# service writes a label as its key and its name: the function finds the owner's label with that key, or makes it. What
# was there already may stay, and psql may name what is a label of the owner's. All of it is under the owner's revision,
# which the service's statements have raised by then: so no label is renamed in between.
LABEL = """
    CREATE FUNCTION tasks_label() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        known jsonb := '[]'::jsonb;
        wanted jsonb := NEW.labels;
        each jsonb;
        spelt text;
        most integer;
        raised record;
    BEGIN
        IF TG_OP = 'UPDATE'::text THEN
            IF NEW.user_id = OLD.user_id THEN
                known := OLD.labels;
            ELSIF NOT EXISTS (SELECT FROM "user" WHERE id = OLD.user_id) THEN  -- the same user, by another id
                RETURN NEW;
            ELSE  -- the other owner's labels with the same keys, in the same order
                wanted := coalesce((
                    SELECT pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(l.key, l.name) ORDER BY e.place)
                    FROM pg_catalog.jsonb_array_elements_text(NEW.labels) WITH ORDINALITY AS e (name, place)
                    JOIN task_labels AS l ON l.user_id = OLD.user_id AND l.name = e.name
                ), '[]'::jsonb);
            END IF;
        END IF;
        PERFORM FROM revisions WHERE user_id = NEW.user_id FOR NO KEY UPDATE;
        NEW.labels := '[]'::jsonb;
        FOR each IN SELECT e.value FROM pg_catalog.jsonb_array_elements(wanted) AS e LOOP
            IF pg_catalog.jsonb_typeof(each) = 'array'::text THEN
                SELECT l.name INTO spelt FROM task_labels AS l WHERE l.user_id = NEW.user_id AND l.key = each ->> 0;
                IF NOT FOUND THEN
                    SELECT max_labels INTO most FROM task_settings;
                    IF (SELECT count(*) FROM task_labels AS l WHERE l.user_id = NEW.user_id) >= most::bigint THEN
                        RAISE check_violation USING
                            MESSAGE = 'one label too many', CONSTRAINT = 'labels_of_owner', DETAIL = most::text;
                    END IF;
                    spelt := each ->> 1;
                    raised := tasks_next_revision(NEW.user_id, 0::bigint, 0::bigint, 0::bigint);
                    INSERT INTO task_labels (user_id, name, key, version, created_at, updated_at)
                    VALUES (NEW.user_id, spelt, each ->> 0, raised.revision, raised.stamped, raised.stamped);
                END IF;
            ELSE
                spelt := each #>> '{}'::text[];
                IF NOT known ? spelt THEN
                    PERFORM FROM task_labels AS l WHERE l.user_id = NEW.user_id AND l.name = spelt;
                    IF NOT FOUND THEN
                        RAISE check_violation USING MESSAGE = 'a task can have the names of its owner''s labels alone';
                    END IF;
                END IF;
            END IF;
            IF NOT NEW.labels ? spelt THEN
                NEW.labels := NEW.labels || pg_catalog.jsonb_build_array(spelt);
            END IF;
        END LOOP;
        IF pg_catalog.jsonb_array_length(NEW.labels) > 50 THEN
            RAISE check_violation USING MESSAGE = 'a task can have 50 labels', CONSTRAINT = 'labels_of_task';
        END IF;
        RETURN NEW;
    END $$
"""
# In `tasks_stamp`: what was there, and what is there instead.
KEPT = [
    ("task_id, version, user_id, title,", "task_id, version, labels, user_id, title,"),
    (
        "OLD.id, OLD.version, NEW.user_id,",
        "OLD.id, OLD.version, CASE WHEN NEW.labels <> OLD.labels THEN OLD.labels END, NEW.user_id,",
    ),
]
FORWARDS = [
    """
    ALTER TABLE task_labels
        ALTER COLUMN created_at TYPE timestamptz(3), ALTER COLUMN updated_at TYPE timestamptz(3)
    """,
    "ALTER SEQUENCE task_labels_id_seq MAXVALUE 9007199254740991",
    "CREATE UNIQUE INDEX task_labels_by_key ON task_labels (user_id, key)",
    """
    CREATE POLICY task_labels_of_owner ON task_labels USING (
        user_id = current_setting('tasks.owner', true) OR current_setting('tasks.staff', true) = 'on'
    )
    """,
    "ALTER TABLE task_labels ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    "ALTER TABLE task_settings ADD COLUMN max_labels integer NOT NULL DEFAULT 500",
    LABEL,
    # Behind `tasks_begin` and before `tasks_stamp`, as their names are. A change of anything else asks for none of it.
    """
    CREATE TRIGGER tasks_label BEFORE UPDATE ON tasks FOR EACH ROW
    WHEN (NEW.labels <> OLD.labels OR NEW.user_id <> OLD.user_id AND NEW.labels <> '[]') EXECUTE FUNCTION tasks_label()
    """,
    """
    CREATE TRIGGER tasks_label_new BEFORE INSERT ON tasks FOR EACH ROW
    WHEN (NEW.labels <> '[]') EXECUTE FUNCTION tasks_label()
    """,
]
BACKWARDS = [
    "DROP TRIGGER tasks_label ON tasks",
    "DROP TRIGGER tasks_label_new ON tasks",
    "DROP FUNCTION tasks_label()",
    "ALTER TABLE task_settings DROP COLUMN max_labels",
    "ALTER TABLE task_labels NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY",
    "DROP POLICY task_labels_of_owner ON task_labels",
    "DROP INDEX task_labels_by_key",
]


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
            await Raw.raw(statement.replace("{", "{{").replace("}", "}}"))
        await replace("tasks_stamp", KEPT)

    async def run_backwards():
        await replace("tasks_stamp", [(new, old) for old, new in KEPT])
        for statement in BACKWARDS:
            await Raw.raw(statement)

    manager.add_raw(run)
    manager.add_raw_backwards(run_backwards)
    return manager
