"""SQL that is compiled once, when a module is imported. Requests only bind their values.

It is text with named parameters, `:owner`, made of smaller texts by f-strings.
"""

import re
from collections.abc import Container
from typing import Any

import msgspec

PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")  # neither a cast (`::text`) nor a part of a format of times (`HH24:MI`)
# The condition that says for whom a statement is: PostgreSQL shows it no other owner's rows. The statement sets it
# itself, so it costs no round trip, and is forgotten when its transaction ends. No column is in the condition, and no
# volatile function outside the sub-select: so PostgreSQL asks it once, before it looks at any row, whatever way it
# takes to the rows (docs/isolation.md).
SET_RLS_OWNER = "(SELECT set_config('tasks.owner', :owner, true)) IS NOT NULL"
STAMP = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""  # as JavaScript's toISOString
# By what its name ends in, how a column becomes the text that it is on the wire.
AS_TEXT = {"_at": STAMP, "_date": "to_char({}, 'YYYY-MM-DD')", "_time": "to_char({}::interval, 'HH24:MI')"}
# Of a write that waits for a row in a group, so that the others in it do not have to.
SHORT_LOCK_TIMEOUT = "(SELECT set_config('lock_timeout', '50ms', true)) IS NOT NULL"
PLACE_IN_GROUP = ':place::int AS "place"'


class Statement:
    """One SQL statement, and the names of its parameters in the order in which it numbers them."""

    # Where it can be in a group of writes (`app/db/group_commit.py`): the same with one argument more, the place in the
    # group, which is returned behind each row.
    group_sql: str | None = None

    def __init__(self, sql: str) -> None:
        """Compile text with named parameters. Each has one number, however often the SQL names it."""
        self.names = [*dict.fromkeys(PARAMETER.findall(sql))]
        numbers = {name: f"${number}" for number, name in enumerate(self.names, 1)}
        self.sql = PARAMETER.sub(lambda match: numbers[match[1]], sql)

    def bind(self, values: dict[str, Any]) -> list[object]:
        """Return the arguments in the order in which the SQL numbers them."""
        return [values[name] for name in self.names]


def with_condition(sql: str, condition: str) -> str:
    """Return a statement that has this condition too wherever it says for whom it is."""
    return sql.replace(SET_RLS_OWNER, f"{SET_RLS_OWNER} AND {condition}")


def columns_of(struct: type[msgspec.Struct], without: Container[str] = (), **instead: str) -> str:
    """Return the columns that a struct's fields name, in their order; times and days as the text they are on the wire.

    `instead` has expressions for columns that are not to be read as they are, and the struct's `computed` for fields
    that have no column.
    """
    instead = getattr(struct, "computed", {}) | instead
    names = [name for name in struct.__struct_fields__ if name not in without]
    return ", ".join(f'{instead[name]} AS "{name}"' if name in instead else _column(name) for name in names)


def on_the_wire(name: str, value: str) -> str:
    """Return the SQL of a value as an answer has it, by the name of its column."""
    return next((text.format(value) for suffix, text in AS_TEXT.items() if name.endswith(suffix)), value)


def _column(name: str) -> str:
    column = f'"{name}"'
    shown = on_the_wire(name, column)
    return column if shown == column else f"{shown} AS {column}"
