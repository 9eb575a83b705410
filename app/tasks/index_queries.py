"""What is asked of the indexes of an owner's tasks: to bring them up to date; always for an owner."""

from piccolo.querystring import QueryString

from app.statements import Param, Statement
from app.tasks.queries import FOR_THEM, OWNER, THEIR_OWN

WORDS, TITLES = "words", "titles"  # the kinds of indexes
LEASE_SECONDS = 10  # for which a worker that says nothing keeps an index
TEXT_BYTES = 256 * 1024  # that a step works out anew; one text may be longer
HASHED_BYTES = 8 * 1024 * 1024  # that a step compares with what is indexed
ROW_BYTES = 200  # that a short text counts for
LOCK_TIMEOUT = "'200ms'"  # for a task that is just being deleted for good

KIND, WORKER = Param("kind"), Param("worker")
INDEXED, ROWS, ENTRIES, ENDED = map(Param, ("indexed", "look_at", "entries", "ended"))
AT, AT_ID = Param("index_at"), Param("index_at_id")

# Lets a worker begin a round, or go on with one that somebody left. A round is about all changes up to its target.
CLAIM = Statement(
    QueryString(
        f"""
        WITH "now" AS MATERIALIZED (
            SELECT "revision" FROM "revisions" WHERE {{}} AND "user_id" = {{}}
        ), "before" AS MATERIALIZED (
            SELECT "indexed" FROM "task_indexes" WHERE {{}} AND "user_id" = {{}} AND "kind" = {{}}::text
        ), "claimed" AS (
            INSERT INTO "task_indexes" AS "mine" ("user_id", "kind", "target", "worker", "leased_until")
            SELECT {{}}::text, {{}}::text, "revision", {{}}::bigint,
                clock_timestamp() + interval '{LEASE_SECONDS} seconds'
            FROM "now" WHERE {{}}
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
        """,
        FOR_THEM.querystring,
        OWNER,
        FOR_THEM.querystring,
        OWNER,
        KIND,
        OWNER,
        KIND,
        WORKER,
        FOR_THEM.querystring,
    )
)


def _pending(table: str, size: str, text_hash: str, texts: str) -> Statement:
    """Return what looks at the next tasks of a round. Of those whose text is not indexed it returns the texts.

    Each row also tells how far it has looked: to `at` and `at_id`, and whether there the round has `ended`. It stops
    before its texts are more bytes than a step may have, but never before the first.
    """
    in_order = '"created_at" DESC, "id" DESC'
    return Statement(
        QueryString(
            f"""
            WITH "seen" AS MATERIALIZED (
                SELECT *, row_number() OVER () AS "place",
                    sum(CASE WHEN "is_new" THEN "size" END) OVER (ROWS UNBOUNDED PRECEDING) - "size" AS "before"
                FROM (
                    SELECT "id", "created_at", "version" > {{}}::bigint AS "is_new", {ROW_BYTES} + {size} AS "size"
                    FROM "tasks" WHERE {{}} AND ("created_at", "id") < ({{}}::text::timestamptz, {{}}::bigint)
                    ORDER BY {in_order} LIMIT {{}}::bigint
                ) AS "some"
            ), "pending" AS MATERIALIZED (
                SELECT "text".*, "place", sum("size") OVER (ORDER BY "place") - "size" AS "before"
                FROM "seen" CROSS JOIN LATERAL (
                    SELECT "version", {text_hash} AS "text_hash", {texts}
                    FROM "tasks" WHERE {{}} AND "tasks"."id" = "seen"."id" OFFSET 0
                ) AS "text"
                WHERE "is_new" AND "before" < {HASHED_BYTES} AND NOT EXISTS (
                    SELECT FROM "{table}" WHERE {{}} AND "user_id" = {{}} AND "task_id" = "seen"."id"
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
                (SELECT count(*) FROM "seen") < {{}}::bigint
                    AND (SELECT "place" FROM "last") = (SELECT count(*) FROM "seen") AS "ended",
                "work".*
            FROM "last" LEFT JOIN "seen" AS "stop" ON "stop"."place" = "last"."place" LEFT JOIN (
                SELECT "seen"."id", "pending".* FROM "pending" JOIN "seen" USING ("place")
            ) AS "work" ON "work"."place" <= "last"."place"
            """,
            INDEXED,
            THEIR_OWN.querystring,
            AT,
            AT_ID,
            ROWS,
            THEIR_OWN.querystring,
            FOR_THEM.querystring,
            OWNER,
            ROWS,
        )
    )


