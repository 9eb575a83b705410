from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-30T12:00:00:000043"
VERSION = "1.38.0"
DESCRIPTION = "a change of a list or a label leaves behind what was there before"

THEIR_OWN = "user_id = current_setting('tasks.owner', true) OR current_setting('tasks.staff', true) = 'on'"
KINDS = ("list", "label")
KEPT = {"list": "name, color, position, archived_at, deleted_at", "label": "name, color, merged"}
# Of a change that says nothing of it.
FORGOTTEN = {"list": "", "label": " NEW.merged := NULL;"}


def columns(kind: str, row: str) -> str:
    return ", ".join(f"{row}.{name}" for name in KEPT[kind].split(", "))


def keep(kind: str) -> str:
    """Keep what a change of a list or a label replaces; of more states than there may be, the oldest go, as a task's do.

    Whoever does not know about versions gets one, as in `tasks_stamp`. A change holds its owner's revision.
    """
    return f"""
    CREATE FUNCTION tasks_keep_{kind}() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        raised record;
        latest integer;
        most integer;
        oldest bigint;
    BEGIN
        IF NEW.version <= OLD.version THEN
            raised := tasks_next_revision(NEW.user_id, OLD.version, 0::bigint, 0::bigint);
            NEW.version := raised.revision;
            NEW.updated_at := raised.stamped;
            NEW.changed_by := CASE WHEN pg_catalog.current_setting('tasks.staff', true) = 'on' THEN 'staff' END;{FORGOTTEN[kind]}
        END IF;
        INSERT INTO task_{kind}_versions ({kind}_id, version, user_id, {KEPT[kind]}, changed_at, changed_by, ordinal)
        VALUES (OLD.id, OLD.version, NEW.user_id, {columns(kind, "OLD")}, OLD.updated_at, OLD.changed_by, 1 + coalesce(
            (SELECT v.ordinal FROM task_{kind}_versions AS v WHERE v.{kind}_id = OLD.id ORDER BY v.version DESC LIMIT 1), 0
        )) RETURNING ordinal INTO latest;
        IF latest % 100 = 0 THEN
            SELECT history_versions INTO most FROM task_settings;
            SELECT version INTO oldest FROM task_{kind}_versions
            WHERE {kind}_id = OLD.id ORDER BY version DESC OFFSET greatest(most - 1, 0) LIMIT 1;
            IF FOUND AND most > 0 THEN
                DELETE FROM task_{kind}_versions WHERE ctid = ANY (ARRAY(
                    SELECT v.ctid FROM task_{kind}_versions AS v
                    WHERE v.{kind}_id = OLD.id AND v.version < oldest ORDER BY v.version LIMIT 1000
                ));
            END IF;
        END IF;
        RETURN NEW;
    END $$
    """


def history(kind: str) -> list[str]:
    """Return what the versions of lists, or of labels, need: of one owner with what they are of, and gone with it."""
    table = f"task_{kind}_versions"
    return [
        f"ALTER TABLE {table} ALTER changed_at TYPE timestamptz(3)",
        f"ALTER TABLE {table} DROP CONSTRAINT {table}_pkey, ADD PRIMARY KEY ({kind}_id, version)",
        # There is no version yet to be checked: changes of lists and labels wait for some milliseconds, until the commit.
        f"""
        ALTER TABLE {table} ADD CONSTRAINT {table}_of_theirs FOREIGN KEY (user_id, {kind}_id)
            REFERENCES task_{kind}s (user_id, id) ON UPDATE CASCADE ON DELETE CASCADE
        """,
        f"CREATE POLICY {table}_of_owner ON {table} USING ({THEIR_OWN})",
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
        keep(kind),
        # Not where its owner gets another id: that is no change of it.
        f"""
        CREATE TRIGGER tasks_keep_{kind} BEFORE UPDATE ON task_{kind}s FOR EACH ROW
        WHEN (NEW.version <> OLD.version OR ({columns(kind, "NEW")}) IS DISTINCT FROM ({columns(kind, "OLD")}))
        EXECUTE FUNCTION tasks_keep_{kind}()
        """,
    ]


FORWARDS = [
    # Of each owner there are some hundred labels at most: changes of labels wait for the index, some milliseconds.
    "ALTER TABLE task_labels ADD CONSTRAINT task_labels_of_their_owner UNIQUE (user_id, id)",
    "ALTER TABLE task_list_versions ALTER archived_at TYPE timestamptz(3), ALTER deleted_at TYPE timestamptz(3)",
    *history("list"),
    *history("label"),
]
BACKWARDS = [
    *(
        statement
        for kind in KINDS
        for statement in (
            f"DROP TRIGGER tasks_keep_{kind} ON task_{kind}s",
            f"DROP FUNCTION tasks_keep_{kind}()",
            f"ALTER TABLE task_{kind}_versions DROP CONSTRAINT task_{kind}_versions_of_theirs",
            f"ALTER TABLE task_{kind}_versions NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY",
            f"DROP POLICY task_{kind}_versions_of_owner ON task_{kind}_versions",
        )
    ),
    "ALTER TABLE task_labels DROP CONSTRAINT task_labels_of_their_owner",
]
# What was there, and what is there instead, by function. Of a label that a task is the first to have, the author is the
# task's; and where psql has changed the task, or the staff, `tasks_stamp` says so of the task only behind this.
REPLACED = {
    "tasks_label": [
        ("raised record;\n    BEGIN", "raised record;\n        author text := NEW.changed_by;\n    BEGIN"),
        (
            "IF TG_OP = 'UPDATE'::text THEN\n",
            """IF TG_OP = 'UPDATE'::text THEN
            IF NEW.version = OLD.version THEN
                author := CASE WHEN pg_catalog.current_setting('tasks.staff', true) = 'on' THEN 'staff' END;
            END IF;
""",
        ),
        ("(user_id, name, key, version, created_at,", "(user_id, name, key, changed_by, version, created_at,"),
        ("spelt, each ->> 0, raised.revision, raised", "spelt, each ->> 0, author, raised.revision, raised"),
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
            await replace(name, [(new, old) for old, new in reversed(pairs)])
        for statement in BACKWARDS:
            await Raw.raw(statement)

    manager.add_raw(run)
    manager.add_raw_backwards(run_backwards)
    return manager
