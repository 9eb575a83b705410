"""The history of a list or a label: the states that triggers have kept, in whole, and that of now.

Of more states than HISTORY_VERSIONS the oldest go.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import asyncpg

from app.db.statements import SET_RLS_OWNER, STAMP, Statement, on_the_wire
from app.tasks.history.diff import HistoryPage

C = TypeVar("C")

Different = dict[str, tuple[Any, Any]]  # the values before and after, by field


def states_of(kind: str, that_one: str, fields: Sequence[str], *, has_trash: bool = False) -> Statement:
    """Return the statement for the states of one list or label, the last first: `:limit` and another one.

    Its first row has no version where no state is asked for; there is no row where there is no such list or label.
    """
    columns = ((name, f'"{name}"') for name in fields)
    kept = ", ".join(f"{on_the_wire(name, column)} AS {column}" for name, column in columns)
    return Statement(
        f"""
        WITH "now" AS (SELECT * FROM "task_{kind}s" WHERE {that_one})
        SELECT "states".* FROM (SELECT 1 FROM "now") AS "it" LEFT JOIN (
            SELECT "version", {STAMP.format('"updated_at"')} AS "at", "changed_by", 1 AS "ordinal", {kept},
                false AS "is_deleted"
            FROM "now" WHERE "version" < :before
            UNION ALL (
                SELECT "version", {STAMP.format('"changed_at"')}, "changed_by", "ordinal", {kept},
                    {'"deleted_at" IS NOT NULL' if has_trash else "false"}
                FROM "task_{kind}_versions"
                WHERE {SET_RLS_OWNER} AND "user_id" = :owner AND "{kind}_id" = (SELECT "id" FROM "now")
                    AND "version" < :before
                ORDER BY "version" DESC LIMIT :limit + 1
            )
        ) AS "states" ON true
        ORDER BY "version" DESC LIMIT :limit + 1
        """
    )


def told(
    rows: Sequence[asyncpg.Record],
    limit: int,
    content: Callable[[asyncpg.Record], Mapping[str, Any]],
    change: Callable[[asyncpg.Record, asyncpg.Record | None, Different], C],
) -> tuple[list[C], HistoryPage]:
    """Return the change that led to each state but the one past the limit, and where to go on.

    `change` gets a state, the one before it, and what is different: nothing, where the one before is gone.
    """
    states = [row for row in rows if row["version"] is not None]
    changes = [
        change(now, before, {} if before is None and now["ordinal"] > 1 else _different(content, now, before))
        for now, before in zip(states[:limit], [*states[1:], None], strict=False)
    ]
    return changes, HistoryPage(states[limit - 1]["version"] if len(states) > limit else None)


def _different(
    content: Callable[[asyncpg.Record], Mapping[str, Any]], now: asyncpg.Record, before: asyncpg.Record | None
) -> Different:
    former: Mapping[str, Any] = content(before) if before else {}
    pairs = {name: (former.get(name), value) for name, value in content(now).items()}
    return {name: (old, new) for name, (old, new) in pairs.items() if old != new}
