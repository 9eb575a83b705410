"""The measurements, in rounds: all workloads and in each all contenders in turn, again and again.

So a bad moment of the machine hits all of them.
"""

import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from benchmarks import measure
from benchmarks.check import Broken, check
from benchmarks.data import Database, Population
from benchmarks.lineup import Contender
from benchmarks.load import Load, Wrk, pgbench
from benchmarks.service import NotServing, Service
from benchmarks.toolbox import say
from benchmarks.workloads import KEYED, WORKLOADS, scripts

YARDSTICK = "limit"
POOL = 10  # connections to the database, for everybody
FIRST_WARM_UP_SECONDS = 2


class Plan(NamedTuple):
    """How much is measured, and how long."""

    workloads: Sequence[str]
    rounds: int
    seconds: float
    warm_up: float
    connections: int = 16
    starts: int = 1


class Measurement(NamedTuple):
    """One contender in one round of one workload. Processor times are in microseconds per request."""

    contender: str
    workload: str
    round: int
    load: Load
    server_cpu: float
    database_cpu: float
    others: float  # how many cores somebody else used meanwhile

    @property
    def per_second(self) -> float:
        """Requests per second."""
        return self.load.requests / self.load.seconds


class Footprint(NamedTuple):
    """What a contender takes, besides time: seconds to start, megabytes before and after the load."""

    start_seconds: float
    megabytes_at_rest: float
    megabytes_after: float


class Outcome(NamedTuple):
    """All that came of a run: what was measured, and why others were not."""

    measurements: list[Measurement]
    footprints: dict[str, Footprint]
    failed: dict[str, str]


class Arena:
    """The database and the running contenders, ready to be asked."""

    def __init__(
        self, folder: Path, database: Database, population: Population, own: Mapping[str, Database] | None = None
    ) -> None:
        """Start nobody yet. Everybody asks the same database, but those who have one of their own."""
        self.database = database
        self._own = own or {}
        self.population = population
        self.services: dict[str, Service] = {}
        self.failed: dict[str, str] = {}
        self.start_seconds: dict[str, float] = {}
        self._folder = folder
        self._wrk = Wrk(folder, population)
        folder.mkdir(exist_ok=True)

    def enter(self, contender: Contender, *, starts: int = 1, workers: int = 1, pinned: bool = True) -> bool:
        """Start a contender, so many times, and check it. Tells whether it may be timed."""
        if not contender.command:
            return True  # the database is there already
        log = self._folder / f"{contender.name}.log"
        taken: list[float] = []
        try:
            for _ in range(starts):
                self.leave(contender.name)
                service = Service(contender, self._database(contender.name).url, log, workers=workers, pinned=pinned)
                self.services[contender.name] = service
                taken.append(service.start_seconds)
            check(self.services[contender.name].port, self.population, contender)
            # Node compiles what has been run often, and nobody's first round is to pay for that.
            self._ask(contender.name, "mixed", FIRST_WARM_UP_SECONDS, 16)
        except (NotServing, Broken) as error:
            self.failed[contender.name] = str(error).partition("\n")[0]
            self.leave(contender.name)
            say(f"{contender.name} is not timed: {error}")
            return False
        except BaseException:
            self.leave(contender.name)
            raise
        finally:
            self._database(contender.name).restore(self.population)
        self.start_seconds[contender.name] = median(taken)
        say(f"{contender.name} keeps the contract; it was there after {median(taken):.2f} s")
        return True

    def leave(self, name: str) -> None:
        """Stop a contender, if it runs."""
        if service := self.services.pop(name, None):
            service.stop()

    def measure(self, name: str, workload: str, number: int, plan: Plan) -> Measurement:
        """Warm up, ask, and put the data back."""
        service = self.services.get(name)
        if service is not None:
            service.forget_log()
        warm_up = self._ask(name, workload, plan.warm_up, plan.connections).requests if plan.warm_up else 0
        before = self._clocks(name)
        load = self._ask(name, workload, plan.seconds, plan.connections)
        after = self._clocks(name)
        if (
            service is not None
            and service.contender.as_served
            and (lost := service.lines_missing(warm_up + load.requests))
        ):
            load = load._replace(trouble=load.trouble or f"the log lacks the lines of {lost} requests")
        if WORKLOADS[workload].writes:
            self._database(name).restore(self.population)
        server, database, busy, own, passed = (late - early for early, late in zip(before, after, strict=True))
        others = (busy - own - database - (0 if math.isnan(server) else server)) / passed
        each = 1e6 / max(load.requests, 1)
        return Measurement(name, workload, number, load, server * each, database * each, max(others, 0.0))

    def _database(self, name: str) -> Database:
        return self._own.get(name, self.database)

    def _ask(self, name: str, workload: str, seconds: float, connections: int) -> Load:
        if name in self.services:
            return self._wrk.run(workload, self.services[name].port, seconds, connections)
        return pgbench(workload, self.database.url, seconds, min(connections, POOL), self.population)

    def _clocks(self, name: str) -> tuple[float, ...]:
        """Processor times: of the server, the database, the whole machine and the load; and what time it is."""
        server = measure.cpu_seconds(self.services[name].pid) if name in self.services else measure.UNKNOWN
        database = measure.cpu_seconds(self.database.pid)
        return server, database, measure.busy_seconds(), measure.our_own_seconds(), time.monotonic()


def run(arena: Arena, contenders: Sequence[Contender], plan: Plan) -> Outcome:
    """Start everybody, measure in rounds, and stop everybody."""
    measurements: list[Measurement] = []
    try:
        entered = [each for each in contenders if arena.enter(each, starts=plan.starts)]
        for number in range(plan.rounds):
            for workload in plan.workloads:
                names = [each.name for each in entered if _takes_part(each, workload, arena.population)]
                turn = number % max(len(names), 1)
                for name in names[turn:] + names[:turn]:
                    measurements.append(arena.measure(name, workload, number, plan))
                    say(line(measurements[-1], plan))
        footprints = {
            name: Footprint(arena.start_seconds[name], service.megabytes_at_rest, measure.megabytes(service.pid))
            for name, service in arena.services.items()
        }
    finally:
        for name in [*arena.services]:
            arena.leave(name)
    return Outcome(measurements, footprints, arena.failed)


def _takes_part(contender: Contender, workload: str, population: Population) -> bool:
    """Tell whether a contender does what the workload is about. The limit, which gives the ratio, is always asked."""
    if not contender.command:
        return bool(scripts(workload, population))
    return contender.takes_keys or contender.name == YARDSTICK or not workload.endswith(KEYED)


def line(measured: Measurement, plan: Plan) -> str:
    """Tell of one measurement, in one line."""
    load = measured.load
    head = f"{measured.workload:12} round {measured.round + 1}/{plan.rounds}  {measured.contender:18}"
    if load.trouble:
        return f"{head} does not count: {load.trouble}"
    waits = f"p50 {load.p50:7.2f} ms  p99 {load.p99:7.2f} ms"
    cpu = f"cpu {measured.server_cpu:5.0f} + {measured.database_cpu:4.0f} us"
    return f"{head} {measured.per_second:8.0f} /s  {waits}  {cpu}  others {measured.others:.1f}"
