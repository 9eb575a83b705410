"""SQL that Piccolo compiles once, when a module is imported. Requests only bind their values."""

import re
from collections.abc import Container
from typing import Any

import msgspec
from piccolo.columns.combination import WhereRaw
from piccolo.query.base import Query
from piccolo.querystring import QueryString

NUMBER = re.compile(r"\$(\d+)")
AS_OWNER = "(SELECT set_config('tasks.owner', {}, true)) IS NOT NULL"
STAMP = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')"""  # as JavaScript's toISOString


class Param:
    """A value that is not known yet when a statement is compiled."""

    def __init__(self, name: str) -> None:
        """Name it as the keyword under which `Statement.bind` will receive it."""
        self.name = name


class Statement:
    """One SQL statement, and the order in which its values are bound."""

    # Where it can travel with others of its kind (`app/groups.py`): the same with one argument more, which is returned
    # behind each row.
    together: str | None = None

    def __init__(self, query: "Query[Any, Any] | QueryString") -> None:
        """Compile a Piccolo query, or a piece of SQL, whose open values are Params."""
        querystring = query if isinstance(query, QueryString) else query.querystrings[0]
        sql, arguments = querystring.compile_string()
        # One number for each, however often the SQL asks for it; of two that are equal one may be of another type.
        distinct = {id(each): each for each in arguments}
        numbers = dict(zip(distinct, range(1, len(distinct) + 1), strict=True))
        self._arguments = [*distinct.values()]
        self.sql = NUMBER.sub(lambda match: f"${numbers[id(arguments[int(match[1]) - 1])]}", sql)

    def bind(self, values: dict[str, Any]) -> list[Any]:
        """Return the arguments in the order in which the SQL numbers them."""
        return [values[each.name] if isinstance(each, Param) else each for each in self._arguments]

    def number_of(self, param: Param) -> int:
        """Return the number of an argument in the SQL."""
        return self._arguments.index(param) + 1


def as_owner(owner: Param) -> WhereRaw:
    """Return the condition that tells PostgreSQL for whom a statement is: it shows no other owner's rows to it.

    The statement says so itself, so it costs no round trip, and is forgotten when its transaction ends. No column is in
    the condition, and no volatile function outside the sub-select: so PostgreSQL asks it once, before it looks at any
    row, whatever way it takes to the rows (docs/isolation.md).
    """
    return WhereRaw(AS_OWNER, owner)


def columns_of(struct: type[msgspec.Struct], without: Container[str] = (), **instead: QueryString) -> QueryString:
    """Return the columns that a struct's fields name, in their order; stamps as the text they are on the wire.

    `instead` has expressions for columns that are not to be read as they are.
    """
    columns = [
        QueryString(f'{{}} AS "{name}"', instead[name]) if name in instead else QueryString(_column(name))
        for name in struct.__struct_fields__
        if name not in without
    ]
    return QueryString(", ".join("{}" for _ in columns), *columns)


def _column(name: str) -> str:
    column = f'"{name}"'
    return f"{STAMP.format(column)} AS {column}" if name.endswith("_at") else column
