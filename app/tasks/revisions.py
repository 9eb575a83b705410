"""The SQL by which a change raises its owner's revision, as long as there is room for what it adds."""

from app.db.statements import SET_RLS_OWNER

# Also where there is nothing to change, which a change finds out behind it: to look twice costs more than a number.
STAMPED = """greatest(clock_timestamp(), "stamped" + interval '1 millisecond')::timestamptz(3)"""
RAISE = f"""
    "raised" AS (
        UPDATE "revisions" SET "revision" = "revision" + 1, "epoch" = DEFAULT, "stamped" = {STAMPED}{{more}}
        WHERE {SET_RLS_OWNER} AND "user_id" = :owner{{condition}}
        RETURNING "revision", "stamped" AS "at"
    )
"""
# A change has the expression, and what it refers to: the row that has the next revision.
NEXT_REVISION, NEXT_REVISION_ROW = '(SELECT "revision" FROM "raised")', RAISE.format(more="", condition="")
# The same for a task that is added, as long as there are fewer than `max_tasks`, or that is 0.
NEXT_REVISION_FOR_ANOTHER = RAISE.format(
    more=', "stored" = "stored" + 1', condition=' AND (:max_tasks::bigint = 0 OR "stored" < :max_tasks::bigint)'
)
# Later than each change of the owner's before it, by a millisecond at least, and not when the statement began, which
# may have waited: a client that asks for what is later than what it has must find it. Null without a revision.
RAISED_AT = '(SELECT "at" FROM "raised")'
