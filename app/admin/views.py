"""What the admin's tables are made of: rows that a query makes, and ids that any URL can carry.

Piccolo's admin writes a row's id into its URLs as it is, and takes each table for one of the database's.
"""

import re
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Self

import asyncpg
from piccolo.columns import Text
from piccolo.columns.combination import Where, WhereRaw
from piccolo.query.methods.exists import Exists
from piccolo.query.methods.select import Select
from piccolo.querystring import QueryString
from pydantic_core import CoreSchema, core_schema

from app.db.piccolo_engine import engine


async def run_sql(sql: str, *values: Any) -> list[asyncpg.Record]:
    """Run a statement for the staff, as Piccolo does, whose own queries have no types. `{}` stands for each value."""
    rows: list[asyncpg.Record] = await engine.run_querystring(QueryString(sql, *values))
    return rows


class RowKey(str):
    """The id of a row, as the admin's page writes it into a URL: `~` and base64url (RFC 4648, section 5) of UTF-8.

    So it is never a part of a path, a query or a fragment, nor the name of another route. What is all digits stays as
    it is, for the sake of tables whose ids are numbers.
    """

    def __new__(cls, key: str) -> Any:
        """Return the id itself. Raises ValueError where the key is none."""
        if re.fullmatch(r"[0-9]+", key):
            return key
        if not re.fullmatch(r"~[A-Za-z0-9_-]+", key):
            raise ValueError("not a key of a row")
        return urlsafe_b64decode(key[1:] + "=" * (-len(key[1:]) % 4)).decode()

    @classmethod
    def __get_pydantic_core_schema__(cls, *_: Any) -> CoreSchema:
        """Be a plain string everywhere else: in rows, filters and forms."""
        return core_schema.str_schema()


class RowId(Text):
    """A text that is a primary key."""

    value_type = RowKey


class VersionId(RowId):
    """The id of a task and a version, with a point between: the rows are found by their index."""

    found_by: ClassVar[str] = '"history"."task_id" = {} AND "history"."version" = {}'

    def __eq__(self, value: Any) -> Any:
        one, _, version = str(value).partition(".")
        if not (one.isdecimal() and version.isdecimal()):
            return WhereRaw("false")
        return WhereRaw(self.found_by, int(one), int(version))

    def __hash__(self) -> int:
        return super().__hash__()


class View:
    """Beside `Table`: its rows are those of a query, which may be named as a table of the database is.

    The statements hold one `{}`, the id of a row. `locks` are taken before a row is compared and saved, in the order in
    which an owner's own changes take them.
    """

    source: ClassVar[str]
    shown: ClassVar[str]  # the columns of the list and its filters; the first leads to the row
    newest: ClassVar[str]  # the column by which the list is sorted, the last first
    removal: ClassVar[str | None] = None  # None: rows are not deleted by hand
    locks: ClassVar[tuple[str, ...]] = ()  # none: rows are not changed by hand
    is_made_here: ClassVar[bool] = False  # whether rows are added by hand
    fixed: ClassVar[tuple[str, ...]] = ()  # columns, beside the key, that nobody changes by hand
    set_once: ClassVar[tuple[str, ...]] = ()  # those among them that are chosen when a row is added

    @classmethod
    def table_name(cls: Any) -> str:
        """Return what the admin calls the table."""
        return cls._meta.tablename

    @classmethod
    def row_key(cls: Any) -> Any:
        """Return the column by whose value a row is found."""
        return cls._meta.primary_key

    @classmethod
    def set_by_service(cls) -> list[str]:
        """Return the columns that nobody fills in when a row is added."""
        return [cls.row_key()._meta.name, *(name for name in cls.fixed if name not in cls.set_once)]

    @classmethod
    def select(cls: Any, *columns: Any, exclude_secrets: bool = False) -> Any:
        """Return a query over the source."""
        return _Select(cls, cls._process_column_args(*columns), exclude_secrets=exclude_secrets)

    @classmethod
    def exists(cls: Any) -> Any:
        """Return a query that tells whether the source has such a row."""
        return _Exists(cls)

    @classmethod
    def delete(cls: Any, force: bool = False) -> Any:
        """Return what deletes one row."""
        return RowAction(lambda row_id: run_sql(cls.removal, row_id))

    @classmethod
    def methods(cls) -> set[str]:
        """Return what HTTP may do to the table and its rows."""
        taken = {"GET": True, "POST": cls.is_made_here, "PATCH": bool(cls.locks), "DELETE": bool(cls.removal)}
        return {method for method, is_taken in taken.items() if is_taken}


class _Select(Select[Any]):
    @property
    def default_querystrings(self) -> Any:
        return [_over(self.table, query) for query in super().default_querystrings]


class _Exists(Exists[Any]):
    @property
    def default_querystrings(self) -> Any:
        return [_over(self.table, query) for query in super().default_querystrings]


def _over(view: Any, query: QueryString) -> QueryString:
    """Let a query find the source under the name of the table. Inside it the name is still the database's own."""
    return QueryString(f'WITH "{view.table_name()}" AS ({view.source}) {{}}', query)


class RowAction:
    """What Piccolo's admin asks of a query that changes or deletes one row."""

    def __init__(self, action: Callable[[Any], Awaitable[Any]]) -> None:
        """Take what is done to the row of an id."""
        self._action = action
        self._id: Any = None

    def where(self, where: Where) -> Self:
        """Take which row."""
        self._id = where.value
        return self

    async def run(self) -> Any:
        """Do it. Raises what the action does."""
        return await self._action(self._id)
