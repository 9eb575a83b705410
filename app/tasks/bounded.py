"""Rows up to a number of bytes: a statement returns 1 to 2 MB of text at most, however long its texts are.

To add the lengths up costs a fourth of a short list. So a list is read without, and descriptions over a limit are left
out; only where one was, the rows are read again with their lengths added up. PostgreSQL knows the length of a text
without reading it.
"""

import secrets

MAX_ROWS = 1000  # that one statement reads
MAX_INLINE_BYTES = 1_500_000  # of text, of all rows that are read without adding up
MAX_PIECE_BYTES = 1024 * 1024  # of text, of the rows that `within_bytes` returns, unless the first alone is longer
TITLE_BYTES = 500  # that a title is counted as; it has four times as many at most
TOO_LONG = secrets.token_hex(16)  # in place of a description that was left out; nobody can know it
# Unless it is longer than a statement's parameter `inline` allows, in bytes.
SHORT_DESCRIPTION = f"""CASE WHEN octet_length("description") > :inline::int THEN '{TOO_LONG}' ELSE "description" END"""
# That of an empty one, which most are, is told without reading it.
EXTRA_SIZE = """CASE WHEN pg_column_size("extra") > 6 THEN octet_length("extra"::text) ELSE 0 END"""
LABELS_SIZE = """CASE WHEN pg_column_size("labels") > 8 THEN octet_length("labels"::text) ELSE 0 END"""
MORE_SIZE = f"{EXTRA_SIZE} + {LABELS_SIZE}"
# The same where `extra` and `labels` count too. Where one of them alone is too long, it is null.
SHORT_TEXTS = {
    "description": f"""
        CASE WHEN coalesce(octet_length("description"), 0) + {MORE_SIZE} > :inline::int THEN '{TOO_LONG}'
        ELSE "description" END
    """,
    "extra": f'CASE WHEN {EXTRA_SIZE} <= :inline::int THEN "extra" END',
    "labels": f'CASE WHEN {LABELS_SIZE} <= :inline::int THEN "labels" END',
}
TITLE_SIZE = f'octet_length("title") + {MORE_SIZE}'
TEXT_SIZE = f'coalesce(octet_length("title"), 0) + coalesce(octet_length("description"), 0) + {MORE_SIZE}'


def inline(rows: int) -> int:
    """Return how many bytes a description may have where so many rows are read."""
    return max(MAX_INLINE_BYTES // rows - TITLE_BYTES, 0)


def within_bytes(rows: str, size: str = TEXT_SIZE, *, least: int = 1) -> str:
    """Return the SQL of these rows up to `MAX_PIECE_BYTES`, and of the first `least` in any case.

    `"more"` tells of each whether another follows it.
    """
    return f"""(
        SELECT * FROM (
            SELECT *, sum("size") OVER (ROWS UNBOUNDED PRECEDING) AS "so_far",
                row_number() OVER (ROWS UNBOUNDED PRECEDING) AS "place",
                lead(true, 1, false) OVER (ROWS UNBOUNDED PRECEDING) AS "more"
            FROM (SELECT *, {size} AS "size" FROM ({rows}) AS "rows") AS "sized"
        ) AS "summed" WHERE "so_far" <= {MAX_PIECE_BYTES} OR "place" <= {least}
    )"""
