"""Processor time and memory of a process and all its children, and where processes may run.

Linux tells in /proc. Elsewhere nobody is asked, and what is not known is not a number.
"""

import os
import platform
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

PROC = Path("/proc")
UNKNOWN = float("nan")


def family(pid: int) -> list[int]:
    """Return the process and everybody who descends from it."""
    parents: dict[int, int] = {}
    for entry in PROC.glob("[0-9]*"):
        if fields := _stat(int(entry.name)):
            parents[int(entry.name)] = int(fields[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


def cpu_seconds(pid: int) -> float:
    """Return the processor time that the family has used so far, with that of members who are gone."""
    if not PROC.is_dir():
        return UNKNOWN
    ticks = sum(int(ticks) for each in family(pid) for ticks in _stat(each)[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def megabytes(pid: int) -> float:
    """Return the resident memory of the family."""
    if not PROC.is_dir():
        return UNKNOWN
    pages = 0
    for each in family(pid):
        try:
            pages += int((PROC / str(each) / "statm").read_text().split()[1])
        except OSError:
            continue
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def busy_seconds() -> float:
    """Return the processor time that the whole machine has spent so far, what its host took from it included."""
    if not PROC.is_dir():
        return UNKNOWN
    user, nice, system, _idle, _waiting, *interrupts = map(int, (PROC / "stat").read_text().split()[1:9])
    return sum((user, nice, system, *interrupts)) / os.sysconf("SC_CLK_TCK")


def our_own_seconds() -> float:
    """Return the processor time of this process and of the children that it has waited for: the load."""
    return sum(os.times()[:4])


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the third on: state, parent, ... Nothing for a process that is gone."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def cores() -> list[int]:
    """Return the cores that we may use and choose from; none where processes cannot be bound to cores."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


CORES = cores()
PINNED = len(CORES) > 1


def stay_off_the_servers_core() -> None:
    """Keep this process, and all it starts from now on, on the first core: the database and the load."""
    if PINNED:
        os.sched_setaffinity(0, CORES[:1])


@contextmanager
def on_the_servers_core() -> Generator[None]:
    """What is started in here runs on the last core, alone."""
    with _on(CORES[-1:]):
        yield


@contextmanager
def on_all_cores() -> Generator[None]:
    """What is started in here runs where it likes."""
    with _on(CORES):
        yield


@contextmanager
def _on(chosen: list[int]) -> Generator[None]:
    if not PINNED:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, chosen)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def machine() -> str:
    """Describe the machine in one line: processor, cores, memory, kernel."""
    processor = platform.processor() or platform.machine()
    if (info := PROC / "cpuinfo").exists():
        names = [line.partition(": ")[2] for line in info.read_text().splitlines() if line.startswith("model name")]
        processor = names[0] if names else processor
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    count = len(CORES) or os.cpu_count()
    return f"{processor}, {count} cores, {memory:.0f} GiB, {platform.system()} {platform.release()}"
