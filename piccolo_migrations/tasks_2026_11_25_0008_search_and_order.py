from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-25T23:30:00:000008"
VERSION = "1.38.0"
DESCRIPTION = "titles in the order that people expect, and the words of tasks for those who search them"

FORWARDS = [
    # Not every server was built with ICU.
    """
    DO $$ BEGIN
        CREATE COLLATION tasks_people (provider = icu, locale = 'und');
    EXCEPTION WHEN OTHERS THEN
        CREATE COLLATION tasks_people FROM "C";
    END $$
    """,
    # Without accents and capitals, by which nobody looks for anything. Most titles are ASCII, which has no accents.
    r"""
    CREATE FUNCTION tasks_plain(what text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
        SELECT CASE WHEN octet_length(what) = length(what) THEN lower(what)
            ELSE replace(replace(replace(translate(
                lower(regexp_replace(normalize(what, NFKD), '[\u0300-\u036f]+', '', 'g')), 'øłđħŧı', 'oldhti'
            ), 'ß', 'ss'), 'æ', 'ae'), 'œ', 'oe')
        END
    $$
    """,
    # Letters and digits, with spaces between them: of the rest PostgreSQL would make addresses, numbers and paths.
    # Cut where a row would become too large for its index.
    r"""
    CREATE FUNCTION tasks_bare(what text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
        SELECT regexp_replace(
            regexp_replace(
                left(tasks_plain(left(what, 65536)), 65536), '[\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+', ' ', 'g'
            ), '(\S{{255}})\S+', '\1', 'g'
        )
    $$
    """,
    # What each word of a user's begins with: so that a search looks at that user's words alone, however many others'
    # there are. Letters, or what follows might be taken for a number with it.
    """
    CREATE FUNCTION tasks_scope(owner text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
        SELECT translate(left(md5(owner), 10), '0123456789', 'ghijklmnop')
    $$
    """,
    r"""
    CREATE FUNCTION tasks_words(owner text, title text, description text) RETURNS tsvector
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
        SELECT tasks_scope(owner)::tsvector || regexp_replace(
            (
                setweight(to_tsvector('simple', tasks_bare(title)), 'A')
                || setweight(to_tsvector('simple', tasks_bare(coalesce(description, ''))), 'B')
            )::text, '(^| )''', '\1''' || tasks_scope(owner), 'g'
        )::tsvector
    $$
    """,
    # Quotes keep their meaning, and so does a dash before a word. The last word need not be written to its end, unless
    # it is in quotes.
    r"""
    CREATE FUNCTION tasks_query(owner text, q text) RETURNS tsquery LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
        SELECT regexp_replace(
            regexp_replace(
                websearch_to_tsquery('simple', regexp_replace(regexp_replace(regexp_replace(
                    tasks_plain(q), '[\x01-\x21\x23-\x2c\x2e\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+', ' ', 'g'
                ), '(?<=\S)-|-(?=[\s-]|$)', ' ', 'g'), '(\S{{255}})\S+', '\1', 'g'))::text,
                '''([^'']+)''', '''' || tasks_scope(owner) || '\1''', 'g'
            ), '''([ )]*)$', CASE WHEN q ~ '"[^"]*"\s*$' THEN '''\1' ELSE ''':*\1' END
        )::tsquery
    $$
    """,
    # Nothing of this is paid by those who change tasks: the words are brought up to date when their owner searches.
    """
    CREATE TABLE task_words (
        task_id bigint PRIMARY KEY,
        user_id text NOT NULL,
        version bigint NOT NULL,
        words tsvector NOT NULL
    )
    """,
    # At once: else each search would look through what is still to be put in.
    "CREATE INDEX task_words_by_word ON task_words USING gin (words) WITH (fastupdate = off)",
    # The service reads and writes it by two functions alone. A policy would not do: `@@` might tell what it sees, so
    # PostgreSQL would ask the policy first, row by row, in place of the index. They see to the owner themselves.
    """
    CREATE FUNCTION tasks_learn(owner text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE
        known bigint;
        latest bigint;
        is_all boolean;
    BEGIN
        IF owner IS DISTINCT FROM current_setting('tasks.owner', true) THEN
            RETURN 0;
        END IF;
        -- First, as every change of theirs does: so none comes in between.
        SELECT searched, revision INTO known, latest FROM revisions WHERE user_id = owner FOR NO KEY UPDATE;
        IF NOT FOUND OR known >= latest THEN
            RETURN coalesce(latest, 0);
        END IF;
        WITH pending AS (
            SELECT id, version, title, description,
                sum(1000 + coalesce(octet_length(description), 0)) OVER (ORDER BY id) AS size
            FROM tasks WHERE user_id = owner AND deleted_at IS NULL AND version > known AND NOT EXISTS (
                SELECT FROM task_words AS w
                WHERE w.task_id = tasks.id AND w.user_id = owner AND w.version = tasks.version
            )
        ), learnt AS (
            INSERT INTO task_words AS w (task_id, user_id, version, words)
            SELECT id, owner, version, tasks_words(owner, title, description) FROM pending
            WHERE size - coalesce(octet_length(description), 0) <= 1000000
            ON CONFLICT (task_id) DO UPDATE
            SET user_id = excluded.user_id, version = excluded.version, words = excluded.words
            RETURNING 1
        )
        SELECT (SELECT count(*) FROM pending) = (SELECT count(*) FROM learnt) INTO is_all;
        IF NOT is_all THEN
            RETURN NULL;
        END IF;
        UPDATE revisions SET searched = latest WHERE user_id = owner;
        RETURN latest;
    END $$
    """,
    """
    CREATE FUNCTION tasks_found(owner text, q text) RETURNS TABLE (task_id bigint, rank real)
    LANGUAGE plpgsql STABLE ROWS 100 SECURITY DEFINER AS $$
    DECLARE
        wanted tsquery := tasks_query(owner, q);
        theirs tsquery := tasks_scope(owner)::tsquery && wanted;
    BEGIN
        IF owner = current_setting('tasks.owner', true) AND numnode(wanted) > 0 THEN
            RETURN QUERY SELECT w.task_id, ts_rank(w.words, wanted) FROM task_words AS w
            WHERE w.words @@ theirs AND w.user_id = owner;
        END IF;
    END $$
    """,
    # In place of a foreign key, which would refuse a plain TRUNCATE. After tasks_forget, by its name: that has waited for a
    # search that is still learning.
    """
    CREATE FUNCTION tasks_forget_words() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        IF TG_OP = 'DELETE' THEN
            DELETE FROM task_words WHERE task_id = ANY (ARRAY(SELECT id FROM gone));
        ELSIF pg_relation_size('task_words') > 0 THEN
            TRUNCATE task_words;
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER tasks_forget_words AFTER DELETE ON tasks REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION tasks_forget_words()
    """,
    "CREATE TRIGGER tasks_forget_all_words AFTER TRUNCATE ON tasks EXECUTE FUNCTION tasks_forget_words()",
    """
    DO $$ BEGIN
        EXECUTE format('ALTER FUNCTION tasks_forget_words() SET search_path = %I, pg_temp', current_schema());
        EXECUTE format('ALTER FUNCTION tasks_learn(text) SET search_path = %I, pg_temp', current_schema());
        EXECUTE format('ALTER FUNCTION tasks_found(text, text) SET search_path = %I, pg_temp', current_schema());
    END $$
    """,
    # Whatever those who call it prefer: the order of all ids would be a way round by everybody's tasks.
    "ALTER FUNCTION tasks_learn(text) SET enable_sort = on",
]
BACKWARDS = [
    "DROP TRIGGER tasks_forget_all_words ON tasks",
    "DROP TRIGGER tasks_forget_words ON tasks",
    "DROP FUNCTION tasks_forget_words()",
    "DROP FUNCTION tasks_found(text, text)",
    "DROP FUNCTION tasks_learn(text)",
    "DROP TABLE task_words",
    "DROP FUNCTION tasks_query(text, text)",
    "DROP FUNCTION tasks_words(text, text, text)",
    "DROP FUNCTION tasks_scope(text)",
    "DROP FUNCTION tasks_bare(text)",
    "DROP FUNCTION tasks_plain(text)",
    "DROP COLLATION tasks_people",
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
