"""First starts that are killed at random moments: the next one always finds a database that it can use."""

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from random import Random

from app.db import migrations, roles
from tests.db.test_migrations import applied, connected
from tests.faults.killed import KILLS, Project, cloned, killed
from tests.soak.conftest import Figure

ROUNDS = int(os.environ.get("SOAK_ROUNDS", "100"))  # of each kind
SECONDS = 2.0  # within which something happens; on a busy machine, for as long as a first start takes there
RANDOM = Random(14)
CUT = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def within(project: Project) -> float:
    """Return within how many seconds something is to happen, after one start to which nothing does."""
    began = time.monotonic()
    assert project.migrate().returncode == 0
    return max(SECONDS, time.monotonic() - began + 1)


async def test_no_embedded_database_is_stuck(figure: Figure) -> None:
    stuck = []
    with cloned() as folder:
        seconds = await asyncio.to_thread(within, Project(folder))
        for _ in range(ROUNDS):
            shutil.rmtree(folder / ".data")
            how, project = RANDOM.choice([*KILLS]), Project(folder)
            done = await asyncio.to_thread(killed, project, how, RANDOM.uniform(0, seconds))
            again = await asyncio.to_thread(project.migrate)
            left = [each.name for each in (folder / ".data").iterdir() if each.is_dir()]
            if done.returncode != 0 or again.stdout != "The database is up to date.\n" or left != ["postgres"]:
                stuck.append((how, done.stdout, again.stdout, left))
                print(*stuck[-1], sep="\n")
    figure(
        "**Migrating is all or nothing**: first starts on the embedded database, killed or stopped in eight ways",
        f"{len(stuck)} of {ROUNDS} stuck, within {seconds:.1f} s",
    )
    assert stuck == []


async def test_no_database_of_a_server_is_stuck(figure: Figure, new_database: Callable[[], str]) -> None:
    stuck = []
    with cloned() as folder:
        seconds = await asyncio.to_thread(lambda: within(Project(folder, new_database())))
        for _ in range(ROUNDS):
            how, after = RANDOM.choice([*list(KILLS)[:-2], "connections are cut"]), RANDOM.uniform(0, seconds)
            url = await asyncio.to_thread(new_database)
            async with connected(url) as connection:
                if how == "connections are cut":
                    done = asyncio.to_thread(killed, Project(folder, url), "what migrates is killed", seconds)
                    killing = asyncio.create_task(done)
                    await asyncio.sleep(after)
                    await connection.execute(CUT)
                else:
                    done = asyncio.to_thread(killed, Project(folder, url), how, after)
                    killing = asyncio.create_task(done)
                code = (await killing).returncode
                is_whole = await applied(connection) == migrations.known() and not await roles.needed(connection)
            if code != 0 or not is_whole:
                stuck.append((how, code))
                print(*stuck[-1])
    figure(
        "the same on a database of a server, whose connections are cut as well",
        f"{len(stuck)} of {ROUNDS} stuck, within {seconds:.1f} s",
    )
    assert stuck == []
