"""The statements that bring the indexes of an owner's tasks up to date."""

from app.db.statements import SET_RLS_OWNER, Statement
from app.tasks.queries import OWNED_BY_CALLER

WORDS, TITLES = "words", "titles"  # the kinds of indexes
LEASE_SECONDS = 10  # after which another worker may go on with an index
TEXT_BYTES = 256 * 1024  # that a step works out anew; one text may be longer
HASHED_BYTES = 8 * 1024 * 1024  # that a step compares with what is indexed
LEAST_TEXT_BYTES = 200  # that a short text counts for
INDEX_LOCK_TIMEOUT = "'200ms'"  # for a task that is just being deleted for good

# Lets a worker begin a round, or go on with one that another has left. A round is about all changes up to its target.
CLAIM = Statement(
    f"""
    WITH "now" AS MATERIALIZED (
        SELECT "revision" FROM "revisions" WHERE {SET_RLS_OWNER} AND "user_id" = :owner
    ), "before" AS MATERIALIZED (
        SELECT "indexed" FROM "task_indexes" WHERE {SET_RLS_OWNER} AND "user_id" = :owner AND "kind" = :kind::text
    ), "claimed" AS (
        INSERT INTO "task_indexes" AS "mine" ("user_id", "kind", "target", "worker", "leased_until")
        SELECT :owner::text, :kind::text, "revision", :worker::bigint,
            clock_timestamp() + interval '{LEASE_SECONDS} seconds'
        FROM "now" WHERE {SET_RLS_OWNER}
        ON CONFLICT ("user_id", "kind") DO UPDATE SET
            "worker" = excluded."worker", "leased_until" = excluded."leased_until",
            "target" = CASE WHEN "mine"."at" < 'infinity' THEN "mine"."target" ELSE excluded."target" END
        WHERE "mine"."indexed" < excluded."target"
            AND ("mine"."leased_until" < clock_timestamp() OR "mine"."worker" = excluded."worker")
        RETURNING "indexed", "target", "at", "at_id"
    )
    SELECT (SELECT "revision" FROM "now"), coalesce((SELECT "indexed" FROM "before"), -1) AS "indexed",
        "claimed"."indexed" AS "from", "target", "at"::text, "at_id"
    FROM (VALUES (0)) AS "always" LEFT JOIN "claimed" ON true
    """
)


def _pending(table: str, size: str, text_hash: str, texts: str) -> Statement:
    """Return the statement that looks at the next tasks of a round, and returns the texts that are not indexed.

    Each row also tells how far it has looked: to `at` and `at_id`, and whether there the round has `ended`. It stops
    before its texts are more bytes than a step may have, but never before the first.
    """
    in_order = '"created_at" DESC, "id" DESC'
    return Statement(
        f"""
        WITH "seen" AS MATERIALIZED (
            SELECT *, row_number() OVER () AS "place",
                sum(CASE WHEN "is_new" THEN "size" END) OVER (ROWS UNBOUNDED PRECEDING) - "size" AS "before"
            FROM (
                SELECT "id", "created_at", "version" > :indexed::bigint AS "is_new",
                    {LEAST_TEXT_BYTES} + {size} AS "size"
                FROM "tasks" WHERE {OWNED_BY_CALLER}
                    AND ("created_at", "id") < (:index_at::text::timestamptz, :index_at_id::bigint)
                ORDER BY {in_order} LIMIT :look_at::bigint
            ) AS "some"
        ), "pending" AS MATERIALIZED (
            SELECT "text".*, "place", sum("size") OVER (ORDER BY "place") - "size" AS "before"
            FROM "seen" CROSS JOIN LATERAL (
                SELECT "version", {text_hash} AS "text_hash", {texts}
                FROM "tasks" WHERE {OWNED_BY_CALLER} AND "tasks"."id" = "seen"."id" OFFSET 0
            ) AS "text"
            WHERE "is_new" AND "before" < {HASHED_BYTES} AND NOT EXISTS (
                SELECT FROM "{table}" WHERE {SET_RLS_OWNER} AND "user_id" = :owner AND "task_id" = "seen"."id"
                    AND "{table}"."text_hash" = "text"."text_hash"
            )
        ), "last" AS MATERIALIZED (
            SELECT least(
                (SELECT min("place") FROM "seen" WHERE "is_new" AND "before" >= {HASHED_BYTES}),
                (SELECT min("place") FROM "pending" WHERE "before" >= {TEXT_BYTES}),
                (SELECT count(*) + 1 FROM "seen")
            ) - 1 AS "place"
        )
        SELECT "stop"."created_at"::text AS "at", "stop"."id" AS "at_id",
            (SELECT count(*) FROM "seen") < :look_at::bigint
                AND (SELECT "place" FROM "last") = (SELECT count(*) FROM "seen") AS "ended",
            "work".*
        FROM "last" LEFT JOIN "seen" AS "stop" ON "stop"."place" = "last"."place" LEFT JOIN (
            SELECT "seen"."id", "pending".* FROM "pending" JOIN "seen" USING ("place")
        ) AS "work" ON "work"."place" <= "last"."place"
        """
    )