def _store(table: str, column: str, kind: str) -> Statement:
    """Return what stores what a step has worked out, and how far it has come. Returns a row while the lease holds.

    What is stored is of tasks that are there, and that nobody deletes before it is: `tasks_forget_words` sees it.
    """
    return Statement(
        QueryString(
            f"""
            WITH "new" AS MATERIALIZED (
                SELECT * FROM json_to_recordset({{}}::text::json)
                    AS "given" ("id" bigint, "version" bigint, "text_hash" bigint, "content" {kind})
            ), "there" AS MATERIALIZED (
                SELECT "id" FROM "tasks" WHERE {{}} AND (SELECT set_config('lock_timeout', {LOCK_TIMEOUT}, true)) <> ''
                    AND "tasks"."id" = ANY (ARRAY(SELECT "id" FROM "new"))
                ORDER BY "id" FOR KEY SHARE
            ), "stored" AS (
                INSERT INTO "{table}" AS "mine" ("user_id", "task_id", "version", "text_hash", "{column}")
                SELECT {{}}::text, "id", "version", "text_hash", "content"
                FROM "new" JOIN "there" USING ("id") WHERE {{}}
                ON CONFLICT ("task_id", "user_id") DO UPDATE SET
                    "version" = excluded."version", "text_hash" = excluded."text_hash", "{column}" = excluded."{column}"
                WHERE "mine"."version" <= excluded."version"
            )
            UPDATE "task_indexes" SET
                "indexed" = CASE WHEN {{}}::boolean THEN "target" ELSE "indexed" END,
                "at" = CASE WHEN {{}}::boolean THEN 'infinity' ELSE {{}}::text::timestamptz END,
                "at_id" = CASE WHEN {{}}::boolean THEN 9223372036854775807 ELSE {{}}::bigint END,
                "leased_until" = CASE WHEN {{}}::boolean THEN '-infinity'
                    ELSE clock_timestamp() + interval '{LEASE_SECONDS} seconds' END
            WHERE {{}} AND "user_id" = {{}} AND "kind" = {{}}::text AND "worker" = {{}}::bigint
            RETURNING "indexed"
            """,
            ENTRIES,
            THEIR_OWN.querystring,
            OWNER,
            FOR_THEM.querystring,
            ENDED,
            ENDED,
            AT,
            ENDED,
            AT_ID,
            ENDED,
            FOR_THEM.querystring,
            OWNER,
            KIND,
            WORKER,
        )
    )


# Of two texts, the hash of one is the seed of the other's: where the first ends makes a difference.
TITLE_HASH = """hashtextextended("title" COLLATE "C", 0)"""
TEXT_HASH = f"""hashtextextended(coalesce("description", '') COLLATE "C", {TITLE_HASH})"""
PENDING_WORDS = _pending(
    "task_words", """coalesce(octet_length("description"), 0)""", TEXT_HASH, '"title", "description"'
)
PENDING_TITLES = _pending("task_titles", "0", TITLE_HASH, '"title", NULL AS "description"')
STORE_WORDS = _store("task_words", "words", "tsvector")
STORE_TITLES = _store("task_titles", "key", "text")
PENDING = {WORDS: PENDING_WORDS, TITLES: PENDING_TITLES}
STORE = {WORDS: STORE_WORDS, TITLES: STORE_TITLES}
