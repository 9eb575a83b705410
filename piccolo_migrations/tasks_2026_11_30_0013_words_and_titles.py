from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.table import Table

ID = "2026-11-30T12:00:00:000013"
VERSION = "1.38.0"
DESCRIPTION = "the words of tasks and what their titles are sorted by are worked out by the service, and kept up to date in steps"

THEIR_OWN = "user_id = current_setting('tasks.owner', true) OR current_setting('tasks.staff', true) = 'on'"

FORWARDS = [
    # What was worked out by PostgreSQL, whose letters and whose order depend on the locale of each database. The words are
    # made anew for each owner, when they search for the first time.
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
    # How far an index of an owner's tasks is right, and how far whoever brings it up to date has come. Its rows live as long
    # as the revisions that they count.
    """
    CREATE TABLE task_indexes (
        user_id text NOT NULL REFERENCES revisions ON UPDATE CASCADE ON DELETE CASCADE,
        kind text NOT NULL,
        indexed bigint NOT NULL DEFAULT -1,
        target bigint NOT NULL,
        at timestamptz(3) NOT NULL DEFAULT 'infinity',
        at_id bigint NOT NULL DEFAULT 9223372036854775807,
        worker bigint NOT NULL,
        leased_until timestamptz NOT NULL,
        PRIMARY KEY (user_id, kind)
    ) WITH (fillfactor = 50)
    """,
    # A task that was given to somebody else has a row of each, and is found by its owner alone.
    """
    CREATE TABLE task_words (
        task_id bigint NOT NULL,
        user_id text NOT NULL,
        version bigint NOT NULL,
        text_hash bigint NOT NULL,
        words tsvector NOT NULL,
        PRIMARY KEY (task_id, user_id)
    )
    """,
    """
    CREATE TABLE task_titles (
        task_id bigint NOT NULL,
        user_id text NOT NULL,
        version bigint NOT NULL,
        text_hash bigint NOT NULL,
        key text COLLATE "C" NOT NULL,
        PRIMARY KEY (task_id, user_id)
    )
    """,
    # At once: else each search would look through what is still to be put in.
    "CREATE INDEX task_words_by_word ON task_words USING gin (words) WITH (fastupdate = off)",
    "CREATE INDEX task_titles_in_order ON task_titles (user_id, key, task_id)",
    f"CREATE POLICY task_indexes_of_owner ON task_indexes USING ({THEIR_OWN})",
    f"CREATE POLICY task_words_of_owner ON task_words USING ({THEIR_OWN})",
    f"CREATE POLICY task_titles_of_owner ON task_titles USING ({THEIR_OWN})",
    "ALTER TABLE task_indexes ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    "ALTER TABLE task_titles ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    # Not forced: the function below asks as the table's owner. A policy might be told by `@@` what it hides, so PostgreSQL
    # would ask the policy first, row by row, in place of the index. The function sees to the owner itself.
    "ALTER TABLE task_words ENABLE ROW LEVEL SECURITY",
    """
    CREATE FUNCTION tasks_found(owner text, scope text, wanted text, is_ranked boolean)
    RETURNS TABLE (task_id bigint, rank real)
    LANGUAGE plpgsql STABLE ROWS 100 SECURITY DEFINER AS $$
    DECLARE
        ours tsquery := wanted::tsquery;
        theirs tsquery := scope::tsquery OPERATOR(pg_catalog.&&) ours;
    BEGIN
        IF owner OPERATOR(pg_catalog.=) current_setting('tasks.owner'::text, true) THEN
            RETURN QUERY SELECT w.task_id, CASE WHEN is_ranked THEN ts_rank(w.words, ours) ELSE 0::real END
            FROM task_words AS w WHERE w.words OPERATOR(pg_catalog.@@) theirs AND w.user_id OPERATOR(pg_catalog.=) owner;
        END IF;
    END $$
    """,
    # In place of a foreign key, which would refuse a plain TRUNCATE. After tasks_forget, by its name.
    """
    CREATE FUNCTION tasks_forget_words() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    DECLARE
        staff text := coalesce(current_setting('tasks.staff'::text, true), ''::text);
        ids bigint[];
    BEGIN
        PERFORM set_config('tasks.staff'::text, 'on'::text, true);
        IF TG_OP = 'DELETE' THEN
            ids := ARRAY(SELECT id FROM gone);
            DELETE FROM task_words WHERE task_id = ANY (ids);
            DELETE FROM task_titles WHERE task_id = ANY (ids);
        ELSE  -- unless the same TRUNCATE has emptied them: then they are in use, and empty
            IF pg_relation_size('task_words'::regclass) > 0 THEN
                TRUNCATE task_words;
            END IF;
            IF pg_relation_size('task_titles'::regclass) > 0 THEN
                TRUNCATE task_titles;
            END IF;
        END IF;
        PERFORM set_config('tasks.staff'::text, staff, true);
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER tasks_forget_words AFTER DELETE ON tasks REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION tasks_forget_words()
    """,
    "CREATE TRIGGER tasks_forget_all_words AFTER TRUNCATE ON tasks EXECUTE FUNCTION tasks_forget_words()",
    "REVOKE EXECUTE ON FUNCTION tasks_found(text, text, text, boolean), tasks_forget_words() FROM PUBLIC",
    """
    DO $$ BEGIN
        EXECUTE format('ALTER FUNCTION tasks_forget_words() SET search_path = %I, pg_temp', current_schema());
        EXECUTE format(
            'ALTER FUNCTION tasks_found(text, text, text, boolean) SET search_path = %I, pg_temp', current_schema()
        );
        IF to_regrole('tasks_app') IS NOT NULL THEN
            GRANT SELECT, INSERT, UPDATE, DELETE ON task_indexes, task_words, task_titles TO tasks_app;
            GRANT EXECUTE ON FUNCTION tasks_found(text, text, text, boolean) TO tasks_app;
        END IF;
    END $$
    """,
]
BACKWARDS = [
    "DROP TRIGGER tasks_forget_all_words ON tasks",
    "DROP TRIGGER tasks_forget_words ON tasks",
    "DROP FUNCTION tasks_forget_words()",
    "DROP FUNCTION tasks_found(text, text, text, boolean)",
    "DROP TABLE task_titles",
    "DROP TABLE task_words",
    "DROP TABLE task_indexes",
    "UPDATE revisions SET searched = -1 WHERE searched > -1",
    # As migration 0008 made them.
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
