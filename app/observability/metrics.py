"""What Prometheus is told of this worker: its requests, its pool, its event loop, its memory of tokens, its process.

Written into files of its own, which `exposition` reads. Imported only where METRICS_PORT is set: prometheus_client
looks once, when it is imported, for the folder of those files. No label has a value that a caller can choose.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

from app.observability import request_events

REQUEST_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # seconds
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
SECONDS_BETWEEN_TICKS = 0.1
TICKS_BETWEEN_LOOKS = 10

POOL = {
    "tasks_pool_connections": "Connections to the database.",
    "tasks_pool_idle_connections": "Connections that nobody is using.",
    "tasks_pool_max_connections": "Connections that there may be at most.",
    "tasks_pool_waiting_requests": "Requests that wait for a connection.",
}
PROCESS = {
    "process_resident_memory_bytes": "Resident memory.",
    "process_virtual_memory_bytes": "Virtual memory.",
    "process_start_time_seconds": "When the process started, since the Unix epoch.",
    "process_open_fds": "Open file descriptors.",
    "process_max_fds": "File descriptors that there may be at most.",
}


class Lookups(Protocol):
    """How often a token was found among the verified ones, and how often not."""

    hits: int
    misses: int


class Metrics:
    """The metrics of one process. What happens is counted as it happens, what is there once a second."""

    def __init__(self, lookups: Lookups, pool_sizes: Callable[[], Iterable[int]]) -> None:
        """Begin at zero. `pool_sizes` returns what POOL names, in that order, or nothing while there is no pool.

        In a registry of our own: the default one has gauges that know only one process.
        """
        own = CollectorRegistry()
        self._requests = Counter(
            "tasks_http_requests", "Requests answered.", ("method", "route", "status"), registry=own
        )
        self._seconds = Histogram(
            "tasks_http_request_duration_seconds",
            "From a request's head to the end of its answer.",
            ("method", "route"),
            buckets=REQUEST_BUCKETS,
            registry=own,
        )
        self._lag = Histogram(
            "tasks_event_loop_lag_seconds",
            "How much later than asked for the event loop woke a timer.",
            buckets=LAG_BUCKETS,
            registry=own,
        )
        self._lookups = Counter(
            "tasks_token_cache_lookups", "Tokens looked for among the verified ones.", ("result",), registry=own
        )
        self._cpu = Counter("process_cpu_seconds", "User and system CPU time.", registry=own)
        self._gauges = {
            # One series for each worker that lives, by its process id.
            name: Gauge(name, told, multiprocess_mode="liveall", registry=own)
            for name, told in (POOL | PROCESS).items()
        }
        self._children: dict[tuple[str, str | None, int], tuple[Counter, Histogram]] = {}
        self._totals: dict[Counter, float] = {}  # as they were when last looked at
        self._found, self._pool_sizes = lookups, pool_sizes
        self._process = ProcessCollector(registry=None)

    def count(self, method: str, route: str | None, status: int, seconds: float) -> None:
        """Count one answer."""
        key = method, route, status
        children = self._children.get(key)
        if children is None:
            names = method, route or "-"
            children = self._requests.labels(*names, str(status)), self._seconds.labels(*names)
            self._children[key] = children
        children[0].inc()
        children[1].observe(seconds)

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """Count until the context ends."""
        request_events.listeners.append(self.count)
        sampling = asyncio.create_task(self._sample())
        try:
            yield
        finally:
            sampling.cancel()
            request_events.listeners.remove(self.count)

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._look()
            for _ in range(TICKS_BETWEEN_LOOKS):
                due = loop.time() + SECONDS_BETWEEN_TICKS
                await asyncio.sleep(SECONDS_BETWEEN_TICKS)
                self._lag.observe(max(loop.time() - due, 0))

    def _look(self) -> None:
        """Write down how things are now."""
        for name, size in zip(POOL, self._pool_sizes(), strict=False):
            self._gauges[name].set(size)
        self._reach(self._lookups.labels("hit"), self._found.hits)
        self._reach(self._lookups.labels("miss"), self._found.misses)
        for family in self._process.collect():
            [sample] = family.samples
            if sample.name == "process_cpu_seconds_total":
                self._reach(self._cpu, sample.value)
            else:
                self._gauges[sample.name].set(sample.value)

    def _reach(self, counter: Counter, total: float) -> None:
        """Add what has come since the last look."""
        counter.inc(total - self._totals.get(counter, 0))
        self._totals[counter] = total
