"""Whatever breaks, the answers of two workers are those of one: nothing is lost, wrong, foreign or made twice."""

import asyncio
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count

import asyncpg

from tests.faults.linear import CLIENTS_EACH, Judge, Owner
from tests.faults.server import postgres_of_our_own
from tests.live.conftest import Served
from tests.soak.conftest import Figure

ANSWERS = int(os.environ.get("SOAK_ANSWERS", "15000"))
SECONDS = 600  # at most
OWNERS = 3


async def test_every_answer_is_one_of_a_single_order(figure: Figure, serve: Callable[..., Served]) -> None:
    with postgres_of_our_own() as postgres:
        service = await asyncio.to_thread(serve, env={"DATABASE_URL": postgres.url}, workers=2)
        numbers = count(1)
        owners = [Owner(service.port, numbers) for _ in range(OWNERS)]
        clients = [asyncio.create_task(owner.live()) for owner in owners for _ in range(CLIENTS_EACH)]
        faults = Counter[str]()

        def answers() -> int:
            return sum(number for owner in owners for status, number in owner.statuses.items() if status != "none")

        async def run(sql: str, *arguments: object, seconds: float = 0) -> None:
            with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                connection = await asyncpg.connect(postgres.url)
                try:
                    async with connection.transaction():
                        await connection.execute(sql, *arguments)
                        await asyncio.sleep(seconds)
                finally:
                    await connection.close()

        async def kill_a_worker() -> None:
            with suppress(ProcessLookupError):
                os.kill(random.choice(service.pids()[-2:]), signal.SIGKILL)

        async def stop_a_worker() -> None:
            with suppress(ProcessLookupError):
                pid = random.choice(service.pids()[-2:])
                os.kill(pid, signal.SIGSTOP)
                await asyncio.sleep(1)
                os.kill(pid, signal.SIGCONT)

        async def hold_an_owner(seconds: float) -> None:
            who = random.choice(owners).id
            await run("SELECT FROM revisions WHERE user_id = $1 FOR UPDATE", who, seconds=seconds)

        end = "SELECT pg_{}_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        others = " AND pid <> pg_backend_pid()"
        kinds: dict[str, Callable[[], Awaitable[None]]] = {
            "kill -9": kill_a_worker,
            "SIGSTOP": stop_a_worker,
            "rows held": lambda: hold_an_owner(1),
            "rows held for longer than there is time": lambda: hold_an_owner(6),
            "table locked": lambda: run("LOCK TABLE tasks", seconds=0.5),
            "connections ended": lambda: run(end.format("terminate") + others),
            "statements cancelled": lambda: run(end.format("cancel") + others),
            "PostgreSQL restarted": lambda: postgres.restart("fast"),
            "PostgreSQL crashed": lambda: postgres.restart("immediate"),
        }
        began = time.monotonic()
        async with asyncio.timeout(SECONDS):
            while answers() < ANSWERS or len(faults) < len(kinds):
                for name, fault in random.sample([*kinds.items()], len(kinds)):
                    await asyncio.sleep(random.uniform(0.5, 2))
                    await fault()
                    faults[name] += 1
                assert not [each.exception() for each in clients if each.done()]
        lasted = time.monotonic() - began
        for each in clients:
            each.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        await asyncio.sleep(6)  # what nobody waits for any more has come to its end
        await asyncio.to_thread(service.wait, "/health/ready")

        judges = [Judge(owner) for owner in owners]
        for judge in judges:
            await judge.look()
            judge.judge()

    wrong = [each for owner in owners for each in owner.wrong]
    statuses = sum((owner.statuses for owner in owners), Counter[str]())
    changes = sum(len(judge.events) for judge in judges)
    figure(
        "one order of all changes",
        f"{len(wrong)} wrong of {answers():,} answers in {lasted:.0f} s, {changes:,} changes in the histories, "
        f"{sum(faults.values())} faults of {len(faults)} kinds; "
        f"{', '.join(f'{number:,} x {status}' for status, number in sorted(statuses.items()))}",
    )
    assert wrong == [], "\n".join(wrong[:20])
