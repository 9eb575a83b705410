"""Whether tables of somebody else's have the names of ours, or another installation is beside: told before migrating.

Ours are those beside a table `migration` in which Piccolo has recorded a migration of ours. A table `"user"` is
everybody's: the service uses the one that is there.
"""

import asyncpg

from app.db import roles, search_path

PICCOLOS = {"migration", "piccolo_user", "sessions"}
TABLE_NAMES = sorted(PICCOLOS | {name for name, rights in roles.SERVICE.items() if "EXECUTE" not in rights} - {"user"})

# The schema in which tables are made; of a login that may look into none, there is no name.
_FOUND = """
    SELECT c.relname::text AS name, n.nspname::text AS schema
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname = coalesce($1, current_schema()) AND c.relname = ANY ($2) ORDER BY c.relname
"""
_IS_PICCOLOS = """
    SELECT count(*) = 2 FROM pg_attribute
    WHERE attrelid = {} AND attname IN ('app_name', 'name') AND NOT attisdropped
"""
# By a function that all of them have.
_OTHERS = """
    SELECT quote_ident(n.nspname) FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
    WHERE p.proname = 'tasks_stamp' AND n.nspname <> coalesce($1, current_schema()) ORDER BY 1
"""
BESIDE = (
    "There are tables of this service in another schema of this database as well (%s). They stay as they are, and what"
    " is in them is not seen here: docs/existing-database.md."
)


async def recorded(connection: asyncpg.Connection, schema: str | None) -> set[tuple[str, str]]:
    """Return (app, id) of every migration that Piccolo has recorded in the schema, or where the login looks."""
    # Asked beforehand, since a failure would end the transaction that we may be in, and its locks.
    if not await _is_piccolos(connection, schema):
        return set()
    rows = await connection.fetch(f"SELECT app_name, name FROM {search_path.qualified(schema, 'migration')}")
    return {(row["app_name"], row["name"]) for row in rows}


async def _is_piccolos(connection: asyncpg.Connection, schema: str | None) -> bool:
    return (await connection.fetch(_IS_PICCOLOS.format(search_path.oid(schema, "migration"))))[0][0]


async def told(connection: asyncpg.Connection, schema: str | None, known: set[tuple[str, str]]) -> str:
    """Return one line that says which tables are in the way, and the two ways out; nothing where there are none."""
    ran = await recorded(connection, schema)
    if any(app == "tasks" for app, _ in ran & known):
        return ""
    found = await connection.fetch(_FOUND, schema, TABLE_NAMES)
    # Of another project's Piccolo: its staff must not log in to our admin. The list of migrations is for all.
    shared = {"migration"} if ran - known else PICCOLOS
    if not await _is_piccolos(connection, schema):
        shared = set[str]()
    names = [row["name"] for row in found if row["name"] not in shared]
    if not names:
        return ""
    return (
        f'The schema "{found[0]["schema"]}" has tables of somebody else\'s with names that this service needs:'
        f" {', '.join(names)}. Give the service a schema of its own (DATABASE_SCHEMA=tasks_api), or move those tables"
        " to another one: docs/existing-database.md shows both."
    )


async def others(connection: asyncpg.Connection, schema: str | None) -> list[str]:
    """Return the other schemas of the database that have our tables."""
    return [row[0] for row in await connection.fetch(_OTHERS, schema)]
