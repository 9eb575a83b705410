"""The schema of DATABASE_SCHEMA, in which our tables are, and how PostgreSQL finds it: first in the `search_path`.

Our SQL names no schema. Where DATABASE_SCHEMA is set, PostgreSQL looks there first, and then where the server, the
database, the login or the URL say; so `"user"` may be in another schema. Where it is unset, nothing is changed.
"""

import os
import re
from urllib.parse import parse_qsl, quote, urlencode

import asyncpg

# Where we look as who we log in as, whatever role we take on then: `"$user"` would be another schema.
OF_LOGIN = """SELECT replace(current_setting('search_path'), '"$user"', quote_ident(current_user))"""


class NotFirst(ConnectionError):
    """PostgreSQL does not look into the schema of DATABASE_SCHEMA first: it must not be asked anything, then."""


def set_local(schema: str) -> str:
    """Return the column of a SELECT that puts a schema first until the transaction ends.

    Where there is no such schema (yet), nothing else is looked at either: no table of another schema is taken for ours.
    """
    return f"""
        set_config('search_path', CASE
            WHEN to_regnamespace('"{schema}"') IS NULL THEN '"{schema}"'
            WHEN starts_with(current_setting('search_path'), '"{schema}"') THEN current_setting('search_path')
            ELSE concat_ws(', ', '"{schema}"', nullif(current_setting('search_path'), ''))
        END, true)
    """


def oid(schema: str | None, name: str) -> str:
    """Return the SQL for the oid of a table of ours, or NULL where it is not there.

    With a schema, a table of that name in another one is not it. Needs no right on the schema.
    """
    if schema is None:
        return f"to_regclass('{name}')::oid"
    where = f"relnamespace = to_regnamespace('\"{schema}\"') AND relname = '{name}'"
    return f"(SELECT oid FROM pg_class WHERE {where})"


def qualified(schema: str | None, name: str) -> str:
    """Return a table's name in SQL."""
    return name if schema is None else f'"{schema}".{name}'


async def check(connection: asyncpg.Connection, schema: str | None) -> None:
    """Raise NotFirst where a connection would look for our tables elsewhere. Raises what asyncpg does."""
    if schema is not None and await connection.fetchval("SELECT current_schema()") != schema:
        raise NotFirst


def for_psql(url: str, path: str | None) -> tuple[str, dict[str, str]]:
    """Return the URL and the variables with which psql looks there; of no `path`, as the URL says."""
    if path is None:
        return url, {}
    bare, _, query = url.partition("?")
    options = dict(parse_qsl(query))
    escaped = re.sub(r"([\s\\])", r"\\\1", path)
    # The one in the URL would win over the variable.
    said = f"{options.pop('options', os.environ.get('PGOPTIONS', ''))} -c search_path={escaped}".strip()
    return f"{bare}?{urlencode(options, quote_via=quote)}".rstrip("?"), {"PGOPTIONS": said}
