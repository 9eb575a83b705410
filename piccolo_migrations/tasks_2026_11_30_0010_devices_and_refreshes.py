from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import Bytea, Integer, Timestamptz
from piccolo.columns.indexes import IndexMethod
from piccolo.table import Table

ID = "2026-11-30T12:00:00:000010"
VERSION = "1.38.0"
DESCRIPTION = "logins end after 90 days, a refresh token may be sent again, device tokens end with their password"

# Those that have been refreshed for longer end now.
FORWARDS = """
UPDATE login_sessions SET expires_at = created_at + interval '90 days'
WHERE expires_at > created_at + interval '90 days'
"""


class Raw(Table):
    """Runs SQL on the connection of the migration."""


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="tasks", description=DESCRIPTION)

    manager.add_column(
        table_class_name="LoginSession",
        tablename="login_sessions",
        column_name="previous_hash",
        db_column_name="previous_hash",
        column_class_name="Bytea",
        column_class=Bytea,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": True,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="LoginSession",
        tablename="login_sessions",
        column_name="rotated_at",
        db_column_name="rotated_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": None,
            "null": True,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    # Without a rewrite of the table: the default is a constant.
    manager.add_column(
        table_class_name="Credential",
        tablename="credentials",
        column_name="password_version",
        db_column_name="password_version",
        column_class_name="Integer",
        column_class=Integer,
        params={
            "default": 0,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    async def run():
        await Raw.raw(FORWARDS)

    manager.add_raw(run)
    return manager
