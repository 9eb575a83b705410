"""What lists take from the indexes of their owner's tasks: those that have some words, and the order of titles."""

from piccolo.querystring import QueryString

from app.statements import Param
from app.tasks.index_queries import TITLES, WORDS
from app.tasks.queries import FOR_THEM, OWNER

WANTED, SCOPE, INDEXED = Param("wanted_words"), Param("scope"), Param("indexed")
FEW = 10_000  # tasks, which are less to sort than all of an owner's are to go through

AMONG_ALL = '(SELECT * FROM "tasks" WHERE {}) AS "tasks"'
# OFFSET 0: from what was found to the tasks, one by one. PostgreSQL, which cannot know how little that is, might go the
# other way.
THAT_TASK = """
    CROSS JOIN LATERAL (SELECT * FROM "tasks" WHERE {} AND "tasks"."id" = "found"."task_id" OFFSET 0) AS "tasks"
"""
ARE_FEW, ARE_MANY = (f'(SELECT count(*) FROM "found") {sign} {FEW}' for sign in ("<=", ">"))
# In a CASE, or PostgreSQL would make a join of it, by the few that it expects.
IS_FOUND = 'CASE WHEN {} IN (SELECT "task_id" FROM "found") THEN true END'

# Whether the indexes that a list is taken from have all that there is, or at least what there was when that was made
# sure of. Of a list that names its owner's row "mine".
IS_INDEXED = QueryString(
    """(SELECT "indexed" >= "revision" OR "indexed" >= coalesce({}::bigint, "revision") FROM "mine")""", INDEXED
)


def kinds_of(sort: str, *, searches: bool) -> tuple[str, ...]:
    """Return which indexes a list is taken from."""
    return (WORDS,) * searches + (TITLES,) * (sort.lstrip("-") == "title")


def indexed_to(kinds: tuple[str, ...]) -> QueryString:
    """Return up to which revision all of these indexes are right."""
    each = 'coalesce((SELECT "indexed" FROM "task_indexes" WHERE {} AND "user_id" = {} AND "kind" = {}), -1)'
    return QueryString(
        f"least({', '.join(['{}'] * len(kinds)) or 'NULL'})",
        *(QueryString(each, FOR_THEM.querystring, OWNER, kind) for kind in kinds),
    )


def in_order_of_titles(theirs: QueryString, behind: QueryString, direction: str) -> QueryString:
    """Return the tasks from the first title, or from behind one, on. They need not be sorted once more."""
    return QueryString(
        f"""
        (
            SELECT "key", "task_id" FROM "task_titles" AS "titles" WHERE {{}} AND "user_id" = {{}} AND {{}} AND {{}}
            ORDER BY "key" {direction}, "task_id" {direction} OFFSET 0
        ) AS "titles"
        CROSS JOIN LATERAL (SELECT * FROM "tasks" WHERE {{}} AND "tasks"."id" = "titles"."task_id" OFFSET 0) AS "tasks"
        """,
        FOR_THEM.querystring,
        OWNER,
        IS_INDEXED,
        behind,
        theirs,
    )


def found(by: str, condition: QueryString) -> QueryString:
    """Return the common table expression of the tasks that have the wanted words; ranked if that is asked for."""
    return QueryString(
        f""",
        "found" AS MATERIALIZED (
            SELECT "task_id", "rank"
            FROM "mine" CROSS JOIN LATERAL tasks_found("mine"."user_id", {{}}::text, {{}}::text, {by == "relevance"})
            WHERE {{}} AND {{}}
        )
        """,
        *(SCOPE, WANTED, IS_INDEXED, condition),
    )


def few(by: str, theirs: QueryString) -> QueryString:
    """Return the tasks that were found, where they are few, to be sorted."""
    tasks = QueryString(f'(SELECT * FROM "found" WHERE {ARE_FEW}) AS "found" {THAT_TASK}', theirs)
    if by != "title":
        return tasks
    return QueryString(
        """
        {} CROSS JOIN LATERAL (
            SELECT "key", "task_id" FROM "task_titles" WHERE {} AND "user_id" = {} AND "task_id" = "tasks"."id" OFFSET 0
        ) AS "titles"
        """,
        *(tasks, FOR_THEM.querystring, OWNER),
    )


def many(by: str, theirs: QueryString, behind: QueryString, direction: str) -> QueryString:
    """Return the tasks that were found, where they are many, behind a place and in the order that is asked for."""
    if by == "relevance":
        in_order = f'(SELECT * FROM "found" WHERE {{}} AND {ARE_MANY} ORDER BY "rank" DESC, "task_id" DESC OFFSET 0)'
        return QueryString(f'{in_order} AS "found" {THAT_TASK}', behind, theirs)
    if by == "title":
        is_found = IS_FOUND.format('"titles"."task_id"')
        return in_order_of_titles(theirs, QueryString(f"{{}} AND {ARE_MANY} AND {is_found}", behind), direction)
    return QueryString(AMONG_ALL, QueryString("{} AND {} AND {}", theirs, behind, _is_found()))


def total_found(theirs: QueryString) -> QueryString:
    """Return how many tasks were found that also are what else is asked for."""
    every = QueryString(AMONG_ALL, QueryString("{} AND {}", theirs, _is_found()))
    counts = "CASE WHEN {} THEN (SELECT count(*) FROM {}) ELSE (SELECT count(*) FROM {}) END"
    return QueryString(counts, QueryString(ARE_FEW), few("", theirs), every)


def _is_found() -> QueryString:
    is_found = IS_FOUND.format('"tasks"."id"')
    return QueryString(f"{ARE_MANY} AND {is_found}")
