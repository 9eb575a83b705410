from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-30T12:00:00:000023"
VERSION = "1.38.0"
DESCRIPTION = "many rows of one owner that one statement inserts or updates take a time that grows as they do"

# Each version of a row that a transaction writes stays until its end, and the index leads to all of them, one after the
# other. The place of the newest (ctid) leads to it alone. It is kept for a few owners at a time, by a hash of their ids.
NEXT_REVISION = """
    CREATE FUNCTION tasks_next_revision(
        owner text, above bigint, added bigint, most bigint, OUT revision bigint, OUT stamped timestamptz
    ) LANGUAGE plpgsql AS $$
    #variable_conflict use_column
    DECLARE
        setting text := 'tasks.revision_at_'::text || (pg_catalog.hashtext(owner) & 15)::text;
        place text := pg_catalog.current_setting(setting, true);
    BEGIN
        IF place <> ''::text THEN
            UPDATE revisions AS mine SET
                revision = greatest(mine.revision, above) + 1::bigint, epoch = DEFAULT,
                stored = greatest(mine.stored + added, 0::bigint), stamped = greatest(
                    pg_catalog.clock_timestamp(), mine.stamped + interval '1 millisecond'
                )::timestamptz(3)
            WHERE mine.ctid = place::tid AND mine.user_id = owner
                AND (added <= 0::bigint OR most = 0::bigint OR mine.stored + added <= most)
            RETURNING mine.revision, mine.stamped, mine.ctid::text
            INTO tasks_next_revision.revision, tasks_next_revision.stamped, place;
        END IF;
        IF tasks_next_revision.revision IS NULL THEN
            INSERT INTO revisions AS mine (user_id, revision, stored, stamped)
            VALUES (owner, above + 1::bigint, greatest(added, 0::bigint), pg_catalog.clock_timestamp()::timestamptz(3))
            ON CONFLICT (user_id) DO UPDATE SET
                revision = greatest(mine.revision, above) + 1::bigint, epoch = DEFAULT,
                stored = greatest(mine.stored + added, 0::bigint), stamped = greatest(
                    pg_catalog.clock_timestamp(), mine.stamped + interval '1 millisecond'
                )::timestamptz(3)
            WHERE added <= 0::bigint OR most = 0::bigint OR mine.stored + added <= most
            RETURNING mine.revision, mine.stamped, mine.ctid::text
            INTO tasks_next_revision.revision, tasks_next_revision.stamped, place;
        END IF;
        PERFORM pg_catalog.set_config(setting, place, true);
    END $$
"""
FORMER_NEXT_REVISION = """
    CREATE FUNCTION tasks_next_revision(owner text, above bigint) RETURNS bigint LANGUAGE sql AS $$
        INSERT INTO revisions AS mine (user_id, revision, stamped)
        VALUES (owner, above + 1, pg_catalog.clock_timestamp()::timestamptz(3))
        ON CONFLICT (user_id) DO UPDATE SET
            revision = greatest(mine.revision, above) + 1, epoch = DEFAULT, stamped = greatest(
                pg_catalog.clock_timestamp(), mine.stamped + interval '1 millisecond'
            )::timestamptz(3)
        RETURNING revision
    $$
"""
# What was there, and what is there instead, by function.
REPLACED = {
    "tasks_begin": [
        (
            """nullif(pg_catalog.current_setting('tasks.max_tasks', true), ''), '0')::bigint;
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
""",
            """nullif(pg_catalog.current_setting('tasks.max_tasks', true), ''), '0')::bigint;
        raised record;
    BEGIN
        raised := tasks_next_revision(NEW.user_id, 0::bigint, 1::bigint, most);
        NEW.version := raised.revision;
        IF NEW.version IS NULL THEN  -- one too many
            RETURN NULL;
""",
        ),
        (
            "SELECT stamped, stamped INTO NEW.created_at, NEW.updated_at FROM revisions WHERE user_id = NEW.user_id;",
            """NEW.created_at := raised.stamped;
            NEW.updated_at := raised.stamped;""",
        ),
    ],
    "tasks_stamp": [
        (
            "is_same_user boolean;",
            """moves bigint := (NEW.user_id <> OLD.user_id)::integer;
        raised record;""",
        ),
        (
            """IF NEW.user_id <> OLD.user_id THEN
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
                UPDATE""",
            """IF moves = 1 AND NOT EXISTS (SELECT FROM "user" WHERE id = OLD.user_id) THEN  -- the same user, by another id
                UPDATE revisions SET user_id = NEW.user_id WHERE user_id = OLD.user_id;
                moves := 0;
            END IF;
            raised := tasks_next_revision(NEW.user_id, OLD.version, moves, 0::bigint);
            NEW.version := raised.revision;
            NEW.updated_at := raised.stamped;
            IF moves = 1 THEN
                PERFORM tasks_next_revision(OLD.user_id, 0::bigint, -1::bigint, 0::bigint);
            END IF;
            IF NEW.user_id <> OLD.user_id THEN  -- its history goes with it
                UPDATE""",
        ),
        (
            """            SELECT stamped INTO NEW.updated_at FROM revisions WHERE user_id = NEW.user_id;
        END IF;
        IF""",
            """        END IF;
        IF""",
        ),
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
        await Raw.raw("DROP FUNCTION tasks_next_revision(text, bigint)")
        await Raw.raw(NEXT_REVISION)
        for name, pairs in REPLACED.items():
            await replace(name, pairs)

    async def run_backwards():
        for name, pairs in REPLACED.items():
            await replace(name, [(new, old) for old, new in pairs])
        await Raw.raw("DROP FUNCTION tasks_next_revision(text, bigint, bigint, bigint)")
        await Raw.raw(FORMER_NEXT_REVISION)

    manager.add_raw(run)
    manager.add_raw_backwards(run_backwards)
    return manager
