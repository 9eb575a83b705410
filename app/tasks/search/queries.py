"""The SQL by which lists read the indexes of their owner's tasks: which have some words, and the order of titles."""

from app.db.statements import SET_RLS_OWNER
from app.tasks.search.index_queries import TITLES, WORDS

FEW_FOUND = 10_000  # tasks, which are less to sort than all of an owner's are to go through

ARE_FEW, ARE_MANY = (f'(SELECT count(*) FROM "found") {sign} {FEW_FOUND}' for sign in ("<=", ">"))
# Whether the indexes of a list have all changes, or at least those up to the revision to which they were brought up.
# "mine" is the owner's row of "revisions".
IS_INDEXED = '(SELECT "indexed" >= "revision" OR "indexed" >= coalesce(:indexed::bigint, "revision") FROM "mine")'


def among_all(condition: str) -> str:
    """Return the tasks that a condition holds for."""
    return f'(SELECT * FROM "tasks" WHERE {condition}) AS "tasks"'


def _that_task(theirs: str, entries: str = "found") -> str:
    # OFFSET 0: from the entries to the tasks, one by one. PostgreSQL, which cannot know how few they are, might go the
    # other way.
    return f"""
        CROSS JOIN LATERAL (
            SELECT * FROM "tasks" WHERE {theirs} AND "tasks"."id" = "{entries}"."task_id" OFFSET 0
        ) AS "tasks"
    """


def _is_found(task_id: str) -> str:
    # In a CASE, or PostgreSQL would make a join of it, by the few that it expects.
    return f'{ARE_MANY} AND CASE WHEN {task_id} IN (SELECT "task_id" FROM "found") THEN true END'


def kinds_of(sort: str, *, searches: bool) -> tuple[str, ...]:
    """Return which indexes a list is taken from."""
    return (WORDS,) * searches + (TITLES,) * (sort.lstrip("-") == "title")


def indexed_to(kinds: tuple[str, ...]) -> str:
    """Return up to which revision all of these indexes are right."""
    each = [
        f"""
        coalesce((
            SELECT "indexed" FROM "task_indexes"
            WHERE {SET_RLS_OWNER} AND "user_id" = :owner AND "kind" = '{kind}'
        ), -1)
        """
        for kind in kinds
    ]
    return f"least({', '.join(each) or 'NULL'})"


def in_order_of_titles(theirs: str, behind: str, direction: str) -> str:
    """Return the tasks from the first title, or from behind one, on; they are in order."""
    return f"""
        (
            SELECT "key", "task_id" FROM "task_titles" AS "titles"
            WHERE {SET_RLS_OWNER} AND "user_id" = :owner AND {IS_INDEXED} AND {behind}
            ORDER BY "key" {direction}, "task_id" {direction} OFFSET 0
        ) AS "titles" {_that_task(theirs, "titles")}
    """


def found(by: str, condition: str) -> str:
    """Return the common table expression of the tasks that have the wanted words; ranked if that is asked for."""
    return f""",
        "found" AS MATERIALIZED (
            SELECT "task_id", "rank" FROM "mine" CROSS JOIN LATERAL tasks_found(
                "mine"."user_id", :scope::text, :wanted_words::text, {by == "relevance"}
            )
            WHERE {IS_INDEXED} AND {condition}
        )
    """


def few(by: str, theirs: str) -> str:
    """Return the tasks that were found, where they are few, to be sorted."""
    tasks = f'(SELECT * FROM "found" WHERE {ARE_FEW}) AS "found" {_that_task(theirs)}'
    if by != "title":
        return tasks
    return f"""
        {tasks} CROSS JOIN LATERAL (
            SELECT "key", "task_id" FROM "task_titles"
            WHERE {SET_RLS_OWNER} AND "user_id" = :owner AND "task_id" = "tasks"."id" OFFSET 0
        ) AS "titles"
    """


def many(by: str, theirs: str, behind: str, direction: str) -> str:
    """Return the tasks that were found, where they are many, behind a place and in the order that is asked for."""
    if by == "relevance":
        in_order = f'SELECT * FROM "found" WHERE {behind} AND {ARE_MANY} ORDER BY "rank" DESC, "task_id" DESC OFFSET 0'
        return f'({in_order}) AS "found" {_that_task(theirs)}'
    if by == "title":
        is_found = _is_found('"titles"."task_id"')
        return in_order_of_titles(theirs, f"{behind} AND {is_found}", direction)
    is_found = _is_found('"tasks"."id"')
    return among_all(f"{theirs} AND {behind} AND {is_found}")


def total_found(theirs: str) -> str:
    """Return how many tasks were found that also are what else is asked for."""
    is_found = _is_found('"tasks"."id"')
    every = among_all(f"{theirs} AND {is_found}")
    return f"CASE WHEN {ARE_FEW} THEN (SELECT count(*) FROM {few('', theirs)}) ELSE (SELECT count(*) FROM {every}) END"
