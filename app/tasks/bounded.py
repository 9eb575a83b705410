"""Rows up to a number of bytes: what PostgreSQL may send in answer to one statement, however long descriptions are.

To add the lengths up costs as much as a fourth of a short list. So a list is read without, and a description that is
longer than there is room for is left out; only where one was, the rows are read again with their lengths added up.
PostgreSQL knows the length of a text without reading it.
"""

import secrets

from piccolo.querystring import QueryString

from app.statements import Param

MAX_ROWS = 1000  # that one statement reads
MAX_INLINE_BYTES = 1_500_000  # of text, of all rows that are read without adding up
MAX_BYTES = 1024 * 1024  # of text, of the rows that `within_bytes` returns, unless the first alone is longer
TITLE_BYTES = 500  # that a title takes in reckoning with it; at most it is four times as long

TOO_LONG = secrets.token_hex(16)  # in place of a description that was left out; nobody can know it
INLINE = Param("inline")
DESCRIPTION = QueryString(
    f"""CASE WHEN octet_length("description") > {{}}::int THEN '{TOO_LONG}' ELSE "description" END""", INLINE
)
SIZE_OF_TITLE = 'octet_length("title")'
SIZE = 'coalesce(octet_length("title"), 0) + coalesce(octet_length("description"), 0)'


def inline(rows: int) -> int:
    """Return how many bytes a description may have that is read with so many others."""
    return max(MAX_INLINE_BYTES // rows - TITLE_BYTES, 0)


def within_bytes(rows: QueryString, size: str = SIZE, *, least: int = 1) -> QueryString:
    """Return the rows, which are in an order, up to `MAX_BYTES` of them, and the first ones in any case.

    `"more"` tells of each whether another follows it.
    """
    return QueryString(
        f"""(
            SELECT * FROM (
                SELECT *, sum("size") OVER (ROWS UNBOUNDED PRECEDING) AS "so_far",
                    row_number() OVER (ROWS UNBOUNDED PRECEDING) AS "place",
                    lead(true, 1, false) OVER (ROWS UNBOUNDED PRECEDING) AS "more"
                FROM (SELECT *, {size} AS "size" FROM ({{}}) AS "rows") AS "sized"
            ) AS "summed" WHERE "so_far" <= {MAX_BYTES} OR "place" <= {least}
        )""",
        rows,
    )
