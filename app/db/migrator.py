"""Migrates all that is missing, or nothing: a process of its own, which `app/db/migrations` starts.

Everything is one transaction on one connection, which also holds the lock that keeps others from migrating meanwhile.
So whatever is killed, and when, the database is as it was before or as it should be.
"""

import asyncio
import io
import re
import sys
from collections.abc import Awaitable, Callable
from contextlib import redirect_stdout
from typing import NoReturn

import asyncpg
from piccolo.apps.migrations.commands.backwards import run_backwards
from piccolo.apps.migrations.commands.base import MigrationResult
from piccolo.apps.migrations.commands.forwards import run_forwards
from piccolo.apps.migrations.tables import Migration

from app.config import settings
from app.db import migrations, roles, search_path
from app.db.migrations import BLOCKED, FAILED, UNREACHABLE
from app.db.piccolo_engine import AS_STAFF, StaffTransaction, engine

LOCK_TIMEOUT = "3s"  # for a table that others use: later requests wait behind us for as long
FIRST_LOCK_TIMEOUT = "500ms"  # less than PostgreSQL's deadlock_timeout: where both wait for each other, we give way
ATTEMPTS = 20
SECONDS_BETWEEN_ATTEMPTS = 1.0

# Whatever a server, a database or a login has as its defaults. In READ COMMITTED we see, after the wait for the lock,
# what somebody else has migrated meanwhile.
BEGIN = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED, READ WRITE"
WITHOUT_TIMEOUTS = """
    SELECT set_config(name, CASE name WHEN 'row_security' THEN 'on' ELSE '0' END, true) FROM pg_settings
    WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout',
        'row_security')
"""

_WHO_AND_WHERE = "SELECT quote_ident(current_user), EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)"
_IS_FIRST = "SELECT current_schema() = $1 AND has_schema_privilege($1, 'CREATE')"

# What may be over a moment later: a table in use, another database of the server that migrates and drops or makes the
# role that both used in former versions (PostgreSQL calls that "tuple concurrently updated").
PASSING = (
    *(asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, asyncpg.SerializationError),
    *(asyncpg.UndefinedObjectError, asyncpg.InternalServerError),
)
# The server is gone, or not the one that takes changes any more.
AWAY = (
    *(OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError),
    *(asyncpg.InsufficientResourcesError, asyncpg.ReadOnlySQLTransactionError),
    asyncpg.InternalClientError,  # of a connection that is cut while it answers
)
# There is something already that has the name of what is to be made.
TAKEN = (
    *(asyncpg.DuplicateTableError, asyncpg.DuplicateColumnError),
    *(asyncpg.DuplicateFunctionError, asyncpg.DuplicateObjectError),
)


class NoSchema(Exception):
    """The login may not make the schema of DATABASE_SCHEMA, or nothing in it. The message says what to do."""

    def __init__(self, what: str, schema: str, statement: str) -> None:
        super().__init__(
            f'this user may not {what} the schema "{schema}". Its owner, or a superuser, says: {statement};'
        )


class MigratingTransaction(StaffTransaction):
    """The one transaction in which everything is migrated, by one process at a time."""

    async def begin(self) -> None:
        """Begin it, and wait for another process that migrates. No timeout of the server's ends it."""
        await self.transaction.start()
        await self.connection.execute(BEGIN)
        await self.connection.execute(WITHOUT_TIMEOUTS)
        await self.connection.execute(AS_STAFF)
        await self.connection.execute(f"SELECT pg_advisory_xact_lock({migrations.ADVISORY_LOCK})")
        await self.connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")


async def _keep_changes_out(connection: asyncpg.Connection) -> None:
    """Lock what each change of a task locks, before anything else is: a migration may take them in another order."""
    revisions, tasks = (search_path.oid(settings.current().database_schema, name) for name in ("revisions", "tasks"))
    if await connection.fetchval(f"SELECT {revisions} IS NOT NULL AND {tasks} IS NOT NULL"):
        await connection.execute(f"SET LOCAL lock_timeout = '{FIRST_LOCK_TIMEOUT}'")
        await connection.execute("LOCK TABLE revisions, tasks IN SHARE ROW EXCLUSIVE MODE")
        await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")