def _store(table: str, column: str, kind: str) -> Statement:
    """Return the statement that stores the entries of a step, and how far it has come; a row while the lease holds.

    It locks the tasks of its entries, so that none of them is deleted before `tasks_forget_words` sees its entry.
    """
    return Statement(
        f"""
        WITH "new" AS MATERIALIZED (
            SELECT * FROM json_to_recordset(:entries::text::json)
                AS "given" ("id" bigint, "version" bigint, "text_hash" bigint, "content" {kind})
        ), "there" AS MATERIALIZED (
            SELECT "id" FROM "tasks" WHERE {OWNED_BY_CALLER}
                AND (SELECT set_config('lock_timeout', {INDEX_LOCK_TIMEOUT}, true)) <> ''
                AND "tasks"."id" = ANY (ARRAY(SELECT "id" FROM "new"))
            ORDER BY "id" FOR KEY SHARE
        ), "stored" AS (
            INSERT INTO "{table}" AS "mine" ("user_id", "task_id", "version", "text_hash", "{column}")
            SELECT :owner::text, "id", "version", "text_hash", "content"
            FROM "new" JOIN "there" USING ("id") WHERE {SET_RLS_OWNER}
            ON CONFLICT ("task_id", "user_id") DO UPDATE SET
                "version" = excluded."version", "text_hash" = excluded."text_hash", "{column}" = excluded."{column}"
            WHERE "mine"."version" <= excluded."version"
        )
        UPDATE "task_indexes" SET
            "indexed" = CASE WHEN :ended::boolean THEN "target" ELSE "indexed" END,
            "at" = CASE WHEN :ended::boolean THEN 'infinity' ELSE :index_at::text::timestamptz END,
            "at_id" = CASE WHEN :ended::boolean THEN 9223372036854775807 ELSE :index_at_id::bigint END,
            "leased_until" = CASE WHEN :ended::boolean THEN '-infinity'
                ELSE clock_timestamp() + interval '{LEASE_SECONDS} seconds' END
        WHERE {SET_RLS_OWNER} AND "user_id" = :owner AND "kind" = :kind::text AND "worker" = :worker::bigint
        RETURNING "indexed"
        """
    )


# Of two texts, the hash of one is the seed of the other's: where the first ends makes a difference.
TITLE_HASH = """hashtextextended("title" COLLATE "C", 0)"""
TEXT_HASH = f"""hashtextextended(coalesce("description", '') COLLATE "C", {TITLE_HASH})"""
# Of a task without labels it is the hash of its texts: those that were indexed before there were labels stay so.
WORDS_HASH = f"""CASE WHEN "labels" = '[]' THEN {TEXT_HASH}
    ELSE hashtextextended("labels"::text COLLATE "C", {TEXT_HASH}) END"""
PENDING_WORDS = _pending(
    "task_words", """coalesce(octet_length("description"), 0)""", WORDS_HASH, '"title", "description", "labels"'
)
PENDING_TITLES = _pending("task_titles", "0", TITLE_HASH, '"title", NULL AS "description", NULL AS "labels"')
STORE_WORDS = _store("task_words", "words", "tsvector")
STORE_TITLES = _store("task_titles", "key", "text")
PENDING = {WORDS: PENDING_WORDS, TITLES: PENDING_TITLES}
STORE = {WORDS: STORE_WORDS, TITLES: STORE_TITLES}
