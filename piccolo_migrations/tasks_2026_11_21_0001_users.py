from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import Boolean, Text, Timestamptz
from piccolo.columns.defaults.timestamptz import TimestamptzNow
from piccolo.columns.indexes import IndexMethod
from piccolo.engine.finder import engine_finder
from piccolo.table import Table

ID = "2026-11-21T02:50:00:000001"
VERSION = "1.38.0"
DESCRIPTION = "users, unless Better Auth has made them"

OURS = "Made by the Tasks API."


class Existing(Table, tablename="user"):
    """Whatever table of that name there is, or none."""


class UnlessThereIsOne(MigrationManager):
    """Leaves a table alone that somebody else made, in both directions."""

    async def run(self, backwards: bool = False):
        async with engine_finder().transaction():
            found = await Existing.raw(
                """SELECT obj_description(to_regclass('"user"'), 'pg_class') AS comment,
                          to_regclass('"user"') IS NOT NULL AS there"""
            )
            theirs = found[0]["there"] and found[0]["comment"] != OURS
            if theirs:
                print(
                    f"  - {self.migration_id}: there is a table of users already; it stays as it is... ",
                    end="",
                )
                return
            await super().run(backwards=backwards)
            if not backwards and not self.preview:
                await Existing.raw(f"""COMMENT ON TABLE "user" IS '{OURS}'""")


async def forwards():
    manager = UnlessThereIsOne(migration_id=ID, app_name="tasks", description=DESCRIPTION)

    manager.add_table(class_name="User", tablename="user", schema=None, columns=None)

    manager.add_column(
        table_class_name="User",
        tablename="user",
        column_name="id",
        db_column_name="id",
        column_class_name="Text",
        column_class=Text,
        params={
            "default": None,
            "null": False,
            "primary_key": True,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="User",
        tablename="user",
        column_name="name",
        db_column_name="name",
        column_class_name="Text",
        column_class=Text,
        params={
            "default": "",
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

    manager.add_column(
        table_class_name="User",
        tablename="user",
        column_name="email",
        db_column_name="email",
        column_class_name="Text",
        column_class=Text,
        params={
            "default": None,
            "null": False,
            "primary_key": False,
            "unique": True,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="User",
        tablename="user",
        column_name="email_verified",
        db_column_name="emailVerified",
        column_class_name="Boolean",
        column_class=Boolean,
        params={
            "default": False,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": "emailVerified",
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="User",
        tablename="user",
        column_name="image",
        db_column_name="image",
        column_class_name="Text",
        column_class=Text,
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

    manager.add_column(
        table_class_name="User",
        tablename="user",
        column_name="created_at",
        db_column_name="createdAt",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": TimestamptzNow(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": "createdAt",
            "secret": False,
        },
        schema=None,
    )

    manager.add_column(
        table_class_name="User",
        tablename="user",
        column_name="updated_at",
        db_column_name="updatedAt",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": TimestamptzNow(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": "updatedAt",
            "secret": False,
        },
        schema=None,
    )

    return manager
