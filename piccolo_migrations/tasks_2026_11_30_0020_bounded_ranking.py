from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-30T12:00:00:000020"
VERSION = "1.38.0"
DESCRIPTION = "a search by relevance ranks what it finds in a bounded time"

FIXED_PATH = """
    DO $$ BEGIN
        EXECUTE pg_catalog.format(
            'ALTER FUNCTION tasks_found(text, text, text, boolean) SET search_path = %I, pg_temp', current_schema()
        );
    END $$
"""
# With the same arguments: a version that still runs meanwhile, or again, asks it as well. Its owner, and who may call it,
# stay as they are.
FORWARDS = [
    # Ranked by any of the words: of words that all have to be there, `ts_rank` would compare each place of one with each
    # place of another. To read words that do not fit into their row takes 0.1 ms for a long task, so those of all may have
    # 64 MiB. OFFSET 0: the others are ranked before all are sorted, so that the sort has nothing large to carry.
    r"""
    CREATE OR REPLACE FUNCTION tasks_found(owner text, scope text, wanted text, is_ranked boolean)
    RETURNS TABLE (task_id bigint, rank real)
    LANGUAGE plpgsql STABLE ROWS 100 SECURITY DEFINER AS $$
    DECLARE
        ours tsquery := wanted::tsquery;
        theirs tsquery := scope::tsquery OPERATOR(pg_catalog.&&) ours;
        any_word tsquery := (
            SELECT pg_catalog.string_agg(m.word[1], ' | '::text)
            FROM pg_catalog.regexp_matches(wanted, '''[^'']+''(?::\*)?'::text, 'g'::text) AS m (word)
        )::tsquery;
    BEGIN
        IF owner OPERATOR(pg_catalog.<>) pg_catalog.current_setting('tasks.owner'::text, true) IS NOT FALSE THEN
            RETURN;
        END IF;
        IF is_ranked THEN
            RETURN QUERY SELECT f.task_id, CASE
                WHEN f.long_words IS NULL THEN f.short_rank
                WHEN f.bytes OPERATOR(pg_catalog.<=) 67108864::bigint THEN pg_catalog.ts_rank(f.long_words, any_word)
                ELSE 0::real
            END FROM (
                SELECT s.*, pg_catalog.sum(pg_catalog.pg_column_size(s.long_words))
                    OVER (ORDER BY s.task_id DESC ROWS UNBOUNDED PRECEDING) AS bytes
                FROM (
                    SELECT w.task_id, CASE WHEN pg_catalog.pg_column_size(w.words) OPERATOR(pg_catalog.<=) 2000
                            THEN pg_catalog.ts_rank(w.words, any_word) END AS short_rank,
                        CASE WHEN pg_catalog.pg_column_size(w.words) OPERATOR(pg_catalog.>) 2000
                            THEN w.words END AS long_words
                    FROM task_words AS w
                    WHERE w.words OPERATOR(pg_catalog.@@) theirs AND w.user_id OPERATOR(pg_catalog.=) owner
                    OFFSET 0
                ) AS s
            ) AS f;
        ELSE
            RETURN QUERY SELECT w.task_id, 0::real FROM task_words AS w
            WHERE w.words OPERATOR(pg_catalog.@@) theirs AND w.user_id OPERATOR(pg_catalog.=) owner;
        END IF;
    END $$
    """,
    FIXED_PATH,
]
BACKWARDS = [
    """
    CREATE OR REPLACE FUNCTION tasks_found(owner text, scope text, wanted text, is_ranked boolean)
    RETURNS TABLE (task_id bigint, rank real)
    LANGUAGE plpgsql STABLE ROWS 100 SECURITY DEFINER AS $$
    DECLARE
        ours tsquery := wanted::tsquery;
        theirs tsquery := scope::tsquery OPERATOR(pg_catalog.&&) ours;
    BEGIN
        IF owner OPERATOR(pg_catalog.=) pg_catalog.current_setting('tasks.owner'::text, true) THEN
            RETURN QUERY SELECT w.task_id, CASE WHEN is_ranked THEN pg_catalog.ts_rank(w.words, ours) ELSE 0::real END
            FROM task_words AS w WHERE w.words OPERATOR(pg_catalog.@@) theirs AND w.user_id OPERATOR(pg_catalog.=) owner;
        END IF;
    END $$
    """,
    FIXED_PATH,
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
