"""The database: its users and tasks, and how both are put back after a round.

Everything can be told from a number, so that nobody has to look anything up: users are called "1", "2" and so
on, and the task number `k` of user `u` has the id `k * STRIDE + u`. A user's tasks lie scattered over the
table, as those of people do who come every day.
"""

import asyncio
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import asyncpg

from app.db.embedded import EmbeddedPostgres
from benchmarks.toolbox import ROOT, say

STRIDE = 100_000  # more than there are users


class Group(NamedTuple):
    """Users who are alike: the number of the first, how many there are, and how many tasks each of them has."""

    first: int
    users: int
    tasks: int

    @property
    def numbers(self) -> range:
        """Their numbers."""
        return range(self.first, self.first + self.users)


class Population(NamedTuple):
    """Who is there. Nobody who reads is written for, so that lists stay as long as they are."""

    readers: Group = Group(1, 1000, 100)
    short: Group = Group(2001, 50, 20)
    long: Group = Group(3001, 10, 1000)
    posters: Group = Group(4001, 100, 0)
    editors: Group = Group(5001, 200, 100)
    others: Group = Group(10_001, 0, 100)  # who are only there

    @property
    def rows(self) -> int:
        """How many tasks that makes."""
        return sum(group.users * group.tasks for group in self)


ADD_USERS = """
    INSERT INTO "user" (id, name, email, "emailVerified", "createdAt", "updatedAt")
    SELECT u, 'User ' || u, u || '@example.com', true, now(), now() FROM generate_series($1::int, $2::int) u
"""
ADD_TASKS = f"""
    INSERT INTO tasks (id, user_id, title, description, completed, created_at, updated_at)
    SELECT k::bigint * {STRIDE} + u, u, 'Task ' || k || ' of many that have to be done',
           CASE WHEN k % 3 > 0 THEN 'What is to be kept in mind with this one, as long as notes are: ' || k END,
           k % 4 = 0, stamp, stamp
    FROM generate_series(0, $3::int - 1) k, generate_series($1::int, $2::int) u,
         LATERAL (SELECT timestamptz '2026-01-01' + k * interval '17 minutes' + u * interval '13 ms') s(stamp)
    ORDER BY k, u
"""

AS_OURS = ("app", "migrate")
# As far as the last migration before tasks got versions.
PLAINLY = ("piccolo.main", "migrations", "forwards", "tasks", "2026-11-25T20:00:00:000005")
# What tasks have beside that: in the contenders' database plain columns, which the service's own migrations have too.
WIDER = """
    ALTER TABLE tasks
        ADD uid uuid NOT NULL DEFAULT gen_random_uuid(), ADD completed_at timestamptz(3),
        ADD list_id bigint, ADD parent_id bigint, ADD position text NOT NULL DEFAULT 'a0',
        ADD start_date date, ADD due_date date, ADD due_time time, ADD time_zone text, ADD due_at timestamptz(3),
        ADD priority smallint NOT NULL DEFAULT 0, ADD labels json NOT NULL DEFAULT '[]',
        ADD estimate_minutes smallint, ADD extra json NOT NULL DEFAULT '{}'
"""
ADD_REVISIONS = "INSERT INTO revisions (user_id) SELECT id::text FROM generate_series($1::int, $2::int) id"


class Database(NamedTuple):
    """A database of a running server: its address, and the server's process."""

    url: str
    pid: int

    def run(self, *statements: str) -> None:
        """Run statements, each on its own."""
        asyncio.run(_run(self.url, [(statement, ()) for statement in statements]))

    def value(self, statement: str) -> Any:
        """Return the one value that a statement asks for."""
        return asyncio.run(_value(self.url, statement))

    def fill(self, population: Population) -> None:
        """Put everybody and their tasks into the migrated, empty database."""
        has_revisions = self.value("SELECT to_regclass('revisions') IS NOT NULL")  # not of every commit
        work: list[tuple[str, tuple[int, ...]]] = [("SET session_replication_role = replica", ())]  # no triggers
        for group in population:
            if group.users:
                first, last = group.numbers[0], group.numbers[-1]
                work.append((ADD_USERS, (first, last)))
                work.append((ADD_TASKS, (first, last, group.tasks)))
                if has_revisions:
                    work.append((ADD_REVISIONS, (first, last)))
        asyncio.run(_run(self.url, work))
        self.run(
            f"SELECT setval('tasks_id_seq', {2000 * STRIDE})",
            # It would come in the middle of somebody's round; `restore` does it between rounds instead.
            "ALTER TABLE tasks SET (autovacuum_enabled = off)",
            "VACUUM (FREEZE, ANALYZE)",
            "CHECKPOINT",
        )

    def restore(self, population: Population) -> None:
        """Take away what was posted, and tidy up after what was changed."""
        posters = ", ".join(f"'{number}'" for number in population.posters.numbers)
        keys = self.value("SELECT to_regclass('idempotency_keys') IS NOT NULL")  # not of every commit
        forget_keys = ["TRUNCATE idempotency_keys"] if keys else []
        self.run(f"DELETE FROM tasks WHERE user_id IN ({posters})", *forget_keys, "VACUUM tasks")


@contextmanager
def postgres(folder: Path) -> Generator[EmbeddedPostgres]:
    """A server of our own in `folder`, as the service itself would start one."""
    server = EmbeddedPostgres(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def find_database(server: EmbeddedPostgres, name: str = "postgres") -> Database:
    """Return a database of the server; by default the one that each server has."""
    place = quote(server.start()["host"], safe="")
    pid = int((server.cluster / "postmaster.pid").read_text().split()[0])
    return Database(f"postgresql://postgres@/{name}?host={place}", pid)


def new_database(
    server: EmbeddedPostgres, name: str, population: Population, code: Path = ROOT, *, plain: bool = False
) -> Database:
    """Make a database, migrate it as the service of this code does, and fill it.

    A plain one has tasks with the fields that ours have, and nothing of what our service alone does with them.
    """
    say(f"Making a database with {population.rows:,} tasks ...")
    find_database(server).run(f"CREATE DATABASE {name}")
    database = find_database(server, name)
    migrate = [sys.executable, "-m", *(PLAINLY if plain else AS_OURS)]
    environment = {"DATABASE_URL": database.url, "JWT_SECRET": "x" * 32, "PATH": ""}
    done = subprocess.run(migrate, cwd=code, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise SystemExit(f"The database could not be migrated:\n{done.stdout}{done.stderr}")
    if plain:
        database.run(WIDER)
    database.fill(population)
    return database


async def _run(url: str, work: list[tuple[str, tuple[int, ...]]]) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement, values in work:
            await connection.execute(statement, *values)
    finally:
        await connection.close()


async def _value(url: str, statement: str) -> Any:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()
