from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-30T12:00:00:000022"
VERSION = "1.38.0"
DESCRIPTION = "an owner's changes are stamped in the order in which they become visible; a task counts its own changes"

# What was there, and what is there instead, by function. The service's own statements stamp by the same rule: each
# change of an owner is later than the one before, by a millisecond at least, while it holds the row of their revision.
REPLACED = {
    "tasks_next_revision": [
        (
            "INSERT INTO revisions AS mine (user_id, revision) VALUES (owner, above + 1)",
            """INSERT INTO revisions AS mine (user_id, revision, stamped)
        VALUES (owner, above + 1, pg_catalog.clock_timestamp()::timestamptz(3))""",
        ),
        (
            "SET revision = greatest(mine.revision, above) + 1, epoch = DEFAULT",
            """SET
            revision = greatest(mine.revision, above) + 1, epoch = DEFAULT, stamped = greatest(
                pg_catalog.clock_timestamp(), mine.stamped + interval '1 millisecond'
            )::timestamptz(3)""",
        ),
    ],
    "tasks_begin": [
        (
            """
        RETURN NEW;
    END""",
            """
        IF NEW.created_at = NEW.updated_at
            AND NEW.created_at > pg_catalog.transaction_timestamp() - interval '1 millisecond' THEN  -- not brought along
            SELECT stamped, stamped INTO NEW.created_at, NEW.updated_at FROM revisions WHERE user_id = NEW.user_id;
        END IF;
        RETURN NEW;
    END""",
        ),
    ],
    "tasks_stamp": [
        (
            """
        NEW.updated_at := greatest(pg_catalog.clock_timestamp(), OLD.updated_at + interval '1 millisecond');
""",
            """
        NEW.changes := OLD.changes + 1;
""",
        ),
        (
            """WHERE task_id = NEW.id;
            END IF;
        END IF;
""",
            """WHERE task_id = NEW.id;
            END IF;
            SELECT stamped INTO NEW.updated_at FROM revisions WHERE user_id = NEW.user_id;
        END IF;
        IF NEW.updated_at IS NULL OR NEW.updated_at <= OLD.updated_at THEN
            NEW.updated_at := greatest(pg_catalog.clock_timestamp(), OLD.updated_at + interval '1 millisecond');
        END IF;
""",
        ),
        (
            """1 + coalesce(
                (SELECT v.ordinal FROM task_versions AS v WHERE v.task_id = OLD.id ORDER BY v.version DESC LIMIT 1), 0
            )
        ) RETURNING ordinal INTO latest;
        IF latest % 100 = 0""",
            """NEW.changes
        );
        IF NEW.changes % 100 = 0""",
        ),
    ],
}


class Raw(Table):
    """Runs SQL on the connection of the migration."""


async def replace(name: str, old: str, new: str) -> None:
    """Put one text in place of another in a function of ours. Raises RuntimeError where it is not there."""
    [function] = await Raw.raw(
        """
        SELECT pg_catalog.pg_get_functiondef(p.oid) AS definition
        FROM pg_catalog.pg_proc AS p JOIN pg_catalog.pg_class AS c ON c.oid = 'tasks'::regclass
        WHERE p.pronamespace = c.relnamespace AND p.proname = {}
        """,
        name,
    )
    if function["definition"].count(old) != 1:
        raise RuntimeError(f"{name} is not as the migration before left it")
    await Raw.raw(function["definition"].replace(old, new).replace("{", "{{").replace("}", "}}"))


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="tasks", description=DESCRIPTION)

    async def run():
        for name, pairs in REPLACED.items():
            for old, new in pairs:
                await replace(name, old, new)

    async def run_backwards():
        for name, pairs in REPLACED.items():
            for old, new in pairs:
                await replace(name, new, old)

    manager.add_raw(run)
    manager.add_raw_backwards(run_backwards)
    return manager
