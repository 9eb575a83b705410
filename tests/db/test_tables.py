"""The tables: what the classes say is what the database has, and what the database sees to by itself."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import msgspec
import pytest
from litestar import Litestar
from piccolo.apps.migrations.commands.new import AutoMigrationManager
from piccolo.columns import (
    JSON,
    JSONB,
    UUID,
    Array,
    BigInt,
    BigSerial,
    Boolean,
    Bytea,
    Column,
    Date,
    ForeignKey,
    Integer,
    SmallInt,
    Text,
    Time,
    Timestamptz,
    Varchar,
)
from piccolo.table import Table

from app.admin.tables import UserRow
from app.db.piccolo_app import APP_CONFIG
from app.db.tables import Task

LARGEST_ID = 2**53 - 1


@pytest.fixture
async def rows(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection in a transaction that will never have been. Ada is there, and has no tasks."""
    connection = await asyncpg.connect(database_url)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(
        """TRUNCATE "user" CASCADE; INSERT INTO "user" (id, name, email) VALUES ('ada', 'Ada', 'ada@x')"""
    )
    yield connection
    await transaction.rollback()
    await connection.close()


async def add(rows: asyncpg.Connection, **values: Any) -> asyncpg.Record:
    values = {"user_id": "ada", "title": "Buy milk", **values}
    places = ", ".join(f"${n}" for n in range(1, len(values) + 1))
    insert = f"INSERT INTO tasks ({', '.join(values)}) VALUES ({places}) RETURNING *"
    return await rows.fetchrow(insert, *values.values())


async def change(rows: asyncpg.Connection, assignments: str) -> asyncpg.Record:
    return await rows.fetchrow(f"UPDATE tasks SET {assignments} RETURNING *")


TYPES = {
    Array: "ARRAY",
    BigInt: "bigint",
    BigSerial: "bigint",
    Date: "date",
    JSON: "json",
    JSONB: "jsonb",
    SmallInt: "smallint",
    Time: "time without time zone",
    UUID: "uuid",
    Boolean: "boolean",
    Bytea: "bytea",
    ForeignKey: "text",
    Integer: "integer",
    Text: "text",
    Timestamptz: "timestamp with time zone",
    Varchar: "character varying",
}


def described(column: Column) -> tuple[str, str, str, int | None]:
    nullable = "YES" if column._meta.null else "NO"
    return column._meta.db_column_name, TYPES[type(column)], nullable, getattr(column, "length", None)


class TestAgreement:
    # Piccolo says so of the migrations' own classes as well, each time that it reads them.
    @pytest.mark.filterwarnings("ignore:We recommend giving your table a different name:UserWarning")
    async def test_the_migrations_make_what_the_classes_say(self) -> None:
        statements = await AutoMigrationManager().get_alter_statements(APP_CONFIG)
        assert [each.statements for each in statements] == [[]] * len(statements)

    @pytest.mark.parametrize("table", APP_CONFIG.table_classes, ids=lambda table: table.__name__)
    async def test_the_database_has_what_the_classes_say(self, rows: asyncpg.Connection, table: type[Table]) -> None:
        found = await rows.fetch(
            """
            SELECT column_name, data_type, is_nullable, character_maximum_length
            FROM information_schema.columns WHERE table_schema = 'public' AND table_name = $1
            """,
            table._meta.tablename,
        )
        assert {tuple(row) for row in found} == {described(column) for column in table._meta.columns}

    async def test_every_table_of_ours_is_in_the_app(self) -> None:
        assert [table._meta.tablename for table in APP_CONFIG.table_classes] == [
            "user",
            "revisions",
            "tasks",
            "task_versions",
            "task_labels",
            "idempotency_keys",
            "rate_limits",
            "credentials",
            "login_sessions",
            "personal_access_tokens",
            "task_lists",
            "task_list_versions",
            "task_label_versions",
        ]

    async def test_a_user_is_shown_to_staff_by_name_email_and_id(
        self, running: Litestar, clean: None, sql: asyncpg.Connection
    ) -> None:
        await sql.execute("""INSERT INTO "user" (id, name, email) VALUES ('u1', 'Ada', 'ada@example.com')""")
        assert await UserRow.select(UserRow.get_readable()) == [{"readable": "Ada <ada@example.com> (u1)"}]


