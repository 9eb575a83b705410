"""What becomes of us as things grow: of speed with rows, users, connections and workers; of memory with requests."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import NamedTuple

from app.db.embedded import EmbeddedPostgres
from benchmarks import chart, measure, report
from benchmarks.data import Database, Group, Population, new_database
from benchmarks.lineup import LINEUP
from benchmarks.rounds import Arena, Measurement, Plan, line
from benchmarks.toolbox import say

ROWS = (10_000, 100_000, 1_000_000)
USERS = (1, 10, 100, 1000)
CONNECTIONS = (1, 4, 16, 64)
WORKERS = (1, 2)
MILLION = 1_000_000
USUAL = ("list20", "get", "post", "mixed")

# Who is asked for is the same in each of the tables; only the others grow.
FEW = Population(readers=Group(1, 20, 100), long=Group(3001, 0, 0), editors=Group(5001, 20, 100))


class Point(NamedTuple):
    """One size that is measured."""

    label: str
    arena: Arena
    connections: int = 16


class Sweep(NamedTuple):
    """One question, and the medians that answer it: a measurement for each size and workload."""

    name: str
    title: str
    below: str
    labels: list[str]
    medians: dict[str, list[tuple[float, float, float]]]  # workload -> requests/s, p50, p99 of each size

    def picture(self) -> str:
        """Return its lines."""
        series = {workload: [each[0] for each in values] for workload, values in self.medians.items()}
        return chart.lines(self.title, self.below, self.labels, series)

    def table(self) -> str:
        """Return its numbers."""
        rows = [
            [workload, label, report.number(each[0]), report.number(each[1], ".2f"), report.number(each[2], ".2f")]
            for workload, values in self.medians.items()
            for label, each in zip(self.labels, values, strict=True)
        ]
        return report.table(("", self.below, "requests/s", "p50 ms", "p99 ms"), rows)


def sweeps(folder: Path, server: EmbeddedPostgres, plan: Plan) -> Iterator[Sweep]:
    """Ask all four questions."""
    with _points(_by_rows(folder, server)) as points:
        yield _sweep("rows", "Requests per second, by the size of the table", "rows in the table", points, USUAL, plan)
    usual = new_database(server, "usual", Population())
    with _points(_by_users(folder, usual)) as points:
        yield _sweep("users", "Requests per second, by users", "users who call", points, ("list100", "get"), plan)
    with _points(_by_connections(folder, usual)) as points:
        title = "Requests per second, by connections"
        yield _sweep("connections", title, "connections of clients", points, USUAL, plan)
    with _points(_by_workers(folder, usual)) as points:
        title = "Requests per second, by workers (64 connections, no process bound to a core)"
        # A 401 asks no database, so that two workers have as much room here as there can be.
        yield _sweep("workers", title, "workers", points, (*USUAL, "401"), plan)


def memory(folder: Path, database: Database) -> tuple[list[int], list[float]]:
    """Ask for a million mixed things. Returns how many were answered and the megabytes held, after each part."""
    arena = Arena(folder / "memory", database, Population())
    _start("memory", arena)
    service = arena.services["ours"]
    asked, held = [0], [measure.megabytes(service.pid)]
    try:
        while asked[-1] < MILLION:
            one = arena.measure("ours", "mixed", len(asked), Plan((), rounds=1, seconds=10, warm_up=0))
            if one.load.trouble:
                raise SystemExit(f"ours: {one.load.trouble}")
            asked.append(asked[-1] + one.load.requests)
            held.append(measure.megabytes(service.pid))
            say(f"{asked[-1]:>9,} requests  {held[-1]:.1f} MB")
    finally:
        arena.leave("ours")
    return asked, held


def memory_table(asked: Sequence[int], held: Sequence[float]) -> str:
    """Return the numbers of `memory`."""
    return report.table(
        ("requests", "MB"), [[f"{count:,}", f"{each:.1f}"] for count, each in zip(asked, held, strict=True)]
    )


def _by_rows(folder: Path, server: EmbeddedPostgres) -> Iterator[Point]:
    for rows in ROWS:
        others = Group(10_001, (rows - FEW.rows) // 100, 100)
        population = FEW._replace(others=others)
        arena = Arena(folder / f"rows{rows}", new_database(server, f"rows{rows}", population), population)
        yield _start(f"{rows:,}", arena)


def _by_users(folder: Path, database: Database) -> Iterator[Point]:
    for users in USERS:
        population = Population(readers=Group(1, users, 100))  # who calls; the others are there all the same
        yield _start(f"{users:,}", Arena(folder / f"users{users}", database, population))


def _by_connections(folder: Path, database: Database) -> Iterator[Point]:
    arena = Arena(folder / "connections", database, Population())
    first = _start(str(CONNECTIONS[0]), arena)
    for connections in CONNECTIONS:
        yield first._replace(label=str(connections), connections=connections)


def _by_workers(folder: Path, database: Database) -> Iterator[Point]:
    for workers in WORKERS:
        arena = Arena(folder / f"workers{workers}", database, Population())
        yield _start(str(workers), arena, workers=workers, pinned=False)._replace(connections=64)


def _start(label: str, arena: Arena, *, workers: int = 1, pinned: bool = True) -> Point:
    if not arena.enter(LINEUP["ours"], workers=workers, pinned=pinned):
        raise SystemExit(f"ours: {arena.failed['ours']}")
    return Point(label, arena)


@contextmanager
def _points(made: Iterator[Point]) -> Generator[list[Point]]:
    points: list[Point] = []
    try:
        points.extend(made)
        yield points
    finally:
        for point in points:
            point.arena.leave("ours")


def _sweep(name: str, title: str, below: str, points: Sequence[Point], workloads: Sequence[str], plan: Plan) -> Sweep:
    medians: dict[str, list[tuple[float, float, float]]] = {}
    for workload in workloads:
        found: dict[str, list[Measurement]] = {point.label: [] for point in points}
        for number in range(plan.rounds):
            for point in points:
                one = point.arena.measure("ours", workload, number, plan._replace(connections=point.connections))
                say(f"{name} {point.label:>9}  {line(one, plan)}")
                if not one.load.trouble:
                    found[point.label].append(one)
        medians[workload] = [_medians(found[point.label]) for point in points]
    return Sweep(name, title, below, [point.label for point in points], medians)


def _medians(found: Sequence[Measurement]) -> tuple[float, float, float]:
    values: Mapping[str, Callable[[Measurement], float]] = {
        "requests": lambda each: each.per_second,
        "p50": lambda each: each.load.p50,
        "p99": lambda each: each.load.p99,
    }
    first, second, third = (median(map(value, found)) if found else 0.0 for value in values.values())
    return first, second, third


def page(asked: Sequence[Sweep], kept: str, plan: Plan, where: Sequence[tuple[str, str]]) -> str:
    """Return everything, as a page in Markdown."""
    said = f"Medians of {plan.rounds} rounds, {plan.seconds:g} s for each measurement"
    parts = ["# Growth", f"Written by the command below. {said}, 16 connections where nothing else is said."]
    for each in asked:
        parts += [f"## {each.name.capitalize()}", f"![{each.title}](growth-{each.name}.svg)", each.table()]
    parts += ["## Memory", "Resident, of one worker, over a million mixed requests in one go.", kept]
    return "\n\n".join([*parts, "## Where and how", report.listed(where)]) + "\n"