async def forwards(connection: asyncpg.Connection) -> MigrationResult:
    """Apply what is missing, and let the service's roles have what is theirs."""
    schema = settings.current().database_schema
    await _enter(connection, schema)
    await _heal(connection, schema)
    result = MigrationResult(success=True)
    if await migrations.missing(connection, schema):
        if await connection.fetchval(f"SELECT {search_path.oid(schema, 'migration')} IS NULL"):
            await Migration.create_table()  # Piccolo would take one of another schema for ours
        await _keep_changes_out(connection)
        result = await run_forwards("all")
    await roles.grant(connection)
    return result


async def backwards(connection: asyncpg.Connection) -> MigrationResult:
    """Take the newest of our migrations back."""
    schema = settings.current().database_schema
    await _enter(connection, schema)
    await _heal(connection, schema)
    await _keep_changes_out(connection)
    return await run_backwards("tasks", "1", auto_agree=True)


async def _enter(connection: asyncpg.Connection, schema: str | None) -> None:
    """Make the schema of DATABASE_SCHEMA where it is not there, and look there first. Raises NoSchema."""
    if schema is None:
        return
    [(login, is_there)] = await connection.fetch(_WHO_AND_WHERE, schema)
    if not is_there:
        try:
            await connection.execute(f'CREATE SCHEMA "{schema}"')
        except asyncpg.InsufficientPrivilegeError:
            raise NoSchema("make", schema, f'CREATE SCHEMA "{schema}" AUTHORIZATION {login}') from None
    await connection.execute(f"SELECT {search_path.set_local(schema)}")
    if not await connection.fetchval(_IS_FIRST, schema):
        raise NoSchema("make tables in", schema, f'GRANT USAGE, CREATE ON SCHEMA "{schema}" TO {login}')


async def _heal(connection: asyncpg.Connection, schema: str | None) -> None:
    """Look at this schema alone: what another installation has, in another one, is nothing of ours."""
    path = await connection.fetchval("SELECT current_setting('search_path')")
    if schema is not None:
        await connection.execute("SELECT set_config('search_path', $1, true)", f'"{schema}"')
    await migrations.heal(connection)
    await connection.execute("SELECT set_config('search_path', $1, true)", path)


async def migrate(steps: Callable[[asyncpg.Connection], Awaitable[MigrationResult]]) -> str:
    """Do it, and return what Piccolo prints. Raises SystemExit with one line and an exit code where it fails."""
    attempts_left = ATTEMPTS
    while True:
        printed = io.StringIO()
        try:
            with redirect_stdout(printed):
                async with MigratingTransaction(engine) as transaction:
                    result = await steps(transaction.connection)
                    if not result.success:
                        raise RuntimeError(result.message)
                return printed.getvalue()
        except PASSING as error:
            attempts_left -= 1
            if attempts_left == 0:
                _fail(printed.getvalue(), error)
            await asyncio.sleep(SECONDS_BETWEEN_ATTEMPTS)
        except Exception as error:
            _fail(printed.getvalue(), error)


def _fail(printed: str, error: Exception) -> NoReturn:
    which = re.findall(r"^  - (\S+) \[", printed, re.MULTILINE)
    reason = f"{error}".partition("\n")[0]  # what follows may hold what people wrote
    print(_told(f"{type(error).__name__}: {reason}", f" ({which[-1]})" if which else "", error), file=sys.stderr)  # noqa: T201
    raise SystemExit(_code(error))


def _told(reason: str, which: str, error: Exception) -> str:
    if isinstance(error, asyncpg.LockNotAvailableError):
        return (
            f"Nothing was migrated: a migration{which} could not lock a table that another transaction holds, in"
            f" {ATTEMPTS} attempts. End that (docs/scaling.md tells how to find it)."
        )
    if _code(error) == UNREACHABLE:
        return f"Nothing was migrated: the database went away{which}. {reason}"
    if isinstance(error, NoSchema):
        return f"Nothing was migrated: {error}"
    hint = " These migrations have not made that: give it another name, or see docs/existing-database.md."
    hint = hint if isinstance(error, TAKEN) else ""
    return f"Nothing was migrated: a migration{which} failed. {reason.rstrip('.')}.{hint}"


def _code(error: Exception) -> int:
    if isinstance(error, asyncpg.LockNotAvailableError):
        return BLOCKED
    return UNREACHABLE if isinstance(error, AWAY) else FAILED


def main(direction: str) -> None:
    """Migrate forwards or backwards."""
    try:
        print(asyncio.run(migrate(forwards if direction == "forwards" else backwards)), end="")  # noqa: T201
    except KeyboardInterrupt:
        raise SystemExit("Nothing was migrated.") from None


if __name__ == "__main__":
    main(*sys.argv[1:])