class TestStamps:
    async def test_a_new_task_has_two_alike_in_whole_milliseconds(self, rows: asyncpg.Connection) -> None:
        task = await add(rows)

        assert task["created_at"] == task["updated_at"]
        assert task["created_at"].microsecond % 1000 == 0
        assert abs(datetime.now(UTC) - task["created_at"]) < timedelta(minutes=1)

    async def test_every_change_is_strictly_later_also_in_one_transaction(self, rows: asyncpg.Connection) -> None:
        stamps = [(await add(rows))["updated_at"]]
        for _ in range(50):
            stamps.append((await change(rows, "completed = NOT completed"))["updated_at"])  # noqa: PERF401

        assert stamps == sorted(set(stamps))
        assert {stamp.microsecond % 1000 for stamp in stamps} == {0}

    async def test_a_change_that_changes_nothing_is_one_too(self, rows: asyncpg.Connection) -> None:
        task = await add(rows)
        assert (await change(rows, "title = title"))["updated_at"] > task["updated_at"]

    async def test_when_a_task_was_created_cannot_be_changed(self, rows: asyncpg.Connection) -> None:
        task = await add(rows)
        after = await change(rows, "created_at = '2000-01-01', title = 'Buy oats'")

        assert (after["created_at"], after["title"]) == (task["created_at"], "Buy oats")

    @pytest.mark.parametrize("stamp", ["'2000-01-01'", "'2999-01-01'", "NULL"])
    async def test_when_it_was_changed_cannot_be_chosen(self, rows: asyncpg.Connection, stamp: str) -> None:
        task = await add(rows)
        after = await change(rows, f"updated_at = {stamp}")

        assert task["updated_at"] < after["updated_at"] < datetime.now(UTC) + timedelta(minutes=1)

    async def test_where_the_clock_was_put_back_it_moves_on_by_a_millisecond(self, rows: asyncpg.Connection) -> None:
        future = datetime(2999, 1, 1, 12, 0, 0, 999_000, tzinfo=UTC)
        await add(rows, updated_at=future)

        assert (await change(rows, "completed = true"))["updated_at"] == future + timedelta(milliseconds=1)


class TestRules:
    @pytest.mark.parametrize("title", ["", " ", " " * 500])
    async def test_a_title_has_some_text(self, rows: asyncpg.Connection, title: str) -> None:
        with pytest.raises(asyncpg.CheckViolationError, match="title_has_text"):
            await add(rows, title=title)

    async def test_a_title_has_500_characters_at_most_however_many_bytes(self, rows: asyncpg.Connection) -> None:
        assert (await add(rows, title="\U0001f95b" * 500))["title"] == "\U0001f95b" * 500
        with pytest.raises(asyncpg.StringDataRightTruncationError):
            await add(rows, title="x" * 501)

    @pytest.mark.parametrize("column", ["user_id", "title", "completed", "created_at", "updated_at"])
    async def test_what_a_task_must_have(self, rows: asyncpg.Connection, column: str) -> None:
        with pytest.raises(asyncpg.NotNullViolationError, match=column):
            await add(rows, **{column: None})

    async def test_a_task_has_an_owner_whom_the_database_knows(self, rows: asyncpg.Connection) -> None:
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await add(rows, user_id="bob")

    async def test_with_their_owner_tasks_go_and_those_of_others_stay(self, rows: asyncpg.Connection) -> None:
        await rows.execute("""INSERT INTO "user" (id, name, email) VALUES ('bob', 'Bob', 'bob@x')""")
        await add(rows)
        his = await add(rows, user_id="bob")

        await rows.execute("""DELETE FROM "user" WHERE id = 'ada'""")

        assert await rows.fetch("SELECT * FROM tasks") == [his]

    async def test_with_another_id_of_their_owner_tasks_go_along_and_all_that_is_about_them(
        self, rows: asyncpg.Connection
    ) -> None:
        for number in range(3):
            await add(rows, title=f"Task {number}")
        await change(rows, "completed = true")
        await rows.execute("UPDATE \"user\" SET id = 'eva'")
        for table, count in (("tasks", 3), ("task_versions", 6), ("revisions", 1)):
            found = await rows.fetch(f"SELECT user_id FROM {table}")
            assert [row["user_id"] for row in found] == ["eva"] * count
        assert await rows.fetchval("SELECT (SELECT max(version) FROM tasks) = revision FROM revisions")

    async def test_a_description_may_be_missing_and_a_task_begins_undone(self, rows: asyncpg.Connection) -> None:
        task = await add(rows)
        assert (task["description"], task["completed"]) == (None, False)


