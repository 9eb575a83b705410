"""The command: what to run, and with whom. `quick` takes less than two minutes, `full` half an hour."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from app.db.embedded import EmbeddedPostgres
from benchmarks import growth, measure, report, setting
from benchmarks.data import Population, find_database, new_database, postgres
from benchmarks.lineup import LINEUP, OURS, Contender, before
from benchmarks.rounds import Arena, Plan, run
from benchmarks.toolbox import HERE, missing, say
from benchmarks.workloads import KEYED, WORKLOADS

QUICK = ("limit", "ours", "ours-bare", "fastify-tuned")
QUICK_WORKLOADS = ("list20", "get", "post", "put", "toggle", "401", "mixed")
FULL_WORKLOADS = (*(name for name in WORKLOADS if not name.endswith(KEYED)), "post-keyed", "toggle-keyed")
PLANS = {
    "full": Plan(FULL_WORKLOADS, rounds=7, seconds=2, warm_up=0.7, starts=3),
    "quick": Plan(QUICK_WORKLOADS, rounds=3, seconds=1, warm_up=0.3),
    "growth": Plan((), rounds=3, seconds=3, warm_up=1),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print the tables, and write the pages. Raises SystemExit with one line where that cannot be."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    if lacking := missing("wrk"):
        raise SystemExit(f"Nothing can be measured: {lacking}.")
    measure.stay_off_the_servers_core()
    chosen = {
        name: getattr(options, name)
        for name in ("workloads", "rounds", "seconds", "connections")
        if getattr(options, name) is not None
    }
    plan = PLANS[options.mode]._replace(**chosen)
    folder = tempfile.TemporaryDirectory(prefix="tasks-bench-", ignore_cleanup_errors=True)
    try:
        with folder as name, postgres(Path(name)) as server:
            if options.mode == "growth":
                _growth(Path(name), server, plan, arguments)
            else:
                _contest(Path(name), server, plan, arguments, options)
    except KeyboardInterrupt:
        raise SystemExit("Stopped; nothing was written.") from None


def _contest(
    folder: Path, server: EmbeddedPostgres, plan: Plan, arguments: Sequence[str], options: argparse.Namespace
) -> None:
    quick = options.mode == "quick"
    names = options.only or [name for name in LINEUP if not quick or name in QUICK]
    contenders = [LINEUP[name] for name in names if _may_enter(LINEUP[name], install=not quick)]
    population = Population()
    database = new_database(server, "contest", population, plain=True)
    ours = [each for each in contenders if each.command == OURS]
    own = dict.fromkeys((each.name for each in ours), new_database(server, "ours", population))
    if options.against:
        earlier = [before(options.against, each) for each in ours]
        contenders += earlier
        own |= dict.fromkeys(
            (each.name for each in earlier), new_database(server, "before", population, options.against)
        )
    outcome = run(Arena(folder / "contest", database, population, own), contenders, plan)
    _print(report.printed(outcome, plan.workloads))
    partial = quick or options.only or options.workloads or options.connections or options.against
    if options.write or not partial:
        (HERE / "results.md").write_text(report.page(outcome, plan, setting.describe(database, arguments)))
        (HERE / "chart.svg").write_text(report.picture(outcome))


def _growth(folder: Path, server: EmbeddedPostgres, plan: Plan, arguments: Sequence[str]) -> None:
    asked = []
    for sweep in growth.sweeps(folder, server, plan):
        _print(f"\n{sweep.title}\n\n{sweep.table()}")
        (HERE / f"growth-{sweep.name}.svg").write_text(sweep.picture())
        asked.append(sweep)
    kept = growth.memory_table(*growth.memory(folder, find_database(server, "usual")))
    _print(f"\nMemory\n\n{kept}")
    where = setting.describe(find_database(server), arguments)
    (HERE / "growth.md").write_text(growth.page(asked, kept, plan, where))


def _may_enter(contender: Contender, *, install: bool) -> bool:
    if lacking := contender.lacks(install=install):
        say(f"{contender.name} is left out: {lacking}")
    return not lacking


def _print(text: str) -> None:
    print(text)  # noqa: T201


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("mode", nargs="?", choices=tuple(PLANS), default="full")
    parser.add_argument("--only", type=_some_of(LINEUP), metavar="NAMES", help=f"of {', '.join(LINEUP)}")
    parser.add_argument("--workloads", type=_some_of(WORKLOADS), metavar="NAMES", help=f"of {', '.join(WORKLOADS)}")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of one measurement")
    parser.add_argument("--connections", type=int, help="of the load, such as 2, 4, 16 or 64; 16 if not said")
    parser.add_argument("--against", type=Path, help="a checkout of another commit, to measure its service too")
    parser.add_argument("--write", action="store_true", help="write results.md and chart.svg, which a full run does")
    return parser


def _some_of(known: Collection[str]) -> Callable[[str], list[str]]:
    def names(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(known)}")
        return chosen

    return names


if __name__ == "__main__":
    main()
