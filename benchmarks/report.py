"""What comes of the measurements: tables to print, and a page to keep."""

import math
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

from benchmarks import chart
from benchmarks.lineup import LINEUP
from benchmarks.rounds import POOL, YARDSTICK, Measurement, Outcome, Plan
from benchmarks.workloads import WORKLOADS

DATABASE = "database"
DRAWN = ("list20", "get", "post", "mixed")


class Line(NamedTuple):
    """One contender in one workload: medians of its rounds, and its ratios to the limit, round by round."""

    contender: str
    ratio: float
    lowest: float
    highest: float
    per_second: float
    p50: float
    p99: float
    server_cpu: float
    database_cpu: float


def lines(outcome: Outcome, workload: str) -> list[Line]:
    """Return one line for each contender that was measured in this workload."""
    counted = [each for each in outcome.measurements if each.workload == workload and not each.load.trouble]
    yardstick = {each.round: each.per_second for each in counted if each.contender == YARDSTICK}
    by_name: dict[str, list[Measurement]] = {}
    for each in counted:
        by_name.setdefault(each.contender, []).append(each)
    return [_line(name, group, yardstick) for name, group in by_name.items()]


def _line(name: str, group: Sequence[Measurement], yardstick: dict[int, float]) -> Line:
    ratios = [each.per_second / yardstick[each.round] for each in group if each.round in yardstick] or [math.nan]
    return Line(
        name,
        median(ratios),
        min(ratios),
        max(ratios),
        median(each.per_second for each in group),
        median(each.load.p50 for each in group),
        median(each.load.p99 for each in group),
        median(each.server_cpu for each in group),
        median(each.database_cpu for each in group),
    )


def number(value: float, form: str = ",.0f") -> str:
    """Return the number as text, or nothing where it is not known."""
    return "" if math.isnan(value) else format(value, form)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table that reads well as text and is one in Markdown too."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    ruler = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def lay(cells: Sequence[str]) -> str:
        first, *others = (
            cell.ljust(width) if not place else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join([first, *others])} |"

    return "\n".join(lay(row) for row in (head, ruler, *rows))


HEAD = ("", "of the limit", "lowest to highest", "requests/s", "p50 ms", "p99 ms", "server us", "database us")


def workload_table(outcome: Outcome, workload: str) -> str:
    """Return the table of one workload, fastest first."""
    rows = [
        (
            each.contender,
            number(each.ratio, ".2f"),
            "" if math.isnan(each.ratio) else f"{each.lowest:.2f} to {each.highest:.2f}",
            number(each.per_second),
            number(each.p50, ".2f"),
            number(each.p99, ".2f"),
            number(each.server_cpu),
            number(each.database_cpu),
        )
        for each in sorted(lines(outcome, workload), key=lambda each: -each.per_second)
    ]
    return table(HEAD, rows)


def overview(outcome: Outcome, workloads: Sequence[str]) -> str:
    """Return the ratios to the limit of everybody in everything."""
    found = {workload: {each.contender: each.ratio for each in lines(outcome, workload)} for workload in workloads}
    names = dict.fromkeys(each.contender for each in outcome.measurements)
    rows = [[name, *(number(found[each].get(name, math.nan), ".2f") for each in workloads)] for name in names]
    return table(["", *workloads], rows)


def footprints(outcome: Outcome) -> str:
    """Return what everybody takes besides time."""
    head = ("", "start s", "MB at rest", "MB after")
    rows = [
        (name, number(each.start_seconds, ".2f"), number(each.megabytes_at_rest), number(each.megabytes_after))
        for name, each in outcome.footprints.items()
    ]
    return table(head, rows)


def listed(pairs: Sequence[tuple[str, str]]) -> str:
    """Return names and texts as a list."""
    return "\n".join(f"- {name}: {text}" for name, text in pairs)


def troubles(outcome: Outcome) -> list[str]:
    """Return one line for everything that was not timed, or does not count."""
    found = [f"{name} is not timed: {why}" for name, why in outcome.failed.items()]
    for each in outcome.measurements:
        if each.load.trouble:
            where = f"{each.workload}, round {each.round + 1}"
            found.append(f"{each.contender} does not count in {where}: {each.load.trouble.splitlines()[0]}")
    return found


def disturbance(outcome: Outcome) -> str:
    """Tell how much of the machine somebody else used."""
    used = sorted(each.others for each in outcome.measurements) or [0.0]
    return f"While this was measured, others used {median(used):.1f} cores in the median, {used[-1]:.1f} at most."


def printed(outcome: Outcome, workloads: Sequence[str]) -> str:
    """Return everything, for a terminal."""
    parts = [f"{each}: {WORKLOADS[each].words}\n\n{workload_table(outcome, each)}" for each in workloads]
    parts += [overview(outcome, workloads), footprints(outcome), disturbance(outcome), *troubles(outcome)]
    return "\n\n".join(["", *parts])


def page(outcome: Outcome, plan: Plan, where: Sequence[tuple[str, str]]) -> str:
    """Return everything, as a page in Markdown."""
    measured = {each.contender for each in outcome.measurements}
    said = f"Rounds: {plan.rounds}, {plan.seconds:g} s for each measurement, {plan.connections} connections"
    parts = [
        "# Results",
        f"Written by the command below. {said}; everybody in turn, one worker each, at most {POOL} connections to the "
        "database. Ratios are those of requests per second to the limit's in the same round; shown are the "
        'medians of the rounds. "Server us" and "database us" are microseconds of processor time per request. '
        "The request log of `ours` goes to a file, and a measurement does not count if the log lacks a request.",
        "![Throughput relative to the limit](chart.svg)",
        listed([(f"`{each.name}`", each.words) for each in LINEUP.values() if each.name in measured]),
        "## Throughput, relative to the limit",
        overview(outcome, plan.workloads),
    ]
    for workload in plan.workloads:
        parts += [f"## {workload}", WORKLOADS[workload].words, workload_table(outcome, workload)]
    parts += ["## Besides time", footprints(outcome), "## Where and how", listed(where), disturbance(outcome)]
    if told := troubles(outcome):
        parts.append("\n".join(f"- {each}" for each in told))
    return "\n\n".join(parts) + "\n"


def picture(outcome: Outcome) -> str:
    """Return the bars of everybody who is no yardstick."""
    panels = {
        f"{workload}: {WORKLOADS[workload].words}" if workload != "mixed" else "mixed": [
            (each.contender, each.ratio, each.lowest, each.highest)
            for each in lines(outcome, workload)
            if each.contender not in (YARDSTICK, DATABASE) and not math.isnan(each.ratio)
        ]
        for workload in DRAWN
        if lines(outcome, workload)
    }
    return chart.bars("Requests per second, relative to a hand-written service (the limit)", panels)