class TestIds:
    async def test_the_largest_is_the_largest_that_javascript_holds_and_then_there_are_no_more(
        self, rows: asyncpg.Connection
    ) -> None:
        await rows.execute(f"ALTER SEQUENCE tasks_id_seq RESTART WITH {LARGEST_ID}")

        assert (await add(rows))["id"] == LARGEST_ID
        with pytest.raises(asyncpg.SequenceGeneratorLimitExceededError):
            await add(rows)

    async def test_piccolo_gives_the_database_the_choice(self) -> None:
        assert Task.id._meta.primary_key
        assert "DEFAULT" in str(Task.insert(Task(user_id="ada", title="x")))


async def revision(rows: asyncpg.Connection, owner: str = "ada") -> tuple[int, int]:
    found = await rows.fetchrow("SELECT revision, stored FROM revisions WHERE user_id = $1", owner)
    return found["revision"], found["stored"]


class TestManyRowsOfOneOwner:
    """What one statement adds or changes, beside the service's own statements."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        "statement",
        [
            "INSERT INTO tasks (user_id, title) SELECT 'ada', n::text FROM generate_series(1, {}) AS n",
            "UPDATE tasks SET completed = true",
            "UPDATE tasks SET user_id = 'bob'",
        ],
    )
    async def test_the_pages_that_a_row_reads_do_not_grow_with_their_number(
        self, rows: asyncpg.Connection, statement: str
    ) -> None:
        """They would grow eightfold, if each row looked at the versions before it."""
        await rows.execute("""INSERT INTO "user" (id, name, email) VALUES ('bob', 'Bob', 'bob@x')""")

        async def pages(count: int) -> float:
            transaction = rows.transaction()
            await transaction.start()
            await rows.execute(
                "INSERT INTO tasks (user_id, title) SELECT 'ada', n::text FROM generate_series(1, $1::int) AS n", count
            )
            [plan] = await rows.fetchrow(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement.format(count)}")
            await transaction.rollback()
            return msgspec.json.decode(plan)[0]["Plan"]["Shared Hit Blocks"] / count

        few, many = await pages(500), await pages(4000)
        assert many < 4 * few

    async def test_each_has_a_version_of_its_own_and_counts(self, rows: asyncpg.Connection) -> None:
        await rows.execute(
            """
            INSERT INTO "user" (id, name, email) SELECT n::text, 'n', n::text || '@x' FROM generate_series(1, 40) AS n;
            INSERT INTO tasks (user_id, title) SELECT (1 + n % 40)::text, n::text FROM generate_series(1, 400) AS n;
            UPDATE tasks SET completed = true;
            UPDATE tasks SET user_id = '1' WHERE user_id = '2'
            """
        )
        assert await revision(rows, "1") == (30, 20)
        assert await revision(rows, "2") == (30, 0)
        assert await revision(rows, "3") == (20, 10)
        assert await rows.fetchval("SELECT count(DISTINCT (user_id, version)) FROM tasks") == 400
        assert await rows.fetchval("SELECT count(DISTINCT (user_id, updated_at)) FROM tasks") == 400

    async def test_what_is_taken_back_between_them_does_no_harm(self, rows: asyncpg.Connection) -> None:
        await add(rows)
        await rows.execute("SAVEPOINT here")
        await add(rows)
        await add(rows)
        assert await revision(rows) == (3, 3)
        await rows.execute("ROLLBACK TO SAVEPOINT here")
        assert (await add(rows))["version"] == 2
        await rows.execute("UPDATE revisions SET revision = 10")  # the row has another place by now
        assert (await add(rows))["version"] == 11
        assert await revision(rows) == (11, 3)
        await rows.execute("DELETE FROM revisions")
        assert (await add(rows))["version"] == 1
