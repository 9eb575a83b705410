"""SQL that Piccolo compiles once, when a module is imported. Requests only bind their values."""

from typing import Any

from piccolo.query.base import Query
from piccolo.querystring import QueryString


class Param:
    """A value that is not known yet when a statement is compiled."""

    def __init__(self, name: str) -> None:
        """Name it as the keyword under which `Statement.bind` will receive it."""
        self.name = name


class Statement:
    """One SQL statement, and the order in which its values are bound."""

    def __init__(self, query: "Query[Any, Any] | QueryString") -> None:
        """Compile a Piccolo query, or a piece of SQL, whose open values are Params."""
        querystring = query if isinstance(query, QueryString) else query.querystrings[0]
        self.sql, self._arguments = querystring.compile_string()

    def bind(self, values: dict[str, Any]) -> list[Any]:
        """Return the arguments in the order in which the SQL numbers them."""
        return [values[each.name] if isinstance(each, Param) else each for each in self._arguments]
